/* The norm of a window, whatever its values.
 *
 * Powers are taken of |x| / scale, so that they neither overflow nor all vanish: the scale is the largest |x| of the
 * window, or for small p, whose powers stay in range, the power of two below it, by which division is exact.
 */
#ifndef CLCONV_POOL_LP_H
#define CLCONV_POOL_LP_H

#include "pool.h"
#include "math.h"

static inline real scale_for(const real largest, const real p)
{
    if (p > 2) return largest;
    const real power_of_two = real_of(bits_of(largest) & INFINITE);
    return power_of_two > 0 ? power_of_two : SMALLEST_NORMAL;
}

/* t^p for t >= 0, without a logarithm for the orders of every day. */
static inline real power_of(const real t, const real p)
{
    if (p == 0) return 1;
    if (p == 1) return t;
    if (p == 2) return t * t;
    if (p == 3) return t * t * t;
    return power(t, p);
}

APART real norm_of(
    global const element *x, const place at, POOL_SIZES, VIEW(x), const real p)
{
    const reach rd = reach_of(at.d, ID, KD, SD, DD, PD, QD);
    const reach rh = reach_of(at.h, IH, KH, SH, DH, PH, QH);
    const reach rw = reach_of(at.w, IW, KW, SW, DW, PW, QW);
    real largest = 0;
    for (int id = rd.first; id < rd.end; id++)
        for (int ih = rh.first; ih < rh.end; ih++)
            for (int iw = rw.first; iw < rw.end; iw++) {
                const real size = magnitude(load(x, AT(x, at.n, at.c, id, ih, iw)));
                if (size > largest || size != size) largest = size;
            }
    if (!(largest > 0 && largest < infinity())) return largest;

    const real scale = scale_for(largest, p);
    real sum = 0;
    for (int id = rd.first; id < rd.end; id++)
        for (int ih = rh.first; ih < rh.end; ih++)
            for (int iw = rw.first; iw < rw.end; iw++)
                sum += power_of(magnitude(load(x, AT(x, at.n, at.c, id, ih, iw))) / scale, p);
    return scale * (p == 1 ? sum : p == 2 ? square_root(sum) : power(sum, 1 / p));
}

#define ALL_SIZES \
    N, C, ID, IH, IW, OD, OH, OW, KD, KH, KW, SD, SH, SW, DD, DH, DW, PD, PH, PW, QD, QH, QW, \
    x_start, x_n, x_c, x_d, x_h, x_w

#endif
