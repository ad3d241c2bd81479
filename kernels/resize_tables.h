/* The tables of a resized image, made on the host. For an axis of O positions they are the first pixel that each position
 * reads, how many it reads, and their weights, T of them at most:
 *
 *     first[o], taps[o]          in `pixels`, the axes D, H, W behind each other
 *     weight[t, o]               in `weights`, likewise: neighbouring positions have neighbouring weights
 */
#ifndef CLCONV_RESIZE_TABLES_H
#define CLCONV_RESIZE_TABLES_H

#include "convolution.h"

#define RESIZE_SIZES \
    const index64 N, const index64 C, const int OD, const int OH, const int OW, const int TD, const int TH

#define PIXELS_D pixels
#define PIXELS_H (pixels + 2 * (index64)OD)
#define PIXELS_W (pixels + 2 * ((index64)OD + OH))
#define PIXELS_END (pixels + 2 * ((index64)OD + OH + OW))

#define WEIGHTS_D weights
#define WEIGHTS_H (weights + (index64)OD * TD)
#define WEIGHTS_W (weights + (index64)OD * TD + (index64)OH * TH)

#endif
