"""Direct convolution in vectors of output channels, for processors (kernels/conv_direct.cl).

One kernel serves the three passes; each is told by :class:`clconv.plan.Walk` which axes of its arrays play which part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from clconv.plan import Launch, Plan, Traits, Walk
from clconv.problem import ConvProblem, EpilogueProblem
from clconv.problem.epilogue import NO_EPILOGUE
from clconv.problem.window import PADDING_MODES

__all__ = ["bwd_data_applies", "bwd_weights_applies", "fwd_applies", "plan_bwd_data", "plan_bwd_weights", "plan_fwd"]

#: Outputs of a row that a work-item computes: with two vectors of channels, what 16 registers hold.
_TILE = 4
#: How far packing may inflate weights with few output channels, unless they stay smaller than this many elements, and
#: how many elements may be packed at all: a view of little memory may stand for many.
_LARGEST_INFLATION = 2
_SMALL_WEIGHTS = 2**22
_LARGEST_WEIGHTS = 2**28

_SPATIAL = ((2, 1), (3, 1), (4, 1))
_NOWHERE = (0,) * 5


class _Pass(NamedTuple):
    """The sizes of a pass in the kernel's own letters, and the walks over its three arrays."""

    N: int
    OC: int
    IC: int
    extents: Sequence[int]
    outputs: Sequence[int]
    kernels: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    lows: Sequence[int]
    padding_mode: str
    arrays: tuple[str, str, str]
    walks: tuple[Walk, Walk, Walk]
    has_bias: bool
    epilogue: EpilogueProblem = NO_EPILOGUE


def fwd_applies(problem: ConvProblem, traits: Traits) -> bool:
    """Return whether there are vectors, and packed weights stay small."""
    return _packs_well(problem.OCG, math.prod(problem.weight_shape), problem, traits)


def bwd_data_applies(problem: ConvProblem, traits: Traits) -> bool:
    """Return the same for input channels; the gradient is one convolution at stride 1 over zero padding only."""
    simple = problem.padding_mode == "zeros" and all(window.stride == 1 for window in problem.windows)
    return simple and _packs_well(problem.ICG, math.prod(problem.weight_shape), problem, traits)


def bwd_weights_applies(problem: ConvProblem, traits: Traits) -> bool:
    """Return the same where the output's gradient plays the weights."""
    return _packs_well(problem.OCG, math.prod(problem.result_shape), problem, traits)


