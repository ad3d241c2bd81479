/* Convolution by Winograd's short convolutions, for processors: stride 1, three taps along width, height or both, and any
 * along depth. It computes the same sum as conv_direct.cl, in the same letters, and by the same walks over the arrays,
 *
 *     y[n, g, oc, o] = b[g, oc] + sum over ic, k of w[g, oc, ic, k] * x[n, g, ic, source(o - P + k*D)]
 *
 * A tile is M outputs of an axis that lie D apart (winograd_tiles.h); they read A = M + 2 positions d and are
 * Y((U w) * (V d)) (winograd.h): A products in place of 3 M; in two axes, one after the other, A^2 in place of 9 M^2. Taps
 * along depth are summed over like input channels. Products are summed over CHANNELS of these before the sums are added,
 * which keeps the error from growing with the channels.
 *
 * transform_weights makes packed[g, oc / BLOCK - FROM, j, kd, ic, oc % BLOCK], transform_data values[g, tile / TILES, j,
 * kd, ic / LANES, tile % TILES, ic % LANES]; both leave LANES numbers between one j and the next, lest all be kept in the
 * same set of a cache. multiply_tiles sums the products of TILES tiles and BLOCK channels for every j, with vectors of
 * output channels and a register for each tile, and transforms them into outputs. Where input channels are many, all
 * work-items would read more data than caches hold: multiply_points then makes products[g, oc / BLOCK - FROM, tile / TILES,
 * j, tile % TILES, oc % BLOCK] before, a j after the other, and reads each number from far memory once.
 *
 * A number that is not finite spoils its whole tile, and zero padding contributes no product (see conv.cl): an output
 * that is not finite is summed again by the rule.
 */
#include "convolution.h"
#include "epilogue.h"
#include "vector.h"
#include "winograd_tiles.h"

#define VECTORS 2
#define BLOCK (VECTORS * LANES)
#define CHANNELS 64

/* Weights are asked for so many input channels ahead: their products take as long as far memory does. */
#define AHEAD 32

/* Outputs of tiles side by side, in whole vectors. */
#define LINE ((MOST_TILES * MW + LANES - 1) / LANES * LANES)

#define SQUARES ((TAPS + LANES - 1) / LANES)

/* Numbers between one j and the next of the data. */
#define ROW_OF_VALUES (KD * ((IC + LANES - 1) / LANES) * TILES * LANES + LANES)

/* One work-item transforms a block of output channels, of those from FROM up to TO, and RUN input channels of the taps
 * along depth. */
