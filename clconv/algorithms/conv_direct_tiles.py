"""How a direct convolution is cut into tiles of channels by outputs, and these into runs for work-items."""

from __future__ import annotations

import math

from clconv.algorithms.conv_passes import NEAR_BYTES, Pass
from clconv.plan import Traits
from clconv.problem import ConvProblem

__all__ = [
    "block",
    "blocks",
    "defines_of",
    "padded_channels",
    "padded_products",
    "run_of",
    "runs",
    "tiles_of_all_blocks",
]

#: Outputs in a tile by the vectors of channels, in registers of 64 bytes and in narrower ones: as in the table of
#: native kernels.
_WIDE_TILES = {1: (12,), 2: (8, 10), 3: (8,)}
_TILES = {1: (12,), 2: (6,)}
#: What the products of a vector cost in tiles of so many, for which each value of x is loaded.
_COSTS = {1: 1.5, 2: 1.0, 3: 1.0}

#: Work-items that keep threads busy, and so many where each lays out weights before its first product; and the most
#: tiles of one: as in the kernel file.
_WORK_ITEMS, _FEW_WORK_ITEMS = 64, 16
_LONGEST_RUN, _LONGEST_RUN_OF_PACKED = 20, 8


def defines_of(this: Pass, problem: ConvProblem, traits: Traits) -> tuple[tuple[str, int], ...]:
    """Return what the kernels are compiled with.

    That is as many vectors as make the products of all channels cost least, the same for all passes of a gradient, and
    the tile that leaves the fewest outputs empty.
    """
    lanes = traits.lanes(problem.real_bytes)
    tiles = _WIDE_TILES if traits.vector_bytes == 64 else _TILES
    vectors = min(tiles, key=lambda count: (-(-this.OC // (count * lanes)) * count * _COSTS[count], -count))
    tile = min(tiles[vectors], key=lambda tile: -(-this.outputs // tile) * tile)
    return (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes), ("VECTORS", vectors), ("TILE", tile))


def block(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    """Return the output channels of a work-item."""
    return dict(defines_of(this, problem, traits))["VECTORS"] * traits.lanes(problem.real_bytes)


def blocks(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    """Return how many blocks hold the output channels of a group."""
    return -(-this.OC // block(this, problem, traits))


def padded_channels(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    """Return the output channels of a group in all lanes of all vectors."""
    return blocks(this, problem, traits) * block(this, problem, traits)


def padded_products(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    """Return how many products of a weight and a value this algorithm forms for a tap, in all lanes of all tiles."""
    tile = _tile(this, problem, traits)
    return padded_channels(this, problem, traits) * -(-this.outputs // tile) * tile


def tiles_of_all_blocks(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    """Return how many tiles there are, in all blocks of channels."""
    return problem.G * blocks(this, problem, traits) * runs(this, problem, traits, 1)


def runs(this: Pass, problem: ConvProblem, traits: Traits, run: int) -> int:
    """Return the runs of so many tiles in a block of channels."""
    return -(-this.outputs // (run * _tile(this, problem, traits)))


def run_of(this: Pass, problem: ConvProblem, traits: Traits, parts: int, lays_out: bool) -> int:
    """Return the tiles of a work-item, which may lay out its weights, but for the last one of a block of channels.

    What they read should stay near, because the next block reads the same, where blocks come first.
    """
    tiles = parts * tiles_of_all_blocks(this, problem, traits)
    if lays_out:
        longest = min(_LONGEST_RUN, tiles // _FEW_WORK_ITEMS)
    else:
        longest = min(_LONGEST_RUN_OF_PACKED, tiles // _WORK_ITEMS)
    read = this.IC * math.prod(min(window.kernel, window.stride) for window in this.windows) * problem.real_bytes
    longest = min(longest, NEAR_BYTES // max(1, read * _tile(this, problem, traits)))
    tiles_of_block = max(1, runs(this, problem, traits, 1))
    return -(-tiles_of_block // -(-tiles_of_block // max(1, longest)))


def _tile(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    """Return the outputs in a tile."""
    return dict(defines_of(this, problem, traits))["TILE"]
