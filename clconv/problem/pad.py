"""Padding and cropping an array."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clconv.arguments import LARGEST, Pair, choice, integer
from clconv.problem.shapes import check_elements, element_defines
from clconv.problem.window import AXES

__all__ = ["MODES", "PadProblem"]

#: torch's words, and one of NumPy's, for clconv.problem.window.PADDING_MODES, in the order of kernels/window.h.
MODES = ("constant", "reflect", "replicate", "circular", "symmetric")

#: Axes of the kernels: batch, channels and the spatial ones.
_KERNEL_AXES = 2 + AXES

Pairs = tuple[Pair, ...]


@dataclass(frozen=True)
class PadProblem:
    """What pad adds to, and takes from, both ends of each axis.

    Attributes
    ----------
    input_shape : tuple of int
        The user's shape.
    pairs : tuple of (int, int)
        Positions added (or, if negative, taken) before the first and after the last one of every axis.
    mode : str
        What the padding holds.
    value : bytes
        The element that mode "constant" pads with, in the arrays' type: bytes, because 0.0 == -0.0 and nan != nan.
    dtype : str
        "float16", "float32" or "float64".
    """

    input_shape: tuple[int, ...]
    pairs: Pairs
    mode: str
    value: bytes
    dtype: str

    @classmethod
    def for_pad(cls, input_shape: Sequence[int], pad: Any, mode: Any, value: Any, *, dtype: str) -> PadProblem:
        """Make the problem of ``pad`` from its arguments."""
        shape = tuple(input_shape)
        choice(mode, "mode", MODES)
        pairs = _pairs(shape, pad)
        padded = len(pairs)
        if mode != "constant" and (not 1 <= padded <= AXES or len(shape) - padded not in (1, 2)):
            raise ValueError(
                f"mode={mode!r} pads 1 to 3 axes behind one or two others: pad={pad!r} pads {padded} of "
                f"input.shape={shape}"
            )
        for axis, (low, high) in enumerate(pairs, start=len(shape) - padded):
            _check_axis(shape, axis, low, high, mode)
        every = ((0, 0),) * (len(shape) - padded) + pairs
        problem = cls(shape, every, mode, _element(mode, value, dtype), dtype)
        check_elements({"input": shape, "output": problem.output_shape})
        return problem

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return tuple(low + extent + high for extent, (low, high) in zip(self.input_shape, self.pairs, strict=True))

    @property
    def steps(self) -> tuple[PadProblem, ...]:
        """The paddings that this one consists of, of arrays of as many elements but maybe other shapes.

        Mode "circular" repeats what negative entries leave, as in torch. Axes beyond those that the kernels keep apart
        are padded first, some at a time, while what is before and behind them counts as one axis each.
        """
        if self.mode == "constant":
            return self._groups
        cropped = tuple((min(low, 0), min(high, 0)) for low, high in self.pairs)
        if self.mode != "circular" or not any(map(any, cropped)):
            return (self,)
        crop = replace(self, pairs=cropped, mode="constant")
        grown = tuple((max(low, 0), max(high, 0)) for low, high in self.pairs)
        return crop, replace(self, input_shape=crop.output_shape, pairs=grown)

    @property
    def _groups(self) -> tuple[PadProblem, ...]:
        """The padding of some of the axes that the kernels would merge, and that of the others."""
        apart = len(self.input_shape) - _KERNEL_AXES + 1
        begin = next((axis for axis, pair in enumerate(self.pairs) if pair != (0, 0)), apart)
        if len(self.input_shape) <= _KERNEL_AXES or begin >= apart:
            return (self,)
        end = min(begin + _KERNEL_AXES - 2, apart)
        shape, kept = self.input_shape, (0, 0)
        ends = math.prod(shape[:begin]), math.prod(shape[end:])
        some = replace(
            self, input_shape=(ends[0], *shape[begin:end], ends[1]), pairs=(kept, *self.pairs[begin:end], kept)
        )
        shape = (*shape[:begin], *some.output_shape[1:-1], *shape[end:])
        others = replace(self, input_shape=shape, pairs=(kept,) * end + self.pairs[end:])
        return (some, *others._groups)

    @property
    def undone(self) -> PadProblem:
        """The padding with zeros that crops what this one adds, and adds what it crops."""
        pairs = tuple((-low, -high) for low, high in self.pairs)
        return replace(self, input_shape=self.output_shape, pairs=pairs, value=bytes(len(self.value)))

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    @property
    def merged(self) -> int:
        """How many leading axes the kernels take for one: those that are too many, none of which is padded."""
        return max(len(self.input_shape) - _KERNEL_AXES + 1, 1)

    def canonical(self, values: Sequence[Any], unit: Any) -> tuple[Any, ...]:
        """Return one value for each of the kernels' five axes from those of the merged axes."""
        return (*(unit,) * (_KERNEL_AXES - len(values)), *values)

    def sizes(self) -> dict[str, int]:
        """Return the kernels' size arguments by their names."""

        def five(values: Sequence[int]) -> tuple[int, ...]:
            return self.canonical((math.prod(values[: self.merged]), *values[self.merged :]), 1)

        lows = self.canonical([low for low, _ in self.pairs[self.merged - 1 :]], 0)
        named = (("I", five(self.input_shape)), ("O", five(self.output_shape)), ("P", lows))
        sizes = {
            f"{letter}{axis}": value for letter, values in named for axis, value in zip("NCDHW", values, strict=True)
        }
        return {**sizes, "padding_mode": MODES.index(self.mode)}


