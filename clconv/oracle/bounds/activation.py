r"""How far activations and their gradients may be off.

An implementation evaluates the textbook's formula in the type of the sums, whose unit roundoff is u, with elementary
functions as inexact as OpenCL's full profile lets them be: exp by 3 ulp, tanh by 5, erf by 16, a division by 2.5, where
an ulp is at most 2 u of the value. It may find exp(x) as a power of another base, whose rounded exponent costs 2 u |x|
more. So exp is off by at most ``(8 + 2|x|) u``, tanh by 12 u and erf by 32 u of their values. What follows is to first
order, with constants rounded up by more than the terms of second order. g stands for grad_output, y for the value.

- **relu** copies: no error. **leaky_relu** rounds its slope and one product: ``3 u |y|`` where x is not above 0.
- **sigmoid** s = 1/(1 + e): an error of e counts by its share 1 - s in the sum; ``s rho``, with
  ``rho = ((8 + 2|x|)(1 - s) + 8) u``. Where e overflows, s is less than the smallest normal number lambda, and 0.
- **tanh**: ``12 u |y|``.
- **silu**: ``|y| (rho + 2 u)``, and ``|x| lambda``.
- **gelu** = x/2 (1 + erf(x/sqrt 2)) cancels below 0: the sum is off by 32 u, by 2 u from its own rounding and by
  ``erf'(z) z 3 u < 2 u`` from the argument's: ``18 u |x| + 4 u |y|``. With tanh of an argument w that is off by 8 u of
  itself, which costs ``8 u w/cosh(w)^2 < 4 u``, it is ``9 u |x| + 4 u |y|``. Both are allowed ``20 u |x| + 4 u |y|``.
- **hardswish**: the sum may be x/6 + 1/2 with a rounded sixth, ``4 u |x|`` for |x| < 4, and has ``8 u |y|`` for the
  rest; nothing from -4 down, where it is cut off.

Gradients:

- **sigmoid** ``g s (1 - s)``: 1 - s is off by u and the error of s: ``|g| s (2 rho + 4 u)``.
- **tanh** ``g (1 - t^2)``: ``|g| (26 t^2 + 6) u``.
- **silu** ``g s (1 + x (1 - s))``, where ``A = s (1 + |x| (1 - s))``: ``|g| ((rho + 8 u) A + s |x| (s rho + 2 u))``.
- **gelu** ``g (P + x p)``, with the density p off by ``(2 x^2 + 12) u``: ``|g| (22 u + |x| p (2 x^2 + 16) u)``. With
  tanh, t is off by 16 u, and v = 1 - t^2 in ``g ((1 + t)/2 + x/2 v w')`` by ``(34 t^2 + 6) u`` and, from the argument,
  by 16 u |w| v: ``|g| (10 + |x w'| ((17 t^2 + 3) + (8 |w| + 10) v)) u``.
- **hardswish**: ``|g| (2 |x| + 2) u`` between the ends.

An argument may itself be off, as that of an epilogue's activation is. rho falls as x grows, and every other factor
grows or falls with |x|: so the formulas hold with each factor at that end of the interval where it is largest.

Every product may underflow: eta, or lambda where subnormal numbers are flushed, for each of eight operations, times the
factors that follow. The reference has the same errors with the u of float64, by better functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from clconv.oracle._floats import FLOAT64, smallest_normal, smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference.activation import ActivationGradients
from clconv.oracle.reference.activation_functions import CUBE, activation_of, density, logistic, tanh_argument
from clconv.oracle.reference.geometry import FloatArray, requested

__all__ = ["BOUNDS", "Machine", "machines", "peak", "slope_error", "value_error"]

Arguments = dict[str, Any]
NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "hardswish")
CUBE_ROOM = 0.04  # gelu's approximation computes x**3, which may overflow where the result does not


class Machine(NamedTuple):
    """What the formulas need to know of a type."""

    u: float
    tiny: float  # what an underflow costs
    least: float  # lambda

    def rho(self, x: FloatArray) -> FloatArray:
        """Return the relative error of the logistic function."""
        return ((8 + 2 * np.abs(x)) * logistic(-x) + 8) * self.u


def value_error(name: str, x: FloatArray, y: FloatArray, m: Machine, off: FloatArray | float = 0.0) -> FloatArray:
    """Bound the error of a function's values of at most |y|, computed anywhere between x - off and x + off."""
    u, size = m.u, np.abs(y)
    nearest, farthest = np.maximum(np.abs(x) - off, 0.0), np.abs(x) + off
    if name == "relu":
        return np.zeros(x.shape)
    if name == "leaky_relu":
        return np.where(x - off > 0, 0.0, 3 * u * size + 2 * m.tiny)
    if name == "sigmoid":
        return size * m.rho(x - off) + m.least
    if name == "tanh":
        return 12 * u * size + 8 * m.tiny
    if name == "silu":
        return size * (m.rho(x - off) + 2 * u) + farthest * m.least + 8 * m.tiny
    if name == "hardswish":
        of_sum = np.where(nearest < 4, 4 * u * np.minimum(farthest, 4), 0.0)
        return np.where(x + off > -4, 8 * u * size + of_sum + 8 * m.tiny, 0.0)
    return 20 * u * farthest + 4 * u * size + 8 * m.tiny * (1 + farthest)


