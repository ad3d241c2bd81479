/* Sampling an image at the positions of a grid, and the gradients with respect to the image and to the grid.
 *
 *     y[n, c, o]     = sum over taps t of w[t] * x[n, c, i[t]]
 *     dx[n, c, i]    = sum over o, t with i[t] = i of w[t] * dy[n, c, o]
 *     dgrid[n, o, k] = sum over c, t of dw[t]/dgrid[k] * x[n, c, i[t]] * dy[n, c, o]
 *
 * A grid position has a coordinate for each axis, of the last axis first, from -1 to 1. Along each axis it has TAPS
 * pixels with weights; a pixel outside the image counts as zero and is left out. dx is scattered: a work-item owns whole
 * planes and goes through the positions in their order, so that the sums have the same bits on every run. */
#include "convolution.h"

/* The order of clconv.problem.grid_sample's MODES and PADDING_MODES. */
#define NEAREST 0
#define BILINEAR 1
#define BICUBIC 2
#define ZEROS 0
#define BORDER 1
#define REFLECTION 2

#define GRID_SIZES \
    const index64 N, const index64 C, const int ID, const int IH, const int IW, \
    const int OD, const int OH, const int OW, const int RANK, const int mode, const int padding_mode, \
    const int align_corners, const int CHANNELS

#define GRID_VIEW(a) \
    const index64 a##_start, const index64 a##_n, const index64 a##_d, const index64 a##_h, const index64 a##_w, \
    const index64 a##_k
#define GRID_AT(a, n, d, h, w, k) (a##_start + (n) * a##_n + (d) * a##_d + (h) * a##_h + (w) * a##_w + (k) * a##_k)

/* Farther from the image no position needs to be told apart, and integers hold it. */
#define FARTHEST 1073741824

/* What one axis contributes: pixels (-1 outside the image), weights, and how the weights change with the coordinate. */
typedef struct {
    int count;
    int pixel[4];
    real weight[4];
    real slope[4];
} taps;

/* floor(p), for |p| up to FARTHEST. */
static inline int whole(const real p)
{
    const int i = (int)p;
    return i > p ? i - 1 : i;
}

/* Where a coordinate lies among E pixels; NaN counts as -1. */
static inline real position(const real coordinate, const int E, const int align_corners)
{
    const real g = coordinate != coordinate ? -1 : coordinate;
    const real p = align_corners ? (g + 1) / 2 * (E - 1) : ((g + 1) * E - 1) / 2;
    return p < -FARTHEST ? -FARTHEST : p > FARTHEST ? FARTHEST : p;
}

/* A position moved into the image; `direction` is its derivative: -1 where it is mirrored, 0 where it stays at an edge. */
static inline real inside(real p, const int E, const int padding_mode, const int align_corners, real *direction)
{
    *direction = 1;
    if (padding_mode == REFLECTION) {
        const real low = align_corners ? 0 : (real)-0.5;
        const int span = align_corners ? E - 1 : E;
        if (span == 0) { *direction = 0; return 0; }
        if (p < low) { p = 2 * low - p; *direction = -1; }
        const int turns = (int)((p - low) / span);
        const real rest = p - low - (real)turns * span;
        if (turns % 2 == 0) p = low + rest;
        else { p = low + (span - rest); *direction = -*direction; }
    }
    if (padding_mode != ZEROS && p <= 0) { *direction = 0; return 0; }
    if (padding_mode != ZEROS && p >= E - 1) { *direction = 0; return E - 1; }
    return p;
}

/* The pixel of a cubic tap, which is moved into the image by itself. */
static inline int pixel_inside(const int i, const int E, const int padding_mode, const int align_corners)
{
    if (i >= 0 && i < E) return i;
    if (padding_mode == ZEROS) return -1;
    if (padding_mode == BORDER) return i < 0 ? 0 : E - 1;
    const int period = align_corners ? 2 * (E - 1) : 2 * E;
    if (period == 0) return 0;
    const int mirrored = i >= 0 ? i : align_corners ? -i : -1 - i;
    const int rest = mirrored % period;
    return rest < E ? rest : align_corners ? period - rest : period - 1 - rest;
}

/* Keys's kernel with a = -3/4 at the four pixels around a position, t behind the second one, and its derivative. */
static inline void cubic_weights(taps *axis, const real t, const real scale)
{
    const real a = (real)-0.75, s = 1 - t;
    axis->weight[0] = a * t * s * s;
    axis->weight[1] = s * (1 + t - (a + 2) * t * t);
    axis->weight[2] = t * (1 + s - (a + 2) * s * s);
    axis->weight[3] = a * s * t * t;
    axis->slope[0] = scale * a * s * (1 - 3 * t);
    axis->slope[1] = scale * t * (3 * (a + 2) * t - 2 * (a + 3));
    axis->slope[2] = -scale * s * (3 * (a + 2) * s - 2 * (a + 3));
    axis->slope[3] = scale * a * t * (2 - 3 * t);
}

