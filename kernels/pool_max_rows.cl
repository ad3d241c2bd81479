/* Max pooling of runs of rows: the maxima of pool_max.cl, for processors.
 *
 * Places are counted through the plane in an int: planes have less than 2^31 positions here.
 */
#include "pool_rows.h"
#include "math.h"

static inline real larger_of(const real best, const real value)
{
    return (value > best) | (value != value) ? value : best;
}

/* line[i] = the largest of `rows` rows, 1 to ROWS, and of what is there unless the line is fresh. */
static inline void raise_some(real *line, global const element *x, const index64 *start, const index64 step,
                              const int count, const int rows, const int fresh)
{
    for (int i = 0; i < count; i++) {
        real best = load(x, start[0] + i * step);
        if (rows > 1) best = larger_of(best, load(x, start[1] + i * step));
        if (rows > 2) best = larger_of(best, load(x, start[2] + i * step));
        line[i] = fresh ? best : larger_of(line[i], best);
    }
}

static inline void raise_rows(real *line, global const element *x, const index64 *start, const index64 step,
                              const int count, const int rows, const int fresh)
{
    if (step != 1) raise_some(line, x, start, step, count, rows, fresh);
    else if (rows == 3 && fresh) raise_some(line, x, start, 1, count, 3, 1);
    else if (rows == 2 && fresh) raise_some(line, x, start, 1, count, 2, 1);
    else if (fresh) raise_some(line, x, start, 1, count, 1, 1);
    else if (rows == 3) raise_some(line, x, start, 1, count, 3, 0);
    else if (rows == 2) raise_some(line, x, start, 1, count, 2, 0);
    else raise_some(line, x, start, 1, count, 1, 0);
}

/* best[o] = the largest of line[o*S + k*D] */
static inline void raise_taps(real *best, const real *line, const int count, const int K, const int S, const int D)
{
    for (int o = 0; o < whole_blocks(count); o++) {
        real top = line[o * S];
        for (int k = 1; k < K; k++) top = larger_of(top, line[o * S + k * D]);
        best[o] = top;
    }
}

static inline real largest_of(const real *line, const int count, const int D)
{
    real best = line[0];
    for (int i = 1; i < count; i++) best = larger_of(best, line[i * D]);
    return best;
}

kernel void max_pool_rows(
    WORK_ITEM
    global const element *x, global element *y, POOL_SIZES, VIEW(x), VIEW(y), const int BAND, const int RUN)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    const span s = span_of(b, RUN, IW, KW, SW, DW, PW, QW);
    const reach rd = reach_of(b.d, ID, KD, SD, DD, PD, QD);

    real line[ROOM], best[ROOM];
    fill(line, -infinity(), ROOM); /* what rows leave of it stays the padding's */
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
        index64 start[ROWS];
        int rows = 0, fresh = 1;
        for (int iw = s.first; iw < s.end; iw += LINE)
            for (int id = rd.first; id < rd.end; id += DD)
                for (int ih = rh.first; ih < rh.end; ih += DH) {
                    start[rows++] = AT(x, b.n, b.c, id, ih, iw);
                    if (rows < ROWS && (ih + DH < rh.end || id + DD < rd.end)) continue;
                    raise_rows(line + (iw - s.start) % LINE, x, start, x_w, smaller(s.end - iw, LINE), rows, fresh);
                    rows = fresh = 0;
                }

#define RAISE_TAPS(K, S) raise_taps(best, line, b.count, K, S, 1)
#define RAISE_DILATED_TAPS(K, S) raise_taps(best, line, b.count, K, S, DW)
        if (RUN == 1 && DW == 1)
            best[0] = largest_of(line, s.length, 1);
        else if (QW == 1 && SW <= 2 && DW == 1)
            WITH_WINDOW(RAISE_TAPS, KW, SW);
        else if (QW == 1 && SW <= 2)
            WITH_WINDOW(RAISE_DILATED_TAPS, KW, SW);
        else
            for (int o = 0; o < b.count; o++) {
                const reach rw = reach_of(b.begin + o, IW, KW, SW, DW, PW, QW);
                best[o] = largest_of(line + rw.start - s.start, rw.taps, DW);
            }
        write_row(y, AT(y, b.n, b.c, b.d, oh, b.begin), y_w, best, b.count);
    }
}

/* line and where: the largest of a row and of what is there, unless the line is fresh, and the first place that has it.
 * Rows come in the order of their places; `index` is that of the row's first value. */
static inline void raise_placed(real *line, int *where, global const element *x, const index64 start, const index64 step,
                                const int index, const int count, const int fresh)
{
    for (int i = 0; i < count; i++) {
        const real value = load(x, start + i * step);
        const int wins = fresh | (value > line[i]) | ((value != value) & (line[i] == line[i]));
        line[i] = wins ? value : line[i];
        where[i] = wins ? index + i : where[i];
    }
}

