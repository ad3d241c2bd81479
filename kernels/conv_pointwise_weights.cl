/* The gradient of a convolution's weights where a window is one tap that reads no padding, for processors: in the letters
 * of conv.cl,
 *
 *     dw[g, oc, ic] = sum over n, o of dy[n, g, oc, o] * x[n, g, ic, o*S]
 *
 * a matrix product of two factors whose terms lie side by side. Of one of them, v, a work-item turns a piece of the terms
 * into private memory, COLUMNS vectors of channels for each; the other one, f, is read where it lies, by tiles of ROWS
 * channels one after another: one number for COLUMNS products. So the nearest cache holds what all tiles of a work-item read,
 * which takes it from memory once, and nothing is summed across lanes. Which of x and dy is v is the plan's choice: dw[g, f, v]
 * has their walks.
 */
#if defined(COLUMNS) && COLUMNS == 4
#define LONGEST_PIECE 96
#else
#define LONGEST_PIECE 128
#endif
#include "weights.h"

/* Tiles of a work-item, at most. */
#define LARGEST_SHARE 32

/* So many elements come from memory, and are asked for ahead. */
#define FAR_DATA (1 << 20)

/* Turns `count` neighbouring places of the channels from column[c] on into vectors of channels. */
static inline void turn_places(
    vector *turned, global const element *v, const index64 *column, const index64 first, const int count,
    const index64 v_c, const index64 v_w)
{
    for (int c = 0; c < COLUMNS; c++) {
        const index64 place = column[c] + first;
        int t = 0;
        while (v_w == 1 && v_c != 1 && count >= LANES && t < count) { /* in squares; the last one ends where the places do */
            const int start = t + LANES <= count ? t : count - LANES;
            vector square[LANES];
            UNROLLED for (int i = 0; i < LANES; i++) square[i] = load_lanes(v, place + i * v_c + start);
            TRANSPOSE(square, LANES);
            UNROLLED for (int i = 0; i < LANES; i++) turned[(start + i) * COLUMNS + c] = square[i];
            t = start + LANES;
        }
        for (; t < count; t++) turned[t * COLUMNS + c] = lanes_at(v, place + t * v_w, v_c);
    }
}

/* total[r, c] += f[channel r, t] * value[t, c] over all terms, or = for the first ones; into the rows at `out` instead, if
 * there are any. A stretch of terms lies evenly in f. What IS_FAR is asked for while the tile before is computed. Apart, for a
 * function of its own has registers for its addresses. */
#define DEFINE_PRODUCTS(NAME, IS_FAR) \
    APART void NAME( \
        vector *total, const vector *value, global const element *f, const index64 *channel, \
        const index64 *start, const int *length, const int stretches, const index64 f_w, const int is_first, \
        global real *out, const index64 dw_n) \
    { \
        vector sum[TILE]; \
        UNROLLED for (int i = 0; i < TILE; i++) sum[i] = splat(0); \
        for (int k = 0; k < stretches; k++) { \
            global const element *row[ROWS]; \
            UNROLLED for (int r = 0; r < ROWS; r++) row[r] = f + channel[r] + start[k]; \
            index64 o = 0; \
            int i = 0; \
            do { \
                vector here[COLUMNS]; \
                UNROLLED for (int c = 0; c < COLUMNS; c++) here[c] = value[c]; \
                value += COLUMNS; \
                if (IS_FAR && i % LANES == 0) { \
                    UNROLLED for (int r = 0; r < ROWS; r++) FETCH_AHEAD(f, channel[ROWS + r] + start[k] + o); \
                } \
                UNROLLED for (int r = 0; r < ROWS; r++) { \
                    const real factor = load(row[r], o); \
                    UNROLLED for (int c = 0; c < COLUMNS; c++) sum[r * COLUMNS + c] += here[c] * factor; \
                } \
                o += f_w; \
            } while (++i < length[k]); \
        } \
        if (!is_first) { \
            UNROLLED for (int i = 0; i < TILE; i++) sum[i] += total[i]; \
        } \
        if (out) { \
            UNROLLED for (int r = 0; r < ROWS; r++) \
                UNROLLED for (int c = 0; c < COLUMNS; c++) store_global(out + r * dw_n + c * LANES, sum[r * COLUMNS + c]); \
        } else { \
            UNROLLED for (int i = 0; i < TILE; i++) total[i] = sum[i]; \
        } \
    }

DEFINE_PRODUCTS(add_products, 0)
DEFINE_PRODUCTS(add_far_products, 1)

