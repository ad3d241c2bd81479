/* The elementary functions: the only spelling of them in kernels, one source for C and OpenCL.
 *
 * `real` is float or double. All are our own but the square root's first approximation, because the host's library and
 * OpenCL's built-ins differ in their results, their errors and in whether loops over them become vectors. They are free of
 * branches: both sides are computed and one is selected. The polynomials come from tools/math_coefficients.py.
 *
 * Largest errors, in units in the last place of the result (ulp), as tests/test_math.py measures and asserts them: in C,
 * and in OpenCL, where a division of floats may be off by 2.5 ulp.
 *
 *     square_root           0.5   0.51
 *     exponential           1.0   1.0
 *     logarithm             0.9   1.0
 *     power                 1.2   1.5
 *     hyperbolic_tangent    2.5   5.0
 *     error_function        1.7   2.5
 *
 * Infinities, NaN, signed zeros and subnormal numbers are treated as C's library treats them, subnormal numbers on the
 * devices that have them: OpenCL lets devices flush those of float to zero.
 *
 * Two techniques recur. Adding MAGIC = 1.5*2^(DIGITS-1) to a number below 2^(DIGITS-2) rounds it to an integer, which then
 * is both a real (subtract MAGIC) and the low bits of the sum. And clearing the lower half of a number's bits, `upper`,
 * leaves a factor whose products with others of its kind are exact.
 */
#ifndef CLCONV_MATH_H
#define CLCONV_MATH_H

#include "dialect.h"
#include "math_coefficients.h"

#if ELEMENT == 64
#define DIGITS 53
#define EXPONENT_BIAS 1023
#define SMALLEST_NORMAL ((real)0x1p-1022)
#define LOG2_UPPER ((real)0x1.62e42f8p-1)            /* log(2) to half of the digits, and the rest of it */
#define LOG2_LOWER ((real)0x1.be8e7bcd5e4f2p-27)
#define LOG2_SCALE_UPPER ((real)0x1.ec709d8p-1)      /* 2/(3 log(2)), likewise */
#define LOG2_SCALE_LOWER ((real)0x1.0e80ff5d27f05p-27)
#else
#define DIGITS 24
#define EXPONENT_BIAS 127
#define SMALLEST_NORMAL ((real)0x1p-126)
#define LOG2_UPPER ((real)0x1.62ep-1)
#define LOG2_LOWER ((real)0x1.0bfbe8p-15)
#define LOG2_SCALE_UPPER ((real)0x1.ec6p-1)
#define LOG2_SCALE_LOWER ((real)0x1.09dc3ap-13)
#endif

#define SIGNIFICAND (((bits)1 << (DIGITS - 1)) - 1)
#define SIGN ((bits)1 << (8 * sizeof(bits) - 1))
#define INFINITE (((bits)(2 * EXPONENT_BIAS + 1)) << (DIGITS - 1))
#define MAGIC ((real)1.5 * (real)((bits)1 << (DIGITS - 1)))
#define LOG2 ((real)0.69314718055994530942)

static inline real infinity(void) { return real_of(INFINITE); }
static inline real not_a_number(void) { return real_of(INFINITE | (bits)1 << (DIGITS - 2)); }
static inline real magnitude(const real x) { return real_of(bits_of(x) & ~SIGN); }
static inline real with_sign_of(const real x, const real sign) { return real_of(bits_of(x) | (bits_of(sign) & SIGN)); }
static inline real upper(const real x) { return real_of(bits_of(x) & ~(((bits)1 << ((DIGITS + 1) / 2)) - 1)); }

/* x * 2^n, with n given as the bits of MAGIC + n, |n| < 2*EXPONENT_BIAS: in two factors, so that subnormal results are
 * rounded once. */
static inline real scaled(const real x, const bits magic_n)
{
    const bits n = magic_n - bits_of(MAGIC) + 2 * EXPONENT_BIAS;
    const bits half_n = n >> 1;
    return x * real_of(half_n << (DIGITS - 1)) * real_of((n - half_n) << (DIGITS - 1));
}

/* exp(r) - 1 for |r| <= log(2)/2. */
static inline real small_exponential(const real r) { return r + r * r * EXPONENTIAL_REST(r); }

/* sqrt(x). The device's float root may be off by 3 ulp; a step of Newton's with the exact residual x - root^2, on numbers
 * scaled so that nothing underflows, leaves hardly more than the rounding. */
