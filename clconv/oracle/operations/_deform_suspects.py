"""What the usual faults of deformable convolutions give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._base import Arrays, Claims, Operation, Results, Suspect

__all__ = ["suspects"]

Array = NDArray[Any]
PLAIN = Claims()


def suspects(operation: Operation) -> Iterator[Suspect]:
    """List the faults, the likelier first; a gradient of what was rearranged is arranged back."""
    for cause, name, change, back in REARRANGED:
        yield Suspect(cause, _rearranged(operation, name, change, back))
    yield Suspect("the mask is ignored", _without_mask(operation))
    yield Suspect("the offsets are ignored", _without_offsets(operation))
    if operation.name.endswith("_backward"):
        yield Suspect("the gradient of the offset has the other sign", _negated(operation, "offset"))
        yield Suspect("the gradient of the mask is multiplied by the mask", _times_mask(operation))


def _rearranged(
    operation: Operation, name: str, change: Callable[[Array, Arrays], Array], back: Callable[[Array, Arrays], Array]
) -> Any:
    def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
        array = arrays[name]
        assert array is not None
        changed = change(array, arrays)
        if np.array_equal(changed, array):
            raise ValueError("this fault changes nothing here")
        found = operation.evaluate({**arrays, name: changed}, arguments, PLAIN)
        gradient = found.get(name)
        return found if gradient is None else {**found, name: back(gradient, arrays)}

    return results


def _taps(arrays: Arrays) -> tuple[int, int]:
    weight = arrays["weight"]
    assert weight is not None
    return weight.shape[2], weight.shape[3]


def _split(offset: Array, arrays: Arrays) -> Array:
    """Return offsets of shape (N, groups, KH, KW, 2, OH, OW)."""
    KH, KW = _taps(arrays)
    return offset.reshape(len(offset), -1, KH, KW, 2, *offset.shape[2:])


def _exchanged(offset: Array, arrays: Arrays) -> Array:
    return _split(offset, arrays)[:, :, :, :, ::-1].reshape(offset.shape)


def _planes(offset: Array, arrays: Arrays) -> Array:
    """Read all rows of a group first, then all columns."""
    KH, KW = _taps(arrays)
    planes = offset.reshape(len(offset), -1, 2, KH, KW, *offset.shape[2:])
    return np.moveaxis(planes, 2, 4).reshape(offset.shape)


def _from_planes(gradient: Array, arrays: Arrays) -> Array:
    return np.moveaxis(_split(gradient, arrays), 4, 2).reshape(gradient.shape)


def _columns_first(offset: Array, arrays: Arrays) -> Array:
    """Read taps column by column."""
    KH, KW = _taps(arrays)
    taps = offset.reshape(len(offset), -1, KW, KH, 2, *offset.shape[2:])
    return np.swapaxes(taps, 2, 3).reshape(offset.shape)


def _from_columns_first(gradient: Array, arrays: Arrays) -> Array:
    return np.swapaxes(_split(gradient, arrays), 2, 3).reshape(gradient.shape)


def _of_the_first_group(offset: Array, arrays: Arrays) -> Array:
    split = _split(offset, arrays)
    return np.broadcast_to(split[:, :1], split.shape).reshape(offset.shape)


def _unknown(gradient: Array, arrays: Arrays) -> Array:
    raise ValueError("the gradient has no such arrangement")


def _without_mask(operation: Operation) -> Any:
    def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
        mask = arrays["mask"]
        assert mask is not None
        return operation.evaluate({**arrays, "mask": np.ones(mask.shape)}, arguments, PLAIN)

    return results


def _without_offsets(operation: Operation) -> Any:
    def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
        offset = arrays["offset"]
        assert offset is not None
        return operation.evaluate({**arrays, "offset": np.zeros(offset.shape)}, arguments, PLAIN)

    return results


def _negated(operation: Operation, name: str) -> Any:
    def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
        found = operation.evaluate(arrays, arguments, PLAIN)
        gradient = found[name]
        assert gradient is not None
        return {**found, name: -gradient}

    return results


def _times_mask(operation: Operation) -> Any:
    def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
        found = operation.evaluate(arrays, arguments, PLAIN)
        gradient, mask = found["mask"], arrays["mask"]
        assert gradient is not None
        assert mask is not None
        return {**found, "mask": gradient * mask}

    return results


REARRANGED = (
    ("rows and columns of the offsets are exchanged", "offset", _exchanged, _exchanged),
    ("all rows of the offsets are read before all columns", "offset", _planes, _from_planes),
    ("the offsets' taps are read column by column", "offset", _columns_first, _from_columns_first),
    ("all channels are moved by the first group's offsets", "offset", _of_the_first_group, _unknown),
)
