"""tinygrad's tensors on its default device, and gradients by its autograd: "tinygrad:conv2d".

The device is the one that tinygrad chooses: its environment variable DEV=CPU, say, makes it another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import batched, each, pairs
from ._loaded import Library, NotOffered
from ._offer import Offer

__all__ = ["LIBRARIES", "offers"]

Array = NDArray[Any]

tinygrad = Library("tinygrad")
helpers = Library("tinygrad.helpers")
LIBRARIES = (tinygrad,)
DTYPES = ("float16", "float32", "float64")
RANKS = (1, 2, 3)
PAIRS = ("padding_pairs",)
MODES = {"nearest": None, "nearest-exact": None, "linear": 1, "bilinear": 2, "trilinear": 3}  # with their axes


def offers() -> Mapping[str, Offer]:
    """Return what tinygrad has of the operations."""
    found = _both("interpolate", _interpolate, ("size", "mode", "align_corners"))
    found["batch_norm"] = Offer(_batch_norm, ("weight", "bias", "training", "momentum", "eps"), dtypes=DTYPES)
    for rank in RANKS:
        convolution = ("bias", "stride", "padding", "dilation", "groups")
        pool = ("stride", "padding", "ceil_mode")
        transposed, maxima, averages = (
            (*convolution, "output_padding"),
            (*pool, "dilation"),
            (*pool, "count_include_pad"),
        )
        found |= _both(f"conv{rank}d", partial(_conv, rank), convolution, PAIRS)
        found |= _both(f"conv_transpose{rank}d", partial(_conv_transpose, rank), transposed, PAIRS)
        found |= _both(f"max_pool{rank}d", partial(_max_pool, rank), (*maxima, "return_indices"), PAIRS)
        found |= _both(f"avg_pool{rank}d", partial(_avg_pool, rank), averages, PAIRS)
    return found


def _both(
    name: str, function: Callable[..., Any], settings: tuple[str, ...], features: tuple[str, ...] = ()
) -> dict[str, Offer]:
    """Return an operation and its gradients."""
    return {
        name: Offer(partial(_forward, function), settings, features, dtypes=DTYPES),
        f"{name}_backward": Offer(partial(_backward, function), settings, features, dtypes=DTYPES),
    }


def _forward(function: Callable[..., Any], **arguments: Any) -> Any:
    returned = function(**{name: _tensor(value) for name, value in arguments.items()})
    return tuple(y.numpy() for y in returned) if isinstance(returned, tuple) else returned.numpy()


def _backward(function: Callable[..., Any], *, grad_output: Array, **arguments: Any) -> tuple[Array | None, ...]:
    tensors = {name: _tensor(value) for name, value in arguments.items()}
    leaves = {name: tensors[name] for name, value in arguments.items() if isinstance(value, np.ndarray)}
    y = function(**tensors)
    gradients = y.gradient(*leaves.values(), gradient=_tensor(grad_output))
    found = {name: gradient.numpy() for name, gradient in zip(leaves, gradients, strict=True)}
    return tuple(found.get(name) for name in arguments if name in ("input", "weight", "bias"))


def _conv(
    rank: int, *, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    x, lacks_batch = batched(input, rank)
    around = _around(padding, x.shape[2:], weight.shape[2:], stride, dilation)
    y = x.conv2d(weight, bias, groups, stride, dilation, around)
    return y[0] if lacks_batch else y


def _conv_transpose(
    rank: int,
    *,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: int,
) -> Any:
    x, lacks_batch = batched(input, rank)
    around = _around(padding, x.shape[2:], weight.shape[2:], stride, dilation)
    y = x.conv_transpose2d(weight, bias, groups, stride, dilation, around, output_padding)
    return y[0] if lacks_batch else y


def _max_pool(
    rank: int,
    *,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool = False,
) -> Any:
    # Axes in front of the pooled ones may be as many as there are.
    kernel = each(kernel_size, rank)
    around = _around(padding, input.shape[-rank:], kernel, stride, dilation)
    return input.max_pool2d(kernel, stride, dilation, around, ceil_mode, return_indices)


def _avg_pool(
    rank: int,
    *,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Any:
    kernel = each(kernel_size, rank)
    around = _around(padding, input.shape[-rank:], kernel, stride, 1)
    return input.avg_pool2d(kernel, stride, 1, around, ceil_mode, count_include_pad)


def _around(padding: Any, extent: tuple[int, ...], kernel: tuple[int, ...], stride: Any, dilation: Any) -> Any:
    """Return padding as tinygrad has it: torch's numbers, or (low, high) of the last axis, of the one before it, ..."""
    if not isinstance(padding, str) and not any(isinstance(p, (tuple, list)) for p in each(padding, 1)):
        return padding
    around = pairs(padding, extent, kernel, stride, dilation)
    return tuple(side for pair in reversed(around) for side in pair)


def _interpolate(*, input: Any, size: Any, mode: str, align_corners: bool | None) -> Any:
    rank = len(input.shape) - 2
    wanted = each(size, rank)
    # The number of sizes is what says which axes are resized.
    if mode not in MODES or MODES[mode] not in (None, rank) or len(wanted) != rank:
        raise NotOffered(f"tinygrad has no mode={mode!r} with size={size!r} for {rank} axes")
    return input.interpolate(wanted, "linear" if MODES[mode] else mode, bool(align_corners))


def _batch_norm(
    *,
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None,
    bias: Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    layer = tinygrad.nn.BatchNorm(input.shape[1], eps, False, running_mean is not None, momentum)
    layer.weight, layer.bias = _tensor(weight), _tensor(bias)
    if running_mean is not None:
        layer.running_mean, layer.running_var = _tensor(running_mean), _tensor(running_var)
    with helpers.Context(TRAINING=int(training)):
        y = layer(_tensor(input)).numpy()
    return (y, layer.running_mean.numpy(), layer.running_var.numpy()) if running_mean is not None else y


def _tensor(value: Any) -> Any:
    return tinygrad.Tensor(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
