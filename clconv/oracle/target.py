"""What is to be checked: a callable, or the name of one, and what its signature says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._floats import NAMES
from .adapters import SYSTEMS
from .operations import OPERATIONS
from .operations._base import Operation

__all__ = ["Facts", "accepted_parameters", "resolved", "source_of"]

Implementation = Callable[..., Any]


@dataclass(frozen=True)
class Facts:
    """What is known of an implementation before it is called.

    Attributes
    ----------
    operation : name of the operation that it is one of
    parameters : the optional arguments that it takes; None if all, or if it does not tell
    semantics, features, dtypes, libraries : what an adapter says of the system behind it
    """

    operation: str
    parameters: frozenset[str] | None
    semantics: str = "torch"
    features: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = NAMES
    libraries: tuple[tuple[str, str], ...] = ()


def resolved(impl: Implementation | str, op: str | None) -> tuple[Implementation, Facts]:
    """Return the implementation itself, and what is known of it.

    Raises
    ------
    ValueError
        If there is no such operation.
    TypeError
        If `impl` cannot be called, or not by the operation's signature.
    """
    said: dict[str, Any] = {}
    if isinstance(impl, str):
        from . import adapters

        loaded = adapters.load(impl, op)
        implementation, named = loaded.implementation, loaded.operation
        said = {name: getattr(loaded, name) for name in ("semantics", "features", "dtypes", "libraries")}
    else:
        implementation, named = impl, getattr(impl, "__name__", None)
    name = op or named
    if name not in OPERATIONS:
        raise ValueError(f"op must be one of {', '.join(OPERATIONS)}; got op={name!r}")
    return implementation, Facts(name, accepted_parameters(implementation, OPERATIONS[name]), **said)


def accepted_parameters(implementation: Implementation, operation: Operation) -> frozenset[str] | None:
    """Return which of torch's optional arguments an implementation takes; None if all, or if it does not tell.

    Raises
    ------
    TypeError
        If `implementation` cannot be called, or lacks a parameter that every call passes.
    """
    if not callable(implementation):
        raise TypeError(f"impl must be callable, got {type(implementation).__name__}")
    try:
        signature = inspect.signature(implementation)
    except (TypeError, ValueError):  # builtins do not tell
        return None
    parameters = signature.parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    places = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    takes_any_number = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if not named.issuperset(operation.positional) or (places < len(operation.required) and not takes_any_number):
        keywords = f" and {', '.join(operation.positional)} by keyword" if operation.positional else ""
        raise TypeError(
            f"{operation.name} is called with {', '.join(operation.required)} by position{keywords}; "
            f"impl takes {signature}"
        )
    return frozenset(name for name in operation.settings if name in named)


def source_of(impl: Implementation | str, op: str) -> str:
    """Return the statement that defines ``impl`` in a program of its own."""
    if isinstance(impl, str):
        module, _, name = impl.rpartition(":")
        if name.isidentifier() and module not in SYSTEMS and all(p.isidentifier() for p in module.split(".")):
            return f"from {module} import {name} as impl"
        return f"from clconv.oracle import adapters\nimpl = adapters.load({impl!r}, {op!r}).implementation"
    name, module = getattr(impl, "__qualname__", ""), getattr(impl, "__module__", "")
    if module and module != "__main__" and name.isidentifier():
        return f"from {module} import {name} as impl"
    return f"impl = ...  # the function that was checked: {name or type(impl).__name__}"
