"""Plans: what to launch for a problem, as data. No device is touched here, so plans are tested without one."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["NO_LAUNCHES", "Launch", "Plan", "Traits", "Walk", "joined"]


class Traits(NamedTuple):
    """What the choice of an algorithm may depend on in a device.

    Attributes
    ----------
    vector_bytes : int
        Width of the registers of a processor, 16, 32 or 64; 0 for a device whose work-items share vectors.
    vector_loops : bool
        Whether the compiler makes vectors of a work-item's loops, rather than of neighbouring work-items.
    prepared : bool
        Whether what follows from the weights alone is computed beforehand.
    """

    vector_bytes: int = 0
    vector_loops: bool = False
    prepared: bool = False

    def lanes(self, real_bytes: int) -> int:
        """Return how many numbers of so many bytes a register has."""
        return self.vector_bytes // real_bytes


class Walk(NamedTuple):
    """How a kernel's axes follow from an operand's, where they are not the same.

    Attributes
    ----------
    start : tuple of int
        Where the walk starts, in steps along each of the operand's axes.
    axes : tuple of (axis, factor)
        For each of the kernel's axes, an axis of the operand and how many of its steps one step takes.
    """

    start: tuple[int, ...]
    axes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Launch:
    """One kernel launch. It is equal to itself only, so that an executor can remember what follows from it.

    Attributes
    ----------
    file, kernel : str
        Kernel file and kernel name.
    defines : tuple of (str, int)
        What the file is compiled with.
    items : int
        Number of work-items.
    arrays : mapping of str to str
        The kernel's array parameters, to names of operands or of the plan's workspace or constants. Those that are left
        out, because the kernel is told not to read them, are null pointers.
    numbers : mapping of str to int or float
        The kernel's other parameters; starts and strides, ``NAME_start`` and ``NAME_*``, follow from the arrays.
    operations : int
        Rough count of arithmetic operations, by which an executor decides whether more than one thread pays.
    local_size : int
        Work-items of a group, at most. 64 are whole wavefronts on every GPU; 1 is for work-items that are large.
    walks : mapping of str to Walk
        For the array parameters whose axes are not their operands'.
    """

    file: str
    kernel: str
    defines: tuple[tuple[str, int], ...]
    items: int
    arrays: Mapping[str, str]
    numbers: Mapping[str, int | float]
    operations: int
    local_size: int = 64
    walks: Mapping[str, Walk] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Plan:
    """Launches in their order, and what they share besides the operands. Like a launch, it is equal to itself only.

    Attributes
    ----------
    launches : tuple of Launch
        In the order in which they run.
    workspace : mapping of str to int
        Memory for results on the way: names to sizes in bytes.
    constants : mapping of str to bytes
        Arrays that follow from the problem alone, such as tables of weights: names to contents.
    """

    launches: tuple[Launch, ...]
    workspace: Mapping[str, int] = field(default_factory=dict)
    constants: Mapping[str, bytes] = field(default_factory=dict)

    def __add__(self, other: Plan) -> Plan:
        """Return the plan that does this one and then the other: the same object for the same two."""
        return _joined(self, other)


NO_LAUNCHES = Plan(())


@functools.lru_cache(maxsize=1024)
def _joined(one: Plan, other: Plan) -> Plan:
    return other if one is NO_LAUNCHES else joined([one, other])


def joined(plans: Sequence[Plan]) -> Plan:
    """Return a new plan that does these one after another."""
    return Plan(
        tuple(launch for plan in plans for launch in plan.launches),
        {name: size for plan in plans for name, size in plan.workspace.items()},
        {name: content for plan in plans for name, content in plan.constants.items()},
    )
