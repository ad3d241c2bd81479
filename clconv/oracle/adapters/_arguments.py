"""torch's arguments in the forms that other systems have them in. Nothing is checked for the systems."""

from __future__ import annotations

from typing import Any

from clconv.oracle.reference import geometry

from ._loaded import NotOffered

__all__ = ["LEAST", "Pairs", "Spatial", "batched", "each", "integers", "pairs", "slices", "transposed_pairs"]

Pairs = tuple[tuple[Any, Any], ...]
Spatial = Any

LEAST = -(2**63)  # where every integer will do


def each(value: Spatial, rank: int) -> tuple[Any, ...]:
    """Return one entry for each axis; what is a tuple already stays as long as it is.

    Examples
    --------
    >>> each(2, 3), each((1, 2), 3)
    ((2, 2, 2), (1, 2))
    """
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank


def integers(name: str, value: Spatial, count: int, least: int) -> tuple[int, ...]:
    """Return one integer for each axis, for systems that take nothing else.

    Raises
    ------
    NotOffered
        If that is not what it is, or one is less than `least`.

    Examples
    --------
    >>> integers("stride", 2, 2, least=1)
    (2, 2)
    """
    try:
        return geometry.sizes(name, value, count, least)
    except (TypeError, ValueError) as error:
        raise NotOffered(str(error)) from None


def pairs(
    padding: Any, extent: tuple[int, ...], kernel: tuple[int, ...], stride: Spatial = 1, dilation: Spatial = 1
) -> Pairs:
    """Return (low, high) padding for each axis; words become the numbers that they stand for.

    Raises
    ------
    NotOffered
        If a word is unknown, or "same" comes with a stride, which has no meaning.

    Examples
    --------
    >>> pairs(1, (5, 5), (3, 3)), pairs("same", (5,), (4,)), pairs(((1, 2),), (5,), (3,))
    (((1, 1), (1, 1)), ((1, 2),), ((1, 2),))
    """
    rank = len(extent)
    if isinstance(padding, str):
        try:
            return geometry.padding_pairs(padding, extent, kernel, each(stride, rank), each(dilation, rank))
        except ValueError as error:
            raise NotOffered(str(error)) from None
    return tuple(p if isinstance(p, (tuple, list)) else (p, p) for p in each(padding, rank))  # type: ignore[misc]


def transposed_pairs(padding: Pairs, kernel: tuple[int, ...], dilation: Spatial) -> Pairs:
    """Return the padding of the convolution, over input with zeros between, that a transposed one is.

    Examples
    --------
    >>> transposed_pairs(((1, 0),), (3,), 2)
    ((3, 4),)
    """
    axes = zip(padding, kernel, each(dilation, len(kernel)), strict=True)
    return tuple((d * (k - 1) - low, d * (k - 1) - high) for (low, high), k, d in axes)


def batched(array: Any, rank: int) -> tuple[Any, bool]:
    """Give an array or tensor without a batch axis, which other systems need, one; say whether it came without.

    Examples
    --------
    >>> import numpy as np
    >>> batched(np.zeros((3, 5)), 1)[0].shape
    (1, 3, 5)
    """
    lacks_batch = array.ndim == rank + 1
    return (array[None] if lacks_batch else array), lacks_batch


def slices(stride: Spatial, rank: int) -> tuple[slice, ...]:
    """Return what takes every `stride`-th element of each axis, for systems that have stride 1 only.

    Raises
    ------
    NotOffered
        If the stride is below 1, which slices take for another direction.

    Examples
    --------
    >>> slices((1, 2), 2)
    (slice(None, None, 1), slice(None, None, 2))
    """
    return tuple(slice(None, None, step) for step in integers("stride", stride, rank, 1))
