/* Average pooling and its gradient: right for every shape on every device.
 *
 *     y[n, c, o]  = (sum over k of x[n, c, i(o, k)]) / divisor(o)                 over the taps that are on the image
 *     dx[n, c, i] = sum over the windows o that i is in of dy[n, c, o] / divisor(o)
 *
 * The divisor is the number of taps on the image, or with `count_padding` those on the padding, too, but never those
 * beyond it (ceil_mode); or it is given, for all windows the same. There is no dilation. What is stored of y has been
 * through the epilogue.
 */
#include "pool_divisor.h"
#include "epilogue.h"

kernel void avg_pool_fwd(
    WORK_ITEM
    global const element *x, EPILOGUE_ARRAYS, global element *y, POOL_SIZES, VIEW(x), VIEW(y), DIVISOR,
    EPILOGUE, VIEW(residual))
{
    if (WORK_ITEM_INDEX >= N * C * OD * OH * OW) return;
    const place at = place_of(WORK_ITEM_INDEX, C, OD, OH, OW);
    const reach rd = reach_of(at.d, ID, KD, SD, DD, PD, QD);
    const reach rh = reach_of(at.h, IH, KH, SH, DH, PH, QH);
    const reach rw = reach_of(at.w, IW, KW, SW, DW, PW, QW);
    real sum = 0;
    for (int id = rd.first; id < rd.end; id++)
        for (int ih = rh.first; ih < rh.end; ih++)
            for (int iw = rw.first; iw < rw.end; iw++) sum += load(x, AT(x, at.n, at.c, id, ih, iw));
    const real count = counted(rd, ID, HIGH_D, count_padding) * counted(rh, IH, HIGH_H, count_padding)
        * counted(rw, IW, HIGH_W, count_padding);
    const real mean = sum / (divisor ? (real)divisor : count);
    store(y, AT_PLACE(y, at), FINISHED(mean, at.c, AT_PLACE(residual, at)));
}

kernel void avg_pool_bwd(
    WORK_ITEM
    global const element *dy, global element *dx, POOL_SIZES, VIEW(dy), VIEW(dx), DIVISOR)
{
    if (WORK_ITEM_INDEX >= N * C * ID * IH * IW) return;
    const place at = place_of(WORK_ITEM_INDEX, C, ID, IH, IW);
    const windows wd = windows_over(at.d, OD, KD, SD, DD, PD, QD);
    const windows wh = windows_over(at.h, OH, KH, SH, DH, PH, QH);
    const windows ww = windows_over(at.w, OW, KW, SW, DW, PW, QW);
    real sum = 0;
    for (int od = wd.first; od <= wd.last; od++) {
        const real of_d = counted(reach_of(od, ID, KD, SD, DD, PD, QD), ID, HIGH_D, count_padding);
        for (int oh = wh.first; oh <= wh.last; oh++) {
            const real of_h = of_d * counted(reach_of(oh, IH, KH, SH, DH, PH, QH), IH, HIGH_H, count_padding);
            for (int ow = ww.first; ow <= ww.last; ow++) {
                const real count = of_h * counted(reach_of(ow, IW, KW, SW, DW, PW, QW), IW, HIGH_W, count_padding);
                sum += load(dy, AT(dy, at.n, at.c, od, oh, ow)) / (divisor ? (real)divisor : count);
            }
        }
    }
    store(dx, AT_PLACE(dx, at), sum);
}
