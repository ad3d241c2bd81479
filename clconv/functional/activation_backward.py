"""The gradients of the activations: what comes from behind times the derivative at the input."""

from __future__ import annotations

from typing import Any

from clconv.functional._elementwise import number, refuse_inplace
from clconv.functional._repeat import repeatable
from clconv.functional.activation import ActivationGradients, activation_gradients, gelu_function

__all__ = [
    "gelu_backward",
    "hardswish_backward",
    "leaky_relu_backward",
    "relu_backward",
    "sigmoid_backward",
    "silu_backward",
    "tanh_backward",
]


@repeatable
def relu_backward(
    grad_output: Any, input: Any, inplace: bool = False, *, output_mask: Any = None, device: Any = None
) -> ActivationGradients:
    """Return the gradient of :func:`relu`: ``dx = g`` where ``x > 0``, else 0.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, device
        As :func:`relu` was called with; ``input`` before it was overwritten.
    inplace : bool
        False: a gradient is a new array.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Examples
    --------
    >>> import numpy
    >>> relu_backward(numpy.array([5.0, 7.0]), numpy.array([-1.0, 2.0])).input
    array([0., 7.])
    """
    refuse_inplace(inplace, "relu")
    return activation_gradients("relu", grad_output, input, output_mask, device)


@repeatable
def leaky_relu_backward(
    grad_output: Any,
    input: Any,
    negative_slope: float = 0.01,
    inplace: bool = False,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> ActivationGradients:
    """Return the gradient of :func:`leaky_relu`: ``dx = g`` where ``x > 0``, else ``negative_slope * g``.

    Parameters
    ----------
    grad_output, input, inplace, output_mask, device
        As for :func:`relu_backward`.
    negative_slope : float
        As :func:`leaky_relu` was called with.

    Examples
    --------
    >>> import numpy
    >>> leaky_relu_backward(numpy.array([5.0, 7.0]), numpy.array([-1.0, 2.0]), 0.5).input
    array([2.5, 7. ])
    """
    refuse_inplace(inplace, "leaky_relu")
    slope = number(negative_slope, "negative_slope")
    return activation_gradients("leaky_relu", grad_output, input, output_mask, device, slope)


@repeatable
def sigmoid_backward(
    grad_output: Any, input: Any, *, output_mask: Any = None, device: Any = None
) -> ActivationGradients:
    """Return the gradient of :func:`sigmoid`: ``dx = g s(x) s(-x)``.

    Parameters
    ----------
    grad_output, input, output_mask, device
        As for :func:`relu_backward`.

    Examples
    --------
    >>> import numpy
    >>> sigmoid_backward(numpy.array([4.0]), numpy.array([0.0])).input
    array([1.])
    """
    return activation_gradients("sigmoid", grad_output, input, output_mask, device)


@repeatable
def tanh_backward(grad_output: Any, input: Any, *, output_mask: Any = None, device: Any = None) -> ActivationGradients:
    """Return the gradient of :func:`tanh`: ``dx = g (1 - tanh(x)**2)``.

    Parameters
    ----------
    grad_output, input, output_mask, device
        As for :func:`relu_backward`.

    Examples
    --------
    >>> import numpy
    >>> tanh_backward(numpy.array([4.0]), numpy.array([0.0])).input
    array([4.])
    """
    return activation_gradients("tanh", grad_output, input, output_mask, device)


@repeatable
def silu_backward(
    grad_output: Any, input: Any, inplace: bool = False, *, output_mask: Any = None, device: Any = None
) -> ActivationGradients:
    """Return the gradient of :func:`silu`: ``dx = g s(x) (1 + x s(-x))``; its limits at infinity.

    Parameters
    ----------
    grad_output, input, inplace, output_mask, device
        As for :func:`relu_backward`.

    Examples
    --------
    >>> import numpy
    >>> silu_backward(numpy.array([4.0]), numpy.array([0.0])).input
    array([2.])
    """
    refuse_inplace(inplace, "silu")
    return activation_gradients("silu", grad_output, input, output_mask, device)


@repeatable
def gelu_backward(
    grad_output: Any, input: Any, approximate: str = "none", *, output_mask: Any = None, device: Any = None
) -> ActivationGradients:
    """Return the gradient of :func:`gelu`: ``dx = g (P(x) + x p(x))``, P the normal distribution, p its density.

    Parameters
    ----------
    grad_output, input, output_mask, device
        As for :func:`relu_backward`.
    approximate : str
        As :func:`gelu` was called with.

    Examples
    --------
    >>> import numpy
    >>> gelu_backward(numpy.array([4.0]), numpy.array([0.0])).input
    array([2.])
    """
    return activation_gradients(gelu_function(approximate), grad_output, input, output_mask, device)


@repeatable
def hardswish_backward(
    grad_output: Any, input: Any, inplace: bool = False, *, output_mask: Any = None, device: Any = None
) -> ActivationGradients:
    """Return the gradient of :func:`hardswish`: ``dx = g (x/3 + 1/2)`` between -3 and 3, 0 below and g above.

    Parameters
    ----------
    grad_output, input, inplace, output_mask, device
        As for :func:`relu_backward`.

    Examples
    --------
    >>> import numpy
    >>> hardswish_backward(numpy.array([4.0, 4.0]), numpy.array([0.0, 3.0])).input
    array([2., 4.])
    """
    refuse_inplace(inplace, "hardswish")
    return activation_gradients("hardswish", grad_output, input, output_mask, device)
