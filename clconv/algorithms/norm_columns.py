"""Normalisations of rows that lie side by side in memory (kernels/norm_columns.cl), for processors.

Such are the channels of a batch without pixels, or of one whose channels come last. A work-item takes many of them and
walks along all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from clconv.algorithms import norm
from clconv.algorithms.algorithm import Algorithm, everywhere, no_vectors
from clconv.plan import Launch, Plan, Traits
from clconv.problem.norm import NormProblem

__all__ = ["ALGORITHMS", "columns_refusal", "plan_bwd", "plan_fwd"]

#: Rows that a work-item takes at most; as in the kernels.
_COLUMNS = 64
#: Work-items that keep all cores busy, and the elements of a row below which cutting it is not worth it.
_WORK_ITEMS = 64
_ELEMENTS_PER_PART = 128


def columns_refusal(problem: NormProblem, traits: Traits) -> str | None:
    """Return why not: rows must lie side by side, there must be some, and each has one weight at most."""
    if not problem.rows_inside:
        return "neighbouring rows do not lie side by side in memory"
    if problem.planes != 1:
        return f"a row has weights for {problem.planes or problem.n} parts, not one"
    if problem.row_count * problem.n == 0:
        return f"{problem.row_count} rows of {problem.n} elements are empty"
    return no_vectors(traits)


def plan_fwd(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the output: operands x, w, b, y, and for running statistics theirs."""
    apply = _launch("columns_apply", problem, norm.outputs(problem), {**norm.affine(problem), "PARTS": _parts(problem)})
    return _statistics(problem) + Plan((apply,)) + norm.plan_running(problem)


def plan_bwd(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the gradients: operands dy, x, w, dx, dw, db."""
    parts = _parts(problem)
    plan = _statistics(problem)
    if norm.needs_sums(problem):
        numbers = {**problem.sizes(), "SUMS": parts}
        sums = _launch("columns_sums", problem, ("dy", "x", "statistics"), numbers, part="sums")
        plan += Plan((sums,), norm.workspace(problem, sums=2 * parts))
    if problem.gradients[0]:
        if not problem.given:
            plan += norm.plan_means(problem, parts)
        flags = {"has_weight": problem.has_weight, "through_statistics": not problem.given}
        arrays = ("dy", "x", "w", "dx", "statistics", "means")
        gradient = _launch("columns_input", problem, arrays, {**problem.sizes(), **flags, "PARTS": parts})
        plan += Plan((gradient,), norm.workspace(problem, means=2))
    return plan + norm.plan_channels(problem, parts)


def _statistics(problem: NormProblem) -> Plan:
    if problem.given:
        return norm.plan_given(problem)
    parts = _parts(problem)
    numbers = {**problem.sizes(), "is_centred": problem.is_centred, "SLICES": parts}
    return norm.plan_moments(problem, _launch("columns_moments", problem, ("x",), numbers, part="moments"), parts)


def _launch(
    kernel: str, problem: NormProblem, arrays: tuple[str, ...], numbers: Mapping[str, float], **named: str
) -> Launch:
    items = _parts(problem) * _blocks(problem)
    return norm.launch("norm_columns.cl", kernel, problem, items, arrays, numbers, 4, local_size=1, **named)


def _blocks(problem: NormProblem) -> int:
    """Return how many blocks of neighbouring rows there are."""
    R, Q = problem.rows
    return R * -(-Q // _COLUMNS)


def _parts(problem: NormProblem) -> int:
    """Return into how many parts the elements of a row fall: a function of the shapes alone, so results repeat."""
    return max(1, min(-(-problem.n // _ELEMENTS_PER_PART), -(-_WORK_ITEMS // _blocks(problem))))


#: Of all normalisations of rows: side by side, in cache, or in steps.
ALGORITHMS = {
    "norm": (
        Algorithm("columns", columns_refusal, plan_fwd),
        Algorithm("rows", norm.rows_refusal, norm.plan_rows),
        Algorithm("portable", everywhere, norm.plan_fwd),
    ),
    "norm_bwd": (
        Algorithm("columns", columns_refusal, plan_bwd),
        Algorithm("rows", norm.rows_refusal, norm.plan_bwd_rows),
        Algorithm("portable", everywhere, norm.plan_bwd),
    ),
}
