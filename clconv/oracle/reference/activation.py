"""Activations and their gradients, in float64; the functions themselves are in `activation_functions`.

``inplace`` is taken and means nothing here: arrays are never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.activation_functions import activation_of
from clconv.oracle.reference.geometry import FloatArray, real_array, requested

__all__ = [
    "ActivationGradients",
    "gelu",
    "gelu_backward",
    "hardswish",
    "hardswish_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "tanh",
    "tanh_backward",
]

Array = NDArray[Any]


class ActivationGradients(NamedTuple):
    """Gradient of an activation's argument; None where masked."""

    input: FloatArray | None


def _forward(name: str, input: Array, **arguments: Any) -> FloatArray:
    x = real_array("input", input)
    return activation_of(name, arguments).values(x)


def _backward(
    name: str, grad_output: Array, input: Array, output_mask: Sequence[bool] | None, **arguments: Any
) -> ActivationGradients:
    x, g = real_array("input", input), real_array("grad_output", grad_output)
    activation = activation_of(name, arguments)
    if g.shape != x.shape:
        raise ValueError(f"grad_output must have the input's shape {x.shape}, got grad_output.shape={g.shape}")
    if not requested(output_mask, ActivationGradients._fields)[0]:
        return ActivationGradients(None)
    with np.errstate(all="ignore"):
        slopes = activation.slopes(x)
        # Where relu and hardswish have no slope, what comes from behind is not looked at.
        return ActivationGradients(np.where((slopes == 0) & (name in ("relu", "hardswish")), 0.0, g * slopes))


