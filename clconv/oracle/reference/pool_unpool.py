"""Max unpooling in one, two and three dimensions, and its gradients, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import (
    FloatArray,
    Padding,
    Size,
    Sizes,
    batched,
    padding_pairs,
    requested,
    require_output_shape,
    sizes,
)
from clconv.oracle.reference.pool_windows import Array, require_elements

__all__ = [
    "MaxUnpoolGradients",
    "Unpool",
    "max_unpool1d",
    "max_unpool1d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "max_unpool3d",
    "max_unpool3d_backward",
    "unpool_layer",
]


class MaxUnpoolGradients(NamedTuple):
    """Gradient of max unpooling; None where masked."""

    input: FloatArray | None


class Unpool(NamedTuple):
    """The checked arguments of max unpooling, with a batch axis."""

    x: FloatArray
    indices: NDArray[np.intp]  # (N, C, pixels of x)
    extent: Sizes
    has_batch: bool

    @property
    def output_shape(self) -> Sizes:
        """Shape of the output, with its batch axis."""
        return (*self.x.shape[:2], *self.extent)

    def unbatched(self, array: FloatArray) -> FloatArray:
        """Drop the batch axis if the input has none."""
        return array if self.has_batch else array[0]


def unpool_layer(
    rank: int,
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None,
    padding: Padding,
    output_size: Size | None,
) -> Unpool:
    """Check the arguments of `max_unpool2d`, or of its relatives."""
    x, has_batch = batched("input", input, rank + 2)
    require_elements("input", x)
    kernel = sizes("kernel_size", kernel_size, rank, 1)
    steps = kernel if stride is None else sizes("stride", stride, rank, 1)
    pairs = padding_pairs(padding, x.shape[2:], kernel, steps, (1,) * rank)
    axes = zip(x.shape[2:], kernel, steps, pairs, strict=True)
    default = tuple((i - 1) * s + k - sum(pair) for i, k, s, pair in axes)
    extent = default if output_size is None else _requested_extent(output_size, default, steps)
    if any(e < 1 for e in extent):
        raise ValueError(
            f"the output would have extent {extent}, every axis needs at least 1: input.shape={input.shape}, "
            f"kernel_size={kernel}, stride={steps}, padding={pairs}"
        )
    return Unpool(x, _checked_indices(indices, input, x, extent), extent, has_batch)


def _requested_extent(output_size: Size, default: Sizes, steps: Sizes) -> Sizes:
    """Return the output's extent, which the windows leave open by less than a stride."""
    rank = len(default)
    is_shape = isinstance(output_size, (tuple, list)) and len(output_size) == rank + 2
    extent = sizes("output_size", output_size[2:] if is_shape else output_size, rank, 1)  # type: ignore[index]
    if any(abs(e - d) >= s for e, d, s in zip(extent, default, steps, strict=True)):
        raise ValueError(
            f"output_size must differ from {default} by less than the stride {steps} in every axis, "
            f"got output_size={output_size}"
        )
    return extent


def _checked_indices(indices: Array, input: Array, x: FloatArray, extent: Sizes) -> NDArray[np.intp]:
    if not isinstance(indices, np.ndarray) or indices.dtype.kind not in "iu":
        found = indices.dtype if isinstance(indices, np.ndarray) else type(indices).__name__
        raise TypeError(f"indices must be a NumPy array of integers, got {found}")
    if indices.shape != input.shape:
        raise ValueError(
            f"indices must have the input's shape, got indices.shape={indices.shape}, input.shape={input.shape}"
        )
    pixels = math.prod(extent)
    wrong = indices[(indices < 0) | (indices >= pixels)]
    if wrong.size:
        raise ValueError(f"indices must be at least 0 and less than the output's {pixels} pixels, got {wrong[0]}")
    return indices.astype(np.intp).reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _forward(layer: Unpool) -> FloatArray:
    planes = np.zeros((*layer.x.shape[:2], math.prod(layer.extent)))
    np.put_along_axis(planes, layer.indices, layer.x.reshape(layer.indices.shape), axis=-1)
    return layer.unbatched(planes.reshape(layer.output_shape))


def _backward(grad_output: Array, layer: Unpool, output_mask: Sequence[bool] | None) -> MaxUnpoolGradients:
    g = require_output_shape(grad_output, layer.output_shape, layer.has_batch)
    if not requested(output_mask, MaxUnpoolGradients._fields)[0]:
        return MaxUnpoolGradients(None)
    planes = g.reshape(*g.shape[:2], math.prod(layer.extent))
    dx = np.take_along_axis(planes, layer.indices, axis=-1)
    return MaxUnpoolGradients(layer.unbatched(dx.reshape(layer.x.shape)))


