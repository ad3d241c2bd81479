"""Rows as lines of text and as JSON, and what they come to: geometric means, and where clconv is slower."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clconv.bench.ceilings import Ceilings
from clconv.bench.rows import Row

__all__ = [
    "HEADING",
    "LOW",
    "MEANS_HEADING",
    "Mean",
    "algorithms",
    "as_json",
    "ceilings_line",
    "geometric_mean",
    "line",
    "means",
    "worst",
]

_COLUMNS = "{:58} {:>5} {:11} {:12} {:>9} {:>4} {:>8} {:>6} {:>5}  {:12} {}"
HEADING = _COLUMNS.format(
    *("layer", "batch", "pass", "device", "ms", "±", "GFLOP/s", "GB/s", "%", "algorithm", "times faster than")
)

#: The share of its ceiling below which a problem has fallen off a cliff.
LOW = 0.25


@dataclass(frozen=True)
class Mean:
    """How clconv compares with one peer over the layers of one kind.

    Attributes
    ----------
    device, peer, dtype, kind, direction : str
        On which device, with whom, in which type, which layers, in which pass.
    batch : int
    count : int
        Layers.
    ratio : float
        Geometric mean of their ratios.
    least : float
        The smallest ratio.
    below : float
        Share of the layers with a ratio below 1.
    """

    device: str
    peer: str
    dtype: str
    batch: int
    kind: str
    direction: str
    count: int
    ratio: float
    least: float
    below: float

    def __str__(self) -> str:
        return (
            f"{self.device:12} {self.peer:12} {self.dtype:8} {self.batch:5} {self.kind:34} {self.direction:11} "
            f"{self.count:6} {self.ratio:6.2f} {self.least:6.2f} {self.below:6.0%}"
        )


#: Over the lines of means.
MEANS_HEADING = (
    f"{'device':12} {'peer':12} {'dtype':8} {'batch':>5} {'layers':34} {'pass':11} "
    f"{'count':>6} {'mean':>6} {'least':>6} {'< 1':>6}"
)


def geometric_mean(ratios: Iterable[float]) -> float:
    """Return the geometric mean, for which twice as fast and half as fast cancel.

    Examples
    --------
    >>> geometric_mean([4.0, 1.0, 0.25])
    1.0
    """
    logarithms = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logarithms) / len(logarithms))


def means(rows: Sequence[Row]) -> list[Mean]:
    """Return the comparison with each peer for each device, type, batch, kind of layer and pass."""
    groups: dict[tuple[str, str, str, int, str, str], list[float]] = defaultdict(list)
    for row in rows:
        case = row.case
        for peer, beside in row.beside.items():
            key = row.device, peer, case.dtype, case.batch, case.layer.kind, case.direction
            groups[key].append(beside.ratio.median)
    return [
        Mean(
            *key,
            count=len(ratios),
            ratio=geometric_mean(ratios),
            least=min(ratios),
            below=sum(ratio < 1 for ratio in ratios) / len(ratios),
        )
        for key, ratios in groups.items()
    ]


def line(row: Row) -> str:
    """Return a row as a line under ``HEADING``; ± is half the distance of the quartiles, in per cent of the median."""
    case = row.case
    about = f"{case.layer.name:58} {case.batch:5} {case.direction:11} {row.device:12}"
    if row.problem:
        return f"{about} not timed: {row.problem}"
    low, median, high = row.seconds
    text = _COLUMNS.format(
        *(case.layer.name, case.batch, case.direction, row.device),
        *(f"{median * 1e3:.3f}", f"{(high - low) / (2 * median):.0%}", f"{row.gflops:.0f}", f"{row.gbs:.1f}"),
        *(f"{row.ceiling:.0%}{'b' if row.by_bandwidth else ' '}", row.algorithm),
        "  ".join(f"{name} {beside.ratio.median:.2f}" for name, beside in row.beside.items()),
    )
    return "\n    ".join([text.rstrip(), *(f"{name} not timed: {reason}" for name, reason in row.absent.items())])


def ceilings_line(device: str, dtype: str, ceilings: Ceilings) -> str:
    """Return what a device can do as a line."""
    small, large = max(rate for _, rate in ceilings.copies), ceilings.copies[-1][1]
    return (
        f"ceilings of {device}, {dtype}: {ceilings.multiply_adds / 1e9:.0f} GFLOP/s; "
        f"copies {small / 1e9:.0f} GB/s in caches, {large / 1e9:.0f} GB/s in memory"
    )


def algorithms(rows: Sequence[Row]) -> list[str]:
    """Return a line for each algorithm that ran and each set of reasons why others, which go before it, did not.

    Reasons that differ in their numbers only are one, of which the first is shown.
    """
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row.algorithm:
            reasons = (re.sub(r"\d+", "", f"{name} {reason}") for name, reason in row.refusals.items())
            groups[(row.case.operation, row.algorithm, *reasons)].append(row)
    return [
        f"{key[0]}: {key[1]} ran for {len(own)} of {len(rows)}"
        + "".join(f"\n    not {other}: {reason}" for other, reason in own[0].refusals.items())
        for key, own in sorted(groups.items())
    ]


def worst(rows: Sequence[Row], count: int) -> list[Row]:
    """Return the timed rows that stay farthest below their ceilings, the worst first."""
    return sorted((row for row in rows if not row.problem), key=lambda row: row.ceiling)[:count]


def as_json(
    rows: Sequence[Row], ceilings: Mapping[str, Mapping[str, Ceilings]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that was measured as plain data; docs/benchmarks.md describes it."""
    return {
        **about,
        "ceilings": {
            dtype: {
                device: {"multiply_adds": own.multiply_adds, "copies": [list(copy) for copy in own.copies]}
                for device, own in by_device.items()
            }
            for dtype, by_device in ceilings.items()
        },
        "means": [asdict(mean) for mean in means(rows)],
        "rows": [_plain(row) for row in rows],
    }


def _plain(row: Row) -> dict[str, Any]:
    case = row.case
    seconds = row.seconds._asdict()
    return {
        "suite": case.suite,
        "layer": case.layer.name,
        "sizes": case.layer._asdict(),
        "kind": case.layer.kind,
        "batch": case.batch,
        "dtype": case.dtype,
        "pass": case.direction,
        "operations": case.operations,
        "bytes": case.moved,
        "device": row.device,
        "seconds": seconds,
        "gflops": row.gflops,
        "gbs": row.gbs,
        "ceiling": row.ceiling,
        "by_bandwidth": row.by_bandwidth,
        "algorithm": row.algorithm,
        "refusals": row.refusals,
        "error": row.error if math.isfinite(row.error) else None,
        "beside": {
            name: {"seconds": beside.seconds._asdict(), "ratio": beside.ratio._asdict(), "error": beside.error}
            for name, beside in row.beside.items()
        },
        "absent": row.absent,
        "problem": row.problem,
    }
