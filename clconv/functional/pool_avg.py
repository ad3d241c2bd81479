"""Average pooling in one, two and three dimensions, and its gradients."""

from __future__ import annotations

from typing import Any

from clconv.functional._pool import PoolGradients, checked, checked_pair, gradient, reduced
from clconv.functional._repeat import repeatable
from clconv.functional.epilogue import Epilogue
from clconv.problem import AvgPoolProblem

__all__ = [
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool3d",
    "avg_pool3d_backward",
]


@repeatable
def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the mean of each window of a signal: :func:`avg_pool2d` with one spatial axis and no `divisor_override`.

    Examples
    --------
    >>> import numpy
    >>> avg_pool1d(numpy.array([[2, 4, 6, 9]], "float32"), 2, padding=1)
    array([[1. , 5. , 4.5]], dtype=float32)
    """
    window = (kernel_size, stride, padding, 1, ceil_mode)
    return _forward(1, input, window, count_include_pad, None, epilogue, out, device)


@repeatable
def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the mean of each window of an image.

    ``y[n, c, oh, ow] = sum(x[n, c, oh*SH - PH + kh, ow*SW - PW + kw] for kh, kw) / divisor`` over the taps that are on
    the image. Sums of halves are taken in single precision.

    Parameters
    ----------
    ceil_mode : bool
        As for :func:`max_pool2d`. What the added window has beyond the padding is never counted.
    count_include_pad : bool
        Whether the divisor counts the taps on the padding, or those on the image alone.
    divisor_override : int, optional
        What every sum is divided by instead; not 0.
    epilogue : clconv.Epilogue, optional
        What is done to the means before they are stored: scale, shift, a residual, an activation.
    input, kernel_size, stride, padding, out, device
        As for :func:`max_pool2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (N, C, OH, OW), or (C, OH, OW).

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`max_pool2d` does.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.array([[[1, 2, 3], [4, 5, 6]]], "float32")
    >>> avg_pool2d(x, 2, ceil_mode=True)
    array([[[3. , 4.5]]], dtype=float32)
    >>> avg_pool2d(x, 2, padding=1, count_include_pad=False)
    array([[[1. , 2.5],
            [4. , 5.5]]], dtype=float32)
    """
    window = (kernel_size, stride, padding, 1, ceil_mode)
    return _forward(2, input, window, count_include_pad, divisor_override, epilogue, out, device)


@repeatable
def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the mean of each window of a volume: :func:`avg_pool2d` with three spatial axes.

    Examples
    --------
    >>> import numpy
    >>> avg_pool3d(numpy.arange(8, dtype="float32").reshape(1, 2, 2, 2), 2, divisor_override=4)
    array([[[[7.]]]], dtype=float32)
    """
    window = (kernel_size, stride, padding, 1, ceil_mode)
    return _forward(3, input, window, count_include_pad, divisor_override, epilogue, out, device)


@repeatable
def avg_pool1d_backward(
    grad_output: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`avg_pool1d`: :func:`avg_pool2d_backward` with one spatial axis.

    Examples
    --------
    >>> import numpy
    >>> avg_pool1d_backward(numpy.array([[2, 8]], "float32"), numpy.zeros((1, 3), "float32"), 2, stride=1).input
    array([[1., 5., 4.]], dtype=float32)
    """
    window = (kernel_size, stride, padding, 1, ceil_mode)
    return _backward(1, grad_output, input, window, count_include_pad, None, output_mask, device)


@repeatable
def avg_pool2d_backward(
    grad_output: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`avg_pool2d`: each pixel's sum of ``grad_output / divisor`` over its windows.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    output_mask : sequence of one bool, optional
        Whether to compute it.
    input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, device
        As :func:`avg_pool2d` was called with; of `input`, only shape and dtype matter.

    Returns
    -------
    PoolGradients
        A named tuple of one field, ``input``.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.zeros((1, 2, 3), "float32"), numpy.array([[[4, 6]]], "float32")
    >>> avg_pool2d_backward(g, x, 2, ceil_mode=True).input
    array([[[1., 1., 3.],
            [1., 1., 3.]]], dtype=float32)
    """
    window = (kernel_size, stride, padding, 1, ceil_mode)
    return _backward(2, grad_output, input, window, count_include_pad, divisor_override, output_mask, device)


@repeatable
def avg_pool3d_backward(
    grad_output: Any,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`avg_pool3d`: :func:`avg_pool2d_backward` with three spatial axes.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.zeros((1, 1, 2, 2), "float32"), numpy.array([[[[8]]]], "float32")
    >>> avg_pool3d_backward(g, x, (1, 2, 2)).input
    array([[[[2., 2.],
             [2., 2.]]]], dtype=float32)
    """
    window = (kernel_size, stride, padding, 1, ceil_mode)
    return _backward(3, grad_output, input, window, count_include_pad, divisor_override, output_mask, device)


def _forward(
    rank: int,
    input: Any,
    window: tuple[Any, ...],
    count_include_pad: Any,
    divisor: Any,
    epilogue: Epilogue | None,
    out: Any,
    device: Any,
) -> Any:
    arrays, dtype = checked(input, epilogue)
    rule = {"count_include_pad": count_include_pad, "divisor": divisor}
    problem = AvgPoolProblem.sliding(rank, arrays["input"].shape, *window, dtype=dtype, **rule)
    return reduced("avg_pool_fwd", problem, arrays, out, device, epilogue)


def _backward(
    rank: int,
    grad_output: Any,
    input: Any,
    window: tuple[Any, ...],
    count_include_pad: Any,
    divisor: Any,
    output_mask: Any,
    device: Any,
) -> PoolGradients:
    dy, x, dtype = checked_pair(grad_output, input)
    rule = {"count_include_pad": count_include_pad, "divisor": divisor}
    problem = AvgPoolProblem.sliding(rank, x.shape, *window, dtype=dtype, **rule)
    return gradient("avg_pool_bwd", problem, dy, x, output_mask, device)