def max_unpool1d(
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    output_size: Size | None = None,
) -> FloatArray:
    """Put the maxima of a signal's windows back to where they were: `max_unpool2d` with one spatial axis.

    Parameters, results and errors are those of `max_unpool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> max_unpool1d(np.array([[5, 4]]), np.array([[1, 3]]), 2, output_size=(5,))
    array([[0., 5., 0., 4., 0.]])
    """
    return _forward(unpool_layer(1, input, indices, kernel_size, stride, padding, output_size))


def max_unpool2d(
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    output_size: Size | None = None,
) -> FloatArray:
    """Put the maxima of windows back to where they were in the image, among zeros.

    ``y[n, c].flat[indices[n, c, ih, iw]] = x[n, c, ih, iw]``. Where two indices of a plane are equal and the
    values are not, it is not specified which of them y holds.

    Parameters
    ----------
    input : (N, C, IH, IW) or (C, IH, IW)
    indices : integers in the shape of `input`
        Those that `max_pool2d` returns.
    kernel_size, stride, padding
        Those of `max_pool2d`; they only decide the extent of the output.
    output_size : int or tuple, optional
        Extent of the output, less than a stride from ``(IH - 1)*SH + KH - low - high``, which is the default;
        or its whole shape, of which batch and channels are not looked at.

    Returns
    -------
    (N, C, *output_size) or (C, *output_size)

    Raises
    ------
    ValueError
        If an index is not a pixel of the output, shapes do not fit, there are no channels or no pixels, or
        a parameter is out of range.
    TypeError
        If `input` is not a NumPy array of real numbers, `indices` not one of integers, or a parameter has
        the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> max_unpool2d(np.array([[[7, 9]]]), np.array([[[4, 2]]]), 2)
    array([[[0., 0., 9., 0.],
            [7., 0., 0., 0.]]])
    """
    return _forward(unpool_layer(2, input, indices, kernel_size, stride, padding, output_size))


def max_unpool3d(
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    output_size: Size | None = None,
) -> FloatArray:
    """Put the maxima of a volume's windows back to where they were: `max_unpool2d` with three spatial axes.

    Parameters, results and errors are those of `max_unpool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> max_unpool3d(np.array([[[[6]]]]), np.array([[[[2]]]]), (2, 1, 2))
    array([[[[0., 0.]],
    <BLANKLINE>
            [[6., 0.]]]])
    """
    return _forward(unpool_layer(3, input, indices, kernel_size, stride, padding, output_size))


def max_unpool1d_backward(
    grad_output: Array,
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    output_size: Size | None = None,
    *,
    output_mask: Sequence[bool] | None = None,
) -> MaxUnpoolGradients:
    """Gradient of ``sum(grad_output * max_unpool1d(...))``: `max_unpool2d_backward` with one spatial axis.

    Parameters, results and errors are those of `max_unpool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> max_unpool1d_backward(np.array([[1, 2, 3, 4]]), np.array([[9, 9]]), np.array([[1, 3]]), 2)
    MaxUnpoolGradients(input=array([[2., 4.]]))
    """
    layer = unpool_layer(1, input, indices, kernel_size, stride, padding, output_size)
    return _backward(grad_output, layer, output_mask)


def max_unpool2d_backward(
    grad_output: Array,
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    output_size: Size | None = None,
    *,
    output_mask: Sequence[bool] | None = None,
) -> MaxUnpoolGradients:
    """Gradient of ``sum(grad_output * max_unpool2d(...))``: `grad_output` at the indices.

    Where two indices of a plane are equal, both get it, as in torch, though the output holds one value only.

    Parameters
    ----------
    grad_output : (N, C, *output_size) or (C, *output_size)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, indices, kernel_size, stride, padding, output_size
        As in `max_unpool2d`; only the shape of `input` matters.

    Returns
    -------
    MaxUnpoolGradients

    Raises
    ------
    ValueError
        As `max_unpool2d`, and if `grad_output` does not have the output's shape or `output_mask` not one entry.
    TypeError
        As `max_unpool2d`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> max_unpool2d_backward(np.array([[[1, 2], [3, 4]]]), np.array([[[9]]]), np.array([[[2]]]), 2)
    MaxUnpoolGradients(input=array([[[3.]]]))
    """
    layer = unpool_layer(2, input, indices, kernel_size, stride, padding, output_size)
    return _backward(grad_output, layer, output_mask)


def max_unpool3d_backward(
    grad_output: Array,
    input: Array,
    indices: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    output_size: Size | None = None,
    *,
    output_mask: Sequence[bool] | None = None,
) -> MaxUnpoolGradients:
    """Gradient of ``sum(grad_output * max_unpool3d(...))``: `max_unpool2d_backward` with three spatial axes.

    Parameters, results and errors are those of `max_unpool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> g = np.arange(8).reshape(1, 2, 2, 2)
    >>> max_unpool3d_backward(g, np.array([[[[9]]]]), np.array([[[[5]]]]), 2).input
    array([[[[5.]]]])
    """
    layer = unpool_layer(3, input, indices, kernel_size, stride, padding, output_size)
    return _backward(grad_output, layer, output_mask)
