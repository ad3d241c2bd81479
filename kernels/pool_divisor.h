/* What average pooling divides the sum of a window by: the product of what is counted along each axis, or a given
 * number. */
#ifndef CLCONV_POOL_DIVISOR_H
#define CLCONV_POOL_DIVISOR_H

#include "pool.h"

#define DIVISOR \
    const int HIGH_D, const int HIGH_H, const int HIGH_W, const int count_padding, const index64 divisor

/* The taps on the image, or with `count_padding` those on the padding, too, but never those beyond it (ceil_mode). */
static inline real counted(const reach r, const int I, const int HIGH, const int count_padding)
{
    if (!count_padding) return r.end - r.first;
    const int beyond = r.start + r.taps - (I + HIGH);
    return beyond > 0 ? r.taps - beyond : r.taps;
}

#endif
