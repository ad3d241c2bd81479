"""What convolution and transposed convolution have in common: arguments before, gradients after."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference import passes
from clconv.oracle.reference.geometry import FloatArray, Window, batched, real_array, sizes

__all__ = ["ConvGradients", "Layer", "checked_bias", "finished", "gathered", "layer_arrays"]


class ConvGradients(NamedTuple):
    """Gradients of a convolution, or of a transposed one; None where masked or where there is no bias."""

    input: FloatArray | None
    weight: FloatArray | None
    bias: FloatArray | None


class Layer(NamedTuple):
    """The checked arguments of a convolution: arrays with a batch axis, kernels rotated if flipped."""

    x: FloatArray
    w: FloatArray
    b: FloatArray | None
    window: Window
    groups: int
    flip: bool
    has_batch: bool


def layer_arrays(
    rank: int, input: NDArray[Any], weight: NDArray[Any], groups: int
) -> tuple[FloatArray, bool, FloatArray, int]:
    """Check the array arguments by themselves: batched input, whether it was so, weight, groups."""
    x, has_batch = batched("input", input, rank + 2)
    w = real_array("weight", weight)
    if w.ndim != rank + 2:
        raise ValueError(f"weight must have {rank + 2} axes, got weight.shape={w.shape}")
    (G,) = sizes("groups", groups, 1, 1)
    return x, has_batch, w, G


def checked_bias(bias: NDArray[Any] | None, OC: int) -> FloatArray | None:
    """Return the bias, one number for each output channel."""
    if bias is None:
        return None
    b = real_array("bias", bias)
    if b.shape != (OC,):
        raise ValueError(f"bias must hold one number for each of {OC} channels, got bias.shape={b.shape}")
    return b


def finished(y: FloatArray, layer: Layer) -> FloatArray:
    """Add the bias, and drop the batch axis if the input has none."""
    if layer.b is not None:
        y = y + layer.b.reshape(-1, *(1,) * (y.ndim - 2))
    return y if layer.has_batch else y[0]


def gathered(
    dx: FloatArray | None, dw: FloatArray | None, g: FloatArray, layer: Layer, want_bias: bool
) -> ConvGradients:
    """Bring the gradients into the shapes of the user's arguments."""
    if dx is not None and not layer.has_batch:
        dx = dx[0]
    if dw is not None and layer.flip:
        dw = passes.rotated(dw)
    db = np.sum(g, axis=(0, *range(2, g.ndim))) if want_bias and layer.b is not None else None
    return ConvGradients(dx, dw, db)
