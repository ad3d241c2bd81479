/* Convolution in vectors of output channels, for processors. The three passes are one sum
 *
 *     y[n, g, oc, o] = b[g, oc] + sum over ic, k of w[g, oc, ic, k] * x[n, g, ic, source(o*S - P + k*D)]
 *
 * and which axes of which arrays play these parts is a matter of strides. In the gradient of the data at stride 1, dy plays
 * x, and the input and output channels of a rotated w trade places. In the gradient of the weights, dy plays w, batch and
 * channels trade places, and so do S and D.
 *
 * pack_weights lays the weights out with BLOCK = 2 vectors of output channels side by side. A work-item keeps TILE outputs
 * of a row times BLOCK channels in registers, as many as there are: each weight vector is loaded once for TILE products,
 * each value of x once for two. As in conv.cl, zero padding contributes no product.
 */
#include "epilogue.h"
#include "vector.h"
#include "window.h"

#ifndef TILE
#define TILE 4 /* outputs of a row */
#endif
#define BLOCK (2 * LANES)

/* Sums are added up in parts of about this many terms, which keeps the rounding of long ones small. */
#define TERMS_PER_PART 256

#define GROUPED_VIEW(a) \
    const index64 a##_start, const index64 a##_g, const index64 a##_n, const index64 a##_c, \
    const index64 a##_d, const index64 a##_h, const index64 a##_w

/* packed[g, oc / BLOCK, ic, k, oc % BLOCK] = w[g, oc, ic, k], and 0 beyond the last output channel: one work-item lays out
 * the channels of a tap. */
kernel void pack_weights(
    WORK_ITEM
    global const element *w, global real *packed,
    const int G, const int OC, const index64 IC, const int KD, const int KH, const int KW, GROUPED_VIEW(w))
{
    const index64 BLOCKS = (OC + BLOCK - 1) / BLOCK;
    index64 item = WORK_ITEM_INDEX;
    if (item >= G * BLOCKS * IC * KD * KH * KW) return;
    const index64 target = item * BLOCK;
    const int kw = item % KW; item /= KW;
    const int kh = item % KH; item /= KH;
    const int kd = item % KD; item /= KD;
    const index64 ic = item % IC; item /= IC;
    const index64 first = item % BLOCKS * BLOCK;
    const index64 g = item / BLOCKS;

    const index64 source = w_start + g * w_g + ic * w_c + kd * w_d + kh * w_h + kw * w_w;
    for (int lane = 0; lane < BLOCK; lane++)
        packed[target + lane] = first + lane < OC ? load(w, source + (first + lane) * w_n) : 0;
}

kernel void conv_direct(
    WORK_ITEM
    global const element *x, global const real *packed, global const element *b, EPILOGUE_ARRAYS, global element *y,
    const index64 N, const int G, const int OC, const index64 IC,
    const int ID, const int IH, const int IW, const int OD, const int OH, const int OW,
    const int KD, const int KH, const int KW, const int SD, const int SH, const int SW,
    const int DD, const int DH, const int DW, const int PD, const int PH, const int PW, const int padding_mode,
    GROUPED_VIEW(x), GROUPED_VIEW(y), const index64 b_start, const index64 b_c, const int has_bias,
    EPILOGUE, GROUPED_VIEW(residual))
{
    const index64 BLOCKS = (OC + BLOCK - 1) / BLOCK;
    const int TILES = (OW + TILE - 1) / TILE;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * G * BLOCKS * OD * OH * TILES) return;
    const int ow = item % TILES * TILE; item /= TILES;
    const int oh = item % OH; item /= OH;
    const int od = item % OD; item /= OD;
    const index64 block = item % BLOCKS; item /= BLOCKS;
    const index64 g = item % G;
    const index64 n = item / G;
    const index64 step = SW * x_w;

    vector sum[2 * TILE], total[2 * TILE];
    for (int i = 0; i < 2 * TILE; i++) sum[i] = total[i] = splat(0);
    int terms = 0;
    for (index64 ic = 0; ic < IC; ic++) {
        for (int kd = 0; kd < KD; kd++) {
            const int id = source_of(od * SD - PD + kd * DD, ID, padding_mode);
            if (id < 0) continue;
            for (int kh = 0; kh < KH; kh++) {
                const int ih = source_of(oh * SH - PH + kh * DH, IH, padding_mode);
                if (ih < 0) continue;
                const index64 row = x_start + g * x_g + n * x_n + ic * x_c + id * x_d + ih * x_h;
                global const real *tap =
                    packed + ((((g * BLOCKS + block) * IC + ic) * KD + kd) * KH + kh) * KW * BLOCK;
                for (int kw = 0; kw < KW; kw++, tap += BLOCK) {
                    const vector first = load_vector(tap);
                    const vector second = load_vector(tap + LANES);
                    const int p = ow * SW - PW + kw * DW;
                    if (p >= 0 && p + (TILE - 1) * (index64)SW < IW) {
                        for (int t = 0; t < TILE; t++) {
                            const real value = load(x, row + p * x_w + t * step);
                            sum[2 * t] += first * value;
                            sum[2 * t + 1] += second * value;
                        }
                    } else {
                        for (int t = 0; t < TILE; t++) {
                            const int iw = ow + t < OW ? source_of(p + t * SW, IW, padding_mode) : -1;
                            if (iw < 0) continue;
                            const real value = load(x, row + iw * x_w);
                            sum[2 * t] += first * value;
                            sum[2 * t + 1] += second * value;
                        }
                    }
                }
                terms += KW;
                if (terms < TERMS_PER_PART) continue;
                terms = 0;
                for (int i = 0; i < 2 * TILE; i++) {
                    total[i] += sum[i];
                    sum[i] = splat(0);
                }
            }
        }
    }

    const index64 target = y_start + g * y_g + n * y_n + od * y_d + oh * y_h;
    const index64 addend = residual_start + g * residual_g + n * residual_n + od * residual_d + oh * residual_h;
    for (int t = 0; t < TILE && ow + t < OW; t++) {
        real channel[BLOCK];
        store_vector(channel, total[2 * t] + sum[2 * t]);
        store_vector(channel + LANES, total[2 * t + 1] + sum[2 * t + 1]);
        for (int lane = 0; lane < BLOCK && block * BLOCK + lane < OC; lane++) {
            const index64 oc = block * BLOCK + lane;
            const real bias = has_bias ? load(b, b_start + (g * OC + oc) * b_c) : 0;
            const real value =
                FINISHED(channel[lane] + bias, g * OC + oc, addend + oc * residual_c + (ow + t) * residual_w);
            store(y, target + oc * y_c + (ow + t) * y_w, value);
        }
    }
}
