"""Max pooling in one, two and three dimensions, and its gradients, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, Padding, Size, requested, require_output_shape, switch
from clconv.oracle.reference.pool_windows import Array, Pool, Windows, choice, sliding_pool

__all__ = [
    "MaxPoolGradients",
    "first_winners",
    "max_layer",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool3d",
    "max_pool3d_backward",
    "selected",
    "winners",
]

Indices = NDArray[np.int64]
Winners = NDArray[np.bool_]
Maxima = FloatArray | tuple[FloatArray, Indices]

TIES = ("first", "all", "share")
SEMANTICS = ("torch", "onnx")


class MaxPoolGradients(NamedTuple):
    """Gradient of max pooling; None where masked."""

    input: FloatArray | None


def winners(x: FloatArray, windows: Windows) -> Winners:
    """Mark, among the taps (N, C, windows, taps), the pixels that are the maximum of their window.

    NaN wins over everything; padding over nothing, also where all pixels are -inf.
    """
    values = windows.gather(x, -np.inf)
    won: Winners = windows.inside & ((values == values.max(axis=-1, keepdims=True)) | np.isnan(values))
    return won


def first_winners(x: FloatArray, windows: Windows) -> Winners:
    """Keep the first winner of each window."""
    won = winners(x, windows)
    first: Winners = won & (np.cumsum(won, axis=-1) == 1)
    return first


def selected(x: FloatArray, windows: Windows) -> tuple[FloatArray, Indices]:
    """Return each window's maximum and the flat index of the first pixel that has it, as (N, C, windows)."""
    first = first_winners(x, windows).argmax(axis=-1)
    indices = windows.pixels[np.arange(len(windows.pixels)), first].astype(np.int64)
    planes = x.reshape(*x.shape[:2], math.prod(windows.extent))
    return np.take_along_axis(planes, indices, axis=-1), indices


def max_layer(
    rank: int,
    input: Array,
    kernel_size: Size,
    stride: Size | None,
    padding: Padding,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
    ties: str,
    semantics: str,
) -> Pool:
    """Check the arguments of `max_pool2d`, or of its relatives."""
    choice("ties", ties, TIES)
    choice("semantics", semantics, SEMANTICS)
    switch("return_indices", return_indices)
    return sliding_pool(rank, input, kernel_size, stride, padding, dilation, ceil_mode, semantics)


def _forward(pool: Pool, return_indices: bool, semantics: str) -> Maxima:
    y, indices = (pool.windows.image(values) for values in selected(pool.x, pool.windows))
    if not return_indices:
        return pool.unbatched(y)
    if semantics == "onnx":
        first = np.arange(math.prod(pool.x.shape[:2])) * math.prod(pool.windows.extent)
        indices = indices + first.reshape(*pool.x.shape[:2], *(1,) * len(pool.windows.extent))
    return pool.unbatched(y), pool.unbatched(indices)


def _backward(grad_output: Array, pool: Pool, ties: str, output_mask: Sequence[bool] | None) -> MaxPoolGradients:
    g = require_output_shape(grad_output, pool.output_shape, pool.has_batch)
    if not requested(output_mask, MaxPoolGradients._fields)[0]:
        return MaxPoolGradients(None)
    g = pool.rows(g)[..., np.newaxis]
    won = (first_winners if ties == "first" else winners)(pool.x, pool.windows)
    if ties == "share":
        g = g / won.sum(axis=-1, keepdims=True)
    return MaxPoolGradients(pool.unbatched(pool.windows.scatter(np.where(won, g, 0.0))))


def max_pool1d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    ties: str = "first",
    semantics: str = "torch",
) -> Maxima:
    """Take the maximum of each window of a signal: `max_pool2d` with one spatial axis.

    Parameters, results and errors are those of `max_pool2d`; (low, high) padding is written ``((1, 2),)``.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool1d(np.array([[1, 5, 2, 4, 3]]), 2, ceil_mode=True, return_indices=True)
    (array([[5., 4., 3.]]), array([[1, 3, 4]]))
    """
    pool = max_layer(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, ties, semantics)
    return _forward(pool, return_indices, semantics)


