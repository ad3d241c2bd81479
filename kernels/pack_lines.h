/* Where conv_direct.cl lays out weights, and how it packs taps that lie close together. The file that includes it defines
 * VECTORS and BLOCK.
 */
#ifndef CLCONV_PACK_LINES_H
#define CLCONV_PACK_LINES_H

#include "vector.h"

/* Elements within which the taps of a channel may lie to be packed by lines. */
#define LONGEST_LINE 64

static inline index64 distance(const index64 stride) { return stride < 0 ? -stride : stride; }

/* Where tap k of an input channel lies, in blocks: the taps of a channel side by side, or the channels of a tap. Where the
 * taps are in several parts, `places` says behind how many taps of other parts, among how many, behind how many it lies. */
static inline index64 place_of(
    global const int *places, const int is_parted, const int channels_inner, const index64 blocks, const index64 block,
    const index64 IC, const int window, const index64 ic, const int k)
{
    index64 before = 0, taps = window, tap = k;
    if (is_parted) {
        before = places[3 * k];
        taps = places[3 * k + 1];
        tap = places[3 * k + 2];
    }
    return (before * blocks + block * taps) * IC + (channels_inner ? tap * IC + ic : ic * taps + tap);
}

/* The taps of an input channel for the `channels` of a block, where those taps lie among `span` elements: these are read as
 * a line for each output channel, zeros beyond the last, turned in registers, and the taps taken out of them. The lines of
 * the last channels would end beyond the last tap, and are read from where they do not; their columns are set one by one. */
static inline void pack_lines(
    global real *packed, global const int *places, const int is_parted, const int channels_inner,
    const index64 blocks, const index64 block, const index64 IC, const index64 ic, const int channels,
    global const element *w, const index64 line, const index64 span, const index64 first_tap,
    const int KD, const int KH, const int KW, const index64 w_n, const index64 w_d, const index64 w_h, const index64 w_w)
{
    real columns[LONGEST_LINE * BLOCK];
    const index64 last = line + (channels - 1) * w_n + span - LANES;
    for (int v = 0; v < VECTORS; v++) {
        const int lanes = channels - v * LANES < LANES ? channels - v * LANES : LANES;
        for (int column = 0; column < span; column += LANES) {
            const index64 first = line + v * LANES * w_n + column;
            vector square[LANES];
            UNROLLED for (int lane = 0; lane < LANES; lane++) {
                const index64 at = first + lane * w_n;
                square[lane] = lane < lanes ? load_lanes(w, at < last ? at : last) : splat(0);
            }
            TRANSPOSE(square, LANES);
            real *corner = columns + column * BLOCK + v * LANES;
            UNROLLED for (int i = 0; i < LANES; i++) store_vector(corner + i * BLOCK, square[i]);
            for (int lane = lanes - 1; lane >= 0 && first + lane * w_n > last; lane--)
                for (int i = 0; i < LANES && column + i < span; i++)
                    corner[i * BLOCK + lane] = load(w, first + lane * w_n + i);
        }
    }
    const int window = KD * KH * KW;
    for (int k = 0; k < window; k++) {
        const index64 tap = first_tap + k / KW / KH * w_d + k / KW % KH * w_h + k % KW * w_w;
        global real *target
            = packed + place_of(places, is_parted, channels_inner, blocks, block, IC, window, ic, k) * BLOCK;
        UNROLLED for (int v = 0; v < VECTORS; v++)
            store_global(target + v * LANES, load_private(columns + tap * BLOCK + v * LANES));
    }
}

#endif
