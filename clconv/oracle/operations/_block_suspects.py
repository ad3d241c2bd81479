"""What the usual faults of unfold and fold give.

Both follow one map: which pixel tap k of the window at position o is. Most faults are another map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import padding_pairs

from ._base import Claims, Results, Suspect

__all__ = ["suspects"]

Array = NDArray[Any]
Given = dict[str, Any]
PLAIN = Claims()


@dataclass(frozen=True)
class _Windows:
    """Windows over an image; `counts` holds their number along each axis, whatever the rest says."""

    extent: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    low: tuple[int, ...]
    counts: tuple[int, ...]

    def pixels(self) -> Array:
        """Return the flat index of the pixel of every tap at every position, 0 for none and 1 for the first."""
        rank = len(self.extent)
        index, inside = np.zeros((1,) * (2 * rank), np.intp), np.ones((1,) * (2 * rank), bool)
        for axis, extent in enumerate(self.extent):
            taps = np.arange(self.kernel[axis])[:, np.newaxis] * self.dilation[axis]
            along = taps + np.arange(self.counts[axis]) * self.stride[axis] - self.low[axis]
            shape = [1] * (2 * rank)
            shape[axis], shape[rank + axis] = along.shape
            along = along.reshape(shape)
            index, inside = index * extent + along, inside & (along >= 0) & (along < extent)
        return np.where(inside, index + 1, 0).reshape(math.prod(self.kernel), math.prod(self.counts))


def suspects(operation: Any) -> Iterator[Suspect]:
    """List the faults of unfold, fold or the gradient of one, the likelier first."""
    for cause, change in ARGUMENT_FAULTS.items():
        yield Suspect(cause, partial(_with_arguments, operation, change))
    for cause, remapped in MAP_FAULTS.items():
        yield Suspect(cause, partial(_with_map, operation, remapped))
    yield Suspect("the channels and the taps of a column are exchanged", partial(_exchanged, operation))
    if operation.folds != operation.backward:
        yield Suspect(
            "windows that overlap overwrite each other instead of adding up", partial(_with_sums, operation, _last)
        )
        yield Suspect("pixels are averaged over the windows that reach them", partial(_with_sums, operation, _mean))


def _each(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * 2


def _read(operation: Any, arrays: Given, arguments: Given) -> _Windows:
    if arguments.get("padding_mode", "zeros") != "zeros":
        raise ValueError("the map is that of an image amid zeros")
    extent = arguments["output_size"] if operation.folds else arrays["input"].shape[-2:]
    kernel = _each(arguments["kernel_size"])
    stride, dilation = _each(arguments.get("stride", 1)), _each(arguments.get("dilation", 1))
    pairs = padding_pairs(arguments.get("padding", 0), extent, kernel, stride, dilation)
    axes = zip(extent, kernel, stride, dilation, pairs, strict=True)
    counts = tuple((low + e + high - d * (k - 1) - 1) // s + 1 for e, k, s, d, (low, high) in axes)
    return _Windows(extent, kernel, stride, dilation, tuple(low for low, _ in pairs), counts)


def _with_arguments(operation: Any, change: Callable[[Given], Given], arrays: Given, arguments: Given) -> Results:
    results: Results = operation.evaluate(arrays, {**arguments, **change(arguments)}, PLAIN)
    return results


def _with_map(operation: Any, remapped: Callable[[_Windows], Array], arrays: Given, arguments: Given) -> Results:
    windows = _read(operation, arrays, arguments)
    pixels, given = remapped(windows), arrays[operation.required[0]]
    if operation.folds == operation.backward:
        return {operation.results[0]: _gathered(given, pixels)}
    return {operation.results[0]: _scattered(given, pixels, windows.extent)}


def _with_sums(operation: Any, image: Callable[[Array, Array, Any], Array], arrays: Given, arguments: Given) -> Results:
    windows = _read(operation, arrays, arguments)
    return {operation.results[0]: image(arrays[operation.required[0]], windows.pixels(), windows.extent)}


def _gathered(x: Array, pixels: Array) -> Array:
    """Read (..., C, H, W) by a map, into (..., C*taps, positions)."""
    flat = x.reshape(*x.shape[:-2], -1)
    flat = np.concatenate([np.zeros((*flat.shape[:-1], 1)), flat], axis=-1)
    columns = flat[..., pixels]
    return columns.reshape(*x.shape[:-3], -1, pixels.shape[1])


def _spread(columns: Array, pixels: Array, extent: tuple[int, ...]) -> tuple[Array, Array]:
    """Return columns (..., C, taps, positions), and zeros for the image that they belong to, one pixel in front."""
    split = columns.reshape(*columns.shape[:-2], -1, *pixels.shape)
    return split, np.zeros((*split.shape[:-2], 1 + math.prod(extent)))


def _scattered(columns: Array, pixels: Array, extent: tuple[int, ...]) -> Array:
    split, flat = _spread(columns, pixels, extent)
    for tap, row in enumerate(pixels):
        flat[..., row] += split[..., tap, :]  # one tap has no pixel twice, but for none
    return flat[..., 1:].reshape(*flat.shape[:-1], *extent)


def _last(columns: Array, pixels: Array, extent: tuple[int, ...]) -> Array:
    split, flat = _spread(columns, pixels, extent)
    for tap, row in enumerate(pixels):
        flat[..., row] = split[..., tap, :]
    return flat[..., 1:].reshape(*flat.shape[:-1], *extent)


def _mean(columns: Array, pixels: Array, extent: tuple[int, ...]) -> Array:
    windows = np.bincount(pixels.ravel(), minlength=1 + math.prod(extent))[1:].reshape(extent)
    return _scattered(columns, pixels, extent) / np.maximum(windows, 1)


def _exchanged(operation: Any, arrays: Given, arguments: Given) -> Results:
    """Give columns that hold the channels of a tap side by side, instead of the taps of a channel."""
    taps, first = math.prod(_each(arguments["kernel_size"])), operation.required[0]
    if operation.folds != operation.backward:
        exchanged = {**arrays, first: _reordered(arrays[first], taps, inner_taps=False)}
        return _with_arguments(operation, dict, exchanged, arguments)
    (found,) = _with_arguments(operation, dict, arrays, arguments).values()
    assert found is not None
    return {operation.results[0]: _reordered(found, taps, inner_taps=True)}


def _reordered(columns: Array, taps: int, inner_taps: bool) -> Array:
    rows = columns.shape[-2]
    split = (rows // taps, taps) if inner_taps else (taps, rows // taps)
    lead, last = columns.shape[:-2], columns.shape[-1]
    return columns.reshape(*lead, *split, last).swapaxes(-3, -2).reshape(columns.shape)


def _columns_first(windows: _Windows) -> Array:
    """Count the positions down the columns of the image."""
    pixels = windows.pixels().reshape(-1, *windows.counts)
    return pixels.swapaxes(-1, -2).reshape(len(pixels), -1)


ARGUMENT_FAULTS: dict[str, Callable[[Given], Given]] = {
    f"the axes of {name} are swapped": lambda given, name=name: {name: _each(given[name])[::-1]}  # type: ignore[misc]
    for name in ("stride", "padding", "dilation")
}

MAP_FAULTS: dict[str, Callable[[_Windows], Array]] = {
    "the taps are in reverse order": lambda windows: windows.pixels()[::-1],
    "the dilation is ignored": lambda windows: replace(windows, dilation=(1, 1)).pixels(),
    "the stride is ignored": lambda windows: replace(windows, stride=(1, 1)).pixels(),
    "the padding is not subtracted": lambda windows: replace(windows, low=(0, 0)).pixels(),
    "the columns are in another order: the last axis first": _columns_first,
}
