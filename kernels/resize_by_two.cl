/* Resizing by factors of 2 along W, for processors: a work-item makes a run of positions in some rows of the output.
 *
 * For each row the rows of the input that it reads are first added up, pixel by pixel, with the weights of the axes D
 * and H. Between REGULAR and REGULAR_END the positions of that one row repeat: with PHASES = 2, upwards, every second one
 * has the same weights, and one pixel further on; with PHASES = 1, downwards, every one, and two pixels further on. So
 * vectors of weighted pixels are shuffled into vectors of positions, upwards, or vectors of pixels into vectors of every
 * second pixel.
 */
#include "resize_rows.h"

/* Rows that a work-item adds up before it resizes them. */
#define AT_ONCE 4

/* y[2q + r] for r = 0, 1 and `groups` values of q, at least LANES. Whole vectors, of which the last one overlaps the one
 * before: no positions are left over for a slower loop. */
static inline void sum_up(
    global element *y, const index64 start, const real *row, const int low, global const int *first,
    global const real *weights, const int OW, const int groups, const int TAPS)
{
    vector w[2][4];
    for (int t = 0; t < TAPS; t++)
        for (int r = 0; r < 2; r++) w[r][t] = splat(weights[(index64)t * OW + r]);
    for (int block = 0; block < groups; block += LANES) {
        const int q = block < groups - LANES ? block : groups - LANES;
        const real *even = row + (first[0] - low) + q, *odd = row + (first[1] - low) + q;
        vector a = w[0][0] * load_private(even), b = w[1][0] * load_private(odd);
        for (int t = 1; t < TAPS; t++) {
            a += w[0][t] * load_private(even + t);
            b += w[1][t] * load_private(odd + t);
        }
        store_elements(y, start + 2 * q, SHUFFLED(a, b, FIRST_HALVES));
        store_elements(y, start + 2 * q + LANES, SHUFFLED(a, b, SECOND_HALVES));
    }
}

/* y[q], of the pixels from 2q on, likewise. */
static inline void sum_down(
    global element *y, const index64 start, const real *row, const int low, global const int *first,
    global const real *weights, const int OW, const int groups, const int TAPS)
{
    vector w[8];
    for (int t = 0; t < TAPS; t++) w[t] = splat(weights[(index64)t * OW]);
    for (int block = 0; block < groups; block += LANES) {
        const int q = block < groups - LANES ? block : groups - LANES;
        const real *pixel = row + (first[0] - low) + 2 * q;
        vector sum = splat(0);
        for (int t = 0; t < TAPS; t += 2) {
            const vector lower = load_private(pixel + t), upper = load_private(pixel + t + LANES);
            sum += w[t] * SHUFFLED(lower, upper, EVEN_LANES);
            if (t + 1 < TAPS) sum += w[t + 1] * SHUFFLED(lower, upper, ODD_LANES);
        }
        store_elements(y, start + q, sum);
    }
}

/* Positions one by one. */
static inline void sum_any(
    global element *y, const index64 start, const index64 y_w, const real *row, const int low,
    global const int *first, global const real *weights, const int OW, const int count)
{
    for (int i = 0; i < count; i++) {
        const int taps = first[OW + i];
        const real *source = row + (taps > 0 ? first[i] - low : 0);
        real sum = taps > 0 ? weights[i] * source[0] : 0;
        for (int t = 1; t < taps; t++) sum += weights[(index64)t * OW + i] * source[t];
        store(y, start + i * y_w, sum);
    }
}

kernel void resize_by_two(
    WORK_ITEM
    global const element *x, global element *y, global const int *pixels, global const real *weights,
    RESIZE_SIZES, const int ROWS, const int RUN, const int PHASES, const int TAPS,
    const int REGULAR, const int REGULAR_END, VIEW(x), VIEW(y))
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
    const int most_groups = (regular_end - first_regular) / PHASES;
    const int groups = y_w == 1 && most_groups >= LANES ? most_groups : 0;
    const int regular = groups > 0 ? first_regular : begin;
    const int rest = regular + groups * PHASES;
    const int last_row = OH - part * ROWS < ROWS ? OH : part * ROWS + ROWS;
    /* Behind the axes' pixels stand the first pixel of every run, and the number of its pixels. */
    const int low = PIXELS_END[run];
    const int count = PIXELS_END[RUNS + run];
    global const int *first = PIXELS_W + regular;
    global const real *w = WEIGHTS_W + regular;
    /* A processor reads badly what it has just written in other pieces, so some rows are between writing and reading. */
    real lines[AT_ONCE][MOST + 2 * LANES];

    for (int some_rows = part * ROWS; some_rows < last_row; some_rows += AT_ONCE) {
        const int some = last_row - some_rows < AT_ONCE ? last_row - some_rows : AT_ONCE;
        for (int r = 0; r < some; r++) {
            const int oh = some_rows + r, taps_d = PIXELS_D[OD + od], taps_h = PIXELS_H[OH + oh];
            if (taps_d == 0 || taps_h == 0) clear_line(lines[r], LANES, count);
            for (int td = 0; td < taps_d; td++)
                add_plane(lines[r], LANES, x, AT(x, n, c, PIXELS_D[od] + td, PIXELS_H[oh], low), x_h, x_w, count,
                          WEIGHTS_D[(index64)td * OD + od], WEIGHTS_H + oh, OH, taps_h, td == 0);
        }
        for (int r = 0; r < some; r++) {
            const real *row = lines[r];
            const index64 to = AT(y, n, c, od, some_rows + r, 0), start = to + regular;
            if (groups > 0 && PHASES == 2 && TAPS == 1) sum_up(y, start, row, low, first, w, OW, groups, 1);
            else if (groups > 0 && PHASES == 2 && TAPS == 2) sum_up(y, start, row, low, first, w, OW, groups, 2);
            else if (groups > 0 && PHASES == 2) sum_up(y, start, row, low, first, w, OW, groups, 4);
            else if (groups > 0 && TAPS == 1) sum_down(y, start, row, low, first, w, OW, groups, 1);
            else if (groups > 0 && TAPS == 2) sum_down(y, start, row, low, first, w, OW, groups, 2);
            else if (groups > 0 && TAPS == 4) sum_down(y, start, row, low, first, w, OW, groups, 4);
            else if (groups > 0) sum_down(y, start, row, low, first, w, OW, groups, 8);
            sum_any(y, to + begin * y_w, y_w, row, low, PIXELS_W + begin, WEIGHTS_W + begin, OW, regular - begin);
            sum_any(y, to + rest * y_w, y_w, row, low, PIXELS_W + rest, WEIGHTS_W + rest, OW, end - rest);
        }
    }
}
