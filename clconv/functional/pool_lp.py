"""Lp pooling (power-average pooling) in one, two and three dimensions, and its gradients."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from clconv.functional._pool import PoolGradients, checked, checked_pair, gradient, maxima, reduced
from clconv.functional._repeat import repeatable
from clconv.functional.epilogue import Epilogue
from clconv.problem import LpPoolProblem, MaxPoolProblem

__all__ = ["lp_pool1d", "lp_pool1d_backward", "lp_pool2d", "lp_pool2d_backward", "lp_pool3d", "lp_pool3d_backward"]


@repeatable
def lp_pool1d(
    input: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: Any = False,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the Lp norm of each window of a signal: :func:`lp_pool2d` with one spatial axis.

    Examples
    --------
    >>> import numpy
    >>> lp_pool1d(numpy.array([[3, -4, 5, 12, -7]], "float32"), 2, 2, ceil_mode=True)
    array([[ 5., 13.,  7.]], dtype=float32)
    """
    return _forward(1, input, norm_type, (kernel_size, stride, 0, 1, ceil_mode), epilogue, out, device)


@repeatable
def lp_pool2d(
    input: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: Any = False,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the Lp norm of each window of an image.

    ``y[n, c, oh, ow] = sum(|x[n, c, oh*SH + kh, ow*SW + kw]|**p for kh, kw)**(1/p)`` with ``p = norm_type``, over the
    taps that are on the image. torch 2.13 takes powers of x instead of its magnitude, which gives NaN where the sum is
    negative, and scales the windows that `ceil_mode` adds as if they were whole.

    Parameters
    ----------
    norm_type : float
        The order p, greater than 0; infinity stands for the largest magnitude.
    input, kernel_size, stride, ceil_mode, epilogue, out, device
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
    >>> x = numpy.array([[[1, -2, 3], [-4, 5, 6]]], "float32")
    >>> lp_pool2d(x, 1, 2, stride=1), lp_pool2d(x, numpy.inf, 2, stride=1)
    (array([[[12., 16.]]], dtype=float32), array([[[5., 6.]]], dtype=float32))
    """
    return _forward(2, input, norm_type, (kernel_size, stride, 0, 1, ceil_mode), epilogue, out, device)


@repeatable
def lp_pool3d(
    input: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: Any = False,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the Lp norm of each window of a volume: :func:`lp_pool2d` with three spatial axes.

    Examples
    --------
    >>> import numpy
    >>> lp_pool3d(numpy.full((1, 2, 2, 4), -3, "float32"), 2, (2, 2, 1))
    array([[[[6., 6., 6., 6.]]]], dtype=float32)
    """
    return _forward(3, input, norm_type, (kernel_size, stride, 0, 1, ceil_mode), epilogue, out, device)


@repeatable
def lp_pool1d_backward(
    grad_output: Any,
    input: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: Any = False,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`lp_pool1d`: :func:`lp_pool2d_backward` with one spatial axis.

    Examples
    --------
    >>> import numpy
    >>> lp_pool1d_backward(numpy.array([[10]], "float32"), numpy.array([[3, -4]], "float32"), 2, 2).input
    array([[ 6., -8.]], dtype=float32)
    """
    window = (kernel_size, stride, 0, 1, ceil_mode)
    return _backward(1, grad_output, input, norm_type, window, output_mask, device)


@repeatable
def lp_pool2d_backward(
    grad_output: Any,
    input: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: Any = False,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`lp_pool2d`.

    Each pixel gets the sum of ``grad_output * sign(x) * (|x| / y)**(p - 1)`` over the windows that it is in, and 0
    where x is 0, also if the norm has no derivative there. With an infinite `norm_type`, the first pixel of a window
    that has the largest magnitude gets all.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    output_mask : sequence of one bool, optional
        Whether to compute it.
    input, norm_type, kernel_size, stride, ceil_mode, device
        As :func:`lp_pool2d` was called with.

    Returns
    -------
    PoolGradients
        A named tuple of one field, ``input``.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.array([[[1, 0], [-1, 2]]], "float32"), numpy.array([[[5]]], "float32")
    >>> lp_pool2d_backward(g, x, 1, 2).input
    array([[[ 5.,  0.],
            [-5.,  5.]]], dtype=float32)
    """
    window = (kernel_size, stride, 0, 1, ceil_mode)
    return _backward(2, grad_output, input, norm_type, window, output_mask, device)


@repeatable
def lp_pool3d_backward(
    grad_output: Any,
    input: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: Any = False,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`lp_pool3d`: :func:`lp_pool2d_backward` with three spatial axes.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.array([[[[2, -3]]]], "float32"), numpy.array([[[[7]]]], "float32")
    >>> lp_pool3d_backward(g, x, numpy.inf, (1, 1, 2)).input
    array([[[[ 0., -7.]]]], dtype=float32)
    """
    window = (kernel_size, stride, 0, 1, ceil_mode)
    return _backward(3, grad_output, input, norm_type, window, output_mask, device)


def _forward(
    rank: int,
    input: Any,
    norm_type: float,
    window: tuple[Any, ...],
    epilogue: Epilogue | None,
    out: Any,
    device: Any,
) -> Any:
    arrays, dtype = checked(input, epilogue)
    problem = _problem(rank, arrays["input"], norm_type, window, dtype)
    if isinstance(problem, MaxPoolProblem):
        return maxima(problem, arrays, out, device, epilogue)
    return reduced("lp_pool_fwd", problem, arrays, out, device, epilogue)


def _backward(
    rank: int,
    grad_output: Any,
    input: Any,
    norm_type: float,
    window: tuple[Any, ...],
    output_mask: Any,
    device: Any,
) -> PoolGradients:
    dy, x, dtype = checked_pair(grad_output, input)
    problem = _problem(rank, x, norm_type, window, dtype)
    operation = "max_pool_bwd" if isinstance(problem, MaxPoolProblem) else "lp_pool_bwd"
    return gradient(operation, problem, dy, x, output_mask, device)


def _problem(rank: int, x: Any, norm_type: Any, window: tuple[Any, ...], dtype: str) -> LpPoolProblem | MaxPoolProblem:
    """Return the problem of a norm: that of infinite order is the maximum of the magnitudes."""
    if isinstance(norm_type, (bool, np.bool_)) or not isinstance(norm_type, (int, float, np.integer, np.floating)):
        raise TypeError(f"norm_type takes a number, not {type(norm_type).__name__}: norm_type={norm_type!r}")
    if not norm_type > 0:
        raise ValueError(f"norm_type must be greater than 0: norm_type={norm_type!r}")
    if norm_type > sys.float_info.max:
        return MaxPoolProblem.sliding(rank, x.shape, *window, dtype=dtype, magnitudes=True)
    return LpPoolProblem.sliding(rank, x.shape, *window, dtype=dtype, norm_type=float(norm_type))
