/* The gradient of a 3x3 convolution's weights by Winograd's short convolutions, for processors: stride 1,
 *
 *     dw[g, oc, ic, k] = sum over n, o of dy[n, g, oc, o] * x[n, g, ic, source(o - P + k*D)]
 *
 * Tiles of 4x4 outputs and the 6x6 positions that they read give 3x3 taps by 36 products in place of 144 (winograd.h);
 * and what the products of all tiles have in common is transformed once, after they are summed.
 *
 * Of the data, transform_data of conv_winograd.cl makes data[g, tile / TILES, j, ic / LANES, tile % TILES, ic % LANES],
 * and transform_gradient makes gradient[g, tile / TILES, j, oc / ROWS, tile % TILES, oc % ROWS]. multiply_transformed
 * keeps ROWS output channels times VECTORS vectors of input channels in registers, sums the products of TILES tiles for
 * one j after the other, and adds these sums, which keeps the error from growing with the tiles. Tiles are cut into stages,
 * each of which adds to the result of those before it, and a stage into parts with a result each (sums.cl).
 *
 * A number that is not finite spoils its whole tile, and zero padding contributes no product (see conv.cl): a sum that
 * is not finite is computed again by the rule.
 */
#define OF_GRADIENT
#include "winograd_tiles.h"

#define VECTORS 2
#define BLOCK (VECTORS * LANES)

/* Gradients are asked for so many tiles ahead: processors do not notice that single numbers of every line are read. */
#define AHEAD 16

/* Output channels of a work-item, at most: see winograd_products.h. */
#if VECTOR_BYTES == 64
#define MOST_ROWS 14
#else
#define MOST_ROWS 6
#endif

/* Vectors that are turned into rows of taps together: a power of two. */
#define SQUARE 16

/* One work-item transforms a vector of ROWS output channels of TILES tiles, those beyond END as zeros. */
kernel void transform_gradient(
    WORK_ITEM
    global const element *dy, global real *values,
    const int G, const index64 OC, const int OD, const int OH, const int OW, const index64 N, const int DH, const int DW,
    const index64 BEGIN, const index64 END, const int TILES, const int ROWS, GROUPED_VIEW(dy))
{
    transform_tiles(
        WORK_ITEM_INDEX, dy, values, G, OC, ROWS, 1, OD, OH, OW, N, 1, DH, DW, OD, OH, OW, 0, 0, 0, PADDING_ZEROS, BEGIN, END,
        TILES, dy_start, dy_g, dy_n, dy_c, dy_d, dy_h, dy_w);
}

/* sums[r, ic] (+)= sum over TILES tiles of gradient[t, r] * data[ic / LANES, t, ic % LANES], for COUNT rows; `next` is
 * the distance of a vector of channels to the next. */
#define DEFINE_PRODUCTS(NAME, COUNT) \
    APART void NAME( \
        real *sums, global const real *data, global const real *gradient, const int TILES, const index64 next, \
        const int is_first) \
    { \
        vector sum[(COUNT) * VECTORS]; \
        UNROLLED for (int i = 0; i < (COUNT) * VECTORS; i++) sum[i] = splat(0); \
        for (int t = 0; t < TILES; t++, data += LANES, gradient += LANES) { \
            vector value[VECTORS]; \
            UNROLLED for (int v = 0; v < VECTORS; v++) value[v] = load_vector(data + v * next); \
            FETCH_AHEAD(gradient, AHEAD * LANES); \
            UNROLLED for (int r = 0; r < (COUNT); r++) { \
                const real factor = gradient[r]; \
                UNROLLED for (int v = 0; v < VECTORS; v++) sum[r * VECTORS + v] += value[v] * factor; \
            } \
        } \
        UNROLLED for (int i = 0; i < (COUNT) * VECTORS; i++) \
            store_vector(sums + i * LANES, is_first ? sum[i] : load_private(sums + i * LANES) + sum[i]); \
    }

