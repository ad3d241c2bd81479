"""Convolution in tiles of channels by vectors of neighbouring outputs (kernels/conv_rows.cl).

It takes layers whose channels do not fill a vector of :mod:`conv_direct`, and those whose weights it would take long to
pack: small planes with many channels, and kernels of one tap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from clconv.algorithms import conv_direct, conv_lines
from clconv.algorithms.algorithm import first_reason, no_vectors
from clconv.algorithms.conv_passes import PAGE, Pass, bwd_data, fwd, split_refusal
from clconv.algorithms.conv_split import (
    copy_refusal,
    extents_of,
    is_gapless,
    lies_as_its_copy,
    phases_of,
    places_of,
    plan_launch,
    plan_split,
)
from clconv.plan import Plan, Traits, joined
from clconv.problem import ConvProblem

__all__ = ["bwd_data_refusal", "fwd_refusal", "plan_bwd_data", "plan_fwd"]

#: Output channels and vectors of outputs in a tile by the width of registers, as in the table of native kernels: each
#: weight is loaded once for all vectors, each vector once for all channels.
_NARROW_TILES = ((1, 4), (1, 8), (2, 4), (3, 3), (4, 3), (6, 2))
_TILES = {16: _NARROW_TILES, 32: _NARROW_TILES, 64: ((1, 4), (1, 8), (2, 8), (3, 6), (4, 5), (6, 4), (8, 3), (12, 2))}
#: Tiles of a plane that pay for one more of a vector: as in the kernel file.
_MANY_TILES = 8
#: Work-items that keep threads busy, and so many where they have much to do; and the most tiles of one, and blocks of
#: channels that share a copy of what they read: as in the kernel file.
_WORK_ITEMS, _FEW_WORK_ITEMS = 64, 16
_LONGEST_RUN, _LARGEST_SHARE = 16, 24
#: Taps that a copy has room for.
_MOST_TAPS = 192
#: Tiles of a plane which is so small that its channels are read like a copy.
_FEW_TILES = 2
# Costs, in products of a direct convolution.
#: A product, whose values are read from unaligned places of a copy.
_PRODUCT = 1.12
#: A product whose values are read where the data lie.
_PRODUCT_IN_PLACE = 1.0
#: The same where so many channels that they are many lines come from memory, and how many bytes do.
_FAR_PRODUCT_IN_PLACE = 1.1
_FAR_DATA = 2**23
#: The same in planes of few tiles, with weights side by side, or where blocks share a copy; and with weights apart.
_PRODUCT_OF_SMALL_PLANES, _PRODUCT_OF_SMALL_PLANES_APART = 1.15, 1.5
#: How many times as much a product costs in tiles of two vectors, for which factors are loaded more often, and in those
#: of few channels, for which vectors are.
_TWO_VECTORS = 1.06
_FEW_CHANNELS = {2: 1.3, 3: 1.1, 4: 1.05}
#: How many products of a tile take as long as one of a place that is summed by itself, as so few at the end of a plane
#: are: see the kernel file. What a tile of fewer vectors takes longer, in vectors of a single channel, and how many it
#: has at most.
_PLACE, _FEW_PLACES = 5, 2
_PART_OF_TILE, _VECTORS_OF_PART = 5, 3
#: A product whose values lie in a plane for each remainder by the strides, or whose weights lie apart.
_STRIDED_PRODUCT = 1.25
#: The same where such planes are whole pages: lines of different channels take each other's place in the nearest cache.
_STRIDED_PRODUCT_IN_PAGES = 1.7
#: A product of windows of one tap between which places lie that have no output, or that no output reads.
_PRODUCT_OF_TAPS_APART = 1.35
#: How many times as much a product costs where the weights of so many channels lie so.
_WEIGHTS_IN_PAGES = 1.6
#: A product for which a vector of values is loaded anew.
_PRODUCT_OF_ONE_CHANNEL = 2
_MANY_LINES = 400
#: Passing over a weight, of so many that they come from memory, for those that lie apart.
_FAR_WEIGHT_APART = 15
#: Storing an output of a tile that must be taken apart, and of one that is a piece of a row.
_OUTPUT, _OUTPUT_OF_PIECES = 65, 30
#: Copying a value of the data, of which those with one remainder come to lie side by side: of every second one, in
#: vectors, and of others.
_COPIED_BY_TWO, _COPIED = 32, 150

_FAR_WEIGHTS = 2**20


def fwd_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: outputs must fill vectors better than channels do, and what is copied must stay small."""
    return _refusal([fwd(problem)], problem, traits)


def bwd_data_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return the same of the passes that make up the gradient of the data."""
    return split_refusal(problem) or _refusal(bwd_data(problem), problem, traits)


def plan_fwd(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan ``y = x * w (+ b)``: operands x, w, b, those of the epilogue, y."""
    return _plan_all([fwd(problem)], problem, traits)