kernel void transform_weights(
    WORK_ITEM
    global const element *w, global real *packed, const int G, const int OC, const index64 IC, const int KD, const int RUN,
    const int FROM, const int TO, GROUPED_VIEW(w))
{
    const int OUTER = TO - FROM;
    const index64 RUNS = (KD * IC + RUN - 1) / RUN;
    index64 item = WORK_ITEM_INDEX;
    if (item >= G * OUTER * RUNS) return;
    const index64 begin = item % RUNS * RUN; item /= RUNS;
    const index64 end = begin + RUN < KD * IC ? begin + RUN : KD * IC;
    const int outer = item % OUTER;
    const int g = item / OUTER;
    const int first_channel = (FROM + outer) * BLOCK;
    const index64 row = KD * IC * BLOCK + LANES;
    global real *target = packed + ((index64)g * OUTER + outer) * POINTS * row;

    /* Taps that follow each other, forwards or backwards, are read a vector at a time, as far as there are as many. */
    const index64 step = KW == 3 ? w_w : w_h;
    const index64 next_row = TAPS == 9 ? 3 * w_w : w_h;
    const int in_order = (step == 1 || step == -1) && w_h == next_row && w_g >= 0 && w_n >= 0 && w_c >= 0;
    const index64 low = step < 0 ? (TAPS - 1) * step : 0;
    const index64 last = w_start + low + (G - 1) * w_g + (OC - 1) * w_n + (IC - 1) * w_c
                       + (w_d > 0 ? (KD - 1) * w_d : 0) + TAPS - 1;

    for (index64 term = begin; term < end; term++)
        for (int v = 0; v < VECTORS; v++) {
            const int channel = first_channel + v * LANES;
            const int channels = OC - channel < LANES ? OC - channel : LANES;
            if (channels <= 0) break;
            const index64 source = w_start + g * w_g + channel * w_n
                                 + term / IC * w_d + term % IC * w_c;
            vector taps[TAPS], partly[AH * KW];
            if (in_order && source + (channels - 1) * w_n + low + SQUARES * LANES - 1 <= last) {
                vector square[SQUARES * LANES];
                UNROLLED for (int s = 0; s < SQUARES; s++) {
                    index64 at = source + low + s * LANES;
                    UNROLLED for (int lane = 0; lane < LANES; lane++) {
                        square[s * LANES + lane] = load_vector(w + at);
                        if (lane + 1 < channels) at += w_n;
                    }
                    TRANSPOSE(square + s * LANES, LANES);
                }
                if (step > 0)
                    UNROLLED for (int k = 0; k < TAPS; k++) taps[k] = square[k];
                else
                    UNROLLED for (int k = 0; k < TAPS; k++) taps[k] = square[TAPS - 1 - k];
            } else {
                UNROLLED for (int k = 0; k < TAPS; k++)
                    taps[k] = some_lanes_at(w, source + k / KW * w_h + k % KW * w_w, w_n, channels);
            }
#if KH == 3
            UNROLLED for (int kw = 0; kw < KW; kw++) transformed_taps(partly + kw, KW, taps + kw, KW);
#else
            UNROLLED for (int kw = 0; kw < KW; kw++) partly[kw] = taps[kw];
#endif
            global real *point = target + term * BLOCK + v * LANES;
            UNROLLED for (int i = 0; i < AH; i++) {
                vector whole[AW];
#if KW == 3
                transformed_taps(whole, 1, partly + i * KW, 1);
#else
                whole[0] = partly[i];
#endif
                UNROLLED for (int j = 0; j < AW; j++, point += row) store_global(point, whole[j]);
            }
        }
}

/* One work-item transforms a vector of input channels of TILES tiles, those beyond END as zeros. */
kernel void transform_data(
    WORK_ITEM
    global const element *x, global real *values,
    const int G, const index64 IC, const int KD, const int OD, const int OH, const int OW, const index64 N,
    const int DD, const int DH, const int DW,
    const int ID, const int IH, const int IW, const int PD, const int PH, const int PW, const int padding_mode,
    const index64 BEGIN, const index64 END, const int TILES, GROUPED_VIEW(x))
{
    transform_tiles(
        WORK_ITEM_INDEX, x, values, G, IC, LANES, KD, OD, OH, OW, N, DD, DH, DW, ID, IH, IW, PD, PH, PW, padding_mode,
        BEGIN, END, TILES, x_start, x_g, x_n, x_c, x_d, x_h, x_w);
}

/* sums[t, oc] = sum over kd, ic of weights[kd, ic, oc] * values[kd, ic / LANES, t, ic % LANES], for a point and COUNT
 * tiles. */
