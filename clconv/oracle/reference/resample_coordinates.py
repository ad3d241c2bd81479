"""Where a resized axis reads its input, and with which weights: rational numbers, rounded once.

Resizing is linear and separable: along one axis it is a matrix of weights, with one row for each position of
the output, and over several axes it is the product of these matrices. Position o of the output lies at

    ``p = (o + centre)*step - centre + offset``

among the input's pixels, which lie at the integers. Its weights are those of `Nearest`, one pixel; of
`Filtered`, the samples ``k((p - j)/stretch)`` of a kernel k at all pixels j; or of `Windows`, the mean of a
range of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse  # type: ignore[import-untyped]

from clconv.oracle.reference.geometry import FloatArray

__all__ = [
    "COORDINATE_MODES",
    "NEAREST_MODES",
    "Axis",
    "Cubic",
    "Filtered",
    "Linear",
    "Nearest",
    "Place",
    "Windows",
    "is_binary",
    "matrix",
    "placed",
    "through",
    "weights",
]

Taps = list[tuple[int, Fraction]]

HALF = Fraction(1, 2)
NEAREST_MODES: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda p: math.ceil(p - HALF),
    "round_prefer_ceil": lambda p: math.floor(p + HALF),
}


@dataclass(frozen=True)
class Place:
    """Where positions of the output lie among pixels of the input."""

    step: Fraction
    centre: Fraction
    offset: Fraction
    given: Fraction  # what the step is computed from: the scale factor, or without one the step itself
    moved: Fraction = Fraction(0)  # the larger of the two extents that the offset is a difference of, if it is one

    def __call__(self, o: int) -> Fraction:
        """Return the coordinate of one position."""
        return (o + self.centre) * self.step - self.centre + self.offset

    def is_held(self, o: int, digits: int) -> bool:
        """Tell whether binary numbers of so many digits hold a coordinate, and all that it is computed from."""
        numbers = (self.given, self.step, (o + self.centre) * self.step, self(o))
        return all(is_binary(n) and abs(n.numerator).bit_length() <= digits for n in numbers)


def is_binary(number: Fraction) -> bool:
    """Tell whether the denominator is a power of two."""
    return number.denominator & (number.denominator - 1) == 0


COORDINATE_MODES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")


def placed(coordinate_mode: str, extent: int, positions: int, scale: Fraction | None) -> Place:
    """Return the place that one of ONNX's coordinate transformation modes stands for.

    With ``r = 1/scale``, or ``extent/positions`` without a scale:

    - "half_pixel": ``p = (o + 1/2) r - 1/2``, which maps the whole image to the whole image;
    - "half_pixel_symmetric": the same, moved by ``(extent - positions*r)/2``, so that centre maps to centre
      where extent*scale is no integer;
    - "pytorch_half_pixel": the same as half_pixel, but ``p = 0`` for a single position;
    - "align_corners": ``p = o (extent - 1)/(positions - 1)``, and 0 for a single position;
    - "asymmetric": ``p = o r``.
    """
    step = Fraction(extent, positions) if scale is None else 1 / scale
    given = step if scale is None else scale
    zero = Fraction(0)
    if coordinate_mode == "align_corners":
        step = Fraction(extent - 1, positions - 1) if positions > 1 else zero
        return Place(step, zero, zero, step)
    if coordinate_mode == "pytorch_half_pixel" and positions == 1:
        return Place(zero, zero, zero, zero)
    if coordinate_mode == "asymmetric":
        return Place(step, zero, zero, given)
    if coordinate_mode == "half_pixel_symmetric":
        return Place(step, HALF, (extent - positions * step) / 2, given, moved=Fraction(extent))
    return Place(step, HALF, zero, given)


@dataclass(frozen=True)
class Linear:
    """The triangle ``1 - s`` over distances up to 1."""

    radius = 1
    slope = Fraction(1)  # the largest one

    def __call__(self, s: Fraction) -> Fraction:
        """Return the weight at a distance of at least 0."""
        return max(1 - s, Fraction(0))

    def magnitude(self, s: Fraction) -> Fraction:
        """Return the sum of magnitudes of the polynomial's terms, which bounds its rounding."""
        return 1 + s


