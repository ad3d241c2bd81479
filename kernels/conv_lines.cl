/* Convolution in vectors that lie within the rows of outputs, for processors: for sums of few terms, where storing an
 * output takes as long as its products, and for few output channels by large windows. It computes the same sum as
 * conv_rows.cl, in the same letters,
 *
 *     y[n, g, oc, o] = b[g, oc] + sum over ic, k of w[g, oc, ic, k] * x[n, g, ic, source(o*S - P + k*D)]
 *
 * No vector crosses the end of a row, so that sums are stored from registers where there is no epilogue. The last vector
 * of a row ends where the row does: some of its outputs are computed, and may be stored, twice, by the same work-item,
 * which computes CHANNELS output channels of whole rows, PIXELS vectors at a time, whichever rows these are in. How far
 * from an output's place the values and weights of terms lie is listed once for all of them.
 *
 * copy_input, in conv_copy.cl, has copied x with its padding and with the rows of all channels together, so that what a row
 * of outputs sums, channel by channel, is read in order. Dense planes without padding, at stride 1, are read in place.
 *
 * Zero padding contributes no product, as in conv.cl: outputs of a tile that is not finite are computed again by that rule.
 */
#include "convolution.h"
#include "epilogue.h"
#include "rule.h"
#include "vector.h"

#ifndef PIXELS
#define PIXELS 3
#endif
#ifndef CHANNELS
#define CHANNELS 8 /* of the output */
#endif
#define SUMS (CHANNELS * PIXELS)

/* Vectors of a work-item, at most: a multiple of PIXELS. */
#define MOST_VECTORS 48

/* Adds a part of the sums to total[c * PIXELS + p] of the channels c, for the vectors p that begin at starts[p] in x. After
 * the part that `is_last`, stores the sums in y at targets[p] instead, and returns 1; but where one must be finite and is
 * not, all are left in `total`, and 0 is returned. */
APART int sums_of_vectors(
    vector *total, global const real *x, const index64 *places, const index64 *starts,
    global const element *w, const index64 *weights, const int terms, const index64 w_n, const real *bias,
    const int is_first, const int is_last, const int must_be_finite,
    global element *y, const index64 y_c, const index64 *targets)
{
    vector sum[SUMS];
    UNROLLED for (int i = 0; i < SUMS; i++) sum[i] = splat(0);
    index64 start[PIXELS];
    UNROLLED for (int p = 0; p < PIXELS; p++) start[p] = starts[p];
    for (int t = 0; t < terms; t++) {
        global const real *place = x + places[t];
        global const element *weight = w + weights[t];
        vector values[PIXELS];
        UNROLLED for (int p = 0; p < PIXELS; p++) values[p] = load_vector(place + start[p]);
        UNROLLED for (int c = 0; c < CHANNELS; c++) {
            const real factor = load(weight, c * w_n);
            UNROLLED for (int p = 0; p < PIXELS; p++) sum[c * PIXELS + p] += values[p] * factor;
        }
    }
    UNROLLED for (int c = 0; c < CHANNELS; c++)
        UNROLLED for (int p = 0; p < PIXELS; p++)
            sum[c * PIXELS + p] += is_first ? splat(bias[c]) : total[c * PIXELS + p];
    int is_stored = is_last;
    if (is_stored && must_be_finite) { /* has_nonfinite, written out for sums that stay in registers */
        vector zeros[4];
        UNROLLED for (int i = 0; i < 4; i++) zeros[i] = splat(0);
        UNROLLED for (int i = 0; i < SUMS; i++) zeros[i % 4] += sum[i] * 0;
        is_stored = sum_of_lanes(zeros[0] + zeros[1] + zeros[2] + zeros[3]) == 0;
    }
    if (is_stored) {
        UNROLLED for (int c = 0; c < CHANNELS; c++)
            UNROLLED for (int p = 0; p < PIXELS; p++) store_lanes(y, targets[p] + c * y_c, sum[c * PIXELS + p]);
    } else {
        UNROLLED for (int i = 0; i < SUMS; i++) total[i] = sum[i];
    }
    return is_stored;
}

