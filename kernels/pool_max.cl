/* Max pooling and its gradient: right for every shape on every device.
 *
 *     y[n, c, o]       = max over k of x[n, c, i(o, k)]                          over the taps that are on the image
 *     indices[n, c, o] = the first i(o, k), counted through the plane, with that value
 *     dx[n, c, i]      = sum over the windows o that selected i of dy[n, c, o]
 *
 * NaN is larger than every number, and the first NaN is the maximum. With `magnitudes` all this is of |x|, and dx gets
 * x's sign: the Lp norm of infinite order. Each result is gathered by one work-item in a fixed order.
 */
#include "pool.h"
#include "epilogue.h"
#include "math.h"

typedef struct { real value; index64 index; } maximum;

/* The first maximum of a window: the value that wins over all before it. */
static inline maximum maximum_of(
    global const element *x, const place at, POOL_SIZES, VIEW(x), const int magnitudes)
{
    const reach rd = reach_of(at.d, ID, KD, SD, DD, PD, QD);
    const reach rh = reach_of(at.h, IH, KH, SH, DH, PH, QH);
    const reach rw = reach_of(at.w, IW, KW, SW, DW, PW, QW);
    maximum best = {0, -1};
    for (int id = rd.first; id < rd.end; id += DD)
        for (int ih = rh.first; ih < rh.end; ih += DH)
            for (int iw = rw.first; iw < rw.end; iw += DW) {
                const real read = load(x, AT(x, at.n, at.c, id, ih, iw));
                const real value = magnitudes ? magnitude(read) : read;
                const int wins = value > best.value || (value != value && best.value == best.value);
                if (wins || best.index < 0) {
                    best.value = value;
                    best.index = ((index64)id * IH + ih) * IW + iw;
                }
            }
    return best;
}

#define ALL_SIZES \
    N, C, ID, IH, IW, OD, OH, OW, KD, KH, KW, SD, SH, SW, DD, DH, DW, PD, PH, PW, QD, QH, QW, \
    x_start, x_n, x_c, x_d, x_h, x_w

kernel void max_pool_fwd(
    WORK_ITEM
    global const element *x, EPILOGUE_ARRAYS, global element *y, global index64 *indices,
    POOL_SIZES, VIEW(x), VIEW(y), VIEW(indices), EPILOGUE, VIEW(residual), const int has_indices, const int magnitudes)
{
    if (WORK_ITEM_INDEX >= N * C * OD * OH * OW) return;
    const place at = place_of(WORK_ITEM_INDEX, C, OD, OH, OW);
    const maximum best = maximum_of(x, at, ALL_SIZES, magnitudes);
    store(y, AT_PLACE(y, at), FINISHED(best.value, at.c, AT_PLACE(residual, at)));
    if (has_indices) indices[AT_PLACE(indices, at)] = best.index;
}

/* Where each window's maximum is, for the gradient that goes to the first of equal maxima. */
kernel void max_pool_winners(
    WORK_ITEM
    global const element *x, global index64 *winners, POOL_SIZES, VIEW(x), const int magnitudes)
{
    const index64 item = WORK_ITEM_INDEX;
    if (item >= N * C * OD * OH * OW) return;
    winners[item] = maximum_of(x, place_of(item, C, OD, OH, OW), ALL_SIZES, magnitudes).index;
}

kernel void max_pool_bwd(
    WORK_ITEM
    global const element *x, global const index64 *winners, global const element *dy, global element *dx,
    POOL_SIZES, VIEW(x), VIEW(dy), VIEW(dx), const int magnitudes)
{
    if (WORK_ITEM_INDEX >= N * C * ID * IH * IW) return;
    const place at = place_of(WORK_ITEM_INDEX, C, ID, IH, IW);
    const windows wd = windows_over(at.d, OD, KD, SD, DD, PD, QD);
    const windows wh = windows_over(at.h, OH, KH, SH, DH, PH, QH);
    const windows ww = windows_over(at.w, OW, KW, SW, DW, PW, QW);
    const index64 index = ((index64)at.d * IH + at.h) * IW + at.w;
    real sum = 0;
    for (int od = wd.first; od <= wd.last; od++)
        for (int oh = wh.first; oh <= wh.last; oh++)
            for (int ow = ww.first; ow <= ww.last; ow++) {
                const index64 o = (((at.n * C + at.c) * OD + od) * OH + oh) * OW + ow;
                if (winners[o] == index) sum += load(dy, AT(dy, at.n, at.c, od, oh, ow));
            }
    if (magnitudes) {
        const real value = load(x, AT_PLACE(x, at));
        sum = value > 0 ? sum : value < 0 ? -sum : 0;
    }
    store(dx, AT_PLACE(dx, at), sum);
}

/* For a gradient that goes to all maxima: each window's maximum, and what each pixel that has it gets, which is dy or
 * with `shared` an equal part of it. */
kernel void max_pool_parts(
    WORK_ITEM
    global const element *x, global const element *dy, global real *top, global real *part,
    POOL_SIZES, VIEW(x), VIEW(dy), const int shared)
{
    const index64 item = WORK_ITEM_INDEX;
    if (item >= N * C * OD * OH * OW) return;
    const place at = place_of(item, C, OD, OH, OW);
    const real best = maximum_of(x, at, ALL_SIZES, 0).value;
    real count = 0;
    if (shared) {
        const reach rd = reach_of(at.d, ID, KD, SD, DD, PD, QD);
        const reach rh = reach_of(at.h, IH, KH, SH, DH, PH, QH);
        const reach rw = reach_of(at.w, IW, KW, SW, DW, PW, QW);
        for (int id = rd.first; id < rd.end; id += DD)
            for (int ih = rh.first; ih < rh.end; ih += DH)
                for (int iw = rw.first; iw < rw.end; iw += DW) {
                    const real value = load(x, AT(x, at.n, at.c, id, ih, iw));
                    if (value == best || value != value) count += 1;
                }
    }
    top[item] = best;
    part[item] = shared ? load(dy, AT_PLACE(dy, at)) / count : load(dy, AT_PLACE(dy, at));
}

kernel void max_pool_bwd_ties(
    WORK_ITEM
    global const element *x, global const real *top, global const real *part, global element *dx,
    POOL_SIZES, VIEW(x), VIEW(dx))
{
    if (WORK_ITEM_INDEX >= N * C * ID * IH * IW) return;
    const place at = place_of(WORK_ITEM_INDEX, C, ID, IH, IW);
    const windows wd = windows_over(at.d, OD, KD, SD, DD, PD, QD);
    const windows wh = windows_over(at.h, OH, KH, SH, DH, PH, QH);
    const windows ww = windows_over(at.w, OW, KW, SW, DW, PW, QW);
    const real value = load(x, AT_PLACE(x, at));
    real sum = 0;
    for (int od = wd.first; od <= wd.last; od++) {
        if (!is_tap(at.d, od, SD, DD, PD)) continue;
        for (int oh = wh.first; oh <= wh.last; oh++) {
            if (!is_tap(at.h, oh, SH, DH, PH)) continue;
            for (int ow = ww.first; ow <= ww.last; ow++) {
                if (!is_tap(at.w, ow, SW, DW, PW)) continue;
                const index64 o = (((at.n * C + at.c) * OD + od) * OH + oh) * OW + ow;
                if (value == top[o] || value != value) sum += part[o];
            }
        }
    }
    store(dx, AT_PLACE(dx, at), sum);
}