def slope_error(name: str, x: FloatArray, m: Machine, off: FloatArray | float = 0.0) -> FloatArray:
    """Bound the error of a derivative that is computed anywhere between x - off and x + off."""
    u, nearest, farthest = m.u, np.maximum(np.abs(x) - off, 0.0), np.abs(x) + off
    s, rest, rho = logistic(x + off), logistic(off - x), m.rho(x - off)
    if name == "sigmoid":
        return s * (2 * rho + 4 * u) + 4 * m.least
    if name == "tanh":
        return (26 * np.tanh(farthest) ** 2 + 6) * u
    if name == "silu":
        inner = (rho + 8 * u) * s * (1 + farthest * rest)
        return inner + s * farthest * (s * rho + 2 * u) + 4 * (1 + farthest) * m.least
    if name == "gelu":
        return (22 + farthest * density(nearest) * (2 * farthest**2 + 16)) * u
    if name == "gelu_tanh":
        w, least = tanh_argument(farthest), tanh_argument(nearest)
        t, inner = np.tanh(w), np.sqrt(2 / np.pi) * (1 + 3 * CUBE * farthest**2)
        falling = 4 * logistic(2 * least) * logistic(-2 * least)
        return np.asarray((10 + farthest * inner * (17 * t * t + 3 + (8 * w + 10) * falling)) * u)
    return np.where(nearest < 3, (2 * np.minimum(farthest, 3) + 2) * u, 0.0)


def machines(rounding: Rounding) -> tuple[Machine, Machine]:
    """Return the implementation's type and the reference's."""

    def machine(dtype: Any, flushed: float) -> Machine:
        return Machine(unit_roundoff(dtype), max(smallest_subnormal(dtype), flushed), smallest_normal(dtype))

    return machine(rounding.summed, rounding.flush_cost), machine(FLOAT64, 0.0)


def _known_as(name: str, arguments: Arguments) -> str:
    return "gelu_tanh" if arguments.get("approximate") == "tanh" else name


@np.errstate(all="ignore")
def _forward(name: str, arguments: Arguments, rounding: Rounding) -> FloatArray:
    x = arguments["input"]
    y = activation_of(name, arguments).values(x)
    known = _known_as(name, arguments)
    error, reference_error = (value_error(known, x, y, m) for m in machines(rounding))
    copied = (error == 0) & (y == np.where(x > 0, x, 0.0))
    if name == "relu" and rounding.flushes:
        copied, error = np.zeros(x.shape, bool), np.full(x.shape, rounding.flush_cost)
    limit = rounding.limit(y, error, reference_error, peak(known, x))
    return np.where(copied, 0.0, limit)


def peak(name: str, x: FloatArray) -> FloatArray:
    """Return the largest number on the way to a value."""
    size = np.abs(x)
    return {"hardswish": 6 * size + 18, "gelu_tanh": size + 2 * CUBE_ROOM * size**3}.get(name, 2 * size + 2)


@np.errstate(all="ignore")
def _backward(name: str, arguments: Arguments, rounding: Rounding) -> ActivationGradients:
    if not requested(arguments.get("output_mask"), ActivationGradients._fields)[0]:
        return ActivationGradients(None)
    x, g = arguments["input"], arguments["grad_output"]
    slopes, known = activation_of(name, arguments).slopes(x), _known_as(name, arguments)
    size = np.abs(g)
    dx = g * slopes

    def error(m: Machine) -> FloatArray:
        rounded = 4 * m.u * np.abs(dx) + 8 * m.tiny * (1 + size)
        if known in ("relu", "leaky_relu"):
            return np.where((slopes == 0) | (slopes == 1), 0.0, rounded)
        total = size * slope_error(known, x, m) * (1 + 8 * m.u) + rounded
        return np.where(np.abs(x) >= 3, 0.0, total) if known == "hardswish" else total

    own, of_reference = (error(m) for m in machines(rounding))
    copied = (own == 0) & ((slopes == 0) | (slopes == 1))
    if copied.any() and rounding.flushes:
        own = np.where(copied, rounding.flush_cost, own)
        copied = np.zeros(x.shape, bool)
    most = np.maximum(size, 1.0) * (2 + np.abs(x) * (2 + CUBE_ROOM * 4 * x * x * (known == "gelu_tanh")))
    limit = rounding.limit(dx, own, of_reference, most)
    return ActivationGradients(np.where(copied, 0.0, limit))


BOUNDS: dict[str, Callable[[Arguments, Rounding], Any]] = {
    **{name: functools.partial(_forward, name) for name in NAMES},
    **{f"{name}_backward": functools.partial(_backward, name) for name in NAMES},
}
