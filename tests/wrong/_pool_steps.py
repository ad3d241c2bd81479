"""Pooling in plain NumPy with a method for every step, which the wrong ones override."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._conv_steps import require, sizes


@dataclass(frozen=True)
class Share:
    """One window along one axis: its pixels, its taps on the padded image, and all its taps."""

    pixels: np.ndarray
    padded: int
    whole: int


@dataclass(frozen=True)
class Window:
    """A window of the image: where its result goes, and its share of each axis."""

    position: tuple[int, ...]
    shares: tuple[Share, ...]

    @property
    def pixels(self) -> tuple[Any, ...]:
        """Index the pixels of all channels of all images."""
        return (slice(None), slice(None), *np.ix_(*(share.pixels for share in self.shares)))

    @property
    def at(self) -> tuple[Any, ...]:
        return (slice(None), slice(None), *self.position)

    def count(self, name: str) -> int:
        return math.prod(getattr(share, name) for share in self.shares)


@dataclass(frozen=True)
class Layer:
    """An input with a batch axis, and its windows along each axis."""

    x: np.ndarray
    has_batch: bool
    axes: tuple[list[Share], ...]
    divisor_override: int | None = None

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (*self.x.shape[:2], *(len(axis) for axis in self.axes))

    @property
    def windows(self) -> Iterator[Window]:
        for choice in itertools.product(*(enumerate(axis) for axis in self.axes)):
            yield Window(tuple(o for o, _ in choice), tuple(share for _, share in choice))

    def unbatched(self, array: np.ndarray) -> np.ndarray:
        return array if self.has_batch else array[0]


class Pooling:
    """Windows that slide."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def layer(
        self, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, **others: Any
    ) -> Layer:
        x, has_batch = self.batched(input)
        require(min(x.shape[1:]) > 0, "input has no channels or no pixels")
        kernel = sizes("kernel_size", kernel_size, self.rank, 1)
        steps, gaps = self.strides(stride, kernel), sizes("dilation", dilation, self.rank, 1)
        pads = sizes("padding", padding, self.rank, 0)
        self.check_padding(pads, kernel)
        each = zip(x.shape[2:], kernel, steps, pads, gaps, strict=True)
        axes = tuple(self.axis(*axis, ceil_mode) for axis in each)
        require(min(len(axis) for axis in axes) > 0, "the window is larger than the padded input")
        return Layer(x, has_batch, axes, **others)

    def batched(self, input: np.ndarray) -> tuple[np.ndarray, bool]:
        require(input.ndim in (self.rank + 1, self.rank + 2), f"input has {input.ndim} axes")
        has_batch = input.ndim == self.rank + 2
        return (input if has_batch else input[np.newaxis]), has_batch

    def strides(self, stride: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
        return kernel if stride is None else sizes("stride", stride, self.rank, 1)

    def check_padding(self, pads: tuple[int, ...], kernel: tuple[int, ...]) -> None:
        require(all(2 * p <= k for p, k in zip(pads, kernel, strict=True)), "padding is more than half of the kernel")

    def axis(self, X: int, K: int, S: int, P: int, D: int, ceil_mode: bool) -> list[Share]:
        """Return the windows of one axis."""
        shares = []
        for o in range(self.positions(X + 2 * P - D * (K - 1) - 1, X, S, P, ceil_mode)):
            taps = self.first(o, S, P) + self.taps(K, D)
            inside = taps[(taps >= 0) & (taps < X)]
            require(len(inside) > 0, "a window has no pixel")
            shares.append(Share(inside, int((taps < X + P).sum()), K))
        return shares

    def positions(self, room: int, X: int, S: int, P: int, ceil_mode: bool) -> int:
        if not ceil_mode:
            return room // S + 1
        count = -(-room // S) + 1
        return count - 1 if (count - 1) * S >= X + P else count

    def first(self, o: int, S: int, P: int) -> int:
        return o * S - P

    def taps(self, K: int, D: int) -> np.ndarray:
        return np.arange(K) * D


class MaxPool(Pooling):
    """max_pool1d to max_pool3d."""

    def __call__(self, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        return self.maxima(self.layer(input, kernel_size, stride, padding, dilation, ceil_mode), return_indices)

    def maxima(self, layer: Layer, return_indices: bool) -> Any:
        y = np.empty(layer.output_shape, layer.x.dtype)
        indices = np.empty(layer.output_shape, np.int64)
        for window in layer.windows:
            values, places = self.values(layer, window), self.places(layer, window)
            won = self.winner(values)[..., np.newaxis]
            y[window.at] = np.take_along_axis(values, won, axis=-1)[..., 0]
            indices[window.at] = places[won[..., 0]]
        return (layer.unbatched(y), layer.unbatched(indices)) if return_indices else layer.unbatched(y)

    def values(self, layer: Layer, window: Window) -> np.ndarray:
        """Return the pixels of a window in a row."""
        return in_a_row(layer.x[window.pixels])

    def places(self, layer: Layer, window: Window) -> np.ndarray:
        """Return the indices of the same pixels."""
        extent = layer.x.shape[2:]
        return np.ravel_multi_index(np.meshgrid(*(s.pixels for s in window.shares), indexing="ij"), extent).ravel()

    def winner(self, values: np.ndarray) -> np.ndarray:
        return values.argmax(axis=-1)  # the first, and NaN is larger than anything


class MaxPoolBackward(MaxPool):
    """max_pool1d_backward to max_pool3d_backward."""

    def __call__(self, grad_output, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        return self.gradient(grad_output, self.layer(input, kernel_size, stride, padding, dilation, ceil_mode))

    def gradient(self, grad_output: np.ndarray, layer: Layer) -> np.ndarray:
        g = matching(grad_output, layer)
        dx = np.zeros(layer.x.shape, np.result_type(g.dtype, np.float32))
        for window in layer.windows:
            values = self.values(layer, window)
            terms = np.where(self.winners(values), g[window.at][..., np.newaxis], 0)
            self.add(dx, window, terms.reshape(dx[window.pixels].shape))
        return layer.unbatched(dx.astype(g.dtype))

    def winners(self, values: np.ndarray) -> np.ndarray:
        return np.arange(values.shape[-1]) == self.winner(values)[..., np.newaxis]

    def add(self, dx: np.ndarray, window: Window, terms: np.ndarray) -> None:
        dx[window.pixels] += terms


class AvgPool(Pooling):
    """avg_pool1d to avg_pool3d."""

    def __call__(
        self,
        input,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ):
        layer = self.average_layer(input, kernel_size, stride, padding, ceil_mode, divisor_override)
        return self.means(layer, count_include_pad)

    def average_layer(self, input, kernel_size, stride, padding, ceil_mode, divisor_override) -> Layer:
        self.check_divisor(divisor_override)
        return self.layer(input, kernel_size, stride, padding, 1, ceil_mode, divisor_override=divisor_override)

    def check_divisor(self, divisor_override: int | None) -> None:
        require(divisor_override != 0, "divisor_override is zero")

    def means(self, layer: Layer, count_include_pad: bool) -> np.ndarray:
        y = np.empty(layer.output_shape, layer.x.dtype)
        axes = tuple(range(2, layer.x.ndim))
        for window in layer.windows:
            total = self.total(layer.x[window.pixels], axes)
            y[window.at] = total / self.divisor(layer, window, count_include_pad)
        return layer.unbatched(y)

    def total(self, values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return values.sum(axis=axes, dtype=np.result_type(values.dtype, np.float32))

    def divisor(self, layer: Layer, window: Window, count_include_pad: bool) -> int:
        if layer.divisor_override is not None:
            return layer.divisor_override
        return window.count("padded") if count_include_pad else math.prod(len(s.pixels) for s in window.shares)


class AvgPoolBackward(AvgPool):
    """avg_pool1d_backward to avg_pool3d_backward."""

    def __call__(
        self,
        grad_output,
        input,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ):
        layer = self.average_layer(input, kernel_size, stride, padding, ceil_mode, divisor_override)
        return self.gradient(grad_output, layer, count_include_pad)

    def gradient(self, grad_output: np.ndarray, layer: Layer, count_include_pad: bool) -> np.ndarray:
        g = matching(grad_output, layer)
        summed = np.result_type(g.dtype, np.float32)
        dx = np.zeros(layer.x.shape, summed)
        for window in layer.windows:
            term = g[window.at].astype(summed) / self.divisor(layer, window, count_include_pad)
            self.add(dx, window, term.reshape(*term.shape, *(1,) * self.rank))
        return layer.unbatched(dx.astype(g.dtype))

    def add(self, dx: np.ndarray, window: Window, terms: np.ndarray) -> None:
        dx[window.pixels] += terms


class LpPool(Pooling):
    """lp_pool1d to lp_pool3d."""

    def __call__(self, input, norm_type, kernel_size, stride=None, ceil_mode=False):
        self.check_order(norm_type)
        layer = self.layer(input, kernel_size, stride, 0, 1, ceil_mode)
        y = np.empty(layer.output_shape, layer.x.dtype)
        with np.errstate(all="ignore"):
            for window in layer.windows:
                y[window.at] = self.norm(self.values(layer, window), norm_type, window)[..., 0]
        return layer.unbatched(y)

    def check_order(self, norm_type: float) -> None:
        require(norm_type > 0, "norm_type is not greater than 0")

    def values(self, layer: Layer, window: Window) -> np.ndarray:
        values = in_a_row(layer.x[window.pixels])
        return values.astype(np.result_type(values.dtype, np.float32))

    def norm(self, values: np.ndarray, p: float, window: Window) -> np.ndarray:
        sizes = self.magnitude(values)
        if math.isinf(p):
            return sizes.max(axis=-1, keepdims=True)
        return self.root(self.total(sizes**p, window), p)

    def magnitude(self, values: np.ndarray) -> np.ndarray:
        return np.abs(values)

    def total(self, powers: np.ndarray, window: Window) -> np.ndarray:
        return powers.sum(axis=-1, keepdims=True)

    def root(self, total: np.ndarray, p: float) -> np.ndarray:
        return total ** (1 / p)


class LpPoolBackward(LpPool):
    """lp_pool1d_backward to lp_pool3d_backward."""

    def __call__(self, grad_output, input, norm_type, kernel_size, stride=None, ceil_mode=False):
        self.check_order(norm_type)
        layer = self.layer(input, kernel_size, stride, 0, 1, ceil_mode)
        g = matching(grad_output, layer)
        dx = np.zeros(layer.x.shape, np.result_type(g.dtype, np.float32))
        with np.errstate(all="ignore"):
            for window in layer.windows:
                values = self.values(layer, window)
                terms = g[window.at][..., np.newaxis] * self.slopes(values, norm_type, window)
                dx[window.pixels] += self.at_zero(values, terms).reshape(dx[window.pixels].shape)
        return layer.unbatched(dx.astype(g.dtype))

    def slopes(self, values: np.ndarray, p: float, window: Window) -> np.ndarray:
        sizes = self.magnitude(values)
        if math.isinf(p):
            is_first = np.arange(sizes.shape[-1]) == sizes.argmax(axis=-1)[..., np.newaxis]
            return self.sign(values) * is_first
        return self.sign(values) * (sizes / self.norm(values, p, window)) ** (p - 1)

    def sign(self, values: np.ndarray) -> np.ndarray:
        return np.sign(values)

    def at_zero(self, values: np.ndarray, terms: np.ndarray) -> np.ndarray:
        return np.where(values == 0, 0, terms)


class Adaptive(Pooling):
    """Windows that share out the input."""

    needs_channels = False

    def shares(self, input: np.ndarray, output_size: Any) -> Layer:
        x, has_batch = self.batched(input)
        require(min(x.shape[1 + (not self.needs_channels) :]) > 0, "input has no channels or no pixels")
        if isinstance(output_size, (tuple, list)) and len(output_size) == self.rank > 1:
            output_size = tuple(e if o is None else o for e, o in zip(x.shape[2:], output_size, strict=True))
        counts = sizes("output_size", output_size, self.rank, 0)
        return Layer(x, has_batch, tuple(map(self.parts, x.shape[2:], counts)))

    def parts(self, X: int, count: int) -> list[Share]:
        ranges = [np.arange(self.begin(i, X, count), self.end(i, X, count)) for i in range(count)]
        return [Share(pixels, len(pixels), len(pixels)) for pixels in ranges]

    def begin(self, i: int, X: int, count: int) -> int:
        return i * X // count

    def end(self, i: int, X: int, count: int) -> int:
        return -(-(i + 1) * X // count)


class AdaptiveMaxPool(Adaptive, MaxPool):
    """adaptive_max_pool1d to adaptive_max_pool3d."""

    needs_channels = True

    def __call__(self, input, output_size, return_indices=False):
        return self.maxima(self.shares(input, output_size), return_indices)


class AdaptiveMaxPoolBackward(Adaptive, MaxPoolBackward):
    """adaptive_max_pool1d_backward to adaptive_max_pool3d_backward."""

    needs_channels = True

    def __call__(self, grad_output, input, output_size):
        return self.gradient(grad_output, self.shares(input, output_size))


class AdaptiveAvgPool(Adaptive, AvgPool):
    """adaptive_avg_pool1d to adaptive_avg_pool3d."""

    def __call__(self, input, output_size):
        return self.means(self.shares(input, output_size), True)


class AdaptiveAvgPoolBackward(Adaptive, AvgPoolBackward):
    """adaptive_avg_pool1d_backward to adaptive_avg_pool3d_backward."""

    def __call__(self, grad_output, input, output_size):
        return self.gradient(grad_output, self.shares(input, output_size), True)


class MaxUnpool(Pooling):
    """max_unpool1d to max_unpool3d."""

    def __call__(self, input, indices, kernel_size, stride=None, padding=0, output_size=None):
        x, has_batch = self.batched(input)
        extent = self.extent(x, kernel_size, stride, padding, output_size)
        places = self.checked(indices, input, math.prod(extent)).reshape(*x.shape[:2], math.prod(x.shape[2:]))
        y = np.zeros((*x.shape[:2], math.prod(extent)), x.dtype)
        np.put_along_axis(y, places, x.reshape(places.shape), axis=-1)
        y = y.reshape(*x.shape[:2], *extent)
        return y if has_batch else y[0]

    def extent(self, x: np.ndarray, kernel_size: Any, stride: Any, padding: Any, output_size: Any) -> tuple[int, ...]:
        require(min(x.shape[1:]) > 0, "input has no channels or no pixels")
        kernel = sizes("kernel_size", kernel_size, self.rank, 1)
        steps, pads = self.strides(stride, kernel), sizes("padding", padding, self.rank, 0)
        each = zip(x.shape[2:], steps, kernel, pads, strict=True)
        extent = tuple((i - 1) * s + k - 2 * p for i, s, k, p in each)
        if output_size is not None:
            extent = self.requested(output_size, extent, steps)
        require(min(extent) > 0, "the output has no pixels")
        return extent

    def requested(self, output_size: Any, extent: tuple[int, ...], steps: tuple[int, ...]) -> tuple[int, ...]:
        wanted = sizes("output_size", output_size, self.rank, 1)
        near = all(abs(w - e) < s for w, e, s in zip(wanted, extent, steps, strict=True))
        require(near, f"output_size={output_size} is a stride or more from {extent}")
        return wanted

    def checked(self, indices: np.ndarray, input: np.ndarray, pixels: int) -> np.ndarray:
        require(indices.shape == input.shape, "indices have another shape than the input")
        require(((indices >= 0) & (indices < pixels)).all(), "an index is no pixel")
        return indices


class MaxUnpoolBackward(MaxUnpool):
    """max_unpool1d_backward to max_unpool3d_backward."""

    def __call__(self, grad_output, input, indices, kernel_size, stride=None, padding=0, output_size=None):
        x, _ = self.batched(input)
        extent = self.extent(x, kernel_size, stride, padding, output_size)
        places = self.checked(indices, input, math.prod(extent)).reshape(*x.shape[:2], math.prod(x.shape[2:]))
        require(grad_output.shape == (*input.shape[: -self.rank], *extent), "grad_output has another shape")
        g = grad_output.reshape(*x.shape[:2], math.prod(extent))
        return np.take_along_axis(g, places, axis=-1).reshape(input.shape)


def in_a_row(values: np.ndarray) -> np.ndarray:
    """Put the pixels of each channel into one axis."""
    return values.reshape(*values.shape[:2], math.prod(values.shape[2:]))


def matching(grad_output: np.ndarray, layer: Layer) -> np.ndarray:
    """Return the gradient of the output with a batch axis."""
    shape = layer.output_shape if layer.has_batch else layer.output_shape[1:]
    require(grad_output.shape == shape, f"grad_output must have shape {shape}, got {grad_output.shape}")
    return grad_output.reshape(layer.output_shape)
