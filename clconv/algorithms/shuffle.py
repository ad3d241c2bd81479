"""Shuffles (kernels/shuffle.cl): on processors a work-item copies rows, elsewhere one element."""

from __future__ import annotations

import math

from clconv.algorithms.algorithm import Algorithm, everywhere
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ShuffleProblem

__all__ = ["ALGORITHMS"]

#: Elements of a run, about.
_RUN = 4096


def plan_shuffle(problem: ShuffleProblem, traits: Traits) -> Plan:
    """Plan the copy: operands x, y."""
    extents = problem.extents
    rows, row = extents[4:]
    run = row * max(min(_RUN // max(row, 1), rows), 1) if traits.vector_bytes else 1
    items = math.prod(extents[:4]) * -(-rows * row // max(run, 1))
    numbers = {**{f"E{axis}": extent for axis, extent in enumerate(extents)}, "RUN": run}
    arrays = {"x": "x", "y": "y"}
    local_size = 8 if run > 1 else 64
    moved = 2 * math.prod(extents)
    return Plan((Launch("shuffle.cl", "rearrange", problem.defines, items, arrays, numbers, moved, local_size),))


ALGORITHMS = {"shuffle": (Algorithm("portable", everywhere, plan_shuffle),)}
