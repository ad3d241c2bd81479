"""Convolution in vectors that lie within the rows of outputs (kernels/conv_lines.cl).

For sums of few terms, because :mod:`conv_rows` must take its tiles, which cross the ends of rows, apart to store them;
and for few output channels by large windows, because a channel's taps follow each other here.
"""

from __future__ import annotations

import math

from clconv.algorithms.conv_passes import Pass
from clconv.algorithms.conv_split import is_gapless, plan_launch
from clconv.plan import Plan, Traits
from clconv.problem import ConvProblem

__all__ = ["cost", "plan_lines", "refusal"]

#: Output channels and vectors of a tile by the width of registers, as in the table of native kernels.
_NARROW_TILES = ((1, 8), (2, 4), (3, 3), (4, 3), (6, 2))
_TILES = {16: _NARROW_TILES, 32: _NARROW_TILES, 64: ((1, 8), (2, 8), (3, 6), (4, 6), (8, 3))}
#: Vectors of a work-item, at most, as in the kernel file; and work-items that keep threads busy.
_MOST_VECTORS, _WORK_ITEMS = 48, 64
# Costs, in products of a direct convolution.
#: A product, and storing an output.
_PRODUCT, _OUTPUT = 1.2, 30
#: Listing a term of a work-item, for each lane of a vector: as long as that takes, vectors are not computed.
_LISTED = 11
#: How many times as much a product costs in tiles of few channels, for which vectors are loaded more often; and where
#: so many taps use what was read of a row.
_FEW_CHANNELS = {1: 2, 2: 1.6, 3: 1.25, 4: 1.35}
_FEW_CHANNELS_OF_MANY_TAPS = {1: 1.5, 2: 1.2, 3: 1.05, 4: 1.05}
_MANY_TAPS = 5


def refusal(this: Pass, problem: ConvProblem, traits: Traits) -> str | None:
    """Return why a pass is not computed so."""
    lanes, width = traits.lanes(problem.real_bytes), this.windows[2].output
    if problem.dtype == "float16":
        return "halves are converted one by one as weights"
    if not (this.OC and this.terms):
        return "there is nothing to sum"
    *_, (_, step) = this.walks[2].axes
    if step != 1:
        return f"every {step} places of a row have an output of this pass"
    if is_gapless(this):
        return "nothing lies between the rows of a plane, which are one"
    if not lanes <= width <= lanes * _MOST_VECTORS:
        return f"rows of {width} outputs do not hold {lanes} to {lanes * _MOST_VECTORS}"
    return None


def cost(this: Pass, problem: ConvProblem, traits: Traits) -> float:
    """Return what a pass costs for a group."""
    return _cost_in(_tile(this, problem, traits), this, problem, traits)


def _cost_in(tile: tuple[int, int], this: Pass, problem: ConvProblem, traits: Traits) -> float:
    channels, pixels = tile
    of_row, all_bands = _vectors_of_row(this, problem, traits), _bands(tile, this, problem, traits)
    lanes = this.N * -(-this.OC // channels) * traits.lanes(problem.real_bytes)
    outputs = lanes * channels * pixels * sum(bands * -(-rows * of_row // pixels) for rows, bands in all_bands)
    factors = _FEW_CHANNELS_OF_MANY_TAPS if this.windows[2].kernel >= _MANY_TAPS else _FEW_CHANNELS
    listed = lanes * sum(bands for _, bands in all_bands) * this.terms
    return outputs * (this.terms * _PRODUCT * factors.get(channels, 1) + _OUTPUT) + listed * _LISTED


def _tile(this: Pass, problem: ConvProblem, traits: Traits) -> tuple[int, int]:
    """Return the output channels and the vectors of a tile that cost least."""
    tiles = (tile for tile in _TILES[traits.vector_bytes] if tile[0] <= this.OC)
    return min(tiles, key=lambda tile: _cost_in(tile, this, problem, traits))


def plan_lines(this: Pass, problem: ConvProblem, traits: Traits) -> Plan:
    """Plan a pass over the copy of its data, or over the data where they lie."""
    tile = _tile(this, problem, traits)
    (rows, bands), (_, rest) = _bands(tile, this, problem, traits)
    items = this.N * problem.G * -(-this.OC // tile[0]) * (bands + rest)
    defines = ("CHANNELS", tile[0]), ("PIXELS", tile[1])
    return plan_launch(this, problem, traits, "conv_lines", defines, items, {"ROWS": rows}, rows_together=True)


def _bands(
    tile: tuple[int, int], this: Pass, problem: ConvProblem, traits: Traits
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return how many rows of a plane work-items compute, and how many do: of whole tiles, and of what is left.

    As many as a work-item holds, but few enough to keep threads busy.
    """
    channels, pixels = tile
    all_rows = math.prod(window.output for window in this.windows[:2])
    of_row = _vectors_of_row(this, problem, traits)
    least = pixels // math.gcd(pixels, of_row)
    wanted = min(_MOST_VECTORS // of_row, all_rows * this.N * problem.G * -(-this.OC // channels) // _WORK_ITEMS)
    rows = min(max(1, wanted // least) * least, all_rows, _MOST_VECTORS // of_row)
    return (rows, all_rows // rows), (all_rows % rows, int(all_rows % rows > 0))


def _vectors_of_row(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    return -(-this.windows[2].output // traits.lanes(problem.real_bytes))
