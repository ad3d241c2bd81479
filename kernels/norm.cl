/* Normalisation of rows, forward: batch, instance, group, layer and root-mean-square norm.
 *
 *     y = w * (x - mean) / sqrt(variance + eps) + b
 *
 * with the row's own mean and variance, divided by n, or given ones; or mean 0 and the mean square. Either one work-item
 * does all of a row while it is in its processor's cache (norm_rows), or slices of rows are done by work-items of their
 * own: moments, then statistics, then the output (norm_apply). Both give the same bits.
 */
#include "norm.h"

/* One run of outputs whose elements share a weight and a bias. */
static inline void scale_run(global const element *x, const index64 x_at, const index64 x_w,
                             global element *y, const index64 y_at, const index64 y_w,
                             const index64 count, const real mean, const real scale, const real bias)
{
    for (index64 k = 0; k < count; k++) store(y, y_at + k * y_w, (load(x, x_at + k * x_w) - mean) * scale + bias);
}

/* One run of outputs whose elements have their own. */
static inline void apply_run(global const element *x, const index64 x_at, const index64 x_w,
                             global const element *w, const index64 w_at, const index64 w_w, const int has_weight,
                             global const element *b, const index64 b_at, const index64 b_w, const int has_bias,
                             global element *y, const index64 y_at, const index64 y_w,
                             const index64 count, const real mean, const real scale)
{
    for (index64 k = 0; k < count; k++) {
        const real weight = has_weight ? load(w, w_at + k * w_w) * scale : scale;
        const real bias = has_bias ? load(b, b_at + k * b_w) : 0;
        store(y, y_at + k * y_w, (load(x, x_at + k * x_w) - mean) * weight + bias);
    }
}

/* Elements [begin, end) of a row. */
static inline void apply_slice(global const element *x, const index64 x_row, ALONG_ROW(x),
                               global const element *w, const index64 w_row, ALONG_ROW(w), const int has_weight,
                               global const element *b, const index64 b_row, ALONG_ROW(b), const int has_bias,
                               global element *y, const index64 y_row, ALONG_ROW(y),
                               const index64 D, const index64 H, const index64 W,
                               const index64 begin, const index64 end, const real mean, const real scale)
{
    place p = place_of(begin, D, H, W);
    for (index64 e = begin; e < end; p = next_run(p, D, H)) {
        const index64 count = least(end - e, W - p.w);
        const index64 x_at = x_row + PLACE(x, p), y_at = y_row + PLACE(y, p);
        const index64 w_at = w_row + PLACE(w, p), b_at = b_row + PLACE(b, p);
        e += count;
        if (w_w == 0 && b_w == 0) {
            const real weight = has_weight ? load(w, w_at) * scale : scale;
            const real bias = has_bias ? load(b, b_at) : 0;
            /* Steps as literals let the compiler make vectors. */
            if (x_w == 1 && y_w == 1) scale_run(x, x_at, 1, y, y_at, 1, count, mean, weight, bias);
            else scale_run(x, x_at, x_w, y, y_at, y_w, count, mean, weight, bias);
        } else if (x_w != 1 || y_w != 1)
            apply_run(x, x_at, x_w, w, w_at, w_w, has_weight, b, b_at, b_w, has_bias, y, y_at, y_w, count, mean, scale);
        else if (has_weight && has_bias && w_w == 1 && b_w == 1)
            apply_run(x, x_at, 1, w, w_at, 1, 1, b, b_at, 1, 1, y, y_at, 1, count, mean, scale);
        else if (!has_bias && w_w == 1)
            apply_run(x, x_at, 1, w, w_at, 1, 1, b, 0, 0, 0, y, y_at, 1, count, mean, scale);
        else
            apply_run(x, x_at, 1, w, w_at, w_w, has_weight, b, b_at, b_w, has_bias, y, y_at, 1, count, mean, scale);
    }
}

kernel void norm_rows(
    WORK_ITEM
    global const element *x, global const element *w, global const element *b, global element *y,
    global real *statistics,
    ROWS_AND_ELEMENTS, WALK(x), WALK(w), WALK(b), WALK(y), const int has_weight, const int has_bias,
    const int is_centred, const real eps, const index64 SLICES)
{
    const index64 row = WORK_ITEM_INDEX, ROWS = R * Q, n = A * D * H * W;
    if (row >= ROWS) return;
    statistics_of_row(x, ROW(x, row), n, SLICES, D, H, W, STEPS(x), is_centred, eps, statistics, row, ROWS);
    for (index64 e = 0; e < n; e += STRIDE_AHEAD) {
        const index64 end = least(e + STRIDE_AHEAD, n);
        if (row + 1 < ROWS) fetch_slice(x, ROW(x, row + 1), e, end, D, H, W, STEPS(x));
        apply_slice(x, ROW(x, row), STEPS(x), w, ROW(w, row), STEPS(w), has_weight, b, ROW(b, row), STEPS(b), has_bias,
                    y, ROW(y, row), STEPS(y), D, H, W, e, end, statistics[row], statistics[ROWS + row]);
    }
}

