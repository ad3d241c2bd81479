/* Convolutions by the calling convention of clconv.oracle.adapters: every operation is one walk over all products. */

#include <stddef.h>
#include <stdint.h>

#ifndef T
#define T float
#endif

typedef struct {
    int64_t N, IC, I[3], OC, K[3], S[3], P[3], Q[3], D[3], G, O[3], E[3];
} Problem;

/* Read the row of numbers; axes that are not there come first and have one pixel, one tap, one place. */
static Problem unpacked(int rank, int transposed, const int64_t *sizes)
{
    Problem p = {.I = {1, 1, 1}, .K = {1, 1, 1}, .S = {1, 1, 1}, .D = {1, 1, 1}, .O = {1, 1, 1}};
    int64_t *fields[] = {&p.N, &p.IC, p.I, &p.OC, p.K, p.S, p.P, p.Q, p.D, &p.G, p.O, p.E};
    const char *counts = "11r1rrrrr1rr";
    for (int f = 0; f < 11 + transposed; f++)
        if (counts[f] == '1')
            *fields[f] = *sizes++;
        else
            for (int a = 3 - rank; a < 3; a++)
                fields[f][a] = *sizes++;
    return p;
}

static int is_lawful(const Problem *p, int transposed)
{
    if (p->G < 1 || p->IC % p->G || p->OC % p->G)
        return 0;
    for (int a = 0; a < 3; a++) {
        int64_t larger = p->S[a] > p->D[a] ? p->S[a] : p->D[a];
        if (p->I[a] < 1 || p->K[a] < 1 || p->S[a] < 1 || p->D[a] < 1 || p->P[a] < 0 || p->Q[a] < 0 || p->O[a] < 1)
            return 0;
        if (transposed && (p->E[a] < 0 || p->E[a] >= larger))
            return 0;
    }
    return 1;
}

/* What one product adds to: y += x*w, dx += dy*w, dw += dy*x. */
typedef struct {
    const T *x, *w, *dy;
    T *y, *dx, *dw;
} Arrays;

/* `fine` is the array that has a pixel for every tap, `coarse` the one that has one for every window. */
static void walk(const Problem *p, int transposed, const Arrays *a)
{
    const int64_t *fine = transposed ? p->O : p->I, *coarse = transposed ? p->I : p->O;
    int64_t ICG = p->IC / p->G, OCG = p->OC / p->G, pixels = p->I[0] * p->I[1] * p->I[2];
    int64_t positions = p->O[0] * p->O[1] * p->O[2], taps = p->K[0] * p->K[1] * p->K[2];
    int64_t windows = coarse[0] * coarse[1] * coarse[2];
    for (int64_t n = 0; n < p->N; n++)
        for (int64_t oc = 0; oc < p->OC; oc++)
            for (int64_t icg = 0; icg < ICG; icg++)
                for (int64_t window = 0; window < windows; window++)
                    for (int64_t tap = 0; tap < taps; tap++) {
                        int64_t c = window, k = tap, place = 0, step = 1, inside = 1;
                        for (int axis = 2; axis >= 0; axis--) {
                            int64_t f = c % coarse[axis] * p->S[axis] - p->P[axis] + k % p->K[axis] * p->D[axis];
                            inside = inside && f >= 0 && f < fine[axis];
                            place += f * step;
                            step *= fine[axis];
                            c /= coarse[axis];
                            k /= p->K[axis];
                        }
                        if (!inside)
                            continue;
                        int64_t ic = oc / OCG * ICG + icg;
                        size_t x = (n * p->IC + ic) * pixels + (transposed ? window : place);
                        size_t y = (n * p->OC + oc) * positions + (transposed ? place : window);
                        size_t w = (transposed ? ic * OCG + oc % OCG : oc * ICG + icg) * taps + tap;
                        if (a->y)
                            a->y[y] += a->x[x] * a->w[w];
                        if (a->dx)
                            a->dx[x] += a->dy[y] * a->w[w];
                        if (a->dw)
                            a->dw[w] += a->dy[y] * a->x[x];
                    }
}

static int64_t product(const int64_t *extent)
{
    return extent[0] * extent[1] * extent[2];
}

static int forward(int rank, int transposed, const T *input, const T *weight, const T *bias, T *output,
                   const int64_t *sizes)
{
    Problem p = unpacked(rank, transposed, sizes);
    if (!is_lawful(&p, transposed))
        return 1;
    int64_t positions = product(p.O);
    for (int64_t i = 0; i < p.N * p.OC * positions; i++)
        output[i] = bias ? bias[i / positions % p.OC] : 0;
    Arrays arrays = {.x = input, .w = weight, .y = output};
    walk(&p, transposed, &arrays);
    return 0;
}

static int backward(int rank, int transposed, const T *grad_output, const T *input, const T *weight, T *grad_input,
                    T *grad_weight, T *grad_bias, const int64_t *sizes)
{
    Problem p = unpacked(rank, transposed, sizes);
    if (!is_lawful(&p, transposed))
        return 1;
    int64_t positions = product(p.O);
    for (int64_t i = 0; i < p.N * p.IC * product(p.I); i++)
        grad_input[i] = 0;
    for (int64_t i = 0; i < p.OC * p.IC / p.G * product(p.K); i++)
        grad_weight[i] = 0;
    for (int64_t oc = 0; grad_bias && oc < p.OC; oc++) {
        grad_bias[oc] = 0;
        for (int64_t i = 0; i < p.N * positions; i++)
            grad_bias[oc] += grad_output[(i / positions * p.OC + oc) * positions + i % positions];
    }
    Arrays arrays = {.x = input, .w = weight, .dy = grad_output, .dx = grad_input, .dw = grad_weight};
    walk(&p, transposed, &arrays);
    return 0;
}

#define CONVOLUTION(NAME, RANK, TRANSPOSED)                                                                            \
    int NAME(const T *input, const T *weight, const T *bias, T *output, const int64_t *sizes)                          \
    {                                                                                                                  \
        return forward(RANK, TRANSPOSED, input, weight, bias, output, sizes);                                          \
    }                                                                                                                  \
    int NAME##_backward(const T *grad_output, const T *input, const T *weight, T *grad_input, T *grad_weight,          \
                        T *grad_bias, const int64_t *sizes)                                                            \
    {                                                                                                                  \
        return backward(RANK, TRANSPOSED, grad_output, input, weight, grad_input, grad_weight, grad_bias, sizes);      \
    }

CONVOLUTION(conv1d, 1, 0)
CONVOLUTION(conv2d, 2, 0)
CONVOLUTION(conv3d, 3, 0)
CONVOLUTION(conv_transpose1d, 1, 1)
CONVOLUTION(conv_transpose2d, 2, 1)
CONVOLUTION(conv_transpose3d, 3, 1)
