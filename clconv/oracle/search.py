"""The search for a smallest failing case, by hypothesis, under a budget of examples and of time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hypothesis
from hypothesis import strategies as st

from .judge import Mismatch
from .operations._base import Case

__all__ = ["Budget", "Finished", "search"]

KEPT = 4  # of the first and of the last failing cases, and of the last that passed: evidence of the cause
MORE = 10  # cases drawn after a failure, of whatever size: more evidence


class OutOfTimeError(BaseException):
    """The budget is spent. Hypothesis lets what is no Exception pass."""


class _FailedError(Exception):
    """The case fails; hypothesis shrinks what raises it."""


@dataclass
class Budget:
    """Examples and seconds for one search; `deadline` is in the time of time.monotonic."""

    examples: int
    deadline: float | None = None

    @property
    def is_spent(self) -> bool:
        """Tell whether the time is up."""
        return self.deadline is not None and time.monotonic() > self.deadline


@dataclass
class Finished:
    """What a search found.

    Attributes
    ----------
    cases : number of cases that ran
    smallest : the smallest failing case, and what is wrong with it
    failures : cases that failed, the smallest one last
    passed : cases that passed
    flaky : whether a case failed only sometimes
    out_of_time : whether the budget was spent
    """

    cases: int = 0
    smallest: tuple[Case, Mismatch] | None = None
    failures: list[tuple[Case, Mismatch]] = field(default_factory=list)
    passed: list[Case] = field(default_factory=list)
    flaky: bool = False
    out_of_time: bool = False


def search(
    cases: st.SearchStrategy[Case], examine: Callable[[Case], Mismatch | None], *, seed: int, budget: Budget
) -> Finished:
    """Draw cases until one fails, shrink it, and draw some more to tell what fails and what does not.

    Parameters
    ----------
    cases : strategy of Case
    examine : callable
        Says what is wrong with a case, None if nothing is.
    seed : int
        The same seed draws the same cases.
    budget : Budget
        When the time is up, the smallest failing case so far counts.

    Returns
    -------
    Finished
    """
    found = Finished()

    def attempt(case: Case) -> None:
        if budget.is_spent:
            raise OutOfTimeError
        found.cases += 1
        mismatch = examine(case)
        if mismatch is None:
            found.passed = [*found.passed, case][-KEPT:]
            return
        if found.smallest is not None and mismatch.kind != found.smallest[1].kind:
            return  # another fault, to which shrinking must not slip
        _keep(found, case, mismatch)
        raise _FailedError

    def gather(case: Case) -> None:
        if budget.is_spent:
            raise OutOfTimeError
        mismatch = examine(case)
        if mismatch is None:
            found.passed.insert(0, case)
        elif found.smallest is not None and mismatch.kind == found.smallest[1].kind:
            found.failures.insert(0, (case, mismatch))

    try:
        _drive(cases, attempt, seed, budget.examples, shrinks=True)
    except _FailedError:
        with contextlib.suppress(OutOfTimeError):
            _drive(cases, gather, seed + 1, MORE, shrinks=False)
    except OutOfTimeError:
        found.out_of_time = True
    except hypothesis.errors.Flaky:
        found.flaky = True
    return found


def _drive(
    cases: st.SearchStrategy[Case], examine: Callable[[Case], None], seed: int, examples: int, shrinks: bool
) -> None:
    """Let hypothesis draw cases."""
    phases = (hypothesis.Phase.generate, hypothesis.Phase.shrink)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=hypothesis.Verbosity.quiet,
        phases=phases if shrinks else phases[:1],
        suppress_health_check=tuple(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases)
    def drawn(case: Case) -> None:
        examine(case)

    drawn()


def _keep(found: Finished, case: Case, mismatch: Mismatch) -> None:
    """Remember a failing case: hypothesis comes to the smallest one last."""
    if found.smallest is None or _weight(case) <= _weight(found.smallest[0]):
        found.smallest = (case, mismatch)
    found.failures = [*found.failures, (case, mismatch)]
    del found.failures[KEPT:-KEPT]


def _weight(case: Case) -> Any:
    return case.size, len(case.problem.arguments)
