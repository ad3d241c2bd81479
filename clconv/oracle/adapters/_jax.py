"""jax.lax and jax.image, and gradients by jax.vjp: "jax:conv2d", "jax:conv2d_backward"."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import each, pairs, transposed_pairs
from ._loaded import Library
from ._offer import Offer

__all__ = ["LIBRARIES", "offers"]

Array = NDArray[Any]
Function = Callable[..., Any]

jax = Library("jax")
LIBRARIES = (jax,)
DTYPES = ("float16", "bfloat16", "float32", "float64")
RANKS = (1, 2, 3)
WORDS = {"valid": "VALID", "same_upper": "SAME", "same_lower": "SAME_LOWER"}
METHODS = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}
NAMED = ("padding_pairs", "padding_names")


def offers() -> Mapping[str, Offer]:
    """Return what jax has of the operations."""
    found = _both("interpolate", _resize, ("size", "mode", "antialias"), semantics="tf")
    for rank in RANKS:
        convolution, pool = ("stride", "padding", "dilation"), ("stride", "padding")
        found |= _both(f"conv{rank}d", partial(_convolution, rank), (*convolution, "groups"), NAMED)
        found |= _both(f"conv_transpose{rank}d", partial(_transposed, rank), convolution, ("padding_pairs",))
        found |= _both(f"max_pool{rank}d", partial(_max_pool, rank), pool, NAMED)
        # There is no gradient of windows with dilation.
        found[f"max_pool{rank}d"] = Offer(
            partial(_forward, partial(_max_pool, rank)), (*pool, "dilation"), NAMED, dtypes=DTYPES
        )
        found |= _both(f"avg_pool{rank}d", partial(_avg_pool, rank), (*pool, "count_include_pad"), NAMED)
    return found


def _both(
    name: str, make: Function, settings: tuple[str, ...], features: tuple[str, ...] = (), semantics: str = "torch"
) -> dict[str, Offer]:
    """Return an operation and its gradients; `make` gives, for the shapes of the arrays, the function of them."""
    forward, backward = partial(_forward, make), partial(_backward, make)
    return {
        name: Offer(forward, settings, features, semantics, DTYPES),
        f"{name}_backward": Offer(backward, settings, features, semantics, DTYPES),
    }


def _forward(make: Function, *, input: Array, **arguments: Any) -> Array:
    with jax.enable_x64(True):
        arrays, others = _apart(input, arguments)
        return np.array(make(*(a.shape for a in arrays), **others)(*arrays))


def _backward(make: Function, *, grad_output: Array, input: Array, **arguments: Any) -> tuple[Array, ...]:
    with jax.enable_x64(True):
        arrays, others = _apart(input, arguments)
        _, pull = jax.vjp(make(*(a.shape for a in arrays), **others), *arrays)
        return tuple(np.array(gradient) for gradient in pull(jax.numpy.asarray(grad_output)))


def _apart(input: Array, arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Separate the arrays from the other arguments."""
    arrays = [input, *(value for value in arguments.values() if isinstance(value, np.ndarray))]
    others = {name: value for name, value in arguments.items() if not isinstance(value, np.ndarray)}
    return [jax.numpy.asarray(array) for array in arrays], others


def _batchwise(rank: int, shape: tuple[int, ...], function: Function) -> Function:
    """Let a function of a batch take an image without a batch axis."""
    return (lambda x, *others: function(x[None], *others)[0]) if len(shape) == rank + 1 else function


def _convolution(
    rank: int, shape: tuple[int, ...], weight: tuple[int, ...], stride: Any, padding: Any, dilation: Any, groups: int
) -> Function:
    function = partial(
        jax.lax.conv_general_dilated,
        window_strides=each(stride, rank),
        padding=_around(padding, shape[-rank:], weight[2:], stride, dilation),
        rhs_dilation=each(dilation, rank),
        feature_group_count=groups,
        precision="highest",
    )
    return _batchwise(rank, shape, function)


def _transposed(
    rank: int, shape: tuple[int, ...], weight: tuple[int, ...], stride: Any, padding: Any, dilation: Any
) -> Function:
    axes = "DHW"[-rank:]
    around = pairs(padding, shape[-rank:], weight[2:], stride, dilation)
    function = partial(
        jax.lax.conv_transpose,
        strides=each(stride, rank),
        padding=transposed_pairs(around, weight[2:], dilation),
        rhs_dilation=each(dilation, rank),
        dimension_numbers=(f"NC{axes}", f"OI{axes}", f"NC{axes}"),
        transpose_kernel=True,
        precision="highest",
    )
    return _batchwise(rank, shape, function)


def _max_pool(
    rank: int, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1
) -> Function:
    windows = _windows(rank, shape, kernel_size, stride, padding, dilation)

    def function(x: Any) -> Any:
        return jax.lax.reduce_window(x, -np.inf, jax.lax.max, **windows)

    return _batchwise(rank, shape, function)


def _avg_pool(
    rank: int, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, count_include_pad: bool
) -> Function:
    """Divide the sums of windows by the number of their taps, which jax.lax leaves to its user."""
    windows = _windows(rank, shape, kernel_size, stride, padding, 1)

    def function(x: Any) -> Any:
        sums = jax.lax.reduce_window(x, 0.0, jax.lax.add, **windows)
        if count_include_pad:
            return sums / math.prod(each(kernel_size, rank))
        return sums / jax.lax.reduce_window(jax.numpy.ones_like(x), 0.0, jax.lax.add, **windows)

    return _batchwise(rank, shape, function)


def _windows(
    rank: int, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> dict[str, Any]:
    kernel, gaps = each(kernel_size, rank), each(dilation, rank)
    steps = kernel if stride is None else each(stride, rank)
    around = _around(padding, shape[-rank:], kernel, steps, gaps)
    return {
        "window_dimensions": (1, 1, *kernel),
        "window_strides": (1, 1, *steps),
        "window_dilation": (1, 1, *gaps),
        "padding": around if isinstance(around, str) else ((0, 0), (0, 0), *around),
    }


def _around(padding: Any, extent: tuple[int, ...], kernel: tuple[int, ...], stride: Any, dilation: Any) -> Any:
    """Return padding as one of the words that jax has, or as numbers."""
    if isinstance(padding, str) and padding in WORDS:
        return WORDS[padding]
    return pairs(padding, extent, kernel, stride, dilation)


def _resize(shape: tuple[int, ...], size: Any, mode: str, antialias: bool) -> Function:
    method = METHODS.get(mode, mode)
    wanted = (*shape[:2], *each(size, len(shape) - 2))
    return partial(jax.image.resize, shape=wanted, method=method, antialias=antialias)
