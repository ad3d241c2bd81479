"""The three passes of a convolution, each one "valid" correlation for every channel.

They work on batched float64 arrays: data x (N, IC, *extent), weights w (OC, ICG, *kernel) and values
g (N, OC, *positions), with ICG = IC/G and OCG = OC/G channels in each of G groups.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import signal  # type: ignore[import-untyped]

from clconv.oracle.reference.geometry import FloatArray, Sizes, Window

__all__ = ["conv_bwd_data", "conv_bwd_weights", "conv_fwd", "rotated"]


def conv_fwd(x: FloatArray, w: FloatArray, window: Window, G: int) -> FloatArray:
    """Correlate the padded data with the weights: values (N, OC, *positions)."""
    xp, wd = window.pad(x), _spread(w, window.dilation)
    at_positions: tuple[Any, ...] = (slice(None), slice(None), *_every(window.stride, window.positions))
    pairs = zip(np.split(xp, G, axis=1), np.split(wd, G), strict=True)
    return np.concatenate([_correlations(xg, wg)[at_positions] for xg, wg in pairs], axis=1)


def conv_bwd_data(g: FloatArray, w: FloatArray, window: Window, G: int) -> FloatArray:
    """Apply the adjoint of `conv_fwd` in x: data (N, IC, *extent).

    A padded pixel p gets ``g[o] * w[k]`` for every ``o*S + k*D = p``: the full convolution of the
    zero-stuffed g with the dilated kernel, here as a correlation with the rotated one.
    """
    margins = tuple((s - 1, s - 1) for s in window.span)
    gs = np.pad(_spread(g, window.stride), ((0, 0), (0, 0), *margins))
    wr = rotated(_spread(w, window.dilation))
    pairs = zip(np.split(gs, G, axis=1), np.split(wr, G), strict=True)
    values = np.concatenate([_correlations(gg, wg.swapaxes(0, 1)) for gg, wg in pairs], axis=1)
    dxp = np.zeros((g.shape[0], w.shape[1] * G, *window.padded))
    # Pixels right of the last window stay zero.
    dxp[tuple(slice(0, size) for size in values.shape)] = values
    return window.unpad(dxp)


def conv_bwd_weights(g: FloatArray, x: FloatArray, window: Window, G: int) -> FloatArray:
    """Apply the adjoint of `conv_fwd` in w: weights (OC, ICG, *kernel).

    The tap k gets ``g[o] * xp[o*S + k*D]`` over all o: the correlation of the padded data with the
    zero-stuffed g, read at every D-th place. Images are what is summed over, and so change places with channels.
    """
    xp, gs = window.pad(x), _spread(g, window.stride)
    at_taps: tuple[Any, ...] = (slice(None), slice(None), *_every(window.dilation, window.kernel))
    pairs = zip(np.split(xp, G, axis=1), np.split(gs, G, axis=1), strict=True)
    values = [_correlations(xg.swapaxes(0, 1), gg.swapaxes(0, 1))[at_taps] for xg, gg in pairs]
    return np.concatenate([value.swapaxes(0, 1) for value in values])


def rotated(w: FloatArray) -> FloatArray:
    """Rotate kernels by 180 degrees in all spatial axes."""
    return w[(slice(None), slice(None), *(slice(None, None, -1),) * (w.ndim - 2))]


def _every(step: Sizes, count: Sizes) -> tuple[slice, ...]:
    """Slice the first `count` elements that lie `step` apart, in every axis."""
    return tuple(slice(0, (c - 1) * s + 1, s) for s, c in zip(step, count, strict=True))


def _spread(a: FloatArray, step: Sizes) -> FloatArray:
    """Put step - 1 zeros between neighbours in every spatial axis."""
    if all(s == 1 for s in step):
        return a
    extent = a.shape[2:]
    spread = np.zeros((*a.shape[:2], *((e - 1) * s + 1 for e, s in zip(extent, step, strict=True))))
    spread[(slice(None), slice(None), *_every(step, extent))] = a
    return spread


def _correlations(a: FloatArray, b: FloatArray) -> FloatArray:
    """Correlate every image of a (N, C, *extent) with every one of b (M, C, *span): (N, M, *positions).

    Each is the smaller one in a call of scipy's that slides it along all images of the other array: the kernels b, or
    the windows of a where those are fewer, because a call takes longer than most sums.
    """
    positions = tuple(m - n + 1 for m, n in zip(a.shape[2:], b.shape[2:], strict=True))
    values = np.empty((a.shape[0], b.shape[0], *positions))
    if b.shape[0] <= a.shape[0] * math.prod(positions):
        for m in range(b.shape[0]):
            values[:, m] = _correlate(a, b[m : m + 1])[:, 0]
        return values
    for n, *place in np.ndindex(a.shape[0], *positions):
        here = tuple(slice(o, o + s) for o, s in zip(place, b.shape[2:], strict=True))
        values[(n, slice(None), *place)] = _correlate(b, a[(slice(n, n + 1), slice(None), *here)]).ravel()
    return values


def _correlate(a: FloatArray, b: FloatArray) -> FloatArray:
    """Correlate where b lies inside a; empty sums are zero (scipy's result would lose its shape)."""
    if a.size == 0 or b.size == 0:
        return np.zeros(tuple(m - n + 1 for m, n in zip(a.shape, b.shape, strict=True)))
    result: FloatArray = signal.correlate(a, b, mode="valid", method="direct")
    return result
