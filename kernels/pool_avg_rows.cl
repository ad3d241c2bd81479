/* Average pooling of runs of rows: the sums and divisors of pool_avg.cl, for processors. */
#include "pool_rows.h"
#include "pool_divisor.h"
#include "epilogue.h"

/* line[i] = the sum of `rows` rows, 1 to ROWS, added to what is there unless the line is fresh. */
static inline void add_some(real *restrict line, global const element *restrict x, const index64 *restrict start,
                            const index64 step, const int count, const int rows, const int fresh)
{
    for (int i = 0; i < count; i++) {
        real sum = load(x, start[0] + i * step);
        if (rows > 1) sum += load(x, start[1] + i * step);
        if (rows > 2) sum += load(x, start[2] + i * step);
        line[i] = fresh ? sum : line[i] + sum;
    }
}

static inline void add_rows(real *restrict line, global const element *restrict x, const index64 *restrict start,
                            const index64 step, const int count, const int rows, const int fresh)
{
    if (step != 1) add_some(line, x, start, step, count, rows, fresh);
    else if (rows == 3 && fresh) add_some(line, x, start, 1, count, 3, 1);
    else if (rows == 2 && fresh) add_some(line, x, start, 1, count, 2, 1);
    else if (fresh) add_some(line, x, start, 1, count, 1, 1);
    else if (rows == 3) add_some(line, x, start, 1, count, 3, 0);
    else if (rows == 2) add_some(line, x, start, 1, count, 2, 0);
    else add_some(line, x, start, 1, count, 1, 0);
}

static inline real sum_of(const real *line, const int count)
{
    real sum = 0;
    for (int i = 0; i < count; i++) sum += line[i];
    return sum;
}

/* sum[o] = the sum of the taps of window o, which lie as TAPS says for step = 1. */
static inline void add_taps(
    real *restrict sum, const real *restrict line, const int windows, const int K, const int S, const int step)
{
    const real *restrict second = step == 2 ? line + 1 : TAPS(line, 1);
    const real *restrict third = TAPS(line, 2);
    if (K == 1) EACH_OF_BLOCKS(o, windows) sum[o] = line[o];
    else if (K == 2) EACH_OF_BLOCKS(o, windows) sum[o] = line[o * step] + second[o * step];
    else EACH_OF_BLOCKS(o, windows) sum[o] = line[o] + second[o] + third[o];
    for (int k = 3; k < K; k++) {
        const real *restrict taps = TAPS(line, k);
        EACH_OF_BLOCKS(o, windows) sum[o] += taps[o];
    }
}

/* What windows begin ... begin + count - 1 count along a row. */
static inline void count_taps(real *taps, const int begin, const int count, const int I, const int K, const int S,
                              const int P, const int Q, const int HIGH, const int count_padding)
{
    fill(taps, 1, count);
    for (int o = 0; o < count; o++) taps[o] = counted(reach_of(begin + o, I, K, S, 1, P, Q), I, HIGH, count_padding);
}

/* sum[o] /= others * taps[o], or the given divisor. */
static inline void divide(
    real *restrict sum, const real others, const real *restrict taps, const index64 divisor, const int count)
{
    const int end = whole_blocks(count);
    if (divisor) for (int o = 0; o < end; o++) sum[o] /= (real)divisor;
    else for (int o = 0; o < end; o++) sum[o] /= others * taps[o];
}

kernel void avg_pool_rows(
    WORK_ITEM
    global const element *x, EPILOGUE_ARRAYS, global element *y, POOL_SIZES, VIEW(x), VIEW(y), DIVISOR,
    EPILOGUE, VIEW(residual), const int BAND, const int RUN)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    const span s = span_of(b, RUN, IW, KW, SW, 1, PW, QW);
    const reach rd = reach_of(b.d, ID, KD, SD, DD, PD, QD);
    const real of_d = counted(rd, ID, HIGH_D, count_padding);

    real line[ROOM], parts[2 * ROOM], sum[ROOM], taps[ROOM];
    count_taps(taps, b.begin, b.count, IW, KW, SW, PW, QW, HIGH_W, count_padding);
    fill(sum, 0, b.count);
    fill(line, 0, ROOM); /* what rows leave of it stays the padding's */
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
        index64 start[ROWS];
        int rows = 0, fresh = 1;
        for (int iw = s.first; iw < s.end; iw += LINE)
            for (int id = rd.first; id < rd.end; id++)
                for (int ih = rh.first; ih < rh.end; ih++) {
                    start[rows++] = AT(x, b.n, b.c, id, ih, iw);
                    fetch_ahead(x, start[rows - 1], x_w, smaller(s.end - iw, LINE));
                    if (rows < ROWS && (ih + 1 < rh.end || id + 1 < rd.end)) continue;
                    add_rows(line + (iw - s.start) % LINE, x, start, x_w, smaller(s.end - iw, LINE), rows, fresh);
                    rows = fresh = 0;
                }

        if (RUN == 1)
            sum[0] = sum_of(line, s.length);
        else if (QW == 1 && SW <= 2) {
            if (SW == 2 && KW != 2) part(parts, line, s.length);
            if (SW == 2 && KW == 2) add_taps(sum, line, b.count, 2, 2, 2);
            else add_taps(sum, SW == 2 ? parts : line, b.count, KW, SW, 1);
        } else
            for (int o = 0; o < b.count; o++) {
                const reach rw = reach_of(b.begin + o, IW, KW, SW, 1, PW, QW);
                sum[o] = sum_of(line + rw.start - s.start, rw.taps);
            }
        divide(sum, of_d * counted(rh, IH, HIGH_H, count_padding), taps, divisor, b.count);
        FINISH_RUN(sum, b.count, b.c, AT(residual, b.n, b.c, b.d, oh, b.begin), residual_w);
        write_row(y, AT(y, b.n, b.c, b.d, oh, b.begin), y_w, sum, b.count);
    }
}

