/* Sampling at the positions of a grid, for processors: a work-item has a run of positions of one row of the output.
 *
 * The pixels and weights of the whole run are found first, tap by tap in arrays, and then used for all channels. For a
 * pixel outside the image another one is read, of whose product no bit is used. For dx, which is scattered, the sums of LANES channels lie side by side: a
 * work-item owns that many planes, and adds vectors in the order of the positions.
 */
#include "grid_sample.h"
#include "vector.h"

/* Positions of a run at most: clconv.algorithms.grid_sample knows the number. */
#define RUN_MOST 128

/* The taps of one axis at all positions of a run. */
typedef struct {
    int count;
    int pixel[4][RUN_MOST];
    real weight[4][RUN_MOST], slope[4][RUN_MOST];
} axis_taps;

/* The taps of all axes together: what `pixels_of` finds at one position. */
typedef struct {
    int count;
    int offset[MOST][RUN_MOST];
    bits inside[MOST][RUN_MOST]; /* all bits or none */
    real weight[MOST][RUN_MOST];
} run_taps;

typedef struct { real d[MOST][RUN_MOST], h[MOST][RUN_MOST], w[MOST][RUN_MOST]; } run_slopes;

/* What taps_of finds at one position, in loops that compilers make vectors of where the padding is known. */
static inline void find_axis(
    axis_taps *axis, const real *coordinate, const int run, const int E, const int mode, const int padding_mode,
    const int align_corners)
{
    const real scale = (real)(align_corners ? E - 1 : E) / 2;
    axis->count = mode == NEAREST ? 1 : mode == BILINEAR ? 2 : 4;
    if (mode == BICUBIC) {
        for (int i = 0; i < run; i++) {
            const real p = position(coordinate[i], E, align_corners);
            const int first = whole(p) - 1;
            for (int t = 0; t < 4; t++) axis->pixel[t][i] = pixel_inside(first + t, E, padding_mode, align_corners);
            cubic_weights(axis->weight[0] + i, axis->slope[0] + i, RUN_MOST, p - (first + 1), scale);
        }
        return;
    }
    INDEPENDENT for (int i = 0; i < run; i++) {
        real direction;
        const real p = inside(position(coordinate[i], E, align_corners), E, padding_mode, align_corners, &direction);
        const int first = whole(p);
        const real part = p - first;
        if (mode == NEAREST) {
            axis->pixel[0][i] = pixel_or_none(nearest(first, part), E);
            axis->weight[0][i] = 1;
            axis->slope[0][i] = 0;
        } else {
            axis->pixel[0][i] = pixel_or_none(first, E);
            axis->pixel[1][i] = pixel_or_none(first + 1, E);
            axis->weight[0][i] = 1 - part;
            axis->weight[1][i] = part;
            axis->slope[0][i] = -direction * scale;
            axis->slope[1][i] = direction * scale;
        }
    }
}

/* The taps of a run along one axis. */
static inline void find_taps(axis_taps *axis, global const element *grid, const index64 from, const index64 grid_w,
                             const int run, const int E, const int mode, const int padding_mode, const int align_corners)
{
    real coordinate[RUN_MOST];
    for (int i = 0; i < run; i++) coordinate[i] = load(grid, from + i * grid_w);
    if (mode == BILINEAR && padding_mode == ZEROS) find_axis(axis, coordinate, run, E, BILINEAR, ZEROS, align_corners);
    else if (mode == BILINEAR && padding_mode == BORDER) find_axis(axis, coordinate, run, E, BILINEAR, BORDER, align_corners);
    else if (mode == BILINEAR) find_axis(axis, coordinate, run, E, BILINEAR, REFLECTION, align_corners);
    else if (mode == NEAREST && padding_mode == ZEROS) find_axis(axis, coordinate, run, E, NEAREST, ZEROS, align_corners);
    else if (mode == NEAREST && padding_mode == BORDER) find_axis(axis, coordinate, run, E, NEAREST, BORDER, align_corners);
    else if (mode == NEAREST) find_axis(axis, coordinate, run, E, NEAREST, REFLECTION, align_corners);
    else if (padding_mode == ZEROS) find_axis(axis, coordinate, run, E, BICUBIC, ZEROS, align_corners);
    else find_axis(axis, coordinate, run, E, BICUBIC, padding_mode, align_corners);
}

static inline void no_axis(axis_taps *axis, const int run)
{
    axis->count = 1;
    for (int i = 0; i < run; i++) {
        axis->pixel[0][i] = 0;
        axis->weight[0][i] = 1;
        axis->slope[0][i] = 0;
    }
}

