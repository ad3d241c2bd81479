"""How an implementation rounds: the types that it stores and sums in, and what it does with subnormal numbers."""

from __future__ import annotations

from typing import NamedTuple

from ._floats import DType

__all__ = ["Rounding"]


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
