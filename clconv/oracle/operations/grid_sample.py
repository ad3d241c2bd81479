"""grid_sample, forward and backward, as the checker sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from clconv.oracle._floats import float_type

from ._base import (
    Arrays,
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
    sparse_integers,
)
from ._sums import difference

__all__ = ["GRID_SAMPLERS"]

Array = NDArray[Any]

SETTINGS = ("mode", "padding_mode", "align_corners")
CHOICES: dict[str, tuple[Any, ...]] = {
    "mode": ("bilinear", "nearest", "bicubic"),
    "padding_mode": ("zeros", "border", "reflection"),
    "align_corners": (None, True, False),
}
#: Extents for which positions that are multiples of 1/2 have coordinates that every binary type holds.
BINARY_EXTENTS = {False: (1, 2, 4), True: (2, 3, 5)}


class GridSample(Operation):
    """grid_sample: sums of pixels whose weights depend on another array."""

    name = "grid_sample"
    required: tuple[str, ...] = ("input", "grid")
    settings = SETTINGS
    features: tuple[str, ...] = ("out",)

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a problem of any extents."""
        return _problems(claims, exact=False)

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a problem of extents that have exact coordinates, without cubic weights."""
        return _problems(claims, exact=True)

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw small integers, and positions at pixels and halfway between them, in the image and around it."""
        dtype = float_type("dtype", claims.dtype)
        largest = {"input": 4, "grad_output": 2}
        arrays = {
            name: sparse_integers(random, shape, largest[name])
            for name, shape in problem.shapes.items()
            if name != "grid"
        }
        shape, extents = problem.shapes["grid"], problem.shapes["input"][2:]
        aligned = bool(problem.arguments.get("align_corners"))
        grid = np.zeros(shape)
        for k, extent in enumerate(extents[::-1]):
            p = random.integers(-2 * extent, 4 * extent, shape[:-1], endpoint=True) / 2
            grid[..., k] = (2 * p / max(extent - 1, 1) if aligned else (2 * p + 1) / extent) - 1
        return {name: ({**arrays, "grid": grid}[name]).astype(dtype) for name in problem.shapes}

    def real_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw normal numbers, and coordinates in the image and around it."""
        dtype = float_type("dtype", claims.dtype)
        arrays = super().real_arrays(problem, random, claims)
        return {**arrays, "grid": random.uniform(-1.75, 1.75, problem.shapes["grid"]).astype(dtype)}

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List problems that are often got wrong."""
        for problem in _edges():
            if all(claims.takes(name) for name in problem.arguments):
                yield problem

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning."""
        for refusal in _refusals():
            if all(claims.takes(name) for name in refusal.problem.arguments):
                yield refusal

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the laws of sampling."""
        yield Identity("linear in input", _linear)
        yield Identity("channels are separate", _channels_are_separate)

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of sampling."""

        def with_arguments(cause: str, **changed: Any) -> Suspect:
            return Suspect(cause, lambda arrays, arguments: self._evaluated(arrays, {**arguments, **changed}))

        def turned(arrays: Arrays, arguments: dict[str, Any]) -> Results:
            grid = arrays["grid"]
            assert grid is not None
            return self._evaluated({**arrays, "grid": grid[..., ::-1].copy()}, arguments)

        yield Suspect("the coordinates of the axes are exchanged", turned)
        yield Suspect(
            "align_corners is taken the other way round",
            lambda arrays, arguments: self._evaluated(
                arrays, {**arguments, "align_corners": not arguments.get("align_corners")}
            ),
        )
        for mode in CHOICES["padding_mode"]:
            yield with_arguments(f"padding_mode={mode!r} is always taken", padding_mode=mode)
        for mode in CHOICES["mode"]:
            yield with_arguments(f"mode={mode!r} is always taken", mode=mode)

    def _evaluated(self, arrays: Arrays, arguments: dict[str, Any]) -> Results:
        return self.evaluate(arrays, arguments, Claims())


class GridSampleBackward(GridSample):
    """grid_sample_backward: the gradients of the image and of the grid."""

    name = "grid_sample_backward"
    required = ("grad_output", "input", "grid")
    results = ("input", "grid")
    features = ("output_mask",)

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a problem and the shape of its output's gradient."""
        return self._behind_each(super().problems(claims), claims)

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a problem of exact coordinates and the shape of its output's gradient."""
        return self._behind_each(super().exact_problems(claims), claims)

    def _behind_each(self, drawn: st.SearchStrategy[Problem], claims: Claims) -> st.SearchStrategy[Problem]:
        problems = drawn.map(_behind)
        if not claims.offers("output_mask"):
            return problems
        masks = st.tuples(st.booleans(), st.booleans())
        return st.one_of(problems, st.builds(lambda p, mask: p.having(output_mask=mask), problems, masks))

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List gradients that are often got wrong."""
        yield from map(_behind, super().edges(claims))

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List the forward operation's calls without a meaning, and gradients of another shape."""
        for refusal in super().refusals(claims):
            yield Refusal(refusal.rule, _behind(refusal.problem))
        for name, shape in (("too long", (1, 2, 3, 5)), ("of another batch", (2, 2, 3, 4))):
            shapes = {"grad_output": shape, "input": (1, 2, 4, 5), "grid": (1, 3, 4, 2)}
            yield Refusal("grad_output has the output's shape", Problem(shapes, {}, f"a grad_output {name}"))

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List no laws: those of the forward operation do not hold."""
        yield from ()


@st.composite
def _problems(draw: st.DrawFn, claims: Claims, exact: bool) -> Problem:
    """Draw shapes and settings, the simplest first."""
    drawn = {name: draw(st.sampled_from(values)) for name, values in CHOICES.items() if claims.takes(name)}
    rank = 2 if drawn.get("mode") == "bicubic" else draw(st.sampled_from((2, 2, 3)))
    if exact and drawn.get("mode") == "bicubic":
        drawn["mode"] = "bilinear"
    arguments = {name: value for name, value in drawn.items() if value != CHOICES[name][0]}
    choices = st.sampled_from(BINARY_EXTENTS[bool(drawn.get("align_corners"))]) if exact else st.integers(1, 6)
    extents = [draw(choices) for _ in range(rank)]
    outputs = [draw(st.integers(1, 4)) for _ in range(rank)]
    N, C = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    return Problem({"input": (N, C, *extents), "grid": (N, *outputs, rank)}, arguments)


def _problem(name: str, image: tuple[int, ...], grid: tuple[int, ...], **arguments: Any) -> Problem:
    return Problem({"input": image, "grid": grid}, arguments, name)


def _behind(problem: Problem) -> Problem:
    """Turn a problem of the forward operation into one of its gradients."""
    image, grid = problem.shapes["input"], problem.shapes["grid"]
    shapes = {"grad_output": (*image[:2], *grid[1:-1]), **problem.shapes}
    return Problem(shapes, problem.arguments, problem.name, problem.disputed)


def _edges() -> Iterator[Problem]:
    yield _problem("an empty batch", (0, 2, 2, 4), (0, 3, 2, 2))
    yield _problem("no positions", (1, 2, 2, 4), (1, 0, 3, 2))
    yield _problem("no channels", (1, 0, 2, 4), (1, 2, 3, 2))
    for mode in CHOICES["padding_mode"]:
        for aligned in (False, True):
            small, options = (2 if aligned else 1), {"padding_mode": mode, "align_corners": aligned}
            yield _problem(f"few pixels, {mode}, align_corners={aligned}", (1, 2, small, 2), (1, 3, 3, 2), **options)
    yield _problem("ties between two pixels", (2, 1, 4, 2), (2, 5, 5, 2), mode="nearest")
    yield _problem("17 channels", (1, 17, 2, 4), (1, 2, 2, 2))
    yield _problem("three axes, another extent on each", (1, 2, 1, 2, 4), (1, 2, 3, 2, 3))
    yield _problem("a long row of positions", (1, 1, 2, 2), (1, 1, 517, 2))


def _refusals() -> Iterator[Refusal]:
    image, grid = (1, 2, 4, 5), (1, 3, 4, 2)
    yield Refusal("the input has 4 or 5 axes", _problem("an input of three axes", (1, 4, 5), (1, 3, 1)))
    yield Refusal("grid has the input's batch", _problem("a grid of another batch", image, (2, 3, 4, 2)))
    yield Refusal(
        "grid has a coordinate for each axis", _problem("three coordinates for two axes", image, (1, 3, 4, 3))
    )
    yield Refusal("grid has the input's axes", _problem("a grid of five axes", image, (1, 1, 3, 4, 2)))
    yield Refusal("the input has a pixel", _problem("an empty axis", (1, 2, 0, 5), grid))
    yield Refusal("mode is a known word", _problem("mode='closest'", image, grid, mode="closest"))
    yield Refusal("padding_mode is a known word", _problem("padding_mode='mirror'", image, grid, padding_mode="mirror"))
    yield Refusal(
        "mode='bicubic' has two axes",
        _problem("bicubic over three axes", (1, 2, 2, 4, 5), (1, 2, 3, 4, 3), mode="bicubic"),
    )


def _output(call: Call, case: Case) -> Array:
    (output,) = call(case).values()
    assert output is not None
    return output


def _linear(call: Call, case: Case) -> Disagreement | None:
    x = case.arrays["input"]
    other = np.roll(x, 1)
    parts = _output(call, case) + _output(call, case.holding(input=other))
    return difference(
        "f(input + other) is not f(input) + f(other)", _output(call, case.holding(input=x + other)), parts
    )


def _channels_are_separate(call: Call, case: Case) -> Disagreement | None:
    backwards = _output(call, case.holding(input=case.arrays["input"][:, ::-1].copy()))
    return difference("channels in another order give other outputs", backwards[:, ::-1], _output(call, case))


GRID_SAMPLERS = (GridSample(), GridSampleBackward())
