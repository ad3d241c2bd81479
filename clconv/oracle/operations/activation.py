"""The activations and their gradients as the checker sees them.

There are no data on which all right implementations give the same bits, relu's apart, so every result is held to its
bound: relu's is zero.
"""

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

__all__ = ["ACTIVATIONS", "Pointwise", "PointwiseBackward"]

Array = NDArray[Any]

MANY = 65537  # more than an axis of a grid, or a 16-bit index, can hold
SLOPES = (0.01, 0.5, 0.0, -1.0, 2.5)
SETTINGS = {
    "relu": (),
    "leaky_relu": ("negative_slope",),
    "sigmoid": (),
    "tanh": (),
    "silu": (),
    "gelu": ("approximate",),
    "hardswish": (),
}
#: f(x) - f(-x) in terms of x, or f(x) + f(-x) where a constant is all that they add up to.
ODD_PARTS: dict[str, Callable[[Array, dict[str, Any]], Array]] = {
    "relu": lambda x, arguments: x,
    "leaky_relu": lambda x, arguments: x * (1 + arguments.get("negative_slope", 0.01)),
    "silu": lambda x, arguments: x,
    "gelu": lambda x, arguments: x,
    "hardswish": lambda x, arguments: x,
}
SUMS = {"sigmoid": 1.0, "tanh": 0.0}
#: Those with a limit at infinity that the formula misses: 0 times infinity.
WITH_LIMITS = ("silu", "gelu", "hardswish")


