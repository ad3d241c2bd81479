"""Pooling by runs of rows, for processors (kernels/pool_*_rows.cl): neighbouring positions in the lanes of a vector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from clconv.algorithms.algorithm import Algorithm, no_vectors
from clconv.algorithms.pool_portable import divisor_numbers, launch
from clconv.plan import Launch, Plan, Traits
from clconv.problem import AvgPoolProblem, LpPoolProblem, MaxPoolProblem, PoolProblem
from clconv.problem.pool import PoolAxis
from clconv.problem.shapes import real_bytes

__all__ = ["AVG_BWD", "AVG_FWD", "LINE", "LP_BWD", "LP_FWD", "MAX_BWD", "MAX_BWD_KEPT", "MAX_FWD"]

#: The most positions of a row that a work-item keeps: kernels/pool_rows.h.
LINE = 256
#: Kernels count places in a plane in 32 bits.
_MOST_PLACES = 2**31 - 1
_WINNER_BYTES = 4
#: Enough for all the threads of a processor; beyond that, rows of one plane are the work of one work-item.
_WORK_ITEMS = 256
_MAX_FILE, _MAX_BWD_FILE, _AVG_FILE = "pool_max_rows.cl", "pool_max_rows_bwd.cl", "pool_avg_rows.cl"
_LP_FILE = "pool_lp_rows.cl"
#: The most rows of windows that a work-item keeps: kernels/pool_max_rows_bwd.cl.
_KEPT = 9


def forward_run(axis: PoolAxis) -> int:
    """Return how many outputs of a row a work-item computes, 0 if none: their windows must fit into a line.

    One window alone may be wider, if all of its positions are taps.
    """
    if not axis.output:
        return 1
    if axis.parts == 1:
        most = (LINE - axis.span) // axis.stride + 1 if axis.span <= LINE else 0
    else:
        # The outputs o ... o + r - 1 span at most ((r - 1)*S + K) / Q positions, and one more at either end.
        most = ((LINE - 2) * axis.parts - axis.kernel) // axis.stride + 1
    if most < 1:
        return 1 if axis.dilation == 1 else 0
    return _balanced(axis.output, most)


def backward_run(axis: PoolAxis) -> int:
    """Return how many inputs of a row a work-item computes, 0 if none: their windows must fit into a line, too."""
    if axis.parts == 1 and axis.stride <= 2:
        # Windows reach over both ends of the run, and taps over both ends of the windows.
        most = LINE - 3 * (axis.span - 1)
    else:
        # Over r positions there are at most (r*Q + span) / S + 1 windows.
        most = min(LINE, ((LINE - 1) * axis.stride - axis.span) // axis.parts)
    return _balanced(axis.extent, min(most, LINE)) if most > 0 else 0


def _balanced(total: int, most: int) -> int:
    """Return the length of runs that share out a row as evenly as they can, none longer than ``most``."""
    runs = -(-total // most)
    return -(-total // runs)


def _many_places(problem: PoolProblem) -> str | None:
    places = math.prod(axis.extent for axis in problem.axes)
    return f"a plane has {places} places, more than {_MOST_PLACES}" if places > _MOST_PLACES else None


def _too_wide(axis: PoolAxis) -> str:
    return f"windows that span {axis.span} positions do not fit into a line of {LINE}"


def _forward_refusal(problem: PoolProblem, traits: Traits) -> str | None:
    axis = problem.axes[-1]
    return no_vectors(traits) or (None if forward_run(axis) else _too_wide(axis))


def _backward_refusal(problem: PoolProblem, traits: Traits) -> str | None:
    axis = problem.axes[-1]
    return no_vectors(traits) or (None if backward_run(axis) else _too_wide(axis))


def _max_fwd_refusal(problem: MaxPoolProblem, traits: Traits) -> str | None:
    return _forward_refusal(problem, traits) or (_many_places(problem) if problem.indices else None)


def _max_bwd_refusal(problem: MaxPoolProblem, traits: Traits) -> str | None:
    if problem.ties != "first":
        return f"ties={problem.ties!r} is not 'first'"
    if problem.magnitudes:
        return "magnitudes are compared, not values"
    return _forward_refusal(problem, traits) or _backward_refusal(problem, traits) or _many_places(problem)


def plan_max_fwd(problem: MaxPoolProblem, traits: Traits) -> Plan:
    """Plan the maxima and, where wanted, their places: operands x, those of the epilogue, y, indices."""
    arrays = ("x", *problem.epilogue.arrays, "y")
    numbers = {"magnitudes": int(problem.magnitudes), **problem.epilogue.numbers()}
    if problem.indices:
        return Plan((_by_outputs(_MAX_FILE, "max_pool_rows_placed", problem, (*arrays, "indices"), numbers),))
    return Plan((_by_outputs(_MAX_FILE, "max_pool_rows", problem, arrays, numbers),))


def _kept(problem: PoolProblem) -> int:
    """Return how many rows of windows may be over one row, of all depths."""
    return math.prod((axis.span - 1) // axis.stride + 1 for axis in problem.axes[:2])


def _kept_run(axis: PoolAxis) -> int:
    """Return how many inputs of a row a work-item computes whose windows are kept: all of these fit into a line."""
    most = LINE - 2 * (axis.span - 1) - axis.stride
    return _balanced(axis.extent, most) if most > 0 else 0


def _max_bwd_kept_refusal(problem: MaxPoolProblem, traits: Traits) -> str | None:
    axis = problem.axes[-1]
    if any(axis.parts > 1 for axis in problem.axes):
        return "windows that share out an axis do not slide"
    if _kept(problem) > _KEPT:
        return f"{_kept(problem)} rows of windows lie over one row, more than {_KEPT}"
    if not _kept_run(axis):
        return _too_wide(axis)
    if axis.stride > 2 and problem.ties == "first":
        return f"a stride of {axis.stride} is more than 2, where ties='first'"
    return no_vectors(traits)


def plan_max_bwd_kept(problem: MaxPoolProblem, traits: Traits) -> Plan:
    """Plan the gradient of the maxima in one pass: operands x, dy, dx."""
    rules = {
        "magnitudes": int(problem.magnitudes),
        "once": int(problem.ties == "first"),
        "shared": int(problem.ties == "share"),
    }
    extents = _extents(problem)
    run = _kept_run(problem.axes[-1])
    return Plan((_by_bands(_MAX_BWD_FILE, "max_pool_rows_bwd", problem, extents, run, ("x", "dy", "dx"), rules),))


def plan_max_bwd(problem: MaxPoolProblem, traits: Traits) -> Plan:
    """Plan the gradient of the maxima: operands x, dy, dx."""
    winners = _by_outputs(_MAX_FILE, "max_pool_rows_winners", problem, ("x", "winners"), {"magnitudes": 0})
    gathered = _by_inputs(_MAX_FILE, "max_pool_rows_gather", problem, ("winners", "dy", "dx"), {})
    return Plan((winners, gathered), {"winners": _WINNER_BYTES * problem.outputs})


def plan_avg_fwd(problem: AvgPoolProblem, traits: Traits) -> Plan:
    """Plan the means: operands x, those of the epilogue, y."""
    arrays = ("x", *problem.epilogue.arrays, "y")
    numbers = {**divisor_numbers(problem), **problem.epilogue.numbers()}
    return Plan((_by_outputs(_AVG_FILE, "avg_pool_rows", problem, arrays, numbers),))


def plan_avg_bwd(problem: AvgPoolProblem, traits: Traits) -> Plan:
    """Plan the gradient of the means: operands dy, dx."""
    return Plan((_by_inputs(_AVG_FILE, "avg_pool_rows_bwd", problem, ("dy", "dx"), divisor_numbers(problem)),))


def _lp_refusal(problem: LpPoolProblem, traits: Traits) -> str | None:
    axis = problem.axes[-1]
    return no_vectors(traits) or (None if axis.span <= LINE and _kept_run(axis) else _too_wide(axis))


def plan_lp_fwd(problem: LpPoolProblem, traits: Traits) -> Plan:
    """Plan the norms: operands x, those of the epilogue, y."""
    arrays = ("x", *problem.epilogue.arrays, "y")
    numbers = {"p": problem.norm_type, **problem.epilogue.numbers()}
    return Plan((_by_outputs(_LP_FILE, "lp_pool_rows", problem, arrays, numbers),))


def plan_lp_bwd(problem: LpPoolProblem, traits: Traits) -> Plan:
    """Plan the gradient of the norms: operands x, dy, dx."""
    order = {"p": problem.norm_type}
    norms = _by_outputs(_LP_FILE, "lp_pool_rows_norms", problem, ("x", "norms"), order)
    arrays = ("x", "norms", "dy", "dx")
    run = _kept_run(problem.axes[-1])
    gathered = _by_bands(_LP_FILE, "lp_pool_rows_bwd", problem, _extents(problem), run, arrays, order)
    return Plan((norms, gathered), {"norms": real_bytes(problem.dtype) * problem.outputs})


def _by_outputs(
    file: str, kernel: str, problem: PoolProblem, arrays: tuple[str, ...], numbers: Mapping[str, float]
) -> Launch:
    """Return the launch of a kernel whose work-items compute runs of outputs."""
    depth, height, width = (axis.output for axis in problem.axes)
    run = forward_run(problem.axes[-1])
    return _by_bands(file, kernel, problem, (depth, height, width), run, arrays, numbers)


def _by_inputs(
    file: str, kernel: str, problem: PoolProblem, arrays: tuple[str, ...], numbers: Mapping[str, float]
) -> Launch:
    """Return the launch of a kernel whose work-items compute runs of the input's gradient."""
    return _by_bands(file, kernel, problem, _extents(problem), backward_run(problem.axes[-1]), arrays, numbers)


