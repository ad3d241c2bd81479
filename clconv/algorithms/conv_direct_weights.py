"""The weights of a direct convolution: packed before by work-items of their own, or by each that uses them.

Packed before, they are written to memory and read again. A work-item that lays out what it is about to use has it in
the nearest cache, but others, with other outputs of the same channels, lay out the same: that pays for few outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from clconv.algorithms.conv_direct_tiles import blocks, defines_of, padded_channels, run_of, runs
from clconv.algorithms.conv_passes import OPERATIONS_OF_A_COPY, Pass, by_axis, weights_walk
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ConvProblem

__all__ = [
    "channels_are_inner",
    "channels_of_piece",
    "cost_of_weights",
    "pack",
    "packed_elements",
    "packed_name",
    "reading",
]

#: Taps that a work-item lays out, but whole windows: reading that many together uses whole cache lines of each channel.
_TAPS_OF_ITEM = 96
#: Elements among which the taps of a channel may lie to be packed by lines: as in kernels/pack_weights.h.
_LONGEST_LINE = 64
#: Vectors of the weights that a work-item lays out at once, about; and of windows with so many taps, of which there
#: would be few channels else.
_VECTORS_OF_PIECE, _VECTORS_OF_LONG_PIECE = 256, 512
_MANY_TAPS = 10

# What packing costs, in products of a direct convolution.
#: Packing a weight.
_WEIGHT = 40
#: Packing a weight of so many that they come from memory.
_FAR_WEIGHT = 60
_FAR_WEIGHTS = 2**20
#: Packing a lane of the vectors that hold the weights between two channels that trade places, by lines.
_LINE = 30
#: Packing a weight where channels trade places and lines would be too long.
_TURNED_WEIGHT = 150
#: Laying out a weight to use it at once, and a lane of the vectors that hold such weights.
_LAID_OUT_WEIGHT, _LAID_OUT_LINE = 16, 25


def pack(passes: Sequence[Pass], problem: ConvProblem, traits: Traits, channels_inner: bool) -> Plan:
    """Plan the packing of the weights, all taps of one pass after those of another."""
    this = reading(passes)[0]
    defines = defines_of(this, problem, traits)
    is_parted = len(reading(passes)) > 1
    windows = problem.windows if is_parted else this.windows
    walk = weights_walk(problem.OCG, (1, 1), (0, 1)) if is_parted else this.walks[1]
    window = math.prod(window.kernel for window in windows)
    taps_of_item = _TAPS_OF_ITEM // window * window or _TAPS_OF_ITEM
    packed, places = packed_name(this), f"{packed_name(this)}_places"
    size = packed_elements(passes, problem, traits)
    launch = Launch(
        "conv_direct.cl",
        "pack_weights",
        defines,
        problem.G * blocks(this, problem, traits) * -(-this.IC * window // taps_of_item),
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


def reading(passes: Sequence[Pass]) -> Sequence[Pass]:
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


def packed_name(this: Pass) -> str:
    """Return the name of the packed weights."""
    return f"{this.arrays[2]}_packed"


def channels_of_piece(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> int:
    """Return how many input channels of the weights a work-item lays out at once, 0 where all are packed before."""
    this = reading(passes)[0]
    window = math.prod(window.kernel for window in this.windows)
    has_neighbours = len(passes) == 1 or all(window.kernel == 1 for window in problem.windows)
    if (traits.prepared and this.arrays[1] == "w") or not has_neighbours or not channels_are_inner(passes):
        return 0
    if window > _LONGEST_LINE or _packing(this, problem, traits) < _laying_out(this, problem, traits):
        return 0
    vectors = _VECTORS_OF_PIECE if window < _MANY_TAPS else _VECTORS_OF_LONG_PIECE
    vectors_of_channel = window * dict(defines_of(this, problem, traits))["VECTORS"]
    return min(this.IC, max(1, vectors // vectors_of_channel))


def cost_of_weights(this: Pass, problem: ConvProblem, traits: Traits, lays_out: bool) -> float:
    """Return what packing or laying out the weights of a pass costs for a group, in products."""
    if traits.prepared and this.arrays[1] == "w":
        return 0
    return this.IC * (_laying_out if lays_out else _packing)(this, problem, traits)


def _packing(this: Pass, problem: ConvProblem, traits: Traits) -> float:
    """Return what packing the taps of an input channel costs."""
    window = math.prod(window.kernel for window in problem.windows)
    taps = math.prod(window.kernel for window in this.windows)
    if math.prod(problem.weight_shape) >= _FAR_WEIGHTS:
        return _FAR_WEIGHT * this.OC * taps
    if this.walks[1].axes[1] != (1, 1) or window == 1:
        return _WEIGHT * this.OC * taps
    if window > _LONGEST_LINE:
        return _TURNED_WEIGHT * this.OC * taps
    return _LINE * _lanes_of_lines(this, problem, traits, window) * taps / window


def _laying_out(this: Pass, problem: ConvProblem, traits: Traits) -> float:
    """Return what laying out the taps of an input channel costs, in all runs of outputs."""
    window = math.prod(window.kernel for window in this.windows)
    times = runs(this, problem, traits, run_of(this, problem, traits, 1, lays_out=True))
    if this.walks[1].axes[1] != (1, 1) or window == 1:
        return times * _LAID_OUT_WEIGHT * padded_channels(this, problem, traits) * window
    return times * _LAID_OUT_LINE * _lanes_of_lines(this, problem, traits, window)


def _lanes_of_lines(this: Pass, problem: ConvProblem, traits: Traits, window: int) -> int:
    """Return how many lanes the vectors have that hold the lines of an input channel."""
    lanes = traits.lanes(problem.real_bytes)
    return padded_channels(this, problem, traits) * -(-window // lanes) * lanes


def channels_are_inner(passes: Sequence[Pass]) -> bool:
    """Return whether the innermost sum is over the channels of a tap, not over a row of taps: the longer one."""
    return all(this.windows[2].kernel <= this.IC for this in reading(passes))


def packed_elements(passes: Sequence[Pass], problem: ConvProblem, traits: Traits) -> int:
    """Return how many elements the packed weights of these passes have: of all taps, if several read some."""
    this = reading(passes)[0]
    windows = this.windows if len(reading(passes)) == 1 else problem.windows
    taps = this.IC * math.prod(window.kernel for window in windows)
    return problem.G * padded_channels(this, problem, traits) * taps
