"""Convolution in one, two and three dimensions, and its gradients, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from clconv.oracle.reference import passes
from clconv.oracle.reference.geometry import FloatArray, Padding, Size, Window, requested, require_output_shape, switch
from clconv.oracle.reference.layer import ConvGradients, Layer, checked_bias, finished, gathered, layer_arrays

Array = NDArray[Any]

__all__ = [
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv3d",
    "conv3d_backward",
]


def _layer(
    rank: int,
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Size,
    padding: Padding,
    dilation: Size,
    groups: int,
    padding_mode: str,
    flip: bool,
) -> Layer:
    x, has_batch, w, G = layer_arrays(rank, input, weight, groups)
    if w.shape[1] * G != x.shape[1]:
        raise ValueError(
            f"weight takes {w.shape[1]} channels in each of {G} groups, {w.shape[1] * G} in all, "
            f"but input has {x.shape[1]}: input.shape={input.shape}, weight.shape={w.shape}"
        )
    if w.shape[0] % G:
        raise ValueError(f"groups={G} must divide the {w.shape[0]} output channels: weight.shape={w.shape}")
    window = Window.over("input", x.shape[2:], w.shape[2:], stride, padding, dilation, padding_mode)
    w = passes.rotated(w) if switch("flip", flip) else w
    return Layer(x, w, checked_bias(bias, w.shape[0]), window, G, flip, has_batch)


def _forward(layer: Layer) -> FloatArray:
    return finished(passes.conv_fwd(layer.x, layer.w, layer.window, layer.groups), layer)


def _backward(grad_output: Array, layer: Layer, output_mask: Sequence[bool] | None) -> ConvGradients:
    shape = (layer.x.shape[0], layer.w.shape[0], *layer.window.positions)
    g = require_output_shape(grad_output, shape, layer.has_batch)
    want_input, want_weight, want_bias = requested(output_mask, ConvGradients._fields)
    dx = passes.conv_bwd_data(g, layer.w, layer.window, layer.groups) if want_input else None
    dw = passes.conv_bwd_weights(g, layer.x, layer.window, layer.groups) if want_weight else None
    return gathered(dx, dw, g, layer, want_bias)


def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
) -> FloatArray:
    """Convolve signals: `conv2d` with one spatial axis.

    ``y[n, oc, ow] = b[oc] + sum(w[oc, icg, kw] * xp[n, g*ICG + icg, ow*SW + kw*DW] for icg, kw)``

    Parameters
    ----------
    input : (N, IC, IW) or (IC, IW)
    weight : (OC, ICG, KW)
    bias : (OC,), optional
    stride, padding, dilation, groups, padding_mode, flip
        As in `conv2d`; (low, high) padding is written ``((1, 2),)``.

    Returns
    -------
    (N, OC, OW) or (OC, OW)

    Raises
    ------
    ValueError, TypeError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> conv1d(np.array([[1, 2, 4]]), np.array([[[10, 1]]]), padding=((1, 0),))
    array([[ 1., 12., 24.]])
    """
    return _forward(_layer(1, input, weight, bias, stride, padding, dilation, groups, padding_mode, flip))


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
) -> FloatArray:
    """Convolve images, in deep learning's sense: the kernel is not rotated unless `flip` says so.

    ``y[n, oc, oh, ow] = b[oc] + sum(w[oc, icg, kh, kw] * xp[n, g*ICG + icg, oh*SH + kh*DH, ow*SW + kw*DW]
    for icg, kh, kw)`` with the padded input xp and the group ``g = oc // OCG``.

    Parameters
    ----------
    input : (N, IC, IH, IW) or (IC, IH, IW)
    weight : (OC, ICG, KH, KW)
        ICG = IC/groups. Output channels of one group are neighbours.
    bias : (OC,), optional
    stride : int or (SH, SW)
    padding : int, tuple or str
        An integer, one integer for each axis, or one (low, high) pair for each axis; or "valid" (none),
        "full" (D*(K-1) on both sides), "same" (D*(K-1) in all, stride 1 only), "same_upper" and
        "same_lower" (such that the output has ceil(input/stride) pixels). Where the same-paddings are
        odd, the odd pixel is on the high side, with "same_lower" on the low side.
    dilation : int or (DH, DW)
        Distance of neighbouring taps; 1 is a dense kernel.
    groups : int
        Number of groups of channels that are convolved separately.
    padding_mode : str
        "zeros", "reflect", "replicate", "circular" or "symmetric"; NumPy's `pad` calls them "constant",
        "reflect", "edge", "wrap" and "symmetric".
    flip : bool
        Rotate the kernel by 180 degrees: the mathematical convolution.

    Returns
    -------
    (N, OC, OH, OW) or (OC, OH, OW)
        With OH = (IH + low + high - DH*(KH-1) - 1) // SH + 1.

    Raises
    ------
    ValueError
        If shapes do not fit, the window is larger than the padded input, a spatial axis is empty, or
        a parameter is out of range: reflect needs padding less than the input, circular and symmetric at
        most as much.
    TypeError
        If an array is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[1, 2, 3], [4, 5, 6]]])
    >>> w = np.array([[[[1, 10], [0, 100]]]])
    >>> conv2d(x, w)
    array([[[521., 632.]]])
    >>> conv2d(x, w, flip=True, padding="same_upper", stride=2)
    array([[[145., 360.]]])
    """
    return _forward(_layer(2, input, weight, bias, stride, padding, dilation, groups, padding_mode, flip))


def conv3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
) -> FloatArray:
    """Convolve volumes: `conv2d` with three spatial axes.

    ``y[n, oc, od, oh, ow] = b[oc] + sum(w[oc, icg, kd, kh, kw]
    * xp[n, g*ICG + icg, od*SD + kd*DD, oh*SH + kh*DH, ow*SW + kw*DW] for icg, kd, kh, kw)``

    Parameters
    ----------
    input : (N, IC, ID, IH, IW) or (IC, ID, IH, IW)
    weight : (OC, ICG, KD, KH, KW)
    bias : (OC,), optional
    stride, padding, dilation, groups, padding_mode, flip
        As in `conv2d`.

    Returns
    -------
    (N, OC, OD, OH, OW) or (OC, OD, OH, OW)

    Raises
    ------
    ValueError, TypeError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> conv3d(np.array([[[[1, 2, 3]], [[4, 5, 6]]]]), np.array([[[[[1]], [[10]]]]]))
    array([[[[41., 52., 63.]]]])
    """
    return _forward(_layer(3, input, weight, bias, stride, padding, dilation, groups, padding_mode, flip))


def conv1d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Sequence[bool] | None = None,
) -> ConvGradients:
    """Gradients of `conv1d`: `conv2d_backward` with one spatial axis.

    Parameters
    ----------
    grad_output : (N, OC, OW) or (OC, OW)
    output_mask : three bools, optional
        Which gradients to compute.
    input, weight, ...
        As in `conv1d`.

    Returns
    -------
    ConvGradients

    Raises
    ------
    ValueError, TypeError
        As `conv2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.array([[1, 2, 4]]), np.array([[[10, 1]]])
    >>> conv1d_backward(np.array([[1, 0]]), x, w)
    ConvGradients(input=array([[10.,  1.,  0.]]), weight=array([[[1., 2.]]]), bias=None)
    """
    layer = _layer(1, input, weight, bias, stride, padding, dilation, groups, padding_mode, flip)
    return _backward(grad_output, layer, output_mask)


def conv2d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Sequence[bool] | None = None,
) -> ConvGradients:
    """Gradients of ``sum(grad_output * conv2d(...))`` with respect to input, weight and bias.

    ``dxp[n, g*ICG + icg, ih, iw] = sum(w[oc, icg, kh, kw] * dy[n, oc, oh, ow]
    for oc in group g and oh*SH + kh*DH = ih, ow*SW + kw*DW = iw)``; every padded pixel is then added to the
    pixel that it copies.
    ``dw[oc, icg, kh, kw] = sum(dy[n, oc, oh, ow] * xp[n, g*ICG + icg, oh*SH + kh*DH, ow*SW + kw*DW]
    for n, oh, ow)`` and ``db[oc] = sum(dy[n, oc, oh, ow] for n, oh, ow)``.

    Parameters
    ----------
    grad_output : (N, OC, OH, OW) or (OC, OH, OW)
    output_mask : three bools, optional
        Which gradients to compute; all by default.
    input, weight, ...
        As in `conv2d`.

    Returns
    -------
    ConvGradients
        Each in the shape of its argument, None where masked; bias is also None where no bias was given.

    Raises
    ------
    ValueError
        As `conv2d`, and if `grad_output` does not have the output's shape or `output_mask` not three entries.
    TypeError
        As `conv2d`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.array([[[1, 2, 3], [4, 5, 6]]]), np.array([[[[1, 10], [0, 100]]]])
    >>> dx, dw, db = conv2d_backward(np.array([[[1, 2]]]), x, w, np.array([0]))
    >>> dx
    array([[[  1.,  12.,  20.],
            [  0., 100., 200.]]])
    >>> dw
    array([[[[ 5.,  8.],
             [14., 17.]]]])
    >>> db
    array([3.])
    """
    layer = _layer(2, input, weight, bias, stride, padding, dilation, groups, padding_mode, flip)
    return _backward(grad_output, layer, output_mask)


def conv3d_backward(
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    output_mask: Sequence[bool] | None = None,
) -> ConvGradients:
    """Gradients of `conv3d`: `conv2d_backward` with three spatial axes.

    Parameters
    ----------
    grad_output : (N, OC, OD, OH, OW) or (OC, OD, OH, OW)
    output_mask : three bools, optional
        Which gradients to compute.
    input, weight, ...
        As in `conv3d`.

    Returns
    -------
    ConvGradients

    Raises
    ------
    ValueError, TypeError
        As `conv2d_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.array([[[[1, 2]], [[4, 5]]]]), np.array([[[[[1]], [[10]]]]])
    >>> conv3d_backward(np.array([[[[1, 2]]]]), x, w).weight
    array([[[[[ 5.]],
    <BLANKLINE>
             [[14.]]]]])
    """
    layer = _layer(3, input, weight, bias, stride, padding, dilation, groups, padding_mode, flip)
    return _backward(grad_output, layer, output_mask)
