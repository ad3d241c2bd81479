"""Max unpooling in one, two and three dimensions, and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from clconv.arrays import check_out, is_device_array
from clconv.devices import executor_for
from clconv.functional._pool import PoolGradients, checked, checked_pair, operand
from clconv.functional._run import check_mask, check_shape, plan_of, result_array, run
from clconv.problem import UnpoolProblem

__all__ = [
    "max_unpool1d",
    "max_unpool1d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "max_unpool3d",
    "max_unpool3d_backward",
]


def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Put the maxima of a signal's windows back to where they were: :func:`max_unpool2d` with one spatial axis.

    Examples
    --------
    >>> import numpy
    >>> max_unpool1d(numpy.array([[5, 4]], "float32"), numpy.array([[1, 3]]), 2, output_size=(5,))
    array([[0., 5., 0., 4., 0.]], dtype=float32)
    """
    return _forward(1, input, indices, (kernel_size, stride, padding, output_size), out, device)


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Put the maxima of windows back to where they were in the image, among zeros.

    ``y[n, c].flat[indices[n, c, ih, iw]] = x[n, c, ih, iw]``. Where several indices of a plane are equal, the last one
    decides, in row-major order; torch leaves that open.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, IH, IW), or (C, IH, IW) without a batch. float16, float32 or float64, any strides.
    indices : array of int64
        Of the input's shape and kind, as :func:`max_pool2d` returns them: places in the output's plane. All are looked
        at; those of a pyopencl array are read back for that, which waits for its queue.
    kernel_size, stride, padding
        Those of the pooling; they only decide the extents of the output.
    output_size : sequence of int, optional
        Extents of the output, by less than the stride from ``(IH - 1)*SH + KH - low - high``, the default; or its whole
        shape, of which batch and channels are not looked at.
    out, device
        As for :func:`max_pool2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (N, C, *output_size), or (C, *output_size).

    Raises
    ------
    ValueError
        If an index is no place of the output's plane, and as :func:`max_pool2d` does.
    TypeError
        If `indices` are no int64 array, and as :func:`max_pool2d` does.

    Examples
    --------
    >>> import numpy
    >>> max_unpool2d(numpy.array([[[7, 9]]], "float32"), numpy.array([[[4, 2]]]), 2)
    array([[[0., 0., 9., 0.],
            [7., 0., 0., 0.]]], dtype=float32)
    """
    return _forward(2, input, indices, (kernel_size, stride, padding, output_size), out, device)


def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Put the maxima of a volume's windows back to where they were: :func:`max_unpool2d` with three spatial axes.

    Examples
    --------
    >>> import numpy
    >>> max_unpool3d(numpy.array([[[[6]]]], "float32"), numpy.array([[[[1]]]]), (1, 1, 3))
    array([[[[0., 6., 0.]]]], dtype=float32)
    """
    return _forward(3, input, indices, (kernel_size, stride, padding, output_size), out, device)


def max_unpool1d_backward(
    grad_output: Any,
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`max_unpool1d`: :func:`max_unpool2d_backward` with one spatial axis.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.array([[1, 2, 3, 4]], "float32"), numpy.array([[9, 9]], "float32")
    >>> max_unpool1d_backward(g, x, numpy.array([[1, 3]]), 2).input
    array([[2., 4.]], dtype=float32)
    """
    return _backward(1, grad_output, input, indices, (kernel_size, stride, padding, output_size), output_mask, device)


def max_unpool2d_backward(
    grad_output: Any,
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`max_unpool2d`: `grad_output` at the indices.

    Where several indices of a plane are equal, each gets it, as in torch, though only one of their values is in the
    output.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    output_mask : sequence of one bool, optional
        Whether to compute it.
    input, indices, kernel_size, stride, padding, output_size, device
        As :func:`max_unpool2d` was called with; of `input`, only shape and dtype matter.

    Returns
    -------
    PoolGradients
        A named tuple of one field, ``input``.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.array([[[1, 2], [3, 4]]], "float32"), numpy.array([[[9]]], "float32")
    >>> max_unpool2d_backward(g, x, numpy.array([[[2]]]), 2).input
    array([[[3.]]], dtype=float32)
    """
    return _backward(2, grad_output, input, indices, (kernel_size, stride, padding, output_size), output_mask, device)


def max_unpool3d_backward(
    grad_output: Any,
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PoolGradients:
    """Return the gradient of :func:`max_unpool3d`: :func:`max_unpool2d_backward` with three spatial axes.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.arange(8, dtype="float32").reshape(1, 2, 2, 2), numpy.zeros((1, 1, 1, 1), "float32")
    >>> max_unpool3d_backward(g, x, numpy.array([[[[5]]]]), 2).input
    array([[[[5.]]]], dtype=float32)
    """
    return _backward(3, grad_output, input, indices, (kernel_size, stride, padding, output_size), output_mask, device)


def _forward(rank: int, input: Any, indices: Any, window: tuple[Any, ...], out: Any, device: Any) -> Any:
    arrays, dtype = checked(input)
    x = arrays["input"]
    problem = UnpoolProblem.from_shape(rank, x.shape, *window, dtype=dtype)
    indices = _checked_indices(indices, x, problem)
    if out is not None:
        check_out(out, problem.output_shape, dtype, {"input": x, "indices": indices})
    executor = executor_for(device, x, dtype)
    x, indices = executor.usable(x), executor.usable(indices)
    y = result_array(executor, out, problem.output_shape, dtype, x)
    operands = {name: operand(problem, array) for name, array in (("x", x), ("indices", indices), ("y", y))}
    return run(executor, plan_of("max_unpool_fwd", problem, executor), operands, y, out)


def _backward(
    rank: int,
    grad_output: Any,
    input: Any,
    indices: Any,
    window: tuple[Any, ...],
    output_mask: Any,
    device: Any,
) -> PoolGradients:
    mask = check_mask(output_mask, PoolGradients._fields)
    dy, x, dtype = checked_pair(grad_output, input)
    problem = UnpoolProblem.from_shape(rank, x.shape, *window, dtype=dtype)
    indices = _checked_indices(indices, x, problem)
    check_shape("grad_output", dy, problem.output_shape, "the output's shape")
    if not mask[0]:
        return PoolGradients(None)
    executor = executor_for(device, x, dtype)
    dy, indices = executor.usable(dy), executor.usable(indices)
    dx = executor.empty(problem.input_shape, dtype, dy)
    operands = {name: operand(problem, array) for name, array in (("dy", dy), ("indices", indices), ("dx", dx))}
    executor.run(plan_of("max_unpool_bwd", problem, executor), operands)
    return PoolGradients(dx)


def _checked_indices(indices: Any, x: Any, problem: UnpoolProblem) -> Any:
    """Return the indices in native byte order, if all are places in a plane of the output."""
    if is_device_array(indices) != is_device_array(x) or not (is_device_array(indices) or type(indices) is np.ndarray):
        kind = "a pyopencl.array.Array" if is_device_array(x) else "a numpy.ndarray"
        raise TypeError(f"indices takes {kind} of int64 beside this input, not {type(indices).__qualname__}")
    if indices.dtype.newbyteorder("=") != np.int64:
        raise TypeError(f"indices takes dtype int64, not {indices.dtype.name}: convert it with indices.astype('int64')")
    check_shape("indices", indices, tuple(x.shape), "the input's shape")
    values = indices.get() if is_device_array(indices) else indices
    places = problem.outputs_of_a_plane
    if values.size and not (values.min() >= 0 and values.max() < places):
        wrong = values[(values < 0) | (values >= places)].flat[0]
        raise ValueError(
            f"indices must be at least 0 and below {places}, the positions of the output's plane "
            f"{problem.output_shape[-problem.rank :]}: one is {wrong}"
        )
    return indices if indices.dtype.isnative else indices.astype(np.int64)