#define DEFINE_PRODUCTS(NAME, COUNT) \
    APART void NAME( \
        real *sums, global const real *weights, global const real *values, const index64 IC, const int KD, \
        const int TILES) \
    { \
        int is_first = 1; \
        for (int kd = 0; kd < KD; kd++) \
            for (index64 begin = 0; begin < IC; begin += CHANNELS) { \
                const index64 end = begin + CHANNELS < IC ? begin + CHANNELS : IC; \
                vector sum[(COUNT) * VECTORS]; \
                UNROLLED for (int i = 0; i < (COUNT) * VECTORS; i++) sum[i] = splat(0); \
                for (index64 ic = begin; ic < end; ic += LANES, values += TILES * LANES) { \
                    const int channels = end - ic < LANES ? end - ic : LANES; \
                    for (int c = 0; c < channels; c++, weights += BLOCK) { \
                        vector weight[VECTORS]; \
                        UNROLLED for (int v = 0; v < VECTORS; v++) weight[v] = load_vector(weights + v * LANES); \
                        UNROLLED for (int v = 0; v < VECTORS; v++) FETCH_AHEAD(weights, AHEAD * BLOCK + v * LANES); \
                        UNROLLED for (int t = 0; t < (COUNT); t++) { \
                            const real value = values[t * LANES + c]; \
                            UNROLLED for (int v = 0; v < VECTORS; v++) sum[t * VECTORS + v] += weight[v] * value; \
                        } \
                    } \
                } \
                UNROLLED for (int i = 0; i < (COUNT) * VECTORS; i++, sums += LANES) \
                    store_vector(sums, is_first ? sum[i] : load_private(sums) + sum[i]); \
                sums -= (COUNT) * BLOCK; \
                is_first = 0; \
            } \
    }

#include "winograd_products.h"

/* One work-item sums the products of a point of RUNS times TILES tiles and a block of BLOCK channels, of those from FROM up
 * to TO. */
kernel void multiply_points(
    WORK_ITEM
    global const real *packed, global const real *values, global real *products, const int G, const index64 IC, const int KD,
    const index64 BEGIN, const index64 END, const int TILES, const int RUNS, const int FROM, const int TO)
{
    const index64 BLOCKS = (END - BEGIN + TILES - 1) / TILES;
    const index64 PIECES = (BLOCKS + RUNS - 1) / RUNS;
    const int OUTER = TO - FROM;
    index64 item = WORK_ITEM_INDEX;
    if (item >= G * POINTS * PIECES * OUTER) return;
    const int outer = item % OUTER; item /= OUTER;
    const index64 first = item % PIECES * RUNS; item /= PIECES;
    const index64 last = first + RUNS < BLOCKS ? first + RUNS : BLOCKS;
    const int j = item % POINTS;
    const int g = item / POINTS;
    packed += (((index64)g * OUTER + outer) * POINTS + j) * (KD * IC * BLOCK + LANES);
    for (index64 block = first; block < last; block++) {
        const index64 left = END - BEGIN - block * TILES;
        const int used = left < TILES ? left : TILES;
        real sums[MOST_TILES * BLOCK];
        PRODUCTS(used, sums, packed, values + ((g * BLOCKS + block) * POINTS + j) * ROW_OF_VALUES, IC, KD, TILES);
        global real *target = products + (((g * OUTER + outer) * BLOCKS + block) * POINTS + j) * TILES * BLOCK;
        for (int i = 0; i < used * BLOCK; i += LANES) store_global(target + i, load_private(sums + i));
    }
}

/* The outputs of a vector of channels of some tiles, with their bias, from sums of which a tile's are BLOCK apart and a
 * point's `row`. Returns zeros where all outputs of a channel are finite. */
#define DEFINE_TRANSFORM(NAME, SPACE, LOAD) \
    static inline vector NAME( \
        real *pixels, SPACE const real *sums, const index64 row, const int used, const vector biases) \
    { \
        vector zeros[MH]; \
        UNROLLED for (int i = 0; i < MH; i++) zeros[i] = splat(0); \
        for (int t = 0; t < used; t++, sums += BLOCK) { \
            vector partly[MH * AW]; \
            UNROLLED for (int j = 0; j < AW; j++) { \
                vector sum[AH]; \
                UNROLLED for (int i = 0; i < AH; i++) sum[i] = LOAD(sums + (i * AW + j) * row); \
                COLUMN_OF_SUMS(partly + j, sum); \
            } \
            UNROLLED for (int i = 0; i < MH; i++) { \
                vector result[MW]; \
                ROW_OF_SUMS(result, partly + i * AW); \
                UNROLLED for (int j = 0; j < MW; j++) { \
                    const vector value = result[j] + biases; \
                    zeros[i] += value * 0; \
                    store_vector(pixels + (i * LINE + t * MW + j) * LANES, value); \
                } \
            } \
        } \
        UNROLLED for (int i = 1; i < MH; i++) zeros[0] += zeros[i]; \
        return zeros[0]; \
    }

