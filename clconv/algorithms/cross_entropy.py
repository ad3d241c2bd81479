"""Cross entropy, one work-item for a position (kernels/cross_entropy.cl)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clconv.algorithms._elementwise import everywhere
from clconv.algorithms.algorithm import Algorithm
from clconv.plan import Launch, Plan, Traits
from clconv.problem.cross_entropy import CrossEntropyProblem

__all__ = ["ALGORITHMS"]

#: Sums are cut into slices of at least this many terms, and into at most so many slices.
_TERMS_PER_PART = 256
_MOST_PARTS = 1024

#: Rough count of operations for one class of one position: two exponentials.
_OPERATIONS = 40


def _plan_forward(problem: CrossEntropyProblem, traits: Traits) -> Plan:
    """Plan the losses, or what they are reduced to: operands x, t, q, w, y."""
    losses = _losses(problem)
    if problem.reduction == "none":
        return losses + Plan((_at_positions("cross_entropy_each", problem, ("loss", "y"), {}),))
    return losses + _total(problem, has_result=True)


def _plan_backward(problem: CrossEntropyProblem, traits: Traits) -> Plan:
    """Plan the gradients: operands g, x, t, q, w, y (nothing), dx, dq."""
    wanted = {"wants_input": int(problem.wants_input), "wants_target": int(problem.wants_target)}
    arrays = ("g", "x", "t", "q", "w", "divisor", "dx", "dq")
    gradient = _at_positions("cross_entropy_backward", problem, arrays, {**_target(problem), **wanted})
    return _losses(problem) + _total(problem, has_result=False) + Plan((gradient,))


def _losses(problem: CrossEntropyProblem) -> Plan:
    arrays = ("x", "t", "q", "w", "loss", "norm")
    size = problem.positions * problem.real_bytes
    launch = _at_positions("cross_entropy", problem, arrays, _target(problem))
    return Plan((launch,), {"loss": size, "norm": size})


def _total(problem: CrossEntropyProblem, *, has_result: bool) -> Plan:
    parts = max(1, min(problem.positions // _TERMS_PER_PART, _MOST_PARTS))
    sizes = {"COUNT": problem.positions, "PARTS": parts}
    names = {name: name for name in ("loss", "norm", "part", "y", "divisor")}
    flags = {"has_result": int(has_result), "is_mean": int(problem.reduction == "mean")}
    file, defines = "cross_entropy.cl", problem.defines
    return Plan(
        (
            Launch(
                file,
                "cross_entropy_parts",
                defines,
                parts,
                {name: names[name] for name in ("loss", "norm", "part")},
                sizes,
                2 * problem.positions,
            ),
            Launch(
                file,
                "cross_entropy_total",
                defines,
                1,
                {name: names[name] for name in ("part", "y", "divisor")},
                {**sizes, **flags},
                2 * parts,
            ),
        ),
        {"part": 2 * parts * problem.real_bytes, "divisor": problem.real_bytes},
    )


def _at_positions(
    kernel: str, problem: CrossEntropyProblem, arrays: Sequence[str], numbers: dict[str, float]
) -> Launch:
    return Launch(
        "cross_entropy.cl",
        kernel,
        problem.defines,
        problem.positions,
        {name: name for name in arrays},
        {**dict(zip("NCDHW", problem.extents, strict=True)), "RUN": 1, **numbers},
        _OPERATIONS * math.prod(problem.extents),
    )


def _target(problem: CrossEntropyProblem) -> dict[str, float]:
    return {
        "has_classes": int(problem.has_classes),
        "has_weight": int(problem.has_weight),
        "ignored": problem.ignore_index,
        "smoothing": problem.label_smoothing,
    }


ALGORITHMS: dict[str, tuple[Algorithm, ...]] = {
    "cross_entropy": (Algorithm("portable", everywhere, _plan_forward),),
    "cross_entropy_backward": (Algorithm("portable", everywhere, _plan_backward),),
}