/* What norm_moments keeps: the means of all slices, then their sums of squares; the row's number counts first. */
static inline moments kept_moments(global const real *part, const index64 row, const index64 ROWS,
                                   const index64 n, const index64 s, const index64 SLICES)
{
    moments m;
    m.count = (real)(slice_start(n, s + 1, SLICES) - slice_start(n, s, SLICES));
    m.mean = part[s * ROWS + row];
    m.squares = part[(SLICES + s) * ROWS + row];
    return m;
}

kernel void norm_moments(
    WORK_ITEM
    global const element *x, global real *part,
    ROWS_AND_ELEMENTS, WALK(x), const int is_centred, const index64 SLICES)
{
    const index64 item = WORK_ITEM_INDEX, ROWS = R * Q, n = A * D * H * W;
    if (item >= ROWS * SLICES) return;
    const index64 row = item % ROWS, s = item / ROWS;
    const moments m = moments_of_slice(x, ROW(x, row), slice_start(n, s, SLICES), slice_start(n, s + 1, SLICES),
                                       D, H, W, STEPS(x), is_centred);
    part[item] = m.mean;
    part[ROWS * SLICES + item] = m.squares;
}

kernel void norm_statistics(
    WORK_ITEM
    global const real *part, global real *statistics,
    const index64 ROWS, const index64 n, const real eps, const index64 SLICES)
{
    const index64 row = WORK_ITEM_INDEX;
    if (row >= ROWS) return;
    moments m = kept_moments(part, row, ROWS, n, 0, SLICES);
    for (index64 s = 1; s < SLICES; s++) m = merged(m, kept_moments(part, row, ROWS, n, s, SLICES));
    keep_statistics(statistics, row, ROWS, m.mean, m.squares / m.count, eps);
}

/* Statistics that were given, one for each q. */
kernel void norm_given(
    WORK_ITEM
    global const element *running_mean, global const element *running_var, global real *statistics,
    const index64 R, const index64 Q, WALK(running_mean), WALK(running_var), const real eps)
{
    const index64 row = WORK_ITEM_INDEX;
    if (row >= R * Q) return;
    keep_statistics(statistics, row, R * Q, load(running_mean, ROW(running_mean, row)),
                    load(running_var, ROW(running_var, row)), eps);
}

/* The output of CHUNK elements. On a device whose neighbouring work-items should touch neighbouring memory, rows_inside
 * says that this is the next row's element. */
kernel void norm_apply(
    WORK_ITEM
    global const element *x, global const element *w, global const element *b, global element *y,
    global const real *statistics,
    ROWS_AND_ELEMENTS, WALK(x), WALK(w), WALK(b), WALK(y), const int has_weight, const int has_bias,
    const index64 CHUNK, const int rows_inside)
{
    const index64 item = WORK_ITEM_INDEX, ROWS = R * Q, n = A * D * H * W;
    const index64 chunks = (n + CHUNK - 1) / CHUNK;
    if (item >= ROWS * chunks) return;
    const index64 row = rows_inside ? item % ROWS : item / chunks;
    const index64 begin = (rows_inside ? item / ROWS : item % chunks) * CHUNK;
    apply_slice(x, ROW(x, row), STEPS(x), w, ROW(w, row), STEPS(w), has_weight, b, ROW(b, row), STEPS(b), has_bias,
                y, ROW(y, row), STEPS(y), D, H, W, begin, least(begin + CHUNK, n), statistics[row], statistics[ROWS + row]);
}

/* Running statistics take in the average over r of the rows' own: keep * running + share * row's. */
kernel void norm_running(
    WORK_ITEM
    global const real *statistics, global const element *running_mean, global const element *running_var,
    global element *new_mean, global element *new_var,
    const index64 R, const index64 Q, WALK(running_mean), WALK(running_var), WALK(new_mean), WALK(new_var),
    const real keep, const real share, const real correction)
{
    const index64 q = WORK_ITEM_INDEX;
    if (q >= Q) return;
    real mean = 0, variance = 0;
    for (index64 r = 0; r < R; r++) {
        mean += statistics[r * Q + q];
        variance += statistics[2 * R * Q + r * Q + q];
    }
    if (R > 1) {
        mean /= (real)R;
        variance /= (real)R;
    }
    store(new_mean, ROW(new_mean, q), keep * load(running_mean, ROW(running_mean, q)) + share * mean);
    store(new_var, ROW(new_var, q), keep * load(running_var, ROW(running_var, q)) + share * (correction * variance));
}
