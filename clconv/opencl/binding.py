"""Plans made ready for a device: kernels with all arguments but arrays, which each thread sets on its own."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyopencl as cl

from clconv import kernel_source
from clconv.executor import Layouts, ordered_arguments, written_by
from clconv.opencl.programs import Programs
from clconv.plan import Launch, Plan

__all__ = ["Bindings", "BoundLaunch", "BoundPlan", "bindings_of"]

#: Plans, each for layouts of operands, that a thread keeps ready; and constants that all threads share.
_MOST_KEPT, _MOST_CONSTANTS = 1024, 256
_TYPES = {"int": np.int32, "index64": np.int64, "real": np.float32}

#: Kernels, and the numbers of those of their arguments that are one array.
Slots = tuple[tuple[Any, int], ...]


class BoundLaunch(NamedTuple):
    """A kernel and how many work-items to launch, in groups of how many."""

    kernel: Any
    size: tuple[int]
    local: tuple[int]


class BoundOperand(NamedTuple):
    """An operand that launches use: its place among the layouts, whether they write it, and where they take it."""

    place: int
    is_written: bool
    slots: Slots


class BoundWorkspace(NamedTuple):
    """Workspace that launches use: its name, its bytes, and where they take it."""

    name: str
    size: int
    slots: Slots


class BoundPlan(NamedTuple):
    """The launches of a plan, of which only the operands, results first, and the workspace are not set."""

    launches: tuple[BoundLaunch, ...]
    operands: tuple[BoundOperand, ...]
    workspace: tuple[BoundWorkspace, ...]
    constants: tuple[Any, ...]

    def enqueue(
        self, queue: Any, operands: Sequence[Any], workspace: Mapping[str, Any], wait_for: list[Any] | None
    ) -> Any:
        """Enqueue the launches on this memory, each after the one before it; return the last one's event, or None."""
        for operand, memory in zip(self.operands, operands, strict=True):
            for kernel, number in operand.slots:
                kernel.set_arg(number, memory)
        for name, _, slots in self.workspace:
            for kernel, number in slots:
                kernel.set_arg(number, workspace[name])
        event = None
        for kernel, size, local in self.launches:
            event = cl.enqueue_nd_range_kernel(queue, kernel, size, local, wait_for=wait_for)
            wait_for = [event]
        return event


@functools.lru_cache(maxsize=64)
def bindings_of(programs: Programs) -> Bindings:
    """Return the bindings to the device of these programs."""
    return Bindings(programs)


class Bindings:
    """Plans bound to one device. A kernel's arguments are state, so every thread has kernels of its own."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._of_thread = threading.local()
        # A plan keeps its constants, so that the same bytes come again and again.
        self._constant = functools.lru_cache(maxsize=_MOST_CONSTANTS)(self._uploaded)

    def bound(self, plan: Plan, layouts: Layouts) -> BoundPlan:
        """Return a plan, for operands with these layouts, that this thread may run."""
        if not hasattr(self._of_thread, "bound"):
            self._of_thread.bound = functools.lru_cache(maxsize=_MOST_KEPT)(self._bind)
        bound: BoundPlan = self._of_thread.bound(plan, layouts)
        return bound

    def _bind(self, plan: Plan, layouts: Layouts) -> BoundPlan:
        launches = [launch for launch in plan.launches if launch.items]
        slots: dict[str, list[tuple[Any, int]]] = {}
        bound = tuple(self._bind_launch(launch, layouts, slots) for launch in launches)
        written = {name for launch in launches for name in written_by(launch)}
        operands = [
            BoundOperand(place, name in written, tuple(slots.pop(name)))
            for place, (name, _, _) in enumerate(layouts)
            if name in slots
        ]
        operands.sort(key=lambda operand: not operand.is_written)
        workspace = [
            BoundWorkspace(name, max(size, 1), tuple(slots.pop(name)))
            for name, size in plan.workspace.items()
            if name in slots
        ]
        constants = {name: self._constant(plan.constants[name]) for name in slots}
        for name, constant in constants.items():
            for kernel, number in slots[name]:
                kernel.set_arg(number, constant)
        return BoundPlan(bound, tuple(operands), tuple(workspace), tuple(constants.values()))

    def _bind_launch(self, launch: Launch, layouts: Layouts, slots: dict[str, list[tuple[Any, int]]]) -> BoundLaunch:
        """Return a launch with its numbers set, and add to ``slots``, by their names, where it takes arrays."""
        kernel = self._programs.kernel(launch.file, launch.kernel, launch.defines)
        types = _TYPES | {"real": np.float64} if ("ELEMENT", 64) in launch.defines else _TYPES
        values = ordered_arguments(launch, layouts)
        for number, (parameter, value) in enumerate(
            zip(kernel_source.signatures(launch.file)[launch.kernel], values, strict=True)
        ):
            if not parameter.is_array:
                kernel.set_arg(number, types[parameter.type](value))
            elif value is None:
                kernel.set_arg(number, None)
            else:
                slots.setdefault(value, []).append((kernel, number))
        device = self._programs.device
        most = kernel.get_work_group_info(cl.kernel_work_group_info.WORK_GROUP_SIZE, device)
        local = min(launch.local_size, most, device.max_work_item_sizes[0])
        return BoundLaunch(kernel, (-(-launch.items // local) * local,), (local,))

    def _uploaded(self, content: bytes) -> Any:
        """Return a buffer with this content."""
        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        return cl.Buffer(self._programs.context, flags, hostbuf=bytearray(content))
