/* Gradients of the normalisations of norm.cl. With h = dy * w, xhat = (x - mean) * r, r = 1/sqrt(variance + eps),
 *
 *     dx = r * (h - mean(h) - xhat * mean(h * xhat))        means over a row
 *     dw = sum(dy * xhat),  db = sum(dy)                    over all elements that share a weight
 *
 * Without a mean to subtract there is no mean(h); with given statistics dx = r * h. Where all elements of one or more
 * slices share a weight, a slice adds up dy and dy * xhat, from which both the row's means and dw, db are put together;
 * where every element of a row has its own, a slice adds up h and h * xhat, and dw, db are sums over rows.
 */
#include "norm.h"

/* Adds the `count` terms h and h * xhat of a run. */
#define GRADIENTS_AT(k) (lanes_at(dy, dy_at + (k) * dy_w, dy_w) * (weighs ? lanes_at(w, w_at + (k) * w_w, w_w) : splat(1)))
#define NORMALISED_AT(k) ((lanes_at(x, x_at + (k) * x_w, x_w) - mean) * r)

/* Adds vector i of a turn to the sums of that number. */
#define ADD_GRADIENTS(i) { \
    const vector h = GRADIENTS_AT(k + (i) * LANES); \
    sums->some[i] += h; \
    products->some[i] += h * NORMALISED_AT(k + (i) * LANES); \
}

static inline void add_gradient_run(partial_sums *sums, partial_sums *products,
                                    global const element *dy, const index64 dy_at, const index64 dy_w,
                                    global const element *x, const index64 x_at, const index64 x_w,
                                    global const element *w, const index64 w_at, const index64 w_w, const int weighs,
                                    const index64 count, const real mean, const real r)
{
    index64 k = 0;
    for (; k + SUMS_IN_TURN * LANES <= count; k += SUMS_IN_TURN * LANES) {
        if (dy_w == 1 && x_w == 1)
            for (int i = 0; i < SUMS_IN_TURN * LANES; i += LINE) {
                FETCH_AHEAD(dy, dy_at + k + AHEAD + i);
                FETCH_AHEAD(x, x_at + k + AHEAD + i);
            }
        IN_TURN(ADD_GRADIENTS);
    }
    for (; k + LANES <= count; k += LANES) ADD_GRADIENTS(0)
    if (k == count) return;
    if (k > 0) {
        const vector h = GRADIENTS_AT(count - LANES);
        sums->some[1] += last_lanes(h, count - k);
        products->some[1] += last_lanes(h * NORMALISED_AT(count - LANES), count - k);
    } else
        for (; k < count; k++) {
            const real h = load(dy, dy_at + k * dy_w) * (weighs ? load(w, w_at + k * w_w) : 1);
            sums->rest += h;
            products->rest += h * ((load(x, x_at + k * x_w) - mean) * r);
        }
}

/* Adds up h and h * xhat over slice s of a row and keeps them: all sums, then all products, the row counting first. */
static inline void sums_of_slice(global const element *dy, const index64 dy_row, ALONG_ROW(dy),
                                 global const element *x, const index64 x_row, ALONG_ROW(x),
                                 global const element *w, const index64 w_row, ALONG_ROW(w), const int weighs,
                                 const index64 n, const index64 D, const index64 H, const index64 W,
                                 const real mean, const real r,
                                 global real *part, const index64 row, const index64 ROWS,
                                 const index64 s, const index64 SLICES)
{
    const index64 begin = slice_start(n, s, SLICES), end = slice_start(n, s + 1, SLICES);
    partial_sums sums, products;
    clear_sums(&sums);
    clear_sums(&products);
    place p = place_of(begin, D, H, W);
    for (index64 e = begin; e < end; p = next_run(p, D, H)) {
        const index64 count = least(end - e, W - p.w);
        const index64 dy_at = dy_row + PLACE(dy, p), x_at = x_row + PLACE(x, p);
        const index64 w_at = w_row + PLACE(w, p);
        e += count;
        if (dy_w != 1 || x_w != 1)
            add_gradient_run(&sums, &products, dy, dy_at, dy_w, x, x_at, x_w, w, w_at, w_w, weighs, count, mean, r);
        else if (!weighs)
            add_gradient_run(&sums, &products, dy, dy_at, 1, x, x_at, 1, w, 0, 0, 0, count, mean, r);
        else if (w_w == 1)
            add_gradient_run(&sums, &products, dy, dy_at, 1, x, x_at, 1, w, w_at, 1, 1, count, mean, r);
        else
            add_gradient_run(&sums, &products, dy, dy_at, 1, x, x_at, 1, w, w_at, w_w, 1, count, mean, r);
    }
    part[s * ROWS + row] = total(&sums);
    part[(SLICES + s) * ROWS + row] = total(&products);
}

