"""Winograd's short convolutions, for processors (kernels/conv_winograd.cl).

Tiles of four outputs, along width and height or one of them, from six products in place of twelve: of 4x4 outputs from 36
in place of 144. What the transforms of weights, data and sums cost besides must be less than what is saved.
"""

from __future__ import annotations

import math
from dataclasses import replace

from clconv.algorithms.conv_passes import Pass, bwd_data, fwd, is_split, planned
from clconv.plan import Launch, Plan, Traits, Walk
from clconv.problem import ConvProblem
from clconv.problem.window import PADDING_MODES

__all__ = ["bwd_data_refusal", "fwd_refusal", "plan_bwd_data", "plan_fwd"]

#: Outputs of a tile along each axis with three taps.
_TILE = 4
#: Vectors of output channels of a work-item, and numbers of tiles that there is code for, by the width of registers: as in
#: the kernel file.
_VECTORS = 2
_COUNTS = {64: (4, 8, 11, 14), 32: (4, 6), 16: (4, 6)}
#: Input channels whose weights a work-item transforms.
_RUN = 16
#: Bytes of transformed data that stay in a cache until they are multiplied.
_NEAR = 2**22
#: Bytes of transformed weights and data at most.
_LARGEST = 2**29


def fwd_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why the forward pass is not computed this way, or None if it is."""
    return _shape_refusal(problem, traits) or _cost_refusal(fwd(problem), problem, traits)


def bwd_data_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return the same of the gradient of the data, over zero padding only."""
    refusal = _shape_refusal(problem, traits)
    if refusal is None and not is_split(problem):
        refusal = f"the gradient over {problem.padding_mode} padding is not one convolution"
    return refusal or _cost_refusal(bwd_data(problem)[0], problem, traits)


def plan_fwd(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan ``y = x * w (+ b)``: operands x, w, b, those of the epilogue, y."""
    return _plan(fwd(problem), problem, traits)


def plan_bwd_data(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the data, or the transposed convolution: operands dy, w, b, the epilogue's, dx."""
    return _plan(bwd_data(problem)[0], problem, traits)


def _plan(this: Pass, problem: ConvProblem, traits: Traits) -> Plan:
    data, weights, result = this.arrays
    packed, values = f"{result}_packed", f"{data}_transformed_for_{result}"
    lanes = traits.vector_bytes // problem.real_bytes
    block = _VECTORS * lanes
    defines = _defines(this, problem, traits)
    tile_h, tile_w = _tile(this)
    points = _points(this)
    inner = -(-this.IC // lanes)
    numbers = {**this.sizes(problem.G), "padding_mode": PADDING_MODES.index(this.padding_mode)}
    reads = {"x": this.walks[0], "w": this.walks[1]}
    weight_elements = problem.G * -(-this.OC // block) * points * (this.IC * block + lanes)
    weight_launch = Launch(
        "conv_winograd.cl",
        "transform_weights",
        defines,
        problem.G * -(-this.OC // lanes) * -(-this.IC // _RUN),
        {"w": weights, "packed": packed},
        {**numbers, "RUN": _RUN},
        weight_elements,
        local_size=1,
        walks={"w": this.walks[1]},
    )
    tiles = _tiles(this)
    count = _count(tiles, traits)
    blocks = -(-tiles // count)
    elements_of_block = problem.G * points * (inner * count * lanes + lanes)
    stages = max(1, blocks * elements_of_block * problem.real_bytes // _NEAR)
    blocks_of_stage = -(-blocks // stages)
    bias = ("b",) if this.has_bias else ()
    launches = [weight_launch]
    for begin in range(0, tiles, blocks_of_stage * count):
        end = min(begin + blocks_of_stage * count, tiles)
        those = {**numbers, "BEGIN": begin, "END": end, "TILES": count}
        staged = -(-(end - begin) // count)
        launches.append(
            Launch(
                "conv_winograd.cl",
                "transform_data",
                defines,
                problem.G * staged * inner,
                {"x": data, "values": values},
                those,
                8 * staged * elements_of_block,
                local_size=1,
                walks={"x": this.walks[0]},
            )
        )
        launches.append(
            Launch(
                "conv_winograd.cl",
                "multiply_tiles",
                defines,
                problem.G * -(-this.OC // block) * staged,
                {
                    "x": data,
                    "w": weights,
                    "packed": packed,
                    "values": values,
                    **{name: name for name in (*bias, *this.epilogue.arrays)},
                    "y": result,
                },
                {**those, "has_bias": int(this.has_bias), **this.epilogue.numbers()},
                2 * problem.macs * (end - begin) // tiles,
                local_size=1,
                walks={**reads, "residual": this.walks[2], "y": this.walks[2]},
            )
        )
    workspace = {packed: weight_elements, values: blocks_of_stage * elements_of_block}
    return Plan(tuple(launches), {name: size * problem.real_bytes for name, size in workspace.items()})


def _shape_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    if not traits.vector_bytes:
        return "the device is no processor"
    if problem.dtype == "float16":
        return "the transforms of halves would lose too much"
    kernel = tuple(window.kernel for window in problem.windows)
    if kernel not in ((1, 3, 3), (1, 1, 3), (1, 3, 1)):
        return f"a kernel of {'x'.join(map(str, kernel[3 - problem.rank:]))} is not of 3 taps along one or two axes"
    if any(window.stride != 1 or window.dilation != 1 for window in problem.windows):
        return "stride and dilation are not 1"
    return None


def _cost_refusal(this: Pass, problem: ConvProblem, traits: Traits) -> str | None:
    if not this.outputs or not this.OC or not this.IC:
        return "there is nothing to sum"
    return None


def _tile(this: Pass) -> tuple[int, int]:
    """Return the outputs of a tile along height and width."""
    height, width = (_TILE if window.kernel == 3 else 1 for window in this.windows[1:])
    return height, width


def _points(this: Pass) -> int:
    """Return how many numbers a tile is transformed into."""
    return math.prod(tile + 2 if tile > 1 else 1 for tile in _tile(this))


def _tiles(this: Pass) -> int:
    """Return the tiles of a channel, over all samples."""
    depth, height, width = (window.output for window in this.windows)
    tile_h, tile_w = _tile(this)
    return this.N * depth * -(-height // tile_h) * -(-width // tile_w)


def _count(tiles: int, traits: Traits) -> int:
    """Return how many tiles a work-item takes, so that the fewest are computed in vain."""
    counts = _COUNTS[traits.vector_bytes]

    def computed(count: int) -> int:
        rest = tiles % count
        return tiles - rest + min((c for c in counts if c >= rest), default=0) * (rest > 0)

    return min(counts, key=lambda count: (computed(count), -count))


def _defines(this: Pass, problem: ConvProblem, traits: Traits) -> tuple[tuple[str, int], ...]:
    kernel = tuple(zip(("KH", "KW"), (window.kernel for window in this.windows[1:]), strict=True))
    return (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes), *kernel, ("TILE", _TILE))