#if KH == 3
#define COLUMN_OF_SUMS(partly, sum) transformed_sums(partly, AW, sum, 1)
#else
#define COLUMN_OF_SUMS(partly, sum) *(partly) = *(sum)
#endif
#if KW == 3
#define ROW_OF_SUMS(result, partly) transformed_sums(result, 1, partly, 1)
#else
#define ROW_OF_SUMS(result, partly) *(result) = *(partly)
#endif

DEFINE_TRANSFORM(transform_sums, , load_private)
DEFINE_TRANSFORM(transform_products, global, load_vector)

/* A single output, by the rule. */
APART real sum_by_the_rule(
    global const element *x, global const element *w, const real bias, const index64 IC, const int KD,
    const int DD, const int DH, const int DW, const int ID, const int IH, const int IW, const int padding_mode,
    const int pd, const int ph, const int pw,
    const index64 x_first, const index64 x_c, const index64 x_d, const index64 x_h, const index64 x_w,
    const index64 w_first, const index64 w_c, const index64 w_d, const index64 w_h, const index64 w_w)
{
    real total = bias;
    for (int k = 0; k < KD * TAPS; k++) {
        const int kd = k / TAPS, kh = k % TAPS / KW, kw = k % KW;
        const int id = source_of(pd + kd * DD, ID, padding_mode);
        const int ih = source_of(ph + kh * DH, IH, padding_mode), iw = source_of(pw + kw * DW, IW, padding_mode);
        if (id < 0 || ih < 0 || iw < 0) continue;
        index64 at = x_first + id * x_d + ih * x_h + iw * x_w;
        index64 tap = w_first + kd * w_d + kh * w_h + kw * w_w;
        for (index64 ic = 0; ic < IC;) {
            real sum = 0;
            for (const index64 end = ic + CHANNELS < IC ? ic + CHANNELS : IC; ic < end; ic++, at += x_c, tap += w_c)
                sum += load(w, tap) * load(x, at);
            total += sum;
        }
    }
    return total;
}

/* One work-item computes the outputs of TILES tiles and a block of BLOCK channels, of those from FROM up to TO; the products
 * are its own, or those of multiply_points. */
