/* Max pooling of runs of rows: the maxima of pool_max.cl, for processors.
 *
 * Places are counted through the plane in an int: planes have less than 2^31 positions here.
 */
#include "pool_rows.h"
#include "epilogue.h"
#include "pool_magnitude.h"

static inline real larger_of(const real best, const real value)
{
    return ((value > best) | (value != value)) ? value : best;
}

/* The same where the best is in memory, of which compilers would make a branch around a store. */
static inline real raised(const real best, const real value)
{
    return chosen((value > best) | (value != value), value, best);
}

/* line[i] = the largest of `rows` rows, 1 to ROWS, and of what is there unless the line is fresh. */
static inline void raise_some(real *restrict line, global const element *restrict x, const index64 *restrict start,
                              const index64 step, const int count, const int rows, const int fresh, const bits kept)
{
    for (int i = 0; i < count; i++) {
        real best = masked(load(x, start[0] + i * step), kept);
        if (!fresh) best = raised(line[i], best);
        if (rows > 1) best = larger_of(best, masked(load(x, start[1] + i * step), kept));
        if (rows > 2) best = larger_of(best, masked(load(x, start[2] + i * step), kept));
        line[i] = best;
    }
}

static inline void raise_rows(real *restrict line, global const element *restrict x, const index64 *restrict start,
                              const index64 step, const int count, const int rows, const int fresh, const bits kept)
{
    if (step != 1 || ~kept) raise_some(line, x, start, step, count, rows, fresh, kept);
    else if (rows == 3 && fresh) raise_some(line, x, start, 1, count, 3, 1, ALL_BITS);
    else if (rows == 2 && fresh) raise_some(line, x, start, 1, count, 2, 1, ALL_BITS);
    else if (fresh) raise_some(line, x, start, 1, count, 1, 1, ALL_BITS);
    else if (rows == 3) raise_some(line, x, start, 1, count, 3, 0, ALL_BITS);
    else if (rows == 2) raise_some(line, x, start, 1, count, 2, 0, ALL_BITS);
    else raise_some(line, x, start, 1, count, 1, 0, ALL_BITS);
}

/* best[o] = the largest tap of window o; taps lie as TAPS says for step = 1. */
static inline void raise_taps(real *restrict best, const real *restrict line, const int windows, const int K,
                              const int S, const int D, const int step)
{
    const real *restrict second = step == 2 ? line + 1 : TAPS(line, D);
    const real *restrict third = TAPS(line, 2 * D);
    if (K == 1) EACH_OF_BLOCKS(o, windows) best[o] = line[o];
    else if (K == 2) EACH_OF_BLOCKS(o, windows) best[o] = larger_of(line[o * step], second[o * step]);
    else EACH_OF_BLOCKS(o, windows) best[o] = larger_of(larger_of(line[o], second[o]), third[o]);
    for (int k = 3; k < K; k++) {
        const real *restrict taps = TAPS(line, k * D);
        EACH_OF_BLOCKS(o, windows) best[o] = raised(best[o], taps[o]);
    }
}

/* Returns a line whose places have the largest of `width` places of the given one, D apart, from their own on; that is
 * the largest power of two that is not above `least`. Lines are doubled in turn. */
typedef struct { const real *line; int width; } widened;

static inline void raise_pairs(real *restrict to, const real *restrict from, const int count, const int distance)
{
    EACH_OF_BLOCKS(i, count) to[i] = larger_of(from[i], from[i + distance]);
}

static inline widened widen(real *line, real *spare, const int length, const int least, const int D)
{
    int width = 1;
    for (; 2 * width <= least; width *= 2) {
        raise_pairs(spare, line, length - width * D, width * D);
        real *other = line;
        line = spare;
        spare = other;
    }
    const widened w = {line, width};
    return w;
}

/* The largest of `taps` places from `start` on: of stretches, the last of which may overlap the one before it. */
static inline real largest_of(const widened w, const int start, const int taps, const int D)
{
    real best = w.line[start];
    for (int k = w.width; k + w.width <= taps; k += w.width) best = larger_of(best, w.line[start + k * D]);
    return larger_of(best, w.line[start + (taps - w.width) * D]);
}

