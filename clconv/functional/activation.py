"""Activations: functions of each element by itself, of arrays of any shape."""

from __future__ import annotations

from typing import Any, NamedTuple

from clconv.arguments import choice
from clconv.arrays import check_arrays
from clconv.devices import executor_for
from clconv.functional._elementwise import destination, number, walk_of
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask, check_shape, plan_of, result_array, run
from clconv.problem.elementwise import ActivationProblem

__all__ = [
    "ActivationGradients",
    "activation_gradients",
    "gelu",
    "gelu_function",
    "hardswish",
    "leaky_relu",
    "relu",
    "sigmoid",
    "silu",
    "tanh",
]


class ActivationGradients(NamedTuple):
    """Gradient of an activation's argument; None where masked."""

    input: Any


@repeatable
def relu(input: Any, inplace: bool = False, *, out: Any = None, device: Any = None) -> Any:
    """Replace negative numbers by zero: ``y = max(x, 0)``.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Any shape and strides. float16, float32 or float64.
    inplace : bool
        Whether to write the result into ``input`` and return it.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind and shape of ``input``

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does; and if ``inplace`` meets an input that cannot be written.

    Examples
    --------
    >>> import numpy
    >>> relu(numpy.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return _activation("relu", input, inplace=inplace, out=out, device=device)


@repeatable
def leaky_relu(
    input: Any, negative_slope: float = 0.01, inplace: bool = False, *, out: Any = None, device: Any = None
) -> Any:
    """Scale negative numbers: ``y = x`` where ``x > 0``, else ``negative_slope * x``.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Any shape and strides. float16, float32 or float64.
    negative_slope : float
        Any number but NaN.
    inplace, out, device
        As for :func:`relu`.

    Returns
    -------
    array of the kind and shape of ``input``

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`relu` does.

    Examples
    --------
    >>> import numpy
    >>> leaky_relu(numpy.array([-1.0, 2.0]), 0.5)
    array([-0.5,  2. ])
    """
    slope = number(negative_slope, "negative_slope")
    return _activation("leaky_relu", input, slope=slope, inplace=inplace, out=out, device=device)


@repeatable
def sigmoid(input: Any, *, out: Any = None, device: Any = None) -> Any:
    """Map to the numbers between 0 and 1: ``y = s(x) = 1/(1 + exp(-x))``.

    Parameters
    ----------
    input, out, device
        As for :func:`relu`.

    Returns
    -------
    array of the kind and shape of ``input``

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`relu` does.

    Examples
    --------
    >>> import numpy
    >>> sigmoid(numpy.array([0.0, -numpy.inf]))
    array([0.5, 0. ])
    """
    return _activation("sigmoid", input, out=out, device=device)


@repeatable
def tanh(input: Any, *, out: Any = None, device: Any = None) -> Any:
    """Map to the numbers between -1 and 1: ``y = tanh(x)``.

    Parameters
    ----------
    input, out, device
        As for :func:`relu`.

    Returns
    -------
    array of the kind and shape of ``input``

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`relu` does.

    Examples
    --------
    >>> import numpy
    >>> tanh(numpy.array([0.0, numpy.inf]))
    array([0., 1.])
    """
    return _activation("tanh", input, out=out, device=device)


@repeatable
def silu(input: Any, inplace: bool = False, *, out: Any = None, device: Any = None) -> Any:
    """Weigh each number by its logistic function: ``y = x s(x)``, ``s(x) = 1/(1 + exp(-x))``; 0 at -infinity.

    Parameters
    ----------
    input, inplace, out, device
        As for :func:`relu`.

    Returns
    -------
    array of the kind and shape of ``input``

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`relu` does.

    Examples
    --------
    >>> import numpy
    >>> silu(numpy.array([0.0, 100.0]))
    array([  0., 100.])
    """
    return _activation("silu", input, inplace=inplace, out=out, device=device)


@repeatable
def gelu(input: Any, approximate: str = "none", *, out: Any = None, device: Any = None) -> Any:
    """Weigh each number by the normal distribution: ``y = x (1 + erf(x/sqrt(2)))/2``; 0 at -infinity.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Any shape and strides. float16, float32 or float64.
    approximate : str
        "none", or "tanh" for ``y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3)))/2``.
    out, device
        As for :func:`relu`.

    Returns
    -------
    array of the kind and shape of ``input``

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`relu` does.

    Examples
    --------
    >>> import numpy
    >>> gelu(numpy.array([0.0, 100.0]))
    array([  0., 100.])
    """
    return _activation(gelu_function(approximate), input, out=out, device=device)


@repeatable
def hardswish(input: Any, inplace: bool = False, *, out: Any = None, device: Any = None) -> Any:
    """Approximate silu by a parabola between two lines: ``y = x min(max(x + 3, 0), 6)/6``; 0 at -infinity.

    Parameters
    ----------
    input, inplace, out, device
        As for :func:`relu`.

    Returns
    -------
    array of the kind and shape of ``input``

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`relu` does.

    Examples
    --------
    >>> import numpy
    >>> hardswish(numpy.array([-4.0, -1.5, 0.0, 4.0]))
    array([ 0.   , -0.375,  0.   ,  4.   ])
    """
    return _activation("hardswish", input, inplace=inplace, out=out, device=device)


def gelu_function(approximate: Any) -> str:
    """Return which of the activations a word for gelu's approximation means."""
    return {"none": "gelu", "tanh": "gelu_tanh"}[choice(approximate, "approximate", ("none", "tanh"))]


def _activation(
    function: str, input: Any, *, slope: float = 0.0, inplace: Any = False, out: Any = None, device: Any = None
) -> Any:
    """Check the arguments, then compute the output."""
    arrays, dtype = check_arrays(input=input)
    target = destination(input, arrays, dtype, inplace, out)
    executor = executor_for(device, arrays["input"], dtype)
    x = executor.usable(arrays["input"])
    y = result_array(executor, target, tuple(x.shape), dtype, x)
    walk, operands = walk_of(("y", "x"), (y, x))
    problem = ActivationProblem(function, slope, walk.extents, walk.dense, dtype)
    return run(executor, plan_of("activation", problem, executor), operands, y, target)


def activation_gradients(
    function: str, grad_output: Any, input: Any, output_mask: Any, device: Any, slope: float = 0.0
) -> ActivationGradients:
    """Check the arguments, then compute the gradient if the mask asks for it."""
    (wanted,) = check_mask(output_mask, ActivationGradients._fields)
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    check_shape("grad_output", arrays["grad_output"], tuple(arrays["input"].shape), "the output's shape")
    executor = executor_for(device, arrays["input"], dtype)
    if not wanted:
        return ActivationGradients(None)
    x, g = (executor.usable(arrays[name]) for name in ("input", "grad_output"))
    dx = executor.empty(tuple(x.shape), dtype, x)
    walk, operands = walk_of(("dx", "g", "x"), (dx, g, x))
    problem = ActivationProblem(function, slope, walk.extents, walk.dense, dtype)
    executor.run(plan_of("activation_backward", problem, executor), operands)
    return ActivationGradients(dx)
