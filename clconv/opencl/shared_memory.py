"""Host memory that a processor's device shares: OpenCL's fine-grained shared virtual memory (SVM).

What kernels wrote to a buffer in host memory must be mapped before the host may look at it: two more commands, each of
which PoCL hands from one sleeping thread to another. Kernels that are given pointers to shared memory have written it
when they end. Some devices share all memory of the process, others what OpenCL allocates: there, new results are put.
"""

from __future__ import annotations

import contextlib
import functools
import math
from typing import Any

import numpy as np
import pyopencl as cl

from clconv import kept_memory
from clconv.kept_memory import BLOCK_START, Block

__all__ = ["SharedMemory", "shared_memory_of"]


@functools.lru_cache(maxsize=64)
def shared_memory_of(context: Any, device: Any) -> SharedMemory:
    """Return what a device of a context, which works in host memory, shares of it."""
    return SharedMemory(context, device)


class SharedMemory:
    """The memory that a device which works in host memory shares with the host: all, what is allocated so, or none.

    Parameters
    ----------
    context : pyopencl.Context
        For which memory is allocated.
    device : pyopencl.Device
        Of this context.
    """

    def __init__(self, context: Any, device: Any) -> None:
        self._is_all, is_some = _shared_by(device)
        self._context = context if is_some else None
        self._largest = device.max_mem_alloc_size if is_some else 0

    def empty(self, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
        """Return a new NumPy array, in shared memory if there is any left, or raise MemoryError."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not self._is_all and 0 < size <= self._largest:
            with contextlib.suppress(MemoryError):
                return kept_memory.empty(shape, dtype, self._new_block)
        return kept_memory.empty(shape, dtype)

    def holds(self, array: np.ndarray[Any, Any]) -> bool:
        """Return whether kernels may be given pointers into this array."""
        if self._is_all:
            return True
        base: Any = array.base
        while isinstance(base, np.ndarray):
            base = base.base
        return isinstance(base, _Allocation) and base.context == self._context

    def _new_block(self, size: int) -> Block:
        try:
            return np.asarray(_Allocation(self._context, size)), 0
        except cl.Error as error:
            raise MemoryError(f"OpenCL has no {size} bytes of shared memory") from error


class _Allocation:
    """Bytes of shared memory, as NumPy sees them."""

    def __init__(self, context: Any, size: int) -> None:
        self.context = context
        flags = cl.svm_mem_flags.READ_WRITE | cl.svm_mem_flags.SVM_FINE_GRAIN_BUFFER
        self._memory = cl.SVMAllocation(context, size, BLOCK_START, flags)
        address = self._memory.svm_ptr
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (address, False), "version": 3}


def _shared_by(device: Any) -> tuple[bool, bool]:
    """Return whether a device shares all memory, and what is allocated so.

    Devices of versions before 2.0 do not know the question, nor does pyopencl if it was built for such.
    """
    try:
        shared, kinds = device.svm_capabilities, cl.device_svm_capabilities
        return bool(shared & kinds.FINE_GRAIN_SYSTEM), bool(shared & kinds.FINE_GRAIN_BUFFER)
    except (cl.Error, AttributeError):
        return False, False
