"""The kernel files: where they are, their text with includes expanded, and the parameters of each kernel.

Standard library only: ``setup.py`` loads this module before anything is installed.
"""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["KernelParameter", "expanded", "folder", "signatures", "sources_hash"]

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"\s*$')
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(?:\((\w+)\))?[ \t]+((?:[^\n]*\\\n)*[^\n]*)$", re.MULTILINE)
_KERNEL = re.compile(r"\bkernel\s+void\s+(\w+)\s*\(([^{;]*)\)\s*\{")
_PARAMETER = re.compile(r"^(?:global\s+)?(const\s+)?(\w+)\s*(\*?)\s*(\w+)$")


class KernelParameter(NamedTuple):
    """One parameter of a kernel: its C type without qualifiers, its name, whether it is an array and one to write."""

    type: str
    name: str
    is_array: bool
    is_written: bool


@functools.cache
def folder() -> Path:
    """Return the folder of the kernel files: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "kernels", package.parent / "kernels"):
        if (candidate / "dialect.h").is_file():
            return candidate
    raise FileNotFoundError(
        f"clconv's kernel files are neither in {package / 'kernels'} nor in {package.parent / 'kernels'}"
    )


@functools.cache
def expanded(file: str) -> str:
    """Return the text of a kernel file with its own includes expanded.

    ``-I`` breaks on folders with spaces and hides headers from the caches of drivers. ``#line`` keeps the file and
    line of compiler messages right. A header is expanded where it is first included.
    """
    return "\n".join(_lines(file, set())) + "\n"


def _lines(file: str, seen: set[str]) -> list[str]:
    seen.add(file)
    lines = [f'#line 1 "{file}"']
    for number, line in enumerate((folder() / file).read_text(encoding="utf-8").splitlines(), start=1):
        include = _INCLUDE.match(line)
        if include is None:
            lines.append(line)
        elif include[1] not in seen:
            lines += [*_lines(include[1], seen), f'#line {number + 1} "{file}"']
        else:
            lines.append("")
    return lines


@functools.cache
def signatures(file: str) -> dict[str, tuple[KernelParameter, ...]]:
    """Return the parameters of every kernel in a file, by kernel name, in the order of the file."""
    text = _COMMENT.sub(" ", expanded(file))
    macros = {name: (argument, body.replace("\\\n", " ")) for name, argument, body in _MACRO.findall(text)}
    return {name: _parameters(parameters, macros, f"{file}: {name}") for name, parameters in _KERNEL.findall(text)}


def _parameters(text: str, macros: dict[str, tuple[str, str]], where: str) -> tuple[KernelParameter, ...]:
    """Parse a parameter list in which macros of at most one argument may stand for parameters."""

    def expand(use: re.Match[str]) -> str:
        argument, body = macros[use[1]]
        return (
            re.sub(rf"\b{argument}\b", use[2], body).replace("##", "") if argument else body + (use[0][len(use[1]) :])
        )

    text = re.sub(r"\bWORK_ITEM\b", "", text)
    names = "|".join(name for name in macros if name != "WORK_ITEM")
    previous = ""
    while previous != text:
        previous, text = text, re.sub(rf"\b({names})\b(?:\((\w+)\))?", expand, text)
    parameters = []
    for declaration in text.split(","):
        match = _PARAMETER.match(" ".join(declaration.split()))
        if match is None:
            raise ValueError(f"{where} has a parameter that is neither an array nor a number: {declaration.strip()!r}")
        parameters.append(KernelParameter(match[2], match[4], bool(match[3]), bool(match[3]) and not match[1]))
    return tuple(parameters)


@functools.cache
def sources_hash() -> str:
    """Return a hash of all kernel files, by which a compiled extension knows whether it was built from them."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder().rglob("*") if path.suffix in {".cl", ".h"}):
        digest.update(path.relative_to(folder()).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
