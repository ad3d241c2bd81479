"""How far dropout may be off.

``1/(1 - p)`` takes a difference, a division of 2.5 ulp and a conversion, and is multiplied by: what is kept is off by
``8 u`` of itself and an underflow, and what is dropped, or kept as it is, not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clconv.oracle._floats import FLOAT64, smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference.dropout import DropoutGradients, dropout, dropout_backward
from clconv.oracle.reference.geometry import FloatArray

__all__ = ["BOUNDS"]

Arguments = dict[str, Any]


def _limit(value: FloatArray, arguments: Arguments, rounding: Rounding) -> FloatArray:
    tiny = max(smallest_subnormal(rounding.summed), rounding.flush_cost)
    if not arguments["training"] or arguments["p"] == 0:
        return np.full(value.shape, rounding.flush_cost)
    error = 8 * unit_roundoff(rounding.summed) * np.abs(value) + tiny
    of_reference = 4 * unit_roundoff(FLOAT64) * np.abs(value)
    return np.where(value == 0, 0.0, rounding.limit(value, error, of_reference, 1 + np.abs(value)))


def _forward(arguments: Arguments, rounding: Rounding) -> FloatArray:
    return _limit(dropout(**arguments), arguments, rounding)


def _backward(arguments: Arguments, rounding: Rounding) -> DropoutGradients:
    (value,) = dropout_backward(**arguments)
    return DropoutGradients(None if value is None else _limit(value, arguments, rounding))


BOUNDS: dict[str, Callable[[Arguments, Rounding], Any]] = {"dropout": _forward, "dropout_backward": _backward}
