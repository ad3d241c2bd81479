"""The steps that operations on each element share: a common walk, and results that may be written over the input."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from clconv.arguments import flag
from clconv.arrays import check_out, element_strides, is_device_array
from clconv.executor import Operand
from clconv.host_memory import converted, overlaps_itself
from clconv.problem.elementwise import CommonWalk

__all__ = ["destination", "number", "refuse_inplace", "walk_of", "whole", "without_gaps"]


def number(value: Any, name: str) -> float:
    """Return ``value`` as a float, if it is a real number."""
    try:
        converted = float(value) if not isinstance(value, (bool, str, bytes)) else None
    except (TypeError, ValueError):
        converted = None
    if converted is None:
        raise TypeError(f"{name} takes a real number, not {type(value).__name__}: {name}={value!r}")
    if math.isnan(converted):
        raise ValueError(f"{name} must not be NaN: {name}={value!r}")
    return converted


def whole(value: Any, name: str, least: int, most: int) -> int:
    """Return ``value`` as an int between two others; anything with ``__index__`` is an integer, except bool."""
    try:
        converted = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        converted = None
    if converted is None:
        raise TypeError(f"{name} takes an integer, not {type(value).__name__}: {name}={value!r}")
    if not least <= converted <= most:
        raise ValueError(f"{name} must be between {least} and {most}: {name}={value!r}")
    return converted


def destination(given: Any, arrays: dict[str, Any], dtype: str, inplace: Any, out: Any) -> Any:
    """Return the array that a result of the input's shape is to be written to: ``out``, the caller's input, or None."""
    if not flag(inplace, "inplace"):
        if out is not None:
            check_out(out, tuple(arrays["input"].shape), dtype, arrays)
        return out
    if out is not None:
        raise ValueError("inplace=True writes to input: pass no out, or inplace=False")
    if not given.dtype.isnative:
        raise ValueError(f"inplace=True takes an input in native byte order: input.dtype={given.dtype.str}")
    if not getattr(given, "flags", None) or not getattr(given.flags, "writeable", True):
        raise ValueError("inplace=True takes a writeable input: input.flags.writeable=False")
    if overlaps_itself(given):
        raise ValueError(
            "inplace=True takes an input without two indices for one element: "
            f"input.strides={given.strides}, input.shape={tuple(given.shape)}"
        )
    return given


def refuse_inplace(inplace: Any, operation: str) -> None:
    """Refuse a gradient in place, which would have to read what is no longer there."""
    if flag(inplace, "inplace"):
        raise ValueError(
            f"{operation}_backward takes inplace=False, and as input what {operation} was given before it was "
            "overwritten: inplace=True"
        )


def walk_of(names: Sequence[str], arrays: Sequence[Any]) -> tuple[CommonWalk, dict[str, Operand]]:
    """Return the common walk over arrays of one shape, the result first, and the operands."""
    walk = CommonWalk.over(arrays[0].shape, *(element_strides(array) for array in arrays))
    operands = zip(names, arrays, walk.strides, strict=True)
    return walk, {name: Operand(array, 0, strides) for name, array, strides in operands}


def without_gaps(operation: str, name: str, array: Any) -> Any:
    """Return an array of many axes without gaps, of which neighbouring axes can be joined."""
    if not is_device_array(array):
        return converted(array, np.ascontiguousarray)
    if array.flags.c_contiguous:
        return array
    raise ValueError(
        f"{operation} takes pyopencl arrays of many axes only without gaps: "
        f"{name}.shape={tuple(array.shape)}, {name}.strides={array.strides}"
    )
