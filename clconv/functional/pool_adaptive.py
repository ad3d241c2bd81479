"""Adaptive average and max pooling, whose windows share out the input, and their gradients."""

from __future__ import annotations

from typing import Any

from clconv.functional._pool import PoolGradients, checked, checked_pair, gradient, maxima, reduced
from clconv.functional._repeat import repeatable
from clconv.functional.epilogue import Epilogue
from clconv.problem import AvgPoolProblem, MaxPoolProblem

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_backward",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_backward",
]


@repeatable
def adaptive_avg_pool1d(
    input: Any,
    output_size: Any,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the mean of each share of a signal: :func:`adaptive_avg_pool2d` with one spatial axis.

    Examples
    --------
    >>> import numpy
    >>> adaptive_avg_pool1d(numpy.array([[1, 3, 5, 9]], "float32"), 3)
    array([[2., 4., 7.]], dtype=float32)
    """
    return _average(1, input, output_size, epilogue, out, device)


@repeatable
def adaptive_avg_pool2d(
    input: Any,
    output_size: Any,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the mean of each share of an image.

    Along each axis, share ``o`` of ``O`` is the pixels from ``floor(o*I / O)`` to ``ceil((o + 1)*I / O)``, the end
    excluded: neighbours overlap where O does not divide I, and also where it is larger.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, IH, IW), or (C, IH, IW) without a batch. float16, float32 or float64, any strides.
    output_size : int or sequence of int or None
        Outputs per axis; None in a sequence stands for the input's extent, 0 gives an empty output.
    epilogue, out, device
        As for :func:`avg_pool2d`.

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
    >>> adaptive_avg_pool2d(numpy.array([[[1, 2, 6], [3, 4, 8]]], "float32"), (None, 2))
    array([[[1.5, 4. ],
            [3.5, 6. ]]], dtype=float32)
    """
    return _average(2, input, output_size, epilogue, out, device)


@repeatable
def adaptive_avg_pool3d(
    input: Any,
    output_size: Any,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the mean of each share of a volume: :func:`adaptive_avg_pool2d` with three spatial axes.

    Examples
    --------
    >>> import numpy
    >>> adaptive_avg_pool3d(numpy.arange(8, dtype="float32").reshape(1, 2, 2, 2), (1, None, 1))
    array([[[[2.5],
             [4.5]]]], dtype=float32)
    """
    return _average(3, input, output_size, epilogue, out, device)


@repeatable
def adaptive_max_pool1d(
    input: Any,
    output_size: Any,
    return_indices: Any = False,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the maximum of each share of a signal: :func:`adaptive_max_pool2d` with one spatial axis.

    Examples
    --------
    >>> import numpy
    >>> adaptive_max_pool1d(numpy.array([[1, 3, 5, 9, 9]], "float32"), 3, return_indices=True)
    (array([[3., 9., 9.]], dtype=float32), array([[1, 3, 3]]))
    """
    return _maximum(1, input, output_size, return_indices, epilogue, out, device)


@repeatable
def adaptive_max_pool2d(
    input: Any,
    output_size: Any,
    return_indices: Any = False,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the maximum of each share of an image.

    Parameters
    ----------
    return_indices : bool
        Whether to return the places of the maxima, too, as :func:`max_pool2d` does.
    input, output_size, out, device
        As for :func:`adaptive_avg_pool2d`.

    Returns
    -------
    array of the kind of ``input``, or a tuple of two
        Shape (N, C, OH, OW), or (C, OH, OW). With `return_indices` also an int64 array of that shape.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`max_pool2d` does.

    Examples
    --------
    >>> import numpy
    >>> adaptive_max_pool2d(numpy.array([[[1, 2, 6], [3, 4, 8]]], "float32"), (1, 2), return_indices=True)
    (array([[[4., 8.]]], dtype=float32), array([[[4, 5]]]))
    """
    return _maximum(2, input, output_size, return_indices, epilogue, out, device)


@repeatable
def adaptive_max_pool3d(
    input: Any,
    output_size: Any,
    return_indices: Any = False,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Take the maximum of each share of a volume: :func:`adaptive_max_pool2d` with three spatial axes.

    Examples
    --------
    >>> import numpy
    >>> adaptive_max_pool3d(numpy.arange(8, dtype="float32").reshape(1, 2, 2, 2), (1, None, 1))
    array([[[[5.],
             [7.]]]], dtype=float32)
    """
    return _maximum(3, input, output_size, return_indices, epilogue, out, device)


@repeatable
def adaptive_avg_pool1d_backward(
    grad_output: Any, input: Any, output_size: Any, *, output_mask: Any = None, device: Any = None
) -> PoolGradients:
    """Return the gradient of :func:`adaptive_avg_pool1d`.

    Parameters and result are those of :func:`adaptive_avg_pool2d_backward`.

    Examples
    --------
    >>> import numpy
    >>> adaptive_avg_pool1d_backward(numpy.array([[4, 6]], "float32"), numpy.zeros((1, 3), "float32"), 2).input
    array([[2., 5., 3.]], dtype=float32)
    """
    return _average_backward(1, grad_output, input, output_size, output_mask, device)


@repeatable
def adaptive_avg_pool2d_backward(
    grad_output: Any, input: Any, output_size: Any, *, output_mask: Any = None, device: Any = None
) -> PoolGradients:
    """Return the gradient of :func:`adaptive_avg_pool2d`.

    Each pixel gets the sum, over the shares that it is in, of `grad_output` divided by the size of the share.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    output_mask : sequence of one bool, optional
        Whether to compute it.
    input, output_size, device
        As :func:`adaptive_avg_pool2d` was called with; of `input`, only shape and dtype matter.

    Returns
    -------
    PoolGradients
        A named tuple of one field, ``input``.

    Examples
    --------
    >>> import numpy
    >>> adaptive_avg_pool2d_backward(numpy.array([[[8]]], "float32"), numpy.zeros((1, 2, 2), "float32"), 1).input
    array([[[2., 2.],
            [2., 2.]]], dtype=float32)
    """
    return _average_backward(2, grad_output, input, output_size, output_mask, device)


@repeatable
def adaptive_avg_pool3d_backward(
    grad_output: Any, input: Any, output_size: Any, *, output_mask: Any = None, device: Any = None
) -> PoolGradients:
    """Return the gradient of :func:`adaptive_avg_pool3d`.

    Parameters and result are those of :func:`adaptive_avg_pool2d_backward`.

    Examples
    --------
    >>> import numpy
    >>> adaptive_avg_pool3d_backward(numpy.array([[[[8]]]], "float32"), numpy.zeros((1, 1, 1, 2), "float32"), 1).input
    array([[[[4., 4.]]]], dtype=float32)
    """
    return _average_backward(3, grad_output, input, output_size, output_mask, device)


@repeatable
def adaptive_max_pool1d_backward(
    grad_output: Any,
    input: Any,
    output_size: Any,
    return_indices: Any = False,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`adaptive_max_pool1d`.

    Parameters and result are those of :func:`adaptive_max_pool2d_backward`.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.array([[1, 2, 2]], "float32"), numpy.array([[4, 6]], "float32")
    >>> adaptive_max_pool1d_backward(g, x, 2).input
    array([[ 0., 10.,  0.]], dtype=float32)
    """
    return _maximum_backward(1, grad_output, input, output_size, return_indices, output_mask, device)


@repeatable
def adaptive_max_pool2d_backward(
    grad_output: Any,
    input: Any,
    output_size: Any,
    return_indices: Any = False,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`adaptive_max_pool2d`: each pixel's sum over the shares whose first maximum it is.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    output_mask : sequence of one bool, optional
        Whether to compute it.
    input, output_size, return_indices, device
        As :func:`adaptive_max_pool2d` was called with.

    Returns
    -------
    PoolGradients
        A named tuple of one field, ``input``.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.array([[[1, 5, 3], [2, 4, 0]]], "float32"), numpy.array([[[4, 6]]], "float32")
    >>> adaptive_max_pool2d_backward(g, x, (1, 2)).input
    array([[[ 0., 10.,  0.],
            [ 0.,  0.,  0.]]], dtype=float32)
    """
    return _maximum_backward(2, grad_output, input, output_size, return_indices, output_mask, device)


@repeatable
def adaptive_max_pool3d_backward(
    grad_output: Any,
    input: Any,
    output_size: Any,
    return_indices: Any = False,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`adaptive_max_pool3d`.

    Parameters and result are those of :func:`adaptive_max_pool2d_backward`.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.array([[[[3, 7]]]], "float32"), numpy.array([[[[5]]]], "float32")
    >>> adaptive_max_pool3d_backward(g, x, 1).input
    array([[[[0., 5.]]]], dtype=float32)
    """
    return _maximum_backward(3, grad_output, input, output_size, return_indices, output_mask, device)


def _average(rank: int, input: Any, output_size: Any, epilogue: Epilogue | None, out: Any, device: Any) -> Any:
    arrays, dtype = checked(input, epilogue)
    problem = AvgPoolProblem.sharing(rank, arrays["input"].shape, output_size, dtype=dtype)
    return reduced("avg_pool_fwd", problem, arrays, out, device, epilogue)


def _average_backward(
    rank: int, grad_output: Any, input: Any, output_size: Any, output_mask: Any, device: Any
) -> PoolGradients:
    dy, x, dtype = checked_pair(grad_output, input)
    problem = AvgPoolProblem.sharing(rank, x.shape, output_size, dtype=dtype)
    return gradient("avg_pool_bwd", problem, dy, x, output_mask, device)


def _maximum(
    rank: int,
    input: Any,
    output_size: Any,
    return_indices: Any,
    epilogue: Epilogue | None,
    out: Any,
    device: Any,
) -> Any:
    arrays, dtype = checked(input, epilogue)
    problem = _shares_with_maxima(rank, arrays["input"], output_size, return_indices, dtype)
    return maxima(problem, arrays, out, device, epilogue)


def _maximum_backward(
    rank: int, grad_output: Any, input: Any, output_size: Any, return_indices: Any, output_mask: Any, device: Any
) -> PoolGradients:
    dy, x, dtype = checked_pair(grad_output, input)
    problem = _shares_with_maxima(rank, x, output_size, return_indices, dtype)
    return gradient("max_pool_bwd", problem, dy, x, output_mask, device)


def _shares_with_maxima(rank: int, x: Any, output_size: Any, return_indices: Any, dtype: str) -> MaxPoolProblem:
    return MaxPoolProblem.sharing(rank, x.shape, output_size, dtype=dtype, needs_channels=True, indices=return_indices)
