"""NumPy arrays as OpenCL buffers: in place where the device works in host memory, copied once each way elsewhere."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array

from clconv.host_memory import aligned, span
from clconv.opencl.shared_memory import SharedMemory

__all__ = ["HostBuffers", "copy_of_span", "one_span_or_contiguous", "runs_in_host_memory"]


def runs_in_host_memory(device: Any) -> bool:
    """Return whether a device works on the host's own memory.

    oclgrind's device, which names every type at once, tracks what was written to a buffer and would miss what the host
    writes.
    """
    return bool(device.type & ~cl.device_type.DEFAULT == cl.device_type.CPU)


def one_span_or_contiguous(array: np.ndarray[Any, Any], in_place: bool) -> np.ndarray[Any, Any]:
    """Return the array where its memory is used in place or is tight enough to be copied as it lies, else a copy.

    A broadcast view is tighter than its copy, a sparse one wider.
    """
    array = aligned(array)
    if in_place or not array.size:
        return array
    first, last = span(array)
    return array if last - first <= array.nbytes else np.ascontiguousarray(array)


def copy_of_span(queue: Any, array: Any) -> Any:
    """Return a pyopencl array of the same strides in a buffer of its own, which holds what the first one's spans."""
    reach = [(extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True)]
    if not array.size:
        return cl.array.empty(queue, array.shape, array.dtype)
    before = -sum(min(step, 0) for step in reach)
    size = before + sum(max(step, 0) for step in reach) + array.dtype.itemsize
    buffer = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, size)
    cl.enqueue_copy(
        queue, buffer, array.base_data, byte_count=size, src_offset=array.offset - before, wait_for=array.events
    )
    return cl.array.Array(queue, array.shape, array.dtype, data=buffer, offset=before, strides=array.strides)


class HostBuffers:
    """The buffers of one call's NumPy arrays, or pointers into memory that the device shares."""

    def __init__(self, context: Any, shared: SharedMemory | None) -> None:
        self._context = context
        self._shared = shared
        self._in_place = shared is not None
        self._results: list[tuple[Any, Any]] = []
        self._spans: dict[tuple[int, int], Any] = {}

    def add(self, array: np.ndarray[Any, Any] | None, is_written: bool) -> tuple[Any, int]:
        """Make a buffer for an array, all results before the first input.

        Returns
        -------
        buffer : pyopencl.Buffer, pyopencl.SVM or None
            None, a null pointer that no kernel follows, for an empty array or none.
        moved : int
            How many elements before the array's first one the buffer begins.
        """
        if array is None or not array.size:
            return None, 0
        is_shared = self._shared is not None and self._shared.holds(array)
        if is_shared and array.flags.c_contiguous and array.flags.writeable:  # pyopencl takes no other
            return cl.SVM(array), 0
        first, last = span(array)
        buffer: Any
        if is_shared:
            buffer = cl.SVM(_bytes_at(first, last))
        else:
            buffer = self._result(first, last) if is_written else self._input(first, last)
        start = 0 if array.flags.c_contiguous else array.__array_interface__["data"][0] - first
        return buffer, start // array.itemsize

    def read_back(self, queue: Any, event: Any) -> None:
        """Wait for the results and make them visible in their arrays."""
        wait_for = None if event is None else [event]
        for memory, buffer in self._results:
            if self._in_place:
                # Nobody looks at what is mapped before the queue has ended: one wait instead of three.
                how, bytes_ = cl.map_flags.READ, np.dtype(np.uint8)
                mapped, is_mapped = cl.enqueue_map_buffer(
                    queue, buffer, how, 0, (buffer.size,), bytes_, wait_for=wait_for, is_blocking=False
                )
                mapped.base.release(queue, wait_for=[is_mapped])
            else:
                cl.enqueue_copy(queue, memory, buffer, wait_for=wait_for)
        queue.finish()

    def _result(self, first: int, last: int) -> Any:
        flags = cl.mem_flags.READ_WRITE
        memory = _bytes_at(first, last)
        if self._in_place:
            buffer = cl.Buffer(self._context, flags | cl.mem_flags.USE_HOST_PTR, hostbuf=memory)
            self._spans[first, last] = buffer
        else:
            buffer = cl.Buffer(self._context, flags, last - first)
        self._results.append((memory, buffer))
        return buffer

    def _input(self, first: int, last: int) -> Any:
        if (first, last) in self._spans and self._spans[first, last] not in [buffer for _, buffer in self._results]:
            return self._spans[first, last]
        overlapping = any(first < other_last and other_first < last for other_first, other_last in self._spans)
        # READ_WRITE, although kernels only read it: Intel's runtime copies what a READ_ONLY buffer is to use in place,
        # unless it begins at a multiple of 128 bytes, as NumPy's memory does not.
        how = (
            cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
            if self._in_place and not overlapping
            else cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        )
        buffer = cl.Buffer(self._context, how, hostbuf=_bytes_at(first, last))
        self._spans[first, last] = buffer
        return buffer


def _bytes_at(first: int, last: int) -> Any:
    """Return memory as bytes; whoever holds the array that it belongs to keeps it alive."""
    return (ctypes.c_ubyte * (last - first)).from_address(first)
