"""Winograd's short convolutions for the gradient of 3x3 weights (kernels/conv_winograd_weights.cl).

The nine taps of a pair of channels come from 36 products for each tile of 4x4 outputs, in place of 144, and from one
transform of their sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from clconv.algorithms.conv_passes import LARGEST_COPY, fwd
from clconv.algorithms.conv_portable import weights_of_parts
from clconv.algorithms.conv_weights import walk_of_parts
from clconv.algorithms.conv_winograd import shape_refusal, tiles_along, times_apart
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ConvProblem
from clconv.problem.window import PADDING_MODES

__all__ = ["bwd_weights_refusal", "plan_bwd_weights"]

_FILE = "conv_winograd_weights.cl"
_TILE = 4
_POINTS = (_TILE + 2) ** 2
#: Vectors of input channels of a work-item, and numbers of output channels that there is code for, by the width of
#: registers.
_VECTORS = 2
_ROWS = {64: (4, 8, 11, 14), 32: (4, 6), 16: (4, 6)}
#: Tiles that are summed in registers, at most.
_BLOCK = 64
#: Tiles of a part, at least, whose sums are transformed, no fewer than a block has, or parts would be left without one;
#: and work-items that keep threads equally busy.
_TILES_PER_PART = 128
_WORK_ITEMS = 48
#: Bytes of transformed data and gradients that stay in a cache until they are multiplied.
_NEAR = 2**22
#: What the transforms of data, gradients and sums cost for each vector of numbers that they make or take, in
#: multiply-adds of a vector; and what storing a vector of weights costs an algorithm without transforms.
_DATA, _GRADIENT, _SUMS, _STORED = 20, 16, 8, 16
#: How many times as long plain products must take: their sums are more accurate.
_WORTH_IT = 1.0


class Tiling(NamedTuple):
    """A problem cut into tiles, and how its transformed arrays lie in memory: in the letters of the kernel file."""

    problem: ConvProblem
    vector_bytes: int

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return self.vector_bytes // self.problem.real_bytes

    @property
    def tiles(self) -> int:
        """Tiles of a channel, over all samples."""
        depth, *plane = self.problem.windows
        return self.problem.N * depth.output * math.prod(tiles_along(window, _TILE) for window in plane)

    @property
    def rows(self) -> int:
        """Output channels of a work-item: as many as compute few in vain, and read the data seldom."""
        counts = (count for count in reversed(_ROWS[self.vector_bytes]) if count <= self.lanes)
        return min(counts, key=lambda count: -(-self.problem.OCG // count) * (count + 1))

    @property
    def depth(self) -> int:
        """Taps along depth."""
        return self.problem.windows[0].kernel

    @property
    def inner(self) -> int:
        """Vectors of input channels, for a tap along depth."""
        return -(-self.problem.ICG // self.lanes)

    @property
    def data_vectors(self) -> int:
        """Vectors of input channels, for all taps along depth."""
        return self.depth * self.inner

    @property
    def outer(self) -> int:
        """Vectors of output channels, with ``rows`` in each."""
        return -(-self.problem.OCG // self.rows)

    @property
    def stages(self) -> int:
        """How often data and gradients are transformed and then multiplied: so that they stay near."""
        vectors = self.problem.G * _POINTS * self.tiles * (self.data_vectors + self.outer)
        return max(1, min(self.tiles // _TILES_PER_PART, -(-vectors * self.vector_bytes // _NEAR)))

    @property
    def items(self) -> int:
        """Work-items of a part."""
        return self.problem.G * self.depth * self.outer * -(-self.inner // _VECTORS)

    @property
    def parts(self) -> int:
        """Parts of a stage's sum: as many as keep threads busy."""
        return max(1, min(self.tiles // self.stages // _TILES_PER_PART, _WORK_ITEMS // self.items))

    @property
    def block(self) -> int:
        """Tiles that are summed in registers: as many in each block, up to a few."""
        part = -(-self.tiles // (self.stages * self.parts))
        return -(-part // -(-part // _BLOCK))

    def blocks(self, tiles: int) -> int:
        """Return how many blocks so many tiles make."""
        return -(-tiles // self.block)

    def elements(self, vectors: int) -> int:
        """Return the elements that a stage's tiles of so many vectors of channels are transformed into, at most."""
        blocks = self.blocks(-(-self.tiles // self.stages))
        return self.problem.G * blocks * _POINTS * (vectors * self.block + 1) * self.lanes

    def cost(self) -> float:
        """Return how many multiply-adds of a vector everything takes."""
        outputs = self.depth * self.outer * self.rows * -(-self.inner // _VECTORS) * _VECTORS
        apart = times_apart(self.problem.windows[2])
        transforms = apart * (_DATA * self.data_vectors + _GRADIENT * self.outer)
        sums = self.stages * self.parts * self.problem.OCG * self.data_vectors * _SUMS
        return self.problem.G * _POINTS * (self.tiles * (outputs + transforms) + sums)


def bwd_weights_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: there must be 3x3 taps, and few transforms for the products that they save."""
    refusal = shape_refusal(problem, traits)
    if refusal:
        return refusal
    if [window.kernel for window in problem.windows[1:]] != [3, 3]:
        return "a kernel with three taps along one axis is not 3x3"
    tiling = Tiling(problem, traits.vector_bytes)
    if tiling.lanes < min(_ROWS[traits.vector_bytes]):
        return f"vectors of {tiling.lanes} numbers are too short"
    if not (tiling.tiles and problem.OCG and problem.ICG):
        return "there is nothing to sum"
    if max(tiling.elements(tiling.data_vectors), tiling.elements(tiling.outer)) > LARGEST_COPY:
        return "the transformed data are too large"
    outputs = problem.N * math.prod(window.output for window in problem.windows)
    direct = problem.G * problem.OCG * problem.ICG * tiling.depth * 9 * (outputs + _STORED) // tiling.lanes
    own = tiling.cost()
    if direct < _WORTH_IT * own:
        return f"{direct} products of vectors do without transforms what costs {own:.0f} with them"
    return None


def plan_bwd_weights(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the weight: operands x, dy, dw."""
    tiling = Tiling(problem, traits.vector_bytes)
    stages = tuple(launch for stage in range(tiling.stages) for launch in _stage(tiling, stage))
    elements = {
        "x_transformed": tiling.elements(tiling.data_vectors),
        "dy_transformed": tiling.elements(tiling.outer),
    }
    plan = Plan(stages, {name: size * problem.real_bytes for name, size in elements.items()})
    return weights_of_parts(problem, plan, tiling.parts) if tiling.parts > 1 else plan


def _stage(tiling: Tiling, stage: int) -> Iterator[Launch]:
    """Yield the transforms of data and gradients of a stage, and the sums of their products."""
    problem = tiling.problem
    this = fwd(problem)
    begin, end = (tiling.tiles * bound // tiling.stages for bound in (stage, stage + 1))
    defines = (*problem.defines, ("VECTOR_BYTES", tiling.vector_bytes))
    numbers = {
        **this.sizes(problem.G),
        "padding_mode": PADDING_MODES.index(problem.padding_mode),
        "BEGIN": begin,
        "END": end,
        "TILES": tiling.block,
        "ROWS": tiling.rows,
    }
    items = problem.G * tiling.blocks(end - begin)
    yield Launch(
        "conv_winograd.cl",
        "transform_data",
        (*defines, ("KH", 3), ("KW", 3), ("TILE", _TILE)),
        items * tiling.data_vectors,
        {"x": "x", "values": "x_transformed"},
        numbers,
        _DATA * tiling.elements(tiling.data_vectors),
        local_size=1,
        walks={"x": this.walks[0]},
    )
    yield Launch(
        _FILE,
        "transform_gradient",
        defines,
        items * tiling.outer,
        {"dy": "dy", "values": "dy_transformed"},
        numbers,
        _GRADIENT * tiling.elements(tiling.outer),
        local_size=1,
        walks={"dy": this.walks[2]},
    )
    in_parts = tiling.parts > 1
    yield Launch(
        _FILE,
        "multiply_transformed",
        defines,
        tiling.parts * tiling.items,
        {
            "x": "x",
            "dy": "dy",
            "data": "x_transformed",
            "gradient": "dy_transformed",
            "dw": "dw_parts" if in_parts else "dw",
        },
        {**numbers, "PARTS": tiling.parts, **(walk_of_parts(problem) if in_parts else {})},
        2 * problem.macs // tiling.stages,
        local_size=1,
        walks={"x": this.walks[0], "dy": this.walks[2], **({} if in_parts else {"dw": this.walks[1]})},
    )
