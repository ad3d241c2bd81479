"""Convolution in one, two and three dimensions, and its gradients."""

from __future__ import annotations

from typing import Any

from clconv.functional._convolution import ConvGradients, Geometry, backward, forward
from clconv.functional._repeat import repeatable
from clconv.functional.epilogue import Epilogue

__all__ = ["ConvGradients", "conv1d", "conv1d_backward", "conv2d", "conv2d_backward", "conv3d", "conv3d_backward"]


@repeatable
def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Convolve over one spatial axis: as :func:`conv2d`, which describes the arguments.

    ``input`` has shape (N, IC, IW) or (IC, IW), ``weight`` (OC, IC / groups, KW), the result (N, OC, OW) or (OC, OW).

    Examples
    --------
    >>> import numpy
    >>> signal = numpy.array([[1, 2, 4, 8]], dtype="float32")
    >>> conv1d(signal, numpy.array([[[1, 10]]], dtype="float32"))
    array([[21., 42., 84.]], dtype=float32)
    >>> conv1d(signal, numpy.array([[[1, 10]]], dtype="float32"), flip=True)
    array([[12., 24., 48.]], dtype=float32)
    """
    geometry = Geometry(1, stride, padding, dilation, groups, padding_mode, flip)
    return forward(geometry, input, weight, bias, epilogue, out, device)


@repeatable
def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Convolve over two spatial axes.

    With ``ih = oh*SH - PH + kh*DH``, ``iw`` likewise, and ``ic`` running over the channels of oc's group::

        y[n, oc, oh, ow] = b[oc] + sum over ic, kh, kw of w[oc, ic, kh, kw] * x[n, ic, ih, iw]

    As everywhere in deep learning this is a cross-correlation; ``flip=True`` makes it the mathematical convolution,
    whose kernel is rotated by 180 degrees.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        x, of shape (N, IC, IH, IW), or (IC, IH, IW) without a batch. float16, float32 or float64; float16 is computed
        in float32 and rounded once. Any strides.
    weight : array of the same kind and dtype
        w, of shape (OC, IC / groups, KH, KW).
    bias : array of the same kind and dtype, optional
        b, of shape (OC,).
    stride, dilation : int or sequence of int
        Step between outputs, and between taps (1 means that none are skipped); one for all axes, or one for each.
    padding : int, sequence of int, sequence of (low, high), or str
        Positions added around the input: one number, one for each axis, or a nested pair for each axis. "valid" adds
        none; "same" keeps the extent at stride 1, its odd position last; "same_upper" and "same_lower" make
        ceil(extent / stride) outputs at any stride, the odd position last or first; "full" adds all that
        the kernel reaches.
    groups : int
        Channels are split into this many groups, convolved separately.
    padding_mode : {"zeros", "reflect", "replicate", "circular", "symmetric"}
        What the padding holds: for the input abcd and two positions 00|abcd|00, cb|abcd|cb, aa|abcd|dd, cd|abcd|ab or
        ba|abcd|dc. No padded copy is made. Zero padding adds no product, whatever the weight.
    flip : bool
        Whether the kernel is rotated.
    epilogue : clconv.Epilogue, optional
        What is done to y before it is stored: scale, shift, addition, activation. Gradients do not know of it.
    out : array, optional
        Where the result goes: of exactly its shape and dtype, not overlapping an input. It is returned.
    device : optional
        As :func:`clconv.use` takes it.

    Returns
    -------
    array of the kind of ``input``
        y, of shape (N, OC, OH, OW), or (OC, OH, OW), with OH = floor((IH + padding - (DH*(KH-1) + 1)) / SH) + 1. A
        pyopencl array is on the input's queue, and may not be finished.

    Raises
    ------
    ValueError
        If shapes or values do not fit; the message names the argument, its value and the rule.
    TypeError
        If an argument has a type that is not taken, or the dtypes differ.
    Unsupported
        If the chosen device is not usable, or cannot compute in float64.
    DeviceMemoryError
        If memory runs out.

    See Also
    --------
    clconv.ConvProblem : sizes and costs, without arrays.

    Examples
    --------
    >>> import numpy
    >>> image = numpy.arange(16, dtype="float32").reshape(1, 4, 4)
    >>> edges = numpy.array([[[[0, -1, 0], [-1, 4, -1], [0, -1, 0]]]], dtype="float32")
    >>> conv2d(image, edges, padding=1, padding_mode="replicate")[0, 0]
    array([-5., -4., -4., -3.], dtype=float32)
    >>> conv2d(image, edges, stride=2, padding="same_upper").shape
    (1, 2, 2)
    """
    geometry = Geometry(2, stride, padding, dilation, groups, padding_mode, flip)
    return forward(geometry, input, weight, bias, epilogue, out, device)


