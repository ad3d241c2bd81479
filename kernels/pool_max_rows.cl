/* Max pooling of runs of rows: the maxima of pool_max.cl, for processors.
 *
 * Places are counted through the plane in an int: planes have less than 2^31 positions here.
 */
#include "pool_rows.h"
#include "math.h"

#define NOWHERE 0x7fffffff

static inline real largest_of(const real best, const real value)
{
    return (value > best) | (value != value) ? value : best;
}

static inline void raise_row(real *line, global const element *x, const index64 start, const index64 step, const int count)
{
    if (step == 1) for (int i = 0; i < count; i++) line[i] = largest_of(line[i], load(x, start + i));
    else for (int i = 0; i < count; i++) line[i] = largest_of(line[i], load(x, start + i * step));
}

/* best[o] = the largest of line[o*S + k*D] */
static inline void raise_taps(real *best, const real *line, const int count, const int K, const int S, const int D)
{
    for (int o = 0; o < count; o++) best[o] = line[o * S];
    for (int k = 1; k < K; k++)
        for (int o = 0; o < count; o++) best[o] = largest_of(best[o], line[o * S + k * D]);
}

kernel void max_pool_rows(
    WORK_ITEM
    global const element *x, global element *y, POOL_SIZES, VIEW(x), VIEW(y), const int RUN)
{
    const int RUNS = (OW + RUN - 1) / RUN;
    if (WORK_ITEM_INDEX >= N * C * OD * OH * RUNS) return;
    const place at = place_of(WORK_ITEM_INDEX, C, OD, OH, RUNS);
    const reach rd = reach_of(at.d, ID, KD, SD, DD, PD, QD);
    const reach rh = reach_of(at.h, IH, KH, SH, DH, PH, QH);
    const run r = run_of(at.w, RUN, IW, OW, KW, SW, DW, PW, QW);

    real line[LINE], best[LINE];
    for (int i = 0; i < r.length; i++) line[i] = -infinity();
    for (int id = rd.first; id < rd.end; id += DD)
        for (int ih = rh.first; ih < rh.end; ih += DH)
            for (int iw = r.first; iw < r.end; iw += LINE)
                raise_row(line + (iw - r.start) % LINE, x, AT(x, at.n, at.c, id, ih, iw), x_w, smaller(r.end - iw, LINE));

    if (RUN == 1 && DW == 1) {
        raise_taps(best, line, 1, r.length, 1, 1);
    } else if (QW > 1) {
        for (int o = 0; o < r.count; o++) {
            const reach rw = reach_of(r.begin + o, IW, KW, SW, 1, PW, QW);
            raise_taps(best + o, line + rw.start - r.start, 1, rw.taps, 1, 1);
        }
    } else if (SW == 1) {
        raise_taps(best, line, r.count, KW, 1, DW);
    } else if (SW == 2) {
        raise_taps(best, line, r.count, KW, 2, DW);
    } else {
        raise_taps(best, line, r.count, KW, SW, DW);
    }
    write_row(y, AT(y, at.n, at.c, at.d, at.h, r.begin), y_w, best, r.count);
}

/* A candidate replaces the best so far if it is larger, or is the first NaN, or as large and at an earlier place. A line is
 * reduced by columns first, so that places do not come in order. */
#define REPLACES(value, index, best, where) \
    (((value) > (best)) \
     | (((value) != (value)) & (((best) == (best)) | ((index) < (where)))) \
     | (((value) == (best)) & ((index) < (where))))

/* `index` is the place of the row's first value. */
static inline void raise_row_placed(real *line, int *where, global const element *x, const index64 start,
                                    const index64 step, const int index, const int count)
{
    if (step == 1) {
        for (int i = 0; i < count; i++) {
            const real value = load(x, start + i);
            const int replaces = REPLACES(value, index + i, line[i], where[i]);
            line[i] = replaces ? value : line[i];
            where[i] = replaces ? index + i : where[i];
        }
    } else {
        for (int i = 0; i < count; i++) {
            const real value = load(x, start + i * step);
            const int replaces = REPLACES(value, index + i, line[i], where[i]);
            line[i] = replaces ? value : line[i];
            where[i] = replaces ? index + i : where[i];
        }
    }
}

