"""Arrays of more axes than a kernel has: several of their axes are walked as one."""

from __future__ import annotations

from typing import Any

import numpy as np

from clconv.arrays import element_strides, is_device_array
from clconv.problem.shapes import merged_stride

__all__ = ["is_walkable", "walkable"]


def is_walkable(array: Any, axes: slice) -> bool:
    """Return whether these axes of an array can be walked as one."""
    return merged_stride(array.shape[axes], element_strides(array)[axes]) is not None


def walkable(name: str, array: Any, axes: slice) -> Any:
    """Return the array, or a contiguous copy if these axes of it cannot be walked as one."""
    if is_walkable(array, axes):
        return array
    if is_device_array(array):
        raise ValueError(
            f"{name} has axes {list(range(array.ndim))[axes]} that must lie in memory like one: "
            f"{name}.shape={tuple(array.shape)}, {name}.strides={array.strides}; pass {name}.copy()"
        )
    return np.ascontiguousarray(array)
