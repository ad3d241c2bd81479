"""The unpooling of maxima: values that go back to places in larger planes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clconv.arguments import LARGEST, integer, padding_pairs, per_axis
from clconv.problem.pool import check_filled, strides_or_kernel
from clconv.problem.shapes import canonical_strides, check_elements, element_defines, joined_shape, split_shape
from clconv.problem.window import AXES

__all__ = ["UnpoolProblem"]


@dataclass(frozen=True)
class UnpoolProblem:
    """Values that go back to places in larger planes, zero elsewhere.

    Attributes
    ----------
    N, C : int
        Batch and channels.
    input_extents, output_extents : tuple of int
        Always three.
    dtype, rank, batched
        As in :class:`clconv.problem.PoolProblem`.

    Examples
    --------
    >>> UnpoolProblem.from_shape(2, (1, 8, 5, 5), 3, 2, 1, None, dtype="float32").output_shape
    (1, 8, 9, 9)
    """

    N: int
    C: int
    input_extents: tuple[int, ...]
    output_extents: tuple[int, ...]
    dtype: str
    rank: int
    batched: bool

    @classmethod
    def from_shape(
        cls,
        rank: int,
        input_shape: Sequence[int],
        kernel_size: Any,
        stride: Any,
        padding: Any,
        output_size: Any,
        *,
        dtype: str,
    ) -> UnpoolProblem:
        """Make the problem from the arguments of the pooling whose output is put back."""
        batch, channels, extents = split_shape("input", input_shape, rank)
        kernels = per_axis(kernel_size, "kernel_size", rank, least=1)
        strides = strides_or_kernel(stride, kernels)
        pairs = padding_pairs(padding, "padding", rank)
        check_filled(input_shape, channels, extents)
        axes = zip(extents, strides, kernels, pairs, strict=True)
        default = tuple((extent - 1) * step + kernel - sum(pair) for extent, step, kernel, pair in axes)
        outputs = default if output_size is None else _requested(output_size, default, strides)
        if not all(1 <= extent <= LARGEST for extent in outputs):
            raise ValueError(
                "the output must have between 1 and 2**30 - 1 positions along each spatial axis: (input - 1) * stride "
                f"+ kernel_size - padding makes {outputs}, for input.shape={tuple(input_shape)}, stride={strides}, "
                f"kernel_size={kernels}, padding={pairs}"
            )
        missing = (1,) * (AXES - rank)
        batched = len(input_shape) == rank + 2
        problem = cls(batch, channels, missing + extents, missing + outputs, dtype, rank, batched)
        check_elements({"input": problem.input_shape, "output": problem.output_shape})
        return problem

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the user's input and indices."""
        return joined_shape(self.batched, self.N, self.C, self.input_extents[AXES - self.rank :])

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the user's output."""
        return joined_shape(self.batched, self.N, self.C, self.output_extents[AXES - self.rank :])

    @property
    def inputs(self) -> int:
        """Number of elements of the input."""
        return math.prod(self.input_shape)

    @property
    def outputs(self) -> int:
        """Number of elements of the output."""
        return math.prod(self.output_shape)

    @property
    def outputs_of_a_plane(self) -> int:
        """Number of places that an index can name."""
        return math.prod(self.output_extents)

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    def strides(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the strides of an array along the five canonical axes."""
        return canonical_strides(strides, self.batched, self.rank)

    def sizes(self) -> dict[str, int]:
        """Return the kernels' size arguments by their names."""
        extents = {
            f"{array}{axis}": extent
            for array, sizes in (("I", self.input_extents), ("O", self.output_extents))
            for axis, extent in zip("DHW", sizes, strict=True)
        }
        return {"N": self.N, "C": self.C, **extents}


def _requested(output_size: Any, default: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the output's extents, which the windows leave open by less than a stride."""
    rank = len(default)
    if isinstance(output_size, Sequence) and len(output_size) == rank + 2:
        for size in output_size[:2]:
            integer(size, "output_size", least=0)
        output_size = output_size[2:]
    extents = per_axis(output_size, "output_size", rank, least=1)
    if any(abs(extent - d) >= step for extent, d, step in zip(extents, default, strides, strict=True)):
        raise ValueError(
            f"output_size must differ by less than the stride from {default}, what the windows reach: "
            f"output_size={output_size!r}, stride={strides}"
        )
    return extents
