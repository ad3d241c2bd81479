/* Resizing for processors: a work-item makes a run of positions in some consecutive rows of the output.
 *
 * For each row of the output the rows of the input that it reads are first added up, pixel by pixel, with the weights of
 * the axes D and H; then that one row is resized. Most positions of a row repeat: if the distance of neighbours is the
 * fraction ADVANCE/PHASES, then PHASES positions further on the weights are the same, ADVANCE pixels further on. Between
 * REGULAR and REGULAR_END that is so. */
#include "resize_tables.h"

/* What a run may read, and what it may write: clconv.algorithms.resize knows the number. */
#define MOST 1024

/* row[i] = sum of weights[t] * x[t, i] over TAPS neighbouring rows of the input, or that added to it. */
static inline void add_rows(real *row, global const element *x, const index64 start, const index64 x_h,
                            const index64 x_w, const int count, const real *weights, const int is_first, const int TAPS)
{
    for (int i = 0; i < count; i++) {
        real sum = weights[0] * load(x, start + i * x_w);
        for (int t = 1; t < TAPS; t++) sum += weights[t] * load(x, start + t * x_h + i * x_w);
        row[i] = is_first ? sum : row[i] + sum;
    }
}

/* The same for any number of rows: four, two or one at a time. The weights are STEP apart. */
static inline void add_plane(real *row, global const element *x, index64 start, const index64 x_h, const index64 x_w,
                             const int count, const real scale, global const real *weights, const int STEP,
                             const int taps, const int is_first)
{
    real w[4];
    for (int t = 0; t < taps;) {
        const int some = taps - t >= 4 ? 4 : taps - t >= 2 ? 2 : 1;
        for (int i = 0; i < some; i++) w[i] = scale * weights[(index64)(t + i) * STEP];
        if (some == 4) add_rows(row, x, start, x_h, x_w, count, w, is_first && t == 0, 4);
        else if (some == 2) add_rows(row, x, start, x_h, x_w, count, w, is_first && t == 0, 2);
        else add_rows(row, x, start, x_h, x_w, count, w, is_first && t == 0, 1);
        start += some * x_h;
        t += some;
    }
}

/* Groups of positions that are summed side by side. */
#define BLOCK 32

/* Positions that repeat, where all PHASES have the same number of TAPS: y[q*PHASES + r], for BLOCK groups or more. */
static inline void sum_alike(global element *y, const index64 start, const real *row, const int low,
                             global const int *first, global const real *weights, const int OW, const int groups,
                             const int PHASES, const int ADVANCE, const int TAPS)
{
    real w[2][8];
    const real *source[2];
    for (int r = 0; r < PHASES; r++) {
        source[r] = row + (first[r] - low);
        for (int t = 0; t < TAPS; t++) w[r][t] = weights[(index64)t * OW + r];
    }
    /* Whole blocks, of which the last one overlaps the one before: no positions are left over for a slower loop. */
    for (int block = 0; block < groups; block += BLOCK) {
        const int first_group = block < groups - BLOCK ? block : groups - BLOCK;
        for (int i = 0; i < BLOCK; i++) {
            const int q = first_group + i;
            for (int r = 0; r < PHASES; r++) {
                real sum = w[r][0] * source[r][q * ADVANCE];
                for (int t = 1; t < TAPS; t++) sum += w[r][t] * source[r][q * ADVANCE + t];
                store(y, start + q * PHASES + r, sum);
            }
        }
    }
}

/* One phase of the positions that repeat, tap by tap. */
static inline void sum_phase(real *sums, const real *row, const int low, const int first, const int taps,
                             global const real *weights, const int OW, const int groups, const int ADVANCE)
{
    const real *source = row + (taps > 0 ? first - low : 0);
    for (int q = 0; q < groups; q++) sums[q] = taps > 0 ? weights[0] * source[q * ADVANCE] : 0;
    for (int t = 1; t < taps; t++) {
        const real weight = weights[(index64)t * OW];
        for (int q = 0; q < groups; q++) sums[q] += weight * source[q * ADVANCE + t];
    }
}

/* Any positions, one by one. */
static inline void sum_any(real *sums, const real *row, const int low, global const int *first,
                           global const real *weights, const int OW, const int count)
{
    for (int i = 0; i < count; i++) {
        const int taps = first[OW + i];
        const real *source = row + (taps > 0 ? first[i] - low : 0);
        global const real *w = weights + i;
        real sum = taps > 0 ? w[0] * source[0] : 0;
        if (taps == 2) sum += w[OW] * source[1];
        else if (taps == 4) sum += w[OW] * source[1] + w[2 * (index64)OW] * source[2] + w[3 * (index64)OW] * source[3];
        else for (int t = 1; t < taps; t++) sum += w[t * (index64)OW] * source[t];
        sums[i] = sum;
    }
}

/* y[q*PHASES + r] = sums[r, q] */
static inline void store_row(global element *y, const index64 start, const index64 y_w, const real *sums,
                             const int groups, const int PHASES)
{
    for (int q = 0; q < groups; q++)
        for (int r = 0; r < PHASES; r++) store(y, start + (q * PHASES + r) * y_w, sums[r * groups + q]);
}

