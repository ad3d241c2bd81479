"""Why a result is wrong, as far as results tell.

A cause is named by evidence only: a usual fault counts as the cause if what it would have given *is* what was got, in
every failing case that was seen, is not what was expected, and if it would not have shown in the cases that passed.
Without such a fault, how inexact the results are, or where the wrong elements lie, is described.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._floats import unit_roundoff
from .judge import Mismatch, equal, worst
from .operations._base import Case, Claims, Operation, Results, Suspect, as_float64

__all__ = ["likely_cause"]

Array = NDArray[Any]

DIGITS = {"bfloat16": 8, "float16": 11, "float32": 24}
LARGE = 20_000  # elements of a case on which only causes that are known already are tried
ROUNDINGS = 16  # errors of a sum of a few numbers, in units of its last digit


def likely_cause(
    operation: Operation,
    claims: Claims,
    failures: Sequence[tuple[Case, Mismatch]],
    passed: Sequence[Case] = (),
    named: Collection[str] = (),
    occasion: str = "",
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
    occasion : when the results are wrong
        Is said where no fault explains them.

    Returns
    -------
    str
        Empty if the pattern is not known.
    """
    if failures and failures[-1][1].cause:
        return failures[-1][1].cause
    evidence = [_Evidence(operation, claims, case, mismatch) for case, mismatch in failures if mismatch.results]
    if not evidence:
        return occasion
    known = [suspect for suspect in operation.suspects() if any(cause.startswith(suspect.cause) for cause in named)]
    suspects = known
    if all(case.size <= LARGE for case, _ in failures):
        suspects = known + [suspect for suspect in operation.suspects() if suspect not in known]
    explaining = [suspect for suspect in suspects if all(e.is_explained_by(suspect) for e in evidence)]
    for suspect in explaining:
        if evidence[-1].spares(suspect, passed):
            return _of_result(suspect, evidence)
    if explaining:
        return f"{_of_result(explaining[0], evidence)}, but not in every case"
    described = _common([e.inexactness() for e in evidence]) or _common([e.place() for e in evidence])
    if described:
        return f"{occasion}: {described}" if occasion else described
    # The smallest case may show another fault than others do.
    explaining = [suspect for suspect in suspects if evidence[-1].is_explained_by(suspect)]
    sparing = (suspect for suspect in explaining if evidence[-1].spares(suspect, passed))
    return next((f"{suspect.cause}, but not in every case" for suspect in sparing), occasion)


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
        return self.limits_of(self.case)

    def limits_of(self, case: Case) -> Results:
        """Return the bounds of a case that was judged as this one was."""
        return {} if self.mismatch.bound is None else self.operation.bounds(case, self.claims)

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

    def spares(self, suspect: Suspect, passed: Sequence[Case]) -> bool:
        """Tell whether the fault leaves right what is right."""
        for case in passed:
            supposed = _supposed(suspect, case)
            if supposed is None:
                continue
            expected, limits = self.operation.expected(case, self.claims), self.limits_of(case)
            if not all(_alike(expected.get(n), supposed.get(n), limits.get(n)) for n in self.operation.results):
                return False
        return True

    def concerns_one_result(self, suspect: Suspect) -> bool:
        """Tell whether the fault would have shown in another result as well, and that one is right."""
        supposed = _supposed(suspect, self.case)
        return supposed is not None and not all(self.agrees(name, supposed) for name in self.operation.results)

    def inexactness(self) -> list[str]:
        """Describe errors that are small."""
        ours, exact = self.ours, self.exact
        if ours is None or exact is None or ours.shape != exact.shape or ours.dtype.kind in "iu":
            return []
        if not all(np.isfinite(array).all() for array in self.case.arrays.values()):
            return []
        narrower = {name: digits for name, digits in DIGITS.items() if digits < DIGITS.get(self.claims.dtype, 53)}
        short = [name for name, digits in narrower.items() if _has_digits_of(ours, exact, digits)]
        if short:
            return [f"{self.mismatch.result} has only the digits of {name}" for name in short]
        if self.mismatch.bound is None:
            ratio = worst(self.got, self.expected, self.operation.bounds(self.case, self.claims))
            lost = ["terms of a long sum are lost, by less than the bound of its rounding"]
            rounded = ["sums of integers are rounded that are exact in any order: by a transform, such as Winograd's"]
            return [*(lost if ratio <= 1 and (ours == np.rint(ours)).all() else ()), *(rounded if ratio < 100 else ())]
        narrow = replace(self.claims, accumulate=self.claims.dtype)
        if self.claims.dtype not in ("float16", "bfloat16"):
            return []
        ratio = worst(self.got, self.expected, self.operation.bounds(self.case, narrow))
        return [f"sums are accumulated in {self.claims.dtype}"] if ratio <= 1 else []

    def place(self) -> list[str]:
        """Describe where the wrong elements lie."""
        ours, exact, name = self.ours, self.exact, self.mismatch.result
        if ours is None or exact is None:
            return []
        if ours.shape != exact.shape:
            return [_of_shape(name, ours.shape, exact.shape)]
        return _where(name, ours.astype(np.float64), exact.astype(np.float64))