/* The means of h and of h * xhat over a row, from its slices' sums; a slice of one of the row's planes, each as long as
 * the others, whose elements share a weight, is weighted here. */
static inline void means_of_row(global const real *part, const index64 row, const index64 ROWS, const index64 SLICES,
                                global const element *w, const index64 w_row, const index64 w_a,
                                const index64 PLANES, const int weighs_planes, const int is_centred, const index64 n,
                                real *mean_h, real *mean_p)
{
    real h = 0, p = 0;
    for (index64 s = 0; s < SLICES; s++) {
        const real weight = weighs_planes ? load(w, w_row + s / (SLICES / PLANES) * w_a) : 1;
        h += part[s * ROWS + row] * weight;
        p += part[(SLICES + s) * ROWS + row] * weight;
    }
    *mean_h = is_centred ? h / (real)n : 0;
    *mean_p = p / (real)n;
}

/* One run of dx = dy*w*r - offset - xhat*slope, or dy*w*r alone: offset is r*mean(h), slope r*mean(h*xhat). Its elements
 * share a weight where w_w is 0. The last vector begins early enough to end with the run. */
static inline void input_run(global const element *dy, const index64 dy_at, const index64 dy_w,
                             global const element *x, const index64 x_at, const index64 x_w,
                             global const element *w, const index64 w_at, const index64 w_w, const int has_weight,
                             global element *dx, const index64 dx_at, const index64 dx_w,
                             const index64 count, const int through_statistics,
                             const real mean, const real r, const real offset, const real slope)
{
    const real shared = has_weight && w_w == 0 ? load(w, w_at) * r : r;
    const index64 whole = dx_w != 1 || count < LANES ? 0 : count;
    for (index64 begin = 0; begin < whole; begin += LANES) {
        const index64 k = least(begin, count - LANES);
        vector factor = splat(shared);
        if (has_weight && w_w != 0) factor = lanes_at(w, w_at + k * w_w, w_w) * r;
        vector value = lanes_at(dy, dy_at + k * dy_w, dy_w) * factor;
        if (through_statistics) value = value - offset - (lanes_at(x, x_at + k * x_w, x_w) - mean) * r * slope;
        store_lanes(dx, dx_at + k, value);
    }
    for (index64 k = whole; k < count; k++) {
        real value = load(dy, dy_at + k * dy_w) * (has_weight && w_w != 0 ? load(w, w_at + k * w_w) * r : shared);
        if (through_statistics) value = value - offset - (load(x, x_at + k * x_w) - mean) * r * slope;
        store(dx, dx_at + k * dx_w, value);
    }
}

static inline void input_slice(global const element *dy, const index64 dy_row, ALONG_ROW(dy),
                               global const element *x, const index64 x_row, ALONG_ROW(x),
                               global const element *w, const index64 w_row, ALONG_ROW(w), const int has_weight,
                               global element *dx, const index64 dx_row, ALONG_ROW(dx),
                               const index64 D, const index64 H, const index64 W,
                               const index64 begin, const index64 end, const int through_statistics,
                               const real mean, const real r, const real offset, const real slope)
{
    place p = place_of(begin, D, H, W);
    for (index64 e = begin; e < end; p = next_run(p, D, H)) {
        const index64 count = least(end - e, W - p.w);
        const index64 dy_at = dy_row + PLACE(dy, p), x_at = x_row + PLACE(x, p);
        const index64 w_at = w_row + PLACE(w, p), dx_at = dx_row + PLACE(dx, p);
        e += count;
        const int is_dense = dy_w == 1 && x_w == 1 && dx_w == 1;
        if (is_dense && (!has_weight || w_w == 0))
            input_run(dy, dy_at, 1, x, x_at, 1, w, w_at, 0, has_weight, dx, dx_at, 1,
                      count, through_statistics, mean, r, offset, slope);
        else if (is_dense && w_w == 1)
            input_run(dy, dy_at, 1, x, x_at, 1, w, w_at, 1, 1, dx, dx_at, 1,
                      count, through_statistics, mean, r, offset, slope);
        else
            input_run(dy, dy_at, dy_w, x, x_at, x_w, w, w_at, w_w, has_weight, dx, dx_at, dx_w,
                      count, through_statistics, mean, r, offset, slope);
    }
}