/* Finds the taps of a run, and where wanted how the weights change. */
static inline void find_run(
    run_taps *found, run_slopes *slopes, const int wants_slopes, global const element *grid, const index64 from,
    const index64 grid_w, const index64 grid_k, const int run, const int ID, const int IH, const int IW, const int RANK,
    const int mode, const int padding_mode, const int align_corners,
    const index64 step_d, const index64 step_h, const index64 step_w)
{
    axis_taps d, h, w;
    find_taps(&w, grid, from, grid_w, run, IW, mode, padding_mode, align_corners);
    find_taps(&h, grid, from + grid_k, grid_w, run, IH, mode, padding_mode, align_corners);
    if (RANK == 3) find_taps(&d, grid, from + 2 * grid_k, grid_w, run, ID, mode, padding_mode, align_corners);
    else no_axis(&d, run);
    const int up_d = step_d, up_h = step_h, up_w = step_w;
    int k = 0;
    for (int td = 0; td < d.count; td++) {
        for (int th = 0; th < h.count; th++) {
            for (int tw = 0; tw < w.count; tw++, k++) {
                for (int i = 0; i < run; i++) {
                    const int pd = d.pixel[td][i], ph = h.pixel[th][i], pw = w.pixel[tw][i];
                    const int is_outside = (pd | ph | pw) < 0;
                    found->offset[k][i] = is_outside ? 0 : pd * up_d + ph * up_h + pw * up_w;
                    found->inside[k][i] = (bits)is_outside - 1;
                    found->weight[k][i] = d.weight[td][i] * h.weight[th][i] * w.weight[tw][i];
                }
                for (int i = 0; i < run && wants_slopes; i++) {
                    slopes->d[k][i] = d.slope[td][i] * h.weight[th][i] * w.weight[tw][i];
                    slopes->h[k][i] = d.weight[td][i] * h.slope[th][i] * w.weight[tw][i];
                    slopes->w[k][i] = d.weight[td][i] * h.weight[th][i] * w.slope[tw][i];
                }
            }
        }
    }
    found->count = k;
}

static inline index64 distance(const int E, const index64 step) { return (E - 1) * (step < 0 ? -step : step); }

/* Whether the pixels of a plane lie so near to each other that an int holds their offsets. */
static inline int is_near(
    const int ID, const int IH, const int IW, const index64 x_d, const index64 x_h, const index64 x_w)
{
    return distance(ID, x_d) < FARTHEST / 2 && distance(IH, x_h) < FARTHEST / 2 && distance(IW, x_w) < FARTHEST / 2;
}

/* factor * x, or 0 outside the image. */
static inline real product_inside(const real factor, const real x, const bits inside)
{
    return real_of(bits_of(factor * x) & inside);
}

static inline void sample(
    global const element *x, const index64 plane, global element *y, const index64 to, const index64 y_w, const int run,
    const run_taps *found, const int COUNT)
{
    INDEPENDENT for (int i = 0; i < run; i++) {
        real sum = 0;
        for (int k = 0; k < COUNT; k++)
            sum += product_inside(found->weight[k][i], load(x, plane + found->offset[k][i]), found->inside[k][i]);
        store(y, to + i * y_w, sum);
    }
}

/* Asks for the pixels of a plane that will be read soon: those of its first taps and of its last ones. */
static inline void fetch_run(global const element *x, const index64 plane, const run_taps *found, const int run)
{
    for (int i = 0; i < run; i += 8) {
        FETCH_AHEAD(x, plane + found->offset[0][i]);
        FETCH_AHEAD(x, plane + found->offset[found->count - 1][i]);
    }
}

/* The item's run: positions first ... first + run - 1 of the row od, oh, of image n. */
#define RUN_OF_GRID \
    const int RUNS = (OW + RUN - 1) / RUN; \
    const int first = item % RUNS * RUN; item /= RUNS; \
    const int oh = item % OH; item /= OH; \
    const int od = item % OD; item /= OD; \
    const int run = OW - first < RUN ? OW - first : RUN;

