"""Windows into columns and back: unfold and fold, each the other's adjoint and so the other's gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

from clconv.arrays import check_arrays, check_out, element_strides
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask, check_shape, plan_all, result_array, run
from clconv.problem import WindowProblem

__all__ = ["FoldGradients", "UnfoldGradients", "fold", "fold_backward", "unfold", "unfold_backward"]


class UnfoldGradients(NamedTuple):
    """Gradient of unfold's argument; None where masked."""

    input: Any


class FoldGradients(NamedTuple):
    """Gradient of fold's argument; None where masked."""

    input: Any


@repeatable
def unfold(
    input: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    padding_mode: str = "zeros",
    out: Any = None,
    device: Any = None,
) -> Any:
    """Copy every window of the input into a column.

    Row ``(c*KH + kh)*KW + kw`` of column ``oh*OW + ow`` is ``x[n, c, oh*SH - PH + kh*DH, ow*SW - PW + kw*DW]``.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, IH, IW), or (C, IH, IW) without a batch. float16, float32 or float64, any strides.
    kernel_size : int or sequence of int
        Taps per axis. An integer stands for two axes, as in torch; a sequence of one, two or three gives their number.
    dilation, padding, stride, padding_mode
        As for :func:`clconv.conv2d`.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (N, C * taps, outputs), or (C * taps, outputs).

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> unfold(numpy.arange(4, dtype="float32").reshape(1, 4), (2,))
    array([[0., 1., 2.],
           [1., 2., 3.]], dtype=float32)
    """
    arrays, dtype = check_arrays(input=input)
    problem = WindowProblem.for_unfold(
        arrays["input"].shape, kernel_size, dilation, padding, stride, padding_mode=padding_mode, dtype=dtype
    )
    return _columns_of(problem, arrays, "input", out, device)


@repeatable
def fold(
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    padding_mode: str = "zeros",
    out: Any = None,
    device: Any = None,
) -> Any:
    """Add every column back into the windows that it stands for: the adjoint of :func:`unfold`.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C * taps, outputs), or (C * taps, outputs) without a batch.
    output_size : int or sequence of int
        Extents of the result.
    kernel_size, dilation, padding, stride, padding_mode, out, device
        As for :func:`unfold`.

    Returns
    -------
    array of the kind of ``input``
        Shape (N, C, *output_size), or (C, *output_size).

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> fold(numpy.ones((2, 3), "float32"), (4,), (2,))
    array([[1., 2., 2., 1.]], dtype=float32)
    """
    arrays, dtype = check_arrays(input=input)
    problem = WindowProblem.for_fold(
        arrays["input"].shape,
        output_size,
        kernel_size,
        dilation,
        padding,
        stride,
        padding_mode=padding_mode,
        dtype=dtype,
    )
    return _data_of(problem, arrays, "input", out, device)


@repeatable
def unfold_backward(
    grad_output: Any,
    input: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    padding_mode: str = "zeros",
    output_mask: Any = None,
    device: Any = None,
) -> UnfoldGradients:
    """Return the gradient of :func:`unfold`, which is :func:`fold`.

    Parameters
    ----------
    grad_output : array
        Gradient of the columns, of their shape.
    input, kernel_size, dilation, padding, stride, padding_mode, device
        As :func:`unfold` was called with.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Examples
    --------
    >>> import numpy
    >>> unfold_backward(numpy.ones((2, 3), "float32"), numpy.zeros((1, 4), "float32"), (2,)).input
    array([[1., 2., 2., 1.]], dtype=float32)
    """
    mask = check_mask(output_mask, UnfoldGradients._fields)
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    problem = WindowProblem.for_unfold(
        arrays["input"].shape, kernel_size, dilation, padding, stride, padding_mode=padding_mode, dtype=dtype
    )
    check_shape("grad_output", arrays["grad_output"], problem.columns_shape, "the output's shape")
    return UnfoldGradients(_data_of(problem, arrays, "grad_output", None, device) if mask[0] else None)


@repeatable
def fold_backward(
    grad_output: Any,
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    padding_mode: str = "zeros",
    output_mask: Any = None,
    device: Any = None,
) -> FoldGradients:
    """Return the gradient of :func:`fold`, which is :func:`unfold`.

    Parameters
    ----------
    grad_output : array
        Gradient of the result, of its shape.
    input, output_size, kernel_size, dilation, padding, stride, padding_mode, device
        As :func:`fold` was called with.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Examples
    --------
    >>> import numpy
    >>> fold_backward(numpy.array([[1, 2, 3]], "float32"), numpy.zeros((2, 2), "float32"), (3,), (2,)).input
    array([[1., 2.],
           [2., 3.]], dtype=float32)
    """
    mask = check_mask(output_mask, FoldGradients._fields)
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    problem = WindowProblem.for_fold(
        arrays["input"].shape,
        output_size,
        kernel_size,
        dilation,
        padding,
        stride,
        padding_mode=padding_mode,
        dtype=dtype,
    )
    check_shape("grad_output", arrays["grad_output"], problem.data_shape, "the output's shape")
    return FoldGradients(_columns_of(problem, arrays, "grad_output", None, device) if mask[0] else None)


def _columns_of(problem: WindowProblem, arrays: dict[str, Any], name: str, out: Any, device: Any) -> Any:
    """Return the columns of the array called ``name``."""
    return _apply(problem, "unfold", ("x", "columns"), problem.columns_shape, arrays, name, out, device)


def _data_of(problem: WindowProblem, arrays: dict[str, Any], name: str, out: Any, device: Any) -> Any:
    """Return what the columns called ``name`` add up to."""
    return _apply(problem, "fold", ("columns", "x"), problem.data_shape, arrays, name, out, device)


def _apply(
    problem: WindowProblem,
    operation: str,
    names: tuple[str, str],
    shape: tuple[int, ...],
    arrays: dict[str, Any],
    name: str,
    out: Any,
    device: Any,
) -> Any:
    if out is not None:
        check_out(out, shape, problem.dtype, arrays)
    executor = executor_for(device, arrays[name], problem.dtype)
    source = executor.usable(arrays[name])
    result = result_array(executor, out, shape, problem.dtype, source)
    operands = {
        operand: _operand(problem, operand, array) for operand, array in zip(names, (source, result), strict=True)
    }
    return run(executor, plan_all([operation], problem, executor), operands, result, out)


def _operand(problem: WindowProblem, operand: str, array: Any) -> Operand:
    canonical = problem.data_strides if operand == "x" else problem.columns_strides
    return Operand(array, 0, canonical(element_strides(array)))
