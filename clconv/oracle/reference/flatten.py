"""Joining neighbouring axes, with the gradient, in float64: copies, exact for any data."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import FloatArray, Sizes, real_array, requested, require_output_shape

__all__ = ["FlattenGradients", "flatten", "flatten_backward"]

Array = NDArray[Any]


class FlattenGradients(NamedTuple):
    """Gradient of `flatten`; None where masked."""

    input: FloatArray | None


def flatten(input: Array, start_dim: SupportsIndex = 0, end_dim: SupportsIndex = -1) -> FloatArray:
    """Join the axes from `start_dim` to `end_dim`, both included, the last one running fastest.

    Parameters
    ----------
    input : any shape; without axes, it is taken to have one
    start_dim, end_dim : int
        Negative ones are counted from the back.

    Raises
    ------
    ValueError
        If an axis is none of the input's, or `start_dim` lies behind `end_dim`.
    TypeError
        If `input` is not a NumPy array of real numbers, or an axis no integer.

    Examples
    --------
    >>> import numpy as np
    >>> flatten(np.zeros((2, 3, 4)), 1).shape
    (2, 12)
    """
    x = real_array("input", input)
    return x.reshape(_joined(x.shape, start_dim, end_dim)).copy()


def flatten_backward(
    grad_output: Array,
    input: Array,
    start_dim: SupportsIndex = 0,
    end_dim: SupportsIndex = -1,
    *,
    output_mask: Sequence[bool] | None = None,
) -> FlattenGradients:
    """Gradient of ``sum(grad_output * flatten(...))``: `grad_output` in the input's shape.

    Parameters
    ----------
    grad_output : array of the output's shape
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, start_dim, end_dim
        As in `flatten`; only the shape of `input` matters.

    Raises
    ------
    ValueError, TypeError
        As `flatten`, and for a wrong shape of `grad_output` or a wrong `output_mask`.

    Examples
    --------
    >>> import numpy as np
    >>> flatten_backward(np.zeros((2, 12)), np.zeros((2, 3, 4)), 1).input.shape
    (2, 3, 4)
    """
    x = real_array("input", input)
    g = require_output_shape(grad_output, _joined(x.shape, start_dim, end_dim), has_batch=True)
    wanted = requested(output_mask, FlattenGradients._fields)[0]
    return FlattenGradients(g.reshape(x.shape).copy() if wanted else None)


def _joined(shape: Sizes, start_dim: SupportsIndex, end_dim: SupportsIndex) -> tuple[int, ...]:
    rank = max(len(shape), 1)
    first, last = (_axis(name, value, rank) for name, value in (("start_dim", start_dim), ("end_dim", end_dim)))
    if first > last:
        raise ValueError(f"start_dim={start_dim} must not lie behind end_dim={end_dim}: input.shape={tuple(shape)}")
    return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


def _axis(name: str, value: SupportsIndex, rank: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    axis = operator.index(value)
    if not -rank <= axis < rank:
        raise ValueError(f"{name} must be one of {rank} axes, got {axis}")
    return axis % rank
