/* What a device can do at most, to measure convolutions by: products and sums in registers, and the copying of memory.
 *
 *     y[i] = rounds of  s = s * w + b  from s = x[i]        y[i] = x[i]
 *
 * A sum waits for the one before it, so CHAINS of them go on side by side in each work-item: more than any processor needs
 * to hide how long a multiply-add takes, and few enough for 16 registers.
 */
#include "vector.h"

#define CHAINS 12

/* Written out, because not every compiler keeps the elements of an array in registers. */
#define EACH_CHAIN(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define BEGIN(chain) vector sum##chain = load_elements(x, chain * LANES);
#define MULTIPLY_ADD(chain) sum##chain = sum##chain * factor + summand;
#define END(chain) store_elements(y, (item * CHAINS + chain) * LANES, sum##chain);

/* One work-item computes CHAINS vectors of y, each number from the one of x that has its place among them. */
kernel void multiply_adds(
    WORK_ITEM
    global const element *x, global const element *w, global const element *b, global element *y,
    const index64 ITEMS, const index64 ROUNDS)
{
    const index64 item = WORK_ITEM_INDEX;
    if (item >= ITEMS) return;
    const vector factor = load_elements(w, 0), summand = load_elements(b, 0);
    EACH_CHAIN(BEGIN)
    for (index64 round = 0; round < ROUNDS; round++) {
        EACH_CHAIN(MULTIPLY_ADD)
    }
    EACH_CHAIN(END)
}

/* One work-item copies up to RUN elements. */
kernel void copy_runs(
    WORK_ITEM
    global const element *x, global element *y, const index64 COUNT, const index64 RUN)
{
    index64 i = WORK_ITEM_INDEX * RUN;
    if (i >= COUNT) return;
    const index64 end = i + RUN < COUNT ? i + RUN : COUNT;
    for (; i + LANES <= end; i += LANES) store_elements(y, i, load_elements(x, i));
    for (; i < end; i++) store(y, i, load(x, i));
}
