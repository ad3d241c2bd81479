/* The gradient of a convolution's weights in vectors of input channels, for processors: in the letters of conv.cl,
 *
 *     dw[g, oc, ic, k] = sum over n, o of dy[n, g, oc, o] * x[n, g, ic, source(o*S - P + k*D)]
 *
 * pack_channels copies x with its padding, BLOCK channels side by side at each position:
 *
 *     packed[n, g, ic / BLOCK, p, ic % BLOCK] = x[n, g, ic, source(p - P)]       p for all three axes
 *
 * So what all taps of a row of the window read, KW * BLOCK neighbouring numbers where they are not dilated, is a few
 * vectors, full even where a group has few channels. Each is a column of the result: it lies at a constant distance from
 * the place of the output whose gradient multiplies it. A work-item keeps ROWS output channels times COLUMNS columns in
 * registers; dy is read where it lies, one number for COLUMNS products, and nothing is summed across lanes.
 *
 * Zero padding contributes no product, as in conv.cl: a sum that is not finite is computed again by that rule.
 */
#include "weights.h"

/* Tiles side by side that share what they read of dy, at most. */
#define LONGEST_RUN 8

/* Columns that are turned into rows together: a power of two. */
#define SQUARE 16

/* Where a lane without a sum is stored: no distance between two elements. */
#define NOWHERE (-0x7fffffffffffffff)

/* Copies places [begin, end) of a row, each with BLOCK channels of which `channels` are there. */
static inline void pack_places(
    global const element *x, global real *row, const int begin, const int end, const int BLOCK, const int channels,
    const index64 source, const index64 x_c, const index64 x_w, const int IW, const int PW, const int padding_mode)
{
    for (int p = begin; p < end; p++) {
        const int iw = source_of(p - PW, IW, padding_mode);
        global real *place = row + (index64)p * BLOCK;
        for (int c = 0; c < BLOCK; c++) place[c] = iw < 0 || c >= channels ? 0 : load(x, source + c * x_c + iw * x_w);
    }
}

/* One work-item copies a row of positions; the one after the last clears what vectors read beyond the end. */
kernel void pack_channels(
    WORK_ITEM
    global const element *x, global real *packed,
    const index64 N, const int G, const index64 IC, const int BLOCK,
    const int ID, const int IH, const int IW, const int ED, const int EH, const int EW,
    const int PD, const int PH, const int PW, const int padding_mode, GROUPED_VIEW(x))
{
    const index64 BLOCKS = (IC + BLOCK - 1) / BLOCK;
    const index64 rows = N * G * BLOCKS * ED * EH;
    index64 item = WORK_ITEM_INDEX;
    if (item > rows) return;
    global real *row = packed + item * EW * BLOCK;
    if (item == rows) {
        store_global(row, splat(0));
        return;
    }
    const int ih = source_of(item % EH - PH, IH, padding_mode); item /= EH;
    const int id = source_of(item % ED - PD, ID, padding_mode); item /= ED;
    if (id < 0 || ih < 0) {
        for (index64 i = 0; i < (index64)EW * BLOCK; i++) row[i] = 0;
        return;
    }
    const index64 first = item % BLOCKS * BLOCK; item /= BLOCKS;
    const int channels = IC - first < BLOCK ? IC - first : BLOCK;
    const index64 plane = x_start + item % G * x_g + item / G * x_n + first * x_c + id * x_d;
    const index64 source = plane + ih * x_h;

    const int begin = PW > 0 ? (PW < EW ? PW : EW) : 0;
    int p = begin;
#if ELEMENT != 16
    /* Places that read no padding are copied in squares of a vector's length, each turned. Rows that follow each other are
     * one long row; the last square in memory begins so far before its end. A vector spills into places that are written
     * after it, if BLOCK is shorter. */
    const index64 before = x_h == IW * x_w ? (index64)ih * IW : 0;
    const index64 length = x_h == IW * x_w ? (index64)IH * IW : IW;
    const int end = (PW + IW < EW ? PW + IW : EW) - ((LANES + BLOCK - 1) / BLOCK - 1);
    if (channels == BLOCK && x_w == 1 && length >= LANES) {
        while (p < end) {
            const index64 wanted = before + p - PW;
            const index64 start = wanted + LANES <= length ? wanted : length - LANES;
            const int shift = wanted - start;
            const int count = end - p < LANES - shift ? end - p : LANES - shift;
            for (int c = 0; c < BLOCK; c += LANES) {
                const int low = c + LANES <= BLOCK || BLOCK < LANES ? c : BLOCK - LANES;
                vector square[LANES];
                UNROLLED for (int i = 0; i < LANES; i++)
                    square[i] = load_vector(x + source - before + start + (i < BLOCK ? low + i : 0) * x_c);
                TRANSPOSE(square, LANES);
                global real *target = row + (index64)(p - shift) * BLOCK + low;
                UNROLLED for (int i = 0; i < LANES; i++)
                    if (i >= shift && i < shift + count) store_global(target + i * BLOCK, square[i]);
            }
            p += count;
        }
    }
#endif
    pack_places(x, row, 0, begin, BLOCK, channels, source, x_c, x_w, IW, PW, padding_mode);
    pack_places(x, row, p, EW, BLOCK, channels, source, x_c, x_w, IW, PW, padding_mode);
}

