"""softmax, log_softmax and their gradients as the checker sees them, held to their bounds on all data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from clconv.oracle import reference
from clconv.oracle._floats import float_type

from ._base import Call, Case, Claims, Disagreement, Identity, Operation, Problem, Refusal, Results, Suspect

__all__ = ["SOFTMAXES"]

Array = NDArray[Any]

MANY = 65537  # more than an axis of a grid, or a 16-bit index, can hold
NEGLIGIBLE = -60000.0  # whose exponential is 0 beside a small number's, in every type


class Softmax(Operation):
    """softmax or log_softmax."""

    features: tuple[str, ...] = ("out",)
    positional = ("dim",)
    rounds = True

    def __init__(self, name: str) -> None:
        self.name = self.family = name
        self.required = ("input",)

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a softmax of an array of one to five axes."""
        shapes = st.lists(st.integers(1, 5), min_size=1, max_size=5).map(tuple)
        return shapes.flatmap(
            lambda shape: st.integers(-len(shape), len(shape) - 1).map(lambda dim: self.problem(shape, dim))
        )

    def problem(self, shape: tuple[int, ...], dim: Any, name: str = "") -> Problem:
        """Return the problem of a shape and an axis."""
        return Problem(dict.fromkeys(self.required, shape), {"dim": dim}, name)

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw small integers."""
        dtype = float_type("dtype", claims.dtype)
        return {name: random.integers(-4, 5, shape).astype(dtype) for name, shape in problem.shapes.items()}

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List problems that are often got wrong."""
        yield self.problem((2, 3, 4, 5), 1, "the channels of images")
        yield self.problem((2, 3, 4, 5), -1, "the last axis of four")
        yield self.problem((2, 3, 4, 5), 0, "the first axis of four")
        yield self.problem((4, 1), 1, "an axis of one element")
        yield self.problem((0, 3), 1, "no rows")
        yield self.problem((3, 0), 1, "rows of nothing")
        yield self.problem((3, 257), 1, "rows of 257")
        yield self.problem((2, 33, 70), 1, "33 channels of 70 pixels")
        yield self.problem((2, 1, 2, 3, 2, 2, 2), 3, "an axis in the middle of seven")
        yield self.problem((MANY, 2), 1, f"{MANY} rows")

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning."""
        for dim in (2, -3):
            yield Refusal("dim is an axis of the input", self.problem((2, 3), dim, f"dim={dim} of two axes"))
        yield Refusal("dim is an integer", self.problem((2, 3), 0.5, "dim=0.5"))

    def bounds(self, case: Case, claims: Claims, flushes_subnormals: bool = False) -> Results:
        """Return the bounds; minus infinity is taken for what counts as little, other special numbers for 1."""
        finite = {
            name: np.where(np.isfinite(a), a, np.where(np.isneginf(a), NEGLIGIBLE, 1).astype(a.dtype))
            for name, a in case.arrays.items()
        }
        return super().bounds(case.holding(**finite), claims, flushes_subnormals)

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterator[tuple[str, Case, Results, str]]:
        """Plant NaN and infinities in one array after the other."""
        arrays = self.exact_arrays(problem, random, claims)
        for name, array in arrays.items():
            if array.size == 0:
                continue
            for value in (np.nan, np.inf, -np.inf):
                planted = array.copy()
                planted.flat[random.integers(planted.size)] = value
                case = Case(problem, {**arrays, name: planted})
                yield f"{value} in {name}", case, self.expected(case, claims), ""

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the laws of shares."""
        yield Identity("shares add up to one", functools.partial(self._adds_up, claims))
        yield Identity("an added number changes nothing", functools.partial(self._shifted, claims))

    def judged(self, claims: Claims, call: Call, case: Case) -> tuple[Array, Array]:
        """Return the only result and its bound, in float64."""
        (name,) = self.results
        result, limit = call(case)[name], self.bounds(case, claims)[name]
        assert result is not None
        assert limit is not None
        return result.astype(np.float64), limit

    def _adds_up(self, claims: Claims, call: Call, case: Case) -> Disagreement | None:
        y, limit = self.judged(claims, call, case)
        dim = case.problem.arguments["dim"]
        if self.family == "log_softmax":
            y, limit = np.exp(y), np.exp(y) * np.expm1(limit)
        sums, limits = np.sum(y, axis=dim), np.sum(limit, axis=dim)
        return _beyond("shares do not add up to one", sums, np.ones(sums.shape), limits)

    def _shifted(self, claims: Claims, call: Call, case: Case) -> Disagreement | None:
        moved = case.holding(input=case.arrays["input"] + 8)
        (y, limit), (other, other_limit) = (self.judged(claims, call, each) for each in (case, moved))
        return _beyond("the output changes with a number added to the input", other, y, limit + other_limit)

    def suspects(self) -> Iterator[Suspect]:
        """List the usual faults."""
        other = "softmax" if self.family == "log_softmax" else "log_softmax"
        yield Suspect("the last axis is taken", self._along(lambda dim, axes: axes - 1))
        yield Suspect("the first axis is taken", self._along(lambda dim, axes: 0))
        yield Suspect("the second axis is taken", self._along(lambda dim, axes: 1))
        yield Suspect("a negative dim is counted from the front", self._along(lambda dim, axes: -dim - 1))
        yield Suspect("all axes are summed over together", self._over_all)
        yield Suspect(f"{other} is computed instead", self._as(other))

    def _along(self, change: Callable[[int, int], int]) -> Any:
        def results(arrays: Any, arguments: dict[str, Any]) -> Results:
            axes = arrays["input"].ndim
            dim = change(arguments["dim"], axes)
            if dim % axes == arguments["dim"] % axes:
                raise ValueError("this fault changes nothing here")
            return self.evaluate(arrays, {**arguments, "dim": dim}, Claims())

        return results

    def _over_all(self, arrays: Any, arguments: dict[str, Any]) -> Results:
        flat = {name: array.reshape(-1) for name, array in arrays.items()}
        found = self.evaluate(flat, {**arguments, "dim": 0}, Claims())
        shape = arrays["input"].shape
        return {name: None if a is None else a.reshape(shape) for name, a in found.items()}

    def _as(self, other: str) -> Any:
        def results(arrays: Any, arguments: dict[str, Any]) -> Results:
            return self.named(getattr(reference, self.name.replace(self.family, other))(**arrays, **arguments))

        return results


