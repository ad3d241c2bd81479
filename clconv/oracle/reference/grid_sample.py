"""Sampling an image at the positions of a grid, and its gradients, in float64.

A coordinate g of an axis of E pixels lies at ``p = ((g + 1) E - 1)/2`` among them, the pixels being the integers, or
with align_corners at ``p = (g + 1)/2 (E - 1)``. NaN counts as -1, as torch's text has it, and a position farther than
2**30 pixels away as that far. The sample is the sum of the pixels around p with the weights of `taps_at`.

- "nearest" and "bilinear" first move p inside: with padding_mode "border" to the nearest position from 0 to E - 1,
  with "reflection" by mirrors at -1/2 and E - 1/2, or at 0 and E - 1 with align_corners, and then as "border". With
  "zeros" pixels outside the image are zero.
- "bicubic" leaves p and moves each of the pixels around it.
- The gradient of the grid is one-sided where it has a kink: of the pixels floor(p) and floor(p) + 1, and 0 at and
  beyond the edge that p was moved to.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, Sizes, real_array, requested, require_output_shape, switch

__all__ = ["GridSampleGradients", "Taps", "grid_sample", "grid_sample_backward", "positions_of", "taps_at"]

Array = NDArray[Any]

MODES = ("nearest", "bilinear", "bicubic")
PADDING_MODES = ("zeros", "border", "reflection")
FARTHEST = 2.0**30


class GridSampleGradients(NamedTuple):
    """Gradients of `grid_sample`; None where masked."""

    input: FloatArray | None
    grid: FloatArray | None


class Taps(NamedTuple):
    """What positions read along one axis; the last axis of each array counts the pixels."""

    pixels: NDArray[np.intp]  # -1 outside the image
    weights: FloatArray
    slopes: FloatArray  # derivatives of the weights by p


def grid_sample(
    input: Array,
    grid: Array,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> FloatArray:
    """Sample images at the positions of a grid.

    ``y[n, c, oh, ow] = sum(wh[t] * ww[s] * x[n, c, ih[t], iw[s]] for t, s)``, with taps of the position of each o.

    Parameters
    ----------
    input : (N, C, *extent)
        With two or three spatial axes.
    grid : (N, *positions, rank)
        Coordinates from -1 to 1, that of the last axis first.
    mode : str
        "nearest" (ties to the even pixel), "bilinear", or for two axes "bicubic" (a = -3/4).
    padding_mode : str
        "zeros", "border" or "reflection".
    align_corners : bool, optional
        Whether -1 and 1 are the centres of the corner pixels, or else their outer edges.

    Returns
    -------
    (N, C, *positions)

    Raises
    ------
    ValueError
        If shapes do not fit, a spatial axis of `input` is empty, or a word is unknown or does not go with the axes.
    TypeError
        If an array is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> grid_sample(np.array([[[[0, 8], [16, 24]]]]), np.array([[[[-1, -1], [0, 0], [1, 0]]]]), align_corners=True)
    array([[[[ 0., 12., 16.]]]])
    """
    x, g = _checked(input, grid, mode, padding_mode, align_corners)
    axes = _all_taps(x, g, mode, padding_mode, bool(align_corners))
    y = np.zeros((*g.shape[:-1], x.shape[1]))
    for pixels, values in _combinations(axes, [axis.weights for axis in axes]):
        y += values[..., np.newaxis] * _gathered(x, pixels)
    return np.ascontiguousarray(np.moveaxis(y, -1, 1))


def grid_sample_backward(
    grad_output: Array,
    input: Array,
    grid: Array,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
    *,
    output_mask: Sequence[bool] | None = None,
) -> GridSampleGradients:
    """Gradients of ``sum(grad_output * grid_sample(...))``.

    Parameters
    ----------
    grad_output : (N, C, *positions)
    output_mask : two bools, optional
        Which gradients to compute.
    input, grid, mode, padding_mode, align_corners
        As in `grid_sample`.

    Returns
    -------
    GridSampleGradients

    Raises
    ------
    ValueError
        As `grid_sample`, and if `grad_output` does not have the output's shape or `output_mask` not two entries.
    TypeError
        As `grid_sample`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> x, grid = np.array([[[[0, 8], [16, 24]]]]), np.array([[[[0, 0]]]])
    >>> grid_sample_backward(np.ones((1, 1, 1, 1)), x, grid, align_corners=True).grid
    array([[[[4., 8.]]]])
    """
    x, g = _checked(input, grid, mode, padding_mode, align_corners)
    shape = (x.shape[0], x.shape[1], *g.shape[1:-1])
    dy = np.moveaxis(require_output_shape(grad_output, shape, has_batch=True), 1, -1)
    wanted = requested(output_mask, GridSampleGradients._fields)
    axes = _all_taps(x, g, mode, padding_mode, bool(align_corners))
    weights = [axis.weights for axis in axes]
    dx = np.zeros((x.shape[0], *x.shape[2:], x.shape[1]))
    if wanted[0]:
        for pixels, values in _combinations(axes, weights):
            inside = np.logical_and.reduce([p >= 0 for p in pixels])
            np.add.at(dx, _index(x, [p[inside] for p in pixels], inside), values[inside, np.newaxis] * dy[inside])
    dgrid = np.zeros(g.shape)
    for k, axis in enumerate(axes if wanted[1] else ()):
        extent = x.shape[2 + k]
        scale = (extent - 1 if align_corners else extent) / 2
        factors = [a.slopes if a is axis else a.weights for a in axes]
        for pixels, values in _combinations(axes, factors):
            dgrid[..., len(axes) - 1 - k] += scale * values * (_gathered(x, pixels) * dy).sum(axis=-1)
    dx = np.ascontiguousarray(np.moveaxis(dx, -1, 1))
    return GridSampleGradients(dx if wanted[0] else None, dgrid if wanted[1] else None)


def positions_of(coordinates: FloatArray, extent: int, align_corners: bool) -> FloatArray:
    """Return where coordinates lie among the pixels of one axis."""
    g = np.where(np.isnan(coordinates), -1.0, coordinates)
    p = (g + 1) / 2 * (extent - 1) if align_corners else ((g + 1) * extent - 1) / 2
    return np.clip(p, -FARTHEST, FARTHEST)


def taps_at(p: FloatArray, extent: int, mode: str, padding_mode: str, align_corners: bool) -> Taps:
    """Return the pixels around positions of one axis, their weights, and the derivatives of these."""
    if mode == "bicubic":
        first = np.floor(p)
        t = (p - first)[..., np.newaxis]
        s = np.abs(t - np.arange(-1, 3))
        signs = np.sign(t - np.arange(-1, 3))
        moved = folded(first[..., np.newaxis] + np.arange(-1, 3), extent, padding_mode, align_corners)[0]
        return Taps(
            _pixels(np.clip(moved, 0, extent - 1) if padding_mode != "zeros" else moved, extent), *_keys(s, signs)
        )
    p, direction = folded(p, extent, padding_mode, align_corners)
    if padding_mode != "zeros":
        direction = np.where((p <= 0) | (p >= extent - 1), 0.0, direction)
        p = np.clip(p, 0, extent - 1)
    if mode == "nearest":
        rounded = np.rint(p)[..., np.newaxis]
        return Taps(_pixels(rounded, extent), np.ones(rounded.shape), np.zeros(rounded.shape))
    first = np.floor(p)
    weights = np.stack([1 - (p - first), p - first], axis=-1)
    return Taps(
        _pixels(np.stack([first, first + 1], axis=-1), extent), weights, np.stack([-direction, direction], axis=-1)
    )


def folded(p: FloatArray, extent: int, padding_mode: str, align_corners: bool) -> tuple[FloatArray, FloatArray]:
    """Return positions mirrored into the image, if the mode says so, and the sign that this gives their derivative."""
    if padding_mode != "reflection":
        return p, np.ones(p.shape)
    low, span = (0.0, extent - 1) if align_corners else (-0.5, extent)
    if span == 0:
        return np.zeros(p.shape), np.zeros(p.shape)
    phase = np.mod(p - low, 2 * span)
    return low + np.minimum(phase, 2 * span - phase), np.where(phase < span, 1.0, -1.0)


def _keys(s: FloatArray, signs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return Keys's cubic kernel with a = -3/4 at distances up to 2, and its derivative by the position."""
    a = -0.75
    near = ((a + 2) * s - (a + 3)) * s * s + 1
    far = ((a * s - 5 * a) * s + 8 * a) * s - 4 * a
    near_slope, far_slope = (3 * (a + 2) * s - 2 * (a + 3)) * s, (3 * a * s - 10 * a) * s + 8 * a
    return np.where(s <= 1, near, far), signs * np.where(s <= 1, near_slope, far_slope)


