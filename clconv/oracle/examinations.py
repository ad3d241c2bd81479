"""The examinations that an implementation of an operation goes through, each of which stands alone.

exact
    Drawn problems on integers that every order of summation adds up to the same bits: equality.
edges
    Problems at the limits, one after the other, on such integers.
refusals
    Calls without a meaning: any exception is right, any result is wrong.
hostile
    Memory layouts, NaN and infinities, huge and tiny numbers, aliased arrays, changed arguments, threads.
bound
    Drawn problems on real numbers of many magnitudes: each element's error against its own bound.
identities
    Laws that need no reference, such as linearity. Last, because they take long and are seldom broken alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .examiner import Examiner
from .hostile import hostile_tests
from .judge import Mismatch
from .operations._base import Case, Claims, Identity, Operation, Problem, Refusal
from .report import Outcome

__all__ = ["MODES", "Examination", "examinations"]

MODES = ("exact", "edges", "refusals", "hostile", "bound", "identities")


@dataclass(frozen=True)
class Examination:
    """One examination: the mode that it belongs to, its name, and what runs it.

    `drawn` says that it draws cases, and so takes the larger part of the time.
    """

    mode: str
    name: str
    run: Callable[[Examiner], Outcome]
    drawn: bool = False


def examinations(operation: Operation, claims: Claims) -> list[Examination]:
    """Return what an implementation with these claims goes through, in the order of modes above."""
    listed = [Examination("exact", "drawn problems", _exact, drawn=True)]
    listed += [_edge(problem) for problem in operation.edges(claims)]
    listed += [_refusal(refusal) for refusal in operation.refusals(claims)]
    listed += [Examination("hostile", name, run, drawn=True) for name, run in hostile_tests(operation, claims)]
    listed.append(Examination("bound", "drawn problems", _bound, drawn=True))
    if claims.sums_terms:  # other results keep the laws within their rounding only
        listed += [_identity(identity) for identity in operation.identities(claims)]
    return listed


def _exact(examiner: Examiner) -> Outcome:
    return examiner.search("exact", "drawn problems", examiner.exact_cases(), examiner.exactly)


def _edge(problem: Problem) -> Examination:
    def run(examiner: Examiner) -> Outcome:
        arrays = examiner.operation.exact_arrays(problem, np.random.default_rng(examiner.seed), examiner.claims)
        cause = f"wrong for {problem.name}"
        return examiner.single("edges", problem.name, Case(problem, arrays), examiner.exactly, cause)

    return Examination("edges", problem.name, run)


def _refusal(refusal: Refusal) -> Examination:
    def run(examiner: Examiner) -> Outcome:
        arrays = refusal.arrays or {
            name: np.ones(shape).astype(examiner.dtype) for name, shape in refusal.problem.shapes.items()
        }
        case = Case(refusal.problem, arrays)

        def accepted(case: Case) -> Mismatch | None:
            observation = examiner.observed(case)
            if observation.died:
                return examiner.mismatch_of(observation)
            if observation.error is not None:
                return None
            return Mismatch(f"accepts {refusal.problem.name}, although {refusal.rule}")

        cause = f"does not check that {refusal.rule}"
        return examiner.single("refusals", refusal.problem.name, case, accepted, cause)

    return Examination("refusals", refusal.problem.name, run)


def _identity(identity: Identity) -> Examination:
    def run(examiner: Examiner) -> Outcome:
        # A quarter of the magnitude leaves room for sums of two arrays.
        cases = examiner.exact_cases().map(examiner.operation.quartered)
        return examiner.search("identities", identity.name, cases, lambda case: examiner.lawful(identity, case))

    return Examination("identities", identity.name, run, drawn=True)


def _bound(examiner: Examiner) -> Outcome:
    return examiner.search("bound", "drawn problems", examiner.real_cases(), examiner.within_bound)
