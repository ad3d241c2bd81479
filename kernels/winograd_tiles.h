/* Winograd's tiles: where they lie, and how they are read and transformed.
 *
 * transform_tiles makes values[g, tile / TILES, j, kd, channel / STEP, tile % TILES, channel % STEP], with STEP of LANES
 * places used, of the data; or, where OF_GRADIENT is defined, of the gradient of the outputs. LANES numbers lie between
 * one j and the next, lest all be kept in the same set of a cache. Tiles follow each other across the ends of rows,
 * planes and samples.
 */
#ifndef CLCONV_WINOGRAD_TILES_H
#define CLCONV_WINOGRAD_TILES_H

#include "convolution.h"
#include "winograd.h"

/* What is transformed of a tile. */
#ifdef OF_GRADIENT
#define HEIGHT MH
#define WIDTH MW
#define TRANSFORMED transformed_gradient
#else
#define HEIGHT AH
#define WIDTH AW
#define TRANSFORMED transformed_data
#endif

/* Tiles side by side that are read together, at most. */
#if VECTOR_BYTES == 64
#define MOST_TILES 14
#else
#define MOST_TILES 6
#endif

/* Positions that a row of tiles reads, and room for a vector's beyond. */
#define COLUMNS (MOST_TILES * MW + KW - 1)

/* `count` elements from `at` on, `step` apart; the lanes beyond repeat the last of them. */
static inline vector some_lanes_at(global const element *x, const index64 at, const index64 step, const int count)
{
    if (step == 1 && count == LANES) return load_vector(x + at);
    real lane[LANES];
    for (int i = 0; i < LANES; i++) lane[i] = load(x, at + (i < count ? i : count - 1) * step);
    return load_private(lane);
}

/* The positions of a row from `first` on, each a vector of neighbouring channels; those from `reach` on are read by no
 * output. */
static inline void load_positions(
    real *line, global const element *x, const index64 source, const int channels, const int first, const int count,
    const int reach, const int IW, const int padding_mode, const index64 limit,
    const index64 x_c, const index64 x_h, const index64 x_w)
{
    for (int p = 0; p < count;) {
        const int iw = first + p;
        if (iw >= 0 && iw < IW && source + iw + (channels - 1) * x_c + LANES - 1 <= limit) {
            vector square[LANES];
            UNROLLED for (int lane = 0; lane < LANES; lane++) {
                const index64 at = source + (lane < channels ? lane : channels - 1) * x_c + iw;
                FETCH_AHEAD(x, at + 3 * x_h);
                square[lane] = load_vector(x + at);
            }
            TRANSPOSE(square, LANES);
            UNROLLED for (int i = 0; i < LANES; i++) store_vector(line + (p + i) * LANES, square[i]);
            p += IW - iw < LANES ? IW - iw : LANES;
        } else {
            const int position = p < reach ? source_of(iw, IW, padding_mode) : -1;
            store_vector(line + p * LANES,
                         position < 0 ? splat(0) : some_lanes_at(x, source + position * x_w, x_c, channels));
            p++;
        }
    }
}

/* A tile, counted through all rows, planes and samples, and what follows a few of its row. */
typedef struct {
    index64 n;
    int od, th, tw;
} tile_place;

static inline tile_place tile_at(const index64 tile, const int OD, const int OH, const int OW)
{
    const int TH = (OH + MH - 1) / MH, TW = (OW + MW - 1) / MW;
    tile_place at;
    at.tw = tile % TW;
    at.th = tile / TW % TH;
    at.od = tile / TW / TH % OD;
    at.n = tile / TW / TH / OD;
    return at;
}

static inline void skip_tiles(tile_place *at, const int count, const int OD, const int OH, const int OW)
{
    const int TH = (OH + MH - 1) / MH, TW = (OW + MW - 1) / MW;
    at->tw += count;
    if (at->tw < TW) return;
    at->tw = 0;
    if (++at->th < TH) return;
    at->th = 0;
    if (++at->od < OD) return;
    at->od = 0;
    at->n++;
}

/* How many of the next `wanted` tiles lie in the same row, MOST_TILES at most. */
static inline int tiles_of_row(const tile_place *at, const int wanted, const int OW)
{
    const int rest = (OW + MW - 1) / MW - at->tw;
    const int count = wanted < MOST_TILES ? wanted : MOST_TILES;
    return rest < count ? rest : count;
}