def relu(input: Array, inplace: bool = False) -> FloatArray:
    """Replace negative numbers by zero: ``y = max(x, 0)``.

    Parameters
    ----------
    input : any shape
    inplace : bool

    Returns
    -------
    array of the input's shape

    Raises
    ------
    ValueError
        If an argument has a value that it cannot have.
    TypeError
        If `input` is not a NumPy array of real numbers, or another argument not of its type.

    Examples
    --------
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return _forward("relu", input, inplace=inplace)


def relu_backward(
    grad_output: Array, input: Array, inplace: bool = False, *, output_mask: Sequence[bool] | None = None
) -> ActivationGradients:
    """Gradient of ``sum(grad_output * relu(...))``: ``dx = g`` where ``x > 0``, else 0.

    Parameters
    ----------
    grad_output : the input's shape
    output_mask : one bool, optional
        Whether to compute the gradient.
    input and further arguments
        As in `relu`.

    Returns
    -------
    ActivationGradients

    Raises
    ------
    ValueError
        As `relu`, and if `grad_output` does not have the input's shape or `output_mask` not one entry.
    TypeError
        As `relu`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> relu_backward(np.array([5.0, 7.0]), np.array([-1.0, 2.0])).input
    array([0., 7.])
    """
    return _backward("relu", grad_output, input, output_mask, inplace=inplace)


def leaky_relu(input: Array, negative_slope: float = 0.01, inplace: bool = False) -> FloatArray:
    """Scale negative numbers: ``y = x`` where ``x > 0``, else ``negative_slope * x``.

    Parameters
    ----------
    input : any shape
    negative_slope : float
        Of numbers below 0, finite.
    inplace : bool

    Returns, Raises
    ---------------
    As `relu`.

    Examples
    --------
    >>> leaky_relu(np.array([-1.0, 2.0]), 0.5)
    array([-0.5,  2. ])
    """
    return _forward("leaky_relu", input, negative_slope=negative_slope, inplace=inplace)


def leaky_relu_backward(
    grad_output: Array,
    input: Array,
    negative_slope: float = 0.01,
    inplace: bool = False,
    *,
    output_mask: Sequence[bool] | None = None,
) -> ActivationGradients:
    """Gradient of ``sum(grad_output * leaky_relu(...))``: ``dx = g`` where ``x > 0``, else ``negative_slope * g``.

    Parameters
    ----------
    grad_output : the input's shape
    output_mask : one bool, optional
        Whether to compute the gradient.
    input and further arguments
        As in `leaky_relu`.

    Returns, Raises
    ---------------
    As `relu_backward`.

    Examples
    --------
    >>> leaky_relu_backward(np.array([5.0, 7.0]), np.array([-1.0, 2.0]), 0.5).input
    array([2.5, 7. ])
    """
    return _backward("leaky_relu", grad_output, input, output_mask, negative_slope=negative_slope, inplace=inplace)


def sigmoid(input: Array) -> FloatArray:
    """Map to the numbers between 0 and 1: ``y = s(x) = 1/(1 + exp(-x))``.

    Parameters
    ----------
    input : any shape

    Returns, Raises
    ---------------
    As `relu`.

    Examples
    --------
    >>> sigmoid(np.array([0.0]))
    array([0.5])
    """
    return _forward("sigmoid", input)


def sigmoid_backward(
    grad_output: Array, input: Array, *, output_mask: Sequence[bool] | None = None
) -> ActivationGradients:
    """Gradient of ``sum(grad_output * sigmoid(...))``: ``dx = g s(x) s(-x)``.

    Parameters
    ----------
    grad_output : the input's shape
    output_mask : one bool, optional
        Whether to compute the gradient.
    input and further arguments
        As in `sigmoid`.

    Returns, Raises
    ---------------
    As `relu_backward`.

    Examples
    --------
    >>> sigmoid_backward(np.array([4.0]), np.array([0.0])).input
    array([1.])
    """
    return _backward("sigmoid", grad_output, input, output_mask)


def tanh(input: Array) -> FloatArray:
    """Map to the numbers between -1 and 1: ``y = tanh(x)``.

    Parameters
    ----------
    input : any shape

    Returns, Raises
    ---------------
    As `relu`.

    Examples
    --------
    >>> tanh(np.array([0.0]))
    array([0.])
    """
    return _forward("tanh", input)


def tanh_backward(
    grad_output: Array, input: Array, *, output_mask: Sequence[bool] | None = None
) -> ActivationGradients:
    """Gradient of ``sum(grad_output * tanh(...))``: ``dx = g (1 - tanh(x)**2)``.

    Parameters
    ----------
    grad_output : the input's shape
    output_mask : one bool, optional
        Whether to compute the gradient.
    input and further arguments
        As in `tanh`.

    Returns, Raises
    ---------------
    As `relu_backward`.

    Examples
    --------
    >>> tanh_backward(np.array([4.0]), np.array([0.0])).input
    array([4.])
    """
    return _backward("tanh", grad_output, input, output_mask)


def silu(input: Array, inplace: bool = False) -> FloatArray:
    """Weigh each number by its logistic function: ``y = x s(x)``.

    Parameters
    ----------
    input : any shape
    inplace : bool

    Returns, Raises
    ---------------
    As `relu`.

    Examples
    --------
    >>> silu(np.array([0.0]))
    array([0.])
    """
    return _forward("silu", input, inplace=inplace)


def silu_backward(
    grad_output: Array, input: Array, inplace: bool = False, *, output_mask: Sequence[bool] | None = None
) -> ActivationGradients:
    """Gradient of ``sum(grad_output * silu(...))``: ``dx = g s(x) (1 + x s(-x))``.

    Parameters
    ----------
    grad_output : the input's shape
    output_mask : one bool, optional
        Whether to compute the gradient.
    input and further arguments
        As in `silu`.

    Returns, Raises
    ---------------
    As `relu_backward`.

    Examples
    --------
    >>> silu_backward(np.array([4.0]), np.array([0.0])).input
    array([2.])
    """
    return _backward("silu", grad_output, input, output_mask, inplace=inplace)


def gelu(input: Array, approximate: str = "none") -> FloatArray:
    """Weigh each number by the normal distribution P: ``y = x P(x)``, or P's approximation by tanh.

    Parameters
    ----------
    input : any shape
    approximate : str
        "none", or "tanh" for ``y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3)))/2``.

    Returns, Raises
    ---------------
    As `relu`.

    Examples
    --------
    >>> gelu(np.array([0.0]))
    array([0.])
    """
    return _forward("gelu", input, approximate=approximate)


def gelu_backward(
    grad_output: Array, input: Array, approximate: str = "none", *, output_mask: Sequence[bool] | None = None
) -> ActivationGradients:
    """Gradient of ``sum(grad_output * gelu(...))``: ``dx = g (P(x) + x P'(x))``.

    Parameters
    ----------
    grad_output : the input's shape
    output_mask : one bool, optional
        Whether to compute the gradient.
    input and further arguments
        As in `gelu`.

    Returns, Raises
    ---------------
    As `relu_backward`.

    Examples
    --------
    >>> gelu_backward(np.array([4.0]), np.array([0.0])).input
    array([2.])
    """
    return _backward("gelu", grad_output, input, output_mask, approximate=approximate)


def hardswish(input: Array, inplace: bool = False) -> FloatArray:
    """Approximate silu by a parabola between two lines: ``y = x min(max(x + 3, 0), 6)/6``.

    Parameters
    ----------
    input : any shape
    inplace : bool

    Returns, Raises
    ---------------
    As `relu`.

    Examples
    --------
    >>> hardswish(np.array([0.0, 3.0]))
    array([0., 3.])
    """
    return _forward("hardswish", input, inplace=inplace)


def hardswish_backward(
    grad_output: Array, input: Array, inplace: bool = False, *, output_mask: Sequence[bool] | None = None
) -> ActivationGradients:
    """Gradient of ``sum(grad_output * hardswish(...))``: ``dx = g (x/3 + 1/2)`` between -3 and 3.

    Parameters
    ----------
    grad_output : the input's shape
    output_mask : one bool, optional
        Whether to compute the gradient.
    input and further arguments
        As in `hardswish`.

    Returns, Raises
    ---------------
    As `relu_backward`.

    Examples
    --------
    >>> hardswish_backward(np.array([4.0, 4.0]), np.array([0.0, 3.0])).input
    array([2., 4.])
    """
    return _backward("hardswish", grad_output, input, output_mask, inplace=inplace)
