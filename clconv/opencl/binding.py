"""Plans made ready for a device: kernels with all arguments but their arrays, which each thread sets on its own."""

from __future__ import annotations

import functools
import threading
from typing import Any, NamedTuple

import pyopencl as cl

from clconv import kernel_source
from clconv.executor import Layouts, ordered_arguments, written_by
from clconv.opencl.programs import Programs
from clconv.plan import Launch, Plan

__all__ = ["Bindings", "BoundLaunch", "BoundPlan", "bindings_of"]

#: Plans that a thread keeps ready.
_MOST_KEPT = 1024


class BoundLaunch(NamedTuple):
    """A launch of which only the arrays are not set: their places among the arguments, and their names."""

    kernel: Any
    arrays: tuple[tuple[int, str], ...]
    size: tuple[int]
    local: tuple[int]


class BoundPlan(NamedTuple):
    """The launches of a plan, and the names of the operands, workspace and constants that they use and write."""

    launches: tuple[BoundLaunch, ...]
    used: frozenset[str]
    written: frozenset[str]


@functools.lru_cache(maxsize=64)
def bindings_of(programs: Programs) -> Bindings:
    """Return the bindings to the device of these programs."""
    return Bindings(programs)


class Bindings:
    """Plans bound to one device. A kernel's arguments are state, so every thread has kernels of its own."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._of_thread = threading.local()

    def bound(self, plan: Plan, layouts: Layouts) -> BoundPlan:
        """Return a plan for operands with these layouts as this thread may run it."""
        kept: dict[Any, BoundPlan] = self._of_thread.__dict__.setdefault("plans", {})
        key = plan, layouts
        if key not in kept:
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            kept[key] = self._bind(plan, layouts)
        return kept[key]

    def _bind(self, plan: Plan, layouts: Layouts) -> BoundPlan:
        launches = [launch for launch in plan.launches if launch.items]
        return BoundPlan(
            tuple(self._bind_launch(launch, layouts) for launch in launches),
            frozenset(name for launch in launches for name in launch.arrays.values()),
            frozenset(name for launch in launches for name in written_by(launch)),
        )

    def _bind_launch(self, launch: Launch, layouts: Layouts) -> BoundLaunch:
        kernel = self._programs.kernel(launch.file, launch.kernel, launch.defines)
        values = ordered_arguments(launch, layouts)
        parameters = kernel_source.signatures(launch.file)[launch.kernel]
        arrays = [number for number, parameter in enumerate(parameters) if parameter.is_array]
        kernel.set_args(*(None if number in arrays else value for number, value in enumerate(values)))
        device = self._programs.device
        most = kernel.get_work_group_info(cl.kernel_work_group_info.WORK_GROUP_SIZE, device)
        local = min(launch.local_size, most, device.max_work_item_sizes[0])
        return BoundLaunch(
            kernel,
            tuple((number, values[number]) for number in arrays if values[number] is not None),
            (-(-launch.items // local) * local,),
            (local,),
        )
