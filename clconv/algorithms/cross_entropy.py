"""Cross entropy, a work-item for some neighbouring positions (kernels/cross_entropy.cl)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clconv.algorithms.algorithm import Algorithm, everywhere
from clconv.plan import Launch, Plan, Traits
from clconv.problem.cross_entropy import CrossEntropyProblem

__all__ = ["ALGORITHMS"]

#: Sums are cut into slices of at least this many terms, and into at most so many slices.
_TERMS_PER_PART = 256
_MOST_PARTS = 1024

#: Positions of a processor's work-item, TILE of the kernel, unless there are too few for this many work-items.
_TILE = 64
_WORK_ITEMS = 64

#: Rough count of operations for one class of one position: two exponentials.
_OPERATIONS = 40


def _plan_forward(problem: CrossEntropyProblem, traits: Traits) -> Plan:
    """Plan the losses, or what they are reduced to: operands x, t, q, w, y."""
    arrays = ("x", "t", "q", "w", "loss", "norm")
    size = problem.positions * problem.real_bytes
    launch = _at_positions("cross_entropy", problem, traits, arrays, _target(problem))
    losses = Plan((launch,), {"loss": size, "norm": size})
    if problem.reduction == "none":
        return losses + Plan((_at_positions("cross_entropy_each", problem, traits, ("loss", "y"), {}),))
    return losses + _total(problem, "loss")


def _plan_backward(problem: CrossEntropyProblem, traits: Traits) -> Plan:
    """Plan the gradients: operands g, x, t, q, w, y (nothing), dx, dq."""
    is_mean = problem.reduction == "mean"
    flags = {
        "is_mean": int(is_mean),
        "wants_input": int(problem.wants_input),
        "wants_target": int(problem.wants_target),
    }
    arrays = ("g", "x", "t", "q", "w", "divisor", "dx", "dq")
    gradient = _at_positions("cross_entropy_backward", problem, traits, arrays, {**_target(problem), **flags})
    if not is_mean:
        return Plan((gradient,), {"divisor": problem.real_bytes})
    norms = _at_positions("cross_entropy_norms", problem, traits, ("t", "w", "norm"), _target(problem))
    workspace = {"norm": problem.positions * problem.real_bytes}
    return Plan((norms,), workspace) + _total(problem, None) + Plan((gradient,))


def _total(problem: CrossEntropyProblem, losses: str | None) -> Plan:
    """Plan the sums of the losses, if they are given, and of what the mean divides by."""
    parts = max(1, min(problem.positions // _TERMS_PER_PART, _MOST_PARTS))
    sizes = {"COUNT": problem.positions, "PARTS": parts}
    flags = {"has_result": int(losses is not None), "is_mean": int(problem.reduction == "mean")}
    file, defines = "cross_entropy.cl", problem.defines
    return Plan(
        (
            Launch(
                file,
                "cross_entropy_parts",
                defines,
                parts,
                {"loss": losses or "norm", "norm": "norm", "part": "part"},
                sizes,
                2 * problem.positions,
            ),
            Launch(
                file,
                "cross_entropy_total",
                defines,
                1,
                {"part": "part", "y": "y", "divisor": "divisor"},
                {**sizes, **flags},
                2 * parts,
            ),
        ),
        {"part": 2 * parts * problem.real_bytes, "divisor": problem.real_bytes},
    )


def _at_positions(
    kernel: str, problem: CrossEntropyProblem, traits: Traits, arrays: Sequence[str], numbers: dict[str, float]
) -> Launch:
    *outer, last = (extent for axis, extent in enumerate(problem.extents) if axis != 1)
    run = min(_TILE, max(1, problem.positions // _WORK_ITEMS)) if traits.vector_loops else 1
    return Launch(
        "cross_entropy.cl",
        kernel,
        problem.defines,
        math.prod(outer) * -(-last // run),
        {name: name for name in arrays},
        {**dict(zip("NCDHW", problem.extents, strict=True)), "RUN": run, **numbers},
        _OPERATIONS * math.prod(problem.extents),
        local_size=1 if traits.vector_loops else 64,
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
