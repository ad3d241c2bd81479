/* Deformable convolution: reading between the pixels, and the gradients of what was read.
 *
 *     columns[n, c, k, o] = m[n, g, k, o] * x(n, c, oh*SH - PH + kh*DH + offset[n, g, k, 0, o],
 *                                                   ow*SW - PW + kw*DW + offset[n, g, k, 1, o])
 *
 * x between four pixels is bilinear, and zero beyond the image; g is the group of channels that c is in. The rest is a
 * convolution of the columns. A pixel whose weight is zero is not read: offsets of whole pixels give what a plain
 * convolution gives, whatever stands beside them. At a position that is no number, no number is read.
 */
#include "convolution.h"

#define DEFORM_SIZES \
    const index64 N, const int C, const int OG, \
    const int IH, const int IW, const int OH, const int OW, \
    const int KH, const int KW, const int SH, const int SW, const int DH, const int DW, const int PH, const int PW, \
    const int has_mask

/* Where one tap reads for one output. */
struct place {
    real row, column;    /* the position, in pixels */
    int top, left;       /* the pixel above it and to the left */
    real down, right;    /* how far it is from there */
};

/* The largest whole number that is not above a position between -1 and an extent. */
static inline int floor_of(const real position) { return position < 0 ? -1 : (int)position; }

static inline struct place place_at(const real row, const real column, const int IH, const int IW)
{
    struct place p;
    /* Written so that NaN is outside, too. */
    const int inside = row >= -1 && row < IH && column >= -1 && column < IW;
    p.row = row;
    p.column = column;
    p.top = inside ? floor_of(row) : -2;
    p.left = inside ? floor_of(column) : -2;
    p.down = inside ? row - p.top : 0;
    p.right = inside ? column - p.left : 0;
    return p;
}

/* Pixel (top + i, left + j) of the plane that starts at `plane`, or zero beyond the image. */
static inline real pixel(
    global const element *x, const index64 plane, const index64 x_h, const index64 x_w,
    const struct place p, const int i, const int j, const int IH, const int IW)
{
    const int ih = p.top + i, iw = p.left + j;
    return ih >= 0 && ih < IH && iw >= 0 && iw < IW ? load(x, plane + ih * x_h + iw * x_w) : 0;
}

static inline real weighted(const real weight, const real value) { return weight == 0 ? 0 : weight * value; }

/* The position of tap (kh, kw) of output (oh, ow), group g. */
#define PLACE(offset, n, g, kh, kw, oh, ow) \
    place_at( \
        (real)((oh) * SH - PH + (kh) * DH) + load(offset, AT(offset, n, 2 * OFFSET_TAP(g, kh, kw), 0, oh, ow)), \
        (real)((ow) * SW - PW + (kw) * DW) + load(offset, AT(offset, n, 2 * OFFSET_TAP(g, kh, kw) + 1, 0, oh, ow)), \
        IH, IW)
#define OFFSET_TAP(g, kh, kw) (((index64)(g) * KH + (kh)) * KW + (kw))
#define COLUMN_AT(n, c, kh, kw, oh, ow) \
    ((((((index64)(n) * C + (c)) * KH + (kh)) * KW + (kw)) * OH + (oh)) * OW + (ow))

kernel void deform_columns(
    WORK_ITEM
    global const element *x, global const element *offset, global const element *mask, global element *columns,
    DEFORM_SIZES, VIEW(x), VIEW(offset), VIEW(mask))
{
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * OG * KH * KW * OH * OW) return;
    const int ow = item % OW; item /= OW;
    const int oh = item % OH; item /= OH;
    const int kw = item % KW; item /= KW;
    const int kh = item % KH; item /= KH;
    const int g = item % OG;
    const index64 n = item / OG;

    const struct place p = PLACE(offset, n, g, kh, kw, oh, ow);
    const real m = has_mask ? load(mask, AT(mask, n, OFFSET_TAP(g, kh, kw), 0, oh, ow)) : 1;
    const real top_left = (1 - p.down) * (1 - p.right), top_right = (1 - p.down) * p.right;
    const real bottom_left = p.down * (1 - p.right), bottom_right = p.down * p.right;
    const real unknown = p.row != p.row || p.column != p.column ? p.row + p.column : 0;
    const int channels = C / OG;
    for (int c = g * channels; c < (g + 1) * channels; c++) {
        const index64 plane = AT(x, n, c, 0, 0, 0);
        const real value = weighted(top_left, pixel(x, plane, x_h, x_w, p, 0, 0, IH, IW))
            + weighted(top_right, pixel(x, plane, x_h, x_w, p, 0, 1, IH, IW))
            + weighted(bottom_left, pixel(x, plane, x_h, x_w, p, 1, 0, IH, IW))
            + weighted(bottom_right, pixel(x, plane, x_h, x_w, p, 1, 1, IH, IW));
        store(columns, COLUMN_AT(n, c, kh, kw, oh, ow), m * (value + unknown));
    }
}

