"""Winograd's short convolutions, for processors (kernels/conv_winograd.cl).

Four outputs along an axis come from six products in place of twelve, 4x4 outputs from 36 in place of 144; or 2x2
outputs from 16 in place of 36. The transforms of weights, data and sums must cost less than what is saved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from clconv.algorithms.algorithm import no_vectors
from clconv.algorithms.conv_passes import LARGEST_COPY, Pass, bwd_data, fwd, split_refusal
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ConvProblem
from clconv.problem.window import PADDING_MODES

__all__ = ["bwd_data_refusal", "fwd_refusal", "plan_bwd_data", "plan_fwd"]

_FILE = "conv_winograd.cl"
#: Kernels that there is code for, with the outputs of their tiles along each axis of three taps.
_TILES = {(1, 3, 3): (4, 2), (1, 1, 3): (4,), (1, 3, 1): (4,)}
#: Vectors of output channels of a work-item, and numbers of tiles that there is code for, by the width of registers.
_VECTORS = 2
_COUNTS = {64: (4, 8, 11, 14), 32: (4, 6), 16: (4, 6)}
#: Input channels whose weights a work-item transforms.
_RUN = 16
#: Bytes of transformed data that stay in a cache until they are multiplied, and of weights that do.
_NEAR_DATA = 2**22
_NEAR_WEIGHTS = 2**25
#: What the transforms of data, sums and weights cost for each vector of numbers that they make or take, in
#: multiply-adds of a vector; and how much more it costs to write weights to memory and to read them again.
_DATA, _SUMS, _WEIGHTS, _FAR_WEIGHTS = 12, 11, 8, 14
#: How many times as long plain products must take: their sums are more accurate.
_WORTH_IT = 1.1


class Tiling(NamedTuple):
    """A pass cut into tiles, and how its transformed arrays lie in memory: in the letters of the kernel file."""

    this: Pass
    G: int
    tile: int
    real_bytes: int
    vector_bytes: int

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
        return math.prod(self.tile + 2 for window in self.this.windows if window.kernel == 3)

    @property
    def tiles(self) -> int:
        """Tiles of a channel, over all samples."""
        return self.this.N * math.prod(
            -(-window.output // self.tile) if window.kernel == 3 else window.output for window in self.this.windows
        )

    @property
    def run(self) -> int:
        """Tiles of a work-item: as many as compute few in vain, and read the weights seldom."""
        counts = reversed(_COUNTS[self.vector_bytes])
        return min(counts, key=lambda count: self._computed(count) + -(-self.tiles // count))

    @property
    def inner(self) -> int:
        """Vectors of input channels."""
        return -(-self.this.IC // self.lanes)

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return -(-self.this.OC // self.block)

    @property
    def weight_elements(self) -> int:
        """Elements of the transformed weights."""
        return self.G * self.blocks * self.points * (self.this.IC * self.block + self.lanes)

    @property
    def data_elements(self) -> int:
        """Elements of the transformed data of a work-item's tiles, in all groups."""
        return self.G * self.points * (self.inner * self.run + 1) * self.lanes

    @property
    def stage(self) -> int:
        """Tiles whose data are transformed before they are multiplied."""
        runs = -(-self.tiles // self.run)
        stages = -(-runs * self.data_elements * self.real_bytes // _NEAR_DATA)
        return -(-runs // stages) * self.run

    def cost(self, prepared: bool) -> int:
        """Return how many multiply-adds of a vector everything takes, with weights that are transformed or not."""
        OC, IC, is_far = self.blocks * _VECTORS, self.this.IC, self.weight_elements * self.real_bytes > _NEAR_WEIGHTS
        products = self._computed(self.run) * OC * IC
        transforms = self.tiles * (_DATA * self.inner + _SUMS * OC)
        weights = OC * IC * ((0 if prepared else _WEIGHTS) + (_FAR_WEIGHTS if is_far else 0))
        return self.G * self.points * (products + transforms + weights)

    def _computed(self, count: int) -> int:
        """Return how many tiles are computed, ``count`` at a time."""
        rest = self.tiles % count
        return self.tiles - rest + min(c for c in (0, *_COUNTS[self.vector_bytes]) if c >= rest)


def fwd_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: there must be three taps, and few transforms for the products that they save."""
    return shape_refusal(problem, traits) or _cost_refusal(fwd(problem), problem, traits)


def bwd_data_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return the same of the gradient of the data, over zero padding only."""
    refusal = shape_refusal(problem, traits) or split_refusal(problem)
    return refusal or _cost_refusal(bwd_data(problem)[0], problem, traits)


def plan_fwd(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan ``y = x * w (+ b)``: operands x, w, b, those of the epilogue, y."""
    return _plan(fwd(problem), problem, traits)


def plan_bwd_data(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the data, or the transposed convolution: operands dy, w, b, the epilogue's, dx."""
    return _plan(bwd_data(problem)[0], problem, traits)


def _plan(this: Pass, problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the transform of the weights, and then, in stages, that of the data and the products."""
    tiling = _tiling(this, problem, traits)
    packed, values = f"{this.arrays[2]}_packed", f"{this.arrays[0]}_transformed_for_{this.arrays[2]}"
    numbers = {**this.sizes(problem.G), "padding_mode": PADDING_MODES.index(this.padding_mode)}
    weights = Launch(
        _FILE,
        "transform_weights",
        _defines(tiling, problem),
        problem.G * -(-this.OC // tiling.lanes) * -(-this.IC // _RUN),
        {"w": this.arrays[1], "packed": packed},
        {**numbers, "RUN": _RUN},
        _WEIGHTS * tiling.weight_elements,
        local_size=1,
        walks={"w": this.walks[1]},
    )
    stages = [
        launch
        for begin in range(0, tiling.tiles, tiling.stage)
        for launch in _stage(tiling, problem, packed, values, numbers, begin)
    ]
    elements = {packed: tiling.weight_elements, values: tiling.stage // tiling.run * tiling.data_elements}
    return Plan((weights, *stages), {name: size * problem.real_bytes for name, size in elements.items()})


def _stage(
    tiling: Tiling, problem: ConvProblem, packed: str, values: str, numbers: dict[str, int], begin: int
) -> Iterator[Launch]:
    """Yield the two launches of the tiles from ``begin`` on."""
    this = tiling.this
    data, weights, result = this.arrays
    end = min(begin + tiling.stage, tiling.tiles)
    runs = -(-(end - begin) // tiling.run)
    numbers = {**numbers, "BEGIN": begin, "END": end, "TILES": tiling.run}
    yield Launch(
        _FILE,
        "transform_data",
        _defines(tiling, problem),
        problem.G * runs * tiling.inner,
        {"x": data, "values": values},
        numbers,
        _DATA * runs * tiling.data_elements,
        local_size=1,
        walks={"x": this.walks[0]},
    )
    bias = ("b",) if this.has_bias else ()
    given = {name: name for name in (*bias, *this.epilogue.arrays)}
    yield Launch(
        _FILE,
        "multiply_tiles",
        _defines(tiling, problem),
        problem.G * runs * tiling.blocks,
        {"x": data, "w": weights, "packed": packed, "values": values, **given, "y": result},
        {**numbers, "has_bias": int(this.has_bias), **this.epilogue.numbers()},
        2 * problem.macs * (end - begin) // tiling.tiles,
        local_size=1,
        walks=dict(zip(("x", "w", "y", "residual"), (*this.walks, this.walks[2]), strict=True)),
    )


def shape_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    if not traits.vector_bytes:
        return no_vectors(traits)
    if problem.dtype == "float16":
        return "arrays of halves are not transformed"
    if tuple(window.kernel for window in problem.windows) not in _TILES:
        kernel = "x".join(str(window.kernel) for window in problem.windows[-problem.rank :])
        return f"a kernel of {kernel} does not have three taps along one or two axes"
    if any(window.stride > 1 for window in problem.windows):
        return "the stride is not 1"
    if any(window.dilation > 1 for window in problem.windows):
        return "the dilation is not 1"
    return None


def _cost_refusal(this: Pass, problem: ConvProblem, traits: Traits) -> str | None:
    if not (this.outputs and this.OC and this.IC):
        return "there is nothing to sum"
    tiling = _tiling(this, problem, traits)
    if max(tiling.weight_elements, tiling.data_elements) > LARGEST_COPY:
        return "the transformed weights are too large"
    taps = math.prod(window.kernel for window in this.windows)
    direct = problem.G * this.OC * this.IC * taps * this.outputs / tiling.lanes
    own = tiling.cost(traits.prepared)
    if direct < _WORTH_IT * own:
        return f"{direct:.0f} products of vectors do without transforms what costs {own} with them"
    return None


def _tiling(this: Pass, problem: ConvProblem, traits: Traits) -> Tiling:
    """Return the tiles that cost least."""
    choices = _TILES[1, this.windows[1].kernel, this.windows[2].kernel]
    tilings = [Tiling(this, problem.G, tile, problem.real_bytes, traits.vector_bytes) for tile in choices]
    return min(tilings, key=lambda tiling: tiling.cost(traits.prepared))


def _defines(tiling: Tiling, problem: ConvProblem) -> tuple[tuple[str, int], ...]:
    kernel = tuple(zip(("KH", "KW"), (window.kernel for window in tiling.this.windows[1:]), strict=True))
    return (*problem.defines, ("VECTOR_BYTES", tiling.vector_bytes), *kernel, ("TILE", tiling.tile))
