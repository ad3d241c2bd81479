/* Local response normalisation, across neighbouring channels.
 *
 *     base[n, c] = k + share * sum of x[n, i]^2 over i = c - BEFORE ... c + AFTER          share = alpha / size
 *     y[n, c]    = x[n, c] * base[n, c]^-beta
 *     dx[n, c]   = dy[n, c] * base[n, c]^-beta - factor * x[n, c] * sum of slope[n, i] over i = c - AFTER ... c + BEFORE
 *     slope      = dy * x * base^(-beta - 1)                                               factor = 2 * alpha * beta / size
 *
 * at every pixel; channels beyond the ends do not exist, and y is stored when it has been through the epilogue. The second sum is over the channels whose windows hold c.
 */
#include "convolution.h"
#include "epilogue.h"
#include "math.h"

#define CHANNELS const index64 N, const index64 C, const int D, const int H, const int W, const int BEFORE, const int AFTER

/* Pixels that are worked on together; a work-item has up to RUN neighbouring ones of a row. */
#define LANES 64

/* The order of clconv.algorithms.norm_response.EXPONENTS: roots cost less than a power, and only whole exponents have
 * powers of negative bases, whose sign is that of odd ones. */
#define ANY_EXPONENT 0
#define ONE_HALF 1
#define THREE_QUARTERS 2
#define ODD_EXPONENT 3
#define EVEN_EXPONENT 4

/* base^-beta */
static inline real response(const real base, const real beta, const int exponent)
{
    if (exponent == ONE_HALF) return 1 / square_root(base);
    if (exponent == THREE_QUARTERS) {
        const real root = square_root(base);
        return 1 / (root * square_root(root));
    }
    if (exponent == ANY_EXPONENT) return power(base, -beta);
    const real size = power(magnitude(base), -beta);
    return exponent == ODD_EXPONENT ? with_sign_of(size, base) : size;
}

/* Bases of `count` <= LANES pixels of channel c, whose values lie `step` apart from x[at] on. */
static inline void bases(real *base, global const element *x, const index64 at, const index64 step, const int count,
                         const index64 x_c, const index64 c, const index64 C, const int BEFORE, const int AFTER,
                         const real share, const real k)
{
    real sum[LANES];
    for (int i = 0; i < LANES; i++) sum[i] = 0;
    const index64 first = c > BEFORE ? -(index64)BEFORE : -c, last = C - 1 - c > AFTER ? AFTER : C - 1 - c;
    for (index64 shift = first; shift <= last; shift++)
        for (int i = 0; i < count; i++) {
            const real value = load(x, at + shift * x_c + i * step);
            sum[i] += value * value;
        }
    for (int i = 0; i < count; i++) base[i] = k + share * sum[i];
}

/* A work-item's row of pixels, and its first one. */
#define POSITION \
    const int runs = (W + RUN - 1) / RUN; \
    index64 item = WORK_ITEM_INDEX; \
    if (item >= N * C * D * H * runs) return; \
    const int begin = item % runs * RUN; item /= runs; \
    const int end = W - begin < RUN ? W : begin + RUN; \
    const int h = item % H; item /= H; \
    const int d = item % D; item /= D; \
    const index64 c = item % C; \
    const index64 n = item / C;

static inline void outputs(real *value, global const element *x, const index64 x_at, const index64 x_w, const index64 x_c,
                           const int count, const index64 c, const index64 C, const int BEFORE, const int AFTER,
                           const real share, const real k, const real beta, const int exponent)
{
    real base[LANES];
    bases(base, x, x_at, x_w, count, x_c, c, C, BEFORE, AFTER, share, k);
    for (int i = 0; i < count; i++) value[i] = load(x, x_at + i * x_w) * response(base[i], beta, exponent);
}

kernel void response_norm(
    WORK_ITEM
    global const element *x, EPILOGUE_ARRAYS, global element *y,
    CHANNELS, VIEW(x), VIEW(y), const real share, const real k, const real beta, const int exponent, const int RUN,
    EPILOGUE, VIEW(residual))
{
    POSITION
    real value[LANES];
    for (int w = begin; w < end; w += LANES) {
        const int count = end - w < LANES ? end - w : LANES;
        const index64 x_at = AT(x, n, c, d, h, w), y_at = AT(y, n, c, d, h, w);
        if (x_w == 1 && exponent == THREE_QUARTERS)
            outputs(value, x, x_at, 1, x_c, count, c, C, BEFORE, AFTER, share, k, beta, THREE_QUARTERS);
        else if (x_w == 1 && exponent == ANY_EXPONENT)
            outputs(value, x, x_at, 1, x_c, count, c, C, BEFORE, AFTER, share, k, beta, ANY_EXPONENT);
        else
            outputs(value, x, x_at, x_w, x_c, count, c, C, BEFORE, AFTER, share, k, beta, exponent);
        FINISH_RUN(value, count, c, AT(residual, n, c, d, h, w), residual_w);
        if (y_w == 1) for (int i = 0; i < count; i++) store(y, y_at + i, value[i]);
        else for (int i = 0; i < count; i++) store(y, y_at + i * y_w, value[i]);
    }
}

