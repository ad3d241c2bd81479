/* Rows of values that are normalised together: how kernels walk them, and their mean and variance.
 *
 * A row has a number r*Q + q, and n = A*D*H*W elements (a, d, h, w) whose number e counts w first. Arrays are walked by
 * one stride per axis, 0 where they do not depend on it: a weight for each channel of a batch varies with q alone.
 *
 * Sums are taken over slices of a row, elements n*s/SLICES to n*(s + 1)/SLICES, and the slices' results are put together
 * in order. SLICES depends on the shapes alone, so that results are the same on every run.
 */
#ifndef CLCONV_NORM_H
#define CLCONV_NORM_H

#include "math.h"
#include "vector.h"

#define ROWS_AND_ELEMENTS \
    const index64 R, const index64 Q, const index64 A, const index64 D, const index64 H, const index64 W

/* An array's start and strides as parameters of a kernel, and its strides along a row as those of a function. */
#define WALK(a) \
    const index64 a##_start, const index64 a##_r, const index64 a##_q, \
    const index64 a##_a, const index64 a##_d, const index64 a##_h, const index64 a##_w
#define ALONG_ROW(a) const index64 a##_a, const index64 a##_d, const index64 a##_h, const index64 a##_w
#define STEPS(a) a##_a, a##_d, a##_h, a##_w

/* An array as functions take it that work on one row, and as they are given it. */
#define OF_ROW(a) global const element *a, const index64 a##_row, ALONG_ROW(a)
#define ROW_OF(a, row) a, ROW(a, row), STEPS(a)

/* What is done to the outputs of a row, epilogue.h's numbers: its arrays are walked like others. */
#define FINISHING const int has_scale, const int has_shift, const int has_residual, const int activation, const real slope
#define FINISH_WITH has_scale, has_shift, has_residual, activation, slope

/* Where a row begins, and the distance from there to one of its places. */
#define ROW(a, row) (a##_start + (row) / Q * a##_r + (row) % Q * a##_q)
#define PLACE(array, p) ((p).a * array##_a + (p).d * array##_d + (p).h * array##_h + (p).w * array##_w)

/* A place in a row: divisions find that of an element, and counting the first one of the next run. */
typedef struct {
    index64 a, d, h, w;
} place;

static inline place place_of(const index64 e, const index64 D, const index64 H, const index64 W)
{
    place p = {0, 0, 0, e};
    if (e < W) return p; /* divisions take as long as a few vectors of elements */
    p.a = e / W / H / D;
    p.d = e / W / H % D;
    p.h = e / W % H;
    p.w = e % W;
    return p;
}

static inline place next_run(place p, const index64 D, const index64 H)
{
    p.w = 0;
    p.h++;
    if (p.h == H) {
        p.h = 0;
        p.d++;
    }
    if (p.d == D) {
        p.d = 0;
        p.a++;
    }
    return p;
}

/* The first element of slice s. */
static inline index64 slice_start(const index64 n, const index64 s, const index64 slices)
{
    return n / slices * s + n % slices * s / slices;
}

static inline index64 least(const index64 a, const index64 b) { return a < b ? a : b; }

/* Vectors of partial sums that are added to in turn, so that an addition need not wait for the last one's result. */
#define SUMS_IN_TURN 4
#define IN_TURN(ADD) do { ADD(0) ADD(1) ADD(2) ADD(3) } while (0)

/* Sums that a sweep over runs adds to: vectors, and what is left of runs that vectors do not divide. */
typedef struct {
    vector some[SUMS_IN_TURN];
    real rest;
} partial_sums;

static inline void clear_sums(partial_sums *sums)
{
    for (int i = 0; i < SUMS_IN_TURN; i++) sums->some[i] = splat(0);
    sums->rest = 0;
}

static inline real total(const partial_sums *sums)
{
    return sum_of_lanes((sums->some[0] + sums->some[1]) + (sums->some[2] + sums->some[3])) + sums->rest;
}

/* Elements between what is worked on and what memory is asked for, and those of a line of the cache. */
#define AHEAD 1024
#define LINE (64 / (int)sizeof(element))

/* Adds vector i of a turn to the sums of that number. */
#define ADD_DISTANCES(i) { \
    const vector distance = lanes_at(x, at + (k + (i) * LANES) * step, step) - centre; \
    sums->some[i] += distance; \
    squares->some[i] += distance * distance; \
}

/* Adds the distances from a centre, and their squares, of `count` elements that lie `step` apart. Memory is asked for
 * what comes AHEAD in the run, `rest` elements long, and then in the one that begins at `next`. */