def _pixels(positions: FloatArray, extent: int) -> NDArray[np.intp]:
    inside = (positions >= 0) & (positions <= extent - 1)
    return np.where(inside, positions, -1).astype(np.intp)


def _all_taps(x: FloatArray, grid: FloatArray, mode: str, padding_mode: str, align_corners: bool) -> list[Taps]:
    """Return the taps of each spatial axis."""
    extents = x.shape[2:]
    coordinates = np.moveaxis(grid, -1, 0)[::-1]
    return [
        taps_at(positions_of(g, E, align_corners), E, mode, padding_mode, align_corners)
        for g, E in zip(coordinates, extents, strict=True)
    ]


def _combinations(axes: Sequence[Taps], factors: Sequence[FloatArray]) -> Any:
    """Yield the pixels of every choice of a tap for each axis, and the product of their factors."""
    for chosen in itertools.product(*(range(axis.pixels.shape[-1]) for axis in axes)):
        values = np.ones(axes[0].pixels.shape[:-1])
        for t, factor in zip(chosen, factors, strict=True):
            values = values * factor[..., t]
        yield [axis.pixels[..., t] for t, axis in zip(chosen, axes, strict=True)], values


def _index(x: FloatArray, pixels: Sequence[Any], inside: Any) -> tuple[Any, ...]:
    """Return the index of pixels in an array (N, *extent, C)."""
    images = np.arange(x.shape[0]).reshape(-1, *(1,) * (inside.ndim - 1))
    return (np.broadcast_to(images, inside.shape)[inside], *pixels)


