/* Convolution with one input channel in each group, for processors, with a group in each lane:
 *
 *     y[n, g, oc, o] = b[g, oc] + sum over k of w[g, oc, k] * x[n, g, o*S - P + k*D]        over positions within x
 *
 * It waits for memory, so x is read, and y written, about once. A work-item turns a band of LANES planes from rows of
 * positions to vectors of groups, which stay in the nearest caches, computes, and turns the results back. Padding is
 * never read: an output that is near a border sums over fewer taps.
 *
 * The gradient of the data at stride U is a convolution of dy for each remainder of the positions by U, see
 * Window.of_data_gradient. So outputs are computed in phases, and phase f of an axis, which the table tells, has
 *
 *     the outputs  o = first + t*U,  the positions  t*S - low + k*D,  and the taps  tap + k*step  of w,  k < taps.
 *
 * A pass that has one phase with all outputs is the forward convolution.
 */
#include "convolution.h"
#include "epilogue.h"
#include "lanes.h"

/* Positions of a band, of the data and of the result, and taps. */
#define POSITIONS 1024
#define TAPS 256
/* Outputs that are summed at once. */
#define UNITS 8

/* A row of the table. */
#define FIRST(phase) phases[(phase) * 5]
#define LOW(phase) phases[(phase) * 5 + 1]
#define KERNEL(phase) phases[(phase) * 5 + 2]
#define FIRST_TAP(phase) phases[(phase) * 5 + 3]
#define TAP_STEP(phase) phases[(phase) * 5 + 4]

/* The first t of a phase with first + t*U >= o. */
static inline int first_of(const int o, const int first, const int U)
{
    return o <= first ? 0 : (o - first + U - 1) / U;
}

