"""A convolution, plain or transposed: the sizes of its arrays and everything that follows from them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from clconv.arguments import choice, flag, integer
from clconv.problem.epilogue import NO_EPILOGUE, EpilogueProblem
from clconv.problem.shapes import (
    ITEMSIZE,
    canonical_strides,
    check_elements,
    element_defines,
    extents_of,
    joined_shape,
    real_bytes,
    split_shape,
    window_sizes,
)
from clconv.problem.window import AXES, Window, transposed_windows, windows_over

__all__ = ["ConvProblem"]


@dataclass(frozen=True)
class ConvProblem:
    """A convolution: the sizes of its arrays and its windows.

    A transposed convolution is stored as the forward convolution whose backward-data pass it is: its output is that
    convolution's data. Make one with :meth:`from_shapes` or :meth:`from_transposed_shapes`.

    Attributes
    ----------
    N, G, ICG, OCG : int
        Batch, groups, and the forward convolution's input and output channels in each group.
    windows : tuple of Window
        One per spatial axis, always three, over the forward convolution's data.
    padding_mode : str
        What the padding holds: "zeros", "reflect", "replicate", "circular" or "symmetric".
    flip : bool
        Whether the kernel is rotated by 180 degrees (the mathematical convolution).
    dtype : str
        "float16", "float32" or "float64".
    bias : bool
        Whether a bias is added.
    rank : int
        The user's number of spatial axes.
    batched, transposed : bool
        Whether the arrays have a batch axis; whether this is a transposed convolution.
    epilogue : EpilogueProblem
        What is done to the output before it is stored.
    dense : tuple of str
        Which of x, w and dy, the data, the weights and the gradient of the forward convolution's output, are known to
        lie in memory without gaps within each channel, so that a kernel may walk a plane as one row.

    Examples
    --------
    >>> problem = ConvProblem.from_shapes((8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3, bias=True)
    >>> problem.output_shape, problem.parameters, problem.macs
    ((8, 64, 112, 112), 9472, 944111616)
    """

    N: int
    G: int
    ICG: int
    OCG: int
    windows: tuple[Window, Window, Window]
    padding_mode: str
    flip: bool
    dtype: str
    bias: bool
    rank: int
    batched: bool
    transposed: bool
    epilogue: EpilogueProblem = NO_EPILOGUE
    dense: tuple[str, ...] = ()

    def without_gaps(self) -> ConvProblem:
        """Return the problem of arrays whose channels lie in memory without gaps, weights that are not rotated too."""
        return replace(self, dense=("x", "dy") if self.flip else ("x", "dy", "w"))

    @classmethod
    def from_shapes(
        cls,
        input_shape: Sequence[int],
        weight_shape: Sequence[int],
        *,
        bias: bool = False,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        flip: bool = False,
        dtype: str = "float32",
    ) -> ConvProblem:
        """Make the problem of ``conv1d``, ``conv2d`` or ``conv3d`` from the shapes of its arrays.

        Parameters
        ----------
        input_shape : sequence of int
            ``(N, IC, *extents)``, or ``(IC, *extents)`` without a batch.
        weight_shape : sequence of int
            ``(OC, IC / groups, *kernel)``; its length gives the number of spatial axes.
        bias : bool
            Whether a bias is added to the output.
        stride, padding, dilation, groups, padding_mode, flip
            As :func:`clconv.conv2d` takes them.
        dtype : str
            Type of all arrays.

        Raises
        ------
        ValueError
            If the shapes and arguments do not fit each other; the message names the argument, its value and the rule.
        TypeError
            If an argument has the wrong type.
        """
        input_shape, weight_shape = _checked_shape("input", input_shape), _checked_shape("weight", weight_shape)
        bias, dtype = flag(bias, "bias"), choice(dtype, "dtype", tuple(ITEMSIZE))
        rank = _weight_rank(weight_shape)
        batch, channels, extents = split_shape("input", input_shape, rank)
        G = integer(groups, "groups", least=1)
        OC, ICG, kernels = weight_shape[0], weight_shape[1], _kernel(weight_shape)
        if channels != ICG * G:
            raise ValueError(
                f"weight takes {ICG} channels in each of {G} groups, {ICG * G} in all, but input has {channels}: "
                f"input.shape={tuple(input_shape)}, weight.shape={tuple(weight_shape)}"
            )
        if OC % G:
            raise ValueError(
                f"groups must divide weight's {OC} output channels: groups={G}, weight.shape={tuple(weight_shape)}"
            )
        windows = windows_over(extents, kernels, stride, padding, dilation, padding_mode)
        batched = len(input_shape) == rank + 2
        problem = cls(
            batch,
            G,
            ICG,
            OC // G,
            windows,
            padding_mode,
            flag(flip, "flip"),
            dtype,
            bias,
            rank,
            batched,
            transposed=False,
        )
        problem._check_elements()
        return problem

    @classmethod
    def from_transposed_shapes(
        cls,
        input_shape: Sequence[int],
        weight_shape: Sequence[int],
        *,
        bias: bool = False,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        flip: bool = False,
        dtype: str = "float32",
    ) -> ConvProblem:
        """Make the problem of a transposed convolution from the shapes of its arrays.

        Parameters
        ----------
        input_shape : sequence of int
            ``(N, IC, *extents)``, or ``(IC, *extents)`` without a batch.
        weight_shape : sequence of int
            ``(IC, OC / groups, *kernel)``.
        output_padding : int or sequence of int
            How many positions longer than the least possible the output is, below stride or dilation.
        bias, stride, padding, groups, dilation, padding_mode, flip, dtype
            As for :meth:`from_shapes`.

        Examples
        --------
        >>> ConvProblem.from_transposed_shapes((1, 8, 5, 5), (8, 4, 3, 3), stride=2, padding=1).output_shape
        (1, 4, 9, 9)
        """
        input_shape, weight_shape = _checked_shape("input", input_shape), _checked_shape("weight", weight_shape)
        bias, dtype = flag(bias, "bias"), choice(dtype, "dtype", tuple(ITEMSIZE))
        rank = _weight_rank(weight_shape)
        batch, channels, extents = split_shape("input", input_shape, rank)
        G = integer(groups, "groups", least=1)
        kernels = _kernel(weight_shape)
        if channels != weight_shape[0]:
            raise ValueError(
                f"weight takes {weight_shape[0]} input channels, its first axis, but input has {channels}: "
                f"input.shape={tuple(input_shape)}, weight.shape={tuple(weight_shape)}"
            )
        if channels % G:
            raise ValueError(
                f"groups must divide input's {channels} channels: groups={G}, input.shape={tuple(input_shape)}"
            )
        if not all(extents):
            raise ValueError(
                f"input must have at least 1 position along each spatial axis: input.shape={tuple(input_shape)}"
            )
        windows = transposed_windows(extents, kernels, stride, padding, output_padding, dilation, padding_mode)
        batched = len(input_shape) == rank + 2
        problem = cls(
            batch,
            G,
            weight_shape[1],
            channels // G,
            windows,
            padding_mode,
            flag(flip, "flip"),
            dtype,
            bias,
            rank,
            batched,
            transposed=True,
        )
        problem._check_elements()
        return problem

    def __hash__(self) -> int:
        """Return the hash of all attributes, computed once: plans are found by it on every call."""
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, field.name) for field in fields(self)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the user's input."""
        return self.result_shape if self.transposed else self._data_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the user's output: ``(N, OC, *outputs)``, without N if the input has none."""
        return self._data_shape if self.transposed else self.result_shape

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight: ``(OC, IC / G, *kernel)`` of the forward convolution."""
        return (self.G * self.OCG, self.ICG, *(window.kernel for window in self.windows[AXES - self.rank :]))

    @property
    def bias_shape(self) -> tuple[int]:
        """Shape of a bias: one value per channel of the output."""
        return (self.G * (self.ICG if self.transposed else self.OCG),)

    @property
    def parameters(self) -> int:
        """Number of learned values: weight and bias."""
        return math.prod(self.weight_shape) + (self.bias_shape[0] if self.bias else 0)

    @property
    def macs(self) -> int:
        """Multiply-adds of one pass, those of taps over padding counted."""
        return math.prod(self.result_shape) * self.ICG * math.prod(window.kernel for window in self.windows)

    @property
    def bytes(self) -> int:
        """Bytes of input, weight, bias and output: what a pass must move at least once."""
        elements = math.prod(self.input_shape) + math.prod(self.output_shape) + self.parameters
        return elements * ITEMSIZE[self.dtype]

    @property
    def _data_shape(self) -> tuple[int, ...]:
        return joined_shape(self.batched, self.N, self.G * self.ICG, extents_of(self.windows, self.rank))

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the forward convolution's result: the output, or the input if transposed."""
        outputs = tuple(window.output for window in self.windows[AXES - self.rank :])
        return joined_shape(self.batched, self.N, self.G * self.OCG, outputs)

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    @property
    def real_bytes(self) -> int:
        """Bytes of the type that sums are held in: float for half."""
        return real_bytes(self.dtype)

    def activation_strides(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the strides of an input or output array along the five canonical axes."""
        return canonical_strides(strides, self.batched, self.rank)

    def weight_view(self, strides: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Return start and canonical strides of a weight array: flipped, it is walked from its last tap backwards."""
        canonical = canonical_strides(strides, True, self.rank)
        if not self.flip:
            return 0, canonical
        taps = canonical[2:]
        start = sum((window.kernel - 1) * stride for window, stride in zip(self.windows, taps, strict=True))
        return start, canonical[:2] + tuple(-stride for stride in taps)

    def sizes(self) -> dict[str, int]:
        """Return the kernels' size arguments by their names."""
        return {
            "N": self.N,
            "G": self.G,
            "ICG": self.ICG,
            "OCG": self.OCG,
            **window_sizes(self.windows, self.padding_mode),
        }

    def _check_elements(self) -> None:
        check_elements({"input": self.input_shape, "weight": self.weight_shape, "output": self.output_shape})


def _checked_shape(name: str, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, Sequence):
        raise TypeError(
            f"{name}_shape takes a sequence of integers, not {type(shape).__name__}: {name}_shape={shape!r}"
        )
    return tuple(integer(extent, f"{name}_shape", least=0) for extent in shape)


def _weight_rank(weight_shape: Sequence[int]) -> int:
    rank = len(weight_shape) - 2
    if not 1 <= rank <= AXES:
        raise ValueError(
            f"weight takes 3 to 5 axes, 2 for channels and 1 to 3 spatial: weight.shape={tuple(weight_shape)}"
        )
    return rank


def _kernel(weight_shape: Sequence[int]) -> tuple[int, ...]:
    kernel = tuple(weight_shape[2:])
    if not all(kernel):
        raise ValueError(f"weight must have at least 1 tap along each spatial axis: weight.shape={tuple(weight_shape)}")
    return kernel