static inline void raise_taps_placed(real *best, int *place_of_best, const real *line, const int *where, const int count,
                                     const int K, const int S, const int D)
{
    for (int o = 0; o < count; o++) {
        best[o] = line[o * S];
        place_of_best[o] = where[o * S];
    }
    for (int k = 1; k < K; k++)
        for (int o = 0; o < count; o++) {
            const real value = line[o * S + k * D];
            const int index = where[o * S + k * D];
            const int replaces = REPLACES(value, index, best[o], place_of_best[o]);
            best[o] = replaces ? value : best[o];
            place_of_best[o] = replaces ? index : place_of_best[o];
        }
}

/* The maxima of a run of windows, and their places. */
static inline void placed_maxima(
    real *best, int *place_of_best, global const element *x, const place at, const run r, POOL_SIZES, VIEW(x), const int RUN)
{
    const reach rd = reach_of(at.d, ID, KD, SD, DD, PD, QD);
    const reach rh = reach_of(at.h, IH, KH, SH, DH, PH, QH);
    real line[LINE];
    int where[LINE];
    for (int i = 0; i < r.length; i++) {
        line[i] = -infinity();
        where[i] = NOWHERE;
    }
    for (int id = rd.first; id < rd.end; id += DD)
        for (int ih = rh.first; ih < rh.end; ih += DH)
            for (int iw = r.first; iw < r.end; iw += LINE) {
                const int i = (iw - r.start) % LINE;
                raise_row_placed(line + i, where + i, x, AT(x, at.n, at.c, id, ih, iw), x_w, (id * IH + ih) * IW + iw,
                                 smaller(r.end - iw, LINE));
            }
    if (RUN == 1 && DW == 1) {
        raise_taps_placed(best, place_of_best, line, where, 1, r.length, 1, 1);
    } else if (QW > 1) {
        for (int o = 0; o < r.count; o++) {
            const reach rw = reach_of(r.begin + o, IW, KW, SW, 1, PW, QW);
            const int start = rw.start - r.start;
            raise_taps_placed(best + o, place_of_best + o, line + start, where + start, 1, rw.taps, 1, 1);
        }
    } else if (SW == 1) {
        raise_taps_placed(best, place_of_best, line, where, r.count, KW, 1, DW);
    } else if (SW == 2) {
        raise_taps_placed(best, place_of_best, line, where, r.count, KW, 2, DW);
    } else {
        raise_taps_placed(best, place_of_best, line, where, r.count, KW, SW, DW);
    }
}

#define ALL_SIZES \
    N, C, ID, IH, IW, OD, OH, OW, KD, KH, KW, SD, SH, SW, DD, DH, DW, PD, PH, PW, QD, QH, QW, \
    x_start, x_n, x_c, x_d, x_h, x_w

kernel void max_pool_rows_placed(
    WORK_ITEM
    global const element *x, global element *y, global index64 *indices,
    POOL_SIZES, VIEW(x), VIEW(y), VIEW(indices), const int RUN)
{
    const int RUNS = (OW + RUN - 1) / RUN;
    if (WORK_ITEM_INDEX >= N * C * OD * OH * RUNS) return;
    const place at = place_of(WORK_ITEM_INDEX, C, OD, OH, RUNS);
    const run r = run_of(at.w, RUN, IW, OW, KW, SW, DW, PW, QW);
    real best[LINE];
    int place_of_best[LINE];
    placed_maxima(best, place_of_best, x, at, r, ALL_SIZES, RUN);
    write_row(y, AT(y, at.n, at.c, at.d, at.h, r.begin), y_w, best, r.count);
    const index64 target = AT(indices, at.n, at.c, at.d, at.h, r.begin);
    for (int o = 0; o < r.count; o++) indices[target + o * indices_w] = place_of_best[o];
}