class Pointwise(Operation):
    """One of the activations, by name."""

    features: tuple[str, ...] = ("out",)
    rounds = True

    def __init__(self, name: str) -> None:
        self.name = self.family = name
        self.required = ("input",)
        self.settings = SETTINGS[name]

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw an activation of an array of one to five axes."""
        shapes = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)
        return st.builds(lambda shape, arguments: self.problem(shape, arguments), shapes, self.arguments(claims))

    def problem(self, shape: tuple[int, ...], arguments: dict[str, Any], name: str = "") -> Problem:
        """Return a problem of an array's shape."""
        return Problem(dict.fromkeys(self.required, shape), arguments, name)

    def arguments(self, claims: Claims) -> st.SearchStrategy[dict[str, Any]]:
        """Draw the other arguments."""
        choices = {"negative_slope": SLOPES, "approximate": ("none", "tanh")}
        taken = {name: st.sampled_from(choices[name]) for name in self.settings if claims.takes(name)}
        return st.fixed_dictionaries(taken).map(
            lambda drawn: {name: value for name, value in drawn.items() if value != choices[name][0]}
        )

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw small integers, zeros and the corners of hardswish among them."""
        dtype = float_type("dtype", claims.dtype)
        return {name: random.integers(-5, 6, shape).astype(dtype) for name, shape in problem.shapes.items()}

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List shapes that are often got wrong."""
        yield self.problem((2, 3, 4, 5), {}, "four axes")
        yield self.problem((0, 3), {}, "nothing at all")
        yield self.problem((1, 2, 1, 3, 2, 2, 2), {}, "seven axes")
        yield self.problem((3, 17), {}, "rows of 17")
        yield self.problem((MANY,), {}, f"{MANY} elements")
        if "negative_slope" in self.settings and claims.takes("negative_slope"):
            yield self.problem((3, 4), {"negative_slope": -0.5}, "a negative slope")
            yield self.problem((3, 4), {"negative_slope": 0.0}, "a slope of 0")
        if "approximate" in self.settings and claims.takes("approximate"):
            yield self.problem((3, 40), {"approximate": "tanh"}, "approximate='tanh'")

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning."""
        if "approximate" in self.settings and claims.takes("approximate"):
            yield Refusal(
                "approximate is a known word", self.problem((2, 3), {"approximate": "erf"}, "approximate='erf'")
            )
        if "negative_slope" in self.settings and claims.takes("negative_slope"):
            yield Refusal(
                "negative_slope is a number",
                self.problem((2, 3), {"negative_slope": "steep"}, "negative_slope='steep'"),
            )

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the laws of x and -x."""
        if self.family in SUMS:
            yield Identity(f"f(x) + f(-x) = {SUMS[self.family]:g}", functools.partial(self._sums, claims))
        else:
            yield Identity("f(x) - f(-x) is a multiple of x", functools.partial(self._odd_part, claims))

    def _sums(self, claims: Claims, call: Call, case: Case) -> Disagreement | None:
        negated = case.holding(input=-case.arrays["input"])
        (y, limit), (other, other_limit) = (self._judged(claims, call, each) for each in (case, negated))
        return _beyond("f(x) + f(-x) is another", y + other, np.full(y.shape, SUMS[self.family]), limit + other_limit)

    def _odd_part(self, claims: Claims, call: Call, case: Case) -> Disagreement | None:
        negated = case.holding(input=-case.arrays["input"])
        (y, limit), (other, other_limit) = (self._judged(claims, call, each) for each in (case, negated))
        expected = ODD_PARTS[self.family](case.arrays["input"].astype(np.float64), dict(case.problem.arguments))
        return _beyond("f(x) - f(-x) is another", y - other, expected, limit + other_limit)

    def _judged(self, claims: Claims, call: Call, case: Case) -> tuple[Array, Array]:
        """Return the only result and its bound, in float64."""
        (name,) = self.results
        result, limit = call(case)[name], self.bounds(case, claims)[name]
        assert result is not None
        assert limit is not None
        return result.astype(np.float64), limit

    def bounds(self, case: Case, claims: Claims, flushes_subnormals: bool = False) -> Results:
        """Return the bounds; infinities are taken for ones of their sign, NaN for -1."""
        finite = {
            name: np.where(np.isfinite(a), a, np.where(a > 0, 1, -1).astype(a.dtype)) for name, a in case.arrays.items()
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
                # Where 0 times infinity is nothing to be held against anybody, all is planted: right numbers beside it
                # would be rounded.
                disputed = name == "input" and self.family in WITH_LIMITS and not np.isnan(value)
                planted = np.full_like(array, value) if disputed else array.copy()
                planted.flat[random.integers(planted.size)] = value
                case = Case(problem, {**arrays, name: planted})
                yield f"{value} in {name}", case, self.expected(case, claims), "the limit at infinity" * disputed

    def suspects(self) -> Iterator[Suspect]:
        """List the usual faults: another activation, an argument that is ignored."""
        for name in self.settings:
            yield Suspect(f"{name} is ignored", self._without(name))
        for other in SETTINGS:
            if other != self.family:
                yield Suspect(f"{other} is computed instead", self._as(other))
        if self.family == "gelu":
            yield Suspect("gelu is approximated by tanh", self._approximated)
            yield Suspect("gelu is taken for x s(1.702 x)", self._as_quick_gelu)

    def _without(self, name: str) -> Any:
        def results(arrays: Any, arguments: dict[str, Any]) -> Results:
            if name not in arguments:
                raise ValueError("this fault changes nothing here")
            return self.evaluate(arrays, {k: v for k, v in arguments.items() if k != name}, Claims())

        return results

    def _as(self, other: str) -> Any:
        def results(arrays: Any, arguments: dict[str, Any]) -> Results:
            return self.named(getattr(reference, self.name.replace(self.family, other))(**arrays))

        return results

    def _approximated(self, arrays: Any, arguments: dict[str, Any]) -> Results:
        return self.evaluate(arrays, {**arguments, "approximate": "tanh"}, Claims())

    def _as_quick_gelu(self, arrays: Any, arguments: dict[str, Any]) -> Results:
        x = arrays["input"]
        s = reference.sigmoid(1.702 * x)
        if "grad_output" not in arrays:
            return {"output": x * s}
        return {"input": arrays["grad_output"] * (s + 1.702 * x * s * (1 - s))}


class PointwiseBackward(Pointwise):
    """The gradient of one of the activations: NAME_backward(grad_output, input, *the same arguments)."""

    features = ("output_mask",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = f"{name}_backward"
        self.required = ("grad_output", "input")
        self.results = ("input",)

    def arguments(self, claims: Claims) -> st.SearchStrategy[dict[str, Any]]:
        """Draw the other arguments, and now and then a mask."""
        arguments = super().arguments(claims)
        if not claims.offers("output_mask"):
            return arguments
        masked = st.builds(lambda given, mask: {**given, "output_mask": (mask,)}, arguments, st.booleans())
        return st.one_of(arguments, masked)

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning, grad_outputs of another shape among them."""
        yield from super().refusals(claims)
        for shape in ((2, 4), (3, 2), (6,)):
            problem = Problem({"grad_output": shape, "input": (2, 3)}, {}, f"a grad_output of shape {shape} for (2, 3)")
            yield Refusal("grad_output has the input's shape", problem)

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the law of linearity."""
        yield Identity("twice the grad_output gives twice the gradient", functools.partial(self._doubled, claims))

    def _doubled(self, claims: Claims, call: Call, case: Case) -> Disagreement | None:
        if case.problem.arguments.get("output_mask") == (False,):
            return None
        doubled = case.holding(grad_output=2 * case.arrays["grad_output"])
        (dx, limit), (twice, other_limit) = (self._judged(claims, call, each) for each in (case, doubled))
        return _beyond("twice the grad_output gives another gradient", twice, 2 * dx, 2 * limit + other_limit)

    def suspects(self) -> Iterator[Suspect]:
        """List the usual faults, and those of gradients."""
        yield Suspect("the derivative is taken at the output", self._at_the_output)
        yield Suspect("the gradient at 0 is that from above", self._from_above)
        yield Suspect("the gradient from behind is ignored", self._alone)
        yield from super().suspects()

    def _at_the_output(self, arrays: Any, arguments: dict[str, Any]) -> Results:
        plain = {k: v for k, v in arguments.items() if k != "output_mask"}
        y = getattr(reference, self.family)(arrays["input"], **plain)
        return self.evaluate({**arrays, "input": y}, arguments, Claims())

    def _from_above(self, arrays: Any, arguments: dict[str, Any]) -> Results:
        above = np.where(arrays["input"] == 0, np.nextafter(0, 1), arrays["input"])
        return self.evaluate({**arrays, "input": above}, arguments, Claims())

    def _alone(self, arrays: Any, arguments: dict[str, Any]) -> Results:
        return self.evaluate({**arrays, "grad_output": np.ones_like(arrays["input"])}, arguments, Claims())


def _beyond(message: str, got: Array, expected: Array, limit: Array) -> Disagreement | None:
    """Return a disagreement where two results differ by more than a limit, plus the rounding of this comparison."""
    limit = limit * (1 + 2.0**-40) + 2.0**-40 * np.abs(expected)
    with np.errstate(invalid="ignore"):
        within = (np.abs(got - expected) <= limit) | (got == expected) | np.isinf(limit)
    return None if within.all() else Disagreement(message, got, expected, bound=limit)


ACTIVATIONS = (*(Pointwise(name) for name in SETTINGS), *(PointwiseBackward(name) for name in SETTINGS))