static inline void add_weights_run(global const element *dy, const index64 dy_at, const index64 dy_w,
                                   global const element *x, const index64 x_at, const index64 x_w,
                                   const index64 count, const real mean, const real r,
                                   const int is_first, global real *products, global real *sums)
{
    index64 k = 0;
    for (; k + LANES <= count; k += LANES) {
        const vector gradient = lanes_at(dy, dy_at + k * dy_w, dy_w), product = gradient * NORMALISED_AT(k);
        store_global(products + k, is_first ? product : load_vector(products + k) + product);
        store_global(sums + k, is_first ? gradient : load_vector(sums + k) + gradient);
    }
    for (; k < count; k++) {
        const real gradient = load(dy, dy_at + k * dy_w);
        const real product = gradient * ((load(x, x_at + k * x_w) - mean) * r);
        products[k] = is_first ? product : products[k] + product;
        sums[k] = is_first ? gradient : sums[k] + gradient;
    }
}

/* Adds a row's dy * xhat and dy, at elements [begin, end), to what earlier rows of its slice have left there. */
static inline void rows_share_of_weights(global const element *dy, const index64 dy_row, ALONG_ROW(dy),
                                         global const element *x, const index64 x_row, ALONG_ROW(x),
                                         const index64 D, const index64 H, const index64 W,
                                         const index64 begin, const index64 end, const real mean, const real r,
                                         const int is_first, global real *products, global real *sums)
{
    place p = place_of(begin, D, H, W);
    for (index64 e = begin; e < end; p = next_run(p, D, H)) {
        const index64 count = least(end - e, W - p.w);
        const index64 dy_at = dy_row + PLACE(dy, p), x_at = x_row + PLACE(x, p);
        if (dy_w == 1 && x_w == 1 && is_first)
            add_weights_run(dy, dy_at, 1, x, x_at, 1, count, mean, r, 1, products + e, sums + e);
        else if (dy_w == 1 && x_w == 1)
            add_weights_run(dy, dy_at, 1, x, x_at, 1, count, mean, r, 0, products + e, sums + e);
        else
            add_weights_run(dy, dy_at, dy_w, x, x_at, x_w, count, mean, r, is_first, products + e, sums + e);
        e += count;
    }
}

/* All of a row's gradient; `statistics` and `part` get what it is made from. */
static inline void gradient_of_row(global const element *dy, const index64 dy_row, ALONG_ROW(dy),
                                   global const element *x, const index64 x_row, ALONG_ROW(x),
                                   global const element *w, const index64 w_row, ALONG_ROW(w),
                                   const int has_weight, const int weighs,
                                   global element *dx, const index64 dx_row, ALONG_ROW(dx),
                                   const index64 n, const index64 D, const index64 H, const index64 W,
                                   const int is_centred, const real eps,
                                   const index64 SLICES, const index64 SUMS, const index64 PLANES,
                                   global real *statistics, global real *part, const index64 row, const index64 ROWS)
{
    statistics_of_row(x, x_row, n, SLICES, D, H, W, STEPS(x), is_centred, eps, statistics, row, ROWS);
    const real mean = statistics[row], r = statistics[ROWS + row];
    for (index64 s = 0; s < SUMS; s++)
        sums_of_slice(dy, dy_row, STEPS(dy), x, x_row, STEPS(x), w, w_row, STEPS(w), weighs,
                      n, D, H, W, mean, r, part, row, ROWS, s, SUMS);
    real mean_h, mean_p;
    means_of_row(part, row, ROWS, SUMS, w, w_row, w_a, PLANES, has_weight && !weighs, is_centred, n, &mean_h, &mean_p);
    input_slice(dy, dy_row, STEPS(dy), x, x_row, STEPS(x), w, w_row, STEPS(w), has_weight, dx, dx_row, STEPS(dx),
                D, H, W, 0, n, 1, mean, r, r * mean_h, r * mean_p);
}

