"""What is in the pictures of semantics.md, one for each difference; `draw_semantics` draws it.

Everything is computed by the oracle's reference, its rules for windows and coordinates, and the formulas of the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from semantics_windows import Scattering, Sliding, Strip, number, numbers

from clconv.oracle import reference
from clconv.oracle.reference.geometry import padding_pairs
from clconv.oracle.reference.resample_arguments import Resizing
from clconv.oracle.reference.resample_coordinates import Cubic, Nearest, Windows

__all__ = ["PICTURES", "Curves", "Grids", "Points", "Strips"]


class Strips(NamedTuple):
    """Rows of positions, one for each rule."""

    rows: Sequence[Strip]
    axis: str
    kinds: dict[str, str]  # what the kinds of cells are called


class Points(NamedTuple):
    """Coordinates among the pixels, one row for each rule; and the pixels that they are rounded to, if they are."""

    pixels: int
    labels: Sequence[str]
    panels: dict[str, list[tuple[list[float], list[int]]]]


class Grids(NamedTuple):
    """Small tables, one for each rule, with the cells that stand out."""

    panels: Sequence[tuple[str, Sequence[Sequence[str]], Sequence[Sequence[bool]]]]
    caption: str


Line = tuple[str, Sequence[float], Sequence[float], bool]


class Curves(NamedTuple):
    """Lines with their names, and the points on them that count."""

    lines: Sequence[Line]
    axes: tuple[str, str]


Content = Strips | Points | Grids | Curves


def signal(values: Iterable[float]) -> Any:
    """Return an array (1, 1, I)."""
    return np.array(list(values), dtype=float).reshape(1, 1, -1)


POOL_KINDS = {"image": "pixel", "padding": "padding", "beyond": "beyond the padding"}
LAYER_KINDS = {"image": "pixel", "padding": "padding"}


def ceil_windows() -> Content:
    """Draw the windows of ceil_mode."""
    windows = Sliding((1, 2, 3, 4, 5), 2, 3, (1, 1))
    maxima = numbers(reference.max_pool1d(signal(windows.x), 2, 3, 1, ceil_mode=True))
    rows = [
        windows.strip("torch, ONNX 22, onnxruntime, tinygrad, OpenVINO 'ceil_torch'", maxima, dropped=1),
        windows.strip("ONNX up to 21 by its text, OpenVINO 'ceil'", [*maxima, "no pixel"]),
    ]
    return Strips(rows, "position i", POOL_KINDS)


def means(x: Sequence[float], S: int, rules: dict[str, Sequence[str]], kinds: dict[str, str]) -> Content:
    """Draw averages of three taps whose divisors count the kinds that each rule says."""
    windows = Sliding(x, 3, S, (1, 1))
    return Strips([windows.strip(rule, windows.means(counted)) for rule, counted in rules.items()], "position i", kinds)


OVERHANG: dict[str, Sequence[str]] = {
    "padding counted: torch, onnxruntime, tinygrad": ("image", "padding"),
    "padding counted: OpenVINO": ("image", "padding", "beyond"),
    "padding not counted: all of them": ("image",),
}
DIVISOR: dict[str, Sequence[str]] = {
    "padding counted: torch and tinygrad by default, scipy.ndimage": ("image", "padding"),
    "padding not counted: ONNX by default, TensorFlow always": ("image",),
}


def same(extent: int, K: int, S: int, rules: dict[str, str]) -> Content:
    """Draw the windows of same-paddings."""
    x, w = signal(range(1, extent + 1)), signal(10.0**k for k in range(K))
    rows = []
    for name, label in rules.items():
        ((low, high),) = padding_pairs(name, (extent,), (K,), (S,), (1,))
        y = reference.conv1d(x, w, stride=S, padding=name)
        rows.append(Sliding(x.ravel().tolist(), K, S, (low, high)).strip(label, numbers(y)))
    return Strips(rows, "position i", LAYER_KINDS)


SAME_EVEN = {
    "same_upper": "odd pixel after: torch, TensorFlow, SAME_UPPER, signal.correlate2d, ndimage.convolve",
    "same_lower": "odd pixel before: SAME_LOWER, signal.correlate, signal.convolve, ndimage.correlate, NumPy",
}
SAME_STRIDE = {
    "same_upper": "TensorFlow SAME, ONNX SAME_UPPER: padding (0, 1)",
    "same_lower": "ONNX SAME_LOWER: padding (1, 0); torch's padding=1 has these windows, too",
}


def coordinates() -> Content:
    """Draw where five pixels are read for two."""
    by_half = {"scale_factor": 0.5}
    modes = ("half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric")
    rules: dict[str, dict[str, Any]] = {
        "torch, by 1/2": by_half,
        "torch to 2, or recomputed": {"size": 2},
        "torch, align_corners": {"size": 2, "align_corners": True},
        **{f"ONNX {mode}, by 1/2": {**by_half, "coordinate_mode": mode, "semantics": "onnx"} for mode in modes},
        "TensorFlow, JAX to 2": {"size": 2, "semantics": "tf"},
        "SciPy zoom by 1/2": {**by_half, "semantics": "scipy"},
        "SciPy zoom by 1/2, grid_mode": {**by_half, "semantics": "scipy", "grid_mode": True},
    }
    rows: list[tuple[list[float], list[int]]] = [
        (places, []) for places, _ in (read(5, {"mode": "linear", **rule}) for rule in rules.values())
    ]
    return Points(5, list(rules), {"5 pixels to 2": rows})


def nearest() -> Content:
    """Draw which of six pixels are copied."""
    roundings = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    rules: dict[str, dict[str, Any]] = {
        "torch 'nearest'": {},
        "torch 'nearest-exact'": {"mode": "nearest-exact"},
        **{f"ONNX {rounding}": {"semantics": "onnx", "nearest_mode": rounding} for rounding in roundings},
        "TensorFlow, JAX": {"semantics": "tf"},
        "SciPy zoom": {"semantics": "scipy"},
    }
    panels = {f"6 pixels to {n}": [read(6, {"size": n, **rule}) for rule in rules.values()] for n in (3, 4)}
    return Points(6, list(rules), panels)


def read(extent: int, rule: dict[str, Any]) -> tuple[list[float], list[int]]:
    """Return the coordinates of an axis, and the pixels that they are rounded to if it copies."""
    (axis,) = Resizing(**rule).axes((extent,))
    assert not isinstance(axis, Windows)
    places = [axis.place(o) for o in range(axis.positions)]
    return [float(p) for p in places], [axis.pixel(p) for p in places] if isinstance(axis, Nearest) else []


def cubic() -> Content:
    """Draw the cubic kernels."""
    s = [Fraction(k, 16) for k in range(-32, 33)]
    rules = {
        "a = -3/4: torch, ONNX by default": Fraction(-3, 4),
        "a = -1/2: TensorFlow, JAX, torch with antialias": Fraction(-1, 2),
    }
    lines: list[Line] = []
    for label, a in rules.items():
        lines.append((label, [float(d) for d in s], [float(Cubic(a)(abs(d))) for d in s], False))
        halves = [Fraction(k, 2) for k in (-3, -1, 1, 3)]
        lines.append(("", [float(d) for d in halves], [float(Cubic(a)(abs(d))) for d in halves], True))
    return Curves(lines, ("distance from the pixel", "weight"))


def ties() -> Content:
    """Draw who gets the gradient of a maximum that several pixels have."""
    x, g = np.array([[[[2.0, 7], [7, 7]]]]), np.array([[[[12.0]]]])
    rules = {"first": "first: torch, TensorFlow, JAX", "share": "share: tinygrad", "all": "all"}
    panels = [("window", x[0, 0], x[0, 0] == x.max())]
    for rule, label in rules.items():
        dx = reference.max_pool2d_backward(g, x, 2, ties=rule).input[0, 0]
        panels.append((label, dx, dx > 0))
    return Grids(
        [(label, [numbers(row) for row in values], mask.tolist()) for label, values, mask in panels],
        "shaded: gets a part of the gradient 12",
    )


def nan() -> Content:
    """Draw what becomes of NaN in a maximum that is kept while the window is read."""
    windows = [(1, math.nan, 3, math.nan), (math.nan, 1, 3, 2)]
    panels = []
    for label, (start, replaces) in NAN_RULES.items():
        chosen = [last_kept(window, start, replaces) for window in windows]
        masks = [[i == place for i in range(4)] for place in chosen]
        panels.append((label, [numbers(window) for window in windows], masks))
    return Grids(panels, "two windows; shaded: what comes out")


def last_kept(window: Sequence[float], start: float | None, replaces: Callable[[float, float], bool]) -> int:
    """Return the place of the value that is left when each one may replace the one kept so far."""
    place, kept = (0, window[0]) if start is None else (-1, start)
    for i, value in enumerate(window):
        if replaces(value, kept):
            place, kept = i, value
    return place


NAN_RULES: dict[str, tuple[float | None, Callable[[float, float], bool]]] = {
    "the oracle: the first NaN": (-math.inf, lambda v, kept: not np.isnan(kept) and (v > kept or bool(np.isnan(v)))),
    "torch: the last NaN": (-math.inf, lambda v, kept: v > kept or bool(np.isnan(v))),
    "onnxruntime, tinygrad:\nonly at the beginning": (None, lambda v, kept: v > kept),
    "OpenVINO: none": (-math.inf, lambda v, kept: v > kept),
}


def indices() -> Content:
    """Draw the index of each pixel of the last plane of an array (2, 2, 2, 3)."""
    n, c, C, H, W = 1, 1, 2, 2, 3
    h, w = np.mgrid[:H, :W]
    rules = {
        "torch, tinygrad:\nin the plane": h * W + w,
        "ONNX:\nin the array": ((n * C + c) * H + h) * W + w,
        "ONNX,\nstorage_order=1": (n * C + c) * H * W + w * H + h,
        "TensorFlow:\n(H, W, C)": (h * W + w) * C + c,
        "TensorFlow, batch:\n(N, H, W, C)": ((n * H + h) * W + w) * C + c,
    }
    chosen = ((h == 1) & (w == 0)).tolist()
    return Grids(
        [(label, [numbers(row) for row in values], chosen) for label, values in rules.items()],
        "the plane n=1, c=1 of an array with N, C, H, W = 2, 2, 2, 3; shaded: the pixel h=1, w=0",
    )


def running() -> Content:
    """Draw the running variance of one batch shown again and again."""
    x, steps = np.array([[0.0], [0], [6], [6]]), 8
    rules: dict[str, dict[str, Any]] = {
        "torch, momentum=1/4": {"momentum": 0.25},
        "ONNX, momentum=3/4": {"momentum": 0.75, "semantics": "onnx"},
        "ONNX, momentum=1/4": {"momentum": 0.25, "semantics": "onnx"},
    }
    lines: list[Line] = []
    for label, arguments in rules.items():
        mean, var, seen = np.zeros(1), np.ones(1), [1.0]
        for _ in range(steps):
            _, mean, var = reference.batch_norm(x, mean, var, training=True, **arguments)
            seen.append(float(var[0]))
        lines.append((label, range(steps + 1), seen, False))
    for ddof, label in ((0, "variance over n"), (1, "variance over n - 1")):
        lines.append((label, (0, steps), [float(x.var(ddof=ddof))] * 2, False))
    return Curves(lines, ("training steps on 0 0 6 6", "running variance"))


def response_windows() -> Content:
    """Draw the even windows of a local response norm."""
    x, rows = np.array([1.0, 2, 3]), []
    rules = {"torch: one channel before": ("torch", (1, 0)), "ONNX: one channel after": ("onnx", (0, 1))}
    for label, (semantics, pair) in rules.items():
        y = reference.local_response_norm(x.reshape(1, 3, 1), 2, alpha=2.0, beta=-1.0, k=0.0, semantics=semantics)
        texts = [f"{number(c)} × {number(v / c)} = {number(v)}" for c, v in zip(x, y.ravel(), strict=True)]
        rows.append(Sliding(x.tolist(), 2, 1, pair).strip(label, texts))
    return Strips(rows, "channel c", {"image": "channel", "padding": "none"})


def zero_channels() -> Content:
    """Draw the output of a layer without input channels."""
    y = reference.conv1d(np.zeros((1, 0, 4)), np.zeros((3, 0, 2)), np.array([1.0, 2, 3]))[0]
    bias = [numbers(row) for row in y]
    panels = [("the oracle, tinygrad, onnx", bias, (y > 0).tolist()), ("torch", [], [])]
    return Grids(panels, "rows: output channels, of which the bias has three; columns: positions")


def zero_times_infinity() -> Content:
    """Draw the products of an infinite tap over padding."""
    windows, w = Sliding((1, 2, 3), 3, 1, (1, 1)), (math.inf, 1.0, 1.0)
    rows = []
    for label, stored in {
        "padding gives no product: the oracle, tinygrad, OpenVINO in some layers": False,
        "padding is a stored zero: torch, onnxruntime, JAX": True,
    }.items():
        texts = []
        for o in range(3):
            kept = [(tap, i) for tap, i in zip(w, windows.taps(o), strict=True) if stored or windows.kind(i) == "image"]
            with np.errstate(invalid="ignore"):
                products = [np.float64(tap) * (windows.x[i] if windows.kind(i) == "image" else 0.0) for tap, i in kept]
            texts.append(" + ".join(numbers(products)) + " = " + number(float(np.sum(products))))
        rows.append(windows.strip(label, texts))
    return Strips(rows, "position i; the taps are inf 1 1", LAYER_KINDS)


TRANSPOSED_KINDS = {"image": "output", "padding": "cut off", "beyond": "added"}


def output_padding() -> Content:
    """Draw what output_padding adds."""
    layer = Scattering((1, 2), (1, 10, 100), 2)
    rows = []
    for added, label in enumerate(("output_padding=0", "output_padding=1", "output_padding=2: OpenVINO, tinygrad")):
        rows.append(layer.strip(label, 0, (len(layer.x) - 1) * layer.S + len(layer.w) + added, added))
    return Strips(rows, "output position", TRANSPOSED_KINDS)


def same_transposed() -> Content:
    """Draw what a same-padding cuts off."""
    rows = []
    for S, rules in (
        (2, {"same_upper": "TensorFlow, JAX, ONNX SAME_UPPER", "same_lower": "ONNX SAME_LOWER, OpenVINO same_upper"}),
        (4, {"same_upper": "the oracle, TensorFlow, JAX, OpenVINO"}),
    ):
        layer = Scattering((1, 2), (1, 10, 100), S)
        for name, label in rules.items():
            ((low, _),) = padding_pairs(name, (2 * S,), (3,), (S,), (1,))
            rows.append(layer.strip(f"stride {S}: {label}", low, 2 * S))
    layer = Scattering((1, 2), (1, 10, 100), 4)
    rows.append(layer.strip("stride 4: onnxruntime, one short of input*stride", 0, 7))
    return Strips(rows, "output position", {k: TRANSPOSED_KINDS[k] for k in ("image", "padding")})


PICTURES: dict[str, Callable[[], Content]] = {
    "ceil_windows": ceil_windows,
    "overhang": partial(means, (4, 8, 12, 16, 20, 24), 3, OVERHANG, POOL_KINDS),
    "divisor": partial(means, (6, 12, 18, 24), 1, DIVISOR, LAYER_KINDS),
    "same_even": partial(same, 5, 4, 1, SAME_EVEN),
    "same_stride": partial(same, 6, 3, 2, SAME_STRIDE),
    "resize_coordinates": coordinates,
    "resize_nearest": nearest,
    "resize_cubic": cubic,
    "ties": ties,
    "nan": nan,
    "indices": indices,
    "running_variance": running,
    "response_windows": response_windows,
    "zero_channels": zero_channels,
    "zero_times_infinity": zero_times_infinity,
    "output_padding": output_padding,
    "same_transposed": same_transposed,
}
