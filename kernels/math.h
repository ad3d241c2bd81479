/* Functions that C and OpenCL C spell, or round, differently. */
#ifndef CLCONV_MATH_H
#define CLCONV_MATH_H

#include "dialect.h"

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)

/* Correctly rounded for doubles; off by up to 3 ulp for floats, where a device likes. */
static inline real square_root(const real x) { return sqrt(x); }

#else /* C: the processor's instruction, correctly rounded */

#if ELEMENT == 64
static inline real square_root(const real x) { return __builtin_sqrt(x); }
#else
static inline real square_root(const real x) { return __builtin_sqrtf(x); }
#endif

#endif
#endif