kernel void conv_depthwise(
    WORK_ITEM
    global const element *x, global const element *w, global const element *b, EPILOGUE_ARRAYS, global element *y,
    global const int *table,
    const index64 N, const int G, const int OC, const int OD, const int OH, const int OW,
    const int SH, const int SW, const int DH, const int DW, const int IH, const int IW,
    const int UH, const int UW, const int ROWS, const int COLUMNS,
    GROUPED_VIEW(x), GROUPED_VIEW(w), GROUPED_VIEW(y), const index64 b_start, const index64 b_c, const int has_bias,
    EPILOGUE, GROUPED_VIEW(residual))
{
    const int BLOCKS = (G + LANES - 1) / LANES;
    const int BANDS = (OH + ROWS - 1) / ROWS, STRIPS = (OW + COLUMNS - 1) / COLUMNS;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * BLOCKS * OD * BANDS * STRIPS) return;
    const int column = item % STRIPS * COLUMNS; item /= STRIPS;
    const int row = item % BANDS * ROWS; item /= BANDS;
    const int d = item % OD; item /= OD;
    const int block = item % BLOCKS * LANES;
    const index64 n = item / BLOCKS;
    /* The last block of groups begins where it is whole; those which the one before it has are not stored. */
    const int g = block + LANES <= G ? block : G - LANES;
    const int rows = OH - row < ROWS ? OH - row : ROWS, columns = OW - column < COLUMNS ? OW - column : COLUMNS;

    /* The positions that outputs of the band read. */
    int top = IH, bottom = 0, left = IW, right = 0;
    global const int *phases = table;
    for (int phase = 0; phase < UH; phase++) {
        const int t = first_of(row, FIRST(phase), UH), end = first_of(row + rows, FIRST(phase), UH);
        if (t >= end || KERNEL(phase) == 0) continue;
        const int low = t * SH - LOW(phase), high = (end - 1) * SH - LOW(phase) + (KERNEL(phase) - 1) * DH + 1;
        top = low < top ? low : top;
        bottom = high > bottom ? high : bottom;
    }
    phases = table + 5 * UH;
    for (int phase = 0; phase < UW; phase++) {
        const int t = first_of(column, FIRST(phase), UW), end = first_of(column + columns, FIRST(phase), UW);
        if (t >= end || KERNEL(phase) == 0) continue;
        const int low = t * SW - LOW(phase), high = (end - 1) * SW - LOW(phase) + (KERNEL(phase) - 1) * DW + 1;
        left = low < left ? low : left;
        right = high > right ? high : right;
    }
    top = top < 0 ? 0 : top;
    left = left < 0 ? 0 : left;
    bottom = bottom > IH ? IH : bottom;
    right = right > IW ? IW : right;

    real data[POSITIONS * LANES];
    const int PITCH = right - left;
    const index64 x_first = x_start + n * x_n + g * x_g + d * x_d + top * x_h + left * x_w;
    if (x_h == PITCH * x_w && bottom > top && PITCH > 0)
        gather_run(data, x, x_first, x_w, x_g, (bottom - top) * PITCH);
    else
        for (int h = top; h < bottom; h++)
            gather_run(data + (h - top) * PITCH * LANES, x, x_first + (h - top) * x_h, x_w, x_g, PITCH);

    const int is_plain = !(has_scale | has_shift | has_residual | (activation != NO_ACTIVATION));
    const int is_dense = columns == OW && y_h == OW * y_w && (!has_residual || residual_h == OW * residual_w);
    for (int oc = 0; oc < OC; oc++) {
        real result[POSITIONS * LANES], weights[TAPS * LANES], first_sum[LANES];
        for (int lane = 0; lane < LANES; lane++)
            first_sum[lane] = has_bias ? load(b, b_start + ((g + lane) * OC + oc) * b_c) : 0;

        for (int h_phase = 0; h_phase < UH; h_phase++) {
            phases = table;
            const int KH = KERNEL(h_phase), first_h = FIRST(h_phase), low_h = LOW(h_phase);
            const int tap_h = FIRST_TAP(h_phase), step_h = TAP_STEP(h_phase);
            const int begin_h = first_of(row, first_h, UH), end_h = first_of(row + rows, first_h, UH);
            for (int w_phase = 0; w_phase < UW; w_phase++) {
                phases = table + 5 * UH;
                const int KW = KERNEL(w_phase), first_w = FIRST(w_phase), low_w = LOW(w_phase);
                const int begin_w = first_of(column, first_w, UW), end_w = first_of(column + columns, first_w, UW);
                const index64 taps = w_start + g * w_g + oc * w_n + tap_h * w_h + FIRST_TAP(w_phase) * w_w;
                for (int kh = 0; kh < KH; kh++)
                    for (int kw = 0; kw < KW; kw++)
                        for (int lane = 0; lane < LANES; lane++)
                            weights[(kh * KW + kw) * LANES + lane] =
                                load(w, taps + lane * w_g + kh * step_h * w_h + kw * TAP_STEP(w_phase) * w_w);

                /* Outputs from `inner` up to `outer` read positions within the row through every tap. */
                const int reach = (KW - 1) * DW;
                int inner = low_w > 0 ? (low_w + SW - 1) / SW : 0;
                int outer = IW - 1 - reach + low_w >= 0 ? (IW - 1 - reach + low_w) / SW + 1 : 0;
                inner = inner < begin_w ? begin_w : inner > end_w ? end_w : inner;
                outer = outer < inner ? inner : outer > end_w ? end_w : outer;

                for (int t = begin_h; t < end_h; t++) {
                    const int h = t * SH - low_h;
                    int first_kh = 0, last_kh = KH; /* those within the plane */
                    while (first_kh < KH && h + first_kh * DH < 0) first_kh++;
                    while (last_kh > first_kh && h + (last_kh - 1) * DH >= IH) last_kh--;
                    real *line = result + ((first_h + t * UH - row) * columns + first_w - column) * LANES;
                    const real *source = data + ((h - top) * PITCH - low_w - left) * LANES;
                    for (int s = begin_w; s < end_w;) {
                        const int units = s >= inner && s + UNITS <= outer ? UNITS : 1;
                        if (units == UNITS) {
                            vector sum[UNITS];
                            UNROLLED for (int u = 0; u < UNITS; u++) sum[u] = load_private(first_sum);
                            for (int kh = first_kh; kh < last_kh; kh++) {
                                const real *place = source + (kh * DH * PITCH + s * SW) * LANES;
                                for (int kw = 0; kw < KW; kw++, place += DW * LANES) {
                                    const vector weight = load_private(weights + (kh * KW + kw) * LANES);
                                    UNROLLED for (int u = 0; u < UNITS; u++)
                                        sum[u] += load_private(place + u * SW * LANES) * weight;
                                }
                            }
                            UNROLLED for (int u = 0; u < UNITS; u++) store_vector(line + (s + u) * UW * LANES, sum[u]);
                        } else {
                            vector sum = load_private(first_sum);
                            for (int kh = first_kh; kh < last_kh; kh++)
                                for (int kw = 0; kw < KW; kw++) {
                                    const int position = s * SW - low_w + kw * DW;
                                    if (position < 0 || position >= IW) continue;
                                    sum += load_private(source + (kh * DH * PITCH + s * SW + kw * DW) * LANES)
                                        * load_private(weights + (kh * KW + kw) * LANES);
                                }
                            store_vector(line + s * UW * LANES, sum);
                        }
                        s += units;
                    }
                }
            }
        }

        const int runs = is_dense ? 1 : rows, length = is_dense ? rows * OW : columns;
        for (int r = 0; r < runs; r++) {
            const index64 h = row + r;
            const index64 target = y_start + n * y_n + g * y_g + oc * y_c + d * y_d + h * y_h + column * y_w;
            const index64 added = residual_start + n * residual_n + g * residual_g + oc * residual_c
                + d * residual_d + h * residual_h + column * residual_w;
            if (is_plain && y_g == 1 && y_w != 1 && g == block) {
                for (int p = 0; p < length; p++)
                    store_lanes(y, target + p * y_w, load_private(result + (r * columns + p) * LANES));
                continue;
            }
            for (int p = 0; p < length;) {
                const int first = p + LANES <= length || length < LANES ? p : length - LANES;
                const int count = length < LANES ? length : LANES;
                vector square[LANES];
                UNROLLED for (int i = 0; i < LANES; i++)
                    square[i] = i < count ? load_private(result + (r * columns + first + i) * LANES) : splat(0);
                TRANSPOSE(square, LANES);
                for (int lane = block - g; lane < LANES; lane++) {
                    const index64 place = target + lane * y_g + first * y_w;
                    if (is_plain && y_w == 1 && count == LANES) {
                        store_lanes(y, place, square[lane]);
                        continue;
                    }
                    /* PoCL 3.1 keeps an array of one vector in a register, and with four lanes of halves it stores what
                     * was there before the activation: a longer one stays in memory. */
                    real run[2 * LANES];
                    store_vector(run, square[lane]);
                    FINISH_RUN(run, count, (g + lane) * OC + oc, added + lane * residual_g + first * residual_w,
                               residual_w);
                    store_run(y, place, y_w, run, count);
                }
                p = first + count;
            }
        }
    }
}
