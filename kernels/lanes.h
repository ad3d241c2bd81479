/* Planes of several groups as vectors with a group in each lane. */
#ifndef CLCONV_LANES_H
#define CLCONV_LANES_H

#include "vector.h"

/* Lays out `count` positions of LANES planes, `step` and `plane` elements apart, as vectors of planes. What it returns is
 * zeros, but no numbers where something that it read is not finite. */
static inline vector gather_run(
    real *target, global const element *x, const index64 start, const index64 step, const index64 plane, const int count)
{
    vector zeros[2];
    UNROLLED for (int i = 0; i < 2; i++) zeros[i] = splat(0);
    int p = 0;
    if (plane == 1) {
        for (; p < count; p++) {
            const vector planes = load_lanes(x, start + p * step);
            zeros[0] += planes * 0;
            store_vector(target + p * LANES, planes);
        }
    } else if (step == 1 && count >= LANES) {
        while (p < count) {
            const int first = p + LANES <= count ? p : count - LANES;
            vector square[LANES];
            UNROLLED for (int lane = 0; lane < LANES; lane++) square[lane] = load_lanes(x, start + lane * plane + first);
            UNROLLED for (int lane = 0; lane < LANES; lane++) zeros[lane % 2] += square[lane] * 0;
            TRANSPOSE(square, LANES);
            UNROLLED for (int i = 0; i < LANES; i++) store_vector(target + (first + i) * LANES, square[i]);
            p = first + LANES;
        }
    } else {
        for (int lane = 0; lane < LANES; lane++)
            for (int i = 0; i < count; i++) target[i * LANES + lane] = load(x, start + lane * plane + i * step);
        for (; p < count; p++) zeros[0] += load_private(target + p * LANES) * 0;
    }
    return zeros[0] + zeros[1];
}

#endif