def max_pool2d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    ties: str = "first",
    semantics: str = "torch",
) -> Maxima:
    """Take the maximum of each window of an image.

    ``y[n, c, oh, ow] = max(x[n, c, oh*SH - PH + kh*DH, ow*SW - PW + kw*DW] for kh, kw)`` over the taps that
    are on the image: the padding is minus infinity and is never selected.

    Parameters
    ----------
    input : (N, C, IH, IW) or (C, IH, IW)
    kernel_size : int or (KH, KW)
    stride : int or (SH, SW), optional
        By default `kernel_size`.
    padding : int, tuple or str
        An integer, one integer for each axis, one (low, high) pair for each axis, or one of the words of
        `conv2d`. Integers are at most half of `kernel_size`, not counting dilation, as in torch.
    dilation : int or (DH, DW)
        Distance of neighbouring taps.
    ceil_mode : bool
        Add a last window that goes beyond the padded input, where the stride does not divide what is left;
        but none that starts in the padding on the high side.
    return_indices : bool
        Whether to return where the maxima are, too.
    ties : str
        Matters to the gradient only, see `max_pool2d_backward`.
    semantics : str
        "torch", or "onnx": integers for padding are not limited to half of `kernel_size`, and indices count
        through the whole array.

    Returns
    -------
    (N, C, OH, OW) or (C, OH, OW)
        With `return_indices`, a tuple of it and of int64 indices in the same shape: ``ih*IW + iw`` of the
        first pixel, in row-major order, that has the maximum. NaN is greater than any number. Of several NaN,
        too, the index is that of the first; torch gives the last on a CPU.

    Raises
    ------
    ValueError
        If there are no channels or no pixels, the window is larger than the padded input, a window has no
        pixel (torch returns minus infinity where dilation lets that happen), or a parameter is out of range.
    TypeError
        If `input` is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[1, 2, 3], [9, 5, 4], [7, 8, 6]]])
    >>> max_pool2d(x, 2, stride=1)
    array([[[9., 5.],
            [9., 8.]]])
    >>> max_pool2d(x, (3, 2), padding=((0, 0), (1, 0)), return_indices=True)[1]
    array([[[3, 7]]])
    """
    pool = max_layer(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, ties, semantics)
    return _forward(pool, return_indices, semantics)


def max_pool3d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    ties: str = "first",
    semantics: str = "torch",
) -> Maxima:
    """Take the maximum of each window of a volume: `max_pool2d` with three spatial axes.

    Parameters, results and errors are those of `max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool3d(np.arange(8).reshape(1, 2, 2, 2), (2, 1, 2))
    array([[[[5.],
             [7.]]]])
    """
    pool = max_layer(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, ties, semantics)
    return _forward(pool, return_indices, semantics)


def max_pool1d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    ties: str = "first",
    semantics: str = "torch",
    output_mask: Sequence[bool] | None = None,
) -> MaxPoolGradients:
    """Gradient of ``sum(grad_output * max_pool1d(...))``: `max_pool2d_backward` with one spatial axis.

    Parameters, results and errors are those of `max_pool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool1d_backward(np.array([[1, 10]]), np.array([[3, 4, 4]]), 2, stride=1)
    MaxPoolGradients(input=array([[ 0., 11.,  0.]]))
    """
    pool = max_layer(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, ties, semantics)
    return _backward(grad_output, pool, ties, output_mask)


def max_pool2d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    ties: str = "first",
    semantics: str = "torch",
    output_mask: Sequence[bool] | None = None,
) -> MaxPoolGradients:
    """Gradient of ``sum(grad_output * max_pool2d(...))``.

    Each pixel gets the sum of `grad_output` over the windows that selected it.

    Parameters
    ----------
    grad_output : (N, C, OH, OW) or (C, OH, OW)
    ties : str
        Which pixels a window selects where several have its maximum (or are NaN): the "first" in row-major
        order, as torch does on a CPU for numbers, "all" of them, or all of them with equal parts of the
        gradient, "share".
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, semantics
        As in `max_pool2d`.

    Returns
    -------
    MaxPoolGradients

    Raises
    ------
    ValueError
        As `max_pool2d`, and if `grad_output` does not have the output's shape or `output_mask` not one entry.
    TypeError
        As `max_pool2d`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> x, g = np.array([[[7, 2], [7, 7]]]), np.array([[[12]]])
    >>> [max_pool2d_backward(g, x, 2, ties=ties).input.tolist() for ties in ("first", "all", "share")]
    [[[[12.0, 0.0], [0.0, 0.0]]], [[[12.0, 0.0], [12.0, 12.0]]], [[[4.0, 0.0], [4.0, 4.0]]]]
    """
    pool = max_layer(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, ties, semantics)
    return _backward(grad_output, pool, ties, output_mask)


def max_pool3d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    ties: str = "first",
    semantics: str = "torch",
    output_mask: Sequence[bool] | None = None,
) -> MaxPoolGradients:
    """Gradient of ``sum(grad_output * max_pool3d(...))``: `max_pool2d_backward` with three spatial axes.

    Parameters, results and errors are those of `max_pool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool3d_backward(np.array([[[[5]]]]), np.array([[[[3, 1, 4]]]]), (1, 1, 3)).input
    array([[[[0., 0., 5.]]]])
    """
    pool = max_layer(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, ties, semantics)
    return _backward(grad_output, pool, ties, output_mask)
