/* The cross entropy of softmax over the axis c and a target, which is a class t or a probability q[c] for each class; at
 * each position, with S the smoothing, q[c] = 1 for c = t and 0 for others where there are classes,
 *
 *     loss = sum over c of k[c] (log(sum exp(x)) - x[c]),    k[c] = w[c] ((1 - S) q[c] + S/C).
 *
 * The mean divides the sum of the losses by that of w[t], or by the number of positions where there are probabilities;
 * ignored positions have neither loss nor weight. With scale = g, or g over what the mean divides by, and p the softmax,
 *
 *     dx[c] = scale (p[c] sum(k) - k[c])        dq[c] = scale w[c] (1 - S) (log(sum exp(x)) - x[c]).
 *
 * A class that does not exist makes loss and gradient NaN.
 */
#include "softmax.h"

#define TARGET \
    const index64 w_start, const index64 w_c, const int has_classes, const int has_weight, const index64 ignored, \
    const real smoothing

/* Instead of a class, where the target is none. */
#define IGNORED (-1)
#define WRONG (-2)

static inline int class_of(const index64 target, const index64 C, const index64 ignored)
{
    return target == ignored ? IGNORED : target < 0 || target >= C ? WRONG : (int)target;
}

static inline real class_weight(global const element *w, const index64 at, const int has_weight)
{
    return has_weight ? load(w, at) : (real)1;
}

/* k[c], but for w[c] */
static inline real share(const real target, const index64 C, const real smoothing)
{
    return (1 - smoothing) * target + smoothing / C;
}

/* w of the target, or what the mean counts a position as that has probabilities. */
static inline real norm_of(const int class, global const element *w, const index64 w_start, const index64 w_c,
                           const int has_classes, const int has_weight)
{
    if (!has_classes) return 1;
    if (class == IGNORED) return 0;
    return class == WRONG ? not_a_number() : class_weight(w, w_start + class * w_c, has_weight);
}

/* m = max(x) and the sum of e = exp(x - m) at `run` positions; e is kept in `y` where it is wanted. */
static inline void sums_of_tile(
    global const element *x, const index64 x_from, const index64 x_c, const index64 x_w,
    global element *y, const index64 y_from, const index64 y_c, const index64 y_w,
    const index64 C, const int run, const int is_kept, real *best, real *sum)
{
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
            if (is_kept) keep(y, y_from + c * y_c + w * y_w, e);
        }
    }
}

/* The same of one row without gaps. */
static inline void sums_of_row(
    global const element *x, const index64 from, global element *y, const index64 to, const index64 C,
    const int is_kept, real *best, real *sum)
{
    const real most = row_maximum(x, from, C);
    real part[LANES];
    for (int l = 0; l < LANES; l++) part[l] = 0;
    index64 c = 0;
    for (; c + LANES <= C; c += LANES) {
        INDEPENDENT for (int l = 0; l < LANES; l++) {
            const real e = exponential(load(x, from + c + l) - most);
            part[l] += e;
            if (is_kept) keep(y, to + c + l, e);
        }
    }
    for (; c < C; c++) {
        const real e = exponential(load(x, from + c) - most);
        part[0] += e;
        if (is_kept) keep(y, to + c, e);
    }
    best[0] = most;
    sum[0] = total(part);
}

/* The losses of `run` positions: of one class each, or of shares of all. */
static inline void losses_of_tile(
    global const element *x, const index64 x_from, const index64 x_c, const index64 x_w,
    global const element *q, const index64 q_from, const index64 q_c, const index64 q_w,
    global const element *w_, const index64 w_start, const index64 w_c, const int has_classes, const int has_weight,
    const real smoothing, const index64 C, const int run, const int *class, const real *best, const real *log_sum,
    real *losses)
{
    if (has_classes && smoothing == 0) {
        for (int w = 0; w < run; w++) {
            const int c = class[w] < 0 ? 0 : class[w];
            const real k = class_weight(w_, w_start + c * w_c, has_weight);
            const real surprise = log_sum[w] - (load(x, x_from + c * x_c + w * x_w) - best[w]);
            losses[w] = k == 0 ? (real)0 : k * surprise;
        }
        return;
    }
    for (int w = 0; w < run; w++) losses[w] = 0;
    for (index64 c = 0; c < C; c++) {
        const real weight = class_weight(w_, w_start + c * w_c, has_weight);
        for (int w = 0; w < run; w++) {
            const real target = has_classes ? (c == class[w] ? (real)1 : (real)0) : load(q, q_from + c * q_c + w * q_w);
            const real k = share(target, C, smoothing) * weight;
            const real surprise = log_sum[w] - (load(x, x_from + c * x_c + w * x_w) - best[w]);
            losses[w] += k == 0 ? (real)0 : k * surprise;
        }
    }
}