static inline void store_sums(global element *y, const index64 start, const index64 y_w, const real *sums,
                              const int groups, const int PHASES)
{
    if (y_w == 1 && PHASES == 1) store_row(y, start, 1, sums, groups, 1);
    else if (y_w == 1 && PHASES == 2) store_row(y, start, 1, sums, groups, 2);
    else store_row(y, start, y_w, sums, groups, PHASES);
}

/* Positions that repeat: factors of 2 in registers, where COMMON_TAPS tells that all phases are alike. */
static inline void sum_regular(global element *y, const index64 start, const index64 y_w, const real *row, const int low,
                               global const int *first, global const real *weights, const int OW, const int groups,
                               const int PHASES, const int ADVANCE, const int COMMON_TAPS)
{
    const int up = PHASES == 2 && ADVANCE == 1 && y_w == 1 && groups >= BLOCK;
    const int down = PHASES == 1 && ADVANCE == 2 && y_w == 1 && groups >= BLOCK;
    if (up && COMMON_TAPS == 1) sum_alike(y, start, row, low, first, weights, OW, groups, 2, 1, 1);
    else if (up && COMMON_TAPS == 2) sum_alike(y, start, row, low, first, weights, OW, groups, 2, 1, 2);
    else if (up && COMMON_TAPS == 4) sum_alike(y, start, row, low, first, weights, OW, groups, 2, 1, 4);
    else if (down && COMMON_TAPS == 1) sum_alike(y, start, row, low, first, weights, OW, groups, 1, 2, 1);
    else if (down && COMMON_TAPS == 2) sum_alike(y, start, row, low, first, weights, OW, groups, 1, 2, 2);
    else if (down && COMMON_TAPS == 4) sum_alike(y, start, row, low, first, weights, OW, groups, 1, 2, 4);
    else if (down && COMMON_TAPS == 8) sum_alike(y, start, row, low, first, weights, OW, groups, 1, 2, 8);
    else {
        real sums[MOST];
        for (int r = 0; r < PHASES; r++) {
            real *phase = sums + r * groups;
            const int taps = first[OW + r];
            if (ADVANCE == 1) sum_phase(phase, row, low, first[r], taps, weights + r, OW, groups, 1);
            else if (ADVANCE == 2) sum_phase(phase, row, low, first[r], taps, weights + r, OW, groups, 2);
            else sum_phase(phase, row, low, first[r], taps, weights + r, OW, groups, ADVANCE);
        }
        store_sums(y, start, y_w, sums, groups, PHASES);
    }
}

kernel void resize_rows(
    WORK_ITEM
    global const element *x, global element *y, global const int *pixels, global const real *weights,
    RESIZE_SIZES, const int ROWS, const int RUN,
    const int PHASES, const int ADVANCE, const int COMMON_TAPS, const int REGULAR, const int REGULAR_END,
    VIEW(x), VIEW(y))
{
    const int RUNS = (OW + RUN - 1) / RUN;
    const int PARTS = (OH + ROWS - 1) / ROWS;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * C * OD * PARTS * RUNS) return;
    const int run = item % RUNS; item /= RUNS;
    const int part = item % PARTS; item /= PARTS;
    const int od = item % OD; item /= OD;
    const index64 c = item % C;
    const index64 n = item / C;

    const int begin = run * RUN;
    const int end = OW - begin < RUN ? OW : begin + RUN;
    const int regular_end = end < REGULAR_END ? end : REGULAR_END;
    const int first_regular = begin > REGULAR ? begin : REGULAR;
    const int groups = regular_end > first_regular ? (regular_end - first_regular) / PHASES : 0;
    const int regular = groups > 0 ? first_regular : begin;
    const int rest = regular + groups * PHASES;
    const int last_row = OH - part * ROWS < ROWS ? OH : part * ROWS + ROWS;
    /* Behind the axes' pixels stand the first pixel of every run, and the number of its pixels. */
    const int low = PIXELS_END[run];
    const int count = PIXELS_END[RUNS + run];
    real row[MOST], sums[MOST];

    for (int oh = part * ROWS; oh < last_row; oh++) {
        const int taps_d = PIXELS_D[OD + od], taps_h = PIXELS_H[OH + oh];
        if (taps_d == 0 || taps_h == 0)
            for (int i = 0; i < count; i++) row[i] = 0;
        for (int td = 0; td < taps_d; td++) {
            const index64 from = AT(x, n, c, PIXELS_D[od] + td, PIXELS_H[oh], low);
            const real scale = WEIGHTS_D[(index64)td * OD + od];
            if (x_w == 1) add_plane(row, x, from, x_h, 1, count, scale, WEIGHTS_H + oh, OH, taps_h, td == 0);
            else add_plane(row, x, from, x_h, x_w, count, scale, WEIGHTS_H + oh, OH, taps_h, td == 0);
        }
        const index64 to = AT(y, n, c, od, oh, 0);
        if (groups > 0)
            sum_regular(y, to + regular * y_w, y_w, row, low, PIXELS_W + regular, WEIGHTS_W + regular, OW, groups,
                        PHASES, ADVANCE, COMMON_TAPS);
        sum_any(sums, row, low, PIXELS_W + begin, WEIGHTS_W + begin, OW, regular - begin);
        store_sums(y, to + begin * y_w, y_w, sums, regular - begin, 1);
        sum_any(sums, row, low, PIXELS_W + rest, WEIGHTS_W + rest, OW, end - rest);
        store_sums(y, to + rest * y_w, y_w, sums, end - rest, 1);
    }
}
