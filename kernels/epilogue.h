/* What is done to results on their way to memory, so that they are stored once:
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

/* The same of `count` neighbours of channel c in a private array; `at` is the residual's element of the first of them,
 * `step` is from one to the next. */
#define FINISH_RUN(values, count, c, at, step) \
    do { \
        if (has_scale | has_shift | has_residual | (activation != NO_ACTIVATION)) \
            finish_run(values, count, scale, scale_start + (c) * scale_c, has_scale, \
                       shift, shift_start + (c) * shift_c, has_shift, residual, at, step, has_residual, \
                       activation, slope); \
    } while (0)

#define ACTIVATED_RUN(function) for (int i = 0; i < count; i++) values[i] = activated(values[i], function, slope)

APART void finish_run(
    real *values, const int count, global const element *scale, const index64 scale_at, const int has_scale,
    global const element *shift, const index64 shift_at, const int has_shift,
    global const element *residual, const index64 residual_at, const index64 residual_step, const int has_residual,
    const int activation, const real slope)
{
    const real factor = has_scale ? load(scale, scale_at) : 1, term = has_shift ? load(shift, shift_at) : 0;
    if (has_scale && has_shift) for (int i = 0; i < count; i++) values[i] = values[i] * factor + term;
    else if (has_scale) for (int i = 0; i < count; i++) values[i] *= factor;
    else if (has_shift) for (int i = 0; i < count; i++) values[i] += term;
    if (has_residual && residual_step == 1)
        for (int i = 0; i < count; i++) values[i] += load(residual, residual_at + i);
    else if (has_residual)
        for (int i = 0; i < count; i++) values[i] += load(residual, residual_at + i * residual_step);
    switch (activation) {
    case NO_ACTIVATION: break;
    case RELU: ACTIVATED_RUN(RELU); break;
    case LEAKY_RELU: ACTIVATED_RUN(LEAKY_RELU); break;
    case SIGMOID: ACTIVATED_RUN(SIGMOID); break;
    case TANH: ACTIVATED_RUN(TANH); break;
    case SILU: ACTIVATED_RUN(SILU); break;
    case GELU: ACTIVATED_RUN(GELU); break;
    case GELU_TANH: ACTIVATED_RUN(GELU_TANH); break;
    default: ACTIVATED_RUN(HARDSWISH); break;
    }
}

#endif
