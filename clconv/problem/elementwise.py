"""Operations on each element by itself: how arrays of any shape and strides are walked together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clconv.problem.shapes import check_elements, element_defines

__all__ = ["ACTIVATIONS", "AXES", "ActivationProblem", "CommonWalk", "DropoutProblem"]

#: The functions of kernels/activation.h, in the order of their numbers there.
ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "hardswish")

#: The axes that a kernel walks; further ones take a launch for each of their positions.
AXES = 5


@dataclass(frozen=True)
class CommonWalk:
    """One walk over several arrays of one shape, in the fewest axes: adjacent ones that all arrays step evenly are one.

    Attributes
    ----------
    extents : tuple of int
        Positions along each axis, the axis with the smallest steps last.
    strides : tuple of tuple of int
        Each array's steps along these axes.

    Examples
    --------
    >>> walk = CommonWalk.over((8, 64, 7, 7), (3136, 49, 7, 1), (3136, 1, 448, 64))
    >>> walk.extents
    (1, 1, 8, 64, 49)
    >>> walk.strides
    ((0, 0, 3136, 49, 1), (0, 0, 3136, 1, 64))
    """

    extents: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def dense(self) -> bool:
        """Whether the elements of every array lie side by side, in the same order."""
        one_axis = math.prod(self.extents) == self.extents[-1]
        return one_axis and all(steps[-1] == 1 for steps in self.strides)

    @classmethod
    def over(cls, shape: Sequence[int], *strides: Sequence[int], least: int = AXES) -> CommonWalk:
        """Return the walk over arrays of a shape with these strides, in the order of the first one's memory.

        It has ``least`` axes, or more where they cannot be merged.
        """
        check_elements({"input": tuple(shape)})
        axes = [(extent, *steps) for extent, *steps in zip(shape, *strides, strict=True) if extent != 1]
        axes.sort(key=lambda axis: -abs(axis[1]))
        merged: list[tuple[int, ...]] = []
        for extent, *steps in axes:
            if merged and all(outer == extent * inner for outer, inner in zip(merged[-1][1:], steps, strict=True)):
                merged[-1] = (merged[-1][0] * extent, *steps)
            else:
                merged.append((extent, *steps))
        merged = [(1, *(0 for _ in strides))] * (least - len(merged)) + merged
        extents, *walked = zip(*merged, strict=True)
        return cls(tuple(extents), tuple(walked))


@dataclass(frozen=True)
class ActivationProblem:
    """An activation, forward or backward.

    Attributes
    ----------
    function : str
        One of :data:`ACTIVATIONS`.
    slope : float
        Of leaky_relu below zero.
    extents : tuple of int
        Of a :class:`CommonWalk`.
    dense : bool
        Whether the walk is over arrays without gaps, all in one order.
    dtype : str
        "float16", "float32" or "float64".
    """

    function: str
    slope: float
    extents: tuple[int, ...]
    dense: bool
    dtype: str

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.extents)

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)


@dataclass(frozen=True)
class DropoutProblem:
    """Dropout, or its gradient.

    Attributes
    ----------
    threshold : int
        An element is dropped if its random word, of 32 bits, is below this.
    scale : float
        Of the elements that are kept.
    seed, offset : int
        Key of the random words, as 64 bits with a sign, and which of them is the first.
    extents, places : tuple of int
        Of a :class:`CommonWalk`, and the steps along these of an element's number.
    dtype : str
        "float16", "float32" or "float64".
    """

    threshold: int
    scale: float
    seed: int
    offset: int
    extents: tuple[int, ...]
    places: tuple[int, ...]
    dtype: str

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)