#include "winograd_products.h"

/* The gradient of the nine taps from a vector of sums for each j, which lie MOST_ROWS * BLOCK apart. */
static inline void transform_sums(vector *taps, const real *sums)
{
    vector partly[KH * AW];
    UNROLLED for (int j = 0; j < AW; j++) {
        vector sum[AH];
        UNROLLED for (int i = 0; i < AH; i++) sum[i] = load_private(sums + (i * AW + j) * MOST_ROWS * BLOCK);
        gradient_of_taps(partly + j, AW, sum, 1);
    }
    UNROLLED for (int i = 0; i < KH; i++) gradient_of_taps(taps + i * KW, 1, partly + i * AW, 1);
}

/* The sum of one tap and channel over the tiles from `first` to `end`: (pd, ph, pw) is the position that the tap reads
 * for the first output. TILES tiles are summed before their sums are added. */
APART real sum_by_the_rule(
    global const element *x, global const element *dy, const index64 first, const index64 end, const int TILES,
    const tile_grid *grid, const int ID, const int IH, const int IW, const int padding_mode,
    const int pd, const int ph, const int pw,
    const index64 x_n, const index64 x_d, const index64 x_h, const index64 x_w,
    const index64 dy_n, const index64 dy_d, const index64 dy_h, const index64 dy_w)
{
    tile_place at = tile_at(grid, first);
    real total = 0;
    for (index64 tile = first; tile < end;) {
        real sum = 0;
        for (int t = 0; t < TILES && tile < end; t++, tile++, skip_tiles(grid, &at, 1)) {
            const int id = source_of(pd + at.od, ID, padding_mode);
            for (int i = 0; i < MH * MW && id >= 0; i++) {
                const int oh = first_row(grid, &at) + i / MW * grid->DH, ow = first_column(grid, &at) + i % MW * grid->DW;
                if (oh >= grid->OH || ow >= grid->OW) continue;
                const int ih = source_of(ph + oh, IH, padding_mode), iw = source_of(pw + ow, IW, padding_mode);
                if (ih < 0 || iw < 0) continue;
                sum += load(dy, at.n * dy_n + at.od * dy_d + oh * dy_h + ow * dy_w)
                       * load(x, at.n * x_n + id * x_d + ih * x_h + iw * x_w);
            }
        }
        total += sum;
    }
    return total;
}

/* One work-item computes ROWS output times BLOCK input channels, for a tap along depth, over its share of the blocks of
 * tiles. */
