"""Moving elements between channels and pixels, with the gradients, in float64: copies, exact for any data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsIndex

from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, Sizes, real_array, requested, require_output_shape, sizes

__all__ = [
    "ChannelShuffleGradients",
    "PixelShuffleGradients",
    "PixelUnshuffleGradients",
    "channel_shuffle",
    "channel_shuffle_backward",
    "pixel_shuffle",
    "pixel_shuffle_backward",
    "pixel_unshuffle",
    "pixel_unshuffle_backward",
]

Array = NDArray[Any]


class PixelShuffleGradients(NamedTuple):
    """Gradient of `pixel_shuffle`; None where masked."""

    input: FloatArray | None


class PixelUnshuffleGradients(NamedTuple):
    """Gradient of `pixel_unshuffle`; None where masked."""

    input: FloatArray | None


class ChannelShuffleGradients(NamedTuple):
    """Gradient of `channel_shuffle`; None where masked."""

    input: FloatArray | None


def pixel_shuffle(input: Array, upscale_factor: SupportsIndex) -> FloatArray:
    """Turn channels into pixels: ``y[..., c, h*r + i, w*r + j] = x[..., c*r*r + i*r + j, h, w]``.

    Parameters
    ----------
    input : (..., C*r*r, H, W)
    upscale_factor : int
        r, at least 1.

    Returns
    -------
    (..., C, H*r, W*r)

    Raises
    ------
    ValueError
        If `input` has less than three axes, or r is not positive or its square does not divide the channels.
    TypeError
        If `input` is not a NumPy array of real numbers, or `upscale_factor` no integer.

    Examples
    --------
    >>> import numpy as np
    >>> pixel_shuffle(np.arange(4).reshape(4, 1, 1), 2)
    array([[[0., 1.],
            [2., 3.]]])
    """
    x, r = _image("input", input), _factor("upscale_factor", upscale_factor)
    return _shuffled(x, _shuffled_shape(x.shape, r), r)


def pixel_unshuffle(input: Array, downscale_factor: SupportsIndex) -> FloatArray:
    """Turn pixels into channels: ``y[..., c*r*r + i*r + j, h, w] = x[..., c, h*r + i, w*r + j]``.

    Parameters
    ----------
    input : (..., C, H*r, W*r)
    downscale_factor : int
        r, at least 1.

    Returns
    -------
    (..., C*r*r, H, W)

    Raises
    ------
    ValueError
        If `input` has less than three axes, or r is not positive or does not divide its last two extents.
    TypeError
        If `input` is not a NumPy array of real numbers, or `downscale_factor` no integer.

    Examples
    --------
    >>> import numpy as np
    >>> pixel_unshuffle(np.arange(4).reshape(1, 2, 2), 2).ravel()
    array([0., 1., 2., 3.])
    """
    x, r = _image("input", input), _factor("downscale_factor", downscale_factor)
    return _unshuffled(x, _unshuffled_shape(x.shape, r), r)


def channel_shuffle(input: Array, groups: SupportsIndex) -> FloatArray:
    """Interleave groups of channels: ``y[n, c*G + g] = x[n, g*(C/G) + c]``.

    Parameters
    ----------
    input : (N, C, ...)
        With at least three axes.
    groups : int
        G, at least 1.

    Returns
    -------
    (N, C, ...)

    Raises
    ------
    ValueError
        If `input` has less than three axes, or G is not positive or does not divide the channels.
    TypeError
        If `input` is not a NumPy array of real numbers, or `groups` no integer.

    Examples
    --------
    >>> import numpy as np
    >>> channel_shuffle(np.arange(6).reshape(1, 6, 1), 2).ravel()
    array([0., 3., 1., 4., 2., 5.])
    """
    x, G = _grouped(input, groups)
    return _interleaved(x, G, x.shape[1] // G)


def pixel_shuffle_backward(
    grad_output: Array,
    input: Array,
    upscale_factor: SupportsIndex,
    *,
    output_mask: Sequence[bool] | None = None,
) -> PixelShuffleGradients:
    """Gradient of ``sum(grad_output * pixel_shuffle(...))``: `pixel_unshuffle` of `grad_output`.

    Parameters
    ----------
    grad_output : (..., C, H*r, W*r)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, upscale_factor
        As in `pixel_shuffle`; only the shape of `input` matters.

    Returns
    -------
    PixelShuffleGradients

    Raises
    ------
    ValueError
        As `pixel_shuffle`, and if `grad_output` does not have the output's shape or `output_mask` not one
        entry.
    TypeError
        As `pixel_shuffle`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> pixel_shuffle_backward(np.array([[[5, 6], [7, 8]]]), np.zeros((4, 1, 1)), 2).input.ravel()
    array([5., 6., 7., 8.])
    """
    x, r = _image("input", input), _factor("upscale_factor", upscale_factor)
    g = require_output_shape(grad_output, _shuffled_shape(x.shape, r), has_batch=True)
    wanted = requested(output_mask, PixelShuffleGradients._fields)[0]
    return PixelShuffleGradients(_unshuffled(g, x.shape, r) if wanted else None)


def pixel_unshuffle_backward(
    grad_output: Array,
    input: Array,
    downscale_factor: SupportsIndex,
    *,
    output_mask: Sequence[bool] | None = None,
) -> PixelUnshuffleGradients:
    """Gradient of ``sum(grad_output * pixel_unshuffle(...))``: `pixel_shuffle` of `grad_output`.

    Parameters
    ----------
    grad_output : (..., C*r*r, H, W)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, downscale_factor
        As in `pixel_unshuffle`; only the shape of `input` matters.

    Returns
    -------
    PixelUnshuffleGradients

    Raises
    ------
    ValueError
        As `pixel_unshuffle`, and if `grad_output` does not have the output's shape or `output_mask` not one
        entry.
    TypeError
        As `pixel_unshuffle`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> pixel_unshuffle_backward(np.array([[[5]], [[6]], [[7]], [[8]]]), np.zeros((1, 2, 2)), 2)
    PixelUnshuffleGradients(input=array([[[5., 6.],
            [7., 8.]]]))
    """
    x, r = _image("input", input), _factor("downscale_factor", downscale_factor)
    g = require_output_shape(grad_output, _unshuffled_shape(x.shape, r), has_batch=True)
    wanted = requested(output_mask, PixelUnshuffleGradients._fields)[0]
    return PixelUnshuffleGradients(_shuffled(g, x.shape, r) if wanted else None)


def channel_shuffle_backward(
    grad_output: Array,
    input: Array,
    groups: SupportsIndex,
    *,
    output_mask: Sequence[bool] | None = None,
) -> ChannelShuffleGradients:
    """Gradient of ``sum(grad_output * channel_shuffle(...))``: the shuffle with C/G groups undoes it.

    Parameters
    ----------
    grad_output : (N, C, ...)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, groups
        As in `channel_shuffle`; only the shape of `input` matters.

    Returns
    -------
    ChannelShuffleGradients

    Raises
    ------
    ValueError
        As `channel_shuffle`, and if `grad_output` does not have the output's shape or `output_mask` not one
        entry.
    TypeError
        As `channel_shuffle`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> channel_shuffle_backward(np.array([[[0], [3], [1], [4], [2], [5]]]), np.zeros((1, 6, 1)), 2).input.ravel()
    array([0., 1., 2., 3., 4., 5.])
    """
    x, G = _grouped(input, groups)
    g = require_output_shape(grad_output, x.shape, has_batch=True)
    wanted = requested(output_mask, ChannelShuffleGradients._fields)[0]
    return ChannelShuffleGradients(_interleaved(g, x.shape[1] // G, G) if wanted else None)


def _factor(name: str, value: SupportsIndex) -> int:
    (r,) = sizes(name, value, 1, 1)
    return r


def _image(name: str, value: Array) -> FloatArray:
    x = real_array(name, value)
    if x.ndim < 3:
        raise ValueError(f"{name} must have at least 3 axes, got {name}.shape={x.shape}")
    return x


def _grouped(input: Array, groups: SupportsIndex) -> tuple[FloatArray, int]:
    x, G = _image("input", input), _factor("groups", groups)
    if x.shape[1] % G:
        raise ValueError(f"groups={G} must divide the {x.shape[1]} channels: input.shape={x.shape}")
    return x, G


def _shuffled_shape(shape: Sizes, r: int) -> Sizes:
    *lead, channels, H, W = shape
    if channels % (r * r):
        raise ValueError(
            f"the square of upscale_factor={r} must divide the {channels} channels: input.shape={tuple(shape)}"
        )
    return (*lead, channels // (r * r), H * r, W * r)


def _unshuffled_shape(shape: Sizes, r: int) -> Sizes:
    *lead, C, height, width = shape
    if height % r or width % r:
        raise ValueError(
            f"downscale_factor={r} must divide the height {height} and the width {width}: input.shape={tuple(shape)}"
        )
    return (*lead, C * r * r, height // r, width // r)


def _shuffled(x: FloatArray, shape: Sizes, r: int) -> FloatArray:
    """Move r*r channels of each pixel into the r by r pixels of the larger shape."""
    *lead, C, height, width = shape
    blocks = x.reshape(math.prod(lead), C, r, r, height // r, width // r)
    return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(shape).copy()


def _unshuffled(x: FloatArray, shape: Sizes, r: int) -> FloatArray:
    """Undo `_shuffled`; here the shape is the smaller one."""
    *lead, channels, H, W = shape
    blocks = x.reshape(math.prod(lead), channels // (r * r), H, r, W, r)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(shape).copy()


def _interleaved(x: FloatArray, outer: int, inner: int) -> FloatArray:
    """Swap the two factors of the channel axis."""
    N, C, *extent = x.shape
    return x.reshape(N, outer, inner, *extent).swapaxes(1, 2).reshape(N, C, *extent).copy()
