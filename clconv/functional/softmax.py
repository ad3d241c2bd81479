"""softmax and its logarithm over one axis."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from clconv.arguments import LARGEST
from clconv.arrays import DTYPES, check_arrays, check_out, element_strides
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.functional._elementwise import whole
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask, check_shape, plan_of, result_array, run
from clconv.problem.softmax import SoftmaxProblem, axis_of

__all__ = ["SoftmaxGradients", "axis_argument", "log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]


class SoftmaxGradients(NamedTuple):
    """Gradient of the argument of softmax or log_softmax; None where masked."""

    input: Any


@repeatable
def softmax(
    input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None, *, out: Any = None, device: Any = None
) -> Any:
    """Turn the numbers along an axis into shares of one: ``y = exp(x) / sum(exp(x))``.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Any shape and strides. float16, float32 or float64.
    dim : int
        The axis; a negative one is counted from the back. It must be given.
    _stacklevel : int
        Of torch's warnings, of which there are none here.
    dtype : dtype, optional
        Type to which the input is converted first, and so the result's: float16, float32 or float64.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind and shape of ``input``

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> softmax(numpy.array([[1000.0, 1000.0], [-numpy.inf, 0.0]]), 1)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    return _softmax(False, input, dim, _stacklevel, dtype, out, device)


@repeatable
def log_softmax(
    input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None, *, out: Any = None, device: Any = None
) -> Any:
    """Return the logarithm of :func:`softmax`, without computing that: ``y = x - log(sum(exp(x)))``.

    Parameters
    ----------
    input, dim, _stacklevel, dtype, out, device
        As for :func:`softmax`.

    Returns
    -------
    array of the kind and shape of ``input``

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`softmax` does.

    Examples
    --------
    >>> import numpy
    >>> log_softmax(numpy.array([0.0, -1000.0]), 0)
    array([    0., -1000.])
    """
    return _softmax(True, input, dim, _stacklevel, dtype, out, device)


@repeatable
def softmax_backward(
    grad_output: Any,
    input: Any,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: Any = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> SoftmaxGradients:
    """Return the gradient of :func:`softmax`: ``dx = y (g - sum(g y))``, y being the softmax.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape and type.
    input, dim, _stacklevel, dtype, device
        As :func:`softmax` was called with.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Examples
    --------
    >>> import numpy
    >>> softmax_backward(numpy.array([4.0, 0.0]), numpy.zeros(2), 0).input
    array([ 1., -1.])
    """
    return _gradients(False, grad_output, input, dim, _stacklevel, dtype, output_mask, device)


@repeatable
def log_softmax_backward(
    grad_output: Any,
    input: Any,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: Any = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> SoftmaxGradients:
    """Return the gradient of :func:`log_softmax`: ``dx = g - exp(y) sum(g)``.

    Parameters
    ----------
    grad_output, input, dim, _stacklevel, dtype, output_mask, device
        As for :func:`softmax_backward`.

    Examples
    --------
    >>> import numpy
    >>> log_softmax_backward(numpy.array([4.0, 0.0]), numpy.zeros(2), 0).input
    array([ 2., -2.])
    """
    return _gradients(True, grad_output, input, dim, _stacklevel, dtype, output_mask, device)


def axis_argument(value: Any, name: str, shape: tuple[int, ...]) -> int:
    """Return an axis counted from the front, from an integer that may count from the back."""
    if value is None:
        raise ValueError(f"{name} must be given: torch's guess from the number of axes is deprecated: {name}=None")
    return axis_of(whole(value, name, -LARGEST, LARGEST), name, shape)


def _checked(input: Any, dim: Any, stacklevel: Any, dtype: Any, **others: Any) -> tuple[dict[str, Any], int, str]:
    """Return the arrays, the input converted to ``dtype``, the axis, and the type of the result."""
    whole(stacklevel, "_stacklevel", 0, LARGEST)
    arrays, given = check_arrays(input=input)
    if dtype is not None:
        wanted = _dtype_named(dtype)
        if wanted != given:
            arrays["input"] = arrays["input"].astype(wanted)
    axis = axis_argument(dim, "dim", tuple(arrays["input"].shape))
    checked, name = check_arrays(input=arrays["input"], **others)
    return checked, axis, name


def _dtype_named(dtype: Any) -> str:
    try:
        name = str(np.dtype(dtype).name)
    except TypeError:
        name = ""
    if name not in DTYPES:
        raise TypeError(f"dtype takes one of {', '.join(DTYPES)}: dtype={dtype!r}")
    return name


def _problem(
    is_log: bool, axis: int, dtype: str, names: tuple[str, ...], arrays: tuple[Any, ...]
) -> tuple[SoftmaxProblem, dict[str, Operand]]:
    """Return the problem and the operands; an array without axes is one of a single element."""
    shape = tuple(arrays[0].shape) or (1,)
    strides = [element_strides(array) or (1,) for array in arrays]
    problem, steps = SoftmaxProblem.over(shape, axis, strides, is_log=is_log, dtype=dtype)
    operands = zip(names, arrays, steps, strict=True)
    return problem, {name: Operand(array, 0, walked) for name, array, walked in operands}


def _softmax(is_log: bool, input: Any, dim: Any, stacklevel: Any, dtype: Any, out: Any, device: Any) -> Any:
    arrays, axis, name = _checked(input, dim, stacklevel, dtype)
    if out is not None:
        check_out(out, tuple(arrays["input"].shape), name, arrays)
    executor = executor_for(device, arrays["input"], name)
    x = executor.usable(arrays["input"])
    y = result_array(executor, out, tuple(x.shape), name, x)
    problem, operands = _problem(is_log, axis, name, ("y", "x"), (y, x))
    return run(executor, plan_of("softmax", problem, executor), operands, y, out)


def _gradients(
    is_log: bool, grad_output: Any, input: Any, dim: Any, stacklevel: Any, dtype: Any, output_mask: Any, device: Any
) -> SoftmaxGradients:
    (wanted,) = check_mask(output_mask, SoftmaxGradients._fields)
    arrays, axis, name = _checked(input, dim, stacklevel, dtype, grad_output=grad_output)
    check_shape("grad_output", arrays["grad_output"], tuple(arrays["input"].shape), "the output's shape")
    executor = executor_for(device, arrays["input"], name)
    if not wanted:
        return SoftmaxGradients(None)
    x, g = (executor.usable(arrays[which]) for which in ("input", "grad_output"))
    dx = executor.empty(tuple(x.shape), name, x)
    problem, operands = _problem(is_log, axis, name, ("dx", "g", "x"), (dx, g, x))
    executor.run(plan_of("softmax_backward", problem, executor), operands)
    return SoftmaxGradients(dx if name == input.dtype.name else dx.astype(input.dtype.name))
