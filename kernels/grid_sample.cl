/* Sampling an image at the positions of a grid, and the gradients with respect to the image and to the grid.
 *
 *     y[n, c, o]     = sum over taps t of w[t] * x[n, c, i[t]]
 *     dx[n, c, i]    = sum over o, t with i[t] = i of w[t] * dy[n, c, o]
 *     dgrid[n, o, k] = sum over c, t of dw[t]/dgrid[k] * x[n, c, i[t]] * dy[n, c, o]
 *
 * dx is scattered: a work-item owns whole planes and goes through the positions in their order, so that the sums have the
 * same bits on every run. */
#include "grid_sample.h"

kernel void grid_sample(
    WORK_ITEM
    global const element *x, global const element *grid, global element *y,
    GRID_SIZES, VIEW(x), GRID_VIEW(grid), VIEW(y))
{
    const index64 SLICES = (C - 1) / CHANNELS + 1;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * SLICES * OD * OH * OW) return;
    const int ow = item % OW; item /= OW;
    const int oh = item % OH; item /= OH;
    const int od = item % OD; item /= OD;
    const index64 first = item % SLICES * CHANNELS;
    const index64 n = item / SLICES;
    const index64 last = C - first < CHANNELS ? C : first + CHANNELS;

    PIXELS_AT(n, od, oh, ow, x_d, x_h, x_w)
    for (index64 c = first; c < last; c++) {
        const index64 plane = AT(x, n, c, 0, 0, 0);
        real sum = 0;
        for (int i = 0; i < count; i++) sum += weight[i] * load(x, plane + offset[i]);
        store(y, AT(y, n, c, od, oh, ow), sum);
    }
}

/* `sums` holds planes in the type of the sums, (N, C, ID, IH, IW) without gaps. */
kernel void grid_sample_bwd_input(
    WORK_ITEM
    global const element *dy, global const element *grid, global real *sums,
    GRID_SIZES, VIEW(dy), GRID_VIEW(grid))
{
    const index64 SLICES = (C - 1) / CHANNELS + 1;
    const index64 item = WORK_ITEM_INDEX;
    if (item >= N * SLICES) return;
    const index64 first = item % SLICES * CHANNELS;
    const index64 n = item / SLICES;
    const index64 last = C - first < CHANNELS ? C : first + CHANNELS;
    const index64 PLANE = (index64)ID * IH * IW;

    for (index64 i = (n * C + first) * PLANE; i < (n * C + last) * PLANE; i++) sums[i] = 0;
    for (int od = 0; od < OD; od++) {
        for (int oh = 0; oh < OH; oh++) {
            for (int ow = 0; ow < OW; ow++) {
                PIXELS_AT(n, od, oh, ow, (index64)IH * IW, (index64)IW, (index64)1)
                for (index64 c = first; c < last; c++) {
                    const real g = load(dy, AT(dy, n, c, od, oh, ow));
                    global real *plane = sums + (n * C + c) * PLANE;
                    for (int i = 0; i < count; i++) plane[offset[i]] += weight[i] * g;
                }
            }
        }
    }
}

kernel void grid_sample_bwd_grid(
    WORK_ITEM
    global const element *dy, global const element *x, global const element *grid, global element *dgrid,
    GRID_SIZES, VIEW(dy), VIEW(x), GRID_VIEW(grid), GRID_VIEW(dgrid))
{
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * OD * OH * OW) return;
    const int ow = item % OW; item /= OW;
    const int oh = item % OH; item /= OH;
    const int od = item % OD;
    const index64 n = item / OD;

    PIXELS_AT(n, od, oh, ow, x_d, x_h, x_w)
    real sum_d = 0, sum_h = 0, sum_w = 0;
    for (index64 c = 0; c < C && mode != NEAREST; c++) { /* no weight of a nearest pixel changes with the position */
        const index64 plane = AT(x, n, c, 0, 0, 0);
        const real g = load(dy, AT(dy, n, c, od, oh, ow));
        for (int i = 0; i < count; i++) {
            const real product = g * load(x, plane + offset[i]);
            sum_w += slope_w[i] * product;
            sum_h += slope_h[i] * product;
            sum_d += slope_d[i] * product;
        }
    }
    store(dgrid, GRID_AT(dgrid, n, od, oh, ow, 0), sum_w);
    store(dgrid, GRID_AT(dgrid, n, od, oh, ow, 1), sum_h);
    if (RANK == 3) store(dgrid, GRID_AT(dgrid, n, od, oh, ow, 2), sum_d);
}