/* Whether a work-item's positions are rows whose classes lie side by side, and its positions do not. */
#define IN_ROWS(a) (a##_c == 1 && a##_w != 1)

kernel void cross_entropy(
    WORK_ITEM
    global const element *x, global const index64 *t, global const element *q, global const element *w,
    global real *loss, global real *norm,
    EXTENTS, VIEW(x), VIEW(t), VIEW(q), TARGET)
{
    POSITION_OF_ITEM
    const int run = W - first < RUN ? W - first : RUN;
    const index64 place = ((n * D + d) * H + h) * W + first;
    const index64 from = AT(x, n, 0, d, h, first), q_from = AT(q, n, 0, d, h, first);
    const index64 t_from = AT(t, n, 0, d, h, first);
    real best[TILE], sum[TILE], losses[TILE];
    int class[TILE];
    for (int i = 0; i < run; i++) class[i] = has_classes ? class_of(t[t_from + i * t_w], C, ignored) : 0;
    if (IN_ROWS(x)) {
        for (int i = 0; i < run; i++)
            sums_of_row(x, from + i * x_w, 0, 0, C, 0, best + i, sum + i);
    } else if (run == TILE && x_w == 1) {
        sums_of_tile(x, from, x_c, 1, 0, 0, 0, 0, C, TILE, 0, best, sum);
    } else {
        sums_of_tile(x, from, x_c, x_w, 0, 0, 0, 0, C, run, 0, best, sum);
    }
    for (int i = 0; i < run; i++) sum[i] = logarithm(sum[i]);
    if (run == TILE && x_w == 1 && (has_classes || q_w == 1))
        losses_of_tile(x, from, x_c, 1, q, q_from, q_c, 1, w, w_start, w_c, has_classes, has_weight, smoothing, C, TILE,
                       class, best, sum, losses);
    else
        losses_of_tile(x, from, x_c, x_w, q, q_from, q_c, q_w, w, w_start, w_c, has_classes, has_weight, smoothing, C,
                       run, class, best, sum, losses);
    for (int i = 0; i < run; i++) {
        loss[place + i] = class[i] == IGNORED ? (real)0 : class[i] == WRONG ? not_a_number() : losses[i];
        norm[place + i] = norm_of(class[i], w, w_start, w_c, has_classes, has_weight);
    }
}

/* What the mean divides by, position by position. */
kernel void cross_entropy_norms(
    WORK_ITEM
    global const index64 *t, global const element *w, global real *norm, EXTENTS, VIEW(t), TARGET)
{
    POSITION_OF_ITEM
    const int run = W - first < RUN ? W - first : RUN;
    const index64 place = ((n * D + d) * H + h) * W + first, from = AT(t, n, 0, d, h, first);
    for (int i = 0; i < run; i++) {
        const int class = has_classes ? class_of(t[from + i * t_w], C, ignored) : 0;
        norm[place + i] = norm_of(class, w, w_start, w_c, has_classes, has_weight);
    }
}

/* The losses one by one. */
kernel void cross_entropy_each(
    WORK_ITEM
    global const real *loss, global element *y, EXTENTS, VIEW(y))
{
    POSITION_OF_ITEM
    const int run = W - first < RUN ? W - first : RUN;
    const index64 place = ((n * D + d) * H + h) * W + first, to = AT(y, n, 0, d, h, first);
    for (int i = 0; i < run; i++) store(y, to + i * y_w, loss[place + i]);
}

