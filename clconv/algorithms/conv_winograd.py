"""Winograd's short convolutions, for processors (kernels/conv_winograd.cl).

Four outputs along an axis come from six products in place of twelve, 4x4 outputs from 36 in place of 144; or 2x2
outputs from 16 in place of 36. The transforms of weights, data and sums must cost less than what is saved.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from clconv.algorithms.algorithm import no_vectors
from clconv.algorithms.conv_direct_weights import channels_of_piece, cost_of_weights
from clconv.algorithms.conv_passes import LARGEST_COPY, Pass, bwd_data, fwd, is_product, split_refusal
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ConvProblem
from clconv.problem.window import PADDING_MODES, Window

__all__ = [
    "bwd_data_refusal",
    "fwd_refusal",
    "plan_bwd_data",
    "plan_fwd",
    "shape_refusal",
    "tiles_along",
    "times_apart",
]

_FILE = "conv_winograd.cl"
#: Taps along height and width that there is code for, with the outputs of their tiles along each axis of three taps.
_TILES = {(3, 3): (4, 2), (1, 3): (4,), (3, 1): (4,)}
#: Vectors of output channels of a work-item, and numbers of tiles that there is code for, by the width of registers.
_VECTORS = 2
_COUNTS = {64: (4, 8, 11, 14), 32: (4, 6), 16: (4, 6)}
#: Input channels whose weights a work-item transforms.
_RUN = 16
#: Bytes of transformed data that stay in a cache until they are multiplied, and of weights that do; and by how many
#: blocks of channels weights are cut.
_NEAR_DATA = 2**22
_NEAR_WEIGHTS = 2**22
_BLOCKS_TOGETHER = 4
#: From how many summed channels on products are summed point by point, if output channels are at most so many times as
#: many; in work-items of so many runs of tiles; and how many bytes of data and sums, and of weights, there then are at
#: a time.
_MANY_CHANNELS = 112
_MOST_SUMS = 2
_RUNS = 16
_STAGE_DATA = 2**25
_STAGE_WEIGHTS = 2**25
#: Bytes of weights that stay beside data in the cache next to a processor, and of weights that come from memory.
_FEW_WEIGHTS = 2**20
_MANY_WEIGHTS = 2**22
#: What the transforms of data, sums and weights cost for each vector of numbers that they make or take, in
#: multiply-adds of a vector, and to read weights that come from memory.
_DATA, _SUMS, _WEIGHTS, _FAR_WEIGHTS = 12, 11, 28, 10
#: How many times as much those of data and sums cost where each second position of a row is of use, or fewer are.
_EVERY_SECOND, _FEWER = 1.75, 3
#: How many times as much a direct convolution must cost, which takes less time for it and is more accurate.
_WORTH_IT = 1.15


class Tiling(NamedTuple):
    """A pass cut into tiles, and how its transformed arrays lie in memory: in the letters of the kernel file."""

    this: Pass
    G: int
    tile: int
    real_bytes: int
    vector_bytes: int
    prepared: bool

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return self.vector_bytes // self.real_bytes

    @property
    def block(self) -> int:
        """Output channels of a work-item."""
        return _VECTORS * self.lanes

    @property
    def points(self) -> int:
        """Numbers that a tile is transformed into."""
        return math.prod(self.tile + 2 for window in self.this.windows[1:] if window.kernel == 3)

    @property
    def tiles(self) -> int:
        """Tiles of a channel, over all samples."""
        depth, *plane = self.this.windows
        tiles = (tiles_along(window, self.tile) if window.kernel == 3 else window.output for window in plane)
        return self.this.N * depth.output * math.prod(tiles)

    @property
    def run(self) -> int:
        """Tiles of a work-item: as many as compute few in vain, and read the weights seldom."""
        counts = reversed(_COUNTS[self.vector_bytes])
        return min(counts, key=lambda count: self._computed(count) + -(-self.tiles // count))

    @property
    def depth(self) -> int:
        """Taps along depth, which are summed over like input channels."""
        return self.this.windows[0].kernel

    @property
    def inner(self) -> int:
        """Vectors of input channels, for all taps along depth."""
        return self.depth * -(-self.this.IC // self.lanes)

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return -(-self.this.OC // self.block)

    @property
    def block_elements(self) -> int:
        """Elements of the transformed weights of a block of output channels, in all groups."""
        return self.G * self.points * (self.depth * self.this.IC * self.block + self.lanes)

    @property
    def near_blocks(self) -> int:
        """Blocks of output channels whose weights are transformed before they are multiplied."""
        if self.prepared or self.stage < self.tiles:  # all are kept, or every stage of the data needs them
            return self.blocks
        near = _STAGE_WEIGHTS if self.by_point else _NEAR_WEIGHTS
        parts = -(-self.blocks * self.block_elements * self.real_bytes // near)
        together = -(-self.blocks // (parts * _BLOCKS_TOGETHER)) * _BLOCKS_TOGETHER
        return min(together, self.blocks)

    @property
    def weight_elements(self) -> int:
        """Elements of the transformed weights that are kept at a time."""
        return self.near_blocks * self.block_elements

    @property
    def data_elements(self) -> int:
        """Elements of the transformed data of a work-item's tiles, in all groups."""
        return self.G * self.points * (self.inner * self.run + 1) * self.lanes

    @property
    def product_elements(self) -> int:
        """Elements of the sums of a tile's products, in all groups and the blocks of channels of a stage."""
        return self.G * self.points * self.near_blocks * self.block

    @property
    def by_point(self) -> bool:
        """Whether the products of all tiles are summed point by point, and their sums transformed after them.

        Each number of the data and weights is then read from far memory once in a stage, but sums go there and back.
        """
        return max(_MANY_CHANNELS, self.this.OC / _MOST_SUMS) <= self.depth * self.this.IC

    @property
    def stage(self) -> int:
        """Tiles whose data are transformed before they are multiplied."""
        runs = -(-self.tiles // self.run)
        elements, near = self.data_elements, _NEAR_DATA
        if self.by_point:
            elements, near = elements + self.run * self.G * self.points * self.blocks * self.block, _STAGE_DATA
        stages = -(-runs * elements * self.real_bytes // near)
        return -(-runs // stages) * self.run

    @property
    def channels_first(self) -> bool:
        """Whether work-items that follow each other take all blocks of channels of a run of tiles: if weights are few.

        Each thread then multiplies the data that it has transformed, by weights that stay in its cache.
        """
        has_few = self.near_blocks == self.blocks and self.weight_elements * self.real_bytes <= _FEW_WEIGHTS
        return has_few and not self.by_point

    @property
    def cost(self) -> float:
        """How many multiply-adds of a vector everything takes, with weights that are transformed or not."""
        OC, IC = self.blocks * _VECTORS, self.depth * self.this.IC
        is_far = self.weight_elements * self.real_bytes > _MANY_WEIGHTS
        products = self._computed(self.run) * OC * IC
        transforms = times_apart(self.this.windows[2]) * self.tiles * (_DATA * self.inner + _SUMS * OC)
        transforms_of_weights = 0 if self.prepared else _WEIGHTS
        weights = OC * IC * (transforms_of_weights + _FAR_WEIGHTS * is_far)
        return self.G * self.points * (products + transforms + weights)

    def _computed(self, count: int) -> int:
        """Return how many tiles are computed, ``count`` at a time."""
        rest = self.tiles % count
        return self.tiles - rest + min(c for c in (0, *_COUNTS[self.vector_bytes]) if c >= rest)


def tiles_along(window: Window, tile: int) -> int:
    """Return how many tiles of so many outputs an axis of three taps has: of each phase of its dilation."""
    phases = min(window.dilation, window.output)
    return phases * -(-window.output // (window.dilation * tile))


def times_apart(window: Window) -> float:
    """Return how many times as much transforms cost whose positions along the width lie the dilation apart."""
    return {1: 1, 2: _EVERY_SECOND}.get(window.dilation, _FEWER) if window.kernel == 3 else 1


def fwd_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: there must be three taps, and few transforms for the products that they save."""
    return shape_refusal(problem, traits) or _cost_refusal(fwd(problem), problem, traits)


def bwd_data_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return the same of the gradient of the data, over zero padding only."""
    if is_product(problem):
        return "it is a matrix product"
    refusal = shape_refusal(problem, traits) or split_refusal(problem)
    return refusal or _cost_refusal(bwd_data(problem)[0], problem, traits)


def plan_fwd(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan ``y = x * w (+ b)``: operands x, w, b, those of the epilogue, y."""
    return _plan(fwd(problem), problem, traits)


def plan_bwd_data(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the data, or the transposed convolution: operands dy, w, b, the epilogue's, dx."""
    return _plan(bwd_data(problem)[0], problem, traits)


def _plan(this: Pass, problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the transform of the data, and then, block by block, that of the weights, the products and the outputs.

    Data or weights that are too many to stay in a cache are transformed in stages.
    """
    tiling = _tiling(this, problem, traits)
    if tiling.near_blocks < tiling.blocks:
        launches = [_data(tiling, problem, 0)]
        for block in range(0, tiling.blocks, tiling.near_blocks):
            launches += [_weights(tiling, problem, block), *_outputs(tiling, problem, 0, block)]
    else:
        launches = [_weights(tiling, problem, 0)]
        for begin in range(0, tiling.tiles, tiling.stage):
            launches += [_data(tiling, problem, begin), *_outputs(tiling, problem, begin, 0)]
    packed, values, products = _workspace(this)
    elements = {packed: tiling.weight_elements, values: tiling.stage // tiling.run * tiling.data_elements}
    if tiling.by_point:
        elements[products] = tiling.stage * tiling.product_elements
    return Plan(tuple(launches), {name: size * problem.real_bytes for name, size in elements.items()})


def _workspace(this: Pass) -> tuple[str, str, str]:
    """Return the names of the transformed weights and data, and of the sums of their products."""
    data, _, result = this.arrays
    return f"{result}_packed", f"{data}_transformed_for_{result}", f"{result}_transformed"


def _weights(tiling: Tiling, problem: ConvProblem, block: int) -> Launch:
    """Return the transform of the weights of a stage of output channels, from a block on."""
    this, end = tiling.this, min(block + tiling.near_blocks, tiling.blocks)
    return Launch(
        _FILE,
        "transform_weights",
        _defines(tiling, problem),
        problem.G * (end - block) * -(-tiling.depth * this.IC // _RUN),
        {"w": this.arrays[1], "packed": _workspace(this)[0]},
        {**this.sizes(problem.G), "RUN": _RUN, "FROM": block, "TO": end},
        _WEIGHTS * (end - block) * tiling.block_elements,
        local_size=1,
        walks={"w": this.walks[1]},
    )


def _data(tiling: Tiling, problem: ConvProblem, begin: int) -> Launch:
    """Return the transform of the data of a stage of tiles, from ``begin`` on."""
    this, numbers = tiling.this, _stage(tiling, problem, begin)
    runs = -(-(numbers["END"] - begin) // tiling.run)
    return Launch(
        _FILE,
        "transform_data",
        _defines(tiling, problem),
        problem.G * runs * tiling.inner,
        {"x": this.arrays[0], "values": _workspace(this)[1]},
        numbers,
        _DATA * runs * tiling.data_elements,
        local_size=1,
        walks={"x": this.walks[0]},
    )


def _outputs(tiling: Tiling, problem: ConvProblem, begin: int, block: int) -> list[Launch]:
    """Return the products of a stage of tiles and one of output channels, and their transform into outputs."""
    this, numbers = tiling.this, _stage(tiling, problem, begin)
    packed, values, products = _workspace(this)
    data, weights, result = this.arrays
    end, count = min(block + tiling.near_blocks, tiling.blocks), numbers["END"] - begin
    numbers |= {"FROM": block, "TO": end}
    multiplying = 2 * problem.macs * count // tiling.tiles * (end - block) // tiling.blocks
    transforming = _SUMS * count * tiling.product_elements * (end - block) // tiling.near_blocks
    bias = ("b",) if this.has_bias else ()
    given = {name: name for name in (*bias, *this.epilogue.arrays)}
    operands = {"products": products} if tiling.by_point else {"packed": packed, "values": values}
    points = Launch(
        _FILE,
        "multiply_points",
        _defines(tiling, problem),
        problem.G * tiling.points * -(-count // (_RUNS * tiling.run)) * (end - block),
        {"packed": packed, "values": values, "products": products},
        {**numbers, "RUNS": _RUNS},
        multiplying,
        local_size=1,
    )
    tiles = Launch(
        _FILE,
        "multiply_tiles",
        _defines(tiling, problem),
        problem.G * -(-count // tiling.run) * (end - block),
        {"x": data, "w": weights, **operands, **given, "y": result},
        {
            **numbers,
            "CHANNELS_FIRST": int(tiling.channels_first),
            "has_products": int(tiling.by_point),
            "has_bias": int(this.has_bias),
            **this.epilogue.numbers(),
        },
        transforming if tiling.by_point else multiplying,
        local_size=1,
        walks=dict(zip(("x", "w", "y", "residual"), (*this.walks, this.walks[2]), strict=True)),
    )
    return [points, tiles] if tiling.by_point else [tiles]


def _stage(tiling: Tiling, problem: ConvProblem, begin: int) -> dict[str, int]:
    """Return the numbers that the kernels are told of a stage of tiles."""
    end = min(begin + tiling.stage, tiling.tiles)
    padding_mode = PADDING_MODES.index(tiling.this.padding_mode)
    numbers = {"padding_mode": padding_mode, "BEGIN": begin, "END": end, "TILES": tiling.run}
    return {**tiling.this.sizes(problem.G), **numbers}


def shape_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why the shapes or the device leave nothing to transform, whatever it costs, or None."""
    if not traits.vector_bytes:
        return no_vectors(traits)
    if problem.dtype == "float16":
        return "arrays of halves are not transformed"
    if tuple(window.kernel for window in problem.windows[1:]) not in _TILES:
        kernel = "x".join(str(window.kernel) for window in problem.windows[-problem.rank :])
        return f"a kernel of {kernel} does not have three taps along height, width or both"
    if any(window.stride > 1 for window in problem.windows):
        return "the stride is not 1"
    dilated = [window for window in problem.windows[1:] if window.kernel > 1 and window.dilation > 1]
    if any(window.dilation >= window.output for window in dilated):
        return "the dilation is so large that no two outputs of the forward pass lie so far apart"
    return None


def _cost_refusal(this: Pass, problem: ConvProblem, traits: Traits) -> str | None:
    if not (this.outputs and this.OC and this.IC):
        return "there is nothing to sum"
    tiling = _tiling(this, problem, traits)
    if max(tiling.weight_elements, tiling.data_elements) > LARGEST_COPY:
        return "the transformed weights are too large"
    lays_out = channels_of_piece([this], problem, traits) > 0
    products = this.OC * this.terms * this.outputs + cost_of_weights(this, problem, traits, lays_out)
    direct, own = problem.G * products / tiling.lanes, tiling.cost
    if direct < _WORTH_IT * own:
        costs = f"{direct:.0f} products of vectors do without transforms what costs {own:.0f} with them"
        return f"{costs}, which pays from {_WORTH_IT * own:.0f} on"
    return None


def _tiling(this: Pass, problem: ConvProblem, traits: Traits) -> Tiling:
    """Return the tiles that cost least."""
    choices = _TILES[this.windows[1].kernel, this.windows[2].kernel]
    tilings = [
        Tiling(this, problem.G, tile, problem.real_bytes, traits.vector_bytes, traits.prepared) for tile in choices
    ]
    return min(tilings, key=lambda tiling: tiling.cost)


def _defines(tiling: Tiling, problem: ConvProblem) -> tuple[tuple[str, int], ...]:
    kernel = tuple(zip(("KH", "KW"), (window.kernel for window in tiling.this.windows[1:]), strict=True))
    return (*problem.defines, ("VECTOR_BYTES", tiling.vector_bytes), *kernel, ("TILE", tiling.tile))
