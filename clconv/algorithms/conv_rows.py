"""Convolution in tiles of channels by vectors of neighbouring outputs (kernels/conv_rows.cl).

It takes layers whose channels do not fill a vector of :mod:`conv_direct`, and those whose weights it would take long to
pack: small planes with many channels, and kernels of one tap.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from clconv.algorithms import conv_direct
from clconv.algorithms.algorithm import first_reason, no_vectors
from clconv.algorithms.conv_copy import plan_copy
from clconv.algorithms.conv_passes import LARGEST_COPY, PAGE, Pass, bwd_data, fwd, split_refusal
from clconv.arguments import LARGEST
from clconv.plan import Launch, Plan, Traits, joined
from clconv.problem import ConvProblem

__all__ = ["bwd_data_refusal", "fwd_refusal", "plan_bwd_data", "plan_fwd"]

#: Output channels and vectors of outputs in a tile by the width of registers, as in the table of native kernels: each
#: weight is loaded once for all vectors, each vector once for all channels.
_NARROW_TILES = ((1, 4), (1, 8), (2, 4), (3, 3), (4, 3), (6, 2))
_TILES = {16: _NARROW_TILES, 32: _NARROW_TILES, 64: ((1, 4), (1, 8), (2, 8), (3, 6), (4, 5), (6, 4), (8, 3), (12, 2))}
_LARGEST_TILE = 128
#: Tiles of a plane that pay for one more of a vector: as in the kernel file.
_MANY_TILES = 8
#: Work-items that keep threads busy, and so many where they have much to do; and the most tiles of one, and blocks of
#: channels that share a copy of what they read: as in the kernel file.
_WORK_ITEMS, _FEW_WORK_ITEMS = 64, 16
_LONGEST_RUN, _LARGEST_SHARE = 16, 24
#: Terms and blocks from which on a copy pays, and taps that it has room for.
_LEAST_TERMS, _LEAST_SHARE, _MOST_TAPS = 128, 6, 192
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
_STRIDED_PRODUCT = 1.15
#: The same where such planes are whole pages: lines of different channels take each other's place in the nearest cache.
_STRIDED_PRODUCT_IN_PAGES = 1.7
#: How many times as much a product costs where the weights of so many channels lie so.
_WEIGHTS_IN_PAGES = 1.6
#: A product for which a vector of values is loaded anew.
_PRODUCT_OF_ONE_CHANNEL = 2
_MANY_LINES = 400
#: Passing over a weight, of so many that they come from memory, for those that lie apart.
_FAR_WEIGHT_APART = 15
#: Storing an output of rows with gaps.
_OUTPUT = 65
#: Storing an output of planes without gaps.
_DENSE_OUTPUT = 30
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
    """Plan passes that read one copy of the data."""
    return joined([_split(passes[0], problem, traits), *(_plan(this, problem, traits) for this in passes)])


def _split(this: Pass, problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the copy of the data with its padding, positions with one remainder by the strides side by side."""
    if _is_in_place(this, problem, traits):
        return Plan(())
    strides = [window.stride for window in this.windows]
    return plan_copy(this, problem, traits, _lows(this), _extents(this), strides, _phases(this), _LARGEST_TILE)


