"""scipy.ndimage's filters and zoom: "scipy.ndimage:conv2d", "scipy.ndimage:interpolate".

A filter gives as many pixels as its input has, around each of them, with a border of the filter's own. What a
convolution or pooling needs is among them as long as the padding is no more than that border: `origin` moves it to
where it begins, slices end it and take every stride-th pixel. What padding is left is put around the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._arguments import Pairs, batched, each, pairs, slices
from ._loaded import Library, NotOffered
from ._offer import Offer

__all__ = ["LIBRARIES", "offers"]

Array = NDArray[Any]

ndimage = Library("scipy.ndimage")
LIBRARIES = (ndimage,)
DTYPES = ("float32", "float64")
RANKS = (1, 2, 3)
ORDERS = {"nearest": 0, "linear": 1, "bilinear": 1, "trilinear": 1}


def offers() -> Mapping[str, Offer]:
    """Return what scipy.ndimage has of the operations."""
    settings, features = ("stride", "padding"), ("padding_pairs",)
    zoom = ("size", "scale_factor", "mode")
    found = {"interpolate": Offer(_zoom, zoom, ("grid_mode",), "scipy", DTYPES)}
    for rank in RANKS:
        found[f"conv{rank}d"] = Offer(partial(_conv, rank), settings, features, dtypes=DTYPES)
        found[f"max_pool{rank}d"] = Offer(partial(_max_pool, rank), settings, features, dtypes=DTYPES)
    return found


class _Place(NamedTuple):
    """Where the windows of a convolution or pooling are among those of a filter."""

    origin: tuple[int, ...]
    around: Pairs  # padding that the filter's border does not give
    chosen: tuple[slice, ...]
    positions: tuple[int, ...]

    @classmethod
    def of(cls, extent: tuple[int, ...], kernel: tuple[int, ...], padding: Pairs, stride: Any) -> _Place:
        """Find it; a filter at pixel i takes pixels ``i - K//2 - origin`` and on, a window at o ``o - low`` and on."""
        origin, around, ends = [], [], []
        for X, K, (low, high) in zip(extent, kernel, padding, strict=True):
            front = max(low - (K - 1), 0)
            end = X + low + high - K + 1
            origin.append(low - front - K // 2)
            around.append((front, max(end - X - front, 0)))
            ends.append(end)
        if min(ends) < 1:
            raise NotOffered(f"no window of {kernel} is on {extent} pixels with padding={padding}")
        steps = [s.step for s in slices(stride, len(extent))]
        chosen = tuple(slice(0, end, step) for end, step in zip(ends, steps, strict=True))
        positions = tuple(len(range(end)[s]) for end, s in zip(ends, chosen, strict=True))
        return cls(tuple(origin), tuple(around), chosen, positions)

    def widened(self, x: Array, value: float) -> Array:
        """Put around the images what the filter's border does not give."""
        return np.pad(x, ((0, 0), (0, 0), *self.around), constant_values=value)


def _conv(rank: int, *, input: Array, weight: Array, stride: Any, padding: Any) -> Array:
    x, lacks_batch = batched(input, rank)
    if x.ndim != rank + 2 or weight.ndim != rank + 2 or x.shape[1] != weight.shape[1]:
        raise NotOffered(f"input.shape={x.shape} and weight.shape={weight.shape} are not those of a convolution")
    kernel = weight.shape[2:]
    place = _Place.of(x.shape[2:], kernel, pairs(padding, x.shape[2:], kernel, stride), stride)
    y = np.zeros((len(x), len(weight), *place.positions), x.dtype)
    for n, image in enumerate(place.widened(x, 0.0)):
        for oc, taps in enumerate(weight):
            for pixels, plane in zip(image, taps, strict=True):
                y[n, oc] += ndimage.correlate(pixels, plane, mode="constant", origin=place.origin)[place.chosen]
    return y[0] if lacks_batch else y


def _max_pool(rank: int, *, input: Array, kernel_size: Any, stride: Any, padding: Any) -> Array:
    x, lacks_batch = batched(input, rank)
    kernel = each(kernel_size, rank)
    steps = kernel if stride is None else stride
    place = _Place.of(x.shape[2:], kernel, pairs(padding, x.shape[2:], kernel, steps), steps)
    y = np.zeros((*x.shape[:2], *place.positions), x.dtype)
    border = {"mode": "constant", "cval": -np.inf}
    for n, image in enumerate(place.widened(x, -np.inf)):
        for c, pixels in enumerate(image):
            y[n, c] = ndimage.maximum_filter(pixels, kernel, origin=place.origin, **border)[place.chosen]
    return y[0] if lacks_batch else y


def _zoom(*, input: Array, size: Any, scale_factor: Any, mode: str, grid_mode: bool) -> Array:
    if mode not in ORDERS or (size is None) == (scale_factor is None):
        raise NotOffered(f"scipy.ndimage.zoom has no mode={mode!r} with size={size!r}, scale_factor={scale_factor!r}")
    extent = input.shape[2:]
    if scale_factor is None:
        factors = tuple(o / e for o, e in zip(each(size, len(extent)), extent, strict=True))
    else:
        factors = each(scale_factor, len(extent))
    y: Array = ndimage.zoom(input, (1, 1, *factors), order=ORDERS[mode], mode="nearest", grid_mode=grid_mode)
    return y
