/* How conv_direct.cl lays out weights. The file that includes it defines VECTORS and BLOCK.
 */
#ifndef CLCONV_PACK_WEIGHTS_H
#define CLCONV_PACK_WEIGHTS_H

#include "vector.h"

/* Elements within which the taps of a channel may lie to be packed by lines. */
#define LONGEST_LINE 64

/* Input channels whose lines are asked for ahead: they lie too far apart for a processor to foresee. */
#define CHANNELS_AHEAD 4

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
    const int KD, const int KH, const int KW, const index64 w_n, const index64 w_c, const index64 w_d, const index64 w_h,
    const index64 w_w)
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
                FETCH_AHEAD(w, at + CHANNELS_AHEAD * w_c);
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

/* One more axis of taps: they follow each other at equal distances as long as it continues the axes before it. */
#define CONTINUE_BY(size, stride) \
    if ((size) != 1 && is_even) { \
        if (even == 1) step = (stride); \
        is_even = (stride) == even * step || even == 1; \
        if (is_even) even *= (size); \
    }

/* The taps from `first` to before `last`, of all input channels one after another, for the `channels` of a block, the first
 * of which begins at w_first. Taps that follow each other at equal distances in w are copied in one loop: in vectors where
 * channels are neighbours, turned in registers where taps are; and by lines where it is but the few taps of an input channel
 * that lie together, unless these lines would be too long. */
static inline void pack_taps(
    global real *packed, global const int *places, const int is_parted, const int channels_inner,
    const index64 blocks, const index64 block, const index64 IC, const index64 first, const index64 last,
    const int channels, global const element *w, const index64 w_first,
    const int KD, const int KH, const int KW, const index64 w_n, const index64 w_c, const index64 w_d, const index64 w_h,
    const index64 w_w)
{
    const int window = KD * KH * KW;
    index64 even = 1, step = 0;
    int is_even = 1;
    CONTINUE_BY(KW, w_w)
    CONTINUE_BY(KH, w_h)
    CONTINUE_BY(KD, w_d)
    CONTINUE_BY(IC, w_c)

    const index64 span = 1 + (KD - 1) * distance(w_d) + (KH - 1) * distance(w_h) + (KW - 1) * distance(w_w);
    if (w_n > 1 && (even < IC * window || is_parted) && first % window == 0 && last % window == 0
        && span <= LONGEST_LINE && (channels - 1) * w_n + span >= LANES) {
        const index64 first_tap = (w_d < 0 ? (1 - KD) * w_d : 0) + (w_h < 0 ? (1 - KH) * w_h : 0)
            + (w_w < 0 ? (1 - KW) * w_w : 0);
        for (index64 ic = first / window; ic < last / window; ic++)
            pack_lines(
                packed, places, is_parted, channels_inner, blocks, block, IC, ic, channels,
                w, w_first + ic * w_c - first_tap, span, first_tap, KD, KH, KW, w_n, w_c, w_d, w_h, w_w);
        return;
    }
    const int is_whole = channels == BLOCK;
    const int is_turned = is_whole && step == 1 && w_n != 1;
    for (index64 tap = first; tap < last;) {
        const index64 next = is_parted ? tap + 1 : tap - tap % even + even;
        const index64 end = next < last ? next : last;
        index64 ic = tap / window;
        int k = tap % window;
        index64 source = w_first + ic * w_c + k / KW / KH * w_d + k / KW % KH * w_h + k % KW * w_w;
        while (tap < end) {
            const int count = is_turned && tap + LANES <= end ? LANES : 1;
            index64 target[LANES];
            for (int i = 0; i < count; i++) {
                target[i] = place_of(places, is_parted, channels_inner, blocks, block, IC, window, ic, k) * BLOCK;
                if (++k < window) continue;
                k = 0;
                ic++;
            }
            UNROLLED for (int v = 0; v < VECTORS; v++) {
                const index64 line = source + v * LANES * w_n;
                if (count == LANES) {
                    vector square[LANES];
                    UNROLLED for (int lane = 0; lane < LANES; lane++) square[lane] = load_lanes(w, line + lane * w_n);
                    TRANSPOSE(square, LANES);
                    UNROLLED for (int i = 0; i < LANES; i++) store_global(packed + target[i] + v * LANES, square[i]);
                } else if (is_whole && w_n == 1) {
                    store_global(packed + target[0] + v * LANES, load_lanes(w, line));
                } else {
                    for (int lane = 0; lane < LANES; lane++)
                        packed[target[0] + v * LANES + lane]
                            = v * LANES + lane < channels ? load(w, line + lane * w_n) : 0;
                }
            }
            source += count * step;
            tap += count;
        }
    }
}

/* The taps of `count` input channels from w_first on, by themselves, with channels inner. Returns the count. Single taps
 * whose input or output channels are neighbours are most of these, and have loops of their own. Where input channels are,
 * the last output channel stands for those beyond it, whose sums nobody reads. */
APART index64 pack_piece(
    global real *packed, global const element *w, const index64 w_first, const index64 count, const int channels,
    const int KD, const int KH, const int KW, const index64 w_n, const index64 w_c, const index64 w_d, const index64 w_h,
    const index64 w_w)
{
    if (KD * KH * KW == 1 && w_n == 1 && channels == BLOCK) {
        index64 at = w_first;
        for (index64 i = 0; i < count; i++, at += w_c, packed += BLOCK)
            UNROLLED for (int v = 0; v < VECTORS; v++)
                store_global(packed + v * LANES, load_lanes(w, at + v * LANES));
        return count;
    }
    if (KD * KH * KW == 1 && w_c == 1 && count >= LANES) {
        for (index64 i = 0; i < count; i += LANES) {
            const index64 tap = i + LANES <= count ? i : count - LANES;
            UNROLLED for (int v = 0; v < VECTORS; v++) {
                vector square[LANES];
                index64 at = w_first + tap + (v * LANES < channels ? v * LANES : channels - 1) * w_n;
                UNROLLED for (int lane = 0; lane < LANES; lane++) {
                    square[lane] = load_lanes(w, at);
                    if (v * LANES + lane + 1 < channels) at += w_n;
                }
                TRANSPOSE(square, LANES);
                UNROLLED for (int k = 0; k < LANES; k++) store_global(packed + (tap + k) * BLOCK + v * LANES, square[k]);
            }
        }
        return count;
    }
    pack_taps(
        packed, 0, 0, 1, 1, 0, count, 0, count * KD * KH * KW, channels, w, w_first, KD, KH, KW, w_n, w_c, w_d, w_h, w_w);
    return count;
}

#endif
