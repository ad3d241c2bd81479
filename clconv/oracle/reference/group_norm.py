"""Normalisations that know one image only: of groups of channels, and of the last axes, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from clconv.oracle.reference.geometry import FloatArray, real_array, requested, sizes
from clconv.oracle.reference.norm import Norm, NormGradients, backward, epsilon, forward, parameter

__all__ = [
    "RMSNormGradients",
    "default_epsilon",
    "group_norm",
    "group_norm_backward",
    "grouped",
    "last_axes",
    "layer_norm",
    "layer_norm_backward",
    "rms_norm",
    "rms_norm_backward",
    "root_mean_square",
]

Array = NDArray[Any]


class RMSNormGradients(NamedTuple):
    """Gradients of `rms_norm`; None where masked, or where there is no weight."""

    input: FloatArray | None
    weight: FloatArray | None


def grouped(input: Array, num_groups: int, weight: Array | None, bias: Array | None, eps: float) -> Norm:
    """Check the arguments of `group_norm`."""
    x = real_array("input", input)
    if x.ndim < 2:
        raise ValueError(f"input must have at least 2 axes, got input.shape={x.shape}")
    (G,) = sizes("num_groups", num_groups, 1, 1)
    N, C, extent = x.shape[0], x.shape[1], x.shape[2:]
    if C % G:
        raise ValueError(f"num_groups={G} must divide the {C} channels of input: input.shape={x.shape}")
    by_group = (1, G, C // G, *(1,) * len(extent))
    w, b = parameter("weight", weight, (C,), by_group), parameter("bias", bias, (C,), by_group)
    axes = tuple(range(2, 3 + len(extent)))
    norm = Norm(x.reshape(N, G, C // G, *extent), axes, w, b, epsilon(eps), x.shape, (C,))
    if N * norm.n == 1:
        raise ValueError(f"a group needs more than one value, got input.shape={x.shape}, num_groups={G}")
    return norm


def last_axes(
    input: Array,
    normalized_shape: Sequence[int],
    weight: Array | None,
    bias: Array | None,
    eps: float,
    is_centred: bool,
) -> Norm:
    """Check the arguments of `layer_norm` and `rms_norm`."""
    x = real_array("input", input)
    if not isinstance(normalized_shape, (tuple, list)):
        raise TypeError(f"normalized_shape must be a tuple of integers, got normalized_shape={normalized_shape!r}")
    shape = sizes("normalized_shape", normalized_shape, len(normalized_shape), 0)
    if not shape:
        raise ValueError("normalized_shape must name at least one axis, got normalized_shape=()")
    if x.shape[-len(shape) :] != shape:
        raise ValueError(f"input must end in the axes normalized_shape={shape}, got input.shape={x.shape}")
    outer = x.ndim - len(shape)
    in_input = (*(1,) * outer, *shape)
    w, b = parameter("weight", weight, shape, in_input), parameter("bias", bias, shape, in_input)
    return Norm(x, tuple(range(outer, x.ndim)), w, b, epsilon(eps), x.shape, shape, is_centred)


def root_mean_square(input: Array, normalized_shape: Sequence[int], weight: Array | None, eps: float | None) -> Norm:
    """Check the arguments of `rms_norm`."""
    x = real_array("input", input)
    eps = default_epsilon(input.dtype) if eps is None else eps
    return last_axes(x, normalized_shape, weight, None, eps, is_centred=False)


def default_epsilon(dtype: DTypeLike) -> float:
    """Return what ``eps=None`` stands for: the distance from 1 to the next number, in the type of the sums.

    torch sums 16-bit types in float32, and takes that type's.

    Examples
    --------
    >>> default_epsilon("float16") == default_epsilon("float32") == 2**-23
    True
    """
    is_double = np.dtype(dtype).kind in "biu" or np.dtype(dtype).itemsize > 4
    return float(np.finfo(np.float64 if is_double else np.float32).eps)


def group_norm(
    input: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> FloatArray:
    """Normalise each group of channels of each image.

    ``y = w[c] * (x - m) / sqrt(v + eps) + b[c]`` with the mean m and the variance v, divided by n, of the
    C/num_groups neighbouring channels of one group in one image, over all their pixels.

    Parameters
    ----------
    input : (N, C, ...)
        Any number of spatial axes, none included.
    num_groups : int
        Divides C. As many groups as channels make it an instance norm.
    weight, bias : (C,), optional
    eps : float

    Returns
    -------
    (N, C, ...)

    Raises
    ------
    ValueError
        If shapes do not fit, `num_groups` does not divide the channels, `eps` is negative, or a single image
        has groups of one value.
    TypeError
        If an array is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[5, 7], [5, 7], [1, 1], [3, 3]]])
    >>> group_norm(x, 2, np.array([1, 2, 3, 4]), eps=3.0)
    array([[[-0.5,  0.5],
            [-1. ,  1. ],
            [-1.5, -1.5],
            [ 2. ,  2. ]]])
    """
    return forward(grouped(input, num_groups, weight, bias, eps))


def group_norm_backward(
    grad_output: Array,
    input: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    output_mask: Sequence[bool] | None = None,
) -> NormGradients:
    """Gradients of ``sum(grad_output * group_norm(...))`` with respect to input, weight and bias.

    With ``h = dy * w[c]``, r = 1/sqrt(v + eps) and means over the group: ``dx = r * (h - mean(h)
    - xhat * mean(h * xhat))``; ``dw[c] = sum(dy * xhat)`` and ``db[c] = sum(dy)`` over images and pixels.

    Parameters
    ----------
    grad_output : (N, C, ...)
    output_mask : three bools, optional
        Which gradients to compute; all by default.
    input, num_groups, ...
        As in `group_norm`.

    Returns
    -------
    NormGradients
        Each in the shape of its argument, None where masked or where the argument is None. Without images
        or pixels, those of weight and bias are 0.

    Raises
    ------
    ValueError
        As `group_norm`, and if `grad_output` does not have the output's shape or `output_mask` not three entries.
    TypeError
        As `group_norm`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> group_norm_backward(np.array([[8, 0]]), np.array([[5, 7]]), 1, np.array([1, 1]), eps=3.0)
    NormGradients(input=array([[ 1.5, -1.5]]), weight=array([-4.,  0.]), bias=None)
    """
    return backward(grad_output, grouped(input, num_groups, weight, bias, eps), output_mask)


def layer_norm(
    input: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> FloatArray:
    """Normalise over the last axes.

    ``y = w * (x - m) / sqrt(v + eps) + b`` with the mean m and the variance v, divided by n, over the last
    axes, which weight and bias have as well.

    Parameters
    ----------
    input : (..., *normalized_shape)
    normalized_shape : tuple of int
        The extents of the axes to normalise over.
    weight, bias : (*normalized_shape), optional
    eps : float

    Returns
    -------
    (..., *normalized_shape)

    Raises
    ------
    ValueError
        If shapes do not fit, `normalized_shape` is empty or `eps` is negative.
    TypeError
        If an array is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> layer_norm(np.array([[5, 7], [2, 2]]), (2,), np.array([1, 2]), np.array([0, 10]), eps=3.0)
    array([[-0.5, 11. ],
           [ 0. , 10. ]])
    """
    return forward(last_axes(input, normalized_shape, weight, bias, eps, is_centred=True))


def layer_norm_backward(
    grad_output: Array,
    input: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    output_mask: Sequence[bool] | None = None,
) -> NormGradients:
    """Gradients of ``sum(grad_output * layer_norm(...))`` with respect to input, weight and bias.

    The formulas of `group_norm_backward`, with means over the last axes, and sums over all others.

    Parameters
    ----------
    grad_output : (..., *normalized_shape)
    output_mask : three bools, optional
        Which gradients to compute; all by default.
    input, normalized_shape, ...
        As in `layer_norm`.

    Returns
    -------
    NormGradients

    Raises
    ------
    ValueError, TypeError
        As `layer_norm`, and as `group_norm_backward` for `grad_output` and `output_mask`.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1, 1])
    >>> layer_norm_backward(np.array([[8, 0]]), np.array([[5, 7]]), (2,), w, w, eps=3.0)
    NormGradients(input=array([[ 1.5, -1.5]]), weight=array([-4.,  0.]), bias=array([8., 0.]))
    """
    norm = last_axes(input, normalized_shape, weight, bias, eps, is_centred=True)
    return backward(grad_output, norm, output_mask)


def rms_norm(
    input: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    eps: float | None = None,
) -> FloatArray:
    """Divide by the root of the mean square over the last axes.

    ``y = w * x / sqrt(mean(x**2) + eps)``

    Parameters
    ----------
    input : (..., *normalized_shape)
    normalized_shape : tuple of int
        The extents of the axes to normalise over.
    weight : (*normalized_shape), optional
    eps : float, optional
        By default the distance from 1 to the next number in the input's type: 2**-52 in float64, and 2**-23
        in float32 and also float16, whose squares are summed in float32.

    Returns
    -------
    (..., *normalized_shape)

    Raises
    ------
    ValueError, TypeError
        As `layer_norm`.

    Examples
    --------
    >>> import numpy as np
    >>> rms_norm(np.array([[1, 7]]), (2,), np.array([1, 10]), eps=0.0)
    array([[ 0.2, 14. ]])
    """
    return forward(root_mean_square(input, normalized_shape, weight, eps))


def rms_norm_backward(
    grad_output: Array,
    input: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    eps: float | None = None,
    *,
    output_mask: Sequence[bool] | None = None,
) -> RMSNormGradients:
    """Gradients of ``sum(grad_output * rms_norm(...))`` with respect to input and weight.

    With ``h = dy * w``, r = 1/sqrt(mean(x**2) + eps) and xhat = r*x: ``dx = r * (h - xhat * mean(h * xhat))``
    and ``dw = sum(dy * xhat)`` over all but the last axes.

    Parameters
    ----------
    grad_output : (..., *normalized_shape)
    output_mask : two bools, optional
        Which gradients to compute; all by default.
    input, normalized_shape, ...
        As in `rms_norm`.

    Returns
    -------
    RMSNormGradients

    Raises
    ------
    ValueError, TypeError
        As `rms_norm`, and as `group_norm_backward` for `grad_output` and `output_mask`.

    Examples
    --------
    >>> import numpy as np
    >>> rms_norm_backward(np.array([[50, 0]]), np.array([[1, 7]]), (2,), np.array([1, 1]), eps=0.0)
    RMSNormGradients(input=array([[ 9.8, -1.4]]), weight=array([10.,  0.]))
    """
    wanted = requested(output_mask, RMSNormGradients._fields)
    norm = root_mean_square(input, normalized_shape, weight, eps)
    return RMSNormGradients(*backward(grad_output, norm, (*wanted, False))[:2])
