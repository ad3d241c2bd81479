"""Right unfold and fold in plain NumPy, and wrong ones."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from . import WrongImplementation
from ._conv_steps import Steps, enlist, require, sizes


class Blocks(Steps):
    """What unfold, fold and their gradients have in common: windows over images of known extent."""

    def windows(self, shape, kernel_size, dilation, padding, stride):
        """Return the layer of windows over images of a shape, with a batch axis: a convolution by ones."""
        kernel = sizes("kernel_size", kernel_size, self.rank, 1)
        image = np.zeros(shape, np.float32)
        return self.layer(image, np.ones((1, shape[1], *kernel)), None, stride, padding, dilation, 1)

    def columns(self, x, layer):
        """Copy what every window sees: (N, C, taps, positions)."""
        seen = [x[self.seen(tap, layer)] for tap in self.taps(layer)]
        shape = (len(x), x.shape[1], 1, math.prod(self.positions(layer)))
        return np.concatenate([a.reshape(shape) for a in seen], axis=2)

    def image(self, columns, layer):
        """Add up columns (N, C, taps, positions) where windows overlap, and cut off the padding."""
        N, C = columns.shape[:2]
        xp = np.zeros((N, C, *layer.padded), columns.dtype)
        for number, tap in enumerate(self.taps(layer)):
            self.scatter(xp, self.seen(tap, layer), columns[:, :, number].reshape(N, C, *self.positions(layer)))
        axes = zip(layer.pairs, layer.x.shape[2:], strict=True)
        return xp[(..., *(slice(low, low + extent) for (low, _), extent in axes))]

    def scatter(self, xp, seen, values):
        xp[seen] += values

    def unfolded(self, x, kernel_size, dilation, padding, stride):
        require(x.ndim in (self.rank + 1, self.rank + 2), f"an image has {x.ndim} axes")
        batch = x if x.ndim == self.rank + 2 else x[np.newaxis]
        layer = self.windows(batch.shape, kernel_size, dilation, padding, stride)
        xp = np.pad(batch, ((0, 0), (0, 0), *layer.pairs))
        y = self.rows(self.columns(xp, layer))
        return y if x.ndim == self.rank + 2 else y[0]

    def folded(self, x, extent, kernel_size, dilation, padding, stride):
        require(x.ndim in (2, 3), f"columns have {x.ndim} axes")
        batch = x if x.ndim == 3 else x[np.newaxis]
        taps = math.prod(sizes("kernel_size", kernel_size, self.rank, 1))
        require(batch.shape[1] % taps == 0, f"{batch.shape[1]} rows are no multiple of {taps} taps")
        extent = sizes("output_size", extent, self.rank, 1)
        layer = self.windows((len(batch), batch.shape[1] // taps, *extent), kernel_size, dilation, padding, stride)
        require(batch.shape[2] == math.prod(self.positions(layer)), f"{batch.shape[2]} columns")
        y = self.image(self.split(batch, taps), layer)
        return y if x.ndim == 3 else y[0]

    def rows(self, columns):
        N, C, taps, positions = columns.shape
        return columns.reshape(N, C * taps, positions)

    def split(self, columns, taps):
        N, rows, positions = columns.shape
        return columns.reshape(N, rows // taps, taps, positions)


class Unfold(Blocks):
    """unfold: right."""

    def __call__(self, input, kernel_size, dilation=1, padding=0, stride=1):
        return self.unfolded(input, kernel_size, dilation, padding, stride)


class Fold(Blocks):
    """fold: right."""

    def __call__(self, input, output_size, kernel_size, dilation=1, padding=0, stride=1):
        return self.folded(input, output_size, kernel_size, dilation, padding, stride)


class UnfoldBackward(Blocks):
    """unfold_backward: right."""

    def __call__(self, grad_output, input, kernel_size, dilation=1, padding=0, stride=1):
        require(grad_output.ndim == 3 - (input.ndim == self.rank + 1), "grad_output has another number of axes")
        dx = self.folded(grad_output, input.shape[-self.rank :], kernel_size, dilation, padding, stride)
        require(dx.shape == input.shape, f"grad_output is that of an image {dx.shape}")
        return dx


class FoldBackward(Blocks):
    """fold_backward: right."""

    def __call__(self, grad_output, input, output_size, kernel_size, dilation=1, padding=0, stride=1):
        require(grad_output.shape[-self.rank :] == sizes("output_size", output_size, self.rank, 1), "another extent")
        dx = self.unfolded(grad_output, kernel_size, dilation, padding, stride)
        require(dx.shape == input.shape, f"grad_output is that of columns {dx.shape}")
        return dx


RIGHT = {"unfold": Unfold(2), "fold": Fold(2), "unfold_backward": UnfoldBackward(2), "fold_backward": FoldBackward(2)}
WRONG: list[WrongImplementation] = []
wrong = partial(enlist, WRONG)


@wrong("unfold", "the channels and the taps of a column are exchanged")
class ChannelsInside(Unfold):
    """columns with the channels of a tap side by side"""

    def rows(self, columns):
        return super().rows(np.swapaxes(columns, 1, 2))


@wrong("unfold", "the columns are in another order: the last axis first")
class ColumnsByColumn(Unfold):
    """positions counted down the columns of the image"""

    def columns(self, x, layer):
        columns = super().columns(x, layer)
        split = columns.reshape(*columns.shape[:3], *self.positions(layer))
        return np.swapaxes(split, -1, -2).reshape(columns.shape)


@wrong("fold", "windows that overlap overwrite each other instead of adding up")
class OverwrittenFold(Fold):
    """where windows overlap, the last tap wins"""

    def scatter(self, xp, seen, values):
        xp[seen] = values


@wrong("fold", "pixels are averaged over the windows that reach them")
class AveragedFold(Fold):
    """sums divided by the number of windows, so that fold undoes unfold"""

    def image(self, columns, layer):
        reached = super().image(np.ones_like(columns), layer)
        return super().image(columns, layer) / np.maximum(reached, 1)


@wrong("unfold", "the dilation is ignored", line=11)
class DenseUnfold(Unfold):
    """extents as with dilation, taps without"""

    def first(self, tap, dilation):
        return tap


@wrong("unfold", "the axes of stride are swapped")
class SwappedStrides(Unfold):
    """stride (SW, SH) for (SH, SW)"""

    def strides(self, stride):
        return super().strides(stride)[::-1]


@wrong("unfold_backward", "windows that overlap overwrite each other instead of adding up")
class OverwrittenGradient(UnfoldBackward):
    """where windows overlap, the last tap wins"""

    def scatter(self, xp, seen, values):
        xp[seen] = values


@wrong("fold_backward", "the axes of padding are swapped")
class SwappedPaddingGradient(FoldBackward):
    """padding (PW, PH) for (PH, PW)"""

    def pairs(self, *arguments):
        return super().pairs(*arguments)[::-1]


@wrong("fold", "does not check that input has a column for each window")
class AnyColumns(Fold):
    """missing columns are taken for zeros"""

    def __call__(self, input, output_size, kernel_size, dilation=1, padding=0, stride=1):
        more = np.pad(input, ((0, 0),) * (input.ndim - 1) + ((0, 1),))
        try:
            return super().__call__(input, output_size, kernel_size, dilation, padding, stride)
        except ValueError:
            return super().__call__(more, output_size, kernel_size, dilation, padding, stride)
