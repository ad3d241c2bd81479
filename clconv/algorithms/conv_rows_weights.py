"""The gradient of a convolution's weights in vectors of neighbouring outputs (kernels/conv_rows_weights.cl).

It serves groups with few channels, such as those of depthwise layers, which do not fill a vector.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from clconv.algorithms import conv_weights
from clconv.algorithms.algorithm import no_vectors
from clconv.algorithms.conv_passes import fwd
from clconv.algorithms.conv_portable import weights_of_parts
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ConvProblem
from clconv.problem.window import PADDING_MODES

__all__ = ["bwd_weights_refusal", "cost", "plan_bwd_weights"]

#: As in the kernel file: taps in registers together and of a work-item, reals of a piece.
_TAPS = 9
_MOST_TAPS = 63
_SCRATCH = 8192
#: Work-items that keep threads equally busy; sums are cut into parts until there are so many.
_WORK_ITEMS = 48
#: Costs in products of vectors: an element copied, the sum of a vector's lanes.
_COPY = 0.5
_FOLD = 50
#: How many times as long as others' its products take: each loads a vector of data and, of few taps, one of dy.
_AS_LONG = 2


class _Piece(NamedTuple):
    """Rows of outputs and outputs of a row that are summed over together, and how many reals of data they read."""

    band: int
    cut: int
    elements: int


def bwd_weights_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: a piece must fit, and neighbouring outputs fill vectors better than channels do."""
    if not traits.vector_bytes or not problem.N * math.prod(window.output for window in problem.windows):
        return no_vectors(traits) or "there are no outputs"
    own = cost(problem, traits)
    if own == math.inf:
        return f"what all taps read for one output are more than {_SCRATCH} numbers"
    if _AS_LONG * own >= min(conv_weights.costs(problem, traits)):
        return "channels fill vectors better than neighbouring outputs do"
    return None


def plan_bwd_weights(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the weight: operands x, dy, dw."""
    this = fwd(problem)
    piece = _piece(problem, traits)
    assert piece is not None
    depth, height, width = problem.windows
    items = problem.G * problem.OCG * problem.ICG * depth.kernel * -(-height.kernel * width.kernel // _MOST_TAPS)
    pieces = problem.N * depth.output * -(-height.output // piece.band) * -(-width.output // piece.cut)
    parts = max(1, min(pieces, _WORK_ITEMS // max(items, 1)))
    in_parts = parts > 1 or problem.dtype == "float16"
    launch = Launch(
        "conv_rows_weights.cl",
        "conv_rows_weights",
        (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes)),
        parts * items,
        {"x": "x", "dy": "dy", "dw": "dw_parts" if in_parts else "dw"},
        {
            **this.sizes(problem.G),
            "padding_mode": PADDING_MODES.index(problem.padding_mode),
            "BAND": piece.band,
            "CUT": piece.cut,
            "PARTS": parts,
            **(conv_weights.walk_of_parts(problem) if in_parts else {}),
        },
        2 * problem.macs,
        local_size=1,
        walks={"x": this.walks[0], "dy": this.walks[2], **({} if in_parts else {"dw": this.walks[1]})},
    )
    plan = Plan((launch,))
    return weights_of_parts(problem, plan, parts) if in_parts else plan


def _piece(problem: ConvProblem, traits: Traits) -> _Piece | None:
    """Return the largest piece that fits, of whole rows if one does; None where a single output does not fit."""
    _, height, width = problem.windows
    lanes = traits.lanes(problem.real_bytes)

    def piece(band: int, cut: int) -> _Piece:
        pitch = -(-(cut + (width.kernel - 1) * width.dilation // width.stride) // lanes) * lanes
        rows = band + (height.kernel - 1) * height.dilation // height.stride
        phases = height.stride * width.stride
        return _Piece(band, cut, phases * (rows * pitch + lanes) + lanes)

    if piece(1, 1).elements > _SCRATCH:
        return None
    slope = piece(1, 1 + lanes).elements - piece(1, 1).elements
    cut = min(width.output, 1 + (_SCRATCH - piece(1, 1).elements) // slope * lanes)
    slope = piece(2, cut).elements - piece(1, cut).elements
    band = min(height.output, 1 + (_SCRATCH - piece(1, cut).elements) // slope)
    band = -(-height.output // -(-height.output // band))  # as few bands as that makes, of equal heights
    return piece(band, cut)


def cost(problem: ConvProblem, traits: Traits) -> float:
    """Return what an output costs, in products: also its share of the copies and of sums over lanes."""
    piece = _piece(problem, traits)
    if piece is None:
        return math.inf
    depth, height, width = problem.windows
    lanes = traits.lanes(problem.real_bytes)
    taps = height.kernel * width.kernel
    sums = problem.G * problem.OCG * problem.ICG * depth.kernel
    places = -(-piece.cut // lanes) * lanes
    products = -(-taps // _TAPS) * _TAPS * places / piece.cut
    copies = -(-taps // _MOST_TAPS) * _COPY * lanes * piece.elements / (piece.band * piece.cut)
    folds = _FOLD * lanes * taps / max(1, problem.N * math.prod(window.output for window in problem.windows))
    return sums * (products + copies + folds)