kernel void max_pool_rows(
    WORK_ITEM
    global const element *x, EPILOGUE_ARRAYS, global element *y, POOL_SIZES, VIEW(x), VIEW(y),
    EPILOGUE, VIEW(residual), const int BAND, const int RUN, const int magnitudes)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    const span s = span_of(b, RUN, IW, KW, SW, DW, PW, QW);
    const reach rd = reach_of(b.d, ID, KD, SD, DD, PD, QD);

    const int folds = RUN == 1 && DW == 1;
    const bits kept = kept_bits(magnitudes);
    real line[ROOM], best[ROOM], parts[2 * ROOM];
    fill(line, -infinity(), ROOM); /* what rows leave of it stays the padding's */
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
        index64 start[ROWS];
        int rows = 0, fresh = 1;
        for (int iw = s.first; iw < s.end; iw += LINE)
            for (int id = rd.first; id < rd.end; id += DD)
                for (int ih = rh.first; ih < rh.end; ih += DH) {
                    start[rows++] = AT(x, b.n, b.c, id, ih, iw);
                    fetch_ahead(x, start[rows - 1], x_w, smaller(s.end - iw, LINE));
                    if (rows < ROWS && (ih + DH < rh.end || id + DD < rd.end)) continue;
                    raise_rows(
                        line + (iw - s.start) % LINE, x, start, x_w, smaller(s.end - iw, LINE), rows, fresh, kept);
                    rows = fresh = 0;
                }

        if (QW == 1 && SW <= 2 && !folds) {
            if (SW == 2 && KW == 2 && DW == 1) {
                raise_taps(best, line, b.count, 2, 2, 1, 2);
            } else {
                if (SW == 2) part(parts, line, s.length);
                raise_taps(best, SW == 2 ? parts : line, b.count, KW, SW, DW, 1);
            }
        } else {
            const widened w = widen(line, parts, s.length, folds ? s.length : KW / QW, DW);
            for (int o = 0; o < b.count; o++) {
                const reach rw = reach_of(b.begin + o, IW, KW, SW, DW, PW, QW);
                best[o] = largest_of(w, folds ? 0 : rw.start - s.start, folds ? s.length : rw.taps, DW);
            }
            fill(line, -infinity(), ROOM);
        }
        FINISH_RUN(best, b.count, b.c, AT(residual, b.n, b.c, b.d, oh, b.begin), residual_w);
        write_row(y, AT(y, b.n, b.c, b.d, oh, b.begin), y_w, best, b.count);
    }
}

/* Of several candidates, the first place that has the largest is the least of what this gives for each: its place, or
 * where it is not the largest, NOWHERE, whose bits are all set. A choice between loaded values would be a branch. NaN
 * is as large as NaN. */
#define NOWHERE 0x7fffffff

static inline int place_if_top(const int index, const real value, const real top)
{
    return index | (((value == top) | (value != value)) ? 0 : NOWHERE);
}

/* The same as raise_some, and where[i] is the first place that has line[i]; `index` has the places of the rows' first
 * values. */
static inline void raise_some_placed(real *restrict line, int *restrict where, global const element *restrict x,
                                     const index64 *restrict start, const index64 step, const int *restrict index,
                                     const int count, const int rows, const int fresh, const bits kept)
{
    for (int i = 0; i < count; i++) {
        const real first = masked(load(x, start[0] + i * step), kept);
        const real second = rows > 1 ? masked(load(x, start[1] + i * step), kept) : first;
        const real third = rows > 2 ? masked(load(x, start[2] + i * step), kept) : first;
        real top = fresh ? first : larger_of(line[i], first);
        if (rows > 1) top = larger_of(top, second);
        if (rows > 2) top = larger_of(top, third);
        int place_of_top = place_if_top(index[0] + i, first, top);
        if (!fresh) place_of_top = smaller(place_if_top(where[i], line[i], top), place_of_top);
        if (rows > 1) place_of_top = smaller(place_if_top(index[1] + i, second, top), place_of_top);
        if (rows > 2) place_of_top = smaller(place_if_top(index[2] + i, third, top), place_of_top);
        line[i] = top;
        where[i] = place_of_top;
    }
}

