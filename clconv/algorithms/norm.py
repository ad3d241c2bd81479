"""Normalisations (kernels/norm.cl, kernels/norm_backward.cl): rows in cache on processors, slices of rows elsewhere.

A row that fits in a processor's cache is read from memory once: one work-item finds its statistics and then its
output. Otherwise slices of rows have work-items of their own, and the array is read once for each step.
"""

from __future__ import annotations

from collections.abc import Mapping

from clconv.algorithms.algorithm import no_vectors
from clconv.plan import Launch, Plan, Traits
from clconv.problem.norm import NormProblem

__all__ = [
    "affine",
    "launch",
    "needs_sums",
    "outputs",
    "plan_bwd",
    "plan_bwd_rows",
    "plan_channels",
    "plan_fwd",
    "plan_given",
    "plan_means",
    "plan_moments",
    "plan_rows",
    "plan_running",
    "rows_refusal",
    "workspace",
]

#: Elements of a slice on processors, which stays in the innermost cache.
_SLICE = 16384
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


def rows_refusal(problem: NormProblem, traits: Traits) -> str | None:
    """Return why not: there must be many rows that fit in the caches of processors, and have to be read twice."""
    row_bytes = problem.n * problem.itemsize
    if row_bytes > _CACHE:
        return f"a row of {row_bytes} bytes does not fit in a cache of {_CACHE}"
    if problem.row_count < _ROWS and problem.row_count * problem.n > _SLICE:
        return f"{problem.row_count} rows of {problem.n} elements are too few for all cores"
    if problem.given:
        return "the statistics are given, so that rows are read once"
    if any(problem.gradients) and not problem.gradients[0]:
        return "no gradient of the input is wanted, so that rows are read once"
    return no_vectors(traits)


