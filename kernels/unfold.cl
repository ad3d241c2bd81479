/* unfold copies every window of the input into a column; fold, its adjoint, adds the columns back.
 *
 *     columns[n, c, k, o] = x[n, c, source(o*S - P + k*D)]
 *     x[n, c, i]          = sum over k, o of columns[n, c, k, o]    where source(o*S - P + k*D) = i
 *
 * In memory the axes c and k of the columns are one axis, and so are the axes of o.
 */
#include "convolution.h"

#define WINDOW_SIZES \
    const index64 N, const index64 C, \
    const int ID, const int IH, const int IW, \
    const int OD, const int OH, const int OW, \
    const int KD, const int KH, const int KW, \
    const int SD, const int SH, const int SW, \
    const int DD, const int DH, const int DW, \
    const int PD, const int PH, const int PW, \
    const int padding_mode

#define COLUMNS \
    const index64 columns_start, const index64 columns_n, const index64 columns_k, const index64 columns_o

#define COLUMN_AT(n, c, kd, kh, kw, od, oh, ow) \
    (columns_start + (n) * columns_n \
     + ((((c) * KD + (kd)) * KH + (kh)) * KW + (kw)) * columns_k \
     + (((index64)(od) * OH + (oh)) * OW + (ow)) * columns_o)

kernel void unfold(
    WORK_ITEM
    global const element *x, global element *columns,
    WINDOW_SIZES, VIEW(x), COLUMNS)
{
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * C * KD * KH * KW * OD * OH * OW) return;
    const int ow = item % OW; item /= OW;
    const int oh = item % OH; item /= OH;
    const int od = item % OD; item /= OD;
    const int kw = item % KW; item /= KW;
    const int kh = item % KH; item /= KH;
    const int kd = item % KD; item /= KD;
    const index64 c = item % C;
    const index64 n = item / C;

    const int id = source_of(od * SD - PD + kd * DD, ID, padding_mode);
    const int ih = source_of(oh * SH - PH + kh * DH, IH, padding_mode);
    const int iw = source_of(ow * SW - PW + kw * DW, IW, padding_mode);
    const real value = id < 0 || ih < 0 || iw < 0 ? 0 : load(x, AT(x, n, c, id, ih, iw));
    store(columns, COLUMN_AT(n, c, kd, kh, kw, od, oh, ow), value);
}

kernel void fold(
    WORK_ITEM
    global const element *columns, global element *x,
    WINDOW_SIZES, const int HIGH_D, const int HIGH_H, const int HIGH_W, COLUMNS, VIEW(x))
{
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * C * ID * IH * IW) return;
    const int iw = item % IW; item /= IW;
    const int ih = item % IH; item /= IH;
    const int id = item % ID; item /= ID;
    const index64 c = item % C;
    const index64 n = item / C;

    const int ED = image_count(id, ID, PD, HIGH_D, padding_mode);
    const int EH = image_count(ih, IH, PH, HIGH_H, padding_mode);
    const int EW = image_count(iw, IW, PW, HIGH_W, padding_mode);
    real sum = 0;
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
                if (ow >= 0) sum += load(columns, COLUMN_AT(n, c, kd, kh, kw, od, oh, ow));
            }
        }
    }
    store(x, AT(x, n, c, id, ih, iw), sum);
}
