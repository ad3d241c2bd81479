"""Wrong convolutions, forward: what comes out where one step of a right one is wrong."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import ClassVar

import numpy as np

from . import WrongImplementation
from ._conv_steps import Convolution, Steps, enlist, sizes

RIGHT = {f"conv{rank}d": Convolution(rank) for rank in (1, 2, 3)}
WRONG: list[WrongImplementation] = []
wrong = partial(enlist, WRONG)


# --- the kernel


@wrong("conv2d", "the kernel is flipped")
class FlippedKernel(Convolution):
    """the mathematical convolution"""

    def kernel(self, layer):
        return np.flip(layer.w, tuple(range(2, layer.w.ndim)))


@wrong("conv2d", "the kernel's axes are swapped")
class ColumnMajorKernel(Convolution):
    """taps stored column by column"""

    def kernel(self, layer):
        return np.swapaxes(layer.w, -1, -2).reshape(layer.w.shape)


@wrong("conv1d", "the weight's channel axes are swapped")
class SwappedChannelAxes(Convolution):
    """weight read as (input channels, output channels, taps)"""

    def kernel(self, layer):
        return np.swapaxes(layer.w, 0, 1).reshape(layer.w.shape)


@wrong("conv2d", "the last column of taps is left out")
class ShortTapLoop(Convolution):
    """loop over columns of taps ends one early, unless there is only one"""

    def taps(self, layer):
        *rows, columns = layer.kernel
        return itertools.product(*map(range, rows), range(max(columns - 1, 1)))


@wrong("conv3d", "the first row of taps is left out")
class SkippedFrontTaps(Convolution):
    """loop over the taps of the first axis begins at 1"""

    def taps(self, layer):
        return (tap for tap in super().taps(layer) if tap[0] > 0)


@wrong("conv2d", "the kernel is flipped", features=("flip",))
class IgnoredFlip(Convolution):
    """flip=True is ignored"""

    def layer(self, *arguments):
        return super().layer(*arguments[:-1], False)


# --- padding


@wrong("conv1d", "the padding is ignored")
class IgnoredPadding(Convolution):
    """padding is checked, and then forgotten"""

    def pairs(self, *arguments):
        super().pairs(*arguments)
        return ((0, 0),) * self.rank


@wrong("conv2d", "the low padding is used for both sides", line=7, features=("padding_pairs",))
class LowPaddingTwice(Convolution):
    """asymmetric padding: the side above is that below"""

    def pair(self, given):
        return given[0], given[0]


@wrong("conv2d", "the padding is on the wrong side", line=7, features=("padding_pairs",))
class PaddingOnOtherSide(Convolution):
    """asymmetric padding: (high, low) for (low, high)"""

    def pair(self, given):
        return given[1], given[0]


@wrong("conv3d", "the axes of padding are swapped", line=8, features=("padding_pairs",))
class PairsFromLastAxis(Convolution):
    """pairs of padding from the last axis to the first, as torch.nn.functional.pad takes them"""

    def pairs(self, padding, *others):
        return super().pairs(padding, *others)[::-1]


@wrong("conv2d", "begins and ends are taken for pairs", line=8, features=("padding_pairs",))
class OnnxPads(Convolution):
    """pairs of padding written as ONNX does, all begins and then all ends, and read as pairs"""

    def pairs(self, *arguments):
        low, high = zip(*super().pairs(*arguments), strict=True)
        flat = (*low, *high)
        return tuple((flat[2 * axis], flat[2 * axis + 1]) for axis in range(self.rank))


@wrong("conv2d", "the padding is on the wrong side", line=9)
class SameLower(Convolution):
    """padding 'same' of an even kernel: the odd pixel before the image"""

    def named_pair(self, *arguments):
        low, high = super().named_pair(*arguments)
        return high, low


@wrong("conv1d", "the padding is on the wrong side", line=10, features=("padding_names",))
class SwappedUpperLower(Convolution):
    """padding 'same_upper' and 'same_lower' swapped"""

    def named_pair(self, name, *others):
        other = {"same_upper": "same_lower", "same_lower": "same_upper"}
        return super().named_pair(other.get(name, name), *others)


@wrong("conv2d", "padding 'same' ignores the dilation", line=11)
class SameOfDenseKernel(Convolution):
    """padding 'same' of a dilated kernel as if it were dense"""

    def reach(self, kernel, dilation):
        return kernel - 1


@wrong("conv1d", "the padding wraps around")
class WrappedPadding(Convolution):
    """indices modulo the extent instead of zeros"""

    def padded(self, layer):
        return np.pad(layer.x, ((0, 0), (0, 0), *layer.pairs), "wrap")


@wrong("conv2d", "the padding repeats the border")
class ClampedPadding(Convolution):
    """indices clamped to the image instead of zeros"""

    def padded(self, layer):
        return np.pad(layer.x, ((0, 0), (0, 0), *layer.pairs), "edge")


@wrong("conv2d", "padding_mode 'reflect' repeats the border pixel", features=("padding_mode",))
class ReflectRepeatsBorder(Convolution):
    """padding_mode 'reflect' repeats the border pixel, unless it is as deep as the image allows"""

    MODES: ClassVar = {**Steps.MODES, "reflect": "symmetric"}


@wrong("conv2d", "the padding reads the neighbouring rows")
class UnguardedColumns(Convolution):
    """rows are guarded, columns are not: left of the first pixel of a row lies the last one of the row before"""

    def padded(self, layer):
        low, high = layer.pairs[-1]
        x = np.pad(layer.x, ((0, 0), (0, 0), layer.pairs[0], (0, 0)))
        (N, C, rows, columns), first = x.shape, -low
        memory = np.pad(x.reshape(N, C, rows * columns), ((0, 0), (0, 0), (low, high)))
        starts = np.arange(rows)[:, np.newaxis] * columns
        return memory[..., starts + np.arange(first, columns + high) + low]


# --- stride, dilation, extents


@wrong("conv2d", "the axes of stride are swapped")
class SwappedStrides(Convolution):
    """stride (SW, SH) for (SH, SW)"""

    def strides(self, stride):
        return super().strides(stride)[::-1]


@wrong("conv3d", "the axes of dilation are swapped")
class SwappedDilations(Convolution):
    """dilation from the last axis to the first"""

    def dilations(self, dilation):
        return super().dilations(dilation)[::-1]


@wrong("conv2d", "the stride of the first axis is used for all")
class FirstStride(Convolution):
    """stride of the first axis for all"""

    def strides(self, stride):
        return super().strides(stride)[:1] * self.rank


@wrong("conv1d", "the dilated kernel is taken for D*K long", line=11)
class LongDilatedKernel(Convolution):
    """a dilated kernel spans D*K pixels"""

    def span(self, kernel, dilation):
        return dilation * kernel


@wrong("conv2d", "the dilation is ignored")
class DenseTaps(Convolution):
    """extents as with dilation, taps without"""

    def first(self, tap, dilation):
        return tap


@wrong("conv2d", "stride and padding are both ignored", line=12)
class FastPointwise(Convolution):
    """a kernel of one tap is a product of matrices, whatever stride and padding are"""

    def layer(self, input, weight, bias, stride, padding, dilation, groups, *others):
        if set(weight.shape[2:]) == {1}:
            stride = dilation = 1
            padding = 0
        return super().layer(input, weight, bias, stride, padding, dilation, groups, *others)


@wrong("conv2d", "the number of outputs is rounded up")
class RoundedUp(Convolution):
    """extents as in pooling with ceil_mode"""

    def padded(self, layer):
        return np.pad(super().padded(layer), ((0, 0), (0, 0), *((0, s) for s in layer.stride)))

    def positions(self, layer):
        axes = zip(layer.padded, layer.kernel, layer.stride, layer.dilation, strict=True)
        return tuple(-((self.span(k, d) - p) // s) + 1 for p, k, s, d in axes)


@wrong("conv1d", "there is one output too many")
class OneTooMany(Convolution):
    """one output too many, which reads zeros past the end"""

    def padded(self, layer):
        return np.pad(super().padded(layer), ((0, 0), (0, 0), *((0, s) for s in layer.stride)))

    def positions(self, layer):
        return tuple(o + 1 for o in super().positions(layer))


@wrong("conv2d", "the last column of the output is missing")
class LastColumnLost(Convolution):
    """one column of outputs too few, unless there is only one"""

    def positions(self, layer):
        *rows, columns = super().positions(layer)
        return (*rows, max(columns - 1, 1))


@wrong("conv2d", "off by one column: the window reads one pixel too far left")
class OneColumnLeft(Convolution):
    """columns counted from 1"""

    def padded(self, layer):
        return np.pad(super().padded(layer)[..., :-1], ((0, 0),) * (layer.rank + 1) + ((1, 0),))


@wrong("conv3d", "off by one row: the window reads one pixel too far down")
class OneRowDown(Convolution):
    """the first axis is read one pixel too far"""

    def padded(self, layer):
        xp = super().padded(layer)
        return np.concatenate([xp[:, :, 1:], np.zeros_like(xp[:, :, :1])], axis=2)


@wrong("conv2d", "the last column of the output is left zero")
class ZeroLastColumn(Convolution):
    """a loop over columns of outputs that ends one early"""

    def finished(self, y, layer):
        y = super().finished(y, layer)
        y[..., -1] = 0
        return y


# --- channels, groups, images, bias


@wrong("conv2d", "groups mixed: all groups read the first group's channels")
class FirstGroupOnly(Convolution):
    """every group reads the channels of the first one"""

    def group(self, a, g, layer, axis=1):
        return super().group(a, 0 if a.shape[1] == layer.x.shape[1] and axis == 1 else g, layer, axis)


@wrong("conv2d", "groups mixed: the input's channels are dealt out by turns")
class InterleavedInput(Convolution):
    """group g reads the channels g, g + G, g + 2G, ..."""

    def padded(self, layer):
        xp = super().padded(layer)
        return np.concatenate([xp[:, g :: layer.groups] for g in range(layer.groups)], axis=1)


@wrong("conv1d", "groups mixed: the output's channels are interleaved")
class InterleavedOutput(Convolution):
    """channels of the output in turns from each group"""

    def finished(self, y, layer):
        size = y.shape[1] // layer.groups
        return super().finished(np.concatenate([y[:, o::size] for o in range(size)], axis=1), layer)


@wrong("conv2d", "the input channels past the last multiple of 4 are left out")
class InputChannelsByFour(Convolution):
    """vectors of 4 input channels, and nothing for those that are left"""

    def products(self, seen, weights, dtype):
        whole = seen.shape[1] // 4 * 4 or seen.shape[1]
        return super().products(seen[:, :whole], weights[:, :whole], dtype)


@wrong("conv2d", "the output channels past the last multiple of 8 are zero")
class OutputChannelsByEight(Convolution):
    """vectors of 8 output channels, and nothing for those that are left"""

    def products(self, seen, weights, dtype):
        sums = super().products(seen, weights, dtype)
        if sums.shape[1] > 8:
            sums[:, sums.shape[1] // 8 * 8 :] = 0
        return sums


@wrong("conv2d", "every image gets the first one's output")
class FirstImageOnly(Convolution):
    """index of the image is left out"""

    def padded(self, layer):
        return np.repeat(super().padded(layer)[:1], len(layer.x), axis=0)


@wrong("conv1d", "the bias is added twice")
class BiasTwice(Convolution):
    """bias added twice"""

    def with_bias(self, y, b):
        return y + b + b


@wrong("conv2d", "the bias is ignored")
class NoBias(Convolution):
    """bias left out"""

    def with_bias(self, y, b):
        return y


@wrong("conv2d", "the bias is subtracted")
class SubtractedBias(Convolution):
    """bias subtracted"""

    def with_bias(self, y, b):
        return y - b


@wrong("conv3d", "the bias is added once for each tap")
class BiasInsideLoop(Convolution):
    """bias added inside the loop over the taps"""

    def finished(self, y, layer):
        times = math.prod(layer.kernel)
        return super().finished(y if layer.b is None else y + (times - 1) * layer.b.reshape(-1, 1, 1, 1), layer)


@wrong("conv2d", "the bias starts anew with each group")
class FirstGroupsBias(Convolution):
    """bias of the first group for all"""

    def with_bias(self, y, b):
        return y + np.tile(b[: self.per_group], (len(b) // self.per_group, 1, 1))

    def finished(self, y, layer):
        self.per_group = y.shape[1] // layer.groups
        return super().finished(y, layer)


# --- refusals


@wrong("conv2d", "does not check that the window fits into the padded input", line=2)
class EmptyOutput(Convolution):
    """a kernel larger than the input: an output without pixels"""

    def require_fit(self, layer):
        pass

    def positions(self, layer):
        return tuple(max(o, 0) for o in super().positions(layer))


@wrong("conv1d", "does not check that the window fits into the padded input", line=2)
class TruncatedTowardsZero(Convolution):
    """a kernel larger than the input: C's division makes (2 - 3)/2 + 1 one output, which reads past the end"""

    def padded(self, layer):
        return np.pad(super().padded(layer), ((0, 0), (0, 0), *((0, s) for s in layer.stride)))

    def positions(self, layer):
        axes = zip(layer.padded, layer.kernel, layer.stride, layer.dilation, strict=True)
        return tuple(int((p - self.span(k, d)) / s) + 1 for p, k, s, d in axes)


