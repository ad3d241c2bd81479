/* Normalisation where neighbouring rows lie side by side in memory, as the channels of a batch without pixels, or of one
 * whose channels come last: a work-item takes up to COLUMNS neighbouring rows at once. The formulas are those of norm.cl
 * and norm_backward.cl, and so is what is kept in between; a row's elements share a weight.
 */
#include "norm.h"
#include "epilogue.h"

#define COLUMNS 64

/* Elements of a row that are swept twice while COLUMNS rows of them are in cache. */
#define STRETCH 128

#define COUNT least(COLUMNS, Q - q)

/* A work-item's part of the rows' elements, and its rows: the first, r*Q + q, and those after it. */
#define PART_AND_ROWS(PARTS) \
    const index64 blocks = (Q + COLUMNS - 1) / COLUMNS; \
    if (WORK_ITEM_INDEX >= (PARTS) * R * blocks) return; \
    const index64 block = WORK_ITEM_INDEX % blocks, s = WORK_ITEM_INDEX / blocks / R; \
    const index64 q = block * COLUMNS, row = WORK_ITEM_INDEX / blocks % R * Q + q, ROWS = R * Q; \
    const index64 n = A * D * H * W;

static inline void clear(real *values)
{
    for (int i = 0; i < COLUMNS; i++) values[i] = 0;
}

/* What a sweep adds up: x itself, or the squares of its distances from a centre. */
static inline real swept(const int squares, const real x, const real centre)
{
    return squares ? (x - centre) * (x - centre) : x;
}

static inline void add_row(real *sum, global const element *x, const index64 at, const index64 step, const index64 count,
                           const int squares, const real *centre)
{
    for (index64 i = 0; i < count; i++) sum[i] += swept(squares, load(x, at + i * step), squares ? centre[i] : 0);
}

/* Adds up elements [begin, end) of each row. */
static inline void sweep_columns(real *sum, global const element *x, const index64 row_at, const index64 step,
                                 const index64 count, const index64 begin, const index64 end,
                                 const index64 D, const index64 H, const index64 W, ALONG_ROW(x),
                                 const int squares, const real *centre)
{
    clear(sum);
    place p = place_of(begin, D, H, W);
    for (index64 e = begin; e < end; e++) {
        const index64 at = row_at + PLACE(x, p);
        if (step == 1) add_row(sum, x, at, 1, count, squares, centre);
        else add_row(sum, x, at, step, count, squares, centre);
        p.w++;
        if (p.w == W) p = next_run(p, D, H);
    }
}

kernel void columns_moments(
    WORK_ITEM
    global const element *x, global real *part,
    ROWS_AND_ELEMENTS, WALK(x), const int is_centred, const index64 SLICES)
{
    PART_AND_ROWS(SLICES)
    const index64 begin = slice_start(n, s, SLICES), end = slice_start(n, s + 1, SLICES);
    real mean[COLUMNS], squares[COLUMNS], first[COLUMNS], second[COLUMNS];
    clear(mean);
    clear(squares);
    for (index64 e = begin; e < end; e += STRETCH) {
        const index64 last = least(e + STRETCH, end);
        const real count = (real)(last - e), before = (real)(e - begin);
        if (is_centred) sweep_columns(first, x, ROW(x, row), x_q, COUNT, e, last, D, H, W, STEPS(x), 0, mean);
        else clear(first);
        for (int i = 0; i < COLUMNS; i++) first[i] /= count;
        sweep_columns(second, x, ROW(x, row), x_q, COUNT, e, last, D, H, W, STEPS(x), 1, first);
        for (int i = 0; i < COLUMNS; i++) {
            const moments earlier = {before, mean[i], squares[i]}, stretch = {count, first[i], second[i]};
            const moments both = e == begin ? stretch : merged(earlier, stretch);
            mean[i] = both.mean;
            squares[i] = both.squares;
        }
    }
    for (index64 i = 0; i < COUNT; i++) {
        part[s * ROWS + row + i] = mean[i];
        part[(SLICES + s) * ROWS + row + i] = squares[i];
    }
}

/* values[i] = ((x - mean) * r * w + b) * scale + shift of neighbouring rows. */
static inline void normalise_row(real *values, global const element *x, const index64 x_at, const index64 x_step,
                                 const int count, const real *mean, const real *weight, const real *bias,
                                 const int is_scaled, const real *factor, const real *term)
{
    for (int i = 0; i < count; i++) values[i] = (load(x, x_at + i * x_step) - mean[i]) * weight[i] + bias[i];
    if (is_scaled) for (int i = 0; i < count; i++) values[i] = values[i] * factor[i] + term[i];
}

