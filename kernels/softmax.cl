/* softmax and its logarithm over one axis, c, of arrays of any strides, and their gradients. With m = max over c of x and
 * e[c] = exp(x[c] - m), which neither overflows nor lets the sum vanish,
 *
 *     y[c] = e[c] / sum e           dx[c] = y[c] (g[c] - sum g y)
 *     y[c] = x[c] - m - log(sum e)  dx[c] = g[c] - exp(y[c]) sum g
 *
 * A work-item computes either up to TILE positions along the last axis, with one lane for each, or one position with
 * the sums along c in LANES parts: whichever lies side by side becomes vectors. Of floats, e waits in the result.
 */
#include "softmax.h"

static inline void softmax_tile(
    global const element *x, const index64 x_from, const index64 x_c, const index64 x_w,
    global element *y, const index64 y_from, const index64 y_c, const index64 y_w,
    const index64 C, const int run, const int is_log)
{
    real best[TILE], sum[TILE];
    for (int w = 0; w < run; w++) {
        best[w] = -infinity();
        sum[w] = 0;
    }
    for (index64 c = 0; c < C; c++)
        for (int w = 0; w < run; w++) best[w] = larger(load(x, x_from + c * x_c + w * x_w), best[w]);
    for (index64 c = 0; c < C; c++) {
        INDEPENDENT for (int w = 0; w < run; w++) {
            const real e = exponential(load(x, x_from + c * x_c + w * x_w) - best[w]);
            sum[w] += e;
            if (!is_log) keep(y, y_from + c * y_c + w * y_w, e);
        }
    }
    for (int w = 0; w < run; w++) sum[w] = is_log ? logarithm(sum[w]) : 1 / sum[w];
    for (index64 c = 0; c < C; c++) {
        const index64 from = x_from + c * x_c, to = y_from + c * y_c;
        if (is_log) {
            INDEPENDENT for (int w = 0; w < run; w++)
                store(y, to + w * y_w, (load(x, from + w * x_w) - best[w]) - sum[w]);
        } else {
            INDEPENDENT for (int w = 0; w < run; w++)
                store(y, to + w * y_w, kept(x, from + w * x_w, best[w], y, to + w * y_w) * sum[w]);
        }
    }
}

kernel void softmax(
    WORK_ITEM
    global const element *x, global element *y, EXTENTS, VIEW(x), VIEW(y), const int is_log)
{
    POSITION_OF_ITEM
    const int run = W - first < RUN ? W - first : RUN;
    const index64 from = AT(x, n, 0, d, h, first), to = AT(y, n, 0, d, h, first);
    if (run == 1) softmax_tile(x, from, x_c, 1, y, to, y_c, 1, C, 1, is_log);
    else if (run == TILE && x_w == 1 && y_w == 1) softmax_tile(x, from, x_c, 1, y, to, y_c, 1, C, TILE, is_log);
    else softmax_tile(x, from, x_c, x_w, y, to, y_c, y_w, C, run, is_log);
}

static inline void softmax_gradient_tile(
    global const element *g, const index64 g_from, const index64 g_c, const index64 g_w,
    global const element *x, const index64 x_from, const index64 x_c, const index64 x_w,
    global element *dx, const index64 dx_from, const index64 dx_c, const index64 dx_w,
    const index64 C, const int run, const int is_log)
{
    real best[TILE], sum[TILE], product[TILE];
    for (int w = 0; w < run; w++) {
        best[w] = -infinity();
        sum[w] = product[w] = 0;
    }
    for (index64 c = 0; c < C; c++)
        for (int w = 0; w < run; w++) best[w] = larger(load(x, x_from + c * x_c + w * x_w), best[w]);
    for (index64 c = 0; c < C; c++) {
        INDEPENDENT for (int w = 0; w < run; w++) {
            const real e = exponential(load(x, x_from + c * x_c + w * x_w) - best[w]);
            const real incoming = load(g, g_from + c * g_c + w * g_w);
            sum[w] += e;
            product[w] += is_log ? incoming : incoming * e;
            keep(dx, dx_from + c * dx_c + w * dx_w, e);
        }
    }
    for (int w = 0; w < run; w++) {
        sum[w] = 1 / sum[w];
        product[w] *= is_log ? (real)1 : sum[w];
    }
    for (index64 c = 0; c < C; c++) {
        INDEPENDENT for (int w = 0; w < run; w++) {
            const index64 to = dx_from + c * dx_c + w * dx_w;
            const real y = kept(x, x_from + c * x_c + w * x_w, best[w], dx, to) * sum[w];
            const real incoming = load(g, g_from + c * g_c + w * g_w);
            store(dx, to, is_log ? incoming - y * product[w] : y * (incoming - product[w]));
        }
    }
}