/* One work-item transforms a vector of STEP channels of TILES tiles, those beyond END as zeros, in the plane that one of
 * KD taps along depth reads. */
static inline void transform_tiles(
    index64 item, global const element *x, global real *values, const int G, const index64 C, const int STEP, const int KD,
    const int OD, const int OH, const int OW, const index64 N,
    const int ID, const int IH, const int IW, const int PD, const int PH, const int PW, const int padding_mode,
    const index64 BEGIN, const index64 END, const int TILES, GROUPED_VIEW(x))
{
    const index64 BLOCKS = (END - BEGIN + TILES - 1) / TILES;
    const index64 INNER = (C + STEP - 1) / STEP;
    if (item >= G * BLOCKS * KD * INNER) return;
    const index64 inner = item % INNER; item /= INNER;
    const int kd = item % KD; item /= KD;
    const index64 block = item % BLOCKS;
    const int g = item / BLOCKS;
    const int channels = C - inner * STEP < STEP ? C - inner * STEP : STEP;
    const index64 row = KD * INNER * TILES * LANES + LANES;
    global real *target = values + (g * BLOCKS + block) * POINTS * row + (kd * INNER + inner) * TILES * LANES;

    /* The last element, up to which neighbours may be read; none where elements of a row are no neighbours. */
    const int in_order = x_w == 1 && x_n >= 0 && x_g >= 0 && x_c >= 0 && x_d >= 0 && x_h >= 0;
    const index64 last = x_start + (N - 1) * x_n + (G - 1) * x_g + (C - 1) * x_c + (ID - 1) * x_d + (IH - 1) * x_h
                       + IW - 1;
    const index64 limit = in_order ? last : -((index64)1 << 62);

    const index64 first = BEGIN + block * TILES;
    const int used = END - first < TILES ? END - first : TILES;
    tile_place at = tile_at(first, OD, OH, OW);
    int tile = 0;
    while (tile < used) {
        const int count = tiles_of_row(&at, used - tile, OW);
        const int columns = (count - 1) * MW + WIDTH;
        real line[(AH * COLUMNS + LANES) * LANES];
        const int id = source_of(at.od + kd - PD, ID, padding_mode);
        UNROLLED for (int i = 0; i < HEIGHT; i++) {
            const int oh = at.th * MH + i;
            const int ih = oh < OH + HEIGHT - MH ? source_of(oh - PH, IH, padding_mode) : -1;
            if (id < 0 || ih < 0) {
                for (int p = 0; p < columns; p++) store_vector(line + (i * COLUMNS + p) * LANES, splat(0));
            } else {
                load_positions(
                    line + i * COLUMNS * LANES, x,
                    x_start + at.n * x_n + g * x_g + inner * STEP * x_c + id * x_d + ih * x_h, channels,
                    at.tw * MW - PW, columns, OW + WIDTH - MW - at.tw * MW, IW, padding_mode, limit, x_c, x_h, x_w);
            }
        }
#if KH == 3
        for (int p = 0; p < columns; p++) {
            vector d[HEIGHT], v[AH];
            UNROLLED for (int i = 0; i < HEIGHT; i++) d[i] = load_private(line + (i * COLUMNS + p) * LANES);
            TRANSFORMED(v, 1, d, 1);
            UNROLLED for (int i = 0; i < AH; i++) store_vector(line + (i * COLUMNS + p) * LANES, v[i]);
        }
#endif
        for (int t = 0; t < count; t++)
            UNROLLED for (int i = 0; i < AH; i++) {
                vector d[WIDTH], v[AW];
                UNROLLED for (int j = 0; j < WIDTH; j++) d[j] = load_private(line + (i * COLUMNS + t * MW + j) * LANES);
#if KW == 3
                TRANSFORMED(v, 1, d, 1);
#else
                v[0] = d[0];
#endif
                UNROLLED for (int j = 0; j < AW; j++) store_global(target + (i * AW + j) * row + (tile + t) * LANES, v[j]);
            }
        tile += count;
        skip_tiles(&at, count, OD, OH, OW);
    }
    for (; tile < TILES; tile++)
        for (int j = 0; j < POINTS; j++) store_global(target + j * row + tile * LANES, splat(0));
}

#endif
