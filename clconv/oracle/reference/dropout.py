"""Dropout by the generator Philox4x32-10, and its gradient, in float64."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, real_array, requested, switch

__all__ = ["DropoutGradients", "dropout", "dropout_backward", "philox"]

Array = NDArray[Any]
Words = NDArray[np.uint64]

WORD = np.uint64(2**32 - 1)
HALF = np.uint64(32)


class DropoutGradients(NamedTuple):
    """Gradient of `dropout`; None where masked."""

    input: FloatArray | None


def philox(counter: Sequence[Any], key: Sequence[int]) -> tuple[Words, Words, Words, Words]:
    """Return the four random words of each counter of four words, under a key of two.

    The constants and the ten rounds are those of Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as
    1, 2, 3 (SC 2011); words are held in 64 bits.

    Examples
    --------
    >>> [f"{int(word):08x}" for word in philox([0, 0, 0, 0], [0, 0])]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    a, b, c, d = (np.asarray(word, np.uint64) for word in counter)
    first, second = key
    for _ in range(10):
        left, right = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b = (right >> HALF) ^ b ^ np.uint64(first), right & WORD
        c, d = (left >> HALF) ^ d ^ np.uint64(second), left & WORD
        first, second = (first + 0x9E3779B9) % 2**32, (second + 0xBB67AE85) % 2**32
    return a, b, c, d


def dropout(
    input: Array, p: float = 0.5, training: bool = True, *, seed: SupportsIndex, offset: SupportsIndex = 0
) -> FloatArray:
    """Set elements to zero with probability p, and scale the others: ``y = x / (1 - p)`` or 0.

    Element number i, in the order of the indices, is dropped if word ``j % 4`` of the counter ``(j // 4, 0)``, with
    ``j = offset + i`` and the key `seed`, is below ``p * 2**32``.

    Parameters
    ----------
    input : any shape
    p : float
        Between 0 and 1.
    training : bool
        False keeps every element as it is.
    seed : int
        Of 64 bits.
    offset : int

    Returns
    -------
    array of the input's shape

    Raises
    ------
    ValueError
        If p is not between 0 and 1, or seed or offset is negative or too large.
    TypeError
        If `input` is not a NumPy array of real numbers, or another argument not of its type.

    Examples
    --------
    >>> dropout(np.ones(8), seed=1)
    array([2., 2., 2., 2., 2., 2., 0., 2.])
    """
    return _scaled(real_array("input", input), p, training, seed, offset)


def dropout_backward(
    grad_output: Array,
    input: Array,
    p: float = 0.5,
    training: bool = True,
    *,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    output_mask: Sequence[bool] | None = None,
) -> DropoutGradients:
    """Gradient of ``sum(grad_output * dropout(...))``: the same elements are dropped and scaled.

    Parameters
    ----------
    grad_output : the input's shape
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, p, training, seed, offset
        As in `dropout`; only the shape of `input` matters.

    Returns
    -------
    DropoutGradients

    Raises
    ------
    ValueError, TypeError
        As `dropout`, and if `grad_output` does not have the input's shape, or `output_mask` is not one bool.

    Examples
    --------
    >>> dropout_backward(np.ones(8), np.zeros(8), seed=1).input
    array([2., 2., 2., 2., 2., 2., 0., 2.])
    """
    x, g = real_array("input", input), real_array("grad_output", grad_output)
    if g.shape != x.shape:
        raise ValueError(f"grad_output must have the input's shape {x.shape}, got grad_output.shape={g.shape}")
    wanted = requested(output_mask, DropoutGradients._fields)[0]
    dx = _scaled(g, p, training, seed, offset)
    return DropoutGradients(dx if wanted else None)


def _scaled(x: FloatArray, p: float, training: bool, seed: SupportsIndex, offset: SupportsIndex) -> FloatArray:
    if not 0 <= p <= 1:
        raise ValueError(f"p must be between 0 and 1, got p={p!r}")
    key, first = operator.index(seed), operator.index(offset)
    if not (0 <= key < 2**64 and 0 <= first <= 2**62):
        raise ValueError(f"seed must have 64 bits and offset 62, got seed={seed}, offset={offset}")
    if not switch("training", training):
        return x.copy()
    place = np.arange(x.size, dtype=np.uint64) + np.uint64(first)
    block = place >> np.uint64(2)
    words = philox([block & WORD, block >> HALF, 0, 0], [key % 2**32, key >> 32])
    word = np.choose((place & np.uint64(3)).astype(int), words).reshape(x.shape)
    kept = word >= round(p * 2**32)
    return np.where(kept, x / (1 - p) if p < 1 else 0.0, 0.0)
