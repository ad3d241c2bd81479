"""What an algorithm is: why it does not apply, what it launches, and how large its error may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from clconv.plan import Plan, Traits

__all__ = ["ERROR_CLASSES", "Algorithm", "everywhere", "first_reason", "no_vectors", "portable"]

#: The classes of an algorithm's largest error, from the smallest on. "elementwise": every result is within the bound
#: of a direct sum of its own terms. "default" and "fast": the largest error of float32 stays below 3e-6 and 3e-5 of the
#: largest output, on unit-normal data with any number of channels.
ERROR_CLASSES = ("elementwise", "default", "fast")


class Algorithm(NamedTuple):
    """One way to compute an operation.

    ``refusal`` returns None where it is right for a problem on a device, else one short sentence why it is not;
    ``plan`` makes the launches; ``error`` is one of :data:`ERROR_CLASSES`.
    """

    name: str
    refusal: Callable[[Any, Traits], str | None]
    plan: Callable[[Any, Traits], Plan]
    error: str = "elementwise"


def everywhere(problem: Any, traits: Traits) -> None:
    """Refuse no problem on any device."""


def no_vectors(traits: Traits) -> str | None:
    """Return why not, where a device is no processor."""
    return None if traits.vector_bytes else "the device is no processor, whose work-items have vectors of their own"


def first_reason(reasons: Iterable[str | None]) -> str | None:
    """Return the first reason of several refusals, None if there is none."""
    return next((reason for reason in reasons if reason is not None), None)


def portable(plan: Callable[[Any], Plan]) -> Algorithm:
    """Return the last algorithm of a list, which applies everywhere and asks for nothing."""
    return Algorithm("portable", everywhere, lambda problem, traits: plan(problem))