def plan_rows(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the output, a row by each work-item: operands x, w, b, y, and for running statistics theirs."""
    if not _size(problem):
        return Plan(())
    numbers = {
        **affine(problem),
        "is_centred": problem.is_centred,
        "eps": problem.eps,
        "SLICES": _slices(problem, traits),
    }
    arrays = outputs(problem)
    rows = launch("norm.cl", "norm_rows", problem, problem.row_count, arrays, numbers, 4, local_size=1)
    return Plan((rows,), workspace(problem, statistics=3)) + plan_running(problem)


def plan_fwd(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the output in steps: the statistics, then each chunk of elements by a work-item."""
    if not _size(problem):
        return Plan(())
    items, chunks = _chunks(problem, traits)
    numbers = {**affine(problem), **chunks}
    apply = launch("norm.cl", "norm_apply", problem, items, outputs(problem), numbers, 4, _group(traits))
    return _plan_statistics(problem, traits) + Plan((apply,)) + plan_running(problem)


def plan_bwd_rows(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the gradients, those of the input a row at a time: operands dy, x, w, dx, dw, db."""
    if not _size(problem):
        return _plan_parameters(problem, traits)
    sums = _sums(problem, traits)
    numbers = {
        **problem.sizes(),
        "has_weight": problem.has_weight,
        "is_centred": problem.is_centred,
        "eps": problem.eps,
        "SLICES": _slices(problem, traits),
        "SUMS": sums,
    }
    arrays: tuple[str, ...] = ("dy", "x", "w", "dx", "statistics")
    kept = workspace(problem, statistics=3, sums=2 * sums)
    parts = min(_PARTS, problem.row_count // _ROWS)
    if problem.planes or parts < 2 or not any(problem.gradients[1:]):
        numbers |= {"weighs": _weighs(problem), "PLANES": max(problem.planes, 1)}
        items, kernel = problem.row_count, "norm_bwd_rows"
        rows = launch("norm_backward.cl", kernel, problem, items, arrays, numbers, 8, local_size=1, part="sums")
        return Plan((rows,), kept) + _plan_parameters(problem, traits)
    numbers["PARTS"] = parts
    arrays += ("weights",)
    kernel = "norm_bwd_row_slices"
    slices = launch("norm_backward.cl", kernel, problem, parts, arrays, numbers, 8, local_size=1, part="sums")
    return Plan((slices,), kept) + _plan_elements(problem, parts)


def plan_bwd(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the gradients in steps: the statistics, sums over slices, then each chunk of the input's gradient."""
    if not _size(problem):
        return _plan_parameters(problem, traits)
    plan = _plan_statistics(problem, traits)
    if needs_sums(problem):
        plan += _plan_sums(problem, traits)
    if problem.gradients[0]:
        if not problem.given:
            plan += plan_means(problem, _sums(problem, traits))
        plan += _plan_input(problem, traits)
    return plan + _plan_parameters(problem, traits)


def needs_sums(problem: NormProblem) -> bool:
    """Return whether gradients are made from sums over the slices of rows."""
    wants_input, *wants_parameters = problem.gradients
    return (wants_input and not problem.given) or (problem.planes > 0 and any(wants_parameters))


def plan_given(problem: NormProblem) -> Plan:
    """Plan the statistics that the running ones are."""
    arrays = ("running_mean", "running_var", "statistics")
    numbers = {**problem.sizes(), "eps": problem.eps}
    given = launch("norm.cl", "norm_given", problem, problem.row_count, arrays, numbers, 0)
    return Plan((given,), workspace(problem, statistics=3))


def plan_moments(problem: NormProblem, moments: Launch, slices: int) -> Plan:
    """Plan the statistics from the moments of slices that a launch finds."""
    rows = problem.row_count
    numbers = {"ROWS": rows, "n": problem.n, "eps": problem.eps, "SLICES": slices}
    merge = launch("norm.cl", "norm_statistics", problem, rows, ("statistics",), numbers, 0, part="moments")
    return Plan((moments, merge), workspace(problem, statistics=3, moments=2 * slices))


def _plan_statistics(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the statistics of all rows."""
    if problem.given:
        return plan_given(problem)
    slices = _slices(problem, traits)
    numbers = {**problem.sizes(), "is_centred": problem.is_centred, "SLICES": slices}
    items = problem.row_count * slices
    moments = launch("norm.cl", "norm_moments", problem, items, ("x",), numbers, 4, _group(traits), part="moments")
    return plan_moments(problem, moments, slices)


def plan_running(problem: NormProblem) -> Plan:
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
    return Plan((launch("norm.cl", "norm_running", problem, problem.rows[1], arrays, numbers, 0),))


def _plan_sums(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the sums over slices that both the rows' means and the channels' gradients are put together from."""
    sums = _sums(problem, traits)
    numbers = {**problem.sizes(), "weighs": _weighs(problem), "SUMS": sums}
    arrays = ("dy", "x", "w", "statistics")
    items = problem.row_count * sums
    group = _group(traits)
    slices = launch("norm_backward.cl", "norm_bwd_sums", problem, items, arrays, numbers, 4, group, part="sums")
    return Plan((slices,), workspace(problem, sums=2 * sums))


def plan_means(problem: NormProblem, sums: int) -> Plan:
    """Plan the means over rows from the sums over so many slices."""
    numbers = {
        **problem.sizes(),
        "weighs_planes": problem.has_weight and not _weighs(problem),
        "is_centred": problem.is_centred,
        "SUMS": sums,
        "PLANES": max(problem.planes, 1),
    }
    rows = problem.row_count
    means = launch("norm_backward.cl", "norm_bwd_means", problem, rows, ("w", "means"), numbers, 0, part="sums")
    return Plan((means,), workspace(problem, means=2))


def _plan_input(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the input's gradient."""
    items, chunks = _chunks(problem, traits)
    flags = {"has_weight": problem.has_weight, "through_statistics": not problem.given}
    arrays = ("dy", "x", "w", "dx", "statistics", "means")
    numbers = {**problem.sizes(), **flags, **chunks}
    gradient = launch("norm_backward.cl", "norm_bwd_input", problem, items, arrays, numbers, 4, _group(traits))
    return Plan((gradient,), workspace(problem, means=2))


def _plan_parameters(problem: NormProblem, traits: Traits) -> Plan:
    """Plan the gradients of weight and bias: zeros where there are no rows, or none with values."""
    _, wants_weight, wants_bias = problem.gradients
    if not wants_weight and not wants_bias:
        return Plan(())
    if problem.planes:
        return plan_channels(problem, _sums(problem, traits))
    rows = problem.row_count if problem.n else 0
    chunk = _WEIGHTS if traits.vector_bytes else 1
    chunks = -(-problem.n // chunk)
    busy = _PARTS if traits.vector_bytes else _WORK_ITEMS
    parts = max(1, min(rows // 4, -(-busy // max(chunks, 1)))) if rows else 0
    part = launch(
        "norm_backward.cl",
        "norm_bwd_elements",
        problem,
        parts * chunks,
        ("dy", "x", "statistics"),
        {**problem.sizes(), "CHUNK": chunk, "SUMS": parts},
        4,
        _group(traits),
        part="weights",
    )
    return Plan((part,)) + _plan_elements(problem, parts)


def _plan_elements(problem: NormProblem, parts: int) -> Plan:
    """Plan the gradients of the elements' weights and biases from the sums over so many slices of the rows."""
    _, wants_weight, wants_bias = problem.gradients
    numbers = {**problem.sizes(), "has_dw": wants_weight, "has_db": wants_bias, "SUMS": parts}
    items = problem.n
    total = launch("norm_backward.cl", "norm_bwd_parts", problem, items, ("dw", "db"), numbers, 1, part="weights")
    return Plan((total,), {"weights": 2 * parts * problem.n * problem.real_bytes})


def plan_channels(problem: NormProblem, sums: int) -> Plan:
    """Plan the gradients of channels' weights and biases from the sums over so many slices of each row."""
    _, wants_weight, wants_bias = problem.gradients
    if not wants_weight and not wants_bias:
        return Plan(())
    sizes = {"R": problem.rows[0] if _size(problem) else 0, "Q": problem.rows[1]}
    numbers = {**sizes, "has_dw": wants_weight, "has_db": wants_bias, "SUMS": sums, "PLANES": problem.planes}
    items = problem.rows[1] * problem.planes
    gather = launch("norm_backward.cl", "norm_bwd_channels", problem, items, ("dw", "db"), numbers, 0, part="sums")
    return Plan((gather,), workspace(problem, sums=2 * sums))


def launch(
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
    """Return a launch with so many operations for each element of the input; of ``arrays``, those that there are."""
    _, has_dw, has_db = problem.gradients
    there = {"w": problem.has_weight, "b": problem.has_bias, "dw": has_dw, "db": has_db}
    bound = {**{name: name for name in arrays if there.get(name, True)}, **named}
    work = operations * _size(problem)
    return Launch(file, kernel, problem.defines, items, bound, numbers, work, local_size)


def outputs(problem: NormProblem) -> tuple[str, ...]:
    """Return the arrays of the kernels that store outputs."""
    return ("x", "w", "b", *problem.epilogue.arrays, "y", "statistics")


def affine(problem: NormProblem) -> dict[str, float]:
    """Return the sizes, which of weight and bias there are, and what is done to outputs."""
    flags = {"has_weight": problem.has_weight, "has_bias": problem.has_bias}
    return {**problem.sizes(), **flags, **problem.epilogue.numbers()}


def workspace(problem: NormProblem, **reals_per_row: int) -> dict[str, int]:
    """Return the bytes of arrays with so many numbers for each row."""
    return {name: count * problem.row_count * problem.real_bytes for name, count in reals_per_row.items()}


def _group(traits: Traits) -> int:
    """Return the local size for work-items that have whole slices on processors, and few elements elsewhere."""
    return 1 if traits.vector_bytes else 64


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
