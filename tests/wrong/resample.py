"""Resizing in plain NumPy with a method for every step, and what comes out where one step is wrong."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from . import WrongImplementation

LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}


def require(condition: bool, rule: str) -> None:
    if not condition:
        raise ValueError(rule)


def each(name: str, value: Any, rank: int, kind: type) -> tuple[Any, ...]:
    """Return one number for each axis, or refuse."""
    entries = value if isinstance(value, (tuple, list)) else (value,) * rank
    if any(isinstance(entry, bool) or not isinstance(entry, kind) for entry in entries):
        raise TypeError(f"{name} must be of {kind.__name__} numbers, got {value!r}")
    require(len(entries) == rank, f"{name} takes {rank} numbers, got {value!r}")
    return tuple(entries)


class Resize:
    """interpolate, axis by axis: each position is a weighted sum of some pixels."""

    def __call__(
        self,
        input: np.ndarray,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        antialias: bool = False,
    ) -> np.ndarray:
        y = input.astype(np.float64)
        arguments = size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
        for axis, taps in enumerate(self.axes(input, *arguments), start=2):
            x = np.moveaxis(y, axis, -1)
            rows = [(x[..., pixels] * weights).sum(axis=-1) for pixels, weights in taps]
            y = np.stack(rows, axis=axis)
        return y.astype(input.dtype)

    def backward(self, grad_output: np.ndarray, input: np.ndarray, *arguments: Any, **keywords: Any) -> np.ndarray:
        axes = self.axes(input, *arguments, **keywords)
        shape = (*input.shape[:2], *map(len, axes))
        require(grad_output.shape == shape, f"grad_output must have shape {shape}, got {grad_output.shape}")
        dx = grad_output.astype(np.float64)
        for axis, taps in enumerate(axes, start=2):
            g = np.moveaxis(dx, axis, -1)
            spread = np.zeros((*g.shape[:-1], input.shape[axis]))
            for o, (pixels, weights) in enumerate(taps):
                self.scatter(spread, pixels, weights * g[..., o, np.newaxis])
            dx = np.moveaxis(spread, -1, axis)
        return dx.astype(input.dtype)

    def scatter(self, dx: np.ndarray, pixels: np.ndarray, values: np.ndarray) -> None:
        for tap, pixel in enumerate(pixels):
            dx[..., pixel] += values[..., tap]

    # --- arguments

    def axes(
        self,
        input: np.ndarray,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        antialias: bool = False,
    ) -> list[Any]:
        """Check the arguments, and return the taps of each position of each axis."""
        require(3 <= input.ndim <= 5, f"input has {input.ndim} axes")
        require(min(input.shape[2:]) > 0, "input has no pixels")
        rank = input.ndim - 2
        known = mode in ("nearest", "nearest-exact", "area") or LINEAR.get(mode, 2 if mode == "bicubic" else 0) == rank
        require(known, f"mode={mode!r} is unknown for {rank} axes")
        filters = mode in LINEAR or mode == "bicubic"
        require(align_corners is None or filters, "align_corners goes with linear and cubic modes")
        require(not antialias or mode in ("bilinear", "bicubic"), "antialias goes with bilinear and bicubic")
        require((size is None) != (scale_factor is None), "one of size and scale_factor must be given")
        require(size is None or not recompute_scale_factor, "recompute_scale_factor needs scale_factor")
        if size is not None:
            sizes, scales = each("size", size, rank, numbers.Integral), (None,) * rank
        else:
            factors = each("scale_factor", scale_factor, rank, numbers.Real)
            require(all(0 < f < math.inf for f in factors), f"scale_factor must be positive, got {scale_factor}")
            sizes = tuple(self.output_extent(X, f) for X, f in zip(input.shape[2:], factors, strict=True))
            scales = (None,) * rank if recompute_scale_factor or mode == "area" else factors
        require(min(sizes) >= 1, f"the output would have extent {sizes}")
        options = mode, bool(align_corners), antialias
        return [
            [self.taps(o, X, Y, scale, *options) for o in range(Y)]
            for X, Y, scale in zip(input.shape[2:], sizes, scales, strict=True)
        ]

    def output_extent(self, X: int, factor: float) -> int:
        return math.floor(X * factor)

    # --- weights

    def taps(self, o: int, X: int, Y: int, scale: float | None, mode: str, align: bool, antialias: bool) -> Any:
        """Return the pixels that position o reads, and their weights."""
        step = self.step(X, Y, scale)
        if mode == "nearest":
            return np.array([self.inside(self.nearest(o, step), X)]), np.ones(1)
        if mode == "nearest-exact":
            return np.array([self.inside(self.nearest_exact(o, step), X)]), np.ones(1)
        if mode == "area":
            pixels = np.arange(*self.window(o, X, Y))
            return pixels, np.full(len(pixels), 1 / len(pixels))
        step = self.aligned_step(X, Y) if align else step
        if antialias:
            return self.antialiased(o, X, step, mode)
        p = self.source(o, step, align)
        first = math.floor(p) - (mode == "bicubic")
        pixels = np.arange(first, first + (4 if mode == "bicubic" else 2))
        distances = np.abs(p - pixels)
        weights = self.cubic(distances, self.sharpness(antialias)) if mode == "bicubic" else 1 - distances
        return self.at_the_edge(pixels, weights, X)

    def step(self, X: int, Y: int, scale: float | None) -> float:
        return X / Y if scale is None else 1 / scale

    def aligned_step(self, X: int, Y: int) -> float:
        return (X - 1) / (Y - 1) if Y > 1 else 0.0

    def source(self, o: int, step: float, align: bool) -> float:
        return o * step if align else (o + 0.5) * step - 0.5

    def nearest(self, o: int, step: float) -> int:
        return math.floor(o * step)

    def nearest_exact(self, o: int, step: float) -> int:
        return math.floor((o + 0.5) * step)

    def inside(self, pixel: int, X: int) -> int:
        return min(max(pixel, 0), X - 1)

    def window(self, o: int, X: int, Y: int) -> tuple[int, int]:
        return o * X // Y, -(-(o + 1) * X // Y)

    def at_the_edge(self, pixels: np.ndarray, weights: np.ndarray, X: int) -> tuple[np.ndarray, np.ndarray]:
        return np.clip(pixels, 0, X - 1), weights

    def antialiased(self, o: int, X: int, step: float, mode: str) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.arange(X)
        distances = np.abs((o + 0.5) * step - 0.5 - pixels) / max(step, 1.0)
        weights = np.maximum(1 - distances, 0) if mode in LINEAR else self.cubic(distances, self.sharpness(True))
        return pixels, weights / weights.sum()

    def sharpness(self, antialias: bool) -> float:
        return -0.5 if antialias else -0.75

    def cubic(self, s: np.ndarray, a: float) -> np.ndarray:
        near = ((a + 2) * s - (a + 3)) * s * s + 1
        far = ((a * s - 5 * a) * s + 8 * a) * s - 4 * a
        return np.where(s <= 1, near, np.where(s < 2, far, 0.0))


RIGHT: dict[str, Any] = {"interpolate": Resize(), "interpolate_backward": Resize().backward}
MUTANTS: list[WrongImplementation] = []


def wrong(op: str, cause: str = "", line: int = 0) -> Any:
    """List a subclass of the right implementation as a wrong one of `op`; its docstring says what is wrong."""

    def listed(mutant: type) -> type:
        implementation = mutant().backward if op.endswith("_backward") else mutant()
        MUTANTS.append(WrongImplementation(mutant.__doc__ or "", op, implementation, cause, line))
        return mutant

    return listed


@wrong("interpolate", "in/out is taken for 1/scale_factor", line=50)
@wrong("interpolate_backward", "in/out is taken for 1/scale_factor", line=50)
class RatioOfExtents(Resize):
    """the ratio of the extents in place of 1/scale_factor"""

    def step(self, X, Y, scale):
        return X / Y


@wrong("interpolate", line=50)
class RoundedExtent(Resize):
    """the output's extent rounded to the nearest integer"""

    def output_extent(self, X, factor):
        return round(X * factor)


