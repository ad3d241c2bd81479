/* The gradient of a convolution's weights in vectors of neighbouring outputs, for processors and layers with few channels
 * in a group, such as depthwise ones: in the letters of conv.cl,
 *
 *     dw[g, oc, ic, k] = sum over n, o of dy[n, g, oc, o] * x[n, g, ic, source(o*S - P + k*D)]
 *
 * A work-item copies a piece of a plane of x after another to where it stays in cache: with its padding, positions with
 * one remainder by the strides side by side. Then each tap reads a row of neighbours for a row of dy, which is read where
 * it lies, its last vector with zeros beyond the end.
 *
 * Zero padding contributes no product, as in conv.cl, nor do those zeros: a sum that is not finite is computed again by
 * that rule.
 */
#include "convolution.h"
#include "vector.h"

/* Taps whose sums are in registers together, and those of a work-item at most. */
#define TAPS 9
#define MOST_TAPS 63

/* Reals of a piece, at most: see clconv/algorithms/conv_rows_weights.py. */
#define SCRATCH 8192

/* row[e] = a[at + e * step] for e of [0, count); of a row whose elements are neighbours, `readable` may be read, and what
 * row holds up to LANES beyond the end is overwritten. */
static inline void copy_row(
    global const element *a, real *row, const index64 at, const index64 step, const int count, const index64 readable)
{
    int e = 0;
    if (step == 1)
        for (; e < count && e + LANES <= readable; e += LANES) store_vector(row + e, load_lanes(a, at + e));
    for (; e < count; e++) row[e] = load(a, at + e * step);
}

/* Clears row[0] to row[count - 1], and up to LANES beyond. */
static inline void clear_row(real *row, const int count)
{
    for (int e = 0; e < count; e += LANES) store_vector(row + e, splat(0));
}

/* The `count` elements from `at` on, in the first lanes; the others are zero. */
static inline vector first_lanes(
    global const element *a, const index64 at, const index64 step, const int count, const index64 readable)
{
    if (step == 1 && readable >= LANES)
        return AS_VECTOR(AS_INTEGERS(load_lanes(a, at)) & (LANE_NUMBERS < count));
    real lane[LANES];
    for (int i = 0; i < LANES; i++) lane[i] = i < count ? load(a, at + i * step) : 0;
    return load_private(lane);
}

/* rows[eh, e] = x[source(eh*SH + ph), source(e*SW + pw)], where source() maps positions up to `last` to those of x that are
 * read; 0 in zero padding, and beyond. */
static inline void copy_phase(
    global const element *x, real *rows, const int EH, const int E, const int SH, const int SW, const int ph, const int pw,
    const int last_h, const int last_w, const int IH, const int IW, const int padding_mode,
    const index64 x_h, const index64 x_w)
{
    /* Places that read positions of [0, IW), the others lie before and after. */
    int begin = pw < 0 ? (-pw + SW - 1) / SW : 0;
    int end = pw < IW ? (IW - pw + SW - 1) / SW : 0;
    if (end > E) end = E;
    if (begin > end) begin = end;
    const int first = begin * SW + pw;
    for (int eh = 0; eh < EH; eh++) {
        real *row = rows + eh * E;
        const int p = eh * SH + ph;
        const int ih = p <= last_h ? source_of(p, IH, padding_mode) : -1;
        if (ih < 0) {
            clear_row(row, E);
            continue;
        }
        global const element *source = x + ih * x_h;
        const index64 readable = (x_h == IW ? (index64)(IH - ih) * IW : IW) - first;
        clear_row(row, begin);
        int e = begin, from = first;
#if ELEMENT != 16
        if (SW == 2 && x_w == 1)
            for (; e + LANES <= E && e < end && from - first + 2 * LANES <= readable; e += LANES, from += 2 * LANES)
                store_vector(
                    row + e, SHUFFLED(load_vector(source + from), load_vector(source + from + LANES), EVEN_LANES));
#endif
        if (e < end) copy_row(source, row + e, from * x_w, SW * x_w, end - e, readable - (from - first));
        clear_row(row + end, E - end);
        if (padding_mode == PADDING_ZEROS) continue;
        for (int i = 0; i < E && i * SW + pw <= last_w; i++)
            if (i < begin || i >= end) row[i] = load(source, source_of(i * SW + pw, IW, padding_mode) * x_w);
    }
}

