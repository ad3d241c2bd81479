"""Adaptive average and max pooling, whose windows share out the input, and their gradients, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, requested, require_output_shape, switch
from clconv.oracle.reference.pool import first_winners, selected
from clconv.oracle.reference.pool_average import spread, sums
from clconv.oracle.reference.pool_windows import Array, OutputSize, Pool, adaptive_pool

__all__ = [
    "AdaptiveAvgPoolGradients",
    "AdaptiveMaxPoolGradients",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_backward",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_backward",
    "average_shares",
    "max_shares",
]

Maxima = FloatArray | tuple[FloatArray, NDArray[np.int64]]
Mask = Sequence[bool] | None


class AdaptiveAvgPoolGradients(NamedTuple):
    """Gradient of adaptive average pooling; None where masked."""

    input: FloatArray | None


class AdaptiveMaxPoolGradients(NamedTuple):
    """Gradient of adaptive max pooling; None where masked."""

    input: FloatArray | None


def average_shares(rank: int, input: Array, output_size: OutputSize) -> Pool:
    """Check the arguments of `adaptive_avg_pool2d`, or of its relatives."""
    return adaptive_pool(rank, input, output_size, needs_channels=False)


def max_shares(rank: int, input: Array, output_size: OutputSize, return_indices: bool = False) -> Pool:
    """Check the arguments of `adaptive_max_pool2d`, or of its relatives."""
    switch("return_indices", return_indices)
    return adaptive_pool(rank, input, output_size, needs_channels=True)


def _average(pool: Pool) -> FloatArray:
    return pool.unbatched(pool.windows.image(sums(pool.x, pool.windows) / pool.windows.padded_taps))


def _average_backward(grad_output: Array, pool: Pool, output_mask: Mask) -> AdaptiveAvgPoolGradients:
    g = require_output_shape(grad_output, pool.output_shape, pool.has_batch)
    if not requested(output_mask, AdaptiveAvgPoolGradients._fields)[0]:
        return AdaptiveAvgPoolGradients(None)
    terms = pool.rows(g) / pool.windows.padded_taps
    return AdaptiveAvgPoolGradients(pool.unbatched(spread(terms, pool.windows)))


def _max(pool: Pool, return_indices: bool) -> Maxima:
    y, indices = (pool.unbatched(pool.windows.image(values)) for values in selected(pool.x, pool.windows))
    return (y, indices) if return_indices else y


def _max_backward(grad_output: Array, pool: Pool, output_mask: Mask) -> AdaptiveMaxPoolGradients:
    g = require_output_shape(grad_output, pool.output_shape, pool.has_batch)
    if not requested(output_mask, AdaptiveMaxPoolGradients._fields)[0]:
        return AdaptiveMaxPoolGradients(None)
    won = first_winners(pool.x, pool.windows)
    terms = np.where(won, pool.rows(g)[..., np.newaxis], 0.0)
    return AdaptiveMaxPoolGradients(pool.unbatched(pool.windows.scatter(terms)))


def adaptive_avg_pool1d(input: Array, output_size: OutputSize) -> FloatArray:
    """Take the mean of each share of a signal: `adaptive_avg_pool2d` with one spatial axis.

    Parameters, results and errors are those of `adaptive_avg_pool2d`, but that None is no size.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool1d(np.array([[1, 3, 5, 9]]), 3)
    array([[2., 4., 7.]])
    """
    return _average(average_shares(1, input, output_size))


def adaptive_avg_pool2d(input: Array, output_size: OutputSize) -> FloatArray:
    """Take the mean of each share of an image.

    In each axis, the share o of O is the pixels from ``floor(o*I / O)`` to ``ceil((o + 1)*I / O)``, the end
    excluded: neighbours overlap where O does not divide I.

    Parameters
    ----------
    input : (N, C, IH, IW) or (C, IH, IW)
    output_size : int or (OH, OW)
        None for the input's extent in that axis; 0 is lawful, and gives an empty output.

    Returns
    -------
    (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    ValueError
        If there are no pixels, or a size is negative.
    TypeError
        If `input` is not a NumPy array of real numbers, or `output_size` has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool2d(np.array([[[1, 2, 6], [3, 4, 8]]]), (None, 2))
    array([[[1.5, 4. ],
            [3.5, 6. ]]])
    """
    return _average(average_shares(2, input, output_size))


def adaptive_avg_pool3d(input: Array, output_size: OutputSize) -> FloatArray:
    """Take the mean of each share of a volume: `adaptive_avg_pool2d` with three spatial axes.

    Parameters, results and errors are those of `adaptive_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool3d(np.arange(8).reshape(1, 2, 2, 2), (1, None, 1))
    array([[[[2.5],
             [4.5]]]])
    """
    return _average(average_shares(3, input, output_size))


def adaptive_max_pool1d(input: Array, output_size: OutputSize, return_indices: bool = False) -> Maxima:
    """Take the maximum of each share of a signal: `adaptive_max_pool2d` with one spatial axis.

    Parameters, results and errors are those of `adaptive_max_pool2d`, but that None is no size.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_max_pool1d(np.array([[1, 3, 5, 9, 9]]), 3, return_indices=True)
    (array([[3., 9., 9.]]), array([[1, 3, 3]]))
    """
    return _max(max_shares(1, input, output_size, return_indices), return_indices)


def adaptive_max_pool2d(input: Array, output_size: OutputSize, return_indices: bool = False) -> Maxima:
    """Take the maximum of each share of an image.

    Parameters
    ----------
    input, output_size
        As in `adaptive_avg_pool2d`.
    return_indices : bool
        Whether to return where the maxima are, too: as `max_pool2d`, which also says what NaN does.

    Returns
    -------
    (N, C, OH, OW) or (C, OH, OW)
        With `return_indices`, a tuple of it and of int64 indices in the same shape.

    Raises
    ------
    ValueError
        If there are no channels or no pixels, or a size is negative.
    TypeError
        If `input` is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_max_pool2d(np.array([[[1, 2, 6], [3, 4, 8]]]), (1, 2), return_indices=True)
    (array([[[4., 8.]]]), array([[[4, 5]]]))
    """
    return _max(max_shares(2, input, output_size, return_indices), return_indices)


def adaptive_max_pool3d(input: Array, output_size: OutputSize, return_indices: bool = False) -> Maxima:
    """Take the maximum of each share of a volume: `adaptive_max_pool2d` with three spatial axes.

    Parameters, results and errors are those of `adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_max_pool3d(np.arange(8).reshape(1, 2, 2, 2), (1, None, 1))
    array([[[[5.],
             [7.]]]])
    """
    return _max(max_shares(3, input, output_size, return_indices), return_indices)


def adaptive_avg_pool1d_backward(
    grad_output: Array, input: Array, output_size: OutputSize, *, output_mask: Mask = None
) -> AdaptiveAvgPoolGradients:
    """Gradient of ``sum(grad_output * adaptive_avg_pool1d(...))``.

    Parameters, results and errors are those of `adaptive_avg_pool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool1d_backward(np.array([[4, 6]]), np.zeros((1, 3)), 2)
    AdaptiveAvgPoolGradients(input=array([[2., 5., 3.]]))
    """
    return _average_backward(grad_output, average_shares(1, input, output_size), output_mask)


def adaptive_avg_pool2d_backward(
    grad_output: Array, input: Array, output_size: OutputSize, *, output_mask: Mask = None
) -> AdaptiveAvgPoolGradients:
    """Gradient of ``sum(grad_output * adaptive_avg_pool2d(...))``.

    Each pixel gets the sum, over the shares that it is in, of `grad_output` divided by the size of the share.

    Parameters
    ----------
    grad_output : (N, C, OH, OW) or (C, OH, OW)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, output_size
        As in `adaptive_avg_pool2d`; only the shape of `input` matters.

    Returns
    -------
    AdaptiveAvgPoolGradients

    Raises
    ------
    ValueError
        As `adaptive_avg_pool2d`, and if `grad_output` does not have the output's shape or `output_mask` not
        one entry.
    TypeError
        As `adaptive_avg_pool2d`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool2d_backward(np.array([[[8]]]), np.zeros((1, 2, 2)), 1).input
    array([[[2., 2.],
            [2., 2.]]])
    """
    return _average_backward(grad_output, average_shares(2, input, output_size), output_mask)


def adaptive_avg_pool3d_backward(
    grad_output: Array, input: Array, output_size: OutputSize, *, output_mask: Mask = None
) -> AdaptiveAvgPoolGradients:
    """Gradient of ``sum(grad_output * adaptive_avg_pool3d(...))``.

    Parameters, results and errors are those of `adaptive_avg_pool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool3d_backward(np.array([[[[4]], [[6]]]]), np.zeros((1, 2, 1, 2)), (2, 1, 1)).input
    array([[[[2., 2.]],
    <BLANKLINE>
            [[3., 3.]]]])
    """
    return _average_backward(grad_output, average_shares(3, input, output_size), output_mask)


def adaptive_max_pool1d_backward(
    grad_output: Array, input: Array, output_size: OutputSize, return_indices: bool = False, *, output_mask: Mask = None
) -> AdaptiveMaxPoolGradients:
    """Gradient of ``sum(grad_output * adaptive_max_pool1d(...))``.

    Parameters, results and errors are those of `adaptive_max_pool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_max_pool1d_backward(np.array([[4, 6]]), np.array([[1, 2, 2]]), 2)
    AdaptiveMaxPoolGradients(input=array([[ 0., 10.,  0.]]))
    """
    return _max_backward(grad_output, max_shares(1, input, output_size, return_indices), output_mask)


def adaptive_max_pool2d_backward(
    grad_output: Array, input: Array, output_size: OutputSize, return_indices: bool = False, *, output_mask: Mask = None
) -> AdaptiveMaxPoolGradients:
    """Gradient of ``sum(grad_output * adaptive_max_pool2d(...))``.

    Each pixel gets the sum of `grad_output` over the shares of which it is the first maximum.

    Parameters
    ----------
    grad_output : (N, C, OH, OW) or (C, OH, OW)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, output_size, return_indices
        As in `adaptive_max_pool2d`.

    Returns
    -------
    AdaptiveMaxPoolGradients

    Raises
    ------
    ValueError
        As `adaptive_max_pool2d`, and if `grad_output` does not have the output's shape or `output_mask` not
        one entry.
    TypeError
        As `adaptive_max_pool2d`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_max_pool2d_backward(np.array([[[4, 6]]]), np.array([[[1, 5, 3], [2, 4, 0]]]), (1, 2)).input
    array([[[ 0., 10.,  0.],
            [ 0.,  0.,  0.]]])
    """
    return _max_backward(grad_output, max_shares(2, input, output_size, return_indices), output_mask)


def adaptive_max_pool3d_backward(
    grad_output: Array, input: Array, output_size: OutputSize, return_indices: bool = False, *, output_mask: Mask = None
) -> AdaptiveMaxPoolGradients:
    """Gradient of ``sum(grad_output * adaptive_max_pool3d(...))``.

    Parameters, results and errors are those of `adaptive_max_pool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_max_pool3d_backward(np.array([[[[5]]]]), np.array([[[[3, 7]]]]), 1).input
    array([[[[0., 5.]]]])
    """
    return _max_backward(grad_output, max_shares(3, input, output_size, return_indices), output_mask)
