"""The arrays that users pass: NumPy's or pyopencl's, of one floating type."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.ma import MaskedArray  # here, because a fork during a lazy import leaves its lock held

from clconv.host_memory import converted, overlaps_itself, share_memory

__all__ = ["DTYPES", "check_arrays", "check_out", "check_written", "element_strides", "is_dense", "is_device_array"]

DTYPES = ("float16", "float32", "float64")
#: By NumPy's number of a type: to ask a type for its name takes NumPy longer than most checks.
_NAMES = {np.dtype(name).num: name for name in DTYPES}


def is_device_array(array: Any) -> bool:
    """Return whether this is a ``pyopencl.array.Array``, without importing pyopencl."""
    module = sys.modules.get("pyopencl.array")
    return module is not None and isinstance(array, module.Array)


def check_arrays(**arrays: Any) -> tuple[dict[str, Any], str]:
    """Return the arrays in native byte order, and their common dtype's name; a bias may be None.

    Raises
    ------
    TypeError
        If one is no array that clconv takes, has another type than a real floating one, or if they differ.
    """
    given = {name: array for name, array in arrays.items() if array is not None or name != "bias"}
    for name, array in given.items():
        _check_kind(name, array)
        _check_dtype(name, array.dtype)
    (first, leader), *others = given.items()
    dtype = leader.dtype
    for name, array in others:
        if is_device_array(array) != is_device_array(leader):
            raise TypeError(
                f"arrays must all be NumPy's or all pyopencl's, but {first} is {_kind(leader)} and {name} is "
                f"{_kind(array)}: "
                "pyopencl.array.to_device(queue, array) and array.get() convert them"
            )
        if array.dtype != dtype and array.dtype.name != dtype.name:  # they may differ in their byte order
            raise TypeError(
                f"arrays must have one dtype: {first}.dtype={leader.dtype.name}, {name}.dtype={array.dtype.name}"
            )
    return {name: array if array is None else _native_order(name, array) for name, array in arrays.items()}, _NAMES[
        dtype.num
    ]


def check_out(out: Any, shape: tuple[int, ...], dtype: str, inputs: dict[str, Any]) -> None:
    """Refuse an ``out`` that cannot take the result as it is."""
    _check_kind("out", out)
    leader = next(array for array in inputs.values() if array is not None)
    if is_device_array(out) != is_device_array(leader):
        raise TypeError(
            f"out must be an array of the inputs' kind: out is {_kind(out)}, the inputs are {_kind(leader)}"
        )
    if tuple(out.shape) != shape:
        raise ValueError(f"out must have the output's shape {shape}: out.shape={tuple(out.shape)}")
    if out.dtype.name != dtype or not out.dtype.isnative:
        raise TypeError(f"out must have the inputs' dtype {dtype}, in native byte order: out.dtype={out.dtype}")
    check_written("out", out, inputs)


def check_written(name: str, array: Any, others: dict[str, Any]) -> None:
    """Refuse an array that cannot be written while the others are read, or written."""
    if not is_device_array(array) and not array.flags.writeable:
        raise ValueError(f"{name} must be writeable: {name}.flags.writeable=False")
    if overlaps_itself(array):
        raise ValueError(
            f"{name} must not have two indices for one element: "
            f"{name}.strides={array.strides}, {name}.shape={array.shape}"
        )
    shared = _share_device_memory if is_device_array(array) else share_memory
    for other_name, other in others.items():
        if other is not None and shared(array, other):
            raise ValueError(f"{name} must not overlap an input, but it shares memory with {other_name}")


def element_strides(array: Any) -> tuple[int, ...]:
    """Return the strides of an array in elements.

    An axis of one position may have any, as may all of an empty array: they get those of an array without gaps, so that
    axes which lie without gaps may be walked as one.

    Examples
    --------
    >>> import numpy
    >>> element_strides(numpy.ones((8, 3), "float32")[None, ::2, :, None])
    (12, 6, 1, 1)
    """
    strides, dense = [], 1
    for extent, stride in zip(reversed(array.shape), reversed(array.strides), strict=True):
        strides.append(dense if extent == 1 or not array.size else stride // array.dtype.itemsize)
        dense *= extent
    return tuple(reversed(strides))


def is_dense(array: Any, rank: int) -> bool:
    """Return whether the elements of the last ``rank`` axes lie in order and without gaps."""
    step = array.dtype.itemsize
    for extent, stride in zip(array.shape[: -rank - 1 : -1], array.strides[: -rank - 1 : -1], strict=True):
        if stride != step and extent != 1:
            return False
        step *= extent
    return True


def _share_device_memory(one: Any, other: Any) -> bool:
    """Return whether the spans of two pyopencl arrays meet, in one buffer or in parts of one."""
    if not one.size or not other.size:
        return False
    (buffer, first, last), (other_buffer, other_first, other_last) = _device_span(one), _device_span(other)
    return bool(buffer == other_buffer and first < other_last and other_first < last)


def _device_span(array: Any) -> tuple[Any, int, int]:
    """Return the buffer that a non-empty pyopencl array lies in, its first byte there and the one after its last."""
    part = array.base_data
    first = array.offset + part.offset
    reach = [(extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True)]
    whole = part.associated_memobject or part
    return (
        whole,
        first + sum(min(step, 0) for step in reach),
        first + sum(max(step, 0) for step in reach) + array.dtype.itemsize,
    )


def _native_order(name: str, array: Any) -> Any:
    if array.dtype.isnative:
        return array
    if is_device_array(array):
        raise TypeError(f"{name} must have the device's byte order: {name}.dtype={array.dtype.str}")
    return converted(array, lambda part: part.astype(part.dtype.newbyteorder("=")))


def _kind(array: Any) -> str:
    return "a pyopencl array" if is_device_array(array) else "a NumPy array"


def _check_kind(name: str, array: Any) -> None:
    if isinstance(array, MaskedArray) and name != "out":
        raise TypeError(f"{name} is a masked array, which has no values where it is masked: pass {name}.filled(value)")
    if (isinstance(array, np.ndarray) and not isinstance(array, MaskedArray)) or is_device_array(array):
        return
    kind = f"{type(array).__module__}.{type(array).__qualname__}"
    advice = {
        "torch.Tensor": f"pass {name}.detach().numpy()",
        "builtins.list": f"pass numpy.asarray({name}, dtype=...)",
        "builtins.tuple": f"pass numpy.asarray({name}, dtype=...)",
    }.get(kind if name != "out" else "", "convert it to one of these")
    raise TypeError(f"{name} takes a numpy.ndarray or a pyopencl.array.Array, not {kind}: {advice}")


def _check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.num not in _NAMES:
        raise TypeError(
            f"{name} takes dtype float16, float32 or float64, not {dtype.name}: convert it with {name}.astype(...)"
        )