static inline void slopes(global const element *dy, const index64 dy_at, const index64 dy_w,
                          global const element *x, const index64 x_at, const index64 x_w, const index64 x_c,
                          global real *direct, global real *slope, const int count,
                          const index64 c, const index64 C, const int BEFORE, const int AFTER,
                          const real share, const real k, const real beta, const int exponent)
{
    real base[LANES];
    bases(base, x, x_at, x_w, count, x_c, c, C, BEFORE, AFTER, share, k);
    for (int i = 0; i < count; i++) {
        const real through = load(dy, dy_at + i * dy_w) * response(base[i], beta, exponent);
        direct[i] = through;
        slope[i] = through * load(x, x_at + i * x_w) / base[i];
    }
}

/* The terms of the gradient at every pixel, dy*base^-beta and the slopes, without gaps. */
kernel void response_slopes(
    WORK_ITEM
    global const element *dy, global const element *x, global real *direct, global real *slope,
    CHANNELS, VIEW(dy), VIEW(x), const real share, const real k, const real beta, const int exponent, const int RUN)
{
    POSITION
    for (int w = begin; w < end; w += LANES) {
        const int count = end - w < LANES ? end - w : LANES;
        const index64 dy_at = AT(dy, n, c, d, h, w), x_at = AT(x, n, c, d, h, w);
        const index64 at = (((n * C + c) * D + d) * H + h) * W + w;
        if (x_w == 1 && dy_w == 1 && exponent == THREE_QUARTERS)
            slopes(dy, dy_at, 1, x, x_at, 1, x_c, direct + at, slope + at, count,
                   c, C, BEFORE, AFTER, share, k, beta, THREE_QUARTERS);
        else if (x_w == 1 && dy_w == 1 && exponent == ANY_EXPONENT)
            slopes(dy, dy_at, 1, x, x_at, 1, x_c, direct + at, slope + at, count,
                   c, C, BEFORE, AFTER, share, k, beta, ANY_EXPONENT);
        else
            slopes(dy, dy_at, dy_w, x, x_at, x_w, x_c, direct + at, slope + at, count,
                   c, C, BEFORE, AFTER, share, k, beta, exponent);
    }
}

static inline void gradients(global const real *direct, global const real *slope, const index64 plane,
                             global const element *x, const index64 x_at, const index64 x_w,
                             global element *dx, const index64 dx_at, const index64 dx_w, const int count,
                             const index64 c, const index64 C, const int BEFORE, const int AFTER, const real factor)
{
    real sum[LANES];
    for (int i = 0; i < LANES; i++) sum[i] = 0;
    const index64 first = c > AFTER ? -(index64)AFTER : -c, last = C - 1 - c > BEFORE ? BEFORE : C - 1 - c;
    for (index64 shift = first; shift <= last; shift++)
        for (int i = 0; i < count; i++) sum[i] += slope[shift * plane + i];
    for (int i = 0; i < count; i++)
        store(dx, dx_at + i * dx_w, direct[i] - factor * load(x, x_at + i * x_w) * sum[i]);
}

kernel void response_norm_bwd(
    WORK_ITEM
    global const element *x, global const real *direct, global const real *slope, global element *dx,
    CHANNELS, VIEW(x), VIEW(dx), const real factor, const int RUN)
{
    POSITION
    const index64 plane = (index64)D * H * W;
    for (int w = begin; w < end; w += LANES) {
        const int count = end - w < LANES ? end - w : LANES;
        const index64 x_at = AT(x, n, c, d, h, w), dx_at = AT(dx, n, c, d, h, w);
        const index64 at = (((n * C + c) * D + d) * H + h) * W + w;
        if (x_w == 1 && dx_w == 1)
            gradients(direct + at, slope + at, plane, x, x_at, 1, dx, dx_at, 1, count, c, C, BEFORE, AFTER, factor);
        else
            gradients(direct + at, slope + at, plane, x, x_at, x_w, dx, dx_at, dx_w, count, c, C, BEFORE, AFTER, factor);
    }
}