def _plan(this: Pass, problem: ConvProblem, traits: Traits) -> Plan:
    data, weights, result = this.arrays
    offsets = f"{result}_offsets{this.name}"
    channels, pixels = _tile(this, problem, traits)
    places = pixels * _lanes(problem, traits)
    tiles = -(-_places(this) // places)
    share = _share(this, problem, (channels, pixels), tiles)
    rows_of_tiles = this.N * problem.G * -(-this.OC // (channels * share))
    run = max(1, min(_LONGEST_RUN, rows_of_tiles * tiles // _WORK_ITEMS))
    runs = -(-(_places(this) + _longest_lead(this, problem, traits, places)) // (run * places))
    extents = _extents(this)
    bias = ("b",) if this.has_bias else ()
    walks = {"w": this.walks[1], "residual": this.walks[2], "y": this.walks[2]}
    numbers = this.sizes(problem.G)
    if _is_in_place(this, problem, traits):
        walks["x"] = this.walks[0]
    else:
        data = this.copy
        numbers |= _walk_of_copy(this)
    launch = Launch(
        "conv_rows.cl",
        "conv_rows",
        _defines(this, problem, traits),
        rows_of_tiles * runs,
        {
            "x": data,
            "offsets": offsets,
            "w": weights,
            **{name: name for name in (*bias, *this.epilogue.arrays)},
            "y": result,
        },
        {
            **numbers,
            "EH": extents[1],
            "EW": extents[2],
            "RUN": run,
            "SHARE": share,
            "SHARES_FIRST": int(share == 1 and this.blocks_first),
            "zero_padding": int(_has_zero_padding(this)),
            "has_bias": int(this.has_bias),
            **this.epilogue.numbers(),
        },
        2 * problem.macs,
        local_size=1,
        walks=walks,
    )
    return Plan((launch,), constants={offsets: np.array(_offsets(this), np.int32).tobytes()})


def _share(this: Pass, problem: ConvProblem, tile: tuple[int, int], tiles: int) -> int:
    """Return how many blocks of channels a work-item computes side by side, so that they share a copy.

    Equal shares of all blocks, in planes of so many tiles. Tiles for few channels, which are wide, have no others.
    """
    channels, pixels = tile
    blocks, taps = -(-this.OC // channels), math.prod(window.kernel for window in this.windows)
    share = min(_LARGEST_SHARE, blocks, this.N * problem.G * tiles * blocks // _FEW_WORK_ITEMS)
    if channels <= pixels or share < _LEAST_SHARE or this.terms < _LEAST_TERMS or taps > _MOST_TAPS:
        return 1
    if tiles <= _FEW_TILES and _sums_over_neighbours(this):
        return 1
    return -(-blocks // -(-blocks // share))


def _lies_as_its_copy(this: Pass) -> bool:
    """Return whether a copy of the data would be the data itself, as reals."""
    return this.is_dense and not this.is_padded and all(window.stride == 1 for window in this.windows)


def _is_in_place(this: Pass, problem: ConvProblem, traits: Traits) -> bool:
    """Return whether the data is read where it lies: a vector must fit into a plane, whose end it must not pass."""
    return _lies_as_its_copy(this) and problem.dtype != "float16" and _lanes(problem, traits) <= _places(this)


def _longest_lead(this: Pass, problem: ConvProblem, traits: Traits, places: int) -> int:
    """Return how many places of a plane may come before the first whole tile, where planes lie evenly in memory.

    Whether they do, strides say, which the kernel has: work-items that it does not need end at once.
    """
    has_many_tiles = this.terms == this.IC and _places(this) >= _MANY_TILES * places
    return _lanes(problem, traits) - 1 if has_many_tiles else 0


def _extents(this: Pass) -> list[int]:
    """Return how many positions of each remainder are copied along each axis."""
    if _lies_as_its_copy(this):
        return [window.extent for window in this.windows]
    return [-(-axis.reach // window.stride) for axis, window in zip(this.frame, this.windows, strict=True)]


def _lows(this: Pass) -> list[int]:
    """Return how far before the data's first position the copy begins along each axis."""
    return [0 if _lies_as_its_copy(this) else axis.low for axis in this.frame]


def _phases(this: Pass) -> list[int]:
    """Return how many remainders of the positions by the stride are copied along each axis: a single tap reads one."""
    return [window.stride if window.kernel > 1 else 1 for window in this.windows]


def _places(this: Pass) -> int:
    """Return the places from a plane's first output to its last, those between rows included."""
    _, height, width = _extents(this)
    outputs = [window.output for window in this.windows]
    return ((outputs[0] - 1) * height + outputs[1] - 1) * width + outputs[2]


def _has_zero_padding(this: Pass) -> bool:
    """Return whether taps beside the data contribute no product."""
    return this.padding_mode == "zeros" and this.is_padded


def _is_gapless(this: Pass) -> bool:
    """Return whether nothing lies between the outputs of a plane, so that they are stored as one row."""
    _, height, width = _extents(this)
    outputs = [window.output for window in this.windows]
    return (width == outputs[2] or outputs[:2] == [1, 1]) and (height == outputs[1] or outputs[0] == 1)


def _offsets(this: Pass) -> list[int]:
    """Return how far from an output's place each tap reads."""
    extents = _extents(this)
    axes = [
        [divmod(low - window.low + k * window.dilation, window.stride) for k in range(window.kernel)]
        for low, window in zip(_lows(this), this.windows, strict=True)
    ]
    offsets = []
    for taps in itertools.product(*axes):
        phase = place = 0
        for (step, remainder), phases, extent in zip(taps, _phases(this), extents, strict=True):
            phase = phase * phases + remainder
            place = place * extent + step
        offsets.append(phase * math.prod(extents) + place)
    return offsets


def _walk_of_copy(this: Pass) -> dict[str, int]:
    """Return the start and strides by which the kernel walks the copy: within a plane, it does so by offsets."""
    channel = math.prod(_phases(this)) * math.prod(_extents(this))
    strides = (this.data_shape[1] * channel, channel, 0, 0, 0)
    return this.walk_of_copy(0, strides)


def _refusal(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> str | None:
    if not traits.vector_bytes:
        return no_vectors(traits)
    reason = first_reason(_refusal_to_copy(this) for this in passes)
    if reason:
        return reason
    own = sum(_cost(this, problem, traits) for this in passes) + _cost_of_copy(passes, problem, traits)
    direct = conv_direct.cost(passes, problem, traits)
    return None if own < direct else f"direct does with {direct:.0f} products what costs {own:.0f} here"


def _refusal_to_copy(this: Pass) -> str | None:
    """Return why the data of a pass are not copied for it."""
    if not this.outputs:
        return "there are no outputs"
    for window in this.windows:
        if window.stride > window.kernel > 1:
            return f"a stride of {window.stride} is longer than {window.kernel} taps: most of a copy would not be read"
    channel = math.prod(_phases(this)) * math.prod(_extents(this))
    if channel > LARGEST:
        return f"{channel} elements to copy of one channel are more than {LARGEST}"
    copied = math.prod(this.data_shape) * channel
    return (
        f"{copied} elements to copy with their padding are more than {LARGEST_COPY}" if copied > LARGEST_COPY else None
    )


def _cost(this: Pass, problem: ConvProblem, traits: Traits) -> float:
    """Return what a pass costs for a group."""
    is_dense = _is_gapless(this) and all(factor == 1 for _, factor in this.walks[2].axes[3:])
    cost = _products(this, problem, traits, _tile(this, problem, traits))
    cost *= this.terms + (_DENSE_OUTPUT if is_dense else _OUTPUT)
    if _steps_over_taps(this, problem) and math.prod(problem.weight_shape) >= _FAR_WEIGHTS:
        cost += _FAR_WEIGHT_APART * math.prod(problem.weight_shape) / problem.G
    return cost


def _cost_of_copy(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> float:
    """Return what the copy of a strided forward pass costs for a group, in which single remainders are collected.

    A direct convolution may copy its data, too; these costs, which were fitted to measured times, hold where neither's
    copy is counted in the other's.
    """
    this = passes[0]
    stride = max(window.stride for window in this.windows)
    if stride == 1:
        return 0
    copied = math.prod(this.data_shape) * math.prod(_phases(this)) * math.prod(_extents(this))
    return (_COPIED_BY_TWO if stride == 2 else _COPIED) * copied / problem.G


def _steps_over_taps(this: Pass, problem: ConvProblem) -> bool:
    """Return whether this is a pass of a strided gradient of the data, which reads taps with others between them."""
    steps = zip(this.walks[1].axes[3:], problem.windows, strict=True)
    return any(abs(factor) > 1 and window.kernel > 1 for (_, factor), window in steps)


def _products(this: Pass, problem: ConvProblem, traits: Traits, tile: tuple[int, int]) -> float:
    """Return what the products for a tap of an input channel cost."""
    channels, pixels = tile
    places = pixels * _lanes(problem, traits)
    cost = _PRODUCT
    if channels == 1:
        cost = _PRODUCT_OF_ONE_CHANNEL
    elif math.prod(_phases(this)) > 1 or _steps_over_taps(this, problem):
        plane = math.prod(_phases(this)) * math.prod(_extents(this)) * problem.real_bytes
        has_pages = math.prod(_phases(this)) > 1 and plane % PAGE == 0
        cost = _STRIDED_PRODUCT_IN_PAGES if has_pages else _STRIDED_PRODUCT
    elif _lies_as_its_copy(this):
        size = math.prod(this.data_shape) * _places(this) * problem.real_bytes
        tiles = -(-_places(this) // places)
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
    lanes = _lanes(problem, traits)
    tiles, rest = divmod(_places(this), pixels * lanes)
    vectors, few = divmod(rest, lanes)
    if few > _FEW_PLACES or not _sums_over_neighbours(this) or _has_zero_padding(this):
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


def _lanes(problem: ConvProblem, traits: Traits) -> int:
    return traits.vector_bytes // problem.real_bytes


def _defines(this: Pass, problem: ConvProblem, traits: Traits) -> tuple[tuple[str, int], ...]:
    """Return what the kernels are compiled with."""
    channels, pixels = _tile(this, problem, traits)
    return (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes), ("CHANNELS", channels), ("PIXELS", pixels))
