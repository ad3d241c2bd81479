"""What the two executors have in common: operands, and the order of a kernel's arguments."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from clconv import kernel_source
from clconv.plan import Launch, Plan, Traits

__all__ = [
    "Executor",
    "Layouts",
    "Operand",
    "Run",
    "is_watched",
    "layouts_of",
    "ordered_arguments",
    "watched_runs",
    "written_by",
]

#: The names of operands, their starts and their strides.
Layouts = tuple[tuple[str, int, tuple[int, ...]], ...]


class Operand(NamedTuple):
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
    #: Executors of the same place share memory.
    place: Any

    def check_dtype(self, dtype: str) -> None:
        """Raise Unsupported if the device cannot compute in this type."""

    def usable(self, array: Any) -> Any:
        """Return the array, or a copy of it that this executor can walk by its strides."""

    def writes_in_place(self, out: Any) -> bool:
        """Return whether a result can be written straight into this array."""

    def empty(self, shape: tuple[int, ...], dtype: str, like: Any) -> Any:
        """Return a new array of the same kind as ``like``."""

    def memory(self, size: int) -> Any:
        """Return an array of so many bytes for a plan's workspace, which lasts longer than a run."""

    def snapshot(self, array: Any) -> Any:
        """Return a copy of an array that this executor's launches may read without copying it again."""

    def finish(self) -> None:
        """Wait until all that was run is done."""

    def run(self, plan: Plan, operands: Mapping[str, Operand]) -> None:
        """Run all launches of a plan; operands that no launch names are ignored."""
        for runs in _watchers.lists:
            runs.append(Run(self, plan, operands))
        self.launch(plan, layouts_of(operands), tuple([operand.array for operand in operands.values()]))

    def launch(self, plan: Plan, layouts: Layouts, arrays: tuple[Any, ...]) -> None:
        """Run all launches of a plan on operands with these layouts, whose arrays are given in the same order."""


class Run(NamedTuple):
    """What one call of :meth:`Executor.run` was given."""

    executor: Executor
    plan: Plan
    operands: Mapping[str, Operand]


class _Watchers(threading.local):
    """Lists to which this thread's runs are added."""

    def __init__(self) -> None:
        self.lists: list[list[Run]] = []


_watchers = _Watchers()


def is_watched() -> bool:
    """Return whether this thread's runs are watched."""
    return bool(_watchers.lists)


@contextmanager
def watched_runs() -> Iterator[list[Run]]:
    """Add what this thread runs inside the block to a list."""
    runs: list[Run] = []
    _watchers.lists.append(runs)
    try:
        yield runs
    finally:
        _watchers.lists.pop()


def layouts_of(operands: Mapping[str, Operand]) -> Layouts:
    """Return how operands are walked: all that a launch's arguments depend on besides the arrays' places."""
    return tuple([(name, operand.start, operand.strides) for name, operand in operands.items()])


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


def written_by(launch: Launch) -> set[str]:
    """Return the names of the operands and workspace that a launch writes."""
    return {
        launch.arrays[parameter.name]
        for parameter in kernel_source.signatures(launch.file)[launch.kernel]
        if parameter.is_written and parameter.name in launch.arrays
    }