@wrong("interpolate", "nearest rounds at half pixels", line=51)
class NearestAtHalfPixels(Resize):
    """nearest as nearest-exact"""

    def nearest(self, o, step):
        return self.nearest_exact(o, step)


@wrong("interpolate", "nearest-exact rounds down without its half pixel", line=51)
class NearestExactWithoutHalf(Resize):
    """nearest-exact as nearest"""

    def nearest_exact(self, o, step):
        return self.nearest(o, step)


@wrong("interpolate", "align_corners with one position", line=51)
class DividesByZero(Resize):
    """align_corners with one position divides by zero"""

    def aligned_step(self, X, Y):
        return (X - 1) / (Y - 1)


@wrong("interpolate", "align_corners is ignored", line=51)
class IgnoresAlignCorners(Resize):
    """align_corners ignored"""

    def source(self, o, step, align):
        return super().source(o, step, align=False)

    def aligned_step(self, X, Y):
        return X / Y


@wrong("interpolate", "the half pixel is forgotten", line=51)
@wrong("interpolate_backward", "the half pixel is forgotten", line=51)
class NoHalfPixel(Resize):
    """coordinates that start at the pixels' corners"""

    def source(self, o, step, align):
        return o * step


@wrong("interpolate", "a = -0.5 instead of -0.75", line=52)
class SoftCubic(Resize):
    """a = -0.5 without antialias, too"""

    def sharpness(self, antialias):
        return -0.5


