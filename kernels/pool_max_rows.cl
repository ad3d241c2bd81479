/* Max pooling of runs of rows: the maxima of pool_max.cl, for processors.
 *
 * Places are counted through the plane in an int: planes have less than 2^31 positions here.
 */
#include "pool_rows.h"
#include "math.h"

#define NOWHERE 0x7fffffff

static inline real larger_of(const real best, const real value)
{
    return (value > best) | (value != value) ? value : best;
}

static inline void raise_row(real *line, global const element *x, const index64 start, const index64 step, const int count)
{
    if (step == 1) for (int i = 0; i < count; i++) line[i] = larger_of(line[i], load(x, start + i));
    else for (int i = 0; i < count; i++) line[i] = larger_of(line[i], load(x, start + i * step));
}

/* best[o] = the largest of line[o*S + k*D] */
static inline void raise_taps(real *best, const real *line, const int count, const int K, const int S, const int D)
{
    const int end = whole_blocks(count);
    for (int o = 0; o < end; o++) best[o] = line[o * S];
    for (int k = 1; k < K; k++)
        for (int o = 0; o < end; o++) best[o] = larger_of(best[o], line[o * S + k * D]);
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
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
        fill(line, -infinity(), s.length + 2 * BLOCK);
        for (int id = rd.first; id < rd.end; id += DD)
            for (int ih = rh.first; ih < rh.end; ih += DH)
                for (int iw = s.first; iw < s.end; iw += LINE)
                    raise_row(line + (iw - s.start) % LINE, x, AT(x, b.n, b.c, id, ih, iw), x_w,
                              smaller(s.end - iw, LINE));

        if (RUN == 1 && DW == 1)
            best[0] = largest_of(line, s.length, 1);
        else if (QW == 1 && SW == 1)
            raise_taps(best, line, b.count, KW, 1, DW);
        else if (QW == 1 && SW == 2)
            raise_taps(best, line, b.count, KW, 2, DW);
        else
            for (int o = 0; o < b.count; o++) {
                const reach rw = reach_of(b.begin + o, IW, KW, SW, DW, PW, QW);
                best[o] = largest_of(line + rw.start - s.start, rw.taps, DW);
            }
        write_row(y, AT(y, b.n, b.c, b.d, oh, b.begin), y_w, best, b.count);
    }
}

/* A candidate replaces the best so far if it is larger, or is the first NaN, or is as large and at an earlier place: a line
 * is reduced by columns first, so that places do not come in order. */
#define REPLACES(value, index, best, where) \
    (((value) > (best)) \
     | (((value) != (value)) & (((best) == (best)) | ((index) < (where)))) \
     | (((value) == (best)) & ((index) < (where))))

/* `index` is the place of the row's first value. */
static inline void raise_row_placed(real *line, int *where, global const element *x, const index64 start,
                                    const index64 step, const int index, const int count)
{
    for (int i = 0; i < count; i++) {
        const real value = load(x, start + i * step);
        const int replaces = REPLACES(value, index + i, line[i], where[i]);
        line[i] = replaces ? value : line[i];
        where[i] = replaces ? index + i : where[i];
    }
}

static inline void raise_taps_placed(real *best, int *place_of_best, const real *line, const int *where, const int count,
                                     const int K, const int S, const int D)
{
    const int end = whole_blocks(count);
    for (int o = 0; o < end; o++) {
        best[o] = line[o * S];
        place_of_best[o] = where[o * S];
    }
    for (int k = 1; k < K; k++)
        for (int o = 0; o < end; o++) {
            const real value = line[o * S + k * D];
            const int index = where[o * S + k * D];
            const int replaces = REPLACES(value, index, best[o], place_of_best[o]);
            best[o] = replaces ? value : best[o];
            place_of_best[o] = replaces ? index : place_of_best[o];
        }
}

static inline void largest_placed(
    real *best, int *place_of_best, const real *line, const int *where, const int count, const int D)
{
    *best = line[0];
    *place_of_best = where[0];
    for (int i = 1; i < count; i++)
        if (REPLACES(line[i * D], where[i * D], *best, *place_of_best)) {
            *best = line[i * D];
            *place_of_best = where[i * D];
        }
}

