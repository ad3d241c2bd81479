"""Padding, and the gradient of padding that copies (kernels/pad.cl): a work-item makes a run of a row.

On processors a run is a whole row; elsewhere one element, so that neighbours work on neighbouring memory.
"""

from __future__ import annotations

import math

from clconv.algorithms.algorithm import Algorithm, everywhere
from clconv.plan import Launch, Plan, Traits
from clconv.problem import PadProblem

__all__ = ["ALGORITHMS"]

#: Longer rows are cut, so that there is work for every thread.
_LONGEST_RUN = 4096


def plan_pad(problem: PadProblem, traits: Traits) -> Plan:
    """Plan the padding: operands x, y."""
    return _plan("pad", problem, traits, "O", {"x": "x", "y": "y", "value": "value"}, {"value": problem.value})


def plan_pad_bwd(problem: PadProblem, traits: Traits) -> Plan:
    """Plan the sums of what was copied from each element: operands dy, dx."""
    return _plan("pad_bwd", problem, traits, "I", {"dy": "dy", "dx": "dx"}, {})


def _plan(
    kernel: str, problem: PadProblem, traits: Traits, written: str, arrays: dict[str, str], constants: dict[str, bytes]
) -> Plan:
    sizes = problem.sizes()
    row = sizes[f"{written}W"]
    run = min(max(row, 1), _LONGEST_RUN) if traits.vector_bytes else 1
    items = math.prod(sizes[f"{written}{axis}"] for axis in "NCDH") * -(-row // run)
    moved = math.prod(problem.input_shape) + math.prod(problem.output_shape)
    numbers = {**sizes, "RUN": run}
    launch = Launch("pad.cl", kernel, problem.defines, items, arrays, numbers, moved, 8 if run > 1 else 64)
    return Plan((launch,), constants=constants)


ALGORITHMS = {
    "pad": (Algorithm("portable", everywhere, plan_pad),),
    "pad_bwd": (Algorithm("portable", everywhere, plan_pad_bwd),),
}
