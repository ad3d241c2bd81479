"""Padding and cropping an array, and its gradient, in float64.

Every element of the result is an element of the input, or the padding's value: a copy, exact for any data.
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import (
    FloatArray,
    Pairs,
    Sizes,
    real_array,
    requested,
    require_output_shape,
    scatter,
    sizes,
)

__all__ = ["PadGradients", "pad", "pad_backward"]

Array = NDArray[Any]

NUMPY_MODE = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}


class PadGradients(NamedTuple):
    """Gradient of `pad`; None where masked."""

    input: FloatArray | None


def pad(input: Array, pad: Sequence[SupportsIndex], mode: str = "constant", value: float | None = None) -> FloatArray:
    """Pad the last axes of an array.

    Parameters
    ----------
    input : array
        In modes but "constant", two or one axes in front of the padded ones, of which there are 1 to 3.
    pad : tuple of int
        ``(low, high)`` of the last axis, then of the one before it, and so on. Negative ones crop, in mode
        "constant" only.
    mode : str
        "constant", "reflect" (without the edge), "replicate", "circular", and beyond torch "symmetric"
        (reflected with the edge).
    value : float, optional
        What "constant" pads with; 0 by default.

    Returns
    -------
    array
        Each padded axis longer by low + high.

    Raises
    ------
    ValueError
        If `pad` has an odd number of entries or more than two for each axis, crops more than there is, or
        goes beyond what a mode can show (reflect: extent - 1; circular and symmetric: extent), the mode is
        unknown, or there is a value without mode "constant".
    TypeError
        If `input` is not a NumPy array of real numbers, or a parameter has the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> pad(np.array([[1, 2, 3]]), (1, 2))
    array([[0., 1., 2., 3., 0., 0.]])
    >>> pad(np.array([[1, 2, 3]]), (1, 2), mode="reflect")
    array([[2., 1., 2., 3., 2., 1.]])
    """
    x = real_array("input", input)
    return _padded(x, _pairs(x.shape, pad, mode), mode, _value(mode, value))


def pad_backward(
    grad_output: Array,
    input: Array,
    pad: Sequence[SupportsIndex],
    mode: str = "constant",
    value: float | None = None,
    *,
    output_mask: Sequence[bool] | None = None,
) -> PadGradients:
    """Gradient of ``sum(grad_output * pad(...))``: each element is added to the one that it copies.

    Parameters
    ----------
    grad_output : array
        In the output's shape.
    output_mask : one bool, optional
        Whether to compute the gradient.
    input, pad, mode, value
        As in `pad`; only the shape of `input` matters.

    Returns
    -------
    PadGradients

    Raises
    ------
    ValueError
        As `pad`, and if `grad_output` does not have the output's shape or `output_mask` not one entry.
    TypeError
        As `pad`, and if `output_mask` is not a tuple of bools.

    Examples
    --------
    >>> import numpy as np
    >>> pad_backward(np.array([[1, 2, 3, 4, 5, 6]]), np.zeros((1, 3)), (1, 2), mode="reflect")
    PadGradients(input=array([[8., 9., 4.]]))
    """
    x = real_array("input", input)
    pairs = _pairs(x.shape, pad, mode)
    _value(mode, value)
    shape = tuple(e + low + high for e, (low, high) in zip(x.shape, pairs, strict=True))
    g = require_output_shape(grad_output, shape, has_batch=True)
    if not requested(output_mask, PadGradients._fields)[0]:
        return PadGradients(None)
    rank = len(pad) // 2
    lead, extent = x.shape[: x.ndim - rank], x.shape[x.ndim - rank :]
    # Number 0 is kept for the padding that copies nothing.
    numbers_of_sources = np.arange(1.0, 1 + math.prod(extent)).reshape(extent)
    sources = _padded(numbers_of_sources, pairs[x.ndim - rank :], mode, 0.0).astype(np.intp) - 1
    rows = g.reshape(1, math.prod(lead), math.prod(sources.shape))
    return PadGradients(scatter(rows, sources, extent).reshape(x.shape))


def _pairs(shape: Sizes, pad: Sequence[SupportsIndex], mode: str) -> Pairs:
    """Return (low, high) for each axis of a shape, in the shape's order, zero where `pad` does not reach."""
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"pad must be a tuple of integers, got pad={pad!r}")
    if not isinstance(mode, str):
        raise TypeError(f"mode must be a string, got mode={mode!r}")
    if mode not in NUMPY_MODE:
        raise ValueError(f"mode must be one of {tuple(NUMPY_MODE)}, got mode={mode!r}")
    flat = sizes("pad", tuple(pad), len(pad), -sys.maxsize if mode == "constant" else 0)
    rank = len(flat) // 2
    if len(flat) % 2 or rank > len(shape):
        raise ValueError(
            f"pad takes a low and a high entry for each of up to {len(shape)} axes, last axis first, got pad={pad!r}"
        )
    if mode != "constant" and (not 1 <= rank <= 3 or len(shape) - rank not in (1, 2)):
        raise ValueError(
            f"mode={mode!r} pads 1 to 3 axes behind one or two others, got pad={pad!r} of {rank} axes "
            f"and input.shape={shape}"
        )
    last_first = tuple(zip(flat[::2], flat[1::2], strict=True))
    pairs = ((0, 0),) * (len(shape) - rank) + last_first[::-1]
    for extent, (low, high) in zip(shape[len(shape) - rank :], pairs[len(shape) - rank :], strict=True):
        _check_axis(extent, low, high, mode)
    return pairs


def _check_axis(extent: int, low: int, high: int, mode: str) -> None:
    """Refuse to crop more than there is, and padding that would show the image more than once."""
    if extent + min(low, 0) + min(high, 0) < 0:
        raise ValueError(f"pad crops more than there is: low={low}, high={high}, extent={extent}")
    if mode == "constant":
        return
    if extent < 1:
        raise ValueError(f"mode={mode!r} needs at least 1 element to copy, got extent {extent}")
    most = {"reflect": extent - 1, "replicate": max(low, high)}.get(mode, extent)
    if max(low, high) > most:
        rule = "less than" if mode == "reflect" else "at most"
        raise ValueError(f"mode={mode!r} needs padding {rule} the extent {extent}, got low={low}, high={high}")


def _value(mode: str, value: float | None) -> float:
    """Return what to pad with."""
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"value must be a real number, got value={value!r}")
    if mode != "constant" and value != 0:
        raise ValueError(f"value goes with mode='constant', got mode={mode!r}, value={value!r}")
    return float(value)


def _padded(x: FloatArray, pairs: Pairs, mode: str, value: float) -> FloatArray:
    """Pad, then crop."""
    grown = tuple((max(low, 0), max(high, 0)) for low, high in pairs)
    extra: dict[str, Any] = {"constant_values": value} if mode == "constant" else {}
    numpy_pad: Any = np.pad  # its annotations want the mode as a literal
    padded: FloatArray = numpy_pad(x, grown, NUMPY_MODE[mode], **extra) if pairs else x
    axes = zip(padded.shape, pairs, strict=True)
    return padded[tuple(slice(max(-low, 0), extent - max(-high, 0)) for extent, (low, high) in axes)].copy()
