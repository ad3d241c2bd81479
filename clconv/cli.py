"""The command line: ``clconv devices``, ``clconv demo`` and ``clconv check``."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import clconv
from clconv.devices import DeviceInfo

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, by default those of the process.

    Returns
    -------
    int
        The exit code: 0 for success, 1 if a result was found wrong, 2 if the command cannot run.

    Examples
    --------
    >>> main(["devices"])  # doctest: +ELLIPSIS
    native
      kind     native
    ...
    0
    """
    given = sys.argv[1:] if argv is None else list(argv)
    parser = _parser(given[:1] == ["check"])
    arguments = parser.parse_args(given)
    if arguments.command == "devices":
        return _devices()
    if arguments.command == "check":
        return _check(arguments)
    if not arguments.output.parent.is_dir():
        parser.error(f"--output takes a path in a folder that exists: {str(arguments.output)!r}")
    return _demo(arguments.output)


def _parser(checks: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clconv", description="Convolutions on any OpenCL device and on any CPU.")
    parser.add_argument("--version", action="version", version=f"clconv {clconv.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("devices", help="list the devices, those that cannot be used with the reason")
    demo = commands.add_parser("demo", help="filter photographs on every device, check the results, and draw a picture")
    demo.add_argument("--output", type=Path, default=Path("clconv-demo.png"), help="the picture (default: %(default)s)")
    check = commands.add_parser("check", help="judge an implementation, anybody's, of an operation")
    if checks:  # only then are the oracle's libraries needed
        _define_check(check)
    return parser


def _define_check(check: argparse.ArgumentParser) -> None:
    try:
        from clconv.oracle.command import add_arguments
    except ImportError as error:
        check.exit(2, f'clconv check lacks a library ({error}): pip install "clconv[oracle]"\n')
    add_arguments(check)


def _check(arguments: argparse.Namespace) -> int:
    from clconv.oracle.command import run

    return run(arguments)


def _devices() -> int:
    width = shutil.get_terminal_size().columns
    print("\n\n".join(_block(device, width) for device in clconv.devices()))
    return 0


def _block(device: DeviceInfo, width: int) -> str:
    """Return the lines that describe a device."""
    facts = {
        "kind": device.kind,
        # Where native was not built, its description is the reason once more.
        "device": device.description if device.description != device.problem else "",
        "version": device.version,
        "memory": f"{device.memory / 2**30:.1f} GiB" if device.memory else "",
    }
    if device.problem is None:
        facts["fp64"] = "yes" if device.fp64 else "no"
        facts["fp16"] = "yes" if device.fp16 else "no arithmetic; float16 arrays work all the same"
        facts["usable"] = "yes"
    else:
        facts["usable"] = f"no: {device.problem}"
    lines = [device.name]
    for name, value in facts.items():
        if value:
            start = f"  {name:<9}"
            lines += textwrap.wrap(value, max(width, 40), initial_indent=start, subsequent_indent=" " * len(start))
    return "\n".join(lines)


def _demo(output: Path) -> int:
    try:
        from clconv import demo
    except ImportError as error:
        print(f'clconv demo lacks a library ({error}): pip install "clconv[demo]"', file=sys.stderr)
        return 2
    return demo.run(output)
