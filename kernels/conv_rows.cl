/* Convolution in tiles of output channels by vectors of neighbouring outputs, for processors: for few channels in a group,
 * and where weights, which are read where they lie, would take long to pack: small planes, and kernels of one tap. It
 * computes the same sum as conv_direct.cl, in the same letters,
 *
 *     y[n, g, oc, o] = b[g, oc] + sum over ic, k of w[g, oc, ic, k] * x[n, g, ic, source(o*S - P + k*D)]
 *
 * copy_input, in conv_copy.cl, has copied x with its padding, positions with one remainder by the strides side by side. So
 * each tap reads the copy at a constant offset from the output's own place, at any stride, and outputs lie as far apart as
 * what they read: a work-item walks PIXELS vectors of a plane across the ends of its rows. What it computes between those is
 * not stored. Dense planes without padding, at stride 1, are read where they lie. The last tiles of a plane have as many
 * vectors as are left, and one or two places that fill but little of a vector are summed in vectors of input channels.
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

/* Channels whose data and weights are asked for ahead, where the data of a sample and a group are so many elements that they
 * come from memory, or the weights of input channels lie so far apart: a processor foresees neither. */
#define AHEAD 16
#define FAR_DATA (1 << 18)
#define FAR_WEIGHTS 256

/* Tiles of a plane that pay for one more of a vector. */
#define MANY_TILES 8

/* Places at the end of a plane that are summed one by one. */
#define FEW_PLACES 2

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

/* total[c * PIXELS + p] of the channels c of a block, for the COUNT vectors p of a tile. The last of at least
 * AHEAD channels ask for what the next tile begins with. Apart, for a function of its own has registers for its addresses. */
#define DEFINE_SUMS(NAME, COUNT, IS_FAR) \
    APART void NAME( \
        vector *total, global const real *x, global const int *offsets, global const element *w, const real *bias, \
        const index64 IC, const int KD, const int KH, const int KW, \
        const index64 x_c, const index64 w_n, const index64 w_c, const index64 w_d, const index64 w_h, const index64 w_w) \
    { \
        const int taps = KD * KH * KW; \
        const index64 CHANNELS_PER_PART = taps < TERMS_PER_PART ? TERMS_PER_PART / taps : 1; \
        index64 ic = 0; \
        do { \
            const int is_first = ic == 0; \
            const index64 count = IC - ic < CHANNELS_PER_PART ? IC - ic : CHANNELS_PER_PART; \
            vector sum[CHANNELS * (COUNT)]; \
            UNROLLED for (int i = 0; i < CHANNELS * (COUNT); i++) sum[i] = splat(0); \
            int kd = 0, kh = 0, kw = 0; \
            for (int tap = 0; tap < taps; tap++) { \
                global const real *place = x + ic * x_c + offsets[tap]; \
                global const element *weight = w + ic * w_c + kd * w_d + kh * w_h + kw * w_w; \
                for (index64 i = 0; i < count; i++, place += x_c, weight += w_c) { \
                    vector values[COUNT]; \
                    UNROLLED for (int p = 0; p < (COUNT); p++) values[p] = load_vector(place + p * LANES); \
                    if (IS_FAR) { \
                        UNROLLED for (int p = 0; p < (COUNT); p++) \
                            FETCH_AHEAD(place, (ic + i < IC - AHEAD ? AHEAD * x_c : (AHEAD - IC) * x_c + TILE) + p * LANES); \
                        FETCH_AHEAD(weight, AHEAD * w_c); \
                    } \
                    UNROLLED for (int c = 0; c < CHANNELS; c++) { \
                        const real factor = load(weight, c * w_n); \
                        UNROLLED for (int p = 0; p < (COUNT); p++) sum[c * (COUNT) + p] += values[p] * factor; \
                    } \
                } \
                if (++kw < KW) continue; \
                kw = 0; \
                if (++kh < KH) continue; \
                kh = 0; \
                kd++; \
            } \
            UNROLLED for (int c = 0; c < CHANNELS; c++) \
                UNROLLED for (int p = 0; p < (COUNT); p++) { \
                    const vector before = is_first ? splat(bias[c]) : total[c * PIXELS + p]; \
                    total[c * PIXELS + p] = sum[c * (COUNT) + p] + before; \
                } \
            ic += count; \
        } while (ic < IC); \
    }

