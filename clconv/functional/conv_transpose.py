"""Transposed convolution in one, two and three dimensions, and its gradients."""

from __future__ import annotations

from typing import Any

from clconv.functional._convolution import ConvGradients, Geometry, backward, forward
from clconv.functional._repeat import repeatable
from clconv.functional.epilogue import Epilogue

__all__ = [
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose3d",
    "conv_transpose3d_backward",
]


@repeatable
def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Apply a transposed convolution over one spatial axis: as :func:`conv_transpose2d`, which describes the arguments.

    Examples
    --------
    >>> import numpy
    >>> conv_transpose1d(numpy.array([[1, 2]], "float32"), numpy.array([[[1, 10, 100]]], "float32"), stride=2)
    array([[  1.,  10., 102.,  20., 200.]], dtype=float32)
    """
    geometry = Geometry(1, stride, padding, dilation, groups, padding_mode, flip, output_padding)
    return forward(geometry, input, weight, bias, epilogue, out, device)


@repeatable
def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Apply a transposed convolution over two spatial axes.

    It is the exact adjoint of :func:`clconv.conv2d` with the same weight, stride, padding, padding_mode, dilation,
    groups and flip, plus a bias: input element ``(n, ic, ih, iw)`` adds ``w[ic, oc, kh, kw]`` times itself at output
    ``ih*SH - PH + kh*DH``, ``iw`` likewise. (The order of arguments is torch's: here groups stands before dilation.)

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, IC, IH, IW), or (IC, IH, IW) without a batch. float16, float32 or float64, any strides.
    weight : array of the same kind and dtype
        Shape (IC, OC / groups, KH, KW).
    bias : array of the same kind and dtype, optional
        Shape (OC,).
    stride, padding, dilation, groups, padding_mode, flip
        Those of the convolution whose adjoint this is; see :func:`clconv.conv2d`. Padding takes positions from the
        output; "same" keeps the extent at stride 1, "same_upper" and "same_lower" multiply it by the stride.
    output_padding : int or sequence of int
        How many positions longer than the least possible the output is; smaller than stride or dilation on its axis.
    epilogue, out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (N, OC, OH, OW), or (OC, OH, OW), with OH = (IH-1)*SH - padding + DH*(KH-1) + 1 + output_padding.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> small, kernel = numpy.array([[[1, 2], [3, 4]]], "float32"), numpy.ones((1, 1, 2, 2), "float32")
    >>> conv_transpose2d(small, kernel, stride=2)[0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.],
           [3., 3., 4., 4.],
           [3., 3., 4., 4.]], dtype=float32)
    """
    geometry = Geometry(2, stride, padding, dilation, groups, padding_mode, flip, output_padding)
    return forward(geometry, input, weight, bias, epilogue, out, device)


@repeatable
def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Apply a transposed convolution over three spatial axes: as :func:`conv_transpose2d`, which has the arguments.

    Examples
    --------
    >>> import numpy
    >>> point, kernel = numpy.full((1, 1, 1, 1), 7, "float32"), numpy.ones((1, 2, 2, 2, 2), "float32")
    >>> conv_transpose3d(point, kernel).shape
    (2, 2, 2, 2)
    """
    geometry = Geometry(3, stride, padding, dilation, groups, padding_mode, flip, output_padding)
    return forward(geometry, input, weight, bias, epilogue, out, device)


@repeatable
def conv_transpose1d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Any = None,
    device: Any = None,
) -> ConvGradients:
    """Return the gradients of :func:`conv_transpose1d`: as :func:`conv_transpose2d_backward`.

    Examples
    --------
    >>> import numpy
    >>> kernel = numpy.array([[[1, 10, 100]]], "float32")
    >>> conv_transpose1d_backward(numpy.ones((1, 5), "float32"), numpy.ones((1, 2), "float32"), kernel, stride=2).input
    array([[111., 111.]], dtype=float32)
    """
    geometry = Geometry(1, stride, padding, dilation, groups, padding_mode, flip, output_padding)
    return backward(geometry, grad_output, input, weight, bias, output_mask, device)


@repeatable
def conv_transpose2d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Any = None,
    device: Any = None,
) -> ConvGradients:
    """Return the gradients of :func:`conv_transpose2d` with respect to its arrays.

    The gradient of the input is the convolution whose adjoint the operation is.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of the output's shape.
    input, weight, bias, stride, padding, output_padding, groups, dilation, padding_mode, flip, device
        As :func:`conv_transpose2d` was called with.
    output_mask : sequence of three bool, optional
        Which gradients to compute: of input, weight and bias. All by default.

    Returns
    -------
    ConvGradients
        Fields ``input``, ``weight`` and ``bias``; None where masked, or where there is no bias.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> small, kernel = numpy.array([[[1, 2], [3, 4]]], "float32"), numpy.ones((1, 1, 2, 2), "float32")
    >>> conv_transpose2d_backward(numpy.ones((1, 4, 4), "float32"), small, kernel, stride=2).weight[0, 0]
    array([[10., 10.],
           [10., 10.]], dtype=float32)
    """
    geometry = Geometry(2, stride, padding, dilation, groups, padding_mode, flip, output_padding)
    return backward(geometry, grad_output, input, weight, bias, output_mask, device)


@repeatable
def conv_transpose3d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Any = None,
    device: Any = None,
) -> ConvGradients:
    """Return the gradients of :func:`conv_transpose3d`: as :func:`conv_transpose2d_backward`.

    Examples
    --------
    >>> import numpy
    >>> point, kernel = numpy.full((1, 1, 1, 1), 7, "float32"), numpy.ones((1, 1, 2, 2, 2), "float32")
    >>> conv_transpose3d_backward(numpy.ones((1, 2, 2, 2), "float32"), point, kernel).input
    array([[[[8.]]]], dtype=float32)
    """
    geometry = Geometry(3, stride, padding, dilation, groups, padding_mode, flip, output_padding)
    return backward(geometry, grad_output, input, weight, bias, output_mask, device)