class SoftmaxBackward(Softmax):
    """The gradient of softmax or log_softmax."""

    features = ("output_mask",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = f"{name}_backward"
        self.required = ("grad_output", "input")
        self.results = ("input",)

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a softmax, and now and then a mask."""
        problems = super().problems(claims)
        if not claims.offers("output_mask"):
            return problems
        masked = st.builds(lambda problem, mask: problem.having(output_mask=(mask,)), problems, st.booleans())
        return st.one_of(problems, masked)

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning, grad_outputs of another shape among them."""
        yield from super().refusals(claims)
        for shape in ((2, 4), (3, 2), (6,)):
            problem = Problem({"grad_output": shape, "input": (2, 3)}, {"dim": 1}, f"a grad_output of shape {shape}")
            yield Refusal("grad_output has the input's shape", problem)

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the law of the gradient."""
        yield Identity("the gradient adds up to zero", functools.partial(self._balanced, claims))

    def _balanced(self, claims: Claims, call: Call, case: Case) -> Disagreement | None:
        if case.problem.arguments.get("output_mask") == (False,):
            return None
        dx, limit = self.judged(claims, call, case)
        dim = case.problem.arguments["dim"]
        sums, limits = np.sum(dx, axis=dim), np.sum(limit, axis=dim)
        return _beyond("the gradient does not add up to zero", sums, np.zeros(sums.shape), limits)

    def suspects(self) -> Iterator[Suspect]:
        """List the usual faults, and those of gradients."""
        yield Suspect("what the shares lose to each other is left out", self._alone)
        yield from super().suspects()

    def _alone(self, arrays: Any, arguments: dict[str, Any]) -> Results:
        if self.family == "log_softmax":
            return {"input": arrays["grad_output"]}
        return {"input": arrays["grad_output"] * reference.softmax(arrays["input"], arguments["dim"])}


def _beyond(message: str, got: Array, expected: Array, limit: Array) -> Disagreement | None:
    """Return a disagreement where two results differ by more than a limit, plus the rounding of this comparison."""
    limit = limit * (1 + 2.0**-40) + 2.0**-40 * (1 + np.abs(expected))
    with np.errstate(invalid="ignore"):
        within = (np.abs(got - expected) <= limit) | (got == expected) | np.isinf(limit)
    return None if within.all() else Disagreement(message, got, expected, bound=limit)


NAMES = ("softmax", "log_softmax")
SOFTMAXES = (*(Softmax(name) for name in NAMES), *(SoftmaxBackward(name) for name in NAMES))