def _gathered(x: FloatArray, pixels: Sequence[Any]) -> FloatArray:
    """Return pixels of all channels, (N, *positions, C), those outside the image as zero."""
    inside = np.logical_and.reduce([p >= 0 for p in pixels])
    gathered = np.zeros((*inside.shape, x.shape[1]))
    gathered[inside] = np.moveaxis(x, 1, -1)[_index(x, [p[inside] for p in pixels], inside)]
    return gathered


def _checked(
    input: Array, grid: Array, mode: str, padding_mode: str, align_corners: bool | None
) -> tuple[FloatArray, FloatArray]:
    x, g = real_array("input", input), real_array("grid", grid)
    for name, word, known in (("mode", mode, MODES), ("padding_mode", padding_mode, PADDING_MODES)):
        if not isinstance(word, str):
            raise TypeError(f"{name} must be a string, got {name}={word!r}")
        if word not in known:
            raise ValueError(f"{name} must be one of {known}, got {name}={word!r}")
    if align_corners is not None:
        switch("align_corners", align_corners)
    if x.ndim not in (4, 5) or (mode == "bicubic" and x.ndim != 4):
        raise ValueError(
            f"input must have 4 or 5 axes, 4 with mode='bicubic', got input.shape={x.shape}, mode={mode!r}"
        )
    expected: Sizes = (x.shape[0], *g.shape[1:-1], x.ndim - 2)
    if g.ndim != x.ndim or g.shape != expected:
        raise ValueError(
            f"grid must have the batch of input, as many axes, and {x.ndim - 2} coordinates, got grid.shape={g.shape}, "
            f"input.shape={x.shape}"
        )
    if min(x.shape[2:]) < 1:
        raise ValueError(f"input must have at least 1 pixel in every spatial axis, got input.shape={x.shape}")
    return x, g
