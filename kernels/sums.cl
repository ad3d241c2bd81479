/* Long sums in two steps whose order is fixed: slices of the terms first, then the slices' sums.
 *
 *     part[s, c]  = sum of a[n, c, d, h, w] over the terms (n, d, h, w) of slice s    (the bias gradient)
 *     sum[i]      = part[0, i] + part[1, i] + ...
 *
 * How many slices (PARTS) depends on the shapes alone: results are the same on every run.
 */
#include "convolution.h"

kernel void channel_sums(
    WORK_ITEM
    global const element *a, global real *part,
    const index64 N, const index64 C, const int D, const int H, const int W, VIEW(a), const int PARTS)
{
    const index64 item = WORK_ITEM_INDEX;
    if (item >= PARTS * C) return;
    const index64 c = item % C;
    const index64 slice = item / C;

    const index64 terms = N * D * H * W;
    const index64 end = terms * (slice + 1) / PARTS;
    real sum = 0;
    for (index64 term = terms * slice / PARTS; term < end; term++) {
        index64 row = term / W;
        const int h = row % H; row /= H;
        sum += load(a, AT(a, row / D, c, row % D, h, term % W));
    }
    part[item] = sum;
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
