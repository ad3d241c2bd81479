/* What kernels share that take exponentials along an axis: a work-item has either up to TILE positions side by side, one
 * in each lane, or a row whose classes are summed in LANES parts.
 */
#ifndef CLCONV_SOFTMAX_H
#define CLCONV_SOFTMAX_H

#include "elementwise.h"
#include "math.h"

#define TILE 64
#define LANES 16

static inline real larger(const real v, const real best) { return v > best ? v : best; }

/* e at one place: from the result, or of halves, which have too few digits for that, anew. */
static inline real kept(
    global const element *x, const index64 from, const real best, global const element *y, const index64 to)
{
#if ELEMENT == 16
    return exponential(load(x, from) - best);
#else
    return load(y, to);
#endif
}

static inline void keep(global element *y, const index64 to, const real e)
{
#if ELEMENT != 16
    store(y, to, e);
#endif
}

/* The largest of a row without gaps, C elements from `from` on; where there is none, minus infinity. */
static inline real row_maximum(global const element *x, const index64 from, const index64 C)
{
    real best[LANES], most = -infinity();
    for (int l = 0; l < LANES; l++) best[l] = -infinity();
    index64 c = 0;
    for (; c + LANES <= C; c += LANES)
        for (int l = 0; l < LANES; l++) best[l] = larger(load(x, from + c + l), best[l]);
    for (; c < C; c++) best[0] = larger(load(x, from + c), best[0]);
    for (int l = 0; l < LANES; l++) most = larger(best[l], most);
    return most;
}

static inline real total(const real *part)
{
    real sum = 0;
    for (int l = 0; l < LANES; l++) sum += part[l];
    return sum;
}

#endif
