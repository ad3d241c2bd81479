"""Whether a result is right: equal to the reference, or within its bound; and if not, where it is most wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import bounds
from .operations._base import Case, Claims, Disagreement, Results

__all__ = ["Mismatch", "disagreement", "equal", "exact_mismatch", "limit_mismatch", "worst"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Mismatch:
    """What is wrong with a call.

    Attributes
    ----------
    message : in a sentence
    result : name of the wrong result, if one is
    index : its most wrong element
    got, expected, bound : there; None where the message says it all
    results : all that was got, for finding the cause
    cause : the cause, where it is known already
    case : the case that shows it, where that is not the one examined
    law : name of the law that is broken, if one is
    died : whether the process that ran the call did not survive it
    """

    message: str
    result: str = ""
    index: tuple[int, ...] | None = None
    got: float | None = None
    expected: float | None = None
    bound: float | None = None
    results: Results | None = None
    cause: str = ""
    case: Case | None = None
    law: str = ""
    died: bool = False

    @property
    def kind(self) -> str:
        """What two mismatches of one fault have in common: that there is a wrong value, or the first words."""
        return "value" if self.index is not None else " ".join(self.message.split()[:2])

    @property
    def error(self) -> float | None:
        """Distance of what was got from what was expected."""
        if self.got is None or self.expected is None:
            return None
        return abs(self.got - self.expected)


def exact_mismatch(got: Results, expected: Results, claims: Claims) -> Mismatch | None:
    """Compare bit for bit, but for the sign of zero and the payload of NaN, with the expected value as stored."""
    for name, exact in expected.items():
        ours = got.get(name)
        wrong = _wrong_form(name, ours, exact, claims, got)
        if wrong or exact is None or ours is None:
            if wrong:
                return wrong
            continue
        with np.errstate(over="ignore"):
            stored = exact.astype(ours.dtype)
        if equal(ours, stored).all():
            continue
        return _at_worst(name, ours, exact, None, got)
    return None


def limit_mismatch(got: Results, expected: Results, limits: Results, claims: Claims) -> Mismatch | None:
    """Compare every element's error with its own bound."""
    for name, exact in expected.items():
        ours, limit = got.get(name), limits.get(name)
        wrong = _wrong_form(name, ours, exact, claims, got)
        if wrong:
            return wrong
        if exact is None or ours is None or limit is None:
            continue
        if bounds.worst_ratio(_plain(ours), _plain(exact), _plain(limit)) > 1:
            return _at_worst(name, ours, exact, limit, got)
    return None


def worst(got: Results, expected: Results, limits: Results) -> float:
    """Return the largest error, in units of its bound."""
    ratios = [0.0]
    for name, exact in expected.items():
        ours, limit = got.get(name), limits.get(name)
        if ours is not None and exact is not None and limit is not None and ours.shape == exact.shape:
            ratios.append(bounds.worst_ratio(_plain(ours), _plain(exact), _plain(limit)))
    return max(ratios)


def disagreement(found: Disagreement, law: str) -> Mismatch:
    """Turn the breach of a law into a mismatch."""
    if found.got.shape != found.expected.shape:
        text = f"{found.message}: shapes {found.got.shape} and {found.expected.shape}"
        return Mismatch(text, found.name, law=law)
    at = _at_worst(found.name, found.got, found.expected, found.bound, None)
    return Mismatch(found.message, found.name, at.index, at.got, at.expected, at.bound, law=law)


def _wrong_form(
    name: str, got: Array | None, expected: Array | None, claims: Claims, all_got: Results
) -> Mismatch | None:
    """Compare what there is before its values: presence, shape, type."""
    if expected is None:
        return None
    if got is None:
        return Mismatch(f"{name} is missing", name, results=None)
    if got.shape != expected.shape:
        return Mismatch(f"{name} has shape {got.shape}, it should be {expected.shape}", name, results=all_got)
    kind = "an integer type" if expected.dtype.kind in "iu" else claims.dtype
    if (
        (got.dtype.kind not in "iu")
        if expected.dtype.kind in "iu"
        else (got.dtype.name != claims.dtype or not got.dtype.isnative)
    ):
        return Mismatch(f"{name} has dtype {got.dtype}, it should be {kind}", name, results=None)
    return None


def _at_worst(name: str, got: Array, expected: Array, limit: Array | None, all_got: Results | None) -> Mismatch:
    """Describe the element with the largest error, in units of its bound where there is one."""
    ours, exact = _plain(got), _plain(expected)
    with np.errstate(all="ignore"):
        error = np.abs(ours - exact)
        measure = error if limit is None else error / _plain(limit)
    measure = np.where(equal(ours, exact), -1.0, np.where(np.isnan(measure), np.inf, measure))
    if measure.ndim == 0:
        index: tuple[int, ...] = ()
    else:
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(measure)), measure.shape))
    bound = None if limit is None else float(_plain(limit)[index])
    count = int((measure > (0 if limit is None else 1)).sum())
    place = f"[{', '.join(map(str, index))}]" if index else ""
    message = f"{name}{place} is {ours[index]:.9g}, it should be {exact[index]:.9g}"
    if bound is not None:
        message += f" within {bound:.3g}"
    message += f" ({count} of {measure.size} elements wrong)"
    return Mismatch(message, name, index, float(ours[index]), float(exact[index]), bound, all_got)


def equal(a: Array, b: Array) -> Array:
    """Tell where two arrays are equal, NaN being equal to NaN."""
    same: Array = a == b
    if a.dtype.kind not in "iu" and b.dtype.kind not in "iu":
        same = same | ((a != a) & (b != b))
    return np.asarray(same)


def _plain(array: Array) -> Array:
    return array.astype(np.float64)
