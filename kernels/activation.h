/* The activations and their derivatives, by number: a case of a switch that the compiler drops where the number is known.
 *
 * What cancels in the textbook's formulas is avoided: with e = exp(-|x|), the logistic function s(x) = 1/(1 + exp(-x)) is
 * 1/(1 + e) or e/(1 + e), and 1 - s(x) = s(-x); 1 - tanh(x)^2 = 4 s(2x) s(-2x); and the normal distribution's tail comes
 * from exp(-x^2/2) with x^2 in two parts, so that gelu keeps its relative accuracy where it vanishes. Where x is infinite
 * and the function has a limit, it takes the limit.
 */
#ifndef CLCONV_ACTIVATION_H
#define CLCONV_ACTIVATION_H

#include "math.h"

#define RELU 0
#define LEAKY_RELU 1
#define SIGMOID 2
#define TANH 3
#define SILU 4
#define GELU 5
#define GELU_TANH 6
#define HARDSWISH 7

#define INVERSE_ROOT_2 ((real)0.70710678118654752440)
#define INVERSE_ROOT_2_PI ((real)0.39894228040143267794)
#define GELU_SCALE ((real)1.59576912160573071176) /* 2 sqrt(2/pi) */
#define GELU_CUBE ((real)0.044715)

/* Beyond this, exp(-|x|) is 0, and so is its product with |x|, which remains finite. */
#define FAR ((real)(2 * EXPONENT_BIAS))

static inline real clamped(const real x, const real most)
{
    const real above = x < -most ? -most : x;
    return above > most ? most : above;
}

/* s(x) */
static inline real logistic(const real x)
{
    const real e = exponential(-magnitude(x));
    return (x < 0 ? e : (real)1) / (1 + e);
}

/* exp(-x^2/2), which is 0 from 15 on, in double from 40 on. */
static inline real gaussian(const real x)
{
    const real near = clamped(x, ELEMENT == 64 ? 40 : 15);
    const real first = upper(near);
    return exponential_of_sum((real)-0.5 * first * first, (real)-0.5 * (near - first) * (near + first));
}

/* The normal distribution, of a gaussian(x) that is at hand. */
static inline real normal_distribution(const real x, const real e)
{
    const real tail = (real)0.5 * e * scaled_complement(magnitude(x) * INVERSE_ROOT_2);
    return x < 0 ? tail : 1 - tail;
}

static inline real gelu_tanh_argument(const real x) { return GELU_SCALE * (x + GELU_CUBE * x * x * x); }

static inline real activated(const real x, const int function, const real slope)
{
    /* Below, every factor of x is 0. */
    const real near = x < -FAR ? -FAR : x;
    switch (function) {
    case RELU: return x < 0 ? (real)0 : x;
    case LEAKY_RELU: return x > 0 ? x : x * slope;
    case SIGMOID: return logistic(x);
    case TANH: return hyperbolic_tangent(x);
    case SILU: return near * logistic(near);
    case GELU: return near * normal_distribution(near, gaussian(near));
    case GELU_TANH: return near * logistic(gelu_tanh_argument(near));
    default: return x <= -3 ? (real)0 : x >= 3 ? x : x * (x + 3) * (real)(1.0 / 6);
    }
}

/* The derivative at x times g; where there is none, torch's choice. */
static inline real activation_gradient(const real x, const real g, const int function, const real slope)
{
    const real near = clamped(x, FAR);
    switch (function) {
    case RELU: return x <= 0 ? (real)0 : g;
    case LEAKY_RELU: return x > 0 ? g : g * slope;
    case SIGMOID: return g * (logistic(x) * logistic(-x));
    case TANH: return g * (4 * logistic(2 * x) * logistic(-2 * x));
    case SILU: {
        const real s = logistic(near);
        return g * (s * (1 + near * logistic(-near)));
    }
    case GELU: {
        const real e = gaussian(near);
        return g * (normal_distribution(near, e) + near * INVERSE_ROOT_2_PI * e);
    }
    case GELU_TANH: {
        const real argument = gelu_tanh_argument(near);
        const real s = logistic(argument);
        return g * (s + near * s * logistic(-argument) * GELU_SCALE * (1 + 3 * GELU_CUBE * near * near));
    }
    default: {
        const real inner = g * (x * (real)(1.0 / 3) + (real)0.5);
        return x <= -3 ? (real)0 : x < 3 ? inner : g;
    }
    }
}

/* The same of y = f(x), for functions whose derivative follows from it: relu, leaky_relu with a slope above 0, sigmoid
 * and tanh. */
static inline real gradient_by_output(const real y, const real g, const int function, const real slope)
{
    switch (function) {
    case RELU: return y <= 0 ? (real)0 : g;
    case LEAKY_RELU: return y > 0 ? g : g * slope;
    case SIGMOID: return g * (y * (1 - y));
    default: return g * ((1 - y) * (1 + y));
    }
}

#endif
