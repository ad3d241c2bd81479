"""Normalisations, forward and backward, as the checker sees them.

There are no data on which every right normalisation gives the same bits: Welford's recurrence divides by three,
OpenCL's rsqrt may be off by 2 ulp, and a folded scale and shift rounds anyway. So every result is held to its bound,
that of small integers included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from clconv.oracle._floats import float_type
from clconv.oracle.reference.group_norm import default_epsilon

from . import _norm_cases, _norm_laws, _norm_response_suspects, _norm_suspects
from ._base import Case, Claims, Identity, Operation, Problem, Refusal, Results, Suspect

__all__ = ["NORMS", "Normalisation", "NormalisationBackward"]

Array = NDArray[Any]

RUNNING = ("running_mean", "running_var")
POSITIONAL = {
    "group_norm": ("num_groups",),
    "layer_norm": ("normalized_shape",),
    "rms_norm": ("normalized_shape",),
    "local_response_norm": ("size",),
}
SETTINGS = {
    "batch_norm": ("weight", "bias", "training", "momentum", "eps"),
    "instance_norm": (*RUNNING, "weight", "bias", "use_input_stats", "momentum", "eps"),
    "group_norm": ("weight", "bias", "eps"),
    "layer_norm": ("weight", "bias", "eps"),
    "rms_norm": ("weight", "eps"),
    "local_response_norm": ("alpha", "beta", "k"),
}
SEMANTICS = {"batch_norm": ("torch", "onnx", "tf"), "local_response_norm": ("torch", "onnx")}


class Normalisation(Operation):
    """One of the six, by name."""

    features: tuple[str, ...] = ("out",)
    rounds = True

    def __init__(self, name: str) -> None:
        self.name = self.family = name
        self.required = ("input", *RUNNING) if name == "batch_norm" else ("input",)
        self.settings = SETTINGS[name]
        self.optional = tuple(array for array in (*RUNNING, "weight", "bias") if array in self.settings)
        self.positional = POSITIONAL.get(name, ())
        self.semantics = SEMANTICS.get(name, ("torch",))
        if name in ("batch_norm", "instance_norm"):
            self.updates = RUNNING
            self.results = ("output", *RUNNING)
            self.features = ()

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a normalisation."""
        return _norm_cases.PROBLEMS[self.family](claims)

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw small integers, which keep the bounds small."""
        return _norm_cases.integers(problem, random, claims)

    def real_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw real numbers around means of many magnitudes."""
        return _norm_cases.real_numbers(problem, random, claims)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List normalisations that are often got wrong."""
        return _norm_cases.claimed(_norm_cases.edges(self.family), self.settings, claims)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        return _norm_cases.claimed(_norm_cases.refusals(self.family, claims), self.settings, claims)

    def identities(self, claims: Claims) -> Iterable[Identity]:
        """List the laws of normalisation."""
        return _norm_laws.forward_laws(self, claims)

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of normalisation."""
        if self.family == "local_response_norm":
            return _norm_response_suspects.suspects(self)
        return _norm_suspects.suspects(self)

    def translated(self, arguments: Mapping[str, Any], claims: Claims) -> dict[str, Any]:
        """Say what no eps stands for: the reference sees float64 instead of the implementation's type."""
        translated = super().translated(arguments, claims)
        if self.family == "rms_norm" and translated.get("eps") is None:
            translated["eps"] = default_epsilon(float_type("dtype", claims.dtype))
        return translated

    def bounds(self, case: Case, claims: Claims, flushes_subnormals: bool = False) -> Results:
        """Return the bounds; NaN and infinity, where rows are NaN as a whole, are taken for ones."""
        finite = {name: np.where(np.isfinite(a), a, a.dtype.type(1)) for name, a in case.arrays.items()}
        return super().bounds(case.holding(**finite), claims, flushes_subnormals)

    def named_by_call(self, returned: Any, arrays: Mapping[str, Array]) -> Results:
        """Take running statistics also from an implementation that returns them."""
        if self.updates and isinstance(returned, (tuple, list)) and len(returned) == len(self.results):
            return self.named(returned)
        return super().named_by_call(returned, arrays)

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterator[tuple[str, Case, Results, str]]:
        """Plant NaN in one array after the other: it makes its own row NaN, or its channel, and nothing else."""
        arrays = self.exact_arrays(problem, random, claims)
        for name, array in arrays.items():
            if array.size == 0:
                continue
            planted = array.copy()
            planted.flat[random.integers(planted.size)] = np.nan
            case = Case(problem, {**arrays, name: planted})
            yield f"NaN in {name}", case, self.expected(case, claims), ""


class NormalisationBackward(Normalisation):
    """The gradients of one of the six: NAME_backward(grad_output, *the same arguments)."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = f"{name}_backward"
        self.required = ("grad_output", *self.required)
        self.results = ("input", *(array for array in ("weight", "bias") if array in self.settings))
        self.updates = ()
        self.features = ("output_mask",)

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a normalisation and the shape of its output's gradient."""
        problems = super().problems(claims).map(behind)
        if claims.offers("output_mask"):
            masks = st.tuples(*(st.booleans() for _ in self.results))
            problems = st.one_of(problems, st.builds(lambda p, mask: p.having(output_mask=mask), problems, masks))
        return problems

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List the gradients of normalisations that are often got wrong."""
        for problem in super().edges(claims):
            yield behind(problem)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning: the forward operation's, and gradients of another shape."""
        listed = _norm_cases.gradient_refusals(self.family, claims)
        return _norm_cases.claimed(listed, self.settings, claims)

    def identities(self, claims: Claims) -> Iterable[Identity]:
        """List the laws of the gradients."""
        return _norm_laws.backward_laws(self, claims)


def behind(problem: Problem) -> Problem:
    """Turn a problem of the forward operation into one of its gradients."""
    return replace(problem, shapes={"grad_output": problem.shapes["input"], **problem.shapes})


NORMS = (*(Normalisation(name) for name in SETTINGS), *(NormalisationBackward(name) for name in SETTINGS))
