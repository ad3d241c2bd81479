"""Windows over one axis, and what they write when transposed, as rows of positions with bars below them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Bar", "Scattering", "Sliding", "Strip", "number", "numbers"]


class Bar(NamedTuple):
    """A window, or what one position writes: its first and its last position, and what comes of it."""

    first: int
    last: int
    text: str
    is_dropped: bool = False


class Strip(NamedTuple):
    """A row of positions, each with its kind and its text, and the bars below it."""

    label: str
    cells: dict[int, tuple[str, str]]
    bars: Sequence[Bar]


class Sliding(NamedTuple):
    """Windows over one axis: tap k of window o is at o*S - low + k."""

    x: Sequence[float]
    K: int
    S: int
    pair: tuple[int, int]

    def first(self, o: int) -> int:
        """Return the position of a window's first tap."""
        return o * self.S - self.pair[0]

    def kind(self, i: int) -> str:
        """Say what a position is."""
        if 0 <= i < len(self.x):
            return "image"
        return "padding" if -self.pair[0] <= i < len(self.x) + self.pair[1] else "beyond"

    def taps(self, o: int) -> list[int]:
        """Return the positions of a window's taps."""
        return list(range(self.first(o), self.first(o) + self.K))

    def strip(self, label: str, texts: Sequence[str], dropped: int = 0) -> Strip:
        """Return the row with one window for each text, and so many more that the rule leaves out."""
        windows = len(texts) + dropped
        positions = range(-self.pair[0], max(len(self.x) + self.pair[1], self.first(windows - 1) + self.K))
        cells = {i: (self.kind(i), number(self.x[i]) if self.kind(i) == "image" else "") for i in positions}
        every = [*texts, *["dropped"] * dropped]
        bars = [Bar(self.first(o), self.taps(o)[-1], text, o >= len(texts)) for o, text in enumerate(every)]
        return Strip(label, cells, bars)

    def means(self, counted: Sequence[str]) -> list[str]:
        """Return each window's mean as sum / divisor; the divisor counts taps of these kinds."""
        texts = []
        for o in range(math.ceil((len(self.x) + sum(self.pair) - self.K) / self.S) + 1):
            total = sum(self.x[i] for i in self.taps(o) if self.kind(i) == "image")
            divisor = sum(self.kind(i) in counted for i in self.taps(o))
            texts.append(f"{number(total)}/{divisor} = {number(total / divisor)}")
        return texts


class Scattering(NamedTuple):
    """A transposed convolution of an axis: pixel i writes to i*S - low + k."""

    x: Sequence[float]
    w: Sequence[float]
    S: int

    def strip(self, label: str, low: int, extent: int, added: int = 0) -> Strip:
        """Return the row in which so many positions are the output, the last of them added."""
        written: dict[int, float] = {}
        for i, value in enumerate(self.x):
            for k, tap in enumerate(self.w):
                written[i * self.S - low + k] = written.get(i * self.S - low + k, 0.0) + value * tap
        positions = range(min(*written, 0), max(*written, extent - 1) + 1)
        kinds = {o: "beyond" if extent - added <= o < extent else "image" for o in range(extent)}
        cells = {o: (kinds.get(o, "padding"), number(written.get(o, 0.0))) for o in positions}
        texts = [f"{number(v)} × ({' '.join(numbers(self.w))})" for v in self.x]
        bars = [Bar(i * self.S - low, i * self.S - low + len(self.w) - 1, text) for i, text in enumerate(texts)]
        return Strip(label, cells, bars)


def number(value: float) -> str:
    """Write a number as the page does."""
    return "NaN" if np.isnan(value) else f"{value:.6g}"


def numbers(values: Any) -> list[str]:
    """Write the numbers of an array."""
    return [number(float(v)) for v in np.asarray(values).ravel()]
