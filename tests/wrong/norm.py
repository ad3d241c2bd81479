"""Wrong normalisations: what comes out where one step of a right one is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import WrongImplementation
from ._norm_steps import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm, RMSNorm

FORWARD = {
    "batch_norm": BatchNorm(),
    "instance_norm": InstanceNorm(),
    "group_norm": GroupNorm(),
    "layer_norm": LayerNorm(),
    "rms_norm": RMSNorm(),
    "local_response_norm": LocalResponseNorm(),
}
RIGHT = FORWARD | {f"{name}_backward": steps.backward for name, steps in FORWARD.items()}
WRONG: list[WrongImplementation] = []


def wrong(op: str, cause: str = "", line: int = 0, **claims: Any) -> Any:
    """List a subclass of a right implementation as a wrong one of `op`; its docstring says what is wrong."""

    def listed(mutant: type) -> type:
        impl = mutant().backward if op.endswith("_backward") else mutant()
        WRONG.append(WrongImplementation(mutant.__doc__ or "", op, impl, cause, line, **claims))
        return mutant

    return listed


# --- statistics


@wrong("layer_norm", line=41)
class OnePassVariance(LayerNorm):
    """the variance is mean(x**2) - mean(x)**2"""

    def variance(self, x, mean, axes):
        return self.mean(x * x, axes) - mean**2


@wrong("group_norm_backward", line=41)
class OnePassVarianceInGradient(GroupNorm):
    """the variance is mean(x**2) - mean(x)**2, clipped at zero, in the gradient"""

    def variance(self, x, mean, axes):
        return np.maximum(self.mean(x * x, axes) - mean**2, 0)


@wrong("batch_norm", "the variance is divided by n - 1", line=42)
class NormalisesUnbiased(BatchNorm):
    """the batch is normalised with the unbiased variance"""

    def variance(self, x, mean, axes):
        n = self.count(x, axes)
        return super().variance(x, mean, axes) * (n / max(n - 1, 1))

    def stored_variance(self, variance, n):
        return variance


@wrong("layer_norm", "eps is added outside the square root")
class EpsBesideTheRoot(LayerNorm):
    """eps is added to the standard deviation"""

    def inverse(self, variance, eps):
        return 1 / (np.sqrt(variance) + variance.dtype.type(eps))


@wrong("batch_norm", "eps is 1e-5, whatever is given")
class FixedEps(BatchNorm):
    """eps is 1e-5"""

    def inverse(self, variance, eps):
        self.checked_eps(eps)
        return super().inverse(variance, 1e-5)


@wrong("instance_norm", line=47)
class MeanInHalf(InstanceNorm):
    """the mean is rounded to float16, so that constant channels do not vanish"""

    def mean(self, x, axes):
        return super().mean(x, axes).astype(np.float16).astype(x.dtype)


@wrong("layer_norm", line=48, dtype="float16")
class SumsInHalf(LayerNorm):
    """squares of float16 are added up in float16"""

    def sum_type(self, dtype):
        return dtype


@wrong("rms_norm", "the mean is subtracted")
class RootOfVariance(RMSNorm):
    """rms_norm subtracts the mean"""

    def mean(self, x, axes):
        return LayerNorm.mean(self, x, axes)


@wrong("group_norm", "groups mixed")
class InterleavedGroups(GroupNorm):
    """channel c belongs to group c % num_groups"""

    def rows(self, x, extra):
        N, C, *extent = super().rows(x, extra)[0].reshape(x.shape).shape
        ones = (1,) * len(extent)
        rows = x.reshape(N, C // extra, extra, *extent)
        return rows, (1, *range(3, rows.ndim)), (1, C // extra, extra, *ones)


@wrong("layer_norm", "only the last axis is normalised over")
class LastAxisOnly(LayerNorm):
    """of several axes only the last is normalised over"""

    def rows(self, x, extra):
        rows, axes, shape = super().rows(x, extra)
        return rows, axes[-1:], shape


@wrong("batch_norm", "each image is normalised by itself")
class PerImage(BatchNorm):
    """the batch's statistics are taken image by image"""

    def moments(self, x, axes):
        return super().moments(x, axes[1:] or axes)


# --- running statistics and modes


@wrong("batch_norm", "the biased variance is stored", line=42)
class StoresBiased(BatchNorm):
    """the running variance takes in the biased one"""

    def stored_variance(self, variance, n):
        return variance


@wrong("batch_norm", "momentum is taken the other way round", line=43)
class MomentumKeeps(BatchNorm):
    """momentum is the share that running statistics keep"""

    def update(self, running, batch, momentum):
        super().update(running, batch, 1 - momentum)


