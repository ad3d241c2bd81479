/* Convolution in tiles of output channels by vectors of neighbouring outputs, for processors: for few channels in a group,
 * and where weights, which are read where they lie, would take long to pack: small planes, and kernels of one tap. It
 * computes the same sum as conv_direct.cl, in the same letters,
 *
 *     y[n, g, oc, o] = b[g, oc] + sum over ic, k of w[g, oc, ic, k] * x[n, g, ic, source(o*S - P + k*D)]
 *
 * copy_input, in conv_copy.cl, has copied x with its padding, positions with one remainder by the strides side by side. So
 * each tap reads the copy at a constant offset from the output's own place, at any stride, and outputs lie as far apart as
 * what they read: a work-item walks PIXELS vectors of a plane across the ends of its rows. What it computes between those is
 * not stored. Dense planes without padding, at stride 1, are read where they lie. Where there are many channels, a work-item
 * computes a SHARE of several blocks of them: the first one copies what it reads, line by line from planes far apart, to where
 * the others find it side by side. The last tiles of a plane have as many vectors as are left, and one or two places that
 * fill but little of a vector are summed in vectors of input channels.
 *
 * Zero padding contributes no product, as in conv.cl: outputs of a tile that is not finite are computed again by that rule.
 */
#include "convolution.h"
#include "epilogue.h"
#include "rule.h"
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

/* Blocks of channels whose sums a work-item adds up side by side, at most. The first one copies what it reads of a part of
 * the terms to where vectors follow each other, and the others read that. Tiles for few channels have one block. Private
 * memory stays below 100 KiB: some systems give a thread 128. */
#if CHANNELS > PIXELS
#define LARGEST_SHARE 24
#else
#define LARGEST_SHARE 1
#endif
#define LONGEST_PART (TERMS_PER_PART * 3 / 4)

/* Where sums find the values of a term: in x, in x for a copy that they make, or in that copy. */
#define IN_PLACE 0
#define TO_COPY 1
#define IN_COPY 2

/* Adds a part of the sums, over `count` channels from `first` on, to total[c * PIXELS + p] of the channels c of a block, for
 * the COUNT vectors p of a tile. Into the rows at `out` instead, if there are any, unless a sum there is not finite and
 * `must_be_finite`: returns whether. What IS_FAR is asked for `ahead` channels before, by the last ones for the next tile. Apart,
 * for a function of its own has registers for its addresses. */
