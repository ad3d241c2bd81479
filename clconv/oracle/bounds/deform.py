r"""How far a correct deformable convolution may be from the reference, in the notation of `bounds`.

**Terms.** Each result is a sum of n products: a factor from every array that it depends on, and the two bilinear
weights of a corner. The weights come from ``t = p - floor(p)``, which is rounded where p is negative, and ``1 - t``, or
corners are joined as ``v0 + t (v1 - v0)``; hence every corner's weight may be off by 8 u, also where it is zero. With A
the sum of the terms' magnitudes and A1 that with all weights raised by 8 u, the six products of a term, the storage of
what the taps read (and of its gradient) in the arrays' type with its roundoff u_out, and any order of summation make

    ``|error| <= (A1 - A) + ((1 + n u) (1 + u)^6 (1 + u_out) - 1) A1 + F + M``.

**Positions** ``p = base + offset`` are one rounding from exact, d = u |p|, and exact where the type of the sums holds
p: the base is a whole number. What is read changes by at most ``2 V (d_row + d_column)``, where V is the largest
magnitude among the pixels of the cells around p, since x is continuous with slopes of at most 2 V; M is that change in
place of what is read. The gradient of the input moves a share of up to d_row + d_column of a term between those
pixels. A derivative by row changes by 4 V d_column, and that by column by 4 V d_row; but where d is not zero and p is
within d of a whole number, it may be that of the neighbouring cell: the bound is infinite there.

**Overflow.** What the taps read, times the mask, and its gradient may be stored in the arrays' type. Where their sums
of magnitudes leave its range, everything that depends on them has an infinite bound.

**Underflow.** Each of eight results on the way to a term may lose eta, or what flushing costs, or half the smallest
number of the arrays' type where it is stored, times the factors that are still to come: F takes the largest of each
array, or 1.

**The reference** is such a sum in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle._floats import FLOAT64, largest, smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference.deform import DeformConvGradients, Layer, Sampling, deform_conv2d, deform_conv2d_backward
from clconv.oracle.reference.geometry import FloatArray

__all__ = ["BOUNDS"]

Arguments = dict[str, Any]
WEIGHT_ERROR = 8  # of a corner's weight, in u
PRODUCTS = 6  # roundings of a term
RESULTS = 8  # on the way to a term that may underflow
EXACTLY = Rounding(FLOAT64, FLOAT64, flushes=False)
NEIGHBOURS = tuple(product(range(-1, 3), repeat=2))  # of a position's upper left pixel, in the cells around it


class _Sums(NamedTuple):
    """What the bound of a result is made of, each in the result's shape."""

    magnitude: FloatArray  # A
    raised: FloatArray  # A1
    terms: FloatArray  # n
    moved: FloatArray  # M


def _output(arguments: Arguments, rounding: Rounding) -> FloatArray:
    layer, bias = _layer(arguments), arguments["bias"]
    added = 0.0 if bias is None else np.abs(bias)[:, None, None]

    def sums(rounding: Rounding) -> _Sums:
        plain, raised, ones, moved = _variants(layer, rounding)
        return _Sums(
            plain.output(plain.sampled()) + added,
            raised.output(raised.sampled()) + added,
            ones.output(ones.sampled()) + 1,
            plain.output(moved + _overflow(plain.sampled() * plain.mask, rounding)),
        )

    return _limit(deform_conv2d(**arguments), sums(rounding), sums(EXACTLY), rounding, _largest(arguments))


def _gradients(arguments: Arguments, rounding: Rounding) -> DeformConvGradients:
    values = deform_conv2d_backward(**arguments)
    layer, g = _layer(arguments), arguments["grad_output"]

    def sums(rounding: Rounding) -> list[_Sums]:
        plain, raised, ones, moved = _variants(layer, rounding)
        size, one = np.abs(g), np.ones(g.shape)
        behind, read = plain.behind(size), plain.sampled()
        lost = _overflow(behind, rounding)
        movements = (
            replace(plain, sampling=_spread(layer, rounding)).input_gradient(behind) + plain.input_gradient(lost),
            plain.offset_gradient(behind, _moved_slopes(layer, rounding)) + plain.offset_gradient(lost, plain.slopes()),
            plain.weight_gradient(size, moved + _overflow(read * plain.mask, rounding)),
            np.zeros(g.shape[1]),
            plain.mask_gradient(behind, moved) + plain.mask_gradient(lost, read),
        )
        every = zip(plain.gradients(size), raised.gradients(size), ones.gradients(one), movements, strict=True)
        return [_Sums(*four) for four in every]  # type: ignore[arg-type]

    limits = [
        None if value is None else _limit(value, ours, theirs, rounding, _largest(arguments))
        for value, ours, theirs in zip(values, sums(rounding), sums(EXACTLY), strict=True)
    ]
    return DeformConvGradients(*limits)


def _layer(arguments: Arguments) -> Layer:
    names = ("input", "offset", "weight", "bias", "stride", "padding", "dilation", "mask")
    return Layer.of(**{name: arguments[name] for name in names})


