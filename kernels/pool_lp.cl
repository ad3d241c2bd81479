/* Lp pooling of finite order p and its gradient: right for every shape on every device.
 *
 *     y[n, c, o]  = (sum over k of |x[n, c, i(o, k)]|^p)^(1/p)                   over the taps that are on the image
 *     dx[n, c, i] = sum over the windows o that i is in of dy[n, c, o] sign(x) (|x| / y)^(p - 1), and 0 where x = 0
 *
 * Powers are taken of |x| / scale, so that they neither overflow nor all vanish: the scale is the largest |x| of the
 * window, or for small p, whose powers stay in range, the power of two below it, by which division is exact.
 */
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
    return power(t, p);
}

static inline real norm_of(
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

kernel void lp_pool_fwd(
    WORK_ITEM
    global const element *x, global element *y, POOL_SIZES, VIEW(x), VIEW(y), const real p)
{
    if (WORK_ITEM_INDEX >= N * C * OD * OH * OW) return;
    const place at = place_of(WORK_ITEM_INDEX, C, OD, OH, OW);
    store(y, AT_PLACE(y, at), norm_of(x, at, ALL_SIZES, p));
}

/* The norms again, for the gradient: of halves, before they are rounded. */
kernel void lp_pool_norms(
    WORK_ITEM
    global const element *x, global real *norms, POOL_SIZES, VIEW(x), const real p)
{
    const index64 item = WORK_ITEM_INDEX;
    if (item >= N * C * OD * OH * OW) return;
    norms[item] = norm_of(x, place_of(item, C, OD, OH, OW), ALL_SIZES, p);
}

kernel void lp_pool_bwd(
    WORK_ITEM
    global const element *x, global const real *norms, global const element *dy, global element *dx,
    POOL_SIZES, VIEW(x), VIEW(dy), VIEW(dx), const real p)
{
    if (WORK_ITEM_INDEX >= N * C * ID * IH * IW) return;
    const place at = place_of(WORK_ITEM_INDEX, C, ID, IH, IW);
    const windows wd = windows_over(at.d, OD, KD, SD, DD, PD, QD);
    const windows wh = windows_over(at.h, OH, KH, SH, DH, PH, QH);
    const windows ww = windows_over(at.w, OW, KW, SW, DW, PW, QW);
    const real value = load(x, AT_PLACE(x, at));
    real sum = 0;
    if (value != 0)
        for (int od = wd.first; od <= wd.last; od++)
            for (int oh = wh.first; oh <= wh.last; oh++)
                for (int ow = ww.first; ow <= ww.last; ow++) {
                    const real norm = norms[(((at.n * C + at.c) * OD + od) * OH + oh) * OW + ow];
                    sum += load(dy, AT(dy, at.n, at.c, od, oh, ow)) * power_of(magnitude(value) / norm, p - 1);
                }
    store(dx, AT_PLACE(dx, at), value < 0 ? -sum : sum);
}
