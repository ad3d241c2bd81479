/* Dropout: y[i] = x[i] * scale where random word offset + i is at least the threshold, else 0. Words are counted along the
 * array's elements in the order of its indices, wherever those lie in memory: i is a walk like x and y. The gradient is the
 * same with g for x.
 */
#include "elementwise.h"
#include "random.h"

kernel void dropout(
    WORK_ITEM
    global const element *x, global element *y,
    EXTENTS, VIEW(x), VIEW(y), VIEW(i),
    const index64 seed, const index64 offset, const index64 threshold, const real scale)
{
    RUN_OF_ITEM
    const index64 from = AT(x, n, c, d, h, first), to = AT(y, n, c, d, h, first);
    const index64 place = offset + AT(i, n, c, d, h, first);
    INDEPENDENT for (index64 k = 0; k < run; k++) {
        const index64 j = place + k * i_w;
        const bits32 word = philox((bits64)j >> 2, (bits64)seed, (int)(j & 3));
        const real value = load(x, from + k * x_w) * scale;
        store(y, to + k * y_w, word < (bits64)threshold ? (real)0 : value);
    }
}
