"""How large the error of an algorithm may be for it to be chosen."""

from __future__ import annotations

import contextvars
import functools
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from clconv.algorithms import ADMITTED
from clconv.arguments import choice

__all__ = ["accuracy", "accuracy_in_force"]

_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("clconv accuracy", default=None)


def accuracy(name: str) -> AbstractContextManager[None]:
    """Choose, for the operations inside a ``with`` block, how large the error of their algorithm may be.

    Algorithms that multiply less, such as Winograd's, round intermediate results that are larger than the terms of the
    sum. Each states its class, and is chosen only where that is admitted.

    Outside of every block, the environment variable CLCONV_ACCURACY decides, as it was when an operation was first
    called; without it, "default" does. A new thread starts outside.

    Parameters
    ----------
    name : {"strict", "default", "fast"}
        "strict" admits only sums of the products themselves, each result within the elementwise bound of a direct sum,
        gamma_n * sum(abs(terms)): integers come out exact, and a large value does not spoil its neighbours.
        "default" also admits algorithms whose largest error stays below 3e-6 of the largest output, and "fast" those
        below 3e-5, of which there are none so far: in float32, for unit-normal data and any number of channels, against
        a reference in float64.

    Raises
    ------
    ValueError
        If there is no such accuracy.

    Examples
    --------
    >>> import numpy, clconv
    >>> image, kernel = numpy.ones((1, 1, 4, 4), "float32"), numpy.ones((1, 1, 3, 3), "float32")
    >>> with clconv.accuracy("strict"):
    ...     clconv.conv2d(image, kernel)[0, 0]
    array([[9., 9.],
           [9., 9.]], dtype=float32)
    """
    return _in_force(choice(name, "accuracy", tuple(ADMITTED)))


@contextmanager
def _in_force(name: str) -> Iterator[None]:
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def accuracy_in_force() -> str:
    """Return the accuracy of the innermost ``with`` block, else of the environment, else "default"."""
    return _chosen.get() or _of_environment()


@functools.cache
def _of_environment() -> str:
    name: Any = os.environ.get("CLCONV_ACCURACY") or "default"
    return choice(name, "CLCONV_ACCURACY", tuple(ADMITTED))
