/* Activations of arrays of any strides, forward and backward:
 *
 *     y[i] = f(x[i])        dx[i] = g[i] f'(x[i])
 *
 * A work-item computes RUN elements along the last axis. Loops are written out for every function and for elements side by
 * side, so that the compiler makes vectors of them. Where that is the device's or its compiler's way, neighbouring
 * work-items compute one element each of arrays without gaps.
 */
#include "activation.h"
#include "elementwise.h"

#define FORWARD(x_step, y_step, function) \
    INDEPENDENT for (index64 i = 0; i < run; i++) \
        store(y, to + i * (y_step), activated(load(x, from + i * (x_step)), function, slope))

#define FORWARD_OF(x_step, y_step) \
    switch (function) { \
    case RELU: FORWARD(x_step, y_step, RELU); break; \
    case LEAKY_RELU: FORWARD(x_step, y_step, LEAKY_RELU); break; \
    case SIGMOID: FORWARD(x_step, y_step, SIGMOID); break; \
    case TANH: FORWARD(x_step, y_step, TANH); break; \
    case SILU: FORWARD(x_step, y_step, SILU); break; \
    case GELU: FORWARD(x_step, y_step, GELU); break; \
    case GELU_TANH: FORWARD(x_step, y_step, GELU_TANH); break; \
    default: FORWARD(x_step, y_step, HARDSWISH); break; \
    }

kernel void activation(
    WORK_ITEM
    global const element *x, global element *y,
    EXTENTS, VIEW(x), VIEW(y), const int function, const real slope)
{
    RUN_OF_ITEM
    const index64 from = AT(x, n, c, d, h, first), to = AT(y, n, c, d, h, first);
    if (x_w == 1 && y_w == 1) {
        FORWARD_OF(1, 1)
    } else {
        FORWARD_OF(x_w, y_w)
    }
}

#define BACKWARD(g_step, x_step, dx_step, function) \
    INDEPENDENT for (index64 i = 0; i < run; i++) \
        store(dx, to + i * (dx_step), \
              activation_gradient(load(x, from + i * (x_step)), load(g, at + i * (g_step)), function, slope))

#define BACKWARD_OF(g_step, x_step, dx_step) \
    switch (function) { \
    case RELU: BACKWARD(g_step, x_step, dx_step, RELU); break; \
    case LEAKY_RELU: BACKWARD(g_step, x_step, dx_step, LEAKY_RELU); break; \
    case SIGMOID: BACKWARD(g_step, x_step, dx_step, SIGMOID); break; \
    case TANH: BACKWARD(g_step, x_step, dx_step, TANH); break; \
    case SILU: BACKWARD(g_step, x_step, dx_step, SILU); break; \
    case GELU: BACKWARD(g_step, x_step, dx_step, GELU); break; \
    case GELU_TANH: BACKWARD(g_step, x_step, dx_step, GELU_TANH); break; \
    default: BACKWARD(g_step, x_step, dx_step, HARDSWISH); break; \
    }

kernel void activation_backward(
    WORK_ITEM
    global const element *g, global const element *x, global element *dx,
    EXTENTS, VIEW(g), VIEW(x), VIEW(dx), const int function, const real slope)
{
    RUN_OF_ITEM
    const index64 at = AT(g, n, c, d, h, first), from = AT(x, n, c, d, h, first), to = AT(dx, n, c, d, h, first);
    if (g_w == 1 && x_w == 1 && dx_w == 1) {
        BACKWARD_OF(1, 1, 1)
    } else {
        BACKWARD_OF(g_w, x_w, dx_w)
    }
}

kernel void activation_flat(
    WORK_ITEM
    global const element *x, global element *y,
    const index64 COUNT, const index64 x_start, const index64 y_start, const int function, const real slope)
{
    const index64 i = WORK_ITEM_INDEX;
    if (i >= COUNT) return;
    store(y, y_start + i, activated(load(x, x_start + i), function, slope));
}

kernel void activation_backward_flat(
    WORK_ITEM
    global const element *g, global const element *x, global element *dx,
    const index64 COUNT, const index64 g_start, const index64 x_start, const index64 dx_start,
    const int function, const real slope)
{
    const index64 i = WORK_ITEM_INDEX;
    if (i >= COUNT) return;
    store(dx, dx_start + i, activation_gradient(load(x, x_start + i), load(g, g_start + i), function, slope));
}
