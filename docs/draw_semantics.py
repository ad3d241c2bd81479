"""Draw the pictures of semantics.md: ``python docs/draw_semantics.py`` writes docs/pictures/*.svg.

`semantics_pictures` says what is in them. The same version of Matplotlib draws the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from semantics_pictures import PICTURES, Curves, Grids, Points, Strips
from semantics_windows import Bar, Strip

FOLDER = Path(__file__).parent / "pictures"
STYLE = {"svg.hashsalt": "clconv", "svg.fonttype": "none", "font.size": 9.0, "font.family": "DejaVu Sans"}
INCH = 0.42  # one unit of height
WIDTH = 7.2  # of a picture, in inches
COLOURS = {"image": "#cfe2f3", "padding": "#e4e4e4", "beyond": "#ffffff"}
HATCHES = {"image": "", "padding": "////", "beyond": ""}
KEPT, DROPPED = "#1d6f5c", "#b03a2e"
LINES = ("#1d4f91", "#b03a2e", "#1d6f5c", "#777777", "#aaaaaa")


def levels(bars: list[Bar]) -> list[int]:
    """Return the level of each bar: the first one on which no earlier bar is in its way."""
    ends: list[int] = []
    found = []
    for bar in bars:
        level = next((i for i, end in enumerate(ends) if end < bar.first), len(ends))
        ends[level : level + 1] = [bar.last]
        found.append(level)
    return found


def cell(axes: Any, left: float, top: float, kind: str, text: str) -> None:
    """Draw one position."""
    axes.add_patch(
        Rectangle((left, top), 1, 0.8, facecolor=COLOURS[kind], edgecolor="#555555", hatch=HATCHES[kind], linewidth=0.7)
    )
    behind = {"facecolor": COLOURS[kind], "edgecolor": "none", "pad": 1}
    axes.text(left + 0.5, top + 0.42, text, ha="center", va="center", bbox=behind if text else None)


def draw_bar(axes: Any, bar: Bar, top: float) -> None:
    """Draw a window below the positions."""
    colour = DROPPED if bar.is_dropped else KEPT
    style = {"facecolor": "white", "edgecolor": colour, "linewidth": 1.4, "linestyle": "--" if bar.is_dropped else "-"}
    axes.add_patch(Rectangle((bar.first - 0.46, top), bar.last - bar.first + 0.92, 0.56, **style))
    axes.text((bar.first + bar.last) / 2, top + 0.3, bar.text, ha="center", va="center", color=colour, fontsize=8)


def draw_row(axes: Any, row: Strip, top: float, left: float) -> float:
    """Draw a row below `top`, its label from `left` on, and return where it ends."""
    axes.text(left, top + 0.35, row.label, ha="left", va="center", weight="bold")
    top += 0.7
    for i, (kind, text) in row.cells.items():
        cell(axes, i - 0.5, top, kind, text)
    heights = levels(list(row.bars))
    for bar, level in zip(row.bars, heights, strict=True):
        draw_bar(axes, bar, top + 0.92 + 0.66 * level)
    return top + 0.92 + 0.66 * (max(heights) + 1) + 0.35


def draw_strips(content: Strips) -> Figure:
    """Draw rows of positions with windows below them."""
    first = min(i for row in content.rows for i in row.cells)
    last = max(i for row in content.rows for i in row.cells)
    height = sum(1.97 + 0.66 * (max(levels(list(row.bars))) + 1) for row in content.rows)
    figure = Figure(figsize=(WIDTH, height * INCH + 0.75), facecolor="white")
    left, bottom = 0.02, 0.62 / figure.get_figheight()
    axes = figure.add_axes((left, bottom, 0.96, height * INCH / figure.get_figheight()))
    axes.set_xlim(first - 0.6, max(last + 0.6, first - 0.6 + 0.96 * WIDTH / 0.7))
    axes.set_ylim(height, 0)
    top = 0.0
    for row in content.rows:
        top = draw_row(axes, row, top, first - 0.5)
    axes.set_xticks(range(first, last + 1))
    axes.set_yticks([])
    axes.set_xlabel(content.axis, loc="left")
    axes.spines[["left", "right", "top", "bottom"]].set_visible(False)
    patches = [
        Patch(facecolor=COLOURS[kind], edgecolor="#555555", hatch=HATCHES[kind], label=name)
        for kind, name in content.kinds.items()
    ]
    figure.legend(handles=patches, loc="lower right", ncols=len(patches), frameon=False)
    return figure


def draw_points(content: Points) -> Figure:
    """Draw coordinates among pixels, in panels beside each other."""
    rows = len(content.labels)
    figure = Figure(figsize=(WIDTH, 0.3 * rows + 1.0), facecolor="white")
    bottom, height = 0.5 / figure.get_figheight(), 0.3 * rows / figure.get_figheight()
    share = 0.65 / len(content.panels)
    for place, (title, points) in enumerate(content.panels.items()):
        axes = figure.add_axes((0.34 + share * place, bottom, share - 0.02, height))
        for j in range(content.pixels):
            axes.axvspan(j - 0.46, j + 0.46, color=COLOURS["image"], zorder=0)
        for y, (coordinates, pixels) in enumerate(points):
            axes.plot(coordinates, [y] * len(coordinates), "o", color=LINES[0], markersize=4)
            for p, pixel in zip(coordinates, pixels, strict=False):
                axes.plot([p, pixel], [y, y], "-", color=LINES[1], linewidth=1.2, zorder=1)
                axes.plot(pixel, y, "s", color=LINES[1], markersize=8, fillstyle="none")
        axes.set_yticks(range(rows), content.labels if place == 0 else [""] * rows)
        axes.set_xticks(range(content.pixels))
        axes.set_xlim(-0.6, content.pixels - 0.4)
        axes.set_ylim(rows - 0.4, -0.6)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("pixel of the input")
    copied = any(pixels for points in content.panels.values() for _, pixels in points)
    figure.text(0.01, 0.1 / figure.get_figheight(), "dots: coordinates" + ("\nsquares: copied" if copied else ""))
    return figure


def draw_grids(content: Grids) -> Figure:
    """Draw small tables beside each other."""
    columns = max(len(row) for _, values, _ in content.panels for row in values)
    rows = max(len(values) for _, values, _ in content.panels)
    figure = Figure(figsize=(WIDTH, rows * INCH + 0.95), facecolor="white")
    share = 0.96 / len(content.panels)
    height = rows * INCH / figure.get_figheight()
    for place, (label, values, mask) in enumerate(content.panels):
        axes = figure.add_axes((0.02 + share * place, 0.35 / figure.get_figheight(), share * 0.92, height))
        for y, row in enumerate(values):
            for x, text in enumerate(row):
                colour = "#f5c98a" if mask[y][x] else "white"
                axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="#555555", linewidth=0.7))
                axes.text(x + 0.5, y + 0.52, text, ha="center", va="center")
        if not values:
            axes.text(columns / 2, rows / 2, "no channel", ha="center", va="center", style="italic")
        axes.set_xlim(-0.05, columns + 0.05)
        axes.set_ylim(rows + 0.05, -0.05)
        axes.set_title(label, fontsize=8.5)
        axes.set_axis_off()
    figure.text(0.02, 0.1 / figure.get_figheight(), content.caption)
    return figure


def draw_curves(content: Curves) -> Figure:
    """Draw lines over an axis."""
    figure = Figure(figsize=(WIDTH, 3.1), facecolor="white")
    axes = figure.add_axes((0.09, 0.16, 0.88, 0.68))
    named = 0
    for label, x, y, is_dotted in content.lines:
        colour = LINES[named - 1 if is_dotted else named]
        axes.plot(x, y, "o" if is_dotted else "-", color=colour, label=label or None, markersize=4)
        named += not is_dotted
    axes.set_xlabel(content.axes[0])
    axes.set_ylabel(content.axes[1])
    axes.grid(color="#dddddd", linewidth=0.6)
    figure.legend(frameon=False, loc="upper center", ncols=3)
    return figure


DRAW = {Strips: draw_strips, Points: draw_points, Grids: draw_grids, Curves: draw_curves}


def write(folder: Path) -> None:
    """Draw every picture into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        for name, content in PICTURES.items():
            made = content()
            draw: Any = DRAW[type(made)]
            draw(made).savefig(folder / f"{name}.svg", metadata={"Date": None, "Title": name.replace("_", " ")})


if __name__ == "__main__":
    write(FOLDER)