static inline real square_root(const real x)
{
#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#if ELEMENT == 64
    return sqrt(x);
#else
    const int small = x < (real)0x1p-60;
    const real large = x * (small ? (real)0x1p64 : (real)1);
    const real root = sqrt(large);
    const real first = upper(root);
    const real rest = root - first;
    const real residual = ((large - first * first) - 2 * first * rest) - rest * rest;
    const real better = root + residual / (2 * root);
    return (large > 0 && large < infinity() ? better : root) * (small ? (real)0x1p-32 : (real)1);
#endif
#elif ELEMENT == 64
    return __builtin_sqrt(x);
#else
    return __builtin_sqrtf(x);
#endif
}

/* exp(x + rest) = 2^n exp(r) for a small rest: x + rest = n log(2) + r. */
static inline real exponential_of_sum(const real x, const real rest)
{
    const real least = (real)(-EXPONENT_BIAS - DIGITS - 1) * LOG2, most = (real)(EXPONENT_BIAS + 2) * LOG2;
    const real above = x < least ? least : x;
    const real inside = above > most ? most : above;
    const real rounded = inside * (1 / LOG2) + MAGIC;
    const real n = rounded - MAGIC;
    const real r = (inside - n * LOG2_UPPER) + (rest - n * LOG2_LOWER);
    return scaled(1 + small_exponential(r), bits_of(rounded));
}

static inline real exponential(const real x) { return exponential_of_sum(x, 0); }

/* x = 2^exponent m with m between sqrt(1/2) and sqrt(2), for finite x > 0. */
static inline real mantissa(const real x, real *exponent)
{
    const real raised = x * (x < SMALLEST_NORMAL ? (real)((bits)1 << DIGITS) : (real)1);
    /* Above sqrt(2) the addition carries into the exponent. */
    const bits carried = bits_of(raised) + (bits_of((real)1) - bits_of((real)0.70710678118654752440));
    const bits biased = carried >> (DIGITS - 1);
    const real n = real_of(biased | bits_of((real)((bits)1 << (DIGITS - 1)))) - (real)((bits)1 << (DIGITS - 1));
    *exponent = n - (real)(EXPONENT_BIAS + (x < SMALLEST_NORMAL ? DIGITS : 0));
    return real_of((carried & SIGNIFICAND) + bits_of((real)0.70710678118654752440));
}

/* What logarithms of numbers that are not positive and finite are. */
static inline real with_logarithm_limits(const real x, const real logarithm)
{
    const real at_most_zero = x == 0 ? -infinity() : not_a_number();
    const real positive = x < infinity() ? logarithm : x;
    return x <= 0 ? at_most_zero : positive;
}

/* log(x) = n log(2) + log(m). With f = m - 1 and s = f/(2 + f), log(m) = log((1 + s)/(1 - s)) = 2s + s R(s^2), and because
 * 2s = f - s f = f - f^2/2 + s f^2/2, the only large term, f, is exact: log(m) = f - (f^2/2 - s (f^2/2 + R)). */
static inline real logarithm(const real x)
{
    real n;
    const real f = mantissa(x, &n) - 1;
    const real s = f / (2 + f);
    const real z = s * s;
    const real rest = z * ((real)(2.0 / 3) + z * LOGARITHM_REST(z));
    const real half_square = (real)0.5 * f * f;
    return with_logarithm_limits(x, n * LOG2_UPPER + (f - (half_square - (s * (half_square + rest) + n * LOG2_LOWER))));
}

/* x^y for x >= 0 as C's pow, NaN for x < 0: 2^(n + fraction) = 2^n exp(fraction log(2)) of y log2(x), which is held as the
 * sum of two reals, because an error of it is an error of the result times up to EXPONENT_BIAS. With s as in `logarithm`,
 *
 *     log2(m) = 2/(3 log(2)) s w,    w = 3 + s^2 + 3/2 s^4 R'(s^2),
 *
 * and s, w, the constant and y are split into an upper part, whose products with each other are exact, and a lower one. */
