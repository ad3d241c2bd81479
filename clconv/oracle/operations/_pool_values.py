"""Values for poolings that leave no room for rounding.

- A maximum is a copy. Half of the arrays hold distinct numbers, the others few different ones, so that there are ties.
- A mean is exact however it is taken if its divisor is a power of two: so is every product with the reciprocal, and
  every quotient of a term. Integers are drawn so that no sum of magnitudes exceeds 2**p, for digits p.
- A gradient of these is a sum of integers, or of integers divided by powers of two.
- No norm is exact whatever way powers are computed: they are held to their bounds on small integers, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clconv.oracle._floats import float_type
from clconv.oracle.reference.pool_windows import Windows

from ._base import Array, Case, exact_limit, sparse_integers

__all__ = [
    "cast",
    "distinct_indices",
    "finite",
    "integers",
    "maxima",
    "most_in_a_pixel",
    "planted",
    "rounded",
]

Shape = tuple[int, ...]


def cast(array: Array, dtype: str) -> Array:
    """Convert to an implementation's type."""
    return array.astype(float_type("dtype", dtype))


def maxima(random: np.random.Generator, shape: Shape, dtype: str) -> Array:
    """Draw integers, distinct or with many ties."""
    size, most = math.prod(shape), int(min(exact_limit(dtype), 2**20))
    if random.random() < 0.5:
        values = random.integers(-3, 4, size)
    elif size > most:
        values = random.integers(-most, most, size)
    else:
        values = random.permutation(size) - size // 2
    return cast(values.reshape(shape), dtype)


def integers(random: np.random.Generator, shape: Shape, terms: float, dtype: str, most: int = 1000) -> Array:
    """Draw integers up to `most` of which so many add up within the type's digits; one in ten is zero."""
    largest = int(min(max(exact_limit(dtype) // max(terms, 1), 1), most))
    return cast(sparse_integers(random, shape, largest, 0.9), dtype)


def distinct_indices(random: np.random.Generator, shape: Shape, rank: int, pixels: int) -> NDArray[np.int64]:
    """Draw, for each plane of (N, C, ...) or (C, ...), indices of different pixels."""
    lead, extent = shape[:-rank], shape[-rank:]
    indices = np.zeros((math.prod(lead), math.prod(extent)), dtype=np.int64)
    for plane in indices:
        plane[:] = random.permutation(pixels)[: len(plane)]
    return indices.reshape(shape)


def most_in_a_pixel(windows: Windows) -> int:
    """Return the largest number of windows that a pixel is in."""
    return int(np.bincount(windows.pixels[windows.inside], minlength=1).max())


def rounded(random: np.random.Generator, array: Array) -> Array:
    """Round half of the arrays so coarsely that there are ties."""
    return np.round(array * 2).astype(array.dtype) / 2 if random.random() < 0.5 else array


def finite(case: Case) -> Case:
    """Replace NaN and infinities by zeros."""
    floats = {name: a for name, a in case.arrays.items() if a.dtype.kind not in "iub"}
    return case.holding(**{name: np.where(np.isfinite(a), a, 0).astype(a.dtype) for name, a in floats.items()})


def planted(random: np.random.Generator, array: Array, values: Sequence[float]) -> Array:
    """Replace as many elements by these values, as long as there are enough."""
    changed = array.copy()
    places = random.permutation(array.size)[: len(values)]
    changed.reshape(-1)[places] = values[: len(places)]
    return changed