def plan_fwd(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan ``y = x * w (+ b)``: operands x, w, b, those of the epilogue, y."""
    windows = problem.windows
    return _plan(
        problem,
        traits,
        _Pass(
            N=problem.N,
            OC=problem.OCG,
            IC=problem.ICG,
            extents=[window.extent for window in windows],
            outputs=[window.output for window in windows],
            kernels=[window.kernel for window in windows],
            strides=[window.stride for window in windows],
            dilations=[window.dilation for window in windows],
            lows=[window.low for window in windows],
            padding_mode=problem.padding_mode,
            arrays=("x", "w", "y"),
            walks=(_activation(problem.ICG), _weights(problem.OCG, (0, 1), (1, 1)), _activation(problem.OCG)),
            has_bias=problem.bias and not problem.transposed,
            epilogue=problem.epilogue,
        ),
    )


def plan_bwd_data(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the data at stride 1, or the transposed convolution: operands dy, w, b, the epilogue's, dx.

    With ``k' = K-1-k``, ``dx[i] = sum over k' of w[K-1-k'] * dy[i - (D*(K-1) - P) + k'*D]``.
    """
    windows = problem.windows
    rotated = Walk(
        (0, 0, *(window.kernel - 1 for window in windows)),
        ((0, problem.OCG), (1, 1), (0, 1), *((axis, -1) for axis, _ in _SPATIAL)),
    )
    return _plan(
        problem,
        traits,
        _Pass(
            N=problem.N,
            OC=problem.ICG,
            IC=problem.OCG,
            extents=[window.output for window in windows],
            outputs=[window.extent for window in windows],
            kernels=[window.kernel for window in windows],
            strides=[1] * 3,
            dilations=[window.dilation for window in windows],
            lows=[window.span - 1 - window.low for window in windows],
            padding_mode="zeros",
            arrays=("dy", "w", "dx"),
            walks=(_activation(problem.OCG), rotated, _activation(problem.ICG)),
            has_bias=problem.bias and problem.transposed,
            epilogue=problem.epilogue,
        ),
    )


def plan_bwd_weights(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the weight: operands x, dy, dw.

    ``dw[oc, icg, k]`` is the output of a convolution of x by dy that sums over the batch, at stride D and dilation S.
    """
    windows = problem.windows
    return _plan(
        problem,
        traits,
        _Pass(
            N=problem.ICG,
            OC=problem.OCG,
            IC=problem.N,
            extents=[window.extent for window in windows],
            outputs=[window.kernel for window in windows],
            kernels=[window.output for window in windows],
            strides=[window.dilation for window in windows],
            dilations=[window.stride for window in windows],
            lows=[window.low for window in windows],
            padding_mode=problem.padding_mode,
            arrays=("x", "dy", "dw"),
            walks=(
                Walk(_NOWHERE, ((1, problem.ICG), (1, 1), (0, 1), *_SPATIAL)),
                Walk(_NOWHERE, ((1, problem.OCG), (1, 1), (0, 1), *_SPATIAL)),
                _weights(problem.OCG, (1, 1), (0, 1)),
            ),
            has_bias=False,
        ),
    )


def _plan(problem: ConvProblem, traits: Traits, this: _Pass) -> Plan:
    defines = (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes))
    block = _block(problem, traits)
    blocks, G = -(-this.OC // block), problem.G
    data, weights, result = this.arrays
    sizes = {"N": this.N, "G": G, "OC": this.OC, "IC": this.IC, **_by_axis("K", this.kernels)}
    taps = G * blocks * this.IC * math.prod(this.kernels)
    name = f"{result}_packed"
    pack = Launch(
        "conv_direct.cl",
        "pack_weights",
        defines,
        taps,
        {"w": weights, "packed": name},
        sizes,
        taps * block,
        walks={"w": this.walks[1]},
    )
    rows = this.N * G * blocks * this.outputs[0] * this.outputs[1] * -(-this.outputs[2] // _TILE)
    numbers = {
        **sizes,
        **_by_axis("I", this.extents),
        **_by_axis("O", this.outputs),
        **_by_axis("S", this.strides),
        **_by_axis("D", this.dilations),
        **_by_axis("P", this.lows),
        "padding_mode": PADDING_MODES.index(this.padding_mode),
        "has_bias": int(this.has_bias),
        **this.epilogue.numbers(),
    }
    bias = ("b",) if this.has_bias else ()
    direct = Launch(
        "conv_direct.cl",
        "conv_direct",
        defines,
        rows,
        {"x": data, "packed": name, **{given: given for given in (*bias, *this.epilogue.arrays)}, "y": result},
        numbers,
        2 * problem.macs,
        local_size=1,
        walks={"x": this.walks[0], "residual": this.walks[2], "y": this.walks[2]},
    )
    return Plan((pack, direct), {name: taps * block * problem.real_bytes})


def _packs_well(OC: int, weights: int, problem: ConvProblem, traits: Traits) -> bool:
    if not traits.vector_bytes:
        return False
    block = _block(problem, traits)
    inflation = -(-OC // block) * block / max(OC, 1)
    packed = weights * inflation
    return packed <= _SMALL_WEIGHTS or (inflation <= _LARGEST_INFLATION and packed <= _LARGEST_WEIGHTS)


def _block(problem: ConvProblem, traits: Traits) -> int:
    """Return the output channels of a work-item: two vectors."""
    return 2 * traits.vector_bytes // problem.real_bytes


def _activation(channels: int) -> Walk:
    """Return the walk over an array of batch and channels, with this many channels in a group."""
    return Walk(_NOWHERE, ((1, channels), (0, 1), (1, 1), *_SPATIAL))


def _weights(OCG: int, n: tuple[int, int], c: tuple[int, int]) -> Walk:
    """Return the walk over a weight array whose axes ``n`` and ``c`` are taken as batch and channels."""
    return Walk(_NOWHERE, ((0, OCG), n, c, *_SPATIAL))


def _by_axis(letter: str, values: Sequence[int]) -> dict[str, int]:
    return {f"{letter}{axis}": value for axis, value in zip("DHW", values, strict=True)}
