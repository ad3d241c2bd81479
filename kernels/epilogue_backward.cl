/* The gradients of an epilogue, in one pass over memory:
 *
 *     z  = scale[c] v + shift[c] + residual     dr = g f'(z)          dshift[c] = sum of dr over all but channels
 *     y  = f(z)                                 dv = scale[c] dr      dscale[c] = sum of dr v
 *
 * Where f' follows from y, v may be y. A work-item has up to WIDTH channels and a share of the positions, which are all
 * but the channel: n, d, h, w. Values are handled in runs: along w, of one channel; or where neighbouring channels lie
 * side by side, across channels at one position. A work-item's sums go to `part`; sum_parts adds them up.
 */
#include "epilogue.h"
#include "convolution.h"

/* The longest run, and the most channels of a work-item: clconv.algorithms.epilogue_backward. */
#define LINE 64
#define BLOCK 512

#define LANES 16
#define LEAST(a, b) ((a) < (b) ? (a) : (b))

static inline void read_run(
    real *restrict run, global const element *restrict a, const index64 at, const index64 step, const int count)
{
    if (step == 1) for (int i = 0; i < count; i++) run[i] = load(a, at + i);
    else for (int i = 0; i < count; i++) run[i] = load(a, at + i * step);
}

static inline void add_to_run(
    real *restrict run, global const element *restrict a, const index64 at, const index64 step, const int count)
{
    if (step == 1) for (int i = 0; i < count; i++) run[i] += load(a, at + i);
    else for (int i = 0; i < count; i++) run[i] += load(a, at + i * step);
}

static inline void write_run(
    global element *restrict a, const index64 at, const index64 step, const real *restrict run, const int count)
{
    if (step == 1) for (int i = 0; i < count; i++) store(a, at + i, run[i]);
    else for (int i = 0; i < count; i++) store(a, at + i * step, run[i]);
}

/* run = run*factor + term: of each channel, or of the only one. */
static inline void scale_run(
    real *restrict run, const real *restrict factor, const real *restrict term, const int count, const int across)
{
    const real the_factor = factor[0], the_term = term[0];
    if (across) for (int i = 0; i < count; i++) run[i] = run[i] * factor[i] + term[i];
    else for (int i = 0; i < count; i++) run[i] = run[i] * the_factor + the_term;
}

static inline void multiply_run(real *restrict run, const real *restrict factor, const int count, const int across)
{
    const real the_factor = factor[0];
    if (across) for (int i = 0; i < count; i++) run[i] *= factor[i];
    else for (int i = 0; i < count; i++) run[i] *= the_factor;
}

