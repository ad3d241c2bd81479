"""NumPy arrays as memory: allocation with clconv's error, alignment, spans and overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from clconv import kept_memory
from clconv.errors import DeviceMemoryError

__all__ = ["aligned", "converted", "empty", "overlaps_itself", "share_memory", "span"]

#: How many steps NumPy may take to decide whether two arrays share an element.
_OVERLAP_EFFORT = 10_000


def empty(
    shape: tuple[int, ...],
    dtype: str,
    allocate: Callable[[tuple[int, ...], str], np.ndarray[Any, Any]] = kept_memory.empty,
) -> np.ndarray[Any, Any]:
    """Return a new NumPy array, or raise DeviceMemoryError with its size."""
    try:
        return allocate(shape, dtype)
    except (MemoryError, ValueError) as error:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        raise DeviceMemoryError(
            f"the host has no {size} bytes for an array of shape {shape} and dtype {dtype}"
        ) from error


def aligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the array, or a contiguous copy if its elements do not lie at multiples of their size.

    Such views come from packed record arrays; kernels count strides in elements.
    """
    return array if array.flags.aligned else converted(array, np.ascontiguousarray)


def converted(
    array: np.ndarray[Any, Any], conversion: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any]:
    """Return a converted copy of an array, of which axes that only repeat are repeated again, not stored."""
    once = array[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides)]
    try:
        return np.broadcast_to(conversion(once), array.shape)
    except MemoryError as error:
        raise DeviceMemoryError(
            f"the host has no {once.nbytes} bytes for a copy of an array of shape {array.shape} and dtype {array.dtype}"
        ) from error


def span(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return the addresses of the first byte that a non-empty view touches and of the first one after it."""
    first = last = array.__array_interface__["data"][0]
    if array.flags.c_contiguous:
        return first, first + array.nbytes
    for extent, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            first += (extent - 1) * stride
        else:
            last += (extent - 1) * stride
    return first, last + array.itemsize


def share_memory(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Return whether two arrays have an element in common, or may have where that is hard to decide."""
    try:
        return bool(np.shares_memory(one, other, max_work=_OVERLAP_EFFORT))  # type: ignore[arg-type]
    except RuntimeError:  # TooHardError, which NumPy 2 moved to another module
        return True


def overlaps_itself(array: Any) -> bool:
    """Return whether two indices of a view may name the same memory, as in a broadcast view."""
    if 0 in array.shape:  # NumPy gives such arrays strides of 0
        return False
    reach = array.dtype.itemsize
    for stride, extent in sorted(
        (abs(stride), extent) for stride, extent in zip(array.strides, array.shape, strict=True)
    ):
        if extent > 1:
            if stride < reach:
                return True
            reach += stride * (extent - 1)
    return False
