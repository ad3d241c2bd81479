"""``clconv bench``: its arguments, and what it does with them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import clconv
from clconv.arrays import DTYPES
from clconv.bench import report
from clconv.bench.ceilings import Ceilings, measured_ceilings
from clconv.bench.layers import PASSES, Case
from clconv.bench.peers import PEERS, Peer, is_installed
from clconv.bench.rows import Row, measured
from clconv.bench.scale import scale_cases
from clconv.bench.scan import scan_cases
from clconv.bench.suites import MIXED, SUITES, cases_of

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_arguments", "run"]

#: Rows that a scan prints once more in the end.
_WORST = 15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--suite", default="resnet50", help=f"networks: {', '.join(SUITES)} or all (default: resnet50)")
    mode.add_argument("--scale", action="store_true", help="show how cost grows with channels, extent and batch")
    mode.add_argument("--scan", type=int, metavar="N", help="N random problems, and which stay far below the ceiling")
    parser.add_argument("--pass", dest="passes", help=f"default: {','.join(PASSES)}")
    parser.add_argument("--vs", help="torch, onnxruntime, both with a comma between, or none (default: torch if there)")
    parser.add_argument("--device", action="append", help="device to measure, may be repeated (default: native)")
    parser.add_argument("--batch", default="", help="batches, such as 1,16 (default: 1; 64 for lenet)")
    parser.add_argument("--dtype", default="float32", help="float16, float32, float64 (default: %(default)s)")
    parser.add_argument("--planned", action="store_true", help="give weights to clconv.plan beforehand; fwd only")
    parser.add_argument("--accuracy", default="default", help="strict, default or fast, as clconv.accuracy takes it")
    parser.add_argument("--only", default="", metavar="TEXT", help="measure layers with this in their names only")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads for everybody (default: one for each processor)"
    )
    parser.add_argument("--turns", type=int, default=7, metavar="N", help="turns of each call (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the arrays and of --scan (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw it")


def run(arguments: argparse.Namespace) -> int:
    """Measure; print lines while it goes on, and what they come to.

    Returns
    -------
    int
        0; 1 if a result of clconv was wrong or a device failed, 2 if nothing could be measured.
    """
    try:
        from rich.console import Console

        _check_files(arguments)
        cases, devices = _cases(arguments), arguments.device or ["native"]
        console = Console(highlight=False, soft_wrap=True, markup=False)
        with clconv.accuracy(arguments.accuracy), _limited(arguments.threads, devices):
            return _measure(arguments, cases, _peers(arguments.vs, arguments.planned), devices, console)
    except ImportError as error:
        return _refused(f'it lacks a library ({error}): pip install "clconv[bench]"')
    except (ValueError, clconv.Unsupported) as error:
        return _refused(str(error))


def _refused(reason: str) -> int:
    print(f"clconv bench: {reason}", file=sys.stderr)
    return 2


def _check_files(arguments: argparse.Namespace) -> None:
    for option in ("json", "picture"):
        path = getattr(arguments, option)
        if path and not path.parent.is_dir():
            raise ValueError(f"--{option} takes a path in a folder that exists: {str(path)!r}")
    if arguments.picture:
        import matplotlib  # noqa: F401  # now, rather than after minutes of measuring


def _names(option: str, text: str, allowed: Sequence[str]) -> list[str]:
    """Return the names in a list with commas, each of which must be one of those that are allowed."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in allowed]
    if wrong or not names:
        raise ValueError(f"--{option} takes {', '.join(allowed)}, with commas between: {text!r}")
    return names


def _cases(arguments: argparse.Namespace) -> list[Case]:
    """Return what is to be measured."""
    directions, dtypes = _passes(arguments), _names("dtype", arguments.dtype, DTYPES)
    batches = [_positive("batch", text) for text in arguments.batch.split(",") if text.strip()]
    for option in ("turns", "scan"):
        if getattr(arguments, option) is not None:
            _positive(option, str(getattr(arguments, option)))
    if arguments.seed < 0:
        raise ValueError(f"--seed takes an integer of at least 0: {arguments.seed}")
    if batches and (arguments.scan or arguments.scale):
        raise ValueError(f"--batch is for suites; --scan and --scale have batches of their own: {arguments.batch!r}")
    if arguments.scan:
        cases = scan_cases(arguments.scan, directions, dtypes, arguments.seed)
    elif arguments.scale:
        cases = scale_cases(directions, dtypes)
    else:
        suites = _names("suite", arguments.suite, [*SUITES, "all"])
        networks = [name for name in SUITES if name != MIXED]
        cases = cases_of(networks if "all" in suites else suites, directions, batches, dtypes)
    chosen = [case for case in cases if arguments.only in case.layer.name]
    if not chosen:
        raise ValueError(f"--only takes a part of a layer's name, and no layer has this one: {arguments.only!r}")
    return chosen


def _passes(arguments: argparse.Namespace) -> list[str]:
    """Return the passes that are named; by default all that there are."""
    if arguments.passes is None:
        return ["fwd"] if arguments.planned else list(PASSES)
    chosen = _names("pass", arguments.passes, PASSES)
    if arguments.planned and chosen != ["fwd"]:
        raise ValueError(f"--planned is for --pass fwd only: {arguments.passes!r}")
    return chosen


