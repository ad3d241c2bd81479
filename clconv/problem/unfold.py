"""Windows over a batch of channels, without weights: what unfold and fold compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clconv.arguments import per_axis
from clconv.problem.shapes import (
    canonical_strides,
    check_elements,
    element_defines,
    extents_of,
    joined_shape,
    rank_of,
    split_shape,
    window_sizes,
)
from clconv.problem.window import Window, windows_over

__all__ = ["WindowProblem"]


@dataclass(frozen=True)
class WindowProblem:
    """Windows over a batch of channels, without weights: unfold and fold.

    Attributes
    ----------
    N, C : int
        Batch and channels.
    windows : tuple of Window
        One per spatial axis, always three.
    padding_mode : str
        What the padding holds.
    dtype : str
        "float16", "float32" or "float64".
    rank : int
        The user's number of spatial axes.
    batched : bool
        Whether the user's arrays have a batch axis.
    """

    N: int
    C: int
    windows: tuple[Window, Window, Window]
    padding_mode: str
    dtype: str
    rank: int
    batched: bool

    @classmethod
    def for_unfold(
        cls,
        input_shape: Sequence[int],
        kernel_size: Any,
        dilation: Any,
        padding: Any,
        stride: Any,
        *,
        padding_mode: str,
        dtype: str,
    ) -> WindowProblem:
        """Make the problem of ``unfold`` from its arguments."""
        rank = rank_of("kernel_size", kernel_size)
        batch, channels, extents = split_shape("input", input_shape, rank)
        kernels = per_axis(kernel_size, "kernel_size", rank, least=1)
        windows = windows_over(extents, kernels, stride, padding, dilation, padding_mode)
        problem = cls(batch, channels, windows, padding_mode, dtype, rank, len(input_shape) == rank + 2)
        problem._check_elements()
        return problem

    @classmethod
    def for_fold(
        cls,
        input_shape: Sequence[int],
        output_size: Any,
        kernel_size: Any,
        dilation: Any,
        padding: Any,
        stride: Any,
        *,
        padding_mode: str,
        dtype: str,
    ) -> WindowProblem:
        """Make the problem of ``fold``, the adjoint of the unfold whose input has extents ``output_size``."""
        named = "kernel_size" if isinstance(kernel_size, Sequence) else "output_size"
        rank = rank_of(named, kernel_size if isinstance(kernel_size, Sequence) else output_size)
        if len(input_shape) not in (2, 3):
            raise ValueError(
                "input takes 3 axes (batch, channels * taps, windows), or 2 without the batch: "
                f"input.shape={tuple(input_shape)} has {len(input_shape)}"
            )
        extents = per_axis(output_size, "output_size", rank, least=1)
        kernels = per_axis(kernel_size, "kernel_size", rank, least=1)
        windows = windows_over(extents, kernels, stride, padding, dilation, padding_mode, extent_name="output_size")
        batched = len(input_shape) == 3
        columns, count = input_shape[-2:]
        taps, outputs = math.prod(kernels), math.prod(window.output for window in windows)
        if columns % taps:
            raise ValueError(
                f"input takes a multiple of {taps} rows, the number of taps of the kernel, but it has {columns}: "
                f"input.shape={tuple(input_shape)}, kernel_size={kernels}"
            )
        if count != outputs:
            raise ValueError(
                f"input takes {outputs} columns, one for each window over output_size={extents}, but it has {count}: "
                f"input.shape={tuple(input_shape)}"
            )
        batch = input_shape[0] if batched else 1
        problem = cls(batch, columns // taps, windows, padding_mode, dtype, rank, batched)
        problem._check_elements()
        return problem

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of what unfold takes and fold returns: ``(N, C, *extents)``, without N if unbatched."""
        return joined_shape(self.batched, self.N, self.C, extents_of(self.windows, self.rank))

    @property
    def columns_shape(self) -> tuple[int, ...]:
        """Shape of what unfold returns and fold takes: ``(N, C * taps, outputs)``, without N if unbatched."""
        outputs = math.prod(window.output for window in self.windows)
        return joined_shape(self.batched, self.N, self.C * self.taps, (outputs,))

    @property
    def taps(self) -> int:
        """The number of taps of a window."""
        return math.prod(window.kernel for window in self.windows)

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    def data_strides(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the strides of an array of ``data_shape`` along the five canonical axes."""
        return canonical_strides(strides, self.batched, self.rank)

    def columns_strides(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the strides of an array of ``columns_shape`` along batch, rows and windows."""
        return tuple(strides) if self.batched else (0, *strides)

    def sizes(self) -> dict[str, int]:
        """Return the kernels' size arguments by their names."""
        return {"N": self.N, "C": self.C, **window_sizes(self.windows, self.padding_mode)}

    def _check_elements(self) -> None:
        check_elements({"input": self.data_shape, "output": self.columns_shape})
