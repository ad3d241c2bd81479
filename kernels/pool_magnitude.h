/* Maxima of values and of magnitudes by one formula: the bits of a value that count. */
#ifndef CLCONV_POOL_MAGNITUDE_H
#define CLCONV_POOL_MAGNITUDE_H

#include "math.h"

#define ALL_BITS (~(bits)0)

static inline bits kept_bits(const int magnitudes) { return magnitudes ? ~SIGN : ALL_BITS; }
static inline real masked(const real value, const bits kept) { return real_of(bits_of(value) & kept); }

#endif
