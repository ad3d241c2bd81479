"""Padding and shuffles in plain NumPy with a method for every step, and what comes out where one step is wrong."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from . import WrongImplementation


def require(condition: bool, rule: str) -> None:
    if not condition:
        raise ValueError(rule)


def integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    return operator.index(value)


class Pad:
    """pad, axis by axis: each element of the output copies one of the input's, or is the value."""

    MODES = ("constant", "reflect", "replicate", "circular")

    def __call__(self, input: np.ndarray, pad: Any, mode: str = "constant", value: float | None = None) -> np.ndarray:
        y = input.copy()
        for axis, sources in enumerate(self.axes(input, pad, mode, value)):
            x = np.moveaxis(y, axis, 0)
            padded = np.full((len(sources), *x.shape[1:]), self.shown(value), input.dtype)
            padded[sources >= 0] = x[sources[sources >= 0]]
            y = np.moveaxis(padded, 0, axis)
        return np.ascontiguousarray(y)

    def backward(
        self, grad_output: np.ndarray, input: np.ndarray, pad: Any, mode: str = "constant", value: float | None = None
    ) -> np.ndarray:
        axes = self.axes(input, pad, mode, value)
        require(grad_output.shape == tuple(map(len, axes)), f"grad_output has shape {grad_output.shape}")
        dx = grad_output.astype(np.float64)
        for axis, sources in enumerate(axes):
            g = np.moveaxis(dx, axis, 0)
            summed = np.zeros((input.shape[axis], *g.shape[1:]))
            self.scatter(summed, sources[sources >= 0], g[sources >= 0])
            dx = np.moveaxis(summed, 0, axis)
        return np.ascontiguousarray(dx, input.dtype)

    def scatter(self, dx: np.ndarray, sources: np.ndarray, values: np.ndarray) -> None:
        np.add.at(dx, sources, values)

    def shown(self, value: float | None) -> float:
        return 0.0 if value is None else value

    def axes(self, input: np.ndarray, pad: Any, mode: str, value: float | None) -> list[np.ndarray]:
        """Return the source of each element along each axis, -1 for the value."""
        require(isinstance(pad, (tuple, list)), "pad must be a tuple")
        flat = [integer("pad", p) for p in pad]
        require(len(flat) % 2 == 0 and len(flat) <= 2 * input.ndim, f"pad={pad} has a wrong length")
        require(mode in self.MODES, f"mode={mode!r} is unknown")
        rank = len(flat) // 2
        require(mode == "constant" or input.ndim - rank in (1, 2), f"mode={mode!r} needs one or two axes in front")
        require(mode == "constant" or value is None, "value goes with mode='constant'")
        pairs = [(0, 0)] * (input.ndim - rank) + self.pairs(flat)
        axes = []
        for axis, (X, (low, high)) in enumerate(zip(input.shape, pairs, strict=True)):
            if axis >= input.ndim - rank:
                self.check(X, low, high, mode)
            axes.append(np.array([self.source(q, X, mode) for q in range(-low, X + high)], dtype=int))
        return axes

    def pairs(self, flat: list[int]) -> list[tuple[int, int]]:
        """Return (low, high) of each padded axis, first axis first."""
        return [(flat[i], flat[i + 1]) for i in range(len(flat) - 2, -2, -2)]

    def check(self, X: int, low: int, high: int, mode: str) -> None:
        require(X + min(low, 0) + min(high, 0) >= 0, "pad crops more than there is")
        require(mode == "constant" or X > 0, "there is nothing to copy")
        require(max(low, high) <= self.most(X, mode), f"mode={mode!r} cannot pad {X} elements by {low} and {high}")

    def most(self, X: int, mode: str) -> float:
        return {"reflect": X - 1, "circular": X}.get(mode, math.inf)

    def source(self, q: int, X: int, mode: str) -> int:
        if 0 <= q < X:
            return q
        if mode == "constant":
            return -1
        if mode == "replicate":
            return min(max(q, 0), X - 1)
        return q % X if mode == "circular" else self.mirrored(q, X)

    def mirrored(self, q: int, X: int) -> int:
        return -q if q < 0 else 2 * (X - 1) - q


