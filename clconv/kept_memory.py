"""Memory of arrays that died, kept for the next ones.

The system takes large blocks back when they are freed, and clears every page of a new one when it is first written: for
small planes that takes as long as a convolution. So the memory of large results is kept, a little of the machine's at
most, and begins at a multiple of two cache lines, which vectors are read faster from.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["LEAST_KEPT", "Block", "Kept", "empty", "physical_memory"]

#: Bytes from which on an array's memory is kept: smaller ones come from memory that the process has already.
LEAST_KEPT = 2**17
#: How much is kept at most, as a share of the machine's memory and at all, and in how many blocks.
_SHARE_KEPT, _MOST_KEPT, _MOST_BLOCKS = 64, 2**28, 64
#: How many times as large as an array its block may be.
_LARGEST_BLOCK = 1.25
#: Two cache lines, which processors fetch together.
_BLOCK_START = 128


class Block(NamedTuple):
    """Bytes for an array, their number, and the address at which the array begins."""

    memory: np.ndarray[Any, Any]
    size: int
    address: int


class Kept:
    """Blocks that no array uses, the latest one last.

    Who finds the lock taken does without these blocks: an array may die anywhere, even while this very thread holds the
    lock, and a fork may leave it taken for ever.

    Parameters
    ----------
    most : int
        How many bytes are kept at most.
    most_blocks : int
        In how many blocks.
    """

    def __init__(self, most: int, most_blocks: int = _MOST_BLOCKS) -> None:
        self._most = most  # not read from the module, which is empty when the last arrays die
        self._most_blocks = most_blocks
        self._blocks: list[Block] = []
        self._total = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> Block | None:
        """Return the latest block that is large enough, but not by far, or None."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            for number in range(len(self._blocks) - 1, -1, -1):
                if size <= self._blocks[number].size <= _LARGEST_BLOCK * size:
                    return self._removed(number)
            return None
        finally:
            self._lock.release()

    def put(self, block: Block) -> None:
        """Keep a block, and let go of those that were kept longest and are too many with it."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._blocks.append(block)
            self._total += block.size
            while self._total > self._most or len(self._blocks) > self._most_blocks:
                self._removed(0)
        finally:
            self._lock.release()

    def clear(self) -> None:
        """Let go of all blocks."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            while self._blocks:
                self._removed(0)
        finally:
            self._lock.release()

    def _removed(self, number: int) -> Block:
        block = self._blocks.pop(number)
        self._total -= block.size
        return block


def physical_memory() -> int:
    """Return how many bytes of memory the machine has, 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


_kept = Kept(min(_MOST_KEPT, physical_memory() // _SHARE_KEPT))


class _Lent:
    """What an array keeps alive in place of its block, which is kept when the array dies, and all views of it."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, block: Block, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.block = block
        self.__array_interface__ = {"data": (block.address, False), "shape": shape, "typestr": dtype.str, "version": 3}

    # As a default, put is still there when the interpreter ends and has cleared this module.
    def __del__(self, put: Callable[[Block], None] = _kept.put) -> None:
        put(self.block)


def empty(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Return a new NumPy array, whose memory may have been that of an array before it, or raise MemoryError."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < LEAST_KEPT:
        return np.empty(shape, kind)
    return np.asarray(_Lent(_kept.take(size) or _new_block(size), shape, kind))


def _new_block(size: int) -> Block:
    """Return a new block; if there is no other memory for it, all that is kept is let go."""
    try:
        memory = np.empty(size + _BLOCK_START, "uint8")
    except MemoryError:
        _kept.clear()
        memory = np.empty(size + _BLOCK_START, "uint8")
    address = memory.__array_interface__["data"][0]
    return Block(memory, size, address + -address % _BLOCK_START)
