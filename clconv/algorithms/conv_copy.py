"""The copy of the data, with its padding, that convolutions for processors read (kernels/conv_copy.cl)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from clconv.algorithms.conv_passes import OPERATIONS_OF_A_COPY, Pass, by_axis
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ConvProblem
from clconv.problem.window import PADDING_MODES

__all__ = ["channels_last_shape", "plan_channels_last", "plan_copy"]

#: Rows of each channel that a work-item copies.
_ROWS = 16
#: The same where channels come to lie side by side, and how many places of each.
_ROWS_OF_SQUARES = 4
_PLACES_OF_SQUARES = 256


def plan_copy(
    this: Pass,
    problem: ConvProblem,
    traits: Traits,
    lows: Sequence[int],
    extents: Sequence[int],
    strides: Sequence[int] = (1, 1, 1),
    remainders: Sequence[int] = (1, 1, 1),
    slack: int = 0,
    rows_together: bool = False,
) -> Plan:
    """Plan the copy of a pass's data as reals.

    Parameters
    ----------
    lows, extents : sequence of int
        For each axis, how far before the first position the copy begins, and how many positions of a remainder it has.
    strides, remainders : sequence of int
        By what positions are divided, and how many remainders are copied, from 0 on.
    slack : int
        Zeros that follow the copy.
    rows_together : bool
        Whether the rows of all channels lie together, else the planes of each.
    """
    lanes = traits.lanes(problem.real_bytes)
    batch, channels = this.data_shape
    planes = math.prod(remainders) * extents[0]
    elements = batch * channels * planes * extents[1] * extents[2] + slack
    items = batch * -(-channels // lanes) * planes * -(-extents[1] // _ROWS) + 1
    numbers = {
        "SLACK": slack,
        "ROWS": _ROWS,
        "ROWS_TOGETHER": int(rows_together),
        **by_axis("S", strides),
        **by_axis("F", remainders),
    }
    return _plan(this, problem, traits, "copy_input", items, elements, lows, extents, numbers)


def channels_last_shape(
    this: Pass, problem: ConvProblem, traits: Traits, extents: Sequence[int]
) -> tuple[int, int, int, int, int]:
    """Return the shape of a copy with channels side by side: batch, depth, height, width and padded channels.

    These are an odd number of vectors: places that lie a power of two apart take each other's place in caches.
    """
    lanes = traits.lanes(problem.real_bytes)
    batch, channels = this.data_shape
    depth, height, width = extents
    return batch, depth, height, width, lanes * (-(-channels // lanes) | 1)


def plan_channels_last(
    this: Pass, problem: ConvProblem, traits: Traits, lows: Sequence[int], extents: Sequence[int]
) -> Plan:
    """Plan the copy of a pass's data as reals with channels side by side, as `plan_copy` plans the other."""
    lanes = traits.lanes(problem.real_bytes)
    batch, channels = this.data_shape
    shape = channels_last_shape(this, problem, traits, extents)
    bands = extents[0] * -(-extents[1] // _ROWS_OF_SQUARES) * -(-extents[2] // _PLACES_OF_SQUARES)
    items = batch * -(-channels // lanes) * bands
    numbers = {"PITCH": shape[-1], "ROWS": _ROWS_OF_SQUARES, "WIDTH": _PLACES_OF_SQUARES}
    return _plan(this, problem, traits, "copy_channels_last", items, math.prod(shape), lows, extents, numbers)


def _plan(
    this: Pass,
    problem: ConvProblem,
    traits: Traits,
    kernel: str,
    items: int,
    elements: int,
    lows: Sequence[int],
    extents: Sequence[int],
    numbers: Mapping[str, int],
) -> Plan:
    """Plan a copy of so many elements by a kernel, with the arguments that both kernels have and its own."""
    launch = Launch(
        "conv_copy.cl",
        kernel,
        (*problem.defines, ("VECTOR_BYTES", traits.vector_bytes)),
        items,
        {"x": this.arrays[0], "copy": this.copy},
        {
            "N": this.data_shape[0],
            "C": this.data_shape[1],
            **by_axis("I", [window.extent for window in this.windows]),
            **by_axis("E", extents),
            **by_axis("P", lows),
            "padding_mode": PADDING_MODES.index(this.padding_mode),
            **numbers,
        },
        OPERATIONS_OF_A_COPY * elements,
        local_size=1,
    )
    return Plan((launch,), {this.copy: elements * problem.real_bytes})
