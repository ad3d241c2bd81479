"""Memory of arrays that died, used again by the next ones.

The system clears every page of new memory when it is first written, and the C library gives large blocks back to it
when they are freed: those of more than 32 MiB always, where it is GNU's. So the memory of large results is kept, a
little of the machine's at most, and begins at a multiple of two cache lines, which vectors are read faster from.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

__all__ = ["BLOCK_START", "LEAST_KEPT", "Kept", "empty", "most_kept", "physical_memory"]

#: Bytes from which on an array's memory is kept: smaller ones come from memory that the process has already.
LEAST_KEPT = 2**17
#: How much is kept at most, as a share of the machine's memory and at all, and in how many blocks.
_SHARE_KEPT, _MOST_KEPT, _MOST_BLOCKS = 64, 2**28, 64
#: Blocks begin at multiples of two cache lines, which processors fetch together.
BLOCK_START = 128

#: Memory, and where in it an array begins.
Block = tuple[np.ndarray[Any, Any], int]


def physical_memory() -> int:
    """Return how many bytes of memory the machine has, 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


#: A block that no array ever uses.
_NEVER_USED: Block = np.empty(1, "uint8"), 0


def _first_unused(blocks: Iterable[Block]) -> Block | None:
    """Return the first block to whose memory there are as few references as to that of one which no array uses.

    An array of a block is one more, and so is each of its views, which NumPy bases on the same memory. Those to both
    are counted by the same line, so that it does not matter how many of its own the interpreter has there. Memory that
    somebody has made read-only is no result's.
    """
    fewest = 0
    for memory, start in itertools.chain((_NEVER_USED,), blocks):
        count = sys.getrefcount(memory)
        if not fewest:
            fewest = count
        elif count == fewest and memory.flags.writeable:
            return memory, start
    return None


def _counts_references() -> bool:
    """Return whether the interpreter counts references, and at once."""
    return hasattr(sys, "getrefcount") and getattr(sys, "_is_gil_enabled", lambda: True)()


def _new_block(size: int) -> Block:
    """Return memory of the process for an array of so many bytes."""
    memory = np.empty(size + BLOCK_START, "uint8")
    return memory, -memory.__array_interface__["data"][0] % BLOCK_START


def most_kept() -> int:
    """Return how many bytes are kept at most of a kind of memory."""
    return min(_MOST_KEPT, physical_memory() // _SHARE_KEPT) if _counts_references() else 0


class Kept:
    """Blocks of memory, of which arrays use some.

    Whoever finds the lock taken does without them: nobody waits, and a fork may leave it taken for ever.

    Parameters
    ----------
    most : int
        How many bytes are kept at most, in use or not.
    most_blocks : int
        In how many blocks.
    new_block : function
        Returns memory for an array of so many bytes, or raises MemoryError.
    """

    def __init__(
        self, most: int, most_blocks: int = _MOST_BLOCKS, new_block: Callable[[int], Block] = _new_block
    ) -> None:
        self._new_block = new_block
        self._most = most
        self._most_blocks = most_blocks
        #: By the bytes of their arrays; the size that was asked for last comes last.
        self._blocks: dict[int, list[Block]] = {}
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> np.ndarray[Any, Any]:
        """Return an array of so many bytes, in a block that no array uses, or in a new one that is kept from now on."""
        if not self._lock.acquire(blocking=False):
            return np.empty(shape, dtype)
        try:
            if size > self._most:
                return np.ndarray(shape, dtype, *self._new_block(size))
            self._blocks[size] = blocks = self._blocks.pop(size, [])
            return np.ndarray(shape, dtype, *(_first_unused(blocks) or self._new(size)))
        except MemoryError:
            self._blocks.clear()
            return np.empty(shape, dtype)
        finally:
            self._lock.release()

    def sizes(self) -> list[int]:
        """Return how many bytes the arrays of each block have, those first that will be forgotten first."""
        return [size for size, blocks in self._blocks.items() for _ in blocks]

    def _new(self, size: int) -> Block:
        """Return a new block, and keep it in place of others, sizes first that were not asked for longest."""
        block = self._new_block(size)
        sizes = self.sizes()
        while sizes and (sum(sizes) > self._most - size or len(sizes) >= self._most_blocks):
            del self._blocks[sizes.pop(0)][0]
        self._blocks = {kept: blocks for kept, blocks in self._blocks.items() if blocks or kept == size}
        self._blocks[size].append(block)
        return block


_kept = Kept(most_kept())


def empty(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Return a new NumPy array, whose memory may have been that of an array before it, or raise MemoryError."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    return np.empty(shape, kind) if size < LEAST_KEPT else _kept.empty(shape, kind, size)
