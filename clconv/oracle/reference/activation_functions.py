"""The functions that activations are, with their derivatives, in float64, at infinity by their limits.

Where there is no derivative it is torch's choice: that of relu and leaky_relu at 0 is the one from below, that of
hardswish at -3 and 3 the one from outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from clconv.oracle.reference.geometry import FloatArray, switch

__all__ = ["ACTIVATIONS", "CUBE", "Activation", "activation_of", "density", "logistic", "tanh_argument"]

CUBE = 0.044715  # of gelu's approximation


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
