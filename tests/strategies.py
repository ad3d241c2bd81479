"""Hypothesis strategies: windows that fit, convolutions, memory layouts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

PADDING_MODES = ("zeros", "reflect", "replicate", "circular", "symmetric")
DTYPES = ("float16", "float32", "float64")
LAYOUTS = (
    "contiguous",
    "fortran",
    "channels_last",
    "interleaved",
    "reversed",
    "sliced",
    "inside",
    "broadcast",
    "swapped",
    "misaligned",
)


@dataclass(frozen=True)
class Axis:
    """A window along one axis that fits exactly, up to less than one stride of slack."""

    kernel: int
    stride: int
    dilation: int
    low: int
    high: int
    output: int
    extent: int


@st.composite
def axes(draw, padding_mode):
    """Draw an axis, of more than one tap and more than one output far more often than not."""
    unit = draw(st.sampled_from((*("neither",) * 16, "kernel", "output")))
    kernel = 1 if unit == "kernel" else draw(st.sampled_from((2, 3, 4)))
    stride, dilation = draw(st.sampled_from((1, 2, 1, 3))), draw(st.sampled_from((1, 1, 2, 3)))
    output = 1 if unit == "output" else draw(st.sampled_from((2, 3, 4, 5)))
    span = dilation * (kernel - 1) + 1
    padded = (output - 1) * stride + span + draw(st.integers(0, stride - 1))
    low, high = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    while not _fits(padded, low, high, padding_mode):
        low, high = (low - 1, high) if low >= high else (low, high - 1)
    return Axis(kernel, stride, dilation, low, high, output, padded - low - high)


def _fits(padded, low, high, padding_mode):
    extent = padded - low - high
    deepest = {"zeros": 3, "replicate": 3, "reflect": extent - 1}.get(padding_mode, extent)
    return extent >= 1 and max(low, high) <= deepest


@dataclass(frozen=True)
class Convolution:
    """A convolution's shapes and arguments, and how its arrays are to lie in memory."""

    operation: str
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    output_channels: int
    arguments: dict[str, Any]
    dtype: str
    layouts: tuple[str, str, str]
    bias: bool
    terms: int
    axes: tuple[Axis, ...] = field(repr=False)
    seed: int = 0


@st.composite
def convolutions(draw, transposed=False):
    """Draw a convolution, or transposed convolution, over one to three axes."""
    rank = draw(st.sampled_from((1, 2, 2, 3)))
    padding_mode = draw(st.sampled_from(PADDING_MODES))
    windows = tuple(draw(axes(padding_mode)) for _ in range(rank))
    N, G = draw(st.sampled_from((1, 2, 2, 3))), draw(st.sampled_from((1, 1, 2, 3)))
    ICG, OCG = draw(st.sampled_from((1, 2, 3))), draw(st.sampled_from((1, 2, 3)))
    batched = draw(st.booleans()) or N > 1
    kernel = tuple(axis.kernel for axis in windows)
    data = (N,) * batched + (G * ICG, *(axis.extent for axis in windows))
    result = (N,) * batched + (G * OCG, *(axis.output for axis in windows))
    arguments = {
        "stride": tuple(axis.stride for axis in windows),
        "padding": tuple((axis.low, axis.high) for axis in windows),
        "dilation": tuple(axis.dilation for axis in windows),
        "groups": G,
        "padding_mode": padding_mode,
        "flip": draw(st.booleans()),
    }
    if transposed:
        least = [(a.output - 1) * a.stride + a.dilation * (a.kernel - 1) + 1 - a.low - a.high for a in windows]
        arguments["output_padding"] = tuple(axis.extent - extent for axis, extent in zip(windows, least, strict=True))
    taps, outputs = int(np.prod(kernel)), int(np.prod([axis.output for axis in windows]))
    return Convolution(
        operation=f"conv_transpose{rank}d" if transposed else f"conv{rank}d",
        input_shape=result if transposed else data,
        output_shape=data if transposed else result,
        weight_shape=(G * OCG, ICG, *kernel),
        output_channels=G * ICG if transposed else G * OCG,
        arguments=arguments,
        dtype=draw(st.sampled_from(DTYPES)),
        layouts=(draw(layouts), draw(layouts), draw(layouts)),
        bias=draw(st.booleans()),
        # Replicated padding reads a position once for each of its images, which lengthens the gradients' sums.
        terms=max(ICG, OCG) * taps * 4**rank + N * outputs,
        axes=windows,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


layouts = st.sampled_from(LAYOUTS)


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """Return an array with the same values in another memory layout; "broadcast" repeats the first index's values."""
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "channels_last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1) if array.ndim > 1 else array
    if layout == "interleaved":  # every second axis outside: neighbouring axes do not merge
        order = [*range(0, array.ndim, 2), *range(1, array.ndim, 2)]
        return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))
    if layout == "reversed":
        backwards = tuple(slice(None, None, -1) for _ in array.shape)
        return np.ascontiguousarray(array[backwards])[backwards]
    if layout == "sliced":
        wide = np.full(tuple(2 * extent + 1 for extent in array.shape), np.nan, array.dtype)
        wide[tuple(slice(1, None, 2) for _ in array.shape)] = array
        return wide[tuple(slice(1, None, 2) for _ in array.shape)]
    if layout == "inside":
        wide = np.full(tuple(extent + 3 for extent in array.shape), np.nan, array.dtype)
        middle = tuple(slice(2, 2 + extent) for extent in array.shape)
        wide[middle] = array
        return wide[middle]
    if layout == "broadcast":
        return np.broadcast_to(array[:1], array.shape)
    if layout == "swapped":
        return array.astype(array.dtype.newbyteorder())
    if layout == "misaligned":
        records = np.zeros(array.shape, np.dtype([("flag", np.uint8), ("value", array.dtype)]))
        records["value"] = array
        return records["value"]
    return np.ascontiguousarray(array)
