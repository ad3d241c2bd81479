"""The command line: ``clconv devices``, ``clconv demo``, ``clconv check``, ``clconv explain`` and ``clconv bench``."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import clconv
from clconv.bench import command as bench
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
    if arguments.command == "explain":
        return _explain(arguments)
    if arguments.command == "bench":
        return bench.run(arguments)
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
    bench.add_arguments(
        commands.add_parser("bench", help="measure convolutions beside PyTorch and the device's limits")
    )
    if checks:  # only then are the oracle's libraries needed
        _define_check(check)
    _define_explain(commands.add_parser("explain", help="print how a convolution is computed on a device, and why so"))
    return parser


def _define_explain(explain: argparse.ArgumentParser) -> None:
    explain.add_argument("operation", help="conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, ...")
    explain.add_argument("--input", required=True, type=_numbers, help="its shape, as in 1,64,56,56")
    explain.add_argument("--weight", required=True, type=_numbers, help="its shape, as in 64,64,3,3")
    explain.add_argument("--bias", action="store_true", help="with a bias")
    for name in ("stride", "dilation", "output-padding"):
        explain.add_argument(f"--{name}", type=_numbers, help="one number, or one for each axis: 2,1")
    explain.add_argument(
        "--padding", type=_padding, help='as before, or low:high for each axis: 0:1,0:1; or "same", ...'
    )
    explain.add_argument("--groups", type=int)
    explain.add_argument("--padding-mode", help="zeros, reflect, replicate, circular or symmetric")
    explain.add_argument("--flip", action="store_true", help="the mathematical convolution")
    explain.add_argument("--dtype", help="float16, float32 or float64 (default: float32)")
    explain.add_argument("--device", help="as clconv devices names it")
    explain.add_argument("--accuracy", help="strict, default or fast")


def _numbers(text: str, separator: str = ",") -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(separator))
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes integers, with {separator!r} between them: {text!r}") from None


def _padding(text: str) -> str | tuple[int, ...] | tuple[tuple[int, ...], ...]:
    """Return a name of padding as it is, numbers, or pairs."""
    if text[:1].isalpha():
        return text
    return tuple(_numbers(part, ":") for part in text.split(",")) if ":" in text else _numbers(text)


def _explain(arguments: argparse.Namespace) -> int:
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    shapes = [given.pop(name) for name in ("operation", "input", "weight")]
    accuracy = given.pop("accuracy", None)
    del given["command"]
    try:
        with clconv.accuracy(accuracy) if accuracy is not None else nullcontext():
            print(clconv.explain(*shapes, **given))
    except (ValueError, TypeError, clconv.Unsupported) as error:
        print(f"clconv explain: {error}", file=sys.stderr)
        return 2
    return 0


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
