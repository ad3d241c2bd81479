"""Sampling images at the positions of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clconv.arguments import LARGEST, choice, flag
from clconv.problem.shapes import canonical_strides, check_elements, element_defines, real_bytes
from clconv.problem.window import AXES

__all__ = ["MODES", "PADDING_MODES", "GridSampleProblem"]

#: In the order of the constants in kernels/grid_sample.cl.
MODES = ("nearest", "bilinear", "bicubic")
PADDING_MODES = ("zeros", "border", "reflection")


@dataclass(frozen=True)
class GridSampleProblem:
    """What grid_sample reads.

    Attributes
    ----------
    N, C : int
        Batch and channels.
    extents, outputs : tuple of int
        The user's two or three extents of the input and of the grid.
    mode, padding_mode : str
        How pixels are weighted, and what is outside the image.
    align_corners : bool
        Whether -1 and 1 are the centres of the corner pixels, or else their outer edges.
    dtype : str
        "float16", "float32" or "float64".
    """

    N: int
    C: int
    extents: tuple[int, ...]
    outputs: tuple[int, ...]
    mode: str
    padding_mode: str
    align_corners: bool
    dtype: str

    @classmethod
    def for_grid_sample(
        cls,
        input_shape: Sequence[int],
        grid_shape: Sequence[int],
        mode: Any,
        padding_mode: Any,
        align_corners: Any,
        *,
        dtype: str,
    ) -> GridSampleProblem:
        """Make the problem of ``grid_sample`` from its arguments."""
        shape, grid = tuple(input_shape), tuple(grid_shape)
        choice(mode, "mode", MODES)
        choice(padding_mode, "padding_mode", PADDING_MODES)
        aligned = False if align_corners is None else flag(align_corners, "align_corners")
        if len(shape) not in (4, 5):
            raise ValueError(
                f"input takes 4 or 5 axes (batch, channels and 2 or 3 spatial): input.shape={shape} has {len(shape)}"
            )
        rank = len(shape) - 2
        if len(grid) != len(shape) or grid[-1] != rank or grid[0] != shape[0]:
            raise ValueError(
                f"grid takes a batch of {shape[0]}, {rank} axes of positions and one of {rank} coordinates: "
                f"grid.shape={grid}, input.shape={shape}"
            )
        if mode == "bicubic" and rank != 2:
            raise ValueError(f"mode='bicubic' takes 2 spatial axes, but input has {rank}: input.shape={shape}")
        if not all(1 <= extent <= LARGEST for extent in shape[2:]) or max(grid[1:-1]) > LARGEST:
            raise ValueError(
                f"spatial extents must be from 1 to 2**30 - 1, those of grid up to that: input.shape={shape}, "
                f"grid.shape={grid}"
            )
        problem = cls(shape[0], shape[1], shape[2:], grid[1:-1], mode, padding_mode, aligned, dtype)
        check_elements({"input": shape, "grid": grid, "output": problem.output_shape})
        return problem

    @property
    def rank(self) -> int:
        """The user's number of spatial axes."""
        return len(self.extents)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return (self.N, self.C, *self.extents)

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Shape of the grid."""
        return (self.N, *self.outputs, self.rank)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (self.N, self.C, *self.outputs)

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    @property
    def real_bytes(self) -> int:
        """Bytes of a number that sums are made in."""
        return real_bytes(self.dtype)

    def strides(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the strides of an input or output array along the five canonical axes."""
        return canonical_strides(strides, True, self.rank)

    def grid_strides(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return the strides of a grid along batch, the three spatial axes and coordinates."""
        return (strides[0], *(0,) * (AXES - self.rank), *strides[1:])

    def sizes(self) -> dict[str, int]:
        """Return the kernels' size arguments by their names."""
        missing = (1,) * (AXES - self.rank)
        inputs = zip(("ID", "IH", "IW"), missing + self.extents, strict=True)
        outputs = zip(("OD", "OH", "OW"), missing + self.outputs, strict=True)
        return {
            "N": self.N,
            "C": self.C,
            **dict(inputs),
            **dict(outputs),
            "RANK": self.rank,
            "mode": MODES.index(self.mode),
            "padding_mode": PADDING_MODES.index(self.padding_mode),
            "align_corners": int(self.align_corners),
        }
