"""Right convolutions in NumPy, which a judge must let pass: plain, summed in another order, by Winograd's algorithm.

Each takes the arguments of torch.nn.functional.conv2d, refuses what torch refuses with a ValueError, and shares nothing
with the library or its oracle.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


class Layer(NamedTuple):
    """A convolution whose arguments make sense: arrays by groups, in the type of the sums, the data padded."""

    x: np.ndarray  # (N, G, ICG, IH + padding, IW + padding)
    w: np.ndarray  # (G, OCG, ICG, KH, KW)
    b: np.ndarray | None  # (G, OCG)
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]
    dtype: np.dtype
    has_batch: bool

    @classmethod
    def of(cls, input, weight, bias, stride, padding, dilation, groups):
        steps, gaps = pair("stride", stride, 1), pair("dilation", dilation, 1)
        G = integer("groups", groups, 1)
        require(input.ndim in (3, 4), f"input must have 3 or 4 axes, got input.shape={input.shape}")
        require(weight.ndim == 4, f"weight must have 4 axes, got weight.shape={weight.shape}")
        x = input if input.ndim == 4 else input[np.newaxis]
        (N, IC, *extent), (OC, ICG, *kernel) = x.shape, weight.shape
        require(IC == ICG * G, f"weight takes {ICG * G} channels, input has {IC}")
        require(OC % G == 0, f"groups={G} must divide the {OC} output channels")
        require(bias is None or bias.shape == (OC,), f"bias must hold {OC} numbers")
        require(all(a is None or a.dtype == input.dtype for a in (weight, bias)), "types must be equal")
        span = [d * (k - 1) + 1 for d, k in zip(gaps, kernel, strict=True)]
        pads = margins(padding, span, steps)
        padded = [e + low + high for e, (low, high) in zip(extent, pads, strict=True)]
        require(min(*extent, *kernel) > 0, f"no axis may be empty: input.shape={input.shape}")
        require(all(s <= p for s, p in zip(span, padded, strict=True)), f"a window of {span} in an image of {padded}")
        summed = np.result_type(input.dtype, np.float32)
        return cls(
            np.pad(x.astype(summed), ((0, 0), (0, 0), *pads)).reshape(N, G, ICG, *padded),
            weight.astype(summed).reshape(G, OC // G, ICG, *kernel),
            None if bias is None else bias.astype(summed).reshape(G, OC // G),
            steps,
            pads,
            gaps,
            input.dtype,
            input.ndim == 4,
        )

    @property
    def windows(self):
        """View the data as (N, G, ICG, OH, OW, KH, KW)."""
        kernel = self.w.shape[3:]
        span = [d * (k - 1) + 1 for d, k in zip(self.dilation, kernel, strict=True)]
        every = (slice(None, None, step) for step in (*self.stride, *self.dilation))
        return sliding_window_view(self.x, span, axis=(3, 4))[(..., *every)]

    def finished(self, y, bias=None):
        """Return values (N, G, OCG, OH, OW) as the user's output, with a bias that was not added yet."""
        if bias is not None:
            y = y + bias[..., np.newaxis, np.newaxis]
        y = y.reshape(len(y), y.shape[1] * y.shape[2], *y.shape[3:]).astype(self.dtype)
        return y if self.has_batch else y[0]


def require(condition, message):
    if not condition:
        raise ValueError(message)


def integer(name, value, least):
    is_integer = hasattr(value, "__index__") and not isinstance(value, bool)
    require(is_integer and operator.index(value) >= least, f"{name} must be an integer >= {least}, got {value!r}")
    return operator.index(value)


def pair(name, value, least):
    entries = value if isinstance(value, (tuple, list)) else (value, value)
    require(len(entries) == 2, f"{name} takes an integer or two, got {value!r}")
    return tuple(integer(name, entry, least) for entry in entries)


