"""What an algorithm is: when it applies, and what it launches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from clconv.plan import Plan, Traits

__all__ = ["Algorithm", "portable"]


class Algorithm(NamedTuple):
    """One way to compute an operation.

    ``applicable`` says whether it is right for a problem on a device, ``plan`` makes the launches.
    """

    name: str
    applicable: Callable[[Any, Traits], bool]
    plan: Callable[[Any, Traits], Plan]


def portable(plan: Callable[[Any], Plan]) -> Algorithm:
    """Return the last algorithm of a list, which applies everywhere and asks for nothing."""
    return Algorithm("portable", lambda problem, traits: True, lambda problem, traits: plan(problem))
