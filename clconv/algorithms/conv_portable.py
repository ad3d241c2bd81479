"""The portable convolution: one work-item gathers one element of the result (kernels/conv.cl, kernels/sums.cl)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from clconv.plan import Launch, Plan
from clconv.problem import ConvProblem

__all__ = ["plan_bwd_bias", "plan_bwd_data", "plan_bwd_weights", "plan_fwd", "weights_of_parts"]

#: A sum with fewer terms than this is not worth cutting in two.
_TERMS_PER_PART = 256
#: Work-items that keep a large device busy: sums are cut into parts until there are about as many.
_WORK_ITEMS = 8192
#: Sums that a work-item adds up on a processor.
_RUN_OF_SUMS = 256


def plan_fwd(problem: ConvProblem) -> Plan:
    """Plan ``y = x * w (+ b)``, and the epilogue: operands x, w, b, those of the epilogue, y."""
    items = problem.N * problem.G * problem.OCG * _outputs(problem)
    numbers = {
        **problem.sizes(),
        "has_bias": int(problem.bias and not problem.transposed),
        **problem.epilogue.numbers(),
    }
    arrays = ("x", "w", *_bias(numbers), *problem.epilogue.arrays, "y")
    return Plan((_launch("conv.cl", "conv_fwd", problem, items, arrays, numbers),))


def plan_bwd_data(problem: ConvProblem) -> Plan:
    """Plan the gradient of the data, or the transposed convolution: operands dy, w, b, the epilogue's, dx."""
    items = problem.N * problem.G * problem.ICG * _extents(problem)
    numbers = {
        **problem.sizes(),
        "has_bias": int(problem.bias and problem.transposed),
        **problem.epilogue.numbers(),
    }
    arrays = ("dy", "w", *_bias(numbers), *problem.epilogue.arrays, "dx")
    return Plan((_launch("conv.cl", "conv_bwd_data", problem, items, arrays, numbers),))


def plan_bwd_weights(problem: ConvProblem) -> Plan:
    """Plan the gradient of the weight: operands x, dy, dw."""
    channels, taps = problem.G * problem.OCG, [window.kernel for window in problem.windows]
    weights = channels * problem.ICG * math.prod(taps)
    parts = _parts(problem.N * _outputs(problem), weights)
    partial = _launch(
        "conv.cl",
        "conv_bwd_weights",
        problem,
        parts * weights,
        ("x", "dy"),
        {**problem.sizes(), "PARTS": parts},
        part="dw_parts",
    )
    return weights_of_parts(problem, Plan((partial,)), parts, run=1)


def plan_bwd_bias(problem: ConvProblem) -> Plan:
    """Plan the gradient of the bias, the sum of the output's gradient ``a`` over all but channels: operands a, db."""
    channels = problem.bias_shape[0]
    spatial = [window.extent if problem.transposed else window.output for window in problem.windows]
    parts = _parts(problem.N * math.prod(spatial), channels)
    numbers = {"N": problem.N, "C": channels, **dict(zip("DHW", spatial, strict=True)), "PARTS": parts}
    partial = _launch("sums.cl", "channel_sums", problem, parts * channels, ("a",), numbers, part="db_parts")
    sizes = {"N": 1, "C": channels, "D": 1, "H": 1, "W": 1}
    return _summed(problem, Plan((partial,)), "db_parts", "db", channels, parts, sizes)


def weights_of_parts(problem: ConvProblem, partial: Plan, parts: int, run: int = _RUN_OF_SUMS) -> Plan:
    """Return the plan that computes partial sums of the weight's gradient, ``dw_parts``, and adds them into dw.

    On a processor, a work-item adds up ``run`` neighbours; elsewhere it has but one.
    """
    channels, taps = problem.G * problem.OCG, [window.kernel for window in problem.windows]
    sizes = {"N": channels, "C": problem.ICG, **dict(zip("DHW", taps, strict=True))}
    return _summed(problem, partial, "dw_parts", "dw", channels * problem.ICG * math.prod(taps), parts, sizes, run)


def _summed(
    problem: ConvProblem,
    partial: Plan,
    part: str,
    result: str,
    count: int,
    parts: int,
    sizes: dict[str, int],
    run: int = 1,
) -> Plan:
    """Return the plan that computes the partial sums ``part`` and adds them into ``result``."""
    total = Launch(
        "sums.cl",
        "sum_parts" if run == 1 else "sum_runs_of_parts",
        problem.defines,
        -(-count // run),
        {"part": part, "sum": result},
        {**sizes, "PARTS": parts, **({} if run == 1 else {"RUN": run})},
        parts * count,
    )
    return partial + Plan((total,), {part: parts * count * problem.real_bytes})


def _launch(
    file: str,
    kernel: str,
    problem: ConvProblem,
    items: int,
    arrays: tuple[str, ...],
    numbers: Mapping[str, float],
    **named: str,
) -> Launch:
    bound = {**{name: name for name in arrays}, **named}
    return Launch(file, kernel, problem.defines, items, bound, numbers, 2 * problem.macs)


def _bias(numbers: Mapping[str, float]) -> tuple[str, ...]:
    """Return the array of the bias, if a launch with these numbers reads one."""
    return ("b",) if numbers["has_bias"] else ()


def _parts(terms: int, sums: int) -> int:
    """Return into how many parts sums of ``terms`` are cut: a function of the shapes alone, so results repeat."""
    return max(1, min(terms // _TERMS_PER_PART, -(-_WORK_ITEMS // max(sums, 1))))


def _outputs(problem: ConvProblem) -> int:
    return math.prod(window.output for window in problem.windows)


def _extents(problem: ConvProblem) -> int:
    return math.prod(window.extent for window in problem.windows)
