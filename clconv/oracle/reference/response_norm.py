"""Local response normalisation, across neighbouring channels, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, real_array, requested, require_output_shape, sizes
from clconv.oracle.reference.norm import real

__all__ = [
    "LocalResponseNormGradients",
    "Response",
    "local_response_norm",
    "local_response_norm_backward",
    "over_channels",
]

Array = NDArray[Any]


class LocalResponseNormGradients(NamedTuple):
    """Gradient of `local_response_norm`; None where masked."""

    input: FloatArray | None


class Response(NamedTuple):
    """The checked arguments: channel c is divided by a power of the mean square of c - before ... c + after."""

    x: FloatArray
    before: int
    after: int
    alpha: float
    beta: float
    k: float

    @property
    def size(self) -> int:
        """The number of channels in a window, those beyond the ends included."""
        return self.before + 1 + self.after

    def summed(self, values: FloatArray) -> FloatArray:
        """Add up the window of each channel."""
        return _windows(values, self.before, self.after)

    def spread(self, values: FloatArray) -> FloatArray:
        """Apply the adjoint of `summed`: add up the channels whose windows hold this one."""
        return _windows(values, self.after, self.before)

    def base(self) -> FloatArray:
        """Return ``k + alpha/size * sum(x**2)``, whose power x is divided by."""
        return self.k + self.alpha * self.summed(self.x**2) / self.size

    def output(self, base: FloatArray) -> FloatArray:
        """Return x over a power of the base."""
        y: FloatArray = self.x * base**-self.beta
        return y

    def gradient(self, g: FloatArray, base: FloatArray, through: FloatArray) -> FloatArray:
        """Return dx; `through` is the sum of ``dy*x*base**(-beta - 1)`` over the windows that hold a channel."""
        dx: FloatArray = g * base**-self.beta - 2 * self.alpha * self.beta / self.size * self.x * through
        return dx

    def slopes(self, g: FloatArray, base: FloatArray) -> FloatArray:
        """Return ``dy*x*base**(-beta - 1)``."""
        slopes: FloatArray = g * self.x * base ** (-self.beta - 1)
        return slopes


def over_channels(input: Array, size: int, alpha: float, beta: float, k: float, semantics: str) -> Response:
    """Check the arguments of `local_response_norm`."""
    x = real_array("input", input)
    if x.ndim < 3:
        raise ValueError(f"input must have at least 3 axes, got input.shape={x.shape}")
    if not isinstance(semantics, str):
        raise TypeError(f"semantics must be a string, got semantics={semantics!r}")
    if semantics not in ("torch", "onnx"):
        raise ValueError(f"semantics must be 'torch' or 'onnx', got semantics={semantics!r}")
    (whole,) = sizes("size", size, 1, 1)
    before, after = whole // 2, (whole - 1) // 2
    if semantics == "onnx":
        before, after = after, before
    return Response(x, before, after, real("alpha", alpha), real("beta", beta), real("k", k))


def _windows(values: FloatArray, before: int, after: int) -> FloatArray:
    C = values.shape[1]
    sums = np.zeros(values.shape)
    for shift in range(-min(before, C), min(after, C) + 1):
        low, high = max(-shift, 0), C - max(shift, 0)
        sums[:, low:high] += values[:, low + shift : high + shift]
    return sums


def local_response_norm(
    input: Array,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    semantics: str = "torch",
) -> FloatArray:
    """Divide by a power of the mean square of neighbouring channels.

    ``y[n, c] = x[n, c] / (k + alpha/size * sum(x[n, i]**2 for c - size//2 <= i <= c + (size - 1)//2))**beta``
    at every pixel. Channels beyond the ends count as zeros: the sum is divided by `size` everywhere.

    Parameters
    ----------
    input : (N, C, ...)
        With at least one spatial axis.
    size : int
        Number of channels in a window.
    alpha, beta, k : float
    semantics : str
        Where the window of an even `size` lies: for "torch", one channel more before c than after; for "onnx"
        (LRN, version 13), one more after.

    Returns
    -------
    (N, C, ...)
        NaN where the base of the power is negative.

    Raises
    ------
    ValueError
        If `input` has fewer than 3 axes or `size` is less than 1.
    TypeError
        If `input` is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[2], [4], [6]]])
    >>> local_response_norm(x, 2, alpha=2.0, beta=1.0, k=0.0).ravel().round(3)
    array([0.5  , 0.2  , 0.115])
    >>> local_response_norm(x, 2, alpha=2.0, beta=1.0, k=0.0, semantics="onnx").ravel().round(3)
    array([0.1  , 0.077, 0.167])
    """
    response = over_channels(input, size, alpha, beta, k, semantics)
    with np.errstate(all="ignore"):
        return response.output(response.base())


def local_response_norm_backward(
    grad_output: Array,
    input: Array,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    semantics: str = "torch",
    output_mask: Sequence[bool] | None = None,
) -> LocalResponseNormGradients:
    """Gradient of ``sum(grad_output * local_response_norm(...))`` with respect to the input.

    With d[i] = ``k + alpha/size * sum(x**2)`` over the window of channel i: ``dx[c] = dy[c] * d[c]**-beta
    - 2*alpha*beta/size * x[c] * sum(dy[i] * x[i] * d[i]**(-beta - 1))`` over the i whose windows hold c.

    Parameters
    ----------
    grad_output : (N, C, ...)
    output_mask : one bool, optional
        Whether to compute it.
    input, size, ...
        As in `local_response_norm`.

    Returns
    -------
    LocalResponseNormGradients

    Raises
    ------
    ValueError
        As `local_response_norm`, and if `grad_output` does not have the output's shape or `output_mask` not one
        entry.
    TypeError
        As `local_response_norm`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> g, x = np.array([[[25], [25]]]), np.array([[[1], [2]]])
    >>> local_response_norm_backward(g, x, 3, alpha=3.0, beta=1.0, k=0.0)
    LocalResponseNormGradients(input=array([[[-1.],
            [-7.]]]))
    """
    response = over_channels(input, size, alpha, beta, k, semantics)
    g = require_output_shape(grad_output, response.x.shape, True)
    (wanted,) = requested(output_mask, LocalResponseNormGradients._fields)
    if not wanted:
        return LocalResponseNormGradients(None)
    with np.errstate(all="ignore"):
        base = response.base()
        through = response.spread(response.slopes(g, base))
        return LocalResponseNormGradients(response.gradient(g, base, through))