@wrong("conv2d", "does not check that stride is at least 1", line=4)
class ZeroStride(Convolution):
    """stride=0 is taken for 1"""

    def strides(self, stride):
        return tuple(max(s, 1) for s in sizes("stride", stride, self.rank, 0))


@wrong("conv2d", "does not check that dilation is at least 1", line=4)
class ZeroDilation(Convolution):
    """dilation=0 puts all taps on one pixel"""

    def dilations(self, dilation):
        return sizes("dilation", dilation, self.rank, 0)


@wrong("conv1d", "does not check that groups is at least 1", line=4)
class ZeroGroups(Convolution):
    """groups=0 is taken for 1"""

    def group_count(self, groups):
        return max(sizes("groups", groups, 1, 0)[0], 1)


@wrong("conv2d", "does not check that padding is at least 0")
class NegativePadding(Convolution):
    """negative padding crops"""

    def pairs(self, padding, *others):
        return ((0, 0),) * self.rank if isinstance(padding, int) and padding < 0 else super().pairs(padding, *others)


@wrong("conv2d", "does not check that padding 'same' needs stride 1")
class SameWithStride(Convolution):
    """padding 'same' with a stride is taken for 'same_upper'"""

    def named_pair(self, name, *others):
        return super().named_pair("same_upper" if name == "same" else name, *others)


@wrong("conv2d", "does not check that bias has one number for each output channel")
class BiasTooLong(Convolution):
    """numbers past the last output channel are ignored"""

    def layer(self, input, weight, bias, *others):
        return super().layer(input, weight, None if bias is None else bias[: len(weight)], *others)
