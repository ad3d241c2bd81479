"""Cross entropy and its gradients as the checker sees them, held to their bounds on all data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from clconv.oracle._floats import float_type

from ._base import Arrays, Call, Case, Claims, Disagreement, Identity, Operation, Problem, Refusal, Results, Suspect

__all__ = ["CROSS_ENTROPIES"]

Array = NDArray[Any]
Shape = tuple[int, ...]

IGNORED = -100


class CrossEntropy(Operation):
    """Cross entropy."""

    optional = ("weight",)
    settings = ("weight", "ignore_index", "reduction", "label_smoothing")
    rounds = True

    def __init__(self) -> None:
        self.name = "cross_entropy"
        self.required: tuple[str, ...] = ("input", "target")
        self.features: tuple[str, ...] = ("probabilities", "out")

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a cross entropy, the simplest of one position and one class."""
        positions = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
        kinds = st.booleans() if claims.offers("probabilities") else st.just(False)
        weighted = st.booleans() if claims.takes("weight") else st.just(False)
        return st.builds(self.problem, positions, st.integers(1, 5), kinds, weighted, self.arguments(claims))

    def arguments(self, claims: Claims) -> st.SearchStrategy[dict[str, Any]]:
        """Draw the other arguments."""
        choices: dict[str, tuple[Any, ...]] = {
            "reduction": ("mean", "sum", "none"),
            "label_smoothing": (0.0, 0.25, 1.0),
            "ignore_index": (IGNORED, 0, -1),
        }
        taken = {name: st.sampled_from(values) for name, values in choices.items() if claims.takes(name)}
        return st.fixed_dictionaries(taken).map(
            lambda drawn: {name: value for name, value in drawn.items() if value != choices[name][0]}
        )

    def problem(
        self,
        positions: Shape,
        C: int,
        has_probabilities: bool,
        has_weight: bool,
        arguments: Mapping[str, Any],
        name: str = "",
    ) -> Problem:
        """Return the problem of (N, ...) positions and C classes; probabilities ignore nothing."""
        shape = (positions[0], C, *positions[1:])
        shapes = {"input": shape, "target": shape if has_probabilities else positions}
        kept = {k: v for k, v in arguments.items() if k != "ignore_index" or not has_probabilities}
        return Problem({**shapes, **({"weight": (C,)} if has_weight else {})}, kept, name)

    def arrays(self, problem: Problem, random: np.random.Generator, claims: Claims, draw: Any) -> dict[str, Array]:
        """Draw values: targets that are ignored among them, weights above 0, and what `draw` gives for the rest."""
        dtype = float_type("dtype", claims.dtype)
        C = problem.shapes["input"][1]
        arrays: dict[str, Array] = {}
        for name, shape in problem.shapes.items():
            if name == "target" and shape != problem.shapes["input"]:
                classes = random.integers(0, C, shape)
                ignored = problem.arguments.get("ignore_index", IGNORED)
                arrays[name] = np.where(random.random(shape) < 0.2, ignored, classes).astype(np.int64)
            elif name == "target":
                arrays[name] = (random.integers(0, 5, shape) / 4).astype(dtype)
            elif name == "weight":
                arrays[name] = (random.integers(1, 9, shape) / 4).astype(dtype)
            else:
                arrays[name] = draw(shape).astype(dtype)
        return arrays

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw small integers for input and gradient."""
        return self.arrays(problem, random, claims, lambda shape: random.integers(-4, 5, shape))

    def real_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw normal numbers for input and gradient, some of them large."""
        return self.arrays(
            problem,
            random,
            claims,
            lambda shape: random.standard_normal(shape) * np.where(random.random(shape) < 0.2, 16, 1),
        )

    def magnitude(self, arrays: Mapping[str, Array | None], problem: Problem, claims: Claims) -> float:
        """Return 0: whatever comes out is held to its bound, and classes have no magnitude."""
        return 0.0

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List problems that are often got wrong, without unclaimed arguments."""
        for problem in self._edges():
            probabilities = problem.shapes["target"] == problem.shapes["input"]
            names = [*problem.arguments, *(("weight",) if "weight" in problem.shapes else ())]
            if all(map(claims.takes, names)) and (claims.offers("probabilities") or not probabilities):
                yield problem

    def _edges(self) -> Iterator[Problem]:
        yield self.problem((3,), 4, False, False, {}, "three positions of four classes")
        yield self.problem((3,), 4, False, True, {}, "weights of classes")
        yield self.problem((2, 3, 4), 5, False, True, {}, "images of classes")
        yield self.problem((4,), 3, False, True, {"label_smoothing": 0.1}, "smoothing and weights")
        yield self.problem((2, 3), 4, False, True, {"reduction": "none"}, "no reduction")
        yield self.problem((2, 3), 4, False, True, {"reduction": "sum"}, "the sum")
        yield self.problem((8,), 3, False, True, {"ignore_index": 1}, "a class in the middle is ignored")
        yield self.problem((3,), 1, False, False, {}, "one class")
        yield self.problem((0,), 3, False, False, {"reduction": "sum"}, "the sum of no positions")
        yield self.problem((600,), 3, False, True, {}, "600 positions")
        yield self.problem((2,), 300, False, False, {}, "300 classes")
        yield self.problem((2, 3), 4, True, False, {}, "probabilities")
        yield self.problem((2, 3), 4, True, True, {"label_smoothing": 0.5}, "probabilities, weights and smoothing")
        yield self.problem((2, 3), 4, True, True, {"reduction": "none"}, "probabilities without reduction")

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning."""
        dtype = float_type("dtype", claims.dtype)

        def of(rule: str, name: str, target: Any, weight: int = 0, **arguments: Any) -> Refusal:
            arrays = {"input": np.ones((2, 3), dtype), "target": np.array(target, np.int64)}
            arrays |= {"weight": np.ones(weight, dtype)} if weight else {}
            arrays = {**self.incoming(dtype, arguments), **arrays}
            shapes = {key: array.shape for key, array in arrays.items()}
            return Refusal(rule, Problem(shapes, arguments, name), arrays)

        yield of("classes are below their number", "class 3 of 3", [0, 3])
        yield of("classes are not negative", "class -1", [0, -1])
        yield of("there is one target for each position", "three targets for two positions", [0, 1, 2])
        if claims.takes("weight"):
            yield of("there is one weight for each class", "four weights for three classes", [0, 1], 4)
        if claims.takes("reduction"):
            yield of("reduction is a known word", "reduction='average'", [0, 1], reduction="average")
        if claims.takes("label_smoothing"):
            yield of("label_smoothing is at most 1", "label_smoothing=1.5", [0, 1], label_smoothing=1.5)

    def incoming(self, dtype: Any, arguments: Mapping[str, Any]) -> dict[str, Array]:
        """Return what a gradient takes before the other arrays."""
        return {}

    def bounds(self, case: Case, claims: Claims, flushes_subnormals: bool = False) -> Results:
        """Return the bounds; NaN, where positions are NaN as a whole, is taken for one."""
        finite = {n: np.where(np.isfinite(a), a, a.dtype.type(1)).astype(a.dtype) for n, a in case.arrays.items()}
        return super().bounds(case.holding(**finite), claims, flushes_subnormals)

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterator[tuple[str, Case, Results, str]]:
        """Plant NaN in the input: it makes its own position NaN, if that is not ignored, and the sum."""
        arrays = self.exact_arrays(problem, random, claims)
        if arrays["input"].size == 0:
            return
        planted = arrays["input"].copy()
        planted.flat[random.integers(planted.size)] = np.nan
        arrays["target"] = np.where(arrays["target"] == IGNORED, 0, arrays["target"]).astype(arrays["target"].dtype)
        if "target" in problem.shapes and problem.shapes["target"] == problem.shapes["input"]:
            arrays["target"] = np.ones_like(arrays["target"])
        case = Case(problem, {**arrays, "input": planted})
        if problem.arguments.get("ignore_index", IGNORED) == IGNORED:
            yield "NaN in the input", case, self.expected(case, claims), ""

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the law of shifted inputs."""
        yield Identity("an added number changes nothing", functools.partial(self._shifted, claims))

    def _shifted(self, claims: Claims, call: Call, case: Case) -> Disagreement | None:
        moved = case.holding(input=case.arrays["input"] + 8)
        one, two = call(case), call(moved)
        limits, other_limits = self.bounds(case, claims), self.bounds(moved, claims)
        for name in self.results:
            y, other, limit, other_limit = one[name], two[name], limits[name], other_limits[name]
            if y is None or other is None or limit is None or other_limit is None:
                continue
            tolerance = (limit + other_limit) * (1 + 2.0**-40)
            with np.errstate(invalid="ignore"):
                wide, other_wide = y.astype(np.float64), other.astype(np.float64)
                within = (np.abs(wide - other_wide) <= tolerance) | (wide == other_wide) | np.isinf(tolerance)
            if not (within | (np.isnan(wide) & np.isnan(other_wide))).all():
                message = "the result changes with a number added to the input"
                return Disagreement(message, other_wide, wide, name, tolerance)
        return None

    def suspects(self) -> Iterator[Suspect]:
        """List the usual faults."""
        for name in ("label_smoothing", "ignore_index", "weight"):
            yield Suspect(f"{name} is ignored", self._without(name))
        yield Suspect("the mean divides by the number of positions", self._divided(lambda a, arguments: _positions(a)))
        yield Suspect("the mean divides by the positions that count", self._divided(_counting))
        yield Suspect("the sum is returned for the mean", self._divided(lambda a, arguments: 1.0))

    def _without(self, name: str) -> Any:
        def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
            if name not in arguments and arrays.get(name) is None:
                raise ValueError("this fault changes nothing here")
            kept = {k: a for k, a in arrays.items() if k != name}
            return self.evaluate(kept, {k: v for k, v in arguments.items() if k != name}, Claims())

        return results

    def _divided(self, divisor: Callable[[Any, dict[str, Any]], float]) -> Any:
        def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
            if arguments.get("reduction", "mean") != "mean":
                raise ValueError("this fault concerns the mean")
            found = self.evaluate(arrays, {**arguments, "reduction": "sum"}, Claims())
            number = divisor(arrays, arguments)
            return {name: None if a is None else a / number for name, a in found.items()}

        return results


class CrossEntropyBackward(CrossEntropy):
    """The gradients of cross entropy: cross_entropy_backward(grad_output, input, target, ...)."""

    def __init__(self) -> None:
        self.name = "cross_entropy_backward"
        self.required = ("grad_output", "input", "target")
        self.results = ("input", "target")
        self.features = ("probabilities", "output_mask")

    def arguments(self, claims: Claims) -> st.SearchStrategy[dict[str, Any]]:
        """Draw the other arguments, and now and then a mask."""
        arguments = super().arguments(claims)
        if not claims.offers("output_mask"):
            return arguments
        masks = st.tuples(st.booleans(), st.booleans())
        masked = st.builds(lambda given, mask: {**given, "output_mask": mask}, arguments, masks)
        return st.one_of(arguments, masked)

    def problem(
        self,
        positions: Shape,
        C: int,
        has_probabilities: bool,
        has_weight: bool,
        arguments: Mapping[str, Any],
        name: str = "",
    ) -> Problem:
        """Return the problem with the gradient of the output; that of a mean or sum is no array that can be drawn."""
        given = {**arguments, "reduction": "none"}
        forward = super().problem(positions, C, has_probabilities, has_weight, given, name)
        return Problem({"grad_output": positions, **forward.shapes}, forward.arguments, name)

    def incoming(self, dtype: Any, arguments: Mapping[str, Any]) -> dict[str, Array]:
        """Return the gradient of the output of two positions."""
        return {"grad_output": np.array(1, dtype)}


def _positions(arrays: Any) -> float:
    shape = arrays["input"].shape
    return float(np.prod(shape) / shape[1])


def _counting(arrays: Any, arguments: dict[str, Any]) -> float:
    return float(np.sum(arrays["target"] != arguments.get("ignore_index", IGNORED)))


CROSS_ENTROPIES = (CrossEntropy(), CrossEntropyBackward())
