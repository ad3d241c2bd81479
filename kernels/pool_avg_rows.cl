/* Average pooling of runs of rows: the sums and divisors of pool_avg.cl, for processors. */
#include "pool_rows.h"
#include "pool_divisor.h"

static inline void add_row(real *line, global const element *x, const index64 start, const index64 step, const int count)
{
    if (step == 1) for (int i = 0; i < count; i++) line[i] += load(x, start + i);
    else for (int i = 0; i < count; i++) line[i] += load(x, start + i * step);
}

/* sum[o] = line[o*S] + ... + line[o*S + K - 1] */
static inline void add_taps(real *sum, const real *line, const int count, const int K, const int S)
{
    const int end = whole_blocks(count);
    for (int o = 0; o < end; o++) sum[o] = line[o * S];
    for (int k = 1; k < K; k++)
        for (int o = 0; o < end; o++) sum[o] += line[o * S + k];
}

static inline real sum_of(const real *line, const int count)
{
    real sum = 0;
    for (int i = 0; i < count; i++) sum += line[i];
    return sum;
}

/* What windows begin ... begin + count - 1 count along a row. */
static inline void count_taps(real *taps, const int begin, const int count, const int I, const int K, const int S,
                              const int P, const int Q, const int HIGH, const int count_padding)
{
    fill(taps, 1, count);
    for (int o = 0; o < count; o++) taps[o] = counted(reach_of(begin + o, I, K, S, 1, P, Q), I, HIGH, count_padding);
}

/* sum[o] /= others * taps[o], or the given divisor. */
static inline void divide(real *sum, const real others, const real *taps, const index64 divisor, const int count)
{
    const int end = whole_blocks(count);
    if (divisor) for (int o = 0; o < end; o++) sum[o] /= (real)divisor;
    else for (int o = 0; o < end; o++) sum[o] /= others * taps[o];
}

kernel void avg_pool_rows(
    WORK_ITEM
    global const element *x, global element *y, POOL_SIZES, VIEW(x), VIEW(y), DIVISOR, const int BAND, const int RUN)
{
    if (WORK_ITEM_INDEX >= N * C * OD * bands_of_plane(OH, OW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, OD, OH, OW, BAND, RUN);
    const span s = span_of(b, RUN, IW, KW, SW, 1, PW, QW);
    const reach rd = reach_of(b.d, ID, KD, SD, DD, PD, QD);
    const real of_d = counted(rd, ID, HIGH_D, count_padding);

    real line[ROOM], sum[ROOM], taps[ROOM];
    count_taps(taps, b.begin, b.count, IW, KW, SW, PW, QW, HIGH_W, count_padding);
    fill(sum, 0, b.count);
    for (int oh = b.first_row; oh < b.end_row; oh++) {
        const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
        fill(line, 0, s.length + 2 * BLOCK);
        for (int id = rd.first; id < rd.end; id++)
            for (int ih = rh.first; ih < rh.end; ih++)
                for (int iw = s.first; iw < s.end; iw += LINE)
                    add_row(line + (iw - s.start) % LINE, x, AT(x, b.n, b.c, id, ih, iw), x_w, smaller(s.end - iw, LINE));

        if (RUN == 1)
            sum[0] = sum_of(line, s.length);
        else if (QW == 1 && SW == 1)
            add_taps(sum, line, b.count, KW, 1);
        else if (QW == 1 && SW == 2)
            add_taps(sum, line, b.count, KW, 2);
        else
            for (int o = 0; o < b.count; o++) {
                const reach rw = reach_of(b.begin + o, IW, KW, SW, 1, PW, QW);
                sum[o] = sum_of(line + rw.start - s.start, rw.taps);
            }
        divide(sum, of_d * counted(rh, IH, HIGH_H, count_padding), taps, divisor, b.count);
        write_row(y, AT(y, b.n, b.c, b.d, oh, b.begin), y_w, sum, b.count);
    }
}

/* line[o*S + k] += part[o] for each tap k. The line is kept in S interleaved parts, so that neighbouring outputs write
 * neighbouring places: position i is at place i / S of part i % S. */
static inline void spread_taps(real *line, const real *part, const int count, const int K, const int S)
{
    for (int k = 0; k < K; k++) {
        real *target = line + k % S * ROOM + k / S;
        for (int o = 0; o < whole_blocks(count); o++) target[o] += part[o];
    }
}

kernel void avg_pool_rows_bwd(
    WORK_ITEM
    global const element *dy, global element *dx, POOL_SIZES, VIEW(dy), VIEW(dx), DIVISOR, const int BAND, const int RUN)
{
    if (WORK_ITEM_INDEX >= N * C * ID * bands_of_plane(IH, IW, BAND, RUN)) return;
    const band b = band_of(WORK_ITEM_INDEX, C, ID, IH, IW, BAND, RUN);
    const windows wd = windows_over(b.d, OD, KD, SD, DD, PD, QD);
    const int first = windows_over(b.begin, OW, KW, SW, 1, PW, QW).first;
    const int outputs = larger(windows_over(b.begin + b.count - 1, OW, KW, SW, 1, PW, QW).last - first + 1, 0);
    const int by_taps = QW == 1 && SW <= 2 && outputs;
    /* Positions of the first window that are not of the run; and of each of the line's parts, all that are used. */
    const int before = by_taps ? b.begin + PW - first * SW : 0;
    const int length = by_taps ? larger(outputs + BLOCK + (KW - 1) * 1 / SW + 1, (before + b.count) / SW + 1) : b.count;

    real line[2 * ROOM], part[ROOM], sum[ROOM], taps[ROOM];
    count_taps(taps, first, outputs, IW, KW, SW, PW, QW, HIGH_W, count_padding);
    windows above = {-1, -1};
    for (int ih = b.first_row; ih < b.end_row; ih++) {
        /* What a position gets depends on its row only by the windows that the row is in: where they are the same as those of
         * the row above, so is the line. */
        const windows wh = windows_over(ih, OH, KH, SH, DH, PH, QH);
        if (wh.first != above.first || wh.last != above.last) {
            above = wh;
            /* Rows of windows whose divisors are the same are added up before they are divided. */
            fill(part, 0, outputs);
            fill(sum, 0, outputs);
            real last = 0;
            for (int od = wd.first; od <= wd.last; od++) {
                const real of_d = counted(reach_of(od, ID, KD, SD, DD, PD, QD), ID, HIGH_D, count_padding);
                for (int oh = wh.first; oh <= wh.last; oh++) {
                    const reach rh = reach_of(oh, IH, KH, SH, DH, PH, QH);
                    const real others = of_d * counted(rh, IH, HIGH_H, count_padding);
                    if (last != 0 && last != others) {
                        divide(sum, last, taps, divisor, outputs);
                        spread_taps(part, sum, outputs, 1, 1);
                        fill(sum, 0, outputs);
                    }
                    last = others;
                    add_row(sum, dy, AT(dy, b.n, b.c, od, oh, first), dy_w, outputs);
                }
            }
            divide(sum, last != 0 ? last : 1, taps, divisor, outputs);
            spread_taps(part, sum, outputs, 1, 1);

            if (by_taps) {
                fill(line, 0, length);
                if (SW == 2) fill(line + ROOM, 0, length);
                if (SW == 1) spread_taps(line, part, outputs, KW, 1);
                else spread_taps(line, part, outputs, KW, 2);
            } else {
                fill(line, 0, length);
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
