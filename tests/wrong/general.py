"""Wrong implementations whose fault is not in the arithmetic: memory, state, threads, limits of types, precision."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided

from . import WrongImplementation
from ._conv_steps import Convolution, enlist

WRONG: list[WrongImplementation] = []
DEVIATING: list[WrongImplementation] = []
wrong = partial(enlist, WRONG)
deviating = partial(enlist, DEVIATING)


# --- sizes that a type cannot count


@wrong("conv1d", "65537 images", line=19)
class SixteenBitIndex(Convolution):
    """the image's index wraps at 2**15, as a 32-bit one does past 2**31 elements"""

    def padded(self, layer):
        with np.errstate(over="ignore"):
            index = np.arange(len(layer.x)).astype(np.int16)
        return super().padded(layer)[index % max(len(layer.x), 1)]


@wrong("conv2d", "65537 images", line=20)
class GridOfImages(Convolution):
    """one block for each image in an axis of a grid that ends at 65535"""

    def finished(self, y, layer):
        y[65535:] = 0
        return super().finished(y, layer)


@wrong("conv1d", "65537 output channels", line=20)
class GridOfChannels(Convolution):
    """one block for each output channel in an axis of a grid that ends at 65535"""

    def finished(self, y, layer):
        y[:, 65535:] = 0
        return super().finished(y, layer)


# --- memory


class Strided(Convolution):
    """Reads an input by a pointer and strides that it makes up."""

    def strides_of(self, x):
        raise NotImplementedError

    def padded(self, layer):
        strides = self.strides_of(layer.x)
        x = layer.x if layer.x.size == 0 else as_strided(layer.x, strides=strides, writeable=False)
        return super().padded(type(layer)(**{**vars(layer), "x": x}))


@wrong("conv2d", "memory layouts are got wrong", line=18)
class AssumesContiguous(Strided):
    """the input's pointer is taken, its strides are not; only what runs backwards is copied"""

    def strides_of(self, x):
        return np.empty(x.shape, x.dtype).strides if min(x.strides) > 0 else x.strides


@wrong("conv2d", "memory layouts are got wrong: fortran", line=18)
class ReadsColumnsAsRows(Convolution):
    """values in the order of memory: wrong for Fortran's order, right for gaps"""

    def padded(self, layer):
        x = layer.x.ravel("K").reshape(layer.x.shape) if layer.x.flags.f_contiguous else layer.x
        return super().padded(type(layer)(**{**vars(layer), "x": x}))


@wrong("conv1d", "memory layouts are got wrong: reversed", line=18)
class PositiveStrides(Convolution):
    """the sign of strides is lost: what runs backwards is read forwards, from its lowest address"""

    def padded(self, layer):
        forwards = tuple(slice(None, None, -1 if step < 0 else 1) for step in layer.x.strides)
        return super().padded(type(layer)(**{**vars(layer), "x": layer.x[forwards]}))


@wrong("conv2d", "memory layouts are got wrong: read_only", line=18)
class NeedsWritableWeight(Convolution):
    """asks for a writable buffer of the weight, as Cython does for a memoryview that is not const"""

    def kernel(self, layer):
        if not layer.w.flags.writeable:
            raise BufferError("the buffer is read-only")
        return layer.w


@wrong("conv2d", "input was changed")
class ScalesInPlace(Convolution):
    """the input is centred in place, and not put back"""

    def padded(self, layer):
        if layer.x.flags.writeable:
            layer.x[...] = np.where(layer.x == 0, layer.x, layer.x * 2)
        return super().padded(layer) / 2


