r"""How far softmax, its logarithm and their gradients may be off.

u is the unit roundoff of the type of the sums, n the length of a row, m its maximum, d = m - x >= 0, e = exp(-d), S the
sum of e, at least 1, y = e/S, g stands for grad_output. An implementation subtracts m first; another order of steps,
such as exp(x - log(sum)), is off by u times the logarithm more, which is not allowed for. To first order:

- d is rounded, u d, and exp is off by ``(8 + 2 d) u`` of itself (see `bounds.activation`): e by ``(8 + 3 d) u e``.
- S by ``s S`` with ``s = sum(y (8 + 3 d)) u + (n - 1) u``; y by ``r y`` with ``r = (8 + 3 d) u + s + 7 u``, which has
  room for a division of 2.5 ulp and a product with a reciprocal.
- **log_softmax** z = -d - log S: the logarithm is off by s and by 3 ulp of itself: ``s + u d + 6 u log S + 2 u |z|``.
- **gradient of softmax** y (g - T), T = sum(g y): T is off by ``sum(|g| y r) + n u sum(|g| y)``, so that the result is
  off by ``y (r |g - T| + that + 3 u (|g| + sum(|g| y)))``.
- **gradient of log_softmax** g - y G, G = sum g: ``y (r |G| + n u sum|g|) + 3 u (|g| + y |G|)``.

Whatever underflows costs eta, or lambda where subnormal numbers are flushed: a share by one, a gradient by n (1 + |g|)
of them. The reference has the same errors with the u of float64; it finds shares as exponentials of their logarithms,
which costs it u times those more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from clconv.oracle._floats import FLOAT64, smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference.geometry import FloatArray, requested
from clconv.oracle.reference.softmax import SoftmaxGradients, axis_of, logarithms

__all__ = ["BOUNDS", "Rows", "rows_along"]

Arguments = dict[str, Any]


class Rows(NamedTuple):
    """What the formulas are made of, for the type of one machine; arrays in the input's shape."""

    below: FloatArray  # d
    z: FloatArray  # log y
    y: FloatArray
    log_sum: FloatArray  # log S
    of_sum: FloatArray  # s
    of_share: FloatArray  # r
    u: float
    tiny: float
    axis: int

    def sum(self, values: FloatArray) -> FloatArray:
        """Add up along the rows."""
        total: FloatArray = np.sum(values, axis=self.axis, keepdims=True)
        return total

    @property
    def n(self) -> int:
        """Length of a row."""
        return int(self.y.shape[self.axis])

    @property
    def of_logarithm(self) -> FloatArray:
        """The error of z."""
        found: FloatArray = self.of_sum + self.u * (self.below + 6 * self.log_sum + 2 * np.abs(self.z)) + self.tiny
        return found


def rows_along(x: FloatArray, axis: int, u: float, tiny: float) -> Rows:
    """Evaluate the formulas for a machine."""
    z = logarithms(x, axis)
    y = np.exp(z)
    below = np.max(x, axis=axis, keepdims=True) - x if x.size else np.zeros(x.shape)
    log_sum = -np.max(z, axis=axis, keepdims=True) if x.size else np.zeros(x.shape)
    of_sum = (np.sum(y * (8 + 3 * below), axis=axis, keepdims=True) + x.shape[axis]) * u
    of_share = (15 + 3 * below) * u + of_sum
    if u == unit_roundoff(FLOAT64):
        of_share = of_share + 4 * u * np.abs(z)
    return Rows(below, z, y, log_sum, of_sum, of_share, u, tiny, axis)


def both_rows(x: FloatArray, axis: int, rounding: Rounding) -> tuple[Rows, Rows]:
    """Evaluate the formulas for an implementation and for the reference."""
    tiny = max(smallest_subnormal(rounding.summed), rounding.flush_cost)
    own = rows_along(x, axis, unit_roundoff(rounding.summed), tiny)
    return own, rows_along(x, axis, unit_roundoff(FLOAT64), smallest_subnormal(FLOAT64))


@np.errstate(all="ignore")
def _forward(is_log: bool, arguments: Arguments, rounding: Rounding) -> FloatArray:
    x = arguments["input"]

    def error(rows: Rows) -> FloatArray:
        return rows.of_logarithm if is_log else rows.of_share * rows.y + (rows.n + 4) * rows.tiny

    own, reference = both_rows(x, axis_of(x, arguments["dim"]), rounding)
    peak = np.abs(x) + own.below + own.n
    return rounding.limit(own.z if is_log else own.y, error(own), error(reference), peak)


@np.errstate(all="ignore")
def _backward(is_log: bool, arguments: Arguments, rounding: Rounding) -> SoftmaxGradients:
    if not requested(arguments.get("output_mask"), SoftmaxGradients._fields)[0]:
        return SoftmaxGradients(None)
    x, g = arguments["input"], arguments["grad_output"]
    size = np.abs(g)
    own, reference = both_rows(x, axis_of(x, arguments["dim"]), rounding)

    def error(rows: Rows) -> FloatArray:
        tiny = (rows.n + 4) * rows.tiny * (1 + size + rows.sum(size))
        if is_log:
            G, sizes = np.abs(rows.sum(g)), rows.sum(size)
            off = rows.y * (rows.of_share * G + rows.n * rows.u * sizes) + 3 * rows.u * (size + rows.y * G)
            return np.asarray(off + tiny)
        T, weighed = rows.sum(g * rows.y), rows.sum(size * rows.y)
        of_T = rows.sum(size * rows.y * rows.of_share) + rows.n * rows.u * weighed
        off = rows.y * (rows.of_share * np.abs(g - T) + of_T + 3 * rows.u * (size + weighed))
        return np.asarray(off + tiny)

    total = own.sum(g) if is_log else own.sum(g * own.y)
    value = g - own.y * total if is_log else own.y * (g - total)
    peak = own.n * (1 + size + own.sum(size)) + np.abs(x)
    return SoftmaxGradients(rounding.limit(value, error(own), error(reference), peak))


BOUNDS: dict[str, Callable[[Arguments, Rounding], Any]] = {
    "softmax": functools.partial(_forward, False),
    "softmax_backward": functools.partial(_backward, False),
    "log_softmax": functools.partial(_forward, True),
    "log_softmax_backward": functools.partial(_backward, True),
}
