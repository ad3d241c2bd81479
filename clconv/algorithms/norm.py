"""Normalisations (kernels/norm.cl, kernels/norm_backward.cl): rows in cache on processors, slices of rows elsewhere.

A row that fits in a processor's cache is read from memory once: one work-item finds its statistics and then its
output. Otherwise slices of rows have work-items of their own, and the array is read once for each step.
"""

from __future__ import annotations

from collections.abc import Mapping

from clconv.algorithms.algorithm import Algorithm
from clconv.plan import Launch, Plan, Traits
from clconv.problem.norm import NormProblem

__all__ = ["ALGORITHMS", "plan_bwd", "plan_bwd_rows", "plan_fwd", "plan_rows", "rows_fit"]

#: Elements of a slice on processors: two sweeps of it stay in the innermost cache.
_SLICE = 8192
#: A row's bytes that stay in a processor's own cache until they are read again.
_CACHE = 2**19
#: Fewer rows than these are cut into slices, so that every core has some.
_ROWS = 16
#: Work-items that keep a large device busy, and the terms below which a sum is not worth cutting.
_WORK_ITEMS = 8192
_TERMS_PER_SLICE = 256
#: Elements whose own weights' gradients a processor adds up at a time, and parts that such a sum falls into.
_WEIGHTS = 1024
_PARTS = 64


def rows_fit(problem: NormProblem, traits: Traits) -> bool:
    """Return whether there are many rows that fit in the caches of processors, and have to be read twice."""
    is_small = problem.n * problem.itemsize <= _CACHE
    is_many = problem.row_count >= _ROWS or problem.row_count * problem.n <= _SLICE
    wants_input = problem.gradients[0] or not any(problem.gradients)
    return bool(traits.vector_bytes) and is_small and is_many and wants_input and not problem.given


