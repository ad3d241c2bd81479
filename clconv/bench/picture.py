"""The picture of a run: each device's roofline with every case below it, and bars of the ratios to each peer.

A run of ``--scale`` is drawn as the time and the rate along each axis that was varied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from clconv.bench.ceilings import Ceilings
from clconv.bench.layers import PASSES
from clconv.bench.rows import Row
from clconv.bench.scale import AXES, size_along

__all__ = ["draw"]

_COLOURS = dict(zip(PASSES, ("tab:blue", "tab:orange", "tab:green"), strict=True))
_WIDTH, _HEIGHT, _BAR = 12.0, 5.5, 0.12


def draw(rows: Sequence[Row], ceilings: Mapping[str, Mapping[str, Ceilings]], path: Path) -> None:
    """Write the picture, as PNG.

    Parameters
    ----------
    rows : sequence of Row
        What was measured; rows without times are left out.
    ceilings : mapping of dtype to mapping of device to Ceilings
    path : Path
        Where to.
    """
    panels = list(_panels([row for row in rows if not row.problem], ceilings)) or [(_HEIGHT, lambda axis: None)]
    heights = [height for height, _ in panels]
    figure = Figure(figsize=(_WIDTH, sum(heights)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (_, panel) in zip(axes, panels, strict=True):
        panel(axis)
    figure.savefig(path, format="png")


def _panels(
    rows: Sequence[Row], ceilings: Mapping[str, Mapping[str, Ceilings]]
) -> Iterator[tuple[float, Callable[[Any], None]]]:
    """Yield the height of each part of the picture, in inches, and what draws it."""
    if any(row.case.suite in AXES for row in rows):
        yield from ((_HEIGHT, _scale_panel(axis, rows)) for axis in AXES)
        return
    for device, dtype in dict.fromkeys((row.device, row.case.dtype) for row in rows):
        own = [row for row in rows if (row.device, row.case.dtype) == (device, dtype)]
        yield _HEIGHT, _roofline_panel(f"{device}, {dtype}", own, ceilings[dtype][device])
        for suite, peer in dict.fromkeys((row.case.suite, name) for row in own for name in row.beside):
            beside = [row for row in own if row.case.suite == suite and peer in row.beside]
            height = 1.2 + _BAR * (len(beside) + len({_label(row) for row in beside}))
            yield height, _ratio_panel(f"{suite} on {device}, {dtype}", peer, beside)


def _roofline_panel(title: str, rows: Sequence[Row], ceilings: Ceilings) -> Callable[[Any], None]:
    """Return what draws the rates over the arithmetic intensity, below what the device can do."""

    def panel(axis: Any) -> None:
        intensities = [row.case.operations / row.case.moved for row in rows]
        line = np.geomspace(min(intensities) / 2, max(intensities) * 2, 200)
        peak, slow = ceilings.multiply_adds, ceilings.copies[-1][1]
        fast = max(rate for _, rate in ceilings.copies)
        axis.plot(line, np.minimum(peak, line * slow) / 1e9, "k-", label=f"ceiling, memory at {slow / 1e9:.0f} GB/s")
        axis.plot(line, np.minimum(peak, line * fast) / 1e9, "k:", label=f"ceiling, caches at {fast / 1e9:.0f} GB/s")
        for direction, own in _by_pass(rows):
            places = [row.case.operations / row.case.moved for row in own]
            axis.plot(places, [row.gflops for row in own], "o", color=_COLOURS[direction], label=direction, alpha=0.7)
        axis.set(xscale="log", yscale="log", title=title, ylabel="GFLOP/s")
        axis.set_xlabel("operations for each byte of input, weight and output")
        axis.grid(True, which="both", alpha=0.2)
        axis.legend()

    return panel


def _ratio_panel(title: str, peer: str, rows: Sequence[Row]) -> Callable[[Any], None]:
    """Return what draws a bar for each case, those of a layer together."""

    def panel(axis: Any) -> None:
        places, labels, place = {}, {}, 0.0
        for label in dict.fromkeys(map(_label, rows)):
            own = [index for index, row in enumerate(rows) if _label(row) == label]
            labels[place + (len(own) - 1) / 2] = label
            for index in own:
                places[index] = place
                place += 1
            place += 1
        for direction, own_rows in _by_pass(rows):
            own = [index for index, row in enumerate(rows) if row.case.direction == direction]
            ratios = [row.beside[peer].ratio for row in own_rows]
            medians = [ratio.median for ratio in ratios]
            spreads = [[r.median - r.low for r in ratios], [r.high - r.median for r in ratios]]
            axis.barh(
                [places[index] for index in own],
                [median - 1 for median in medians],
                left=1,
                xerr=spreads,
                color=_COLOURS[direction],
                label=direction,
            )
        axis.axvline(1, color="black")
        axis.set(xscale="log", title=f"{title}: how many times faster than {peer}", ylim=(place - 0.5, -1))
        axis.set_yticks(list(labels), list(labels.values()), fontsize=7)
        axis.grid(True, axis="x", which="both", alpha=0.2)
        axis.legend()

    return panel


def _scale_panel(along: str, rows: Sequence[Row]) -> Callable[[Any], None]:
    """Return what draws the rate over the size that was varied, and the time below it."""

    def panel(axis: Any) -> None:
        own = [row for row in rows if row.case.suite == along]
        times = axis.twinx()
        for device, dtype in dict.fromkeys((row.device, row.case.dtype) for row in own):
            for direction, line in _by_pass([r for r in own if (r.device, r.case.dtype) == (device, dtype)]):
                sizes = [size_along(row.case) for row in line]
                name = f"{device}, {dtype}, {direction}"
                colour = axis.plot(sizes, [row.gflops for row in line], "o-", label=name)[0].get_color()
                times.plot(sizes, [row.seconds.median * 1e3 for row in line], ":", color=colour)
        axis.set(xscale="log", xlabel=along, ylabel="GFLOP/s (lines)", title=f"cost along {along}")
        times.set(yscale="log", ylabel="ms (dots)")
        axis.set_xticks(AXES[along], [str(size) for size in AXES[along]], fontsize=7, rotation=90)
        axis.minorticks_off()
        axis.grid(True, alpha=0.2)
        if own:
            axis.legend(fontsize=7, loc="lower right")

    return panel


def _by_pass(rows: Sequence[Row]) -> Iterable[tuple[str, list[Row]]]:
    """Yield each pass with its rows."""
    for direction in PASSES:
        own = [row for row in rows if row.case.direction == direction]
        if own:
            yield direction, own


def _label(row: Row) -> str:
    case = row.case
    return f"{case.layer.name}{f', batch {case.batch}' if case.batch != 1 else ''}"