kernel void multiply_tiles(
    WORK_ITEM
    global const element *x, global const element *w, global const real *packed, global const real *values,
    global const real *products, global const element *b, EPILOGUE_ARRAYS, global element *y,
    const int G, const int OC, const index64 IC, const int KD, const int OD, const int OH, const int OW,
    const int DD, const int DH, const int DW,
    const int ID, const int IH, const int IW, const int PD, const int PH, const int PW, const int padding_mode,
    const index64 BEGIN, const index64 END, const int TILES, const int FROM, const int TO, const int CHANNELS_FIRST,
    const int has_products, GROUPED_VIEW(x), GROUPED_VIEW(w), GROUPED_VIEW(y), const index64 b_start, const index64 b_c,
    const int has_bias, EPILOGUE, GROUPED_VIEW(residual))
{
    const index64 BLOCKS = (END - BEGIN + TILES - 1) / TILES;
    const int OUTER = TO - FROM;
    index64 item = WORK_ITEM_INDEX;
    if (item >= G * OUTER * BLOCKS) return;
    const index64 pair = item % (OUTER * BLOCKS);
    const int g = item / (OUTER * BLOCKS);
    const index64 block = CHANNELS_FIRST ? pair / OUTER : pair % BLOCKS;
    const int outer = CHANNELS_FIRST ? pair % OUTER : pair / BLOCKS;
    const int first_channel = (FROM + outer) * BLOCK;
    const int channels = OC - first_channel < BLOCK ? OC - first_channel : BLOCK;
    const index64 first = BEGIN + block * TILES;
    const int used = END - first < TILES ? END - first : TILES;

    real sums[POINTS * MOST_TILES * BLOCK];
    if (has_products) {
        products += ((g * OUTER + outer) * BLOCKS + block) * POINTS * TILES * BLOCK;
    } else {
        const index64 row_of_weights = KD * IC * BLOCK + LANES;
        packed += ((index64)g * OUTER + outer) * POINTS * row_of_weights;
        values += (g * BLOCKS + block) * POINTS * ROW_OF_VALUES;
        for (int j = 0; j < POINTS; j++)
            PRODUCTS(used, sums + j * MOST_TILES * BLOCK, packed + j * row_of_weights, values + j * ROW_OF_VALUES, IC,
                     KD, TILES);
    }

    for (int v = 0; v * LANES < channels; v++) {
        real bias[LANES], lanes[LANES], pixels[MH * LINE * LANES], lines[MH * LINE * LANES];
        const int c = first_channel + v * LANES;
        const int lanes_used = channels - v * LANES < LANES ? channels - v * LANES : LANES;
        UNROLLED for (int lane = 0; lane < LANES; lane++)
            bias[lane] = has_bias && lane < lanes_used ? load(b, b_start + ((index64)g * OC + c + lane) * b_c) : 0;
        const vector biases = load_private(bias);
        const vector zeros = has_products
            ? transform_products(pixels, products + v * LANES, (index64)TILES * BLOCK, used, biases)
            : transform_sums(pixels, sums + v * LANES, MOST_TILES * BLOCK, used, biases);
        store_vector(lanes, zeros);

        /* From the channels of an output in a vector to the outputs of a channel in a line. */
        for (int i = 0; i < MH; i++)
            for (int j = 0; j < used * MW; j += LANES) {
                vector square[LANES];
                UNROLLED for (int p = 0; p < LANES; p++) square[p] = load_private(pixels + (i * LINE + j + p) * LANES);
                TRANSPOSE(square, LANES);
                UNROLLED for (int lane = 0; lane < LANES; lane++) store_vector(lines + (lane * MH + i) * LINE + j, square[lane]);
            }

        const tile_grid grid = grid_of(OD, OH, OW, DH, DW);
        tile_place at = tile_at(&grid, first);
        for (int t = 0; t < used;) {
            const int count = tiles_of_row(&grid, &at, used - t);
            const int row = first_row(&grid, &at), ow = first_column(&grid, &at);
            const int rows_left = outputs_from(row, OH, grid.DH), left = outputs_from(ow, OW, grid.DW);
            const int rows = rows_left < MH ? rows_left : MH, length = left < count * MW ? left : count * MW;
            for (int r = 0; r < lanes_used * rows; r++) {
                const int lane = r / rows, i = r % rows, oh = row + i * grid.DH;
                real *line = lines + (lane * MH + i) * LINE + t * MW;
                for (int k = 0; k < length && lanes[lane] != 0; k++) {
                    if (line[k] * 0 == 0) continue;
                    line[k] = sum_by_the_rule(
                        x, w, bias[lane], IC, KD, DD, DH, DW, ID, IH, IW, padding_mode, at.od - PD, oh - PH,
                        ow + k * grid.DW - PW,
                        x_start + at.n * x_n + g * x_g, x_c, x_d, x_h, x_w,
                        w_start + g * w_g + (c + lane) * w_n, w_c, w_d, w_h, w_w);
                }
                FINISH_RUN(line, length, (index64)g * OC + c + lane,
                           residual_start + at.n * residual_n + g * residual_g + (c + lane) * residual_c
                           + at.od * residual_d + oh * residual_h + ow * residual_w, grid.DW * residual_w);
                store_run(y, y_start + at.n * y_n + g * y_g + (c + lane) * y_c + at.od * y_d + oh * y_h + ow * y_w,
                          grid.DW * y_w, line, length);
            }
            t += count;
            skip_tiles(&grid, &at, count);
        }
    }
}
