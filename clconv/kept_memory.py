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

__all__ = ["BLOCK_START", "LEAST_KEPT", "Block", "Kept", "Source", "empty", "physical_memory"]

#: Bytes from which on an array's memory is kept: smaller ones come from memory that the process has already.
LEAST_KEPT = 2**17
#: How much is kept at most, as a share of the machine's memory and at all, and in how many blocks.
_SHARE_KEPT, _MOST_KEPT, _MOST_BLOCKS = 64, 2**28, 64
#: Blocks begin at multiples of two cache lines, which processors fetch together.
BLOCK_START = 128

#: Memory, and where in it an array begins.
Block = tuple[np.ndarray[Any, Any], int]

#: Returns memory of some kind for an array of so many bytes, or raises MemoryError.
Source = Callable[[int], Block]


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


def _of_process(size: int) -> Block:
    memory = np.empty(size + BLOCK_START, "uint8")
    return memory, -memory.__array_interface__["data"][0] % BLOCK_START


class Kept:
    """Blocks of memory, of which arrays use some.

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
        #: By the bytes of their arrays and their sources; what was asked for last comes last.
        self._blocks: dict[tuple[int, Source], list[Block]] = {}
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int, source: Source) -> np.ndarray[Any, Any]:
        """Return an array of so many bytes, in a block that no array uses, or in a new one that is kept from now on."""
        if not self._lock.acquire(blocking=False):
            return np.ndarray(shape, dtype, *source(size))
        try:
            if size > self._most:
                return np.ndarray(shape, dtype, *source(size))
            self._blocks[size, source] = blocks = self._blocks.pop((size, source), [])
            return np.ndarray(shape, dtype, *(_first_unused(blocks) or self._new(size, source)))
        except MemoryError:
            self._blocks.clear()
            return np.ndarray(shape, dtype, *source(size))
        finally:
            self._lock.release()

    def sizes(self) -> list[int]:
        """Return how many bytes the arrays of each block have, those first that will be forgotten first."""
        return [size for (size, _), blocks in self._blocks.items() for _ in blocks]

    def _new(self, size: int, source: Source) -> Block:
        """Return a new block, and keep it in place of others, first of those that were not asked for longest."""
        block = source(size)
        while sum(sizes := self.sizes()) > self._most - size or len(sizes) >= self._most_blocks:
            del next(filter(None, self._blocks.values()))[0]
        self._blocks = {key: blocks for key, blocks in self._blocks.items() if blocks or key == (size, source)}
        self._blocks[size, source].append(block)
        return block


_kept = Kept(min(_MOST_KEPT, physical_memory() // _SHARE_KEPT) if _counts_references() else 0)


def empty(shape: tuple[int, ...], dtype: str, source: Source | None = None) -> np.ndarray[Any, Any]:
    """Return a new NumPy array, whose memory may have been that of an array before it, or raise MemoryError.

    Parameters
    ----------
    shape, dtype
        The array's.
    source : function, optional
        Where its memory comes from; NumPy's if there is none.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size >= LEAST_KEPT:
        return _kept.empty(shape, kind, size, source or _of_process)
    return np.ndarray(shape, kind, *source(size)) if source else np.empty(shape, kind)