@dataclass(frozen=True)
class Cubic:
    """Keys's kernel: ``(a + 2) s^3 - (a + 3) s^2 + 1`` up to 1, ``a s^3 - 5a s^2 + 8a s - 4a`` up to 2.

    For -1 <= a <= 0 the weights on one side of the image's edge never add up to zero.
    """

    a: Fraction
    radius = 2

    def __call__(self, s: Fraction) -> Fraction:
        """Return the weight at a distance of at least 0: the polynomials by their roots."""
        if s >= 2:
            return Fraction(0)
        if s >= 1:
            return self.a * (s - 1) * (s - 2) ** 2
        return (1 - s) * (1 + s - (self.a + 2) * s * s)

    def magnitude(self, s: Fraction) -> Fraction:
        """Return the sum of magnitudes of the polynomial's terms, which bounds its rounding."""
        if s >= 1:
            return abs(self.a) * (((s + 5) * s + 8) * s + 4)
        return abs(self.a + 2) * s**3 + abs(self.a + 3) * s * s + 1

    @property
    def slope(self) -> Fraction:
        """Largest slope: |a| at s = 1, or at the inflection of the inner polynomial, s = (a + 3)/(3a + 6)."""
        return max(abs(self.a), (self.a + 3) ** 2 / (3 * (self.a + 2)))


@dataclass(frozen=True)
class Nearest:
    """An axis on which each position copies one pixel: its coordinate, rounded and kept inside the image."""

    extent: int
    positions: int
    place: Place
    nearest_mode: str

    def pixel(self, p: Fraction) -> int:
        """Return the pixel at a coordinate."""
        return _clamped(NEAREST_MODES[self.nearest_mode](p), self.extent)

    def taps(self, o: int) -> Taps:
        """Return the pixels that a position reads, with their weights."""
        return [(self.pixel(self.place(o)), Fraction(1))]


@dataclass(frozen=True)
class Filtered:
    """An axis on which each position sums the pixels around it, weighted by a kernel."""

    extent: int
    positions: int
    place: Place
    kernel: Linear | Cubic
    stretch: Fraction  # above 1, the kernel is widened to cover all pixels when there are fewer positions
    clamps: bool  # pixels outside are those at the edge; else they have no weight
    normalises: bool  # divide the weights by their sum

    def near(self, p: Fraction, beyond: Fraction = Fraction(0)) -> list[tuple[int, Fraction]]:
        """Return the pixels that the kernel reaches from p, kept inside the image, with their distances.

        The distance is measured in stretches; `beyond` widens the kernel's radius by so many of them.
        """
        radius = self.kernel.radius + beyond
        reached = range(math.ceil(p - radius * self.stretch), math.floor(p + radius * self.stretch) + 1)
        inside = [(j, _clamped(j, self.extent)) for j in reached]
        return [(k, abs(p - j) / self.stretch) for j, k in inside if self.clamps or j == k]

    def taps(self, o: int) -> Taps:
        """Return the pixels that a position reads, with their weights; those at the edge may be repeated."""
        taps = [(k, self.kernel(s)) for k, s in self.near(self.place(o))]
        total = sum((w for _, w in taps), Fraction(0)) if self.normalises else Fraction(1)
        return [(k, w / total) for k, w in taps]


@dataclass(frozen=True)
class Windows:
    """An axis on which position o averages the pixels from floor(o*I/O) to before ceil((o + 1)*I/O)."""

    extent: int
    positions: int

    def taps(self, o: int) -> Taps:
        """Return the pixels that a position reads, with their weights."""
        window = range(o * self.extent // self.positions, -(-(o + 1) * self.extent // self.positions))
        return [(k, Fraction(1, len(window))) for k in window]


Axis = Nearest | Filtered | Windows


@lru_cache(maxsize=256)
def weights(axis: Axis) -> Any:
    """Return the sparse matrix (positions, extent) of an axis, each weight rounded once to float64."""
    taps = ((o, k, float(w)) for o in range(axis.positions) for k, w in axis.taps(o))
    return matrix(taps, (axis.positions, axis.extent))


def matrix(entries: Iterable[tuple[int, int, float]], shape: tuple[int, int]) -> Any:
    """Return the sparse matrix with these (row, column, value) entries, equal places added up."""
    rows, columns, values = zip(*entries, strict=True)
    result = sparse.csr_matrix((np.array(values, dtype=np.float64), (rows, columns)), shape=shape)
    result.eliminate_zeros()
    return result


def through(matrices: Sequence[Any], x: FloatArray) -> FloatArray:
    """Apply one matrix along each spatial axis of an array (N, C, *extent).

    A sparse matrix multiplies only what it stores, so that infinity and NaN reach only the outputs that
    give them a weight.
    """
    for axis, w in enumerate(matrices, start=2):
        moved = np.moveaxis(x, axis, 0)
        y = w @ moved.reshape(len(moved), math.prod(moved.shape[1:]))
        x = np.moveaxis(y.reshape(len(y), *moved.shape[1:]), 0, axis)
    return np.ascontiguousarray(x)


def _clamped(j: int, extent: int) -> int:
    return min(max(j, 0), extent - 1)
