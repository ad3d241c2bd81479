/* Convolution in vectors of output channels, for processors. The three passes are one sum
 *
 *     y[n, g, oc, o] = b[g, oc] + sum over ic, k of w[g, oc, ic, k] * x[n, g, ic, source(o*S - P + k*D)]
 *
 * and which axes of which arrays play these parts is a matter of strides. In the gradient of the data at stride 1, dy plays
 * x, and the input and output channels of a rotated w trade places. In the gradient of the weights, dy plays w, batch and
 * channels trade places, and so do S and D.
 *
 * pack_weights lays the weights out with BLOCK = VECTORS vectors of output channels side by side; or each work-item of
 * conv_direct does so with what it uses, PIECE input channels at a time, where outputs are few. copy_input or
 * copy_channels_last, in conv_copy.cl, has copied x with its padding; where there is none, x is mostly read as it is. A
 * work-item keeps TILE outputs times BLOCK channels in registers, as many as there are: each weight vector is loaded once
 * for TILE products, each value of x once for VECTORS. The outputs of a tile are any that follow each other, across the
 * ends of rows, planes and samples: no extent leaves tiles half empty.
 *
 * As in conv.cl, zero padding contributes no product: an infinite weight over it is no NaN. Here it contributes zeros, whose
 * products with weights that are finite add nothing. A tile with a sum that is not finite is computed again by the rule.
 */
#include "convolution.h"
#include "epilogue.h"
#include "vector.h"

#ifndef VECTORS
#define VECTORS 1 /* of channels */
#endif
#define BLOCK (VECTORS * LANES)

/* Outputs in a tile: with the weights and a value of x, VECTORS * TILE sums fit into 32 registers of 64 bytes or 16 narrower
 * ones. Some compilers load all values before the first product, so that in wide registers there is room for most of these. */
#ifndef TILE
#define TILE 12
#endif

/* Tiles of a work-item, at most. */
#define LONGEST_RUN 20

#if TILE > 8
#define COLUMNS 16 /* the next power of two */
#else
#define COLUMNS 8
#endif

#include "pack_weights.h"

/* packed[g, oc / BLOCK, ic, k, oc % BLOCK] = w[g, oc, ic, k], or packed[g, oc / BLOCK, k, ic, oc % BLOCK] with channels
 * inner, and 0 beyond the last output channel: one work-item lays out RUN taps of all the channels of a block. Work-items
 * that follow each other read what lies side by side. Where the taps are in several parts, as in a strided gradient of the
 * data, each part is laid out like weights of its own. */
kernel void pack_weights(
    WORK_ITEM
    global const element *w, global real *packed, global const int *places, const int is_parted, const int CHANNELS_INNER,
    const int G, const int OC, const index64 IC, const int KD, const int KH, const int KW, const int RUN, GROUPED_VIEW(w))
{
    const index64 BLOCKS = (OC + BLOCK - 1) / BLOCK;
    const index64 taps = IC * KD * KH * KW;
    const index64 RUNS = (taps + RUN - 1) / RUN;
    index64 item = WORK_ITEM_INDEX;
    if (item >= G * BLOCKS * RUNS) return;
    const index64 g = item / (BLOCKS * RUNS);
    item %= BLOCKS * RUNS;
    const index64 block = w_n == 1 ? item % BLOCKS : item / RUNS;
    const index64 first = (w_n == 1 ? item / BLOCKS : item % RUNS) * RUN;
    const index64 last = first + RUN < taps ? first + RUN : taps;
    const int channels = OC - block * BLOCK < BLOCK ? OC - block * BLOCK : BLOCK;
    pack_taps(
        packed, places, is_parted, CHANNELS_INNER, G * BLOCKS, g * BLOCKS + block, IC, first, last, channels,
        w, w_start + g * w_g + block * BLOCK * w_n, KD, KH, KW, w_n, w_c, w_d, w_h, w_w);
}

/* Adds the sums of a single output, without the products of zero padding: taps outside [0, I) contribute none. */
APART void add_sums_by_the_rule(
    vector *result, global const real *x, global const real *packed,
    const index64 first, const index64 last, const int channels_inner, const index64 inner,
    const int KD, const int KH, const int KW, const int ID, const int IH, const int IW,
    const int DD, const int DH, const int DW, const int id, const int ih, const int iw,
    const index64 x_c, const index64 x_d, const index64 x_h, const index64 x_w)
{
    for (index64 row = first; row < last; row++, packed += inner * BLOCK) {
        const index64 plane = channels_inner ? row / KW : row;
        const int kh = plane % KH, kd = plane / KH % KD;
        const int h = ih + kh * DH, d = id + kd * DD;
        if (d < 0 || d >= ID || h < 0 || h >= IH) continue;
        for (index64 i = 0; i < inner; i++) {
            const int kw = channels_inner ? row % KW : i;
            const index64 ic = channels_inner ? i : plane / KH / KD;
            const int w = iw + kw * DW;
            if (w < 0 || w >= IW) continue;
            const real value = x[ic * x_c + kd * DD * x_d + kh * DH * x_h + kw * DW * x_w];
            UNROLLED for (int v = 0; v < VECTORS; v++) result[v] += load_vector(packed + i * BLOCK + v * LANES) * value;
        }
    }
}

