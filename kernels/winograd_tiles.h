/* Winograd's tiles: where they lie, and how they are read and transformed.
 *
 * transform_tiles makes values[g, tile / TILES, j, kd, channel / STEP, tile % TILES, channel % STEP], with STEP of LANES
 * places used, of the data; or, where OF_GRADIENT is defined, of the gradient of the outputs. LANES numbers lie between
 * one j and the next, lest all be kept in the same set of a cache.
 *
 * Taps DH and DW apart join outputs that lie as far apart: those of each phase, which begin with the same of the first D
 * outputs, are a convolution of their own. A tile has M outputs of a phase. Tiles follow each other across the ends of
 * phases, rows, planes and samples.
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

/* The positions of a row from `first` on, D apart, each a vector of neighbouring channels; those from `reach` on, which no
 * output reads, are zeros or anything. Where few of a vector would be of use, single elements are read. */
static inline void load_positions(
    real *line, global const element *x, const index64 source, const int channels, const int first, const int D,
    const int count, const int reach, const int IW, const int padding_mode, const index64 limit,
    const index64 x_c, const index64 x_h, const index64 x_w)
{
    for (int p = 0; p < count;) {
        const int iw = p < reach ? first + p * D : -1; /* int may not hold what lies beyond, if D is large */
        if (iw >= 0 && iw < IW && (D == 1 || D * 4 <= LANES) && source + iw + (channels - 1) * x_c + LANES - 1 <= limit) {
            vector square[LANES];
            UNROLLED for (int lane = 0; lane < LANES; lane++) {
                const index64 at = source + (lane < channels ? lane : channels - 1) * x_c + iw;
                FETCH_AHEAD(x, at + 3 * x_h);
                square[lane] = load_vector(x + at);
            }
            TRANSPOSE(square, LANES);
            const int loaded = IW - iw < LANES ? IW - iw : LANES;
            if (D == 1)
                UNROLLED for (int i = 0; i < LANES; i++) store_vector(line + (p + i) * LANES, square[i]);
            else
                for (int i = 0; i * D < loaded; i++) store_vector(line + (p + i) * LANES, square[i * D]);
            p += (loaded + D - 1) / D;
        } else {
            const int position = p < reach ? source_of(iw, IW, padding_mode) : -1;
            store_vector(line + p * LANES,
                         position < 0 ? splat(0) : some_lanes_at(x, source + position * x_w, x_c, channels));
            p++;
        }
    }
}

/* How the outputs of a plane are cut: their extents and the distances of their phases, and the tiles of a phase and of all
 * phases along each axis. */
typedef struct {
    int OD, OH, OW, DH, DW;
    int of_phase_h, of_phase_w, TH, TW;
} tile_grid;

/* How many outputs, D apart, there are from `first` on. */
static inline int outputs_from(const int first, const int O, const int D) { return (O - first + D - 1) / D; }

static inline tile_grid grid_of(const int OD, const int OH, const int OW, const int DH, const int DW)
{
    tile_grid grid;
    grid.OD = OD;
    grid.OH = OH;
    grid.OW = OW;
    grid.DH = KH == 3 ? DH : 1;
    grid.DW = KW == 3 ? DW : 1;
    grid.of_phase_h = (outputs_from(0, OH, grid.DH) + MH - 1) / MH;
    grid.of_phase_w = (outputs_from(0, OW, grid.DW) + MW - 1) / MW;
    grid.TH = grid.of_phase_h * (grid.DH < OH ? grid.DH : OH);
    grid.TW = grid.of_phase_w * (grid.DW < OW ? grid.DW : OW);
    return grid;
}

/* A tile, counted through all phases, rows, planes and samples, and what follows a few of its row. */
typedef struct {
    index64 n;
    int od, th, tw;
} tile_place;

static inline tile_place tile_at(const tile_grid *grid, const index64 tile)
{
    tile_place at;
    at.tw = tile % grid->TW;
    at.th = tile / grid->TW % grid->TH;
    at.od = tile / grid->TW / grid->TH % grid->OD;
    at.n = tile / grid->TW / grid->TH / grid->OD;
    return at;
}

