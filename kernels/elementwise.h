/* What kernels share that compute each element by itself: a work-item has RUN elements along the last of five axes. */
#ifndef CLCONV_ELEMENTWISE_H
#define CLCONV_ELEMENTWISE_H

#include "convolution.h"

#define EXTENTS \
    const index64 N, const index64 C, const index64 D, const index64 H, const index64 W, const index64 RUN

/* Declares the position n, c, d, h and the first w of a work-item, and how many elements it has. */
#define RUN_OF_ITEM \
    const index64 runs = (W + RUN - 1) / RUN; \
    index64 item = WORK_ITEM_INDEX; \
    if (item >= N * C * D * H * runs) return; \
    const index64 first = item % runs * RUN; item /= runs; \
    const index64 h = item % H; item /= H; \
    const index64 d = item % D; item /= D; \
    const index64 c = item % C; \
    const index64 n = item / C; \
    const index64 run = W - first < RUN ? W - first : RUN;

/* The same, but for the number of elements, for work-items that go through the axis c themselves. */
#define POSITION_OF_ITEM \
    const index64 runs = (W + RUN - 1) / RUN; \
    index64 item = WORK_ITEM_INDEX; \
    if (item >= N * D * H * runs) return; \
    const index64 first = item % runs * RUN; item /= runs; \
    const index64 h = item % H; item /= H; \
    const index64 d = item % D; \
    const index64 n = item / D;

#endif
