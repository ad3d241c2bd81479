"""The gradient of the weights of depthwise layers, with groups in lanes (kernels/conv_depthwise_weights.cl)."""

from __future__ import annotations

import math

from clconv.algorithms import conv_depthwise, conv_rows_weights
from clconv.algorithms.conv_passes import fwd
from clconv.algorithms.conv_portable import weights_of_parts
from clconv.algorithms.conv_weights import walk_of_parts
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ConvProblem
from clconv.problem.window import Window

__all__ = ["bwd_weights_refusal", "plan_bwd_weights"]

#: As in the kernel file: positions of a piece, of the data and of the result, taps, and those in registers together.
_POSITIONS = 2048
_MOST_TAPS = 256
_TAPS = 9
#: Outputs of a row that are summed up at once, at most: the rounding of longer sums is larger.
_COLUMNS = 512
#: Work-items that keep threads equally busy; sums are cut into parts until there are so many.
_WORK_ITEMS = 48


def bwd_weights_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: lanes take a group each, of one input channel, and a piece must fit into the kernel's buffers."""
    reason = conv_depthwise.lanes_refusal(problem, traits, problem.ICG)
    if reason:
        return reason
    if not problem.N or any(window.output == 0 or window.extent == 0 for window in problem.windows):
        return "there are no outputs"
    taps = math.prod(window.kernel for window in problem.windows)
    if taps > _MOST_TAPS:
        return f"{taps} taps are more than {_MOST_TAPS}"
    if not all(_piece(problem)):
        return f"an output reaches over more than {_POSITIONS} positions"
    if {"x", "dy"} <= set(problem.dense) and _cost(problem, traits) > conv_rows_weights.cost(problem, traits):
        return "neighbouring outputs fill vectors better than groups do"
    return None


def plan_bwd_weights(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the weight: operands x, dy, dw."""
    this = fwd(problem)
    depth, height, width = problem.windows
    rows, columns = _piece(problem)
    items = -(-problem.G // traits.lanes(problem.real_bytes)) * problem.OCG
    pieces = problem.N * depth.output * -(-height.output // rows) * -(-width.output // columns)
    parts = max(1, min(pieces, _WORK_ITEMS // max(items, 1)))
    in_parts = parts > 1 or problem.dtype == "float16"
    launch = Launch(
        "conv_depthwise_weights.cl",
        "conv_depthwise_weights",
        (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes)),
        parts * items,
        {"x": "x", "dy": "dy", "dw": "dw_parts" if in_parts else "dw"},
        {
            **this.sizes(problem.G),
            "ROWS": rows,
            "COLUMNS": columns,
            "PARTS": parts,
            **(walk_of_parts(problem) if in_parts else {}),
        },
        2 * problem.macs,
        local_size=1,
        walks={"x": this.walks[0], "dy": this.walks[2], **({} if in_parts else {"dw": this.walks[1]})},
    )
    plan = Plan((launch,))
    return weights_of_parts(problem, plan, parts) if in_parts else plan


def _piece(problem: ConvProblem) -> tuple[int, int]:
    """Return the rows and columns of outputs of a piece, 0 where one does not fit: bands of equal heights."""
    _, height, width = problem.windows
    columns = min(_COLUMNS, _fitting(width, _POSITIONS // height.span))
    if not columns:
        return 0, 0
    rows = _fitting(height, _POSITIONS // ((columns - 1) * width.stride + width.span))
    return -(-height.output // -(-height.output // rows)), columns


def _cost(problem: ConvProblem, traits: Traits) -> float:
    """Return what an output costs, in products, of dense planes: each round of turning them counts as one.

    It is compared to :func:`clconv.algorithms.conv_rows_weights.cost`.
    """
    _, height, width = problem.windows
    rows, columns = _piece(problem)
    lanes = traits.lanes(problem.real_bytes)
    rounds = math.log2(lanes)
    products = -(-height.kernel * width.kernel // _TAPS) * _TAPS
    read = ((rows - 1) * height.stride + height.span) * ((columns - 1) * width.stride + width.span) / (rows * columns)
    return -(-problem.G // lanes) * lanes * problem.OCG * (products + rounds * (read + 1))


def _fitting(window: Window, room: int) -> int:
    """Return how many neighbouring outputs read from so many positions at most."""
    return min(window.output, max(0, (room - window.span) // window.stride + 1))