/* The maxima of a run of windows in row oh, and their places. */
static inline void placed_maxima(
    real *best, int *place_of_best, global const element *x, const band b, const int oh, POOL_SIZES, VIEW(x), const int RUN)
{
    const span s = span_of(b, RUN, IW, KW, SW, DW, PW, QW);
    const reach rd = reach_of(b.d, ID, KD, SD, DD, PD, QD);
    const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
    real line[ROOM];
    int where[ROOM];
    fill(line, -infinity(), s.length + 2 * BLOCK);
    for (int i = 0; i < whole_blocks(s.length + 2 * BLOCK); i++) where[i] = NOWHERE;
    for (int id = rd.first; id < rd.end; id += DD)
        for (int ih = rh.first; ih < rh.end; ih += DH)
            for (int iw = s.first; iw < s.end; iw += LINE) {
                const int i = (iw - s.start) % LINE;
                raise_row_placed(line + i, where + i, x, AT(x, b.n, b.c, id, ih, iw), x_w, (id * IH + ih) * IW + iw,
                                 smaller(s.end - iw, LINE));
            }
    if (RUN == 1 && DW == 1)
        largest_placed(best, place_of_best, line, where, s.length, 1);
    else if (QW == 1 && SW == 1)
        raise_taps_placed(best, place_of_best, line, where, b.count, KW, 1, DW);
    else if (QW == 1 && SW == 2)
        raise_taps_placed(best, place_of_best, line, where, b.count, KW, 2, DW);
    else
        for (int o = 0; o < b.count; o++) {
            const reach rw = reach_of(b.begin + o, IW, KW, SW, DW, PW, QW);
            const int start = rw.start - s.start;
            largest_placed(best + o, place_of_best + o, line + start, where + start, rw.taps, DW);
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
    real best[ROOM];
    int place_of_best[ROOM];
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        placed_maxima(best, place_of_best, x, b, oh, ALL_SIZES, RUN);
        write_row(y, AT(y, b.n, b.c, b.d, oh, b.begin), y_w, best, b.count);
        const index64 target = AT(indices, b.n, b.c, b.d, oh, b.begin);
        for (int o = 0; o < b.count; o++) indices[target + o * indices_w] = place_of_best[o];
    }
}

/* The places alone, for the gradient. */
kernel void max_pool_rows_winners(
    WORK_ITEM
    global const element *x, global int *winners, POOL_SIZES, VIEW(x), const int BAND, const int RUN)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    real best[ROOM];
    int place_of_best[ROOM];
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        placed_maxima(best, place_of_best, x, b, oh, ALL_SIZES, RUN);
        global int *target = winners + (((b.n * C + b.c) * OD + b.d) * OH + oh) * OW + b.begin;
        for (int o = 0; o < b.count; o++) target[o] = place_of_best[o];
    }
}

/* line[o*S + k*D] += given[o] where the maximum of window o is at tap k. The line is kept in S interleaved parts: position i
 * is at place i / S of part i % S. */
static inline void spread_winners(
    real *line, const int *tap, const real *given, const int count, const int K, const int S, const int D)
{
    for (int k = 0; k < K; k++) {
        real *target = line + k * D % S * ROOM + k * D / S;
        for (int o = 0; o < whole_blocks(count); o++) target[o] += tap[o] == k * D ? given[o] : 0;
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
    /* Positions of the first window that are not of the run; and of each of the line's parts, all that are used. */
    const int before = by_taps ? b.begin + PW - first * SW : 0;
    const int length = by_taps ? larger(outputs + BLOCK + (KW - 1) * DW / SW + 1, (before + b.count) / SW + 1) : b.count;

    real line[2 * ROOM], given[ROOM];
    int tap[ROOM];
    for (int o = 0; o < outputs + BLOCK; o++) {
        given[o] = 0;
        tap[o] = -1;
    }
    for (int ih = b.first_row; ih < b.end_row; ih++) {
        const windows wh = windows_over(ih, OH, KH, SH, DH, PH, QH);
        const int row = (b.d * IH + ih) * IW + b.begin - before;
        fill(line, 0, length);
        if (by_taps && SW == 2) fill(line + ROOM, 0, length);
        for (int od = wd.first; od <= wd.last; od++)
            for (int oh = wh.first; oh <= wh.last; oh++) {
                global const int *winner = winners + (((b.n * C + b.c) * OD + od) * OH + oh) * OW + first;
                read_row(given, dy, AT(dy, b.n, b.c, od, oh, first), dy_w, outputs);
                if (by_taps) {
                    /* How far the winner is from where this row's part of the window begins. One of another row is beyond
                     * the taps, or leads to a place beyond the image, which is not written. */
                    for (int o = 0; o < outputs; o++) tap[o] = winner[o] - row - o * SW;
                    if (SW == 1) spread_winners(line, tap, given, outputs, KW, 1, DW);
                    else spread_winners(line, tap, given, outputs, KW, 2, DW);
                } else {
                    for (int o = 0; o < outputs; o++) {
                        const int i = winner[o] - row;
                        if (i >= 0 && i < b.count) line[i] += given[o];
                    }
                }
            }
        const index64 target = AT(dx, b.n, b.c, b.d, ih, b.begin);
        if (by_taps && SW == 2) write_interleaved(dx, target, dx_w, line, before, b.count);
        else write_row(dx, target, dx_w, line + before, b.count);
    }
}
