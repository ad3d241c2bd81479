"""Right convolutions in plain NumPy with a method for every step, so that a wrong one overrides what is wrong.

They share nothing with the library or its oracle.
"""

from __future__ import annotations

import itertools
import math
import operator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from . import WrongImplementation


def sizes(name: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """Return one integer for each axis, or refuse."""
    entries = value if isinstance(value, (tuple, list)) else (value,) * rank
    if any(isinstance(entry, bool) or not hasattr(entry, "__index__") for entry in entries):
        raise TypeError(f"{name} must be an integer or a tuple of integers, got {value!r}")
    if len(entries) != rank or any(operator.index(entry) < least for entry in entries):
        raise ValueError(f"{name} takes {rank} integers of at least {least}, got {value!r}")
    return tuple(operator.index(entry) for entry in entries)


def require(condition: bool, rule: str) -> None:
    if not condition:
        raise ValueError(rule)


@dataclass(frozen=True)
class Layer:
    """Checked arguments, one entry for each axis, and arrays with a batch axis."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray | None
    stride: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str
    has_batch: bool

    @property
    def rank(self) -> int:
        return self.w.ndim - 2

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.w.shape[2:]

    @property
    def padded(self) -> tuple[int, ...]:
        return tuple(e + low + high for e, (low, high) in zip(self.x.shape[2:], self.pairs, strict=True))


class Steps:
    """What a convolution and its gradients have in common. A wrong one overrides a method."""

    MODES: ClassVar = {
        "zeros": "constant",
        "reflect": "reflect",
        "replicate": "edge",
        "circular": "wrap",
        "symmetric": "symmetric",
    }

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def layer(
        self,
        input: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        padding_mode: str = "zeros",
        flip: bool = False,
    ) -> Layer:
        """Check the arguments, and write them in one form."""
        require(input.ndim in (self.rank + 1, self.rank + 2), f"input has {input.ndim} axes")
        require(weight.ndim == self.rank + 2, f"weight has {weight.ndim} axes")
        has_batch = input.ndim == self.rank + 2
        x = input if has_batch else input[np.newaxis]
        steps, gaps = self.strides(stride), self.dilations(dilation)
        G = self.group_count(groups)
        require(weight.shape[1] * G == x.shape[1], f"input has {x.shape[1]} channels")
        require(weight.shape[0] % G == 0, f"groups={G} does not divide the output channels")
        require(bias is None or bias.shape == weight.shape[:1], "bias has another length than the output channels")
        require(min(x.shape[2:]) > 0 and min(weight.shape[2:]) > 0, "an axis is empty")
        pairs = self.pairs(padding, x.shape[2:], weight.shape[2:], steps, gaps)
        w = np.flip(weight, tuple(range(2, weight.ndim))) if flip else weight
        layer = Layer(x, w, bias, steps, pairs, gaps, G, self.MODES[padding_mode], has_batch)
        self.require_fit(layer)
        return layer

    def strides(self, stride: Any) -> tuple[int, ...]:
        return sizes("stride", stride, self.rank, 1)

    def dilations(self, dilation: Any) -> tuple[int, ...]:
        return sizes("dilation", dilation, self.rank, 1)

    def group_count(self, groups: Any) -> int:
        return sizes("groups", groups, 1, 1)[0]

    def require_fit(self, layer: Layer) -> None:
        require(min(self.positions(layer)) > 0, "the window is larger than the padded input")

    # --- geometry

    def pairs(self, padding: Any, extent: Any, kernel: Any, stride: Any, dilation: Any) -> tuple[tuple[int, int], ...]:
        """Return the padding below and above, for each axis."""
        if padding == "valid":
            return ((0, 0),) * self.rank
        if isinstance(padding, str):
            axes = zip(extent, kernel, stride, dilation, strict=True)
            return tuple(self.named_pair(padding, *axis) for axis in axes)
        if isinstance(padding, (tuple, list)) and isinstance(padding[0], (tuple, list)):
            require(len(padding) == self.rank, "padding has another number of pairs than there are axes")
            return tuple(self.pair(sizes("padding", pair, 2, 0)) for pair in padding)
        return tuple((p, p) for p in sizes("padding", padding, self.rank, 0))

    def pair(self, given: tuple[int, ...]) -> tuple[int, int]:
        low, high = given
        return low, high

    def named_pair(self, name: str, extent: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
        reach = self.reach(kernel, dilation)
        if name == "full":
            return reach, reach
        require(name in ("same_upper", "same_lower") or (name == "same" and stride == 1), f"padding={name!r}")
        outputs = -(-extent // stride)
        whole = max((outputs - 1) * stride + reach + 1 - extent, 0)
        less = whole // 2
        return (whole - less, less) if name == "same_lower" else (less, whole - less)

    def reach(self, kernel: int, dilation: int) -> int:
        """Return the distance from the first tap to the last, for padding by name."""
        return dilation * (kernel - 1)

    def span(self, kernel: int, dilation: int) -> int:
        """Return the pixels from the first tap to the last, both included."""
        return dilation * (kernel - 1) + 1

    def positions(self, layer: Layer) -> tuple[int, ...]:
        """Return the extent of the output."""
        axes = zip(layer.padded, layer.kernel, layer.stride, layer.dilation, strict=True)
        return tuple((p - self.span(k, d)) // s + 1 for p, k, s, d in axes)

    def first(self, tap: int, dilation: int) -> int:
        """Return the first padded pixel that a tap sees, along one axis."""
        return tap * dilation

    def seen(self, tap: tuple[int, ...], layer: Layer) -> tuple[Any, ...]:
        """Return the index of the padded pixels that one tap sees."""
        axes = zip(tap, self.positions(layer), layer.stride, layer.dilation, strict=True)
        starts = [(self.first(k, d), o, s) for k, o, s, d in axes]
        return (..., *(slice(start, start + (o - 1) * s + 1, s) for start, o, s in starts))

    # --- what is read

    def padded(self, layer: Layer) -> np.ndarray:
        return np.pad(layer.x, ((0, 0), (0, 0), *layer.pairs), layer.padding_mode)

    def kernel(self, layer: Layer) -> np.ndarray:
        return layer.w

    def taps(self, layer: Layer) -> Any:
        return itertools.product(*map(range, layer.kernel))

    def group(self, a: np.ndarray, g: int, layer: Layer, axis: int = 1) -> np.ndarray:
        """Return a view of one group's channels."""
        size = a.shape[axis] // layer.groups
        return a[(slice(None),) * axis + (slice(g * size, (g + 1) * size),)]

    def sum_type(self, dtype: Any) -> Any:
        """Return the type of sums."""
        return np.result_type(dtype, np.float32)


class Convolution(Steps):
    """conv1d to conv3d: right."""

    def __call__(
        self,
        input,
        weight,
        bias=None,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        *,
        padding_mode="zeros",
        flip=False,
        out=None,
    ):
        layer = self.layer(input, weight, bias, stride, padding, dilation, groups, padding_mode, flip)
        y = self.finished(self.sums(layer), layer)
        return y if out is None else self.stored(y, out)

    def sums(self, layer: Layer) -> np.ndarray:
        """Add up the taps, one after the other."""
        xp, w = self.padded(layer), self.kernel(layer)
        y = np.zeros((len(xp), len(w), *self.positions(layer)), self.sum_type(xp.dtype))
        for g in range(layer.groups):
            xg, wg, yg = self.group(xp, g, layer), self.group(w, g, layer, axis=0), self.group(y, g, layer)
            for tap in self.taps(layer):
                yg += self.products(xg[self.seen(tap, layer)], wg[(..., *tap)], y.dtype)
        return y

    def products(self, seen: np.ndarray, weights: np.ndarray, dtype: Any) -> np.ndarray:
        """Return the sums over the channels for one tap."""
        return np.einsum("nc...,oc->no...", seen, weights, dtype=dtype)

    def finished(self, y: np.ndarray, layer: Layer) -> np.ndarray:
        if layer.b is not None:
            y = self.with_bias(y, layer.b.reshape(-1, *(1,) * layer.rank))
        y = y.astype(layer.x.dtype)
        return y if layer.has_batch else y[0]

    def with_bias(self, y: np.ndarray, b: np.ndarray) -> np.ndarray:
        return y + b

    def stored(self, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        out[...] = y
        return out


class ConvolutionBackward(Steps):
    """conv1d_backward to conv3d_backward: right."""

    def __call__(self, grad_output, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        layer = self.layer(input, weight, bias, stride, padding, dilation, groups)
        g = grad_output if layer.has_batch else grad_output[np.newaxis]
        self.require_gradient(g, layer)
        dx, dw = self.input_gradient(g, layer), self.weight_gradient(g, layer)
        dx, dw = dx.astype(input.dtype), dw.astype(input.dtype)
        db = None if bias is None else self.bias_gradient(g, layer).astype(input.dtype)
        return dx if layer.has_batch else dx[0], dw, db

    def require_gradient(self, g: np.ndarray, layer: Layer) -> None:
        shape = (len(layer.x), len(layer.w), *self.positions(layer))
        require(g.shape == shape, f"grad_output must have the output's shape {shape}, got {g.shape}")

    def input_gradient(self, g: np.ndarray, layer: Layer) -> np.ndarray:
        """Add the gradient of every output to the pixels that it was made of."""
        dxp = self.empty_gradient(layer)
        for group in range(layer.groups):
            dxg, gg = self.group(dxp, group, layer), self.group(g, group, layer)
            wg = self.group(self.kernel(layer), group, layer, axis=0)
            for tap in self.taps(layer):
                self.scatter(dxg, self.seen(tap, layer), np.einsum("no...,oc->nc...", gg, wg[(..., *tap)]))
        return self.unpadded(dxp, layer)

    def empty_gradient(self, layer: Layer) -> np.ndarray:
        return np.zeros((*layer.x.shape[:2], *layer.padded), self.sum_type(layer.x.dtype))

    def scatter(self, dxp: np.ndarray, seen: Any, values: np.ndarray) -> None:
        dxp[seen] += values

    def unpadded(self, dxp: np.ndarray, layer: Layer) -> np.ndarray:
        axes = zip(layer.pairs, layer.x.shape[2:], strict=True)
        return dxp[(..., *(slice(low, low + extent) for (low, _), extent in axes))]

    def weight_gradient(self, g: np.ndarray, layer: Layer) -> np.ndarray:
        """Return, for every tap, the sum of the pixels that it saw, each times the gradient of what it was used for."""
        xp, dw = self.padded(layer), np.zeros(layer.w.shape, self.sum_type(layer.x.dtype))
        for group in range(layer.groups):
            xg, gg = self.group(xp, group, layer), self.group(g, group, layer)
            dwg = self.group(dw, group, layer, axis=0)
            for tap in self.taps(layer):
                dwg[(..., *tap)] = self.product(gg, xg[self.seen(tap, layer)])
        return dw

    def product(self, g: np.ndarray, seen: np.ndarray) -> np.ndarray:
        N, positions = len(g), math.prod(g.shape[2:])
        flat = g.reshape(N, g.shape[1], positions), seen.reshape(N, seen.shape[1], positions)
        return np.einsum("nop,ncp->oc", *flat, dtype=self.sum_type(g.dtype))

    def bias_gradient(self, g: np.ndarray, layer: Layer) -> np.ndarray:
        return g.sum((0, *range(2, g.ndim)), dtype=self.sum_type(g.dtype))


class ConvolutionTranspose(Steps):
    """conv_transpose1d to conv_transpose3d: right.

    Its positions are the input's pixels, its padded image is what the output is cut from.
    """

    def __call__(self, input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        layer, extra = self.transposed(input, weight, bias, stride, padding, output_padding, groups, dilation)
        y = self.cut(self.sums(layer, extra), layer, extra)
        y = self.with_bias(y, layer).astype(input.dtype)
        return y if layer.has_batch else y[0]

    def transposed(self, input, weight, bias, stride, padding, output_padding, groups, dilation):
        """Check the arguments; return them in one form, and the output padding."""
        require(input.ndim in (self.rank + 1, self.rank + 2), f"input has {input.ndim} axes")
        require(weight.ndim == self.rank + 2, f"weight has {weight.ndim} axes")
        has_batch = input.ndim == self.rank + 2
        x = input if has_batch else input[np.newaxis]
        steps, gaps = self.strides(stride), self.dilations(dilation)
        G, extra = self.group_count(groups), sizes("output_padding", output_padding, self.rank, 0)
        require(weight.shape[0] == x.shape[1], f"input has {x.shape[1]} channels")
        require(weight.shape[0] % G == 0, f"groups={G} does not divide the input channels")
        require(
            bias is None or bias.shape == (weight.shape[1] * G,), "bias has another length than the output channels"
        )
        require(min(x.shape[2:]) > 0 and min(weight.shape[2:]) > 0, "an axis is empty")
        self.require_output_padding(extra, steps, gaps)
        pairs = self.pairs(padding, x.shape[2:], weight.shape[2:], steps, gaps)
        layer = Layer(x, weight, bias, steps, pairs, gaps, G, "constant", has_batch)
        axes = zip(self.whole(layer, extra), pairs, strict=True)
        require(all(extent > low + high for extent, (low, high) in axes), "the output is empty")
        return layer, extra

    def require_output_padding(
        self, extra: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
    ) -> None:
        axes = zip(extra, stride, dilation, strict=True)
        require(all(e < max(s, d) for e, s, d in axes), "output_padding must be less than stride or dilation")

    def positions(self, layer: Layer) -> tuple[int, ...]:
        return layer.x.shape[2:]

    def whole(self, layer: Layer, extra: tuple[int, ...]) -> tuple[int, ...]:
        """Return the extent of the output with its padding."""
        axes = zip(layer.x.shape[2:], layer.kernel, layer.stride, layer.dilation, extra, strict=True)
        return tuple((i - 1) * s + self.span(k, d) + e for i, k, s, d, e in axes)

    def sums(self, layer: Layer, extra: tuple[int, ...]) -> np.ndarray:
        """Add every pixel, times the taps, to the output."""
        w, channels = self.kernel(layer), layer.w.shape[1] * layer.groups
        y = np.zeros((len(layer.x), channels, *self.whole(layer, extra)), self.sum_type(layer.x.dtype))
        for g in range(layer.groups):
            xg, wg, yg = self.group(layer.x, g, layer), self.group(w, g, layer, axis=0), self.group(y, g, layer)
            for tap in self.taps(layer):
                self.scatter(yg, self.seen(tap, layer), np.einsum("ni...,io->no...", xg, wg[(..., *tap)]))
        return y

    def scatter(self, y: np.ndarray, seen: Any, values: np.ndarray) -> None:
        y[seen] += values

    def cut(self, y: np.ndarray, layer: Layer, extra: tuple[int, ...]) -> np.ndarray:
        axes = zip(layer.pairs, y.shape[2:], strict=True)
        return y[(..., *(slice(low, extent - high) for (low, high), extent in axes))]

    def with_bias(self, y: np.ndarray, layer: Layer) -> np.ndarray:
        return y if layer.b is None else y + layer.b.reshape(-1, *(1,) * layer.rank)


class ConvolutionTransposeBackward(ConvolutionTranspose):
    """conv_transpose1d_backward to conv_transpose3d_backward: right."""

    def __call__(
        self, grad_output, input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
    ):
        layer, extra = self.transposed(input, weight, bias, stride, padding, output_padding, groups, dilation)
        g = grad_output if layer.has_batch else grad_output[np.newaxis]
        axes = zip(self.whole(layer, extra), layer.pairs, strict=True)
        shape = (len(layer.x), weight.shape[1] * layer.groups, *(extent - sum(pair) for extent, pair in axes))
        require(g.shape == shape, f"grad_output must have the output's shape {shape}, got {g.shape}")
        gp = np.pad(g, ((0, 0), (0, 0), *layer.pairs))
        dx, dw = self.gradients(gp, layer)
        db = None if bias is None else g.sum((0, *range(2, g.ndim)), dtype=dx.dtype).astype(input.dtype)
        dx, dw = dx.astype(input.dtype), dw.astype(input.dtype)
        return dx if layer.has_batch else dx[0], dw, db

    def gradients(self, gp: np.ndarray, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
        """Convolve the padded gradient with the kernel, and with the input."""
        dtype = self.sum_type(gp.dtype)
        dx, dw = np.zeros(layer.x.shape, dtype), np.zeros(layer.w.shape, dtype)
        for group in range(layer.groups):
            xg, gg, dxg = (self.group(a, group, layer) for a in (layer.x, gp, dx))
            wg, dwg = (self.group(a, group, layer, axis=0) for a in (self.kernel(layer), dw))
            for tap in self.taps(layer):
                seen = gg[self.seen(tap, layer)]
                dxg += np.einsum("no...,io->ni...", seen, wg[(..., *tap)])
                dwg[(..., *tap)] = self.product(xg, seen)
        return dx, dw

    def product(self, x: np.ndarray, seen: np.ndarray) -> np.ndarray:
        N, positions = len(x), math.prod(x.shape[2:])
        flat = x.reshape(N, x.shape[1], positions), seen.reshape(N, seen.shape[1], positions)
        return np.einsum("nip,nop->io", *flat, dtype=self.sum_type(x.dtype))


def enlist(listed: list[WrongImplementation], op: str, cause: str = "", line: int = 0, **claims: Any) -> Any:
    """Return a decorator that lists an implementation of `op` as a wrong one; its docstring says what is wrong."""

    def decorated(mutant: Any) -> Any:
        rank = next((int(letter) for letter in op if letter.isdigit()), 2)
        implementation = mutant(rank) if isinstance(mutant, type) else mutant
        listed.append(WrongImplementation(mutant.__doc__.strip(), op, implementation, cause, line, **claims))
        return mutant

    return decorated
