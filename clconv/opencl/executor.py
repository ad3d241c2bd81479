"""Runs plans on an OpenCL device."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array

from clconv.arrays import is_device_array
from clconv.errors import DeviceMemoryError, Unsupported
from clconv.executor import Executor, Layouts
from clconv.host_memory import empty
from clconv.opencl.binding import BoundWorkspace, bindings_of
from clconv.opencl.memory import HostBuffers, copy_of_span, one_span_or_contiguous, runs_in_host_memory
from clconv.opencl.programs import Programs
from clconv.opencl.runtimes import POCL, check_process
from clconv.opencl.shared_memory import shared_memory_of
from clconv.plan import Plan, Traits

__all__ = ["OpenCLExecutor", "has_double"]

#: Bytes of workspace that a thread keeps between calls, at most.
_MOST_KEPT = 2**26

_NO_MEMORY = ("MEM_OBJECT_ALLOCATION_FAILURE", "OUT_OF_RESOURCES", "OUT_OF_HOST_MEMORY", "INVALID_BUFFER_SIZE")


def has_double(device: Any) -> bool:
    """Return whether a device computes in double."""
    return bool(device.double_fp_config) or "cl_khr_fp64" in device.extensions.split()


class OpenCLExecutor(Executor):
    """Runs plans on one device: on the caller's queue, or on one queue for each thread."""

    def __init__(self, programs: Programs, name: str, queue: Any = None) -> None:
        self.name = name
        self.place = programs.context, programs.device
        self.device = programs.device
        self.in_host_memory = runs_in_host_memory(programs.device)
        self.traits = Traits(_vector_bytes(programs.device), _vector_loops(programs.device))
        self._programs = programs
        self._own_queue = queue
        self._of_thread = threading.local()
        self._bindings = bindings_of(programs)
        self._shared = shared_memory_of(programs.context, programs.device)

    def check_dtype(self, dtype: str) -> None:
        """Refuse float64 on a device without it."""
        if dtype == "float64" and not has_double(self.device):
            raise Unsupported(
                f"{self.device.name.strip()} ({self.name}) has no double precision (cl_khr_fp64), which float64 needs"
            )

    def usable(self, array: Any) -> Any:
        """Return the array, or a copy that can be walked by strides in elements, and fits the device's memory."""
        if is_device_array(array):
            size = array.dtype.itemsize
            whole = array.offset % size == 0 and all(stride % size == 0 for stride in array.strides)
            if not whole:
                raise ValueError(
                    f"a pyopencl array must lie at multiples of its elements' {size} bytes: "
                    f"offset={array.offset}, strides={array.strides}"
                )
            return array
        return one_span_or_contiguous(array, self.in_host_memory)

    def writes_in_place(self, out: Any) -> bool:
        """Return whether a kernel can write straight into this array, or its memory be copied back whole."""
        if is_device_array(out) or self.in_host_memory:
            return self.usable(out) is out
        return bool(out.flags.c_contiguous and out.flags.aligned)

    def empty(self, shape: tuple[int, ...], dtype: str, like: Any) -> Any:
        """Return a new array: on the queue and from the allocator of a pyopencl array, else NumPy's."""
        if not is_device_array(like):
            return empty(shape, dtype, self._shared.empty) if self.in_host_memory else empty(shape, dtype)
        with _MemoryErrors(lambda: math.prod(shape) * np.dtype(dtype).itemsize, self.name):
            return cl.array.empty(like.queue, shape, dtype, allocator=like.allocator)

    def memory(self, size: int) -> Any:
        """Return bytes on the device."""
        with _MemoryErrors(lambda: size, self.name):
            return cl.array.empty(self._queue(), (max(size, 1),), np.uint8)

    def snapshot(self, array: Any) -> Any:
        """Return a copy on the device, with the strides of a pyopencl array, else contiguous."""
        with _MemoryErrors(lambda: array.nbytes, self.name):
            if is_device_array(array):
                return copy_of_span(self._queue(), array)
            return cl.array.to_device(self._queue(), np.array(array, order="C"))

    def finish(self) -> None:
        """Wait for this thread's queue, or the one that was given."""
        self._queue().finish()

    def launch(self, plan: Plan, layouts: Layouts, arrays: tuple[Any, ...]) -> None:
        """Run all launches: to their end for NumPy arrays, only enqueued for pyopencl's."""
        check_process()
        with _MemoryErrors(lambda: _bytes_of(plan, arrays), self.name):
            given = [array for array in arrays if array is not None]
            if given and all(map(is_device_array, given)):
                self._run_on_device_arrays(plan, layouts, arrays)
            else:
                self._run_on_host_arrays(plan, layouts, arrays)

    def _run_on_host_arrays(self, plan: Plan, layouts: Layouts, arrays: tuple[Any, ...]) -> None:
        bound = self._bindings.bound(plan, layouts)
        buffers = HostBuffers(self._programs.context, self._shared if self.in_host_memory else None)
        memory, moved = [], {}
        # Results first: OpenCL leaves open what overlapping buffers in host memory do, so an input that shares its span
        # with a result, as interleaved views do, gets a copy.
        for place, is_written, _ in bound.operands:
            array = arrays[place]
            if is_device_array(array):
                buffer, start = _memory_of(array), _offset(array)
            else:
                buffer, start = buffers.add(array, is_written)
            memory.append(buffer)
            if start:
                moved[layouts[place][0]] = start
        if moved:
            bound = self._bindings.bound(plan, _moved(layouts, moved))
        workspace = self._kept_workspace(bound.workspace)
        queue = self._queue()
        try:
            event = bound.enqueue(queue, memory, workspace, None)
            buffers.read_back(queue, event)
        except BaseException:
            queue.finish()  # what was enqueued writes into memory that the caller is about to free
            raise

    def _run_on_device_arrays(self, plan: Plan, layouts: Layouts, arrays: tuple[Any, ...]) -> None:
        given = {name: array for (name, _, _), array in zip(layouts, arrays, strict=True) if array is not None}
        queue = self._queue()
        for name, array in given.items():
            if array.context != queue.context or (array.queue is not None and array.queue.device != queue.device):
                raise ValueError(f"arrays must be of one context and device, but {name} is not on the input's")
        bound = self._bindings.bound(plan, _moved(layouts, {name: _offset(array) for name, array in given.items()}))
        memory = [_memory_of(arrays[operand.place]) for operand in bound.operands]
        events = [event for array in given.values() for event in array.events]
        event = bound.enqueue(queue, memory, self._new_workspace(bound.workspace), events)
        if event is not None:
            for operand in bound.operands:
                if operand.is_written and arrays[operand.place] is not None:
                    arrays[operand.place].add_event(event)

    def _new_workspace(self, wanted: Iterable[BoundWorkspace]) -> dict[str, Any]:
        flags = cl.mem_flags.READ_WRITE
        return {name: cl.Buffer(self._programs.context, flags, size) for name, size, _ in wanted}

    def _kept_workspace(self, wanted: tuple[BoundWorkspace, ...]) -> dict[str, Any]:
        """Return workspace that this thread's next call, which begins when this one has ended, may use again.

        A processor's new memory is slow, because the system clears it. Others are given new memory, in which oclgrind
        sees what is read before it is written.
        """
        if not wanted or not self.in_host_memory:
            return self._new_workspace(wanted)
        if not hasattr(self._of_thread, "sizes"):
            self._of_thread.sizes, self._of_thread.workspace = {}, {}
        sizes: dict[str, int] = self._of_thread.sizes
        kept: dict[str, Any] = self._of_thread.workspace
        small = [one for one in wanted if sizes.get(one.name, 0) < one.size]
        if not small:
            return kept
        if sum(one.size for one in wanted) > _MOST_KEPT:
            return self._new_workspace(wanted)
        if sum((sizes | {one.name: one.size for one in small}).values()) > _MOST_KEPT:
            sizes.clear()
            kept.clear()
            small = list(wanted)
        kept |= self._new_workspace(small)
        sizes |= {one.name: one.size for one in small}
        return kept

    def _queue(self) -> Any:
        if self._own_queue is not None:
            return self._own_queue
        if not hasattr(self._of_thread, "queue"):
            self._of_thread.queue = cl.CommandQueue(self._programs.context, self.device)
        return self._of_thread.queue


