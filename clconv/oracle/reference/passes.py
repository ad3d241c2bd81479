"""The three passes of a convolution, each one "valid" correlation for every channel.

They work on batched float64 arrays: data x (N, IC, *extent), weights w (OC, ICG, *kernel) and values
g (N, OC, *positions), with ICG = IC/G and OCG = OC/G channels in each of G groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import signal  # type: ignore[import-untyped]

from clconv.oracle.reference.geometry import FloatArray, Sizes, Window

__all__ = ["conv_bwd_data", "conv_bwd_weights", "conv_fwd", "rotated"]


def conv_fwd(x: FloatArray, w: FloatArray, window: Window, G: int) -> FloatArray:
    """Correlate the padded data with the weights: values (N, OC, *positions)."""
    N, OC, ICG = x.shape[0], w.shape[0], w.shape[1]
    xp, wd = window.pad(x), _spread(w, window.dilation)
    y = np.empty((N, OC, *window.positions))
    at_positions: tuple[Any, ...] = (slice(None), 0, *_every(window.stride, window.positions))
    for oc in range(OC):
        y[:, oc] = _correlate(xp[:, _group(oc, OC // G, ICG)], wd[oc : oc + 1])[at_positions]
    return y


def conv_bwd_data(g: FloatArray, w: FloatArray, window: Window, G: int) -> FloatArray:
    """Apply the adjoint of `conv_fwd` in x: data (N, IC, *extent).

    A padded pixel p gets ``g[o] * w[k]`` for every ``o*S + k*D = p``: the full convolution of the
    zero-stuffed g with the dilated kernel, here as a correlation with the rotated one.
    """
    N, OCG, ICG = g.shape[0], w.shape[0] // G, w.shape[1]
    margins = tuple((s - 1, s - 1) for s in window.span)
    gs = np.pad(_spread(g, window.stride), ((0, 0), (0, 0), *margins))
    wr = rotated(_spread(w, window.dilation))
    # Pixels right of the last window stay zero.
    reached = tuple(slice(0, e - s + 1) for e, s in zip(gs.shape[2:], window.span, strict=True))
    dxp = np.zeros((N, ICG * G, *window.padded))
    for ic in range(ICG * G):
        group = _group(ic, ICG, OCG)
        kernel = wr[np.newaxis, group, ic % ICG]
        dxp[(slice(None), slice(ic, ic + 1), *reached)] = _correlate(gs[:, group], kernel)
    return window.unpad(dxp)


def conv_bwd_weights(g: FloatArray, x: FloatArray, window: Window, G: int) -> FloatArray:
    """Apply the adjoint of `conv_fwd` in w: weights (OC, ICG, *kernel).

    The tap k gets ``g[o] * xp[o*S + k*D]`` over all o: the correlation of the padded data with the
    zero-stuffed g, read at every D-th place.
    """
    OC, ICG = g.shape[1], x.shape[1] // G
    xp, gs = window.pad(x), _spread(g, window.stride)
    dw = np.empty((OC, ICG, *window.kernel))
    at_taps: tuple[Any, ...] = (0, slice(None), *_every(window.dilation, window.kernel))
    for oc in range(OC):
        dw[oc] = _correlate(xp[:, _group(oc, OC // G, ICG)], gs[:, oc : oc + 1])[at_taps]
    return dw


def rotated(w: FloatArray) -> FloatArray:
    """Rotate kernels by 180 degrees in all spatial axes."""
    return w[(slice(None), slice(None), *(slice(None, None, -1),) * (w.ndim - 2))]


def _group(channel: int, here: int, there: int) -> slice:
    """Return the `there` channels on the other side that belong to the group of a channel on this side."""
    first = channel // here * there
    return slice(first, first + there)


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


def _correlate(a: FloatArray, b: FloatArray) -> FloatArray:
    """Correlate where b lies inside a; empty sums are zero (scipy's result would lose its shape)."""
    if a.size == 0 or b.size == 0:
        return np.zeros(tuple(m - n + 1 for m, n in zip(a.shape, b.shape, strict=True)))
    result: FloatArray = signal.correlate(a, b, mode="valid", method="direct")
    return result
