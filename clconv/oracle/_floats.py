"""The floating-point types that an implementation may store and sum in, by their constants."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

__all__ = [
    "FLOAT64",
    "NAMES",
    "DType",
    "digits",
    "float_type",
    "largest",
    "smallest_normal",
    "smallest_subnormal",
    "storage_and_sum",
    "unit_roundoff",
]

DType = np.dtype[Any]

FLOAT64: DType = np.dtype(np.float64)
NAMES = ("float16", "bfloat16", "float32", "float64")


def float_type(name: str, dtype: DTypeLike) -> DType:
    """Return one of the types, in native byte order; bfloat16 is that of ml_dtypes.

    Examples
    --------
    >>> float_type("dtype", ">f4")
    dtype('float32')
    """
    if dtype is None:  # NumPy would take it for float64
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, got None")
    if dtype == "bfloat16":
        _ml_dtypes()
    try:
        plain: DType = np.dtype(dtype).newbyteorder("=")
        known, given = plain.name in NAMES, str(plain)
    except TypeError:  # no type of NumPy's
        known, given = False, repr(dtype)
    if not known:
        raise ValueError(f"{name} must be float16, bfloat16, float32 or float64, got {name}={given}")
    return plain


def storage_and_sum(dtype: DTypeLike, accumulate: DTypeLike | None) -> tuple[DType, DType]:
    """Return the types of arrays and of sums: by default float32 for the 16-bit types, else the same."""
    stored = float_type("dtype", dtype)
    if accumulate is None:
        return stored, max(stored, np.dtype(np.float32), key=digits)
    summed = float_type("accumulate", accumulate)
    if digits(summed) < digits(stored) or largest(summed) < largest(stored):
        raise ValueError(f"accumulate={summed} must not be narrower than dtype={stored}")
    return stored, summed


def digits(dtype: DType) -> int:
    """Bits of the significand, with the leading one."""
    return int(_constants(dtype).nmant) + 1


def unit_roundoff(dtype: DType) -> float:
    """Largest relative error of rounding to nearest, ``2**-digits``."""
    return float(2.0 ** -digits(dtype))


def smallest_subnormal(dtype: DType) -> float:
    """Eta: the distance of neighbouring subnormal numbers."""
    return float(_constants(dtype).smallest_subnormal)


def smallest_normal(dtype: DType) -> float:
    """Lambda: below it, numbers have fewer digits."""
    return float(_constants(dtype).smallest_normal)


def largest(dtype: DType) -> float:
    """Omega: the largest finite number."""
    return float(_constants(dtype).max)


def _constants(dtype: DType) -> Any:
    return _ml_dtypes().finfo(dtype) if dtype.name == "bfloat16" else np.finfo(dtype)


def _ml_dtypes() -> Any:
    """Import the library that teaches NumPy bfloat16; not a requirement of clconv's."""
    try:
        import ml_dtypes  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ValueError("bfloat16 needs the package ml_dtypes") from None
    return sys.modules[ml_dtypes.__name__]
