/* The gradient of the weights of a convolution with one input channel in each group, for processors, with a group in each
 * lane, as conv_depthwise.cl has it:
 *
 *     dw[g, oc, k] = sum over n, o of dy[n, g, oc, o] * x[n, g, o*S - P + k*D]        over positions within x
 *
 * A work-item takes one piece of its share after another: ROWS by COLUMNS outputs of LANES planes of dy, and what they
 * read of x, with zeros for padding. Both are turned from rows of positions to vectors of groups, so x and dy are read
 * about once, and each tap has a vector of sums.
 *
 * Zero padding contributes no product, as in conv.cl: where something in dy is not finite, sums leave the zeros out.
 */
#include "convolution.h"
#include "lanes.h"

/* Positions of a piece, of the data and of the result, and taps: see clconv/algorithms/conv_depthwise_weights.py. */
#define POSITIONS 2048
#define MOST_TAPS 256
/* Taps whose sums are in registers together. */
#define TAPS 9

/* Sets `count` vectors to zero. */
static inline void clear(real *target, const int count)
{
    for (int i = 0; i < count; i++) store_vector(target + i * LANES, splat(0));
}

/* Lays out `rows` rows of `columns` positions, from (top, left) on, of LANES planes of IH by IW, as vectors of planes, with
 * zeros beyond the planes. `run` has room for as many vectors. What it returns is gather_run's. */
static inline vector gather_padded(
    real *target, real *run, global const element *x, const index64 start, const index64 x_g, const index64 x_h,
    const index64 x_w, const int top, const int left, const int rows, const int columns, const int IH, const int IW)
{
    const int begin_h = top < 0 ? 0 : top, end_h = top + rows < IH ? top + rows : IH;
    const int begin_w = left < 0 ? 0 : left, end_w = left + columns < IW ? left + columns : IW;
    const int width = end_w - begin_w;
    const int is_run = width == IW && x_h == IW * x_w; /* short rows are turned together */
    if (width <= 0 || begin_h >= end_h) {
        clear(target, rows * columns);
        return splat(0);
    }
    vector zeros = splat(0);
    if (is_run) {
        real *whole = width == columns ? target + (begin_h - top) * columns * LANES : run;
        zeros = gather_run(whole, x, start + begin_h * x_h, x_w, x_g, (end_h - begin_h) * IW);
    }
    clear(target, (begin_h - top) * columns);
    for (int h = begin_h; h < end_h && (!is_run || width < columns); h++) {
        real *row = target + (h - top) * columns * LANES;
        clear(row, begin_w - left);
        real *inner = row + (begin_w - left) * LANES;
        if (is_run)
            for (int i = 0; i < width; i++)
                store_vector(inner + i * LANES, load_private(run + ((h - begin_h) * width + i) * LANES));
        else
            zeros += gather_run(inner, x, start + h * x_h + begin_w * x_w, x_w, x_g, width);
        clear(row + (end_w - left) * LANES, left + columns - end_w);
    }
    clear(target + (end_h - top) * columns * LANES, (top + rows - end_h) * columns);
    return zeros;
}

/* The sum of one tap over rows of outputs, of which the first reads position (h, w) of the planes, without padding. */
APART vector sum_by_the_rule(
    const real *data, const real *gradient, const int rows, const int columns, const int PITCH, const int SH, const int SW,
    const int h, const int w, const int IH, const int IW)
{
    vector sum = splat(0);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            const int ih = h + r * SH, iw = w + c * SW;
            if (ih < 0 || ih >= IH || iw < 0 || iw >= IW) continue;
            sum += load_private(data + (r * SH * PITCH + c * SW) * LANES)
                * load_private(gradient + (r * columns + c) * LANES);
        }
    return sum;
}

