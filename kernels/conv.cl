/* Convolution and its two gradients: right for every shape on every device.
 *
 *     y[n, oc, o]    = b[oc] + sum over icg, k     of w[oc, icg, k] * x[n, g*ICG + icg, source(o*S - P + k*D)]
 *     dx[n, ic, i]   = b[ic] + sum over ocg, k, o  of w[g*OCG + ocg, icg, k] * dy[n, g*OCG + ocg, o]
 *                                                     where source(o*S - P + k*D) = i
 *     dw[oc, icg, k] =         sum over n, o       of dy[n, oc, o] * x[n, g*ICG + icg, source(o*S - P + k*D)]
 *
 * o, k, i stand for all three spatial axes. Zero padding contributes no product: an infinite weight over it is no NaN.
 * Every result is gathered by one work-item in a fixed order, so it is the same bit for bit from run to run. The bias in
 * dx is that of the transposed convolution, which is this pass. What is stored has been through the epilogue.
 */
#include "convolution.h"
#include "epilogue.h"

kernel void conv_fwd(
    WORK_ITEM
    global const element *x, global const element *w, global const element *b, EPILOGUE_ARRAYS, global element *y,
    CONV_SIZES, VIEW(x), VIEW(w), VIEW(y), const index64 b_start, const index64 b_c, const int has_bias,
    EPILOGUE, VIEW(residual))
{
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * G * OCG * OD * OH * OW) return;
    const int ow = item % OW; item /= OW;
    const int oh = item % OH; item /= OH;
    const int od = item % OD; item /= OD;
    const index64 oc = item % ((index64)G * OCG);
    const index64 n = item / ((index64)G * OCG);
    const index64 g = oc / OCG;

    real sum = has_bias ? load(b, b_start + oc * b_c) : 0;
    for (int kd = 0; kd < KD; kd++) {
        const int id = source_of(od * SD - PD + kd * DD, ID, padding_mode);
        if (id < 0) continue;
        for (int kh = 0; kh < KH; kh++) {
            const int ih = source_of(oh * SH - PH + kh * DH, IH, padding_mode);
            if (ih < 0) continue;
            for (int kw = 0; kw < KW; kw++) {
                const int iw = source_of(ow * SW - PW + kw * DW, IW, padding_mode);
                if (iw < 0) continue;
                for (int icg = 0; icg < ICG; icg++)
                    sum += load(w, AT(w, oc, icg, kd, kh, kw)) * load(x, AT(x, n, g * ICG + icg, id, ih, iw));
            }
        }
    }
    store(y, AT(y, n, oc, od, oh, ow), FINISHED(sum, oc, AT(residual, n, oc, od, oh, ow)));
}

kernel void conv_bwd_data(
    WORK_ITEM
    global const element *dy, global const element *w, global const element *b, EPILOGUE_ARRAYS, global element *dx,
    CONV_SIZES, const int HIGH_D, const int HIGH_H, const int HIGH_W,
    VIEW(dy), VIEW(w), VIEW(dx), const index64 b_start, const index64 b_c, const int has_bias,
    EPILOGUE, VIEW(residual))
{
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * G * ICG * ID * IH * IW) return;
    const int iw = item % IW; item /= IW;
    const int ih = item % IH; item /= IH;
    const int id = item % ID; item /= ID;
    const index64 ic = item % ((index64)G * ICG);
    const index64 n = item / ((index64)G * ICG);
    const index64 g = ic / ICG;
    const index64 icg = ic % ICG;

    /* One loop per axis runs over the pairs of a tap and an image of the position: taps outside, images inside. */
    const int ED = image_count(id, ID, PD, HIGH_D, padding_mode);
    const int EH = image_count(ih, IH, PH, HIGH_H, padding_mode);
    const int EW = image_count(iw, IW, PW, HIGH_W, padding_mode);
    real sum = has_bias ? load(b, b_start + ic * b_c) : 0;
    for (index64 jd = 0; jd < (index64)KD * ED; jd++) {
        const index64 kd = jd / ED;
        const int od = reader(jd, ED, id, ID, OD, SD, DD, PD, padding_mode);
        if (od < 0) continue;
        for (index64 jh = 0; jh < (index64)KH * EH; jh++) {
            const index64 kh = jh / EH;
            const int oh = reader(jh, EH, ih, IH, OH, SH, DH, PH, padding_mode);
            if (oh < 0) continue;
            for (index64 jw = 0; jw < (index64)KW * EW; jw++) {
                const index64 kw = jw / EW;
                const int ow = reader(jw, EW, iw, IW, OW, SW, DW, PW, padding_mode);
                if (ow < 0) continue;
                for (index64 oc = g * OCG; oc < (g + 1) * OCG; oc++)
                    sum += load(w, AT(w, oc, icg, kd, kh, kw)) * load(dy, AT(dy, n, oc, od, oh, ow));
            }
        }
    }
    store(dx, AT(dx, n, ic, id, ih, iw), FINISHED(sum, ic, AT(residual, n, ic, id, ih, iw)));
}

/* The sums over n and o are long, and there may be few of them: each is cut into PARTS slices of its N*OD*OH*OW terms,
 * summed by work-items of their own into `part`, then added in order by sum_parts. */
kernel void conv_bwd_weights(
    WORK_ITEM
    global const element *x, global const element *dy, global real *part,
    CONV_SIZES, VIEW(x), VIEW(dy), const int PARTS)
{
    index64 item = WORK_ITEM_INDEX;
    if (item >= (index64)PARTS * G * OCG * ICG * KD * KH * KW) return;
    const int kw = item % KW; item /= KW;
    const int kh = item % KH; item /= KH;
    const int kd = item % KD; item /= KD;
    const int icg = item % ICG; item /= ICG;
    const index64 oc = item % ((index64)G * OCG);
    const index64 slice = item / ((index64)G * OCG);
    const index64 ic = oc / OCG * ICG + icg;

    const index64 terms = N * OD * OH * OW;
    const index64 end = terms * (slice + 1) / PARTS;
    real sum = 0;
    for (index64 term = terms * slice / PARTS; term < end;) {
        index64 row = term / OW;
        const int first = term % OW;
        const int last = end - term < OW - first ? first + (int)(end - term) : OW;
        const int oh = row % OH; row /= OH;
        const int od = row % OD;
        const index64 n = row / OD;
        const int id = source_of(od * SD - PD + kd * DD, ID, padding_mode);
        const int ih = source_of(oh * SH - PH + kh * DH, IH, padding_mode);
        term += last - first;
        if (id < 0 || ih < 0) continue;
        for (int ow = first; ow < last; ow++) {
            const int iw = source_of(ow * SW - PW + kw * DW, IW, padding_mode);
            if (iw < 0) continue;
            sum += load(dy, AT(dy, n, oc, od, oh, ow)) * load(x, AT(x, n, ic, id, ih, iw));
        }
    }
    part[WORK_ITEM_INDEX] = sum;
}
