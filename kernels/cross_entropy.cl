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
#include "elementwise.h"
#include "math.h"

#define TARGET \
    const index64 w_start, const index64 w_c, const int has_classes, const int has_weight, const index64 ignored, \
    const real smoothing

/* What a position's loss is made of. */
typedef struct {
    real best, sum; /* m = max(x), and the sum of exp(x - m) */
    index64 class;  /* -1 where there are probabilities */
    int is_ignored, is_wrong;
} position;

static inline real class_weight(global const element *w, const index64 at, const int has_weight)
{
    return has_weight ? load(w, at) : (real)1;
}

static inline position position_of(
    global const element *x, const index64 from, const index64 x_c, const index64 C,
    global const index64 *t, const index64 t_at, const int has_classes, const index64 ignored)
{
    position here;
    here.class = has_classes ? t[t_at] : -1;
    here.is_ignored = has_classes && here.class == ignored;
    here.is_wrong = has_classes && !here.is_ignored && (here.class < 0 || here.class >= C);
    here.best = -infinity();
    here.sum = 0;
    for (index64 c = 0; c < C; c++) {
        const real v = load(x, from + c * x_c);
        here.best = v > here.best ? v : here.best;
    }
    for (index64 c = 0; c < C; c++) here.sum += exponential(load(x, from + c * x_c) - here.best);
    return here;
}

/* k[c], but for w[c] */
static inline real share(
    const position here, global const element *q, const index64 at, const index64 c, const index64 C,
    const real smoothing)
{
    const real target = here.class < 0 ? load(q, at) : c == here.class ? (real)1 : (real)0;
    return (1 - smoothing) * target + smoothing / C;
}

kernel void cross_entropy(
    WORK_ITEM
    global const element *x, global const index64 *t, global const element *q, global const element *w,
    global real *loss, global real *norm,
    EXTENTS, VIEW(x), VIEW(t), VIEW(q), TARGET)
{
    const index64 place = WORK_ITEM_INDEX;
    POSITION_OF_ITEM
    const index64 from = AT(x, n, 0, d, h, first), q_from = AT(q, n, 0, d, h, first);
    const position here = position_of(x, from, x_c, C, t, AT(t, n, 0, d, h, first), has_classes, ignored);
    if (here.is_ignored || here.is_wrong) {
        loss[place] = norm[place] = here.is_ignored ? (real)0 : not_a_number();
        return;
    }
    const real log_sum = logarithm(here.sum);
    real total = 0;
    for (index64 c = 0; c < C; c++) {
        const real k = share(here, q, q_from + c * q_c, c, C, smoothing) * class_weight(w, w_start + c * w_c, has_weight);
        const real surprise = log_sum - (load(x, from + c * x_c) - here.best);
        total += k == 0 ? (real)0 : k * surprise;
    }
    loss[place] = total;
    norm[place] = has_classes ? class_weight(w, w_start + here.class * w_c, has_weight) : (real)1;
}

/* The losses one by one. */
kernel void cross_entropy_each(
    WORK_ITEM
    global const real *loss, global element *y, EXTENTS, VIEW(y))
{
    const index64 place = WORK_ITEM_INDEX;
    POSITION_OF_ITEM
    store(y, AT(y, n, 0, d, h, first), loss[place]);
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

kernel void cross_entropy_backward(
    WORK_ITEM
    global const element *g, global const element *x, global const index64 *t, global const element *q,
    global const element *w, global const real *divisor, global element *dx, global element *dq,
    EXTENTS, VIEW(g), VIEW(x), VIEW(t), VIEW(q), VIEW(dx), VIEW(dq), TARGET, const int wants_input, const int wants_target)
{
    POSITION_OF_ITEM
    const index64 from = AT(x, n, 0, d, h, first), q_from = AT(q, n, 0, d, h, first);
    const index64 to = AT(dx, n, 0, d, h, first), dq_to = AT(dq, n, 0, d, h, first);
    const position here = position_of(x, from, x_c, C, t, AT(t, n, 0, d, h, first), has_classes, ignored);
    if (here.is_ignored || here.is_wrong) {
        for (index64 c = 0; c < C && wants_input; c++)
            store(dx, to + c * dx_c, here.is_ignored ? (real)0 : not_a_number());
        return;
    }
    const real scale = load(g, AT(g, n, 0, d, h, first)) / divisor[0];
    const real log_sum = logarithm(here.sum);
    real sum = 0;
    for (index64 c = 0; c < C; c++)
        sum += share(here, q, q_from + c * q_c, c, C, smoothing) * class_weight(w, w_start + c * w_c, has_weight);
    for (index64 c = 0; c < C; c++) {
        const real weight = class_weight(w, w_start + c * w_c, has_weight);
        const real k = share(here, q, q_from + c * q_c, c, C, smoothing) * weight;
        const real v = load(x, from + c * x_c) - here.best;
        if (wants_input) store(dx, to + c * dx_c, scale * (exponential(v) / here.sum * sum - k));
        if (wants_target) store(dq, dq_to + c * dq_c, scale * weight * (1 - smoothing) * (log_sum - v));
    }
}