/* The gradients of offset and mask, given that of the columns:
 *
 *     doffset[n, g, k, 0, o] = m * sum over c in g of dcolumns[n, c, k, o] * (derivative of what is read by its row)
 *     dmask[n, g, k, o]      = sum over c in g of dcolumns[n, c, k, o] * (what is read)
 *
 * On a whole row the derivative is that towards the next one.
 */
kernel void deform_bwd_offset(
    WORK_ITEM
    global const element *x, global const element *offset, global const element *mask, global const element *dcolumns,
    global element *doffset, global element *dmask,
    DEFORM_SIZES, const int wants_offset, const int wants_mask,
    VIEW(x), VIEW(offset), VIEW(mask), VIEW(doffset), VIEW(dmask))
{
    index64 item = WORK_ITEM_INDEX;
    if (item >= N * OG * KH * KW * OH * OW) return;
    const int ow = item % OW; item /= OW;
    const int oh = item % OH; item /= OH;
    const int kw = item % KW; item /= KW;
    const int kh = item % KH; item /= KH;
    const int g = item % OG;
    const index64 n = item / OG;

    const struct place p = PLACE(offset, n, g, kh, kw, oh, ow);
    const real unknown = p.row != p.row || p.column != p.column ? p.row + p.column : 0;
    const real up = 1 - p.down, left = 1 - p.right;
    const int channels = C / OG;
    real by_row = unknown, by_column = unknown, read = unknown;
    for (int c = g * channels; c < (g + 1) * channels; c++) {
        const index64 plane = AT(x, n, c, 0, 0, 0);
        const real dcolumn = load(dcolumns, COLUMN_AT(n, c, kh, kw, oh, ow));
        const real v00 = pixel(x, plane, x_h, x_w, p, 0, 0, IH, IW), v01 = pixel(x, plane, x_h, x_w, p, 0, 1, IH, IW);
        const real v10 = pixel(x, plane, x_h, x_w, p, 1, 0, IH, IW), v11 = pixel(x, plane, x_h, x_w, p, 1, 1, IH, IW);
        by_row += dcolumn * (weighted(left, v10) + weighted(p.right, v11) - weighted(left, v00) - weighted(p.right, v01));
        by_column += dcolumn * (weighted(up, v01) + weighted(p.down, v11) - weighted(up, v00) - weighted(p.down, v10));
        read += dcolumn * (weighted(up * left, v00) + weighted(up * p.right, v01)
            + weighted(p.down * left, v10) + weighted(p.down * p.right, v11));
    }
    const index64 tap = OFFSET_TAP(g, kh, kw);
    if (wants_offset) {
        const real m = has_mask ? load(mask, AT(mask, n, tap, 0, oh, ow)) : 1;
        store(doffset, AT(doffset, n, 2 * tap, 0, oh, ow), m * by_row);
        store(doffset, AT(doffset, n, 2 * tap + 1, 0, oh, ow), m * by_column);
    }
    if (wants_mask) store(dmask, AT(dmask, n, tap, 0, oh, ow), read);
}

/* The gradient of the data: each work-item owns a plane (n, c), and adds to its pixels in the order of taps and outputs,
 * so that no two add to one pixel at a time. Sums are held in real numbers, and stored when all are complete. */
kernel void deform_bwd_data(
    WORK_ITEM
    global const element *offset, global const element *mask, global const element *dcolumns,
    global real *sums, global element *dx,
    DEFORM_SIZES, VIEW(offset), VIEW(mask), VIEW(dx))
{
    const index64 item = WORK_ITEM_INDEX;
    if (item >= N * C) return;
    const int c = item % C;
    const index64 n = item / C;
    const int g = c / (C / OG);
    const index64 plane = item * IH * IW;

    for (index64 i = 0; i < (index64)IH * IW; i++) sums[plane + i] = 0;
    for (int kh = 0; kh < KH; kh++)
    for (int kw = 0; kw < KW; kw++)
    for (int oh = 0; oh < OH; oh++)
    for (int ow = 0; ow < OW; ow++) {
        const struct place p = PLACE(offset, n, g, kh, kw, oh, ow);
        const real m = has_mask ? load(mask, AT(mask, n, OFFSET_TAP(g, kh, kw), 0, oh, ow)) : 1;
        const real dvalue = m * load(dcolumns, COLUMN_AT(n, c, kh, kw, oh, ow));
        for (int corner = 0; corner < 4; corner++) {
            const int i = corner / 2, j = corner % 2, ih = p.top + i, iw = p.left + j;
            const real weight = (i ? p.down : 1 - p.down) * (j ? p.right : 1 - p.right);
            if (ih >= 0 && ih < IH && iw >= 0 && iw < IW)
                sums[plane + (index64)ih * IW + iw] += weighted(weight, dvalue);
        }
    }
    for (int ih = 0; ih < IH; ih++)
        for (int iw = 0; iw < IW; iw++)
            store(dx, AT(dx, n, c, 0, ih, iw), sums[plane + (index64)ih * IW + iw]);
}
