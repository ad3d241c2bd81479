"""Deformable convolution, versions 1 and 2, and its five gradients, in float64.

J. Dai et al., Deformable Convolutional Networks, ICCV 2017; X. Zhu et al., Deformable ConvNets v2, CVPR 2019, which
adds the mask. Argument names and order are those of torchvision.ops.deform_conv2d.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import (
    FloatArray,
    Padding,
    Size,
    Window,
    real_array,
    requested,
    require_output_shape,
)

__all__ = ["DeformConvGradients", "Layer", "Sampling", "deform_conv2d", "deform_conv2d_backward"]

Array = NDArray[Any]
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


class DeformConvGradients(NamedTuple):
    """Gradients of `deform_conv2d`; None where masked or absent."""

    input: FloatArray | None
    offset: FloatArray | None
    weight: FloatArray | None
    bias: FloatArray | None
    mask: FloatArray | None


@dataclass(frozen=True)
class Sampling:
    """Where taps read, between four pixels each. Arrays have the shape (4 corners, N, offset groups, taps, outputs).

    Attributes
    ----------
    pixels : flat index of the corner's pixel; -1 outside of the image
    weights : bilinear weight of the corner
    slopes : derivative of the weight by the row and by the column of the position
    rows, columns : the position itself, of shape (N, offset groups, taps, outputs)
    """

    pixels: NDArray[np.intp]
    weights: FloatArray
    slopes: tuple[FloatArray, FloatArray]
    rows: FloatArray
    columns: FloatArray

    @classmethod
    def at(cls, rows: FloatArray, columns: FloatArray, extent: tuple[int, int]) -> Sampling:
        """Sample at positions, counted in pixels from the first one; beyond the image there are zeros."""
        top, left = np.floor(rows), np.floor(columns)
        down, right = rows - top, columns - left
        pixels, weights, by_row, by_column = [], [], [], []
        for below, beside in CORNERS:
            row, column = top + below, left + beside
            inside = (row >= 0) & (row < extent[0]) & (column >= 0) & (column < extent[1])
            pixels.append(np.where(inside, row * extent[1] + column, -1).astype(np.intp))
            vertical, horizontal = down if below else 1 - down, right if beside else 1 - right
            weights.append(vertical * horizontal)
            by_row.append((2 * below - 1) * horizontal)
            by_column.append((2 * beside - 1) * vertical)
        return cls(np.array(pixels), np.array(weights), (np.array(by_row), np.array(by_column)), rows, columns)

    def of(self, x: FloatArray, factors: FloatArray) -> FloatArray:
        """Add up the corners of images (N, offset groups, channels, pixels), each times its factor."""
        # An image with one more pixel, a zero, which is what index -1 stands for.
        x = np.concatenate([x, np.zeros((*x.shape[:3], 1))], axis=3)
        N, groups = x.shape[:2]
        n, g = np.ogrid[:N, :groups]
        total = np.zeros((*x.shape[:3], *self.rows.shape[2:]))
        for pixels, factor in zip(self.pixels, factors, strict=True):
            values = x[n[..., None, None], g[..., None, None], :, pixels]  # (N, groups, taps, outputs, channels)
            total += np.moveaxis(values, 4, 2) * factor[:, :, None]
        return total

    def adjoint(self, columns: FloatArray, pixels: int) -> FloatArray:
        """Add what (N, offset groups, channels, taps, outputs) holds to the pixels that were read for it."""
        N, groups, channels = columns.shape[:3]
        x = np.zeros((N, groups, channels, pixels + 1))
        n, g, c = np.ogrid[:N, :groups, :channels]
        for index, factor in zip(self.pixels, self.weights, strict=True):
            at = (n[..., None, None], g[..., None, None], c[..., None, None], index[:, :, None])
            np.add.at(x, at, columns * factor[:, :, None])
        return x[..., :pixels]


@dataclass(frozen=True)
class Layer:
    """The arrays of a call, split into groups.

    Attributes
    ----------
    x : (N, offset groups, channels of each, pixels)
    w : (groups, output channels of each, input channels of each, taps)
    mask : (N, offset groups, 1, taps, outputs)
    sampling : where the taps read
    window : the undeformed windows
    """

    x: FloatArray
    w: FloatArray
    mask: FloatArray
    sampling: Sampling
    window: Window

    @classmethod
    def of(
        cls,
        input: Array,
        offset: Array,
        weight: Array,
        bias: Array | None,
        stride: Size,
        padding: Padding,
        dilation: Size,
        mask: Array | None,
    ) -> Layer:
        """Check the arguments of a call."""
        x, moves, w = (_of_four_axes(*named) for named in (("input", input), ("offset", offset), ("weight", weight)))
        N, C, *extent = x.shape
        OC, ICG, *kernel = w.shape
        window = Window.over(
            "input", (extent[0], extent[1]), (kernel[0], kernel[1]), stride, padding, dilation, "zeros"
        )
        taps, outputs = kernel[0] * kernel[1], window.positions[0] * window.positions[1]
        G = C // ICG if ICG and C % ICG == 0 else 0
        if not G or OC % G:
            raise ValueError(
                f"weight's {ICG} input channels must divide input's {C}, and the quotient weight's {OC} output "
                f"channels, got input.shape={x.shape}, weight.shape={w.shape}"
            )
        groups, rest = divmod(moves.shape[1], 2 * taps)
        if rest or not groups or C % groups or moves.shape[0] != N or moves.shape[2:] != window.positions:
            raise ValueError(
                f"offset must have the shape ({N}, 2*{taps}*groups, *{window.positions}) with groups that divide "
                f"{C} channels, got offset.shape={moves.shape}"
            )
        scales = np.ones((N, groups * taps, *window.positions)) if mask is None else _of_four_axes("mask", mask)
        if scales.shape != (N, groups * taps, *window.positions):
            raise ValueError(
                f"mask must have the shape {(N, groups * taps, *window.positions)}, got mask.shape={scales.shape}"
            )
        if bias is not None and real_array("bias", bias).shape != (OC,):
            raise ValueError(f"bias must have the shape {(OC,)}, got bias.shape={bias.shape}")
        rows, columns = _positions(moves.reshape(N, groups, taps, 2, outputs), window)
        return cls(
            x.reshape(N, groups, C // groups, extent[0] * extent[1]),
            w.reshape(G, OC // G, ICG, taps),
            scales.reshape(N, groups, 1, taps, outputs),
            Sampling.at(rows, columns, (extent[0], extent[1])),
            window,
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        G, OCG = self.w.shape[:2]
        return (self.x.shape[0], G * OCG, *self.window.positions)

    def sampled(self) -> FloatArray:
        """Return what the taps read: (N, offset groups, channels, taps, outputs)."""
        return self.sampling.of(self.x, self.sampling.weights)

    def output(self, sampled: FloatArray) -> FloatArray:
        """Return the output, without the bias, of what the taps read."""
        y: FloatArray = np.einsum("ngikp,goik->ngop", self._by_group(sampled * self.mask), self.w)
        return y.reshape(self.output_shape)

    def behind(self, g: FloatArray) -> FloatArray:
        """Return the gradient of what the taps read times the mask."""
        N, groups, channels, _ = self.x.shape
        G, OCG = self.w.shape[:2]
        behind: FloatArray = np.einsum("ngop,goik->ngikp", g.reshape(N, G, OCG, g.shape[2] * g.shape[3]), self.w)
        return behind.reshape(N, groups, channels, *behind.shape[3:])

    def input_gradient(self, behind: FloatArray) -> FloatArray:
        """Return the gradient of the input."""
        N, groups, channels, pixels = self.x.shape
        dx = self.sampling.adjoint(behind * self.mask, pixels)
        return dx.reshape(N, groups * channels, *self.window.extent)

    def offset_gradient(self, behind: FloatArray, slopes: Sequence[FloatArray]) -> FloatArray:
        """Return the gradient of the offset, given the derivatives of what is read by row and by column."""
        moves = np.stack([(behind * self.mask * slope).sum(axis=2) for slope in slopes], axis=3)
        return self._over_outputs(moves)

    def slopes(self) -> list[FloatArray]:
        """Return the derivatives of what the taps read by row and by column."""
        return [self.sampling.of(self.x, slope) for slope in self.sampling.slopes]

    def weight_gradient(self, g: FloatArray, sampled: FloatArray) -> FloatArray:
        """Return the gradient of the weight, given what the taps read."""
        G, OCG, ICG, _ = self.w.shape
        g = g.reshape(len(g), G, OCG, g.shape[2] * g.shape[3])
        dw: FloatArray = np.einsum("ngop,ngikp->goik", g, self._by_group(sampled * self.mask))
        return dw.reshape(G * OCG, ICG, *self.window.kernel)

    def mask_gradient(self, behind: FloatArray, sampled: FloatArray) -> FloatArray:
        """Return the gradient of the mask, given what the taps read."""
        total: FloatArray = (behind * sampled).sum(axis=2)
        return self._over_outputs(total)

    def gradients(self, g: FloatArray) -> DeformConvGradients:
        """Return all five gradients of ``sum(g * output)``."""
        behind, sampled = self.behind(g), self.sampled()
        return DeformConvGradients(
            self.input_gradient(behind),
            self.offset_gradient(behind, self.slopes()),
            self.weight_gradient(g, sampled),
            g.sum(axis=(0, 2, 3)),
            self.mask_gradient(behind, sampled),
        )

    def _over_outputs(self, values: FloatArray) -> FloatArray:
        """Join the axes between batch and outputs, and split the outputs."""
        channels = math.prod(values.shape[1:-1])
        return values.reshape(len(values), channels, *self.window.positions)

    def _by_group(self, columns: FloatArray) -> FloatArray:
        """Regroup channels: (N, groups, input channels of each, taps, outputs)."""
        G, _, ICG, taps = self.w.shape
        return columns.reshape(columns.shape[0], G, ICG, taps, columns.shape[4])


def deform_conv2d(
    input: Array,
    offset: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = (1, 1),
    padding: Padding = (0, 0),
    dilation: Size = (1, 1),
    mask: Array | None = None,
) -> FloatArray:
    """Convolve with taps that are moved, each at each output, by an offset, and scaled by a mask.

    ``y[n, oc, o] = b[oc] + sum(w[oc, ic, k] * m[n, k, o] * x(n, ic, o*S - P + k*D + offset[n, k, o]) for all ic, k)``,
    x between the pixels being bilinear, and zero beyond the image.

    Parameters
    ----------
    input : (N, IC, IH, IW)
    offset : (N, 2*OG*KH*KW, OH, OW)
        For each of OG groups of input channels and each tap, how far down and how far right it is moved.
    weight : (OC, IC/G, KH, KW)
        The number of groups G follows from the shapes.
    bias : (OC,), optional
    stride, padding, dilation
        As in `conv2d`.
    mask : (N, OG*KH*KW, OH, OW), optional
        One without it (version 1).

    Returns
    -------
    (N, OC, OH, OW)

    Raises
    ------
    ValueError
        If shapes do not fit each other, or a parameter is out of range.
    TypeError
        If an array is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[1.0, 3.0, 7.0]]]])
    >>> half_a_pixel_right = np.broadcast_to([[[[0.0]], [[0.5]]]], (1, 2, 1, 3))
    >>> deform_conv2d(x, half_a_pixel_right, np.ones((1, 1, 1, 1)))
    array([[[[2. , 5. , 3.5]]]])
    """
    layer = Layer.of(input, offset, weight, bias, stride, padding, dilation, mask)
    y = layer.output(layer.sampled())
    return y if bias is None else y + real_array("bias", bias)[:, None, None]


def deform_conv2d_backward(
    grad_output: Array,
    input: Array,
    offset: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = (1, 1),
    padding: Padding = (0, 0),
    dilation: Size = (1, 1),
    mask: Array | None = None,
    *,
    output_mask: Sequence[bool] | None = None,
) -> DeformConvGradients:
    """Gradients of ``sum(grad_output * deform_conv2d(...))``.

    At whole positions, where x has a kink, the gradient of the offset is that towards the next pixel.

    Parameters
    ----------
    grad_output : (N, OC, OH, OW)
    output_mask : five bools, optional
        Which gradients to compute: of input, offset, weight, bias and mask.
    input, offset, weight, bias, stride, padding, dilation, mask
        As in `deform_conv2d`.

    Returns
    -------
    DeformConvGradients
        Those of bias and mask are None where there is none.

    Raises
    ------
    ValueError, TypeError
        As `deform_conv2d`, and if `grad_output` does not have the output's shape or `output_mask` not five bools.

    Examples
    --------
    >>> import numpy as np
    >>> x, offset = np.array([[[[1.0, 3.0, 7.0]]]]), np.zeros((1, 2, 1, 3))
    >>> deform_conv2d_backward(np.ones((1, 1, 1, 3)), x, offset, np.ones((1, 1, 1, 1))).offset
    array([[[[-1., -3., -7.]],
    <BLANKLINE>
            [[ 2.,  4., -7.]]]])
    """
    wanted = requested(output_mask, DeformConvGradients._fields)
    layer = Layer.of(input, offset, weight, bias, stride, padding, dilation, mask)
    gradients = layer.gradients(require_output_shape(grad_output, layer.output_shape, True))
    absent = {"bias": bias is None, "mask": mask is None}
    return DeformConvGradients(
        *(
            gradient if flag and not absent.get(name, False) else None
            for name, gradient, flag in zip(gradients._fields, gradients, wanted, strict=True)
        )
    )


def _of_four_axes(name: str, value: Array) -> FloatArray:
    array = real_array(name, value)
    if array.ndim != 4:
        raise ValueError(f"{name} must have 4 axes, got {name}.shape={array.shape}")
    return array


def _positions(moves: FloatArray, window: Window) -> tuple[FloatArray, FloatArray]:
    """Return the rows and the columns that taps read, of shape (N, offset groups, taps, outputs)."""
    starts = []
    for axis in range(2):
        o = np.arange(window.positions[axis]) * window.stride[axis]
        k = np.arange(window.kernel[axis]) * window.dilation[axis]
        starts.append(k[:, None] + o - window.padding[axis][0])
    (KH, OH), (KW, OW) = starts[0].shape, starts[1].shape
    rows = np.broadcast_to(starts[0][:, None, :, None], (KH, KW, OH, OW)).reshape(KH * KW, OH * OW)
    columns = np.broadcast_to(starts[1][None, :, None, :], (KH, KW, OH, OW)).reshape(KH * KW, OH * OW)
    return rows + moves[:, :, :, 0], columns + moves[:, :, :, 1]
