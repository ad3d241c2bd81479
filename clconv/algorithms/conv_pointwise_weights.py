"""The gradient of weights of one tap, a matrix product, for processors (kernels/conv_pointwise_weights.cl)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from clconv.algorithms.algorithm import no_vectors
from clconv.algorithms.conv_passes import NEAR_BYTES, by_axis, fwd
from clconv.algorithms.conv_portable import weights_of_parts
from clconv.algorithms.conv_weights import COSTS_OF_TILES, in_one_row, tiles_of, walk_of_parts
from clconv.plan import Launch, Plan, Traits, Walk
from clconv.problem import ConvProblem

__all__ = ["bwd_weights_refusal", "plan_bwd_weights"]

#: As in the kernel file: tiles of a work-item and terms of a piece, at most.
_LARGEST_SHARE, _LONGEST_PIECE = 32, 128
#: Work-items that keep threads equally busy, at least, and threads that fewer leave idle.
_WORK_ITEMS, _THREADS = 16, 4
#: Costs in products of a vector: an element turned, in a square or alone; a vector stored, and a sum stored alone; for
#: each vector of sums, another stretch of terms; where there are parts, the launch that adds them up, and each sum.
_TURNED, _TURNED_ALONE = 0.8, 3
_STORED, _STORED_ALONE = 2, 3
_STRETCH = 3
_LAUNCHED, _SUMMED = 60_000, 4
#: So many times what is read again from farther away takes as long as partial sums.
_AGAIN = 10


class _Cut(NamedTuple):
    """Which array is laid out in vectors of channels, and how the result is cut for work-items."""

    turns_x: bool
    columns: int
    blocks: int
    shares: int
    share: int
    parts: int
    cost: float


def bwd_weights_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: windows are one tap, within the data, and channels fill a vector."""
    outputs = problem.N * math.prod(window.output for window in problem.windows)
    if not traits.vector_bytes or not outputs:
        return no_vectors(traits) or "there are no outputs"
    if any(window.kernel != 1 for window in problem.windows):
        return "windows have more than one tap"
    if any(window.low or window.reach > window.extent for window in problem.windows):
        return "padding is read"
    lanes = traits.lanes(problem.real_bytes)
    if not problem.ICG or not problem.OCG:
        return "there are no channels"
    if max(problem.ICG, problem.OCG) < lanes:
        return f"groups have fewer channels than the {lanes} of a vector"
    return None


