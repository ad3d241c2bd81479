"""Activations and their gradients, in float64: the definitions, at infinity by their limits.

Where there is no derivative it is torch's choice: that of relu and leaky_relu at 0 is the one from below, that of
hardswish at -3 and 3 the one from outside. ``inplace`` is taken and means nothing here: arrays are never changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]

from clconv.oracle.reference.geometry import FloatArray, real_array, requested, switch

__all__ = [
    "ACTIVATIONS",
    "CUBE",
    "Activation",
    "ActivationGradients",
    "activation_of",
    "density",
    "gelu",
    "gelu_backward",
    "hardswish",
    "hardswish_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "logistic",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "tanh",
    "tanh_argument",
    "tanh_backward",
]

Array = NDArray[Any]

CUBE = 0.044715  # of gelu's approximation


class ActivationGradients(NamedTuple):
    """Gradient of an activation's argument; None where masked."""

    input: FloatArray | None


class Activation(NamedTuple):
    """A function and its derivative, for finite numbers and NaN, and what they tend to at -infinity and infinity."""

    value: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray], FloatArray]
    value_limits: tuple[float, float]
    slope_limits: tuple[float, float]

    def values(self, x: FloatArray) -> FloatArray:
        """Return the function's values."""
        return _with_limits(self.value, x, self.value_limits)

    def slopes(self, x: FloatArray) -> FloatArray:
        """Return the derivative's values."""
        return _with_limits(self.slope, x, self.slope_limits)


@np.errstate(all="ignore")
def _with_limits(
    function: Callable[[FloatArray], FloatArray], x: FloatArray, limits: tuple[float, float]
) -> FloatArray:
    return np.select([np.isneginf(x), np.isposinf(x)], limits, function(x))


def logistic(x: FloatArray) -> FloatArray:
    """Return ``1/(1 + exp(-x))``."""
    return np.asarray(special.expit(x), dtype=np.float64)


def normal(x: FloatArray) -> FloatArray:
    """Return the normal distribution."""
    return np.asarray(special.ndtr(x), dtype=np.float64)


def tanh_argument(x: FloatArray) -> FloatArray:
    """Return what gelu's approximation takes the hyperbolic tangent of."""
    return math.sqrt(2 / math.pi) * (x + CUBE * x**3)


def _gelu_tanh_slope(x: FloatArray) -> FloatArray:
    w = tanh_argument(x)
    inner = math.sqrt(2 / math.pi) * (1 + 3 * CUBE * x**2)
    # 1 - tanh(w)**2 = 4 s(2w) s(-2w), which does not cancel; 0 where x**3 overflows, too.
    falling = 4 * logistic(2 * w) * logistic(-2 * w)
    return logistic(2 * w) + np.where(falling == 0, 0.0, x * falling * inner / 2)


def _hardswish_slope(x: FloatArray) -> FloatArray:
    return np.where(x <= -3, 0.0, np.where(x < 3, x / 3 + 0.5, 1.0))


def density(x: FloatArray) -> FloatArray:
    """Return the normal distribution's density."""
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(
        lambda x: np.where(x < 0, 0.0, x), lambda x: np.where(x <= 0, 0.0, 1.0), (0.0, math.inf), (0.0, 1.0)
    ),
    "sigmoid": Activation(logistic, lambda x: logistic(x) * logistic(-x), (0.0, 1.0), (0.0, 0.0)),
    "tanh": Activation(np.tanh, lambda x: 4 * logistic(2 * x) * logistic(-2 * x), (-1.0, 1.0), (0.0, 0.0)),
    "silu": Activation(
        lambda x: x * logistic(x),
        lambda x: logistic(x) * (1 + x * logistic(-x)),
        (0.0, math.inf),
        (0.0, 1.0),
    ),
    "gelu": Activation(lambda x: x * normal(x), lambda x: normal(x) + x * density(x), (0.0, math.inf), (0.0, 1.0)),
    "gelu_tanh": Activation(
        lambda x: x * logistic(2 * tanh_argument(x)), _gelu_tanh_slope, (0.0, math.inf), (0.0, 1.0)
    ),
    "hardswish": Activation(lambda x: x * np.clip(x + 3, 0.0, 6.0) / 6, _hardswish_slope, (0.0, math.inf), (0.0, 1.0)),
}


def activation_of(name: str, arguments: dict[str, Any]) -> Activation:
    """Return the activation that an operation's name and other arguments stand for, all checked."""
    switch("inplace", arguments.get("inplace", False))
    if name == "leaky_relu":
        return _leaky_relu(arguments.get("negative_slope", 0.01))
    approximate = arguments.get("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', got approximate={approximate!r}")
    return ACTIVATIONS["gelu_tanh" if approximate == "tanh" else name]


def _leaky_relu(negative_slope: float) -> Activation:
    if isinstance(negative_slope, (bool, np.bool_)) or not isinstance(negative_slope, (int, float, np.number)):
        raise TypeError(f"negative_slope must be a number, got negative_slope={negative_slope!r}")
    slope = float(negative_slope)
    if not math.isfinite(slope):
        raise ValueError(f"negative_slope must be finite, got negative_slope={negative_slope!r}")
    return Activation(
        lambda x: np.where(x > 0, x, x * slope),
        lambda x: np.where(x > 0, 1.0, slope),
        (-slope * math.inf if slope else math.nan, math.inf),
        (slope, 1.0),
    )


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

    Returns
    -------
    ActivationGradients

    Raises
    ------
    ValueError
        As `leaky_relu`, and if `grad_output` does not have the input's shape or `output_mask` not one entry.
    TypeError
        As `leaky_relu`, and if `output_mask` is not a tuple of bools.

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

    Returns
    -------
    ActivationGradients

    Raises
    ------
    ValueError
        As `sigmoid`, and if `grad_output` does not have the input's shape or `output_mask` not one entry.
    TypeError
        As `sigmoid`, and if `output_mask` is not a tuple of bools.

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

    Returns
    -------
    ActivationGradients

    Raises
    ------
    ValueError
        As `tanh`, and if `grad_output` does not have the input's shape or `output_mask` not one entry.
    TypeError
        As `tanh`, and if `output_mask` is not a tuple of bools.

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

    Returns
    -------
    ActivationGradients

    Raises
    ------
    ValueError
        As `silu`, and if `grad_output` does not have the input's shape or `output_mask` not one entry.
    TypeError
        As `silu`, and if `output_mask` is not a tuple of bools.

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

    Returns
    -------
    ActivationGradients

    Raises
    ------
    ValueError
        As `gelu`, and if `grad_output` does not have the input's shape or `output_mask` not one entry.
    TypeError
        As `gelu`, and if `output_mask` is not a tuple of bools.

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

    Returns
    -------
    ActivationGradients

    Raises
    ------
    ValueError
        As `hardswish`, and if `grad_output` does not have the input's shape or `output_mask` not one entry.
    TypeError
        As `hardswish`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> hardswish_backward(np.array([4.0, 4.0]), np.array([0.0, 3.0])).input
    array([2., 4.])
    """
    return _backward("hardswish", grad_output, input, output_mask, inplace=inplace)