/* The sum of one tap and channel without the products of zero padding: (pd, ph, pw) is the position that the tap reads
 * for the first output. */
APART real sum_by_the_rule(
    global const element *dy, global const real *x, const index64 first_piece, const index64 last_piece, const index64 N,
    const int OD, const int OH, const int OW, const int SD, const int SH, const int SW,
    const int ID, const int IH, const int IW, const int pd, const int ph, const int pw,
    const index64 x_n, const index64 x_d, const index64 x_h, const index64 x_w,
    const index64 dy_n, const index64 dy_d, const index64 dy_h, const index64 dy_w)
{
    real sum = 0;
    for (index64 piece = first_piece; piece < last_piece; piece++) {
        const piece_of_terms terms = piece_at(piece, N * OD * OH, OW);
        output_row at = row_at(terms.first_row, OD, OH);
        for (index64 row = terms.first_row; row < terms.last_row; row++, to_next_row(&at, OD, OH)) {
            const int d = pd + at.od * SD, h = ph + at.oh * SH;
            if (d < 0 || d >= ID || h < 0 || h >= IH) continue;
            for (int ow = terms.begin; ow < terms.end; ow++) {
                const int w = pw + ow * SW;
                if (w < 0 || w >= IW) continue;
                sum += load(dy, at.n * dy_n + at.od * dy_d + at.oh * dy_h + ow * dy_w)
                       * x[at.n * x_n + at.od * x_d + at.oh * x_h + ow * x_w];
            }
        }
    }
    return sum;
}

/* sum[r, c] += dy[channel r, o] * x[place + column c], over `count` neighbouring outputs. There is one at least: around
 * loops that may have no round, Intel's compiler keeps the sums in memory, too, and stores them in every round. */
static inline void add_products(
    vector *sum, global const real *x, global const element *dy, const index64 *column, const index64 *channel,
    index64 place, index64 o, const int count, const index64 output_w, const index64 dy_w)
{
    int i = 0;
    do {
        vector value[COLUMNS];
        UNROLLED for (int c = 0; c < COLUMNS; c++) value[c] = load_vector(x + column[c] + place);
        UNROLLED for (int r = 0; r < ROWS; r++) {
            const real factor = load(dy, channel[r] + o);
            UNROLLED for (int c = 0; c < COLUMNS; c++) sum[r * COLUMNS + c] += value[c] * factor;
        }
        place += output_w;
        o += dy_w;
    } while (++i < count);
}

/* A column of the tiles, a vector of a row of the window of a block of channels, and what follows it. */
typedef struct {
    index64 block;
    int kd, kh, v;
} column_place;

static inline column_place column_at(const index64 column, const int VECTORS, const int KH, const int KD)
{
    column_place at;
    at.v = column % VECTORS;
    at.kh = column / VECTORS % KH;
    at.kd = column / VECTORS / KH % KD;
    at.block = column / VECTORS / KH / KD;
    return at;
}

static inline void to_next_column(column_place *at, const int VECTORS, const int KH, const int KD)
{
    if (++at->v < VECTORS) return;
    at->v = 0;
    if (++at->kh < KH) return;
    at->kh = 0;
    if (++at->kd < KD) return;
    at->kd = 0;
    at->block++;
}