static inline void raise_row_placed(real *line, int *where, global const element *x, const index64 start,
                                    const index64 step, const int index, const int count, const int fresh)
{
    if (step != 1) raise_placed(line, where, x, start, step, index, count, fresh);
    else if (fresh) raise_placed(line, where, x, start, 1, index, count, 1);
    else raise_placed(line, where, x, start, 1, index, count, 0);
}

/* A candidate of another column wins over the best so far if it is larger, or is the first NaN, or is as large and at an
 * earlier place: columns do not come in the order of the places of their maxima. */
#define WINS(value, index, best, where) \
    (((value) > (best)) \
     | (((value) != (value)) & (((best) == (best)) | ((index) < (where)))) \
     | (((value) == (best)) & ((index) < (where))))

static inline void raise_taps_placed(real *best, int *place_of_best, const real *line, const int *where, const int count,
                                     const int K, const int S, const int D)
{
    for (int o = 0; o < whole_blocks(count); o++) {
        real top = line[o * S];
        int place_of_top = where[o * S];
        for (int k = 1; k < K; k++) {
            const real value = line[o * S + k * D];
            const int index = where[o * S + k * D];
            const int wins = WINS(value, index, top, place_of_top);
            top = wins ? value : top;
            place_of_top = wins ? index : place_of_top;
        }
        best[o] = top;
        place_of_best[o] = place_of_top;
    }
}

/* A line of maxima, and where they are. */
#define NOWHERE 0x7fffffff

static inline void clear(real *line, int *where)
{
    fill(line, -infinity(), ROOM);
    for (int i = 0; i < ROOM; i++) where[i] = NOWHERE;
}

/* The maxima of a run of windows in row oh, and their places. */
static inline void placed_maxima(real *best, int *place_of_best, real *line, int *where, global const element *x,
                                 const band b, const span s, const int oh, POOL_SIZES, VIEW(x), const int RUN)
{
    const reach rd = reach_of(b.d, ID, KD, SD, DD, PD, QD);
    const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
    for (int id = rd.first; id < rd.end; id += DD)
        for (int ih = rh.first; ih < rh.end; ih += DH)
            for (int iw = s.first; iw < s.end; iw += LINE) {
                const int i = (iw - s.start) % LINE;
                const int fresh = id == rd.first && ih == rh.first && iw == s.first;
                raise_row_placed(line + i, where + i, x, AT(x, b.n, b.c, id, ih, iw), x_w, (id * IH + ih) * IW + iw,
                                 smaller(s.end - iw, LINE), fresh);
            }

#define RAISE_TAPS_PLACED(K, S) raise_taps_placed(best, place_of_best, line, where, b.count, K, S, 1)
#define RAISE_DILATED_TAPS_PLACED(K, S) raise_taps_placed(best, place_of_best, line, where, b.count, K, S, DW)
    if (QW == 1 && SW <= 2 && DW == 1 && RUN > 1) {
        WITH_WINDOW(RAISE_TAPS_PLACED, KW, SW);
        return;
    }
    if (QW == 1 && SW <= 2 && RUN > 1) {
        WITH_WINDOW(RAISE_DILATED_TAPS_PLACED, KW, SW);
        return;
    }
    for (int o = 0; o < b.count; o++) {
        const reach rw = reach_of(b.begin + o, IW, KW, SW, DW, PW, QW);
        const int folds = RUN == 1 && DW == 1;
        const int taps = folds ? s.length : rw.taps;
        int k = folds ? 0 : rw.start - s.start;
        best[o] = line[k];
        place_of_best[o] = where[k];
        for (int tap = 1; tap < taps; tap++) {
            k += DW;
            if (!WINS(line[k], where[k], best[o], place_of_best[o])) continue;
            best[o] = line[k];
            place_of_best[o] = where[k];
        }
    }
}

#define ALL_SIZES \
    N, C, ID, IH, IW, OD, OH, OW, KD, KH, KW, SD, SH, SW, DD, DH, DW, PD, PH, PW, QD, QH, QW, \
    x_start, x_n, x_c, x_d, x_h, x_w

kernel void max_pool_rows_placed(
    WORK_ITEM
    global const element *x, global element *y, global index64 *indices,
    POOL_SIZES, VIEW(x), VIEW(y), VIEW(indices), const int BAND, const int RUN)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    const span s = span_of(b, RUN, IW, KW, SW, DW, PW, QW);
    real line[ROOM], best[ROOM];
    int where[ROOM], place_of_best[ROOM];
    clear(line, where);
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        placed_maxima(best, place_of_best, line, where, x, b, s, oh, ALL_SIZES, RUN);
        write_row(y, AT(y, b.n, b.c, b.d, oh, b.begin), y_w, best, b.count);
        const index64 target = AT(indices, b.n, b.c, b.d, oh, b.begin);
        if (indices_w == 1) for (int o = 0; o < b.count; o++) indices[target + o] = place_of_best[o];
        else for (int o = 0; o < b.count; o++) indices[target + o * indices_w] = place_of_best[o];
    }
}

