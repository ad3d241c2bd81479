"""What the two executors have in common: operands, and the order of a kernel's arguments."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from clconv.plan import Launch, Plan, Traits

__all__ = ["Executor", "Operand", "ordered_arguments"]


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


def ordered_arguments(launch: Launch, operands: Mapping[str, Operand]) -> list[Any]:
    """Return the kernel's arguments in its order: names of operands or workspace for arrays, and numbers.

    Numbers are floats where the kernel takes them as real, else integers. Somewhere behind an array parameter ``a`` are
    ``a_start`` and the strides ``a_*`` in the order of its axes: zeros if the launch leaves the array out, and then its
    name is None.
    """
    template, walked = launch.arguments
    values: list[Any] = list(template)
    for parameter, operand, first, end in walked:
        walk = launch.walks.get(parameter)
        start, strides = operands[operand].start, operands[operand].strides
        if walk is not None:
            start += sum(map(operator.mul, walk.start, strides))
            strides = tuple(factor * strides[axis] for axis, factor in walk.axes)
        values[first:end] = (start, *strides[: end - first - 1])
    if len(values) != len(template):
        raise ValueError(f"an operand of {launch.file}: {launch.kernel} has fewer axes than the kernel walks: {walked}")
    return values