/* One work-item computes SHARE tiles of the same columns, over its part of the terms. */
kernel void conv_pointwise_weights(
    WORK_ITEM
    global const element *v, global const element *f, global real *dw,
    const index64 N, const int G, const int VC, const int FC, const int OD, const int OH, const int OW,
    const int SHARE, const int PARTS, GROUPED_VIEW(v), GROUPED_VIEW(f), GROUPED_VIEW(dw))
{
    const int VECTORS = (VC + LANES - 1) / LANES, BLOCKS = (VECTORS + COLUMNS - 1) / COLUMNS;
    const int TILES = (FC + ROWS - 1) / ROWS, SHARES = (TILES + SHARE - 1) / SHARE;
    index64 item = WORK_ITEM_INDEX;
    if (item >= (index64)PARTS * G * SHARES * BLOCKS) return;
    const int first_vector = item % BLOCKS * COLUMNS; item /= BLOCKS;
    const int first_tile = item % SHARES * SHARE; item /= SHARES;
    const index64 g = item % G;
    const index64 part = item / G;
    const int tiles = TILES - first_tile < SHARE ? TILES - first_tile : SHARE;
    const int vectors = VECTORS - first_vector < COLUMNS ? VECTORS - first_vector : COLUMNS;

    /* The last vector ends where the channels do; beyond the last one, and the last channel of f, that one again. */
    int first_channel[COLUMNS];
    index64 column[COLUMNS], channel[(LARGEST_SHARE + 1) * ROWS];
    for (int c = 0; c < COLUMNS; c++) {
        const int wanted = (first_vector + c) * LANES;
        first_channel[c] = wanted + LANES <= VC ? wanted : VC - LANES;
        column[c] = v_start + g * v_g + first_channel[c] * v_c;
    }
    for (int k = 0; k < tiles * ROWS; k++) {
        const int fc = first_tile * ROWS + k;
        channel[k] = f_start + g * f_g + (fc < FC ? fc : FC - 1) * f_c;
    }
    const int is_far = FC * N * OD * OH * OW >= FAR_DATA;
    for (int r = 0; r < ROWS; r++) channel[tiles * ROWS + r] = channel[r] + LONGEST_PIECE * f_w; /* in a long row, the next piece */
    const int is_whole = dw_c == 1 && (first_vector + COLUMNS) * LANES <= VC;
    dw += dw_start + part * G * FC * VC + g * dw_g + (index64)first_tile * ROWS * dw_n;

    const index64 rows = N * OD * OH;
    const index64 pieces = pieces_of(rows, OW);
    const index64 first_piece = pieces * part / PARTS, last_piece = pieces * (part + 1) / PARTS;
    vector total[LARGEST_SHARE * TILE];
    index64 piece = first_piece;
    do {
        const piece_of_terms terms = piece_at(piece, rows, OW);
        const int count = terms.end - terms.begin;
        vector turned[LONGEST_PIECE * COLUMNS];
        index64 start[LONGEST_PIECE];
        int length[LONGEST_PIECE], stretches = 0;
        output_row at = row_at(terms.first_row, OD, OH);
        for (index64 row = terms.first_row; row < terms.last_row; row++, to_next_row(&at, OD, OH)) {
            turn_places(turned + (row - terms.first_row) * count * COLUMNS, v, column,
                        at.n * v_n + at.od * v_d + at.oh * v_h + terms.begin * v_w, count, v_c, v_w);
            const index64 o = at.n * f_n + at.od * f_d + at.oh * f_h + terms.begin * f_w;
            const int last = stretches - 1;
            if (stretches > 0 && start[last] + length[last] * f_w == o) {
                length[last] += count;
            } else {
                start[stretches] = o;
                length[stretches++] = count;
            }
        }
        for (int tile = 0; tile < tiles; tile++) {
            const int is_stored = is_whole && piece + 1 == last_piece && (first_tile + tile + 1) * ROWS <= FC;
            global real *out = is_stored ? dw + first_channel[0] + (index64)tile * ROWS * dw_n : 0;
#define ADD(name) \
    name(total + tile * TILE, turned, f, channel + tile * ROWS, start, length, stretches, f_w, piece == first_piece, out, dw_n)
            if (is_far) ADD(add_far_products);
            else ADD(add_products);
        }
    } while (++piece < last_piece);

    const int left = FC - first_tile * ROWS < tiles * ROWS ? FC - first_tile * ROWS : tiles * ROWS;
    for (int k = is_whole ? left / ROWS * ROWS : 0; k < left; k++)
        for (int c = 0; c < vectors; c++) {
            real value[LANES];
            store_vector(value, total[k * COLUMNS + c]);
            for (int lane = (first_vector + c) * LANES - first_channel[c]; lane < LANES; lane++)
                dw[k * dw_n + (first_channel[c] + lane) * dw_c] = value[lane];
        }
}
