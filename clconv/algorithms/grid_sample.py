"""Sampling at the positions of a grid.

By runs of a row on processors (kernels/grid_sample_rows.cl), else portably (kernels/grid_sample.cl). The gradient
of the image is scattered; its sums are made in float or double by work-items that own whole planes.
"""

from __future__ import annotations

import math

from clconv.algorithms.algorithm import Algorithm, no_vectors, portable
from clconv.plan import Launch, Plan, Traits
from clconv.problem import GridSampleProblem

__all__ = ["ALGORITHMS"]

#: Channels that share the work of finding a position's pixels.
_CHANNELS = 16

#: Positions of a processor's run: RUN_MOST of kernels/grid_sample_rows.cl.
RUN = 128

#: Enough work-items for all the threads of a processor; with these, each goes through all channels.
_WORK_ITEMS = 256

#: Kernels count the pixels of a plane in 32 bits.
_MOST_PIXELS = 2**30


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


def _rows_refusal(problem: GridSampleProblem, traits: Traits) -> str | None:
    pixels = math.prod(problem.extents)
    many = f"a plane of {pixels} pixels has more than {_MOST_PIXELS}" if pixels > _MOST_PIXELS else None
    return no_vectors(traits) or many


def plan_rows(problem: GridSampleProblem, traits: Traits) -> Plan:
    """Plan the samples: operands x, grid, y."""
    runs = problem.N * _runs(problem)
    channels = problem.C if runs >= _WORK_ITEMS else _CHANNELS
    items = runs * -(-problem.C // channels)
    return Plan((_rows("grid_sample_rows", problem, traits, items, ("x", "grid", "y"), max(channels, 1)),))


def plan_rows_bwd_input(problem: GridSampleProblem, traits: Traits) -> Plan:
    """Plan the gradient of the image: operands dy, grid, dx."""
    lanes = traits.lanes(problem.real_bytes)
    items = problem.N * -(-problem.C // lanes)
    size = items * math.prod(problem.extents) * traits.vector_bytes
    return Plan(
        (_rows("grid_sample_rows_bwd_input", problem, traits, items, ("dy", "grid", "sums", "dx")),), {"sums": size}
    )


def plan_rows_bwd_grid(problem: GridSampleProblem, traits: Traits) -> Plan:
    """Plan the gradient of the grid: operands dy, x, grid, dgrid."""
    items = problem.N * _runs(problem)
    return Plan((_rows("grid_sample_rows_bwd_grid", problem, traits, items, ("dy", "x", "grid", "dgrid")),))


def _rows(
    kernel: str,
    problem: GridSampleProblem,
    traits: Traits,
    items: int,
    arrays: tuple[str, ...],
    channels: int = _CHANNELS,
) -> Launch:
    defines = (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes))
    numbers = {**problem.sizes(), "CHANNELS": channels, "RUN": RUN}
    operations = 16 * math.prod(problem.output_shape)
    names = {name: name for name in arrays}
    return Launch("grid_sample_rows.cl", kernel, defines, items, names, numbers, operations, local_size=1)


def _runs(problem: GridSampleProblem) -> int:
    *outer, last = problem.outputs
    return math.prod(outer) * -(-last // RUN)


def _launch(kernel: str, problem: GridSampleProblem, items: int, arrays: tuple[str, ...]) -> Launch:
    names = {"sums" if name.startswith("grid_sample_") else name: name for name in arrays}
    numbers = {**problem.sizes(), "CHANNELS": _CHANNELS}
    operations = 16 * math.prod(problem.output_shape)
    return Launch("grid_sample.cl", kernel, problem.defines, items, names, numbers, operations)


def _slices(problem: GridSampleProblem) -> int:
    return -(-problem.C // _CHANNELS)


ALGORITHMS = {
    "grid_sample": (Algorithm("rows", _rows_refusal, plan_rows), portable(plan_grid_sample)),
    "grid_sample_bwd_input": (Algorithm("rows", _rows_refusal, plan_rows_bwd_input), portable(plan_bwd_input)),
    "grid_sample_bwd_grid": (Algorithm("rows", _rows_refusal, plan_rows_bwd_grid), portable(plan_bwd_grid)),
}