#define DEFINE_SUMS(NAME, COUNT, SOURCE, IS_FAR) \
    APART int NAME( \
        vector *total, vector *copy, global const real *x, global const int *offsets, global const element *w, \
        const real *bias, const index64 IC, const index64 first, const index64 count, const int ahead, \
        const int KD, const int KH, const int KW, \
        const index64 x_c, const index64 w_n, const index64 w_c, const index64 w_d, const index64 w_h, const index64 w_w, \
        global element *out, const index64 out_c, const int must_be_finite) \
    { \
        vector sum[CHANNELS * (COUNT)]; \
        UNROLLED for (int i = 0; i < CHANNELS * (COUNT); i++) sum[i] = splat(0); \
        int kd = 0, kh = 0, kw = 0; \
        for (int tap = 0; tap < KD * KH * KW; tap++) { \
            global const real *place = x + first * x_c + offsets[tap]; \
            global const element *weight = w + first * w_c + kd * w_d + kh * w_h + kw * w_w; \
            for (index64 i = 0; i < count; i++, place += x_c, weight += w_c) { \
                vector values[COUNT]; \
                UNROLLED for (int p = 0; p < (COUNT); p++) { \
                    values[p] = (SOURCE) == IN_COPY ? copy[p] : load_vector(place + p * LANES); \
                    if ((SOURCE) == TO_COPY) copy[p] = values[p]; \
                } \
                if ((SOURCE) != IN_PLACE) copy += (COUNT); \
                if (IS_FAR) { \
                    UNROLLED for (int p = 0; p < (COUNT) && (SOURCE) != IN_COPY; p++) \
                        FETCH_AHEAD(place, p * LANES + (first + i < IC - ahead ? ahead * x_c : (ahead - IC) * x_c + TILE)); \
                    FETCH_AHEAD(weight, ahead * w_c); \
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
            UNROLLED for (int p = 0; p < (COUNT); p++) \
                sum[c * (COUNT) + p] += first == 0 ? splat(bias[c]) : total[c * PIXELS + p]; \
        int is_stored = out != 0; \
        if (is_stored && must_be_finite) { /* has_nonfinite, written out for sums that stay in registers */ \
            vector zeros[4]; \
            UNROLLED for (int i = 0; i < 4; i++) zeros[i] = splat(0); \
            UNROLLED for (int i = 0; i < CHANNELS * (COUNT); i++) zeros[i % 4] += sum[i] * 0; \
            is_stored = sum_of_lanes(zeros[0] + zeros[1] + zeros[2] + zeros[3]) == 0; \
        } \
        if (is_stored) { \
            UNROLLED for (int c = 0; c < CHANNELS; c++) \
                UNROLLED for (int p = 0; p < (COUNT); p++) store_lanes(out, c * out_c + p * LANES, sum[c * (COUNT) + p]); \
        } else { \
            UNROLLED for (int c = 0; c < CHANNELS; c++) \
                UNROLLED for (int p = 0; p < (COUNT); p++) total[c * PIXELS + p] = sum[c * (COUNT) + p]; \
        } \
        return is_stored; \
    }

DEFINE_SUMS(sums_of_tile, PIXELS, IN_PLACE, 0)
DEFINE_SUMS(sums_of_far_tile, PIXELS, IN_PLACE, 1)
#if LARGEST_SHARE > 1
DEFINE_SUMS(sums_that_copy, PIXELS, TO_COPY, 1)
DEFINE_SUMS(sums_of_copy, PIXELS, IN_COPY, 0)
DEFINE_SUMS(sums_of_copy_by_far_weights, PIXELS, IN_COPY, 1)
#endif
DEFINE_SUMS(sums_of_vector, 1, IN_PLACE, 0)
#if PIXELS > 2
DEFINE_SUMS(sums_of_two_vectors, 2, IN_PLACE, 0)
#endif
#if PIXELS > 3
DEFINE_SUMS(sums_of_three_vectors, 3, IN_PLACE, 0)
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
    const int EH, const int PITCH, const int RUN, const int SHARE, const int SHARES_FIRST,
    GROUPED_VIEW(x), GROUPED_VIEW(w), GROUPED_VIEW(y), const index64 b_start, const index64 b_c, const int has_bias,
    EPILOGUE, GROUPED_VIEW(residual))
{
    const index64 places = ((OD - 1) * (index64)EH + OH - 1) * PITCH + OW;
    const int taps = KD * KH * KW;
    /* Where a tap reads all planes from the same place within a vector of memory, tiles begin so much before multiples of
     * their length, the first one at the first place: vectors that lie across two lines of a cache are read more slowly. */
    const int is_even = taps == 1 && places >= MANY_TILES * TILE && x_g % LANES == 0 && x_n % LANES == 0 && x_c % LANES == 0;
    const int lead = is_even ? (size_t)(x + x_start + offsets[0]) / sizeof(real) % LANES : 0;
    const index64 RUNS = (places + lead + RUN * TILE - 1) / (RUN * TILE);
    const index64 BLOCKS = (OC + CHANNELS - 1) / CHANNELS;
    const index64 SHARES = (BLOCKS + SHARE - 1) / SHARE;
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * G * SHARES * RUNS) return;
    const index64 pair = item % (SHARES * RUNS); item /= SHARES * RUNS;
    const index64 first_block = (SHARES_FIRST ? pair % SHARES : pair / RUNS) * SHARE;
    const int blocks = LARGEST_SHARE == 1 ? 1 : BLOCKS - first_block < SHARE ? BLOCKS - first_block : SHARE;
    index64 tile = (SHARES_FIRST ? pair / SHARES : pair % RUNS) * RUN * TILE - lead;
    const index64 last_place = tile + RUN * TILE < places ? tile + RUN * TILE : places;
    const index64 g = item % G;
    const index64 n = item / G;
    w += w_start + g * w_g;
    const index64 y_first = y_start + g * y_g + n * y_n;
    const index64 residual_first = residual_start + g * residual_g + n * residual_n;
    x += x_start + g * x_g + n * x_n;

    /* The last block of channels begins where it is whole, and computes again what the one before it stores. */
    index64 oc[LARGEST_SHARE];
    real bias[LARGEST_SHARE * CHANNELS];
    for (int k = 0; k < blocks; k++) {
        const index64 block = (first_block + k) * CHANNELS;
        oc[k] = block + CHANNELS <= OC ? block : OC - CHANNELS;
        UNROLLED for (int c = 0; c < CHANNELS; c++)
            bias[k * CHANNELS + c] = has_bias ? load(b, b_start + (g * OC + oc[k] + c) * b_c) : 0;
    }
    /* Where nothing lies between rows, all outputs of a plane are one row. */
    const int is_gapless = (PITCH == OW || (OH == 1 && OD == 1)) && (EH == OH || OD == 1);
    const int is_row = is_gapless && IS_ROW(y) && (!has_residual || IS_ROW(residual));
    const int is_plain = y_w == 1 && !(has_scale | has_shift | has_residual | (activation != NO_ACTIVATION));
    const int has_far_weights = w_c >= FAR_WEIGHTS;
    const int is_far = IC * x_c >= FAR_DATA || has_far_weights;
    const int ahead = IC < AHEAD ? IC : AHEAD;
    const index64 channels_per_part = taps < LONGEST_PART ? LONGEST_PART / taps : 1;
#if LARGEST_SHARE > 1
    const int makes_copy = blocks > 1;
    vector copy[LONGEST_PART * PIXELS];
#else
    vector *copy = 0;
#endif

    while (tile < last_place) {
        const index64 begin = tile > 0 ? tile : 0;
        const int vectors = vectors_of_tile(places, places - begin);
        /* The last vectors end where the plane does, so that it is not read beyond that if it has room for them. */
        const index64 first = begin + vectors * LANES <= places || places < LANES ? begin : places - vectors * LANES;
        const index64 next = tile + (tile < 0 ? TILE : vectors * LANES), end = next < places ? next : places;
        tile = next;
        const int has_few_places = taps == 1 && w_c == 1 && !is_even && !zero_padding && end - begin <= FEW_PLACES;
        const index64 pitch = is_row ? places : PITCH, extent = is_row ? places : OW;
        const index64 first_ow = begin % pitch, first_oh = begin / pitch % EH, first_od = begin / pitch / EH;
        /* Whether the tile is a piece of a row, which is stored as it is. */
        const int is_piece = is_plain && begin == first && end == first + vectors * LANES
            && first_ow + vectors * LANES <= extent && first_oh < OH;
        const index64 y_piece = y_first + first_od * y_d + first_oh * y_h + first_ow * y_w;
        vector total[LARGEST_SHARE * CHANNELS * PIXELS];
        index64 ic = 0;
        do {
            const index64 count = IC - ic < channels_per_part || has_few_places ? IC - ic : channels_per_part;
            for (int k = 0; k < blocks; k++) {
                global const element *weights = w + oc[k] * w_n;
                vector *sums = total + k * CHANNELS * PIXELS;
                real *biases = bias + k * CHANNELS, value[CHANNELS * TILE];
                const int new_channel = (first_block + k) * CHANNELS - oc[k];
                const int is_last = ic + count >= IC;
                global element *out = is_piece && is_last && new_channel == 0 ? y + y_piece + oc[k] * y_c : 0;
                int by_the_rule = 0, is_stored = 0;
                if (has_few_places) {
                    sums_of_few_places(
                        value + begin - first, x + begin + offsets[0], x_c, weights, w_n, biases, IC, end - begin);
                } else {
                    if (vectors < PIXELS && zero_padding && ic == 0)
                        for (int i = 0; i < CHANNELS * PIXELS; i++) sums[i] = splat(0);
#define ADD(name) \
    is_stored = name( \
        sums, copy, x + first, offsets, weights, biases, IC, ic, count, ahead, KD, KH, KW, x_c, w_n, w_c, w_d, w_h, w_w, \
        out, y_c, zero_padding)
#if LARGEST_SHARE > 1
                    if (vectors == PIXELS && makes_copy && k == 0) ADD(sums_that_copy);
                    else if (vectors == PIXELS && makes_copy && has_far_weights) ADD(sums_of_copy_by_far_weights);
                    else if (vectors == PIXELS && makes_copy) ADD(sums_of_copy);
                    else
#endif
                    if (vectors == PIXELS && is_far) ADD(sums_of_far_tile);
                    else if (vectors == PIXELS) ADD(sums_of_tile);
#if PIXELS > 3
                    else if (vectors == 3) ADD(sums_of_three_vectors);
#endif
#if PIXELS > 2
                    else if (vectors == 2) ADD(sums_of_two_vectors);
#endif
                    else ADD(sums_of_vector);
                }
                if (!is_last || is_stored) continue;

                if (!has_few_places) {
                    by_the_rule = zero_padding && has_nonfinite(sums, CHANNELS * PIXELS);
                    for (int c = 0; c < CHANNELS; c++)
                        for (int p = 0; p < vectors; p++)
                            store_vector(value + (c * PIXELS + p) * LANES, sums[c * PIXELS + p]);
                }
                /* The rule asks for the place in each row. */
                const index64 between = by_the_rule ? PITCH : pitch, longest = by_the_rule ? OW : extent;
                index64 ow = begin % between, oh = begin / between % EH, od = begin / between / EH;
                for (int i = begin - first; first + i < end;) {
                    const int length = longest - ow < end - first - i ? longest - ow : end - first - i;
                    const index64 target = y_first + od * y_d + oh * y_h + ow * y_w;
                    const index64 added = residual_first + od * residual_d + oh * residual_h + ow * residual_w;
                    for (int c = new_channel; c < CHANNELS && oh < OH && length > 0; c++) {
                        const index64 channel = oc[k] + c;
                        real *run = value + c * TILE + i;
                        if (by_the_rule) {
                            for (int t = 0; t < length; t++)
                                run[t] = sum_by_the_rule(
                                    x + first + i + t, offsets, weights, biases[c], IC, KD, KH, KW, ID, IH, IW, DD, DH, DW,
                                    od * SD - PD, oh * SH - PH, (ow + t) * SW - PW, x_c, c * w_n, w_c, w_d, w_h, w_w);
                        }
                        FINISH_RUN(run, length, g * OC + channel, added + channel * residual_c, residual_w);
                        store_run(y, target + channel * y_c, y_w, run, length);
                    }
                    i += between - ow;
                    ow = 0;
                    if (++oh < EH) continue;
                    oh = 0;
                    od++;
                }
            }
            ic += count;
        } while (ic < IC);
    }
}