@wrong("conv1d", "memory beside out was written", line=21, features=("out",))
class RoundedUpGlobalSize(Convolution):
    """work-items in whole groups of 8, the last of which write past the end of the output"""

    def stored(self, y, out):
        out[...] = y
        if out.base is not None:  # a test must not write where nothing is
            as_strided(out, (-(-out.size // 8) * 8,), (out.itemsize,))[out.size :] = 0
        return out


@wrong("conv2d", "elements of output are NaN", line=21)
class ReadsPastTheEnd(Convolution):
    """a vector of 4 pixels is read at the end of the input, its excess times zero"""

    def padded(self, layer):
        owner = layer.x
        while owner.base is not None:
            owner = owner.base
        x = layer.x
        if x.size == 0 or not x.flags.c_contiguous or owner.nbytes < x.nbytes + 256:  # a test must not crash
            return super().padded(layer)
        beyond = as_strided(x, (x.size + 3,), (x.itemsize,), writeable=False)
        return super().padded(layer) + 0 * beyond[x.size :].sum()


@wrong("conv2d", "elements of output are NaN", features=("out",))
class AddsToOutput(Convolution):
    """a given output is not cleared before sums are added"""

    def stored(self, y, out):
        out += y
        return out


@wrong("conv1d", "another array was returned", features=("out",))
class IgnoresOutput(Convolution):
    """a given output is left alone"""

    def stored(self, y, out):
        return y


# --- state


@wrong("conv2d", "a later call changed an earlier result")
class OneBuffer(Convolution):
    """results of one shape share a buffer"""

    def __init__(self, rank):
        super().__init__(rank)
        self.buffers = {}

    def finished(self, y, layer):
        y = super().finished(y, layer)
        buffer = self.buffers.setdefault(y.shape, y)
        buffer[...] = y
        return buffer


@wrong("conv1d", line=22)
class CachedByShape(Convolution):
    """a plan is found again by the shapes, whatever stride, padding, dilation and groups are"""

    def __init__(self, rank):
        super().__init__(rank)
        self.plans = {}

    def layer(self, input, weight, bias, *arguments):
        super().layer(input, weight, bias, *arguments)
        plan = self.plans.setdefault((input.shape, weight.shape), arguments)
        return super().layer(input, weight, bias, *plan)


@wrong("conv2d", "is not thread-safe")
class SharedScratch(Convolution):
    """the padded image is added to a buffer that all calls with its shape share"""

    def __init__(self, rank):
        super().__init__(rank)
        self.scratch = {}

    def padded(self, layer):
        xp = super().padded(layer)
        self.scratch[xp.shape] = np.zeros_like(xp)
        time.sleep(1e-5)  # as a call of a driver lets other threads run
        self.scratch[xp.shape] += xp
        return self.scratch[xp.shape]


@wrong("conv2d", "call", line=55)  # from call to call, or a second call, as chance has it
class RandomOrder(Convolution):
    """taps are added in the order in which threads happen to come"""

    def __init__(self, rank):
        super().__init__(rank)
        self.random = np.random.default_rng()

    def taps(self, layer):
        return self.random.permutation(list(super().taps(layer)))


# --- precision


@wrong("conv1d", "output has dtype float64")
class ReturnsDouble(Convolution):
    """the result is left in the type of the sums, which is float64"""

    def finished(self, y, layer):
        return super().finished(y, layer).astype(np.float64)


@wrong("conv2d", "sums are accumulated in float16", dtype="float16")
class HalfSums(Convolution):
    """float16 added up in float16"""

    def sum_type(self, dtype):
        return dtype


@wrong("conv2d", "output has only the digits of float32", line=24, dtype="float64")
class SingleForDouble(Convolution):
    """float64 computed in float32"""

    def products(self, seen, weights, dtype):
        return np.einsum("nc...,oc->no...", seen.astype(np.float32), weights.astype(np.float32))

    def sum_type(self, dtype):
        return np.float32

    def with_bias(self, y, b):
        return y + b.astype(np.float32)


def shortened(a, digits):
    """Round to fewer digits, whatever the exponent."""
    significand, exponent = np.frexp(a)
    return np.ldexp(np.rint(np.ldexp(significand, digits)), exponent - digits).astype(a.dtype)


@wrong("conv2d", "output has only the digits of float16")
class HalfForSingle(Convolution):
    """results go through a type of 11 digits"""

    def finished(self, y, layer):
        return shortened(super().finished(y, layer), 11)


@wrong("conv2d", "operands are rounded to the digits of float16", line=26)
class TensorCores(Convolution):
    """operands rounded to 11 digits, as TF32 does, sums in float32"""

    def padded(self, layer):
        return shortened(super().padded(layer), 11)

    def kernel(self, layer):
        return shortened(layer.w, 11)


@wrong("conv2d", "terms of a long sum are lost")
class LosesTerm(Convolution):
    """the last product of a sum of more than 4096 is lost, which no bound of rounding can show"""

    def kernel(self, layer):
        w = layer.w.copy()
        if w[0].size > 4096:
            w[:, -1, -1, -1] = 0
        return w


@wrong("conv1d")
class RoundsToIntegers(Convolution):
    """the result goes through an integer type"""

    def finished(self, y, layer):
        return super().finished(np.rint(y), layer)


@wrong("conv2d", "such as Winograd's", line=26)
class WinogradAsDirect(Convolution):
    """Winograd's F(4, 3) along the rows, passed off as a direct sum"""

    INPUT = np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        np.float32,
    )
    KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float32) / 24
    OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32)

    def sums(self, layer):
        if layer.kernel[1] != 3 or layer.stride[1] != 1 or layer.dilation[1] != 1 or layer.groups != 1:
            return super().sums(layer)
        (OH, OW), xp = self.positions(layer), self.padded(layer)
        tiles = -(-OW // 4)
        xp = np.pad(xp, ((0, 0), (0, 0), (0, 0), (0, 4 * tiles + 2 - xp.shape[3])))
        columns = np.arange(tiles)[:, np.newaxis] * 4 + np.arange(6)
        y = np.zeros((len(xp), len(layer.w), OH, tiles, 6), np.float32)
        for kh in range(layer.kernel[0]):
            rows = xp[:, :, kh * layer.dilation[0] :: layer.stride[0]][:, :, :OH]
            y += np.einsum("nchtk,ock->nohtk", rows[..., columns] @ self.INPUT.T, layer.w[:, :, kh] @ self.KERNEL.T)
        return (y @ self.OUTPUT.T).reshape(*y.shape[:3], 4 * tiles)[..., :OW]


# --- NaN and infinities


@wrong("conv2d", "NaN or infinity spreads", line=25)
class MaskedPadding(Convolution):
    """padding is the border times zero, which is NaN where the border is not finite"""

    def padded(self, layer):
        inside = np.pad(np.ones_like(layer.x), ((0, 0), (0, 0), *layer.pairs))
        return np.pad(layer.x, ((0, 0), (0, 0), *layer.pairs), "edge") * inside


@wrong("conv1d", "NaN or infinity", line=25)
class WholeRow(Convolution):
    """every window is a product with the whole row, zeros where it sees nothing"""

    def sums(self, layer):
        y = super().sums(layer)
        rest = 0 * self.padded(layer).sum(axis=(1, 2), keepdims=True)
        return y + rest


@wrong("conv2d", "NaN or infinity is lost", line=25)
class FiniteOnly(Convolution):
    """NaN is taken for zero"""

    def padded(self, layer):
        return np.nan_to_num(super().padded(layer), posinf=np.inf, neginf=-np.inf)


# --- implementations that take their process with them


def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return Convolution(1)(input, weight, bias, stride, padding, dilation, groups)


@wrong("conv1d", "does not check that groups is at least 1", line=4, isolate=True)
def divides_by_groups(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """groups=0 divides by zero, as C does"""
    if groups == 0:
        os.kill(os.getpid(), signal.SIGFPE)
    return conv1d(input, weight, bias, stride, padding, dilation, groups)


@wrong("conv1d", "an empty batch", line=1, isolate=True)
def aborts_on_empty_batch(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """a batch of no images ends the process"""
    if len(input) == 0:
        os._exit(3)
    return conv1d(input, weight, bias, stride, padding, dilation, groups)


# --- what is no array of the right kind


@wrong("conv1d", "NumPy array, the call returned a list")
def returns_lists(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """results are lists"""
    return conv1d(input, weight, bias, stride, padding, dilation, groups).tolist()


# --- what systems disagree on, or a standard allows: it is reported, and not held against an implementation


@deviating("conv2d", "zero input channels", line=3)
class NoChannelsNoBias(Convolution):
    """without input channels there is no bias either"""

    def with_bias(self, y, b):
        return super().with_bias(y, b) if self.channels else y

    def finished(self, y, layer):
        self.channels = layer.x.shape[1]
        return super().finished(y, layer)


@deviating("conv1d", "subnormal numbers", line=23)
class FlushesSubnormals(Convolution):
    """subnormal operands and results are zero"""

    def padded(self, layer):
        return self.flushed(super().padded(layer))

    def kernel(self, layer):
        return self.flushed(layer.w)

    def finished(self, y, layer):
        return self.flushed(super().finished(self.flushed(y), layer))

    def flushed(self, a):
        return np.where(np.abs(a) < np.finfo(np.float32).tiny, 0, a).astype(a.dtype)


@deviating("conv1d", "0 times infinity in the padding", line=25)
class StoredPadding(Convolution):
    """the zeros of the padding are stored, and times an infinite weight they are NaN"""
