"""Dropout, one work-item for a run of elements (kernels/dropout.cl)."""

from __future__ import annotations

from clconv.algorithms._elementwise import launches
from clconv.algorithms.algorithm import Algorithm, everywhere
from clconv.plan import Plan, Traits
from clconv.problem.elementwise import DropoutProblem

__all__ = ["ALGORITHMS"]


def _plan(problem: DropoutProblem, traits: Traits) -> Plan:
    """Plan ``y = x * scale`` or 0: operands x, y."""
    numbers = {
        "seed": problem.seed,
        "offset": problem.offset,
        "threshold": problem.threshold,
        "scale": problem.scale,
    }
    walks = {"i": problem.places}
    return launches(
        "dropout.cl", "dropout", ("x", "y"), numbers, problem.extents, problem.defines, traits, counted=walks
    )


ALGORITHMS: dict[str, tuple[Algorithm, ...]] = {"dropout": (Algorithm("portable", everywhere, _plan),)}