def plan_bwd_data(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the data, or the transposed convolution: operands dy, w, b, the epilogue's, dx."""
    return _plan_all(bwd_data(problem), problem, traits)


def _plan_all(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> Plan:
    """Plan passes that read one copy: in tiles across the ends of rows, or within rows if that costs less."""
    across, within = _costs(passes, problem, traits)
    is_within = within < across
    plan = conv_lines.plan_lines if is_within else _plan
    copy = plan_split(passes[0], problem, traits, rows_together=is_within)
    return joined([copy, *(plan(this, problem, traits) for this in passes)])


def _plan(this: Pass, problem: ConvProblem, traits: Traits) -> Plan:
    """Plan a pass in tiles across the ends of rows."""
    channels, pixels = _tile(this, problem, traits)
    places = pixels * traits.lanes(problem.real_bytes)
    tiles = -(-places_of(this) // places)
    share = _share(this, problem, (channels, pixels), tiles)
    rows_of_tiles = this.N * problem.G * -(-this.OC // (channels * share))
    run = max(1, min(_LONGEST_RUN, rows_of_tiles * tiles // _WORK_ITEMS))
    runs = -(-(places_of(this) + _longest_lead(this, problem, traits, places)) // (run * places))
    numbers = {"RUN": run, "SHARE": share, "SHARES_FIRST": int(share == 1 and this.blocks_first)}
    defines = ("CHANNELS", channels), ("PIXELS", pixels)
    return plan_launch(this, problem, traits, "conv_rows", defines, rows_of_tiles * runs, numbers, rows_together=False)


def _share(this: Pass, problem: ConvProblem, tile: tuple[int, int], tiles: int) -> int:
    """Return how many blocks of channels a work-item computes side by side, so that they share a copy.

    Equal shares of all blocks, in planes of so many tiles. Tiles for few channels, which are wide, have no others.
    """
    channels, pixels = tile
    blocks, taps = -(-this.OC // channels), math.prod(window.kernel for window in this.windows)
    share = min(_LARGEST_SHARE, blocks, this.N * problem.G * tiles * blocks // _FEW_WORK_ITEMS)
    if channels <= pixels or share < 2 or taps > _MOST_TAPS:
        return 1
    if tiles <= _FEW_TILES and _sums_over_neighbours(this):
        return 1
    return -(-blocks // -(-blocks // share))


def _longest_lead(this: Pass, problem: ConvProblem, traits: Traits, places: int) -> int:
    """Return how many places of a plane may come before the first whole tile, where planes lie evenly in memory.

    Whether they do, strides say, which the kernel has: work-items that it does not need end at once.
    """
    has_many_tiles = this.terms == this.IC and places_of(this) >= _MANY_TILES * places
    return traits.lanes(problem.real_bytes) - 1 if has_many_tiles else 0


def _refusal(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> str | None:
    if not traits.vector_bytes:
        return no_vectors(traits)
    reason = first_reason(copy_refusal(this) for this in passes)
    if reason:
        return reason
    own = min(_costs(passes, problem, traits)) + _cost_of_copy(passes, problem, traits)
    direct = conv_direct.cost(passes, problem, traits)
    return None if own < direct else f"direct does with {direct:.0f} products what costs {own:.0f} here"


def _costs(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> tuple[float, float]:
    """Return what passes cost for a group: in tiles across the ends of rows, and within rows."""
    across = sum(_cost(this, problem, traits) for this in passes)
    return across, sum(_cost_within_rows(this, problem, traits) for this in passes)


def _cost_within_rows(this: Pass, problem: ConvProblem, traits: Traits) -> float:
    return math.inf if conv_lines.refusal(this, problem, traits) else conv_lines.cost(this, problem, traits)


def _cost(this: Pass, problem: ConvProblem, traits: Traits) -> float:
    """Return what a pass costs for a group."""
    tile = _tile(this, problem, traits)
    pieces = _share_of_pieces(this, tile[1] * traits.lanes(problem.real_bytes))
    cost = _products(this, problem, traits, tile)
    cost *= this.terms + pieces * _OUTPUT_OF_PIECES + (1 - pieces) * _OUTPUT
    if _steps_over_taps(this, problem) and math.prod(problem.weight_shape) >= _FAR_WEIGHTS:
        cost += _FAR_WEIGHT_APART * math.prod(problem.weight_shape) / problem.G
    return cost


def _share_of_pieces(this: Pass, places: int) -> float:
    """Return the share of the tiles of so many places that are pieces of a row, which are stored as they are."""
    if any(factor != 1 for _, factor in this.walks[2].axes[3:]):
        return 0
    width = this.windows[2].output
    return 1 if is_gapless(this) else max(0, width - places + 1) / extents_of(this)[2]


def _cost_of_copy(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> float:
    """Return what the copy of a strided forward pass costs for a group, in which single remainders are collected.

    A direct convolution may copy its data, too; these costs, which were fitted to measured times, hold where neither's
    copy is counted in the other's.
    """
    this = passes[0]
    stride = max(window.stride for window in this.windows)
    if stride == 1:
        return 0
    copied = math.prod(this.data_shape) * math.prod(phases_of(this)) * math.prod(extents_of(this))
    return (_COPIED_BY_TWO if stride == 2 else _COPIED) * copied / problem.G


def _steps_over_taps(this: Pass, problem: ConvProblem) -> bool:
    """Return whether this is a pass of a strided gradient of the data, which reads taps with others between them."""
    steps = zip(this.walks[1].axes[3:], problem.windows, strict=True)
    return any(abs(factor) > 1 and window.kernel > 1 for (_, factor), window in steps)


def _products(this: Pass, problem: ConvProblem, traits: Traits, tile: tuple[int, int]) -> float:
    """Return what the products for a tap of an input channel cost."""
    channels, pixels = tile
    places = pixels * traits.lanes(problem.real_bytes)
    cost = _PRODUCT
    if channels == 1:
        cost = _PRODUCT_OF_ONE_CHANNEL
    elif math.prod(phases_of(this)) > 1 or _steps_over_taps(this, problem):
        plane = math.prod(phases_of(this)) * math.prod(extents_of(this)) * problem.real_bytes
        has_pages = math.prod(phases_of(this)) > 1 and plane % PAGE == 0
        cost = _STRIDED_PRODUCT_IN_PAGES if has_pages else _STRIDED_PRODUCT
    elif all(window.kernel == 1 for window in problem.windows) and any(window.stride > 1 for window in problem.windows):
        cost = _PRODUCT_OF_TAPS_APART
    elif lies_as_its_copy(this):
        size = math.prod(this.data_shape) * places_of(this) * problem.real_bytes
        tiles = -(-places_of(this) // places)
        is_alone = _share(this, problem, tile, tiles) == 1
        is_far = is_alone and size >= _FAR_DATA and this.IC >= _MANY_LINES
        cost = _FAR_PRODUCT_IN_PLACE if is_far else _PRODUCT_IN_PLACE
        if tiles <= _FEW_TILES:
            is_apart = is_alone and not _sums_over_neighbours(this)
            cost = _PRODUCT_OF_SMALL_PLANES_APART if is_apart else _PRODUCT_OF_SMALL_PLANES
    if pixels == 2:
        cost *= _TWO_VECTORS
    cost *= _FEW_CHANNELS.get(channels, 1)
    if _reads_weights_in_pages(this, problem):
        cost *= _WEIGHTS_IN_PAGES
    return cost * this.N * -(-this.OC // channels) * channels * _summed_places(this, problem, traits, tile)


def _summed_places(this: Pass, problem: ConvProblem, traits: Traits, tile: tuple[int, int]) -> float:
    """Return how many places could be summed in whole tiles in the time that those of a plane take."""
    channels, pixels = tile
    lanes = traits.lanes(problem.real_bytes)
    tiles, rest = divmod(places_of(this), pixels * lanes)
    vectors, few = divmod(rest, lanes)
    if few > _FEW_PLACES or not _sums_over_neighbours(this) or this.has_zero_padding:
        vectors, few = -(-rest // lanes), 0
    parts = -(-vectors // _VECTORS_OF_PART)
    return (tiles * pixels + vectors + parts * _PART_OF_TILE / channels) * lanes + few * _PLACE


def _sums_over_neighbours(this: Pass) -> bool:
    """Return whether there is one tap, of which the weights of input channels lie side by side."""
    return this.terms == this.IC and this.walks[1].axes[2] == (1, 1)


def _reads_weights_in_pages(this: Pass, problem: ConvProblem) -> bool:
    """Return whether channels trade places in the weights, and the lines of many lie half pages apart."""
    line = math.prod(problem.weight_shape[1:]) * problem.real_bytes
    return this.walks[1].axes[1] == (1, 1) and this.IC >= _MANY_LINES and line % (PAGE // 2) == 0


def _tile(this: Pass, problem: ConvProblem, traits: Traits) -> tuple[int, int]:
    """Return the output channels and the vectors of a tile: those which waste the fewest lanes."""
    tiles = [
        (channels, pixels)
        for channels, pixels in _TILES[traits.vector_bytes]
        if channels == 1 or (channels <= this.OC and problem.dtype != "float16")
    ]
    return min(tiles, key=lambda tile: (_products(this, problem, traits, tile), -tile[1]))