kernel void grid_sample_rows(
    WORK_ITEM
    global const element *x, global const element *grid, global element *y,
    GRID_SIZES, const int RUN, VIEW(x), GRID_VIEW(grid), VIEW(y))
{
    const index64 SLICES = (C - 1) / CHANNELS + 1;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * SLICES * OD * OH * ((OW + RUN - 1) / RUN)) return;
    RUN_OF_GRID
    const index64 first_channel = item % SLICES * CHANNELS;
    const index64 n = item / SLICES;
    const index64 last = C - first_channel < CHANNELS ? C : first_channel + CHANNELS;

    if (!is_near(ID, IH, IW, x_d, x_h, x_w)) {
        for (int ow = first; ow < first + run; ow++) {
            PIXELS_AT(n, od, oh, ow, x_d, x_h, x_w)
            for (index64 c = first_channel; c < last; c++) {
                real sum = 0;
                for (int k = 0; k < count; k++) sum += weight[k] * load(x, AT(x, n, c, 0, 0, 0) + offset[k]);
                store(y, AT(y, n, c, od, oh, ow), sum);
            }
        }
        return;
    }
    run_taps found;
    find_run(&found, 0, 0, grid, GRID_AT(grid, n, od, oh, first, 0), grid_w, grid_k, run, ID, IH, IW, RANK, mode,
             padding_mode, align_corners, x_d, x_h, x_w);
    for (index64 c = first_channel; c < last; c++) {
        const index64 plane = AT(x, n, c, 0, 0, 0), to = AT(y, n, c, od, oh, first);
        fetch_run(x, plane + x_c, &found, run);
        if (found.count == 4 && y_w == 1) sample(x, plane, y, to, 1, run, &found, 4);
        else if (found.count == 1 && y_w == 1) sample(x, plane, y, to, 1, run, &found, 1);
        else if (found.count == 8 && y_w == 1) sample(x, plane, y, to, 1, run, &found, 8);
        else if (found.count == 16 && y_w == 1) sample(x, plane, y, to, 1, run, &found, 16);
        else sample(x, plane, y, to, y_w, run, &found, found.count);
    }
}

/* Adds what one channel gives to the gradient of the grid. */
static inline void add_slopes(
    global const element *x, const index64 plane, const real *g, const int run, const run_taps *found,
    const run_slopes *slopes, real *sum_d, real *sum_h, real *sum_w, const int COUNT, const int RANK)
{
    for (int i = 0; i < run; i++) {
        for (int k = 0; k < COUNT; k++) {
            const real product = product_inside(g[i], load(x, plane + found->offset[k][i]), found->inside[k][i]);
            sum_w[i] += slopes->w[k][i] * product;
            sum_h[i] += slopes->h[k][i] * product;
            if (RANK == 3) sum_d[i] += slopes->d[k][i] * product;
        }
    }
}

kernel void grid_sample_rows_bwd_grid(
    WORK_ITEM
    global const element *dy, global const element *x, global const element *grid, global element *dgrid,
    GRID_SIZES, const int RUN, VIEW(dy), VIEW(x), GRID_VIEW(grid), GRID_VIEW(dgrid))
{
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * OD * OH * ((OW + RUN - 1) / RUN)) return;
    RUN_OF_GRID
    const index64 n = item;
    real sum_d[RUN_MOST], sum_h[RUN_MOST], sum_w[RUN_MOST], g[RUN_MOST];
    for (int i = 0; i < run; i++) sum_d[i] = sum_h[i] = sum_w[i] = 0;

    if (mode == NEAREST) {
        /* no weight of a nearest pixel changes with the position */
    } else if (is_near(ID, IH, IW, x_d, x_h, x_w)) {
        run_taps found;
        run_slopes slopes;
        find_run(&found, &slopes, 1, grid, GRID_AT(grid, n, od, oh, first, 0), grid_w, grid_k, run, ID, IH, IW, RANK, mode,
                 padding_mode, align_corners, x_d, x_h, x_w);
        for (index64 c = 0; c < C; c++) {
            const index64 plane = AT(x, n, c, 0, 0, 0), from = AT(dy, n, c, od, oh, first);
            fetch_run(x, plane + x_c, &found, run);
            for (int i = 0; i < run; i++) g[i] = load(dy, from + i * dy_w);
            if (found.count == 4) add_slopes(x, plane, g, run, &found, &slopes, sum_d, sum_h, sum_w, 4, 2);
            else add_slopes(x, plane, g, run, &found, &slopes, sum_d, sum_h, sum_w, found.count, RANK);
        }
    } else {
        for (int ow = first; ow < first + run; ow++) {
            PIXELS_AT(n, od, oh, ow, x_d, x_h, x_w)
            for (index64 c = 0; c < C; c++) {
                for (int k = 0; k < count; k++) {
                    const real product =
                        load(dy, AT(dy, n, c, od, oh, ow)) * load(x, AT(x, n, c, 0, 0, 0) + offset[k]);
                    sum_w[ow - first] += slope_w[k] * product;
                    sum_h[ow - first] += slope_h[k] * product;
                    sum_d[ow - first] += slope_d[k] * product;
                }
            }
        }
    }
    const index64 to = GRID_AT(dgrid, n, od, oh, first, 0);
    for (int i = 0; i < run; i++) {
        store(dgrid, to + i * dgrid_w, sum_w[i]);
        store(dgrid, to + i * dgrid_w + dgrid_k, sum_h[i]);
        if (RANK == 3) store(dgrid, to + i * dgrid_w + 2 * dgrid_k, sum_d[i]);
    }
}

