/* Padding and cropping an array of five axes, and the gradient of padding that copies.
 *
 *     y[o]  = x[source(o - P)], or a value where there is no source
 *     dx[i] = sum of dy[o] over the o with source(o - P) = i
 *
 * P is negative where the front is cropped. The axes n and c are padded with values only; then the gradient is padding
 * itself, by -P, with zeros. A work-item makes a run of one row. */
#include "convolution.h"

#define PAD_SIZES \
    const index64 IN, const index64 IC, const int ID, const int IH, const int IW, \
    const index64 ON, const index64 OC, const int OD, const int OH, const int OW, \
    const index64 PN, const index64 PC, const int PD, const int PH, const int PW, \
    const int padding_mode, const int RUN

/* The number nearest to i among those from low to high. */
static inline int clamped(const int i, const int low, const int high) { return i < low ? low : i < high ? i : high; }

static inline void copy(global element_bits *y, const index64 y_first, const index64 y_step,
                        global const element_bits *x, const index64 x_first, const index64 x_step, const int count)
{
    for (int i = 0; i < count; i++) y[y_first + i * y_step] = x[x_first + i * x_step];
}

kernel void pad(
    WORK_ITEM
    global const element_bits *x, global element_bits *y, global const element_bits *value,
    PAD_SIZES, VIEW(x), VIEW(y))
{
    const int RUNS = (OW - 1) / RUN + 1;
    index64 item = WORK_ITEM_INDEX;
    if (item >= ON * OC * OD * OH * RUNS) return;
    const int begin = item % RUNS * RUN; item /= RUNS;
    const int oh = item % OH; item /= OH;
    const int od = item % OD; item /= OD;
    const index64 oc = item % OC;
    const index64 on = item / OC;
    const int end = OW - begin < RUN ? OW : begin + RUN;

    const index64 n = on - PN;
    const index64 c = oc - PC;
    const int id = source_of(od - PD, ID, padding_mode);
    const int ih = source_of(oh - PH, IH, padding_mode);
    const int has_source = n >= 0 && n < IN && c >= 0 && c < IC && id >= 0 && ih >= 0;
    const index64 to = AT(y, on, oc, od, oh, 0);
    const index64 from = has_source ? AT(x, n, c, id, ih, 0) : 0;
    /* The positions of the run that lie in the input itself. */
    const int inner = has_source ? clamped(PW, begin, end) : end;
    const int inner_end = has_source ? clamped(PW + IW, inner, end) : end;
    for (int ow = begin; ow < end; ow++) {
        if (ow == inner) ow = inner_end;
        if (ow == end) break;
        const int iw = has_source ? source_of(ow - PW, IW, padding_mode) : -1;
        y[to + ow * y_w] = iw < 0 ? value[0] : x[from + iw * x_w];
    }
    if (inner < inner_end) {
        const index64 first = to + inner * y_w;
        const index64 source = from + (inner - PW) * x_w;
        if (y_w == 1 && x_w == 1) copy(y, first, 1, x, source, 1, inner_end - inner);
        else copy(y, first, y_w, x, source, x_w, inner_end - inner);
    }
}

/* The position of the output that shows padded position p, or -1. */
static inline int shown_at(const int p, const int P, const int O)
{
    return p != NO_IMAGE && p + P >= 0 && p + P < O ? p + P : -1;
}

/* Positions that are summed side by side. */
#define BLOCK 256

static inline void add_row(real *sums, global const element *dy, const index64 start, const index64 step, const int count)
{
    for (int i = 0; i < count; i++) sums[i] += load(dy, start + i * step);
}

/* Adds a value at position i if that is one of those from first to before last. */
static inline void add_image(real *sums, const int first, const int last, const int i, const real value)
{
    if (i >= first && i < last) sums[i - first] += value;
}

kernel void pad_bwd(
    WORK_ITEM
    global const element *dy, global element *dx,
    PAD_SIZES, VIEW(dy), VIEW(dx))
{
    const int RUNS = (IW - 1) / RUN + 1;
    index64 item = WORK_ITEM_INDEX;
    if (item >= IN * IC * ID * IH * RUNS) return;
    const int begin = item % RUNS * RUN; item /= RUNS;
    const int ih = item % IH; item /= IH;
    const int id = item % ID; item /= ID;
    const index64 c = item % IC;
    const index64 n = item / IC;
    const int end = IW - begin < RUN ? IW : begin + RUN;

    /* Images lie at positions of the padding, of which there are none where the input is cropped. */
    const int LOW_D = PD > 0 ? PD : 0, LOW_H = PH > 0 ? PH : 0, LOW_W = PW > 0 ? PW : 0;
    const int HIGH_D = OD - PD - ID > 0 ? OD - PD - ID : 0;
    const int HIGH_H = OH - PH - IH > 0 ? OH - PH - IH : 0;
    const int HIGH_W = OW - PW - IW > 0 ? OW - PW - IW : 0;
    const int ED = image_count(id, ID, LOW_D, HIGH_D, padding_mode);
    const int EH = image_count(ih, IH, LOW_H, HIGH_H, padding_mode);
    /* Farther than this from both ends a position has no image but itself. */
    const int margin = padding_mode == PADDING_REPLICATE ? 0 : LOW_W > HIGH_W ? LOW_W : HIGH_W;

    real sums[BLOCK];
    for (int first = begin; first < end; first += BLOCK) {
        const int last = end - first < BLOCK ? end : first + BLOCK;
        for (int i = 0; i < last - first; i++) sums[i] = 0;
        for (int ed = 0; ed < ED; ed++) {
            const int od = shown_at(image(ed, id, ID, LOW_D, padding_mode), PD, OD);
            for (int eh = 0; eh < EH && od >= 0; eh++) {
                const int oh = shown_at(image(eh, ih, IH, LOW_H, padding_mode), PH, OH);
                if (oh < 0) continue;
                const index64 row = AT(dy, n, c, od, oh, 0);
                const int inner = clamped(-PW, first, last);
                const int inner_end = clamped(OW - PW, inner, last);
                const index64 source = row + (index64)(inner + PW) * dy_w;
                if (dy_w == 1) add_row(sums + (inner - first), dy, source, 1, inner_end - inner);
                else add_row(sums + (inner - first), dy, source, dy_w, inner_end - inner);
                if (first > margin && last < IW - margin) continue;
                for (int ow = 0; ow < LOW_W; ow++)
                    add_image(sums, first, last, source_of(ow - PW, IW, padding_mode), load(dy, row + ow * dy_w));
                for (int ow = OW - HIGH_W; ow < OW; ow++)
                    add_image(sums, first, last, source_of(ow - PW, IW, padding_mode), load(dy, row + ow * dy_w));
            }
        }
        const index64 to = AT(dx, n, c, id, ih, first);
        if (dx_w == 1)
            for (int i = 0; i < last - first; i++) store(dx, to + i, sums[i]);
        else
            for (int i = 0; i < last - first; i++) store(dx, to + i * dx_w, sums[i]);
    }
}
