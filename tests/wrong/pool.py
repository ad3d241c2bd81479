"""Wrong poolings: what comes out where one step of a right one is wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from . import WrongImplementation, _pool_steps
from ._conv_steps import enlist
from ._pool_steps import (
    AdaptiveAvgPool,
    AdaptiveAvgPoolBackward,
    AdaptiveMaxPool,
    AvgPool,
    AvgPoolBackward,
    LpPool,
    LpPoolBackward,
    MaxPool,
    MaxPoolBackward,
    MaxUnpool,
    MaxUnpoolBackward,
    Share,
    in_a_row,
)

FAMILIES = {
    "max_pool": "MaxPool",
    "avg_pool": "AvgPool",
    "lp_pool": "LpPool",
    "adaptive_max_pool": "AdaptiveMaxPool",
    "adaptive_avg_pool": "AdaptiveAvgPool",
    "max_unpool": "MaxUnpool",
}
RIGHT = {
    f"{family}{rank}d{suffix.lower()}": getattr(_pool_steps, name + suffix.removeprefix("_"))(rank)
    for family, name in FAMILIES.items()
    for rank in (1, 2, 3)
    for suffix in ("", "_Backward")
}
WRONG: list[WrongImplementation] = []
wrong = partial(enlist, WRONG)


# --- windows


@wrong("max_pool2d", "ceil_mode keeps a window that starts in the padding", line=32)
class StartsInThePadding(MaxPool):
    """ceil_mode rounds up, whatever the last window starts on"""

    def axis(self, X, K, S, P, D, ceil_mode):
        shares = super().axis(X, K, S, P, D, ceil_mode)
        missing = -(-(X + 2 * P - D * (K - 1) - 1) // S) + 1 - len(shares) if ceil_mode else 0
        return shares + [Share(np.array([], dtype=int), 0, K)] * missing

    def values(self, layer, window):
        values = super().values(layer, window)
        return values if values.shape[-1] else np.full((*values.shape[:2], 1), -np.inf, values.dtype)

    def places(self, layer, window):
        places = super().places(layer, window)
        return places if len(places) else np.array([-1])


@wrong("avg_pool1d", "ceil_mode is ignored")
class NeverRoundsUp(AvgPool):
    """ceil_mode=True gives as many windows as False"""

    def positions(self, room, X, S, P, ceil_mode):
        return super().positions(room, X, S, P, False)


@wrong("max_pool2d", "without a stride, windows move by one pixel")
class StrideOfOne(MaxPool):
    """stride=None is taken for 1"""

    def strides(self, stride, kernel):
        return super().strides(1 if stride is None else stride, kernel)


@wrong("max_pool1d", "the dilation is ignored")
class TapsSideBySide(MaxPool):
    """taps of a dilated window are neighbours"""

    def taps(self, K, D):
        return np.arange(K)

    def axis(self, X, K, S, P, D, ceil_mode):
        count = len(super().axis(X, K, S, P, 1, ceil_mode)) if D == 1 else (X + 2 * P - D * (K - 1) - 1) // S + 1
        return super().axis(X, K, S, P, 1, ceil_mode)[:count] if D > 1 else super().axis(X, K, S, P, D, ceil_mode)


@wrong("avg_pool2d", "the padding is one pixel too small in front")
class OnePixelRight(AvgPool):
    """windows of padded images begin one pixel late"""

    def first(self, o, S, P):
        return super().first(o, S, P) + (P > 0)


@wrong("max_pool1d", "does not check that padding is at most half of the kernel", line=28)
class AnyPadding(MaxPool):
    """padding up to the whole kernel"""

    def check_padding(self, pads, kernel):
        pass


@wrong("avg_pool2d", "does not check that stride is at least 1", line=4)
class ZeroStride(AvgPool):
    """stride=0 is taken for 1"""

    def strides(self, stride, kernel):
        return super().strides(1 if stride == 0 else stride, kernel)


# --- maxima


@wrong("max_pool2d", "padding counts as 0 in the maximum", line=27)
class PadsWithZero(MaxPool):
    """a window that is partly on the padding holds a zero"""

    def values(self, layer, window):
        values = super().values(layer, window)
        is_cut = values.shape[-1] < window.count("whole")
        return np.concatenate([values, np.zeros((*values.shape[:2], int(is_cut)), values.dtype)], axis=-1)

    def places(self, layer, window):
        return np.append(super().places(layer, window), -1)


@wrong("max_pool1d", "NaN or infinity is lost", line=29)
class LosesNaN(MaxPool):
    """comparisons with NaN are false"""

    def winner(self, values):
        return np.where(np.isnan(values), -np.inf, values).argmax(axis=-1)


@wrong("max_pool1d", line=30)
class NoIndexForMinusInfinity(MaxPool):
    """a search from minus infinity finds no pixel, and leaves the index at -1"""

    def places(self, layer, window):
        return np.append(super().places(layer, window), -1)

    def winner(self, values):
        return np.where((values == -np.inf).all(axis=-1), -1, super().winner(values))


@wrong("max_pool2d", "ties: the index is that of the last maximum", line=31)
class LastMaximum(MaxPool):
    """>= where > is meant"""

    def winner(self, values):
        return values.shape[-1] - 1 - values[..., ::-1].argmax(axis=-1)


@wrong("max_pool2d", "indices count within the window")
class IndicesInTheWindow(MaxPool):
    """the index is that of the tap"""

    def places(self, layer, window):
        return np.arange(super().places(layer, window).size)


@wrong("max_pool3d", "indices count along the first axis")
class ColumnMajorIndices(MaxPool):
    """strides of the axes in the other order"""

    def places(self, layer, window):
        coordinates = np.unravel_index(super().places(layer, window), layer.x.shape[2:])
        return np.ravel_multi_index(coordinates, layer.x.shape[2:], order="F")


@wrong("max_pool2d_backward", "ties: the gradient goes to every maximum", line=31)
class EveryMaximum(MaxPoolBackward):
    """the gradient goes to all pixels that equal the maximum"""

    def winners(self, values):
        return (values == values.max(axis=-1, keepdims=True)) | np.isnan(values)


@wrong("max_pool1d_backward", "gradients overwrite each other", line=55)
class OverwritesMaxima(MaxPoolBackward):
    """the last window that selected a pixel wins"""

    def add(self, dx, window, terms):
        dx[window.pixels] = np.where(terms != 0, terms, dx[window.pixels])


# --- means


@wrong("avg_pool1d", "the divisor counts the overhang of ceil_mode", line=33)
class CountsTheOverhang(AvgPool):
    """every window is divided by the kernel's size"""

    def divisor(self, layer, window, count_include_pad):
        right = super().divisor(layer, window, count_include_pad)
        return window.count("whole") if right == window.count("padded") else right