@repeatable
def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Convolve over three spatial axes: as :func:`conv2d`, which describes the arguments.

    ``input`` has shape (N, IC, ID, IH, IW) or (IC, ID, IH, IW), ``weight`` (OC, IC / groups, KD, KH, KW), the result
    (N, OC, OD, OH, OW) or (OC, OD, OH, OW).

    Examples
    --------
    >>> import numpy
    >>> conv3d(numpy.ones((1, 3, 3, 3), "float32"), numpy.ones((1, 1, 2, 2, 2), "float32"), stride=(1, 2, 2))
    array([[[[8.]],
    <BLANKLINE>
            [[8.]]]], dtype=float32)
    """
    geometry = Geometry(3, stride, padding, dilation, groups, padding_mode, flip)
    return forward(geometry, input, weight, bias, epilogue, out, device)


@repeatable
def conv1d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Any = None,
    device: Any = None,
) -> ConvGradients:
    """Return the gradients of :func:`conv1d`: as :func:`conv2d_backward`, which describes the arguments.

    Examples
    --------
    >>> import numpy
    >>> signal, kernel = numpy.ones((1, 3), "float32"), numpy.array([[[2, 5]]], "float32")
    >>> conv1d_backward(numpy.ones((1, 2), "float32"), signal, kernel).input
    array([[2., 7., 5.]], dtype=float32)
    """
    geometry = Geometry(1, stride, padding, dilation, groups, padding_mode, flip)
    return backward(geometry, grad_output, input, weight, bias, output_mask, device)


@repeatable
def conv2d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Any = None,
    device: Any = None,
) -> ConvGradients:
    """Return the gradients of :func:`conv2d` with respect to its arrays.

    Every gradient is gathered in a fixed order, so it is the same bit for bit on every run on one device. The formulas
    are derived in docs/duality.md.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of the output's shape.
    input, weight, bias, stride, padding, dilation, groups, padding_mode, flip, device
        As :func:`conv2d` was called with.
    output_mask : sequence of three bool, optional
        Which gradients to compute: of input, weight and bias. All by default.

    Returns
    -------
    ConvGradients
        Fields ``input``, ``weight`` and ``bias``, each of its argument's shape and dtype; None where masked, or where
        there is no bias.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> image, kernel = numpy.ones((1, 3, 3), "float32"), numpy.ones((1, 1, 2, 2), "float32")
    >>> gradients = conv2d_backward(numpy.ones((1, 2, 2), "float32"), image, kernel)
    >>> gradients.input[0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]], dtype=float32)
    >>> gradients.weight[0, 0]
    array([[4., 4.],
           [4., 4.]], dtype=float32)
    """
    geometry = Geometry(2, stride, padding, dilation, groups, padding_mode, flip)
    return backward(geometry, grad_output, input, weight, bias, output_mask, device)


@repeatable
def conv3d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Any = None,
    device: Any = None,
) -> ConvGradients:
    """Return the gradients of :func:`conv3d`: as :func:`conv2d_backward`, which describes the arguments.

    Examples
    --------
    >>> import numpy
    >>> volume, kernel = numpy.ones((1, 2, 2, 2), "float32"), numpy.ones((1, 1, 2, 2, 2), "float32")
    >>> g, mask = numpy.full((1, 1, 1, 1), 3, "float32"), (False, True, False)
    >>> gradients = conv3d_backward(g, volume, kernel, output_mask=mask)
    >>> float(gradients.weight.sum()), gradients.input
    (24.0, None)
    """
    geometry = Geometry(3, stride, padding, dilation, groups, padding_mode, flip)
    return backward(geometry, grad_output, input, weight, bias, output_mask, device)
