"""Normalisation: which values of the input are normalised together, with which weights, and how kernels walk them.

The values that are normalised together are a row. Whatever the operation, each axis of the input, with the channels'
axis split into groups where there are some, either counts rows or runs along them, and weights depend on some axes:

    operation       axes of the input        count rows    run along them    weights
    batch_norm      N, C, spatial            C             N, spatial        C
    instance_norm   N, C, spatial            N, C          spatial           C
    group_norm      N, G, C/G, spatial       N, G          C/G, spatial      G, C/G
    layer_norm      outer, inner             outer         inner             inner
    rms_norm        outer, inner             outer         inner             inner

Kernels know two axes that count rows and four along them (kernels/norm.h).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clconv.arguments import integer
from clconv.problem.epilogue import NO_EPILOGUE, EpilogueProblem
from clconv.problem.shapes import ITEMSIZE, check_elements, element_defines, real_bytes

__all__ = ["NormAxes", "NormProblem"]

Strides = tuple[int, ...]

#: How many axes kernels know: those that count rows, and those along a row.
_ROW_AXES, _ELEMENT_AXES = 2, 4


@dataclass(frozen=True)
class NormProblem:
    """What kernels compute, their axes merged as far as the arrays' strides allow.

    Attributes
    ----------
    rows : (R, Q)
        How many rows there are.
    elements : (A, D, H, W)
        Extents along a row.
    planes : int
        Into how many parts of equal length a row falls whose elements share a weight each: the channels of a group.
        0 if every element of a row has its own weight.
    rows_inside : bool
        Whether neighbouring rows lie side by side in memory, rather than a row's own elements.
    has_weight, has_bias : bool
    is_centred : bool
        Whether the mean is subtracted.
    given : bool
        Whether mean and variance are given: the running statistics.
    eps : float
    share : float or None
        The share of the rows' statistics in the new running statistics; None if none are updated.
    gradients : (bool, bool, bool)
        Whether the gradients of input, weight and bias are wanted; all False forward.
    dtype : str
    epilogue : EpilogueProblem
    """

    rows: tuple[int, int]
    elements: tuple[int, int, int, int]
    planes: int
    rows_inside: bool
    has_weight: bool
    has_bias: bool
    is_centred: bool
    given: bool
    eps: float
    share: float | None
    gradients: tuple[bool, bool, bool]
    dtype: str
    epilogue: EpilogueProblem = NO_EPILOGUE

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return math.prod(self.rows)

    @property
    def n(self) -> int:
        """The number of elements in a row."""
        return math.prod(self.elements)

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return ITEMSIZE[self.dtype]

    @property
    def real_bytes(self) -> int:
        """Bytes of a number in the type that kernels compute in."""
        return real_bytes(self.dtype)

    def sizes(self) -> dict[str, int]:
        """Return the kernels' size arguments by their names."""
        return dict(zip("RQADHW", self.rows + self.elements, strict=True))


class Arranged(NamedTuple):
    """Six extents, and for each operand six strides; whether neighbouring rows lie side by side."""

    rows: tuple[int, int]
    elements: tuple[int, int, int, int]
    strides: dict[str, Strides]
    rows_inside: bool


