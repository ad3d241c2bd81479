"""Direct convolution in vectors of output channels, for processors (kernels/conv_direct.cl).

One kernel serves the three passes; each is told by :class:`clconv.plan.Walk` which axes of its arrays play which part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clconv.algorithms.algorithm import no_vectors
from clconv.algorithms.conv_copy import channels_last_shape, plan_channels_last, plan_copy
from clconv.algorithms.conv_passes import (
    LARGEST_COPY,
    OPERATIONS_OF_A_COPY,
    Pass,
    bwd_data,
    bwd_weights,
    by_axis,
    fwd,
    split_refusal,
    weights_walk,
)
from clconv.algorithms.conv_portable import weights_of_parts
from clconv.plan import NO_LAUNCHES, Launch, Plan, Traits, Walk, joined
from clconv.problem import ConvProblem

__all__ = [
    "LONGEST_LINE",
    "bwd_data_refusal",
    "bwd_weights_refusal",
    "fwd_refusal",
    "has_channels_last",
    "is_copied",
    "padded_channels",
    "padded_products",
    "plan_bwd_data",
    "plan_bwd_weights",
    "plan_fwd",
]

#: Outputs in a tile by the vectors of channels, in registers of 64 bytes and in narrower ones: as in the kernel file.
_WIDE_TILES = {1: 12, 2: 8, 3: 8}
_TILES = {1: 12, 2: 6}
#: What the products of a vector cost in tiles of so many, for which each value of x is loaded.
_COSTS = {1: 1.5, 2: 1.0, 3: 1.0}
#: Taps that a work-item lays out, but whole windows: reading that many together uses whole cache lines of each channel.
_TAPS_OF_ITEM = 96
#: Elements among which the taps of a channel may lie to be packed by lines: as in kernels/pack_lines.h.
LONGEST_LINE = 64
#: How far packing may inflate weights with few output channels, unless they stay smaller than this many elements, and
#: how many elements may be packed at all: a view of little memory may stand for many.
_LARGEST_INFLATION = 2
_SMALL_WEIGHTS = 2**22
_LARGEST_WEIGHTS = 2**28

#: Bytes of data that are more than what else the caches next to a processor hold leaves room for.
_FAR_DATA = 2**19
#: Products of a value that make a copy pay which is not needed otherwise.
_PRODUCTS_FOR_A_COPY = 128

#: Sums are cut until there are this many work-items, where the parts keep this many terms.
_WORK_ITEMS = 64
_LONGEST_RUN = 8
_TERMS_PER_PART = 512


def fwd_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: there must be vectors, and what is copied must stay small."""
    return _refusal([fwd(problem)], problem, traits)


def bwd_data_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return the same; the gradient is a few convolutions at stride 1, over zero padding only."""
    return split_refusal(problem) or _refusal(bwd_data(problem), problem, traits)


def bwd_weights_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return the same where the output's gradient plays the weights."""
    return _refusal([bwd_weights(problem)], problem, traits)