@wrong("batch_norm", "running statistics follow torch's rules", line=43, semantics="onnx")
class TorchUnderOnnx(BatchNorm):
    """torch's momentum and unbiased variance under ONNX's name"""

    def checked_count(self, x, axes):
        pass


@wrong("batch_norm", "training needs more than one value per channel", line=44)
class TrainsOnOneValue(BatchNorm):
    """one value per channel is normalised to the bias"""

    def checked_count(self, x, axes):
        pass


@wrong("instance_norm", "own statistics need more than one pixel", line=44)
class NormalisesOnePixel(InstanceNorm):
    """images of one pixel are normalised to the bias"""

    def checked_count(self, x, axes):
        pass


@wrong("batch_norm_backward", "evaluation has the gradient of training", line=45)
class TrainsInEvaluation(BatchNorm):
    """the gradient of evaluation goes through the statistics"""

    def input_gradient(self, g, w, xhat, inverse, axes, constant):
        return super().input_gradient(g, w, xhat, inverse, axes, False)


@wrong("batch_norm", "elements of running_mean are NaN", line=46)
class ForgetsWhenEmpty(BatchNorm):
    """running statistics become NaN on an empty batch"""

    def updates(self, x):
        return True

    def count(self, x, axes):
        return x.dtype.type(math.prod(x.shape[a] for a in axes) or np.nan)


@wrong("layer_norm_backward", "elements of weight are NaN", line=49)
class AveragesNothing(LayerNorm):
    """the gradient of the weight of no rows is 0/0"""

    def parameter_gradient(self, values, shape):
        return super().parameter_gradient(values, shape) / np.float32(min(values.size, 1))


@wrong("batch_norm", "running statistics are updated in evaluation", line=45)
class UpdatesInEvaluation(BatchNorm):
    """evaluation updates the running statistics"""

    def __call__(self, input, running_mean, running_var, *parameters, training=False, momentum=0.1, **others):
        before = running_mean.copy(), running_var.copy()
        many = math.prod(input.shape) > input.shape[1]
        if not training and many:
            super().__call__(input, running_mean, running_var, *parameters, training=True, momentum=momentum, **others)
        given = before if not training else (running_mean, running_var)
        return super().__call__(input, *given, *parameters, training=training, momentum=momentum, **others)


@wrong("batch_norm", "training takes the running statistics")
class IgnoresTraining(BatchNorm):
    """training normalises with the running statistics"""

    def training_statistics(self, given):
        return given

    def updates(self, x):
        return False


@wrong("instance_norm", "running statistics take in the last image only")
class LastImageOnly(InstanceNorm):
    """each image overwrites what the one before it has stored"""

    def update(self, running, batch, momentum):
        super().update(running, batch[-1:], momentum)


# --- gradients


@wrong("layer_norm_backward", "the mean's part of the input's gradient is missing")
class NoMeanPart(LayerNorm):
    """the mean of the gradient is not subtracted"""

    def mean_part(self, h, axes):
        return 0


@wrong("group_norm_backward", "the weight's gradient is not divided by the deviation")
class WeightOfCentred(GroupNorm):
    """the gradient of the weight is taken with x - mean"""

    def weight_gradient(self, g, x, mean, inverse):
        return g * (x - mean)


@wrong("instance_norm_backward", "the weight is left out of the input's gradient")
class UnweightedGradient(InstanceNorm):
    """the gradient of the input does not see the weight"""

    def input_gradient(self, g, w, xhat, inverse, axes, constant):
        return super().input_gradient(g, 1, xhat, inverse, axes, constant)


@wrong("rms_norm_backward", "the variance's part of the input's gradient is missing")
class RootAsConstant(RMSNorm):
    """the root is taken for a constant in the gradient"""

    def input_gradient(self, g, w, xhat, inverse, axes, constant):
        return g * w * inverse


# --- local response normalisation


@wrong("local_response_norm", "the window lies on the other side")
class WindowBehind(LocalResponseNorm):
    """an even window has one channel more after than before"""

    def window(self, size):
        return (size - 1) // 2, size // 2


@wrong("local_response_norm", "the sum is divided by the number of channels there are")
class CountsChannels(LocalResponseNorm):
    """the sum at the ends is divided by the channels there are"""

    def divisor(self, x, size):
        return self.summed(np.ones_like(x), *self.window(size))


@wrong("local_response_norm", "alpha is not divided by the size")
class AlphaOfTheSum(LocalResponseNorm):
    """alpha multiplies the sum of squares, as in TensorFlow"""

    def divisor(self, x, size):
        return 1


@wrong("local_response_norm_backward", "the gradient's window is not mirrored")
class UnmirroredWindow(LocalResponseNorm):
    """the gradient goes back through the window of the forward pass"""

    def mirrored(self, before, after):
        return before, after
