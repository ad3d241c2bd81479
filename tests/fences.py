"""Memory that shows who wrote where: outputs start as NaN between canaries."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import numpy as np

CANARY = 0xA5
FENCE = 256  # bytes on either side, a multiple of every element's size


class Fences:
    """Allocates arrays between canaries, filled with NaN, and afterwards says whether the canaries live."""

    def __init__(self):
        self._arenas = []

    def empty(self, shape, dtype):
        """Return a new array of NaN (all bits set) in the middle of an arena."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        arena = np.full(size + 2 * FENCE, CANARY, np.uint8)
        arena[FENCE : FENCE + size] = 0xFF
        self._arenas.append(arena)
        return arena[FENCE : FENCE + size].view(dtype).reshape(shape)

    def assert_unharmed(self):
        """Raise if a byte outside the arrays was written."""
        for arena in self._arenas:
            harmed = np.flatnonzero(np.concatenate([arena[:FENCE], arena[-FENCE:]]) != CANARY)
            if harmed.size:
                raise AssertionError(
                    f"{harmed.size} bytes beside an array of {arena.size - 2 * FENCE} bytes were written"
                )


@contextlib.contextmanager
def fenced(executor, record=None, device=None):
    """Make an executor allocate between canaries, record what it launches, and check the canaries at the end.

    Workspace is given to the plan as arrays, so it lies between canaries, too, as does what clconv.plan keeps.
    """
    fences = Fences()
    launch = executor.launch

    def launch_fenced(plan, layouts, arrays):
        workspace = {name: fences.empty((size,), np.uint8) for name, size in plan.workspace.items()}
        if record is not None:
            for one in plan.launches:
                record.launched(device, one)
        walked = tuple((name, 0, ()) for name in workspace)
        launch(replace(plan, workspace={}), (*layouts, *walked), (*arrays, *workspace.values()))

    executor.empty = lambda shape, dtype, like: fences.empty(shape, dtype)
    executor.memory = lambda size: fences.empty((size,), np.uint8)
    executor.launch = launch_fenced
    try:
        yield fences
    finally:
        del executor.empty, executor.memory, executor.launch
    fences.assert_unharmed()