def padded_channels(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    """Return the output channels of a group in all lanes of all vectors."""
    defines = _defines(this.OC, problem, traits)
    return _blocks(this.OC, defines) * _block(defines)


def padded_products(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    """Return how many products of a weight and a value this algorithm forms for a tap, in all lanes of all tiles."""
    tile = _tile(this, problem, traits)
    return padded_channels(this, problem, traits) * -(-this.outputs // tile) * tile


def is_copied(this: Pass, problem: ConvProblem, traits: Traits) -> bool:
    """Return whether the data are copied: for the padding that is read, because a half is no real, or for speed."""
    return _must_be_copied(this, problem) or has_channels_last(this, problem, traits)


def has_channels_last(this: Pass, problem: ConvProblem, traits: Traits) -> bool:
    """Return whether the data are copied, once for all passes, with channels side by side.

    Sums over the channels of a tap, where these are more than a row has taps, then read what lies together; apart, the
    channels of a place are on a line and in a page each, which no processor fetches ahead. A copy that is not needed
    otherwise pays where rows are read at strides, so that a tile uses little of each line, and the data are far and
    used often.
    """
    sums_over_channels = this.walks[0].axes[2] == (1, 1)
    vectors = this.data_shape[1] // problem.G * problem.real_bytes // traits.vector_bytes
    if not sums_over_channels or not vectors:
        return False
    if math.prod(channels_last_shape(this, problem, traits, [axis.reach for axis in this.frame])) > LARGEST_COPY:
        return False
    values = math.prod(_frame_shape(this))
    is_far = values * problem.real_bytes >= _FAR_DATA
    pays = this.windows[2].stride > 1 and is_far and problem.macs >= _PRODUCTS_FOR_A_COPY * values
    return _must_be_copied(this, problem) or pays


def plan_fwd(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan ``y = x * w (+ b)``: operands x, w, b, those of the epilogue, y."""
    passes = [fwd(problem)]
    return _plan(passes, problem, traits, _channels_are_inner(passes))


def plan_bwd_data(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the data, or the transposed convolution: operands dy, w, b, the epilogue's, dx.

    At stride 1 that is one convolution of dy. Otherwise each remainder of the positions by the strides has its own
    taps, and is a convolution of its own, all of which read one copy of dy, and weights that are packed together.
    """
    passes = bwd_data(problem)
    return _plan(passes, problem, traits, _channels_are_inner(passes))


def plan_bwd_weights(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the weight: operands x, dy, dw.

    ``dw[oc, icg, k]`` is the output of a convolution of x by dy that sums over the batch, at stride D and dilation S.
    """
    this = bwd_weights(problem)
    tiles = _tiles_of_all_blocks(this, problem, traits)
    wanted = max(1, min(this.terms // _TERMS_PER_PART, _WORK_ITEMS // max(tiles, 1)))
    places = math.prod(window.kernel for window in this.windows)
    channels_inner = _channels_are_inner([this]) and places >= wanted
    parts = max(1, min(wanted, places if channels_inner else this.rows))
    plan = _plan([this], problem, traits, channels_inner, parts)
    return plan if parts == 1 else weights_of_parts(problem, plan, parts)


def _copy(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> tuple[Plan, Sequence[int] | None]:
    """Plan the copy of the frame of the data, as reals, and return its strides, none where they are read in place."""
    this = passes[0]
    lows, reaches = zip(*this.frame, strict=True)
    if has_channels_last(this, problem, traits):
        batch, *spatial, channel = _strides(channels_last_shape(this, problem, traits, reaches))
        return plan_channels_last(this, problem, traits, lows, reaches), (batch, channel, *spatial)
    if _must_be_copied(this, problem):
        return plan_copy(this, problem, traits, lows, reaches), _strides(_frame_shape(this))
    return NO_LAUNCHES, None


def _plan(passes: Sequence[Pass], problem: ConvProblem, traits: Traits, channels_inner: bool, parts: int = 1) -> Plan:
    """Plan passes over the same arrays, the sums of which may be cut into parts, each along rows of its inner axis."""
    copy, strides = _copy(passes, problem, traits)
    plan = joined([copy, _pack(passes, problem, traits, channels_inner)])
    starts = itertools.accumulate((_packed_elements([this], problem, traits) for this in passes), initial=0)
    launches = (
        _convolve(this, problem, traits, parts, start, strides, channels_inner)
        for this, start in zip(passes, starts, strict=False)
    )
    return replace(plan, launches=(*plan.launches, *launches))


def _pack(passes: Sequence[Pass], problem: ConvProblem, traits: Traits, channels_inner: bool) -> Plan:
    """Plan the packing of the weights, all taps of one pass after those of another."""
    this = _reading(passes)[0]
    defines = _defines(this.OC, problem, traits)
    is_parted = len(_reading(passes)) > 1
    windows = problem.windows if is_parted else this.windows
    walk = weights_walk(problem.OCG, (1, 1), (0, 1)) if is_parted else this.walks[1]
    window = math.prod(window.kernel for window in windows)
    taps_of_item = _TAPS_OF_ITEM // window * window or _TAPS_OF_ITEM
    packed, places = _packed(this), f"{_packed(this)}_places"
    size = _packed_elements(passes, problem, traits)
    launch = Launch(
        "conv_direct.cl",
        "pack_weights",
        defines,
        problem.G * _blocks(this.OC, defines) * -(-this.IC * window // taps_of_item),
        {"w": this.arrays[1], "packed": packed} | ({"places": places} if is_parted else {}),
        {
            "G": problem.G,
            "OC": this.OC,
            "IC": this.IC,
            **by_axis("K", [window.kernel for window in windows]),
            "RUN": taps_of_item,
            "is_parted": int(is_parted),
            "CHANNELS_INNER": int(channels_inner),
        },
        OPERATIONS_OF_A_COPY * size,
        local_size=1,
        walks={"w": walk},
    )
    constants = {places: _places(passes, problem).tobytes()} if is_parted else {}
    return Plan((launch,), {packed: size * problem.real_bytes}, constants=constants)


def _reading(passes: Sequence[Pass]) -> Sequence[Pass]:
    """Return the passes that read taps, or one if none does."""
    return [this for this in passes if this.IC] or passes[:1]


def _places(passes: Sequence[Pass], problem: ConvProblem) -> np.ndarray[Any, Any]:
    """Return where each tap is packed: behind so many of other passes, among how many, behind how many.

    Taps that no pass reads, because the data end before what they would, come last.
    """
    kernels = tuple(window.kernel for window in problem.windows)
    places = np.zeros((math.prod(kernels), 3), np.int32)
    before = 0
    for this in passes:
        taps = _taps(this, kernels)
        places[taps] = np.stack([np.full_like(taps, before), np.full_like(taps, taps.size), np.arange(taps.size)], -1)
        before += taps.size
    unread = places[:, 1] == 0
    places[unread, 0], places[unread, 1] = before, unread.sum()
    places[unread, 2] = np.arange(unread.sum())
    return places


def _taps(this: Pass, kernels: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return the taps of the weights that a pass reads, in its order, as numbers within the whole window."""
    walk = this.walks[1]
    axes = zip(walk.start[2:], walk.axes[3:], this.windows, strict=True)
    taps = [first + step * np.arange(window.kernel) for first, (_, step), window in axes]
    return np.ravel_multi_index(np.ix_(*taps), kernels).ravel() if this.IC else np.zeros(0, int)


def _packed(this: Pass) -> str:
    """Return the name of the packed weights."""
    return f"{this.arrays[2]}_packed"


def _convolve(
    this: Pass,
    problem: ConvProblem,
    traits: Traits,
    parts: int,
    packed_start: int,
    strides: Sequence[int] | None,
    channels_inner: bool,
) -> Launch:
    """Return the launch of a pass over data, in place or in a copy with these strides, by the weights packed there."""
    defines = _defines(this.OC, problem, traits)
    data, _, result = this.arrays
    numbers = {**this.sizes(problem.G), "packed_start": packed_start}
    walks = {"residual": this.walks[2], "y": this.walks[2]}
    if strides is None:
        walks["x"] = Walk((0, 0, *(-window.low for window in this.windows)), this.walks[0].axes)
    else:
        data = this.copy
        numbers |= _walk_of_copy(this, strides)
    tiles = _tiles_of_all_blocks(this, problem, traits)
    run = max(1, min(_LONGEST_RUN, parts * tiles // _WORK_ITEMS))
    blocks, runs = _blocks(this.OC, defines), _runs(this, problem, traits, run)
    bias = ("b",) if this.has_bias else ()
    given = {"x": data, "packed": _packed(this), **{name: name for name in (*bias, *this.epilogue.arrays)}}
    return Launch(
        "conv_direct.cl",
        "conv_direct",
        defines,
        parts * problem.G * blocks * runs,
        {**given, "part": "dw_parts"} if parts > 1 else {**given, "y": result},
        {
            **numbers,
            "zero_padding": int(this.is_padded and this.padding_mode == "zeros"),
            "PARTS": parts,
            "RUN": run,
            "BLOCKS_FIRST": int(this.blocks_first),
            "CHANNELS_INNER": int(channels_inner),
            "has_bias": int(this.has_bias),
            **this.epilogue.numbers(),
        },
        2 * problem.macs,
        local_size=1,
        walks=walks,
    )


def _channels_are_inner(passes: Sequence[Pass]) -> bool:
    """Return whether the innermost sum is over the channels of a tap, not over a row of taps: the longer one."""
    return all(this.windows[2].kernel <= this.IC for this in _reading(passes))


def _must_be_copied(this: Pass, problem: ConvProblem) -> bool:
    """Return whether the data cannot be read where they lie."""
    return problem.dtype == "float16" or this.is_padded


def _frame_shape(this: Pass) -> tuple[int, ...]:
    return (*this.data_shape, *(axis.reach for axis in this.frame))


def _walk_of_copy(this: Pass, strides: Sequence[int]) -> dict[str, int]:
    """Return the start and strides by which the kernel walks the copy."""
    lows = zip(this.frame, this.windows, strides[2:], strict=True)
    start = sum((frame.low - window.low) * stride for frame, window, stride in lows)
    return this.walk_of_copy(start, strides)


def _strides(shape: Sequence[int]) -> list[int]:
    """Return the strides of a dense array."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _refusal(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> str | None:
    if not traits.vector_bytes:
        return no_vectors(traits)
    this = passes[0]
    packed = _packed_elements(passes, problem, traits)
    inflation = padded_channels(this, problem, traits) / max(this.OC, 1)
    if packed > _SMALL_WEIGHTS and inflation > _LARGEST_INFLATION:
        return f"packing makes {packed} elements of weights for {this.OC} channels, {inflation:.3g} times as many"
    if packed > _LARGEST_WEIGHTS:
        return f"{packed} elements of weights to pack are more than {_LARGEST_WEIGHTS}"
    copied = math.prod(_frame_shape(this))
    if _must_be_copied(this, problem) and copied > LARGEST_COPY:
        return f"{copied} elements to copy with their padding are more than {LARGEST_COPY}"
    return None


def _defines(OC: int, problem: ConvProblem, traits: Traits) -> tuple[tuple[str, int], ...]:
    """Return what the kernels are compiled with: as many vectors as make the products of all channels cost least."""
    lanes = traits.vector_bytes // problem.real_bytes
    tiles = _tiles(traits)
    vectors = min(tiles, key=lambda count: (-(-OC // (count * lanes)) * count * _COSTS[count], -count))
    return (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes), ("VECTORS", vectors))


def _block(defines: tuple[tuple[str, int], ...]) -> int:
    """Return the output channels of a work-item."""
    chosen = dict(defines)
    return chosen["VECTORS"] * chosen["VECTOR_BYTES"] // max(4, chosen["ELEMENT"] // 8)


def _blocks(OC: int, defines: tuple[tuple[str, int], ...]) -> int:
    return -(-OC // _block(defines))


def _packed_elements(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> int:
    """Return how many elements the packed weights of these passes have: of all taps, if several read some."""
    this = _reading(passes)[0]
    windows = this.windows if len(_reading(passes)) == 1 else problem.windows
    taps = this.IC * math.prod(window.kernel for window in windows)
    return problem.G * padded_channels(this, problem, traits) * taps


def _tiles_of_all_blocks(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    """Return how many tiles there are, in all blocks of channels."""
    return problem.G * _blocks(this.OC, _defines(this.OC, problem, traits)) * _runs(this, problem, traits, 1)


def _runs(this: Pass, problem: ConvProblem, traits: Traits, run: int) -> int:
    """Return the runs of so many tiles in a block of channels."""
    return -(-this.outputs // (run * _tile(this, problem, traits)))


def _tile(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    """Return the outputs in a tile."""
    return _tiles(traits)[dict(_defines(this.OC, problem, traits))["VECTORS"]]


def _tiles(traits: Traits) -> dict[int, int]:
    """Return the outputs in a tile by the vectors of channels."""
    return _WIDE_TILES if traits.vector_bytes == 64 else _TILES
