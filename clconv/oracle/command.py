"""``clconv check``: judge an implementation from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .check import check
from .report import Report

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_arguments", "run"]

EPILOG = """
TARGET is one of
  package.module:function      a Python function that takes NumPy arrays by torch.nn.functional's signature
  path/to/file.py:function     the same, in a file
  torch:conv2d                 another system's: torch, jax, onnxruntime, openvino, tinygrad, scipy.ndimage
  c:./library.so:symbol        a C function, by pointers and extents
  opencl:file.cl:kernel        an OpenCL kernel
It is run in a process of its own, where it may crash or hang. The exit code is 0 if it passed, 1 if a fault was found
or nothing ran, 2 if it could not be checked.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("target", metavar="TARGET", help="what to check")
    parser.add_argument(
        "--op", help="the operation, such as conv2d or conv2d_backward, if the function's name is another"
    )
    parser.add_argument("--dtype", default="float32", help="float16, bfloat16, float32 (default) or float64")
    parser.add_argument("--accumulate", help="the type of its sums (default: float32 for 16-bit types, else dtype)")
    parser.add_argument("--semantics", help="torch (default), onnx, tf or scipy: whose rules apply where they differ")
    parser.add_argument(
        "--algorithm", default="direct", help="class of the error bound: direct (default), split(b), winograd(m), fft"
    )
    parser.add_argument("--features", type=_names, help="what it takes beyond torch's arguments: padding_mode,flip,...")
    parser.add_argument(
        "--skip", type=_names, default=(), help="modes or examinations to leave out, with commas between"
    )
    parser.add_argument("--seconds", type=float, help="time for everything")
    parser.add_argument("--max-examples", type=int, help="cases for each search (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same cases (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")


def run(arguments: argparse.Namespace) -> int:
    """Check, show a bar meanwhile and a table in the end; return the exit code."""
    try:
        from rich.console import Console
    except ImportError:
        print('clconv check lacks the library rich: pip install "clconv[oracle]"', file=sys.stderr)
        return 2
    console = Console(highlight=False, soft_wrap=True)
    sys.path.insert(0, str(Path.cwd()))  # as python -m would have it
    try:
        report = _checked(arguments, console)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"clconv check: {error}", file=sys.stderr)
        return 2
    _show(report, console)
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_dict(), indent=1, allow_nan=False) + "\n")
    return 0 if report.passed else 1


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _checked(arguments: argparse.Namespace, console: Console) -> Report:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    if arguments.json and not arguments.json.parent.is_dir():
        raise ValueError(f"--json takes a path in a folder that exists: {str(arguments.json)!r}")
    columns = (
        TextColumn("{task.percentage:>3.0f} %"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting")
        return check(
            arguments.target,
            op=arguments.op,
            dtype=arguments.dtype,
            semantics=arguments.semantics,
            algorithm=arguments.algorithm,
            accumulate=arguments.accumulate,
            features=arguments.features,
            max_examples=arguments.max_examples,
            seconds=arguments.seconds,
            seed=arguments.seed,
            isolate=True,
            skip=arguments.skip,
            progress=lambda done, total, name: bar.update(task, completed=done, total=total, description=name),
        )


def _show(report: Report, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{report.operation}, {report.claims['dtype']}, seed {report.seed}")
    for heading, side in (("mode", "left"), ("cases", "right"), ("worst ratio", "right"), ("verdict", "left")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for mode, cases, ratio, verdict in report.rows():
        style = "green" if verdict == "right" else "red" if "fault" in verdict else "yellow"
        table.add_row(mode, cases, ratio, Text(verdict, style))
    console.print(table)
    console.print(Text(report.remarks()))
    verdict = "passed" if report.passed else "FAILED"
    console.print(
        f"[bold {'green' if report.passed else 'red'}]{escape(report.operation)} {verdict}[/]: {report.cases} cases"
    )
