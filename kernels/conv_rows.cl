/* Convolution in tiles of output channels by vectors of neighbouring outputs, for processors: for few channels in a group,
 * and where weights, which are read where they lie, would take long to pack: small planes, and kernels of one tap. It
 * computes the same sum as conv_direct.cl, in the same letters,
 *
 *     y[n, g, oc, o] = b[g, oc] + sum over ic, k of w[g, oc, ic, k] * x[n, g, ic, source(o*S - P + k*D)]
 *
 * copy_input, in conv_copy.cl, has copied x with its padding, positions with one remainder by the strides side by side. So
 * each tap reads the copy at a constant offset from the output's own place, at any stride, and outputs lie as far apart as
 * what they read: a work-item walks PIXELS vectors of a plane across the ends of its rows. What it computes between those is
 * not stored. Dense planes without padding, at stride 1, are read where they lie.
 *
 * Zero padding contributes no product, as in conv.cl: outputs of a tile that is not finite are computed again by that rule.
 */
#include "convolution.h"
#include "epilogue.h"
#include "vector.h"

#ifndef PIXELS
#define PIXELS 4
#endif
#ifndef CHANNELS
#define CHANNELS 1 /* of the output in a tile */
#endif
#define TILE (PIXELS * LANES)

/* The sum of a single output, without the products of zero padding: taps outside [0, I) contribute none. */
APART real sum_by_the_rule(
    global const real *x, global const int *offsets, global const element *w, const real bias, const index64 IC,
    const int KD, const int KH, const int KW, const int ID, const int IH, const int IW,
    const int DD, const int DH, const int DW, const int id, const int ih, const int iw,
    const index64 x_c, const index64 w_first, const index64 w_c, const index64 w_d, const index64 w_h, const index64 w_w)
{
    real sum = bias;
    for (index64 ic = 0; ic < IC; ic++)
        for (int tap = 0; tap < KD * KH * KW; tap++) {
            const int kw = tap % KW, kh = tap / KW % KH, kd = tap / KW / KH;
            const int d = id + kd * DD, h = ih + kh * DH, position = iw + kw * DW;
            if (d < 0 || d >= ID || h < 0 || h >= IH || position < 0 || position >= IW) continue;
            sum += load(w, w_first + ic * w_c + kd * w_d + kh * w_h + kw * w_w) * x[ic * x_c + offsets[tap]];
        }
    return sum;
}

/* Whether the outputs of a plane of this array lie at even distances. */
#define IS_ROW(a) ((OH == 1 || a##_h == OW * a##_w) && (OD == 1 || a##_d == OH * OW * a##_w))

