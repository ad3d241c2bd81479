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
    for (int o = 0; o < count; o++) sum[o] = line[o * S];
    for (int k = 1; k < K; k++)
        for (int o = 0; o < count; o++) sum[o] += line[o * S + k];
}

/* values[o] /= the divisor of window `begin + o`, whose taps along the other axes are `others`. */
static inline void divide(real *values, const int begin, const int count, const real others, const int I, const int K,
                          const int S, const int P, const int Q, const int HIGH, const int count_padding, const index64 divisor)
{
    if (divisor) {
        for (int o = 0; o < count; o++) values[o] /= (real)divisor;
    } else if (Q > 1) {
        for (int o = 0; o < count; o++)
            values[o] /= others * counted(reach_of(begin + o, I, K, S, 1, P, Q), I, HIGH, count_padding);
    } else {
        const int low = count_padding ? -P : 0;
        const int high = count_padding ? I + HIGH : I;
        for (int o = 0; o < count; o++) {
            const int start = (begin + o) * S - P;
            const int from = start > low ? start : low;
            const int to = start + K < high ? start + K : high;
            values[o] /= others * (real)(to - from);
        }
    }
}

kernel void avg_pool_rows(
    WORK_ITEM
    global const element *x, global element *y, POOL_SIZES, VIEW(x), VIEW(y), DIVISOR, const int RUN)
{
    const int RUNS = (OW + RUN - 1) / RUN;
    if (WORK_ITEM_INDEX >= N * C * OD * OH * RUNS) return;
    const place at = place_of(WORK_ITEM_INDEX, C, OD, OH, RUNS);
    const reach rd = reach_of(at.d, ID, KD, SD, DD, PD, QD);
    const reach rh = reach_of(at.h, IH, KH, SH, DH, PH, QH);
    const run r = run_of(at.w, RUN, IW, OW, KW, SW, 1, PW, QW);

    real line[LINE], sum[LINE];
    for (int i = 0; i < r.length; i++) line[i] = 0;
    for (int id = rd.first; id < rd.end; id++)
        for (int ih = rh.first; ih < rh.end; ih++)
            for (int iw = r.first; iw < r.end; iw += LINE)
                add_row(line + (iw - r.start) % LINE, x, AT(x, at.n, at.c, id, ih, iw), x_w, smaller(r.end - iw, LINE));

    if (RUN == 1) {
        add_taps(sum, line, 1, r.length, 1);
    } else if (QW > 1) {
        for (int o = 0; o < r.count; o++) {
            const reach rw = reach_of(r.begin + o, IW, KW, SW, 1, PW, QW);
            add_taps(sum + o, line + rw.start - r.start, 1, rw.taps, 1);
        }
    } else if (SW == 1) {
        add_taps(sum, line, r.count, KW, 1);
    } else if (SW == 2) {
        add_taps(sum, line, r.count, KW, 2);
    } else {
        add_taps(sum, line, r.count, KW, SW);
    }
    const real others = counted(rd, ID, HIGH_D, count_padding) * counted(rh, IH, HIGH_H, count_padding);
    divide(sum, r.begin, r.count, others, IW, KW, SW, PW, QW, HIGH_W, count_padding, divisor);
    write_row(y, AT(y, at.n, at.c, at.d, at.h, r.begin), y_w, sum, r.count);
}

/* line[o*S + k] += part[o] for each tap k. The line is kept in PHASES interleaved parts, so that neighbouring outputs write
 * neighbouring places: position i is at place i / PHASES of part i % PHASES. */
static inline void spread_taps(real *line, const real *part, const int count, const int K, const int S, const int PHASES)
{
    for (int k = 0; k < K; k++) {
        real *target = line + k % PHASES * LINE + k / PHASES;
        for (int o = 0; o < count; o++) target[o * (S / PHASES)] += part[o];
    }
}

kernel void avg_pool_rows_bwd(
    WORK_ITEM
    global const element *dy, global element *dx, POOL_SIZES, VIEW(dy), VIEW(dx), DIVISOR, const int RUN)
{
    const int RUNS = (IW + RUN - 1) / RUN;
    if (WORK_ITEM_INDEX >= N * C * ID * IH * RUNS) return;
    const place at = place_of(WORK_ITEM_INDEX, C, ID, IH, RUNS);
    const int begin = at.w * RUN;
    const int count = smaller(RUN, IW - begin);
    const windows wd = windows_over(at.d, OD, KD, SD, DD, PD, QD);
    const windows wh = windows_over(at.h, OH, KH, SH, DH, PH, QH);
    const int first = windows_over(begin, OW, KW, SW, 1, PW, QW).first;
    const int outputs = windows_over(begin + count - 1, OW, KW, SW, 1, PW, QW).last - first + 1;

    /* What a position gets from a window does not depend on the row it is in: sums over rows of windows whose divisors are the
     * same are divided once. */
    real part[LINE], sum[LINE];
    for (int o = 0; o < outputs; o++) part[o] = sum[o] = 0;
    real last = 0;
    for (int od = wd.first; od <= wd.last; od++) {
        const real of_d = counted(reach_of(od, ID, KD, SD, DD, PD, QD), ID, HIGH_D, count_padding);
        for (int oh = wh.first; oh <= wh.last; oh++) {
            const real others = of_d * counted(reach_of(oh, IH, KH, SH, DH, PH, QH), IH, HIGH_H, count_padding);
            if (last != 0 && others != last && !divisor) {
                divide(sum, first, outputs, last, IW, KW, SW, PW, QW, HIGH_W, count_padding, divisor);
                for (int o = 0; o < outputs; o++) { part[o] += sum[o]; sum[o] = 0; }
            }
            last = others;
            add_row(sum, dy, AT(dy, at.n, at.c, od, oh, first), dy_w, outputs);
        }
    }
    if (last != 0) {
        divide(sum, first, outputs, last, IW, KW, SW, PW, QW, HIGH_W, count_padding, divisor);
        for (int o = 0; o < outputs; o++) part[o] += sum[o];
    }

    real line[2 * LINE];
    const index64 target = AT(dx, at.n, at.c, at.d, at.h, begin);
    if (QW == 1 && SW <= 2) {
        const int before = begin + PW - first * SW; /* positions of the first window that are not of this run */
        const int length = larger((outputs - 1) * SW + KW, before + count);
        if (SW == 1) {
            for (int i = 0; i < length; i++) line[i] = 0;
            spread_taps(line, part, outputs, KW, 1, 1);
            write_row(dx, target, dx_w, line + before, count);
        } else {
            for (int i = 0; i < length / 2 + 1; i++) line[i] = line[LINE + i] = 0;
            spread_taps(line, part, outputs, KW, 2, 2);
            write_interleaved(dx, target, dx_w, line, before, count);
        }
        return;
    }
    for (int i = 0; i < count; i++) line[i] = 0;
    for (int o = 0; o < outputs; o++) {
        const reach rw = reach_of(first + o, IW, KW, SW, 1, PW, QW);
        const int end = smaller(rw.end - begin, count);
        for (int i = larger(rw.first - begin, 0); i < end; i++) line[i] += part[o];
    }
    write_row(dx, target, dx_w, line, count);
}
