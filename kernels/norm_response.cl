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
#include "vector.h"

#define CHANNELS const index64 N, const index64 C, const int D, const int H, const int W, const int BEFORE, const int AFTER

/* Pixels that are worked on together; a work-item has up to RUN neighbouring ones of a row. */
#define PIECE 64

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

/* The -1/4-th power of positive bases that are normal numbers. A quarter of the bits, taken from a constant, is a guess
 * that is off by 3 %; with e = 1 - base*y^4 the power is y*(1 - e)^(-1/4), of whose series four terms leave 3e-5, and a
 * second time less than a rounding. */
#if ELEMENT == 64
#define QUARTER_GUESS 0x4feb0a3d70a3d70b
#else
#define QUARTER_GUESS 0x4f5851eb
#endif

static inline vector inverse_fourth_root(const vector base)
{
    vector y = AS_VECTOR(QUARTER_GUESS - (AS_INTEGERS(base) >> 2));
    for (int step = 0; step < 2; step++) {
        const vector square = y * y, e = (real)1 - base * square * square;
        y += y * e * ((real)0.25 + e * ((real)0.15625 + e * (real)0.1171875));
    }
    return y;
}

/* Whether `count` numbers, whole vectors of them, are positive and normal. */
static inline int are_normal(const real *base, const int count)
{
    const real least = real_of((bits)1 << (DIGITS - 1));
    vector normal = splat(0);
    for (int i = 0; i < count; i += LANES) {
        const vector b = load_private(base + i);
        normal += AS_VECTOR((b >= splat(least)) & (b < splat(infinity())) & AS_INTEGERS(splat(1)));
    }
    return sum_of_lanes(normal) == count;
}

