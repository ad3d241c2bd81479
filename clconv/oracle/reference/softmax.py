"""softmax, its logarithm, cross entropy, and their gradients, in float64.

The largest number of a row is subtracted first, so that nothing overflows. A row with NaN or infinity is NaN; minus
infinity has the share 0, unless there is nothing else.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, real_array, requested

__all__ = [
    "SoftmaxGradients",
    "axis_of",
    "log_softmax",
    "log_softmax_backward",
    "logarithms",
    "softmax",
    "softmax_backward",
]

Array = NDArray[Any]


class SoftmaxGradients(NamedTuple):
    """Gradient of `softmax` or `log_softmax`; None where masked."""

    input: FloatArray | None


def softmax(input: Array, dim: SupportsIndex) -> FloatArray:
    """Turn the numbers along an axis into shares of one: ``y = exp(x) / sum(exp(x))``.

    Parameters
    ----------
    input : any shape but ()
    dim : int
        The axis; negative ones are counted from the back.

    Returns
    -------
    array of the input's shape

    Raises
    ------
    ValueError
        If `dim` is no axis of the input.
    TypeError
        If `input` is not a NumPy array of real numbers, or `dim` no integer.

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0, -np.inf]), 0)
    array([0.5, 0.5, 0. ])
    """
    x = real_array("input", input)
    axis = axis_of(x, dim)
    with np.errstate(all="ignore"):
        return np.exp(logarithms(x, axis))


def log_softmax(input: Array, dim: SupportsIndex) -> FloatArray:
    """Return the logarithm of `softmax`: ``y = x - log(sum(exp(x)))``.

    Parameters
    ----------
    input, dim
        As in `softmax`.

    Returns
    -------
    array of the input's shape

    Raises
    ------
    ValueError, TypeError
        As `softmax`.

    Examples
    --------
    >>> log_softmax(np.array([0.0, -1000.0]), 0)
    array([    0., -1000.])
    """
    x = real_array("input", input)
    return logarithms(x, axis_of(x, dim))


def softmax_backward(
    grad_output: Array, input: Array, dim: SupportsIndex, *, output_mask: Sequence[bool] | None = None
) -> SoftmaxGradients:
    """Gradient of ``sum(grad_output * softmax(...))``: ``dx = y (g - sum(g y))``.

    Parameters
    ----------
    grad_output : the input's shape
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, dim
        As in `softmax`.

    Returns
    -------
    SoftmaxGradients

    Raises
    ------
    ValueError, TypeError
        As `softmax`, and if `grad_output` does not have the input's shape, or `output_mask` is not one bool.

    Examples
    --------
    >>> softmax_backward(np.array([4.0, 0.0]), np.zeros(2), 0).input
    array([ 1., -1.])
    """
    x, g, axis = _checked(grad_output, input, dim)
    if not requested(output_mask, SoftmaxGradients._fields)[0]:
        return SoftmaxGradients(None)
    with np.errstate(all="ignore"):
        y = np.exp(logarithms(x, axis))
        return SoftmaxGradients(y * (g - np.sum(g * y, axis=axis, keepdims=True)))


def log_softmax_backward(
    grad_output: Array, input: Array, dim: SupportsIndex, *, output_mask: Sequence[bool] | None = None
) -> SoftmaxGradients:
    """Gradient of ``sum(grad_output * log_softmax(...))``: ``dx = g - softmax(x) sum(g)``.

    Parameters
    ----------
    grad_output, input, dim, output_mask
        As in `softmax_backward`.

    Returns
    -------
    SoftmaxGradients

    Raises
    ------
    ValueError, TypeError
        As `softmax_backward`.

    Examples
    --------
    >>> log_softmax_backward(np.array([4.0, 0.0]), np.zeros(2), 0).input
    array([ 2., -2.])
    """
    x, g, axis = _checked(grad_output, input, dim)
    if not requested(output_mask, SoftmaxGradients._fields)[0]:
        return SoftmaxGradients(None)
    with np.errstate(all="ignore"):
        return SoftmaxGradients(g - np.exp(logarithms(x, axis)) * np.sum(g, axis=axis, keepdims=True))


@np.errstate(all="ignore")
def logarithms(x: FloatArray, axis: int) -> FloatArray:
    """Return the logarithms of the shares along an axis."""
    if x.shape[axis] == 0:
        return x.copy()
    below = x - np.max(x, axis=axis, keepdims=True)
    found: FloatArray = below - np.log(np.sum(np.exp(below), axis=axis, keepdims=True))
    return found


def axis_of(x: FloatArray, dim: SupportsIndex) -> int:
    """Return an axis of the input, counted from the front."""
    if isinstance(dim, (bool, np.bool_)) or not hasattr(dim, "__index__"):
        raise TypeError(f"dim must be an integer, got dim={dim!r}")
    axis = operator.index(dim)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"dim must be an axis of the input, got dim={dim}, input.shape={x.shape}")
    return axis % x.ndim


def _checked(grad_output: Array, input: Array, dim: SupportsIndex) -> tuple[FloatArray, FloatArray, int]:
    x, g = real_array("input", input), real_array("grad_output", grad_output)
    axis = axis_of(x, dim)
    if g.shape != x.shape:
        raise ValueError(f"grad_output must have the input's shape {x.shape}, got grad_output.shape={g.shape}")
    return x, g, axis