/* One work-item computes RUN tiles side by side, over its share of the pieces of the terms. */
kernel void conv_weights(
    WORK_ITEM
    global const real *x, global const element *dy, global real *dw,
    const index64 N, const int G, const int OC, const index64 IC,
    const int OD, const int OH, const int OW, const int KD, const int KH, const int KW,
    const int SD, const int SH, const int SW, const int DD, const int DH, const int DW,
    const int ID, const int IH, const int IW, const int PD, const int PH, const int PW, const int zero_padding,
    const int ED, const int EH, const int EW, const int BLOCK, const int RUN, const int PARTS,
    GROUPED_VIEW(dy), GROUPED_VIEW(dw))
{
    const index64 BLOCKS = (IC + BLOCK - 1) / BLOCK;
    const int VECTORS = DW == 1 ? (KW * BLOCK + LANES - 1) / LANES : KW; /* of a row of the window */
    const int spread = DW == 1 ? LANES : DW * BLOCK;                     /* from one to the next */
    const index64 columns = BLOCKS * KD * KH * VECTORS;
    const index64 RUNS = (columns + RUN * COLUMNS - 1) / (RUN * COLUMNS);
    const int TILES = (OC + ROWS - 1) / ROWS;
    index64 item = WORK_ITEM_INDEX;
    if (item >= (index64)PARTS * G * TILES * RUNS) return;
    const int first_channel = item % TILES * ROWS; item /= TILES;
    const index64 first_column = item % RUNS * (RUN * COLUMNS); item /= RUNS;
    const index64 g = item % G;
    const index64 slice = item / G;

    /* Steps through x from output to output, and from tap to tap. */
    const index64 x_h = (index64)EW * BLOCK, x_d = EH * x_h, x_block = ED * x_d, x_n = G * BLOCKS * x_block;
    const index64 output_d = SD * x_d, output_h = SH * x_h, output_w = SW * BLOCK;
    x += g * BLOCKS * x_block;
    index64 column[LONGEST_RUN * COLUMNS];
    column_place at_column = column_at(first_column, VECTORS, KH, KD);
    for (int c = 0; c < RUN * COLUMNS; c++) { /* beyond the last column, that one again */
        column[c] = at_column.block * x_block + at_column.kd * DD * x_d + at_column.kh * DH * x_h + at_column.v * spread;
        if (first_column + c + 1 < columns) to_next_column(&at_column, VECTORS, KH, KD);
    }
    index64 channel[ROWS];
    for (int r = 0; r < ROWS; r++)
        channel[r] = dy_start + g * dy_g + (first_channel + r < OC ? first_channel + r : OC - 1) * dy_c;

    const index64 rows = N * OD * OH;
    const index64 pieces = pieces_of(rows, OW);
    const index64 first_piece = pieces * slice / PARTS, last_piece = pieces * (slice + 1) / PARTS;
    vector total[LONGEST_RUN * TILE];
    index64 piece = first_piece;
    do {
        const piece_of_terms terms = piece_at(piece, rows, OW);
        for (int tile = 0; tile < RUN; tile++) {
            vector sum[TILE];
            UNROLLED for (int i = 0; i < TILE; i++) sum[i] = splat(0);
            output_row at = row_at(terms.first_row, OD, OH);
            index64 row = terms.first_row;
            while (row < terms.last_row) { /* the rows of a plane lie at equal distances */
                index64 place = at.n * x_n + at.od * output_d + at.oh * output_h + terms.begin * output_w;
                index64 o = at.n * dy_n + at.od * dy_d + at.oh * dy_h + terms.begin * dy_w;
                const index64 end = row + OH - at.oh < terms.last_row ? row + OH - at.oh : terms.last_row;
                do {
                    add_products(
                        sum, x, dy, column + tile * COLUMNS, channel, place, o, terms.end - terms.begin, output_w, dy_w);
                    place += output_h;
                    o += dy_h;
                } while (++row < end);
                at.oh = OH - 1;
                to_next_row(&at, OD, OH);
            }
            if (piece == first_piece) {
                UNROLLED for (int i = 0; i < TILE; i++) total[tile * TILE + i] = sum[i];
            } else {
                UNROLLED for (int i = 0; i < TILE; i++) total[tile * TILE + i] += sum[i];
            }
        }
    } while (++piece < last_piece);

    if (zero_padding && has_nonfinite(total, RUN * TILE)) {
        for (int c = 0; c < RUN * COLUMNS && first_column + c < columns; c++) {
            index64 k = (first_column + c) / VECTORS;
            const int v = (first_column + c) % VECTORS, kh = k % KH, kd = k / KH % KD;
            for (int r = 0; r < ROWS; r++) {
                vector *sums = total + c / COLUMNS * TILE + r * COLUMNS + c % COLUMNS;
                real value[LANES];
                store_vector(value, *sums);
                for (int lane = 0; lane < LANES; lane++) {
                    const int kw = DW == 1 ? (v * LANES + lane) / BLOCK : v;
                    if (value[lane] * 0 == 0 || kw >= KW) continue;
                    value[lane] = sum_by_the_rule(
                        dy + channel[r], x + column[c] + lane, first_piece, last_piece, N, OD, OH, OW, SD, SH, SW,
                        ID, IH, IW, kd * DD - PD, kh * DH - PH, kw * DW - PW,
                        x_n, output_d, output_h, output_w, dy_n, dy_d, dy_h, dy_w);
                }
                *sums = load_private(value);
            }
        }
    }

    const int channels = OC - first_channel < ROWS ? OC - first_channel : ROWS;
    dw += dw_start + slice * G * OC * IC * KD * KH * KW + g * dw_g + first_channel * dw_n;
    const int taps = KD * KH * KW;
    const index64 first_ic = first_column / (KD * KH * VECTORS) * BLOCK;
    if (RUN * COLUMNS == taps && taps <= SQUARE && VECTORS == KW && BLOCK == LANES && first_ic + LANES <= IC
        && dw_c == taps && (KW == 1 || dw_w == 1) && (KH == 1 || dw_h == KW) && (KD == 1 || dw_d == KH * KW)) {
        /* All taps of a block of channels lie side by side: of a square's columns, those that hold no tap are
         * overwritten by the next channel's. */
        for (int r = 0; r < channels; r++) {
            vector square[SQUARE];
            UNROLLED for (int c = 0; c < SQUARE; c++) square[c] = c < taps ? total[c / COLUMNS * TILE + r * COLUMNS + c % COLUMNS] : splat(0);
            TRANSPOSE(square, SQUARE);
            global real *target = dw + r * dw_n + first_ic * taps;
            real value[SQUARE * LANES];
            UNROLLED for (int i = 0; i < SQUARE; i++) store_vector(value + i * LANES, square[i]);
            int lane = 0;
            for (; lane * taps + SQUARE <= LANES * taps; lane++)
                for (int i = 0; i < SQUARE; i += LANES)
                    store_global(target + lane * taps + i, load_private(value + lane * SQUARE + i));
            for (; lane < LANES; lane++)
                for (int t = 0; t < taps; t++) target[lane * taps + t] = value[lane * SQUARE + t];
        }
        return;
    }
    at_column = column_at(first_column, VECTORS, KH, KD);
    for (int c = 0; c < RUN * COLUMNS && first_column + c < columns; c++, to_next_column(&at_column, VECTORS, KH, KD)) {
        const int v = at_column.v, kh = at_column.kh, kd = at_column.kd;
        const index64 ic = at_column.block * BLOCK;
        const vector *sums = total + c / COLUMNS * TILE + c % COLUMNS;
        global real *target = dw + ic * dw_c + kd * dw_d + kh * dw_h;
        if (dw_c == 1 && BLOCK == LANES && ic + LANES <= IC) {
            for (int r = 0; r < channels; r++) store_global(target + v * dw_w + r * dw_n, sums[r * COLUMNS]);
            continue;
        }
        index64 place[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            const int kw = DW == 1 ? (v * LANES + lane) / BLOCK : v;
            const int in_block = DW == 1 ? (v * LANES + lane) % BLOCK : lane;
            place[lane] = kw < KW && in_block < BLOCK && ic + in_block < IC ? in_block * dw_c + kw * dw_w : NOWHERE;
        }
        for (int r = 0; r < channels; r++) {
            real value[LANES];
            store_vector(value, sums[r * COLUMNS]);
            for (int lane = 0; lane < LANES; lane++)
                if (place[lane] != NOWHERE) target[r * dw_n + place[lane]] = value[lane];
        }
    }
}