@wrong("avg_pool2d", "the divisor counts the padding")
class AlwaysCountsPadding(AvgPool):
    """count_include_pad is ignored"""

    def divisor(self, layer, window, count_include_pad):
        return super().divisor(layer, window, True)


@wrong("avg_pool2d_backward", "the divisor does not count the padding")
class NeverCountsPadding(AvgPoolBackward):
    """count_include_pad is ignored in the gradient"""

    def divisor(self, layer, window, count_include_pad):
        return super().divisor(layer, window, False)


@wrong("avg_pool3d", "divisor_override is ignored", line=34)
class IgnoresTheOverride(AvgPool):
    """divisor_override is ignored"""

    def divisor(self, layer, window, count_include_pad):
        return super().divisor(replace(layer, divisor_override=None), window, count_include_pad)


@wrong("avg_pool2d", "does not check that divisor_override is not zero", line=34)
class DividesByZero(AvgPool):
    """divisor_override=0 gives infinities"""

    def check_divisor(self, divisor_override):
        pass

    def means(self, layer, count_include_pad):
        with np.errstate(all="ignore"):
            return super().means(layer, count_include_pad)


@wrong("avg_pool2d", "sums are accumulated in float16", line=37, dtype="float16")
class SumsInHalf(AvgPool):
    """float16 is summed in float16"""

    def total(self, values, axes):
        return np.add.accumulate(in_a_row(values), axis=-1, dtype=np.float16)[..., -1]


