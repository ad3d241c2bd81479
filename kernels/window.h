/* How a sliding window meets one axis of L positions, padded by P in front.
 *
 * Output o and tap k meet at padded position  p = o*S - P + k*D,  counted from the first real position.
 * `source_of` maps p to the position that it reads; `reader` inverts that, for the gradients: it lists the outputs that
 * read a position. Both are written once per axis-independent rule, so every pass follows the same padding.
 *
 * What padding holds, drawn for the input  a b c d :
 *     zeros        0 0 | a b c d | 0 0
 *     reflect      c b | a b c d | c b        (at most L - 1 deep)
 *     replicate    a a | a b c d | d d
 *     circular     c d | a b c d | a b        (at most L deep)
 *     symmetric    b a | a b c d | d c        (at most L deep)
 */
#ifndef CLCONV_WINDOW_H
#define CLCONV_WINDOW_H

#include "dialect.h"

/* The order of clconv.problem.window.PADDING_MODES. */
#define PADDING_ZEROS 0
#define PADDING_REFLECT 1
#define PADDING_REPLICATE 2
#define PADDING_CIRCULAR 3
#define PADDING_SYMMETRIC 4

/* The position that padded position p reads, or -1 where it reads a zero. */
static inline int source_of(const int p, const int L, const int padding_mode)
{
    if (p >= 0 && p < L) return p;
    switch (padding_mode) {
    case PADDING_REFLECT: return p < 0 ? -p : 2 * (L - 1) - p;
    case PADDING_REPLICATE: return p < 0 ? 0 : L - 1;
    case PADDING_CIRCULAR: return p < 0 ? p + L : p - L;
    case PADDING_SYMMETRIC: return p < 0 ? -1 - p : 2 * L - 1 - p;
    default: return -1;
    }
}

/* How many padded positions to consider as images of position i, at most: itself, and one beyond each end, or at an end
 * that is replicated all the LOW or HIGH positions there. */
static inline int image_count(const int i, const int L, const int LOW, const int HIGH, const int padding_mode)
{
    if (padding_mode == PADDING_ZEROS) return 1;
    if (padding_mode == PADDING_REPLICATE) return 1 + (i == 0 ? LOW : 0) + (i == L - 1 ? HIGH : 0);
    return 3;
}

/* Image e of position i: a padded position p with source_of(p) = i. Image 0 is i itself; the others lie outside
 * [0, L), and one that does not (the mirror image of an end onto itself) is reported as i's absence, NO_IMAGE. */
#define NO_IMAGE (-0x7fffffff)
static inline int image(const int e, const int i, const int L, const int LOW, const int padding_mode)
{
    int low = 0, high = 0;
    if (e == 0) return i;
    switch (padding_mode) {
    case PADDING_REPLICATE: return i == 0 && e <= LOW ? -e : L - 1 + e - (i == 0 ? LOW : 0);
    case PADDING_REFLECT: low = -i; high = 2 * (L - 1) - i; break;
    case PADDING_CIRCULAR: low = i - L; high = i + L; break;
    case PADDING_SYMMETRIC: low = -1 - i; high = 2 * L - 1 - i; break;
    }
    if (e == 1) return low < 0 ? low : NO_IMAGE;
    return high >= L ? high : NO_IMAGE;
}

/* The output that reads padded position p through the tap at offset t = k*D, or -1: solves p = o*S - P + t for o. */
static inline int reader_of(const int p, const index64 t, const int S, const int P, const int O)
{
    const index64 distance = (index64)p + P - t;
    if (p == NO_IMAGE || distance < 0 || distance % S != 0 || distance / S >= O) return -1;
    return (int)(distance / S);
}

/* The gradients walk an axis in pairs j of a tap k = j / E and one of the position's E images, j % E: the output that
 * reads position i through pair j, or -1. */
static inline int reader(const index64 j, const int E, const int i, const int L, const int O,
                         const int S, const int D, const int LOW, const int padding_mode)
{
    return reader_of(image(j % E, i, L, LOW, padding_mode), j / E * D, S, LOW, O);
}

#endif
