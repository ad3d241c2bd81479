"""Why a result is wrong, as far as results tell.

A cause is named by evidence only: a usual fault counts as the cause if what it would have given *is* what was got, in
every failing case that was seen, is not what was expected, and if it would not have shown in the cases that passed.
Without such a fault, how inexact the results are, or where the wrong elements lie, is described.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .judge import Mismatch, equal, limit_mismatch
from .operations._base import Case, Claims, Operation, Results, Suspect, as_float64

__all__ = ["likely_cause"]

Array = NDArray[Any]

DIGITS = {"bfloat16": 8, "float16": 11, "float32": 24}
ROUNDINGS = 16  # errors of a sum of a few numbers, in units of its last digit


def likely_cause(
    operation: Operation,
    claims: Claims,
    failures: Sequence[tuple[Case, Mismatch]],
    passed: Sequence[Case] = (),
    named: Collection[str] = (),
) -> str:
    """Return the cause that the evidence speaks for, or nothing.

    Parameters
    ----------
    operation, claims
        What was examined.
    failures : failing cases
        The last one is the smallest. If its cause is known already, that is it.
    passed : cases that came out right
    named : causes of earlier findings
        Are tried first: one fault shows in many ways.

    Returns
    -------
    str
        Empty if the pattern is not known.
    """
    if failures and failures[-1][1].cause:
        return failures[-1][1].cause
    evidence = [_Evidence(operation, claims, case, mismatch) for case, mismatch in failures if mismatch.results]
    if not evidence:
        return ""
    suspects = sorted(operation.suspects(), key=lambda s: not any(cause.startswith(s.cause) for cause in named))
    explaining = [suspect for suspect in suspects if all(e.is_explained_by(suspect) for e in evidence)]
    for suspect in explaining:
        if _spares(suspect, operation, claims, passed):
            return _of_result(suspect, evidence)
    if explaining:
        return f"{_of_result(explaining[0], evidence)}, but not in every case"
    described = _common(e.inexactness() for e in evidence) or _common(e.place() for e in evidence)
    if described:
        return described
    # The smallest case may show another fault than others do.
    explaining = [suspect for suspect in suspects if evidence[-1].is_explained_by(suspect)]
    return next((s.cause for s in explaining if _spares(s, operation, claims, passed)), "")


@dataclass(frozen=True)
class _Evidence:
    """A failing case with results."""

    operation: Operation
    claims: Claims
    case: Case
    mismatch: Mismatch

    @cached_property
    def got(self) -> Results:
        return self.mismatch.results or {}

    @cached_property
    def expected(self) -> Results:
        return self.operation.expected(self.case, self.claims)

    @cached_property
    def limits(self) -> Results:
        """Bounds where the mismatch is one of bounds; a guess at those of a fault, too."""
        return {} if self.mismatch.bound is None else self.operation.bounds(self.case, self.claims)

    @property
    def ours(self) -> Array | None:
        """The wrong result."""
        return self.got.get(self.mismatch.result)

    @property
    def exact(self) -> Array | None:
        """What it should be."""
        return self.expected.get(self.mismatch.result)

    def agrees(self, name: str, supposed: Results) -> bool:
        """Tell whether what was got for a result is what is supposed."""
        return _alike(self.got.get(name), supposed.get(name), self.limits.get(name))

    def is_explained_by(self, suspect: Suspect) -> bool:
        """Tell whether the wrong result is the fault's, and all others are the fault's or right."""
        supposed = _supposed(suspect, self.case)
        if supposed is None or not self.agrees(self.mismatch.result, supposed):
            return False
        return all(self.agrees(name, supposed) or self.agrees(name, self.expected) for name in self.operation.results)

    def concerns_one_result(self, suspect: Suspect) -> bool:
        """Tell whether the fault would have shown in another result as well, and that one is right."""
        supposed = _supposed(suspect, self.case)
        return supposed is not None and not all(self.agrees(name, supposed) for name in self.operation.results)

    def inexactness(self) -> str:
        """Describe errors that come from rounding."""
        ours, exact = self.ours, self.exact
        if ours is None or exact is None or ours.shape != exact.shape or ours.dtype.kind in "iu":
            return ""
        if not all(np.isfinite(array).all() for array in self.case.arrays.values()):
            return ""
        for name, digits in DIGITS.items():
            if digits < DIGITS.get(self.claims.dtype, 53) and _has_digits_of(ours, exact, digits):
                return f"{self.mismatch.result} has only the digits of {name}"
        if self.mismatch.bound is None:
            bounds = self.operation.bounds(self.case, self.claims)
            if limit_mismatch(self.got, self.expected, bounds, self.claims) is None:
                return "integers are rounded whose plain sum is exact: by a transform, such as Winograd's, or a factor"
        elif self.claims.dtype in ("float16", "bfloat16") and self.claims.accumulate != self.claims.dtype:
            narrow = replace(self.claims, accumulate=self.claims.dtype)
            bounds = self.operation.bounds(self.case, narrow)
            if limit_mismatch(self.got, self.expected, bounds, self.claims) is None:
                return f"sums are accumulated in {self.claims.dtype}"
        return ""

    def place(self) -> str:
        """Describe where the wrong elements lie."""
        ours, exact, name = self.ours, self.exact, self.mismatch.result
        if ours is None or exact is None:
            return ""
        if ours.shape != exact.shape:
            return _of_shape(name, ours.shape, exact.shape)
        return _where(name, ours.astype(np.float64), exact.astype(np.float64))


def _supposed(suspect: Suspect, case: Case) -> Results | None:
    try:
        return suspect.results({**as_float64(case.arrays)}, dict(case.problem.arguments))
    except Exception:  # the fault has no meaning for these arguments
        return None


def _spares(suspect: Suspect, operation: Operation, claims: Claims, passed: Sequence[Case]) -> bool:
    """Tell whether a fault leaves right what is right."""
    for case in passed:
        supposed = _supposed(suspect, case)
        if supposed is None:
            continue
        expected = operation.expected(case, claims)
        if not all(_alike(expected.get(name), supposed.get(name)) for name in operation.results):
            return False
    return True


def _of_result(suspect: Suspect, evidence: Sequence[_Evidence]) -> str:
    """Say which result the fault is in, where it spares others that it could have changed."""
    names = {e.mismatch.result for e in evidence}
    if len(names) == 1 and any(e.concerns_one_result(suspect) for e in evidence):
        return f"{suspect.cause}, in {names.pop()} only"
    return suspect.cause


def _common(descriptions: Iterable[str]) -> str:
    """Return what is the same in all failing cases."""
    different = set(descriptions)
    return different.pop() if len(different) == 1 else ""


def _alike(got: Array | None, supposed: Array | None, limit: Array | None = None) -> bool:
    if got is None or supposed is None:
        return got is None and supposed is None
    if got.shape != supposed.shape:
        return False
    with np.errstate(all="ignore"):
        alike = equal(got, supposed.astype(got.dtype))
        if limit is not None:
            alike |= np.abs(got.astype(np.float64) - supposed) <= limit
    return bool(alike.all())


def _has_digits_of(got: Array, expected: Array, digits: int) -> bool:
    """Tell whether the results are about right, but all of them have fewer digits than some should."""
    values = got.astype(np.float64)
    largest = np.abs(expected).max(initial=0)
    if not np.isfinite(values).all() or np.abs(values - expected).max(initial=0) > ROUNDINGS * 2.0**-digits * largest:
        return False
    return _is_short(values, digits).all() and not _is_short(expected, digits).all()


def _is_short(values: Array, digits: int) -> Any:
    significand, _ = np.frexp(values)
    scaled = np.ldexp(significand, digits)
    return scaled == np.rint(scaled)


def _of_shape(name: str, got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if len(got) != len(expected):
        return f"{name} has {len(got)} axes instead of {len(expected)}"
    more, less = (any(g > e for g, e in zip(*pair, strict=True)) for pair in ((got, expected), (expected, got)))
    if more and less:
        return f"{name} has other extents than it should have"
    return f"{name} is {'larger' if more else 'smaller'} than it should be"


def _where(name: str, got: Array, expected: Array) -> str:
    wrong = ~equal(got, expected)
    if wrong.all():
        with np.errstate(all="ignore"):
            factors = np.unique(got[expected != 0] / expected[expected != 0])
        if factors.size == 1 and np.isfinite(factors[0]) and not np.any(got[expected == 0]):
            return f"every element of {name} is {factors[0]:.6g} times what it should be"
    descriptions: Sequence[Callable[[], str]] = (
        lambda: _end(name, wrong),
        lambda: f"elements of {name} are NaN" if np.isnan(got[wrong]).all() else "",
        lambda: f"elements of {name} are zero that should not be" if not np.any(got[wrong]) else "",
        lambda: f"elements of {name} are not zero that should be" if not np.any(expected[wrong]) else "",
    )
    return next((text for text in (description() for description in descriptions) if text), "")


def _end(name: str, wrong: Array) -> str:
    """Describe wrong elements that all lie at one end of an axis."""
    for axis in range(wrong.ndim):
        along = np.moveaxis(wrong, axis, 0)
        if len(along) < 2:
            continue
        is_batch = axis == 0 and wrong.ndim > 2
        place = "image" if is_batch else f"position along axis {axis}"
        if along[-1].any() and not along[:-1].any():
            return f"only the last {place} of {name} is wrong"
        if along[0].any() and not along[1:].any():
            return f"only the first {place} of {name} is wrong"
        if is_batch and not along[0].any():
            return f"only images after the first are wrong in {name}"
    return ""