def _variants(layer: Layer, rounding: Rounding) -> tuple[Layer, Layer, Layer, FloatArray]:
    """Return the layer of magnitudes, that with raised weights, that of ones, and the change of what is read."""
    inside = layer.sampling.pixels >= 0

    def with_weights(change: float) -> Layer:
        sampling = layer.sampling
        by_row, by_column = (np.where(inside, np.abs(slope) + change, 0) for slope in sampling.slopes)
        weights = np.where(inside, sampling.weights + change, 0)
        sampling = replace(sampling, weights=weights, slopes=(by_row, by_column))
        return replace(layer, x=np.abs(layer.x), w=np.abs(layer.w), mask=np.abs(layer.mask), sampling=sampling)

    one = np.where(inside, 1.0, 0.0)
    ones = replace(
        layer,
        x=np.ones(layer.x.shape),
        w=np.ones(layer.w.shape),
        mask=np.ones(layer.mask.shape),
        sampling=replace(layer.sampling, weights=one, slopes=(one, one)),
    )
    moved = 2 * _around(layer) * _doubts(layer.sampling, rounding)[:, :, None]
    return with_weights(0.0), with_weights(WEIGHT_ERROR * unit_roundoff(rounding.summed)), ones, moved


def _doubt(sampling: Sampling, rounding: Rounding) -> tuple[FloatArray, FloatArray]:
    """Return how far the computed row and column may be off."""
    u = unit_roundoff(rounding.summed)
    rows, columns = (
        np.where(p.astype(rounding.summed).astype(np.float64) == p, 0.0, u * np.abs(p))
        for p in (sampling.rows, sampling.columns)
    )
    return rows, columns


def _doubts(sampling: Sampling, rounding: Rounding) -> FloatArray:
    row, column = _doubt(sampling, rounding)
    total: FloatArray = row + column
    return total


def _near(layer: Layer) -> list[NDArray[np.intp]]:
    """Return the flat indices of the pixels in the cells around each position; -1 outside of the image."""
    H, W = layer.window.extent
    top, left = np.floor(layer.sampling.rows), np.floor(layer.sampling.columns)
    indices = []
    for below, beside in NEIGHBOURS:
        row, column = top + below, left + beside
        inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
        indices.append(np.where(inside, row * W + column, -1).astype(np.intp))
    return indices


def _around(layer: Layer) -> FloatArray:
    """Return the largest magnitude among the pixels around each position, of the shape of what is read."""
    x, one = np.abs(layer.x), np.ones((1, *layer.sampling.rows.shape))
    each = (replace(layer.sampling, pixels=index[None]).of(x, one) for index in _near(layer))
    largest: FloatArray = np.maximum.reduce(list(each))
    return largest


def _spread(layer: Layer, rounding: Rounding) -> Sampling:
    """Return the sampling that reads, of each pixel around a position, the share that the position is in doubt by."""
    near = np.array(_near(layer))
    return replace(layer.sampling, pixels=near, weights=np.broadcast_to(_doubts(layer.sampling, rounding), near.shape))


def _moved_slopes(layer: Layer, rounding: Rounding) -> Sequence[FloatArray]:
    """Return how much the derivatives of what is read may change; infinite where the cell is in doubt."""
    around, (row, column) = _around(layer), _doubt(layer.sampling, rounding)
    changes = []
    for position, doubt, other in ((layer.sampling.rows, row, column), (layer.sampling.columns, column, row)):
        in_doubt = (doubt > 0) & (np.abs(position - np.round(position)) <= doubt)
        change = 4 * around * other[:, :, None]
        changes.append(np.where(in_doubt[:, :, None] & (around > 0), np.inf, change))
    return changes


def _overflow(magnitude: FloatArray, rounding: Rounding) -> FloatArray:
    """Return infinity where a value may leave the range of the arrays' type before it is used, else zero."""
    return np.where(magnitude > largest(rounding.stored), np.inf, 0.0)


def _largest(arguments: Arguments) -> float:
    """Return the product of the largest magnitudes of the arrays, or 1 for each that has none above it."""
    names = ("grad_output", "input", "weight", "mask")
    arrays = (arguments.get(name) for name in names)
    return math.prod(max(1.0, float(np.abs(a).max(initial=0))) for a in arrays if a is not None)


def _error(sums: _Sums, rounding: Rounding, others: float) -> FloatArray:
    """Return the error of the computation in `summed`."""
    u, n = unit_roundoff(rounding.summed), sums.terms
    narrower = rounding.stored != rounding.summed
    kept = unit_roundoff(rounding.stored) if narrower else 0.0
    lost = smallest_subnormal(rounding.summed) + rounding.flush_cost
    lost += smallest_subnormal(rounding.stored) if narrower else 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        factor = (1 + n * u) * (1 + u) ** PRODUCTS * (1 + kept) - 1
        error = (sums.raised - sums.magnitude) + factor * sums.raised + RESULTS * n * lost * others
        # An infinite change times a factor of zero is taken for infinite.
        total: FloatArray = error + np.nan_to_num(sums.moved, nan=np.inf, posinf=np.inf)
    return total


def _limit(value: FloatArray, ours: _Sums, theirs: _Sums, rounding: Rounding, factor: float) -> FloatArray:
    error, of_reference = _error(ours, rounding, factor), _error(theirs, EXACTLY, factor)
    return rounding.limit(value, error, of_reference, ours.raised + error)


BOUNDS = {"deform_conv2d": _output, "deform_conv2d_backward": _gradients}
