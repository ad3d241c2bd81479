"""A call of an operation, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Call(NamedTuple):
    """An operation, its positional arguments and the others; whether its results on integers must be exact, at which
    accuracy it runs, and the part of the define sets that it is for: all of them, if it names none."""

    operation: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    exact: bool = True
    accuracy: str = "strict"
    defines: Mapping[str, int] = {}

    def is_for(self, defines: tuple[tuple[str, int], ...]) -> bool:
        """Return whether the call launches kernels with this define set."""
        return self.defines.items() <= dict(defines).items()
