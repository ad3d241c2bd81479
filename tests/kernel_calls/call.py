"""A call of an operation, as data."""

from __future__ import annotations

from typing import Any, NamedTuple


class Call(NamedTuple):
    """An operation, its positional arguments and the others; whether its results on integers must be exact, and at
    which accuracy it runs."""

    operation: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    exact: bool = True
    accuracy: str = "strict"
