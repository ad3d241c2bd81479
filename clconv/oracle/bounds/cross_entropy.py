r"""How far cross entropy and its gradients may be off.

With the letters of `bounds.softmax`: z = log y, whose error e_z is derived there, and r, the relative error of y. A
class counts for k = w ((1 - S) q + S/C), which five operations and a division find with an error of at most 12 u k, C
being the number of classes. To first order:

- a position's loss, ``sum of k |z|``, is off by ``sum of |k| (e_z + (C + 14) u |z|)``;
- the sum over n positions by the sum of those errors and ``n u sum of losses``; the mean, which divides by a sum of n
  weights, by ``2 (n + 4) u`` of itself more;
- the gradient ``scale (y K - k)``, K the sum of k, by ``|scale| (y K (r + (C + 20) u) + 16 u |k|)``, and by n u of both
  terms more where the scale has been divided by a sum of n weights;
- the gradient of probabilities, ``-scale w (1 - S) z``, by ``|scale w (1 - S)| (e_z + (n + 16) u |z|)``.

Underflow costs eta, or lambda where subnormal numbers are flushed, for each of C + 8 operations of a position.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.bounds.softmax import Rows, both_rows
from clconv.oracle.reference.cross_entropy import CrossEntropyGradients, Losses, losses_of, scale_of
from clconv.oracle.reference.geometry import FloatArray, requested

__all__ = ["BOUNDS"]

Arguments = dict[str, Any]


def _losses(arguments: Arguments) -> Losses:
    return losses_of(**{name: value for name, value in arguments.items() if name not in ("grad_output", "output_mask")})


@np.errstate(all="ignore")
def _forward(arguments: Arguments, rounding: Rounding) -> FloatArray:
    losses = _losses(arguments)
    size, length = np.abs(losses.k), np.abs(losses.z)
    C, count = losses.x.shape[1], len(losses.x)
    divisor = abs(losses.divisor)

    def error(rows: Rows) -> FloatArray:
        tiny = (C + 8) * rows.tiny * (1 + np.sum(size, axis=1))
        each = np.sum(size * (rows.of_logarithm + (C + 14) * rows.u * length), axis=1) + tiny
        if losses.reduction == "none":
            return losses.reduced(each)
        total = np.sum(size * length)
        off: FloatArray = (losses.reduced(each) + (3 * count + 8) * rows.u * total) / divisor
        return off

    own, reference = both_rows(losses.x, 1, rounding)
    value = losses.reduced(losses.each) / np.float64(losses.divisor)
    peak = np.max(np.abs(losses.x), initial=0.0) * 2 + C + np.sum(size * (length + 1))
    limit = rounding.limit(np.asarray(value), error(own), error(reference), float(peak))
    return np.where(np.isfinite(value), limit, 0.0)


@np.errstate(all="ignore")
def _backward(arguments: Arguments, rounding: Rounding) -> CrossEntropyGradients:
    losses = _losses(arguments)
    wants_input, wants_target = requested(arguments.get("output_mask"), CrossEntropyGradients._fields)
    scale = np.abs(scale_of(arguments["grad_output"], losses))
    C, count = losses.x.shape[1], len(losses.x)
    size, length = np.abs(losses.k), np.abs(losses.z)
    terms = count if losses.reduction == "mean" else 0
    own, reference = both_rows(losses.x, 1, rounding)
    total = np.sum(size, axis=1, keepdims=True)
    peak = float(np.max(np.abs(losses.x), initial=0.0) * 2 + C) + scale * (1 + total) * (1 + length)
    peak = peak + np.max(np.abs(arguments["grad_output"]), initial=0.0)

    def of_input(rows: Rows) -> FloatArray:
        pulled = rows.y * total * (rows.of_share + (C + 20 + terms) * rows.u) + (16 + terms) * rows.u * size
        off: FloatArray = scale * pulled + (C + 8) * rows.tiny * (1 + scale * (1 + total))
        return off

    def of_target(rows: Rows) -> FloatArray:
        factor = scale * np.abs(losses.of_target)
        off = factor * (rows.of_logarithm + (16 + terms) * rows.u * length)
        return np.asarray(off + 8 * rows.tiny * (1 + factor) * (1 + length))

    def limit(value: FloatArray, error: Callable[[Rows], FloatArray]) -> FloatArray:
        limited = rounding.limit(value, error(own), error(reference), peak)
        return losses.restored(np.where(losses.ignored, 0.0, limited))

    dx = scale * (np.exp(losses.z) * total - losses.k)
    return CrossEntropyGradients(
        limit(dx, of_input) if wants_input else None,
        limit(scale * losses.of_target * losses.z, of_target) if wants_target and not losses.has_classes else None,
    )


BOUNDS: dict[str, Callable[[Arguments, Rounding], Any]] = {
    "cross_entropy": _forward,
    "cross_entropy_backward": _backward,
}
