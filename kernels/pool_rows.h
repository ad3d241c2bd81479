/* Poolings whose work-items handle a run of a row: what they share.
 *
 * Forward, a work-item first reduces the rows of its windows to one line of positions, neighbours in memory and in vectors,
 * and then the line to its outputs. Backward, it spreads what the windows of a row give over a line of positions. Lines are
 * private and short enough to stay in the nearest cache. Loops that run over a line are inner ones without a branch, and
 * strides of 1 and 2, which compilers specialise functions for, are passed as literals.
 */
#ifndef CLCONV_POOL_ROWS_H
#define CLCONV_POOL_ROWS_H

#include "pool.h"

/* The most positions of a line: clconv.algorithms.pool_rows.LINE. */
#define LINE 256

static inline int smaller(const int a, const int b) { return a < b ? a : b; }
static inline int larger(const int a, const int b) { return a > b ? a : b; }

/* The outputs begin ... begin + count - 1 of a row, and the positions start ... start + length - 1 that their windows span;
 * of those, first ... end - 1 are on the image. */
typedef struct { int begin, count, start, length, first, end; } run;

static inline run run_of(const int number, const int RUN, const int I, const int O, const int K, const int S, const int D,
                         const int P, const int Q)
{
    run r;
    r.begin = number * RUN;
    r.count = smaller(RUN, O - r.begin);
    const reach left = reach_of(r.begin, I, K, S, D, P, Q);
    const reach right = reach_of(r.begin + r.count - 1, I, K, S, D, P, Q);
    r.start = left.start;
    r.first = larger(left.start, 0);
    r.end = smaller(right.start + (right.taps - 1) * D + 1, I);
    r.length = right.start + (right.taps - 1) * D + 1 - left.start;
    /* A window alone may be wider than a line, which is then folded: positions LINE apart share a place. */
    if (RUN == 1 && D == 1) {
        r.start = r.first;
        r.length = smaller(r.end - r.first, LINE);
    }
    return r;
}

static inline void write_row(global element *y, const index64 start, const index64 step, const real *values, const int count)
{
    if (step == 1) for (int i = 0; i < count; i++) store(y, start + i, values[i]);
    else for (int i = 0; i < count; i++) store(y, start + i * step, values[i]);
}

/* The same of a line that is kept in two parts, LINE apart: its even and its odd positions, from position `from` on. */
static inline void write_interleaved(
    global element *y, const index64 start, const index64 step, const real *line, const int from, const int count)
{
    const real *one = line + from % 2 * LINE + from / 2;
    const real *other = line + (from + 1) % 2 * LINE + (from + 1) / 2;
    if (step == 1) {
        for (int i = 0; i < count / 2; i++) {
            store(y, start + 2 * i, one[i]);
            store(y, start + 2 * i + 1, other[i]);
        }
    } else {
        for (int i = 0; i < count / 2; i++) {
            store(y, start + 2 * i * step, one[i]);
            store(y, start + (2 * i + 1) * step, other[i]);
        }
    }
    if (count % 2) store(y, start + (count - 1) * step, one[count / 2]);
}

#endif