@dataclass(frozen=True)
class NormAxes:
    """The axes of a user's input, each either counting rows or running along them.

    Attributes
    ----------
    input_shape, parameter_shape : tuple of int
        Shapes of the input, and of weight and bias.
    extents : tuple of int
        The input's, with the axis of the channels split into groups and their channels if ``groups``.
    groups : int
        0 if channels are not split.
    counting : tuple of int
        Which of these axes count rows.
    weighted : tuple of int
        Which of these axes weight and bias have, in their own order.
    """

    input_shape: tuple[int, ...]
    parameter_shape: tuple[int, ...]
    extents: tuple[int, ...]
    groups: int
    counting: tuple[int, ...]
    weighted: tuple[int, ...]

    @classmethod
    def of_batch(cls, input_shape: Sequence[int]) -> NormAxes:
        """Return the axes of batch_norm: each channel is a row, over the batch and all pixels."""
        shape = _with_channels(input_shape)
        return cls(shape, shape[1:2], shape, 0, (1,), (1,))

    @classmethod
    def of_images(cls, input_shape: Sequence[int]) -> NormAxes:
        """Return the axes of instance_norm: each channel of each image is a row."""
        shape = _with_channels(input_shape)
        return cls(shape, shape[1:2], shape, 0, (0, 1), (1,))

    @classmethod
    def of_groups(cls, input_shape: Sequence[int], num_groups: int) -> NormAxes:
        """Return the axes of group_norm: each group of channels of each image is a row."""
        shape = _with_channels(input_shape)
        G, C = integer(num_groups, "num_groups", least=1), shape[1]
        if C % G:
            raise ValueError(f"num_groups must divide the {C} channels of input: num_groups={G}, input.shape={shape}")
        return cls(shape, shape[1:2], (shape[0], G, C // G, *shape[2:]), G, (0, 1), (1, 2))

    @classmethod
    def of_last(cls, input_shape: Sequence[int], normalized_shape: Sequence[int]) -> NormAxes:
        """Return the axes of layer_norm and rms_norm: a row is what the last axes hold."""
        shape = tuple(input_shape)
        check_elements({"input": shape})
        if not isinstance(normalized_shape, (tuple, list)):
            raise TypeError(
                "normalized_shape takes a tuple of integers, not "
                f"{type(normalized_shape).__name__}: normalized_shape={normalized_shape!r}"
            )
        inner = tuple(integer(extent, "normalized_shape", least=0) for extent in normalized_shape)
        if not inner:
            raise ValueError("normalized_shape takes at least one extent: normalized_shape=()")
        outer = len(shape) - len(inner)
        if shape[max(outer, 0) :] != inner:
            raise ValueError(
                f"input must end in the axes of normalized_shape: input.shape={shape}, normalized_shape={inner}"
            )
        return cls(shape, inner, shape, 0, tuple(range(outer)), tuple(range(outer, len(shape))))

    @property
    def n(self) -> int:
        """The number of elements in a row."""
        return math.prod(extent for axis, extent in enumerate(self.extents) if axis not in self.counting)

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return math.prod(self.extents[axis] for axis in self.counting)

    @property
    def per_element(self) -> bool:
        """Whether every element of a row has its own weight."""
        return not set(self.weighted) & set(self.counting)

    def input_strides(self, strides: Sequence[int]) -> Strides:
        """Return the strides of an array of the input's shape along all axes."""
        if not self.groups:
            return tuple(strides)
        return (strides[0], self.extents[2] * strides[1], strides[1], *strides[2:])

    def parameter_strides(self, strides: Sequence[int] | None) -> Strides:
        """Return the strides of an array of the parameters' shape along all axes: 0 along those that it lacks."""
        if strides is None:
            return (0,) * len(self.extents)
        own = (self.extents[2] * strides[0], strides[0]) if self.groups else tuple(strides)
        by_axis = dict(zip(self.weighted, own, strict=True))
        return tuple(by_axis.get(axis, 0) for axis in range(len(self.extents)))

    def arranged(self, strides: Mapping[str, Strides], leader: str, keeps_planes: bool) -> Arranged | None:
        """Merge axes that every operand walks evenly, until they are as many as kernels know; None if there are more.

        The axes along a row are ordered by the strides of ``leader``, the longest first, which is the order of
        summation. ``keeps_planes`` keeps the channels of a group apart from their pixels.
        """
        return _arranged(self, tuple(strides.items()), leader, keeps_planes)


def _with_channels(input_shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(input_shape)
    if len(shape) < 2:
        raise ValueError(f"input takes at least 2 axes, batch and channels: input.shape={shape} has {len(shape)}")
    check_elements({"input": shape})
    return shape


@functools.lru_cache(maxsize=1024)
def _arranged(
    axes: NormAxes, operands: tuple[tuple[str, Strides], ...], leader: str, keeps_planes: bool
) -> Arranged | None:
    """Return what `NormAxes.arranged` says; layers are called with the same shapes and strides again and again."""
    strides = dict(operands)
    along = [axis for axis in range(len(axes.extents)) if axis not in axes.counting]
    apart = [2] if axes.groups and keeps_planes else []
    along = sorted((a for a in along if a not in apart), key=lambda axis: -abs(strides[leader][axis]))
    # Channels are never merged with batches: running statistics and gradients of weights belong to channels.
    rows = _merged(axes, list(axes.counting), strides) if axes.per_element else [[axis] for axis in axes.counting]
    merged = _merged(axes, along, strides)
    if len(rows) > _ROW_AXES or len(apart) + len(merged) > _ELEMENT_AXES:
        return None
    chosen = [
        *[[]] * (_ROW_AXES - len(rows)),
        *rows,
        *([axis] for axis in apart),
        *[[]] * (_ELEMENT_AXES - len(apart) - len(merged)),
        *merged,
    ]
    R, Q, A, D, H, W = (math.prod(axes.extents[axis] for axis in together) for together in chosen)
    walked = {
        name: tuple(steps[together[-1]] if together else 0 for together in chosen) for name, steps in strides.items()
    }
    inner = abs(walked[leader][5]) if W > 1 else math.inf
    is_inside = Q > 1 and abs(walked[leader][1]) < inner
    return Arranged((R, Q), (A, D, H, W), walked, is_inside and not (axes.groups and axes.extents[2] > 1))


def _merged(axes: NormAxes, some: list[int], strides: Mapping[str, Strides]) -> list[list[int]]:
    """Put neighbouring axes together that are one axis to every operand."""
    groups: list[list[int]] = []
    for axis in some:
        extent = axes.extents[axis]
        if extent == 1:
            continue
        if groups and all(steps[groups[-1][-1]] == extent * steps[axis] for steps in strides.values()):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups
