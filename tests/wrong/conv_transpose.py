"""Wrong transposed convolutions and gradients of them: what comes out where one step of right ones is wrong."""

from __future__ import annotations

from functools import partial

import numpy as np

from . import WrongImplementation
from ._conv_steps import ConvolutionTranspose, ConvolutionTransposeBackward, enlist

RIGHT = {f"conv_transpose{rank}d": ConvolutionTranspose(rank) for rank in (1, 2, 3)} | {
    f"conv_transpose{rank}d_backward": ConvolutionTransposeBackward(rank) for rank in (1, 2, 3)
}
WRONG: list[WrongImplementation] = []
wrong = partial(enlist, WRONG)


# --- groups


@wrong("conv_transpose2d", "groups mixed: the weight is read as (input channels of a group, output channels)", line=6)
class WeightByOutputs(ConvolutionTranspose):
    """weight (IC, OCG) read as (ICG, OC): groups beside each other instead of below each other"""

    def kernel(self, layer):
        (IC, OCG, *taps), G = layer.w.shape, layer.groups
        return np.swapaxes(layer.w.reshape(IC // G, G, OCG, *taps), 0, 1).reshape(layer.w.shape)


@wrong("conv_transpose1d", "groups mixed: the output's channels are interleaved", line=6)
class InterleavedOutput(ConvolutionTranspose):
    """channels of the output in turns from each group"""

    def with_bias(self, y, layer):
        size = y.shape[1] // layer.groups
        return super().with_bias(np.concatenate([y[:, o::size] for o in range(size)], axis=1), layer)


@wrong("conv_transpose2d", "groups mixed: all groups read the first group's channels", line=6)
class FirstGroupOnly(ConvolutionTranspose):
    """every group reads the channels of the first one"""

    def group(self, a, g, layer, axis=1):
        return super().group(a, 0 if a is layer.x else g, layer, axis)


@wrong("conv_transpose1d", "the weight's channel axes are swapped", line=6)
class ForwardWeight(ConvolutionTranspose):
    """weight read as a convolution's, (output channels, input channels)"""

    def kernel(self, layer):
        return np.swapaxes(layer.w, 0, 1).reshape(layer.w.shape)


# --- gaps, extents and output_padding


@wrong("conv_transpose2d", "elements of output are zero that should not be", line=15)
class GapsWithoutBias(ConvolutionTranspose):
    """a stride longer than the kernel leaves gaps, which have no bias"""

    def with_bias(self, y, layer):
        return np.where(y == 0, y, super().with_bias(y, layer))


@wrong("conv_transpose1d", "does not check that output_padding is less than stride or dilation", line=16)
class AnyOutputPadding(ConvolutionTranspose):
    """output_padding may be as large as it likes"""

    def require_output_padding(self, extra, stride, dilation):
        pass


@wrong("conv_transpose2d", "output padding below the dilation", line=16)
class OutputPaddingBelowStride(ConvolutionTranspose):
    """output_padding must be less than the stride, whatever the dilation"""

    def require_output_padding(self, extra, stride, dilation):
        super().require_output_padding(extra, stride, stride)


@wrong("conv_transpose2d", "output is smaller than it should be", line=17)
class ExtentWithoutDilation(ConvolutionTranspose):
    """the extent of the output forgets the dilation"""

    def cut(self, y, layer, extra):
        excess = (slice((d - 1) * (k - 1), None) for k, d in zip(layer.kernel, layer.dilation, strict=True))
        return super().cut(y, layer, extra)[(..., *excess)]


@wrong("conv_transpose1d", "output_padding is ignored", line=16)
class IgnoredOutputPadding(ConvolutionTranspose):
    """output_padding is checked, and then forgotten"""

    def whole(self, layer, extra):
        return super().whole(layer, (0,) * layer.rank)


@wrong("conv_transpose2d", line=16)
class OutputPaddingBefore(ConvolutionTranspose):
    """output_padding at the low end"""

    def sums(self, layer, extra):
        y = super().sums(layer, (0,) * layer.rank)
        return np.pad(y, ((0, 0), (0, 0), *((e, 0) for e in extra)))


# --- taps, padding, stride


@wrong("conv_transpose3d", "the kernel is flipped")
class FlippedKernel(ConvolutionTranspose):
    """the kernel flipped, because the operation is that of a gradient"""

    def kernel(self, layer):
        return layer.w[:, :, ::-1, ::-1, ::-1]


@wrong("conv_transpose2d", "all of the padding is before the first pixel")
class CutBeforeOnly(ConvolutionTranspose):
    """twice the padding is cut off at the low end, nothing at the high end"""

    def pairs(self, *arguments):
        return tuple((low + high, 0) for low, high in super().pairs(*arguments))


@wrong("conv_transpose1d", "the padding is ignored")
class PaddingKept(ConvolutionTranspose):
    """padding is not cut off"""

    def pairs(self, *arguments):
        super().pairs(*arguments)
        return ((0, 0),) * self.rank


@wrong("conv_transpose2d", "windows that overlap overwrite each other instead of adding up")
class Overwritten(ConvolutionTranspose):
    """where windows overlap, the last tap wins"""

    def scatter(self, y, seen, values):
        y[seen] = values


@wrong("conv_transpose3d", "the axes of stride are swapped")
class SwappedStrides(ConvolutionTranspose):
    """stride from the last axis to the first"""

    def strides(self, stride):
        return super().strides(stride)[::-1]


@wrong("conv_transpose2d", "the bias is added twice")
class BiasTwice(ConvolutionTranspose):
    """bias added twice"""

    def with_bias(self, y, layer):
        return super().with_bias(super().with_bias(y, layer), layer)


# --- gradients


@wrong("conv_transpose2d_backward", "the gradient of the weight has its channel axes swapped")
class SwappedWeightGradient(ConvolutionTransposeBackward):
    """the gradient of the weight is stored as a convolution's, (output channels, input channels)"""

    def gradients(self, gp, layer):
        dx, dw = super().gradients(gp, layer)
        return dx, np.swapaxes(dw, 0, 1).reshape(dw.shape)


@wrong("conv_transpose1d_backward", "the kernel is flipped, in input only")
class FlippedInputGradient(ConvolutionTransposeBackward):
    """the kernel flipped in the gradient of the input"""

    def kernel(self, layer):
        return layer.w[:, :, ::-1]


@wrong("conv_transpose2d_backward", "the weight's channel axes are swapped", line=6)
class ForwardWeightBackward(ConvolutionTransposeBackward):
    """weight read as a convolution's in the gradient of the input"""

    def kernel(self, layer):
        return np.swapaxes(layer.w, 0, 1).reshape(layer.w.shape)
