"""Dropout by Philox4x32-10 as the checker sees it: the mask is known, so that another one is a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from clconv.oracle._floats import float_type

from ._base import Arrays, Case, Claims, Operation, Problem, Refusal, Results, Suspect

__all__ = ["DROPOUTS"]

Array = NDArray[Any]

SEEDS = (0, 1, 2**32, 2**64 - 1)
MANY = 65537  # more than an axis of a grid, or a 16-bit index, can hold


class Dropout(Operation):
    """Dropout, or its gradient, which drops the same elements of grad_output."""

    positional = ("seed",)
    settings = ("p", "training")
    rounds = True

    def __init__(self, backward: bool) -> None:
        self.name = "dropout_backward" if backward else "dropout"
        self.required = ("grad_output", "input") if backward else ("input",)
        self.results = ("input",) if backward else ("output",)
        self.dropped = self.required[0]
        self.features = ("offset", "output_mask" if backward else "out")

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a dropout of an array of one to five axes."""
        shapes = st.lists(st.integers(1, 5), min_size=1, max_size=5).map(tuple)
        arguments = {"seed": st.sampled_from(SEEDS)}
        optional: dict[str, st.SearchStrategy[Any]] = {}
        if claims.takes("p"):
            optional["p"] = st.sampled_from((0.25, 0.0, 0.9, 1.0))
        if claims.takes("training"):
            optional["training"] = st.just(False)
        if claims.offers("offset"):
            optional["offset"] = st.sampled_from((1, 6, 2**34 + 3))
        if claims.offers("output_mask"):
            optional["output_mask"] = st.tuples(st.booleans())
        drawn = st.fixed_dictionaries(arguments, optional=optional)
        return st.builds(lambda shape, given: self.problem(shape, **given), shapes, drawn)

    def problem(self, shape: tuple[int, ...], name: str = "", **arguments: Any) -> Problem:
        """Return the problem of an array's shape."""
        return Problem(dict.fromkeys(self.required, shape), {"seed": 5, **arguments}, name)

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw small integers but 0."""
        dtype = float_type("dtype", claims.dtype)
        return {name: random.integers(1, 9, shape).astype(dtype) for name, shape in problem.shapes.items()}

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List problems that are often got wrong."""
        yield self.problem((2, 3, 4, 5), "four axes")
        yield self.problem((0, 3), "nothing at all")
        yield self.problem((3, 17), "rows of 17")
        yield self.problem((MANY,), f"{MANY} elements")
        yield self.problem((64,), "a seed of 64 bits", seed=2**64 - 7)
        if claims.takes("p"):
            yield self.problem((64,), "p=0", p=0.0)
            yield self.problem((64,), "p=1", p=1.0)
        if claims.offers("offset"):
            yield self.problem((64,), "an offset beyond 32 bits", offset=2**35 + 1)

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning."""
        if claims.takes("p"):
            for p in (-0.5, 1.5):
                yield Refusal("p is between 0 and 1", self.problem((2, 3), f"p={p}", p=p))
        yield Refusal("seed is not negative", self.problem((2, 3), "seed=-1", seed=-1))

    def bounds(self, case: Case, claims: Claims, flushes_subnormals: bool = False) -> Results:
        """Return the bounds; what is not finite is taken for ones."""
        finite = {name: np.where(np.isfinite(a), a, a.dtype.type(1)) for name, a in case.arrays.items()}
        return super().bounds(case.holding(**finite), claims, flushes_subnormals)

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterator[tuple[str, Case, Results, str]]:
        """Plant NaN and infinities: they are dropped like any number."""
        arrays = self.exact_arrays(problem, random, claims)
        planted = arrays[self.dropped].copy()
        for value in (np.nan, np.inf, -np.inf):
            planted.flat[random.integers(planted.size)] = value
        case = Case(problem, {**arrays, self.dropped: planted})
        yield "NaN and infinities", case, self.expected(case, claims), "a dropped number is multiplied by 0"

    def suspects(self) -> Iterator[Suspect]:
        """List the usual faults."""
        yield Suspect("the elements that are kept are not scaled", self._rescaled(lambda p: 1 - p))
        yield Suspect("the elements that are kept are scaled down", self._rescaled(lambda p: (1 - p) ** 2))
        yield Suspect("p is taken for the probability to keep", self._with(lambda a: {"p": 1 - a.get("p", 0.5)}))
        yield Suspect("the upper half of the seed is ignored", self._with(lambda a: {"seed": a["seed"] % 2**32}))
        yield Suspect("offset is ignored", self._with(lambda a: {"offset": 0}))
        yield Suspect("training is ignored", self._with(lambda a: {"training": True}))

    def _with(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
            changed = change(arguments)
            if all(arguments.get(name) == value for name, value in changed.items()):
                raise ValueError("this fault changes nothing here")
            return self.evaluate(arrays, {**arguments, **changed}, Claims())

        return results

    def _rescaled(self, factor: Callable[[float], float]) -> Any:
        def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
            found = self.evaluate(arrays, arguments, Claims())
            scale = factor(arguments.get("p", 0.5)) if arguments.get("training", True) else 1.0
            return {name: None if a is None else a * scale for name, a in found.items()}

        return results


DROPOUTS = (Dropout(backward=False), Dropout(backward=True))
