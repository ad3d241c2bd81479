/* What is done to a result on its way to memory, so that it is stored once:
 *
 *     y = activation(scale[c] * value + shift[c] + residual)
 *
 * Each part may be missing. c is the output's channel; a residual is walked as the output is.
 */
#ifndef CLCONV_EPILOGUE_H
#define CLCONV_EPILOGUE_H

#include "activation.h"

#define NO_ACTIVATION (-1)

#define EPILOGUE_ARRAYS global const element *scale, global const element *shift, global const element *residual

#define EPILOGUE \
    const int has_scale, const int has_shift, const int has_residual, const int activation, const real slope, \
    const index64 scale_start, const index64 scale_c, const index64 shift_start, const index64 shift_c

/* The value of channel c as it is stored; `at` is the residual's element. */
#define FINISHED(value, c, at) \
    (!(has_scale | has_shift | has_residual | (activation != NO_ACTIVATION)) ? (value) : \
    finished(value, scale, scale_start + (c) * scale_c, has_scale, shift, shift_start + (c) * shift_c, has_shift, \
             residual, at, has_residual, activation, slope))

APART real finished(
    const real value, global const element *scale, const index64 scale_at, const int has_scale,
    global const element *shift, const index64 shift_at, const int has_shift,
    global const element *residual, const index64 residual_at, const int has_residual,
    const int activation, const real slope)
{
    real y = value;
    if (has_scale) y *= load(scale, scale_at);
    if (has_shift) y += load(shift, shift_at);
    if (has_residual) y += load(residual, residual_at);
    return activation == NO_ACTIVATION ? y : activated(y, activation, slope);
}

#endif