/* part[s] and part[PARTS + s]: the sums of slice s of the losses and of what the mean divides by. */
kernel void cross_entropy_parts(
    WORK_ITEM
    global const real *loss, global const real *norm, global real *part, const index64 COUNT, const index64 PARTS)
{
    const index64 slice = WORK_ITEM_INDEX;
    if (slice >= PARTS) return;
    const index64 end = COUNT * (slice + 1) / PARTS;
    real losses = 0, norms = 0;
    for (index64 place = COUNT * slice / PARTS; place < end; place++) {
        losses += loss[place];
        norms += norm[place];
    }
    part[slice] = losses;
    part[PARTS + slice] = norms;
}

/* The total: stored as the result if there is one, and what gradients are divided by. */
kernel void cross_entropy_total(
    WORK_ITEM
    global const real *part, global element *y, global real *divisor,
    const index64 PARTS, const index64 y_start, const int has_result, const int is_mean)
{
    if (WORK_ITEM_INDEX > 0) return;
    real losses = 0, norms = 0;
    for (index64 slice = 0; slice < PARTS; slice++) {
        losses += part[slice];
        norms += part[PARTS + slice];
    }
    divisor[0] = is_mean ? norms : (real)1;
    if (has_result) store(y, y_start, is_mean ? losses / norms : losses);
}

/* dx at `run` positions, of which those that are ignored have none; e may be kept in dx. `sum` is that of e. */
static inline void gradient_of_tile(
    global const element *x, const index64 x_from, const index64 x_c, const index64 x_w,
    global const element *q, const index64 q_from, const index64 q_c, const index64 q_w,
    global element *dx, const index64 dx_from, const index64 dx_c, const index64 dx_w,
    global const element *w_, const index64 w_start, const index64 w_c, const int has_classes, const int has_weight,
    const real smoothing, const index64 C, const int run, const int *class, const real *best, const real *sum,
    const real *scale)
{
    real factor[TILE];
    for (int w = 0; w < run; w++) factor[w] = 0;
    if (has_classes && smoothing == 0) {
        for (int w = 0; w < run; w++)
            factor[w] = class_weight(w_, w_start + (class[w] < 0 ? 0 : class[w]) * w_c, has_weight);
    } else {
        for (index64 c = 0; c < C; c++) {
            const real weight = class_weight(w_, w_start + c * w_c, has_weight);
            for (int w = 0; w < run; w++) {
                const real target =
                    has_classes ? (c == class[w] ? (real)1 : (real)0) : load(q, q_from + c * q_c + w * q_w);
                factor[w] += share(target, C, smoothing) * weight;
            }
        }
    }
    for (int w = 0; w < run; w++) factor[w] /= sum[w];
    for (index64 c = 0; c < C; c++) {
        const real weight = class_weight(w_, w_start + c * w_c, has_weight);
        INDEPENDENT for (int w = 0; w < run; w++) {
            const real target = has_classes ? (c == class[w] ? (real)1 : (real)0) : load(q, q_from + c * q_c + w * q_w);
            const real k = share(target, C, smoothing) * weight;
            const index64 to = dx_from + c * dx_c + w * dx_w;
            const real e = kept(x, x_from + c * x_c + w * x_w, best[w], dx, to);
            const real gradient = scale[w] * (e * factor[w] - k);
            store(dx, to, class[w] == IGNORED ? (real)0 : gradient);
        }
    }
}

/* The same of one row without gaps, for classes without smoothing: all classes, then the target's again. */
static inline void gradient_of_row(
    global const element *x, const index64 from, global element *dx, const index64 to, const index64 C, const int class,
    const real weight, const real best, const real sum, const real scale)
{
    const real factor = weight / sum;
    if (class == IGNORED) {
        for (index64 c = 0; c < C; c++) store(dx, to + c, 0);
        return;
    }
    const real target = class < 0 ? (real)0 : kept(x, from + class, best, dx, to + class);
    INDEPENDENT for (index64 c = 0; c < C; c++) store(dx, to + c, scale * (kept(x, from + c, best, dx, to + c) * factor));
    if (class >= 0) store(dx, to + class, scale * (target * factor - weight));
}

