"""Normalisations that know one image only: of groups of channels, and of the last axes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from clconv.functional._normalisation import NormGradients, Rule, backward, checked_eps, forward, given_arrays
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask
from clconv.functional.epilogue import Epilogue
from clconv.problem import NormAxes

__all__ = [
    "RMSNormGradients",
    "group_norm",
    "group_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "rms_norm",
    "rms_norm_backward",
]


class RMSNormGradients(NamedTuple):
    """Gradients of rms_norm's arguments; None where masked, or where there is no weight."""

    input: Any
    weight: Any


@repeatable
def group_norm(
    input: Any,
    num_groups: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Normalise each group of channels of each image.

    ``y = weight[c] * (x - mean) / sqrt(var + eps) + bias[c]`` with the mean and the variance, divided by n, of the n
    values in C/num_groups neighbouring channels of one image.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C) or (N, C, *spatial). float16, float32 or float64, any strides.
    num_groups : int
        Divides C. As many groups as channels make it an instance norm.
    weight, bias : array of shape (C,), optional
    eps : float
        Added to the variance.
    epilogue : clconv.Epilogue, optional
        What is done to the output before it is stored.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Of its shape.

    Raises
    ------
    ValueError
        If shapes do not fit, or a single image has groups of one value.
    TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.array([[5.0, 7.0, 1.0, 3.0]])
    >>> group_norm(x, 2, numpy.array([1.0, 2.0, 3.0, 4.0]), eps=3.0)
    array([[-0.5,  1. , -1.5,  2. ]])
    """
    arrays, dtype = given_arrays(epilogue, input=input, weight=weight, bias=bias)
    axes = _groups(arrays, num_groups)
    return forward(axes, Rule(checked_eps(eps)), arrays, dtype, out, device, epilogue)


@repeatable
def group_norm_backward(
    grad_output: Any,
    input: Any,
    num_groups: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> NormGradients:
    """Return the gradients of :func:`group_norm`.

    The formulas of :func:`batch_norm_backward`, with means over a group; ``dw`` and ``db`` are sums over images and
    pixels.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, num_groups, weight, bias, eps, device
        As :func:`group_norm` was called with.
    output_mask : sequence of three bools, optional
        Which of the gradients of input, weight and bias to compute.

    Returns
    -------
    NormGradients
        Each of its argument's shape, None where masked or where the argument is None.

    Examples
    --------
    >>> import numpy
    >>> g, x, w = numpy.array([[8.0, 0.0]]), numpy.array([[5.0, 7.0]]), numpy.array([1.0, 1.0])
    >>> group_norm_backward(g, x, 1, w, eps=3.0)
    NormGradients(input=array([[ 1.5, -1.5]]), weight=array([-4.,  0.]), bias=None)
    """
    mask = check_mask(output_mask, NormGradients._fields)
    arrays, dtype = given_arrays(input=input, weight=weight, bias=bias, grad_output=grad_output)
    return backward(_groups(arrays, num_groups), Rule(checked_eps(eps)), arrays, dtype, mask, device)


@repeatable
def layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Normalise over the last axes.

    ``y = weight * (x - mean) / sqrt(var + eps) + bias`` with the mean and the variance, divided by n, of the n values
    in the last axes, which weight and bias have as well.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (..., *normalized_shape). float16, float32 or float64, any strides.
    normalized_shape : tuple of int
        The extents of the axes to normalise over.
    weight, bias : array of shape ``normalized_shape``, optional
    eps : float
        Added to the variance.
    epilogue : clconv.Epilogue, optional
        What is done to the output before it is stored: a residual, an activation. There are no channels to scale.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Of its shape.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> layer_norm(numpy.array([[5.0, 7.0], [2.0, 2.0]]), (2,), numpy.array([1.0, 2.0]), eps=3.0)
    array([[-0.5,  1. ],
           [ 0. ,  0. ]])
    """
    arrays, dtype = given_arrays(epilogue, input=input, weight=weight, bias=bias)
    axes = NormAxes.of_last(arrays["input"].shape, normalized_shape)
    return forward(axes, Rule(checked_eps(eps)), arrays, dtype, out, device, epilogue)