@wrong("interpolate", "a = -0.75 instead of -0.5", line=52)
class SharpAntialias(Resize):
    """a = -0.75 with antialias, too"""

    def sharpness(self, antialias):
        return -0.75


@wrong("interpolate", "antialias is ignored")
class IgnoresAntialias(Resize):
    """antialias ignored"""

    def taps(self, o, X, Y, scale, mode, align, antialias):
        return super().taps(o, X, Y, scale, mode, align, False)


@wrong("interpolate", "pixels outside the image weigh nothing")
class NothingOutside(Resize):
    """cubic taps outside the image left out, the others scaled up"""

    def at_the_edge(self, pixels, weights, X):
        inside = (pixels >= 0) & (pixels < X)
        return pixels[inside], weights[inside] / weights[inside].sum()


@wrong("interpolate", "the windows of area end too early", line=38)
@wrong("interpolate_backward", "the windows of area end too early", line=38)
class FlooredWindows(Resize):
    """windows whose end is rounded down"""

    def window(self, o, X, Y):
        first = o * X // Y
        return first, max((o + 1) * X // Y, first + 1)


@wrong("interpolate", "an empty batch", line=1)
class EmptyBatch(Resize):
    """an empty batch refused"""

    def axes(self, input, *arguments, **keywords):
        require(input.size > 0, "input is empty")
        return super().axes(input, *arguments, **keywords)


@wrong("interpolate_backward", "only the last of several positions adds to the gradient", line=55)
class Overwrites(Resize):
    """written where it should be added"""

    def scatter(self, dx, pixels, values):
        dx[..., pixels] = values


@wrong("interpolate_backward", line=55)
class AddsRepeatedPixelsOnce(Resize):
    """NumPy's += with repeated indices, which adds the last one only"""

    def scatter(self, dx, pixels, values):
        dx[..., pixels] += values


@wrong("interpolate", "does not check that the output has a pixel")
class EmptyOutput(Resize):
    """an output of at least one pixel, whatever the factor"""

    def output_extent(self, X, factor):
        return max(math.floor(X * factor), 1)


WRONG = tuple(MUTANTS)
