"""Where each window of a pooling reads, and the arguments that all poolings share.

A window is a row of a table: for each tap, the flat index of its pixel in the plane of one channel, and -1
where there is no pixel. Every pooling gathers by that table, and its gradient scatters by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import (
    FloatArray,
    Padding,
    Pairs,
    Size,
    Sizes,
    batched,
    padding_pairs,
    scatter,
    sizes,
    switch,
)

__all__ = [
    "Array",
    "Axis",
    "OutputSize",
    "Pool",
    "Table",
    "Windows",
    "adaptive_pool",
    "choice",
    "require_elements",
    "share",
    "shared_windows",
    "sliding_pool",
    "sliding_windows",
]

Array = NDArray[Any]
Table = NDArray[np.intp]
OutputSize = Size | None | Sequence[Any]


@dataclass(frozen=True)
class Windows:
    """Windows over images of one extent: `positions` of them, counted in row-major order, as are their taps."""

    extent: Sizes
    positions: Sizes
    pixels: Table  # (windows, taps): flat index of the tap's pixel, -1 where there is none
    padded_taps: NDArray[np.intp]  # (windows,): taps on a pixel or on the padding, not beyond it

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Whether a tap is on a pixel: (windows, taps)."""
        return self.pixels >= 0

    def gather(self, x: FloatArray, fill: float) -> FloatArray:
        """Turn images (N, C, *extent) into (N, C, windows, taps), with `fill` where there is no pixel."""
        planes = x.reshape(*x.shape[:2], math.prod(self.extent))
        return np.where(self.inside, planes[:, :, self.pixels], fill)

    def scatter(self, terms: FloatArray) -> FloatArray:
        """Add up, for each pixel of (N, C, *extent), the terms (N, C, windows, taps) of the taps that are on it."""
        return scatter(terms, self.pixels, self.extent)

    def image(self, values: Array) -> Array:
        """Bring values (N, C, windows) into the shape of the output."""
        return values.reshape(*values.shape[:2], *self.positions)


class Pool(NamedTuple):
    """The checked input of a pooling, with a batch axis, and its windows."""

    x: FloatArray
    has_batch: bool
    windows: Windows

    @property
    def output_shape(self) -> Sizes:
        """Shape of the output, with its batch axis."""
        return (*self.x.shape[:2], *self.windows.positions)

    def rows(self, values: FloatArray) -> FloatArray:
        """Bring values in the shape of the output into (N, C, windows)."""
        return values.reshape(*self.x.shape[:2], len(self.windows.pixels))

    def unbatched(self, array: Array) -> Array:
        """Drop the batch axis if the input has none."""
        return array if self.has_batch else array[0]


def sliding_pool(
    rank: int,
    input: Array,
    kernel_size: Size,
    stride: Size | None,
    padding: Padding,
    dilation: Size,
    ceil_mode: bool,
    semantics: str = "torch",
) -> Pool:
    """Check the arguments of a pooling whose windows slide; the rules are those of `max_pool2d`."""
    x, has_batch = batched("input", input, rank + 2)
    require_elements("input", x)
    extent, kernel = x.shape[2:], sizes("kernel_size", kernel_size, rank, 1)
    steps = kernel if stride is None else sizes("stride", stride, rank, 1)
    gaps = sizes("dilation", dilation, rank, 1)
    pairs = padding_pairs(padding, extent, kernel, steps, gaps)
    if semantics == "torch" and _is_integral(padding):
        _require_half(pairs, kernel)
    axes = [Axis(*axis) for axis in zip(extent, pairs, kernel, steps, gaps, strict=True)]
    positions = tuple(axis.positions(switch("ceil_mode", ceil_mode)) for axis in axes)
    layout = f"extent={extent}, kernel_size={kernel}, stride={steps}, padding={pairs}, dilation={gaps}"
    if any(count < 1 for count in positions):
        raise ValueError(f"the window is larger than the padded input: {layout}")
    if any(axis.has_empty_window(count) for axis, count in zip(axes, positions, strict=True)):
        raise ValueError(f"padding must leave each window at least one pixel, but one has none: {layout}")
    return Pool(x, has_batch, sliding_windows(axes, positions))


def adaptive_pool(rank: int, input: Array, output_size: OutputSize, needs_channels: bool) -> Pool:
    """Check the arguments of a pooling whose windows share out the input among `output_size` positions."""
    x, has_batch = batched("input", input, rank + 2)
    require_elements("input", x, needs_channels)
    extent = x.shape[2:]
    positions = sizes("output_size", _filled(extent, output_size), rank, 0)
    return Pool(x, has_batch, shared_windows(extent, [share(e, o) for e, o in zip(extent, positions, strict=True)]))


def _filled(extent: Sizes, output_size: OutputSize) -> Any:
    """Replace what is None by the input's extent, which torch does in two and three dimensions."""
    if len(extent) == 1 or not isinstance(output_size, (tuple, list)) or len(output_size) != len(extent):
        return output_size
    return tuple(e if o is None else o for e, o in zip(extent, output_size, strict=True))


