"""Wrong gradients of convolutions: what comes out where one step of right ones is wrong."""

from __future__ import annotations

from functools import partial

import numpy as np

from . import WrongImplementation
from ._conv_steps import ConvolutionBackward, enlist

RIGHT = {f"conv{rank}d_backward": ConvolutionBackward(rank) for rank in (1, 2, 3)}
WRONG: list[WrongImplementation] = []
wrong = partial(enlist, WRONG)


# --- empty batches and pixels that no window reaches


@wrong("conv2d_backward", "an empty batch", line=1)
class RefusesEmptyBatch(ConvolutionBackward):
    """extents divided by the number of images"""

    def weight_gradient(self, g, layer):
        images = len(g)
        return super().weight_gradient(g, layer) * (images // images)


@wrong("conv1d_backward", "an empty batch", line=1)
class GarbageForEmptyBatch(ConvolutionBackward):
    """the first image's gradient of the weight is stored, others are added: without images, garbage is left"""

    def weight_gradient(self, g, layer):
        dw = np.full(layer.w.shape, 1e30, np.float32)
        return super().weight_gradient(g, layer) if len(g) else dw


@wrong("conv2d_backward", "elements of input are not zero that should be", line=13)
class GarbageBetweenWindows(ConvolutionBackward):
    """only pixels that a window reaches are written"""

    def input_gradient(self, g, layer):
        ones = np.ones_like(g)
        reached = super().input_gradient(ones, self.with_ones(layer))
        return np.where(reached > 0, super().input_gradient(g, layer), np.float32(3))

    def with_ones(self, layer):
        return type(layer)(**{**vars(layer), "w": np.ones_like(layer.w)})


@wrong("conv1d_backward", "input is smaller than it should be", line=14)
class ShortInputGradient(ConvolutionBackward):
    """the gradient of the input ends with the last window: (IW - KW) % SW pixels are missing"""

    def unpadded(self, dxp, layer):
        axes = zip(self.positions(layer), layer.stride, layer.kernel, layer.dilation, strict=True)
        reached = tuple(slice(0, (o - 1) * s + self.span(k, d)) for o, s, k, d in axes)
        return super().unpadded(dxp[(..., *reached)], layer)


# --- dilation, stride, padding


class DenseInPart(ConvolutionBackward):
    """Forgets the dilation in one of the gradients."""

    dense = False

    def first(self, tap, dilation):
        return tap if self.dense else tap * dilation


@wrong("conv2d_backward", "the dilation is ignored, in input only", line=11)
class DenseInputGradient(DenseInPart):
    """dilation forgotten in the gradient of the input"""

    def input_gradient(self, g, layer):
        dense = type(self)(self.rank)
        dense.dense = True
        return ConvolutionBackward.input_gradient(dense, g, layer)


@wrong("conv1d_backward", "the dilation is ignored, in weight only", line=11)
class DenseWeightGradient(DenseInPart):
    """dilation forgotten in the gradient of the weight"""

    def weight_gradient(self, g, layer):
        dense = type(self)(self.rank)
        dense.dense = True
        return ConvolutionBackward.weight_gradient(dense, g, layer)


@wrong("conv2d_backward", "all of the padding is after the last pixel, in weight only")
class UnpaddedWeightGradient(ConvolutionBackward):
    """zeros are put after the image only, in the gradient of the weight"""

    def padded(self, layer):
        both = tuple((0, low + high) for low, high in layer.pairs)
        return np.pad(layer.x, ((0, 0), (0, 0), *both))


@wrong("conv3d_backward", "the kernel is flipped, in input only")
class CorrelatedInputGradient(ConvolutionBackward):
    """the gradient of the input by correlation, not convolution"""

    def kernel(self, layer):
        return layer.w[:, :, ::-1, ::-1, ::-1]


@wrong("conv2d_backward", "the kernel is flipped, in weight only")
class FlippedWeightGradient(ConvolutionBackward):
    """the gradient of the weight is stored from the last tap to the first"""

    def weight_gradient(self, g, layer):
        return super().weight_gradient(g, layer)[:, :, ::-1, ::-1]


@wrong("conv1d_backward", "windows that overlap overwrite each other instead of adding up")
class OverwrittenInputGradient(ConvolutionBackward):
    """where windows overlap, the last tap wins"""

    def scatter(self, dxp, seen, values):
        dxp[seen] = values


# --- channels and groups


@wrong("conv2d_backward", "groups mixed: output channel o is taken for one of group o % G", line=5)
class DepthwiseByRemainder(ConvolutionBackward):
    """output channel oc belongs to group oc % G in the gradient of the weight: right unless a group has several"""

    def weight_gradient(self, g, layer):
        OC, G = len(layer.w), layer.groups
        order = np.arange(OC).reshape(-1, G).T.ravel()
        dw = np.empty_like(layer.w)
        dw[order] = super().weight_gradient(g[:, order], layer)
        return dw


@wrong("conv1d_backward", "the gradient of the weight has its channel axes swapped", line=5)
class SwappedWeightGradient(ConvolutionBackward):
    """the gradient of the weight is stored as (input channels, output channels, taps)"""

    def weight_gradient(self, g, layer):
        dw = super().weight_gradient(g, layer)
        return np.swapaxes(dw, 0, 1).reshape(dw.shape)


@wrong("conv2d_backward", "groups mixed: all groups read the first group's channels", line=5)
class FirstGroupsWeightGradient(ConvolutionBackward):
    """the gradient of the weight reads the first group's pixels for all groups"""

    def padded(self, layer):
        xp = super().padded(layer)
        return np.concatenate([self.group(xp, 0, layer)] * layer.groups, axis=1)


# --- sums over the batch and the positions


@wrong("conv2d_backward", "only the last image counts, in weight only")
class LastImageOnly(ConvolutionBackward):
    """every image overwrites the gradient of the weight"""

    def weight_gradient(self, g, layer):
        last = g.copy()
        last[:-1] = 0
        return super().weight_gradient(last, layer)


@wrong("conv1d_backward", "the gradient of the weight is averaged over the batch")
class AveragedWeightGradient(ConvolutionBackward):
    """the gradient of the weight is a mean over the images"""

    def weight_gradient(self, g, layer):
        return super().weight_gradient(g, layer) / max(len(g), 1)


@wrong("conv2d_backward", "the gradient of the bias is averaged over the positions")
class AveragedBiasGradient(ConvolutionBackward):
    """the gradient of the bias is a mean over the pixels"""

    def bias_gradient(self, g, layer):
        return g.mean(tuple(range(2, g.ndim)), dtype=np.float32).sum(axis=0)


@wrong("conv1d_backward", "bias has 2 axes instead of 1")
class BiasGradientPerImage(ConvolutionBackward):
    """the gradient of the bias is not summed over the images"""

    def bias_gradient(self, g, layer):
        return g.sum(-1, dtype=np.float32)


@wrong("conv2d_backward", "the last column of grad_output is left out, in weight only")
class LastColumnOfGradientLost(ConvolutionBackward):
    """the sum over the columns of outputs ends one early"""

    def product(self, g, seen):
        return super().product(g[..., :-1], seen[..., :-1])


@wrong("conv1d_backward", "65537 images", line=20)
class SixteenBitBatch(ConvolutionBackward):
    """the sum over the images stops at 65536"""

    def product(self, g, seen):
        return super().product(g[: 1 << 16], seen[: 1 << 16])


@wrong("conv2d_backward", "the gradient of the input has the wrong sign")
class NegativeInputGradient(ConvolutionBackward):
    """the gradient of the input with the wrong sign"""

    def input_gradient(self, g, layer):
        return -super().input_gradient(g, layer)


# --- what a call leaves behind, and what it should refuse


@wrong("conv2d_backward", "a second call with the same arguments gave other bits")
class AccumulatesOverCalls(ConvolutionBackward):
    """the gradient of the weight is added to that of earlier calls with the same shape, as an optimiser might want"""

    def __init__(self, rank):
        super().__init__(rank)
        self.totals = {}

    def weight_gradient(self, g, layer):
        total = self.totals.get(layer.w.shape, 0) + super().weight_gradient(g, layer)
        self.totals[layer.w.shape] = total
        return total


@wrong("conv1d_backward", "bias is missing")
class NoBiasGradient(ConvolutionBackward):
    """no gradient of the bias"""

    def __call__(self, grad_output, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return super().__call__(grad_output, input, weight, bias, stride, padding, dilation, groups)[:2]


@wrong("conv2d_backward", "does not check that grad_output has the output's shape")
class AnyGradient(ConvolutionBackward):
    """a gradient that is too large is cut, one of a single image is used for all"""

    def require_gradient(self, g, layer):
        pass

    def input_gradient(self, g, layer):
        return super().input_gradient(self.fitted(g, layer), layer)

    def weight_gradient(self, g, layer):
        return super().weight_gradient(self.fitted(g, layer), layer)

    def fitted(self, g, layer):
        shape = (len(layer.x), len(layer.w), *self.positions(layer))
        part = g[tuple(slice(extent) for extent in shape)]
        return np.broadcast_to(part, shape)
