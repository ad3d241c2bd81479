"""The gradient of a convolution's weights in vectors of input channels, for processors (kernels/conv_weights.cl)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from clconv.algorithms import conv_direct
from clconv.algorithms.algorithm import no_vectors
from clconv.algorithms.conv_direct_tiles import padded_products
from clconv.algorithms.conv_passes import LARGEST_COPY, NEAR_BYTES, OPERATIONS_OF_A_COPY, bwd_weights, by_axis, fwd
from clconv.algorithms.conv_portable import weights_of_parts
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ConvProblem
from clconv.problem.window import PADDING_MODES, Window

__all__ = [
    "COSTS_OF_TILES",
    "bwd_weights_refusal",
    "costs",
    "in_one_row",
    "plan_bwd_weights",
    "tiles_of",
    "walk_of_parts",
]

#: Rows of a tile by its columns, in registers of 64 bytes and in narrower ones, as in kernels/weights.h, and how many
#: tiles a work-item may compute side by side, as in the kernel file.
_WIDE_TILES = {1: 12, 2: 8, 3: 8, 4: 6}
_TILES = {3: 4}
#: What a product costs in tiles of so many columns, for which each value of a row is loaded.
COSTS_OF_TILES = {1: 1.2, 2: 1.05, 3: 1.0, 4: 1.0}
_LONGEST_RUN = 8
#: Work-items that keep threads equally busy: sums are cut until there are so many, into parts of so many terms, which
#: are more than the kernel file's pieces have.
_WORK_ITEMS, _TERMS_PER_PART = 48, 1024
#: Costs in products: of an element of x laid out here; of one of dy, and of a weight stored, in a direct convolution.
_PACKED = 15
_PACKED_BY_DIRECT = 40
_STORED_BY_DIRECT = 150


class _Shape(NamedTuple):
    """How the result is cut: channels in a block, columns of vectors, and the tile of columns and rows."""

    block: int
    columns: int
    tile_columns: int
    tile_rows: int


def bwd_weights_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: lanes must be filled as well as by output channels, and what is copied must stay small."""
    outputs = problem.N * math.prod(window.output for window in problem.windows)
    if not traits.vector_bytes or not outputs:
        return no_vectors(traits) or "there are no outputs"
    copied = _copied_elements(problem, _shape(problem, traits))
    if copied > LARGEST_COPY:
        return f"{copied} elements to copy are more than {LARGEST_COPY}"
    own, direct = costs(problem, traits)
    if own > direct:
        return "output channels fill vectors better than input channels do"
    return None