/* One tap's sum without the products of zero padding: (pd, ph, pw) is the position that it reads for the first output.
 * Pieces are those of the work-item. */
APART real sum_by_the_rule(
    global const element *x, global const element *dy, const index64 first_piece, const index64 last_piece,
    const int BAND, const int CUT, const int OD, const int OH, const int OW, const int SD, const int SH, const int SW,
    const int ID, const int IH, const int IW, const int pd, const int ph, const int pw, const int padding_mode,
    const index64 x_n, const index64 x_d, const index64 x_h, const index64 x_w,
    const index64 dy_n, const index64 dy_d, const index64 dy_h, const index64 dy_w)
{
    const int BANDS = (OH + BAND - 1) / BAND, CUTS = (OW + CUT - 1) / CUT;
    real sum = 0;
    for (index64 piece = first_piece; piece < last_piece; piece++) {
        const int first_w = piece % CUTS * CUT, first_h = piece / CUTS % BANDS * BAND;
        const int od = piece / CUTS / BANDS % OD;
        const index64 n = piece / CUTS / BANDS / OD;
        const int id = source_of(pd + od * SD, ID, padding_mode);
        for (int oh = first_h; oh < OH && oh < first_h + BAND; oh++)
            for (int ow = first_w; ow < OW && ow < first_w + CUT; ow++) {
                const int ih = source_of(ph + oh * SH, IH, padding_mode), iw = source_of(pw + ow * SW, IW, padding_mode);
                if (id < 0 || ih < 0 || iw < 0) continue;
                sum += load(dy, n * dy_n + od * dy_d + oh * dy_h + ow * dy_w)
                       * load(x, n * x_n + id * x_d + ih * x_h + iw * x_w);
            }
    }
    return sum;
}

/* One work-item sums for at most MOST_TAPS taps of a plane of the window, over its share of the pieces: BAND rows by CUT
 * outputs of each. */
