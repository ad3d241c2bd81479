"""Hypothesis strategies for windows, convolutions, their arrays and layouts, for anybody's tests.

Examples
--------
>>> from hypothesis import given
>>> @given(conv_problems(rank=2))
... def shapes_agree(problem):
...     assert problem.shapes["input"][-3] % problem.shapes["weight"][1] == 0
>>> shapes_agree()
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from .layouts import LAYOUTS
from .operations._base import Claims, Problem, sparse_integers

__all__ = ["PADDING_MODES", "Axis", "arrays", "conv_problems", "layouts", "windows"]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular", "symmetric")
EVERYTHING = Claims()
_T = TypeVar("_T")
DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros", "flip": False}


@dataclass(frozen=True)
class Axis:
    """A window along one axis that fits, up to less than one stride of slack.

    Attributes
    ----------
    kernel, stride, dilation, low, high : as in a convolution, `low` and `high` the padding on either side
    output : number of positions
    extent : number of pixels without padding
    """

    kernel: int
    stride: int
    dilation: int
    low: int
    high: int
    output: int
    extent: int

    @property
    def slack(self) -> int:
        """Pixels that no window reaches, at the high end."""
        reached = (self.output - 1) * self.stride + self.dilation * (self.kernel - 1) + 1
        return self.low + self.extent + self.high - reached


def _drawn_of(draw: st.DrawFn, options: Sequence[_T]) -> _T:
    """Draw one of some options, the first being the simplest.

    Hypothesis keeps a strategy of integers; one of options it would make, check and label anew in each case, which
    takes longer than most operations.
    """
    return options[0] if len(options) == 1 else options[draw(st.integers(0, len(options) - 1))]


@st.composite
def windows(
    draw: st.DrawFn,
    *,
    strides: bool = True,
    dilations: bool = True,
    paddings: bool = True,
    pairs: bool = True,
    padding_mode: str = "zeros",
    largest: int = 5,
) -> Axis:
    """Draw a window along one axis, the simplest being one tap on one pixel.

    Parameters
    ----------
    strides, dilations, paddings : bool
        Whether there are any but 1, 1 and 0.
    pairs : bool
        Whether the padding may differ between the sides.
    padding_mode : str
        One of `PADDING_MODES`; all but "zeros" and "replicate" limit the padding by the extent.
    largest : int
        Most taps, and most positions.

    Returns
    -------
    strategy of Axis
    """
    kernel = _drawn_of(draw, [size for size in (1, 2, 3, 2, 3, 4, 5) if size <= largest])
    stride = _drawn_of(draw, (1, 2, 3, 1, 2, 4)) if strides else 1
    dilation = _drawn_of(draw, (1, 2, 3, 1)) if dilations else 1
    output = draw(st.integers(1, largest))
    slack = draw(st.integers(0, stride - 1))
    low = draw(st.integers(0, 3)) if paddings else 0
    high = draw(st.integers(0, 3)) if paddings and pairs else low
    padded = (output - 1) * stride + dilation * (kernel - 1) + 1 + slack
    while not _fits(padded - low - high, max(low, high), padding_mode):
        low, high = (low - (low >= high or not pairs), high - (low < high or not pairs))
    return Axis(kernel, stride, dilation, low, high, output, padded - low - high)


# The same strategy for the same arguments, which hypothesis then has checked and labelled.
_kept_windows = functools.lru_cache(maxsize=64)(windows)


def _fits(extent: int, padding: int, mode: str) -> bool:
    deepest = {"zeros": padding, "replicate": padding, "reflect": extent - 1}.get(mode, extent)
    return extent >= 1 and padding <= deepest


@st.composite
def conv_problems(
    draw: st.DrawFn,
    rank: int = 2,
    *,
    transposed: bool = False,
    features: Collection[str] = (),
    claims: Claims = EVERYTHING,
) -> Problem:
    """Draw a convolution's shapes and arguments, defaults left out.

    Parameters
    ----------
    rank : int
        Number of spatial axes, 1 to 3.
    transposed : bool
        Whether to draw a transposed convolution.
    features : collection of str
        What to draw beyond torch's arguments: "padding_pairs", "padding_names", "padding_mode", "flip".
    claims : Claims
        Of the implementation that will be called; may leave out arguments of torch's.

    Returns
    -------
    strategy of Problem
        With the shapes of input, weight and, sometimes, bias.
    """
    extensions = frozenset(features) | claims.features
    mode = _drawn_of(draw, PADDING_MODES) if "padding_mode" in extensions else "zeros"
    pads = claims.takes("padding") and _drawn_of(draw, (False, True, True))
    axes = [
        draw(
            _kept_windows(
                strides=claims.takes("stride"),
                dilations=claims.takes("dilation"),
                paddings=pads,
                pairs="padding_pairs" in extensions,
                padding_mode=mode,
                largest=5 if rank < 3 else 3,  # the cost has this to the power of twice the rank
            )
        )
        for _ in range(rank)
    ]
    N = draw(st.integers(1, 3 if rank < 3 else 2))
    G = _drawn_of(draw, (1, 2, 1, 3)) if claims.takes("groups") else 1
    ICG, OCG = _drawn_of(draw, (1, 2, 3, 5)[: 6 - rank]), _drawn_of(draw, (1, 2, 3, 4)[: 6 - rank])
    data = (N, G * ICG, *(axis.extent for axis in axes))
    result = (N, G * OCG, *(axis.output for axis in axes))
    shapes = {
        "input": result if transposed else data,
        "weight": (G * OCG, ICG, *(axis.kernel for axis in axes)),
    }
    if claims.takes("bias") and draw(st.booleans()):
        shapes["bias"] = (G * ICG if transposed else G * OCG,)
    may_name = mode == "zeros" and not (transposed or pads) and claims.takes("padding")
    same_takes_strides = claims.semantics in ("onnx", "tf")
    arguments: dict[str, Any] = {
        "stride": _drawn_of(draw, _one_or_each([axis.stride for axis in axes])),
        "padding": _drawn_of(draw, _paddings(axes, extensions, may_name, same_takes_strides)),
        "dilation": _drawn_of(draw, _one_or_each([axis.dilation for axis in axes])),
        "groups": G,
        "padding_mode": mode,
        "flip": "flip" in extensions and draw(st.booleans()),
    }
    if transposed and any(axis.slack for axis in axes):
        if not claims.takes("output_padding"):
            shapes["input"] = result
        else:
            arguments["output_padding"] = tuple(axis.slack for axis in axes)
    return Problem(shapes, {k: v for k, v in arguments.items() if k not in DEFAULTS or not _equals(v, DEFAULTS[k])})


def _equals(value: Any, default: Any) -> bool:
    """Tell whether an argument is the default, written once or for each axis."""
    entries = value if isinstance(value, tuple) else (value,)
    return all(entry == default for entry in entries)


def _one_or_each(values: list[int]) -> list[Any]:
    """Return equal sizes as one integer and as one for each axis, others as the latter only."""
    each = tuple(values)
    return [each[0], each] if len(set(each)) == 1 else [each]


def _paddings(axes: list[Axis], extensions: frozenset[str], may_name: bool, same_takes_strides: bool) -> list[Any]:
    """Return the ways to write the padding: torch's where it can, and what torch lacks where that is claimed."""
    pairs = tuple((axis.low, axis.high) for axis in axes)
    if any(low != high for low, high in pairs):
        return [pairs]
    forms: list[Any] = [tuple(low for low, _ in pairs)]
    if len({low for low, _ in pairs}) == 1:
        forms.insert(0, pairs[0][0])
    words = []
    if may_name:
        words.append("valid")
        # Nothing but the extent must fit "same", and that of every window here is at least 1.
        if same_takes_strides or all(axis.stride == 1 for axis in axes):
            words.append("same")
        if "padding_names" in extensions:
            words += ["same_upper", "same_lower", "full"]
    return forms + words


def layouts() -> st.SearchStrategy[str]:
    """Draw the name of a memory layout, for `layouts.laid_out`."""
    return st.sampled_from(tuple(LAYOUTS))


@st.composite
def arrays(
    draw: st.DrawFn, shape: tuple[int, ...], *, largest_integer: int = 10, dtype: str = "float32"
) -> NDArray[Any]:
    """Draw an array of integers between plus and minus the largest one, none of them zero.

    Parameters
    ----------
    shape : tuple of int
    largest_integer : int
        See `bounds.largest_exact_integer` for the one that makes sums exact.
    dtype : str

    Returns
    -------
    strategy of array
    """
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return sparse_integers(random, shape, largest_integer).astype(dtype)
