"""What a system has of one operation, and how that becomes an implementation with torch's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clconv.oracle import reference
from clconv.oracle.operations import OPERATIONS

from ._loaded import Library, Loaded

__all__ = ["Offer"]


@dataclass(frozen=True)
class Offer:
    """What a system has of an operation.

    Attributes
    ----------
    call : gets everything by keyword: the operation's arrays, `settings` and those of `features` that are arguments,
        with torch's defaults where the caller gave nothing
    settings : the optional arguments that the system has; a check reports the others as not tested
    features, semantics, dtypes, notes : as in `Loaded`
    """

    call: Callable[..., Any]
    settings: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    semantics: str = "torch"
    dtypes: tuple[str, ...] = ("float32",)
    notes: tuple[str, ...] = ()

    def loaded(self, name: str, *libraries: Library) -> Loaded:
        """Return the implementation of the operation of that name."""
        versions = tuple(library.version() for library in libraries)
        implementation = _implementation(name, self.call, (*self.settings, *self.features))
        return Loaded(implementation, name, self.semantics, self.features, self.dtypes, versions, self.notes)


def _implementation(name: str, call: Callable[..., Any], optional: tuple[str, ...]) -> Callable[..., Any]:
    """Make a function of the reference's signature, as far as the system has the arguments."""
    operation = OPERATIONS[name]
    known = inspect.signature(getattr(reference, name)).parameters
    taken = {*operation.required, *operation.positional, *optional}
    parameters = [parameter for parameter in known.values() if parameter.name in taken]
    if "out" in optional:
        parameters.append(inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None))
    signature = inspect.Signature(parameters)

    def implementation(*arrays: Any, **arguments: Any) -> Any:
        bound = signature.bind(*arrays, **arguments)
        bound.apply_defaults()
        return call(**bound.arguments)

    implementation.__name__ = implementation.__qualname__ = name
    implementation.__signature__ = signature  # type: ignore[attr-defined]
    return implementation
