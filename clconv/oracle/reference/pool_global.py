"""Global average and max pooling, which torch lacks and ONNX has, and their gradients, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clconv.oracle.reference.geometry import FloatArray, real_array
from clconv.oracle.reference.pool_adaptive import (
    AdaptiveAvgPoolGradients,
    AdaptiveMaxPoolGradients,
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_backward,
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool3d,
    adaptive_avg_pool3d_backward,
    adaptive_max_pool1d,
    adaptive_max_pool1d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
    adaptive_max_pool3d,
    adaptive_max_pool3d_backward,
)
from clconv.oracle.reference.pool_windows import Array

__all__ = ["global_avg_pool", "global_avg_pool_backward", "global_max_pool", "global_max_pool_backward", "global_rank"]

Mask = Sequence[bool] | None

AVERAGES = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)
AVERAGE_GRADIENTS = (adaptive_avg_pool1d_backward, adaptive_avg_pool2d_backward, adaptive_avg_pool3d_backward)
MAXIMA = (adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d)
MAXIMUM_GRADIENTS = (adaptive_max_pool1d_backward, adaptive_max_pool2d_backward, adaptive_max_pool3d_backward)


def global_rank(input: Array) -> int:
    """Return the number of spatial axes, all but the first two."""
    shape = real_array("input", input).shape
    if not 3 <= len(shape) <= 5:
        raise ValueError(f"input must have a batch axis, channels and 1 to 3 spatial axes, got input.shape={shape}")
    return len(shape) - 2


def global_avg_pool(input: Array) -> FloatArray:
    """Take the mean over all spatial axes, which stay with one pixel: adaptive average pooling to size 1.

    Parameters
    ----------
    input : (N, C, *spatial)
        With one to three spatial axes, and always with a batch axis.

    Returns
    -------
    (N, C, 1, ...)

    Raises
    ------
    ValueError
        If there are no pixels, or too few or too many axes.
    TypeError
        If `input` is not a NumPy array of real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> global_avg_pool(np.array([[[1, 2, 6]]]))
    array([[[3.]]])
    """
    return AVERAGES[global_rank(input) - 1](input, 1)


def global_max_pool(input: Array) -> FloatArray:
    """Take the maximum over all spatial axes, which stay with one pixel: adaptive max pooling to size 1.

    Parameters, results and errors are those of `global_avg_pool`; there must be a channel.

    Examples
    --------
    >>> import numpy as np
    >>> global_max_pool(np.array([[[[1, 2], [6, 3]]]]))
    array([[[[6.]]]])
    """
    y: Any = MAXIMA[global_rank(input) - 1](input, 1)
    return y  # type: ignore[no-any-return]


def global_avg_pool_backward(grad_output: Array, input: Array, *, output_mask: Mask = None) -> AdaptiveAvgPoolGradients:
    """Gradient of ``sum(grad_output * global_avg_pool(input))``: an equal part of it for every pixel.

    Parameters
    ----------
    grad_output : (N, C, 1, ...)
    input
        As in `global_avg_pool`; only its shape matters.
    output_mask : one bool, optional
        Whether to compute the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> global_avg_pool_backward(np.array([[[6]]]), np.zeros((1, 1, 3))).input
    array([[[2., 2., 2.]]])
    """
    return AVERAGE_GRADIENTS[global_rank(input) - 1](grad_output, input, 1, output_mask=output_mask)


def global_max_pool_backward(grad_output: Array, input: Array, *, output_mask: Mask = None) -> AdaptiveMaxPoolGradients:
    """Gradient of ``sum(grad_output * global_max_pool(input))``: all of it for the first maximum of each plane.

    Parameters are those of `global_avg_pool_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> global_max_pool_backward(np.array([[[6]]]), np.array([[[1, 5, 5]]])).input
    array([[[0., 6., 0.]]])
    """
    return MAXIMUM_GRADIENTS[global_rank(input) - 1](grad_output, input, 1, output_mask=output_mask)
