"""softmax, along rows without gaps or across them (kernels/softmax.cl)."""

from __future__ import annotations

from clconv.algorithms._elementwise import launches
from clconv.algorithms.algorithm import Algorithm, everywhere
from clconv.plan import Plan, Traits
from clconv.problem.elementwise import AXES
from clconv.problem.softmax import SoftmaxProblem

__all__ = ["ALGORITHMS"]

#: Positions that a processor's work-item has a lane for, TILE of the kernel.
_TILE = 64

_FORWARD = ("softmax", ("x", "y"))
_BACKWARD = ("softmax_backward", ("g", "x", "dx"))


def _rows_refusal(problem: SoftmaxProblem, traits: Traits) -> str | None:
    if not traits.vector_loops:
        return "vectors are made of neighbouring work-items, not of a work-item's loop"
    return None if problem.in_rows else f"the axis does not lie side by side in arrays of extents {problem.extents}"


def _rows(kernel: str, arrays: tuple[str, ...]) -> Algorithm:
    """Return the algorithm for one row in each work-item."""
    return Algorithm("rows", _rows_refusal, lambda problem, traits: _plan(f"{kernel}_rows", arrays, problem, traits, 1))


def _tiles(kernel: str, arrays: tuple[str, ...]) -> Algorithm:
    """Return the algorithm for some neighbouring positions in each work-item, one where vectors are made of those."""
    return Algorithm(
        "portable",
        everywhere,
        lambda problem, traits: _plan(kernel, arrays, problem, traits, _TILE if traits.vector_loops else 1),
    )


def _plan(kernel: str, arrays: tuple[str, ...], problem: SoftmaxProblem, traits: Traits, run: int) -> Plan:
    n, _, d, h, w = problem.extents[-AXES:]
    items = n * d * h * -(-w // run)
    numbers = {"is_log": int(problem.is_log)}
    return launches("softmax.cl", kernel, arrays, numbers, problem.extents, problem.defines, traits, run, items)


#: Operands x, y, and g, x, dx.
ALGORITHMS: dict[str, tuple[Algorithm, ...]] = {
    "softmax": (_rows(*_FORWARD), _tiles(*_FORWARD)),
    "softmax_backward": (_rows(*_BACKWARD), _tiles(*_BACKWARD)),
}
