"""Memory layouts that an array of the same values may have, and how a program writes each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAYOUTS", "expression", "laid_out"]

Array = NDArray[Any]


def laid_out(array: Array, layout: str) -> Array:
    """Return an array of the same values in another memory layout.

    Parameters
    ----------
    array : array
    layout : str
        One of `LAYOUTS`. Gaps that a layout leaves hold NaN, or the smallest integer.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        If there is no such layout.

    Examples
    --------
    >>> laid_out(np.arange(3), "reversed").strides
    (-8,)
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {tuple(LAYOUTS)}, got layout={layout!r}")
    return LAYOUTS[layout](array)


def expression(name: str, layout: str) -> str:
    """Return the statement that gives a contiguous array of that name the layout.

    Examples
    --------
    >>> expression("x", "fortran")
    "x = layouts.laid_out(x, 'fortran')"
    """
    return f"{name} = layouts.laid_out({name}, {layout!r})"


def _poison(dtype: Any) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else np.nan


def _fortran(array: Array) -> Array:
    return np.array(array, order="F", copy=True)


def _channels_last(array: Array) -> Array:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1) if array.ndim > 1 else array.copy()


def _reversed(array: Array) -> Array:
    backwards = (slice(None, None, -1),) * array.ndim
    return np.ascontiguousarray(array[backwards])[backwards]


def _sliced(array: Array) -> Array:
    wide = np.full(tuple(2 * extent + 1 for extent in array.shape), _poison(array.dtype), array.dtype)
    odd = (slice(1, None, 2),) * array.ndim
    wide[odd] = array
    return wide[odd]


def _inside(array: Array) -> Array:
    wide = np.full(tuple(extent + 3 for extent in array.shape), _poison(array.dtype), array.dtype)
    middle = tuple(slice(2, 2 + extent) for extent in array.shape)
    wide[middle] = array
    return wide[middle]


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "contiguous": np.copy,
    "fortran": _fortran,
    "channels_last": _channels_last,
    "reversed": _reversed,
    "sliced": _sliced,
    "inside": _inside,
    "read_only": _read_only,
}
