"""The gradients of an epilogue (kernels/epilogue_backward.cl): one pass over memory, then the channels' sums."""

from __future__ import annotations

from clconv.algorithms.algorithm import Algorithm, everywhere
from clconv.plan import Launch, Plan, Traits
from clconv.problem.epilogue import EpilogueBackwardProblem

__all__ = ["ALGORITHMS"]

#: The most channels of a work-item: BLOCK in kernels/epilogue_backward.cl.
_BLOCK = 512
#: Elements of a work-item's share that it handles before it goes on elsewhere, enough for memory to be read ahead.
_STRETCH = 8192
#: Work-items that keep a large device busy.
_WORK_ITEMS = 8192
#: Rough count of operations for an element: memory takes longer than arithmetic.
_OPERATIONS = 6


def plan(problem: EpilogueBackwardProblem, traits: Traits) -> Plan:
    """Plan the gradients that are wanted: operands g, v, scale, shift, residual, dv, dscale, dshift, dr."""
    wants_value, wants_scale, wants_shift, wants_residual = problem.gradients
    width, chunk = _share(problem) if traits.vector_bytes else (1, 1)
    blocks = -(-problem.channels // width)
    parts = min(-(-problem.positions // chunk), -(-_WORK_ITEMS // max(blocks, 1)))
    N, D, H, W = problem.extents
    numbers = {
        **dict(zip("NCDHW", (N, problem.channels, D, H, W), strict=True)),
        **problem.epilogue.numbers(),
        "by_output": problem.by_output,
        "wants_value": wants_value,
        "wants_scale": wants_scale,
        "wants_shift": wants_shift,
        "wants_residual": wants_residual,
        "across": problem.across,
        "WIDTH": width,
        "CHUNK": chunk,
        "PARTS": parts,
    }
    read = (*(("v",) if wants_scale or problem.epilogue.activation else ()), *problem.epilogue.arrays)
    written = {"dv": wants_value, "dr": wants_residual, "scale_part": wants_scale, "shift_part": wants_shift}
    arrays = ("g", *read, *(name for name, wanted in written.items() if wanted))
    operations = _OPERATIONS * problem.channels * problem.positions
    gradients = Launch(
        "epilogue_backward.cl",
        "epilogue_backward",
        problem.defines,
        blocks * parts,
        {name: name for name in arrays},
        numbers,
        operations,
        local_size=1 if traits.vector_loops else 64,
    )
    whole = Plan((gradients,))
    for name, wanted in (("scale", wants_scale), ("shift", wants_shift)):
        if wanted:
            whole += _summed(problem, f"{name}_part", f"d{name}", parts)
    return whole


def _share(problem: EpilogueBackwardProblem) -> tuple[int, int]:
    """Return how many channels and how many positions a processor's work-item handles together."""
    if problem.across:
        width = min(problem.channels, _BLOCK)
        return max(width, 1), max(_STRETCH // max(width, 1), 1)
    row = max(problem.extents[-1], 1)
    if row >= _STRETCH:
        return 1, _STRETCH
    width = max(min(_STRETCH // row, _BLOCK, problem.channels), 1)
    return width, row * max(_STRETCH // (row * width), 1)


def _summed(problem: EpilogueBackwardProblem, part: str, result: str, parts: int) -> Plan:
    """Return the plan that adds up the channels' sums."""
    C = problem.channels
    numbers = {"N": 1, "C": C, "D": 1, "H": 1, "W": 1, "PARTS": parts}
    total = Launch("sums.cl", "sum_parts", problem.defines, C, {"part": part, "sum": result}, numbers, parts * C)
    return Plan((total,), {part: parts * C * problem.real_bytes})


ALGORITHMS = {"epilogue_backward": (Algorithm("portable", everywhere, plan),)}
