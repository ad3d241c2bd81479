"""A law that an implementation breaks, on given arrays: what a finding about a law prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .judge import disagreement
from .observe import observe
from .operations import OPERATIONS
from .operations._base import Case, Claims, Problem, Results

__all__ = ["breach"]


def breach(impl: Callable[..., Any], op: str, law: str, *arrays: NDArray[Any], **given: Any) -> str:
    """Say how an implementation breaks a law.

    Parameters
    ----------
    impl : callable
        The implementation, as `check` takes it.
    op : str
        Name of the operation.
    law : str
        Name of an examination of mode "identities".
    *arrays, **given
        What the implementation is called with.

    Returns
    -------
    str
        What is not equal, and both values at the worst place; empty if the law holds.

    Raises
    ------
    ValueError
        If the operation has no such law.

    Examples
    --------
    >>> from clconv.oracle import reference
    >>> x, w = np.array([[[1.0, 2.0, 4.0]]], np.float32), np.array([[[1.0, 1.0]]], np.float32)
    >>> def squared(input, weight):
    ...     return reference.conv1d(input, weight).astype(np.float32) ** 2
    >>> breach(squared, "conv1d", "linear in input", x, w)
    'f(input + other) is not f(input) + f(other): 81.0 and 45.0'
    """
    operation = OPERATIONS[op]
    named = {identity.name: identity for identity in operation.identities(Claims())}
    if law not in named:
        raise ValueError(f"law must be one of {tuple(named)}, got law={law!r}")
    values = {**dict(zip(operation.required, arrays, strict=True)), **given}
    held = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    arguments = {name: value for name, value in values.items() if name not in held}

    def call(case: Case) -> Results:
        observation = observe(impl, op, case)
        if observation.results is None:
            raise RuntimeError(f"{op} raised {observation.error}")
        return observation.results

    problem = Problem({name: array.shape for name, array in held.items()}, arguments)
    found = named[law].check(call, Case(problem, held))
    if found is None:
        return ""
    mismatch = disagreement(found, law)
    return f"{mismatch.message}: {mismatch.got} and {mismatch.expected}"
