"""Windows as columns (unfold), the sum of overlapping columns (fold), and their gradients, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import (
    FloatArray,
    Padding,
    Size,
    Sizes,
    Window,
    batched,
    requested,
    require_output_shape,
    scatter,
    sizes,
)

__all__ = [
    "FoldGradients",
    "UnfoldGradients",
    "fold",
    "fold_backward",
    "unfold",
    "unfold_backward",
]

Array = NDArray[Any]


class UnfoldGradients(NamedTuple):
    """Gradient of `unfold`; None where masked."""

    input: FloatArray | None


class FoldGradients(NamedTuple):
    """Gradient of `fold`; None where masked."""

    input: FloatArray | None


def unfold(
    input: Array,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Padding = 0,
    stride: Size = 1,
    *,
    padding_mode: str = "zeros",
) -> FloatArray:
    """Copy every window of an image into a column.

    ``y[n, (c*KH + kh)*KW + kw, oh*OW + ow] = xp[n, c, oh*SH + kh*DH, ow*SW + kw*DW]`` in two dimensions,
    with the padded input xp.

    Parameters
    ----------
    input : (N, C, *extent) or (C, *extent)
    kernel_size : int or tuple
        A tuple also says how many spatial axes there are, 1 to 3; with an integer there are two.
    dilation, padding, stride, padding_mode
        As in `conv2d`.

    Returns
    -------
    (N, C*prod(kernel_size), L) or (C*prod(kernel_size), L)
        L is the number of windows.

    Raises
    ------
    ValueError
        If `input` has the wrong number of axes, the window is larger than the padded input, or a parameter
        is out of range.
    TypeError
        If `input` is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> unfold(np.array([[[1, 2, 3], [4, 5, 6]]]), 2)
    array([[1., 2.],
           [2., 3.],
           [4., 5.],
           [5., 6.]])
    >>> unfold(np.array([[1, 2, 3]]), (2,), padding=((0, 1),), padding_mode="circular")
    array([[1., 2., 3.],
           [2., 3., 1.]])
    """
    x, has_batch, window = _over_input(input, kernel_size, dilation, padding, stride, padding_mode)
    y = _columns(window.pad(x), window)
    return y if has_batch else y[0]


def fold(
    input: Array,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Padding = 0,
    stride: Size = 1,
    *,
    padding_mode: str = "zeros",
) -> FloatArray:
    """Add up columns where their windows overlap: the adjoint of `unfold`.

    ``y[n, c, p] = sum(x[n, c*prod(K) + k, o] for all taps k and positions o whose pixel in unfold is p)``.

    Parameters
    ----------
    input : (N, C*prod(kernel_size), L) or (C*prod(kernel_size), L)
    output_size : int or tuple
        Extent of the image.
    kernel_size : int or tuple
        A tuple also says how many spatial axes there are, 1 to 3; with an integer there are two.
    dilation, padding, stride, padding_mode
        Those of `unfold` over an image of `output_size`.

    Returns
    -------
    (N, C, *output_size) or (C, *output_size)

    Raises
    ------
    ValueError
        If `input` does not hold C*prod(kernel_size) channels and one column for each window, the window is
        larger than the padded output, or a parameter is out of range.
    TypeError
        If `input` is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> fold(np.array([[1, 2, 3], [10, 20, 30]]), (4,), (2,))
    array([[ 1., 12., 23., 30.]])
    """
    x, has_batch, window = _over_output(input, output_size, kernel_size, dilation, padding, stride, padding_mode)
    y = _folded(x, window)
    return y if has_batch else y[0]


def unfold_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Padding = 0,
    stride: Size = 1,
    *,
    padding_mode: str = "zeros",
    output_mask: Sequence[bool] | None = None,
) -> UnfoldGradients:
    """Gradient of ``sum(grad_output * unfold(...))``: `fold` of `grad_output`.

    Parameters
    ----------
    grad_output : (N, C*prod(kernel_size), L) or (C*prod(kernel_size), L)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, kernel_size, dilation, padding, stride, padding_mode
        As in `unfold`; only the shape of `input` matters.

    Returns
    -------
    UnfoldGradients

    Raises
    ------
    ValueError
        As `unfold`, and if `grad_output` does not have the output's shape or `output_mask` not one entry.
    TypeError
        As `unfold`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> unfold_backward(np.array([[1, 2, 3], [10, 20, 30]]), np.zeros((1, 4)), (2,))
    UnfoldGradients(input=array([[ 1., 12., 23., 30.]]))
    """
    x, has_batch, window = _over_input(input, kernel_size, dilation, padding, stride, padding_mode)
    shape = (x.shape[0], x.shape[1] * math.prod(window.kernel), math.prod(window.positions))
    g = require_output_shape(grad_output, shape, has_batch)
    if not requested(output_mask, UnfoldGradients._fields)[0]:
        return UnfoldGradients(None)
    dx = _folded(g, window)
    return UnfoldGradients(dx if has_batch else dx[0])


def fold_backward(
    grad_output: Array,
    input: Array,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Padding = 0,
    stride: Size = 1,
    *,
    padding_mode: str = "zeros",
    output_mask: Sequence[bool] | None = None,
) -> FoldGradients:
    """Gradient of ``sum(grad_output * fold(...))``: `unfold` of `grad_output`.

    Parameters
    ----------
    grad_output : (N, C, *output_size) or (C, *output_size)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, output_size, kernel_size, dilation, padding, stride, padding_mode
        As in `fold`; only the shape of `input` matters.

    Returns
    -------
    FoldGradients

    Raises
    ------
    ValueError
        As `fold`, and if `grad_output` does not have the output's shape or `output_mask` not one entry.
    TypeError
        As `fold`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> fold_backward(np.array([[1, 2, 3, 4]]), np.zeros((2, 3)), (4,), (2,)).input
    array([[1., 2., 3.],
           [2., 3., 4.]])
    """
    x, has_batch, window = _over_output(input, output_size, kernel_size, dilation, padding, stride, padding_mode)
    shape = (x.shape[0], x.shape[1] // math.prod(window.kernel), *window.extent)
    g = require_output_shape(grad_output, shape, has_batch)
    if not requested(output_mask, FoldGradients._fields)[0]:
        return FoldGradients(None)
    dx = _columns(window.pad(g), window)
    return FoldGradients(dx if has_batch else dx[0])


def _kernel(kernel_size: Size) -> Sizes:
    """Return the kernel's extent, which decides the number of spatial axes."""
    rank = len(kernel_size) if isinstance(kernel_size, (tuple, list)) else 2
    if not 1 <= rank <= 3:
        raise ValueError(f"kernel_size has 1 to 3 axes, got kernel_size={kernel_size!r}")
    return sizes("kernel_size", kernel_size, rank, 1)


