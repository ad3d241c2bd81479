"""Direct convolution in vectors of output channels, for processors (kernels/conv_direct.cl).

One kernel serves the three passes; each is told by :class:`clconv.plan.Walk` which axes of its arrays play which part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from clconv.algorithms.algorithm import no_vectors
from clconv.algorithms.conv_copy import channels_last_shape, plan_channels_last, plan_copy
from clconv.algorithms.conv_direct_tiles import (
    block,
    blocks,
    defines_of,
    padded_channels,
    padded_products,
    run_of,
    runs,
    tiles_of_all_blocks,
)
from clconv.algorithms.conv_direct_weights import (
    channels_are_inner,
    channels_of_piece,
    cost_of_weights,
    pack,
    packed_elements,
    packed_name,
    reading,
)
from clconv.algorithms.conv_passes import LARGEST_COPY, PAGE, Pass, bwd_data, bwd_weights, fwd, split_refusal
from clconv.algorithms.conv_portable import weights_of_parts
from clconv.plan import NO_LAUNCHES, Launch, Plan, Traits, Walk, joined
from clconv.problem import ConvProblem

__all__ = [
    "bwd_data_refusal",
    "bwd_weights_refusal",
    "cost",
    "fwd_refusal",
    "plan_bwd_data",
    "plan_bwd_weights",
    "plan_fwd",
]

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
_TERMS_PER_PART = 512

# Costs, in products.
#: A product whose values are few of those in a cache line.
_PRODUCT_OF_FAR_VALUES = 1.4
#: Storing an output.
_OUTPUT = 90
#: Storing an output whose channels lie pages apart, where they take each other's place in the nearest cache, if values
#: that lie as far apart are read in between.
_OUTPUT_IN_PAGES = 150


def fwd_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: there must be vectors, and what is copied must stay small."""
    return _refusal([fwd(problem)], problem, traits)


def bwd_data_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return the same; the gradient is a few convolutions at stride 1, over zero padding only."""
    return split_refusal(problem) or _refusal(bwd_data(problem), problem, traits)


def bwd_weights_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return the same where the output's gradient plays the weights."""
    return _refusal([bwd_weights(problem)], problem, traits)