def _pairs(shape: tuple[int, ...], pad: Any) -> Pairs:
    """Return (low, high) of the axes that ``pad`` names, in the shape's order."""
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"pad takes a sequence of integers, not {type(pad).__name__}: pad={pad!r}")
    entries = [integer(entry, "pad", least=-LARGEST) for entry in pad]
    if len(entries) % 2 or len(entries) > 2 * len(shape):
        raise ValueError(
            f"pad takes a low and a high entry for each of up to {len(shape)} axes, the last axis first: pad={pad!r} "
            f"has {len(entries)}"
        )
    return tuple(zip(entries[::2], entries[1::2], strict=True))[::-1]


def _check_axis(shape: tuple[int, ...], axis: int, low: int, high: int, mode: str) -> None:
    """Refuse to take more than there is, and padding that would show the image more than once."""
    extent = shape[axis]
    where = f"axis {axis} of input.shape={shape}"
    left = extent + min(low, 0) + min(high, 0)
    if left < (0 if mode == "constant" else 1):
        raise ValueError(f"pad must not take more than there is: ({low}, {high}) for {where}, mode={mode!r}")
    if extent + low + high > LARGEST or extent > LARGEST:
        raise ValueError(f"pad must leave at most 2**30 - 1 positions on an axis: ({low}, {high}) for {where}")
    most = {"reflect": extent - 1, "circular": left, "symmetric": extent}.get(mode, LARGEST)
    if max(low, high) > most:
        raise ValueError(
            f"mode={mode!r} shows the image once at most, here {most} positions: pad has ({low}, {high}) for {where}"
        )


def _element(mode: str, value: Any, dtype: str) -> bytes:
    """Return what to pad with, in the arrays' type."""
    if value is None:
        value = 0.0
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"value takes a real number, not {type(value).__name__}: value={value!r}")
    if mode != "constant" and value != 0:
        raise ValueError(f"value goes with mode='constant': mode={mode!r}, value={value!r}")
    number = float(value)
    with np.errstate(over="ignore"):
        element = np.array(number).astype(dtype)
    if math.isfinite(number) and not np.isfinite(element):
        raise ValueError(f"value must be a number that {dtype} holds: value={value!r}")
    return element.tobytes()
