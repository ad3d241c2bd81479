r"""How far a correct result of resizing, padding or shuffling may be from the reference.

Notation is that of `bounds`: u, eta, lambda, n and A belong to the type that sums are accumulated in.

**Shuffles and padding** copy: their bound is zero, but for the rounding of a padding value that the arrays'
type cannot hold. The gradient of padding adds up the elements that copy the same one: ``(n - 1) u A``.

**Resizing** multiplies by a matrix of weights along each of r axes. An implementation computes coordinates in
floating point, so that it has other weights than the reference. Let W be the magnitudes of one axis's weights,
and E bound, entry by entry, how far an implementation's may be off. With n terms behind an output, each one a
product with r rounded factors, any order of axes and of summation has

    ``|error| <= (A - A0) + ((1 + u)^r (1 + (n - 1) u) - 1) A + F``,
    ``A = (W1 + E1)...(Wr + Er)|x|``, ``A0 = W1...Wr|x|``:

all errors of weights together cost A - A0 at most, and passes over separate axes, with n1, n2, ... terms, round
no more than one sum of n1 n2 ... terms. The gradient has the transposed matrices.

*Coordinates.* ``p = (o + c) step - c + offset`` takes at most ten roundings: one of the scale factor, five
for the division (2.5 ulp in OpenCL), one each for the product, the differences and the half that rounding to
the nearest adds. So p is off by at most ``d = 10 u ((o + c) step + c + M)``, where M is the extent if the
offset is a difference of extents, else 0. Where the factor, the step, the product and p are numbers that the
type holds, they are taken to be found exactly: d = 0. The type is that of the sums, but for nearest neighbours
not more than float32, in which torch finds them for float64 arrays too.

*Nearest.* Where p - d and p + d do not have the same pixel, each one from the first to the second may be
copied: E = 1. Elsewhere E = 0, and with r = 0 and n = 1 so is the bound.

*Filtered.* The distance ``s = |p - j|/stretch`` is off by ``d_s = d/stretch + c u R``, R being the kernel's
radius: c = 16 because the stretch, its inverse and the difference are rounded as well, but 2 if the stretch is 1.
The kernel has a slope of at most L, and evaluating its polynomial costs at most 8 u P(s), P being the magnitudes
of its terms. Weights add up to 1, so one of them may be found as what the others leave, and two of them used as
``x0 + t (x1 - x0)``; hence all of them, also where the exact weight is zero, get

    ``E = L d_s + 8 u sum(P)``.

Weights w/S that are divided by their sum are not found from each other. With ``e = L d_s + 8 u P(s)`` for w and
``e_S = sum(e) + m u sum|w|`` for S, the sum of m weights, the division and rounding its result make

    ``E = (1 + 8 u) (e + |w/S| e_S)/(S - e_S) + 8 u |w/S|``.

*Windows* divide by the number of their pixels, once per axis: ``E = 6 u W``.

*Underflow.* F is eta for each of the r n products, and lambda for each of (r + 2) n results and operands where
subnormal numbers are flushed, times the largest entry of W + E of each axis if that exceeds 1.

**The reference** has exact coordinates and weights rounded once, and is such a sum in float64, of an error up to
``(n - 1 + 3 r) u A`` with the u of float64; three times as much covers A and A0 as well, which float64 computes
too. Storage and overflow are as in `bounds`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from clconv.oracle._floats import FLOAT64, DType, digits, smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference.flatten import FlattenGradients, flatten
from clconv.oracle.reference.geometry import FloatArray
from clconv.oracle.reference.padding import PadGradients, pad, pad_backward
from clconv.oracle.reference.rearrange import (
    ChannelShuffleGradients,
    PixelShuffleGradients,
    PixelUnshuffleGradients,
    channel_shuffle,
    pixel_shuffle,
    pixel_unshuffle,
)
from clconv.oracle.reference.resample import InterpolateGradients, interpolate, interpolate_backward
from clconv.oracle.reference.resample_arguments import Resizing
from clconv.oracle.reference.resample_coordinates import Axis, Filtered, Nearest, Place, Windows, matrix, through

__all__ = ["BOUNDS", "copied"]

Arguments = dict[str, Any]
Doubts = Iterator[tuple[int, float]]

FLOAT32_DIGITS = 24


class _Map(NamedTuple):
    """One axis as sparse matrices."""

    size: Any  # W: magnitudes of the weights
    error: Any  # E: how far an implementation's may be off
    terms: Any  # how many products an implementation adds up for each entry

    @property
    def transposed(self) -> _Map:
        return _Map(*(m.T.tocsr() for m in self))


class _Sum(NamedTuple):
    """What the bound of one result is made of."""

    value: FloatArray  # what the reference returns
    spread: FloatArray  # A - A0: what all errors of weights cost
    magnitude: FloatArray  # A
    terms: FloatArray  # n
    factors: int  # r
    largest_weight: float  # at least 1


def _interpolate(arguments: Arguments, rounding: Rounding) -> FloatArray:
    axes = _resizing(arguments).axes(arguments["input"].shape[2:])
    maps = [_map(axis, rounding) for axis in axes]
    total = _summed(interpolate(**arguments), maps, arguments["input"], _factors(axes))
    return _limit(total, rounding, is_copy=total.factors == 0)


def _interpolate_backward(arguments: Arguments, rounding: Rounding) -> InterpolateGradients:
    value = interpolate_backward(**arguments).input
    if value is None:
        return InterpolateGradients(None)
    axes = _resizing(arguments).axes(arguments["input"].shape[2:])
    maps = [_map(axis, rounding).transposed for axis in axes]
    return InterpolateGradients(_limit(_summed(value, maps, arguments["grad_output"], _factors(axes)), rounding))


def _pad(arguments: Arguments, rounding: Rounding) -> FloatArray:
    """Bound the padding's value: what the arrays' type makes of it, and the input's copies by zero."""
    value = float(arguments.get("value") or 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        error = abs(float(np.asarray(value).astype(rounding.stored)) - value) if math.isfinite(value) else 0.0
    return pad(**{**arguments, "input": np.zeros(arguments["input"].shape), "value": error or None})


def _pad_backward(arguments: Arguments, rounding: Rounding) -> PadGradients:
    g = arguments["grad_output"]
    value, magnitude, terms = (pad_backward(**{**arguments, "grad_output": a}).input for a in (g, np.abs(g), g != 0))
    if value is None or magnitude is None or terms is None:
        return PadGradients(None)
    total = _Sum(value, np.zeros(value.shape), magnitude, terms, factors=0, largest_weight=1.0)
    return PadGradients(_limit(total, rounding))


def _copy(operation: Callable[..., FloatArray]) -> Callable[[Arguments, Rounding], FloatArray]:
    def limit(arguments: Arguments, rounding: Rounding) -> FloatArray:
        return np.zeros(operation(**arguments).shape)

    return limit


def _copied_gradient(gradients: Callable[[Any], Any]) -> Callable[[Arguments, Rounding], Any]:
    def limit(arguments: Arguments, rounding: Rounding) -> Any:
        mask = arguments.get("output_mask")
        wanted = mask is None or mask[0]
        return gradients(np.zeros(arguments["input"].shape) if wanted else None)

    return limit


BOUNDS: dict[str, Callable[[Arguments, Rounding], Any]] = {
    "interpolate": _interpolate,
    "interpolate_backward": _interpolate_backward,
    "pad": _pad,
    "pad_backward": _pad_backward,
    "pixel_shuffle": _copy(pixel_shuffle),
    "pixel_shuffle_backward": _copied_gradient(PixelShuffleGradients),
    "pixel_unshuffle": _copy(pixel_unshuffle),
    "pixel_unshuffle_backward": _copied_gradient(PixelUnshuffleGradients),
    "channel_shuffle": _copy(channel_shuffle),
    "channel_shuffle_backward": _copied_gradient(ChannelShuffleGradients),
    "flatten": _copy(flatten),
    "flatten_backward": _copied_gradient(FlattenGradients),
}


# --- the matrices of an axis


def _resizing(arguments: Arguments) -> Resizing:
    return Resizing(**{k: v for k, v in arguments.items() if k not in ("grad_output", "input", "output_mask")})


def _factors(axes: Sequence[Axis]) -> int:
    """Return how many factors besides the input each product has."""
    return sum(not isinstance(axis, Nearest) for axis in axes)


@lru_cache(maxsize=256)
def _map(axis: Axis, rounding: Rounding) -> _Map:
    shape = (axis.positions, axis.extent)
    rows = range(axis.positions)
    size = matrix(((o, k, float(abs(w))) for o in rows for k, w in axis.taps(o)), shape)
    doubts = [(o, k, error) for o in rows for k, error in _doubts(axis, o, rounding)]
    return _Map(size, matrix(doubts, shape), matrix(((o, k, 1.0) for o, k, _ in doubts), shape))


def _doubts(axis: Axis, o: int, rounding: Rounding) -> Doubts:
    """Yield (pixel, E) for each term that an implementation may add up at position o."""
    u = unit_roundoff(rounding.summed)
    if isinstance(axis, Windows):
        return ((k, 6 * u * float(w)) for k, w in axis.taps(o))
    if isinstance(axis, Nearest):
        pixels = copied(axis, o, rounding.summed)
        return ((k, float(len(pixels) > 1)) for k in pixels)
    return _doubts_of_filtered(axis, o, digits(rounding.summed))


def copied(axis: Nearest, o: int, summed: DType) -> range:
    """Return the pixels of which position o may copy any: one, unless rounding decides."""
    p, d = axis.place(o), _doubt(axis.place, o, min(digits(summed), FLOAT32_DIGITS))
    return range(axis.pixel(p - d), axis.pixel(p + d) + 1)


def _doubts_of_filtered(axis: Filtered, o: int, held: int) -> Doubts:
    kernel, p, u = axis.kernel, axis.place(o), 2.0**-held
    rounded_distance = Fraction(2 if axis.stretch == 1 else 16, 1 << held) * kernel.radius
    distance = _doubt(axis.place, o, held) / axis.stretch + rounded_distance
    near = axis.near(p, beyond=distance)
    pixels = [k for k, _ in near]
    moved = float(kernel.slope * distance)
    rounded = [8 * u * float(kernel.magnitude(s)) for _, s in near]
    if not axis.normalises:
        return ((k, moved + sum(rounded)) for k in pixels)
    w = [float(kernel(s)) for _, s in near]
    total, size = sum(w), sum(map(abs, w))
    errors = [moved + r for r in rounded]
    left = total - sum(errors) - len(w) * u * size  # S - e_S, which the division needs to be positive
    if left <= 0:
        return ((k, math.inf) for k in pixels)
    shares = [abs(v) / total for v in w]
    return (
        (k, (1 + 8 * u) * (e + share * (total - left)) / left + 8 * u * share)
        for k, e, share in zip(pixels, errors, shares, strict=True)
    )


def _doubt(place: Place, o: int, held: int) -> Fraction:
    """Return d, how far the coordinate of position o may be off in a type of so many digits."""
    if place.is_held(o, held):
        return Fraction(0)
    return Fraction(10, 1 << held) * ((o + place.centre) * place.step + place.centre + place.moved)


# --- the bound of a sum


def _summed(value: FloatArray, maps: Sequence[_Map], x: FloatArray, factors: int) -> _Sum:
    upper = [m.size + m.error for m in maps]
    magnitude = through(upper, np.abs(x))
    return _Sum(
        value,
        magnitude - through([m.size for m in maps], np.abs(x)),
        magnitude,
        through([m.terms for m in maps], (x != 0).astype(np.float64)),
        factors,
        math.prod(max(1.0, float(w.max())) for w in upper),
    )


def _limit(total: _Sum, rounding: Rounding, is_copy: bool = False) -> FloatArray:
    """Bound the error of one result: weights, sum, storage and the reference's own error."""
    r, roundings = total.factors, np.maximum(total.terms - 1, 0)
    u = unit_roundoff(rounding.summed)
    products = r * u * (1 + u) ** max(r - 1, 0)  # at least (1 + u)^r - 1
    flushed = 0.0 if is_copy else (r + 2) * rounding.flush_cost
    underflow = (r * smallest_subnormal(rounding.summed) + flushed) * total.terms * total.largest_weight
    with np.errstate(over="ignore", invalid="ignore"):
        error = total.spread + (products + roundings * u * (1 + products)) * total.magnitude + underflow
        reference_error = 3 * (roundings + 3 * r) * unit_roundoff(FLOAT64) * total.magnitude
        limit = rounding.limit(total.value, error, reference_error, peak=total.magnitude + error)
    return np.where((error == 0) & (r == 0), 0.0, limit)