kernel void conv_rows(
    WORK_ITEM
    global const real *x, global const int *offsets, global const element *w, global const element *b, EPILOGUE_ARRAYS,
    global element *y,
    const index64 N, const int G, const int OC, const index64 IC,
    const int OD, const int OH, const int OW, const int KD, const int KH, const int KW,
    const int SD, const int SH, const int SW, const int DD, const int DH, const int DW,
    const int ID, const int IH, const int IW, const int PD, const int PH, const int PW, const int zero_padding,
    const int EH, const int EW, const int RUN, const int BLOCKS_FIRST,
    GROUPED_VIEW(x), GROUPED_VIEW(w), GROUPED_VIEW(y), const index64 b_start, const index64 b_c, const int has_bias,
    EPILOGUE, GROUPED_VIEW(residual))
{
    const index64 places = ((OD - 1) * (index64)EH + OH - 1) * EW + OW;
    const index64 RUNS = (places + RUN * TILE - 1) / (RUN * TILE);
    const index64 BLOCKS = (OC + CHANNELS - 1) / CHANNELS;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * G * BLOCKS * RUNS) return;
    const index64 pair = item % (BLOCKS * RUNS); item /= BLOCKS * RUNS;
    const index64 block = (BLOCKS_FIRST ? pair % BLOCKS : pair / RUNS) * CHANNELS;
    index64 tile = (BLOCKS_FIRST ? pair / BLOCKS : pair % RUNS) * RUN * TILE;
    const index64 last_place = tile + RUN * TILE < places ? tile + RUN * TILE : places;
    const index64 g = item % G;
    const index64 n = item / G;
    /* The last block of channels begins where it is whole, and computes again what the one before it stores. */
    const index64 oc = block + CHANNELS <= OC ? block : OC - CHANNELS;
    const index64 w_first = w_start + g * w_g + oc * w_n;
    const index64 y_first = y_start + g * y_g + n * y_n + oc * y_c;
    const index64 residual_first = residual_start + g * residual_g + n * residual_n + oc * residual_c;
    x += x_start + g * x_g + n * x_n;

    real bias[CHANNELS];
    UNROLLED for (int c = 0; c < CHANNELS; c++) bias[c] = has_bias ? load(b, b_start + (g * OC + oc + c) * b_c) : 0;
    const int taps = KD * KH * KW;
    const index64 CHANNELS_PER_PART = taps < TERMS_PER_PART ? TERMS_PER_PART / taps : 1;
    /* Where nothing lies between rows, or there is but one, all outputs of a plane are one row. */
    const int is_gapless = (EW == OW && EH == OH) || (OD == 1 && OH == 1);
    const int is_dense = !zero_padding && is_gapless && IS_ROW(y) && (!has_residual || IS_ROW(residual));
    const int is_plain = !(has_scale | has_shift | has_residual | (activation != NO_ACTIVATION));
    const int extent = is_dense ? places : OW;
    const int pitch = is_dense ? places : EW;

    for (; tile < last_place; tile += TILE) {
        /* So does the last tile, and so a plane that has room for a tile is not read beyond its end. */
        const index64 first = tile + TILE <= places || places < TILE ? tile : places - TILE;
        vector total[CHANNELS * PIXELS];
        index64 ic = 0;
        do {
            const int is_first = ic == 0;
            const index64 count = IC - ic < CHANNELS_PER_PART ? IC - ic : CHANNELS_PER_PART;
            vector sum[CHANNELS * PIXELS];
            UNROLLED for (int i = 0; i < CHANNELS * PIXELS; i++) sum[i] = splat(0);
            int kd = 0, kh = 0, kw = 0;
            for (int tap = 0; tap < taps; tap++) {
                global const real *place = x + first + ic * x_c + offsets[tap];
                global const element *weight = w + w_first + ic * w_c + kd * w_d + kh * w_h + kw * w_w;
                for (index64 i = 0; i < count; i++, place += x_c, weight += w_c) {
                    vector values[PIXELS];
                    UNROLLED for (int p = 0; p < PIXELS; p++) values[p] = load_vector(place + p * LANES);
                    UNROLLED for (int c = 0; c < CHANNELS; c++) {
                        const real factor = load(weight, c * w_n);
                        UNROLLED for (int p = 0; p < PIXELS; p++) sum[c * PIXELS + p] += values[p] * factor;
                    }
                }
                if (++kw < KW) continue;
                kw = 0;
                if (++kh < KH) continue;
                kh = 0;
                kd++;
            }
            UNROLLED for (int c = 0; c < CHANNELS; c++)
                UNROLLED for (int p = 0; p < PIXELS; p++) {
                    const int i = c * PIXELS + p;
                    total[i] = sum[i] + (is_first ? splat(bias[c]) : total[i]);
                }
            ic += count;
        } while (ic < IC);

        if (is_dense && is_plain && y_w == 1 && tile == first && tile + TILE <= places) {
            for (int c = block - oc; c < CHANNELS; c++)
                UNROLLED for (int p = 0; p < PIXELS; p++)
                    store_lanes(y, y_first + c * y_c + tile + p * LANES, total[c * PIXELS + p]);
            continue;
        }
        const int by_the_rule = zero_padding && has_nonfinite(total, CHANNELS * PIXELS);
        real value[CHANNELS * TILE];
        UNROLLED for (int i = 0; i < CHANNELS * PIXELS; i++) store_vector(value + i * LANES, total[i]);
        const int first_ow = tile % pitch, first_oh = tile / pitch % EH, first_od = tile / pitch / EH;
        for (int c = block - oc; c < CHANNELS; c++) {
            int ow = first_ow, oh = first_oh, od = first_od;
            for (int i = tile - first; i < TILE && first + i < places;) {
                const int count = extent - ow < TILE - i ? extent - ow : TILE - i;
                if (oh < OH && count > 0) {
                    real *run = value + c * TILE + i;
                    if (by_the_rule) {
                        for (int t = 0; t < count; t++)
                            run[t] = sum_by_the_rule(
                                x + first + i + t, offsets, w, bias[c], IC, KD, KH, KW, ID, IH, IW, DD, DH, DW,
                                od * SD - PD, oh * SH - PH, (ow + t) * SW - PW,
                                x_c, w_first + c * w_n, w_c, w_d, w_h, w_w);
                    }
                    const index64 added = residual_first + c * residual_c
                        + od * residual_d + oh * residual_h + ow * residual_w;
                    FINISH_RUN(run, count, g * OC + oc + c, added, residual_w);
                    store_run(y, y_first + c * y_c + od * y_d + oh * y_h + ow * y_w, y_w, run, count);
                }
                i += pitch - ow;
                ow = 0;
                if (++oh < EH) continue;
                oh = 0;
                od++;
            }
        }
    }
}
