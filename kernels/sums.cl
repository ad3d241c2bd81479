/* Long sums in two steps whose order is fixed: slices of the terms first, then the slices' sums.
 *
 *     part[s, c]  = sum of a[n, c, d, h, w] over the terms (n, d, h, w) of slice s    (the bias gradient)
 *     sum[i]      = part[0, i] + part[1, i] + ...
 *
 * How many slices (PARTS) depends on the shapes alone: results are the same on every run.
 */
#include "convolution.h"

/* Sums of a slice side by side: what compilers make vectors of, and less of an error than one sum has. */
#define SIDE 32

/* One work-item sums a slice of a channel, row by row. */
kernel void channel_sums(
    WORK_ITEM
    global const element *a, global real *part,
    const index64 N, const index64 C, const int D, const int H, const int W, VIEW(a), const int PARTS)
{
    const index64 item = WORK_ITEM_INDEX;
    if (item >= PARTS * C) return;
    const index64 c = item % C;
    const index64 slice = item / C;

    /* Axes that continue each other are one row, and so is the batch where there is nothing else. */
    const int is_batch = (index64)D * H * W == 1;
    const index64 step = is_batch ? a_n : a_w;
    index64 length = is_batch ? N : W;
    int heights = H, depths = D;
    if (H == 1 || a_h == length * a_w) {
        length *= H;
        heights = 1;
        if (D == 1 || a_d == length * a_w) {
            length *= D;
            depths = 1;
        }
    }
    real side[SIDE];
    UNROLLED for (int s = 0; s < SIDE; s++) side[s] = 0;
    const index64 terms = N * D * H * W;
    const index64 end = terms * (slice + 1) / PARTS;
    for (index64 term = terms * slice / PARTS; term < end;) {
        index64 row = term / length;
        const index64 first = term % length;
        const index64 count = length - first < end - term ? length - first : end - term;
        const int h = row % heights; row /= heights;
        const index64 at = AT(a, row / depths, c, row % depths, h, 0) + first * step;
        index64 k = 0;
        if (step == 1)
            for (; k + SIDE <= count; k += SIDE)
                UNROLLED for (int s = 0; s < SIDE; s++) side[s] += load(a, at + k + s);
        for (; k < count; k++) side[k % SIDE] += load(a, at + k * step);
        term += count;
    }
    UNROLLED for (int width = SIDE / 2; width > 0; width /= 2)
        for (int s = 0; s < width; s++) side[s] += side[s + width];
    part[item] = side[0];
}

kernel void sum_parts(
    WORK_ITEM
    global const real *part, global element *sum,
    const index64 N, const index64 C, const int D, const int H, const int W, VIEW(sum), const int PARTS)
{
    const index64 count = N * C * D * H * W;
    index64 item = WORK_ITEM_INDEX;
    if (item >= count) return;
    real total = 0;
    for (int slice = 0; slice < PARTS; slice++) total += part[slice * count + item];
    const int w = item % W; item /= W;
    const int h = item % H; item /= H;
    const int d = item % D; item /= D;
    store(sum, AT(sum, item / C, item % C, d, h, w), total);
}

/* The same for processors: one work-item adds up RUN neighbours, SIDE at a time, each in the same order. */
kernel void sum_runs_of_parts(
    WORK_ITEM
    global const real *part, global element *sum,
    const index64 N, const index64 C, const int D, const int H, const int W, VIEW(sum), const int PARTS, const int RUN)
{
    const index64 count = N * C * D * H * W;
    const index64 first = WORK_ITEM_INDEX * RUN;
    if (first >= count) return;
    const index64 last = first + RUN < count ? first + RUN : count;
    index64 row = first / W;
    int w = first % W;
    int h = row % H; row /= H;
    int d = row % D; row /= D;
    index64 n = row / C, c = row % C;
    for (index64 i = first; i < last; i += SIDE) {
        const int width = last - i < SIDE ? last - i : SIDE;
        real side[SIDE];
        UNROLLED for (int s = 0; s < SIDE; s++) side[s] = 0;
        for (int slice = 0; slice < PARTS; slice++) {
            global const real *sums = part + slice * count + i;
            if (width == SIDE) {
                UNROLLED for (int s = 0; s < SIDE; s++) side[s] += sums[s];
            } else {
                for (int s = 0; s < width; s++) side[s] += sums[s];
            }
        }
        for (int s = 0; s < width; s++) {
            store(sum, AT(sum, n, c, d, h, w), side[s]);
            if (++w < W) continue;
            w = 0;
            if (++h < H) continue;
            h = 0;
            if (++d < D) continue;
            d = 0;
            if (++c < C) continue;
            c = 0;
            n++;
        }
    }
}