/* Position j*S + phase of the line gets part[j - k/S] from every tap k that is there: those with k % S = phase. The
 * line is kept in S interleaved parts, so that neighbours are neighbours in memory, too. */
static inline void gather_taps(
    real *restrict line, const real *restrict part, const int length, const int K, const int S)
{
    for (int phase = 0; phase < S; phase++)
        for (int j = 0; j < whole_blocks(length); j++) {
            real sum = 0;
            for (int k = phase; k < K; k += S) sum += part[j - k / S];
            line[phase * ROOM + j] = sum;
        }
}

kernel void avg_pool_rows_bwd(
    WORK_ITEM
    global const element *dy, global element *dx,
    POOL_SIZES, VIEW(dy), VIEW(dx), DIVISOR, const int BAND, const int RUN)
{
    if (WORK_ITEM_INDEX >= N * C * ID * bands_of_plane(IH, IW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, ID, IH, IW, BAND, RUN);
    const windows wd = windows_over(b.d, OD, KD, SD, DD, PD, QD);
    const int first = first_window(b.begin, OW, KW, SW, 1, PW, QW);
    const int outputs = larger(windows_over(b.begin + b.count - 1, OW, KW, SW, 1, PW, QW).last - first + 1, 0);
    const int by_taps = QW == 1 && SW <= 2 && outputs;
    /* Positions of the first window that are not of the run; and zeros before the first window, for taps to read. */
    const int before = by_taps ? b.begin + PW - first * SW : 0;
    const int zeros = by_taps ? (KW - 1) / SW : 0;

    real line[2 * ROOM], sum[ROOM], taps[ROOM], total[ROOM];
    real *part = total + zeros;
    fill(total, 0, ROOM);
    fill(sum, 0, ROOM);
    count_taps(taps, first, outputs, IW, KW, SW, PW, QW, HIGH_W, count_padding);
    windows above = {-1, -1};
    for (int ih = b.first_row; ih < b.end_row; ih++) {
        /* What a position gets depends on its row only by the windows that the row is in: where they are the same as
         * those of the row above, so is the line. */
        const windows wh = windows_over(ih, OH, KH, SH, DH, PH, QH);
        if (wh.first != above.first || wh.last != above.last) {
            above = wh;
            fill(part, 0, outputs);
            index64 start[ROWS];
            int rows = 0, fresh = 1;
            for (int od = wd.first; od <= wd.last; od++) {
                const real of_d = counted(reach_of(od, ID, KD, SD, DD, PD, QD), ID, HIGH_D, count_padding);
                for (int oh = wh.first; oh <= wh.last; oh++) {
                    /* Rows of windows with the same divisors are added up before they are divided. */
                    const real others = of_d * counted(reach_of(oh, IH, KH, SH, DH, PH, QH), IH, HIGH_H, count_padding);
                    const int is_last = oh == wh.last;
                    const real next = is_last ? 0
                        : of_d * counted(reach_of(oh + 1, IH, KH, SH, DH, PH, QH), IH, HIGH_H, count_padding);
                    start[rows++] = AT(dy, b.n, b.c, od, oh, first);
                    if (rows < ROWS && next == others) continue;
                    add_rows(sum, dy, start, dy_w, outputs, rows, fresh);
                    rows = fresh = 0;
                    if (next == others) continue;
                    divide(sum, others, taps, divisor, outputs);
                    for (int o = 0; o < whole_blocks(outputs); o++) part[o] += sum[o];
                    fresh = 1;
                }
            }
#define GATHER_TAPS(K, S) gather_taps(line, part, (before + b.count) / (S) + 1, K, S)
            if (by_taps) {
                WITH_WINDOW(GATHER_TAPS, KW, SW);
            } else {
                fill(line, 0, b.count);
                for (int o = 0; o < outputs; o++) {
                    const reach rw = reach_of(first + o, IW, KW, SW, 1, PW, QW);
                    const int end = smaller(rw.end - b.begin, b.count);
                    for (int i = larger(rw.first - b.begin, 0); i < end; i++) line[i] += part[o];
                }
            }
        }
        const index64 target = AT(dx, b.n, b.c, b.d, ih, b.begin);
        if (by_taps && SW == 2) write_interleaved(dx, target, dx_w, line, before, b.count);
        else write_row(dx, target, dx_w, line + before, b.count);
    }
}