def _has_channels_last(this: Pass, problem: ConvProblem, traits: Traits) -> bool:
    """Return whether the data are copied, once for all passes, with channels side by side.

    Sums over the channels of a tap, where these are more than a row has taps, then read what lies together; apart, the
    channels of a place are on a line and in a page each, which no processor fetches ahead. A copy that is not needed
    otherwise pays where the data are far and used often, if rows are read at strides, so that a tile uses little of a
    line, or planes are whole quarters of pages, whose lines take each other's place in caches.
    """
    sums_over_channels = this.walks[0].axes[2] == (1, 1)
    vectors = this.data_shape[1] // problem.G * problem.real_bytes // traits.vector_bytes
    if not sums_over_channels or not vectors:
        return False
    if math.prod(channels_last_shape(this, problem, traits, [axis.reach for axis in this.frame])) > LARGEST_COPY:
        return False
    values = math.prod(_frame_shape(this))
    is_far = values * problem.real_bytes >= _FAR_DATA
    plane = math.prod(window.extent for window in this.windows) * problem.real_bytes
    is_scattered = this.windows[2].stride > 1 or plane % (PAGE // 4) == 0
    pays = is_scattered and is_far and problem.macs >= _PRODUCTS_FOR_A_COPY * values
    return _must_be_copied(this, problem) or pays


def cost(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> float:
    """Return what passes over the same arrays cost for a group, in products, but for a copy of the data."""
    lays_out = channels_of_piece(passes, problem, traits) > 0
    is_turned = _has_channels_last(passes[0], problem, traits)
    total = 0.0
    for this in passes:
        skips = any(window.stride > window.kernel for window in this.windows)
        plane = math.prod(window.output for window in this.windows) * problem.real_bytes
        output = _OUTPUT_IN_PAGES if plane % PAGE == 0 and not is_turned else _OUTPUT
        product = _PRODUCT_OF_FAR_VALUES if skips else 1
        total += padded_products(this, problem, traits) * (this.terms * product + output)
        total += cost_of_weights(this, problem, traits, lays_out)
    return total


def plan_fwd(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan ``y = x * w (+ b)``: operands x, w, b, those of the epilogue, y."""
    passes = [fwd(problem)]
    return _plan(passes, problem, traits, channels_are_inner(passes))


def plan_bwd_data(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the data, or the transposed convolution: operands dy, w, b, the epilogue's, dx.

    At stride 1 that is one convolution of dy. Otherwise each remainder of the positions by the strides has its own
    taps, and is a convolution of its own, all of which read one copy of dy, and weights that are packed together.
    """
    passes = bwd_data(problem)
    return _plan(passes, problem, traits, channels_are_inner(passes))


def plan_bwd_weights(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the weight: operands x, dy, dw.

    ``dw[oc, icg, k]`` is the output of a convolution of x by dy that sums over the batch, at stride D and dilation S.
    """
    this = bwd_weights(problem)
    tiles = tiles_of_all_blocks(this, problem, traits)
    wanted = max(1, min(this.terms // _TERMS_PER_PART, _WORK_ITEMS // max(tiles, 1)))
    places = math.prod(window.kernel for window in this.windows)
    channels_inner = channels_are_inner([this]) and places >= wanted
    parts = max(1, min(wanted, places if channels_inner else this.rows))
    plan = _plan([this], problem, traits, channels_inner, parts)
    return plan if parts == 1 else weights_of_parts(problem, plan, parts)


def _copy(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> tuple[Plan, Sequence[int] | None]:
    """Plan the copy of the frame of the data, as reals, and return its strides, none where they are read in place."""
    this = passes[0]
    lows, reaches = zip(*this.frame, strict=True)
    if _has_channels_last(this, problem, traits):
        batch, *spatial, channel = _strides(channels_last_shape(this, problem, traits, reaches))
        return plan_channels_last(this, problem, traits, lows, reaches), (batch, channel, *spatial)
    if _must_be_copied(this, problem):
        return plan_copy(this, problem, traits, lows, reaches), _strides(_frame_shape(this))
    return NO_LAUNCHES, None


def _plan(passes: Sequence[Pass], problem: ConvProblem, traits: Traits, channels_inner: bool, parts: int = 1) -> Plan:
    """Plan passes over the same arrays, the sums of which may be cut into parts, each along rows of its inner axis."""
    copy, strides = _copy(passes, problem, traits)
    piece = 0 if parts > 1 else channels_of_piece(passes, problem, traits)
    plan = joined([copy, NO_LAUNCHES if piece else pack(passes, problem, traits, channels_inner)])
    starts = itertools.accumulate((packed_elements([this], problem, traits) for this in passes), initial=0)
    launches = tuple(
        _convolve(this, problem, traits, parts, start, strides, channels_inner, piece)
        for this, start in zip(passes, starts, strict=False)
    )
    plan = replace(plan, launches=(*plan.launches, *launches))
    if not piece:
        return plan
    this = reading(passes)[0]
    terms = piece * math.prod(window.kernel for window in this.windows)
    items = max(launch.items for launch in launches)
    pieces = {_pieces(this): items * terms * block(this, problem, traits) * problem.real_bytes}
    return replace(plan, workspace={**plan.workspace, **pieces})


def _pieces(this: Pass) -> str:
    """Return the name of the memory in which each work-item lays out a piece of the weights."""
    return f"{this.arrays[2]}_pieces"


def _convolve(
    this: Pass,
    problem: ConvProblem,
    traits: Traits,
    parts: int,
    packed_start: int,
    strides: Sequence[int] | None,
    channels_inner: bool,
    piece: int,
) -> Launch:
    """Return the launch of a pass over data, in place or in a copy with these strides, by the weights packed there.

    Or by weights of which each work-item lays out pieces of so many channels.
    """
    data, _, result = this.arrays
    numbers = {**this.sizes(problem.G), "packed_start": packed_start}
    walks = {"residual": this.walks[2], "y": this.walks[2]}
    if strides is None:
        walks["x"] = Walk((0, 0, *(-window.low for window in this.windows)), this.walks[0].axes)
    else:
        data = this.copy
        numbers |= _walk_of_copy(this, strides)
    run = run_of(this, problem, traits, parts, lays_out=piece > 0)
    bias = ("b",) if this.has_bias else ()
    given = {"x": data, **{name: name for name in (*bias, *this.epilogue.arrays)}}
    if piece:
        given |= {"w": this.arrays[1], "pieces": _pieces(this)}
        walks["w"] = this.walks[1]
    else:
        given["packed"] = packed_name(this)
    return Launch(
        "conv_direct.cl",
        "conv_direct",
        defines_of(this, problem, traits),
        parts * problem.G * blocks(this, problem, traits) * runs(this, problem, traits, run),
        {**given, "part": "dw_parts"} if parts > 1 else {**given, "y": result},
        {
            **numbers,
            "zero_padding": int(this.has_zero_padding),
            "PIECE": piece,
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
    packed = packed_elements(passes, problem, traits)
    inflation = padded_channels(this, problem, traits) / max(this.OC, 1)
    if packed > _SMALL_WEIGHTS and inflation > _LARGEST_INFLATION:
        return f"packing makes {packed} elements of weights for {this.OC} channels, {inflation:.3g} times as many"
    if packed > _LARGEST_WEIGHTS:
        return f"{packed} elements of weights to pack are more than {_LARGEST_WEIGHTS}"
    copied = math.prod(_frame_shape(this))
    if _must_be_copied(this, problem) and copied > LARGEST_COPY:
        return f"{copied} elements to copy with their padding are more than {LARGEST_COPY}"
    return None
