"""Python functions of the user's: "package.module:function" and "path/to/file.py:function"."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from ._loaded import Loaded

__all__ = ["load"]


def load(source: str, name: str, op: str | None) -> Loaded:
    """Load a function of a module or of a file; `name` may be dotted."""
    module = _file(Path(source)) if source.endswith(".py") else importlib.import_module(source)
    try:
        function = functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        raise ValueError(f"{source} has no {name!r}") from None
    if not callable(function):
        raise TypeError(f"{name} of {source} must be callable, it is of type {type(function).__name__}")
    return Loaded(function, op or getattr(function, "__name__", name.rpartition(".")[2]))


def _file(path: Path) -> ModuleType:
    """Run a file as a module; it finds modules beside it, as a script does."""
    path = path.resolve()
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _beside(path):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[None]:
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
