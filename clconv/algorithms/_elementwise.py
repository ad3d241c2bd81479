"""What plans share whose kernels compute each element by itself (kernels/elementwise.h)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from clconv.plan import Launch, Plan, Traits, Walk
from clconv.problem.elementwise import AXES

__all__ = ["flat_launch", "flat_refusal", "launches"]

#: Elements that a processor's work-item computes: enough for the decoding of its position not to count, few enough for
#: work to spread evenly.
_RUN = 4096

#: Rough count of operations for an element: memory takes longer than arithmetic.
_OPERATIONS = 4


def flat_refusal(problem: Any, traits: Traits) -> str | None:
    """Return why not: arrays may have no gaps, and vectors are made of neighbouring work-items."""
    if traits.vector_loops:
        return "vectors are made of a work-item's loop, not of neighbouring work-items"
    return None if problem.dense else f"the elements of extents {problem.extents} do not lie side by side in one order"


def flat_launch(
    file: str,
    kernel: str,
    arrays: Sequence[str],
    numbers: Mapping[str, float],
    count: int,
    defines: tuple[tuple[str, int], ...],
) -> Plan:
    """Return the launch of a kernel that computes one element in each work-item."""
    named = {name: name for name in arrays}
    return Plan((Launch(file, kernel, defines, count, named, {"COUNT": count, **numbers}, _OPERATIONS * count),))


def launches(
    file: str,
    kernel: str,
    arrays: Sequence[str],
    numbers: Mapping[str, float],
    extents: Sequence[int],
    defines: tuple[tuple[str, int], ...],
    traits: Traits,
    run: int | None = None,
    items: int | None = None,
    counted: Mapping[str, Sequence[int]] | None = None,
) -> Plan:
    """Return one launch, or one for each position along the axes beyond those that a kernel walks.

    ``run`` is the positions of a work-item along the last axis, ``items`` how many work-items there are where they are
    not those of all positions. ``counted`` has the steps of what is walked like an array and is none.
    """
    outer, inner = tuple(extents[:-AXES]), extents[-AXES:]
    if run is None:
        run = _RUN if traits.vector_loops else 1
    if items is None:
        items = math.prod(inner[:-1]) * -(-inner[-1] // run)
    sizes = {**dict(zip("NCDHW", inner, strict=True)), "RUN": run, **numbers}
    kept = tuple((len(outer) + axis, 1) for axis in range(AXES))
    return Plan(
        tuple(
            Launch(
                file,
                kernel,
                defines,
                items,
                {name: name for name in arrays},
                {**sizes, **_start_and_steps(counted or {}, position)},
                _OPERATIONS * math.prod(inner),
                local_size=1 if traits.vector_loops else 64,
                walks={name: Walk((*position, *(0,) * AXES), kept) for name in arrays} if outer else {},
            )
            for position in itertools.product(*map(range, outer))
        )
    )


def _start_and_steps(counted: Mapping[str, Sequence[int]], position: tuple[int, ...]) -> dict[str, int]:
    """Return a kernel's numbers for walks that start at a position along the axes that it does not walk."""
    numbers = {}
    for name, steps in counted.items():
        outer, inner = steps[: len(position)], steps[len(position) :]
        numbers[f"{name}_start"] = sum(p * step for p, step in zip(position, outer, strict=True))
        numbers |= {f"{name}_{axis}": step for axis, step in zip("ncdhw", inner, strict=True)}
    return numbers
