"""One implementation under examination: how its calls are judged, and how a search becomes an outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from hypothesis import strategies as st

from ._floats import float_type
from .adapters import NotOffered
from .causes import likely_cause
from .judge import Mismatch, disagreement, exact_mismatch, limit_mismatch, worst
from .observe import Implementation, Observation, observe, observe_threads
from .operations._base import Case, Claims, Identity, Operation, Problem, Results
from .report import Deviation, Finding, Outcome
from .search import Budget, search
from .snippet import call_text, simplified, snippet

__all__ = ["Examiner", "LocalRunner", "Runner"]

Examine = Callable[[Case], Mismatch | None]
Values = Callable[[Problem, np.random.Generator, Claims], dict[str, Any]]


class Runner(Protocol):
    """Calls the implementation: here, or in another process."""

    def observe(self, case: Case, *, repeat: bool = False) -> Observation:
        """Call it once, or twice to compare."""

    def observe_threads(self, cases: Sequence[Case], threads: int) -> Observation:
        """Call it from several threads at once."""

    def close(self) -> None:
        """Give up what calling it takes."""


@dataclass(frozen=True)
class LocalRunner:
    """Calls the implementation in this process."""

    implementation: Implementation
    operation: str

    def observe(self, case: Case, *, repeat: bool = False) -> Observation:
        """Call it once, or twice to compare."""
        return observe(self.implementation, self.operation, case, repeat=repeat)

    def observe_threads(self, cases: Sequence[Case], threads: int) -> Observation:
        """Call it from several threads at once."""
        return observe_threads(self.implementation, self.operation, cases, threads)

    def close(self) -> None:
        """Leave the implementation as it is."""


class _NotOfferedError(Exception):
    """A system has no words for a case, which then says nothing of it."""


class _BreachError(Exception):
    """A call inside a law did not return results; carries what is wrong."""

    def __init__(self, mismatch: Mismatch) -> None:
        super().__init__(mismatch.message)
        self.mismatch = mismatch


@dataclass
class Examiner:
    """An implementation, what it claims, and the budget of one examination.

    Attributes
    ----------
    source : the statement that defines ``impl`` in a reproducing program
    causes : of earlier findings
    not_offered : what its system has no words for, in the order of its appearance
    """

    operation: Operation
    claims: Claims
    runner: Runner
    source: str
    seed: int = 0
    examples: int = 100
    deadline: float | None = None
    worst_ratio: float | None = None
    deviations: list[Deviation] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    not_offered: dict[str, None] = field(default_factory=dict)
    _untested: int = 0

    @property
    def dtype(self) -> Any:
        """The type of the implementation's arrays."""
        return float_type("dtype", self.claims.dtype)

    @property
    def out_of_time(self) -> bool:
        """Tell whether the budget is spent."""
        return self.deadline is not None and time.monotonic() > self.deadline

    # --- cases

    def exact_cases(self) -> st.SearchStrategy[Case]:
        """Draw cases on which every order of summation gives the same bits."""
        return self._cases(self.operation.exact_problems(self.claims), self.operation.exact_arrays)

    def real_cases(self) -> st.SearchStrategy[Case]:
        """Draw cases of real numbers of many magnitudes."""
        return self._cases(self.operation.problems(self.claims), self.operation.real_arrays)

    def _cases(self, problems: st.SearchStrategy[Problem], values: Values) -> st.SearchStrategy[Case]:
        def build(problem: Problem, seed: int) -> Case:
            return Case(problem, values(problem, np.random.default_rng((self.seed, seed)), self.claims))

        return st.builds(build, problems, st.integers(0, 2**16 - 1))

    # --- judgement of one call

    def observed(self, case: Case, *, repeat: bool = False) -> Observation:
        """Call the implementation, unless its adapter says that the system has no words for the case."""
        observation = self.runner.observe(case, repeat=repeat)
        if observation.error is not None and observation.error.kind == NotOffered.__name__:
            self.not_offered[observation.error.text] = None
            raise _NotOfferedError
        return observation

    def exactly(self, case: Case) -> Mismatch | None:
        """Demand the reference's results of exact data, the same ones twice, and no side effects."""
        return self.judged(case, self.observed(case, repeat=True))

    def judged(self, case: Case, observation: Observation, expected: Results | None = None) -> Mismatch | None:
        """Demand results bit for bit, or within their bound where right implementations differ on any data.

        `expected` is for cases that the reference is not for.
        """
        failed = self.mismatch_of(observation)
        if failed:
            return failed
        got = observation.results or {}
        if expected is None:
            expected = self.operation.expected(case, self.claims)
        if self.claims.sums_terms and not self.operation.rounds:
            return exact_mismatch(got, expected, self.claims)
        return limit_mismatch(got, expected, self.operation.bounds(case, self.claims), self.claims)

    def compared(self, case: Case, expected: Results) -> Mismatch | None:
        """Demand given results, the same ones twice, and no side effects."""
        return self.judged(case, self.observed(case, repeat=True), expected)

    def within_bound(self, case: Case) -> Mismatch | None:
        """Demand that no element's error exceeds its bound, and the same bits twice.

        Flushed subnormals are a deviation only.
        """
        observation = self.observed(case, repeat=True)
        failed = self.mismatch_of(observation)
        if failed:
            return failed
        got, expected = observation.results or {}, self.operation.expected(case, self.claims)
        limits = self.operation.bounds(case, self.claims)
        mismatch = limit_mismatch(got, expected, limits, self.claims)
        if mismatch is None:
            self.worst_ratio = max(self.worst_ratio or 0.0, worst(got, expected, limits))
            return None
        flushing = self.operation.bounds(case, self.claims, flushes_subnormals=True)
        if mismatch.bound is not None and limit_mismatch(got, expected, flushing, self.claims) is None:
            self.deviate("subnormal numbers", "are taken for zero, which OpenCL allows", case, mismatch)
            return None
        self.worst_ratio = max(self.worst_ratio or 0.0, worst(got, expected, limits))
        return mismatch

    def lawful(self, identity: Identity, case: Case) -> Mismatch | None:
        """Demand a law."""

        def call(case: Case) -> Results:
            observation = self.observed(case)
            failed = self.mismatch_of(observation)
            if failed:
                raise _BreachError(failed)
            return observation.results or {}

        try:
            found = identity.check(call, case)
        except _BreachError as breach:
            return breach.mismatch
        return None if found is None else disagreement(found, identity.name)

    def mismatch_of(self, observation: Observation) -> Mismatch | None:
        """Return what is wrong with a call apart from its results."""
        if observation.error is not None:
            verb = "" if observation.died else "raised "
            return Mismatch(f"{verb}{observation.error}", died=observation.died)
        if observation.remarks:
            return Mismatch("; ".join(observation.remarks))
        return None

    def deviate(self, name: str, message: str, case: Case, mismatch: Mismatch) -> None:
        """Note a difference that is not held against the implementation, once for each name."""
        if all(deviation.name != name for deviation in self.deviations):
            program = snippet(self.operation, case, mismatch, self.source, self.claims.dtype)
            self.deviations.append(Deviation(name, message, call_text(self.operation, case), program))

    # --- whole examinations

    def search(
        self, mode: str, name: str, cases: st.SearchStrategy[Case], examine: Examine, simplify: bool = True
    ) -> Outcome:
        """Draw cases, shrink the first that fails, and describe it."""
        started = time.monotonic()
        examine = self._tested(examine)
        found = search(cases, examine, seed=self.seed, budget=Budget(self.examples, self.deadline))
        findings: list[Finding] = []
        if found.smallest is not None:
            case, mismatch = found.smallest
            if simplify and not found.flaky:
                case, mismatch = simplified(case, mismatch, examine, lambda: self.out_of_time)
            evidence = [*found.failures, (case, mismatch)]
            cause = "the result changes from call to call" if found.flaky else self.cause(evidence, found.passed)
            findings.append(self.finding(mode, name, mismatch.case or case, mismatch, cause))
        return self._outcome(mode, name, found.cases, findings, started, found.out_of_time)

    def single(self, mode: str, name: str, case: Case, examine: Examine, cause: str) -> Outcome:
        """Judge one case."""
        started = time.monotonic()
        if self.out_of_time:
            return self._outcome(mode, name, 0, (), started, True)
        examine = self._tested(examine)
        mismatch = examine(case)
        findings: list[Finding] = []
        if mismatch is not None and case.problem.disputed and not mismatch.died:
            self.deviate(case.problem.disputed, mismatch.message, case, mismatch)
        elif mismatch is not None:
            cause = self.cause([(case, mismatch)], occasion=cause)
            case, mismatch = simplified(case, mismatch, examine, lambda: self.out_of_time)
            findings.append(self.finding(mode, name, mismatch.case or case, mismatch, cause))
        return self._outcome(mode, name, 1, findings, started, False)

    def cause(self, failures: Sequence[tuple[Case, Mismatch]], passed: Sequence[Case] = (), occasion: str = "") -> str:
        """Return the likely cause of failing cases, and remember it."""
        failed = [(mismatch.case or case, mismatch) for case, mismatch in failures]
        cause = likely_cause(self.operation, self.claims, failed, passed, self.causes, occasion)
        self.causes.append(cause)
        return cause

    def finding(self, mode: str, name: str, case: Case, mismatch: Mismatch, cause: str) -> Finding:
        """Describe a fault."""
        return Finding(
            mode,
            name,
            mismatch.message,
            cause,
            call_text(self.operation, case),
            snippet(self.operation, case, mismatch, self.source, self.claims.dtype),
            mismatch.result,
            mismatch.index,
            mismatch.got,
            mismatch.expected,
            mismatch.error,
            mismatch.bound,
        )

    def _tested(self, examine: Examine) -> Examine:
        """Return the same examination, in which a case without words is neither right nor wrong, nor counted."""

        def tested(case: Case) -> Mismatch | None:
            try:
                return examine(case)
            except _NotOfferedError:
                self._untested += 1
                return None

        return tested

    def _outcome(
        self, mode: str, name: str, cases: int, findings: Iterable[Finding], started: float, out_of_time: bool
    ) -> Outcome:
        deviations, self.deviations = tuple(self.deviations), []
        ratio, self.worst_ratio = self.worst_ratio, None
        cases, self._untested = cases - self._untested, 0
        seconds = time.monotonic() - started
        return Outcome(mode, name, cases, ratio, tuple(findings), deviations, out_of_time, seconds)