kernel void columns_apply(
    WORK_ITEM
    global const element *x, global const element *w, global const element *b, EPILOGUE_ARRAYS, global element *y,
    global const real *statistics,
    ROWS_AND_ELEMENTS, WALK(x), WALK(w), WALK(b), WALK(scale), WALK(shift), WALK(residual), WALK(y),
    const int has_weight, const int has_bias, FINISHING, const index64 PARTS)
{
    PART_AND_ROWS(PARTS)
    const int count = (int)COUNT, is_scaled = has_scale | has_shift;
    real mean[COLUMNS], weight[COLUMNS], bias[COLUMNS], factor[COLUMNS], term[COLUMNS], values[COLUMNS];
    for (int i = 0; i < count; i++) {
        const real r = statistics[ROWS + row + i];
        mean[i] = statistics[row + i];
        weight[i] = has_weight ? load(w, ROW(w, row + i)) * r : r;
        bias[i] = has_bias ? load(b, ROW(b, row + i)) : 0;
        factor[i] = has_scale ? load(scale, ROW(scale, row + i)) : 1;
        term[i] = has_shift ? load(shift, ROW(shift, row + i)) : 0;
    }
    place p = place_of(slice_start(n, s, PARTS), D, H, W);
    for (index64 e = slice_start(n, s, PARTS); e < slice_start(n, s + 1, PARTS); e++) {
        const index64 x_at = ROW(x, row) + PLACE(x, p), y_at = ROW(y, row) + PLACE(y, p);
        if (x_q == 1) normalise_row(values, x, x_at, 1, count, mean, weight, bias, is_scaled, factor, term);
        else normalise_row(values, x, x_at, x_q, count, mean, weight, bias, is_scaled, factor, term);
        if (has_residual | (activation != NO_ACTIVATION))
            finish_run(values, count, scale, 0, 0, shift, 0, 0, residual, ROW(residual, row) + PLACE(residual, p),
                       residual_q, has_residual, activation, slope);
        store_run(y, y_at, y_q, values, count);
        p.w++;
        if (p.w == W) p = next_run(p, D, H);
    }
}

static inline void add_gradients(real *sums, real *products,
                                 global const element *dy, const index64 dy_at, const index64 dy_step,
                                 global const element *x, const index64 x_at, const index64 x_step,
                                 const index64 count, const real *mean, const real *r)
{
    for (index64 i = 0; i < count; i++) {
        const real gradient = load(dy, dy_at + i * dy_step);
        sums[i] += gradient;
        products[i] += gradient * ((load(x, x_at + i * x_step) - mean[i]) * r[i]);
    }
}

kernel void columns_sums(
    WORK_ITEM
    global const element *dy, global const element *x, global const real *statistics, global real *part,
    ROWS_AND_ELEMENTS, WALK(dy), WALK(x), const index64 SUMS)
{
    PART_AND_ROWS(SUMS)
    real sums[COLUMNS], products[COLUMNS], mean[COLUMNS], r[COLUMNS];
    clear(sums);
    clear(products);
    for (index64 i = 0; i < COUNT; i++) {
        mean[i] = statistics[row + i];
        r[i] = statistics[ROWS + row + i];
    }
    place p = place_of(slice_start(n, s, SUMS), D, H, W);
    for (index64 e = slice_start(n, s, SUMS); e < slice_start(n, s + 1, SUMS); e++) {
        const index64 dy_at = ROW(dy, row) + PLACE(dy, p), x_at = ROW(x, row) + PLACE(x, p);
        if (dy_q == 1 && x_q == 1) add_gradients(sums, products, dy, dy_at, 1, x, x_at, 1, COUNT, mean, r);
        else add_gradients(sums, products, dy, dy_at, dy_q, x, x_at, x_q, COUNT, mean, r);
        p.w++;
        if (p.w == W) p = next_run(p, D, H);
    }
    for (index64 i = 0; i < COUNT; i++) {
        part[s * ROWS + row + i] = sums[i];
        part[(SUMS + s) * ROWS + row + i] = products[i];
    }
}

/* dx = dy*scale - offset - (x - mean)*slope of each row; without statistics to go through, dy*scale. */
static inline void input_row(global const element *dy, const index64 dy_at, const index64 dy_step,
                             global const element *x, const index64 x_at, const index64 x_step,
                             global element *dx, const index64 dx_at, const index64 dx_step, const index64 count,
                             const int through_statistics,
                             const real *mean, const real *scale, const real *offset, const real *r, const real *slope)
{
    for (index64 i = 0; i < count; i++) {
        real value = load(dy, dy_at + i * dy_step) * scale[i];
        if (through_statistics) value = value - offset[i] - (load(x, x_at + i * x_step) - mean[i]) * r[i] * slope[i];
        store(dx, dx_at + i * dx_step, value);
    }
}

kernel void columns_input(
    WORK_ITEM
    global const element *dy, global const element *x, global const element *w, global element *dx,
    global const real *statistics, global const real *means,
    ROWS_AND_ELEMENTS, WALK(dy), WALK(x), WALK(w), WALK(dx), const int has_weight, const int through_statistics,
    const index64 PARTS)
{
    PART_AND_ROWS(PARTS)
    real mean[COLUMNS], r[COLUMNS], scale[COLUMNS], offset[COLUMNS], slope[COLUMNS];
    for (index64 i = 0; i < COUNT; i++) {
        mean[i] = statistics[row + i];
        r[i] = statistics[ROWS + row + i];
        scale[i] = has_weight ? load(w, ROW(w, row + i)) * r[i] : r[i];
        offset[i] = through_statistics ? r[i] * means[row + i] : 0;
        slope[i] = through_statistics ? r[i] * means[ROWS + row + i] : 0;
    }
    place p = place_of(slice_start(n, s, PARTS), D, H, W);
    for (index64 e = slice_start(n, s, PARTS); e < slice_start(n, s + 1, PARTS); e++) {
        const index64 dy_at = ROW(dy, row) + PLACE(dy, p), x_at = ROW(x, row) + PLACE(x, p);
        const index64 dx_at = ROW(dx, row) + PLACE(dx, p);
        if (dy_q == 1 && x_q == 1 && dx_q == 1 && through_statistics)
            input_row(dy, dy_at, 1, x, x_at, 1, dx, dx_at, 1, COUNT, 1, mean, scale, offset, r, slope);
        else
            input_row(dy, dy_at, dy_q, x, x_at, x_q, dx, dx_at, dx_q, COUNT, through_statistics,
                      mean, scale, offset, r, slope);
        p.w++;
        if (p.w == W) p = next_run(p, D, H);
    }
}
