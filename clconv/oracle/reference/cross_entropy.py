"""Cross entropy of softmax and a target, and its gradients, in float64."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, real_array, requested
from clconv.oracle.reference.softmax import logarithms

__all__ = ["CrossEntropyGradients", "Losses", "cross_entropy", "cross_entropy_backward", "losses_of", "scale_of"]

Array = NDArray[Any]

REDUCTIONS = ("mean", "sum", "none")


class CrossEntropyGradients(NamedTuple):
    """Gradients of `cross_entropy`; None where masked, and of a target that holds classes."""

    input: FloatArray | None
    target: FloatArray | None


class Losses(NamedTuple):
    """What losses are made of: arrays with the classes as the last axis, one row for each position."""

    x: FloatArray
    z: FloatArray  # log_softmax
    k: FloatArray  # what each class counts for; 0 where ignored
    of_target: FloatArray  # the derivative of k by the probability of the target
    norm: FloatArray  # what the mean divides by, for each position
    ignored: NDArray[np.bool_]  # for each position, as a column
    positions: tuple[int, ...]
    axis: int
    reduction: str
    has_classes: bool

    @property
    def each(self) -> FloatArray:
        """The loss at each position; a class without weight does not count, however improbable."""
        with np.errstate(all="ignore"):
            terms = np.where(self.k == 0, 0.0, -self.k * self.z)
        total: FloatArray = np.sum(terms, axis=-1)
        return total

    @property
    def divisor(self) -> float:
        """What the sum of the losses is divided by."""
        return float(np.sum(self.norm)) if self.reduction == "mean" else 1.0

    def restored(self, rows: FloatArray) -> FloatArray:
        """Return rows in the shape of the input."""
        return np.moveaxis(rows.reshape(*self.positions, rows.shape[-1]), -1, self.axis)

    def reduced(self, each: FloatArray) -> FloatArray:
        """Return losses in the shape of the output, before any division."""
        return each.reshape(self.positions) if self.reduction == "none" else np.asarray(np.sum(each))


def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> FloatArray:
    """Return the cross entropy of softmax over the classes and a target.

    At each position ``loss = -sum over c of w[c] ((1 - S) q[c] + S/C) log_softmax(x)[c]``, with ``q[t] = 1`` for a
    target of class t. The mean divides the sum of the losses by that of ``w[t]`` over the positions that are not
    ignored, or by the number of positions where the target holds probabilities.

    Parameters
    ----------
    input : (N, C, ...), or (C,)
    target : (N, ...) or () of integers, or probabilities in the input's shape
    weight : (C,), optional
    ignore_index : int
        The class of positions that do not count.
    reduction : "mean", "sum" or "none"
    label_smoothing : float
        S, between 0 and 1.

    Returns
    -------
    (), or (N, ...) for reduction "none"

    Raises
    ------
    ValueError
        If shapes or values do not fit each other.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> np.exp(-cross_entropy(np.log([[1.0, 3.0]]), np.array([1]))).round(12).item()
    0.75
    """
    losses = losses_of(input, target, weight, ignore_index, reduction, label_smoothing)
    with np.errstate(all="ignore"):
        return np.asarray(losses.reduced(losses.each) / np.float64(losses.divisor))


def cross_entropy_backward(
    grad_output: Array,
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    output_mask: Sequence[bool] | None = None,
) -> CrossEntropyGradients:
    """Gradients of ``sum(grad_output * cross_entropy(...))`` for input and target, the weight being constant.

    Parameters
    ----------
    grad_output : the output's shape
    output_mask : two bools, optional
        Which gradients to compute.
    input, target, weight, ignore_index, reduction, label_smoothing
        As in `cross_entropy`.

    Returns
    -------
    CrossEntropyGradients

    Raises
    ------
    ValueError, TypeError
        As `cross_entropy`, and if `grad_output` does not have the output's shape or `output_mask` not two entries.

    Examples
    --------
    >>> cross_entropy_backward(np.array(2.0), np.zeros((1, 2)), np.array([1])).input
    array([[ 1., -1.]])
    """
    losses = losses_of(input, target, weight, ignore_index, reduction, label_smoothing)
    wants_input, wants_target = requested(output_mask, CrossEntropyGradients._fields)
    scale = scale_of(grad_output, losses)
    with np.errstate(all="ignore"):
        total = np.sum(losses.k, axis=-1, keepdims=True)
        dx = np.where(losses.ignored, 0.0, scale * (np.exp(losses.z) * total - losses.k))
        dq = -scale * losses.of_target * losses.z
    return CrossEntropyGradients(
        losses.restored(dx) if wants_input else None,
        losses.restored(dq) if wants_target and not losses.has_classes else None,
    )


def scale_of(grad_output: Array, losses: Losses) -> FloatArray:
    """Return what each row's gradient is multiplied by."""
    g = real_array("grad_output", grad_output)
    shape = losses.positions if losses.reduction == "none" else ()
    if g.shape != shape:
        raise ValueError(f"grad_output must have the output's shape {shape}, got grad_output.shape={g.shape}")
    with np.errstate(all="ignore"):
        scaled = g / np.float64(losses.divisor)
    return np.broadcast_to(scaled.reshape(-1, 1), (math.prod(losses.positions), 1))


def losses_of(
    input: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Losses:
    """Check the arguments, and bring the classes to the last axis."""
    x = real_array("input", input)
    if not x.ndim or not x.shape[min(x.ndim - 1, 1)]:
        raise ValueError(f"input must have at least one class, got input.shape={x.shape}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, got reduction={reduction!r}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got label_smoothing={label_smoothing!r}")
    axis = min(x.ndim - 1, 1)
    C, positions = x.shape[axis], (*x.shape[:axis], *x.shape[axis + 1 :])
    w = np.ones(C) if weight is None else real_array("weight", weight)
    if w.shape != (C,):
        raise ValueError(f"weight must have one value for each of {C} classes, got weight.shape={w.shape}")
    has_classes = isinstance(target, np.ndarray) and target.dtype.kind in "iu"
    if has_classes:
        q, norm, ignored = _of_classes(target, positions, C, w, operator.index(ignore_index))
    else:
        q = real_array("target", target)
        if q.shape != x.shape:
            raise ValueError(f"target must have the input's shape {x.shape} as probabilities, got {q.shape}")
        q = np.moveaxis(q, axis, -1).reshape(-1, C)
        norm, ignored = np.ones(len(q)), np.zeros((len(q), 1), dtype=bool)
    rows = np.moveaxis(x, axis, -1).reshape(-1, C)
    k = np.where(ignored, 0.0, w * ((1 - label_smoothing) * q + label_smoothing / C))
    of_target = np.broadcast_to(w * (1 - label_smoothing), rows.shape)
    return Losses(rows, logarithms(rows, 1), k, of_target, norm, ignored, positions, axis, reduction, has_classes)


def _of_classes(
    target: Array, positions: tuple[int, ...], C: int, w: FloatArray, ignore_index: int
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return the target as probabilities, the weight of each position's class, and which are ignored."""
    if target.shape != positions:
        raise ValueError(f"target must have shape {positions} as classes, got target.shape={target.shape}")
    t = target.reshape(-1)
    ignored = t == ignore_index
    if ((t < 0) | (t >= C))[~ignored].any():
        raise ValueError(f"target must hold classes from 0 to {C - 1} or {ignore_index}")
    q = (np.arange(C) == t[:, np.newaxis]).astype(np.float64)
    return q, np.where(ignored, 0.0, w[np.where(ignored, 0, t)]), ignored[:, np.newaxis]
