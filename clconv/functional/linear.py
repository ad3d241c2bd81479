"""The linear layer: a convolution with one tap, whose pixels are the rows of the input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from clconv.arrays import check_arrays, check_out, element_strides
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.functional._elementwise import without_gaps
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask, check_shape, plan_all, result_array, run, usable, vector
from clconv.problem import ConvProblem
from clconv.problem.elementwise import CommonWalk

__all__ = ["LinearGradients", "linear", "linear_backward"]

#: Axes of rows that the convolution walks: batch and three spatial ones.
_ROWS = 4


class LinearGradients(NamedTuple):
    """Gradients of linear's arguments; None where masked, or where there is no bias."""

    input: Any
    weight: Any
    bias: Any


@repeatable
def linear(input: Any, weight: Any, bias: Any = None, *, out: Any = None, device: Any = None) -> Any:
    """Multiply each row by a matrix: ``y[..., o] = b[o] + sum over i of x[..., i] w[o, i]``.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (..., I) with any number of axes in front, any strides. float16, float32 or float64.
    weight : array
        Shape (O, I); or (I,), and then the result has no axis for O.
    bias : array, optional
        Shape (O,), or () for a weight of one axis.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (..., O).

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> linear(numpy.array([1.0, 2.0]), numpy.array([[3.0, 4.0], [0.0, 1.0]]), numpy.array([100.0, 0.0]))
    array([111.,   2.])
    """
    arrays, dtype = check_arrays(input=input, weight=weight, bias=bias)
    shape = _output_shape(arrays)
    if out is not None:
        check_out(out, shape, dtype, arrays)
    executor = executor_for(device, arrays["input"], dtype)
    arrays = usable(executor, arrays)
    walkable = out is not None and (len(out.shape) <= _ROWS or out.flags.c_contiguous)
    result = result_array(executor, out if walkable else None, shape, dtype, arrays["input"])
    problem, operands = _problem(arrays, dtype, {"y": result, "x": arrays["input"]})
    return run(executor, plan_all(["conv_fwd"], problem, executor), operands, result, out)


@repeatable
def linear_backward(
    grad_output: Any, input: Any, weight: Any, bias: Any = None, *, output_mask: Any = None, device: Any = None
) -> LinearGradients:
    """Return the gradients of :func:`linear`: ``dx = g w``, ``dw = g.T x`` and ``db = sum(g)`` over the rows.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, weight, bias, device
        As :func:`linear` was called with.
    output_mask : sequence of three bools, optional
        Which gradients to compute.

    Examples
    --------
    >>> import numpy
    >>> g, x, w = numpy.ones((2, 1)), numpy.array([[1.0, 2.0], [3.0, 4.0]]), numpy.array([[5.0, 6.0]])
    >>> linear_backward(g, x, w)
    LinearGradients(input=array([[5., 6.],
           [5., 6.]]), weight=array([[4., 6.]]), bias=None)
    """
    mask = check_mask(output_mask, LinearGradients._fields)
    arrays, dtype = check_arrays(input=input, weight=weight, bias=bias, grad_output=grad_output)
    check_shape("grad_output", arrays["grad_output"], _output_shape(arrays), "the output's shape")
    executor = executor_for(device, arrays["input"], dtype)
    arrays = usable(executor, arrays)

    def gradient_of(name: str, wanted: bool) -> Any:
        array = arrays[name]
        return executor.empty(tuple(array.shape), dtype, arrays["input"]) if wanted and array is not None else None

    gradients = LinearGradients(*map(gradient_of, LinearGradients._fields, mask))
    rows = {"x": arrays["input"], "dy": arrays["grad_output"]}
    passes = []
    if gradients.input is not None:
        rows["dx"] = gradients.input
        passes.append("conv_bwd_data")
    problem, operands = _problem(arrays, dtype, rows)
    operands["a"] = operands["dy"]
    if gradients.weight is not None:
        operands["dw"] = _matrix(gradients.weight)
        passes.append("conv_bwd_weights")
    if gradients.bias is not None:
        operands["db"] = Operand(gradients.bias, 0, (0, *(element_strides(gradients.bias) or (1,)), 0, 0, 0))
        passes.append("conv_bwd_bias")
    executor.run(plan_all(passes, problem, executor), operands)
    return gradients


def _output_shape(arrays: dict[str, Any]) -> tuple[int, ...]:
    """Check the shapes, and return the output's."""
    x, w, b = (arrays[name] for name in ("input", "weight", "bias"))
    if not 1 <= len(w.shape) <= 2:
        raise ValueError(f"weight takes 2 axes, or 1 for a single output: weight.shape={tuple(w.shape)}")
    if not len(x.shape) or x.shape[-1] != w.shape[-1]:
        raise ValueError(
            f"input's last axis must have the {w.shape[-1]} elements of weight's last axis: "
            f"input.shape={tuple(x.shape)}, weight.shape={tuple(w.shape)}"
        )
    if b is not None:
        check_shape("bias", b, tuple(w.shape[:-1]), "one value for each output, shape")
    return (*x.shape[:-1], *w.shape[:-1])


def _problem(arrays: dict[str, Any], dtype: str, rows: dict[str, Any]) -> tuple[ConvProblem, dict[str, Operand]]:
    """Return the convolution and its operands: arrays of rows by their names, walked together, and weight and bias."""
    w, b = arrays["weight"], arrays["bias"]
    shape = arrays["input"].shape[:-1]
    steps = {name: _row_strides(array, len(shape)) for name, array in rows.items()}
    walk = CommonWalk.over(shape, *(strides[: len(shape)] for strides in steps.values()), least=_ROWS)
    if len(walk.extents) > _ROWS:
        dense = {name: without_gaps("linear", name, array) for name, array in rows.items()}
        if any(dense[name] is not rows[name] for name in rows):
            return _problem(arrays, dtype, dense)
    N, *extents = (0, 1, 1, 1) if math.prod(shape) == 0 else walk.extents
    channels = {"O": 1 if len(w.shape) == 1 else w.shape[0], "I": w.shape[-1]}
    problem = ConvProblem.from_shapes(
        (N, channels["I"], *extents), (channels["O"], channels["I"], 1, 1, 1), bias=b is not None, dtype=dtype
    )
    operands = {
        name: Operand(array, 0, (of_rows[0], strides[-1], *of_rows[1:]))
        for (name, array), of_rows, strides in zip(rows.items(), walk.strides, steps.values(), strict=True)
    }
    return problem, {
        **operands,
        "w": _matrix(w),
        "b": vector(b) if b is None or b.shape else Operand(b, 0, (0,)),
    }


def _row_strides(array: Any, axes: int) -> tuple[int, ...]:
    """Return strides of the rows and of the elements of a row; of a single one where the array has no axis for it."""
    strides = element_strides(array)
    return strides if len(strides) > axes else (*strides, 0)


def _matrix(w: Any) -> Operand:
    strides: Sequence[int] = element_strides(w)
    return Operand(w, 0, (*((0,) * (2 - len(strides))), *strides, 0, 0, 0))
