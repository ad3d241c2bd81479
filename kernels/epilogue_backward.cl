/* The gradients of an epilogue, in one pass over memory:
 *
 *     z  = scale[c] v + shift[c] + residual     dr = g f'(z)          dshift[c] = sum of dr over all but channels
 *     y  = f(z)                                 dv = scale[c] dr      dscale[c] = sum of dr v
 *
 * Where f' follows from y, v may be y. Positions are all but the channel: n, d, h, w. A work-item has a share of them: of
 * one channel, in runs along w; or, where neighbouring channels lie side by side, of up to WIDTH channels, whose values
 * at one position are a run. Its sums are added up by place in the run, and then go to `part`; sum_parts adds them up.
 */
#include "epilogue.h"
#include "convolution.h"

#define LINE 256

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

#define GRADIENTS(gradient, function) \
    case function: for (int i = 0; i < count; i++) g[i] = gradient(z[i], g[i], function, slope); break

/* g becomes g f'(z), or with y for z the same. */
static inline void differentiate(
    real *restrict g, const real *restrict z, const int count, const int function, const real slope)
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

static inline void differentiate_by_output(
    real *restrict g, const real *restrict z, const int count, const int function, const real slope)
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
    const index64 blocks = across ? (C + WIDTH - 1) / WIDTH : C;
    if (WORK_ITEM_INDEX >= blocks * PARTS) return;
    /* Neighbouring work-items have neighbouring channels or positions, whichever lie side by side. */
    const index64 block = across ? WORK_ITEM_INDEX % blocks : WORK_ITEM_INDEX / PARTS;
    const index64 share = across ? WORK_ITEM_INDEX / blocks : WORK_ITEM_INDEX % PARTS;
    const index64 c = across ? block * WIDTH : block;
    const int channels = across ? (int)LEAST(WIDTH, C - c) : 1, width = across ? channels : WIDTH;
    const int reads_value = wants_scale || activation != NO_ACTIVATION;
    const int is_affine = activation != NO_ACTIVATION && !by_output;

    real value[LINE], z[LINE], dz[LINE], factor[LINE], term[LINE], shifts[LINE], scales[LINE];
    for (int i = 0; i < width; i++) {
        const index64 channel = across ? c + i : c;
        factor[i] = has_scale ? load(scale, scale_start + channel * scale_c) : 1;
        term[i] = has_shift && is_affine ? load(shift, shift_start + channel * shift_c) : 0;
        shifts[i] = scales[i] = 0;
    }
    const index64 positions = N * D * H * W;
    for (index64 begin = share * CHUNK; begin < positions; begin += PARTS * CHUNK) {
        const index64 end = LEAST(begin + CHUNK, positions);
        index64 w = begin % W, row = begin / W;
        index64 h = row % H, d = row / H % D, n = row / H / D;
        for (index64 p = begin; p < end;) {
            const int count = across ? width : (int)LEAST(width, LEAST(W - w, end - p));
            read_run(dz, g, AT(g, n, c, d, h, w), across ? g_c : g_w, count);
            if (reads_value) read_run(value, v, AT(v, n, c, d, h, w), across ? v_c : v_w, count);
            if (by_output) {
                differentiate_by_output(dz, value, count, activation, slope);
            } else if (is_affine) {
                for (int i = 0; i < count; i++) z[i] = value[i] * factor[i] + term[i];
                if (has_residual)
                    add_to_run(z, residual, AT(residual, n, c, d, h, w), across ? residual_c : residual_w, count);
                differentiate(dz, z, count, activation, slope);
            }
            if (wants_shift) for (int i = 0; i < count; i++) shifts[i] += dz[i];
            if (wants_scale) for (int i = 0; i < count; i++) scales[i] += dz[i] * value[i];
            if (wants_residual) write_run(dr, AT(dr, n, c, d, h, w), across ? dr_c : dr_w, dz, count);
            if (wants_value && has_scale) for (int i = 0; i < count; i++) dz[i] *= factor[i];
            if (wants_value) write_run(dv, AT(dv, n, c, d, h, w), across ? dv_c : dv_w, dz, count);
            p += across ? 1 : count;
            w += across ? 1 : count;
            if (w < W) continue;
            w = 0;
            if (++h < H) continue;
            h = 0;
            if (++d < D) continue;
            d = 0;
            n++;
        }
    }
    for (int i = channels; i < width; i++) {
        shifts[0] += shifts[i];
        scales[0] += scales[i];
    }
    for (int i = 0; i < channels; i++) {
        if (wants_shift) shift_part[share * C + c + i] = shifts[i];
        if (wants_scale) scale_part[share * C + c + i] = scales[i];
    }
}
