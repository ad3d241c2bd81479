r"""How far a correct result of grid_sample may be from the reference.

Notation is that of `bounds`: u belongs to the type of the sums, M is the largest magnitude in a plane (n, c) of the
input, r the number of spatial axes, T the taps of an axis. G bounds the sum of the magnitudes of an axis's weights, S
that of their derivatives by the position, and B that of their second derivatives: 1, 2 and 0 for two pixels, 3/2, 6 and
18 for four.

*Positions.* ``p = ((g + 1) E - 1)/2`` takes four roundings of numbers up to ``((|g| + 1) E + 1)/2``, and mirrors six
of numbers up to |p| + E, so that p is off by at most ``d = 4 u ((|g| + 1) E + 1)/2 + 6 u (|p| + E)``, and by lambda E
where subnormal numbers are flushed. Moving positions into the image moves no two of them apart.

*Samples* of "bilinear" and "bicubic" are continuous in the position, also at the edges. A position that is off by d
therefore costs at most ``S G^(r-1) M d`` for each axis, and never more than ``2 G^r M``. A weight is a polynomial of at
most eight roundings of terms up to 3: 24 u each; and T^r products of r + 1 factors are added up. In all

    ``E = sum of min(S G^(r-1) M d, 2 G^r M) over the axes + T^r (24 r + T^r + r) u M G^r``.

"nearest" copies, but where p lies within d of the middle between two pixels it may copy either: ``E = 2 M``.

*The gradient of the input* adds up a product for each position and tap. Its weight is off by at most
``e = (S d + 24 u) r`` at all pixels that p - d, p or p + d has taps at, which is where an implementation can have any.
With A the same sum of magnitudes including e, and n its number of terms, ``|error| <= sum(|g| e) + (n + r) u A``; it is
infinite once d exceeds 1/2, beyond which other pixels are reached.

*The gradient of the grid* is a sum over channels of derivatives, each of a size up to ``D = S G^(r-1) M E/2``. For two
pixels it has a kink at each pixel and at the edges: within d of one it may be off by ``2 D``. Elsewhere the other axes'
positions change it by ``S S M d E/2`` each, its own by ``B G^(r-1) M d E/2``, and rounding by
``(64 r + T^r + C) u D``.

All of these are coarse in M, which is the price of a proof this short; a wrong pixel, weight or sign is far outside.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from clconv.oracle._floats import FLOAT64, DType, smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference.geometry import FloatArray
from clconv.oracle.reference.grid_sample import (
    GridSampleGradients,
    folded,
    grid_sample,
    grid_sample_backward,
    positions_of,
    taps_at,
)

__all__ = ["BOUNDS"]

Arguments = dict[str, Any]


class _Kernel(NamedTuple):
    taps: int
    weights: float  # G
    slopes: float  # S
    curvature: float  # B


KERNELS = {"nearest": _Kernel(1, 1, 0, 0), "bilinear": _Kernel(2, 1, 2, 0), "bicubic": _Kernel(4, 1.5, 6, 18)}


class _Axis(NamedTuple):
    """One spatial axis: its extent, the positions along it, and how far they may be off."""

    extent: int
    positions: FloatArray
    doubt: FloatArray


class _Call:
    """The arguments of a call, and what its bounds are made of; arrays of samples have the shape (N, *positions)."""

    def __init__(self, arguments: Arguments, summed: DType, flush_cost: float) -> None:
        self.x, self.grid = arguments["input"], arguments["grid"]
        self.mode, self.padding_mode = arguments["mode"], arguments["padding_mode"]
        self.aligned = bool(arguments["align_corners"])
        self.kernel = KERNELS[self.mode]
        self.u = unit_roundoff(summed)
        self.eta = smallest_subnormal(summed) + flush_cost
        extents = self.x.shape[2:]
        coordinates = np.moveaxis(self.grid, -1, 0)[::-1]
        self.axes = [self._axis(g, E, flush_cost) for g, E in zip(coordinates, extents, strict=True)]
        self.rank = len(extents)
        # M, for the shape (N, C, *positions)
        peak = np.abs(self.x).max(axis=tuple(range(2, self.x.ndim)))
        self.peak: FloatArray = peak.reshape(*peak.shape, *(1,) * self.rank)

    def _axis(self, coordinates: FloatArray, extent: int, flush_cost: float) -> _Axis:
        p = positions_of(coordinates, extent, self.aligned)
        size = (np.abs(coordinates) + 1) * extent + 1
        return _Axis(extent, p, 2 * self.u * size + 6 * self.u * (np.abs(p) + extent) + flush_cost * extent)

    def is_between(self, axis: _Axis) -> FloatArray:
        """Tell which positions are so near to the middle of two pixels that either may be the nearest."""
        p = folded(axis.positions, axis.extent, self.padding_mode, self.aligned)[0]
        return np.asarray(np.abs(p - np.floor(p) - 0.5) <= axis.doubt)

    def has_kink(self, axis: _Axis) -> FloatArray:
        """Tell which positions are so near to a pixel that the slope of either side may be taken."""
        p = folded(axis.positions, axis.extent, self.padding_mode, self.aligned)[0]
        near = np.abs(p - np.rint(p)) <= axis.doubt
        if self.padding_mode != "zeros":
            near &= (p >= -axis.doubt) & (p <= axis.extent - 1 + axis.doubt)
        return np.asarray(near | (axis.doubt > 0.5))

    def error(self) -> FloatArray:
        """Bound the error of the samples before they are stored."""
        if self.mode == "nearest":
            doubtful = np.logical_or.reduce([self.is_between(axis) for axis in self.axes])
            return np.where(doubtful[:, np.newaxis], 2 * self.peak, 0.0)
        taps, G, S, _ = self.kernel
        r, count = self.rank, taps**self.rank
        moved = sum(np.minimum(S * G ** (r - 1) * axis.doubt, 2 * G**r)[:, np.newaxis] for axis in self.axes)
        rounded = count * (24 * r + count + r) * self.u * G**r
        return np.asarray((moved + rounded) * self.peak + 4 * count * (r + 1) * self.eta * (1 + self.peak))

    def input_error(self, g: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Bound the error of the input's gradient before it is stored, and return the largest sum on the way."""
        size, spread, terms, reach = (np.zeros(self.x.shape) for _ in range(4))
        shifts = {tuple(shift) for shift in itertools.product((-1, 0, 1), repeat=self.rank)}
        error = self._weight_error()
        for shift in shifts:
            axes = [a.positions + s * a.doubt for a, s in zip(self.axes, shift, strict=True)]
            reached = self._scattered(np.abs(g), axes, error, weighted=False)
            spread += reached
            reach += self._scattered((g != 0).astype(float), axes, np.ones_like(error), weighted=False)
            if not any(shift):
                size += self._scattered(np.abs(g), axes, np.ones_like(error), weighted=True)
        terms += reach
        total = size + spread
        r = self.rank
        roundings = np.maximum(terms - 1, 0) if self.mode == "nearest" else terms + r
        tiny = 0.0 if self.mode == "nearest" else 4 * (r + 1) * self.eta
        limit = spread + roundings * self.u * total + tiny * terms * (1 + np.abs(g).max(initial=0))
        hopeless = np.logical_or.reduce([(a.doubt > 0.5).any() for a in self.axes]) if g.size else False
        return (np.full(limit.shape, np.inf) if hopeless else limit), total

    def _weight_error(self) -> FloatArray:
        if self.mode == "nearest":
            doubtful = np.logical_or.reduce([self.is_between(axis) for axis in self.axes])
            return np.where(doubtful, 1.0, 0.0)
        S, r = self.kernel.slopes, self.rank
        return np.asarray(sum(S * axis.doubt for axis in self.axes) + 24 * r * self.u)

    def _scattered(self, g: FloatArray, positions: Any, factor: FloatArray, weighted: bool) -> FloatArray:
        """Add g times a factor, and times the weights' magnitudes if told so, to the pixels around positions."""
        result = np.zeros((self.x.shape[0], *self.x.shape[2:], self.x.shape[1]))
        axes = [
            taps_at(p, axis.extent, self.mode, self.padding_mode, self.aligned)
            for p, axis in zip(positions, self.axes, strict=True)
        ]
        channels_last = np.moveaxis(g, 1, -1)
        images = np.broadcast_to(np.arange(len(result)).reshape(-1, *(1,) * self.rank), axes[0].pixels.shape[:-1])
        for chosen in itertools.product(range(self.kernel.taps), repeat=self.rank):
            pixels = [axis.pixels[..., t] for t, axis in zip(chosen, axes, strict=True)]
            values = factor.copy()
            for t, axis in zip(chosen, axes, strict=True):
                values *= np.abs(axis.weights[..., t]) if weighted else 1.0
            inside = np.logical_and.reduce([p >= 0 for p in pixels])
            index = (images[inside], *(p[inside] for p in pixels))
            np.add.at(result, index, values[inside, np.newaxis] * channels_last[inside])
        scattered: FloatArray = np.moveaxis(result, -1, 1)
        return scattered

    def grid_error(self, g: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Bound the error of the grid's gradient before it is stored, and return the largest sum on the way."""
        taps, G, S, B = self.kernel
        r, C = self.rank, self.x.shape[1]
        total = (np.abs(g) * self.peak).sum(axis=1)
        errors, sizes = np.zeros(self.grid.shape), np.zeros(self.grid.shape)
        for k, axis in enumerate(self.axes):
            scale = (axis.extent - 1 if self.aligned else axis.extent) / 2
            size = S * G ** (r - 1) * scale * total
            others = sum(S * S * a.doubt for a in self.axes if a is not axis)
            error = (others + B * G ** (r - 1) * axis.doubt) * scale * total
            error += (64 * r + taps**r + C) * self.u * size
            if self.mode == "bilinear":
                error = np.where(self.has_kink(axis), 2 * size, 0.0) + error
            if self.mode != "nearest":
                error += 8 * taps**r * (C + r) * self.eta * (1 + scale) * (1 + total)
            errors[..., r - 1 - k], sizes[..., r - 1 - k] = error, size
        return errors, sizes


def _samples(arguments: Arguments, rounding: Rounding) -> FloatArray:
    call, exact = _calls(arguments, rounding)
    error, peak = call.error(), call.kernel.weights**call.rank * call.peak
    value = grid_sample(**arguments)
    limit = rounding.limit(value, error, exact.error(), peak=np.broadcast_to(peak, value.shape) + error)
    return np.where(error == 0, 0.0, limit)


def _gradients(arguments: Arguments, rounding: Rounding) -> GridSampleGradients:
    call, exact = _calls(arguments, rounding)
    g = arguments["grad_output"]
    values = grid_sample_backward(**arguments)
    limits: list[FloatArray | None] = []
    for value, name in zip(values, ("input_error", "grid_error"), strict=True):
        if value is None:
            limits.append(None)
            continue
        (error, size), (of_reference, _) = getattr(call, name)(g), getattr(exact, name)(g)
        limit = rounding.limit(value, error, of_reference, peak=size + error)
        limits.append(np.where((error == 0) & (rounding.stored == rounding.summed), 0.0, limit))
    return GridSampleGradients(*limits)


def _calls(arguments: Arguments, rounding: Rounding) -> tuple[_Call, _Call]:
    """Return the call as an implementation computes it, and as the reference does."""
    given = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": None, **arguments}
    return _Call(given, rounding.summed, rounding.flush_cost), _Call(given, FLOAT64, 0.0)


BOUNDS: dict[str, Any] = {"grid_sample": _samples, "grid_sample_backward": _gradients}