def _over_input(
    input: Array, kernel_size: Size, dilation: Size, padding: Padding, stride: Size, padding_mode: str
) -> tuple[FloatArray, bool, Window]:
    kernel = _kernel(kernel_size)
    x, has_batch = batched("input", input, len(kernel) + 2)
    window = Window.over("input", x.shape[2:], kernel, stride, padding, dilation, padding_mode)
    return x, has_batch, window


def _over_output(
    input: Array,
    output_size: Size,
    kernel_size: Size,
    dilation: Size,
    padding: Padding,
    stride: Size,
    padding_mode: str,
) -> tuple[FloatArray, bool, Window]:
    kernel = _kernel(kernel_size)
    x, has_batch = batched("input", input, 3)
    extent = sizes("output_size", output_size, len(kernel), 1)
    window = Window.over("output_size", extent, kernel, stride, padding, dilation, padding_mode)
    taps, columns = math.prod(kernel), math.prod(window.positions)
    if x.shape[1] % taps:
        raise ValueError(
            f"input must hold a multiple of {taps} channels, one for each tap of kernel_size={kernel}, "
            f"got input.shape={input.shape}"
        )
    if x.shape[2] != columns:
        raise ValueError(
            f"input must hold {columns} columns, one for each window, got input.shape={input.shape}: "
            f"output_size={extent}, kernel_size={kernel}, window positions={window.positions}"
        )
    return x, has_batch, window


def _columns(xp: NDArray[Any], window: Window) -> NDArray[Any]:
    """Turn padded images (N, C, *padded) into (N, C*taps, positions)."""
    N, C, rank = *xp.shape[:2], len(window.kernel)
    every = [slice(None, None, step) for step in (*window.stride, *window.dilation)]
    views = sliding_window_view(xp, window.span, axis=tuple(range(2, 2 + rank)))
    taps_first = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    taps, positions = math.prod(window.kernel), math.prod(window.positions)
    columns = views[(slice(None), slice(None), *every)].transpose(taps_first)
    return columns.copy().reshape(N, C * taps, positions)


def _folded(x: FloatArray, window: Window) -> FloatArray:
    """Turn (N, C*taps, positions) into images (N, C, *extent), each column's element added to its source."""
    sources = _columns(window.sources()[np.newaxis, np.newaxis], window)
    taps = math.prod(window.kernel)
    return scatter(x.reshape(x.shape[0], x.shape[1] // taps, taps * x.shape[2]), sources, window.extent)