kernel void conv_lines(
    WORK_ITEM
    global const real *x, global const int *offsets, global const element *w, global const element *b, EPILOGUE_ARRAYS,
    global element *y,
    const index64 N, const int G, const int OC, const index64 IC,
    const int OD, const int OH, const int OW, const int KD, const int KH, const int KW,
    const int SD, const int SH, const int SW, const int DD, const int DH, const int DW,
    const int ID, const int IH, const int IW, const int PD, const int PH, const int PW, const int zero_padding,
    const int EH, const int PITCH, const int ROWS,
    GROUPED_VIEW(x), GROUPED_VIEW(w), GROUPED_VIEW(y), const index64 b_start, const index64 b_c, const int has_bias,
    EPILOGUE, GROUPED_VIEW(residual))
{
    const int BLOCKS = (OC + CHANNELS - 1) / CHANNELS, BANDS = ((index64)OD * OH + ROWS - 1) / ROWS;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * G * BANDS * BLOCKS) return;
    const int first_channel = item % BLOCKS * CHANNELS; item /= BLOCKS;
    const int first_row = item % BANDS * ROWS; item /= BANDS;
    const index64 g = item % G;
    const index64 n = item / G;
    /* The last block of channels begins where it is whole, and stores only what the one before it does not. */
    const int oc = first_channel + CHANNELS <= OC ? first_channel : OC - CHANNELS, new_channel = first_channel - oc;
    x += x_start + g * x_g + n * x_n;
    w += w_start + g * w_g + oc * w_n;
    y += y_start + g * y_g + n * y_n + oc * y_c;
    const index64 residual_first = residual_start + g * residual_g + n * residual_n + oc * residual_c;
    real bias[CHANNELS];
    for (int c = 0; c < CHANNELS; c++) bias[c] = has_bias ? load(b, b_start + (g * OC + oc + c) * b_c) : 0;
    const int is_plain
        = y_w == 1 && new_channel == 0 && !(has_scale | has_shift | has_residual | (activation != NO_ACTIVATION));

    /* Where vectors begin; those beyond the last one are that one again. */
    const int of_row = (OW + LANES - 1) / LANES;
    const int rows = OD * OH - first_row < ROWS ? OD * OH - first_row : ROWS;
    const int vectors = rows * of_row, tiles = (vectors + PIXELS - 1) / PIXELS;
    index64 starts[MOST_VECTORS];
    index64 targets[MOST_VECTORS];
    for (int v = 0; v < tiles * PIXELS; v++) {
        const int last = v < vectors ? v : vectors - 1;
        const int od = (first_row + last / of_row) / OH, oh = (first_row + last / of_row) % OH;
        const int ow = last % of_row < of_row - 1 ? last % of_row * LANES : OW - LANES;
        starts[v] = ((index64)od * EH + oh) * PITCH + ow;
        targets[v] = od * y_d + oh * y_h + ow * y_w;
    }

    vector total[MOST_VECTORS * CHANNELS];
    int is_stored[MOST_VECTORS];
    const int taps = KD * KH * KW;
    const index64 terms = IC * taps;
    for (index64 first = 0; first < terms; first += TERMS_PER_PART) {
        const int count = terms - first < TERMS_PER_PART ? terms - first : TERMS_PER_PART;
        index64 places[TERMS_PER_PART], weights[TERMS_PER_PART];
        const index64 first_ic = first / taps;
        int tap = first % taps, kd = tap / KW / KH, kh = tap / KW % KH, kw = tap % KW;
        index64 ic = 0;
        for (int t = 0; t < count; t++) {
            places[t] = ic * x_c + offsets[tap++];
            weights[t] = ic * w_c + kd * w_d + kh * w_h + kw * w_w;
            if (++kw < KW) continue;
            kw = 0;
            if (++kh < KH) continue;
            kh = 0;
            if (++kd < KD) continue;
            kd = tap = 0;
            ic++;
        }
        for (int tile = 0; tile < tiles; tile++)
            is_stored[tile] = sums_of_vectors(
                total + tile * SUMS, x + first_ic * x_c, places, starts + tile * PIXELS, w + first_ic * w_c, weights, count,
                w_n, bias, first == 0, is_plain && first + count == terms, zero_padding, y, y_c, targets + tile * PIXELS);
    }

    for (int tile = 0; tile < tiles; tile++) {
        if (is_stored[tile]) continue;
        const vector *sums = total + tile * SUMS;
        const int by_the_rule = zero_padding && has_nonfinite(sums, SUMS);
        for (int p = 0; p < PIXELS && tile * PIXELS + p < vectors; p++) {
            const int v = tile * PIXELS + p;
            const int row = first_row + v / of_row, od = row / OH, oh = row % OH;
            const int ow = v % of_row * LANES, begin = ow + LANES <= OW ? 0 : ow + LANES - OW; /* lanes that are not new */
            for (int c = new_channel; c < CHANNELS; c++) {
                real run[LANES];
                store_vector(run, sums[c * PIXELS + p]);
                for (int i = begin; i < LANES && by_the_rule; i++)
                    run[i] = sum_by_the_rule(
                        x + starts[v] + i, offsets, w, bias[c], IC, KD, KH, KW, ID, IH, IW, DD, DH, DW,
                        od * SD - PD, oh * SH - PH, (ow - begin + i) * SW - PW, x_c, c * w_n, w_c, w_d, w_h, w_w);
                const index64 added
                    = residual_first + c * residual_c + od * residual_d + oh * residual_h + (ow - begin) * residual_w;
                FINISH_RUN(run + begin, LANES - begin, g * OC + oc + c, added + begin * residual_w, residual_w);
                store_run(y, targets[v] + c * y_c + begin * y_w, y_w, run + begin, LANES - begin);
            }
        }
    }
}
