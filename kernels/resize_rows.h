/* What the kernels of resizing for processors share: sums of the input's rows, pixel by pixel. */
#ifndef CLCONV_RESIZE_ROWS_H
#define CLCONV_RESIZE_ROWS_H

#include "resize_tables.h"
#include "vector.h"

/* The most pixels of a line, which a run of positions reads: clconv.algorithms.resize knows the number. */
#define MOST 1024

/* line[i] = sum of weights[t] * x[t, i] over TAPS neighbouring rows of the input, or that added to it. The line is in
 * pieces of LANES pixels that lie PITCH apart, of which the last one is filled up. */
static inline void add_rows(
    real *line, const int PITCH, global const element *x, const index64 from, const index64 x_h, const index64 x_w,
    const int count, const real *weights, const int is_first, const int TAPS)
{
    int i = 0;
    for (; x_w == 1 && i + LANES <= count; i += LANES, line += PITCH) {
        vector sum = weights[0] * load_elements(x, from + i);
        for (int t = 1; t < TAPS; t++) sum += weights[t] * load_elements(x, from + t * x_h + i);
        store_vector(line, is_first ? sum : load_private(line) + sum);
    }
    for (; i < count; i += LANES, line += PITCH) {
        for (int lane = 0; lane < LANES; lane++) {
            const index64 at = from + (i + lane < count ? i + lane : i) * x_w;
            real sum = weights[0] * load(x, at);
            for (int t = 1; t < TAPS; t++) sum += weights[t] * load(x, at + t * x_h);
            line[lane] = is_first ? sum : line[lane] + sum;
        }
    }
}

/* The same for any number of rows: four, two or one at a time. The weights are STEP apart. */
static inline void add_plane(
    real *line, const int PITCH, global const element *x, index64 from, const index64 x_h, const index64 x_w,
    const int count, const real scale, global const real *weights, const int STEP, const int taps, const int is_first)
{
    real w[4];
    for (int t = 0; t < taps;) {
        const int some = taps - t >= 4 ? 4 : taps - t >= 2 ? 2 : 1;
        for (int i = 0; i < some; i++) w[i] = scale * weights[(index64)(t + i) * STEP];
        if (some == 4) add_rows(line, PITCH, x, from, x_h, x_w, count, w, is_first && t == 0, 4);
        else if (some == 2) add_rows(line, PITCH, x, from, x_h, x_w, count, w, is_first && t == 0, 2);
        else add_rows(line, PITCH, x, from, x_h, x_w, count, w, is_first && t == 0, 1);
        from += some * x_h;
        t += some;
    }
}

static inline void clear_line(real *line, const int PITCH, const int count)
{
    for (int i = 0; i < count; i += LANES, line += PITCH) store_vector(line, splat(0));
}

#endif
