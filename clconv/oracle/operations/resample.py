"""interpolate, forward and backward, as the checker sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from clconv.oracle._floats import float_type
from clconv.oracle.reference.resample_coordinates import Filtered

from . import _resample_cases, _resample_suspects
from ._base import Call, Case, Claims, Disagreement, Identity, Problem, Refusal, Results, Suspect, sparse_integers
from ._sums import SumOfProducts, difference

__all__ = ["RESAMPLERS"]

Array = NDArray[Any]


class Interpolate(SumOfProducts):
    """interpolate: sums of pixels with fixed weights."""

    name = "interpolate"
    required: tuple[str, ...] = ("input",)
    results: tuple[str, ...] = ("output",)
    settings = _resample_cases.SETTINGS
    features: tuple[str, ...] = (*_resample_cases.EXTENSIONS, "out")
    semantics = ("torch", "onnx", "tf", "scipy")

    def __init__(self) -> None:
        self.factors = {self.results[0]: (self.required[0],)}

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a resizing."""
        return _resample_cases.resizings(claims) if _says_how_large(claims) else st.nothing()

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a resizing by powers of two, or of nearest neighbours where no rounding decides."""
        drawn = _resample_cases.resizings(claims, exact=True) if _says_how_large(claims) else st.nothing()
        return drawn.filter(lambda problem: _stays_exact(problem, claims))

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw integers that any way to resize leaves exact."""
        largest = min(1000, *(n for n in _resample_cases.exact_integers(problem, claims) if n))
        dtype = float_type("dtype", claims.dtype)
        return {name: sparse_integers(random, shape, largest).astype(dtype) for name, shape in problem.shapes.items()}

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterable[tuple[str, Case, Results, str]]:
        """Plant NaN and infinities, which reach the outputs that give them a weight.

        Kernels have taps of weight zero, at which some systems multiply and some do not.
        """
        arrays = self.exact_arrays(problem, random, claims)
        filters = any(isinstance(axis, Filtered) for axis in _resample_cases.axes_of(problem, claims))
        for name in problem.shapes:
            if arrays[name].size == 0:
                continue
            planted = {k: a.copy() for k, a in arrays.items()}
            for value in (np.nan, np.inf, -np.inf):
                planted[name].flat[random.integers(planted[name].size)] = value
            case = Case(problem, planted)
            with np.errstate(invalid="ignore"):
                expected = self.expected(case, claims)
            yield (
                f"NaN and infinities in {name}",
                case,
                expected,
                "0 times infinity at a weight of zero" if filters else "",
            )

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List resizings that are often got wrong."""
        return _resample_cases.edges(claims)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        return _resample_cases.refusals(claims)

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the laws of resizing."""
        yield from super().identities(claims)
        yield Identity("constants stay", _constants_stay)
        yield Identity("images and channels are separate", _planes_are_separate)
        yield Identity("a mirrored image gives the mirrored output", _mirrored(claims))

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of resizing."""
        return _resample_suspects.suspects(self)


class InterpolateBackward(Interpolate):
    """interpolate_backward: the transposed weights."""

    name = "interpolate_backward"
    required = ("grad_output", "input")
    results = ("input",)
    features = (*_resample_cases.EXTENSIONS, "output_mask")

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a resizing and the shape of its output's gradient."""
        return self._behind_each(super().problems(claims), claims)

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a resizing whose gradient has exact data."""
        drawn = _resample_cases.resizings(claims, exact=True) if _says_how_large(claims) else st.nothing()
        return self._behind_each(drawn, claims).filter(lambda problem: _stays_exact(problem, claims))

    def _behind_each(self, drawn: st.SearchStrategy[Problem], claims: Claims) -> st.SearchStrategy[Problem]:
        problems = drawn.map(lambda problem: self.behind(problem, claims))
        if claims.offers("output_mask"):
            masks = st.tuples(st.booleans())
            problems = st.one_of(problems, st.builds(lambda p, mask: p.having(output_mask=mask), problems, masks))
        return problems

    def behind(self, problem: Problem, claims: Claims) -> Problem:
        """Turn a problem of the forward operation into one of its gradient."""
        positions = tuple(axis.positions for axis in _resample_cases.axes_of(problem, claims))
        shapes = {"grad_output": (*problem.shapes["input"][:2], *positions), **problem.shapes}
        return Problem(shapes, problem.arguments, problem.name, problem.disputed)

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List the gradients of resizings that are often got wrong."""
        for problem in super().edges(claims):
            behind = self.behind(problem, claims)
            if _resample_cases.exact_integer(behind, claims):
                yield behind

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning: the forward operation's, and gradients of another shape."""
        for refusal in super().refusals(claims):
            problem = refusal.problem
            shapes = {"grad_output": _resample_cases.supposed_output(problem), **problem.shapes}
            yield Refusal(refusal.rule, Problem(shapes, problem.arguments, problem.name))
        if claims.takes("size"):
            for name, shape in (("a grad_output too small", (1, 2, 5)), ("a grad_output of another batch", (2, 2, 6))):
                problem = Problem({"grad_output": shape, "input": (1, 2, 3)}, {"size": 6}, name)
                yield Refusal("grad_output has the output's shape", problem)

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the laws of the gradient."""
        yield from SumOfProducts.identities(self, claims)
        yield Identity("the gradient keeps the sum", _keeps_the_sum)


def _says_how_large(claims: Claims) -> bool:
    """Tell whether the implementation can be told the size of the output."""
    return claims.takes("size") or (claims.takes("scale_factor") and claims.semantics != "tf")


def _stays_exact(problem: Problem, claims: Claims) -> bool:
    """Tell whether there are exact data, also for the call without one of its arguments."""
    return all(_resample_cases.exact_integers(problem, claims))


def _output(call: Call, case: Case) -> Array:
    (output,) = call(case).values()
    assert output is not None
    return output


def _constants_stay(call: Call, case: Case) -> Disagreement | None:
    x = case.arrays["input"]
    if x.size == 0:
        return None
    y = _output(call, case.holding(input=np.full_like(x, x.flat[0])))
    return difference("a constant image gives another value", y, np.full_like(y, x.flat[0]))


def _planes_are_separate(call: Call, case: Case) -> Disagreement | None:
    backwards = _output(call, case.holding(input=case.arrays["input"][::-1, ::-1].copy()))
    return difference("planes in another order give other outputs", backwards[::-1, ::-1], _output(call, case))


def _mirrored(claims: Claims) -> Any:
    def check(call: Call, case: Case) -> Disagreement | None:
        axes = _resample_cases.axes_of(case.problem, claims)
        mirrors = tuple(a for a, axis in enumerate(axes, start=2) if _is_symmetric(axis))
        x = case.arrays["input"]
        turned = _output(call, case.holding(input=np.flip(x, mirrors).copy()))
        return difference("the output is not mirrored with the image", np.flip(turned, mirrors), _output(call, case))

    return check


def _is_symmetric(axis: Any) -> bool:
    """Tell whether the last position reads the pixels from the right as the first one does from the left."""
    X, Y = axis.extent, axis.positions
    mirrored = [sorted((X - 1 - k, w) for k, w in axis.taps(o) if w) for o in range(Y)]
    return mirrored[::-1] == [sorted(tap for tap in axis.taps(o) if tap[1]) for o in range(Y)]


def _keeps_the_sum(call: Call, case: Case) -> Disagreement | None:
    if case.problem.arguments.get("output_mask") == (False,):
        return None
    g, dx = case.arrays["grad_output"], _output(call, case)
    sums = [np.sum(a.astype(np.float64), axis=tuple(range(2, a.ndim))) for a in (dx, g)]
    return difference("the gradient's sum is not that of grad_output", *sums)


RESAMPLERS = (Interpolate(), InterpolateBackward())
