"""What plans share whose kernels compute each element by itself (kernels/elementwise.h)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from clconv.plan import Launch, Plan, Traits, Walk
from clconv.problem.elementwise import AXES

__all__ = ["everywhere", "flat_applies", "flat_launch", "launches"]

#: Elements that a processor's work-item computes: enough for the decoding of its position not to count, few enough for
#: work to spread evenly.
_RUN = 4096

#: Rough count of operations for an element: memory takes longer than arithmetic.
_OPERATIONS = 4


def everywhere(problem: Any, traits: Traits) -> bool:
    """Return that an algorithm applies to every problem on every device."""
    return True


def flat_applies(problem: Any, traits: Traits) -> bool:
    """Return whether arrays have no gaps, and vectors are made of neighbouring work-items."""
    return bool(problem.dense) and not traits.vector_loops


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
) -> Plan:
    """Return one launch, or one for each position along the axes beyond those that a kernel walks."""
    outer, inner = tuple(extents[:-AXES]), extents[-AXES:]
    run = _RUN if traits.vector_bytes else 1
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
                sizes,
                _OPERATIONS * math.prod(inner),
                local_size=1 if traits.vector_bytes else 64,
                walks={name: Walk((*position, *(0,) * AXES), kept) for name in arrays} if outer else {},
            )
            for position in itertools.product(*map(range, outer))
        )
    )
