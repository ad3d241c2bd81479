"""Right normalisations in plain NumPy, with a method for every step: a wrong one overrides it."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np


def require(condition: bool, rule: str) -> None:
    if not condition:
        raise ValueError(rule)


class Steps:
    """What all normalisations have in common. A wrong one overrides a method."""

    is_backward = False

    def sum_type(self, dtype: Any) -> Any:
        return np.result_type(dtype, np.float32)

    # --- the input in rows: axes that a row runs along, shape of a weight beside the input

    def rows(self, x: np.ndarray, extra: Any) -> tuple[np.ndarray, tuple[int, ...], tuple[int, ...]]:
        raise NotImplementedError

    def parameter(self, value: np.ndarray | None, own: tuple[int, ...], shape: tuple[int, ...], default: float) -> Any:
        """Return a weight or bias in a shape to compute with."""
        if value is None:
            return np.float32(default)
        require(value.shape == own, f"a weight, bias or statistic must have shape {own}, got {value.shape}")
        return value.astype(self.sum_type(value.dtype)).reshape(shape)

    def checked_eps(self, eps: Any) -> Any:
        require(isinstance(eps, numbers.Real) and eps >= 0, f"eps must not be negative, got {eps}")
        return eps

    # --- statistics

    def mean(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.sum(x, axis=axes, keepdims=True) / self.count(x, axes)

    def variance(self, x: np.ndarray, mean: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.sum((x - mean) ** 2, axis=axes, keepdims=True) / self.count(x, axes)

    def count(self, x: np.ndarray, axes: tuple[int, ...]) -> Any:
        return x.dtype.type(max(math.prod(x.shape[a] for a in axes), 1))

    def moments(self, x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        mean = self.mean(x, axes)
        return mean, self.variance(x, mean, axes)

    def inverse(self, variance: np.ndarray, eps: float) -> np.ndarray:
        return 1 / np.sqrt(variance + variance.dtype.type(self.checked_eps(eps)))

    # --- results

    def applied(self, xhat: np.ndarray, w: Any, b: Any) -> np.ndarray:
        return xhat * w + b

    def input_gradient(
        self, g: np.ndarray, w: Any, xhat: np.ndarray, inverse: np.ndarray, axes: tuple[int, ...], constant: bool
    ) -> np.ndarray:
        h = g * w
        if constant:
            return h * inverse
        return inverse * (h - self.mean_part(h, axes) - xhat * self.row_mean(h * xhat, axes))

    def mean_part(self, h: np.ndarray, axes: tuple[int, ...]) -> Any:
        return self.row_mean(h, axes)

    def row_mean(self, values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.sum(values, axis=axes, keepdims=True) / self.count(values, axes)

    def weight_gradient(self, g: np.ndarray, x: np.ndarray, mean: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        return g * ((x - mean) * inverse)

    def parameter_gradient(self, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        shared = tuple(axis for axis, extent in enumerate(shape) if extent == 1)
        return np.sum(values, axis=shared)

    def gradients(
        self, g: np.ndarray, x: np.ndarray, weight: Any, bias: Any, eps: float, extra: Any, statistics: Any = None
    ) -> Any:
        """Return dx, dw and db."""
        require(g.shape == x.shape, f"grad_output must have shape {x.shape}, got {g.shape}")
        rows, axes, shape = self.rows(x.astype(self.sum_type(x.dtype)), extra)
        w = self.parameter(weight, self.own_shape(x, extra), shape, 1)
        self.parameter(bias, self.own_shape(x, extra), shape, 0)
        mean, variance = statistics or self.moments(rows, axes)
        inverse, grows = self.inverse(variance, eps), g.astype(rows.dtype).reshape(rows.shape)
        xhat = (rows - mean) * inverse
        dx = self.input_gradient(grows, w, xhat, inverse, axes, statistics is not None).reshape(x.shape)
        dw = self.parameter_gradient(self.weight_gradient(grows, rows, mean, inverse), shape)
        db = self.parameter_gradient(grows, shape)
        own = self.own_shape(x, extra)
        return (
            dx.astype(x.dtype),
            None if weight is None else dw.reshape(own).astype(x.dtype),
            None if bias is None else db.reshape(own).astype(x.dtype),
        )

    def own_shape(self, x: np.ndarray, extra: Any) -> tuple[int, ...]:
        return x.shape[1:2]

    def normalised(self, x: np.ndarray, weight: Any, bias: Any, eps: float, extra: Any, statistics: Any = None) -> Any:
        """Return y, and the mean and variance of the rows."""
        rows, axes, shape = self.rows(x.astype(self.sum_type(x.dtype)), extra)
        own = self.own_shape(x, extra)
        w, b = self.parameter(weight, own, shape, 1), self.parameter(bias, own, shape, 0)
        mean, variance = statistics or self.moments(rows, axes)
        y = self.applied((rows - mean) * self.inverse(variance, eps), w, b)
        return y.reshape(x.shape).astype(x.dtype), mean, variance


class BatchNorm(Steps):
    """batch_norm and batch_norm_backward: right."""

    def rows(self, x, extra):
        require(x.ndim >= 2, f"input must have channels, got {x.shape}")
        return x, (0, *range(2, x.ndim)), (1, x.shape[1], *(1,) * (x.ndim - 2))

    def checked_count(self, x, axes):
        require(math.prod(x.shape[a] for a in axes) != 1, "training needs more than one value per channel")

    def given(self, x, running_mean, running_var):
        shape = (1, x.shape[1], *(1,) * (x.ndim - 2))
        return tuple(self.parameter(a, x.shape[1:2], shape, 0) for a in (running_mean, running_var))

    def __call__(
        self, input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
    ):
        x, axes, _ = self.rows(input, None)
        given = self.given(x, running_mean, running_var)
        if not self.uses_batch(training):
            return self.normalised(input, weight, bias, eps, None, given)[0]
        self.checked_count(x, axes)
        y, mean, variance = self.normalised(input, weight, bias, eps, None, self.training_statistics(given))
        if self.updates(x):
            n = math.prod(x.shape[a] for a in axes)
            self.update(running_mean, mean, momentum)
            self.update(running_var, self.stored_variance(variance, n), momentum)
        return y

    def uses_batch(self, training):
        return training

    def training_statistics(self, given):
        return None

    def updates(self, x):
        return x.size > 0

    def stored_variance(self, variance, n):
        return variance * variance.dtype.type(n / max(n - 1, 1))

    def update(self, running, batch, momentum):
        old = running.astype(batch.dtype)
        running[...] = (1 - momentum) * old + momentum * batch.reshape(-1, running.size).mean(axis=0)

    def backward(
        self,
        grad_output,
        input,
        running_mean,
        running_var,
        weight=None,
        bias=None,
        training=False,
        momentum=0.1,
        eps=1e-5,
    ):
        x, axes, _ = self.rows(input, None)
        given = self.given(x, running_mean, running_var)
        if training:
            self.checked_count(x, axes)
        return self.gradients(grad_output, input, weight, bias, eps, None, None if training else given)


class InstanceNorm(BatchNorm):
    """instance_norm and instance_norm_backward: right."""

    def rows(self, x, extra):
        require(x.ndim >= 2, f"input must have channels, got {x.shape}")
        return x, tuple(range(2, x.ndim)), (1, x.shape[1], *(1,) * (x.ndim - 2))

    def __call__(
        self,
        input,
        running_mean=None,
        running_var=None,
        weight=None,
        bias=None,
        use_input_stats=True,
        momentum=0.1,
        eps=1e-5,
    ):
        if running_mean is not None:
            arguments = (weight, bias, use_input_stats, momentum, eps)
            return super().__call__(input, running_mean, running_var, *arguments)
        require(use_input_stats, "use_input_stats=False needs running statistics")
        self.checked_count(input, self.rows(input, None)[1])
        return self.normalised(input, weight, bias, eps, None)[0]

    def backward(
        self,
        grad_output,
        input,
        running_mean=None,
        running_var=None,
        weight=None,
        bias=None,
        use_input_stats=True,
        momentum=0.1,
        eps=1e-5,
    ):
        if running_mean is not None:
            arguments = (weight, bias, use_input_stats, momentum, eps)
            return super().backward(grad_output, input, running_mean, running_var, *arguments)
        require(use_input_stats, "use_input_stats=False needs running statistics")
        self.checked_count(input, self.rows(input, None)[1])
        return self.gradients(grad_output, input, weight, bias, eps, None)


class GroupNorm(Steps):
    """group_norm and group_norm_backward: right."""

    def rows(self, x, extra):
        require(x.ndim >= 2, f"input must have channels, got {x.shape}")
        require(extra >= 1 and x.shape[1] % extra == 0, f"num_groups={extra} must divide the channels")
        N, C, *extent = x.shape
        rows = x.reshape(N, extra, C // extra, *extent)
        require(N * rows[:1, :1].size != 1 or N == 0, "a group needs more than one value")
        return rows, tuple(range(2, rows.ndim)), (1, extra, C // extra, *(1,) * len(extent))

    def __call__(self, input, num_groups, weight=None, bias=None, eps=1e-5):
        return self.normalised(input, weight, bias, eps, num_groups)[0]

    def backward(self, grad_output, input, num_groups, weight=None, bias=None, eps=1e-5):
        return self.gradients(grad_output, input, weight, bias, eps, num_groups)


class LayerNorm(Steps):
    """layer_norm and layer_norm_backward: right."""

    def rows(self, x, extra):
        outer = x.ndim - len(extra)
        require(len(extra) > 0 and outer >= 0 and x.shape[outer:] == extra, f"input must end in {extra}")
        return x, tuple(range(outer, x.ndim)), (*(1,) * outer, *extra)

    def own_shape(self, x, extra):
        return tuple(extra)

    def __call__(self, input, normalized_shape, weight=None, bias=None, eps=1e-5):
        return self.normalised(input, weight, bias, eps, normalized_shape)[0]

    def backward(self, grad_output, input, normalized_shape, weight=None, bias=None, eps=1e-5):
        return self.gradients(grad_output, input, weight, bias, eps, normalized_shape)


class RMSNorm(LayerNorm):
    """rms_norm and rms_norm_backward: right."""

    def mean(self, x, axes):
        return np.zeros((*x.shape[: x.ndim - len(axes)], *(1,) * len(axes)), x.dtype)

    def mean_part(self, h, axes):
        return 0

    def inverse(self, variance, eps):
        return super().inverse(variance, np.finfo(variance.dtype).eps if eps is None else eps)

    def __call__(self, input, normalized_shape, weight=None, eps=None):
        return self.normalised(input, weight, None, eps, normalized_shape)[0]

    def backward(self, grad_output, input, normalized_shape, weight=None, eps=None):
        return self.gradients(grad_output, input, weight, None, eps, normalized_shape)[:2]


class LocalResponseNorm:
    """local_response_norm and local_response_norm_backward: right."""

    def window(self, size):
        """Return the channels before and after one that its window holds."""
        return size // 2, (size - 1) // 2

    def summed(self, values, before, after):
        C, sums = values.shape[1], np.zeros_like(values)
        for c in range(C):
            sums[:, c] = values[:, max(c - before, 0) : c + after + 1].sum(axis=1)
        return sums

    def divisor(self, x, size):
        return size

    def base(self, x, size, alpha, k):
        require(size >= 1, f"size must be at least 1, got {size}")
        require(x.ndim >= 3, f"input must have a spatial axis, got {x.shape}")
        return (k + alpha * self.summed(x**2, *self.window(size)) / self.divisor(x, size)).astype(x.dtype)

    def __call__(self, input, size, alpha=1e-4, beta=0.75, k=1.0):
        x = input.astype(np.result_type(input, np.float32))
        return (x / self.base(x, size, alpha, k) ** x.dtype.type(beta)).astype(input.dtype)

    def backward(self, grad_output, input, size, alpha=1e-4, beta=0.75, k=1.0):
        require(grad_output.shape == input.shape, f"grad_output must have shape {input.shape}")
        x, g = (a.astype(np.result_type(a, np.float32)) for a in (input, grad_output))
        base = self.base(x, size, alpha, k)
        power = base ** x.dtype.type(beta)
        through = self.summed(g * x / (power * base), *self.mirrored(*self.window(size)))
        dx = g / power - x.dtype.type(2 * alpha * beta) * x * through / self.divisor(x, size)
        return dx.astype(input.dtype)

    def mirrored(self, before, after):
        return after, before
