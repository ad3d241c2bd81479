/* Lp pooling of finite order p and its gradient: right for every shape on every device.
 *
 *     y[n, c, o]  = (sum over k of |x[n, c, i(o, k)]|^p)^(1/p)                   over the taps that are on the image
 *     dx[n, c, i] = sum over the windows o that i is in of dy[n, c, o] sign(x) (|x| / y)^(p - 1), and 0 where x = 0
 */
#include "pool_lp.h"
#include "epilogue.h"

kernel void lp_pool_fwd(
    WORK_ITEM
    global const element *x, EPILOGUE_ARRAYS, global element *y, POOL_SIZES, VIEW(x), VIEW(y), EPILOGUE, VIEW(residual),
    const real p)
{
    if (WORK_ITEM_INDEX >= N * C * OD * OH * OW) return;
    const place at = place_of(WORK_ITEM_INDEX, C, OD, OH, OW);
    const real norm = norm_of(x, at, ALL_SIZES, p);
    store(y, AT_PLACE(y, at), FINISHED(norm, at.c, AT_PLACE(residual, at)));
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
