"""linear and its gradients as the checker sees them: sums of products, exact on integers in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ._base import Arrays, Claims, Problem, Refusal, Results, Suspect
from ._sums import SumOfProducts

__all__ = ["LINEAR"]

MANY = 65537  # more than an axis of a grid, or a 16-bit index, can hold


class Linear(SumOfProducts):
    """The linear layer."""

    optional = ("bias",)
    settings = ("bias",)

    def __init__(self) -> None:
        self.name = "linear"
        self.required = ("input", "weight")
        self.features = ("out",)
        self.factors = {"output": ("input", "weight")}
        self.addends = {"output": ("bias",)}

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a linear layer, the simplest of one row."""
        sizes = st.integers(1, 5)
        rows = st.lists(sizes, max_size=3).map(tuple)
        return st.builds(self.problem, rows, sizes, sizes, st.booleans() if claims.takes("bias") else st.just(False))

    def problem(self, rows: tuple[int, ...], inputs: int, outputs: int, has_bias: bool, name: str = "") -> Problem:
        """Return the problem of some axes of rows, and sizes."""
        bias = {"bias": (outputs,)} if has_bias else {}
        return Problem({"input": (*rows, inputs), "weight": (outputs, inputs), **bias}, name=name)

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List linear layers that are often got wrong."""
        biased = claims.takes("bias")
        yield self.problem((2,), 3, 4, biased, "more outputs than inputs")
        yield self.problem((2, 3, 4), 5, 2, biased, "three axes of rows")
        yield self.problem((2, 2, 2, 2, 2), 3, 2, biased, "five axes of rows")
        yield self.problem((), 5, 3, biased, "a single row without an axis")
        yield self.problem((0,), 3, 4, biased, "no rows")
        yield self.problem((2,), 0, 4, biased, "rows of nothing")
        yield self.problem((3,), 257, 33, biased, "257 inputs, 33 outputs")
        yield self.problem((MANY,), 1, 1, biased, f"{MANY} rows")
        yield Problem({"input": (2, 3), "weight": (3,)}, name="a weight of one axis")

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning."""
        for name, shapes in self.misfits(claims):
            yield Refusal("the shapes fit each other", Problem(shapes, name=name))

    def misfits(self, claims: Claims) -> Iterator[tuple[str, dict[str, tuple[int, ...]]]]:
        """Yield shapes that do not fit each other."""
        yield "rows of 4 for a weight of 3", {"input": (2, 4), "weight": (5, 3)}
        yield "a weight that is transposed", {"input": (2, 3), "weight": (3, 5)}
        if claims.takes("bias"):
            yield "a bias of 4 for 5 outputs", {"input": (2, 3), "weight": (5, 3), "bias": (4,)}

    def suspects(self) -> Iterator[Suspect]:
        """List the usual faults."""
        yield Suspect("the weight is taken transposed", self._changed(_transposed))
        yield Suspect("the bias is left out", self._changed(lambda a: {"bias": np.zeros_like(a["bias"])}))
        yield Suspect("the bias is added twice", self._changed(lambda a: {"bias": 2 * np.asarray(a["bias"])}))

    def _changed(self, change: Callable[[Arrays], Arrays]) -> Callable[[Arrays, dict[str, Any]], Results]:
        def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
            return self.evaluate({**arrays, **change(arrays)}, arguments, Claims())

        return results


class LinearBackward(Linear):
    """The gradients of the linear layer."""

    def __init__(self) -> None:
        self.name = "linear_backward"
        self.required = ("grad_output", "input", "weight")
        self.results = ("input", "weight", "bias")
        self.features = ("output_mask",)
        self.factors = {
            "input": ("grad_output", "weight"),
            "weight": ("grad_output", "input"),
            "bias": ("grad_output",),
        }

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a linear layer and the shape of its output's gradient."""
        problems = super().problems(claims)
        if not claims.offers("output_mask"):
            return problems
        masks = st.tuples(st.booleans(), st.booleans(), st.booleans())
        return st.one_of(problems, st.builds(lambda p, mask: p.having(output_mask=mask), problems, masks))

    def problem(self, rows: tuple[int, ...], inputs: int, outputs: int, has_bias: bool, name: str = "") -> Problem:
        """Return the problem of some axes of rows, and sizes."""
        forward = super().problem(rows, inputs, outputs, has_bias, name)
        return Problem({"grad_output": (*rows, outputs), **forward.shapes}, name=name)

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List gradients that are often got wrong."""
        yield from (problem for problem in super().edges(claims) if "grad_output" in problem.shapes)

    def misfits(self, claims: Claims) -> Iterator[tuple[str, dict[str, tuple[int, ...]]]]:
        """Yield shapes that do not fit each other, the grad_output's among them."""
        for name, shapes in super().misfits(claims):
            yield name, {"grad_output": (2, 5), **shapes}
        for shape in ((2, 3), (3, 5), (10,)):
            yield f"a grad_output of shape {shape}", {"grad_output": shape, "input": (2, 3), "weight": (5, 3)}

    def suspects(self) -> Iterator[Suspect]:
        """List the usual faults of the gradients."""
        yield Suspect("the weight is taken transposed", self._changed(_transposed))
        yield Suspect("gradients are averaged over the rows", self._averaged)
        yield Suspect("only the last row counts", self._changed(_last_row))

    def _averaged(self, arrays: Arrays, arguments: dict[str, Any]) -> Results:
        found = self.evaluate(arrays, arguments, Claims())
        rows = np.prod(np.asarray(arrays["input"]).shape[:-1])
        return {name: a if a is None or name == "input" else a / rows for name, a in found.items()}


def _transposed(arrays: Arrays) -> Arrays:
    return {"weight": np.asarray(arrays["weight"]).T}


def _last_row(arrays: Arrays) -> Arrays:
    g = np.zeros_like(np.asarray(arrays["grad_output"]))
    g[-1] = np.asarray(arrays["grad_output"])[-1]
    return {"grad_output": g}


LINEAR = (Linear(), LinearBackward())
