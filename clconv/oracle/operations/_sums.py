"""What operations have in common whose results are sums of products of their arrays' elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle._floats import float_type, smallest_normal

from ._base import Call, Case, Claims, Disagreement, Identity, Operation, Problem, Results

__all__ = ["SumOfProducts", "difference"]

TINY = 1 / 8  # of the cases of real numbers: products among the subnormals

Array = NDArray[Any]


class SumOfProducts(Operation):
    """An operation whose results are sums of products, one factor from each of some arrays, or of plain terms.

    Attributes
    ----------
    factors : for each result, the arrays that one product takes a factor from
    addends : for each result, the arrays whose elements are added to it
    padded : name of the array that is padded
    """

    factors: Mapping[str, tuple[str, ...]]
    addends: Mapping[str, tuple[str, ...]] = {}
    padded: str = "input"

    def real_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw normal numbers, now and then such small ones that their products are subnormal."""
        arrays = super().real_arrays(problem, random, claims)
        multiplied = {name for factors in self.factors.values() if len(factors) > 1 for name in factors}
        if not multiplied or random.random() > TINY:
            return arrays
        product = smallest_normal(float_type("dtype", claims.dtype)) / 4
        scales = {name: product**0.5 if name in multiplied else product for name in arrays}
        return {name: (array * scales[name]).astype(array.dtype) for name, array in arrays.items()}

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterable[tuple[str, Case, Results, str]]:
        """Plant NaN and infinities in one array after the other, among integers without a zero."""
        arrays = self.exact_arrays(problem, random, claims)
        if any((array == 0).any() for array in arrays.values()):
            return  # sums so long that they were thinned out: zero times infinity would be NaN
        for name in problem.shapes:
            if arrays[name].size == 0:
                continue
            planted = {k: a.copy() for k, a in arrays.items()}
            for value in (np.nan, np.inf, -np.inf):
                planted[name].flat[random.integers(planted[name].size)] = value
            case = Case(problem, planted)
            # A stored zero times infinity is NaN, and some systems do store the zeros of padding.
            disputed = "" if name == self.padded else "0 times infinity in the padding"
            yield f"NaN and infinities in {name}", case, self._with_specials(case, name, claims), disputed

    def _with_specials(self, case: Case, name: str, claims: Claims) -> Results:
        """Return the exact results where one array holds NaN and infinities and no other holds a zero.

        The terms that are NaN, and those of either infinite sign, are counted by the operation itself, applied
        to indicators: a product with an infinity has the sign of the product of its factors' signs.
        """
        arrays = {k: a.astype(np.float64) for k, a in case.arrays.items()}
        special = arrays[name]
        arguments = dict(case.problem.arguments)

        def evaluated(chosen: Array, others: Mapping[str, Array]) -> Results:
            return self.evaluate({**others, name: chosen.astype(np.float64)}, dict(arguments), claims)

        finite = evaluated(np.where(np.isfinite(special), special, 0), arrays)
        positive = {k: (a > 0).astype(np.float64) for k, a in arrays.items()}
        negative = {k: (a < 0).astype(np.float64) for k, a in arrays.items()}
        anything = {k: np.ones(a.shape) for k, a in arrays.items()}
        results: Results = {}
        for result, value in finite.items():
            is_factor, is_addend = name in self.factors[result], name in self.addends.get(result, ())
            if value is None or not (is_factor or is_addend):
                results[result] = value
                continue
            silent = self.addends.get(result, ()) if is_factor else self.factors[result]

            def count(
                chosen: Array, others: Mapping[str, Array], result: str = result, silent: tuple[str, ...] = silent
            ) -> Array:
                kept = {k: np.zeros(a.shape) if k in silent else a for k, a in others.items()}
                counted = evaluated(chosen, kept)[result]
                assert counted is not None
                return counted

            high, low = special == np.inf, special == -np.inf
            nan = count(np.isnan(special), anything)
            plus = count(high, positive) + count(low, negative)
            minus = count(high, negative) + count(low, positive)
            if is_addend or len(self.factors[result]) == 1:
                plus, minus = count(high, anything), count(low, anything)
            specials = np.where((nan > 0) | ((plus > 0) & (minus > 0)), np.nan, np.where(plus > 0, np.inf, -np.inf))
            results[result] = np.where(nan + plus + minus > 0, specials, value)
        return results

    def identities(self, claims: Claims) -> Iterable[Identity]:
        """List the laws of linearity, in every array that is a factor of every result."""
        common = [n for n in self.required if all(n in factors for factors in self.factors.values())]
        for name in common:
            yield Identity(f"linear in {name}", self._linearity(name))

    def _linearity(self, name: str) -> Any:
        """Return the check that f(u + v) = f(u) + f(v), where nothing else is added."""

        def check(call: Call, case: Case) -> Disagreement | None:
            added = {k for names in self.addends.values() for k in names}
            arrays = {k: a for k, a in case.arrays.items() if k not in added}
            shapes = {k: shape for k, shape in case.problem.shapes.items() if k not in added}
            plain = Case(Problem(shapes, case.problem.arguments), arrays)
            u = arrays[name]
            v = np.roll(u, 1)
            whole = call(plain.holding(**{name: u + v}))
            parts = call(plain), call(plain.holding(**{name: v}))
            for result, total in whole.items():
                one, two = parts[0][result], parts[1][result]
                if total is None or one is None or two is None:
                    continue
                found = difference(f"f({name} + other) is not f({name}) + f(other)", total, one + two, result)
                if found:
                    return found
            return None

        return check


def difference(message: str, got: Array, expected: Array, name: str = "output") -> Disagreement | None:
    """Return a disagreement where two results are not equal."""
    if got.shape == expected.shape and np.array_equal(got, expected):
        return None
    return Disagreement(message, got, expected, name)
