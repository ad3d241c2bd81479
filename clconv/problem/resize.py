"""Resizing an image: the arguments of interpolate, checked, and what they say of each axis."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

from clconv.arguments import LARGEST, choice, flag, integer
from clconv.problem.resize_axis import COORDINATE_MODES, HALF, NEAREST_MODES, Axis, Filtered, Nearest, Windows, placed
from clconv.problem.shapes import canonical_strides, check_elements, element_defines
from clconv.problem.window import AXES

__all__ = ["ResizeProblem", "Resizing"]

ANY_RANK = (1, 2, 3)
TORCH_MODES: dict[str, tuple[int, ...]] = {
    "nearest": ANY_RANK,
    "nearest-exact": ANY_RANK,
    "linear": (1,),
    "bilinear": (2,),
    "trilinear": (3,),
    "bicubic": (2,),
    "area": ANY_RANK,
}
ONNX_MODES: dict[str, tuple[int, ...]] = {"nearest": ANY_RANK, "linear": ANY_RANK, "cubic": ANY_RANK}

#: Largest denominator of the fraction that a scale factor stands for: 0.1 means 1/10, and 10/3 means 10/3.
_SIMPLE = 2**20


class Resizing(NamedTuple):
    """The arguments of interpolate but for its arrays, as the user gave them.

    ``coordinate_mode`` chooses between torch's rules (None) and those of ONNX's Resize.
    """

    size: Any = None
    scale_factor: Any = None
    mode: Any = "nearest"
    align_corners: Any = None
    recompute_scale_factor: Any = None
    antialias: Any = False
    coordinate_mode: Any = None
    nearest_mode: Any = None
    cubic_coefficient: Any = None
    exclude_outside: Any = False

    def axes(self, extents: tuple[int, ...]) -> tuple[Axis, ...]:
        """Check the arguments for an image of these extents and return how each of its axes is resized."""
        self._check_words(len(extents))
        self._check_torchs() if self.coordinate_mode is None else self._check_onnxs()
        return tuple(self._axis(*axis) for axis in zip(extents, *self._positions(extents), strict=True))

    @property
    def _kind(self) -> str:
        """Return "nearest", "linear", "cubic" or "area"."""
        return str(self.mode.removeprefix("bi").removeprefix("tri").removesuffix("-exact"))

    def _check_words(self, rank: int) -> None:
        for name in ("align_corners", "recompute_scale_factor"):
            if getattr(self, name) is not None:
                flag(getattr(self, name), name)
        for name in ("antialias", "exclude_outside"):
            flag(getattr(self, name), name)
        if self.coordinate_mode is not None:
            choice(self.coordinate_mode, "coordinate_mode", COORDINATE_MODES)
        modes = TORCH_MODES if self.coordinate_mode is None else ONNX_MODES
        choice(self.mode, "mode", tuple(modes))
        if rank not in modes[self.mode]:
            others = ", ".join(repr(mode) for mode, ranks in modes.items() if rank in ranks)
            raise ValueError(
                f"mode={self.mode!r} resizes {modes[self.mode][0]} spatial axes, but input has {rank}, for which "
                f"there are {others}"
            )

    def _check_torchs(self) -> None:
        """Refuse what does not go with torch's modes, and what ONNX's Resize alone has."""
        if self.align_corners is not None and self._kind not in ("linear", "cubic"):
            raise ValueError(
                f"align_corners goes with linear and cubic modes: align_corners={self.align_corners!r}, "
                f"mode={self.mode!r}"
            )
        if self.antialias and self.mode not in ("bilinear", "bicubic"):
            raise ValueError(f"antialias goes with mode='bilinear' and mode='bicubic': mode={self.mode!r}")
        for name in ("nearest_mode", "cubic_coefficient", "exclude_outside"):
            if getattr(self, name) is not None and getattr(self, name) is not False:
                raise ValueError(f"{name} goes with a coordinate_mode: {name}={getattr(self, name)!r}")

    def _check_onnxs(self) -> None:
        """Refuse what does not go with ONNX's modes, and what torch alone has."""
        for name in ("align_corners", "recompute_scale_factor"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} does not go with a coordinate_mode: {name}={getattr(self, name)!r}, "
                    f"coordinate_mode={self.coordinate_mode!r}"
                )
        if self.antialias and self.mode == "nearest":
            raise ValueError("antialias goes with mode='linear' and mode='cubic': mode='nearest'")
        if self.nearest_mode is not None:
            choice(self.nearest_mode, "nearest_mode", NEAREST_MODES)
            if self.mode != "nearest":
                raise ValueError(f"nearest_mode goes with mode='nearest': mode={self.mode!r}")
        if self.cubic_coefficient is not None:
            if self.mode != "cubic":
                raise ValueError(f"cubic_coefficient goes with mode='cubic': mode={self.mode!r}")
            if not -1 <= _number(self.cubic_coefficient, "cubic_coefficient") <= 0:
                raise ValueError(
                    f"cubic_coefficient must be between -1 and 0: cubic_coefficient={self.cubic_coefficient!r}"
                )

    def _positions(self, extents: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[Fraction | None, ...]]:
        """Return the extents of the output, and the scale of each axis where coordinates use it."""
        rank = len(extents)
        if (self.size is None) == (self.scale_factor is None):
            raise ValueError(
                f"give one of size and scale_factor: size={self.size!r}, scale_factor={self.scale_factor!r}"
            )
        if self.size is not None:
            if self.recompute_scale_factor:
                raise ValueError(f"recompute_scale_factor=True goes with scale_factor, not with size={self.size!r}")
            sizes = tuple(integer(entry, "size", least=1) for entry in _one_per_axis(self.size, "size", rank))
            return sizes, (None,) * rank
        scales = [_number(entry, "scale_factor") for entry in _one_per_axis(self.scale_factor, "scale_factor", rank)]
        if not all(0 < scale < math.inf for scale in scales):
            raise ValueError(f"scale_factor must be positive and finite: scale_factor={self.scale_factor!r}")
        products = [extent * scale for extent, scale in zip(extents, scales, strict=True)]
        if not all(1 <= product < LARGEST + 1 for product in products):
            raise ValueError(
                f"scale_factor must leave at least 1 position on every axis, and at most 2**30 - 1: "
                f"scale_factor={self.scale_factor!r} of extents {extents}"
            )
        uses_scale = self.mode != "area" and not self.recompute_scale_factor
        return tuple(map(math.floor, products)), tuple(_simplest(scale) if uses_scale else None for scale in scales)

    def _axis(self, extent: int, positions: int, scale: Fraction | None) -> Axis:
        if self._kind == "area":
            return Windows(extent, positions)
        if self.coordinate_mode is not None:
            return self._onnx_axis(extent, positions, scale)
        if self._kind == "nearest":
            exact = self.mode == "nearest-exact"
            place = placed("half_pixel" if exact else "asymmetric", extent, positions, scale)
            return Nearest(extent, positions, place, "round_prefer_ceil" if exact else "floor")
        place = placed("align_corners" if self.align_corners else "half_pixel", extent, positions, scale)
        if not self.antialias:
            return self._filtered(extent, positions, place, Fraction(1), "-3/4", repeats_edge=True)
        # Here align_corners changes the step alone, not where its count begins; and a is another one.
        place = replace(place, centre=HALF)
        return self._filtered(extent, positions, place, max(place.step, Fraction(1)), "-1/2", repeats_edge=False)

    def _onnx_axis(self, extent: int, positions: int, scale: Fraction | None) -> Axis:
        place = placed(self.coordinate_mode, extent, positions, scale)
        if self.mode == "nearest":
            return Nearest(extent, positions, place, self.nearest_mode or "round_prefer_floor")
        # The distance of positions by their number, whatever the coordinates make of it.
        distance = placed("half_pixel", extent, positions, scale).step
        stretch = max(distance, Fraction(1)) if self.antialias else Fraction(1)
        return self._filtered(extent, positions, place, stretch, "-3/4", repeats_edge=not self.exclude_outside)

    def _filtered(
        self, extent: int, positions: int, place: Any, stretch: Fraction, a: str, *, repeats_edge: bool
    ) -> Filtered:
        given = self.cubic_coefficient
        cubic = None if self._kind == "linear" else Fraction(a) if given is None else Fraction(float(given))
        normalises = self.antialias or not repeats_edge
        return Filtered(extent, positions, place, cubic, stretch, repeats_edge, normalises)


