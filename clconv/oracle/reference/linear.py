"""The linear layer and its gradients, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, real_array, requested

__all__ = ["LinearGradients", "linear", "linear_backward"]

Array = NDArray[Any]


class LinearGradients(NamedTuple):
    """Gradients of `linear`; None where masked or where there is no bias."""

    input: FloatArray | None
    weight: FloatArray | None
    bias: FloatArray | None


def linear(input: Array, weight: Array, bias: Array | None = None) -> FloatArray:
    """Multiply each row by a matrix: ``y[..., o] = b[o] + sum over i of x[..., i] w[o, i]``.

    Parameters
    ----------
    input : (..., I)
    weight : (O, I), or (I,)
    bias : (O,), or () for a weight of one axis; optional

    Returns
    -------
    (..., O), or (...) for a weight of one axis

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    TypeError
        If an argument is not a NumPy array of real numbers.

    Examples
    --------
    >>> linear(np.array([1, 2]), np.array([[3, 4], [0, 1]]), np.array([100, 0]))
    array([111.,   2.])
    """
    x, w, b = _checked(input, weight, bias)
    y = np.asarray(x @ w.T)
    return y if b is None else y + b


def linear_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    output_mask: Sequence[bool] | None = None,
) -> LinearGradients:
    """Gradients of ``sum(grad_output * linear(...))``: ``dx = g w``, ``dw = g.T x``, ``db = sum(g)`` over the rows.

    Parameters
    ----------
    grad_output : the output's shape
    output_mask : three bools, optional
        Which gradients to compute.
    input, weight, bias
        As in `linear`.

    Returns
    -------
    LinearGradients

    Raises
    ------
    ValueError
        As `linear`, and if `grad_output` does not have the output's shape or `output_mask` not three entries.
    TypeError
        As `linear`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> linear_backward(np.ones((2, 1)), np.array([[1, 2], [3, 4]]), np.array([[5, 6]])).weight
    array([[4., 6.]])
    """
    x, w, b = _checked(input, weight, bias)
    g, shape = real_array("grad_output", grad_output), (*x.shape[:-1], *w.shape[:-1])
    if g.shape != shape:
        raise ValueError(f"grad_output must have the output's shape {shape}, got grad_output.shape={g.shape}")
    wants_input, wants_weight, wants_bias = requested(output_mask, LinearGradients._fields)
    matrix, count = np.atleast_2d(w), math.prod(x.shape[:-1])
    rows, G = x.reshape(count, x.shape[-1]), g.reshape(count, len(matrix))
    return LinearGradients(
        (g[..., np.newaxis] if w.ndim == 1 else g) @ matrix if wants_input else None,
        (G.T @ rows).reshape(w.shape) if wants_weight else None,
        np.sum(G, axis=0).reshape(b.shape) if wants_bias and b is not None else None,
    )


def _checked(input: Array, weight: Array, bias: Array | None) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    x, w = real_array("input", input), real_array("weight", weight)
    b = None if bias is None else real_array("bias", bias)
    if w.ndim not in (1, 2):
        raise ValueError(f"weight must have 1 or 2 axes, got weight.shape={w.shape}")
    if not x.ndim or x.shape[-1] != w.shape[-1]:
        raise ValueError(f"the last axes of input and weight must be equal, got {x.shape} and {w.shape}")
    if b is not None and b.shape != w.shape[:-1]:
        raise ValueError(f"bias must have shape {w.shape[:-1]}, got bias.shape={b.shape}")
    return x, w, b
