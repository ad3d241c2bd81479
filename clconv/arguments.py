"""Reading the values that users pass: integers, one value per axis, padding and choices.

Every function names the argument in its errors, gives the value and states the rule.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

__all__ = ["LARGEST", "Pair", "choice", "flag", "integer", "padding_pairs", "per_axis", "real"]

Pair = tuple[int, int]

#: Kernels count positions along an axis in 32-bit integers, twice the extent included.
LARGEST = 2**30 - 1


def integer(value: Any, name: str, *, least: int) -> int:
    """Return ``value`` as an int; anything with ``__index__`` is an integer, except bool."""
    try:
        number = operator.index(value)
    except TypeError:  # an array has __index__, too, and refuses only when it is asked
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} takes an integer, not {type(value).__name__}: {name}={value!r}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}: {name}={value!r}")
    if number > LARGEST:
        raise ValueError(f"{name} must be at most 2**30 - 1 = {LARGEST}: {name}={value!r}")
    return number


def real(value: Any, name: str, *, least: float = -math.inf) -> float:
    """Return ``value`` as a float; any finite real number, except bool."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} takes a real number, not {type(value).__name__}: {name}={value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite: {name}={value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least:g}: {name}={value!r}")
    return float(value)


def per_axis(value: Any, name: str, rank: int, *, least: int) -> tuple[int, ...]:
    """Return one integer per spatial axis; a single one, or a sequence of one, serves all axes."""
    if not _is_sequence(value):
        return (integer(value, name, least=least),) * rank
    if len(value) not in (1, rank):
        raise ValueError(f"{name} takes one integer or {_one_per_axis(rank)}: {name}={value!r} has {len(value)}")
    numbers = tuple(integer(number, name, least=least) for number in value)
    return numbers * rank if len(numbers) == 1 else numbers


def padding_pairs(value: Any, name: str, rank: int) -> tuple[Pair, ...]:
    """Return a (low, high) pair per spatial axis from an integer, one integer per axis, or pairs."""
    if not (_is_sequence(value) and any(_is_sequence(entry) for entry in value)):
        return tuple((number, number) for number in per_axis(value, name, rank, least=0))
    if len(value) != rank or not all(_is_sequence(entry) and len(entry) == 2 for entry in value):
        raise ValueError(f"{name} takes a (low, high) pair for each of {rank} spatial axes: {name}={value!r}")
    return tuple((integer(low, name, least=0), integer(high, name, least=0)) for low, high in value)


def choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """Return ``value`` if it is one of ``choices``."""
    if not isinstance(value, str):
        raise TypeError(
            f"{name} takes one of {', '.join(map(repr, choices))}, not {type(value).__name__}: {name}={value!r}"
        )
    if value not in choices:
        raise ValueError(f"{name} takes one of {', '.join(map(repr, choices))}: {name}={value!r}")
    return value


def flag(value: Any, name: str) -> bool:
    """Return ``value`` if it is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} takes True or False, not {type(value).__name__}: {name}={value!r}")
    return value


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _one_per_axis(rank: int) -> str:
    return "one for the only spatial axis" if rank == 1 else f"one for each of {rank} spatial axes"
