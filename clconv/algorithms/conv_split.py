"""The copy of the data that convolutions in rows read, and the launch of one that reads it.

The copy has the data's padding, and positions of one remainder by the strides lie side by side, so that each tap is at
a constant offset from an output's own place. Dense data without padding, at stride 1, are read where they lie.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np

from clconv.algorithms.conv_copy import plan_copy
from clconv.algorithms.conv_passes import LARGEST_COPY, Pass
from clconv.arguments import LARGEST
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ConvProblem

__all__ = [
    "copy_refusal",
    "extents_of",
    "is_gapless",
    "is_in_place",
    "lies_as_its_copy",
    "phases_of",
    "places_of",
    "plan_launch",
    "plan_split",
]

#: Places that the longest tile across rows reads at once, which may begin at the last one of a plane.
_LARGEST_TILE = 128


def copy_refusal(this: Pass) -> str | None:
    """Return why the data of a pass are not copied for it."""
    if not this.outputs:
        return "there are no outputs"
    for window in this.windows:
        if window.stride > window.kernel > 1:
            return f"a stride of {window.stride} is longer than {window.kernel} taps: most of a copy would not be read"
    channel = math.prod(phases_of(this)) * math.prod(extents_of(this))
    if channel > LARGEST:
        return f"{channel} elements to copy of one channel are more than {LARGEST}"
    copied = math.prod(this.data_shape) * channel
    return (
        f"{copied} elements to copy with their padding are more than {LARGEST_COPY}" if copied > LARGEST_COPY else None
    )


def plan_split(this: Pass, problem: ConvProblem, traits: Traits, rows_together: bool) -> Plan:
    """Plan the copy of the data: with the rows of all channels together, or the planes of each apart."""
    if is_in_place(this, problem, traits):
        return Plan(())
    strides = [window.stride for window in this.windows]
    slack = 0 if rows_together else _LARGEST_TILE
    return plan_copy(
        this, problem, traits, _lows(this), extents_of(this), strides, phases_of(this), slack, rows_together
    )


def plan_launch(
    this: Pass,
    problem: ConvProblem,
    traits: Traits,
    kernel: str,
    defines: tuple[tuple[str, int], ...],
    items: int,
    numbers: Mapping[str, int],
    rows_together: bool,
) -> Plan:
    """Plan so many work-items of a kernel that computes a pass from that copy, or from the data where they lie."""
    data, weights, result = this.arrays
    offsets = f"{result}_offsets{this.name}"
    _, height, width = extents_of(this)
    pitch = width
    walks = {"w": this.walks[1], "residual": this.walks[2], "y": this.walks[2]}
    walk: dict[str, int] = {}
    if is_in_place(this, problem, traits):
        walks["x"] = this.walks[0]
    else:
        data, walk = this.copy, _walk_of_split(this, rows_together)
        pitch *= this.data_shape[1] if rows_together else 1
    bias = ("b",) if this.has_bias else ()
    launch = Launch(
        f"{kernel}.cl",
        kernel,
        (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes), *defines),
        items,
        {
            "x": data,
            "offsets": offsets,
            "w": weights,
            **{name: name for name in (*bias, *this.epilogue.arrays)},
            "y": result,
        },
        {
            **this.sizes(problem.G),
            **walk,
            "EH": height,
            "PITCH": pitch,
            **numbers,
            "zero_padding": int(this.has_zero_padding),
            "has_bias": int(this.has_bias),
            **this.epilogue.numbers(),
        },
        2 * problem.macs,
        local_size=1,
        walks=walks,
    )
    # Offsets stay within a sample's copy, of LARGEST_COPY elements at most, or within a plane.
    return Plan((launch,), constants={offsets: np.array(_offsets(this, pitch), np.int32).tobytes()})


def lies_as_its_copy(this: Pass) -> bool:
    """Return whether a copy of the data would be the data itself, as reals."""
    return this.is_dense and not this.is_padded and all(window.stride == 1 for window in this.windows)


def is_in_place(this: Pass, problem: ConvProblem, traits: Traits) -> bool:
    """Return whether the data is read where it lies: a vector must fit into a plane, whose end it must not pass."""
    return lies_as_its_copy(this) and problem.dtype != "float16" and traits.lanes(problem.real_bytes) <= places_of(this)


def extents_of(this: Pass) -> list[int]:
    """Return how many positions of each remainder are copied along each axis."""
    if lies_as_its_copy(this):
        return [window.extent for window in this.windows]
    return [-(-axis.reach // window.stride) for axis, window in zip(this.frame, this.windows, strict=True)]


def _lows(this: Pass) -> list[int]:
    """Return how far before the data's first position the copy begins along each axis."""
    return [0 if lies_as_its_copy(this) else axis.low for axis in this.frame]


def phases_of(this: Pass) -> list[int]:
    """Return how many remainders of the positions by the stride are copied along each axis: a single tap reads one."""
    return [window.stride if window.kernel > 1 else 1 for window in this.windows]


def places_of(this: Pass) -> int:
    """Return the places from a plane's first output to its last, those between rows included."""
    _, height, width = extents_of(this)
    outputs = [window.output for window in this.windows]
    return ((outputs[0] - 1) * height + outputs[1] - 1) * width + outputs[2]


def is_gapless(this: Pass) -> bool:
    """Return whether nothing lies between the outputs of a plane, so that they are stored as one row."""
    _, height, width = extents_of(this)
    outputs = [window.output for window in this.windows]
    return (width == outputs[2] or outputs[:2] == [1, 1]) and (height == outputs[1] or outputs[0] == 1)


def _offsets(this: Pass, pitch: int) -> list[int]:
    """Return how far from an output's place each tap reads, where a row begins so far behind the one before it."""
    depth, height, _ = extents_of(this)
    axes = [
        [divmod(low - window.low + k * window.dilation, window.stride) for k in range(window.kernel)]
        for low, window in zip(_lows(this), this.windows, strict=True)
    ]
    offsets = []
    for taps in itertools.product(*axes):
        phase = 0
        for (_, remainder), phases in zip(taps, phases_of(this), strict=True):
            phase = phase * phases + remainder
        step_d, step_h, step_w = (step for step, _ in taps)
        offsets.append(((phase * depth + step_d) * height + step_h) * pitch + step_w)
    return offsets


def _walk_of_split(this: Pass, rows_together: bool) -> dict[str, int]:
    """Return the start and strides by which the kernel walks the copy: within a plane, it does so by offsets."""
    extents = extents_of(this)
    channel = math.prod(phases_of(this)) * math.prod(extents)
    return this.walk_of_copy(0, (this.data_shape[1] * channel, extents[2] if rows_together else channel, 0, 0, 0))
