"""Padding and cropping an array."""

from __future__ import annotations

from typing import Any, NamedTuple

from clconv.arrays import check_arrays, check_out, element_strides, is_device_array
from clconv.devices import executor_for
from clconv.executor import Executor, Operand
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask, check_shape, plan_of, result_array
from clconv.functional._run import run as run_plan
from clconv.functional._walk import is_walkable, walkable
from clconv.problem import PadProblem
from clconv.problem.shapes import merged_stride

__all__ = ["PadGradients", "pad", "pad_backward"]


class PadGradients(NamedTuple):
    """Gradient of pad's argument; None where masked."""

    input: Any


@repeatable
def pad(
    input: Any,
    pad: Any,
    mode: str = "constant",
    value: float | None = None,
    *,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Pad the last axes of an array, or crop them.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Of any number of axes; in modes but "constant" of one or two in front of the padded ones. float16, float32 or
        float64, any strides.
    pad : sequence of int
        (low, high) of the last axis, then of the one before it, and so on; negative ones crop.
    mode : str
        "constant", "reflect" (without the edge), "replicate", "circular", and "symmetric" (reflected with the edge),
        which torch lacks. They pad one to three axes.
    value : float, optional
        What "constant" pads with; 0 by default.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Each padded axis longer by low + high.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.array([[1, 2, 3]], "float32")
    >>> pad(x, (1, 2), value=9)
    array([[9., 1., 2., 3., 9., 9.]], dtype=float32)
    >>> pad(x, (1, 2), mode="reflect")
    array([[2., 1., 2., 3., 2., 1.]], dtype=float32)
    """
    arrays, dtype = check_arrays(input=input)
    problem = PadProblem.for_pad(arrays["input"].shape, pad, mode, value, dtype=dtype)
    if out is not None:
        check_out(out, problem.output_shape, dtype, arrays)
    executor = executor_for(device, arrays["input"], dtype)
    result = executor.usable(arrays["input"])
    *steps, last = problem.steps
    for step in steps:
        result = _run(executor, "pad", step, "input", _shaped("input", result, step.input_shape), None)
    return _run(executor, "pad", last, "input", _shaped("input", result, last.input_shape), out)


@repeatable
def pad_backward(
    grad_output: Any,
    input: Any,
    pad: Any,
    mode: str = "constant",
    value: float | None = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> PadGradients:
    """Return the gradient of :func:`pad`: each element is added to the one that it copies.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, pad, mode, value, device
        As :func:`pad` was called with; only the shape of ``input`` matters.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.array([[1, 2, 3, 4, 5, 6]], "float32"), numpy.zeros((1, 3), "float32")
    >>> pad_backward(g, x, (1, 2), mode="reflect").input
    array([[8., 9., 4.]], dtype=float32)
    """
    mask = check_mask(output_mask, PadGradients._fields)
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    problem = PadProblem.for_pad(arrays["input"].shape, pad, mode, value, dtype=dtype)
    check_shape("grad_output", arrays["grad_output"], problem.output_shape, "the output's shape")
    if not mask[0]:
        return PadGradients(None)
    executor = executor_for(device, arrays["grad_output"], dtype)
    result = executor.usable(arrays["grad_output"])
    for step in reversed(problem.steps):
        result = _shaped("grad_output", result, step.output_shape)
        if step.mode == "constant":
            result = _run(executor, "pad", step.undone, "grad_output", result, None)
        else:
            result = _run(executor, "pad_bwd", step, "grad_output", result, None)
    return PadGradients(_shaped("grad_output", result, problem.input_shape))


def _shaped(name: str, array: Any, shape: tuple[int, ...]) -> Any:
    """Return an array in another shape, of which several axes of it may be one."""
    if tuple(array.shape) == shape:
        return array
    if is_device_array(array) and not array.flags.c_contiguous:
        raise ValueError(
            f"{name} must lie in memory without gaps where more than the last four axes are padded: "
            f"{name}.shape={tuple(array.shape)}, {name}.strides={array.strides}; pass {name}.copy()"
        )
    return array.reshape(shape)


def _run(executor: Executor, operation: str, problem: PadProblem, name: str, array: Any, out: Any) -> Any:
    """Pad an array, or return the gradient of the padding."""
    names, shape = (("x", "y"), problem.output_shape)
    if operation == "pad_bwd":
        names, shape = ("dy", "dx"), problem.input_shape
    merged = slice(0, problem.merged)
    source = walkable(name, array, merged)
    walks_out = out is not None and is_walkable(out, merged)
    result = result_array(executor, out if walks_out else None, shape, problem.dtype, source)
    operands = {operand: _operand(problem, walked) for operand, walked in zip(names, (source, result), strict=True)}
    return run_plan(executor, plan_of(operation, problem, executor), operands, result, out)


def _operand(problem: PadProblem, array: Any) -> Operand:
    strides, merged = element_strides(array), problem.merged
    first = merged_stride(array.shape[:merged], strides[:merged])
    return Operand(array, 0, problem.canonical((first, *strides[merged:]), 0))
