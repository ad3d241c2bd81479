"""What the checker must know of every pooling and of every pooling's gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from clconv.oracle.reference.pool_windows import Windows

from . import _pool_cases, _pool_laws, _pool_suspects
from ._base import Array, Arrays, Case, Claims, Identity, Operation, Problem, Refusal, Results, Suspect
from ._pool_values import integers, most_in_a_pixel, planted

__all__ = ["Pooling", "PoolingBackward"]

SPECIALS = (np.nan, np.inf, -np.inf)


class Pooling(Operation):
    """A pooling forward. Each family says where its windows are and which values make it exact.

    Attributes
    ----------
    family : name without the number of axes
    gradient_features, gradient_settings : those of the gradient
    """

    family: str
    required: tuple[str, ...] = ("input",)
    positional: tuple[str, ...] = ("kernel_size",)
    gradient_features: tuple[str, ...] = ("output_mask",)

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.name = f"{self.family}{rank}d"

    @property
    def gradient_settings(self) -> tuple[str, ...]:
        """The optional arguments that the gradient depends on."""
        return tuple(name for name in self.settings if name != "return_indices")

    def explicit(self, shape: tuple[int, ...], arguments: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the number of spatial axes of an input of this shape, and the arguments that say its windows."""
        return self.rank, dict(arguments)

    def windows(self, problem: Problem, claims: Claims) -> Windows:
        """Return the windows of a lawful problem."""
        return _pool_cases.sliding_windows(self.rank, problem.shapes["input"], problem.arguments, claims.semantics)

    def terms(self, problem: Problem, claims: Claims) -> float:
        """Bound the sum of the magnitudes of what a gradient of ones adds up, in the units that it comes in."""
        return most_in_a_pixel(self.windows(problem, claims))

    def lawful_gradient(self) -> Problem:
        """Return a problem whose gradient of the output has no axis of one element."""
        return Problem({"input": (2, 3, *(5,) * self.rank)}, {"kernel_size": 2, "stride": 1})

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List windows that are often got wrong."""
        settings = self.settings
        return _pool_cases.claimed(_pool_cases.sliding_edges(self.rank, settings), settings, claims)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        return _pool_cases.claimed(_pool_cases.refusals(self.rank, self.settings, claims), self.settings, claims)

    def identities(self, claims: Claims) -> Iterable[Identity]:
        """List the laws of the family."""
        return _pool_laws.forward_laws(self, claims)

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of the family."""
        return _pool_suspects.forward_suspects(self)

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterable[tuple[str, Case, Results, str]]:
        """Plant one NaN and an infinity of either sign."""
        arrays = self.exact_arrays(problem, random, claims)
        case = Case(problem, {**arrays, "input": planted(random, arrays["input"], SPECIALS)})
        yield "NaN and infinities in input", case, self.expected(case, claims), ""


class PoolingBackward(Operation):
    """The gradient of a pooling: NAME_backward(grad_output, *the same arguments)."""

    results = ("input",)

    def __init__(self, forward: Pooling) -> None:
        self.forward = forward
        self.explicit = forward.explicit
        self.name = f"{forward.name}_backward"
        self.required = ("grad_output", *forward.required)
        self.positional = forward.positional
        self.settings = forward.gradient_settings
        self.features = forward.gradient_features
        self.semantics = forward.semantics
        self.rounds = forward.rounds

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a pooling and the shape of its output's gradient."""
        problems = self._options(self.forward.problems(claims), claims)
        if claims.offers("ties"):  # a share of a gradient may be a third of it
            ties = st.sampled_from((None, "all", "share"))
            problems = st.builds(lambda p, t: p.having(ties=t) if t else p, problems, ties)
        return problems

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a pooling that has exact data."""
        problems = self._options(self.forward.exact_problems(claims), claims)
        if claims.offers("ties"):
            problems = st.builds(lambda p, all_: p.having(ties="all") if all_ else p, problems, st.booleans())
        return problems

    def _options(self, forward: st.SearchStrategy[Problem], claims: Claims) -> st.SearchStrategy[Problem]:
        problems = forward.map(lambda problem: self.behind(problem, claims))
        if claims.offers("output_mask"):
            masks = st.sampled_from((None, (True,), (False,)))
            problems = st.builds(lambda p, mask: p.having(output_mask=mask) if mask else p, problems, masks)
        return problems

    def behind(self, problem: Problem, claims: Claims) -> Problem:
        """Turn a problem of the forward operation into one of its gradient."""
        arguments = {k: v for k, v in problem.arguments.items() if k != "return_indices"}
        types = {"indices": np.int64}
        arrays: Arrays = {name: np.zeros(shape, types.get(name, np.float64)) for name, shape in problem.shapes.items()}
        output = self.forward.evaluate(arrays, dict(arguments), claims)["output"]
        assert output is not None
        return replace(problem, shapes={"grad_output": output.shape, **problem.shapes}, arguments=arguments)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List the gradients of poolings that are often got wrong."""
        return (self.behind(problem, claims) for problem in self.forward.edges(claims))

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning: the forward operation's, and gradients of another shape."""
        refused = (r for r in self.forward.refusals(claims) if "return_indices" not in r.problem.arguments)
        return _pool_cases.gradient_refusals(refused, self.behind(self.forward.lawful_gradient(), claims))

    def identities(self, claims: Claims) -> Iterable[Identity]:
        """List the laws of the gradient."""
        return _pool_laws.backward_laws(self, claims)

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of the gradient."""
        return _pool_suspects.backward_suspects(self)

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw the forward operation's values, and integers whose sums are exact."""
        terms = self.forward.terms(problem, claims)
        g = integers(random, problem.shapes["grad_output"], terms, claims.dtype)
        return {"grad_output": g, **self.forward.exact_arrays(problem, random, claims)}

    def real_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw the forward operation's values, and numbers."""
        shapes = {"grad_output": problem.shapes["grad_output"]}
        g = super().real_arrays(replace(problem, shapes=shapes), random, claims)
        inner = replace(problem, shapes={k: v for k, v in problem.shapes.items() if k != "grad_output"})
        return {**g, **self.forward.real_arrays(inner, random, claims)}

    def magnitude(self, arrays: Mapping[str, Array | None], problem: Problem, claims: Claims) -> float:
        """Return the largest magnitude among the results, in the units that they come in."""
        if self.forward.family == "max_unpool":  # a copy
            return float(np.max(np.abs(arrays["grad_output"]), initial=0))  # type: ignore[arg-type]
        return super().magnitude(arrays, problem, claims) * self.forward.terms(problem, claims)

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterable[tuple[str, Case, Results, str]]:
        """Plant NaN and infinities in the gradient; in the input, where it decides which pixel gets it."""
        arrays = self.exact_arrays(problem, random, claims)
        if self.forward.family == "lp_pool":  # whose gradient is a product
            return
        for name in ("grad_output", "input")[: 2 if "max_pool" in self.forward.family else 1]:
            case = Case(problem, {**arrays, name: planted(random, arrays[name], SPECIALS)})
            yield f"NaN and infinities in {name}", case, self.expected(case, claims), ""