def margins(padding, span, steps):
    """Return (low, high) padding of both axes."""
    if padding == "same":
        require(steps == (1, 1), f"padding='same' needs stride 1, got {steps}")
        return tuple(((s - 1) // 2, s - 1 - (s - 1) // 2) for s in span)
    if padding == "valid":
        return ((0, 0), (0, 0))
    require(not isinstance(padding, str), f"padding must be 'same' or 'valid' if a word, got {padding!r}")
    return tuple((p, p) for p in pair("padding", padding, 0))


def conv2d_numpy_float32(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Add up the products of every window in NumPy's order."""
    layer = Layer.of(input, weight, bias, stride, padding, dilation, groups)
    return layer.finished(np.einsum("ngcyxkl,gockl->ngoyx", layer.windows, layer.w), layer.b)


def conv2d_shuffled(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Add up the products, and the bias among them, in an order drawn for each call, the same for the same shapes."""
    layer = Layer.of(input, weight, bias, stride, padding, dilation, groups)
    windows, taps = layer.windows, list(np.ndindex(layer.w.shape[2:]))
    N, G, _, OH, OW = windows.shape[:5]
    y = np.zeros((N, G, layer.w.shape[1], OH, OW), layer.x.dtype)
    for term in np.random.default_rng(len(taps)).permutation(len(taps) + 1):
        if term < len(taps):
            icg, kh, kw = taps[term]
            pixels = windows[:, :, np.newaxis, icg, :, :, kh, kw]
            y += pixels * layer.w[:, :, icg, kh, kw, np.newaxis, np.newaxis]
        elif layer.b is not None:
            y += layer.b[..., np.newaxis, np.newaxis]
    return layer.finished(y)


# F(4, 3) with the points 0, 1, -1, 2, -2 and infinity, as Lavin and Gray print it (arXiv:1509.09308), and a tap alone.
OUTPUT = {3: [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], 1: [[1]]}
WEIGHT = {
    3: [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    1: [[1]],
}
INPUT = {
    3: [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    1: [[1]],
}


def conv2d_winograd(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Multiply transformed tiles; where strides, dilations or kernels are others, add up products."""
    layer = Layer.of(input, weight, bias, stride, padding, dilation, groups)
    kernel = layer.w.shape[3:]
    if layer.stride != (1, 1) or layer.dilation != (1, 1) or kernel not in ((3, 3), (1, 3), (3, 1)):
        return conv2d_numpy_float32(input, weight, bias, stride, padding, dilation, groups)
    A, G, B = ([np.array(matrices[k], layer.x.dtype) for k in kernel] for matrices in (OUTPUT, WEIGHT, INPUT))
    tile, points = [len(a) for a in A], [len(b) for b in B]
    positions = [e - k + 1 for e, k in zip(layer.x.shape[3:], kernel, strict=True)]
    # The last tiles hang over the border, into zeros.
    over = [(0, -p % m) for p, m in zip(positions, tile, strict=True)]
    x = np.pad(layer.x, ((0, 0), (0, 0), (0, 0), *over))
    tiles = sliding_window_view(x, points, axis=(3, 4))[..., :: tile[0], :: tile[1], :, :]
    d = B[0] @ tiles @ B[1].T
    w = G[0] @ layer.w @ G[1].T
    y = A[0] @ np.einsum("ngcyxst,gocst->ngoyxst", d, w) @ A[1].T
    N, groups, OCG, TH, TW = y.shape[:5]
    y = y.swapaxes(4, 5).reshape(N, groups, OCG, TH * tile[0], TW * tile[1])
    return layer.finished(y[..., : positions[0], : positions[1]], layer.b)


def conv2d_backward(grad_output, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Return the gradients of input, weight and bias, the last one None without a bias."""
    layer = Layer.of(input, weight, bias, stride, padding, dilation, groups)
    windows = layer.windows
    (N, G, _, OH, OW), OCG = windows.shape[:5], layer.w.shape[1]
    shape = (N, G * OCG, OH, OW) if layer.has_batch else (G * OCG, OH, OW)
    require(grad_output.shape == shape, f"grad_output must have the output's shape {shape}, got {grad_output.shape}")
    require(grad_output.dtype == layer.dtype, "types must be equal")
    g = grad_output.astype(layer.x.dtype).reshape(N, G, OCG, OH, OW)
    dx = np.zeros_like(layer.x)
    for kh, kw in np.ndindex(layer.w.shape[3:]):
        seen = [
            slice(k * d, k * d + (o - 1) * s + 1, s)
            for k, d, o, s in zip((kh, kw), layer.dilation, (OH, OW), layer.stride, strict=True)
        ]
        dx[(..., *seen)] += np.einsum("ngoyx,goc->ngcyx", g, layer.w[..., kh, kw])
    inside = [slice(low, e - high) for (low, high), e in zip(layer.padding, dx.shape[3:], strict=True)]
    dw = np.einsum("ngoyx,ngcyxkl->gockl", g, windows)
    db = None if bias is None else g.sum((0, 3, 4)).reshape(-1).astype(layer.dtype)
    return dx[(..., *inside)].reshape(input.shape).astype(layer.dtype), dw.reshape(weight.shape).astype(layer.dtype), db
