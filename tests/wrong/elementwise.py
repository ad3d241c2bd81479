"""Activations, softmax, losses, linear and dropout in plain NumPy, and what comes out where one step is wrong."""

from __future__ import annotations

import numpy as np
from scipy import special

from clconv.oracle import reference

from . import WrongImplementation


def require(condition, rule):
    if not condition:
        raise ValueError(rule)


def same_shape(grad_output, input):
    require(grad_output.shape == input.shape, f"grad_output has shape {grad_output.shape}, input {input.shape}")


# --- right ones


def relu(input):
    return np.where(input < 0, input.dtype.type(0), input)


def relu_backward(grad_output, input):
    same_shape(grad_output, input)
    return np.where(input <= 0, input.dtype.type(0), grad_output)


def leaky_relu(input, negative_slope=0.01):
    return np.where(input > 0, input, input * input.dtype.type(negative_slope))


def sigmoid(input):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-input))


def tanh(input):
    return np.tanh(input)


def tanh_backward(grad_output, input):
    same_shape(grad_output, input)
    return grad_output * (1 - np.tanh(input) ** 2)


def gelu(input, approximate="none"):
    require(approximate in ("none", "tanh"), f"approximate={approximate!r} is unknown")
    x, half = input, input.dtype.type(0.5)
    with np.errstate(over="ignore", invalid="ignore"):
        if approximate == "none":
            return half * x * (1 + special.erf(x * x.dtype.type(0.5**0.5)))
        inner = x.dtype.type((2 / np.pi) ** 0.5) * (x + x.dtype.type(0.044715) * x * x * x)
        return half * x * (1 + np.tanh(inner))


def hardswish(input):
    with np.errstate(over="ignore", invalid="ignore"):
        return input * np.clip(input + 3, 0, 6) / 6


def axis_of(input, dim):
    require(isinstance(dim, int), f"dim={dim!r} is no integer")
    require(-input.ndim <= dim < input.ndim, f"dim={dim} of {input.ndim} axes")
    return dim


def softmax(input, dim):
    axis = axis_of(input, dim)
    if not input.size:
        return input.copy()
    with np.errstate(all="ignore"):
        e = np.exp(input - np.max(input, axis=axis, keepdims=True))
        return e / np.sum(e, axis=axis, keepdims=True)


def log_softmax(input, dim):
    axis = axis_of(input, dim)
    if not input.size:
        return input.copy()
    with np.errstate(all="ignore"):
        below = input - np.max(input, axis=axis, keepdims=True)
        return below - np.log(np.sum(np.exp(below), axis=axis, keepdims=True))


def softmax_backward(grad_output, input, dim):
    same_shape(grad_output, input)
    y = softmax(input, dim)
    with np.errstate(all="ignore"):
        return y * (grad_output - np.sum(grad_output * y, axis=dim, keepdims=True))