@wrong("avg_pool2d_backward", "gradients overwrite each other", line=55)
class OverwritesMeans(AvgPoolBackward):
    """the last window that a pixel is in wins"""

    def add(self, dx, window, terms):
        dx[window.pixels] = terms


# --- shares


@wrong("adaptive_avg_pool1d", "shares end at floor((i + 1)*in/out)", line=38)
class EndsAtFloor(AdaptiveAvgPool):
    """the end of a share is rounded down, if that leaves a pixel"""

    def end(self, i, X, count):
        return max((i + 1) * X // count, self.begin(i, X, count) + 1)


@wrong("adaptive_max_pool2d", "shares are all ceil(in/out) long")
class SharesOfOneLength(AdaptiveMaxPool):
    """all shares are as long as the longest must be"""

    def end(self, i, X, count):
        return min(self.begin(i, X, count) - (-X // count), X)


@wrong("adaptive_avg_pool2d_backward", "all shares are divided by in/out", line=38)
class DividesByTheRatio(AdaptiveAvgPoolBackward):
    """the gradient's divisor is in/out"""

    def divisor(self, layer, window, count_include_pad):
        return np.prod(layer.x.shape[2:]) / np.prod(layer.output_shape[2:])


# --- norms


@wrong("lp_pool2d", "powers are taken of x instead of |x|", line=39)
class SignedPowers(LpPool):
    """x**p instead of |x|**p"""

    def magnitude(self, values):
        return values


@wrong("lp_pool1d", "the root is not taken")
class NoRoot(LpPool):
    """sum(|x|**p)"""

    def root(self, total, p):
        return total


@wrong("lp_pool2d", "windows beyond the input (ceil_mode) are scaled")
class MeanTimesKernel(LpPool):
    """the sum is the kernel's size times the mean, as if every window were whole"""

    def total(self, powers, window):
        return super().total(powers, window) * (window.count("whole") / window.count("padded"))


@wrong("lp_pool2d_backward", "the gradient is 0/0 where the norm is 0", line=39)
class ZeroOverZero(LpPoolBackward):
    """windows of zeros have a gradient of NaN"""

    def at_zero(self, values, terms):
        return terms


@wrong("lp_pool1d_backward", "the sign of x is lost in the gradient")
class UnsignedGradient(LpPoolBackward):
    """the derivative of |x| is taken for 1"""

    def sign(self, values):
        return 1


@wrong("lp_pool1d", "does not check that norm_type is greater than 0", line=39)
class OrderZero(LpPool):
    """norm_type=0 counts what is not zero"""

    def check_order(self, norm_type):
        pass

    def norm(self, values, p, window):
        return super().norm(values, p, window) if p else (values != 0).sum(axis=-1, keepdims=True)


# --- unpooling


@wrong("max_unpool2d", "does not check that indices are at least 0", line=40)
class NegativeIndices(MaxUnpool):
    """negative indices count from the end"""

    def checked(self, indices, input, pixels):
        return super().checked(np.where((indices < 0) & (indices >= -pixels), indices + pixels, indices), input, pixels)


@wrong("max_unpool1d", "does not check that indices are less than the number of pixels", line=40)
class NarrowIndices(MaxUnpool):
    """indices are narrowed to 32 bits before they are looked at"""

    def checked(self, indices, input, pixels):
        return super().checked(indices.astype(np.int32).astype(np.int64), input, pixels)


@wrong("max_unpool2d", "output_size is ignored", line=40)
class IgnoresOutputSize(MaxUnpool):
    """the output has its default extent"""

    def requested(self, output_size, extent, steps):
        super().requested(output_size, extent, steps)
        return extent


@wrong("max_unpool2d_backward", "indices count along the first axis")
class ColumnMajorGradient(MaxUnpoolBackward):
    """indices are taken for those of a transposed image"""

    def __call__(self, grad_output, input, indices, *arguments, **keywords):
        y = MaxUnpool(self.rank)(input, indices, *arguments, **keywords)
        coordinates = np.unravel_index(indices, y.shape[-2:], order="F")
        return super().__call__(
            grad_output, input, np.ravel_multi_index(coordinates, y.shape[-2:]), *arguments, **keywords
        )
