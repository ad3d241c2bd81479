/* Max unpooling and its gradient.
 *
 *     y[n, c, indices[n, c, i]] = x[n, c, i], and 0 where no index points
 *     dx[n, c, i]               = dy[n, c, indices[n, c, i]]
 *
 * Indices count through the output's plane. One work-item fills a whole plane, in the order of the input, so that of
 * equal indices the last one decides on every run.
 */
#include "pool.h"

#define UNPOOL_SIZES \
    const index64 N, const index64 C, \
    const int ID, const int IH, const int IW, const int OD, const int OH, const int OW

kernel void max_unpool_fwd(
    WORK_ITEM
    global const element *x, global const index64 *indices, global element *y,
    UNPOOL_SIZES, VIEW(x), VIEW(indices), VIEW(y))
{
    const index64 plane = WORK_ITEM_INDEX;
    if (plane >= N * C) return;
    const index64 n = plane / C;
    const index64 c = plane % C;
    for (int od = 0; od < OD; od++)
        for (int oh = 0; oh < OH; oh++)
            for (int ow = 0; ow < OW; ow++) store(y, AT(y, n, c, od, oh, ow), 0);
    for (int id = 0; id < ID; id++)
        for (int ih = 0; ih < IH; ih++)
            for (int iw = 0; iw < IW; iw++) {
                const place to = place_of(indices[AT(indices, n, c, id, ih, iw)], 1, OD, OH, OW);
                store(y, AT(y, n, c, to.d, to.h, to.w), load(x, AT(x, n, c, id, ih, iw)));
            }
}

kernel void max_unpool_bwd(
    WORK_ITEM
    global const element *dy, global const index64 *indices, global element *dx,
    UNPOOL_SIZES, VIEW(dy), VIEW(indices), VIEW(dx))
{
    if (WORK_ITEM_INDEX >= N * C * ID * IH * IW) return;
    const place at = place_of(WORK_ITEM_INDEX, C, ID, IH, IW);
    const place from = place_of(indices[AT_PLACE(indices, at)], 1, OD, OH, OW);
    store(dx, AT_PLACE(dx, at), load(dy, AT(dy, at.n, at.c, from.d, from.h, from.w)));
}
