"""The arguments of interpolate, checked, and what they say of each axis: `reference.resample` has the table."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, SupportsFloat

from clconv.oracle.reference.geometry import Size, Sizes, sizes, switch
from clconv.oracle.reference.resample_coordinates import (
    COORDINATE_MODES,
    HALF,
    NEAREST_MODES,
    Axis,
    Cubic,
    Filtered,
    Linear,
    Nearest,
    Place,
    Windows,
    placed,
)

__all__ = ["Resizing", "Scale"]

Scale = SupportsFloat | Sequence[SupportsFloat]

ANY_RANK = (1, 2, 3)
LINEAR_BY_RANK = {"linear": (1,), "bilinear": (2,), "trilinear": (3,)}
MODES: dict[str, dict[str, tuple[int, ...]]] = {
    "torch": {"nearest": ANY_RANK, "nearest-exact": ANY_RANK, **LINEAR_BY_RANK, "bicubic": (2,), "area": ANY_RANK},
    "onnx": {"nearest": ANY_RANK, "linear": ANY_RANK, "cubic": ANY_RANK},
    "tf": {"nearest": ANY_RANK, **LINEAR_BY_RANK, "bicubic": (2,)},
    "scipy": {"nearest": ANY_RANK, **LINEAR_BY_RANK},
}
# What only one of the systems has, by the argument's name.
EXTENSIONS = {
    "align_corners": "torch",
    "recompute_scale_factor": "torch",
    "coordinate_mode": "onnx",
    "nearest_mode": "onnx",
    "cubic_coefficient": "onnx",
    "exclude_outside": "onnx",
    "grid_mode": "scipy",
}
SIMPLE = 1 << 20


@dataclass(frozen=True)
class Resizing:
    """The arguments of `interpolate` but for its arrays, in its order."""

    size: Size | None = None
    scale_factor: Scale | None = None
    mode: str = "nearest"
    align_corners: bool | None = None
    recompute_scale_factor: bool | None = None
    antialias: bool = False
    semantics: str = "torch"
    coordinate_mode: str | None = None
    nearest_mode: str | None = None
    cubic_coefficient: float | None = None
    exclude_outside: bool = False
    grid_mode: bool = False

    def axes(self, extent: Sizes) -> tuple[Axis, ...]:
        """Check the arguments for an image of this extent and return how each of its axes is resized."""
        self._check(len(extent))
        if any(e < 1 for e in extent):
            raise ValueError(f"input must have at least 1 pixel in every spatial axis, got extent {extent}")
        positions, scales = self._positions(extent)
        return tuple(self._axis(*axis) for axis in zip(extent, positions, scales, strict=True))

    @property
    def kind(self) -> str:
        """Return "nearest", "linear", "cubic" or "area"."""
        return self.mode.removeprefix("bi").removeprefix("tri").removesuffix("-exact")

    def _check(self, rank: int) -> None:
        _known("semantics", self.semantics, MODES)
        modes = MODES[self.semantics]
        _known("mode", self.mode, modes)
        if rank not in modes[self.mode]:
            raise ValueError(
                f"mode={self.mode!r} resizes {modes[self.mode]} spatial axes, input has {rank}; "
                f"for those there are {tuple(m for m, ranks in modes.items() if rank in ranks)}"
            )
        for name, owner in EXTENSIONS.items():
            given = getattr(self, name)
            if given is not None and given is not False and self.semantics != owner:
                raise ValueError(f"{name} belongs to semantics={owner!r}, got semantics={self.semantics!r}")
        for name in ("antialias", "exclude_outside", "grid_mode", "align_corners", "recompute_scale_factor"):
            given = getattr(self, name)
            if given is not None:
                switch(name, given)
        self._check_mode(rank)

    def _check_mode(self, rank: int) -> None:
        """Refuse what does not go with the mode."""
        if self.coordinate_mode is not None:
            _known("coordinate_mode", self.coordinate_mode, COORDINATE_MODES)
        if self.nearest_mode is not None:
            _known("nearest_mode", self.nearest_mode, NEAREST_MODES)
        if self.align_corners is not None and self.kind not in ("linear", "cubic"):
            raise ValueError(f"align_corners must be None with mode={self.mode!r}, got {self.align_corners}")
        if self.antialias and self.semantics == "torch" and self.mode not in ("bilinear", "bicubic"):
            raise ValueError(f"antialias goes with mode='bilinear' and 'bicubic', got mode={self.mode!r}")
        if self.antialias and (self.kind not in ("linear", "cubic") or self.semantics == "scipy"):
            raise ValueError(f"{self.semantics}'s mode={self.mode!r} has no antialias")
        if self.nearest_mode is not None and self.kind != "nearest":
            raise ValueError(f"nearest_mode goes with mode='nearest', got mode={self.mode!r}")
        if self.cubic_coefficient is not None:
            if self.kind != "cubic":
                raise ValueError(f"cubic_coefficient goes with mode='cubic', got mode={self.mode!r}")
            if not -1 <= _number("cubic_coefficient", self.cubic_coefficient) <= 0:
                raise ValueError(f"cubic_coefficient must be between -1 and 0, got {self.cubic_coefficient!r}")

    def _positions(self, extent: Sizes) -> tuple[Sizes, tuple[Fraction | None, ...]]:
        """Return the extent of the output, and the scale of each axis where coordinates use it."""
        rank = len(extent)
        if (self.size is None) == (self.scale_factor is None):
            raise ValueError(
                "one of size and scale_factor must be given, "
                f"got size={self.size!r}, scale_factor={self.scale_factor!r}"
            )
        if self.size is not None:
            if self.recompute_scale_factor:
                raise ValueError(f"recompute_scale_factor=True needs scale_factor, got size={self.size!r}")
            return sizes("size", self.size, rank, 1), (None,) * rank
        if self.semantics == "tf":
            raise ValueError(f"semantics='tf' takes size only, got scale_factor={self.scale_factor!r}")
        scales = _scales(self.scale_factor, rank)
        rounding = round if self.semantics == "scipy" else math.floor
        products = [e * scale for e, scale in zip(extent, scales, strict=True)]
        if not all(math.isfinite(p) and rounding(p) >= 1 for p in products):
            raise ValueError(
                "the output needs at least 1 pixel in every axis, and finitely many: "
                f"input extent={extent}, scale_factor={self.scale_factor!r}"
            )
        uses_scale = self.semantics != "scipy" and self.mode != "area" and not self.recompute_scale_factor
        return tuple(rounding(p) for p in products), tuple(_simplest(s) if uses_scale else None for s in scales)

    def _axis(self, extent: int, positions: int, scale: Fraction | None) -> Axis:
        if self.kind == "area":
            return Windows(extent, positions)
        if scale is None and self.semantics in ("onnx", "tf"):  # which divide by it
            scale = Fraction(positions, extent)
        place = self._place(extent, positions, scale)
        if self.kind == "nearest":
            default = {"onnx": "round_prefer_floor", "torch": "floor"}.get(self.semantics, "round_prefer_ceil")
            default = "round_prefer_ceil" if self.mode == "nearest-exact" else default
            return Nearest(extent, positions, place, self.nearest_mode or default)
        kernel = Linear() if self.kind == "linear" else Cubic(self._coefficient())
        # The distance of positions, which ONNX's filter keeps where its coordinates have another one.
        distance = place.step if self.semantics == "torch" else placed("half_pixel", extent, positions, scale).step
        stretch = max(distance, Fraction(1)) if self.antialias else Fraction(1)
        clamps = {"torch": not self.antialias, "onnx": not self.exclude_outside, "tf": False, "scipy": True}
        repeats_edge = clamps[self.semantics]
        return Filtered(extent, positions, place, kernel, stretch, repeats_edge, self.antialias or not repeats_edge)

    def _place(self, extent: int, positions: int, scale: Fraction | None) -> Place:
        coordinate_mode = "half_pixel"
        if self.align_corners or (self.semantics == "scipy" and not self.grid_mode):
            coordinate_mode = "align_corners"
        elif self.semantics == "torch" and self.mode == "nearest":
            coordinate_mode = "asymmetric"
        place = placed(self.coordinate_mode or coordinate_mode, extent, positions, scale)
        if self.align_corners and self.antialias:
            return replace(place, centre=HALF)
        return place

    def _coefficient(self) -> Fraction:
        if self.cubic_coefficient is not None:
            return Fraction(float(self.cubic_coefficient))
        is_keys = self.semantics == "tf" or (self.semantics == "torch" and self.antialias)
        return Fraction(-1, 2) if is_keys else Fraction(-3, 4)


def _known(name: str, value: str, known: Any) -> None:
    """Refuse a word that is not one of the known."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {name}={value!r}")
    if value not in known:
        raise ValueError(f"{name} must be one of {tuple(known)}, got {name}={value!r}")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must hold real numbers, got {name}={value!r}")
    return float(value)


def _scales(scale_factor: Any, rank: int) -> list[float]:
    """Return one positive number for each axis."""
    entries = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * rank
    scales = [_number("scale_factor", s) for s in entries]
    if len(scales) != rank:
        raise ValueError(
            f"scale_factor takes one number for each of {rank} spatial axes, got scale_factor={scale_factor!r}"
        )
    if not all(0 < s < math.inf for s in scales):
        raise ValueError(f"scale_factor must be positive and finite, got scale_factor={scale_factor!r}")
    return scales


def _simplest(scale: float) -> Fraction:
    """Return the simplest fraction that rounds to the scale, if its denominator is small."""
    simple = Fraction(scale).limit_denominator(SIMPLE)
    return simple if float(simple) == scale else Fraction(scale)
