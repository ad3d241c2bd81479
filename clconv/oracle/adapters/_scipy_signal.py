"""scipy.signal.correlate, by the definition's sums: "scipy.signal:conv2d".

It correlates over channels and pixels at once; batch and output channels are looped over, strides are slices, and
padding is zeros put around the input.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import batched, pairs, slices
from ._loaded import Library
from ._offer import Offer

__all__ = ["LIBRARIES", "offers"]

Array = NDArray[Any]

scipy = Library("scipy")
signal = Library("scipy.signal")
LIBRARIES = (scipy,)


def offers() -> Mapping[str, Offer]:
    """Return the convolutions."""
    return {f"conv{rank}d": _offer(rank) for rank in (1, 2, 3)}


def _offer(rank: int) -> Offer:
    call = functools.partial(_conv, rank)
    return Offer(call, ("stride", "padding"), ("padding_pairs",), dtypes=("float32", "float64"))


def _conv(rank: int, *, input: Array, weight: Array, stride: Any, padding: Any) -> Array:
    x, lacks_batch = batched(input, rank)
    padded = np.pad(x, ((0, 0), (0, 0), *pairs(padding, x.shape[2:], weight.shape[2:], stride)))
    steps = slices(stride, rank)
    # Where there are no images there is one all the same, of zeros, which says how large they would be.
    images = padded if len(padded) else np.zeros((1, *padded.shape[1:]), padded.dtype)
    y = np.stack(
        [
            [signal.correlate(image, kernel, mode="valid", method="direct")[0][steps] for kernel in weight]
            for image in images
        ]
    )[: len(padded)]
    return y[0] if lacks_batch else y
