/* Normalisation of rows, forward: batch, instance, group, layer and root-mean-square norm.
 *
 *     y = w * (x - mean) / sqrt(variance + eps) + b
 *
 * with the row's own mean and variance, divided by n, or given ones; or mean 0 and the mean square. Either one work-item
 * does all of a row while it is in its processor's cache (norm_rows), or slices of rows are done by work-items of their
 * own: moments, then statistics, then the output (norm_apply). Both give the same bits. What is stored
 * has been through the epilogue.
 */
#include "norm.h"
#include "epilogue.h"

/* Neighbours that are computed before they are finished and stored. */
#define PIECE 256

/* (x - mean) * r * w + b of `count` neighbours, into `values` if they are to be finished, else straight into y. The last
 * vector begins early enough to end where they do, and repeats what the one before it has done. */
static inline void normalise(real *values, const int finishes,
                             global element *y, const index64 y_at, const index64 y_w,
                             global const element *x, const index64 x_at, const index64 x_w,
                             global const element *w, const index64 w_at, const index64 w_w, const int has_weight,
                             global const element *b, const index64 b_at, const index64 b_w, const int has_bias,
                             const index64 count, const real mean, const real r)
{
    const real shared_weight = has_weight && w_w == 0 ? load(w, w_at) * r : r;
    const real shared_bias = has_bias && b_w == 0 ? load(b, b_at) : 0;
    const index64 whole = count < LANES || (y_w != 1 && !finishes) ? 0 : count;
    for (index64 begin = 0; begin < whole; begin += LANES) {
        const index64 k = least(begin, count - LANES);
        vector weight = splat(shared_weight), bias = splat(shared_bias);
        if (has_weight && w_w != 0) weight = lanes_at(w, w_at + k * w_w, w_w) * r;
        if (has_bias && b_w != 0) bias = lanes_at(b, b_at + k * b_w, b_w);
        const vector value = (lanes_at(x, x_at + k * x_w, x_w) - mean) * weight + bias;
        if (finishes) store_vector(values + k, value);
        else store_lanes(y, y_at + k, value);
    }
    for (index64 k = whole; k < count; k++) {
        const real weight = has_weight && w_w != 0 ? load(w, w_at + k * w_w) * r : shared_weight;
        const real bias = has_bias && b_w != 0 ? load(b, b_at + k * b_w) : shared_bias;
        const real value = (load(x, x_at + k * x_w) - mean) * weight + bias;
        if (finishes) values[k] = value;
        else store(y, y_at + k * y_w, value);
    }
}

/* Elements [begin, end) of a row, straight into y. */
static inline void apply_plain(OF_ROW(x), OF_ROW(w), const int has_weight, OF_ROW(b), const int has_bias,
                               global element *y, const index64 y_row, ALONG_ROW(y),
                               const index64 D, const index64 H, const index64 W,
                               const index64 begin, const index64 end, const real mean, const real r)
{
    place p = place_of(begin, D, H, W);
    for (index64 e = begin; e < end; p = next_run(p, D, H)) {
        const index64 count = least(end - e, W - p.w);
        normalise(0, 0, y, y_row + PLACE(y, p), y_w, x, x_row + PLACE(x, p), x_w,
                  w, w_row + PLACE(w, p), w_w, has_weight, b, b_row + PLACE(b, p), b_w, has_bias, count, mean, r);
        e += count;
    }
}

/* The same through the epilogue, a piece after the other. */
static inline void apply_finished(OF_ROW(x), OF_ROW(w), const int has_weight, OF_ROW(b), const int has_bias,
                                  OF_ROW(scale), OF_ROW(shift), OF_ROW(residual), FINISHING,
                                  global element *y, const index64 y_row, ALONG_ROW(y),
                                  const index64 D, const index64 H, const index64 W,
                                  const index64 begin, const index64 end, const real mean, const real r)
{
    place p = place_of(begin, D, H, W);
    for (index64 e = begin; e < end;) {
        const int count = (int)least(least(end - e, W - p.w), PIECE);
        const index64 y_at = y_row + PLACE(y, p), x_at = x_row + PLACE(x, p);
        const index64 w_at = w_row + PLACE(w, p), b_at = b_row + PLACE(b, p);
        const index64 scale_at = scale_row + PLACE(scale, p), shift_at = shift_row + PLACE(shift, p);
        real values[PIECE];
        if (x_w == 1)
            normalise(values, 1, y, 0, 1, x, x_at, 1, w, w_at, w_w, has_weight, b, b_at, b_w, has_bias, count, mean, r);
        else
            normalise(values, 1, y, 0, 1, x, x_at, x_w, w, w_at, w_w, has_weight, b, b_at, b_w, has_bias, count, mean, r);
        const int varies = scale_w != 0 || shift_w != 0; /* channels of a group that lie side by side */
        for (int k = 0; varies && k < count; k++)
            values[k] = values[k] * (has_scale ? load(scale, scale_at + k * scale_w) : 1)
                + (has_shift ? load(shift, shift_at + k * shift_w) : 0);
        finish_run(values, count, scale, scale_at, has_scale && !varies, shift, shift_at, has_shift && !varies,
                   residual, residual_row + PLACE(residual, p), residual_w, has_residual, activation, slope);
        store_run(y, y_at, y_w, values, count);
        e += count;
        p.w += count;
        if (p.w == W) p = next_run(p, D, H);
    }
}