kernel void norm_bwd_rows(
    WORK_ITEM
    global const element *dy, global const element *x, global const element *w, global element *dx,
    global real *statistics, global real *part,
    ROWS_AND_ELEMENTS, WALK(dy), WALK(x), WALK(w), WALK(dx), const int has_weight, const int weighs,
    const int is_centred, const real eps, const index64 SLICES, const index64 SUMS, const index64 PLANES)
{
    const index64 row = WORK_ITEM_INDEX, ROWS = R * Q, n = A * D * H * W;
    if (row >= ROWS) return;
    gradient_of_row(dy, ROW(dy, row), STEPS(dy), x, ROW(x, row), STEPS(x),
                    w, ROW(w, row), STEPS(w), has_weight, weighs,
                    dx, ROW(dx, row), STEPS(dx), n, D, H, W, is_centred, eps, SLICES, SUMS, PLANES,
                    statistics, part, row, ROWS);
}

/* The same for a slice of the rows, whose elements have weights of their own: each row's share of these weights' gradients
 * is added up while the row is in cache. */
kernel void norm_bwd_row_slices(
    WORK_ITEM
    global const element *dy, global const element *x, global const element *w, global element *dx,
    global real *statistics, global real *part, global real *weights,
    ROWS_AND_ELEMENTS, WALK(dy), WALK(x), WALK(w), WALK(dx), const int has_weight,
    const int is_centred, const real eps, const index64 SLICES, const index64 SUMS, const index64 PARTS)
{
    const index64 s = WORK_ITEM_INDEX, ROWS = R * Q, n = A * D * H * W;
    if (s >= PARTS) return;
    const index64 first = slice_start(ROWS, s, PARTS);
    for (index64 row = first; row < slice_start(ROWS, s + 1, PARTS); row++) {
            gradient_of_row(dy, ROW(dy, row), STEPS(dy), x, ROW(x, row), STEPS(x),
                        w, ROW(w, row), STEPS(w), has_weight, has_weight, dx, ROW(dx, row), STEPS(dx), n, D, H, W, is_centred, eps,
                        SLICES, SUMS, 1, statistics, part, row, ROWS);
        rows_share_of_weights(dy, ROW(dy, row), STEPS(dy), x, ROW(x, row), STEPS(x), D, H, W, 0, n,
                              statistics[row], statistics[ROWS + row], row == first, weights + s * n,
                              weights + (PARTS + s) * n);
    }
}

kernel void norm_bwd_sums(
    WORK_ITEM
    global const element *dy, global const element *x, global const element *w,
    global const real *statistics, global real *part,
    ROWS_AND_ELEMENTS, WALK(dy), WALK(x), WALK(w), const int weighs, const index64 SUMS)
{
    const index64 item = WORK_ITEM_INDEX, ROWS = R * Q;
    if (item >= ROWS * SUMS) return;
    const index64 row = item % ROWS;
    sums_of_slice(dy, ROW(dy, row), STEPS(dy), x, ROW(x, row), STEPS(x), w, ROW(w, row), STEPS(w), weighs,
                  A * D * H * W, D, H, W, statistics[row], statistics[ROWS + row], part, row, ROWS, item / ROWS, SUMS);
}

/* Means over the rows: of h, then of h * xhat. */
kernel void norm_bwd_means(
    WORK_ITEM
    global const real *part, global const element *w, global real *means,
    ROWS_AND_ELEMENTS, WALK(w), const int weighs_planes, const int is_centred, const index64 SUMS, const index64 PLANES)
{
    const index64 row = WORK_ITEM_INDEX, ROWS = R * Q;
    if (row >= ROWS) return;
    real mean_h, mean_p;
    means_of_row(part, row, ROWS, SUMS, w, ROW(w, row), w_a, PLANES, weighs_planes, is_centred, A * D * H * W,
                 &mean_h, &mean_p);
    means[row] = mean_h;
    means[ROWS + row] = mean_p;
}