kernel void conv_depthwise_weights(
    WORK_ITEM
    global const element *x, global const element *dy, global real *dw,
    const index64 N, const int G, const int OC, const int OD, const int OH, const int OW, const int KH, const int KW,
    const int SH, const int SW, const int DH, const int DW, const int IH, const int IW, const int PH, const int PW,
    const int ROWS, const int COLUMNS, const int PARTS, GROUPED_VIEW(x), GROUPED_VIEW(dy), GROUPED_VIEW(dw))
{
    const int BLOCKS = (G + LANES - 1) / LANES;
    index64 item = WORK_ITEM_INDEX;
    if (item >= (index64)PARTS * OC * BLOCKS) return;
    const int oc = item % OC; item /= OC;
    const int block = item % BLOCKS * LANES;
    const index64 slice = item / BLOCKS;
    /* The last block of groups begins where it is whole; those which the one before it has are not stored. */
    const int g = block + LANES <= G ? block : G - LANES;
    const int taps = KH * KW;

    const int BANDS = (OH + ROWS - 1) / ROWS, STRIPS = (OW + COLUMNS - 1) / COLUMNS;
    const index64 pieces = N * OD * BANDS * STRIPS;
    vector total[MOST_TAPS];
    for (int t = 0; t < taps; t++) total[t] = splat(0);
    for (index64 piece = pieces * slice / PARTS; piece < pieces * (slice + 1) / PARTS; piece++) {
        index64 i = piece;
        const int column = i % STRIPS * COLUMNS; i /= STRIPS;
        const int row = i % BANDS * ROWS; i /= BANDS;
        const int d = i % OD;
        const index64 n = i / OD;
        const int rows = OH - row < ROWS ? OH - row : ROWS, columns = OW - column < COLUMNS ? OW - column : COLUMNS;
        const int PITCH = (columns - 1) * SW + (KW - 1) * DW + 1;
        const int top = row * SH - PH, left = column * SW - PW;

        vector aligned_data[POSITIONS], aligned_gradient[POSITIONS];
        real *data = (real *)aligned_data, *gradient = (real *)aligned_gradient;
        gather_padded(
            data, gradient, x, x_start + n * x_n + g * x_g + d * x_d, x_g, x_h, x_w, top, left,
            (rows - 1) * SH + (KH - 1) * DH + 1, PITCH, IH, IW);
        const vector zeros = gather_padded(
            gradient, gradient, dy, dy_start + n * dy_n + g * dy_g + oc * dy_c + d * dy_d, dy_g, dy_h, dy_w, row, column,
            rows, columns, OH, OW);
        const int is_finite = sum_of_lanes(zeros) == 0;

        /* Rows of so few terms that the rounding of their sum stays small. */
        const int few = columns < TERMS_PER_PART ? TERMS_PER_PART / columns : 1;
        for (int begin = 0; begin < rows; begin += few) {
            const int end = begin + few < rows ? begin + few : rows;
            for (int first = 0; first < taps; first += TAPS) {
                const real *place[TAPS];
                vector sum[TAPS];
                UNROLLED for (int t = 0; t < TAPS; t++) { /* beyond the last, that one again */
                    const int tap = first + t < taps ? first + t : taps - 1;
                    place[t] = data + (tap / KW * DH * PITCH + tap % KW * DW) * LANES;
                    sum[t] = splat(0);
                }
                for (int r = begin; r < end; r++)
                    for (int c = 0; c < columns; c++) {
                        const vector factor = load_private(gradient + (r * columns + c) * LANES);
                        const int position = (r * SH * PITCH + c * SW) * LANES;
                        UNROLLED for (int t = 0; t < TAPS; t++) sum[t] += load_private(place[t] + position) * factor;
                    }
                for (int t = 0; t < TAPS && first + t < taps; t++) {
                    const int h = (first + t) / KW * DH, w = (first + t) % KW * DW;
                    if (!is_finite)
                        sum[t] = sum_by_the_rule(
                            place[t] + begin * SH * PITCH * LANES, gradient + begin * columns * LANES, end - begin, columns,
                            PITCH, SH, SW, top + begin * SH + h, left + w, IH, IW);
                    total[first + t] += sum[t];
                }
            }
        }
    }

    dw += dw_start + slice * G * OC * taps + g * dw_g + oc * dw_n;
    for (int t = 0; t < taps; t++) {
        real sum[LANES];
        store_vector(sum, total[t]);
        for (int lane = block - g; lane < LANES; lane++) dw[lane * dw_g + t / KW * dw_h + t % KW * dw_w] = sum[lane];
    }
}