kernel void multiply_transformed(
    WORK_ITEM
    global const element *x, global const element *dy, global const real *data, global const real *gradient,
    global real *dw,
    const int G, const int OC, const index64 IC, const int KD, const int OD, const int OH, const int OW,
    const int DD, const int DH, const int DW,
    const int ID, const int IH, const int IW, const int PD, const int PH, const int PW, const int padding_mode,
    const index64 BEGIN, const index64 END, const int TILES, const int ROWS, const int PARTS,
    GROUPED_VIEW(x), GROUPED_VIEW(dy), GROUPED_VIEW(dw))
{
    const index64 BLOCKS = (END - BEGIN + TILES - 1) / TILES;
    const index64 INNER = (IC + LANES - 1) / LANES, PAIRS = (INNER + VECTORS - 1) / VECTORS;
    const int OUTER = (OC + ROWS - 1) / ROWS;
    index64 item = WORK_ITEM_INDEX;
    if (item >= (index64)PARTS * G * KD * OUTER * PAIRS) return;
    const int outer = item % OUTER; item /= OUTER;
    const index64 inner = item % PAIRS * VECTORS; item /= PAIRS;
    const int kd = item % KD; item /= KD;
    const index64 g = item % G;
    const index64 part = item / G;
    const int first_oc = outer * ROWS, rows = OC - first_oc < ROWS ? OC - first_oc : ROWS;
    const index64 first_ic = inner * LANES;
    const int channels = IC - first_ic < BLOCK ? IC - first_ic : BLOCK;
    const index64 first_block = BLOCKS * part / PARTS, end_block = BLOCKS * (part + 1) / PARTS;

    const index64 row_of_data = KD * INNER * TILES * LANES + LANES;
    const index64 row_of_gradient = (index64)OUTER * TILES * LANES + LANES;
    const index64 next = channels > LANES ? TILES * LANES : 0; /* beyond the last vector, that one again */
    real sums[POINTS * MOST_ROWS * BLOCK];
    for (index64 block = first_block; block < end_block; block++)
        for (int j = 0; j < POINTS; j++) {
            const index64 row = (g * BLOCKS + block) * POINTS + j;
            PRODUCTS(rows, sums + j * MOST_ROWS * BLOCK, data + row * row_of_data + (kd * INNER + inner) * TILES * LANES,
                     gradient + row * row_of_gradient + (index64)outer * TILES * LANES, TILES, next, block == first_block);
        }

    x += x_start + g * x_g + first_ic * x_c;
    dy += dy_start + g * dy_g + first_oc * dy_c;
    dw += dw_start + part * G * OC * IC * KD * TAPS + g * dw_g + first_oc * dw_n + first_ic * dw_c + kd * dw_d;
    const tile_grid grid = grid_of(OD, OH, OW, DH, DW);
    const int side_by_side = dw_c == TAPS && dw_h == KW && dw_w == 1;
    const index64 first_tile = BEGIN + first_block * TILES;
    const index64 end_tile = BEGIN + end_block * TILES < END ? BEGIN + end_block * TILES : END;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v * LANES < channels; v++) {
            const int lanes = channels - v * LANES < LANES ? channels - v * LANES : LANES;
            vector square[SQUARE];
            real taps[SQUARE * LANES];
            UNROLLED for (int k = TAPS; k < SQUARE; k++) square[k] = splat(0);
            transform_sums(square, sums + r * BLOCK + v * LANES);
            const int by_the_rule = has_nonfinite(square, TAPS);
            TRANSPOSE(square, SQUARE);
            UNROLLED for (int i = 0; i < SQUARE; i++) store_vector(taps + i * LANES, square[i]);
            for (int i = 0; i < SQUARE * lanes && by_the_rule; i++) {
                const int c = v * LANES + i / SQUARE, k = i % SQUARE;
                if (taps[i] * 0 == 0 || k >= TAPS) continue;
                taps[i] = sum_by_the_rule(
                    x + c * x_c, dy + r * dy_c, first_tile, end_tile, TILES, &grid, ID, IH, IW, padding_mode,
                    kd * DD - PD, k / KW * DH - PH, k % KW * DW - PW, x_n, x_d, x_h, x_w, dy_n, dy_d, dy_h, dy_w);
            }
            /* Side by side, what is beyond a channel's taps is overwritten by the next channel's. */
            global real *target = dw + r * dw_n + v * LANES * dw_c;
            const int whole = side_by_side ? (lanes * TAPS - SQUARE + TAPS) / TAPS : 0;
            if (BEGIN > 0) {
                for (int i = 0; i < whole * SQUARE; i += LANES)
                    store_vector(taps + i,
                                 load_private(taps + i) + load_vector(target + i / SQUARE * TAPS + i % SQUARE));
                for (int lane = whole; lane < lanes; lane++)
                    for (int k = 0; k < TAPS; k++)
                        taps[lane * SQUARE + k] += target[lane * dw_c + k / KW * dw_h + k % KW * dw_w];
            }
            for (int i = 0; i < whole * SQUARE; i += LANES)
                store_global(target + i / SQUARE * TAPS + i % SQUARE, load_private(taps + i));
            for (int lane = whole; lane < lanes; lane++)
                for (int k = 0; k < TAPS; k++)
                    target[lane * dw_c + k / KW * dw_h + k % KW * dw_w] = taps[lane * SQUARE + k];
        }
}