/* The places alone, for the gradient. */
kernel void max_pool_rows_winners(
    WORK_ITEM
    global const element *x, global int *winners, POOL_SIZES, VIEW(x), const int RUN)
{
    const int RUNS = (OW + RUN - 1) / RUN;
    if (WORK_ITEM_INDEX >= N * C * OD * OH * RUNS) return;
    const place at = place_of(WORK_ITEM_INDEX, C, OD, OH, RUNS);
    const run r = run_of(at.w, RUN, IW, OW, KW, SW, DW, PW, QW);
    real best[LINE];
    int place_of_best[LINE];
    placed_maxima(best, place_of_best, x, at, r, ALL_SIZES, RUN);
    global int *target = winners + (((at.n * C + at.c) * OD + at.d) * OH + at.h) * OW + r.begin;
    for (int o = 0; o < r.count; o++) target[o] = place_of_best[o];
}

/* line[o*S + k*D] += dy[o] where window o has its maximum there, at place index + o*S + k*D. The line is kept in PHASES
 * interleaved parts: position i is at place i / PHASES of part i % PHASES. */
static inline void spread_winners(
    real *line, global const int *winners, const index64 window, global const element *dy, const index64 start,
    const index64 step, const int index, const int count, const int K, const int S, const int D, const int PHASES)
{
    for (int k = 0; k < K; k++) {
        real *target = line + k * D % PHASES * LINE + k * D / PHASES;
        if (step == 1) {
            for (int o = 0; o < count; o++)
                target[o * (S / PHASES)] += winners[window + o] == index + k * D + o * S ? load(dy, start + o) : 0;
        } else {
            for (int o = 0; o < count; o++)
                target[o * (S / PHASES)] += winners[window + o] == index + k * D + o * S ? load(dy, start + o * step) : 0;
        }
    }
}

kernel void max_pool_rows_bwd(
    WORK_ITEM
    global const int *winners, global const element *dy, global element *dx,
    POOL_SIZES, VIEW(dy), VIEW(dx), const int RUN)
{
    const int RUNS = (IW + RUN - 1) / RUN;
    if (WORK_ITEM_INDEX >= N * C * ID * IH * RUNS) return;
    const place at = place_of(WORK_ITEM_INDEX, C, ID, IH, RUNS);
    const int begin = at.w * RUN;
    const int count = smaller(RUN, IW - begin);
    const windows wd = windows_over(at.d, OD, KD, SD, DD, PD, QD);
    const windows wh = windows_over(at.h, OH, KH, SH, DH, PH, QH);
    const int first = windows_over(begin, OW, KW, SW, DW, PW, QW).first;
    const int outputs = windows_over(begin + count - 1, OW, KW, SW, DW, PW, QW).last - first + 1;

    const int row = (at.d * IH + at.h) * IW;
    const int by_taps = QW == 1 && SW <= 2;
    const int before = by_taps ? begin + PW - first * SW : 0; /* positions of the first window that are not of this run */
    const int length = by_taps ? larger((outputs - 1) * SW + (KW - 1) * DW + 1, before + count) : count;
    real line[2 * LINE];
    if (by_taps && SW == 2)
        for (int i = 0; i < length / 2 + 1; i++) line[i] = line[LINE + i] = 0;
    else
        for (int i = 0; i < length; i++) line[i] = 0;

    for (int od = wd.first; od <= wd.last; od++)
        for (int oh = wh.first; oh <= wh.last; oh++) {
            const index64 window = (((at.n * C + at.c) * OD + od) * OH + oh) * OW + first;
            const index64 start = AT(dy, at.n, at.c, od, oh, first);
            const int index = row + begin - before;
            if (by_taps && SW == 1) {
                spread_winners(line, winners, window, dy, start, dy_w, index, outputs, KW, 1, DW, 1);
            } else if (by_taps) {
                spread_winners(line, winners, window, dy, start, dy_w, index, outputs, KW, 2, DW, 2);
            } else {
                for (int o = 0; o < outputs; o++) {
                    const int i = winners[window + o] - index;
                    if (i >= 0 && i < count) line[i] += load(dy, start + o * dy_w);
                }
            }
        }
    const index64 target = AT(dx, at.n, at.c, at.d, at.h, begin);
    if (by_taps && SW == 2) write_interleaved(dx, target, dx_w, line, before, count);
    else write_row(dx, target, dx_w, line + before, count);
}
