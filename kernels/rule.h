/* The rule by which zero padding contributes no product (see conv.cl), for copies that hold zeros there: an output that is
 * not finite is summed again by it, one term after the other. So are its neighbours in a tile, which may be finite: their
 * sums are then rounded in another order.
 */
#ifndef CLCONV_RULE_H
#define CLCONV_RULE_H

#include "convolution.h"

/* The sum of a single output, without the products of zero padding: taps outside [0, I) contribute none. */
APART real sum_by_the_rule(
    global const real *x, global const int *offsets, global const element *w, const real bias, const index64 IC,
    const int KD, const int KH, const int KW, const int ID, const int IH, const int IW,
    const int DD, const int DH, const int DW, const int id, const int ih, const int iw,
    const index64 x_c, const index64 w_first, const index64 w_c, const index64 w_d, const index64 w_h, const index64 w_w)
{
    real sum = bias;
    for (index64 ic = 0; ic < IC; ic++)
        for (int tap = 0; tap < KD * KH * KW; tap++) {
            const int kw = tap % KW, kh = tap / KW % KH, kd = tap / KW / KH;
            const int d = id + kd * DD, h = ih + kh * DH, position = iw + kw * DW;
            if (d < 0 || d >= ID || h < 0 || h >= IH || position < 0 || position >= IW) continue;
            sum += load(w, w_first + ic * w_c + kd * w_d + kh * w_h + kw * w_w) * x[ic * x_c + offsets[tap]];
        }
    return sum;
}

#endif
