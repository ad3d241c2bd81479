"""pad, flatten, pixel_shuffle, pixel_unshuffle and channel_shuffle, forward and backward, as the checker sees them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from clconv.oracle import reference
from clconv.oracle._floats import float_type

from . import _rearrange_cases as cases
from . import _rearrange_suspects as faults
from ._base import (
    Call,
    Case,
    Claims,
    Disagreement,
    Identity,
    Operation,
    Problem,
    Refusal,
    Results,
    Suspect,
    exact_limit,
)
from ._sums import difference

__all__ = ["REARRANGEMENTS"]

Array = NDArray[Any]


class Rearrangement(Operation):
    """An operation that copies elements, or a gradient that adds up those copied from one.

    Attributes
    ----------
    forward : name of the forward operation
    backward : whether this is its gradient
    """

    def __init__(self, forward: str, backward: bool) -> None:
        self.forward = forward
        self.backward = backward
        self.name = f"{forward}_backward" if backward else forward
        self.required = ("grad_output", "input") if backward else ("input",)
        self.results = ("input",) if backward else ("output",)
        self.features = ("output_mask",) if backward else ("out",)

    @abstractmethod
    def forward_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw problems of the forward operation."""

    @abstractmethod
    def forward_edges(self, claims: Claims) -> Iterable[Problem]:
        """List problems of the forward operation at the limits."""

    @abstractmethod
    def forward_refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls of the forward operation without a meaning."""

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a rearrangement, or the shapes of its gradient."""
        problems = self.forward_problems(claims)
        if not self.backward:
            return problems
        problems = problems.map(self.behind)
        if claims.offers("output_mask"):
            masks = st.tuples(st.booleans())
            problems = st.one_of(problems, st.builds(lambda p, mask: p.having(output_mask=mask), problems, masks))
        return problems

    def behind(self, problem: Problem) -> Problem:
        """Turn a problem of the forward operation into one of its gradient."""
        # A view of one element has the shape without the memory.
        x = np.broadcast_to(np.zeros(()), problem.shapes["input"])
        shapes = {"grad_output": getattr(reference, self.forward)(x, **problem.arguments).shape, **problem.shapes}
        return Problem(shapes, problem.arguments, problem.name, problem.disputed)

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List rearrangements that are often got wrong."""
        for problem in self.forward_edges(claims):
            yield self.behind(problem) if self.backward else problem

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning; for a gradient, also grad_outputs of another shape."""
        for refusal in self.forward_refusals(claims):
            problem = refusal.problem
            given = {"grad_output": cases.supposed_output(problem)} if self.backward else {}
            yield Refusal(refusal.rule, Problem({**given, **problem.shapes}, problem.arguments, problem.name))
        if self.backward:
            lawful = self.behind(next(iter(self.forward_edges(claims))))
            *lead, last = lawful.shapes["grad_output"]
            for name, shape in (("too long", (*lead, last + 1)), ("of another batch", (lead[0] + 1, *lead[1:], last))):
                shapes = {**lawful.shapes, "grad_output": shape}
                yield Refusal(
                    "grad_output has the output's shape", Problem(shapes, lawful.arguments, f"a grad_output {name}")
                )

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw distinct integers where elements are only copied, so that an exchange of any two shows."""
        limit = int(exact_limit(claims.dtype))
        if self.backward or max(np.prod(shape) for shape in problem.shapes.values()) > limit:
            return super().exact_arrays(problem, random, claims)
        (shape,) = problem.shapes.values()
        values = random.permutation(np.prod(shape, dtype=int)) + 1
        signs = random.choice((-1, 1), shape)
        return {"input": (values.reshape(shape) * signs).astype(float_type("dtype", claims.dtype))}

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterable[tuple[str, Case, Results, str]]:
        """Plant NaN and infinities, which are copied like any number."""
        arrays = self.exact_arrays(problem, random, claims)
        for name in problem.shapes:
            if arrays[name].size == 0:
                continue
            planted = {k: a.copy() for k, a in arrays.items()}
            for value in (np.nan, np.inf, -np.inf):
                planted[name].flat[random.integers(planted[name].size)] = value
            case = Case(problem, planted)
            with np.errstate(invalid="ignore"):
                yield f"NaN and infinities in {name}", case, self.expected(case, claims), ""


class Pad(Rearrangement):
    """Padding and cropping."""

    positional = ("pad",)
    settings = ("mode", "value")

    def __init__(self, backward: bool) -> None:
        super().__init__("pad", backward)
        self.features = ("symmetric", *self.features)

    def forward_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a padding."""
        return cases.paddings(claims)

    def forward_edges(self, claims: Claims) -> Iterable[Problem]:
        """List paddings that are often got wrong."""
        return cases.pad_edges(claims)

    def forward_refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List paddings without a meaning."""
        return cases.pad_refusals(claims)

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the laws of padding."""
        if self.backward:
            yield Identity("the gradient keeps the sum of what is copied", _keeps_the_sum)
        else:
            yield Identity("cropped, a padded array is what it was", _crops_back)

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of padding."""
        return faults.of_padding(self)


class Shuffle(Rearrangement):
    """pixel_shuffle, pixel_unshuffle and channel_shuffle."""

    def __init__(self, forward: str, argument: str, backward: bool) -> None:
        super().__init__(forward, backward)
        self.positional = (argument,)

    def forward_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a shuffle."""
        return cases.shuffles(self.forward, self.positional[0])

    def forward_edges(self, claims: Claims) -> Iterable[Problem]:
        """List shuffles that are often got wrong."""
        return cases.shuffle_edges(self.forward, self.positional[0])

    def forward_refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List shuffles without a meaning."""
        return cases.shuffle_refusals(self.forward, self.positional[0])

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the laws of shuffles."""
        yield Identity("every element is kept", _keeps_every_element)
        if self.name == "channel_shuffle":
            yield Identity("undone by the shuffle with C/groups groups", _undoes_itself)

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of shuffles."""
        return faults.of_shuffles(self)


class Flatten(Rearrangement):
    """Joining neighbouring axes."""

    settings = ("start_dim", "end_dim")

    def __init__(self, backward: bool) -> None:
        super().__init__("flatten", backward)
        self.features = ("output_mask",) if backward else ()

    def forward_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw axes to join."""
        return cases.flattenings()

    def forward_edges(self, claims: Claims) -> Iterable[Problem]:
        """List joins that are often got wrong."""
        return cases.flatten_edges()

    def forward_refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List joins without a meaning."""
        return cases.flatten_refusals()

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the law of joining axes."""
        yield Identity("every element is kept", _keeps_every_element)

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of joining axes."""
        return faults.of_flattening(self)


def _output(call: Call, case: Case) -> Array:
    (output,) = call(case).values()
    assert output is not None
    return output


def _pairs(case: Case) -> list[tuple[int, int]]:
    """Return (low, high) of every axis."""
    flat = case.problem.arguments["pad"]
    pairs = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
    return [(0, 0)] * (case.arrays["input"].ndim - len(pairs)) + pairs[::-1]


def _crops_back(call: Call, case: Case) -> Disagreement | None:
    x, y = case.arrays["input"], _output(call, case)
    pairs = _pairs(case)
    inside = tuple(slice(max(low, 0), n - max(high, 0)) for n, (low, high) in zip(y.shape, pairs, strict=True))
    kept = tuple(slice(max(-low, 0), n - max(-high, 0)) for n, (low, high) in zip(x.shape, pairs, strict=True))
    return difference("the middle of the output is not the input", y[inside], x[kept])


def _keeps_the_sum(call: Call, case: Case) -> Disagreement | None:
    if case.problem.arguments.get("output_mask") == (False,):
        return None
    g, dx = case.arrays["grad_output"].astype(np.float64), _output(call, case)
    if case.problem.arguments.get("mode", "constant") == "constant":
        pairs = _pairs(case)
        g = g[tuple(slice(max(low, 0), n - max(high, 0)) for n, (low, high) in zip(g.shape, pairs, strict=True))]
    return difference("the gradient has another sum", np.array(np.sum(dx.astype(np.float64))), np.array(np.sum(g)))


def _keeps_every_element(call: Call, case: Case) -> Disagreement | None:
    if case.problem.arguments.get("output_mask") == (False,):
        return None
    given = case.arrays.get("grad_output", case.arrays["input"])
    return difference("elements are lost or repeated", np.sort(_output(call, case).ravel()), np.sort(given.ravel()))


def _undoes_itself(call: Call, case: Case) -> Disagreement | None:
    x, groups = case.arrays["input"], case.problem.arguments["groups"]
    if x.shape[1] == 0:
        return None
    shuffled = Case(case.problem.having(groups=x.shape[1] // groups), {"input": _output(call, case)})
    return difference("two shuffles do not undo each other", _output(call, shuffled), x)


SHUFFLES = (("pixel_shuffle", "upscale_factor"), ("pixel_unshuffle", "downscale_factor"), ("channel_shuffle", "groups"))
REARRANGEMENTS = (
    *(Pad(backward) for backward in (False, True)),
    *(Flatten(backward) for backward in (False, True)),
    *(Shuffle(name, argument, backward) for name, argument in SHUFFLES for backward in (False, True)),
)