/* The places alone, for the gradient. */
kernel void max_pool_rows_winners(
    WORK_ITEM
    global const element *x, global int *winners, POOL_SIZES, VIEW(x), const int BAND, const int RUN)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    const span s = span_of(b, RUN, IW, KW, SW, DW, PW, QW);
    real line[ROOM], best[ROOM];
    int where[ROOM], place_of_best[ROOM];
    clear(line, where);
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        placed_maxima(best, place_of_best, line, where, x, b, s, oh, ALL_SIZES, RUN);
        global int *target = winners + (((b.n * C + b.c) * OD + b.d) * OH + oh) * OW + b.begin;
        for (int o = 0; o < b.count; o++) target[o] = place_of_best[o];
    }
}

/* Position j*S + phase of the line gets given[o] of every window o whose maximum is there: at its tap k with o*S + k*D =
 * j*S + phase. The line is kept in S interleaved parts, so that neighbours are neighbours in memory, too. */
static inline void gather_winners(real *line, const int *tap, const real *given, const int length, const int fresh,
                                  const int K, const int S, const int D)
{
    for (int phase = 0; phase < S; phase++)
        for (int j = 0; j < whole_blocks(length); j++) {
            real sum = 0;
            for (int k = 0; k < K; k++)
                if (k * D % S == phase) sum += tap[j - k * D / S] == k * D ? given[j - k * D / S] : 0;
            line[phase * ROOM + j] = fresh ? sum : line[phase * ROOM + j] + sum;
        }
}

kernel void max_pool_rows_bwd(
    WORK_ITEM
    global const int *winners, global const element *dy, global element *dx,
    POOL_SIZES, VIEW(dy), VIEW(dx), const int BAND, const int RUN)
{
    if (WORK_ITEM_INDEX >= N * C * ID * bands_of_plane(IH, IW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, ID, IH, IW, BAND, RUN);
    const windows wd = windows_over(b.d, OD, KD, SD, DD, PD, QD);
    const int first = windows_over(b.begin, OW, KW, SW, DW, PW, QW).first;
    const int outputs = larger(windows_over(b.begin + b.count - 1, OW, KW, SW, DW, PW, QW).last - first + 1, 0);
    const int by_taps = QW == 1 && SW <= 2 && outputs;
    /* Positions of the first window that are not of the run; and windows that are none, for taps to read. */
    const int before = by_taps ? b.begin + PW - first * SW : 0;
    const int none = by_taps ? (KW - 1) * DW / SW : 0;

    real line[2 * ROOM], all_given[ROOM];
    int all_taps[ROOM];
    real *given = all_given + none;
    int *tap = all_taps + none;
    fill(all_given, 0, ROOM);
    for (int i = 0; i < ROOM; i++) all_taps[i] = -1;
    for (int ih = b.first_row; ih < b.end_row; ih++) {
        const windows wh = windows_over(ih, OH, KH, SH, DH, PH, QH);
        const int row = (b.d * IH + ih) * IW + b.begin - before;
        int fresh = 1;
        for (int od = wd.first; od <= wd.last; od++)
            for (int oh = wh.first; oh <= wh.last; oh++) {
                global const int *winner = winners + (((b.n * C + b.c) * OD + od) * OH + oh) * OW + first;
                const index64 start = AT(dy, b.n, b.c, od, oh, first);
                if (by_taps) {
                    /* How far the winner is from where this row's part of the window begins. One of another row is beyond
                     * the taps, or leads to a place beyond the image, which is not written. */
                    for (int o = 0; o < outputs; o++) tap[o] = winner[o] - row - o * SW;
                    read_row(given, dy, start, dy_w, outputs);
#define GATHER_WINNERS(K, S) gather_winners(line, tap, given, (before + b.count) / (S) + 1, fresh, K, S, 1)
#define GATHER_DILATED_WINNERS(K, S) gather_winners(line, tap, given, (before + b.count) / (S) + 1, fresh, K, S, DW)
                    if (DW == 1) WITH_WINDOW(GATHER_WINNERS, KW, SW);
                    else WITH_WINDOW(GATHER_DILATED_WINNERS, KW, SW);
                } else {
                    if (fresh) fill(line, 0, b.count);
                    for (int o = 0; o < outputs; o++) {
                        const int i = winner[o] - row;
                        if (i >= 0 && i < b.count) line[i] += load(dy, start + o * dy_w);
                    }
                }
                fresh = 0;
            }
        if (fresh) {
            fill(line, 0, ROOM);
            fill(line + ROOM, 0, ROOM);
        }
        const index64 target = AT(dx, b.n, b.c, b.d, ih, b.begin);
        if (by_taps && SW == 2) write_interleaved(dx, target, dx_w, line, before, b.count);
        else write_row(dx, target, dx_w, line + before, b.count);
    }
}
