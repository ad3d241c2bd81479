"""Convolutions and transposed convolutions, forward and backward, as the checker sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from clconv.oracle import strategies

from . import _conv_cases, _conv_laws, _conv_suspects
from ._base import Claims, Identity, Problem, Refusal, Suspect
from ._sums import SumOfProducts

__all__ = ["CONVOLUTIONS", "Convolution", "ConvolutionBackward"]

# What "same" means beside torch, which has it at stride 1 only, with the odd pixel on the high side.
SAME = {"onnx": "same_upper", "tf": "same_upper", "scipy": "same_lower"}
FEATURES = ("padding_pairs", "padding_names", "padding_mode", "flip", "out")


class _UnderSemantics(SumOfProducts):
    """An operation whose padding "same" depends on the system."""

    semantics = ("torch", *SAME)

    def translated(self, arguments: Mapping[str, Any], claims: Claims) -> dict[str, Any]:
        """Say "same" in the reference's words."""
        if arguments.get("padding") == "same" and claims.semantics in SAME:
            return {**arguments, "padding": SAME[claims.semantics]}
        return dict(arguments)


class Convolution(_UnderSemantics):
    """conv1d to conv3d and conv_transpose1d to conv_transpose3d."""

    required = ("input", "weight")
    optional = ("bias",)

    def __init__(self, rank: int, transposed: bool) -> None:
        self.rank = rank
        self.transposed = transposed
        self.name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
        self.features = tuple(f for f in FEATURES if not (transposed and f == "padding_names"))
        between = ("output_padding",) if transposed else ()
        self.settings = ("bias", "stride", "padding", *between, "dilation", "groups")
        self.factors = {"output": ("input", "weight")}
        self.addends = {"output": ("bias",)}

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a convolution."""
        return strategies.conv_problems(self.rank, transposed=self.transposed, claims=claims)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List convolutions that are often got wrong."""
        return _conv_cases.edges(self.rank, self.transposed, claims)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        return _conv_cases.refusals(self.rank, self.transposed, claims)

    def identities(self, claims: Claims) -> Iterable[Identity]:
        """List the laws of convolution."""
        return (*super().identities(claims), *_conv_laws.laws(self.rank, self.transposed, claims))

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of convolutions."""
        return _conv_suspects.suspects(self)


class ConvolutionBackward(_UnderSemantics):
    """The gradients of a convolution: NAME_backward(grad_output, input, weight, bias, ...)."""

    required = ("grad_output", "input", "weight")
    optional = ("bias",)
    results = ("input", "weight", "bias")

    def __init__(self, forward: Convolution) -> None:
        self.forward = forward
        self.rank = forward.rank
        self.transposed = forward.transposed
        self.name = f"{forward.name}_backward"
        self.features = (*(f for f in forward.features if f != "out"), "output_mask")
        self.settings = forward.settings
        self.padded = "grad_output" if self.transposed else "input"
        self.factors = {
            "input": ("grad_output", "weight"),
            "weight": ("grad_output", "input"),
            "bias": ("grad_output",),
        }

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a convolution and the shape of its output's gradient."""
        problems = self.forward.problems(claims).map(lambda problem: self.behind(problem, claims))
        if claims.offers("output_mask"):
            masks = st.tuples(st.booleans(), st.booleans(), st.booleans())
            problems = st.one_of(problems, st.builds(lambda p, mask: p.having(output_mask=mask), problems, masks))
        return problems

    def behind(self, problem: Problem, claims: Claims) -> Problem:
        """Turn a problem of the forward operation into one of its gradients."""
        arrays = {name: np.zeros(shape) for name, shape in problem.shapes.items()}
        output = self.forward.evaluate(arrays, dict(problem.arguments), claims)["output"]
        assert output is not None
        shapes = {"grad_output": output.shape, **problem.shapes}
        return Problem(shapes, problem.arguments, problem.name, problem.disputed)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List the gradients of convolutions that are often got wrong."""
        for problem in self.forward.edges(claims):
            yield self.behind(problem, claims)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning: the forward operation's, and gradients of another shape."""
        return _conv_cases.backward_refusals(self.forward.refusals(claims), self.rank)

    def identities(self, claims: Claims) -> Iterable[Identity]:
        """List the laws of the gradients."""
        yield from super().identities(claims)
        yield _conv_laws.both_gradients_have_one_product()

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of gradients."""
        return _conv_suspects.suspects(self)


FORWARD = tuple(Convolution(rank, transposed) for transposed in (False, True) for rank in (1, 2, 3))
CONVOLUTIONS = (*FORWARD, *(ConvolutionBackward(forward) for forward in FORWARD))