@dataclass(frozen=True)
class ResizeProblem:
    """What interpolate computes: a matrix of weights along each spatial axis.

    Attributes
    ----------
    N, C : int
        Batch and channels.
    axes : tuple of Axis
        How each spatial axis is resized, always three.
    dtype : str
        "float16", "float32" or "float64".
    rank : int
        The user's number of spatial axes.
    """

    N: int
    C: int
    axes: tuple[Axis, Axis, Axis]
    dtype: str
    rank: int

    @classmethod
    def for_interpolate(cls, input_shape: Sequence[int], resizing: Resizing, *, dtype: str) -> ResizeProblem:
        """Make the problem of ``interpolate`` from its arguments."""
        shape = tuple(input_shape)
        if not 3 <= len(shape) <= 2 + AXES:
            raise ValueError(
                f"input takes 3 to 5 axes (batch, channels and 1 to 3 spatial): input.shape={shape} has {len(shape)}"
            )
        batch, channels, *extents = shape
        if min(extents) < 1:
            raise ValueError(f"input must have at least 1 pixel on every spatial axis: input.shape={shape}")
        rank = len(extents)
        axes = resizing.axes(tuple(extents))
        unit: list[Axis] = [Windows(1, 1)] * (AXES - rank)
        d, h, w = unit + list(axes)
        problem = cls(batch, channels, (d, h, w), dtype, rank)
        check_elements({"input": problem.input_shape, "output": problem.output_shape})
        return problem

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return (self.N, self.C, *(axis.extent for axis in self.axes[AXES - self.rank :]))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (self.N, self.C, *(axis.positions for axis in self.axes[AXES - self.rank :]))

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    def strides(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the strides of an input or output array along the five canonical axes."""
        return canonical_strides(strides, True, self.rank)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} takes real numbers, not {type(value).__name__}: {name}={value!r}")
    return float(value)


def _one_per_axis(value: Any, name: str, rank: int) -> tuple[Any, ...]:
    entries = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(entries) != rank:
        raise ValueError(
            f"{name} takes one entry, or one for each of {rank} spatial axes: {name}={value!r} has {len(entries)}"
        )
    return entries


def _simplest(scale: float) -> Fraction:
    """Return the fraction with a small denominator that rounds to a number, else the number itself."""
    simple = Fraction(scale).limit_denominator(_SIMPLE)
    return simple if float(simple) == scale else Fraction(scale)
