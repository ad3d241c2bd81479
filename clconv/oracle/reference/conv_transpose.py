"""Transposed convolution in one, two and three dimensions, and its gradients, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from clconv.oracle.reference import passes
from clconv.oracle.reference.geometry import FloatArray, Padding, Size, Window, requested, require_output_shape, switch
from clconv.oracle.reference.layer import ConvGradients, Layer, checked_bias, finished, gathered, layer_arrays

Array = NDArray[Any]

__all__ = [
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose3d",
    "conv_transpose3d_backward",
]


def _layer(
    rank: int,
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Size,
    padding: Padding,
    output_padding: Size,
    groups: int,
    dilation: Size,
    padding_mode: str,
    flip: bool,
) -> Layer:
    x, has_batch, w, G = layer_arrays(rank, input, weight, groups)
    if w.shape[0] != x.shape[1]:
        raise ValueError(
            f"weight takes {w.shape[0]} channels but input has {x.shape[1]}: "
            f"input.shape={input.shape}, weight.shape={w.shape}"
        )
    if w.shape[0] % G:
        raise ValueError(f"groups={G} must divide the {w.shape[0]} input channels: weight.shape={w.shape}")
    window = Window.behind(x.shape[2:], w.shape[2:], stride, padding, output_padding, dilation, padding_mode)
    w = passes.rotated(w) if switch("flip", flip) else w
    return Layer(x, w, checked_bias(bias, w.shape[1] * G), window, G, flip, has_batch)


def _forward(layer: Layer) -> FloatArray:
    # (IC, OCG, *K) is the weight of the forward convolution from the output's OC channels to the input's IC.
    return finished(passes.conv_bwd_data(layer.x, layer.w, layer.window, layer.groups), layer)


def _backward(grad_output: Array, layer: Layer, output_mask: Sequence[bool] | None) -> ConvGradients:
    shape = (layer.x.shape[0], layer.w.shape[1] * layer.groups, *layer.window.extent)
    g = require_output_shape(grad_output, shape, layer.has_batch)
    want_input, want_weight, want_bias = requested(output_mask, ConvGradients._fields)
    dx = passes.conv_fwd(g, layer.w, layer.window, layer.groups) if want_input else None
    dw = passes.conv_bwd_weights(layer.x, g, layer.window, layer.groups) if want_weight else None
    return gathered(dx, dw, g, layer, want_bias)


def conv_transpose1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
) -> FloatArray:
    """Transposed convolution of signals: `conv_transpose2d` with one spatial axis.

    Parameters
    ----------
    input : (N, IC, IW) or (IC, IW)
    weight : (IC, OCG, KW)
    bias : (OC,), optional
    stride, padding, output_padding, groups, dilation, padding_mode, flip
        As in `conv_transpose2d`; (low, high) padding is written ``((1, 2),)``.

    Returns
    -------
    (N, OC, OW) or (OC, OW)

    Raises
    ------
    ValueError, TypeError
        As `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> conv_transpose1d(np.array([[1, 2]]), np.array([[[1, 10, 100]]]), stride=2)
    array([[  1.,  10., 102.,  20., 200.]])
    """
    layer = _layer(1, input, weight, bias, stride, padding, output_padding, groups, dilation, padding_mode, flip)
    return _forward(layer)


def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
) -> FloatArray:
    """Apply the adjoint of a convolution from OC to IC channels, and add a bias.

    ``yp[n, g*OCG + ocg, oh, ow] = sum(w[ic, ocg, kh, kw] * x[n, ic, ih, iw]
    for ic in group g and ih*SH + kh*DH = oh, iw*SW + kw*DW = ow)``; every pixel of the padded yp is then
    added to the pixel of y that the convolution's padding copies (with zeros, padding is cut off).

    Parameters
    ----------
    input : (N, IC, IH, IW) or (IC, IH, IW)
    weight : (IC, OCG, KH, KW)
        OCG = OC/groups. Groups are runs of neighbouring channels on both sides.
    bias : (OC,), optional
    stride, groups, dilation, padding_mode, flip
        Those of the convolution, as in `conv2d`.
    padding : int, tuple or str
        That of the convolution, as in `conv2d`: it shrinks the output. With "same" (stride 1 only),
        "same_upper" and "same_lower" the output has input*stride pixels.
    output_padding : int or (OPH, OPW)
        Pixels added to the output at the high side; 0 where a same-padding fixes the output.

    Returns
    -------
    (N, OC, OH, OW) or (OC, OH, OW)
        With OH = (IH - 1)*SH - low - high + DH*(KH-1) + 1 + OPH.

    Raises
    ------
    ValueError
        If shapes do not fit, input or output have an empty spatial axis, or a parameter is out of range:
        output_padding must be less than stride or less than dilation in every axis; padding is limited by
        the output as in `conv2d` by the input.
    TypeError
        If an array is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[1, 2]]])
    >>> w = np.array([[[[1, 3], [0, 5]]]])
    >>> conv_transpose2d(x, w)
    array([[[ 1.,  5.,  6.],
            [ 0.,  5., 10.]]])
    >>> conv_transpose2d(x, w, padding=((0, 1), (0, 1)), padding_mode="replicate")
    array([[[ 1., 26.]]])
    """
    layer = _layer(2, input, weight, bias, stride, padding, output_padding, groups, dilation, padding_mode, flip)
    return _forward(layer)


def conv_transpose3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
) -> FloatArray:
    """Transposed convolution of volumes: `conv_transpose2d` with three spatial axes.

    Parameters
    ----------
    input : (N, IC, ID, IH, IW) or (IC, ID, IH, IW)
    weight : (IC, OCG, KD, KH, KW)
    bias : (OC,), optional
    stride, padding, output_padding, groups, dilation, padding_mode, flip
        As in `conv_transpose2d`.

    Returns
    -------
    (N, OC, OD, OH, OW) or (OC, OD, OH, OW)

    Raises
    ------
    ValueError, TypeError
        As `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> conv_transpose3d(np.array([[[[1, 2]]]]), np.array([[[[[1, 3]]]]]), np.array([7]))
    array([[[[ 8., 12., 13.]]]])
    """
    layer = _layer(3, input, weight, bias, stride, padding, output_padding, groups, dilation, padding_mode, flip)
    return _forward(layer)


def conv_transpose1d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Sequence[bool] | None = None,
) -> ConvGradients:
    """Gradients of `conv_transpose1d`: `conv_transpose2d_backward` with one spatial axis.

    Parameters
    ----------
    grad_output : (N, OC, OW) or (OC, OW)
    output_mask : three bools, optional
        Which gradients to compute.
    input, weight, ...
        As in `conv_transpose1d`.

    Returns
    -------
    ConvGradients

    Raises
    ------
    ValueError, TypeError
        As `conv_transpose2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.array([[1, 2]]), np.array([[[1, 10, 100]]])
    >>> conv_transpose1d_backward(np.array([[1, 2, 3, 4, 5]]), x, w, stride=2).input
    array([[321., 543.]])
    """
    layer = _layer(1, input, weight, bias, stride, padding, output_padding, groups, dilation, padding_mode, flip)
    return _backward(grad_output, layer, output_mask)


def conv_transpose2d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Sequence[bool] | None = None,
) -> ConvGradients:
    """Gradients of ``sum(grad_output * conv_transpose2d(...))`` with respect to input, weight and bias.

    With dyp the padded `grad_output`:
    ``dx[n, ic, ih, iw] = sum(w[ic, ocg, kh, kw] * dyp[n, g*OCG + ocg, ih*SH + kh*DH, iw*SW + kw*DW]
    for ocg, kh, kw)``, ``dw[ic, ocg, kh, kw] = sum(x[n, ic, ih, iw]
    * dyp[n, g*OCG + ocg, ih*SH + kh*DH, iw*SW + kw*DW] for n, ih, iw)`` and
    ``db[oc] = sum(dy[n, oc, oh, ow] for n, oh, ow)``.

    Parameters
    ----------
    grad_output : (N, OC, OH, OW) or (OC, OH, OW)
    output_mask : three bools, optional
        Which gradients to compute; all by default.
    input, weight, ...
        As in `conv_transpose2d`.

    Returns
    -------
    ConvGradients
        Each in the shape of its argument, None where masked; bias is also None where no bias was given.

    Raises
    ------
    ValueError
        As `conv_transpose2d`, and if `grad_output` does not have the output's shape or `output_mask` not
        three entries.
    TypeError
        As `conv_transpose2d`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.array([[[1, 2]]]), np.array([[[[1, 3], [0, 5]]]])
    >>> dx, dw, db = conv_transpose2d_backward(np.array([[[1, 2, 3], [4, 5, 6]]]), x, w)
    >>> dx
    array([[[32., 41.]]])
    >>> dw
    array([[[[ 5.,  8.],
             [14., 17.]]]])
    """
    layer = _layer(2, input, weight, bias, stride, padding, output_padding, groups, dilation, padding_mode, flip)
    return _backward(grad_output, layer, output_mask)


def conv_transpose3d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Sequence[bool] | None = None,
) -> ConvGradients:
    """Gradients of `conv_transpose3d`: `conv_transpose2d_backward` with three spatial axes.

    Parameters
    ----------
    grad_output : (N, OC, OD, OH, OW) or (OC, OD, OH, OW)
    output_mask : three bools, optional
        Which gradients to compute.
    input, weight, ...
        As in `conv_transpose3d`.

    Returns
    -------
    ConvGradients

    Raises
    ------
    ValueError, TypeError
        As `conv_transpose2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.array([[[[1, 2]]]]), np.array([[[[[1, 3]]]]])
    >>> conv_transpose3d_backward(np.array([[[[1, 2, 3]]]]), x, w, output_mask=(True, False, False))
    ConvGradients(input=array([[[[ 7., 11.]]]]), weight=None, bias=None)
    """
    layer = _layer(3, input, weight, bias, stride, padding, output_padding, groups, dilation, padding_mode, flip)
    return _backward(grad_output, layer, output_mask)
