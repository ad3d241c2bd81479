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

    const int id = PIXELS_D[od], taps_d = PIXELS_D[OD + od];
    const int ih = PIXELS_H[oh], taps_h = PIXELS_H[OH + oh];
    const int iw = PIXELS_W[ow], taps_w = PIXELS_W[OW + ow];
    real sum = 0;
    for (int td = 0; td < taps_d; td++) {
        for (int th = 0; th < taps_h; th++) {
            real row = 0;
            for (int tw = 0; tw < taps_w; tw++)
                row += WEIGHTS_W[(index64)tw * OW + ow] * load(x, AT(x, n, c, id + td, ih + th, iw + tw));
            sum += WEIGHTS_D[(index64)td * OD + od] * WEIGHTS_H[(index64)th * OH + oh] * row;
        }
    }
    store(y, AT(y, n, c, od, oh, ow), sum);
}