kernel void softmax_backward(
    WORK_ITEM
    global const element *g, global const element *x, global element *dx,
    EXTENTS, VIEW(g), VIEW(x), VIEW(dx), const int is_log)
{
    POSITION_OF_ITEM
    const int run = W - first < RUN ? W - first : RUN;
    const index64 at = AT(g, n, 0, d, h, first), from = AT(x, n, 0, d, h, first), to = AT(dx, n, 0, d, h, first);
    if (run == 1)
        softmax_gradient_tile(g, at, g_c, 1, x, from, x_c, 1, dx, to, dx_c, 1, C, 1, is_log);
    else if (run == TILE && g_w == 1 && x_w == 1 && dx_w == 1)
        softmax_gradient_tile(g, at, g_c, 1, x, from, x_c, 1, dx, to, dx_c, 1, C, TILE, is_log);
    else
        softmax_gradient_tile(g, at, g_c, g_w, x, from, x_c, x_w, dx, to, dx_c, dx_w, C, run, is_log);
}

kernel void softmax_rows(
    WORK_ITEM
    global const element *x, global element *y, EXTENTS, VIEW(x), VIEW(y), const int is_log)
{
    POSITION_OF_ITEM
    const index64 from = AT(x, n, 0, d, h, first), to = AT(y, n, 0, d, h, first);
    const real best = row_maximum(x, from, C);
    real part[LANES];
    for (int l = 0; l < LANES; l++) part[l] = 0;
    index64 c = 0;
    for (; c + LANES <= C; c += LANES) {
        INDEPENDENT for (int l = 0; l < LANES; l++) {
            const real e = exponential(load(x, from + c + l) - best);
            part[l] += e;
            if (!is_log) keep(y, to + c + l, e);
        }
    }
    for (; c < C; c++) {
        const real e = exponential(load(x, from + c) - best);
        part[0] += e;
        if (!is_log) keep(y, to + c, e);
    }
    if (is_log) {
        const real logarithm_of_sum = logarithm(total(part));
        INDEPENDENT for (c = 0; c < C; c++) store(y, to + c, (load(x, from + c) - best) - logarithm_of_sum);
    } else {
        const real scale = 1 / total(part);
        INDEPENDENT for (c = 0; c < C; c++) store(y, to + c, kept(x, from + c, best, y, to + c) * scale);
    }
}

kernel void softmax_backward_rows(
    WORK_ITEM
    global const element *g, global const element *x, global element *dx,
    EXTENTS, VIEW(g), VIEW(x), VIEW(dx), const int is_log)
{
    POSITION_OF_ITEM
    const index64 at = AT(g, n, 0, d, h, first), from = AT(x, n, 0, d, h, first), to = AT(dx, n, 0, d, h, first);
    const real best = row_maximum(x, from, C);
    real part[LANES], product[LANES];
    for (int l = 0; l < LANES; l++) part[l] = product[l] = 0;
    index64 c = 0;
    for (; c + LANES <= C; c += LANES) {
        INDEPENDENT for (int l = 0; l < LANES; l++) {
            const real e = exponential(load(x, from + c + l) - best);
            const real incoming = load(g, at + c + l);
            part[l] += e;
            product[l] += is_log ? incoming : incoming * e;
            keep(dx, to + c + l, e);
        }
    }
    for (; c < C; c++) {
        const real e = exponential(load(x, from + c) - best);
        part[0] += e;
        product[0] += is_log ? load(g, at + c) : load(g, at + c) * e;
        keep(dx, to + c, e);
    }
    const real scale = 1 / total(part);
    const real sum = is_log ? total(product) : total(product) * scale;
    INDEPENDENT for (c = 0; c < C; c++) {
        const real y = kept(x, from + c, best, dx, to + c) * scale;
        const real incoming = load(g, at + c);
        store(dx, to + c, is_log ? incoming - y * sum : y * (incoming - sum));
    }
}
