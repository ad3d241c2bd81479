"""Plans: what to launch for a problem, as data. No device is touched here, so plans are tested without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Launch", "Plan"]


@dataclass(frozen=True)
class Launch:
    """One kernel launch.

    Attributes
    ----------
    file, kernel : str
        Kernel file and kernel name.
    defines : tuple of (str, int)
        What the file is compiled with.
    items : int
        Number of work-items.
    arrays : mapping of str to str
        The kernel's array parameters, to names of operands or of the plan's workspace.
    numbers : mapping of str to int
        The kernel's other parameters; starts and strides, ``NAME_start`` and ``NAME_*``, follow from the arrays.
    operations : int
        Rough count of arithmetic operations, by which an executor decides whether more than one thread pays.
    """

    file: str
    kernel: str
    defines: tuple[tuple[str, int], ...]
    items: int
    arrays: Mapping[str, str]
    numbers: Mapping[str, int]
    operations: int


@dataclass(frozen=True)
class Plan:
    """Launches in their order, and the workspace that they share: names to sizes in bytes."""

    launches: tuple[Launch, ...]
    workspace: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Plan) -> Plan:
        """Return the plan that does this one and then the other."""
        return Plan(self.launches + other.launches, {**self.workspace, **other.workspace})