def _supposed(suspect: Suspect, case: Case) -> Results | None:
    try:
        with np.errstate(all="ignore"):
            return suspect.results({**as_float64(case.arrays)}, dict(case.problem.arguments))
    except Exception:  # the fault has no meaning for these arguments
        return None


def _of_result(suspect: Suspect, evidence: Sequence[_Evidence]) -> str:
    """Say which result the fault is in, where it spares others that it could have changed."""
    names = {e.mismatch.result for e in evidence}
    if len(names) == 1 and any(e.concerns_one_result(suspect) for e in evidence):
        return f"{suspect.cause}, in {names.pop()} only"
    return suspect.cause


def _common(descriptions: Sequence[list[str]]) -> str:
    """Return the first description that fits all failing cases."""
    return next((text for text in descriptions[-1] if all(text in others for others in descriptions)), "")


def _alike(got: Array | None, supposed: Array | None, limit: Array | None = None) -> bool:
    if got is None or supposed is None:
        return got is None and supposed is None
    if got.shape != supposed.shape:
        return False
    with np.errstate(all="ignore"):
        alike = equal(got, supposed.astype(got.dtype))
        if limit is not None:  # the fault's own rounding, where its result is larger than the right one
            own = ROUNDINGS * unit_roundoff(got.dtype) * np.abs(supposed)
            alike |= np.abs(got.astype(np.float64) - supposed) <= limit + own
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


def _where(name: str, got: Array, expected: Array) -> list[str]:
    wrong = ~equal(got, expected)
    found = []
    if wrong.all():
        with np.errstate(all="ignore"):
            factors = np.unique(got[expected != 0] / expected[expected != 0])
        if factors.size == 1 and np.isfinite(factors[0]) and not np.any(got[expected == 0]):
            found.append(f"every element of {name} is {factors[0]:.6g} times what it should be")
    found += _ends(name, wrong)
    if np.isnan(got[wrong]).all():
        found.append(f"elements of {name} are NaN")
    if not np.any(got[wrong]):
        found.append(f"elements of {name} are zero that should not be")
    if not np.any(expected[wrong]):
        found.append(f"elements of {name} are not zero that should be")
    return found


def _ends(name: str, wrong: Array) -> list[str]:
    """Describe wrong elements that all lie at one end of an axis."""
    found = []
    for axis in range(wrong.ndim):
        along = np.moveaxis(wrong, axis, 0)
        if len(along) < 2:
            continue
        is_batch = axis == 0 and wrong.ndim > 2
        place = "image" if is_batch else f"position along axis {axis}"
        if along[-1].any() and not along[:-1].any():
            found.append(f"only the last {place} of {name} is wrong")
        if along[0].any() and not along[1:].any():
            found.append(f"only the first {place} of {name} is wrong")
        if is_batch and not along[0].any():
            found.append(f"only images after the first are wrong in {name}")
    return found