def plan_rows(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the output, a row by each work-item: operands x, w, b, y, and for running statistics theirs."""
    if not _size(problem):
        return Plan(())
    numbers = {
        **_affine(problem),
        "is_centred": problem.is_centred,
        "eps": problem.eps,
        "SLICES": _slices(problem, traits),
    }
    arrays = ("x", "w", "b", "y", "statistics")
    rows = _launch("norm.cl", "norm_rows", problem, problem.row_count, arrays, numbers, 4, local_size=1)
    return Plan((rows,), _workspace(problem, statistics=3)) + _plan_running(problem)


def plan_fwd(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the output in steps: the statistics, then each chunk of elements by a work-item."""
    if not _size(problem):
        return Plan(())
    items, chunks = _chunks(problem, traits)
    numbers = {**_affine(problem), **chunks}
    apply = _launch("norm.cl", "norm_apply", problem, items, ("x", "w", "b", "y", "statistics"), numbers, 4)
    return _plan_statistics(problem, traits) + Plan((apply,)) + _plan_running(problem)


def plan_bwd_rows(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the gradients, those of the input a row by each work-item: operands dy, x, w, dx, dw, db."""
    if not _size(problem):
        return _plan_parameters(problem, traits)
    sums = _sums(problem, traits)
    numbers = {
        **problem.sizes(),
        "has_weight": problem.has_weight,
        "weighs": _weighs(problem),
        "is_centred": problem.is_centred,
        "eps": problem.eps,
        "SLICES": _slices(problem, traits),
        "SUMS": sums,
        "PLANES": max(problem.planes, 1),
    }
    arrays = ("dy", "x", "w", "dx", "statistics")
    rows = _launch(
        "norm_backward.cl",
        "norm_bwd_rows",
        problem,
        problem.row_count,
        arrays,
        numbers,
        8,
        local_size=1,
        part="sums",
    )
    return Plan((rows,), _workspace(problem, statistics=3, sums=2 * sums)) + _plan_parameters(problem, traits)


def plan_bwd(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the gradients in steps: the statistics, sums over slices, then each chunk of the input's gradient."""
    if not _size(problem):
        return _plan_parameters(problem, traits)
    wants_input, *wants_parameters = problem.gradients
    through = not problem.given
    plan = _plan_statistics(problem, traits)
    if (wants_input and through) or (problem.planes and any(wants_parameters)):
        plan += _plan_sums(problem, traits)
    if wants_input:
        plan += _plan_input(problem, traits, through)
    return plan + _plan_parameters(problem, traits)


def _plan_statistics(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the statistics of all rows."""
    rows, workspace = problem.row_count, _workspace(problem, statistics=3)
    if problem.given:
        arrays = ("running_mean", "running_var", "statistics")
        numbers = {**problem.sizes(), "eps": problem.eps}
        return Plan((_launch("norm.cl", "norm_given", problem, rows, arrays, numbers, 0),), workspace)
    slices = _slices(problem, traits)
    moments = _launch(
        "norm.cl",
        "norm_moments",
        problem,
        rows * slices,
        ("x",),
        {**problem.sizes(), "is_centred": problem.is_centred, "SLICES": slices},
        4,
        part="moments",
    )
    numbers = {"ROWS": rows, "n": problem.n, "eps": problem.eps, "SLICES": slices}
    merge = _launch("norm.cl", "norm_statistics", problem, rows, ("statistics",), numbers, 0, part="moments")
    return Plan((moments, merge), {**workspace, **_workspace(problem, moments=2 * slices)})


def _plan_running(problem: NormProblem) -> Plan:
    """Plan the new running statistics, last of all: whatever fails before has changed nothing."""
    if problem.share is None:
        return Plan(())
    numbers = {
        **problem.sizes(),
        "keep": 1 - problem.share,
        "share": problem.share,
        "correction": problem.n / max(problem.n - 1, 1),
    }
    arrays = ("statistics", "running_mean", "running_var", "new_mean", "new_var")
    return Plan((_launch("norm.cl", "norm_running", problem, problem.rows[1], arrays, numbers, 0),))


def _plan_sums(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the sums over slices that both the rows' means and the channels' gradients are put together from."""
    sums = _sums(problem, traits)
    numbers = {**problem.sizes(), "weighs": _weighs(problem), "SUMS": sums}
    arrays = ("dy", "x", "w", "statistics")
    items = problem.row_count * sums
    launch = _launch("norm_backward.cl", "norm_bwd_sums", problem, items, arrays, numbers, 4, part="sums")
    return Plan((launch,), _workspace(problem, sums=2 * sums))


def _plan_input(problem: NormProblem, traits: Traits, through: bool) -> Plan:
    """Plan the input's gradient, through the statistics or past given ones."""
    launches = []
    if through:
        means = {
            **problem.sizes(),
            "weighs_planes": problem.has_weight and not _weighs(problem),
            "is_centred": problem.is_centred,
            "SUMS": _sums(problem, traits),
            "PLANES": max(problem.planes, 1),
        }
        rows = problem.row_count
        launches.append(
            _launch("norm_backward.cl", "norm_bwd_means", problem, rows, ("w", "means"), means, 0, part="sums")
        )
    items, chunks = _chunks(problem, traits)
    numbers = {**problem.sizes(), "has_weight": problem.has_weight, "through_statistics": through, **chunks}
    arrays = ("dy", "x", "w", "dx", "statistics", "means")
    launches.append(_launch("norm_backward.cl", "norm_bwd_input", problem, items, arrays, numbers, 4))
    return Plan(tuple(launches), _workspace(problem, means=2))


def _plan_parameters(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the gradients of weight and bias: zeros where there are no rows, or none with values."""
    _, wants_weight, wants_bias = problem.gradients
    if not wants_weight and not wants_bias:
        return Plan(())
    wanted = {"has_dw": wants_weight, "has_db": wants_bias}
    rows = problem.row_count if problem.n else 0
    if problem.planes:
        sums = _sums(problem, traits)
        sizes = {"R": problem.rows[0] if _size(problem) else 0, "Q": problem.rows[1]}
        numbers = {**sizes, **wanted, "SUMS": sums, "PLANES": problem.planes}
        items = problem.rows[1] * problem.planes
        arrays = ("dw", "db")
        gather = _launch("norm_backward.cl", "norm_bwd_channels", problem, items, arrays, numbers, 0, part="sums")
        return Plan((gather,), _workspace(problem, sums=2 * sums))
    chunk = _WEIGHTS if traits.vector_bytes else 1
    chunks = -(-problem.n // chunk)
    busy = _PARTS if traits.vector_bytes else _WORK_ITEMS
    parts = max(1, min(rows // 4, -(-busy // max(chunks, 1)))) if rows else 0
    part = _launch(
        "norm_backward.cl",
        "norm_bwd_elements",
        problem,
        parts * chunks,
        ("dy", "x", "statistics"),
        {**problem.sizes(), "CHUNK": chunk, "SUMS": parts},
        4,
        part="weights",
    )
    numbers = {**problem.sizes(), **wanted, "SUMS": parts}
    total = _launch(
        "norm_backward.cl", "norm_bwd_parts", problem, problem.n, ("dw", "db"), numbers, parts, part="weights"
    )
    return Plan((part, total), {"weights": 2 * parts * problem.n * problem.real_bytes})


def _launch(
    file: str,
    kernel: str,
    problem: NormProblem,
    items: int,
    arrays: tuple[str, ...],
    numbers: Mapping[str, float],
    operations: int,
    local_size: int = 64,
    **named: str,
) -> Launch:
    """Return a launch with so many operations for each element of the input."""
    bound = {**{name: name for name in arrays}, **named}
    work = operations * _size(problem)
    return Launch(file, kernel, problem.defines, items, bound, numbers, work, local_size)


def _affine(problem: NormProblem) -> dict[str, float]:
    return {**problem.sizes(), "has_weight": problem.has_weight, "has_bias": problem.has_bias}


def _workspace(problem: NormProblem, **reals_per_row: int) -> dict[str, int]:
    return {name: count * problem.row_count * problem.real_bytes for name, count in reals_per_row.items()}


def _size(problem: NormProblem) -> int:
    return problem.row_count * problem.n


def _weighs(problem: NormProblem) -> bool:
    """Return whether sums over slices are of weighted terms: every element has its own weight."""
    return problem.has_weight and not problem.planes


def _chunks(problem: NormProblem, traits: Traits) -> tuple[int, dict[str, float]]:
    """Return how many work-items share out the elements, and by which chunks."""
    chunk = min(_SLICE, problem.n) if traits.vector_bytes else 1
    return problem.row_count * -(-problem.n // chunk), {"CHUNK": chunk, "rows_inside": problem.rows_inside}


def _slices(problem: NormProblem, traits: Traits) -> int:
    """Return into how many slices a row is cut: a function of the shapes alone, so results repeat."""
    return _parts(problem.n, problem.row_count, traits)


def _sums(problem: NormProblem, traits: Traits) -> int:
    """Return into how many slices a row is cut for the gradients: as many for each of its planes."""
    planes = max(problem.planes, 1)
    return planes * _parts(problem.n // planes, problem.row_count * planes, traits)


def _parts(terms: int, sums: int, traits: Traits) -> int:
    if traits.vector_bytes:
        return max(1, -(-terms // _SLICE))
    return max(1, min(terms // _TERMS_PER_SLICE, -(-_WORK_ITEMS // max(sums, 1))))


def _always(problem: NormProblem, traits: Traits) -> bool:
    return True


ALGORITHMS = {
    "norm": (Algorithm("rows", rows_fit, plan_rows), Algorithm("portable", _always, plan_fwd)),
    "norm_bwd": (Algorithm("rows", rows_fit, plan_bwd_rows), Algorithm("portable", _always, plan_bwd)),
}