class CrossEntropy:
    """Cross entropy of classes, with a method for every step."""

    def __call__(self, input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
        require(reduction in ("mean", "sum", "none"), f"reduction={reduction!r} is unknown")
        require(0 <= label_smoothing <= 1, f"label_smoothing={label_smoothing}")
        C, kind = input.shape[1], input.dtype
        require(target.shape == (input.shape[0], *input.shape[2:]), f"target.shape={target.shape}")
        w = np.ones(C, kind) if weight is None else weight
        require(w.shape == (C,), f"weight.shape={w.shape}")
        ignored = self.ignored(target, ignore_index)
        require(((target >= 0) & (target < C) | ignored).all(), "there is no such class")
        t = np.where(ignored, 0, target)
        z = np.moveaxis(log_softmax(input, 1), 1, -1)
        own = -w[t] * np.take_along_axis(z, t[..., np.newaxis], -1)[..., 0]
        spread = -np.sum(w * z, axis=-1) / C
        s = kind.type(self.smoothing(label_smoothing))
        loss = np.where(ignored, 0, (1 - s) * own + s * spread)
        if reduction == "none":
            return loss.astype(kind)
        with np.errstate(all="ignore"):
            divisor = self.divisor(np.where(ignored, 0, w[t])) if reduction == "mean" else 1
            return np.asarray(np.sum(loss) / divisor, kind)

    def ignored(self, target, ignore_index):
        return target == ignore_index

    def smoothing(self, label_smoothing):
        return label_smoothing

    def divisor(self, weights):
        return np.sum(weights)


def linear(input, weight, bias=None):
    require(bias is None or bias.shape == weight.shape[:1], "bias does not fit")
    y = np.asarray(input @ weight.T, input.dtype)
    return y if bias is None else y + bias


def linear_backward(grad_output, input, weight, bias=None):
    require(grad_output.shape == (*input.shape[:-1], *weight.shape[:-1]), "grad_output does not fit")
    return tuple(
        None if a is None else a.astype(input.dtype)
        for a in reference.linear_backward(grad_output, input, weight, bias)
    )


def dropout(input, p=0.5, training=True, *, seed, offset=0):
    return reference.dropout(input, p, training, seed=seed, offset=offset).astype(input.dtype)


RIGHT = {
    "relu": relu,
    "relu_backward": relu_backward,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "tanh_backward": tanh_backward,
    "gelu": gelu,
    "hardswish": hardswish,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "softmax_backward": softmax_backward,
    "cross_entropy": CrossEntropy(),
    "linear": linear,
    "linear_backward": linear_backward,
    "dropout": dropout,
}


# --- wrong ones


def relu_without_nan(input):
    return np.fmax(input, input.dtype.type(0))


def relu_with_slope_at_zero(grad_output, input):
    same_shape(grad_output, input)
    return np.where(input < 0, input.dtype.type(0), grad_output)


def always_a_hundredth(input, negative_slope=0.01):
    require(not isinstance(negative_slope, str), "negative_slope is no number")
    return leaky_relu(input)


def derivative_at_the_output(grad_output, input):
    return tanh_backward(grad_output, np.tanh(input))


def approximated_by_tanh(input):
    return gelu(input, "tanh")


def without_approximation(input, approximate="none"):
    require(approximate in ("none", "tanh"), f"approximate={approximate!r} is unknown")
    return gelu(input)


def quick_gelu(input):
    return input * sigmoid(input.dtype.type(1.702) * input)


def over_the_last_axis(input, dim):
    axis_of(input, dim)
    return softmax(input, -1)


def that_overflows(input, dim):
    axis_of(input, dim)
    with np.errstate(all="ignore"):
        e = np.exp(input)
        return e / np.sum(e, axis=dim, keepdims=True)


def by_the_logarithm_of_softmax(input, dim):
    with np.errstate(all="ignore"):
        return np.log(softmax(input, dim))


def only_its_own(grad_output, input, dim):
    same_shape(grad_output, input)
    return grad_output * softmax(input, dim)


class DividedByPositions(CrossEntropy):
    def divisor(self, weights):
        return weights.size


class WithoutSmoothing(CrossEntropy):
    def smoothing(self, label_smoothing):
        return 0.0


class IgnoringOnly100(CrossEntropy):
    def ignored(self, target, ignore_index):
        return target == -100


def without_bias(input, weight, bias=None):
    return linear(input, weight, bias) - (0 if bias is None else bias)


def averaged(grad_output, input, weight, bias=None):
    dx, dw, db = linear_backward(grad_output, input, weight, bias)
    rows = max(int(np.prod(input.shape[:-1])), 1)
    return dx, dw / input.dtype.type(rows), None if db is None else db / input.dtype.type(rows)


def unscaled(input, p=0.5, training=True, *, seed):
    kept = dropout(np.ones_like(input), p, training, seed=seed) != 0
    return np.where(kept, input, input.dtype.type(0))


def seeded_by_32_bits(input, p=0.5, training=True, *, seed):
    require(seed >= 0, f"seed={seed}")
    return dropout(input, p, training, seed=seed % 2**32)


WRONG = tuple(
    WrongImplementation(name, op, impl, cause)
    for name, op, impl, cause in (
        ("NaN lost", "relu", relu_without_nan, "NaN or infinity is lost"),
        ("a slope at 0", "relu_backward", relu_with_slope_at_zero, "the gradient at 0 is that from above"),
        ("a fixed slope", "leaky_relu", always_a_hundredth, "negative_slope is ignored"),
        (
            "the derivative at the output",
            "tanh_backward",
            derivative_at_the_output,
            "taken at the output",
        ),
        ("the approximation by tanh", "gelu", approximated_by_tanh, "gelu is approximated by tanh"),
        ("no approximation", "gelu", without_approximation, "approximate is ignored"),
        ("a logistic function for the normal one", "gelu", quick_gelu, "gelu is taken for x s(1.702 x)"),
        ("tanh for the logistic function", "sigmoid", tanh, "tanh is computed instead"),
        ("the last axis", "softmax", over_the_last_axis, "the last axis is taken"),
        ("overflow", "softmax", that_overflows, ""),
        ("the logarithm of what has underflowed", "log_softmax", by_the_logarithm_of_softmax, ""),
        ("the sum left out", "softmax_backward", only_its_own, "what the shares lose to each other is left out"),
        ("a mean over positions", "cross_entropy", DividedByPositions(), "divides by the number of positions"),
        ("no smoothing", "cross_entropy", WithoutSmoothing(), "label_smoothing is ignored"),
        ("a fixed class that is ignored", "cross_entropy", IgnoringOnly100(), ""),
        ("no bias", "linear", without_bias, "the bias is left out"),
        ("means for sums", "linear_backward", averaged, "gradients are averaged over the rows"),
        ("no scale", "dropout", unscaled, "the elements that are kept are not scaled"),
        ("half of the seed", "dropout", seeded_by_32_bits, "the upper half of the seed is ignored"),
    )
)