static inline real power(const real x, const real y)
{
    real n;
    const real m = mantissa(x, &n);
    const real f = m - 1;
    const real sum = m + 1;
    const real sum_upper = upper(sum);
    const real sum_lower = (sum - sum_upper) + (m - (sum - 1));
    const real s = f / sum;
    const real s_upper = upper(s);
    const real s_lower = ((f - s_upper * sum_upper) - s_upper * sum_lower) / sum;

    const real z = s * s;
    const real z_upper = s_upper * s_upper;
    const real rest = s_lower * (s + s_upper) + (real)1.5 * z * z * LOGARITHM_REST(z);
    const real w_upper = upper(3 + z_upper + rest);
    const real w_lower = rest - ((w_upper - 3) - z_upper);

    const real product = s_upper * w_upper;
    const real product_rest = s_lower * w_upper + w_lower * s;
    const real p_upper = upper(product + product_rest);
    const real p_lower = product_rest - (p_upper - product);
    const real log_m = LOG2_SCALE_UPPER * p_upper;
    const real log_m_rest = LOG2_SCALE_LOWER * p_upper + (LOG2_SCALE_UPPER + LOG2_SCALE_LOWER) * p_lower;
    const real log_upper = upper(n + (log_m + log_m_rest));
    const real log_lower = log_m_rest - ((log_upper - n) - log_m);

    /* Beyond this, the result is 0, 1 or infinity whatever x is; and the product below stays finite. */
    const real largest_y = (real)((bits)1 << DIGITS) * (real)(1 << 16);
    const real y_above = y < -largest_y ? -largest_y : y;
    const real y_inside = y_above > largest_y ? largest_y : y_above;
    const real y_upper = upper(y_inside);
    const real most = (real)(EXPONENT_BIAS + DIGITS + 2);
    const real t = y_upper * log_upper;
    const real t_rest = (y_inside - y_upper) * log_upper + y_inside * log_lower;
    const real t_above = t < -most ? -most : t;
    const real t_inside = t_above > most ? most : t_above;
    const real t_lower = t == t_inside ? t_rest : (real)0;

    const real rounded = t_inside + MAGIC;
    const real fraction = t_inside - (rounded - MAGIC);
    const real fraction_upper = upper(fraction + t_lower);
    const real fraction_lower = t_lower - (fraction_upper - fraction);
    const real r = fraction_upper * LOG2_UPPER;
    const real r_lower = fraction_upper * LOG2_LOWER + fraction_lower * LOG2;
    const real r_sum = r + r_lower;
    const real r_rest = r_lower - (r_sum - r);
    const real result = scaled(1 + (r_sum + (r_rest + r_sum * r_sum * EXPONENTIAL_REST(r_sum))), bits_of(rounded));

    const real at_zero = y < 0 ? infinity() : (real)0;
    const real at_infinity = y < 0 ? (real)0 : infinity();
    const real at_limit = x == 0 ? at_zero : at_infinity;
    const real limited = ((x == 0) | (x == infinity())) ? at_limit : result;
    const real positive = ((x >= 0) & (y == y)) ? limited : not_a_number();
    return ((y == 0) | (x == 1)) ? (real)1 : positive;
}

/* tanh(|x|) = E/(E + 2), E = exp(2|x|) - 1 = 2^n (exp(r) - 1) + (2^n - 1): for small x, E has the relative error of r. */
static inline real hyperbolic_tangent(const real x)
{
    const real most = (real)(DIGITS / 2.0 + 2) * LOG2; /* long before, the nearest number is 1 */
    const real size = magnitude(x) > most ? most : magnitude(x);
    const real rounded = 2 * size * (1 / LOG2) + MAGIC;
    const real n = rounded - MAGIC;
    const real r = (2 * size - n * LOG2_UPPER) - n * LOG2_LOWER;
    const real power_of_two = real_of((bits_of(rounded) - bits_of(MAGIC) + EXPONENT_BIAS) << (DIGITS - 1));
    const real E = power_of_two * small_exponential(r) + (power_of_two - 1);
    return with_sign_of(E / (E + 2), x);
}

/* exp(x^2) erfc(x) for x >= 0, by a polynomial in 4/(4 + x). */
static inline real scaled_complement(const real x)
{
    const real t = 4 / (4 + x);
    return t * SCALED_COMPLEMENT(t);
}

/* erf: a polynomial up to 1, 1 - erfc beyond, where erfc is small enough for its error not to count. */
static inline real error_function(const real x)
{
    const real size = magnitude(x);
    const real z = x * x;
    const real near = size + size * ERROR_REST(z);
    const real far = 1 - exponential(-z) * scaled_complement(size);
    return with_sign_of(size < 1 ? near : far, x);
}

#endif