static inline void add_run(partial_sums *sums, partial_sums *squares, global const element *x,
                           const index64 at, const index64 step, const index64 count,
                           const index64 rest, const index64 next, const real centre)
{
    index64 k = 0;
    for (; k + SUMS_IN_TURN * LANES <= count; k += SUMS_IN_TURN * LANES) {
        if (step == 1)
            for (int i = 0; i < SUMS_IN_TURN * LANES; i += LINE)
                FETCH_AHEAD(x, k + AHEAD + i + (k + AHEAD < rest ? at : next - rest));
        IN_TURN(ADD_DISTANCES);
    }
    for (; k + LANES <= count; k += LANES) ADD_DISTANCES(0)
    if (k == count) return;
    if (k > 0) { /* the last vector once more, but for the lanes that have been counted */
        const vector distance = last_lanes(lanes_at(x, at + (count - LANES) * step, step) - centre, count - k);
        sums->some[1] += distance;
        squares->some[1] += distance * distance;
    } else
        for (; k < count; k++) {
            const real distance = load(x, at + k * step) - centre;
            sums->rest += distance;
            squares->rest += distance * distance;
        }
}

/* Mean, and sum of the squared distances from it, of the slices of a row up to some point; `count` is their size. */
typedef struct {
    real count, mean, squares;
} moments;

/* Elements of a slice below which its mean is never guessed. */
#define FEW 64

/* The moments of a slice about its mean, from those about a centre c:
 *
 *     m = c + mean(x - c),    sum of (x - m)^2 = sum of (x - c)^2 - n*(m - c)^2
 *
 * c is a guess, the mean of the first elements. Where it is near enough for no more than a quarter of the squares to
 * cancel, one sweep does; else a second one about the mean that was found, while the slice is in cache. Without a mean
 * to subtract it is one, about zero. */
static inline moments moments_of_slice(global const element *x, const index64 row, const index64 begin, const index64 end,
                                       const index64 D, const index64 H, const index64 W, ALONG_ROW(x),
                                       const int is_centred)
{
    const place first = place_of(begin, D, H, W);
    const index64 start = row + PLACE(x, first);
    moments m;
    m.count = (real)(end - begin);
    m.mean = 0;
    if (is_centred) m.mean = x_w == 1 && W - first.w >= LANES && end - begin >= LANES
        ? sum_of_lanes(load_lanes(x, start)) / LANES : load(x, start);
    for (int is_last = !is_centred; ; is_last = 1) {
        partial_sums sums, squares;
        clear_sums(&sums);
        clear_sums(&squares);
        place p = first;
        for (index64 e = begin; e < end;) {
            const index64 at = row + PLACE(x, p), rest = W - p.w, count = least(end - e, rest);
            p = next_run(p, D, H);
            const index64 next = row + PLACE(x, p);
            if (x_w == 1) add_run(&sums, &squares, x, at, 1, count, rest, next, m.mean);
            else add_run(&sums, &squares, x, at, x_w, count, rest, next, m.mean);
            e += count;
        }
        m.squares = total(&squares);
        if (!is_centred) return m;
        const real sum = total(&sums), distance = sum / m.count;
        const int is_near = 4 * sum * distance <= m.squares;
        m.squares -= sum * distance;
        m.mean += distance;
        if (m.squares < 0) m.squares = 0;
        if (is_last || (is_near && end - begin >= FEW)) return m;
    }
}

/* Chan, Golub and LeVeque's formula: the moments of two slices together. */
static inline moments merged(const moments m, const moments other)
{
    const real count = m.count + other.count, distance = other.mean - m.mean;
    const real share = other.count / count;
    moments both;
    both.count = count;
    both.mean = m.mean + distance * share;
    both.squares = m.squares + other.squares + distance * distance * (m.count * share);
    return both;
}

/* The statistics of ROWS rows: means, then 1/sqrt(variance + eps), then variances. */
static inline void keep_statistics(global real *statistics, const index64 row, const index64 ROWS,
                                   const real mean, const real variance, const real eps)
{
    statistics[row] = mean;
    statistics[ROWS + row] = 1 / square_root(variance + eps);
    statistics[2 * ROWS + row] = variance;
}

/* Both moments of a whole row, slice by slice, kept as its statistics. */
static inline void statistics_of_row(global const element *x, const index64 start, const index64 n, const index64 SLICES,
                                     const index64 D, const index64 H, const index64 W, ALONG_ROW(x),
                                     const int is_centred, const real eps,
                                     global real *statistics, const index64 row, const index64 ROWS)
{
    moments m = moments_of_slice(x, start, 0, slice_start(n, 1, SLICES), D, H, W, STEPS(x), is_centred);
    for (index64 s = 1; s < SLICES; s++)
        m = merged(m, moments_of_slice(x, start, slice_start(n, s, SLICES), slice_start(n, s + 1, SLICES),
                                       D, H, W, STEPS(x), is_centred));
    keep_statistics(statistics, row, ROWS, m.mean, m.squares / m.count, eps);
}

#endif
