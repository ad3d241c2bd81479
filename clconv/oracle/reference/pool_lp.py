"""Power-average pooling (the Lp norm of each window) and its gradients, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clconv.oracle.reference.geometry import FloatArray, Size, requested, require_output_shape
from clconv.oracle.reference.pool import first_winners
from clconv.oracle.reference.pool_windows import Array, Pool, Windows, sliding_pool

__all__ = [
    "LpPoolGradients",
    "Norm",
    "lp_pool1d",
    "lp_pool1d_backward",
    "lp_pool2d",
    "lp_pool2d_backward",
    "lp_pool3d",
    "lp_pool3d_backward",
    "norm_layer",
    "norms",
]


class LpPoolGradients(NamedTuple):
    """Gradient of power-average pooling; None where masked."""

    input: FloatArray | None


class Norm(NamedTuple):
    """The checked input of power-average pooling, and the power."""

    pool: Pool
    power: float


def norm_layer(
    rank: int, input: Array, norm_type: float, kernel_size: Size, stride: Size | None, ceil_mode: bool
) -> Norm:
    """Check the arguments of `lp_pool2d`, or of its relatives."""
    if isinstance(norm_type, (bool, np.bool_)) or not isinstance(norm_type, (int, float, np.integer, np.floating)):
        raise TypeError(f"norm_type must be a number, got norm_type={norm_type!r}")
    if not norm_type > 0:
        raise ValueError(f"norm_type must be greater than 0, got norm_type={norm_type}")
    return Norm(sliding_pool(rank, input, kernel_size, stride, 0, 1, ceil_mode), float(norm_type))


def norms(x: FloatArray, windows: Windows, power: float) -> FloatArray:
    """Return ``sum(|x|**power)**(1/power)`` of each window: (N, C, windows).

    Powers are taken of |x| divided by the largest of the window, so that they neither overflow nor all
    underflow. For small powers it is that number's power of two: the division is then exact, and so are
    norms of order 1 and 2 whose sums and roots are.
    """
    magnitudes = windows.gather(np.abs(x), 0.0)
    largest: FloatArray = magnitudes.max(axis=-1)
    if math.isinf(power):
        return largest
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    if power <= 2:
        scale = np.ldexp(1.0, np.frexp(scale)[1] - 1)
    with np.errstate(under="ignore"):
        total = ((magnitudes / scale[..., np.newaxis]) ** power).sum(axis=-1)
        root = np.sqrt(total) if power == 2 else total ** (1 / power)
    with np.errstate(over="ignore"):  # a norm may exceed the range that its pixels are in
        y: FloatArray = scale * root
    return y


def _forward(layer: Norm) -> FloatArray:
    pool = layer.pool
    return pool.unbatched(pool.windows.image(norms(pool.x, pool.windows, layer.power)))


def _backward(grad_output: Array, layer: Norm, output_mask: Sequence[bool] | None) -> LpPoolGradients:
    pool = layer.pool
    g = require_output_shape(grad_output, pool.output_shape, pool.has_batch)
    if not requested(output_mask, LpPoolGradients._fields)[0]:
        return LpPoolGradients(None)
    values = pool.windows.gather(pool.x, 0.0)
    with np.errstate(all="ignore"):
        terms = pool.rows(g)[..., np.newaxis] * _slopes(values, pool, layer.power)
    return LpPoolGradients(pool.unbatched(pool.windows.scatter(np.where(values == 0, 0.0, terms))))


def _slopes(values: FloatArray, pool: Pool, power: float) -> FloatArray:
    """Return the derivative of each norm by each of its pixels: ``sign(x) * (|x| / norm)**(power - 1)``."""
    if math.isinf(power):
        return np.where(first_winners(np.abs(pool.x), pool.windows), np.sign(values), 0.0)
    y = norms(pool.x, pool.windows, power)[..., np.newaxis]
    slopes: FloatArray = np.sign(values) * (np.abs(values) / y) ** (power - 1)
    return slopes


def lp_pool1d(
    input: Array, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> FloatArray:
    """Take the Lp norm of each window of a signal: `lp_pool2d` with one spatial axis.

    Parameters, results and errors are those of `lp_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> lp_pool1d(np.array([[3, -4, 5, 12, -7]]), 2, 2, ceil_mode=True)
    array([[ 5., 13.,  7.]])
    """
    return _forward(norm_layer(1, input, norm_type, kernel_size, stride, ceil_mode))


def lp_pool2d(
    input: Array, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> FloatArray:
    """Take the Lp norm of each window of an image.

    ``y[n, c, oh, ow] = sum(|x[n, c, oh*SH + kh, ow*SW + kw]|**norm_type for kh, kw)**(1/norm_type)``, the sum
    over the taps that are on the image. torch 2.13 differs: it takes powers of x instead of its magnitude, and
    scales the windows that `ceil_mode` adds as if they were whole.

    Parameters
    ----------
    input : (N, C, IH, IW) or (C, IH, IW)
    norm_type : float
        Greater than 0; infinity stands for the largest magnitude.
    kernel_size : int or (KH, KW)
    stride : int or (SH, SW), optional
        By default `kernel_size`.
    ceil_mode : bool
        Add a last window that goes beyond the input, where the stride does not divide what is left; but none
        that starts beyond it.

    Returns
    -------
    (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    ValueError
        If there are no channels or no pixels, the window is larger than the input, or a parameter is out of
        range.
    TypeError
        If `input` is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[1, -2, 3], [-4, 5, 6]]])
    >>> lp_pool2d(x, 1, 2, stride=1), lp_pool2d(x, np.inf, 2, stride=1)
    (array([[[12., 16.]]]), array([[[5., 6.]]]))
    """
    return _forward(norm_layer(2, input, norm_type, kernel_size, stride, ceil_mode))


def lp_pool3d(
    input: Array, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> FloatArray:
    """Take the Lp norm of each window of a volume: `lp_pool2d` with three spatial axes.

    Parameters, results and errors are those of `lp_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> lp_pool3d(np.full((1, 2, 2, 4), -3), 2, (2, 2, 1))
    array([[[[6., 6., 6., 6.]]]])
    """
    return _forward(norm_layer(3, input, norm_type, kernel_size, stride, ceil_mode))


def lp_pool1d_backward(
    grad_output: Array,
    input: Array,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    output_mask: Sequence[bool] | None = None,
) -> LpPoolGradients:
    """Gradient of ``sum(grad_output * lp_pool1d(...))``: `lp_pool2d_backward` with one spatial axis.

    Parameters, results and errors are those of `lp_pool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> lp_pool1d_backward(np.array([[10]]), np.array([[3, -4]]), 2, 2)
    LpPoolGradients(input=array([[ 6., -8.]]))
    """
    return _backward(grad_output, norm_layer(1, input, norm_type, kernel_size, stride, ceil_mode), output_mask)


def lp_pool2d_backward(
    grad_output: Array,
    input: Array,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    output_mask: Sequence[bool] | None = None,
) -> LpPoolGradients:
    """Gradient of ``sum(grad_output * lp_pool2d(...))``.

    Each pixel gets the sum of ``grad_output * sign(x) * (|x| / y)**(norm_type - 1)`` over the windows that it is
    in. It is 0 where x is, also where the norm has no derivative, as at 0. With an infinite `norm_type`, the
    first pixel of a window, in row-major order, that has the largest magnitude gets all.

    Parameters
    ----------
    grad_output : (N, C, OH, OW) or (C, OH, OW)
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, norm_type, kernel_size, stride, ceil_mode
        As in `lp_pool2d`.

    Returns
    -------
    LpPoolGradients

    Raises
    ------
    ValueError
        As `lp_pool2d`, and if `grad_output` does not have the output's shape or `output_mask` not one entry.
    TypeError
        As `lp_pool2d`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> lp_pool2d_backward(np.array([[[5]]]), np.array([[[1, 0], [-1, 2]]]), 1, 2).input
    array([[[ 5.,  0.],
            [-5.,  5.]]])
    """
    return _backward(grad_output, norm_layer(2, input, norm_type, kernel_size, stride, ceil_mode), output_mask)


def lp_pool3d_backward(
    grad_output: Array,
    input: Array,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
    *,
    output_mask: Sequence[bool] | None = None,
) -> LpPoolGradients:
    """Gradient of ``sum(grad_output * lp_pool3d(...))``: `lp_pool2d_backward` with three spatial axes.

    Parameters, results and errors are those of `lp_pool2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> lp_pool3d_backward(np.array([[[[7]]]]), np.array([[[[2, -3]]]]), np.inf, (1, 1, 2)).input
    array([[[[ 0., -7.]]]])
    """
    return _backward(grad_output, norm_layer(3, input, norm_type, kernel_size, stride, ceil_mode), output_mask)
