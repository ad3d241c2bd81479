"""Convolution with one input channel in each group, and groups in the lanes of vectors (kernels/conv_depthwise.cl)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from clconv.algorithms.algorithm import no_vectors
from clconv.algorithms.conv_passes import OPERATIONS_OF_A_COPY, activation_walk, by_axis, weights_walk
from clconv.plan import Launch, Plan, Traits, Walk
from clconv.problem import ConvProblem
from clconv.problem.window import GradientWindow

__all__ = ["bwd_data_refusal", "fwd_refusal", "lanes_refusal", "plan_bwd_data", "plan_fwd"]

#: Positions of a band of the data, and of the result, and taps, for which the kernel has room.
_POSITIONS = 1024
_TAPS = 256
#: Work-items, each with a band, that keep threads busy.
_WORK_ITEMS = 64


class _Axis(NamedTuple):
    """How the outputs of an axis are computed: in phases, by windows at one stride and dilation."""

    extent: int
    outputs: int
    stride: int
    dilation: int
    phases: tuple[GradientWindow, ...]

    @property
    def taps(self) -> int:
        return max(phase.window.kernel for phase in self.phases)

    def positions(self, outputs: int) -> int:
        """Return how many positions so many neighbouring outputs read, at most."""
        windows = [phase.window for phase in self.phases]
        lows = [window.low for window in windows]
        steps = -(-outputs // len(windows))
        reach = steps * self.stride + max(window.span for window in windows) + max(lows) - min(lows)
        return max(1, min(reach, self.extent))

    def fitting(self, room: int) -> int:
        """Return how many neighbouring outputs, and the positions that they read, there is room for."""
        return next((n for n in range(min(self.outputs, room), 0, -1) if self.positions(n) <= room), 0)


def fwd_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return why not: lanes take a group each, of one input channel, and a band must fit into the kernel's buffers."""
    return _refusal(problem, traits, problem.ICG, _fwd(problem))


def bwd_data_refusal(problem: ConvProblem, traits: Traits) -> str | None:
    """Return the same of the gradient of the data, whose groups have one channel of dy."""
    return _refusal(problem, traits, problem.OCG, _bwd_data(problem))


def plan_fwd(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan ``y = x * w (+ b)``: operands x, w, b, those of the epilogue, y."""
    walks = {
        "x": activation_walk(problem.ICG),
        "w": weights_walk(problem.OCG, (0, 1), (1, 1)),
        "y": activation_walk(problem.OCG),
    }
    bias = problem.bias and not problem.transposed
    return _plan(problem, traits, _fwd(problem), ("x", "w", "y"), problem.OCG, walks, bias)


def plan_bwd_data(problem: ConvProblem, traits: Traits) -> Plan:
    """Plan the gradient of the data, or the transposed convolution: operands dy, w, b, the epilogue's, dx."""
    walks = {
        "x": activation_walk(problem.OCG),
        "w": weights_walk(problem.OCG, (1, 1), (0, 1)),
        "y": activation_walk(problem.ICG),
    }
    bias = problem.bias and problem.transposed
    return _plan(problem, traits, _bwd_data(problem), ("dy", "w", "dx"), problem.ICG, walks, bias)


def _fwd(problem: ConvProblem) -> tuple[_Axis, _Axis]:
    axes = [
        _Axis(window.extent, window.output, window.stride, window.dilation, (GradientWindow(window, 0, 0, 1),))
        for window in problem.windows[1:]
    ]
    return axes[0], axes[1]


def _bwd_data(problem: ConvProblem) -> tuple[_Axis, _Axis]:
    axes = []
    for window in problem.windows[1:]:
        phases = window.of_data_gradient
        axes.append(_Axis(window.output, window.extent, 1, phases[0].window.dilation, phases))
    return axes[0], axes[1]


def lanes_refusal(problem: ConvProblem, traits: Traits, channels: int) -> str | None:
    """Return why lanes do not take a group each, where a pass sums over so many channels of a group."""
    depth = problem.windows[0]
    if not traits.vector_bytes:
        return no_vectors(traits)
    if channels != 1:
        return f"{channels} channels are summed over, more than one"
    if problem.padding_mode != "zeros":
        return f"padding_mode={problem.padding_mode!r} is not 'zeros'"
    if (depth.kernel, depth.stride, depth.low, depth.extent) != (1, 1, 0, depth.output):
        return "the window has a depth"
    lanes = traits.lanes(problem.real_bytes)
    return f"{problem.G} groups are less than the {lanes} lanes of a vector" if lanes > problem.G else None


def _refusal(problem: ConvProblem, traits: Traits, channels: int, axes: tuple[_Axis, _Axis]) -> str | None:
    reason = lanes_refusal(problem, traits, channels)
    if reason:
        return reason
    if not problem.N or any(axis.outputs == 0 or axis.extent == 0 for axis in axes):
        return "there are no outputs"
    taps = math.prod(axis.taps for axis in axes)
    if taps > _TAPS:
        return f"{taps} taps are more than {_TAPS}"
    if not all(_band(axes)):
        return f"an output reads from more than {_POSITIONS} positions"
    return None


def _band(axes: tuple[_Axis, _Axis]) -> tuple[int, int]:
    """Return the rows and columns of outputs that fit into the buffers."""
    height, width = axes
    columns = width.fitting(_POSITIONS // min(height.positions(1), _POSITIONS))
    if not columns:
        return 0, 0
    rows = height.fitting(_POSITIONS // max(columns, width.positions(columns)))
    return rows, columns


def _plan(
    problem: ConvProblem,
    traits: Traits,
    axes: tuple[_Axis, _Axis],
    arrays: tuple[str, str, str],
    channels: int,
    walks: dict[str, Walk],
    has_bias: bool,
) -> Plan:
    height, width = axes
    rows, columns = _band(axes)
    lanes = traits.lanes(problem.real_bytes)
    blocks = problem.N * -(-problem.G // lanes) * problem.windows[0].output * -(-width.outputs // columns)
    bands = max(-(-height.outputs // rows), min(height.outputs, -(-_WORK_ITEMS // blocks)))
    rows = -(-height.outputs // bands)
    data, weights, result = arrays
    bias = ("b",) if has_bias else ()
    table = [
        number
        for axis in axes
        for window, first, first_tap, tap_step in axis.phases
        for number in (first, window.low, window.kernel, first_tap, tap_step)
    ]
    launch = Launch(
        "conv_depthwise.cl",
        "conv_depthwise",
        (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes)),
        blocks * -(-height.outputs // rows),
        {
            "x": data,
            "w": weights,
            **{name: name for name in (*bias, *problem.epilogue.arrays)},
            "y": result,
            "table": f"{result}_phases",
        },
        {
            "N": problem.N,
            "G": problem.G,
            "OC": channels,
            **by_axis("O", [problem.windows[0].output, height.outputs, width.outputs]),
            **by_axis("I", [1, height.extent, width.extent]),
            **by_axis("S", [1, height.stride, width.stride]),
            **by_axis("D", [1, height.dilation, width.dilation]),
            **by_axis("U", [1, len(height.phases), len(width.phases)]),
            "ROWS": rows,
            "COLUMNS": columns,
            "has_bias": int(has_bias),
            **problem.epilogue.numbers(),
        },
        2 * problem.macs + OPERATIONS_OF_A_COPY * problem.N * problem.G * height.outputs * width.outputs,
        local_size=1,
        walks={**walks, "residual": walks["y"]},
    )
    return Plan((launch,), constants={f"{result}_phases": np.array(table, np.int32).tobytes()})
