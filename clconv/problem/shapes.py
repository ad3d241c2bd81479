"""What all problems share: how a user's shape is split, stored with three spatial axes, and measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from clconv.problem.window import AXES, PADDING_MODES, Window

__all__ = [
    "ITEMSIZE",
    "canonical_strides",
    "check_elements",
    "element_defines",
    "extents_of",
    "joined_shape",
    "merged_stride",
    "rank_of",
    "real_bytes",
    "split_shape",
    "window_sizes",
]

#: Bytes of an element of each type.
ITEMSIZE = {"float16": 2, "float32": 4, "float64": 8}

#: Offsets, and counts of terms times the slices of a sum, stay far from the end of 64 bits.
_MOST_ELEMENTS = 2**47


def real_bytes(dtype: str) -> int:
    """Return the bytes of the type that arithmetic on elements is done in, and sums are held in: float for half."""
    return max(4, ITEMSIZE[dtype])


def element_defines(dtype: str) -> tuple[tuple[str, int], ...]:
    """Return what kernels are compiled with for arrays of a type."""
    return (("ELEMENT", 8 * ITEMSIZE[dtype]),)


def rank_of(name: str, size: Any) -> int:
    """Return the number of spatial axes that a size stands for: its length, or 2 for an integer, as in torch."""
    rank = len(size) if isinstance(size, Sequence) else 2
    if not 1 <= rank <= AXES:
        raise ValueError(f"{name} takes 1 to 3 spatial axes: {name}={size!r} has {rank}")
    return rank


def split_shape(name: str, shape: Sequence[int], rank: int) -> tuple[int, int, tuple[int, ...]]:
    """Return batch (1 if there is none), channels and spatial extents."""
    if len(shape) not in (rank + 1, rank + 2):
        raise ValueError(
            f"{name} takes {rank + 2} axes (batch, channels and {rank} spatial), or {rank + 1} without the batch: "
            f"{name}.shape={tuple(shape)} has {len(shape)}"
        )
    batch = shape[0] if len(shape) == rank + 2 else 1
    return batch, shape[-rank - 1], tuple(shape[-rank:])


def joined_shape(batched: bool, batch: int, channels: int, spatial: tuple[int, ...]) -> tuple[int, ...]:
    """Return a user's shape: without batch if the user's arrays have none."""
    return (batch, channels, *spatial) if batched else (channels, *spatial)


def extents_of(windows: tuple[Window, ...], rank: int) -> tuple[int, ...]:
    """Return the extents that windows slide over, along the user's axes."""
    return tuple(window.extent for window in windows[AXES - rank :])


def canonical_strides(strides: Sequence[int], batched: bool, rank: int) -> tuple[int, ...]:
    """Insert strides for the axes that a user's array lacks: they have one position, so any stride is right."""
    outer, spatial = tuple(strides[:-rank]), tuple(strides[-rank:])
    return (*(outer if batched else (0, *outer)), *(0,) * (AXES - rank), *spatial)


def merged_stride(shape: Sequence[int], strides: Sequence[int]) -> int | None:
    """Return the stride that walks several axes as one, or None if there is none."""
    steps = [(extent, stride) for extent, stride in zip(shape, strides, strict=True) if extent != 1]
    for (_, outer), (extent, inner) in itertools.pairwise(steps):
        if outer != extent * inner:
            return None
    return steps[-1][1] if steps else 0


def window_sizes(windows: tuple[Window, ...], padding_mode: str) -> dict[str, int]:
    """Return the kernels' size arguments of three windows by their names."""
    sizes = {"padding_mode": PADDING_MODES.index(padding_mode)}
    for axis, window in zip("DHW", windows, strict=True):
        sizes |= {
            f"I{axis}": window.extent,
            f"O{axis}": window.output,
            f"K{axis}": window.kernel,
            f"S{axis}": window.stride,
            f"D{axis}": window.dilation,
            f"P{axis}": window.low,
            f"HIGH_{axis}": window.high,
        }
    return sizes


def check_elements(shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse shapes with more elements than offsets can count."""
    for name, shape in shapes.items():
        if math.prod(shape) > _MOST_ELEMENTS:
            raise ValueError(f"{name} must have at most 2**47 elements: {name}.shape={shape}")