static inline void gradient_of_target(
    global const element *x, const index64 x_from, const index64 x_c, const index64 x_w,
    global element *dq, const index64 dq_from, const index64 dq_c, const index64 dq_w,
    global const element *w_, const index64 w_start, const index64 w_c, const int has_weight,
    const real smoothing, const index64 C, const int run, const real *best, const real *log_sum, const real *scale)
{
    for (index64 c = 0; c < C; c++) {
        const real weight = class_weight(w_, w_start + c * w_c, has_weight) * (1 - smoothing);
        for (int w = 0; w < run; w++) {
            const real surprise = log_sum[w] - (load(x, x_from + c * x_c + w * x_w) - best[w]);
            store(dq, dq_from + c * dq_c + w * dq_w, scale[w] * weight * surprise);
        }
    }
}

kernel void cross_entropy_backward(
    WORK_ITEM
    global const element *g, global const element *x, global const index64 *t, global const element *q,
    global const element *w, global const real *divisor, global element *dx, global element *dq,
    EXTENTS, VIEW(g), VIEW(x), VIEW(t), VIEW(q), VIEW(dx), VIEW(dq), TARGET, const int is_mean, const int wants_input,
    const int wants_target)
{
    POSITION_OF_ITEM
    const int run = W - first < RUN ? W - first : RUN;
    const index64 from = AT(x, n, 0, d, h, first), q_from = AT(q, n, 0, d, h, first);
    const index64 to = AT(dx, n, 0, d, h, first), dq_to = AT(dq, n, 0, d, h, first);
    const index64 t_from = AT(t, n, 0, d, h, first), g_from = AT(g, n, 0, d, h, first);
    const int whole_tile = run == TILE && x_w == 1 && (!wants_input || dx_w == 1) && (has_classes || q_w == 1);
    const int in_rows = IN_ROWS(x) && (!wants_input || IN_ROWS(dx));
    real best[TILE], sum[TILE], scale[TILE];
    int class[TILE];
    for (int i = 0; i < run; i++) {
        class[i] = has_classes ? class_of(t[t_from + i * t_w], C, ignored) : 0;
        const real incoming = load(g, g_from + i * g_w);
        scale[i] = class[i] == WRONG ? not_a_number() : is_mean ? incoming / divisor[0] : incoming;
    }
    if (in_rows && has_classes && smoothing == 0) {
        for (int i = 0; i < run; i++) {
            const index64 row = from + i * x_w, target = to + i * dx_w;
            const real weight = class_weight(w, w_start + (class[i] < 0 ? 0 : class[i]) * w_c, has_weight);
            sums_of_row(x, row, dx, target, C, wants_input, best, sum);
            if (wants_input) gradient_of_row(x, row, dx, target, C, class[i], weight, best[0], sum[0], scale[i]);
        }
        return;
    }
    if (in_rows) {
        for (int i = 0; i < run; i++)
            sums_of_row(x, from + i * x_w, dx, to + i * dx_w, C, wants_input, best + i, sum + i);
    } else if (whole_tile) {
        sums_of_tile(x, from, x_c, 1, dx, to, dx_c, 1, C, TILE, wants_input, best, sum);
    } else {
        sums_of_tile(x, from, x_c, x_w, dx, to, dx_c, dx_w, C, run, wants_input, best, sum);
    }
    if (wants_input && whole_tile)
        gradient_of_tile(x, from, x_c, 1, q, q_from, q_c, 1, dx, to, dx_c, 1, w, w_start, w_c, has_classes, has_weight,
                         smoothing, C, TILE, class, best, sum, scale);
    else if (wants_input)
        gradient_of_tile(x, from, x_c, x_w, q, q_from, q_c, q_w, dx, to, dx_c, dx_w, w, w_start, w_c, has_classes,
                         has_weight, smoothing, C, run, class, best, sum, scale);
    if (!wants_target) return;
    for (int i = 0; i < run; i++) sum[i] = logarithm(sum[i]);
    gradient_of_target(x, from, x_c, x_w, dq, dq_to, dq_c, dq_w, w, w_start, w_c, has_weight, smoothing, C, run, best,
                       sum, scale);
}
