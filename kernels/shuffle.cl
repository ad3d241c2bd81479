/* Moving elements between channels and pixels: a copy over six axes, 0 the outermost, each with a stride in either array.
 *
 * A work-item makes a run of the positions of axes 4 and 5, whole rows of axis 5 if RUN is a multiple of its extent. */
#include "dialect.h"

#define SIX_AXES(a) \
    const index64 a##_start, const index64 a##_0, const index64 a##_1, const index64 a##_2, \
    const index64 a##_3, const index64 a##_4, const index64 a##_5

/* y[q, j] = x[q, j] over COUNT rows of J. */
static inline void copy_rows(global element_bits *y, const index64 y_q, const index64 y_j,
                             global const element_bits *x, const index64 x_q, const index64 x_j, const int COUNT, const int J)
{
    for (int q = 0; q < COUNT; q++)
        for (int j = 0; j < J; j++) y[q * y_q + j * y_j] = x[q * x_q + j * x_j];
}

/* The same, the long axis inside. */
static inline void copy_columns(global element_bits *y, const index64 y_q, const index64 y_j,
                                global const element_bits *x, const index64 x_q, const index64 x_j, const int COUNT, const int J)
{
    for (int j = 0; j < J; j++)
        for (int q = 0; q < COUNT; q++) y[q * y_q + j * y_j] = x[q * x_q + j * x_j];
}

/* Not called shuffle: OpenCL C has a function of that name. */
kernel void rearrange(
    WORK_ITEM
    global const element_bits *x, global element_bits *y,
    const index64 E0, const index64 E1, const index64 E2, const index64 E3, const int E4, const int E5, const int RUN,
    SIX_AXES(x), SIX_AXES(y))
{
    const index64 INNER = (index64)E4 * E5;
    const index64 RUNS = (INNER - 1) / RUN + 1;
    index64 item = WORK_ITEM_INDEX;
    if (item >= E0 * E1 * E2 * E3 * RUNS) return;
    const index64 first = item % RUNS * RUN; item /= RUNS;
    const index64 last = INNER - first < RUN ? INNER : first + RUN;
    const index64 i3 = item % E3; item /= E3;
    const index64 i2 = item % E2; item /= E2;
    const index64 i1 = item % E1;
    const index64 i0 = item / E1;
    global const element_bits *from = x + x_start + i0 * x_0 + i1 * x_1 + i2 * x_2 + i3 * x_3;
    global element_bits *to = y + y_start + i0 * y_0 + i1 * y_1 + i2 * y_2 + i3 * y_3;

    if (RUN % E5 != 0) {
        for (index64 i = first; i < last; i++) to[i / E5 * y_4 + i % E5 * y_5] = from[i / E5 * x_4 + i % E5 * x_5];
        return;
    }
    const int COUNT = (int)((last - first) / E5);
    from += first / E5 * x_4;
    to += first / E5 * y_4;
    if (E5 == 2 && y_4 == 2 && y_5 == 1 && x_4 == 1) copy_rows(to, 2, 1, from, 1, x_5, COUNT, 2);
    else if (E5 == 2 && x_4 == 2 && x_5 == 1 && y_4 == 1) copy_rows(to, 1, y_5, from, 2, 1, COUNT, 2);
    else if (y_5 == 1 && x_5 == 1) copy_rows(to, y_4, 1, from, x_4, 1, COUNT, E5);
    else copy_columns(to, y_4, y_5, from, x_4, x_5, COUNT, E5);
}
