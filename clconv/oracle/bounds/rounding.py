"""How an implementation rounds: the types that it stores and sums in, and what it does with subnormal numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clconv.oracle._floats import FLOAT64, DType, digits, largest, smallest_normal, smallest_subnormal, unit_roundoff
from clconv.oracle.reference.geometry import FloatArray

__all__ = ["Rounding", "division_roundings", "raised"]


def division_roundings(dtype: DType) -> int:
    """Error of a division in units of u: OpenCL allows 2.5 ulp, each at most 2 u, but rounds it correctly in float64.

    Examples
    --------
    >>> import numpy as np
    >>> division_roundings(np.dtype(np.float32)), division_roundings(FLOAT64)
    (5, 1)
    """
    return 1 if digits(dtype) == digits(FLOAT64) else 5


def raised(total: FloatArray, n: FloatArray | int) -> FloatArray:
    """Return at least the exact sum of n terms, none negative, that float64 found to be `total`.

    Each term may have up to four roundings of its own: the exact sum is at most
    (total + 2 n eta) / (1 - u)**(n + 4), and n u is far below 1/2.
    """
    return (total + 2 * n * smallest_subnormal(FLOAT64)) * (1 + (2 * n + 8) * unit_roundoff(FLOAT64))


class Rounding(NamedTuple):
    """What a bound must know of an implementation's arithmetic; the types' constants are in `_floats`.

    Examples
    --------
    >>> import numpy as np
    >>> Rounding(np.dtype(np.float16), np.dtype(np.float32), flushes=False).summed
    dtype('float32')
    """

    stored: DType  # type of the arrays, results included
    summed: DType  # type in which it multiplies and adds, never narrower
    flushes: bool  # whether subnormal numbers may be taken for zero

    @property
    def flush_cost(self) -> float:
        """The most that taking a number for zero changes it by, wherever it is read, computed or stored.

        OpenCL does not let vload_half and vstore_half flush, so that float16 counts only where it is summed in.
        """
        if not self.flushes:
            return 0.0
        widened = digits(self.stored) == 11 and self.stored != self.summed
        return smallest_normal(self.summed if widened else self.stored)

    def limit(
        self, value: FloatArray, error: FloatArray, reference_error: FloatArray, peak: FloatArray | float
    ) -> FloatArray:
        """Bound how far a stored result is from the reference's `value`.

        The computation in `summed` is off by at most `error`, the reference by `reference_error`. Storing in a
        narrower type adds u_out (|y| + E) + eta_out/2. The limit is infinite where the result leaves the range
        of its type, or `peak`, the largest magnitude on the way to it, that of `summed`. The last factor is for
        the roundings made here, of which there are some ten.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.abs(value) + reference_error + error
            limit = error + reference_error
            if self.stored != self.summed:
                limit = limit + unit_roundoff(self.stored) * size + smallest_subnormal(self.stored) / 2
            limit = limit * (1 + 32 * unit_roundoff(FLOAT64)) + 4 * smallest_subnormal(FLOAT64)
            in_range = (size <= largest(self.stored)) & (peak <= largest(self.summed))
        return np.where(in_range, limit, np.inf)
