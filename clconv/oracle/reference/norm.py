"""What all normalisations have in common: rows of values, their moments, the output and its gradients.

A row holds the values that are normalised together: a channel of the whole batch, a group of channels of one
image, or the last axes. With its mean m, its variance v (divided by n, not by n - 1) and r = 1/sqrt(v + eps),

    xhat = (x - m) r,    y = w xhat + b.

rms_norm is the same with m = 0, so that v is the mean square. In evaluation m and v are constants, given from
outside.

The gradients, with h = dy w and means over the row: r depends on x_j by dr/dx_j = -r**2 xhat_j / n, and m by
1/n, while the sum of x - m, hence the derivative of v by m, is zero. So

    dx = r (h - mean(h) - xhat mean(h xhat)),    dw = sum(dy xhat),    db = sum(dy)

with the sums over all elements that share a weight. Without a mean to subtract, mean(h) is missing; with
constant statistics, mean(h xhat) as well.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, Sizes, real_array, requested, require_output_shape

__all__ = [
    "Norm",
    "NormGradients",
    "Standardised",
    "applied",
    "backward",
    "epsilon",
    "forward",
    "input_gradient",
    "parameter",
    "real",
    "standardised",
    "weight_gradient",
]


class NormGradients(NamedTuple):
    """Gradients of a normalisation; None where masked, or where there is no weight or no bias."""

    input: FloatArray | None
    weight: FloatArray | None
    bias: FloatArray | None


class Norm(NamedTuple):
    """The checked arguments of a normalisation, in a shape whose axes are either all or nothing of a row."""

    x: FloatArray
    axes: Sizes  # the axes that a row runs along
    w: FloatArray | None  # in a shape to multiply x with, as is b
    b: FloatArray | None
    eps: float
    shape: Sizes  # the input's own
    parameters: Sizes  # weight's and bias's own shape
    is_centred: bool = True  # whether the mean is subtracted
    constants: tuple[FloatArray, FloatArray] | None = None  # mean and variance, where they are not the row's own

    @property
    def n(self) -> int:
        """The number of values in a row."""
        return math.prod(self.x.shape[axis] for axis in self.axes)

    def mean(self, values: FloatArray) -> FloatArray:
        """Average over each row; 0 where rows are empty."""
        average: FloatArray = np.sum(values, axis=self.axes, keepdims=True) / max(self.n, 1)
        return average

    def shared(self, values: FloatArray, like: FloatArray) -> FloatArray:
        """Add up what belongs to the same weight; `like` is the weight, or the bias, in x's axes."""
        axes = tuple(axis for axis, extent in enumerate(like.shape) if extent == 1)
        total: FloatArray = np.sum(values, axis=axes)
        return total.reshape(self.parameters)


class Standardised(NamedTuple):
    """The statistics of every row, and x in terms of them."""

    mean: FloatArray
    variance: FloatArray
    deviation: FloatArray  # sqrt(variance + eps)
    xhat: FloatArray


def standardised(norm: Norm) -> Standardised:
    """Subtract the mean and divide by the standard deviation.

    The mean is taken twice, the second time of what the first has left, so that the error of x - m is
    relative to the deviations: no digits of the variance are lost to a mean of 1e8.
    """
    with np.errstate(all="ignore"):
        if norm.constants is not None:
            mean, variance = norm.constants
            centred = norm.x - mean
        elif norm.is_centred:
            first = norm.mean(norm.x)
            residue = np.where(np.isfinite(first), norm.mean(norm.x - first), 0.0)
            mean, centred = first + residue, (norm.x - first) - residue
            variance = norm.mean(centred**2)
        else:
            centred, variance = norm.x, norm.mean(norm.x**2)
            mean = np.zeros(variance.shape)
        deviation = np.sqrt(variance + norm.eps)
        return Standardised(mean, variance, deviation, centred / deviation)


def forward(norm: Norm) -> FloatArray:
    """Return y, in the input's shape."""
    return applied(norm, standardised(norm))


def applied(norm: Norm, standard: Standardised) -> FloatArray:
    """Apply weight and bias."""
    with np.errstate(all="ignore"):
        y = standard.xhat if norm.w is None else standard.xhat * norm.w
        y = y if norm.b is None else y + norm.b
    return y.reshape(norm.shape)


def backward(grad_output: NDArray[Any], norm: Norm, output_mask: Sequence[bool] | None) -> NormGradients:
    """Return the gradients that are wanted, each in its argument's shape."""
    g = require_output_shape(grad_output, norm.shape, True).reshape(norm.x.shape)
    want_input, want_weight, want_bias = requested(output_mask, NormGradients._fields)
    standard = standardised(norm)
    return NormGradients(
        input_gradient(g, norm, standard) if want_input else None,
        weight_gradient(g, norm, standard) if want_weight else None,
        norm.shared(g, norm.b) if want_bias and norm.b is not None else None,
    )


def input_gradient(g: FloatArray, norm: Norm, standard: Standardised) -> FloatArray:
    """Return dx, in the input's shape."""
    with np.errstate(all="ignore"):
        h = g if norm.w is None else g * norm.w
        through = h
        if norm.constants is None:
            through = h - standard.xhat * norm.mean(h * standard.xhat)
            through = through - norm.mean(h) if norm.is_centred else through
        return (through / standard.deviation).reshape(norm.shape)


def weight_gradient(g: FloatArray, norm: Norm, standard: Standardised) -> FloatArray | None:
    """Return dw, None where there is no weight."""
    with np.errstate(all="ignore"):
        return None if norm.w is None else norm.shared(g * standard.xhat, norm.w)


def real(name: str, value: float) -> float:
    """Return a finite real number, refusing anything else."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {name}={value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {name}={value!r}")
    return float(value)


def epsilon(eps: float) -> float:
    """Return what is added to the variance: a number that is not negative."""
    if real("eps", eps) < 0:
        raise ValueError(f"eps must not be negative, got eps={eps!r}")
    return float(eps)


def parameter(name: str, value: NDArray[Any] | None, shape: Sizes, in_input: Sizes) -> FloatArray | None:
    """Return an optional array that must have a certain shape, reshaped to be multiplied with the input."""
    if value is None:
        return None
    array = real_array(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {name}.shape={array.shape}")
    return array.reshape(in_input)
