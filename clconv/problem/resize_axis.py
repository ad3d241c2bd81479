"""One axis of a resized image: which pixels each position of the output reads, and with which weights.

Resizing is linear and separable: a small matrix for each axis, of which the kernels get the rows as a `Table`.
Position o of the output lies at

    p = (o + centre)*step - centre + offset

among the input's pixels, which lie at the integers. Coordinates are exact: step and offset are fractions, so that no
rounding decides which pixel is the nearest, and positions with the same weights have the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["COORDINATE_MODES", "NEAREST_MODES", "Axis", "Filtered", "Nearest", "Place", "Table", "Windows", "placed"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

HALF = Fraction(1, 2)
COORDINATE_MODES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
NEAREST_MODES = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")

_LONGEST_INT64 = 2**62


class Table(NamedTuple):
    """The rows of a matrix of weights: position o sums ``weights[o, t] * x[first[o] + t]`` over ``t < taps[o]``.

    A row begins and ends with weights other than zero, so that infinity and NaN reach no output without a weight.
    """

    first: Integers
    taps: Integers
    weights: Floats

    def transposed(self, extent: int) -> Table:
        """Return the table of the gradient: the positions that read each of ``extent`` pixels."""
        positions, most = self.weights.shape
        used = np.arange(most) < self.taps[:, None]
        o = np.broadcast_to(np.arange(positions)[:, None], used.shape)[used]
        pixel = (self.first[:, None] + np.arange(most))[used]
        first, last = np.full(extent, positions), np.full(extent, -1)
        np.minimum.at(first, pixel, o)
        np.maximum.at(last, pixel, o)
        count = np.maximum(last - first + 1, 0)
        weights = np.zeros((extent, max(int(count.max()), 1)))
        weights[pixel, o - first[pixel]] = self.weights[used]
        return Table(np.where(count > 0, first, 0), count, weights)

    @classmethod
    def trimmed(cls, first: Integers, weights: Floats) -> Table:
        """Return the table of rows from which zeros at both ends are cut off."""
        most = weights.shape[1]
        kept = weights != 0
        lead = kept.argmax(axis=1)
        count = np.where(kept.any(axis=1), most - lead - kept[:, ::-1].argmax(axis=1), 0)
        taps = np.arange(max(int(count.max()), 1))
        moved = np.take_along_axis(weights, np.minimum(lead[:, None] + taps, most - 1), axis=1)
        return cls(first + lead, count, np.where(taps < count[:, None], moved, 0.0))


@dataclass(frozen=True)
class Place:
    """Where the positions of the output lie among the pixels of the input."""

    step: Fraction
    centre: Fraction
    offset: Fraction = Fraction(0)

    def split(self, positions: int) -> tuple[Integers, Floats]:
        """Return floor(p) and p - floor(p) of every position: integer arithmetic, and one rounding of the second."""
        first = self.centre * self.step - self.centre + self.offset
        denominator = math.lcm(self.step.denominator, first.denominator)
        step, start = int(self.step * denominator), int(first * denominator)
        largest = max(abs(step) * positions + abs(start), denominator)
        o: Any = np.arange(positions, dtype=np.int64 if largest < _LONGEST_INT64 else object)
        numerator = o * step + start
        whole, part = numerator // denominator, numerator % denominator / denominator
        return whole.astype(np.int64), part.astype(np.float64)


def placed(coordinate_mode: str, extent: int, positions: int, scale: Fraction | None) -> Place:
    """Return the place that a coordinate transformation mode of ONNX's Resize stands for.

    The step is 1/scale, or extent/positions where the scale does not matter.
    """
    step = Fraction(extent, positions) if scale is None else 1 / scale
    if coordinate_mode == "align_corners":
        return Place(Fraction(extent - 1, positions - 1) if positions > 1 else Fraction(0), Fraction(0))
    if coordinate_mode == "asymmetric":
        return Place(step, Fraction(0))
    if coordinate_mode == "pytorch_half_pixel" and positions == 1:
        return Place(Fraction(0), Fraction(0))
    if coordinate_mode == "half_pixel_symmetric":  # the centre stays the centre where extent*scale is no integer
        return Place(step, HALF, (extent - positions * step) / 2)
    return Place(step, HALF)


@dataclass(frozen=True)
class Nearest:
    """Each position copies the pixel that its coordinate is rounded to."""

    extent: int
    positions: int
    place: Place
    nearest_mode: str

    @property
    def step(self) -> Fraction:
        """The distance of neighbouring positions in pixels."""
        return self.place.step

    def table(self) -> Table:
        """Return the pixels that positions read."""
        whole, part = self.place.split(self.positions)
        goes_up = {
            "floor": part < 0,
            "ceil": part > 0,
            "round_prefer_floor": part > 0.5,
            "round_prefer_ceil": part >= 0.5,
        }[self.nearest_mode]
        pixel = np.clip(whole + goes_up, 0, self.extent - 1)
        return Table(pixel, np.ones_like(pixel), np.ones((self.positions, 1)))


@dataclass(frozen=True)
class Filtered:
    """Each position sums the pixels j around it with the weights ``kernel(|p - j|/stretch)``.

    Attributes
    ----------
    cubic : Fraction or None
        Coefficient a of the cubic kernel; None for the triangle.
    stretch : Fraction
        1, or the distance of positions where that is larger and aliases are to be kept out.
    repeats_edge : bool
        Whether pixels outside the image are those at its edge, or else have no weight.
    normalises : bool
        Whether weights are divided by their sum.
    """

    extent: int
    positions: int
    place: Place
    cubic: Fraction | None
    stretch: Fraction
    repeats_edge: bool
    normalises: bool

    @property
    def step(self) -> Fraction:
        """The distance of neighbouring positions in pixels."""
        return self.place.step

    def table(self) -> Table:
        """Return the weights of all pixels that the kernel may reach, those beyond an edge moved onto it."""
        whole, part = self.place.split(self.positions)
        reach = (1 if self.cubic is None else 2) * self.stretch
        taps = np.arange(math.ceil(-reach), math.floor(1 + reach) + 1)
        weights = self._kernel(np.abs(part[:, None] - taps) / float(self.stretch))
        pixel = whole[:, None] + taps
        inside = np.clip(pixel, 0, self.extent - 1)
        if not self.repeats_edge:
            weights = np.where(pixel == inside, weights, 0.0)
        if self.normalises:
            weights = weights / weights.sum(axis=1, keepdims=True)
        first = inside[:, 0]
        merged = np.zeros_like(weights)
        np.add.at(merged, (np.arange(self.positions)[:, None], inside - first[:, None]), weights)
        return Table.trimmed(first, merged)

    def _kernel(self, s: Floats) -> Floats:
        """Return the triangle, or Keys's cubic kernel by its roots, at distances of at least 0."""
        if self.cubic is None:
            return np.maximum(1 - s, 0.0)
        a = float(self.cubic)
        inner = (1 - s) * (1 + s - (a + 2) * s * s)
        outer = a * (s - 1) * (s - 2) ** 2
        return np.where(s < 1, inner, np.where(s < 2, outer, 0.0))


@dataclass(frozen=True)
class Windows:
    """Position o averages the pixels from floor(o*I/O) to before ceil((o + 1)*I/O)."""

    extent: int
    positions: int

    @property
    def step(self) -> Fraction:
        """The distance of neighbouring positions in pixels."""
        return Fraction(self.extent, self.positions)

    def table(self) -> Table:
        """Return the windows, each with one weight for all of its pixels."""
        o = np.arange(self.positions, dtype=np.int64)
        first = o * self.extent // self.positions
        count = -(-(o + 1) * self.extent // self.positions) - first
        used = np.arange(int(count.max())) < count[:, None]
        return Table(first, count, used / count[:, None])


Axis = Nearest | Filtered | Windows
