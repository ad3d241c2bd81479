/* Resizing for processors: a work-item makes a run of one row of the output.
 *
 * First the rows of the input that the output's row reads are added up, pixel by pixel, into one row, with the weights
 * of the axes D and H; then that row is resized. Most positions of a row repeat: if the distance of neighbours is the
 * fraction ADVANCE/PHASES, then PHASES positions further on the weights are the same, ADVANCE pixels further on. Between
 * REGULAR and REGULAR_END that is so; there the positions of one phase are summed side by side, tap by tap. */
#include "resize_tables.h"

/* What a run may read, and what it may write: clconv.algorithms.resize knows the number. */
#define MOST 1024

/* sums[i] = weight * x[i], or added to what is there, over a piece of a row. */
static inline void add_row(real *sums, global const element *x, const index64 start, const index64 stride,
                           const int count, const real weight, const int first)
{
    if (first)
        for (int i = 0; i < count; i++) sums[i] = weight * load(x, start + i * stride);
    else
        for (int i = 0; i < count; i++) sums[i] += weight * load(x, start + i * stride);
}

/* sums[q] += weight * row[q * ADVANCE]. */
static inline void add_tap(real *sums, const real *row, const int count, const real weight, const int first,
                           const int ADVANCE)
{
    if (first)
        for (int q = 0; q < count; q++) sums[q] = weight * row[q * ADVANCE];
    else
        for (int q = 0; q < count; q++) sums[q] += weight * row[q * ADVANCE];
}

/* y[q * PHASES + r] = sums[r][q]: the phases take turns. */
static inline void interleave(global element *y, const index64 start, const index64 stride, const real *sums,
                              const int count, const int PHASES)
{
    for (int q = 0; q < count; q++)
        for (int r = 0; r < PHASES; r++)
            store(y, start + (q * PHASES + r) * stride, sums[r * count + q]);
}

kernel void resize_rows(
    WORK_ITEM
    global const element *x, global element *y, global const int *pixels, global const real *weights,
    RESIZE_SIZES, const int RUN, const int PHASES, const int ADVANCE, const int REGULAR, const int REGULAR_END,
    VIEW(x), VIEW(y))
{
    const int RUNS = (OW + RUN - 1) / RUN;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * C * OD * OH * RUNS) return;
    const int run = item % RUNS; item /= RUNS;
    const int oh = item % OH; item /= OH;
    const int od = item % OD; item /= OD;
    const index64 c = item % C;
    const index64 n = item / C;

    real row[MOST], sums[MOST];
    /* Behind the axes' pixels stand the first pixel and the number of pixels of every run. */
    const int low = PIXELS_W(OW + run)[0];
    const int count = PIXELS_W(OW + run)[1];
    global const int *rd = PIXELS_D(od), *rh = PIXELS_H(oh);
    global const real *wd = WEIGHTS_D(od), *wh = WEIGHTS_H(oh);
    if (rd[1] * rh[1] == 0)
        for (int i = 0; i < count; i++) row[i] = 0;
    for (int td = 0; td < rd[1]; td++) {
        for (int th = 0; th < rh[1]; th++) {
            const index64 start = AT(x, n, c, rd[0] + td, rh[0] + th, low);
            if (x_w == 1) add_row(row, x, start, 1, count, wd[td] * wh[th], td + th == 0);
            else add_row(row, x, start, x_w, count, wd[td] * wh[th], td + th == 0);
        }
    }

    const int end = OW - run * RUN < RUN ? OW : run * RUN + RUN;
    int ow = run * RUN;
    const int begin = ow > REGULAR ? ow : REGULAR;
    const int groups = ((end < REGULAR_END ? end : REGULAR_END) - begin) / PHASES;
    while (ow < end) {
        if (ow == begin && groups > 0) {
            for (int r = 0; r < PHASES; r++) {
                real *phase = sums + r * groups;
                const real *source = row + PIXELS_W(ow + r)[0] - low;
                const int taps = PIXELS_W(ow + r)[1];
                if (taps == 0)
                    for (int q = 0; q < groups; q++) phase[q] = 0;
                for (int tw = 0; tw < taps; tw++) {
                    const real weight = WEIGHTS_W(ow + r)[tw];
                    if (ADVANCE == 1) add_tap(phase, source + tw, groups, weight, tw == 0, 1);
                    else if (ADVANCE == 2) add_tap(phase, source + tw, groups, weight, tw == 0, 2);
                    else add_tap(phase, source + tw, groups, weight, tw == 0, ADVANCE);
                }
            }
            const index64 start = AT(y, n, c, od, oh, ow);
            if (y_w == 1 && PHASES == 1) interleave(y, start, 1, sums, groups, 1);
            else if (y_w == 1 && PHASES == 2) interleave(y, start, 1, sums, groups, 2);
            else interleave(y, start, y_w, sums, groups, PHASES);
            ow += groups * PHASES;
        } else {
            const real *source = row + PIXELS_W(ow)[0] - low;
            real sum = 0;
            for (int tw = 0; tw < PIXELS_W(ow)[1]; tw++) sum += WEIGHTS_W(ow)[tw] * source[tw];
            store(y, AT(y, n, c, od, oh, ow), sum);
            ow++;
        }
    }
}