/* Adds a run to the sums of its channels, or of its only one. */
static inline void add_to_sums(real *restrict sums, const real *restrict run, const int count, const int across)
{
    if (across) {
        for (int i = 0; i < count; i++) sums[i] += run[i];
        return;
    }
    real lane[LANES];
    for (int l = 0; l < LANES; l++) lane[l] = 0;
    const int whole = count / LANES * LANES;
    for (int i = 0; i < whole; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += run[i + l];
    for (int i = whole; i < count; i++) lane[i - whole] += run[i];
    for (int distance = LANES / 2; distance; distance /= 2)
        for (int l = 0; l < distance; l++) lane[l] += lane[l + distance];
    sums[0] += lane[0];
}

#define GRADIENTS(gradient, function) \
    case function: for (int i = 0; i < count; i++) dz[i] = gradient(z[i], dz[i], function, slope); break

/* dz, which is g, becomes g f'(z). */
static inline void differentiate(
    real *restrict dz, const real *restrict z, const int count, const int function, const real slope)
{
    switch (function) {
    GRADIENTS(activation_gradient, RELU);
    GRADIENTS(activation_gradient, LEAKY_RELU);
    GRADIENTS(activation_gradient, SIGMOID);
    GRADIENTS(activation_gradient, TANH);
    GRADIENTS(activation_gradient, SILU);
    GRADIENTS(activation_gradient, GELU);
    GRADIENTS(activation_gradient, GELU_TANH);
    GRADIENTS(activation_gradient, HARDSWISH);
    default: break;
    }
}

/* The same of y for z. */
static inline void differentiate_by_output(
    real *restrict dz, const real *restrict z, const int count, const int function, const real slope)
{
    switch (function) {
    GRADIENTS(gradient_by_output, RELU);
    GRADIENTS(gradient_by_output, LEAKY_RELU);
    GRADIENTS(gradient_by_output, SIGMOID);
    GRADIENTS(gradient_by_output, TANH);
    default: break;
    }
}

kernel void epilogue_backward(
    WORK_ITEM
    global const element *g, global const element *v, EPILOGUE_ARRAYS, global element *dv, global element *dr,
    global real *scale_part, global real *shift_part,
    const index64 N, const index64 C, const index64 D, const index64 H, const index64 W,
    VIEW(g), VIEW(v), VIEW(dv), VIEW(dr), EPILOGUE, VIEW(residual),
    const int by_output, const int wants_value, const int wants_scale, const int wants_shift, const int wants_residual,
    const int across, const int WIDTH, const index64 CHUNK, const index64 PARTS)
{
    const index64 blocks = (C + WIDTH - 1) / WIDTH;
    if (WORK_ITEM_INDEX >= blocks * PARTS) return;
    /* Neighbouring work-items have neighbouring channels or positions, whichever lie side by side. */
    const index64 block = across ? WORK_ITEM_INDEX % blocks : WORK_ITEM_INDEX / PARTS;
    const index64 share = across ? WORK_ITEM_INDEX / blocks : WORK_ITEM_INDEX % PARTS;
    const index64 first = block * WIDTH;
    const int channels = (int)LEAST(WIDTH, C - first);
    const int is_affine = activation != NO_ACTIVATION && !by_output;

    real factor[BLOCK], term[BLOCK], shifts[BLOCK], scales[BLOCK];
    for (int i = 0; i < channels; i++) {
        factor[i] = has_scale ? load(scale, scale_start + (first + i) * scale_c) : 1;
        term[i] = has_shift && is_affine ? load(shift, shift_start + (first + i) * shift_c) : 0;
        shifts[i] = scales[i] = 0;
    }
    const index64 positions = N * D * H * W, at_once = across ? LINE : 1;
    for (index64 begin = share * CHUNK; begin < positions; begin += PARTS * CHUNK) {
        const index64 end = LEAST(begin + CHUNK, positions);
        const index64 row = begin / W;
        index64 w = begin % W, h = row % H, d = row / H % D, n = row / H / D;
        for (index64 p = begin; p < end;) {
            const index64 along = across ? 1 : LEAST(W - w, end - p);
            for (index64 i = 0; i < channels; i += at_once) {
                const index64 c = first + i;
                for (index64 k = 0; k < along; k += LINE) {
                    const int count = (int)LEAST(LINE, across ? channels - i : along - k);
                    real z[LINE], dz[LINE];
                    read_run(dz, g, AT(g, n, c, d, h, w + k), across ? g_c : g_w, count);
                    if (activation != NO_ACTIVATION)
                        read_run(z, v, AT(v, n, c, d, h, w + k), across ? v_c : v_w, count);
                    if (is_affine && (has_scale | has_shift)) scale_run(z, factor + i, term + i, count, across);
                    if (is_affine && has_residual)
                        add_to_run(z, residual, AT(residual, n, c, d, h, w + k), across ? residual_c : residual_w, count);
                    if (by_output) differentiate_by_output(dz, z, count, activation, slope);
                    else differentiate(dz, z, count, activation, slope);

                    if (wants_shift) add_to_sums(shifts + i, dz, count, across);
                    if (wants_residual) write_run(dr, AT(dr, n, c, d, h, w + k), across ? dr_c : dr_w, dz, count);
                    if (wants_scale) {
                        read_run(z, v, AT(v, n, c, d, h, w + k), across ? v_c : v_w, count);
                        for (int j = 0; j < count; j++) z[j] *= dz[j];
                        add_to_sums(scales + i, z, count, across);
                    }
                    if (has_scale && wants_value) multiply_run(dz, factor + i, count, across);
                    if (wants_value) write_run(dv, AT(dv, n, c, d, h, w + k), across ? dv_c : dv_w, dz, count);
                }
            }
            p += along;
            w += along;
            if (w < W) continue;
            w = 0;
            if (++h < H) continue;
            h = 0;
            if (++d < D) continue;
            d = 0;
            n++;
        }
    }
    for (int i = 0; i < channels; i++) {
        if (wants_shift) shift_part[share * C + first + i] = shifts[i];
        if (wants_scale) scale_part[share * C + first + i] = scales[i];
    }
}
