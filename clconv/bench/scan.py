"""Random layers, odd ones among them: what no suite has, and where a kernel may be slow without anybody noticing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from clconv.bench.layers import Case, Layer, layer

__all__ = ["LARGEST", "LEAST", "scan_cases"]

#: Operations of a problem: what takes less is the cost of calls, what takes more takes its time.
LEAST, LARGEST = 10_000_000, 2_000_000_000
_MOST_ELEMENTS = 2**25
#: Sizes are drawn between these, evenly in their logarithms, by the number of spatial axes.
_CHANNELS = (1, 512)
_EXTENTS = {1: (16, 20_000), 2: (3, 256), 3: (3, 64)}
_WINDOWS = {1: 33, 2: 11, 3: 5}


def scan_cases(count: int, directions: Sequence[str], dtypes: Sequence[str], seed: int) -> list[Case]:
    """Return so many random cases, the same ones for the same seed, each in one of the passes and one of the types.

    Examples
    --------
    >>> scan_cases(3, ["fwd"], ["float32"], seed=1) == scan_cases(3, ["fwd"], ["float32"], seed=1)
    True
    """
    random = np.random.default_rng(seed)
    cases: list[Case] = []
    while len(cases) < count:
        batch = int(random.choice([1, 1, 1, 2, 3, 16]))
        case = Case("scan", _layer(random), batch, str(random.choice(dtypes)), str(random.choice(directions)))
        if _is_worth_it(case):
            cases.append(case)
    return cases


def _is_worth_it(case: Case) -> bool:
    """Return whether there is an output, and the problem is of a size to be measured."""
    this = case.layer
    spans = ((taps - 1) * step + 1 for taps, step in zip(this.window, this.dilation, strict=True))
    reaches = (extent + 2 * low for extent, low in zip(this.extents, this.padding, strict=True))
    if any(span > reach for span, reach in zip(spans, reaches, strict=True)) and not this.transposed:
        return False
    if not this.transposed or all(
        (extent - 1) * step + (taps - 1) * gap + 1 > 2 * low
        for extent, step, taps, gap, low in zip(
            this.extents, this.stride, this.window, this.dilation, this.padding, strict=True
        )
    ):
        sizes = case.problem.input_shape, case.problem.output_shape
        return LEAST < case.operations < LARGEST and max(map(math.prod, sizes)) < _MOST_ELEMENTS
    return False


def _layer(random: np.random.Generator) -> Layer:
    rank = int(random.choice([1, 2, 2, 2, 3]))
    groups = int(random.choice([1, 1, 1, 2, 3, 0]))  # 0 stands for depthwise
    channels, outputs = (_between(random, *_CHANNELS) for _ in range(2))
    if groups == 0:
        groups, outputs = channels, channels * int(random.choice([1, 1, 2]))
    else:
        channels, outputs = channels * groups, outputs * groups
    window = tuple(_between(random, 1, _WINDOWS[rank]) for _ in range(rank))
    dilation = int(random.choice([1, 1, 1, 2, 3]))
    return layer(
        channels,
        tuple(_between(random, *_EXTENTS[rank]) for _ in range(rank)),
        outputs,
        window,
        stride=int(random.choice([1, 1, 1, 2, 3])),
        padding=tuple(int(random.integers(0, (taps - 1) * dilation // 2 + 1)) for taps in window),
        dilation=dilation,
        groups=groups,
        transposed=bool(random.random() < 0.15),
    )


def _between(random: np.random.Generator, least: int, most: int) -> int:
    """Return an integer, small ones as often as large ones of the same ratio."""
    return round(math.exp(random.uniform(math.log(least), math.log(most))))
