"""Convolution in vectors that lie within the rows of outputs (kernels/conv_lines.cl).

For sums of few terms: what :mod:`conv_rows` computes in tiles across the ends of rows it must take apart to store it.
"""

from __future__ import annotations

import math

from clconv.algorithms.conv_passes import Pass
from clconv.algorithms.conv_split import is_gapless, lanes_of, plan_launch
from clconv.plan import Plan, Traits
from clconv.problem import ConvProblem

__all__ = ["cost", "plan_lines", "refusal"]

#: Output channels and vectors of a tile by the width of registers, as in the table of native kernels.
_TILES = {16: (6, 2), 32: (6, 2), 64: (8, 3)}
#: Vectors of a work-item, at most, as in the kernel file; and work-items that keep threads busy.
_MOST_VECTORS, _WORK_ITEMS = 48, 64
# Costs, in products of a direct convolution.
#: A product, and storing an output.
_PRODUCT, _OUTPUT = 1.2, 30


def refusal(this: Pass, problem: ConvProblem, traits: Traits) -> str | None:
    """Return why a pass is not computed so."""
    channels, _ = _TILES[traits.vector_bytes]
    lanes, width = lanes_of(problem, traits), this.windows[2].output
    if problem.dtype == "float16":
        return "halves are converted one by one as weights"
    if channels > this.OC or not this.terms:
        return f"{this.OC} output channels are fewer than {channels}"
    if not lanes <= width <= lanes * _MOST_VECTORS:
        return f"rows of {width} outputs do not hold {lanes} to {lanes * _MOST_VECTORS}"
    if this.walks[2].axes[5][1] != 1:
        return "outputs of a row are no neighbours"
    if is_gapless(this):
        return "nothing lies between the rows of a plane, which are one"
    return None


def cost(this: Pass, problem: ConvProblem, traits: Traits) -> float:
    """Return what a pass costs for a group."""
    channels, pixels = _TILES[traits.vector_bytes]
    tiles = 0
    for rows, bands in _bands(this, problem, traits):
        tiles += bands * -(-rows * _vectors_of_row(this, problem, traits) // pixels)
    outputs = this.N * -(-this.OC // channels) * channels * tiles * pixels * lanes_of(problem, traits)
    return outputs * (this.terms * _PRODUCT + _OUTPUT)


def plan_lines(this: Pass, problem: ConvProblem, traits: Traits) -> Plan:
    """Plan a pass over the copy of its data, or over the data where they lie."""
    channels, pixels = _TILES[traits.vector_bytes]
    (rows, bands), (_, rest) = _bands(this, problem, traits)
    items = this.N * problem.G * -(-this.OC // channels) * (bands + rest)
    defines = ("CHANNELS", channels), ("PIXELS", pixels)
    return plan_launch(this, problem, traits, "conv_lines", defines, items, {"ROWS": rows})


def _bands(this: Pass, problem: ConvProblem, traits: Traits) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return how many rows of a plane work-items compute, and how many do: of whole tiles, and of what is left.

    As many as a work-item holds, but few enough to keep threads busy.
    """
    channels, pixels = _TILES[traits.vector_bytes]
    all_rows = math.prod(window.output for window in this.windows[:2])
    of_row = _vectors_of_row(this, problem, traits)
    least = pixels // math.gcd(pixels, of_row)
    wanted = min(_MOST_VECTORS // of_row, all_rows * this.N * problem.G * -(-this.OC // channels) // _WORK_ITEMS)
    rows = min(max(1, wanted // least) * least, all_rows, _MOST_VECTORS // of_row)
    return (rows, all_rows // rows), (all_rows % rows, int(all_rows % rows > 0))


def _vectors_of_row(this: Pass, problem: ConvProblem, traits: Traits) -> int:
    return -(-this.windows[2].output // lanes_of(problem, traits))