def _moved(layouts: Layouts, moved: Mapping[str, int]) -> Layouts:
    """Return layouts of operands that begin so many elements later."""
    return tuple([(name, start + moved.get(name, 0), strides) for name, start, strides in layouts])


def _offset(array: Any) -> int:
    """Return how many elements after its buffer's beginning a pyopencl array, or none, begins."""
    return 0 if array is None else int(array.offset // array.dtype.itemsize)


def _memory_of(array: Any) -> Any:
    """Return the buffer of a pyopencl array; a null pointer, which no kernel follows, for an empty one or none."""
    return array.base_data if array is not None and array.size else None


def _vector_bytes(device: Any) -> int:
    """Return the width of a processor's registers as far as kernels use it, 0 for other devices."""
    if not device.type & cl.device_type.CPU:
        return 0
    width = 4 * device.native_vector_width_float
    return 16 if width <= 16 else 32 if width == 32 else 64


def _vector_loops(device: Any) -> bool:
    """Return whether a device's compiler makes vectors of loops: PoCL's does, Intel's only of neighbouring items."""
    return bool(device.type & cl.device_type.CPU) and device.platform.name == POCL


def _bytes_of(plan: Plan, arrays: Iterable[Any]) -> int:
    return sum(plan.workspace.values()) + sum(int(array.nbytes) for array in arrays if array is not None)


class _MemoryErrors:
    """Turns the driver's words for exhausted memory into clconv's, which tell the bytes that were handled."""

    def __init__(self, size: Callable[[], int], name: str) -> None:
        self._size = size
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, cl.MemoryError) or (
            isinstance(error, cl.Error) and any(word in str(error) for word in _NO_MEMORY)
        ):
            raise DeviceMemoryError(
                f"{self._name} has no memory for this call, which handles {self._size()} bytes: {error}"
            ) from error
