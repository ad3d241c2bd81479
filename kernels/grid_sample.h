/* What the kernels of grid_sample share: the pixels that a position of the grid reads, and their weights.
 *
 * A grid position has a coordinate for each axis, of the last axis first, from -1 to 1. Along each axis it has TAPS
 * pixels with weights; a pixel outside the image counts as zero and is left out.
 */
#ifndef CLCONV_GRID_SAMPLE_H
#define CLCONV_GRID_SAMPLE_H

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

/* Keys's kernel with a = -3/4 at the four pixels around a position, t behind the second one, and its derivative. They
 * lie STEP apart. */
static inline void cubic_weights(real *weight, real *slope, const int STEP, const real t, const real scale)
{
    const real a = (real)-0.75, s = 1 - t;
    weight[0] = a * t * s * s;
    weight[STEP] = s * (1 + t - (a + 2) * t * t);
    weight[2 * STEP] = t * (1 + s - (a + 2) * s * s);
    weight[3 * STEP] = a * s * t * t;
    slope[0] = scale * a * s * (1 - 3 * t);
    slope[STEP] = scale * t * (3 * (a + 2) * t - 2 * (a + 3));
    slope[2 * STEP] = -scale * s * (3 * (a + 2) * s - 2 * (a + 3));
    slope[3 * STEP] = scale * a * t * (2 - 3 * t);
}

/* A pixel, or -1 outside an axis of E pixels. */
static inline int pixel_or_none(const int i, const int E) { return ((i >= 0) & (i < E)) ? i : -1; }

/* The pixel nearest to the place `part` behind `first`; ties go to the even one. */
static inline int nearest(const int first, const real part)
{
    return first + ((part > (real)0.5) | ((part == (real)0.5) & (first % 2 != 0)));
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
        cubic_weights(axis.weight, axis.slope, 1, p - (first + 1), scale);
        return axis;
    }
    real direction;
    p = inside(p, E, padding_mode, align_corners, &direction);
    const int first = whole(p);
    const real part = p - first;
    if (mode == NEAREST) {
        axis.count = 1;
        axis.pixel[0] = pixel_or_none(nearest(first, part), E);
        axis.weight[0] = 1;
        axis.slope[0] = 0;
        return axis;
    }
    axis.count = 2;
    axis.pixel[0] = pixel_or_none(first, E);
    axis.pixel[1] = pixel_or_none(first + 1, E);
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

/* Pixels that one position reads: two along each of three axes, or four along two. */
#define MOST 16

/* All pixels that a position reads: how far into a plane they lie, their weights, and how these change with each
 * coordinate. Returns how many there are inside the image. */
static inline int pixels_of(const taps *d, const taps *h, const taps *w,
                            const index64 step_d, const index64 step_h, const index64 step_w, index64 *offset,
                            real *weight, real *slope_d, real *slope_h, real *slope_w)
{
    int count = 0;
    for (int td = 0; td < d->count; td++) {
        for (int th = 0; th < h->count; th++) {
            for (int tw = 0; tw < w->count; tw++) {
                if (d->pixel[td] < 0 || h->pixel[th] < 0 || w->pixel[tw] < 0) continue;
                offset[count] = d->pixel[td] * step_d + h->pixel[th] * step_h + w->pixel[tw] * step_w;
                weight[count] = d->weight[td] * h->weight[th] * w->weight[tw];
                slope_d[count] = d->slope[td] * h->weight[th] * w->weight[tw];
                slope_h[count] = d->weight[td] * h->slope[th] * w->weight[tw];
                slope_w[count] = d->weight[td] * h->weight[th] * w->slope[tw];
                count++;
            }
        }
    }
    return count;
}

/* Declares what `pixels_of` finds at a position of the grid. */
#define PIXELS_AT(n, od, oh, ow, step_d, step_h, step_w) \
    const taps w = taps_of(load(grid, GRID_AT(grid, n, od, oh, ow, 0)), IW, mode, padding_mode, align_corners); \
    const taps h = taps_of(load(grid, GRID_AT(grid, n, od, oh, ow, 1)), IH, mode, padding_mode, align_corners); \
    const taps d = RANK == 3 \
        ? taps_of(load(grid, GRID_AT(grid, n, od, oh, ow, 2)), ID, mode, padding_mode, align_corners) : single_tap(); \
    index64 offset[MOST]; \
    real weight[MOST], slope_d[MOST], slope_h[MOST], slope_w[MOST]; \
    const int count = pixels_of(&d, &h, &w, step_d, step_h, step_w, offset, weight, slope_d, slope_h, slope_w);

#endif