def plan_bwd_weights(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the weight: operands x, dy, dw."""
    problem = in_one_row(problem)
    cut = _cut(problem, traits)
    samples, outputs, walks = _terms(problem)
    turned, read = ("x", "dy") if cut.turns_x else ("dy", "x")
    channels = {"x": problem.ICG, "dy": problem.OCG}
    in_parts = cut.parts > 1 or problem.dtype == "float16"
    launch = Launch(
        "conv_pointwise_weights.cl",
        "conv_pointwise_weights",
        (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes), ("COLUMNS", cut.columns)),
        problem.G * cut.blocks * cut.shares * cut.parts,
        {"v": turned, "f": read, "dw": "dw_parts" if in_parts else "dw"},
        {
            "N": samples,
            "G": problem.G,
            "VC": channels[turned],
            "FC": channels[read],
            **by_axis("O", outputs),
            "SHARE": cut.share,
            "PARTS": cut.parts,
            **(_walk_of_parts(problem, cut) if in_parts else {}),
        },
        2 * problem.macs,
        local_size=1,
        walks={"v": walks[turned], "f": walks[read], **({} if in_parts else {"dw": _walk_of_weights(problem, cut)})},
    )
    plan = Plan((launch,))
    return weights_of_parts(problem, plan, cut.parts) if in_parts else plan


def _terms(problem: ConvProblem) -> tuple[int, list[int], dict[str, Walk]]:
    """Return the samples and outputs that are summed over, and the walks over them.

    The samples of a single output are its row: they lie as evenly.
    """
    strides = enumerate((window.stride for window in problem.windows), start=2)
    x, _, dy = fwd(problem).walks
    walks = {"x": Walk(x.start, (*x.axes[:3], *strides)), "dy": dy}
    outputs = [window.output for window in problem.windows]
    if math.prod(outputs) > 1:
        return problem.N, outputs, walks
    return 1, [1, 1, problem.N], {name: _with_axes_exchanged(walk, 1, 5) for name, walk in walks.items()}


def _walk_of_weights(problem: ConvProblem, cut: _Cut) -> Walk:
    """Return the walk over dw, whose rows are the channels of what is read in place."""
    walk = fwd(problem).walks[1]
    return walk if cut.turns_x else _with_axes_exchanged(walk, 1, 2)


def _walk_of_parts(problem: ConvProblem, cut: _Cut) -> dict[str, int]:
    """Return the same over partial sums."""
    walk = walk_of_parts(problem)
    return walk if cut.turns_x else {**walk, "dw_n": walk["dw_c"], "dw_c": walk["dw_n"]}


def _with_axes_exchanged(walk: Walk, one: int, other: int) -> Walk:
    axes = list(walk.axes)
    axes[one], axes[other] = axes[other], axes[one]
    return Walk(walk.start, tuple(axes))


def _cut(problem: ConvProblem, traits: Traits) -> _Cut:
    """Return the cut that costs least."""
    lanes = traits.lanes(problem.real_bytes)
    return min(
        (
            cut
            for turns_x in (True, False)
            if (problem.ICG if turns_x else problem.OCG) >= lanes
            for columns, rows in tiles_of(traits).items()
            for cut in _cuts(problem, turns_x, lanes, columns, rows)
        ),
        key=lambda cut: cut.cost,
    )


def _cuts(problem: ConvProblem, turns_x: bool, lanes: int, columns: int, rows: int) -> Iterator[_Cut]:
    """Yield cuts in tiles of ``rows`` by ``columns``, into parts of the terms and shares of the tiles.

    What tiles of a part read in place should stay in the cache next to a processor for the next block of columns,
    unless partial sums take longer than what is read again. They are never more than both arrays.
    """
    turned, read = (problem.ICG, problem.OCG) if turns_x else (problem.OCG, problem.ICG)
    terms = problem.N * math.prod(window.output for window in problem.windows)
    is_even = all(window.stride == 1 for window in problem.windows)
    stretches = problem.N if turns_x or is_even else terms // problem.windows[-1].output
    blocks, tiles = -(-turned // (lanes * columns)), -(-read // rows)
    sums = blocks * columns * tiles * rows
    products = sums * (COSTS_OF_TILES[columns] * terms + _STRETCH * stretches)
    turn = blocks * columns * lanes * terms * (_TURNED if is_even or not turns_x else _TURNED_ALONE)
    near = read * terms * problem.real_bytes // NEAR_BYTES
    pieces = terms // _LONGEST_PIECE  # each part has one at least
    most = max(1, min(pieces, terms * (turned + read) // (turned * read)))
    least = max(1, min(most, near, (blocks - 1) * terms // (_AGAIN * turned)))
    for parts in range(least, max(least, min(most, _WORK_ITEMS)) + 1):
        wanted = max(-(-tiles // _LARGEST_SHARE), -(-_WORK_ITEMS // (problem.G * blocks * parts)))
        share = -(-tiles // min(tiles, wanted))
        shares = -(-tiles // share)
        in_parts = _LAUNCHED / problem.G + _SUMMED * parts * turned * read if parts > 1 else 0
        stored = parts * sums * (_STORED if turns_x else _STORED_ALONE * lanes)
        idle = max(1, _THREADS / (problem.G * blocks * shares * parts))
        cost = (products + shares * turn + stored) * idle + in_parts
        yield _Cut(turns_x, columns, blocks, shares, share, parts, cost)