def _extents(problem: PoolProblem) -> tuple[int, int, int]:
    depth, height, width = (axis.extent for axis in problem.axes)
    return depth, height, width


def _by_bands(
    file: str,
    kernel: str,
    problem: PoolProblem,
    extents: tuple[int, int, int],
    run: int,
    arrays: tuple[str, ...],
    numbers: Mapping[str, float],
) -> Launch:
    depth, height, width = extents
    columns = problem.N * problem.C * depth * -(-width // run)
    bands = min(max(height, 1), -(-_WORK_ITEMS // max(columns, 1)))
    band = max(1, -(-height // bands))
    sizes = {**numbers, "BAND": band, "RUN": run}
    return replace(launch(file, kernel, problem, columns * -(-height // band), arrays, sizes), local_size=1)


MAX_FWD = Algorithm("rows", _max_fwd_refusal, plan_max_fwd)
MAX_BWD_KEPT = Algorithm("rows at once", _max_bwd_kept_refusal, plan_max_bwd_kept)
MAX_BWD = Algorithm("rows", _max_bwd_refusal, plan_max_bwd)
AVG_FWD = Algorithm("rows", _forward_refusal, plan_avg_fwd)
AVG_BWD = Algorithm("rows", _backward_refusal, plan_avg_bwd)
LP_FWD = Algorithm("rows", _lp_refusal, plan_lp_fwd)
LP_BWD = Algorithm("rows", _lp_refusal, plan_lp_bwd)
