"""clconv's operations with an epilogue as the oracle calls them: the epilogue's parts as arguments of their own."""

from __future__ import annotations

import inspect

import clconv
from clconv import Epilogue
from clconv.oracle.operations.epilogue import FINISHED

__all__ = ["NAMES", "finished"]

#: The oracle's operations with an epilogue, of which clconv has those whose functions take one.
NAMES = [
    operation.name
    for operation in FINISHED
    if "epilogue" in inspect.signature(getattr(clconv, operation.forward.name)).parameters
]


def finished(name, device):
    """Return a function that takes the parts of an epilogue and calls clconv's operation with them."""
    operation = getattr(clconv, name.removesuffix("_epilogue"))

    def implementation(*arrays, scale=None, shift=None, residual=None, activation=None, negative_slope=0.01, **others):
        parts = Epilogue(scale, shift, residual, activation, negative_slope)
        return operation(*arrays, epilogue=parts, device=device, **others)

    return implementation