static inline void skip_tiles(const tile_grid *grid, tile_place *at, const int count)
{
    at->tw += count;
    if (at->tw < grid->TW) return;
    at->tw = 0;
    if (++at->th < grid->TH) return;
    at->th = 0;
    if (++at->od < grid->OD) return;
    at->od = 0;
    at->n++;
}

/* The first output of a tile along height and width. */
static inline int first_row(const tile_grid *grid, const tile_place *at)
{
    return at->th / grid->of_phase_h + at->th % grid->of_phase_h * MH * grid->DH;
}

static inline int first_column(const tile_grid *grid, const tile_place *at)
{
    return at->tw / grid->of_phase_w + at->tw % grid->of_phase_w * MW * grid->DW;
}

/* How many of the next `wanted` tiles lie in the same row and phase, MOST_TILES at most. */
static inline int tiles_of_row(const tile_grid *grid, const tile_place *at, const int wanted)
{
    const int rest = grid->of_phase_w - at->tw % grid->of_phase_w;
    const int count = wanted < MOST_TILES ? wanted : MOST_TILES;
    return rest < count ? rest : count;
}

/* One work-item transforms a vector of STEP channels of TILES tiles, those beyond END as zeros, in the plane that one of
 * KD taps along depth reads. */
static inline void transform_tiles(
    index64 item, global const element *x, global real *values, const int G, const index64 C, const int STEP, const int KD,
    const int OD, const int OH, const int OW, const index64 N, const int DD, const int DH, const int DW,
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
    const index64 point = KD * INNER * TILES * LANES + LANES;
    global real *target = values + (g * BLOCKS + block) * POINTS * point + (kd * INNER + inner) * TILES * LANES;

    /* The last element, up to which neighbours may be read; none where elements of a row are no neighbours. */
    const int in_order = x_w == 1 && x_n >= 0 && x_g >= 0 && x_c >= 0 && x_d >= 0 && x_h >= 0;
    const index64 last = x_start + (N - 1) * x_n + (G - 1) * x_g + (C - 1) * x_c + (ID - 1) * x_d + (IH - 1) * x_h
                       + IW - 1;
    const index64 limit = in_order ? last : -((index64)1 << 62);

    const index64 first = BEGIN + block * TILES;
    const int used = END - first < TILES ? END - first : TILES;
    const tile_grid grid = grid_of(OD, OH, OW, DH, DW);
    tile_place at = tile_at(&grid, first);
    int tile = 0;
    while (tile < used) {
        const int count = tiles_of_row(&grid, &at, used - tile);
        const int columns = (count - 1) * MW + WIDTH;
        real line[(AH * COLUMNS + LANES) * LANES];
        const int id = source_of(at.od + kd * DD - PD, ID, padding_mode);
        const int row = first_row(&grid, &at), column = first_column(&grid, &at);
        const int rows = outputs_from(row, OH, grid.DH) + HEIGHT - MH;
        UNROLLED for (int i = 0; i < HEIGHT; i++) {
            const int ih = i < rows ? source_of(row + i * grid.DH - PH, IH, padding_mode) : -1;
            if (id < 0 || ih < 0) {
                for (int p = 0; p < columns; p++) store_vector(line + (i * COLUMNS + p) * LANES, splat(0));
            } else {
                load_positions(
                    line + i * COLUMNS * LANES, x,
                    x_start + at.n * x_n + g * x_g + inner * STEP * x_c + id * x_d + ih * x_h, channels,
                    column - PW, grid.DW, columns, outputs_from(column, OW, grid.DW) + WIDTH - MW, IW, padding_mode, limit,
                    x_c, grid.DH * x_h, x_w);
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
                UNROLLED for (int j = 0; j < AW; j++) store_global(target + (i * AW + j) * point + (tile + t) * LANES, v[j]);
            }
        tile += count;
        skip_tiles(&grid, &at, count);
    }
    for (; tile < TILES; tile++)
        for (int j = 0; j < POINTS; j++) store_global(target + j * point + tile * LANES, splat(0));
}

#endif