/* The taps of one axis of E pixels. */
static inline taps taps_of(const real coordinate, const int E, const int mode, const int padding_mode,
                           const int align_corners)
{
    taps axis;
    const real scale = (real)(align_corners ? E - 1 : E) / 2;
    real p = position(coordinate, E, align_corners);
    if (mode == BICUBIC) {
        const int first = whole(p) - 1;
        axis.count = 4;
        for (int t = 0; t < 4; t++) axis.pixel[t] = pixel_inside(first + t, E, padding_mode, align_corners);
        cubic_weights(&axis, p - (first + 1), scale);
        return axis;
    }
    real direction;
    p = inside(p, E, padding_mode, align_corners, &direction);
    const int first = whole(p);
    const real part = p - first;
    if (mode == NEAREST) { /* ties go to the even pixel */
        const int i = part > (real)0.5 || (part == (real)0.5 && first % 2 != 0) ? first + 1 : first;
        axis.count = 1;
        axis.pixel[0] = i >= 0 && i < E ? i : -1;
        axis.weight[0] = 1;
        axis.slope[0] = 0;
        return axis;
    }
    axis.count = 2;
    axis.pixel[0] = first >= 0 && first < E ? first : -1;
    axis.pixel[1] = first + 1 >= 0 && first + 1 < E ? first + 1 : -1;
    axis.weight[0] = 1 - part;
    axis.weight[1] = part;
    axis.slope[0] = -direction * scale;
    axis.slope[1] = direction * scale;
    return axis;
}

/* The one pixel of the axis that two dimensions lack. */
static inline taps single_tap(void)
{
    taps axis;
    axis.count = 1;
    axis.pixel[0] = 0;
    axis.weight[0] = 1;
    axis.slope[0] = 0;
    return axis;
}

#define TAPS_AT(n, od, oh, ow) \
    const taps w = taps_of(load(grid, GRID_AT(grid, n, od, oh, ow, 0)), IW, mode, padding_mode, align_corners); \
    const taps h = taps_of(load(grid, GRID_AT(grid, n, od, oh, ow, 1)), IH, mode, padding_mode, align_corners); \
    const taps d = RANK == 3 \
        ? taps_of(load(grid, GRID_AT(grid, n, od, oh, ow, 2)), ID, mode, padding_mode, align_corners) : single_tap();

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

    TAPS_AT(n, od, oh, ow)
    for (index64 c = first; c < last; c++) {
        real sum = 0;
        for (int td = 0; td < d.count; td++) {
            for (int th = 0; th < h.count && d.pixel[td] >= 0; th++) {
                real row = 0;
                for (int tw = 0; tw < w.count && h.pixel[th] >= 0; tw++)
                    if (w.pixel[tw] >= 0)
                        row += w.weight[tw] * load(x, AT(x, n, c, d.pixel[td], h.pixel[th], w.pixel[tw]));
                sum += d.weight[td] * h.weight[th] * row;
            }
        }
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
                TAPS_AT(n, od, oh, ow)
                for (int td = 0; td < d.count; td++) {
                    for (int th = 0; th < h.count && d.pixel[td] >= 0; th++) {
                        for (int tw = 0; tw < w.count && h.pixel[th] >= 0; tw++) {
                            if (w.pixel[tw] < 0) continue;
                            const real weight = d.weight[td] * h.weight[th] * w.weight[tw];
                            const index64 i = ((index64)d.pixel[td] * IH + h.pixel[th]) * IW + w.pixel[tw];
                            for (index64 c = first; c < last; c++)
                                sums[(n * C + c) * PLANE + i] += weight * load(dy, AT(dy, n, c, od, oh, ow));
                        }
                    }
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

    TAPS_AT(n, od, oh, ow)
    real sum_d = 0, sum_h = 0, sum_w = 0;
    for (index64 c = 0; c < C; c++) {
        real slope_d = 0, slope_h = 0, slope_w = 0;
        for (int td = 0; td < d.count; td++) {
            for (int th = 0; th < h.count && d.pixel[td] >= 0; th++) {
                for (int tw = 0; tw < w.count && h.pixel[th] >= 0; tw++) {
                    if (w.pixel[tw] < 0) continue;
                    const real value = load(x, AT(x, n, c, d.pixel[td], h.pixel[th], w.pixel[tw]));
                    slope_w += w.slope[tw] * h.weight[th] * d.weight[td] * value;
                    slope_h += w.weight[tw] * h.slope[th] * d.weight[td] * value;
                    slope_d += w.weight[tw] * h.weight[th] * d.slope[td] * value;
                }
            }
        }
        const real g = load(dy, AT(dy, n, c, od, oh, ow));
        sum_w += slope_w * g;
        sum_h += slope_h * g;
        sum_d += slope_d * g;
    }
    store(dgrid, GRID_AT(dgrid, n, od, oh, ow, 0), sum_w);
    store(dgrid, GRID_AT(dgrid, n, od, oh, ow, 1), sum_h);
    if (RANK == 3) store(dgrid, GRID_AT(dgrid, n, od, oh, ow, 2), sum_d);
}
