/* The tables of a resized image, made on the host: for every position of an axis the first pixel that it reads, how many
 * it reads, and their weights, T of them at most. The axes D, H, W follow each other in both arrays. */
#ifndef CLCONV_RESIZE_TABLES_H
#define CLCONV_RESIZE_TABLES_H

#include "convolution.h"

#define RESIZE_SIZES \
    const index64 N, const index64 C, const int OD, const int OH, const int OW, \
    const int TD, const int TH, const int TW

/* The first pixel and the number of pixels of a position. */
#define PIXELS_D(od) (pixels + 2 * (index64)(od))
#define PIXELS_H(oh) (pixels + 2 * ((index64)OD + (oh)))
#define PIXELS_W(ow) (pixels + 2 * ((index64)OD + OH + (ow)))

/* Its weights. */
#define WEIGHTS_D(od) (weights + (index64)(od) * TD)
#define WEIGHTS_H(oh) (weights + (index64)OD * TD + (index64)(oh) * TH)
#define WEIGHTS_W(ow) (weights + (index64)OD * TD + (index64)OH * TH + (index64)(ow) * TW)

#endif