def choice(name: str, value: str, known: Sequence[str]) -> str:
    """Return one of the words that an argument may be."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {name}={value!r}")
    if value not in known:
        raise ValueError(f"{name} must be one of {tuple(known)}, got {name}={value!r}")
    return value


def require_elements(name: str, x: FloatArray, needs_channels: bool = True) -> None:
    """Refuse what torch refuses: no pixels and, in most poolings, no channels. An empty batch is lawful."""
    if 0 in x.shape[2:] or (needs_channels and x.shape[1] == 0):
        what = "channel and one pixel" if needs_channels else "pixel"
        raise ValueError(f"{name} must have at least one {what} in every spatial axis, got {name}.shape={x.shape}")


def _is_integral(padding: Padding) -> bool:
    """Whether padding was given as integers, the same on both sides: torch's own way."""
    entries = padding if isinstance(padding, (tuple, list)) else (padding,)
    return not any(isinstance(entry, (str, tuple, list)) for entry in entries)


def _require_half(pairs: Pairs, kernel: Sizes) -> None:
    if any(2 * low > k for (low, _), k in zip(pairs, kernel, strict=True)):
        raise ValueError(
            "padding given as integers must be at most half of kernel_size, not counting dilation, in every axis, "
            f"got padding={tuple(low for low, _ in pairs)}, kernel_size={kernel}"
        )


class Axis(NamedTuple):
    """One axis of sliding windows; tap k of window o is at o*S + k*D, counted from where the padding begins."""

    X: int
    pair: tuple[int, int]
    K: int
    S: int
    D: int

    @property
    def padded(self) -> int:
        """Extent of the padded image."""
        return self.X + sum(self.pair)

    def positions(self, ceil_mode: bool) -> int:
        """Count the windows."""
        room = self.padded - self.D * (self.K - 1) - 1
        if not ceil_mode:
            return room // self.S + 1
        # One that goes beyond the padding is kept if it starts before the padding on the high side.
        return min(-(-room // self.S) + 1, -(-(self.pair[0] + self.X) // self.S))

    def has_empty_window(self, count: int) -> bool:
        """Whether one of `count` windows has no pixel."""
        low = self.pair[0]
        # The first window ends before the image, or the last one starts behind it: no table for absurd padding.
        if low > self.D * (self.K - 1) or (count - 1) * self.S >= low + self.X:
            return True
        return not bool((self.on_image(count) >= 0).any(axis=1).all())

    def on_image(self, count: int) -> Table:
        """Return the pixel of each tap of `count` windows, -1 where there is none."""
        return _within(self._places(count) - self.pair[0], self.X)

    def on_padded(self, count: int) -> Table:
        """Return the place of each tap in the padded image, -1 where it is beyond that."""
        return _within(self._places(count), self.padded)

    def _places(self, count: int) -> Table:
        starts, taps = (
            np.array(range(0, n * step, step), dtype=np.intp) for n, step in ((count, self.S), (self.K, self.D))
        )
        return starts[:, np.newaxis] + taps


def _within(place: Table, X: int) -> Table:
    return np.where((place >= 0) & (place < X), place, -1)


def share(X: int, count: int) -> Table:
    """Return the pixels of each of `count` shares: from floor(i*X/count) to ceil((i+1)*X/count), end excluded."""
    bounds = [(i * X // count, -(-(i + 1) * X // count)) for i in range(count)]
    longest = max((end - start for start, end in bounds), default=1)
    table = np.full((count, longest), -1, dtype=np.intp)
    for row, (start, end) in zip(table, bounds, strict=True):
        row[: end - start] = range(start, end)
    return table


def sliding_windows(axes: Sequence[Axis], positions: Sizes) -> Windows:
    """Combine windows that slide along each axis, so many of them."""
    on_image = [axis.on_image(count) for axis, count in zip(axes, positions, strict=True)]
    on_padded = [axis.on_padded(count) for axis, count in zip(axes, positions, strict=True)]
    extent = tuple(axis.X for axis in axes)
    padded_taps = (_flat(on_padded, [axis.padded for axis in axes]) >= 0).sum(axis=1)
    return Windows(extent, positions, _flat(on_image, extent), padded_taps)


def shared_windows(extent: Sizes, shares: Sequence[Table]) -> Windows:
    """Combine windows that share out each axis."""
    pixels = _flat(shares, extent)
    return Windows(extent, tuple(len(table) for table in shares), pixels, (pixels >= 0).sum(axis=1))


def _flat(tables: Sequence[Table], extent: Sequence[int]) -> Table:
    """Combine the tables (positions, taps) of the axes into one of flat indices; -1 where any axis has -1."""
    rank = len(tables)
    flat, inside = np.zeros((1,) * (2 * rank), dtype=np.intp), np.ones((1,) * (2 * rank), dtype=bool)
    for axis, (table, X) in enumerate(zip(tables, extent, strict=True)):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = table.shape
        place = table.reshape(shape)
        flat, inside = flat * X + place, inside & (place >= 0)
    windows, taps = (math.prod(t.shape[i] for t in tables) for i in (0, 1))
    return np.where(inside, flat, -1).reshape(windows, taps)
