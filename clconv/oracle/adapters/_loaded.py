"""What an adapter gives, and the packages that adapters are made of."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Library", "Loaded", "NotOffered"]


class NotOffered(ValueError):
    """A call that a system has no words for: it says nothing of the system."""


@dataclass(frozen=True)
class Loaded:
    """An implementation that was loaded by its name.

    Attributes
    ----------
    implementation : takes NumPy arrays by torch.nn.functional's signature
    operation : what it is one of; None if the target does not tell
    semantics : whose rules it follows where systems differ
    features : what it takes beyond torch's arguments
    dtypes : types of arrays that it takes; for a function of the user's, those that the checker knows
    libraries : the packages that do the work, by name, with their versions
    notes : what one should know to read a report
    """

    implementation: Callable[..., Any]
    operation: str | None
    semantics: str = "torch"
    features: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32", "float64")
    libraries: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


class Library:
    """A package that is imported when something of it is used.

    Parameters
    ----------
    name : str
        As in an import statement; a dotted name for a module of the package.
    package : str, optional
        What pip calls it, if that is another name.

    Examples
    --------
    >>> Library("math").floor(2.5)
    2
    >>> Library("no_such.module", "no-such").anything
    Traceback (most recent call last):
    ImportError: this adapter needs no_such.module: pip install no-such
    """

    def __init__(self, name: str, package: str = "") -> None:
        self._name = name
        self._package = package or name.partition(".")[0]

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # Python looks for those in any object
            raise AttributeError(attribute)
        return getattr(self._imported(), attribute)

    def version(self) -> tuple[str, str]:
        """Import it, and return its name and version."""
        top = self._name.partition(".")[0]
        self._imported()
        return self._package, str(getattr(importlib.import_module(top), "__version__", "unknown"))

    def _imported(self) -> Any:
        try:
            return importlib.import_module(self._name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{self._name}.".startswith(f"{error.name}."):
                raise  # it is there, and lacks something itself
            raise ImportError(f"this adapter needs {self._name}: pip install {self._package}") from None