@repeatable
def layer_norm_backward(
    grad_output: Any,
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> NormGradients:
    """Return the gradients of :func:`layer_norm`.

    The formulas of :func:`batch_norm_backward`, with means over the last axes, and ``dw`` and ``db`` sums over all
    others.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, normalized_shape, weight, bias, eps, device
        As :func:`layer_norm` was called with.
    output_mask : sequence of three bools, optional
        Which of the gradients of input, weight and bias to compute.

    Returns
    -------
    NormGradients
        Each of its argument's shape, None where masked or where the argument is None.

    Examples
    --------
    >>> import numpy
    >>> g, x, w = numpy.array([[8.0, 0.0]]), numpy.array([[5.0, 7.0]]), numpy.array([1.0, 1.0])
    >>> layer_norm_backward(g, x, (2,), w, w, eps=3.0)
    NormGradients(input=array([[ 1.5, -1.5]]), weight=array([-4.,  0.]), bias=array([8., 0.]))
    """
    mask = check_mask(output_mask, NormGradients._fields)
    arrays, dtype = given_arrays(input=input, weight=weight, bias=bias, grad_output=grad_output)
    axes = NormAxes.of_last(arrays["input"].shape, normalized_shape)
    return backward(axes, Rule(checked_eps(eps)), arrays, dtype, mask, device)


@repeatable
def rms_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    eps: float | None = None,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Divide by the root of the mean square over the last axes.

    ``y = weight * x / sqrt(mean(x**2) + eps)``

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (..., *normalized_shape). float16, float32 or float64, any strides.
    normalized_shape : tuple of int
        The extents of the axes to take the mean over.
    weight : array of shape ``normalized_shape``, optional
    eps : float, optional
        Added to the mean square; by default the distance from 1 to the next number in the type of the arithmetic,
        2**-52 for float64 and 2**-23 for float32 and float16.
    epilogue : clconv.Epilogue, optional
        What is done to the output before it is stored: a residual, an activation. There are no channels to scale.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Of its shape.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> rms_norm(numpy.array([[1.0, 7.0]]), (2,), numpy.array([1.0, 10.0]), eps=0.0).round(6)
    array([[ 0.2, 14. ]])
    """
    arrays, dtype = given_arrays(epilogue, input=input, weight=weight)
    axes = NormAxes.of_last(arrays["input"].shape, normalized_shape)
    return forward(axes, _root_mean_square(eps, dtype), arrays, dtype, out, device, epilogue)


@repeatable
def rms_norm_backward(
    grad_output: Any,
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    eps: float | None = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> RMSNormGradients:
    """Return the gradients of :func:`rms_norm`.

    With ``h = grad_output * weight``, ``r = 1/sqrt(mean(x**2) + eps)`` and ``xhat = x * r``,
    ``dx = r * (h - xhat * mean(h * xhat))``; ``dw`` is the sum of ``grad_output * xhat`` over all but the last axes.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, normalized_shape, weight, eps, device
        As :func:`rms_norm` was called with.
    output_mask : sequence of two bools, optional
        Which of the gradients of input and weight to compute.

    Returns
    -------
    RMSNormGradients
        Each of its argument's shape, None where masked or where the argument is None.

    Examples
    --------
    >>> import numpy
    >>> g, x, w = numpy.array([[50.0, 0.0]]), numpy.array([[1.0, 7.0]]), numpy.array([1.0, 1.0])
    >>> dx, dw = rms_norm_backward(g, x, (2,), w, eps=0.0)
    >>> dx.round(6), dw.round(6)
    (array([[ 9.8, -1.4]]), array([10.,  0.]))
    """
    mask = check_mask(output_mask, RMSNormGradients._fields)
    arrays, dtype = given_arrays(input=input, weight=weight, grad_output=grad_output)
    axes = NormAxes.of_last(arrays["input"].shape, normalized_shape)
    gradients = backward(axes, _root_mean_square(eps, dtype), arrays, dtype, (*mask, False), device)
    return RMSNormGradients(gradients.input, gradients.weight)


def _groups(arrays: dict[str, Any], num_groups: Any) -> NormAxes:
    axes = NormAxes.of_groups(arrays["input"].shape, num_groups)
    if axes.extents[0] * axes.n == 1:
        raise ValueError(
            "a group of a single image takes more than one value: "
            f"input.shape={axes.input_shape}, num_groups={num_groups!r}"
        )
    return axes


def _root_mean_square(eps: Any, dtype: str) -> Rule:
    if eps is None:
        return Rule(float(np.finfo("float64" if dtype == "float64" else "float32").eps), is_centred=False)
    return Rule(checked_eps(eps), is_centred=False)
