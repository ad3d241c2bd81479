"""Max pooling in one, two and three dimensions, and its gradients."""

from __future__ import annotations

from typing import Any

from clconv.functional._pool import PoolGradients, checked, checked_pair, gradient, maxima
from clconv.functional._repeat import repeatable
from clconv.functional.epilogue import Epilogue
from clconv.problem import MaxPoolProblem

__all__ = [
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool3d",
    "max_pool3d_backward",
]


@repeatable
def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    return_indices: Any = False,
    *,
    ties: str = "first",
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the maximum of each window of a signal: :func:`max_pool2d` with one spatial axis.

    Examples
    --------
    >>> import numpy
    >>> max_pool1d(numpy.array([[1, 5, 2, 4, 3]], "float32"), 2, ceil_mode=True, return_indices=True)
    (array([[5., 4., 3.]], dtype=float32), array([[1, 3, 4]]))
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _forward(1, input, window, return_indices, ties, epilogue, out, device)


@repeatable
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    return_indices: Any = False,
    *,
    ties: str = "first",
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the maximum of each window of an image.

    ``y[n, c, oh, ow] = max(x[n, c, oh*SH - PH + kh*DH, ow*SW - PW + kw*DW] for kh, kw)`` over the taps that are on the
    image: padding is never selected. NaN is larger than every number.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, IH, IW), or (C, IH, IW) without a batch. float16, float32 or float64, any strides.
    kernel_size : int or sequence of int
        Taps per axis.
    stride : int or sequence of int, optional
        Step from one window to the next; by default `kernel_size`, so that windows do not overlap.
    padding : int, sequence of int, sequence of pairs, or str
        As for :func:`clconv.conv2d`. Integers are at most half of `kernel_size`, dilation not counted, as in torch;
        (low, high) pairs may be larger as long as every window has a tap on the image.
    dilation : int or sequence of int
        Step between the taps of a window; 1 skips nothing.
    ceil_mode : bool
        Whether to add a last window that goes beyond the padded input, where the stride leaves a rest. As in torch, it
        is left out if it would start in the padding on the high side.
    return_indices : bool
        Whether to return the places of the maxima, too.
    ties : {"first", "all", "share"}
        To which of equal maxima the gradient goes: see :func:`max_pool2d_backward`. It does not change the output.
    epilogue : clconv.Epilogue, optional
        What is done to the maxima before they are stored: scale, shift, a residual, an activation. Places stay.
    out : array, optional
        Where to write the output: of its exact shape and dtype, not overlapping the input.
    device : str or object of pyopencl, optional
        Where to compute; see :func:`clconv.use`.

    Returns
    -------
    array of the kind of ``input``, or a tuple of two
        Shape (N, C, OH, OW), or (C, OH, OW). With `return_indices` also an int64 array of that shape: the first place
        ``ih*IW + iw`` in the plane that has the maximum.

    Raises
    ------
    ValueError
        If shapes and arguments do not fit each other, or a window would lie wholly in the padding.
    TypeError
        If an argument has the wrong type.
    Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.array([[[1, 2, 3], [9, 5, 4], [7, 8, 6]]], "float32")
    >>> max_pool2d(x, 2, stride=1)
    array([[[9., 5.],
            [9., 8.]]], dtype=float32)
    >>> max_pool2d(x, (3, 2), padding=((0, 0), (1, 0)), return_indices=True)[1]
    array([[[3, 7]]])
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _forward(2, input, window, return_indices, ties, epilogue, out, device)


@repeatable
def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    return_indices: Any = False,
    *,
    ties: str = "first",
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the maximum of each window of a volume: :func:`max_pool2d` with three spatial axes.

    Examples
    --------
    >>> import numpy
    >>> max_pool3d(numpy.arange(8, dtype="float32").reshape(1, 2, 2, 2), (2, 1, 2))
    array([[[[5.],
             [7.]]]], dtype=float32)
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _forward(3, input, window, return_indices, ties, epilogue, out, device)


@repeatable
def max_pool1d_backward(
    grad_output: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    return_indices: Any = False,
    *,
    ties: str = "first",
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`max_pool1d`: :func:`max_pool2d_backward` with one spatial axis.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.array([[3, 4, 4]], "float32"), numpy.array([[1, 10]], "float32")
    >>> max_pool1d_backward(g, x, 2, stride=1).input
    array([[ 0., 11.,  0.]], dtype=float32)
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _backward(1, grad_output, input, window, return_indices, ties, output_mask, device)


@repeatable
def max_pool2d_backward(
    grad_output: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    return_indices: Any = False,
    *,
    ties: str = "first",
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`max_pool2d`: each pixel gets the sum over the windows that selected it.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    ties : {"first", "all", "share"}
        Which pixels a window selects where several have its maximum, or are NaN: the first in row-major order, as torch
        does for numbers; all of them; or all of them with equal parts of the gradient.
    output_mask : sequence of one bool, optional
        Whether to compute it.
    input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, device
        As :func:`max_pool2d` was called with.

    Returns
    -------
    PoolGradients
        A named tuple of one field, ``input``.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.array([[[7, 2], [7, 7]]], "float32"), numpy.array([[[12]]], "float32")
    >>> [max_pool2d_backward(g, x, 2, ties=ties).input.tolist() for ties in ("first", "all", "share")]
    [[[[12.0, 0.0], [0.0, 0.0]]], [[[12.0, 0.0], [12.0, 12.0]]], [[[4.0, 0.0], [4.0, 4.0]]]]
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _backward(2, grad_output, input, window, return_indices, ties, output_mask, device)


@repeatable
def max_pool3d_backward(
    grad_output: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    return_indices: Any = False,
    *,
    ties: str = "first",
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`max_pool3d`: :func:`max_pool2d_backward` with three spatial axes.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.array([[[[3, 1, 4]]]], "float32"), numpy.array([[[[5]]]], "float32")
    >>> max_pool3d_backward(g, x, (1, 1, 3)).input
    array([[[[0., 0., 5.]]]], dtype=float32)
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _backward(3, grad_output, input, window, return_indices, ties, output_mask, device)


def _forward(
    rank: int,
    input: Any,
    window: tuple[Any, ...],
    return_indices: Any,
    ties: str,
    epilogue: Epilogue | None,
    out: Any,
    device: Any,
) -> Any:
    arrays, dtype = checked(input, epilogue)
    shape = arrays["input"].shape
    problem = MaxPoolProblem.sliding(rank, shape, *window, dtype=dtype, indices=return_indices, ties=ties)
    return maxima(problem, arrays, out, device, epilogue)


def _backward(
    rank: int,
    grad_output: Any,
    input: Any,
    window: tuple[Any, ...],
    return_indices: Any,
    ties: str,
    output_mask: Any,
    device: Any,
) -> PoolGradients:
    dy, x, dtype = checked_pair(grad_output, input)
    problem = MaxPoolProblem.sliding(rank, x.shape, *window, dtype=dtype, indices=return_indices, ties=ties)
    return gradient("max_pool_bwd", problem, dy, x, output_mask, device)
