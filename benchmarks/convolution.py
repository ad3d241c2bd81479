"""Convolutions in all passes beside PyTorch's, in one process.

    python -m benchmarks.convolution [--device native --device opencl:portable] [--only 3x3] [--batch 16] [--json FILE]

Whoever is measured takes turns of several calls, after a pause that lets the others' threads fall asleep; the first
calls of a turn do not count. Weights are packed inside each call, and results are new arrays for both.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional, grad

import clconv
from benchmarks.network import PAUSE

#: Calls of a turn that only bring threads and caches up to what is measured.
WARM = 3


class Layer(NamedTuple):
    """Input channels, extent of a square plane, output channels, window, stride, padding, groups and dilation."""

    C: int
    extent: int
    K: int
    window: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dilation: int = 1

    @property
    def name(self) -> str:
        """The window, then channels, extent, channels, and what is not 1."""
        others = [("stride", self.stride), ("groups", self.groups), ("dilation", self.dilation)]
        words = [f"{word} {value}" for word, value in others if value != 1]
        return " ".join([f"{self.window}x{self.window}: {self.C} {self.extent} {self.K}", *words])


LAYERS = [
    Layer(64, 56, 64, 3, padding=1),
    Layer(128, 28, 128, 3, padding=1),
    Layer(256, 14, 256, 3, padding=1),
    Layer(512, 7, 512, 3, padding=1),
    Layer(128, 112, 128, 3, padding=1),
    Layer(64, 56, 256, 1),
    Layer(1024, 14, 256, 1),
    Layer(128, 56, 128, 3, stride=2, padding=1),
    Layer(3, 224, 64, 7, stride=2, padding=3),
    Layer(256, 33, 256, 3, padding=2, dilation=2),
    Layer(96, 112, 96, 3, padding=1, groups=96),
    Layer(144, 56, 144, 3, stride=2, padding=1, groups=144),
    Layer(256, 56, 256, 3, padding=1, groups=32),
]


def calls(
    layer: Layer, batch: int, devices: list[str]
) -> Iterator[tuple[str, int, dict[str, Callable[[], Any]], Callable[[], Any]]]:
    """Yield each pass: its name, its floating-point operations, our call on each device, and torch's."""
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, layer.C, layer.extent, layer.extent), np.float32)
    w = random.standard_normal((layer.K, layer.C // layer.groups, layer.window, layer.window), np.float32)
    arguments = {
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
    }
    y = clconv.conv2d(x, w, **arguments, device=devices[0])
    dy = random.standard_normal(y.shape, np.float32)
    operations = 2 * y.size * math.prod(w.shape[1:])
    tx, tw, tdy = map(torch.from_numpy, (x, w, dy))
    forward = {d: functools.partial(clconv.conv2d, x, w, **arguments, device=d) for d in devices}
    yield "forward", operations, forward, functools.partial(functional.conv2d, tx, tw, **arguments)
    for name, mask, theirs in (
        ("data", (True, False, False), functools.partial(grad.conv2d_input, x.shape, tw, tdy, **arguments)),
        ("weights", (False, True, False), functools.partial(grad.conv2d_weight, tx, w.shape, tdy, **arguments)),
    ):
        backward = functools.partial(clconv.conv2d_backward, dy, x, w, **arguments, output_mask=mask)
        yield name, operations, {d: functools.partial(backward, device=d) for d in devices}, theirs


def measure(
    ours: dict[str, Callable[[], Any]], theirs: Callable[[], Any], turns: int
) -> tuple[dict[str, float], float]:
    """Return the median seconds of our call on each device, and of torch's, in turns of several calls."""
    everyone = {**ours, "torch": theirs}
    times: dict[str, list[float]] = {name: [] for name in everyone}
    for _ in range(turns):
        for name, call in everyone.items():
            time.sleep(PAUSE)
            for number in range(2 * WARM):
                begin = time.perf_counter()
                call()
                if number >= WARM:
                    times[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return medians, medians.pop("torch")


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", action="append", help="device to measure, native if none is named")
    parser.add_argument("--only", default="", help="part of the names of the layers to measure")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(clconv.get_num_threads())
    print(f"batch {arguments.batch}, float32, {clconv.get_num_threads()} threads; torch {torch.__version__}\n")
    print(f"{'layer':40} {'pass':8} {'device':16} {'GFLOP/s':>8} {'torch':>8} {'ratio':>6}")
    rows = []
    for layer in LAYERS:
        if arguments.only not in layer.name:
            continue
        for name, operations, ours, theirs in calls(layer, arguments.batch, arguments.device or ["native"]):
            medians, torch_seconds = measure(ours, theirs, arguments.turns)
            for device, seconds in medians.items():
                rates = operations / seconds / 1e9, operations / torch_seconds / 1e9
                print(
                    f"{layer.name:40} {name:8} {device:16} {rates[0]:8.0f} {rates[1]:8.0f} {rates[0] / rates[1]:6.2f}",
                    flush=True,
                )
                rows.append({"layer": layer.name, "pass": name, "device": device, "ours": rates[0], "torch": rates[1]})
    if arguments.json:
        about = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
        about |= {"clconv": clconv.__version__, "numpy": np.__version__, "batch": arguments.batch}
        arguments.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