DEFINE_SUMS(sums_of_tile, PIXELS, 0)
DEFINE_SUMS(sums_of_far_tile, PIXELS, 1)
DEFINE_SUMS(sums_of_vector, 1, 0)
#if PIXELS > 2
DEFINE_SUMS(sums_of_two_vectors, 2, 0)
#endif
#if PIXELS > 3
DEFINE_SUMS(sums_of_three_vectors, 3, 0)
#endif

/* How many vectors a tile has that begins so many places before the end of a plane: whole ones, then fewer, and no more than
 * fit into a plane that has room for one. */
static inline int vectors_of_tile(const index64 places, const index64 left)
{
    const index64 needed = (left + LANES - 1) / LANES;
    const index64 some = needed >= PIXELS ? PIXELS : needed < 3 ? needed : 3;
    return some * LANES <= places || places < LANES ? some : places / LANES < 3 ? places / LANES : 3;
}

/* value[c * TILE + i] at `count` places, for a single tap whose input channels are neighbours in w: in vectors of these. */
APART void sums_of_few_places(
    real *value, global const real *x, const index64 x_c, global const element *w, const index64 w_n, const real *bias,
    const index64 IC, const int count)
{
    for (int i = 0; i < count; i++, x++) {
        vector sum[CHANNELS];
        UNROLLED for (int c = 0; c < CHANNELS; c++) sum[c] = splat(0);
        index64 ic = 0;
        for (; ic + LANES <= IC; ic += LANES) {
            real column[LANES];
            for (int lane = 0; lane < LANES; lane++) column[lane] = x[(ic + lane) * x_c];
            const vector values = load_private(column);
            UNROLLED for (int c = 0; c < CHANNELS; c++) sum[c] += load_lanes(w, c * w_n + ic) * values;
        }
        for (int c = 0; c < CHANNELS; c++) {
            real total = bias[c] + sum_of_lanes(sum[c]);
            for (index64 k = ic; k < IC; k++) total += load(w, c * w_n + k) * x[k * x_c];
            value[c * TILE + i] = total;
        }
    }
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
    const int taps = KD * KH * KW;
    /* Where a tap reads all planes from the same place within a vector of memory, tiles begin so much before multiples of
     * their length, the first one at the first place: vectors that lie across two lines of a cache are read more slowly. */
    const int is_even = taps == 1 && places >= MANY_TILES * TILE && x_g % LANES == 0 && x_n % LANES == 0 && x_c % LANES == 0;
    const int lead = is_even ? (size_t)(x + x_start + offsets[0]) / sizeof(real) % LANES : 0;
    const index64 RUNS = (places + lead + RUN * TILE - 1) / (RUN * TILE);
    const index64 BLOCKS = (OC + CHANNELS - 1) / CHANNELS;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * G * BLOCKS * RUNS) return;
    const index64 pair = item % (BLOCKS * RUNS); item /= BLOCKS * RUNS;
    const index64 block = (BLOCKS_FIRST ? pair % BLOCKS : pair / RUNS) * CHANNELS;
    index64 tile = (BLOCKS_FIRST ? pair / BLOCKS : pair % RUNS) * RUN * TILE - lead;
    const index64 last_place = tile + RUN * TILE < places ? tile + RUN * TILE : places;
    const index64 g = item % G;
    const index64 n = item / G;
    /* The last block of channels begins where it is whole, and computes again what the one before it stores. */
    const index64 oc = block + CHANNELS <= OC ? block : OC - CHANNELS;
    w += w_start + g * w_g + oc * w_n;
    const index64 y_first = y_start + g * y_g + n * y_n + oc * y_c;
    const index64 residual_first = residual_start + g * residual_g + n * residual_n + oc * residual_c;
    x += x_start + g * x_g + n * x_n;

    real bias[CHANNELS];
    UNROLLED for (int c = 0; c < CHANNELS; c++) bias[c] = has_bias ? load(b, b_start + (g * OC + oc + c) * b_c) : 0;
    /* Where nothing lies between rows, or there is but one, all outputs of a plane are one row. */
    const int is_gapless = (EW == OW && EH == OH) || (OD == 1 && OH == 1);
    const int is_row = is_gapless && IS_ROW(y) && (!has_residual || IS_ROW(residual));
    const int is_dense = is_row && !zero_padding; /* whose rule asks for the place in each row */
    const int is_plain = !(has_scale | has_shift | has_residual | (activation != NO_ACTIVATION));
    const int is_far = IC >= AHEAD && (IC * x_c >= FAR_DATA || w_c >= FAR_WEIGHTS);
    const int extent = is_dense ? places : OW;
    const int pitch = is_dense ? places : EW;

    while (tile < last_place) {
        const index64 begin = tile > 0 ? tile : 0;
        const int vectors = vectors_of_tile(places, places - begin);
        /* The last vectors end where the plane does, so that it is not read beyond that if it has room for them. */
        const index64 first = begin + vectors * LANES <= places || places < LANES ? begin : places - vectors * LANES;
        const index64 next = tile + (tile < 0 ? TILE : vectors * LANES), end = next < places ? next : places;
        tile = next;
        int by_the_rule = 0;
        real value[CHANNELS * TILE];
        if (taps == 1 && w_c == 1 && !is_even && !zero_padding && end - begin <= FEW_PLACES) {
            sums_of_few_places(value + begin - first, x + begin + offsets[0], x_c, w, w_n, bias, IC, end - begin);
        } else {
            vector total[CHANNELS * PIXELS];
            if (vectors < PIXELS && zero_padding)
                for (int i = 0; i < CHANNELS * PIXELS; i++) total[i] = splat(0);
#define SUM_UP(sums) sums(total, x + first, offsets, w, bias, IC, KD, KH, KW, x_c, w_n, w_c, w_d, w_h, w_w)
            if (vectors == PIXELS && is_far) SUM_UP(sums_of_far_tile);
            else if (vectors == PIXELS) SUM_UP(sums_of_tile);
#if PIXELS > 3
            else if (vectors == 3) SUM_UP(sums_of_three_vectors);
#endif
#if PIXELS > 2
            else if (vectors == 2) SUM_UP(sums_of_two_vectors);
#endif
            else SUM_UP(sums_of_vector);
            by_the_rule = zero_padding && has_nonfinite(total, CHANNELS * PIXELS);
            if (is_row && !by_the_rule && is_plain && y_w == 1 && begin == first && end == first + TILE) {
                for (int c = block - oc; c < CHANNELS; c++)
                    UNROLLED for (int p = 0; p < PIXELS; p++)
                        store_lanes(y, y_first + c * y_c + begin + p * LANES, total[c * PIXELS + p]);
                continue;
            }
            for (int c = 0; c < CHANNELS; c++)
                for (int p = 0; p < vectors; p++)
                    store_vector(value + (c * PIXELS + p) * LANES, total[c * PIXELS + p]);
        }
        const int first_ow = begin % pitch, first_oh = begin / pitch % EH, first_od = begin / pitch / EH;
        for (int c = block - oc; c < CHANNELS; c++) {
            int ow = first_ow, oh = first_oh, od = first_od;
            for (int i = begin - first; first + i < end;) {
                const int count = extent - ow < end - first - i ? extent - ow : end - first - i;
                if (oh < OH && count > 0) {
                    real *run = value + c * TILE + i;
                    if (by_the_rule) {
                        for (int t = 0; t < count; t++)
                            run[t] = sum_by_the_rule(
                                x + first + i + t, offsets, w, bias[c], IC, KD, KH, KW, ID, IH, IW, DD, DH, DW,
                                od * SD - PD, oh * SH - PH, (ow + t) * SW - PW,
                                x_c, c * w_n, w_c, w_d, w_h, w_w);
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