class Shuffle:
    """pixel_shuffle, pixel_unshuffle and channel_shuffle, and their gradients, by the places of elements."""

    def factor(self, name: str, value: Any) -> int:
        r = integer(name, value)
        require(r >= 1, f"{name} must be positive, got {value}")
        return r

    def pixel_shuffle(self, input: np.ndarray, upscale_factor: Any) -> np.ndarray:
        require(input.ndim >= 3, "input needs three axes")
        r = self.factor("upscale_factor", upscale_factor)
        *lead, channels, H, W = input.shape
        require(channels % (r * r) == 0, f"{r * r} does not divide {channels}")
        blocks = self.split(input.reshape(math.prod(lead), channels, H, W), r)
        return blocks.reshape(*lead, channels // (r * r), H * r, W * r).copy()

    def split(self, x: np.ndarray, r: int) -> np.ndarray:
        """Return (N, C, H, r, W, r) of (N, C*r*r, H, W)."""
        N, channels, H, W = x.shape
        return x.reshape(N, channels // (r * r), r, r, H, W).transpose(0, 1, 4, 2, 5, 3)

    def pixel_unshuffle(self, input: np.ndarray, downscale_factor: Any) -> np.ndarray:
        require(input.ndim >= 3, "input needs three axes")
        r = self.factor("downscale_factor", downscale_factor)
        *lead, C, height, width = input.shape
        require(height % r == 0 and width % r == 0, f"{r} does not divide {height} and {width}")
        blocks = self.join(input.reshape(math.prod(lead), C, height // r, r, width // r, r))
        return blocks.reshape(*lead, C * r * r, height // r, width // r).copy()

    def join(self, blocks: np.ndarray) -> np.ndarray:
        """Return (N, C, r, r, H, W) of (N, C, H, r, W, r)."""
        return blocks.transpose(0, 1, 3, 5, 2, 4)

    def channel_shuffle(self, input: np.ndarray, groups: Any) -> np.ndarray:
        require(input.ndim >= 3, "input needs three axes")
        G = self.factor("groups", groups)
        N, C, *extent = input.shape
        require(C % G == 0, f"{G} groups of {C} channels")
        return self.interleaved(input, N, G, C // G, extent).reshape(input.shape).copy()

    def interleaved(self, x: np.ndarray, N: int, G: int, per_group: int, extent: list[int]) -> np.ndarray:
        return x.reshape(N, G, per_group, *extent).swapaxes(1, 2)

    def backward(self, forward: Any, grad_output: np.ndarray, input: np.ndarray, factor: Any) -> np.ndarray:
        """Put each element of grad_output where the forward operation takes it from."""
        sources = forward(np.arange(input.size).reshape(input.shape), factor)
        require(grad_output.shape == sources.shape, f"grad_output must have shape {sources.shape}")
        dx = np.empty(input.size, input.dtype)
        dx[sources.ravel()] = grad_output.ravel()
        return dx.reshape(input.shape)

    def pixel_shuffle_backward(self, grad_output: np.ndarray, input: np.ndarray, upscale_factor: Any) -> np.ndarray:
        return self.backward(self.pixel_shuffle, grad_output, input, upscale_factor)

    def pixel_unshuffle_backward(self, grad_output: np.ndarray, input: np.ndarray, downscale_factor: Any) -> np.ndarray:
        return self.backward(self.pixel_unshuffle, grad_output, input, downscale_factor)

    def channel_shuffle_backward(self, grad_output: np.ndarray, input: np.ndarray, groups: Any) -> np.ndarray:
        return self.backward(self.channel_shuffle, grad_output, input, groups)


class Flatten:
    """flatten and its gradient."""

    def flatten(self, input: np.ndarray, start_dim: Any = 0, end_dim: Any = -1) -> np.ndarray:
        return self.joined(input, *self.axes(input, start_dim, end_dim))

    def axes(self, input: np.ndarray, start_dim: Any, end_dim: Any) -> tuple[int, int]:
        rank = max(input.ndim, 1)
        first, last = integer("start_dim", start_dim), integer("end_dim", end_dim)
        require(-rank <= first < rank and -rank <= last < rank, f"axes {first} to {last} of {rank}")
        require(first % rank <= last % rank, f"axes {first} to {last} of {rank}")
        return first % rank, last % rank

    def joined(self, x: np.ndarray, first: int, last: int) -> np.ndarray:
        return x.reshape(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]).copy()

    def flatten_backward(
        self, grad_output: np.ndarray, input: np.ndarray, start_dim: Any = 0, end_dim: Any = -1
    ) -> np.ndarray:
        sources = self.flatten(np.arange(input.size).reshape(input.shape), start_dim, end_dim)
        require(grad_output.shape == sources.shape, f"grad_output must have shape {sources.shape}")
        dx = np.empty(input.size, input.dtype)
        dx[sources.ravel()] = grad_output.ravel()
        return dx.reshape(input.shape)


SHUFFLES = ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle")


def method(implementation: Any, op: str) -> Any:
    """Return the method of an instance that is an operation."""
    if isinstance(implementation, Pad):
        return implementation.backward if op.endswith("_backward") else implementation
    return getattr(implementation, op)


RIGHT: dict[str, Any] = {op: method(Pad(), op) for op in ("pad", "pad_backward")} | {
    op: method(Shuffle(), op) for name in SHUFFLES for op in (name, f"{name}_backward")
}
RIGHT |= {op: method(Flatten(), op) for op in ("flatten", "flatten_backward")}
MUTANTS: list[WrongImplementation] = []


def wrong(op: str, cause: str = "", line: int = 0) -> Any:
    """List a subclass of a right implementation as a wrong one of `op`; its docstring says what is wrong."""

    def listed(mutant: type) -> type:
        MUTANTS.append(WrongImplementation(mutant.__doc__ or "", op, method(mutant(), op), cause, line))
        return mutant

    return listed


# --- padding


@wrong("pad", "the pairs are read first axis first", line=8)
class FirstAxisFirst(Pad):
    """pairs from the first padded axis to the last"""

    def pairs(self, flat):
        return super().pairs(flat)[::-1]


@wrong("pad", "all low entries are read before the high ones", line=8)
class OnnxOrder(Pad):
    """all the low entries first, as in ONNX"""

    def pairs(self, flat):
        return list(zip(flat[: len(flat) // 2], flat[len(flat) // 2 :], strict=True))


@wrong("pad", "the two sides of each axis are exchanged", line=7)
class ExchangedSides(Pad):
    """low and high exchanged"""

    def pairs(self, flat):
        return [(high, low) for low, high in super().pairs(flat)]


@wrong("pad", "reflect repeats the border")
@wrong("pad_backward", "reflect repeats the border")
class RepeatedBorder(Pad):
    """reflection with the border"""

    def mirrored(self, q, X):
        return -q - 1 if q < 0 else 2 * X - 1 - q


@wrong("pad", "does not check that mode='reflect' shows the image once at most", line=53)
class ReflectsAgain(Pad):
    """reflection beyond the image, clamped to it"""

    def most(self, X, mode):
        return X if mode == "reflect" else super().most(X, mode)


@wrong("pad_backward", "does not check that mode='circular' shows the image once at most", line=53)
class WrapsAgain(Pad):
    """more than one turn"""

    def most(self, X, mode):
        return 2 * X if mode == "circular" else super().most(X, mode)


@wrong("pad", "the value is ignored")
class IgnoresValue(Pad):
    """zeros, whatever the value"""

    def shown(self, value):
        return 0.0


@wrong("pad_backward", "only the last of several copies adds to the gradient", line=55)
class AddsRepeatedSourcesOnce(Pad):
    """NumPy's += with repeated indices, which adds the last one only"""

    def scatter(self, dx, sources, values):
        dx[sources] += values


# --- shuffles


@wrong("pixel_shuffle", "channels are read offset first, ONNX's DCR")
@wrong("pixel_shuffle_backward", "channels are read offset first, ONNX's DCR")
class OffsetFirst(Shuffle):
    """depth to space in ONNX's default order"""

    def split(self, x, r):
        N, channels, H, W = x.shape
        return x.reshape(N, r, r, channels // (r * r), H, W).transpose(0, 3, 4, 1, 5, 2)


@wrong("pixel_unshuffle", "row and column offsets in a block are exchanged")
class ExchangedOffsets(Shuffle):
    """offsets of columns before those of rows"""

    def join(self, blocks):
        return blocks.transpose(0, 1, 5, 3, 2, 4)


@wrong("channel_shuffle", "the shuffle and its inverse are exchanged")
@wrong("channel_shuffle_backward", "the shuffle and its inverse are exchanged")
class InverseShuffle(Shuffle):
    """channels dealt to the groups, instead of from them"""

    def interleaved(self, x, N, G, per_group, extent):
        return x.reshape(N, per_group, G, *extent).swapaxes(1, 2)


@wrong("pixel_shuffle", "does not check that upscale_factor is positive", line=54)
@wrong("channel_shuffle", "does not check that groups is positive", line=54)
class FactorOfNothing(Shuffle):
    """a factor of zero taken for one"""

    def factor(self, name, value):
        return super().factor(name, value or 1)


# --- flatten


@wrong("flatten", "the joined axes run backwards, the first one fastest")
@wrong("flatten_backward", "the joined axes run backwards, the first one fastest")
class FirstAxisFastest(Flatten):
    """Joins axes in Fortran's order."""

    def joined(self, x: np.ndarray, first: int, last: int) -> np.ndarray:
        axes = (*range(first), *reversed(range(first, last + 1)), *range(last + 1, x.ndim))
        return super().joined(x.transpose(axes), first, last)


@wrong("flatten", "end_dim is ignored")
class ToTheEnd(Flatten):
    """Joins all axes from start_dim on."""

    def axes(self, input: np.ndarray, start_dim: Any, end_dim: Any) -> tuple[int, int]:
        return super().axes(input, start_dim, end_dim)[0], max(input.ndim, 1) - 1


WRONG = tuple(MUTANTS)
