"""What the two executors have in common: operands, and the order of a kernel's arguments."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from clconv import kernel_source
from clconv.plan import Launch, Plan, Traits

__all__ = ["Executor", "Layouts", "Operand", "layouts_of", "ordered_arguments"]

#: The start and the strides of each operand of a launch, by its name.
Layouts = tuple[tuple[str, int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Operand:
    """An array as a kernel walks it.

    Attributes
    ----------
    array : numpy.ndarray, pyopencl.array.Array or None
        None stands for an operand that the plan does not read.
    start : int
        Where the walk starts, in elements from the array's first one.
    strides : tuple of int
        Steps along the kernel's axes, in elements.
    """

    array: Any
    start: int
    strides: tuple[int, ...]


class Executor(Protocol):
    """Runs plans on one device."""

    name: str
    traits: Traits

    def check_dtype(self, dtype: str) -> None:
        """Raise Unsupported if the device cannot compute in this type."""

    def usable(self, array: Any) -> Any:
        """Return the array, or a copy of it that this executor can walk by its strides."""

    def writes_in_place(self, out: Any) -> bool:
        """Return whether a result can be written straight into this array."""

    def empty(self, shape: tuple[int, ...], dtype: str, like: Any) -> Any:
        """Return a new array of the same kind as ``like``."""

    def run(self, plan: Plan, operands: Mapping[str, Operand]) -> None:
        """Run all launches of a plan; operands that no launch names are ignored."""


def layouts_of(launch: Launch, operands: Mapping[str, Operand]) -> Layouts:
    """Return how a launch's operands are walked: all that its arguments depend on besides the arrays' places."""
    return tuple(
        (name, operands[name].start, operands[name].strides) for name in launch.arrays.values() if name in operands
    )


@functools.lru_cache(maxsize=4096)
def ordered_arguments(launch: Launch, layouts: Layouts) -> tuple[Any, ...]:
    """Return the kernel's arguments in its order: names of operands or workspace for arrays, and numbers.

    Numbers are floats where the kernel takes them as real, else integers. An array parameter ``a`` is followed
    somewhere by ``a_start`` and the strides ``a_*`` in the order of its axes: zeros if the launch leaves it out, and
    then its name is None.
    """
    walked = {name: (start, strides) for name, start, strides in layouts}
    values: list[Any] = []
    walks: dict[str, Iterator[int]] = {
        name: iter(_walk(launch, name, *walked[operand]))
        for name, operand in launch.arrays.items()
        if operand in walked
    }
    for kind, name, is_array, _ in kernel_source.signatures(launch.file)[launch.kernel]:
        if is_array:
            values.append(launch.arrays.get(name))
            if name not in launch.arrays:
                walks[name] = itertools.repeat(0)
        elif name in launch.numbers:
            values.append(float(launch.numbers[name]) if kind == "real" else launch.numbers[name])
        else:
            values.append(next(walks[name.rpartition("_")[0]]))
    return tuple(values)


def _walk(launch: Launch, parameter: str, start: int, strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the start and strides with which a launch walks an operand."""
    walk = launch.walks.get(parameter)
    if walk is None:
        return (start, *strides)
    start += sum(steps * stride for steps, stride in zip(walk.start, strides, strict=True))
    return (start, *(factor * strides[axis] for axis, factor in walk.axes))
