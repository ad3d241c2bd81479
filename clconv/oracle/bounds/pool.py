r"""How far a correct pooling may be from the reference; `bounds.pool_lp` has power-average pooling.

u, eta, lambda and Omega are the unit roundoff, the smallest subnormal, the smallest normal and the largest number
of the type of the sums; f is what flushing a number to zero costs, 0 where that is not done; n counts the terms of
a sum that are not zero.

**Means.** A result is the sum of n terms t, each divided by the divisor D of its window: average pooling, where all D
of a result are equal, its gradient, and that of max pooling which shares out ties. Correct is any order of
summation, with the division before or after it, or a product with the reciprocal, fused into additions or not. Let
M = sum(|t|/|D|). A division is off by d u relative to its result, d = 1 if it is rounded correctly and 5 in
OpenCL's single precision (2.5 ulp); a product with the reciprocal by (1 + d u)(1 + u) - 1. The sum of n terms
is off by (n - 1) u relative to the sum of their magnitudes, or n u if products are fused into it (the theorem of
`bounds`). In every one of these orders, therefore, the error relative to M is at most

    R = (1 + (n - 1) u) (1 + d u) (1 + u) - 1,

as a fused sum has (1 + n u)(1 + d u) - 1 <= R. A divisor of more digits than the type has is rounded as well: two
more u. Underflow: each of the n quotients or products, or the only one, is off by d eta more, as 2.5 ulp of a
subnormal number are 2.5 eta; sums of subnormal numbers are exact. Flushing costs f for each term on its way from
the array to the sum, for each sum and for the result, 2n + 2 at most, and no less before a division by |D| >= 1.
With F = n d eta + (2n + 2) f,

    E = R (M + F) + F.

The sum may overflow before it is divided, so that sum|t| decides; and nothing is said where 1/D is not normal.

Means of means (along one axis and then the other) and running sums round more often; they are not covered.

**Maxima** are copies: the bound is zero. With flushing, all |x| < lambda may count as equal: a maximum among
them is off by less than 2 f, and its index may be any. The gradient of max pooling is a plain sum of n terms:
E = (n - 1) u (A + F) + F with A = sum|t| and F = 2n f; a single term is a copy. Where flushing lets a window choose
another pixel, the whole of its gradient is added to E of each of its pixels.

**Unpooling** copies, and its gradient does: zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from clconv.oracle._floats import FLOAT64, DType, digits, largest, smallest_normal, smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.pool_lp import norm_gradient_limit, norm_limit
from clconv.oracle.bounds.rounding import Rounding, division_roundings, raised
from clconv.oracle.reference.geometry import FloatArray, real_array, requested
from clconv.oracle.reference.pool import MaxPoolGradients, first_winners, max_layer, selected, winners
from clconv.oracle.reference.pool_adaptive import (
    AdaptiveAvgPoolGradients,
    AdaptiveMaxPoolGradients,
    average_shares,
    max_shares,
)
from clconv.oracle.reference.pool_average import Average, AvgPoolGradients, average_layer, spread, sums
from clconv.oracle.reference.pool_global import global_rank
from clconv.oracle.reference.pool_lp import LpPoolGradients, norm_layer
from clconv.oracle.reference.pool_unpool import MaxUnpoolGradients, unpool_layer
from clconv.oracle.reference.pool_windows import Pool

__all__ = ["BOUNDS"]

Arguments = dict[str, Any]


class _Sums(NamedTuple):
    """What the bound of a mean is made of, each in the shape of the result."""

    value: FloatArray  # what the reference returns
    terms: FloatArray  # n
    magnitude: FloatArray  # M
    undivided: FloatArray  # the sum of |t|


def _mean_limit(parts: _Sums, divisor: FloatArray | float, rounding: Rounding) -> FloatArray:
    """Bound sums of quotients, the largest of whose divisors is `divisor`."""
    error = _mean_error(parts, divisor, rounding.summed, rounding.flush_cost)
    peak = raised(parts.undivided, parts.terms) + error * divisor
    limit = rounding.limit(parts.value, error, _mean_error(parts, 1.0, FLOAT64, 0.0), peak)
    no_reciprocal = (divisor > largest(rounding.summed)) | (divisor * smallest_normal(rounding.summed) > 1)
    return np.where(parts.terms == 0, 0.0, np.where(no_reciprocal, np.inf, limit))


def _mean_error(parts: _Sums, divisor: FloatArray | float, summed: DType, flush_cost: float) -> FloatArray:
    """Return E = R (M + F) + F."""
    u, d, n = unit_roundoff(summed), division_roundings(summed), parts.terms
    inexact = np.where(divisor > 2.0 ** digits(summed), 2 * u, 0.0)
    growth = np.expm1(np.log1p(np.maximum(n - 1, 0) * u) + np.log1p(d * u) + np.log1p(u) + np.log1p(inexact))
    lost = n * d * smallest_subnormal(summed) + (2 * n + 2) * flush_cost
    error: FloatArray = growth * (raised(parts.magnitude, n) + lost) + lost
    return error


def _average(layer: Average, rounding: Rounding) -> FloatArray:
    """Bound the mean of each window."""
    (x, _, windows), divisors = layer
    total = sums(np.abs(x), windows)
    size = np.abs(divisors)
    parts = _Sums(sums(x, windows) / divisors, sums((x != 0).astype(np.float64), windows), total / size, total)
    return layer.pool.unbatched(windows.image(_mean_limit(parts, size, rounding)))


def _average_gradient(grad_output: Any, layer: Average, rounding: Rounding) -> FloatArray:
    """Bound the gradient of the mean by its pixels."""
    pool, divisors = layer
    g = _rows(grad_output, pool)
    size = np.abs(divisors)
    values = (g / divisors, (g != 0).astype(np.float64), np.abs(g) / size, np.abs(g))
    parts = _Sums(*(spread(value, pool.windows) for value in values))
    return pool.unbatched(_mean_limit(parts, float(size.max(initial=1.0)), rounding))


def _maximum(pool: Pool, rounding: Rounding, return_indices: bool) -> Any:
    """Bound the maxima, and say where their indices are not certain."""
    y, _ = selected(pool.x, pool.windows)
    is_flushed = np.abs(y) < rounding.flush_cost
    limits = (np.where(is_flushed, 2 * rounding.flush_cost, 0.0), np.where(is_flushed, np.inf, 0.0))
    value, index = (pool.unbatched(pool.windows.image(limit)) for limit in limits)
    return (value, index) if return_indices else value


def _selection_gradient(grad_output: Any, pool: Pool, rounding: Rounding, ties: str) -> FloatArray:
    """Bound what each pixel gets from the windows that selected it."""
    g, windows = _rows(grad_output, pool)[..., np.newaxis], pool.windows
    won = (first_winners if ties == "first" else winners)(pool.x, windows)
    y, _ = selected(pool.x, windows)
    uncertain = windows.inside & (np.abs(y) < rounding.flush_cost)[..., np.newaxis]
    shared = g / won.sum(axis=-1, keepdims=True) if ties == "share" else g

    def collected(mask: Any, terms: Any) -> FloatArray:
        return windows.scatter(np.where(mask, terms, 0.0))

    possible = won | uncertain
    sizes = np.where(uncertain, np.abs(g), np.abs(shared))
    parts = _Sums(
        collected(won, shared), collected(possible, g != 0), collected(possible, sizes), collected(possible, np.abs(g))
    )
    if ties == "share":
        limit = _mean_limit(parts, float(windows.pixels.shape[1]), rounding)
    else:
        limit = _plain_limit(parts, rounding)
    if uncertain.any():
        limit = limit + raised(collected(uncertain, np.abs(g)), parts.terms)
    return pool.unbatched(limit)


def _plain_limit(parts: _Sums, rounding: Rounding) -> FloatArray:
    """Bound sums of plain terms."""
    magnitude, n = raised(parts.magnitude, parts.terms), parts.terms
    lost = 2 * n * rounding.flush_cost
    roundings = np.maximum(n - 1, 0)
    error = roundings * unit_roundoff(rounding.summed) * (magnitude + lost) + lost
    reference_error = roundings * unit_roundoff(FLOAT64) * magnitude
    limit = rounding.limit(parts.value, error, reference_error, magnitude + error)
    is_copy = (n == 0) | ((n == 1) & (rounding.flush_cost == 0))
    return np.where(is_copy, 0.0, limit)


def _rows(grad_output: Any, pool: Pool) -> FloatArray:
    """Return the gradient as (N, C, windows)."""
    return pool.rows(real_array("grad_output", grad_output))


def _shares(rank: int, arguments: Arguments) -> Average:
    """Return the layer of an adaptive average."""
    pool = average_shares(rank, **arguments)
    return Average(pool, pool.windows.padded_taps.astype(np.float64))


def _max_pool(rank: int, arguments: Arguments, rounding: Rounding) -> Any:
    return _maximum(max_layer(rank, **arguments), rounding, arguments["return_indices"])


def _max_pool_gradient(rank: int, g: Any, arguments: Arguments, rounding: Rounding) -> FloatArray:
    return _selection_gradient(g, max_layer(rank, **arguments), rounding, arguments["ties"])


def _adaptive_max_pool(rank: int, arguments: Arguments, rounding: Rounding) -> Any:
    return _maximum(max_shares(rank, **arguments), rounding, arguments["return_indices"])


def _adaptive_max_pool_gradient(rank: int, g: Any, arguments: Arguments, rounding: Rounding) -> FloatArray:
    return _selection_gradient(g, max_shares(rank, **arguments), rounding, "first")


def _max_unpool(rank: int, arguments: Arguments, rounding: Rounding) -> FloatArray:
    layer = unpool_layer(rank, **arguments)
    return layer.unbatched(np.zeros(layer.output_shape))


def _max_unpool_gradient(rank: int, g: Any, arguments: Arguments, rounding: Rounding) -> FloatArray:
    return np.zeros(arguments["input"].shape)


def _lp_pool(rank: int, arguments: Arguments, rounding: Rounding) -> FloatArray:
    pool, power = layer = norm_layer(rank, **arguments)
    if np.isinf(power):
        limit: FloatArray = _maximum(pool._replace(x=np.abs(pool.x)), rounding, return_indices=False)
        return limit
    return norm_limit(layer, rounding)


def _lp_pool_gradient(rank: int, g: Any, arguments: Arguments, rounding: Rounding) -> FloatArray:
    pool, power = layer = norm_layer(rank, **arguments)
    if np.isinf(power):  # the sign of the pixel changes no magnitude
        return _selection_gradient(g, pool._replace(x=np.abs(pool.x)), rounding, "first")
    return norm_gradient_limit(_rows(g, pool), layer, rounding)


class _Family(NamedTuple):
    """The bounds of an operation in one, two and three dimensions."""

    forward: Callable[[int, Arguments, Rounding], Any]
    backward: Callable[[int, Any, Arguments, Rounding], FloatArray]
    gradients: Callable[[FloatArray | None], Any]


FAMILIES = {
    "max_pool": _Family(_max_pool, _max_pool_gradient, MaxPoolGradients),
    "max_unpool": _Family(_max_unpool, _max_unpool_gradient, MaxUnpoolGradients),
    "avg_pool": _Family(
        lambda rank, arguments, rounding: _average(average_layer(rank, **arguments), rounding),
        lambda rank, g, arguments, rounding: _average_gradient(g, average_layer(rank, **arguments), rounding),
        AvgPoolGradients,
    ),
    "lp_pool": _Family(_lp_pool, _lp_pool_gradient, LpPoolGradients),
    "adaptive_avg_pool": _Family(
        lambda rank, arguments, rounding: _average(_shares(rank, arguments), rounding),
        lambda rank, g, arguments, rounding: _average_gradient(g, _shares(rank, arguments), rounding),
        AdaptiveAvgPoolGradients,
    ),
    "adaptive_max_pool": _Family(_adaptive_max_pool, _adaptive_max_pool_gradient, AdaptiveMaxPoolGradients),
}


def _gradient(family: _Family, rank: int, arguments: Arguments, rounding: Rounding) -> Any:
    """Bound the gradients, in the named tuple of the reference."""
    forward = {name: value for name, value in arguments.items() if name not in ("grad_output", "output_mask")}
    if not requested(arguments["output_mask"], ("input",))[0]:
        return family.gradients(None)
    return family.gradients(family.backward(rank, arguments["grad_output"], forward, rounding))


#: For each operation, its bound from all arguments of the reference function, defaults too, and the rounding.
BOUNDS: dict[str, Callable[[Arguments, Rounding], Any]] = {}
for _name, _family in FAMILIES.items():
    for _rank in (1, 2, 3):
        BOUNDS[f"{_name}{_rank}d"] = partial(_family.forward, _rank)
        BOUNDS[f"{_name}{_rank}d_backward"] = partial(_gradient, _family, _rank)


def _global(pattern: str, fixed: Arguments, arguments: Arguments, rounding: Rounding) -> Any:
    """Bound global pooling, which is adaptive pooling to size 1."""
    name = pattern.format(global_rank(arguments["input"]))
    return BOUNDS[name]({**arguments, "output_size": 1, **fixed}, rounding)


for _kind, _fixed in (("avg", {}), ("max", {"return_indices": False})):
    for _pass in ("", "_backward"):
        BOUNDS[f"global_{_kind}_pool{_pass}"] = partial(_global, f"adaptive_{_kind}_pool{{}}d{_pass}", _fixed)
