/* Poolings whose work-items handle a run of a row, and after that of the rows below it, BAND in all: what they share.
 *
 * Forward, a work-item first reduces the rows of its windows to one line of positions, neighbours in memory and in
 * vectors, and then the line to its outputs. Backward, it gathers for a line of positions what windows give. Lines are
 * private and short enough to stay in the nearest cache. Loops over a line go on to the end of a block, so that vectors
 * leave no rest: there is ROOM. Strides of 1 and 2, which compilers specialise functions
 * for, are passed as literals.
 */
#ifndef CLCONV_POOL_ROWS_H
#define CLCONV_POOL_ROWS_H

#include "pool.h"

/* The most positions of a line: clconv.algorithms.pool_rows.LINE. */
#define LINE 256
#define BLOCK 16
#define ROOM (LINE + 2 * BLOCK)

/* Calls a function with a stride of 1 or 2 as literal, and the number of taps, too, where most networks have it. */
#define WITH_WINDOW(call, K, S) \
    do { \
        if ((S) == 1 && (K) == 2) call(2, 1); \
        else if ((S) == 1 && (K) == 3) call(3, 1); \
        else if ((S) == 2 && (K) == 2) call(2, 2); \
        else if ((S) == 2 && (K) == 3) call(3, 2); \
        else if ((S) == 1) call(K, 1); \
        else call(K, 2); \
    } while (0)

/* Rows are read in threes, so that a line is written once for three of them. */
#define ROWS 3

/* The part of the arrays that a work-item handles: rows first_row ... end_row - 1 of one plane, and of each the
 * positions begin ... begin + count - 1. */
typedef struct { index64 n, c; int d, first_row, end_row, begin, count; } band;

static inline index64 bands_of_plane(const int H, const int W, const int BAND, const int RUN)
{
    return (index64)((H + BAND - 1) / BAND) * ((W + RUN - 1) / RUN);
}

static inline band band_of(
    const index64 item, const index64 C, const int D, const int H, const int W, const int BAND, const int RUN)
{
    const place at = place_of(item, C, D, (H + BAND - 1) / BAND, (W + RUN - 1) / RUN);
    band b;
    b.n = at.n;
    b.c = at.c;
    b.d = at.d;
    b.first_row = at.h * BAND;
    b.end_row = smaller(b.first_row + BAND, H);
    b.begin = at.w * RUN;
    b.count = smaller(RUN, W - b.begin);
    return b;
}

/* The positions start ... start + length - 1 that a run of windows spans; first ... end - 1 are on the image. */
typedef struct { int start, length, first, end; } span;

static inline span span_of(const band b, const int RUN, const int I, const int K, const int S, const int D, const int P,
                           const int Q)
{
    const reach left = reach_of(b.begin, I, K, S, D, P, Q);
    const reach right = reach_of(b.begin + b.count - 1, I, K, S, D, P, Q);
    span s;
    s.start = left.start;
    s.length = right.start + (right.taps - 1) * D + 1 - left.start;
    s.first = larger(left.start, 0);
    s.end = smaller(left.start + s.length, I);
    /* A window alone may be wider than a line, which is then folded: positions LINE apart share a place. */
    if (RUN == 1 && D == 1) {
        s.start = s.first;
        s.length = smaller(s.end - s.first, LINE);
    }
    return s;
}

/* The first window over a run that begins at i, or the one before it if that is between windows: it does not begin
 * after i. */
static inline int first_window(
    const int i, const int O, const int K, const int S, const int D, const int P, const int Q)
{
    const int over = windows_over(i, O, K, S, D, P, Q).first;
    return Q == 1 ? smaller(over, quotient(i + P, S)) : over;
}

/* `count` rounded up, so that loops over a line are whole vectors. */
static inline int whole_blocks(const int count) { return (count + BLOCK - 1) / BLOCK * BLOCK; }

#define EACH_OF_BLOCKS(i, count) for (int i = 0; i < whole_blocks(count); i++)

static inline void fill(real *line, const real value, const int count)
{
    EACH_OF_BLOCKS(i, count) line[i] = value;
}

/* One of two values: by their bits, so that compilers see no branch. */
static inline real chosen(const int is_first, const real first, const real second)
{
    const bits all = 0 - (bits)is_first;
    return real_of((bits_of(first) & all) | (bits_of(second) & ~all));
}

/* Asks for the memory some rows further on: processors do not foresee reads that go to and fro between rows. */
#define AHEAD (2048 / (int)sizeof(element))

static inline void fetch_ahead(global const element *x, const index64 start, const index64 step, const int count)
{
    if (step == 1)
        for (int i = 0; i < count; i += 64 / (int)sizeof(element)) FETCH_AHEAD(x, start + AHEAD + i);
}

static inline void read_row(
    real *restrict line, global const element *restrict x, const index64 start, const index64 step, const int count)
{
    if (step == 1) for (int i = 0; i < count; i++) line[i] = load(x, start + i);
    else for (int i = 0; i < count; i++) line[i] = load(x, start + i * step);
}

static inline void write_row(
    global element *restrict y, const index64 start, const index64 step, const real *restrict line, const int count)
{
    if (step == 1) for (int i = 0; i < count; i++) store(y, start + i, line[i]);
    else for (int i = 0; i < count; i++) store(y, start + i * step, line[i]);
}

/* The windows over a run of positions, first ... first + count - 1, and the line from where the first one begins:
 * `length` positions from `origin` on, of which begin ... end - 1 are on the image, and those of the run come after
 * `before` others. */
typedef struct { int first, count, origin, before, length, begin, end; } window_line;

static inline window_line line_under(const band b, const int I, const int O, const int K, const int S, const int D,
                                     const int P)
{
    window_line l;
    l.first = first_window(b.begin, O, K, S, D, P, 1);
    l.count = larger(windows_over(b.begin + b.count - 1, O, K, S, D, P, 1).last - l.first + 1, 0);
    l.origin = l.first * S - P;
    l.before = b.begin - l.origin;
    l.length = larger(l.count ? (l.count - 1) * S + (K - 1) * D + 1 : 0, l.before + b.count);
    l.begin = larger(-l.origin, 0);
    l.end = smaller(I - l.origin, l.length);
    return l;
}

/* Loops over windows whose taps are `step` apart in a line: over whole blocks if they are neighbours. */
#define EACH_WINDOW(o, windows) for (int o = 0; o < (step == 1 ? whole_blocks(windows) : (windows)); o++)

/* Where the taps i places after the windows' begin are in a line. With a stride of 2 it is kept in two parts, its even
 * and its odd places, so that neighbours are neighbours in memory, too. */
#define TAPS(line, i) (S == 2 ? (line) + (i) % 2 * ROOM + (i) / 2 : (line) + (i))

/* Calls a function with the distance of neighbouring windows' taps in a line. */
#define WITH_STEP(call) \
    do { \
        if (SW <= 2) call(1); \
        else call(SW); \
    } while (0)

/* Takes a line in its two parts; it has room for another block of positions. */
static inline void part(real *restrict parts, const real *restrict line, const int length)
{
    EACH_OF_BLOCKS(i, length / 2 + 1) {
        parts[i] = line[2 * i];
        parts[ROOM + i] = line[2 * i + 1];
    }
}

/* The same of a line that is kept in two parts, ROOM apart: its even and its odd positions, from position `from` on. */
static inline void write_interleaved(
    global element *restrict y, const index64 start, const index64 step, const real *restrict line, const int from,
    const int count)
{
    const real *one = line + from % 2 * ROOM + from / 2;
    const real *other = line + (from + 1) % 2 * ROOM + (from + 1) / 2;
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