/* The input's gradient at CHUNK elements, as norm_apply numbers them. */
kernel void norm_bwd_input(
    WORK_ITEM
    global const element *dy, global const element *x, global const element *w, global element *dx,
    global const real *statistics, global const real *means,
    ROWS_AND_ELEMENTS, WALK(dy), WALK(x), WALK(w), WALK(dx), const int has_weight, const int through_statistics,
    const index64 CHUNK, const int rows_inside)
{
    const index64 item = WORK_ITEM_INDEX, ROWS = R * Q, n = A * D * H * W;
    const index64 chunks = (n + CHUNK - 1) / CHUNK;
    if (item >= ROWS * chunks) return;
    const index64 row = rows_inside ? item % ROWS : item / chunks;
    const index64 begin = (rows_inside ? item / ROWS : item % chunks) * CHUNK;
    const real r = statistics[ROWS + row];
    const real offset = through_statistics ? r * means[row] : 0;
    const real slope = through_statistics ? r * means[ROWS + row] : 0;
    input_slice(dy, ROW(dy, row), STEPS(dy), x, ROW(x, row), STEPS(x), w, ROW(w, row), STEPS(w), has_weight,
                dx, ROW(dx, row), STEPS(dx), D, H, W, begin, least(begin + CHUNK, n), through_statistics,
                statistics[row], r, offset, slope);
}

/* dw and db where a plane shares a weight: sums over r of its slices' sums. */
kernel void norm_bwd_channels(
    WORK_ITEM
    global const real *part, global element *dw, global element *db,
    const index64 R, const index64 Q, WALK(dw), WALK(db), const int has_dw, const int has_db,
    const index64 SUMS, const index64 PLANES)
{
    const index64 item = WORK_ITEM_INDEX, ROWS = R * Q, slices = SUMS / PLANES;
    if (item >= Q * PLANES) return;
    const index64 q = item % Q, plane = item / Q;
    real sum = 0, product = 0;
    for (index64 r = 0; r < R; r++)
        for (index64 s = plane * slices; s < (plane + 1) * slices; s++) {
            sum += part[s * ROWS + r * Q + q];
            product += part[(SUMS + s) * ROWS + r * Q + q];
        }
    if (has_dw) store(dw, ROW(dw, q) + plane * dw_a, product);
    if (has_db) store(db, ROW(db, q) + plane * db_a, sum);
}

/* Where every element has its own weight: sums over a slice of the rows, for CHUNK elements; of dy * xhat, then of dy. */
kernel void norm_bwd_elements(
    WORK_ITEM
    global const element *dy, global const element *x, global const real *statistics, global real *part,
    ROWS_AND_ELEMENTS, WALK(dy), WALK(x), const index64 CHUNK, const index64 SUMS)
{
    const index64 item = WORK_ITEM_INDEX, ROWS = R * Q, n = A * D * H * W;
    const index64 chunks = (n + CHUNK - 1) / CHUNK;
    if (item >= SUMS * chunks) return;
    const index64 s = item / chunks, begin = item % chunks * CHUNK;
    for (index64 row = slice_start(ROWS, s, SUMS); row < slice_start(ROWS, s + 1, SUMS); row++)
        rows_share_of_weights(dy, ROW(dy, row), STEPS(dy), x, ROW(x, row), STEPS(x), D, H, W,
                              begin, least(begin + CHUNK, n), statistics[row], statistics[ROWS + row],
                              row == slice_start(ROWS, s, SUMS), part + s * n, part + (SUMS + s) * n);
}

kernel void norm_bwd_parts(
    WORK_ITEM
    global const real *part, global element *dw, global element *db,
    ROWS_AND_ELEMENTS, WALK(dw), WALK(db), const int has_dw, const int has_db, const index64 SUMS)
{
    const index64 e = WORK_ITEM_INDEX, n = A * D * H * W;
    if (e >= n) return;
    real product = 0, sum = 0;
    for (index64 s = 0; s < SUMS; s++) {
        product += part[s * n + e];
        sum += part[(SUMS + s) * n + e];
    }
    const place p = place_of(e, D, H, W);
    if (has_dw) store(dw, dw_start + PLACE(dw, p), product);
    if (has_db) store(db, db_start + PLACE(db, p), sum);
}
