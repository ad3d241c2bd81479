/* The parameters that all convolution kernels share, in the letters of docs/conventions.md, and the walk over an array.
 *
 * An array takes a start and one stride per axis, in elements, so any NumPy view is used where it lies. A kernel that is
 * flipped (the mathematical convolution) is a view of w with negative strides: no pass needs a second formula.
 */
#ifndef CLCONV_CONVOLUTION_H
#define CLCONV_CONVOLUTION_H

#include "window.h"

#define CONV_SIZES \
    const index64 N, const int G, const int ICG, const int OCG, \
    const int ID, const int IH, const int IW, \
    const int OD, const int OH, const int OW, \
    const int KD, const int KH, const int KW, \
    const int SD, const int SH, const int SW, \
    const int DD, const int DH, const int DW, \
    const int PD, const int PH, const int PW, \
    const int padding_mode

#define VIEW(a) \
    const index64 a##_start, const index64 a##_n, const index64 a##_c, \
    const index64 a##_d, const index64 a##_h, const index64 a##_w

/* The same where channels are counted within a group. */
#define GROUPED_VIEW(a) \
    const index64 a##_start, const index64 a##_g, const index64 a##_n, const index64 a##_c, \
    const index64 a##_d, const index64 a##_h, const index64 a##_w

#define AT(a, n, c, d, h, w) (a##_start + (n) * a##_n + (c) * a##_c + (d) * a##_d + (h) * a##_h + (w) * a##_w)

/* Sums are added up in parts of about this many terms, which keeps the rounding of long ones small. */
#define TERMS_PER_PART 256

#endif
