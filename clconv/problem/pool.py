"""Poolings: windows over a batch of channels, each of which is reduced to one value."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clconv.arguments import LARGEST, choice, flag, per_axis
from clconv.problem.epilogue import NO_EPILOGUE, EpilogueProblem
from clconv.problem.shapes import canonical_strides, check_elements, element_defines, joined_shape, split_shape
from clconv.problem.window import AXES, resolved_padding

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "TIES",
    "AvgPoolProblem",
    "LpPoolProblem",
    "MaxPoolProblem",
    "PoolAxis",
    "PoolProblem",
    "check_filled",
    "strides_or_kernel",
]

#: To which of equal maxima a gradient goes.
TIES = ("first", "all", "share")


@dataclass(frozen=True)
class PoolAxis:
    """The windows of a pooling along one axis.

    Window ``o`` begins at ``floor(o*S / Q) - P`` and has ``ceil((o*S + K) / Q) - floor(o*S / Q)`` taps, D apart.
    One that slides has Q = 1, which leaves ``o*S - P`` and K. Windows that share out an axis among O outputs have
    S = K = I and Q = O.

    Attributes
    ----------
    extent : int
        I, the pixels along the axis.
    kernel, stride, dilation, low, high : int
        K, S, D, P, and the padding after the last pixel.
    parts : int
        Q.
    output : int
        O, how many windows there are.
    """

    extent: int = 1
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    low: int = 0
    high: int = 0
    parts: int = 1
    output: int = 1

    @classmethod
    def sharing(cls, extent: int, output: int) -> PoolAxis:
        """Return windows that share out an axis; where all shares are equal, they are windows that slide."""
        if output and extent % output == 0:
            return cls(extent, extent // output, extent // output, output=output)
        return cls(extent, extent, extent, parts=max(output, 1), output=output)

    @property
    def span(self) -> int:
        """Positions from the first tap of a window to its last, both included."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def padded(self) -> int:
        """The extent with its padding."""
        return self.low + self.extent + self.high

    @property
    def taps(self) -> int:
        """The most taps that a window has."""
        return -(-self.kernel // self.parts) + (self.parts > 1)

    def outputs(self, ceil_mode: bool) -> int:
        """Count the windows that slide and fit; with ``ceil_mode``, also the one that goes beyond the padding.

        As in torch, that one is kept only if it starts before the padding on the high side.
        """
        slack = self.padded - self.span
        if not ceil_mode:
            return slack // self.stride + 1
        return min(-(-slack // self.stride) + 1, -(-(self.low + self.extent) // self.stride))

    def has_window_in_padding(self) -> bool:
        """Return whether a window that slides has no tap on a pixel.

        One that begins before the first pixel reaches it, or the first window would not, so its first tap that is not
        before the image is at ``start mod D``: which is beyond the image if there are that few pixels.
        """
        if self.low >= self.span or (self.output - 1) * self.stride >= self.low + self.extent:
            return True
        if self.extent >= self.dilation:
            return False
        before = min(-(-self.low // self.stride), self.output)
        distinct = min(before, self.dilation // math.gcd(self.stride, self.dilation))  # residues, before they repeat
        if distinct > self.extent:
            return True
        starts = range(-self.low, distinct * self.stride - self.low, self.stride)
        return any(start % self.dilation >= self.extent for start in starts)


@dataclass(frozen=True)
class PoolProblem:
    """Windows over a batch of channels. Make one with :meth:`sliding` or :meth:`sharing`.

    Attributes
    ----------
    N, C : int
        Batch and channels.
    axes : tuple of PoolAxis
        One per spatial axis, always three.
    dtype : str
        "float16", "float32" or "float64".
    rank : int
        The user's number of spatial axes.
    batched : bool
        Whether the user's arrays have a batch axis.
    epilogue : EpilogueProblem
        What is done to the output on its way to memory.

    Examples
    --------
    >>> problem = MaxPoolProblem.sliding(2, (8, 64, 112, 112), 3, 2, 1, dtype="float32")
    >>> problem.output_shape, problem.taps
    ((8, 64, 56, 56), 9)
    >>> PoolProblem.sharing(2, (8, 64, 112, 112), (7, None), dtype="float32").output_shape
    (8, 64, 7, 112)
    """

    N: int
    C: int
    axes: tuple[PoolAxis, PoolAxis, PoolAxis]
    dtype: str
    rank: int
    batched: bool
    epilogue: EpilogueProblem = NO_EPILOGUE

    @classmethod
    def sliding(
        cls,
        rank: int,
        input_shape: Sequence[int],
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: Any = False,
        *,
        dtype: str,
        **rule: Any,
    ) -> Self:
        """Make the problem of windows that slide; ``rule`` are the fields of the kind of pooling.

        Raises
        ------
        ValueError
            If the shape and the arguments do not fit each other, or a window would have no pixel.
        TypeError
            If an argument has the wrong type.
        """
        batch, channels, extents = split_shape("input", input_shape, rank)
        kernels = per_axis(kernel_size, "kernel_size", rank, least=1)
        strides = strides_or_kernel(stride, kernels)
        dilations = per_axis(dilation, "dilation", rank, least=1)
        pairs = resolved_padding(padding, extents, kernels, strides, dilations)
        if _is_one_number_per_axis(padding):
            _check_half(pairs, kernels)
        flag(ceil_mode, "ceil_mode")
        check_filled(input_shape, channels, extents)
        axes = [
            _counted(PoolAxis(extent, kernel, step, dilation, low, high), ceil_mode, axis)
            for axis, (extent, kernel, step, dilation, (low, high)) in enumerate(
                zip(extents, kernels, strides, dilations, pairs, strict=True)
            )
        ]
        return cls._made(batch, channels, axes, dtype, len(input_shape) == rank + 2, rule)

    @classmethod
    def sharing(
        cls,
        rank: int,
        input_shape: Sequence[int],
        output_size: Any,
        *,
        dtype: str,
        needs_channels: bool = False,
        **rule: Any,
    ) -> Self:
        """Make the problem of adaptive pooling, whose windows share out the input; ``rule`` as for :meth:`sliding`."""
        batch, channels, extents = split_shape("input", input_shape, rank)
        if isinstance(output_size, Sequence) and len(output_size) == rank:
            output_size = tuple(
                extent if size is None else size for size, extent in zip(output_size, extents, strict=True)
            )
        outputs = per_axis(output_size, "output_size", rank, least=0)
        check_filled(input_shape, channels if needs_channels else 1, extents)
        axes = [PoolAxis.sharing(extent, output) for extent, output in zip(extents, outputs, strict=True)]
        return cls._made(batch, channels, axes, dtype, len(input_shape) == rank + 2, rule)

    @classmethod
    def _made(
        cls, batch: int, channels: int, axes: list[PoolAxis], dtype: str, batched: bool, rule: dict[str, Any]
    ) -> Self:
        first, second, third = (*(PoolAxis(),) * (AXES - len(axes)), *axes)
        problem = cls(batch, channels, (first, second, third), dtype, len(axes), batched, **rule)
        check_elements({"input": problem.input_shape, "output": problem.output_shape})
        return problem

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the user's input."""
        return self._shape(tuple(axis.extent for axis in self.axes))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the user's output: ``(N, C, *outputs)``, without N if the input has none."""
        return self._shape(tuple(axis.output for axis in self.axes))

    @property
    def inputs(self) -> int:
        """Number of elements of the input."""
        return math.prod(self.input_shape)

    @property
    def outputs(self) -> int:
        """Number of elements of the output."""
        return math.prod(self.output_shape)

    @property
    def taps(self) -> int:
        """The most taps that a window has."""
        return math.prod(axis.taps for axis in self.axes)

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    def strides(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the strides of an input or output array along the five canonical axes."""
        return canonical_strides(strides, self.batched, self.rank)

    def sizes(self) -> dict[str, int]:
        """Return the kernels' size arguments by their names."""
        sizes = {"N": self.N, "C": self.C}
        for letter, axis in zip("DHW", self.axes, strict=True):
            sizes |= {
                f"I{letter}": axis.extent,
                f"O{letter}": axis.output,
                f"K{letter}": axis.kernel,
                f"S{letter}": axis.stride,
                f"D{letter}": axis.dilation,
                f"P{letter}": axis.low,
                f"Q{letter}": axis.parts,
                f"HIGH_{letter}": axis.high,
            }
        return sizes

    def _shape(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        return joined_shape(self.batched, self.N, self.C, spatial[AXES - self.rank :])


@dataclass(frozen=True)
class MaxPoolProblem(PoolProblem):
    """Windows of which the maximum is taken.

    Attributes
    ----------
    indices : bool
        Whether the places of the maxima are wanted, too.
    ties : str
        Which of equal maxima get the gradient: the "first", "all", or all of them a "share".
    magnitudes : bool
        Whether the maximum of the magnitudes is taken: the Lp norm of infinite order.
    """

    indices: bool = False
    ties: str = "first"
    magnitudes: bool = False

    def __post_init__(self) -> None:
        flag(self.indices, "return_indices")
        choice(self.ties, "ties", TIES)


@dataclass(frozen=True)
class AvgPoolProblem(PoolProblem):
    """Windows of which the mean is taken.

    Attributes
    ----------
    count_include_pad : bool
        Whether a sum is divided by its number of taps on pixels and padding, or on pixels alone.
    divisor : int or None
        What every sum is divided by instead.
    """

    count_include_pad: bool = True
    divisor: int | None = None

    def __post_init__(self) -> None:
        flag(self.count_include_pad, "count_include_pad")
        if self.divisor is not None:
            _check_divisor(self.divisor)


@dataclass(frozen=True)
class LpPoolProblem(PoolProblem):
    """Windows of which the Lp norm is taken, of finite order ``norm_type``; the infinite one is a maximum."""

    norm_type: float = 2.0


def strides_or_kernel(stride: Any, kernels: tuple[int, ...]) -> tuple[int, ...]:
    """Return the stride of each axis: the kernel's size if it is None or, as torch's operators may be given, empty."""
    if stride is None or (isinstance(stride, (tuple, list)) and not stride):
        return kernels
    return per_axis(stride, "stride", len(kernels), least=1)


def _is_one_number_per_axis(padding: Any) -> bool:
    """Return whether padding was given as torch takes it, the same on both sides."""
    entries = padding if isinstance(padding, Sequence) and not isinstance(padding, str) else (padding,)
    return not any(isinstance(entry, Sequence) for entry in entries)


def _check_half(pairs: Sequence[tuple[int, int]], kernels: Sequence[int]) -> None:
    if any(2 * low > kernel for (low, _), kernel in zip(pairs, kernels, strict=True)):
        raise ValueError(
            "padding must be at most half of kernel_size, dilation not counted (pairs of (low, high) may be larger): "
            f"padding={tuple(low for low, _ in pairs)}, kernel_size={tuple(kernels)}"
        )


def check_filled(input_shape: Sequence[int], channels: int, extents: Sequence[int]) -> None:
    """Refuse what torch refuses: no channels or no pixels. An empty batch is lawful."""
    if not channels or not all(extents):
        raise ValueError(
            "input must have at least 1 channel, and 1 position along each spatial axis: "
            f"input.shape={tuple(input_shape)}"
        )


def _counted(window: PoolAxis, ceil_mode: bool, axis: int) -> PoolAxis:
    """Return the windows of an axis with their number; refuse windows that do not fit or have no pixel."""
    where = f"spatial axis {axis} of input, {window.extent} positions padded by {(window.low, window.high)}"
    if window.padded > LARGEST or window.span > LARGEST:
        raise ValueError(
            f"an axis takes at most 2**30 - 1 positions, padding and window included: {where}, window {window.span}"
        )
    output = window.outputs(ceil_mode)
    if output < 1:
        raise ValueError(
            f"the window is larger than the padded input: dilation * (kernel_size - 1) + 1 = {window.dilation} * "
            f"({window.kernel} - 1) + 1 = {window.span}, but {where}, makes {window.padded}"
        )
    counted = replace(window, output=output)
    if counted.has_window_in_padding():
        raise ValueError(
            f"each window must have a tap on at least one position of the input, but one is all padding: {where}, "
            f"kernel_size={window.kernel}, stride={window.stride}, dilation={window.dilation}"
        )
    return counted


def _check_divisor(divisor: Any) -> None:
    try:
        number = operator.index(divisor)
    except TypeError:
        number = None
    if number is None or isinstance(divisor, (bool, np.bool_)):
        raise TypeError(
            f"divisor_override takes an integer, not {type(divisor).__name__}: divisor_override={divisor!r}"
        )
    if number == 0 or abs(number) > np.iinfo(np.int64).max:
        raise ValueError(f"divisor_override must not be 0 and must fit 64 bits: divisor_override={divisor!r}")
