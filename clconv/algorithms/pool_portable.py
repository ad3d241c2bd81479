"""The portable poolings: one work-item gathers one element of the result (kernels/pool_*.cl)."""

from __future__ import annotations

from collections.abc import Mapping

from clconv.plan import Launch, Plan
from clconv.problem import AvgPoolProblem, LpPoolProblem, MaxPoolProblem, PoolProblem, UnpoolProblem
from clconv.problem.shapes import real_bytes

__all__ = [
    "divisor_numbers",
    "launch",
    "plan_avg_bwd",
    "plan_avg_fwd",
    "plan_lp_bwd",
    "plan_lp_fwd",
    "plan_max_bwd",
    "plan_max_fwd",
    "plan_unpool_bwd",
    "plan_unpool_fwd",
]

#: Bytes of a place in a plane.
_INDEX_BYTES = 8


def plan_max_fwd(problem: MaxPoolProblem) -> Plan:
    """Plan the maxima and, where wanted, their places: operands x, those of the epilogue, y, indices."""
    rule = {"has_indices": int(problem.indices), "magnitudes": int(problem.magnitudes)}
    arrays = ("x", *problem.epilogue.arrays, "y", *(["indices"] if problem.indices else []))
    numbers = {**rule, **problem.epilogue.numbers()}
    return Plan((launch("pool_max.cl", "max_pool_fwd", problem, problem.outputs, arrays, numbers),))


def plan_max_bwd(problem: MaxPoolProblem) -> Plan:
    """Plan the gradient of the maxima: operands x, dy, dx."""
    return _first_gets_it(problem) if problem.ties == "first" else _all_get_it(problem)


def _first_gets_it(problem: MaxPoolProblem) -> Plan:
    magnitudes = {"magnitudes": int(problem.magnitudes)}
    winners = launch("pool_max.cl", "max_pool_winners", problem, problem.outputs, ("x", "winners"), magnitudes)
    gathered = launch("pool_max.cl", "max_pool_bwd", problem, problem.inputs, ("x", "winners", "dy", "dx"), magnitudes)
    return Plan((winners, gathered), {"winners": _INDEX_BYTES * problem.outputs})


def _all_get_it(problem: MaxPoolProblem) -> Plan:
    parts = launch(
        "pool_max.cl",
        "max_pool_parts",
        problem,
        problem.outputs,
        ("x", "dy", "top", "part"),
        {"shared": int(problem.ties == "share")},
    )
    gathered = launch("pool_max.cl", "max_pool_bwd_ties", problem, problem.inputs, ("x", "top", "part", "dx"), {})
    size = real_bytes(problem.dtype) * problem.outputs
    return Plan((parts, gathered), {"top": size, "part": size})


def plan_avg_fwd(problem: AvgPoolProblem) -> Plan:
    """Plan the means: operands x, those of the epilogue, y."""
    arrays = ("x", *problem.epilogue.arrays, "y")
    numbers = {**divisor_numbers(problem), **problem.epilogue.numbers()}
    return Plan((launch("pool_avg.cl", "avg_pool_fwd", problem, problem.outputs, arrays, numbers),))


def plan_avg_bwd(problem: AvgPoolProblem) -> Plan:
    """Plan the gradient of the means: operands dy, dx."""
    numbers = divisor_numbers(problem)
    return Plan((launch("pool_avg.cl", "avg_pool_bwd", problem, problem.inputs, ("dy", "dx"), numbers),))


def plan_lp_fwd(problem: LpPoolProblem) -> Plan:
    """Plan the norms: operands x, those of the epilogue, y."""
    arrays = ("x", *problem.epilogue.arrays, "y")
    numbers = {"p": problem.norm_type, **problem.epilogue.numbers()}
    return Plan((launch("pool_lp.cl", "lp_pool_fwd", problem, problem.outputs, arrays, numbers),))


def plan_lp_bwd(problem: LpPoolProblem) -> Plan:
    """Plan the gradient of the norms: operands x, dy, dx."""
    order = {"p": problem.norm_type}
    norms = launch("pool_lp.cl", "lp_pool_norms", problem, problem.outputs, ("x", "norms"), order)
    gathered = launch("pool_lp.cl", "lp_pool_bwd", problem, problem.inputs, ("x", "norms", "dy", "dx"), order)
    return Plan((norms, gathered), {"norms": real_bytes(problem.dtype) * problem.outputs})


def plan_unpool_fwd(problem: UnpoolProblem) -> Plan:
    """Plan the values' way back to their places: operands x, indices, y."""
    return Plan((_unpooling("max_unpool_fwd", problem, problem.N * problem.C, ("x", "indices", "y")),))


def plan_unpool_bwd(problem: UnpoolProblem) -> Plan:
    """Plan the gradient of unpooling: operands dy, indices, dx."""
    return Plan((_unpooling("max_unpool_bwd", problem, problem.inputs, ("dy", "indices", "dx")),))


def launch(
    file: str,
    kernel: str,
    problem: PoolProblem,
    items: int,
    arrays: tuple[str, ...],
    numbers: Mapping[str, float],
) -> Launch:
    """Return the launch of a kernel whose array parameters are called like its operands."""
    sizes = {**problem.sizes(), **numbers}
    operations = max(problem.inputs, problem.outputs * problem.taps)
    return Launch(file, kernel, problem.defines, items, {name: name for name in arrays}, sizes, operations)


def divisor_numbers(problem: AvgPoolProblem) -> dict[str, int]:
    """Return what a kernel's sums are divided by: its arguments divisor, 0 for none, and count_padding."""
    return {"count_padding": int(problem.count_include_pad), "divisor": int(problem.divisor or 0)}


def _unpooling(kernel: str, problem: UnpoolProblem, items: int, arrays: tuple[str, ...]) -> Launch:
    bound = {name: name for name in arrays}
    operations = problem.inputs + problem.outputs
    return Launch("pool_unpool.cl", kernel, problem.defines, items, bound, problem.sizes(), operations)