/* The same with the steps that are most common as literals: the compiler drops what they rule out. */
static inline void apply_slice(OF_ROW(x), OF_ROW(w), const int has_weight, OF_ROW(b), const int has_bias,
                               OF_ROW(scale), OF_ROW(shift), OF_ROW(residual), FINISHING,
                               global element *y, const index64 y_row, ALONG_ROW(y),
                               const index64 D, const index64 H, const index64 W,
                               const index64 begin, const index64 end, const real mean, const real r)
{
    const int is_dense = x_w == 1 && y_w == 1;
    if (has_scale | has_shift | has_residual | (activation != NO_ACTIVATION))
        apply_finished(x, x_row, STEPS(x), w, w_row, STEPS(w), has_weight, b, b_row, STEPS(b), has_bias,
                       scale, scale_row, STEPS(scale), shift, shift_row, STEPS(shift), residual, residual_row, STEPS(residual),
                       FINISH_WITH, y, y_row, STEPS(y), D, H, W, begin, end, mean, r);
    else if (is_dense && w_w == 0 && b_w == 0)
        apply_plain(x, x_row, x_a, x_d, x_h, 1, w, w_row, w_a, w_d, w_h, 0, has_weight,
                    b, b_row, b_a, b_d, b_h, 0, has_bias, y, y_row, y_a, y_d, y_h, 1, D, H, W, begin, end, mean, r);
    else if (is_dense && w_w == 1 && b_w == 1)
        apply_plain(x, x_row, x_a, x_d, x_h, 1, w, w_row, w_a, w_d, w_h, 1, 1,
                    b, b_row, b_a, b_d, b_h, 1, 1, y, y_row, y_a, y_d, y_h, 1, D, H, W, begin, end, mean, r);
    else if (is_dense && w_w == 1 && b_w == 0)
        apply_plain(x, x_row, x_a, x_d, x_h, 1, w, w_row, w_a, w_d, w_h, 1, 1,
                    b, b_row, b_a, b_d, b_h, 0, has_bias, y, y_row, y_a, y_d, y_h, 1, D, H, W, begin, end, mean, r);
    else
        apply_plain(x, x_row, STEPS(x), w, w_row, STEPS(w), has_weight, b, b_row, STEPS(b), has_bias,
                    y, y_row, STEPS(y), D, H, W, begin, end, mean, r);
}

kernel void norm_rows(
    WORK_ITEM
    global const element *x, global const element *w, global const element *b, EPILOGUE_ARRAYS, global element *y,
    global real *statistics,
    ROWS_AND_ELEMENTS, WALK(x), WALK(w), WALK(b), WALK(scale), WALK(shift), WALK(residual), WALK(y),
    const int has_weight, const int has_bias, FINISHING, const int is_centred, const real eps, const index64 SLICES)
{
    const index64 row = WORK_ITEM_INDEX, ROWS = R * Q, n = A * D * H * W;
    if (row >= ROWS) return;
    statistics_of_row(x, ROW(x, row), n, SLICES, D, H, W, STEPS(x), is_centred, eps, statistics, row, ROWS);
    apply_slice(ROW_OF(x, row), ROW_OF(w, row), has_weight, ROW_OF(b, row), has_bias,
                ROW_OF(scale, row), ROW_OF(shift, row), ROW_OF(residual, row), FINISH_WITH,
                ROW_OF(y, row), D, H, W, 0, n, statistics[row], statistics[ROWS + row]);
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
    global const element *x, global const element *w, global const element *b, EPILOGUE_ARRAYS, global element *y,
    global const real *statistics,
    ROWS_AND_ELEMENTS, WALK(x), WALK(w), WALK(b), WALK(scale), WALK(shift), WALK(residual), WALK(y),
    const int has_weight, const int has_bias, FINISHING, const index64 CHUNK, const int rows_inside)
{
    const index64 item = WORK_ITEM_INDEX, ROWS = R * Q, n = A * D * H * W;
    const index64 chunks = (n + CHUNK - 1) / CHUNK;
    if (item >= ROWS * chunks) return;
    const index64 row = rows_inside ? item % ROWS : item / chunks;
    const index64 begin = (rows_inside ? item / ROWS : item % chunks) * CHUNK;
    apply_slice(ROW_OF(x, row), ROW_OF(w, row), has_weight, ROW_OF(b, row), has_bias,
                ROW_OF(scale, row), ROW_OF(shift, row), ROW_OF(residual, row), FINISH_WITH,
                ROW_OF(y, row), D, H, W, begin, least(begin + CHUNK, n), statistics[row], statistics[ROWS + row]);
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
