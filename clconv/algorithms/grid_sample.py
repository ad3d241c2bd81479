"""Sampling at the positions of a grid (kernels/grid_sample.cl): a work-item has a position and a slice of channels.

The image's gradient is scattered: there a work-item has whole planes, so that nobody else writes to them. It is summed
in workspace, whose type is that of the sums, and then copied (``sum_parts`` of one part).
"""

from __future__ import annotations

import math

from clconv.algorithms.algorithm import portable
from clconv.plan import Launch, Plan
from clconv.problem import GridSampleProblem

__all__ = ["ALGORITHMS"]

#: Channels that share the work of finding a position's pixels.
_CHANNELS = 16


def plan_grid_sample(problem: GridSampleProblem) -> Plan:
    """Plan the samples: operands x, grid, y."""
    items = problem.N * _slices(problem) * math.prod(problem.outputs)
    return Plan((_launch("grid_sample", problem, items, ("x", "grid", "y")),))


def plan_bwd_input(problem: GridSampleProblem) -> Plan:
    """Plan the gradient of the image: operands dy, grid, dx."""
    sums = f"grid_sample_{problem.dtype}_{'x'.join(map(str, problem.input_shape))}"
    scatter = _launch("grid_sample_bwd_input", problem, problem.N * _slices(problem), ("dy", "grid", sums))
    elements = math.prod(problem.input_shape)
    sizes = problem.sizes()
    numbers = {"N": problem.N, "C": problem.C, "D": sizes["ID"], "H": sizes["IH"], "W": sizes["IW"], "PARTS": 1}
    copy = Launch("sums.cl", "sum_parts", problem.defines, elements, {"part": sums, "sum": "dx"}, numbers, 2 * elements)
    return Plan((scatter, copy), {sums: elements * problem.real_bytes})


def plan_bwd_grid(problem: GridSampleProblem) -> Plan:
    """Plan the gradient of the grid: operands dy, x, grid, dgrid."""
    items = problem.N * math.prod(problem.outputs)
    return Plan((_launch("grid_sample_bwd_grid", problem, items, ("dy", "x", "grid", "dgrid")),))


def _launch(kernel: str, problem: GridSampleProblem, items: int, arrays: tuple[str, ...]) -> Launch:
    names = {"sums" if name.startswith("grid_sample_") else name: name for name in arrays}
    numbers = {**problem.sizes(), "CHANNELS": _CHANNELS}
    operations = 16 * math.prod(problem.output_shape)
    return Launch("grid_sample.cl", kernel, problem.defines, items, names, numbers, operations)


def _slices(problem: GridSampleProblem) -> int:
    return -(-problem.C // _CHANNELS)


ALGORITHMS = {
    "grid_sample": (portable(plan_grid_sample),),
    "grid_sample_bwd_input": (portable(plan_bwd_input),),
    "grid_sample_bwd_grid": (portable(plan_bwd_grid),),
}