/* Turns LANES rows of `count` elements, C_STEP apart, into vectors of one element of every row; `rows` of them exist. */
static inline void load_square(
    vector *square, global const element *a, const index64 from, const index64 c_step, const index64 w_step,
    const int rows, const int count)
{
    for (int r = 0; r < LANES; r++) {
        real values[LANES];
        if (w_step == 1 && count == LANES && r < rows) {
            square[r] = load_elements(a, from + r * c_step);
            continue;
        }
        for (int i = 0; i < LANES; i++)
            values[i] = r < rows && i < count ? load(a, from + r * c_step + i * w_step) : 0;
        square[r] = load_private(values);
    }
    TRANSPOSE(square, LANES);
}

/* `sums` has for every image and slice of LANES channels their pixels, (ID, IH, IW, LANES). */
kernel void grid_sample_rows_bwd_input(
    WORK_ITEM
    global const element *dy, global const element *grid, global real *sums, global element *dx,
    GRID_SIZES, const int RUN, VIEW(dy), GRID_VIEW(grid), VIEW(dx))
{
    const index64 SLICES = (C - 1) / LANES + 1;
    const index64 slice = WORK_ITEM_INDEX;
    if (slice >= N * SLICES) return;
    const index64 c = slice % SLICES * LANES;
    const index64 n = slice / SLICES;
    const int channels = C - c < LANES ? C - c : LANES;
    const index64 PLANE = (index64)ID * IH * IW;
    global real *plane = sums + slice * PLANE * LANES;

    for (index64 i = 0; i < PLANE * LANES; i++) plane[i] = 0;
    const index64 RUNS_OF_PLANE = (index64)OD * OH * ((OW + RUN - 1) / RUN);
    for (index64 number = 0; number < RUNS_OF_PLANE; number++) {
        index64 item = number;
        RUN_OF_GRID
        run_taps found;
        find_run(&found, 0, 0, grid, GRID_AT(grid, n, od, oh, first, 0), grid_w, grid_k, run, ID, IH, IW, RANK, mode,
                 padding_mode, align_corners, (index64)IH * IW, IW, 1);
        for (int begin = 0; begin < run; begin += LANES) {
            const int count = run - begin < LANES ? run - begin : LANES;
            vector g[LANES];
            load_square(g, dy, AT(dy, n, c, od, oh, first + begin), dy_c, dy_w, channels, count);
            for (int i = 0; i < count; i++) {
                for (int k = 0; k < found.count; k++) {
                    if (!found.inside[k][begin + i]) continue;
                    global real *pixel = plane + (index64)found.offset[k][begin + i] * LANES;
                    store_global(pixel, load_vector(pixel) + found.weight[k][begin + i] * g[i]);
                }
            }
        }
    }
    for (int id = 0; id < ID; id++) {
        for (int ih = 0; ih < IH; ih++) {
            for (int iw = 0; iw < IW; iw += LANES) {
                const int count = IW - iw < LANES ? IW - iw : LANES;
                const index64 from = (((index64)id * IH + ih) * IW + iw) * LANES, to = AT(dx, n, c, id, ih, iw);
                vector square[LANES];
                for (int i = 0; i < LANES; i++) square[i] = i < count ? load_vector(plane + from + i * LANES) : splat(0);
                TRANSPOSE(square, LANES);
                for (int r = 0; r < channels; r++) {
                    if (dx_w == 1 && count == LANES) {
                        store_elements(dx, to + r * dx_c, square[r]);
                        continue;
                    }
                    real values[LANES];
                    store_vector(values, square[r]);
                    for (int i = 0; i < count; i++) store(dx, to + r * dx_c + i * dx_w, values[i]);
                }
            }
        }
    }
}