def _positive(option: str, text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"--{option} takes integers of at least 1: {text!r}")
    return int(text)


def _peers(names: str | None, planned: bool) -> list[Peer]:
    """Return the peers that are named, which must be installed; by default PyTorch if it is."""
    if names == "none" or (names is None and not is_installed("torch")):
        return []
    chosen = _names("vs", names or "torch", list(PEERS))
    missing = [module for name in chosen for module in PEERS[name][1] if not is_installed(name)]
    if missing:
        raise ValueError(f"--vs {names} needs modules that are not all installed here: {', '.join(missing)}")
    return [PEERS[name][0](clconv.get_num_threads(), planned) for name in chosen]


@contextmanager
def _limited(threads: int | None, devices: Sequence[str]) -> Iterator[None]:
    """Give clconv so many threads, and drivers of OpenCL so many processors: they have no other limit in common."""
    if threads is None:
        yield
        return
    has_affinity = hasattr(os, "sched_getaffinity")
    processors = sorted(os.sched_getaffinity(0)) if has_affinity else list(range(os.cpu_count() or 1))
    if not 1 <= threads <= len(processors):
        raise ValueError(f"--threads takes 1 to {len(processors)} here: {threads}")
    is_bound = has_affinity and any(device != "native" for device in devices)
    before = clconv.get_num_threads()
    if is_bound:
        os.sched_setaffinity(0, processors[:threads])
    clconv.set_num_threads(threads)
    try:
        yield
    finally:
        clconv.set_num_threads(before)
        if is_bound:
            os.sched_setaffinity(0, processors)


def _measure(
    arguments: argparse.Namespace, cases: list[Case], peers: list[Peer], devices: list[str], console: Console
) -> int:
    about = _about(peers)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    console.print(f"{about['machine']['processor']}, {about['machine']['threads']} threads; {versions}")
    ceilings = _all_ceilings(devices, sorted({case.dtype for case in cases}), console)
    console.print(f"\n{report.HEADING}")
    rows = _rows(arguments, cases, peers, ceilings, console)
    _summarise(arguments, rows, console)
    if arguments.json:
        content = report.as_json(rows, ceilings, about)
        arguments.json.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if arguments.picture:
        from clconv.bench import picture

        picture.draw(rows, ceilings, arguments.picture)
        console.print(f"Picture: {arguments.picture}")
    return int(any(row.problem for row in rows))


def _all_ceilings(devices: list[str], dtypes: list[str], console: Console) -> dict[str, dict[str, Ceilings]]:
    ceilings: dict[str, dict[str, Ceilings]] = {}
    for dtype in dtypes:
        for device in devices:
            own = ceilings.setdefault(dtype, {})[device] = measured_ceilings(device, dtype)
            console.print(report.ceilings_line(device, dtype, own))
    return ceilings


def _rows(
    arguments: argparse.Namespace,
    cases: list[Case],
    peers: list[Peer],
    ceilings: dict[str, dict[str, Ceilings]],
    console: Console,
) -> list[Row]:
    """Measure all cases, or those before an interrupt, with a bar below the lines."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    rows: list[Row] = []
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as bar:
        task = bar.add_task("", total=len(cases))
        try:
            for case in cases:
                bar.update(task, description=f"{case.suite} {case.title}")
                new = measured(case, ceilings[case.dtype], peers, arguments.turns, arguments.seed, arguments.planned)
                for row in new:
                    console.print(report.line(row))
                rows += new
                bar.advance(task)
        except KeyboardInterrupt:
            console.print(f"Interrupted after {len(rows) // len(ceilings[cases[0].dtype])} of {len(cases)} cases.")
    return rows


def _summarise(arguments: argparse.Namespace, rows: list[Row], console: Console) -> None:
    if not rows:
        console.print("Nothing was measured.")
        return
    means = report.means(rows)
    if means and not arguments.scale:
        console.print(f"\n{report.MEANS_HEADING}")
        for mean in means:
            console.print(str(mean))
    if arguments.scan:
        low = sum(row.ceiling < report.LOW for row in rows if not row.problem)
        console.print(
            f"\n{low} of {len(rows)} stay below {report.LOW:.0%} of the ceiling. The worst:\n{report.HEADING}"
        )
        for row in report.worst(rows, _WORST):
            console.print(f"{report.line(row)}{'  LOW' if row.ceiling < report.LOW else ''}")
    console.print("\n" + "\n".join(report.algorithms(rows)))
    failed = sum(bool(row.problem) for row in rows)
    console.print(f"\n{failed} of {len(rows)} were not timed." if failed else "\nEvery result was within its bound.")


def _about(peers: list[Peer]) -> dict[str, Any]:
    """Return what the figures depend on besides the code: the command, the machine and versions."""
    return {
        "command": shlex.join(["clconv", *sys.argv[1:]]),
        "machine": {
            "processor": _processor(),
            "system": platform.platform(),
            "processors": os.cpu_count(),
            "threads": clconv.get_num_threads(),
        },
        "versions": {
            "clconv": clconv.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            **{peer.name: peer.version for peer in peers},
        },
    }


def _processor() -> str:
    """Return the processor's name as its maker spells it, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
