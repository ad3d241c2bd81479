"""Plans made ready for a device: kernels with all arguments but their arrays, which each thread sets on its own."""

from __future__ import annotations

import functools
import threading
from typing import Any, NamedTuple

import numpy as np
import pyopencl as cl

from clconv import kernel_source
from clconv.executor import Layouts, ordered_arguments, written_by
from clconv.opencl.programs import Programs
from clconv.plan import Launch, Plan

__all__ = ["Bindings", "BoundLaunch", "Names", "bindings_of", "names_of"]

#: Plans, each for layouts of operands, that a thread keeps ready; and plans whose names are kept.
_MOST_KEPT = 1024
_TYPES = {"int": np.int32, "index64": np.int64, "real": np.float32}


class BoundLaunch(NamedTuple):
    """A launch of which only the arrays are not set: their places among the arguments, and their names."""

    kernel: Any
    arrays: tuple[tuple[int, str], ...]
    size: tuple[int]
    local: tuple[int]


class Names(NamedTuple):
    """The operands, workspace and constants that launches use, those that they write first, and these by themselves."""

    used: tuple[str, ...]
    written: frozenset[str]


@functools.lru_cache(maxsize=_MOST_KEPT)
def names_of(plan: Plan) -> Names:
    """Return the names of what a plan uses and writes."""
    launches = [launch for launch in plan.launches if launch.items]
    used = {name: None for launch in launches for name in launch.arrays.values()}
    written = frozenset(name for launch in launches for name in written_by(launch))
    return Names(tuple(sorted(used, key=lambda name: name not in written)), written)


@functools.lru_cache(maxsize=64)
def bindings_of(programs: Programs) -> Bindings:
    """Return the bindings to the device of these programs."""
    return Bindings(programs)


class Bindings:
    """Plans bound to one device. A kernel's arguments are state, so every thread has kernels of its own."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._of_thread = threading.local()

    def bound(self, plan: Plan, layouts: Layouts) -> tuple[BoundLaunch, ...]:
        """Return the launches of a plan, for operands with these layouts, that this thread may run."""
        if not hasattr(self._of_thread, "bound"):
            self._of_thread.bound = functools.lru_cache(maxsize=_MOST_KEPT)(self._bind)
        launches: tuple[BoundLaunch, ...] = self._of_thread.bound(plan, layouts)
        return launches

    def _bind(self, plan: Plan, layouts: Layouts) -> tuple[BoundLaunch, ...]:
        return tuple(self._bind_launch(launch, layouts) for launch in plan.launches if launch.items)

    def _bind_launch(self, launch: Launch, layouts: Layouts) -> BoundLaunch:
        kernel = self._programs.kernel(launch.file, launch.kernel, launch.defines)
        types = _TYPES | {"real": np.float64} if ("ELEMENT", 64) in launch.defines else _TYPES
        values = ordered_arguments(launch, layouts)
        arrays = []
        for number, (parameter, value) in enumerate(
            zip(kernel_source.signatures(launch.file)[launch.kernel], values, strict=True)
        ):
            if not parameter.is_array:
                kernel.set_arg(number, types[parameter.type](value))
            elif value is None:
                kernel.set_arg(number, None)
            else:
                arrays.append((number, value))
        device = self._programs.device
        most = kernel.get_work_group_info(cl.kernel_work_group_info.WORK_GROUP_SIZE, device)
        local = min(launch.local_size, most, device.max_work_item_sizes[0])
        return BoundLaunch(kernel, tuple(arrays), (-(-launch.items // local) * local,), (local,))
