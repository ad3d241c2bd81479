"""Times of calls that take turns in one process, and what follows from them.

A turn is a pause, in which the threads of whoever ran before fall asleep, some calls that do not count, which wake this
one's threads and fill the caches, and the calls that count. Everybody has one turn before anybody has the next, so that
all of them meet the same machine, whatever else it does; ratios are taken between turns that follow each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Spread", "Times", "take_turns"]

#: Threads of OpenMP spin for some milliseconds after their work.
_PAUSE = 0.01
#: Seconds that the calls of a turn should take, and how many of them there are at most.
_TURN = 0.02
_MOST_CALLS = 10
#: Seconds that the calls before them take at least, and how many of them there are at least, unless one takes long.
_WARM = 0.002
_WARM_CALLS = 3
#: Where a round of turns takes longer than so many seconds, so many of them do.
_LONG_ROUNDS = ((10.0, 1), (2.0, 3))


class Spread(NamedTuple):
    """The median of several values, between their lower and their upper quartile."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the quartiles of values.

        Examples
        --------
        >>> Spread.of([1, 2, 3, 4, 5])
        Spread(low=2.0, median=3.0, high=4.0)
        """
        return cls(*(float(value) for value in np.percentile(list(values), (25, 50, 75))))


class Times(NamedTuple):
    """Seconds of the calls of each turn."""

    turns: tuple[tuple[float, ...], ...]

    @property
    def seconds(self) -> Spread:
        """The seconds of a call."""
        return Spread.of(seconds for turn in self.turns for seconds in turn)

    def ratio_to(self, other: Times) -> Spread:
        """Return how many times longer another's calls take, from the medians of turns that follow each other.

        Examples
        --------
        >>> Times(((1.0, 1.0), (2.0, 2.0))).ratio_to(Times(((2.0, 2.0), (4.0, 4.0)))).median
        2.0
        """
        pairs = zip(self.turns, other.turns, strict=True)
        return Spread.of(float(np.median(theirs) / np.median(ours)) for ours, theirs in pairs)


def take_turns(everyone: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, Times]:
    """Return the times of everybody's calls.

    Parameters
    ----------
    everyone : mapping of str to callable
        Calls by the names of who makes them. Each has been called before.
    turns : int
        How many turns everybody has; 3 where a round of them takes more than 2 seconds, 1 where it takes more than 10.

    Examples
    --------
    >>> times = take_turns({"one": lambda: sum(range(100)), "other": lambda: sum(range(100))}, turns=3)
    >>> list(times), len(times["one"].turns)
    (['one', 'other'], 3)
    """
    counts = {name: _calls_of_turn(_turn(call, 1)[0]) for name, call in everyone.items()}
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in everyone}
    begin = time.perf_counter()
    for number in range(turns):
        for name, call in everyone.items():
            times[name].append(_turn(call, counts[name]))
        taken = time.perf_counter() - begin
        if any(taken > seconds * (number + 1) and number + 1 >= enough for seconds, enough in _LONG_ROUNDS):
            break
    return {name: Times(tuple(each)) for name, each in times.items()}


def _calls_of_turn(seconds: float) -> int:
    return max(1, min(_MOST_CALLS, int(_TURN / seconds)))


def _turn(call: Callable[[], Any], count: int) -> tuple[float, ...]:
    """Return the seconds of each call that counts."""
    time.sleep(_PAUSE)
    warm, start = 0, time.perf_counter()
    while warm < min(count, _WARM_CALLS) or time.perf_counter() - start < _WARM:
        call()
        warm += 1
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return tuple(times)
