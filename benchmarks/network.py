"""Pooling, normalisation, resampling and activations beside PyTorch's, in one process.

    python -m benchmarks.network [--device native --device opencl:portable] [--family pool] [--json results.json]

These operations do little arithmetic: what they can reach is the rate at which memory is copied. The rate of a case is
what it must move at least, every input read once and every result written once, over the median time; the ceiling is a
copy between arrays of the same size by as many threads. Calls alternate with torch's, after a pause that lets its
threads fall asleep, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

import clconv
from benchmarks.network_cases import CASES, Array, Case

#: torch's threads spin for some milliseconds after their work, and would take a core from whoever runs next.
PAUSE = 0.01


class Measured(NamedTuple):
    """Medians of one case on one device: seconds of ours and of torch's, and our bytes a second."""

    family: str
    name: str
    device: str
    seconds: float
    torch_seconds: float
    rate: float


def seconds_of(call: Callable[[], Any]) -> float:
    """Return how long a call takes, after a pause."""
    time.sleep(PAUSE)
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def copy_rate(size: int, repeats: int) -> float:
    """Return the bytes a second, read and written, of copies between arrays of ``size`` bytes by all threads."""
    threads = clconv.get_num_threads()
    source, target = (np.ones(size // 4, np.float32) for _ in range(2))
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))

        copy()
        return 2 * size / statistics.median(seconds_of(copy) for _ in range(repeats))


def torch_backward(case: Case, arrays: dict[str, Array], gradient: Array) -> Callable[[], Any]:
    """Return torch's backward pass alone, through a graph that is built beforehand."""
    leaves = {name: torch.from_numpy(array).requires_grad_() for name, array in arrays.items()}
    result = getattr(functional, case.operation)(**leaves, **case.arguments)
    incoming = torch.from_numpy(gradient)
    return lambda: torch.autograd.grad(result, list(leaves.values()), incoming, retain_graph=True)


def passes(
    case: Case, devices: list[str]
) -> Iterator[tuple[str, int, dict[str, Callable[[], Any]], Callable[[], Any]]]:
    """Yield forward and backward: a name, the bytes to move, our call on each device, and torch's."""
    arrays = case.arrays(np.random.default_rng(0))
    size = sum(array.nbytes for array in arrays.values())

    def calls(operation: str, given: dict[str, Array]) -> dict[str, Callable[[], Any]]:
        function = getattr(clconv, operation)
        return {device: functools.partial(function, **given, **case.arguments, device=device) for device in devices}

    ours = calls(case.operation, arrays)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    theirs = functools.partial(getattr(functional, case.operation), **tensors, **case.arguments)
    result = ours[devices[0]]()
    yield case.name, size + result.nbytes, ours, theirs
    given = {"grad_output": np.ones_like(result), **arrays}
    ours = calls(f"{case.operation}_backward", given)
    yield f"{case.name}, backward", 2 * size + result.nbytes, ours, torch_backward(case, arrays, given["grad_output"])


def measure(
    ours: dict[str, Callable[[], Any]], theirs: Callable[[], Any], repeats: int
) -> tuple[dict[str, float], float]:
    """Return the median seconds of our call on each device, and of torch's, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in [*ours, "torch"]}
    everyone = {**ours, "torch": theirs}
    for call in everyone.values():
        call()
    for _ in range(repeats):
        for name, call in everyone.items():
            times[name].append(seconds_of(call))
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return medians, medians.pop("torch")


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", action="append", help="device to measure, native if none is named")
    parser.add_argument("--family", action="append", choices=sorted({case.family for case in CASES}))
    parser.add_argument("--only", help="part of the names of the cases to measure")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(clconv.get_num_threads())
    ceiling = copy_rate(8 * 64 * 112 * 112 * 4, 4 * arguments.repeats)
    print(f"copy: {ceiling / 1e9:.1f} GB/s by {clconv.get_num_threads()} threads; torch {torch.__version__}\n")
    print(f"{'case':44} {'device':16} {'ms':>8} {'GB/s':>6} {'of copy':>8} {'torch ms':>9} {'ratio':>6}")
    rows = []
    for case in CASES:
        if (arguments.family and case.family not in arguments.family) or (arguments.only or "") not in case.name:
            continue
        for name, moved, ours, theirs in passes(case, arguments.device or ["native"]):
            medians, torch_seconds = measure(ours, theirs, arguments.repeats)
            for device, seconds in medians.items():
                row = Measured(case.family, name, device, seconds, torch_seconds, moved / seconds)
                print(
                    f"{name:44} {device:16} {seconds * 1e3:8.2f} {row.rate / 1e9:6.1f} {row.rate / ceiling:8.0%} "
                    f"{torch_seconds * 1e3:9.2f} {torch_seconds / seconds:6.2f}",
                    flush=True,
                )
                rows.append(row._asdict())
    if arguments.json:
        about = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
        about |= {"clconv": clconv.__version__, "numpy": np.__version__, "copy": ceiling}
        arguments.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
