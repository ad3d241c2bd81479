/* Resizing an image, and its gradient: a matrix of weights along each spatial axis.
 *
 *     y[n, c, od, oh, ow] = sum over td, th, tw of
 *                           wd[od, td] * wh[oh, th] * ww[ow, tw] * x[n, c, id + td, ih + th, iw + tw]
 *
 * with id, ih, iw the first pixels that the position reads. The gradient has the transposed matrices: the same kernel
 * with other tables. */
#include "resize_tables.h"

kernel void resize(
    WORK_ITEM
    global const element *x, global element *y, global const int *pixels, global const real *weights,
    RESIZE_SIZES, VIEW(x), VIEW(y))
{
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * C * OD * OH * OW) return;
    const int ow = item % OW; item /= OW;
    const int oh = item % OH; item /= OH;
    const int od = item % OD; item /= OD;
    const index64 c = item % C;
    const index64 n = item / C;

    global const int *rd = PIXELS_D(od), *rh = PIXELS_H(oh), *rw = PIXELS_W(ow);
    global const real *wd = WEIGHTS_D(od), *wh = WEIGHTS_H(oh), *ww = WEIGHTS_W(ow);
    real sum = 0;
    for (int td = 0; td < rd[1]; td++) {
        for (int th = 0; th < rh[1]; th++) {
            real row = 0;
            for (int tw = 0; tw < rw[1]; tw++)
                row += ww[tw] * load(x, AT(x, n, c, rd[0] + td, rh[0] + th, rw[0] + tw));
            sum += wd[td] * wh[th] * row;
        }
    }
    store(y, AT(y, n, c, od, oh, ow), sum);
}
