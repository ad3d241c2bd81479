"""Memory of arrays that died, used again by the next ones.

The system clears every page of new memory when it is first written, and the C library gives large blocks back to it
when they are freed: those of more than 32 MiB always, where it is GNU's. So the memory of large results is kept, a
little of the machine's at most, and begins at a multiple of two cache lines, which vectors are read faster from.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["LEAST_KEPT", "Kept", "empty", "physical_memory"]

#: Bytes from which on an array's memory is kept: smaller ones come from memory that the process has already.
LEAST_KEPT = 2**17
#: How much is kept at most, as a share of the machine's memory and at all, and in how many blocks.
_SHARE_KEPT, _MOST_KEPT, _MOST_BLOCKS = 64, 2**28, 64
#: Two cache lines, which processors fetch together.
_BLOCK_START = 128

#: Memory, and where in it an array begins.
Block = tuple[np.ndarray[Any, Any], int]


def physical_memory() -> int:
    """Return how many bytes of memory the machine has, 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _first_used_by(users: int | None, blocks: Iterable[Block]) -> tuple[Block, int] | None:
    """Return the first block with so many references to its memory, None being any number, and the number.

    An array of a block is one, and so is each of its views, which NumPy bases on the same memory.
    """
    for block in blocks:
        count = sys.getrefcount(block[0])
        if users is None or count == users:
            return block, count
    return None


def _references_of_unused() -> int:
    """Return how many references to a block's memory are counted if no array uses it; 0 if that may be late."""
    if not hasattr(sys, "getrefcount") or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return 0
    found = _first_used_by(None, [(np.empty(1, "uint8"), 0)])
    assert found is not None
    return found[1]


_UNUSED = _references_of_unused()


class Kept:
    """Blocks of memory, of which arrays use some, the oldest one first.

    Whoever finds the lock taken does without them: nobody waits, and a fork may leave it taken for ever.

    Parameters
    ----------
    most : int
        How many bytes are kept at most, in use or not.
    most_blocks : int
        In how many blocks.
    """

    def __init__(self, most: int, most_blocks: int = _MOST_BLOCKS) -> None:
        self._most = most
        self._most_blocks = most_blocks
        self._by_size: dict[int, list[Block]] = {}
        self._sizes: deque[int] = deque()
        self._total = 0
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> np.ndarray[Any, Any]:
        """Return an array of so many bytes, in a block that no array uses, or in a new one that is kept from now on."""
        if not self._lock.acquire(blocking=False):
            return np.empty(shape, dtype)
        try:
            found = _first_used_by(_UNUSED, self._by_size.get(size, ()))
            block = found[0] if found else self._new_block(size)
            return np.ndarray(shape, dtype, *block)
        except MemoryError:
            self._forget(0)
            return np.empty(shape, dtype)
        finally:
            self._lock.release()

    def _new_block(self, size: int) -> Block:
        memory = np.empty(size + _BLOCK_START, "uint8")
        block = memory, -memory.__array_interface__["data"][0] % _BLOCK_START
        if size <= self._most:
            self._forget(self._most - size)
            self._by_size.setdefault(size, []).append(block)
            self._sizes.append(size)
            self._total += size
        return block

    def _forget(self, most: int) -> None:
        """Forget the oldest blocks until so many bytes are left and one more has room: arrays keep their own."""
        while self._sizes and (self._total > most or len(self._sizes) >= self._most_blocks):
            size = self._sizes.popleft()
            self._total -= size
            del self._by_size[size][0]
            if not self._by_size[size]:
                del self._by_size[size]


_kept = Kept(min(_MOST_KEPT, physical_memory() // _SHARE_KEPT) if _UNUSED else 0)


def empty(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Return a new NumPy array, whose memory may have been that of an array before it, or raise MemoryError."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    return np.empty(shape, kind) if size < LEAST_KEPT else _kept.empty(shape, kind, size)
