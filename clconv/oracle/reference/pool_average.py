"""Average pooling in one, two and three dimensions, and its gradients, in float64."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NamedTuple, SupportsIndex

import numpy as np

from clconv.oracle.reference.geometry import FloatArray, Padding, Size, requested, require_output_shape, switch
from clconv.oracle.reference.pool_windows import Array, Pool, Windows, choice, sliding_pool

__all__ = [
    "Average",
    "AvgPoolGradients",
    "average_layer",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool3d",
    "avg_pool3d_backward",
    "spread",
    "sums",
]

SEMANTICS = ("torch", "onnx", "tf")


class AvgPoolGradients(NamedTuple):
    """Gradient of average pooling; None where masked."""

    input: FloatArray | None


class Average(NamedTuple):
    """The checked input of average pooling, and what the sum over each window is divided by."""

    pool: Pool
    divisors: FloatArray  # (windows,)


def sums(x: FloatArray, windows: Windows) -> FloatArray:
    """Add up the pixels of each window: (N, C, windows)."""
    with np.errstate(over="ignore", invalid="ignore"):
        total: FloatArray = windows.gather(x, 0.0).sum(axis=-1)
    return total


def spread(terms: FloatArray, windows: Windows) -> FloatArray:
    """Add the term (N, C, windows) of each window to all its pixels: the adjoint of `sums`."""
    return windows.scatter(np.broadcast_to(terms[..., np.newaxis], (*terms.shape, windows.pixels.shape[1])))


def average_layer(
    rank: int,
    input: Array,
    kernel_size: Size,
    stride: Size | None,
    padding: Padding,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: SupportsIndex | None = None,
    *,
    semantics: str,
) -> Average:
    """Check the arguments of `avg_pool2d`, or of its relatives."""
    choice("semantics", semantics, SEMANTICS)
    pool = sliding_pool(rank, input, kernel_size, stride, padding, 1, ceil_mode, semantics)
    counts_padding = switch("count_include_pad", count_include_pad) and semantics != "tf"
    counts = pool.windows.padded_taps if counts_padding else pool.windows.inside.sum(axis=1)
    if divisor_override is not None:
        counts = np.full(counts.shape, _checked_divisor(divisor_override))
    return Average(pool, counts.astype(np.float64))


def _checked_divisor(divisor_override: SupportsIndex) -> int:
    if isinstance(divisor_override, (bool, np.bool_)) or not hasattr(divisor_override, "__index__"):
        raise TypeError(f"divisor_override must be an integer, got divisor_override={divisor_override!r}")
    divisor = operator.index(divisor_override)
    if divisor == 0 or abs(divisor) > np.iinfo(np.int64).max:
        raise ValueError(
            f"divisor_override must not be zero and must fit 64 bits, got divisor_override={divisor_override}"
        )
    return divisor


def _forward(layer: Average) -> FloatArray:
    pool = layer.pool
    return pool.unbatched(pool.windows.image(sums(pool.x, pool.windows) / layer.divisors))


def _backward(grad_output: Array, layer: Average, output_mask: Sequence[bool] | None) -> AvgPoolGradients:
    pool = layer.pool
    g = require_output_shape(grad_output, pool.output_shape, pool.has_batch)
    if not requested(output_mask, AvgPoolGradients._fields)[0]:
        return AvgPoolGradients(None)
    terms = pool.rows(g) / layer.divisors
    return AvgPoolGradients(pool.unbatched(spread(terms, pool.windows)))


def avg_pool1d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    semantics: str = "torch",
) -> FloatArray:
    """Take the mean of each window of a signal: `avg_pool2d` with one spatial axis and no `divisor_override`.

    Parameters, results and errors are those of `avg_pool2d`; (low, high) padding is written ``((1, 2),)``.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool1d(np.array([[2, 4, 6, 9]]), 2, padding=1)
    array([[1. , 5. , 4.5]])
    """
    return _forward(
        average_layer(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, semantics=semantics)
    )


def avg_pool2d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: SupportsIndex | None = None,
    *,
    semantics: str = "torch",
) -> FloatArray:
    """Take the mean of each window of an image.

    ``y[n, c, oh, ow] = sum(xp[n, c, oh*SH + kh, ow*SW + kw] for kh, kw) / divisor`` with the input xp padded
    with zeros.

    Parameters
    ----------
    input : (N, C, IH, IW) or (C, IH, IW)
    kernel_size : int or (KH, KW)
    stride : int or (SH, SW), optional
        By default `kernel_size`.
    padding : int, tuple or str
        An integer, one integer for each axis, one (low, high) pair for each axis, or one of the words of
        `conv2d`. Integers are at most half of `kernel_size`, as in torch.
    ceil_mode : bool
        Add a last window that goes beyond the padded input, where the stride does not divide what is left;
        but none that starts in the padding on the high side.
    count_include_pad : bool
        Whether the divisor counts the taps on the padding. It never counts those beyond it.
    divisor_override : int, optional
        What every sum is divided by; not zero.
    semantics : str
        "torch"; "onnx": integers for padding are not limited to half of `kernel_size`; or "tf": nor are
        they, and the divisor never counts the padding, whatever `count_include_pad`. TensorFlow's "SAME" is
        the padding "same_upper", its "VALID" is "valid".

    Returns
    -------
    (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    ValueError
        If there are no channels or no pixels, the window is larger than the padded input, a window has no
        pixel, or a parameter is out of range.
    TypeError
        If `input` is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[1, 2, 3], [4, 5, 6]]])
    >>> avg_pool2d(x, 2, ceil_mode=True)
    array([[[3. , 4.5]]])
    >>> avg_pool2d(x, 2, padding=1, count_include_pad=False)
    array([[[1. , 2.5],
            [4. , 5.5]]])
    """
    layer = average_layer(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, semantics=semantics
    )
    return _forward(layer)


def avg_pool3d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: SupportsIndex | None = None,
    *,
    semantics: str = "torch",
) -> FloatArray:
    """Take the mean of each window of a volume: `avg_pool2d` with three spatial axes.

    Parameters, results and errors are those of `avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool3d(np.arange(8).reshape(1, 2, 2, 2), 2, divisor_override=4)
    array([[[[7.]]]])
    """
    layer = average_layer(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, semantics=semantics
    )
    return _forward(layer)


def avg_pool1d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    semantics: str = "torch",
    output_mask: Sequence[bool] | None = None,
) -> AvgPoolGradients:
    """Gradient of ``sum(grad_output * avg_pool1d(...))``: `avg_pool2d_backward` with one spatial axis.

    Parameters, results and errors are those of `avg_pool2d_backward`, without `divisor_override`.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool1d_backward(np.array([[2, 8]]), np.zeros((1, 3)), 2, stride=1)
    AvgPoolGradients(input=array([[1., 5., 4.]]))
    """
    layer = average_layer(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, semantics=semantics)
    return _backward(grad_output, layer, output_mask)


def avg_pool2d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: SupportsIndex | None = None,
    *,
    semantics: str = "torch",
    output_mask: Sequence[bool] | None = None,
) -> AvgPoolGradients:
    """Gradient of ``sum(grad_output * avg_pool2d(...))``.

    Each pixel gets the sum of ``grad_output / divisor`` over the windows that it is in.

    Parameters
    ----------
    grad_output : (N, C, OH, OW) or (C, OH, OW)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, semantics
        As in `avg_pool2d`; only the shape of `input` matters.

    Returns
    -------
    AvgPoolGradients

    Raises
    ------
    ValueError
        As `avg_pool2d`, and if `grad_output` does not have the output's shape or `output_mask` not one entry.
    TypeError
        As `avg_pool2d`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool2d_backward(np.array([[[4, 6]]]), np.zeros((1, 2, 3)), 2, ceil_mode=True).input
    array([[[1., 1., 3.],
            [1., 1., 3.]]])
    """
    layer = average_layer(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, semantics=semantics
    )
    return _backward(grad_output, layer, output_mask)


def avg_pool3d_backward(
    grad_output: Array,
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: SupportsIndex | None = None,
    *,
    semantics: str = "torch",
    output_mask: Sequence[bool] | None = None,
) -> AvgPoolGradients:
    """Gradient of ``sum(grad_output * avg_pool3d(...))``: `avg_pool2d_backward` with three spatial axes.

    Parameters, results and errors are those of `avg_pool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool3d_backward(np.array([[[[8]]]]), np.zeros((1, 1, 2, 2)), (1, 2, 2)).input
    array([[[[2., 2.],
             [2., 2.]]]])
    """
    layer = average_layer(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, semantics=semantics
    )
    return _backward(grad_output, layer, output_mask)