/* Where the sums are: a tap along the inner axis of a row, the row's column and line, and the tap's place in x. */
typedef struct {
    index64 row, inner, place;
    int column, line;
} place_in_sums;

/* Terms that all tiles of a run sum up before the next ones, so that their weights stay in the nearest cache. Their places
 * in x are listed once for all tiles: rows of few taps would be loops of few turns. */
#define TERMS (TERMS_PER_PART / VECTORS)

/* Lays out a piece of the weights from a channel on, and returns how many channels it has. */
#define LAY_OUT_PIECE(channel) \
    pack_piece( \
        pieces, w, w_first + (channel) * w_c, IC - (channel) < PIECE ? IC - (channel) : PIECE, channels, \
        KD, KH, KW, w_n, w_c, w_d, w_h, w_w)

#define STEP(axis) \
    from += from_step[axis]; \
    to += to_step[axis]; \
    added += added_step[axis];

/* One work-item computes RUN tiles. It sums along an inner axis, which is the channels of a tap or a row of taps, and over
 * the rows that the other axes make; all tiles sum some terms of that before the next ones. Where y is cut into PARTS, these
 * are its share of the rows. Where weights are not packed, all taps of PIECE channels are laid out in `pieces`, and summed
 * before the next ones. */
kernel void conv_direct(
    WORK_ITEM
    global const real *x, global const real *packed, global const element *w, global real *pieces, global const element *b,
    EPILOGUE_ARRAYS, global element *y, global real *part,
    const index64 N, const int G, const int OC, const index64 IC,
    const int OD, const int OH, const int OW, const int KD, const int KH, const int KW,
    const int SD, const int SH, const int SW, const int DD, const int DH, const int DW,
    const int ID, const int IH, const int IW, const int PD, const int PH, const int PW, const int zero_padding,
    const int PARTS, const int RUN, const int BLOCKS_FIRST, const int CHANNELS_INNER,
    const int PIECE, const index64 packed_start, GROUPED_VIEW(x), GROUPED_VIEW(w), GROUPED_VIEW(y),
    const index64 b_start, const index64 b_c, const int has_bias, EPILOGUE, GROUPED_VIEW(residual))
{
    const index64 BLOCKS = (OC + BLOCK - 1) / BLOCK;
    const index64 outputs = N * OD * OH * OW;
    const index64 RUNS = (outputs + RUN * TILE - 1) / (RUN * TILE);
    index64 item = WORK_ITEM_INDEX;
    if (item >= PARTS * G * BLOCKS * RUNS) return;
    const index64 pair = item % (BLOCKS * RUNS); item /= BLOCKS * RUNS;
    const index64 first_channel = (BLOCKS_FIRST ? pair % BLOCKS : pair / RUNS) * BLOCK;
    index64 q = (BLOCKS_FIRST ? pair / BLOCKS : pair % RUNS) * RUN * TILE;
    const index64 last_output = q + RUN * TILE < outputs ? q + RUN * TILE : outputs;
    const index64 g = item % G;
    const index64 slice = item / G;
    index64 inner = CHANNELS_INNER ? IC : KW;
    const index64 inner_step = CHANNELS_INNER ? x_c : DW * x_w;
    const int columns = CHANNELS_INNER ? KW : KH, lines = CHANNELS_INNER ? KH : KD; /* within the axes around it */
    const index64 column_step = CHANNELS_INNER ? DW * x_w : DH * x_h, line_step = CHANNELS_INNER ? DH * x_h : DD * x_d;
    const index64 plane_step = CHANNELS_INNER ? DD * x_d : x_c;
    const index64 rows = (CHANNELS_INNER ? KD : IC) * columns * lines;
    const index64 first_row = rows * slice / PARTS;
    const index64 last_row = rows * (slice + 1) / PARTS;
    const int channels = OC - first_channel < BLOCK ? OC - first_channel : BLOCK;
    const int is_plain = !(has_scale | has_shift | has_residual | (activation != NO_ACTIVATION));
    /* From the end of an axis to the next column, and what is added to that at the ends of columns and lines. */
    index64 next_column = column_step - inner * inner_step;
    const index64 next_line = line_step - columns * column_step, next_plane = plane_step - lines * line_step;
    const index64 w_first = w_start + g * w_g + first_channel * w_n;
    if (PIECE) {
        pieces += WORK_ITEM_INDEX * PIECE * rows * BLOCK;
        packed = pieces;
    } else {
        packed += packed_start + ((g * BLOCKS + first_channel / BLOCK) * rows + first_row) * inner * BLOCK;
    }
    x += x_start + g * x_g;
    const index64 y_first = y_start + g * y_g + first_channel * y_c;
    const index64 residual_first = residual_start + g * residual_g + first_channel * residual_c;

    real bias[BLOCK];
    for (int lane = 0; lane < BLOCK; lane++)
        bias[lane] = has_bias && lane < channels ? load(b, b_start + (g * OC + first_channel + lane) * b_c) : 0;

    /* Where an output's values lie, and where it and its residual do; and the steps to the next output, and from behind
     * the last one of a row, plane or sample to the first one of the next. */
    int ow = q % OW;
    int oh = q / OW % OH;
    int od = q / OW / OH % OD;
    const index64 n = q / OW / OH / OD;
    index64 from = n * x_n + od * SD * x_d + oh * SH * x_h + ow * SW * x_w;
    index64 to = n * y_n + od * y_d + oh * y_h + ow * y_w;
    index64 added = n * residual_n + od * residual_d + oh * residual_h + ow * residual_w;
    const index64 from_step[] = {x_w * SW, x_h * SH - x_w * SW * OW, x_d * SD - x_h * SH * OH, x_n - x_d * SD * OD};
    const index64 to_step[] = {y_w, y_h - OW * y_w, y_d - OH * y_h, y_n - OD * y_d};
    const index64 added_step[]
        = {residual_w, residual_h - OW * residual_w, residual_d - OH * residual_h, residual_n - OD * residual_d};
    index64 source[LONGEST_RUN * TILE], target[LONGEST_RUN * TILE], addend[LONGEST_RUN * TILE];
    for (int i = 0; i < RUN * TILE; i++) {
        source[i] = from;
        target[i] = to;
        addend[i] = added;
        if (q + i + 1 >= outputs) continue; /* beyond the last output, that one again */
        STEP(0)
        if (++ow < OW) continue;
        ow = 0;
        STEP(1)
        if (++oh < OH) continue;
        oh = 0;
        STEP(2)
        if (++od < OD) continue;
        od = 0;
        STEP(3)
    }
    const int tiles = (last_output - q + TILE - 1) / TILE;

    vector total[LONGEST_RUN * VECTORS * TILE];
    for (int i = 0; i < tiles * TILE; i++)
        UNROLLED for (int v = 0; v < VECTORS; v++) total[i * VECTORS + v] = load_private(bias + v * LANES);
    place_in_sums begin;
    begin.row = first_row;
    begin.inner = 0;
    begin.column = first_row % columns;
    begin.line = first_row / columns % lines;
    begin.place
        = begin.column * column_step + begin.line * line_step + first_row / columns / lines * plane_step;
    place_in_sums at = begin;
    index64 channel = 0; /* the first one of the piece */
    do {
        if (PIECE) {
            inner = LAY_OUT_PIECE(channel);
            next_column = column_step - inner * inner_step;
            at = begin;
            at.place += channel * x_c;
            channel += inner;
        }
        global const real *taps = packed;
        while (at.row < last_row) {
            index64 places[TERMS];
            int terms = 0;
            while (terms < TERMS && at.row < last_row) {
                const int count = inner - at.inner < TERMS - terms ? inner - at.inner : TERMS - terms;
                for (int i = 0; i < count; i++) places[terms + i] = at.place + i * inner_step;
                terms += count;
                at.place += count * inner_step;
                at.inner += count;
                if (at.inner < inner) continue;
                at.inner = 0;
                at.row++;
                at.place += next_column;
                if (++at.column < columns) continue;
                at.column = 0;
                at.place += next_line;
                if (++at.line < lines) continue;
                at.line = 0;
                at.place += next_plane;
            }
            for (int tile = 0; tile < tiles; tile++) {
                global const real *origin[TILE];
                UNROLLED for (int t = 0; t < TILE; t++) origin[t] = x + source[tile * TILE + t];
                vector sum[VECTORS * TILE];
                UNROLLED for (int i = 0; i < VECTORS * TILE; i++) sum[i] = splat(0);
                global const real *tap = taps;
                for (int i = 0; i < terms; i++, tap += BLOCK) {
                    const index64 place = places[i];
                    vector weight[VECTORS];
                    UNROLLED for (int v = 0; v < VECTORS; v++) weight[v] = load_vector(tap + v * LANES);
                    UNROLLED for (int t = 0; t < TILE; t++) {
                        const real value = origin[t][place];
                        UNROLLED for (int v = 0; v < VECTORS; v++) sum[t * VECTORS + v] += weight[v] * value;
                    }
                }
                vector *sums = total + tile * VECTORS * TILE;
                UNROLLED for (int i = 0; i < VECTORS * TILE; i++) sums[i] += sum[i];
            }
            taps += terms * BLOCK;
        }
    } while (PIECE && channel < IC);

    for (int tile = 0; tile < tiles; tile++, q += TILE) {
        const int count = last_output - q < TILE ? last_output - q : TILE;
        vector *sums = total + tile * VECTORS * TILE;
        const index64 *sources = source + tile * TILE, *targets = target + tile * TILE, *addends = addend + tile * TILE;
        int is_run = count == TILE;
        for (int t = 1; t < TILE; t++) is_run &= targets[t] == targets[0] + t;
        if (zero_padding && has_nonfinite(sums, VECTORS * TILE)) {
            for (int t = 0; t < count; t++)
                UNROLLED for (int v = 0; v < VECTORS; v++) sums[t * VECTORS + v] = load_private(bias + v * LANES);
            channel = 0;
            do {
                if (PIECE) inner = LAY_OUT_PIECE(channel);
                for (int t = 0; t < count; t++) {
                    index64 output = q + t;
                    const int iw = output % OW * SW - PW; output /= OW;
                    const int ih = output % OH * SH - PH; output /= OH;
                    const int id = output % OD * SD - PD;
                    add_sums_by_the_rule(
                        sums + t * VECTORS, x + sources[t] + channel * x_c, packed, first_row, last_row, CHANNELS_INNER,
                        inner, KD, KH, KW, ID, IH, IW, DD, DH, DW, id, ih, iw, x_c, x_d, x_h, x_w);
                }
                channel += inner;
            } while (PIECE && channel < IC);
        }

        /* From the channels of an output in a vector to the outputs of a channel in a row. */
        real value[BLOCK * COLUMNS];
        UNROLLED for (int v = 0; v < VECTORS; v++) {
            vector column[COLUMNS];
            UNROLLED for (int t = 0; t < COLUMNS; t++) column[t] = t < TILE ? sums[t * VECTORS + v] : splat(0);
            TRANSPOSE(column, COLUMNS);
            UNROLLED for (int i = 0; i < COLUMNS; i++) store_vector(value + (v * COLUMNS + i) * LANES, column[i]);
        }
        if (PARTS > 1) {
            global real *share = part + (slice * G * OC + g * OC + first_channel) * outputs + q;
            for (int lane = 0; lane < channels; lane++)
                for (int t = 0; t < count; t++) share[lane * outputs + t] = value[lane * COLUMNS + t];
        } else {
            if (!is_plain) {
                int has_even_residual = 1;
                for (int t = 1; t < TILE; t++) has_even_residual &= addends[t] == addends[0] + t * residual_w;
                for (int lane = 0; lane < channels; lane++) {
                    const index64 oc = g * OC + first_channel + lane;
                    const index64 residual_row = residual_first + lane * residual_c;
                    real *run = value + lane * COLUMNS;
                    if (has_even_residual) {
                        FINISH_RUN(run, TILE, oc, residual_row + addends[0], residual_w);
                    } else {
                        for (int t = 0; t < count; t++) run[t] = FINISHED(run[t], oc, residual_row + addends[t]);
                    }
                }
            }
            if (is_run) {
                for (int lane = 0; lane < channels; lane++)
                    UNROLLED for (int t = 0; t < TILE; t++)
                        store(y, y_first + lane * y_c + targets[0] + t, value[lane * COLUMNS + t]);
            } else if (count == TILE) {
                for (int lane = 0; lane < channels; lane++)
                    UNROLLED for (int t = 0; t < TILE; t++)
                        store(y, y_first + lane * y_c + targets[t], value[lane * COLUMNS + t]);
            } else {
                for (int lane = 0; lane < channels; lane++)
                    for (int t = 0; t < count; t++)
                        store(y, y_first + lane * y_c + targets[t], value[lane * COLUMNS + t]);
            }
        }
    }
}
