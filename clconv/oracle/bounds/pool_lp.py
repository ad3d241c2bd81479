r"""How far a correct power-average pooling may be from the reference, in the notation of `bounds.pool`.

**Norms.** y = S**(1/p) with S = sum(t), t = |x|**p, over n terms that are not zero. Correct is: any power function that
is off by at most 16 ulp = 32 u, as OpenCL's pow, or for whole p the product of p factors, c = max(32, p); any
order of summation; the exponents p and 1/p rounded to the type, or 1/p divided in it; also the reference's way,
which divides x by the largest magnitude of the window and multiplies y by it. Errors multiply, so that logarithms
of the factors by which results are off add up.

- p has an error theta_p = u, or none where the type holds it; it changes t by p theta_p |ln|x||. With the power
  and the sum, S is off by 1 + rho at most,

      ln(1 + rho) = ln(1 + (n - 1) u) + ln(1 + c u) + 2 p theta_p max|ln|x||,

  the 2 being for x divided by the largest.
- Underflow adds c eta to each power. Flushing costs f for each power and each sum, and f**p for each x that is read
  as zero. The sum is off by F = n (c eta + 2 f + f**p) in all; divided by the largest's power, it is at least 1.
  Hence S' lies in S (1 +- (rho + F/min(S, 1))).
- The root has an exponent that is off by theta_q/p, theta_q = d u, or (d + 2) u if p is, which changes y by
  theta_q |ln S'|/p; ln S' is at most ln n in the reference's way. It is off by 32 u itself, and the division and
  multiplication by the largest add (d + 1) u.

ln(y'/y) is monotonic in S', so that its extremes are those at the ends of the range of S'. The sum may overflow
where y does not: the bound is then infinite.

**Gradients.** A term is T = g sign(x) (|x|/y)**(p - 1). Correct is also g |x|**(p-1) y**(1-p), one of the two
divided by, and S**((1-p)/p) in place of the power of y, with factors p and 1/p that cancel. The logarithm of the
factor by which a term is off is, with a = |p - 1| and L_y that of y, at most

    L = (a L_y + u (a d + 2 c + 4 + 2 d) + ((1 + d) u a + p theta_p) (|ln|x|| + |ln y|) + (d + 2) u |ln y|)/(1 - c u):

the norm; the ratio, two powers, four products and two divisions; the exponents p - 1 and (1 - p)/p. The sum of n
terms then has

    E = sum(T (exp(L) - 1)) + (n - 1) u sum(T exp(L)) + n (2 c eta + 2 f) + sum(T where |g| < f).

Where a result on the way to a term may leave the range of normal numbers, or L > 1, nothing is said: the bound is
infinite. It is zero where all terms are, except at x = 0 with p <= 1: |x| has any slope from -1 to 1 there, so that
the bound is sum|g| for p = 1, and for p < 1 the slope is infinite.

**The reference** has the error of float64 of the same steps, its logarithms those of numbers between 1 and n 2**p.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clconv.oracle._floats import FLOAT64, DType, largest, smallest_normal, smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.rounding import Rounding, division_roundings, raised
from clconv.oracle.reference.geometry import FloatArray
from clconv.oracle.reference.pool_lp import Norm, norms

__all__ = ["norm_gradient_limit", "norm_limit"]

POW = 32  # OpenCL's 16 ulp, each at most 2 u


class _Norms(NamedTuple):
    """The norm of each window, as (N, C, windows), and what its error depends on."""

    y: FloatArray
    terms: FloatArray  # n
    log_sum: FloatArray  # ln S
    log_size: FloatArray  # the largest |ln|x||


class _Errors(NamedTuple):
    """Logarithms of the factors by which a computed norm may be too large and too small, and of the largest sum."""

    up: FloatArray
    down: FloatArray
    log_peak: FloatArray


class _Logarithms(NamedTuple):
    """Of the magnitudes that a term of the gradient is made of, as (N, C, windows, taps)."""

    x: FloatArray
    y: FloatArray
    g: FloatArray


def norm_limit(layer: Norm, rounding: Rounding) -> FloatArray:
    """Bound the norm of each window."""
    pool, power = layer
    with np.errstate(all="ignore"):
        found = _norms(layer)
        errors = _log_errors(found, power, rounding)
        underflow = _power_roundings(power) * smallest_subnormal(rounding.summed) + 2 * rounding.flush_cost
        error = found.y * np.maximum(np.expm1(errors.up), -np.expm1(-errors.down)) + underflow
        reference_error = found.y * np.expm1(_reference_log_error(found.terms, power))
        limit = rounding.limit(found.y, error, reference_error, np.exp(errors.log_peak))
    return pool.unbatched(pool.windows.image(np.where(found.terms == 0, 0.0, limit)))


def norm_gradient_limit(g: FloatArray, layer: Norm, rounding: Rounding) -> FloatArray:
    """Bound what each pixel gets from the windows that it is in; g as (N, C, windows)."""
    pool, power = layer
    windows, u, f = pool.windows, unit_roundoff(rounding.summed), rounding.flush_cost
    with np.errstate(all="ignore"):
        found = _norms(layer)
        x, gradient = windows.gather(np.abs(pool.x), 0.0), np.abs(g)[..., np.newaxis]
        size = gradient * (x / found.y[..., np.newaxis]) ** (power - 1)
        logs = _Logarithms(np.log(x), np.log(found.y)[..., np.newaxis], np.log(gradient))
        log_error = _log_term_error(logs, _log_errors(found, power, rounding), power, rounding)
        reference = _reference_log_term_error(logs, found.terms, power)

        def collected(terms: FloatArray) -> FloatArray:
            return windows.scatter(np.where((x > 0) & (gradient > 0), terms, 0.0))

        n = collected(np.ones(size.shape))
        value = collected(size * np.sign(g)[..., np.newaxis] * np.sign(windows.gather(pool.x, 0.0)))
        more, total = np.maximum(n - 1, 0), raised(collected(size), n)
        error = collected(size * np.expm1(log_error)) + more * u * collected(size * np.exp(log_error))
        lost = n * (2 * _power_roundings(power) * smallest_subnormal(rounding.summed) + 2 * f)
        error = raised(error + collected(np.where(gradient < f, size, 0.0)), n) + lost
        reference_error = collected(size * np.expm1(reference)) + 2 * more * unit_roundoff(FLOAT64) * total
        reference_error = raised(reference_error, n) + 4 * n * smallest_subnormal(FLOAT64)
        limit = np.where(n == 0, 0.0, rounding.limit(value, error, reference_error, total + error))
        if power <= 1:
            any_slope = windows.scatter(np.where(x == 0, np.inf if power < 1 else gradient, 0.0))
            limit = np.where(pool.x == 0, raised(any_slope, len(windows.pixels)), limit)
    return pool.unbatched(limit)


def _norms(layer: Norm) -> _Norms:
    pool, power = layer
    x = pool.windows.gather(np.abs(pool.x), 0.0)
    y = norms(pool.x, pool.windows, power)
    log_size = np.where(x > 0, np.abs(np.log(x)), 0.0).max(axis=-1)
    return _Norms(y, (x > 0).sum(axis=-1).astype(np.float64), power * np.log(y), log_size)


def _log_errors(found: _Norms, power: float, rounding: Rounding) -> _Errors:
    """Bound ln(y'/y) on both sides."""
    summed, f, n = rounding.summed, rounding.flush_cost, found.terms
    u, d, c = unit_roundoff(summed), division_roundings(summed), _power_roundings(power)
    if c * u > 0.5:  # a power so high that nothing is left of its digits
        nothing = np.full(n.shape, np.inf)
        return _Errors(nothing, nothing, nothing)
    exponent = _exponent_error(power, summed)
    log_rho = np.log1p(np.maximum(n - 1, 0) * u) + np.log1p(c * u) + 2 * power * exponent * found.log_size
    log_lost = np.log(n * (c * smallest_subnormal(summed) + 2 * f + f**power)) - np.minimum(found.log_sum, 0)
    up = np.logaddexp(log_rho, log_lost)
    less = np.expm1(log_rho) + np.exp(log_lost)
    down = -np.log1p(-np.minimum(less, 1.0))
    root = d * u + 2 * exponent
    last = -np.log1p(-POW * u) - np.log1p(-(d + 1) * u)

    def of_root(log_factor: FloatArray, log_end: FloatArray) -> FloatArray:
        error: FloatArray = (log_factor + root * (np.abs(log_end) + np.log(n))) / power + last
        return error

    return _Errors(of_root(up, found.log_sum + up), of_root(down, found.log_sum - down), found.log_sum + up)


def _log_term_error(logs: _Logarithms, errors: _Errors, power: float, rounding: Rounding) -> FloatArray:
    """Return L, infinite where nothing is said."""
    summed, slope, a = rounding.summed, power - 1, abs(power - 1)
    u, d, c = unit_roundoff(summed), division_roundings(summed), _power_roundings(power)
    of_norm = a * np.maximum(errors.up, errors.down)[..., np.newaxis] if a else np.zeros(1)
    of_exponents = ((1 + d) * u * a + power * _exponent_error(power, summed)) * (np.abs(logs.x) + np.abs(logs.y))
    of_steps = u * (a * d + 2 * c + 4 + 2 * d) + (d + 2) * u * np.abs(logs.y)
    total = (of_norm + of_exponents + of_steps) / (1 - c * u)
    ratio = logs.x - logs.y
    steps = [logs.x, logs.y, ratio, slope * logs.x, slope * logs.y, -slope * logs.y, slope * ratio, power * logs.y]
    steps += [logs.g + slope * logs.x, logs.g - slope * logs.y]
    margin = 1 + abs(np.log(power))  # for their own errors, and for the factors p and 1/p
    low = np.log(max(smallest_normal(summed), rounding.flush_cost)) + margin
    high = np.log(largest(summed)) - margin
    is_normal = np.all([(low < step) & (step < high) for step in np.broadcast_arrays(*steps)], axis=0)
    return np.where(is_normal & (total <= 1) & (c * u <= 0.5), total, np.inf)


def _reference_log_error(n: FloatArray, power: float) -> FloatArray:
    """Bound |ln(y'/y)| of the reference: powers and sum, root, exponent, and the scale."""
    u = unit_roundoff(FLOAT64)
    return 1.01 * u * ((n + POW + np.log(np.maximum(n, 1))) / power + POW + 4)


def _reference_log_term_error(logs: _Logarithms, n: FloatArray, power: float) -> FloatArray:
    """Bound the same of a term: the norm, the ratio, the exponent, the power and two products."""
    a, u = abs(power - 1), unit_roundoff(FLOAT64)
    of_norm = a * _reference_log_error(n, power)[..., np.newaxis]
    error: FloatArray = of_norm + 1.01 * u * (POW + 3 + a * (1 + np.abs(logs.x - logs.y)))
    return error


def _power_roundings(power: float) -> float:
    return max(POW, power)


def _exponent_error(power: float, summed: DType) -> float:
    """Relative error of the exponent in the type."""
    return 0.0 if float(summed.type(power)) == power else unit_roundoff(summed)