static inline void raise_rows_placed(real *restrict line, int *restrict where, global const element *restrict x,
                                     const index64 *restrict start, const index64 step, const int *restrict index,
                                     const int count, const int rows, const int fresh, const bits kept)
{
    if (step != 1 || ~kept) raise_some_placed(line, where, x, start, step, index, count, rows, fresh, kept);
    else if (rows == 3 && fresh) raise_some_placed(line, where, x, start, 1, index, count, 3, 1, ALL_BITS);
    else if (rows == 2 && fresh) raise_some_placed(line, where, x, start, 1, index, count, 2, 1, ALL_BITS);
    else if (fresh) raise_some_placed(line, where, x, start, 1, index, count, 1, 1, ALL_BITS);
    else if (rows == 3) raise_some_placed(line, where, x, start, 1, index, count, 3, 0, ALL_BITS);
    else if (rows == 2) raise_some_placed(line, where, x, start, 1, index, count, 2, 0, ALL_BITS);
    else raise_some_placed(line, where, x, start, 1, index, count, 1, 0, ALL_BITS);
}

static inline void raise_window_placed(real *restrict best, int *restrict place_of_best, const real *restrict line,
                                       const int *restrict where, const int K, const int D)
{
    real top = line[0];
    for (int k = 1; k < K; k++) top = larger_of(top, line[k * D]);
    int first = NOWHERE;
    for (int k = 0; k < K; k++) first = smaller(place_if_top(where[k * D], line[k * D], top), first);
    *best = top;
    *place_of_best = first;
}

static inline void raise_taps_placed(real *restrict best, int *restrict place_of_best, const real *restrict line,
                                     const int *restrict where, const int count, const int K, const int S)
{
    for (int o = 0; o < whole_blocks(count); o++)
        raise_window_placed(best + o, place_of_best + o, line + o * S, where + o * S, K, 1);
}

static inline void clear(real *restrict line, int *restrict where)
{
    fill(line, -infinity(), ROOM);
    for (int i = 0; i < ROOM; i++) where[i] = NOWHERE;
}

/* The maxima of a run of windows in row oh, and their places. */
static inline void placed_maxima(
    real *restrict best, int *restrict place_of_best, real *restrict line, int *restrict where,
    global const element *restrict x, const band b, const span s, const int oh, POOL_SIZES, VIEW(x), const int RUN,
    const bits kept)
{
    const reach rd = reach_of(b.d, ID, KD, SD, DD, PD, QD);
    const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
    index64 start[ROWS];
    int index[ROWS], rows = 0, fresh = 1;
    for (int id = rd.first; id < rd.end; id += DD)
        for (int ih = rh.first; ih < rh.end; ih += DH)
            for (int iw = s.first; iw < s.end; iw += LINE) {
                start[rows] = AT(x, b.n, b.c, id, ih, iw);
                fetch_ahead(x, start[rows], x_w, smaller(s.end - iw, LINE));
                index[rows++] = (id * IH + ih) * IW + iw;
                const int is_last = ih + DH >= rh.end && id + DD >= rd.end;
                if (rows < ROWS && !is_last && s.end - s.first <= LINE) continue;
                const int i = (iw - s.start) % LINE;
                raise_rows_placed(
                    line + i, where + i, x, start, x_w, index, smaller(s.end - iw, LINE), rows, fresh, kept);
                rows = fresh = 0;
            }

#define RAISE_TAPS_PLACED(K, S) raise_taps_placed(best, place_of_best, line, where, b.count, K, S)
    if (QW == 1 && SW <= 2 && DW == 1 && RUN > 1) {
        WITH_WINDOW(RAISE_TAPS_PLACED, KW, SW);
        return;
    }
    for (int o = 0; o < b.count; o++) {
        const reach rw = reach_of(b.begin + o, IW, KW, SW, DW, PW, QW);
        const int folds = RUN == 1 && DW == 1;
        const int taps = folds ? s.length : rw.taps;
        const int start = folds ? 0 : rw.start - s.start;
        raise_window_placed(best + o, place_of_best + o, line + start, where + start, taps, DW);
    }
}

