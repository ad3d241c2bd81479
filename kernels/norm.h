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

#include "dialect.h"
#include "math.h"

#define ROWS_AND_ELEMENTS \
    const index64 R, const index64 Q, const index64 A, const index64 D, const index64 H, const index64 W

/* An array's start and strides as parameters of a kernel, and its strides along a row as those of a function. */
#define WALK(a) \
    const index64 a##_start, const index64 a##_r, const index64 a##_q, \
    const index64 a##_a, const index64 a##_d, const index64 a##_h, const index64 a##_w
#define ALONG_ROW(a) const index64 a##_a, const index64 a##_d, const index64 a##_h, const index64 a##_w
#define STEPS(a) a##_a, a##_d, a##_h, a##_w

/* Where a row begins, and the distance from there to one of its places. */
#define ROW(a, row) (a##_start + (row) / Q * a##_r + (row) % Q * a##_q)
#define PLACE(array, p) ((p).a * array##_a + (p).d * array##_d + (p).h * array##_h + (p).w * array##_w)

/* A place in a row: divisions find that of an element, and counting the first one of the next run. */
typedef struct {
    index64 a, d, h, w;
} place;

static inline place place_of(const index64 e, const index64 D, const index64 H, const index64 W)
{
    place p;
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

/* Independent partial sums, so that vectors form; term e of a run goes to lane e % LANES. */
#define LANES 16

/* Eight terms of one lane, added before it is touched, so that an addition need not wait for the last one's result. */
#define EIGHT(TERM, e) \
    (((TERM((e)) + TERM((e) + LANES)) + (TERM((e) + 2 * LANES) + TERM((e) + 3 * LANES))) \
     + ((TERM((e) + 4 * LANES) + TERM((e) + 5 * LANES)) + (TERM((e) + 6 * LANES) + TERM((e) + 7 * LANES))))

/* The first element of slice s. */
static inline index64 slice_start(const index64 n, const index64 s, const index64 slices)
{
    return n / slices * s + n % slices * s / slices;
}

static inline index64 least(const index64 a, const index64 b) { return a < b ? a : b; }

static inline void clear_lanes(real *lane)
{
    for (int i = 0; i < LANES; i++) lane[i] = 0;
}

static inline real sum_of_lanes(real *lane)
{
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lane[i] += lane[i + width];
    return lane[0];
}

/* What a sweep adds up: x itself, or the squares of its distances from a centre. */
static inline real swept(const int squares, const real x, const real centre)
{
    return squares ? (x - centre) * (x - centre) : x;
}

#define TERM(e) swept(squares, load(x, at + (e) * step), centre)

/* Adds `count` terms, `step` elements apart, to the lanes. */
static inline void add_run(real *lane, global const element *x, const index64 at, const index64 step,
                           const index64 count, const int squares, const real centre)
{
    index64 k = 0;
    for (; k + 8 * LANES <= count; k += 8 * LANES)
        for (int i = 0; i < LANES; i++) lane[i] += EIGHT(TERM, k + i);
    for (; k + LANES <= count; k += LANES)
        for (int i = 0; i < LANES; i++) lane[i] += TERM(k + i);
    for (int i = 0; k < count; k++, i++) lane[i] += TERM(k);
}

/* Adds up elements [begin, end) of a row that begins at `row`. */
static inline real sweep(global const element *x, const index64 row, const index64 begin, const index64 end,
                         const index64 D, const index64 H, const index64 W, ALONG_ROW(x),
                         const int squares, const real centre)
{
    real lane[LANES];
    clear_lanes(lane);
    place p = place_of(begin, D, H, W);
    for (index64 e = begin; e < end; p = next_run(p, D, H)) {
        const index64 count = least(end - e, W - p.w);
        if (x_w == 1) add_run(lane, x, row + PLACE(x, p), 1, count, squares, centre);
        else add_run(lane, x, row + PLACE(x, p), x_w, count, squares, centre);
        e += count;
    }
    return sum_of_lanes(lane);
}

/* Elements of a row that are worked on before more of the next row is asked for, and how many of it in all: more would
 * drive the row itself out of the cache. */
#define STRIDE_AHEAD 1024
#define MOST_AHEAD 16384

/* Asks for elements [begin, end) of a row, if they lie without gaps, up to the end of their run. */
static inline void fetch_slice(global const element *x, const index64 row, const index64 begin, const index64 end,
                               const index64 D, const index64 H, const index64 W, ALONG_ROW(x))
{
    const place p = place_of(begin, D, H, W);
    const index64 count = x_w == 1 && begin < MOST_AHEAD ? least(end - begin, W - p.w) : 0;
    for (index64 k = 0; k < count; k += 64 / (index64)sizeof(element)) FETCH_AHEAD(x, row + PLACE(x, p) + k);
}

/* Mean, and sum of the squared distances from it, of the slices of a row up to some point; `count` is their size. */
typedef struct {
    real count, mean, squares;
} moments;

/* Both sweeps of a slice, the second one while it is in cache. Without a mean to subtract it is one, about zero. */
static inline moments moments_of_slice(global const element *x, const index64 row, const index64 begin, const index64 end,
                                       const index64 D, const index64 H, const index64 W, ALONG_ROW(x),
                                       const int is_centred)
{
    moments m;
    m.count = (real)(end - begin);
    m.mean = is_centred ? sweep(x, row, begin, end, D, H, W, STEPS(x), 0, 0) / m.count : 0;
    m.squares = sweep(x, row, begin, end, D, H, W, STEPS(x), 1, m.mean);
    return m;
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