kernel void conv_rows_weights(
    WORK_ITEM
    global const element *x, global const element *dy, global real *dw,
    const index64 N, const int G, const int OC, const index64 IC,
    const int OD, const int OH, const int OW, const int KD, const int KH, const int KW,
    const int SD, const int SH, const int SW, const int DD, const int DH, const int DW,
    const int ID, const int IH, const int IW, const int PD, const int PH, const int PW, const int padding_mode,
    const int BAND, const int CUT, const int PARTS, GROUPED_VIEW(x), GROUPED_VIEW(dy), GROUPED_VIEW(dw))
{
    const int GROUPS = (KH * KW + MOST_TAPS - 1) / MOST_TAPS;
    index64 item = WORK_ITEM_INDEX;
    if (item >= (index64)PARTS * G * OC * IC * KD * GROUPS) return;
    const int first_tap = item % GROUPS * MOST_TAPS; item /= GROUPS;
    const int kd = item % KD; item /= KD;
    const index64 ic = item % IC; item /= IC;
    const int oc = item % OC; item /= OC;
    const index64 g = item % G;
    const index64 slice = item / G;
    const int taps = KH * KW - first_tap < MOST_TAPS ? KH * KW - first_tap : MOST_TAPS;
    x += x_start + g * x_g + ic * x_c;
    dy += dy_start + g * dy_g + oc * dy_c;

    const int BANDS = (OH + BAND - 1) / BAND, CUTS = (OW + CUT - 1) / CUT;
    const index64 pieces = N * OD * BANDS * CUTS;
    const index64 first_piece = pieces * slice / PARTS, last_piece = pieces * (slice + 1) / PARTS;
    /* Rows begin so that the first real position of x, in the first phase, lies at the start of a cache line. */
    const int E = (CUT + (KW - 1) * DW / SW + LANES - 1) / LANES * LANES, EH = BAND + (KH - 1) * DH / SH;
    const int phase = E * EH + LANES;
    vector aligned[SCRATCH / LANES];
    real *scratch = (real *)aligned + (LANES - PW / SW % LANES) % LANES;
    const int last_h = (OH - 1) * SH - PH + (KH - 1) * DH, last_w = (OW - 1) * SW - PW + (KW - 1) * DW; /* that is read */
    vector total[MOST_TAPS];
    for (int t = 0; t < taps; t++) total[t] = splat(0);
    for (index64 piece = first_piece; piece < last_piece; piece++) {
        const int first_w = piece % CUTS * CUT, first_h = piece / CUTS % BANDS * BAND;
        const int od = piece / CUTS / BANDS % OD;
        const index64 n = piece / CUTS / BANDS / OD;
        const int width = OW - first_w < CUT ? OW - first_w : CUT;
        const int height = OH - first_h < BAND ? OH - first_h : BAND;
        const int id = source_of(od * SD - PD + kd * DD, ID, padding_mode);
        if (id < 0) continue;
        for (int r = 0; r < SH; r++)
            for (int s = 0; s < SW; s++)
                copy_phase(
                    x + n * x_n + id * x_d, scratch + (r * SW + s) * phase, EH, E, SH, SW, first_h * SH + r - PH,
                    first_w * SW + s - PW, last_h, last_w, IH, IW, padding_mode, x_h, x_w);
        for (int i = 0; i < SH * SW; i++) clear_row(scratch + i * phase + E * EH, LANES);
        for (int first = 0; first < taps; first += TAPS) {
            const real *place[TAPS];
            vector sum[TAPS];
            for (int t = 0; t < TAPS; t++) { /* beyond the last, that one again */
                const int tap = first_tap + (first + t < taps ? first + t : taps - 1);
                const int h = tap / KW * DH, w = tap % KW * DW;
                place[t] = scratch + (h % SH * SW + w % SW) * phase + h / SH * E + w / SW;
            }
            UNROLLED for (int t = 0; t < TAPS; t++) sum[t] = splat(0);
            for (int i = 0; i < height; i++) {
                const index64 at = n * dy_n + od * dy_d + (first_h + i) * dy_h + first_w * dy_w;
                const index64 readable = (dy_h == OW ? (index64)(OH - first_h - i) * OW : OW) - first_w;
                for (int q = 0; q < width; q += LANES) {
                    const vector factor = dy_w == 1 && q + LANES <= width
                        ? load_lanes(dy, at + q)
                        : first_lanes(dy, at + q * dy_w, dy_w, width - q, readable - q);
                    UNROLLED for (int t = 0; t < TAPS; t++) sum[t] += load_private(place[t] + i * E + q) * factor;
                }
            }
            for (int t = 0; t < TAPS && first + t < taps; t++) total[first + t] += sum[t];
        }
    }

    dw += dw_start + slice * G * OC * IC * KD * KH * KW + g * dw_g + oc * dw_n + ic * dw_c + kd * dw_d;
    for (int t = 0; t < taps; t++) {
        const int kh = (first_tap + t) / KW, kw = (first_tap + t) % KW;
        real sum = sum_of_lanes(total[t]);
        if (sum * 0 != 0) /* not finite */
            sum = sum_by_the_rule(
                x, dy, first_piece, last_piece, BAND, CUT, OD, OH, OW, SD, SH, SW, ID, IH, IW,
                kd * DD - PD, kh * DH - PH, kw * DW - PW, padding_mode, x_n, x_d, x_h, x_w, dy_n, dy_d, dy_h, dy_w);
        dw[kh * dw_h + kw * dw_w] = sum;
    }
}