#define ALL_SIZES \
    N, C, ID, IH, IW, OD, OH, OW, KD, KH, KW, SD, SH, SW, DD, DH, DW, PD, PH, PW, QD, QH, QW, \
    x_start, x_n, x_c, x_d, x_h, x_w

kernel void max_pool_rows_placed(
    WORK_ITEM
    global const element *x, EPILOGUE_ARRAYS, global element *y, global index64 *indices,
    POOL_SIZES, VIEW(x), VIEW(y), VIEW(indices), EPILOGUE, VIEW(residual),
    const int BAND, const int RUN, const int magnitudes)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    const span s = span_of(b, RUN, IW, KW, SW, DW, PW, QW);
    real line[ROOM], best[ROOM];
    int where[ROOM], place_of_best[ROOM];
    clear(line, where);
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        placed_maxima(best, place_of_best, line, where, x, b, s, oh, ALL_SIZES, RUN, kept_bits(magnitudes));
        FINISH_RUN(best, b.count, b.c, AT(residual, b.n, b.c, b.d, oh, b.begin), residual_w);
        write_row(y, AT(y, b.n, b.c, b.d, oh, b.begin), y_w, best, b.count);
        const index64 target = AT(indices, b.n, b.c, b.d, oh, b.begin);
        if (indices_w == 1) for (int o = 0; o < b.count; o++) indices[target + o] = place_of_best[o];
        else for (int o = 0; o < b.count; o++) indices[target + o * indices_w] = place_of_best[o];
    }
}

/* The places alone, for the gradient. */
kernel void max_pool_rows_winners(
    WORK_ITEM
    global const element *x, global int *winners, POOL_SIZES, VIEW(x), const int BAND, const int RUN,
    const int magnitudes)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    const span s = span_of(b, RUN, IW, KW, SW, DW, PW, QW);
    real line[ROOM], best[ROOM];
    int where[ROOM], place_of_best[ROOM];
    clear(line, where);
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        placed_maxima(best, place_of_best, line, where, x, b, s, oh, ALL_SIZES, RUN, kept_bits(magnitudes));
        global int *target = winners + (((b.n * C + b.c) * OD + b.d) * OH + oh) * OW + b.begin;
        for (int o = 0; o < b.count; o++) target[o] = place_of_best[o];
    }
}

/* What windows give, each to the place of its maximum. */
kernel void max_pool_rows_gather(
    WORK_ITEM
    global const int *winners, global const element *dy, global element *dx,
    POOL_SIZES, VIEW(dy), VIEW(dx), const int BAND, const int RUN)
{
    if (WORK_ITEM_INDEX >= N * C * ID * bands_of_plane(IH, IW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, ID, IH, IW, BAND, RUN);
    const windows wd = windows_over(b.d, OD, KD, SD, DD, PD, QD);
    const int first = windows_over(b.begin, OW, KW, SW, DW, PW, QW).first;
    const int last = windows_over(b.begin + b.count - 1, OW, KW, SW, DW, PW, QW).last;
    real line[ROOM];
    for (int ih = b.first_row; ih < b.end_row; ih++) {
        const windows wh = windows_over(ih, OH, KH, SH, DH, PH, QH);
        const int row = (b.d * IH + ih) * IW + b.begin;
        fill(line, 0, b.count);
        for (int od = wd.first; od <= wd.last; od++)
            for (int oh = wh.first; oh <= wh.last; oh++) {
                global const int *winner = winners + (((b.n * C + b.c) * OD + od) * OH + oh) * OW;
                for (int ow = first; ow <= last; ow++) {
                    const int i = winner[ow] - row;
                    if (i >= 0 && i < b.count) line[i] += load(dy, AT(dy, b.n, b.c, od, oh, ow));
                }
            }
        write_row(dx, AT(dx, b.n, b.c, b.d, ih, b.begin), dx_w, line, b.count);
    }
}