/* Bases of `count` <= PIECE pixels of channel c, whose values lie `step` apart from x[at] on. */
static inline void bases(real *base, global const element *x, const index64 at, const index64 step, const int count,
                         const index64 x_c, const index64 c, const index64 C, const int BEFORE, const int AFTER,
                         const real share, const real k)
{
    const index64 first = c > BEFORE ? -(index64)BEFORE : -c, last = C - 1 - c > AFTER ? AFTER : C - 1 - c;
    int i = 0;
    for (; i + LANES <= count; i += LANES) {
        vector sum = splat(0);
        for (index64 shift = first; shift <= last; shift++) {
            const vector value = lanes_at(x, at + shift * x_c + i * step, step);
            sum += value * value;
        }
        store_vector(base + i, sum * share + k);
    }
    for (; i < count; i++) {
        real sum = 0;
        for (index64 shift = first; shift <= last; shift++) {
            const real value = load(x, at + shift * x_c + i * step);
            sum += value * value;
        }
        base[i] = sum * share + k;
    }
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

/* Outputs: into `value` if they are to be finished, else straight into y. */
static inline void outputs(real *value, const int finishes, global element *y, const index64 y_at, const index64 y_w,
                           global const element *x, const index64 x_at, const index64 x_w, const index64 x_c,
                           const int count, const index64 c, const index64 C, const int BEFORE, const int AFTER,
                           const real share, const real k, const real beta, const int exponent)
{
    real base[PIECE];
    bases(base, x, x_at, x_w, count, x_c, c, C, BEFORE, AFTER, share, k);
    const int vectors = exponent == THREE_QUARTERS && (finishes || y_w == 1) ? count / LANES * LANES : 0;
    const int whole = are_normal(base, vectors) ? vectors : 0;
    for (int i = 0; i < whole; i += LANES) {
        const vector root = inverse_fourth_root(load_private(base + i));
        const vector result = lanes_at(x, x_at + i * x_w, x_w) * (root * root * root);
        if (finishes) store_vector(value + i, result);
        else store_lanes(y, y_at + i, result);
    }
    for (int i = whole; i < count; i++) {
        const real result = load(x, x_at + i * x_w) * response(base[i], beta, exponent);
        if (finishes) value[i] = result;
        else store(y, y_at + i * y_w, result);
    }
}

kernel void response_norm(
    WORK_ITEM
    global const element *x, EPILOGUE_ARRAYS, global element *y,
    CHANNELS, VIEW(x), VIEW(y), const real share, const real k, const real beta, const int exponent, const int RUN,
    EPILOGUE, VIEW(residual))
{
    POSITION
    real value[PIECE];
    const int finishes = has_scale | has_shift | has_residual | (activation != NO_ACTIVATION);
    for (int w = begin; w < end; w += PIECE) {
        const int count = end - w < PIECE ? end - w : PIECE;
        const index64 x_at = AT(x, n, c, d, h, w), y_at = AT(y, n, c, d, h, w);
        if (finishes) {
            outputs(value, 1, y, y_at, y_w, x, x_at, x_w, x_c, count, c, C, BEFORE, AFTER, share, k, beta, exponent);
            FINISH_RUN(value, count, c, AT(residual, n, c, d, h, w), residual_w);
            store_run(y, y_at, y_w, value, count);
        } else if (x_w == 1 && y_w == 1 && exponent == THREE_QUARTERS)
            outputs(value, 0, y, y_at, 1, x, x_at, 1, x_c, count, c, C, BEFORE, AFTER, share, k, beta, THREE_QUARTERS);
        else
            outputs(value, 0, y, y_at, y_w, x, x_at, x_w, x_c, count, c, C, BEFORE, AFTER, share, k, beta, exponent);
    }
}

static inline void slopes(global const element *dy, const index64 dy_at, const index64 dy_w,
                          global const element *x, const index64 x_at, const index64 x_w, const index64 x_c,
                          global real *direct, global real *slope, const int count,
                          const index64 c, const index64 C, const int BEFORE, const int AFTER,
                          const real share, const real k, const real beta, const int exponent)
{
    real base[PIECE];
    bases(base, x, x_at, x_w, count, x_c, c, C, BEFORE, AFTER, share, k);
    const int whole = exponent == THREE_QUARTERS && are_normal(base, count / LANES * LANES) ? count / LANES * LANES : 0;
    for (int i = 0; i < whole; i += LANES) {
        const vector y = inverse_fourth_root(load_private(base + i)), square = y * y;
        const vector through = lanes_at(dy, dy_at + i * dy_w, dy_w) * (y * square);
        store_global(direct + i, through);
        store_global(slope + i, through * lanes_at(x, x_at + i * x_w, x_w) * (square * square));
    }
    for (int i = whole; i < count; i++) {
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
    for (int w = begin; w < end; w += PIECE) {
        const int count = end - w < PIECE ? end - w : PIECE;
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
    const index64 first = c > AFTER ? -(index64)AFTER : -c, last = C - 1 - c > BEFORE ? BEFORE : C - 1 - c;
    int i = 0;
    for (; dx_w == 1 && i + LANES <= count; i += LANES) {
        vector sum = splat(0);
        for (index64 shift = first; shift <= last; shift++) sum += load_vector(slope + shift * plane + i);
        store_lanes(dx, dx_at + i, load_vector(direct + i) - factor * lanes_at(x, x_at + i * x_w, x_w) * sum);
    }
    for (; i < count; i++) {
        real sum = 0;
        for (index64 shift = first; shift <= last; shift++) sum += slope[shift * plane + i];
        store(dx, dx_at + i * dx_w, direct[i] - factor * load(x, x_at + i * x_w) * sum);
    }
}

kernel void response_norm_bwd(
    WORK_ITEM
    global const element *x, global const real *direct, global const real *slope, global element *dx,
    CHANNELS, VIEW(x), VIEW(dx), const real factor, const int RUN)
{
    POSITION
    const index64 plane = (index64)D * H * W;
    for (int w = begin; w < end; w += PIECE) {
        const int count = end - w < PIECE ? end - w : PIECE;
        const index64 x_at = AT(x, n, c, d, h, w), dx_at = AT(dx, n, c, d, h, w);
        const index64 at = (((n * C + c) * D + d) * H + h) * W + w;
        if (x_w == 1 && dx_w == 1)
            gradients(direct + at, slope + at, plane, x, x_at, 1, dx, dx_at, 1, count, c, C, BEFORE, AFTER, factor);
        else
            gradients(direct + at, slope + at, plane, x, x_at, x_w, dx, dx_at, dx_w, count, c, C, BEFORE, AFTER, factor);
    }
}
