"""Global average and max pooling, which reduce every plane to one value, and their gradients: ONNX's operators."""

from __future__ import annotations

from typing import Any

from clconv.functional._pool import PoolGradients, checked, checked_pair, gradient, maxima, reduced
from clconv.functional._repeat import repeatable
from clconv.functional.epilogue import Epilogue
from clconv.problem import AvgPoolProblem, MaxPoolProblem
from clconv.problem.window import AXES

__all__ = ["global_avg_pool", "global_avg_pool_backward", "global_max_pool", "global_max_pool_backward"]


@repeatable
def global_avg_pool(input: Any, *, epilogue: Epilogue | None = None, out: Any = None, device: Any = None) -> Any:
    """Take the mean over all spatial axes, which stay with one position: ONNX's GlobalAveragePool.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, *spatial) with one to three spatial axes; always with a batch.
    epilogue, out, device
        As for :func:`avg_pool2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (N, C, 1, ...).

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`max_pool2d` does.

    Examples
    --------
    >>> import numpy
    >>> global_avg_pool(numpy.arange(8, dtype="float32").reshape(1, 2, 2, 2))
    array([[[[1.5]],
    <BLANKLINE>
            [[5.5]]]], dtype=float32)
    """
    arrays, dtype = checked(input, epilogue)
    x = arrays["input"]
    problem = AvgPoolProblem.sharing(_rank(x), x.shape, 1, dtype=dtype)
    return reduced("avg_pool_fwd", problem, arrays, out, device, epilogue)


@repeatable
def global_max_pool(input: Any, *, epilogue: Epilogue | None = None, out: Any = None, device: Any = None) -> Any:
    """Take the maximum over all spatial axes, which stay with one position: ONNX's GlobalMaxPool.

    Parameters, results and errors are those of :func:`global_avg_pool`; NaN is larger than every number.

    Examples
    --------
    >>> import numpy
    >>> global_max_pool(numpy.array([[[3, 1, 2]]], "float32"))
    array([[[3.]]], dtype=float32)
    """
    arrays, dtype = checked(input, epilogue)
    x = arrays["input"]
    problem = MaxPoolProblem.sharing(_rank(x), x.shape, 1, dtype=dtype, needs_channels=True)
    return maxima(problem, arrays, out, device, epilogue)


@repeatable
def global_avg_pool_backward(
    grad_output: Any, input: Any, *, output_mask: Any = None, device: Any = None
) -> PoolGradients:
    """Return the gradient of :func:`global_avg_pool`: an equal part of `grad_output` for every pixel of a plane.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, device
        As :func:`global_avg_pool` was called with; of `input`, only shape and dtype matter.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Returns
    -------
    PoolGradients
        A named tuple of one field, ``input``.

    Examples
    --------
    >>> import numpy
    >>> global_avg_pool_backward(numpy.array([[[6]]], "float32"), numpy.zeros((1, 1, 3), "float32")).input
    array([[[2., 2., 2.]]], dtype=float32)
    """
    dy, x, dtype = checked_pair(grad_output, input)
    problem = AvgPoolProblem.sharing(_rank(x), x.shape, 1, dtype=dtype)
    return gradient("avg_pool_bwd", problem, dy, x, output_mask, device)


@repeatable
def global_max_pool_backward(
    grad_output: Any, input: Any, *, output_mask: Any = None, device: Any = None
) -> PoolGradients:
    """Return the gradient of :func:`global_max_pool`: the first pixel of a plane that has its maximum gets all.

    Parameters and results are those of :func:`global_avg_pool_backward`.

    Examples
    --------
    >>> import numpy
    >>> x, g = numpy.array([[[3, 7, 7]]], "float32"), numpy.array([[[6]]], "float32")
    >>> global_max_pool_backward(g, x).input
    array([[[0., 6., 0.]]], dtype=float32)
    """
    dy, x, dtype = checked_pair(grad_output, input)
    problem = MaxPoolProblem.sharing(_rank(x), x.shape, 1, dtype=dtype, needs_channels=True)
    return gradient("max_pool_bwd", problem, dy, x, output_mask, device)


def _rank(x: Any) -> int:
    rank = len(x.shape) - 2
    if not 1 <= rank <= AXES:
        raise ValueError(f"input takes 3 to 5 axes, batch, channels and 1 to 3 spatial: input.shape={tuple(x.shape)}")
    return rank