def plan_bwd_weights(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the weight: operands x, dy, dw."""
    problem = in_one_row(problem)
    this = fwd(problem)
    shape = _shape(problem, traits)
    defines = (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes), ("COLUMNS", shape.tile_columns))
    reaches = [axis.reach for axis in this.frame]
    blocks = -(-problem.ICG // shape.block)
    copied = _copied_elements(problem, shape)
    common = {**this.sizes(problem.G), **by_axis("E", reaches), "BLOCK": shape.block}
    pack = Launch(
        "conv_weights.cl",
        "pack_channels",
        defines,
        problem.N * problem.G * blocks * reaches[0] * reaches[1] + 1,
        {"x": "x", "packed": "x_packed"},
        {**common, "padding_mode": PADDING_MODES.index(problem.padding_mode)},
        OPERATIONS_OF_A_COPY * copied,
        local_size=1,
        walks={"x": this.walks[0]},
    )
    columns = -(-shape.columns // shape.tile_columns)
    rows = -(-problem.OCG // shape.tile_rows)
    most_parts, near_parts = max(1, this.outputs // _TERMS_PER_PART), _near_parts(problem, copied)
    run = _run(problem, shape, traits.vector_bytes * this.outputs // min(most_parts, near_parts))
    items = problem.G * -(-columns // run) * rows
    parts = min(most_parts, max(near_parts, _WORK_ITEMS // max(items, 1)))
    in_parts = parts > 1 or problem.dtype == "float16"
    sums = Launch(
        "conv_weights.cl",
        "conv_weights",
        defines,
        parts * items,
        {"x": "x_packed", "dy": "dy", "dw": "dw_parts" if in_parts else "dw"},
        {
            **common,
            "zero_padding": int(problem.padding_mode == "zeros"),
            "RUN": run,
            "PARTS": parts,
            **(walk_of_parts(problem) if in_parts else {}),
        },
        2 * problem.macs,
        local_size=1,
        walks={"dy": this.walks[2], **({} if in_parts else {"dw": this.walks[1]})},
    )
    plan = Plan((pack, sums), {"x_packed": copied * problem.real_bytes})
    return weights_of_parts(problem, plan, parts) if in_parts else plan


def _near_parts(problem: ConvProblem, copied: int) -> int:
    """Return into how many parts all sums are cut so that what a part reads stays in the cache next to a processor.

    All tiles of a part follow each other and read the same. Partial sums must not be more than what is read.
    """
    read = copied + math.prod(problem.output_shape)
    return max(1, min(read * problem.real_bytes // NEAR_BYTES, read // max(math.prod(problem.weight_shape), 1)))


def in_one_row(problem: ConvProblem) -> ConvProblem:
    """Return the problem with all positions along one axis, if they lie in memory so and each output reads its own."""
    plain = (Window(window.extent, output=window.extent) for window in problem.windows)
    if tuple(plain) != tuple(problem.windows) or not {"x", "dy"} <= set(problem.dense):
        return problem
    positions = math.prod(window.extent for window in problem.windows)
    return replace(problem, windows=(Window(), Window(), Window(positions, output=positions)))


def _run(problem: ConvProblem, shape: _Shape, column: int) -> int:
    """Return how many tiles a work-item computes: those of all taps of a block, which it stores as one row, or some.

    What some read, so many bytes for a column, should stay in the cache next to a processor, because the next rows read
    the same. Tiles beyond the last column are computed, too: as few as may be.
    """
    columns, rows = -(-shape.columns // shape.tile_columns), -(-problem.OCG // shape.tile_rows)
    run, rest = divmod(math.prod(window.kernel for window in problem.windows), shape.tile_columns)
    if not rest and run <= _LONGEST_RUN:
        return max(1, min(run, columns))
    near = NEAR_BYTES // (shape.tile_columns * column)
    longest = max(1, min(_LONGEST_RUN, near, problem.G * columns * rows // _WORK_ITEMS))
    return min(range(1, longest + 1), key=lambda run: (-(-columns // run) * run, -run))


def costs(problem: ConvProblem, traits: Traits) -> tuple[float, float]:
    """Return what an output, of which there must be some, costs in products, in all lanes of all tiles.

    The first cost is this algorithm's, the second a direct convolution's.
    """
    outputs = problem.N * math.prod(window.output for window in problem.windows)
    lanes = traits.lanes(problem.real_bytes)
    shape = _shape(problem, traits)
    products = problem.G * _cost_of_vectors(shape, problem.OCG) * lanes
    own = products + _PACKED * _copied_elements(problem, shape) / outputs
    if conv_direct.bwd_weights_refusal(problem, traits):
        return own, math.inf
    direct = problem.G * (padded_products(bwd_weights(problem), problem, traits) + _PACKED_BY_DIRECT * problem.OCG)
    return own, direct + _STORED_BY_DIRECT * math.prod(problem.weight_shape) / outputs


def _shape(problem: ConvProblem, traits: Traits) -> _Shape:
    """Return the cut whose products, wasted ones too, cost least; of several, one that is stored as whole windows."""
    lanes = traits.lanes(problem.real_bytes)
    blocks = {max(1, min(lanes, problem.ICG))}
    if lanes < problem.ICG and problem.windows[-1].dilation == 1:
        blocks.add(-(-problem.ICG // (problem.ICG // lanes)))
    shapes = (
        _Shape(block, _columns(problem, block, lanes), *tile)
        for block in sorted(blocks)
        for tile in tiles_of(traits).items()
    )
    taps = math.prod(window.kernel for window in problem.windows)
    return min(shapes, key=lambda shape: (_cost_of_vectors(shape, problem.OCG), taps % shape.tile_columns))


def tiles_of(traits: Traits) -> dict[int, int]:
    """Return the rows of tiles by their columns."""
    return _WIDE_TILES if traits.vector_bytes == 64 else _TILES


def _columns(problem: ConvProblem, block: int, lanes: int) -> int:
    """Return how many vectors hold what the taps of all blocks read."""
    taps = [window.kernel for window in problem.windows]
    vectors = -(-taps[2] * block // lanes) if problem.windows[2].dilation == 1 else taps[2]
    return -(-problem.ICG // block) * taps[0] * taps[1] * vectors


def _cost_of_vectors(shape: _Shape, OC: int) -> float:
    rows = -(-OC // shape.tile_rows) * shape.tile_rows
    return COSTS_OF_TILES[shape.tile_columns] * -(-shape.columns // shape.tile_columns) * shape.tile_columns * rows


def _copied_elements(problem: ConvProblem, shape: _Shape) -> int:
    """Return the size of the copy, with what a vector reads beyond its end."""
    blocks = -(-problem.ICG // shape.block)
    positions = math.prod(window.reach for window in problem.windows)
    return problem.N * problem.G * blocks * positions * shape.block + 16


def walk_of_parts(problem: ConvProblem) -> dict[str, int]:
    """Return the start and strides by which the kernel walks partial sums, which lie as a new array of weights does."""
    shape = (problem.G, problem.OCG, problem.ICG, *(window.kernel for window in problem.windows))
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return {"dw_start": 0, **{f"dw_{letter}": stride for letter, stride in zip("gncdhw", strides, strict=True)}}
