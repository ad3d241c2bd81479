/* Vectors of LANES reals, VECTOR_BYTES wide: the width of the processor's registers. */
#ifndef CLCONV_VECTOR_H
#define CLCONV_VECTOR_H

#include "dialect.h"

#ifndef VECTOR_BYTES
#define VECTOR_BYTES 64
#endif

#if ELEMENT == 64
#define LANES (VECTOR_BYTES / 8)
#else
#define LANES (VECTOR_BYTES / 4)
#endif

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)

#if ELEMENT == 64 && VECTOR_BYTES == 64
typedef double8 vector;
#define VLOAD vload8
#define VSTORE vstore8
#elif ELEMENT == 64 && VECTOR_BYTES == 32
typedef double4 vector;
#define VLOAD vload4
#define VSTORE vstore4
#elif ELEMENT == 64
typedef double2 vector;
#define VLOAD vload2
#define VSTORE vstore2
#elif VECTOR_BYTES == 64
typedef float16 vector;
#define VLOAD vload16
#define VSTORE vstore16
#elif VECTOR_BYTES == 32
typedef float8 vector;
#define VLOAD vload8
#define VSTORE vstore8
#else
typedef float4 vector;
#define VLOAD vload4
#define VSTORE vstore4
#endif

static inline vector splat(const real value) { return (vector)(value); }
static inline vector load_vector(global const real *array) { return VLOAD(0, array); }
static inline void store_vector(real *array, const vector value) { VSTORE(value, 0, array); }

#else /* C */

typedef real vector __attribute__((vector_size(VECTOR_BYTES)));

static inline vector splat(const real value) { return value - (vector){0}; }

static inline vector load_vector(const real *array)
{
    vector value;
    memcpy(&value, array, sizeof value);
    return value;
}

static inline void store_vector(real *array, const vector value) { memcpy(array, &value, sizeof value); }

#endif
#endif
