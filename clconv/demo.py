"""Two photographs, the classic kernels, every usable device: how long it takes, and how exact it is.

Each result is compared with the reference in float64. Its error may be at most what rounding in float32, in any order
of summation, can add up to: see :mod:`clconv.oracle.bounds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image

from clconv.devices import DeviceInfo, devices
from clconv.functional import conv2d
from clconv.oracle import reference
from clconv.oracle.bounds import bound, worst_ratio

__all__ = ["run"]

Image = NDArray[Any]

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
CALLS = 5
LINE = "{:<11} {:<14} {:<13} {:>9} {:>9} {:>9} {:>6}"


class Kernel(NamedTuple):
    """A kernel, or several that one call applies to every channel, and how its result is shown.

    Attributes
    ----------
    title : str
        What the table and the picture call it.
    taps : array
        One matrix per output of a channel, of shape (outputs, KH, KW).
    show : callable
        Turns the result, of shape (IH, IW, channels, outputs), into a picture of shape (IH, IW, channels).
    """

    title: str
    taps: Image
    show: Callable[[Image], Image]


class Case(NamedTuple):
    """What a photograph under a kernel should come out as: the reference, and how far a result may be off."""

    expected: Image
    limit: Image


def run(output: Path) -> int:
    """Filter the photographs on every usable device, print a table, and write a picture.

    Parameters
    ----------
    output : Path
        Where the picture is written, as PNG.

    Returns
    -------
    int
        0 if every result is within its bound; 1 if one is not, a device fails, or no device is usable.
    """
    usable = _usable_devices()
    _print_heading()
    kernels = _kernels()
    rows, within = [], bool(usable)
    for name in PHOTOGRAPHS:
        photograph = _photograph(name)
        pictures = [("Original", _channels_last(photograph, 1)[..., 0])]
        for kernel in kernels:
            case = _case(photograph, kernel)
            results = [_try(name, photograph, kernel, case, device) for device in usable]
            right = [result for result in results if result is not None]
            within &= len(right) == len(results)
            shown = right[0] if right else case.expected
            pictures.append((kernel.title, kernel.show(_channels_last(shown, len(kernel.taps)))))
        rows.append(pictures)
    _draw(rows, output)
    print("\nEvery result is within its bound." if within else "\nNOT every result is within its bound.")
    print(f"Picture: {output}")
    return 0 if within else 1


def _usable_devices() -> list[DeviceInfo]:
    """Return the usable devices, and print each with its description, or the reason why it is not usable."""
    listed = devices()
    print("Devices")
    for device in listed:
        print(f"  {device.name:<13} {device.description if device.problem is None else 'unusable: ' + device.problem}")
    usable = [device for device in listed if device.problem is None]
    if not usable:
        print("  No device is usable.")
    return usable


def _print_heading() -> None:
    print(
        "\nEach photograph has 640 x 427 pixels in RGB, float32 in [0, 1].\n"
        f"time   the best of {CALLS} calls after one to warm up, from NumPy to NumPy\n"
        "error  the largest difference from the reference in float64\n"
        "bound  the largest error that rounding can make\n"
        "ratio  the largest error / bound of a single value: at most 1\n"
    )
    print(LINE.format("photograph", "kernel", "device", "time", "error", "bound", "ratio"))


def _kernels() -> list[Kernel]:
    """Return the kernels; those of Sobel go together, as only both of them make a picture."""
    top = np.array([[-1, -1, -1], [0, 0, 0], [1, 1, 1]])
    edges = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    bell = np.exp(-((np.arange(7) - 3.0) ** 2) / (2 * 2.0**2))
    return [
        Kernel("Top edge", top[None], _show_signed),
        Kernel("Edge detector", edges[None], _show_size),
        Kernel("Sobel x and y", np.stack([sobel, sobel.T]), _show_size),
        Kernel("Gaussian 7x7", np.outer(bell, bell)[None] / bell.sum() ** 2, lambda result: result[..., 0]),
    ]


def _photograph(name: str) -> Image:
    """Return a photograph that scikit-learn ships, of shape (channels, IH, IW)."""
    pixels = load_sample_image(name)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype="float32") / np.float32(255)


def _arguments(photograph: Image, kernel: Kernel) -> tuple[tuple[Image, Image], dict[str, Any]]:
    """Return what conv2d is called with: each channel is a group, and the edge is continued so that the size stays."""
    channels = len(photograph)
    weight = np.tile(kernel.taps[:, None].astype("float32"), (channels, 1, 1, 1))
    return (photograph, weight), {"padding": "same", "groups": channels, "padding_mode": "replicate"}


def _case(photograph: Image, kernel: Kernel) -> Case:
    arrays, keywords = _arguments(photograph, kernel)
    return Case(reference.conv2d(*arrays, **keywords), bound("conv2d", *arrays, dtype="float32", **keywords))


def _try(name: str, photograph: Image, kernel: Kernel, case: Case, device: DeviceInfo) -> Image | None:
    """Print the line of one device, and return its result, or None if that is not within the bound."""
    arrays, keywords = _arguments(photograph, kernel)
    try:
        result: Image = conv2d(*arrays, **keywords, device=device.name)
        seconds = min(_seconds(lambda: conv2d(*arrays, **keywords, device=device.name)) for _ in range(CALLS))
    except Exception as error:  # drivers fail in many ways, and the other devices are still of interest
        print(f"{name:<11} {kernel.title:<14} {device.name:<13} failed: {error}")
        return None
    ratio = worst_ratio(result, case.expected, case.limit)
    largest = np.abs(result - case.expected).max()
    columns = (f"{seconds * 1e3:.1f} ms", f"{largest:.1e}", f"{case.limit.max():.1e}", f"{ratio:.2f}")
    print(LINE.format(name, kernel.title, device.name, *columns), flush=True)
    return result if ratio <= 1 else None


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _channels_last(result: Image, outputs: int) -> Image:
    """Return an array of shape (channels * outputs, IH, IW) as (IH, IW, channels, outputs)."""
    return np.moveaxis(result.reshape(-1, outputs, *result.shape[1:]), (0, 1), (2, 3))


def _show_signed(result: Image) -> Image:
    """Show zero as middle grey, as in a relief."""
    return 0.5 + result[..., 0] / (2 * _bright(result))


def _show_size(result: Image) -> Image:
    """Show the length of the vector of a channel's outputs, zero as black."""
    size: Image = np.linalg.norm(result, axis=-1)
    return size / _bright(size)


def _bright(result: Image) -> float:
    """Return a size that one value in a hundred exceeds, so that a few do not darken all others."""
    return float(np.percentile(np.abs(result), 99)) or 1.0


def _draw(rows: list[list[tuple[str, Image]]], output: Path) -> None:
    """Write the pictures, one row for each photograph."""
    figure = Figure(figsize=(4 * len(rows[0]), 2.75 * len(rows) + 0.3), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for row, pictures in enumerate(rows):
        for axis, (title, picture) in zip(axes[row], pictures, strict=True):
            axis.imshow(np.clip(picture, 0, 1))
            axis.set_axis_off()
            if row == 0:
                axis.set_title(title, fontsize=15)
    figure.savefig(output, format="png")
