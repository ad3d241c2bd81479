"""Max pooling, adaptive max pooling and max unpooling, as the checker sees them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from clconv.oracle.reference.pool_windows import Windows

from . import _pool_cases
from ._base import Array, Case, Claims, Problem, Refusal, Results
from ._pool_cases import MANY
from ._pool_values import cast, distinct_indices, integers, maxima, rounded
from ._pooling import Pooling

__all__ = ["AdaptiveMaxPool", "MaxPool", "MaxUnpool"]


class MaxPool(Pooling):
    """max_pool1d to max_pool3d: the results are the output and, if wanted, indices."""

    family = "max_pool"
    results: tuple[str, ...] = ("output", "indices")
    settings: tuple[str, ...] = ("stride", "padding", "dilation", "ceil_mode", "return_indices")
    features: tuple[str, ...] = ("padding_pairs", "padding_names")
    gradient_features: tuple[str, ...] = ("padding_pairs", "padding_names", "ties", "output_mask")
    semantics: tuple[str, ...] = ("torch", "onnx")

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw windows."""
        return _with_indices(_pool_cases.sliding_problems(self.rank, claims, self.settings), claims)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List windows that are often got wrong, with indices where they are claimed."""
        return (_wanting_indices(problem, claims) for problem in super().edges(claims))

    def named(self, returned: Any) -> Results:
        """Name the results; without return_indices there is only the output."""
        has_indices = len(self.results) > 1 and not isinstance(returned, tuple)
        return super().named((returned, None) if has_indices else returned)

    def bounds(self, case: Case, claims: Claims, flushes_subnormals: bool = False) -> Results:
        """Bound the maxima; indices, which have no error to bound, are judged on exact data."""
        return super().bounds(case, claims, flushes_subnormals) | dict.fromkeys(self.results[1:])

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw distinct integers, or ties."""
        return {"input": maxima(random, problem.shapes["input"], claims.dtype)}

    def real_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw numbers, half of the time with ties."""
        arrays = super().real_arrays(problem, random, claims)
        return {**arrays, "input": rounded(random, arrays["input"])}

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterable[tuple[str, Case, Results, str]]:
        """Plant NaN and infinities, and let nothing but minus infinity be there, which the padding equals."""
        yield from super().special_cases(problem, random, claims)
        lowest = Case(problem, {"input": cast(np.full(problem.shapes["input"], -np.inf), claims.dtype)})
        yield "minus infinity everywhere", lowest, self.expected(lowest, claims), ""


class AdaptiveMaxPool(MaxPool):
    """adaptive_max_pool1d to adaptive_max_pool3d."""

    family = "adaptive_max_pool"
    positional: tuple[str, ...] = ("output_size",)
    settings: tuple[str, ...] = ("return_indices",)
    features: tuple[str, ...] = ()
    gradient_features: tuple[str, ...] = ("output_mask",)
    semantics: tuple[str, ...] = ("torch",)

    def windows(self, problem: Problem, claims: Claims) -> Windows:
        """Return the windows of a lawful problem."""
        rank, arguments = self.explicit(problem.shapes["input"], problem.arguments)
        return _pool_cases.adaptive_windows(rank, problem.shapes["input"], arguments)

    def lawful_gradient(self) -> Problem:
        """Return a problem whose gradient of the output has no axis of one element."""
        return Problem({"input": (2, 3, *(5,) * self.rank)}, {"output_size": 3})

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw shares of any size."""
        return _with_indices(_pool_cases.adaptive_problems(self.rank, halves=False), claims)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List shares that are often got wrong."""
        return (_wanting_indices(problem, claims) for problem in _pool_cases.adaptive_edges(self.rank))

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        return _pool_cases.adaptive_refusals(self.rank, needs_channels=True)


class MaxUnpool(Pooling):
    """max_unpool1d to max_unpool3d: indices are an array, and none of a plane's are equal."""

    family = "max_unpool"
    required: tuple[str, ...] = ("input", "indices")
    settings: tuple[str, ...] = ("stride", "padding", "output_size")
    features: tuple[str, ...] = ("out",)

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw the windows of a pooling, and what comes out of it."""
        settings = tuple(name for name in ("stride", "padding") if claims.takes(name))
        drawn = _pool_cases.sliding_problems(self.rank, replace(claims, semantics="torch"), settings)
        return st.builds(lambda pooled, says: self._behind(pooled, says, claims), drawn, st.booleans())

    def _behind(self, pooled: Problem, says_size: bool, claims: Claims) -> Problem:
        """Turn a pooling into the unpooling of its output, as far as the windows reach if it does not say how far."""
        image, windows = (
            pooled.shapes["input"],
            _pool_cases.sliding_windows(self.rank, pooled.shapes["input"], pooled.arguments),
        )
        shape = (*image[: -self.rank], *windows.positions)
        problem = Problem({"input": shape, "indices": shape}, pooled.arguments)
        default = self.extent(problem)
        if math.prod(default) < math.prod(windows.positions) or min(default) < 1:  # which has no room for all
            problem = replace(problem, arguments={"kernel_size": pooled.arguments["kernel_size"]})
        elif says_size and claims.takes("output_size"):
            problem = problem.having(output_size=image[-self.rank :])
        return problem

    def lawful_gradient(self) -> Problem:
        """Return a problem whose gradient of the output has no axis of one element."""
        shape = (2, 3, *(2,) * self.rank)
        return Problem({"input": shape, "indices": shape}, {"kernel_size": 2})

    def extent(self, problem: Problem) -> tuple[int, ...]:
        """Return the extent of the output."""
        arguments = problem.arguments
        if "output_size" in arguments:
            return tuple(arguments["output_size"])
        kernel = _pool_cases.each(arguments["kernel_size"], self.rank)
        strides = _pool_cases.each(arguments.get("stride", kernel), self.rank)
        padding = _pool_cases.each(arguments.get("padding", 0), self.rank)
        axes = zip(problem.shapes["input"][-self.rank :], strides, kernel, padding, strict=True)
        return tuple((i - 1) * s + k - 2 * p for i, s, k, p in axes)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List unpoolings that are often got wrong."""

        def over(name: str, extent: Any, N: int = 2, C: int = 3, **arguments: Any) -> Problem:
            shape = (N, C, *_pool_cases.each(extent, self.rank))
            return Problem({"input": shape, "indices": shape}, {"kernel_size": 2, **arguments}, name)

        larger = tuple(range(7, 7 + self.rank))
        listed = (
            over("an empty batch", 2, N=0),
            over("one pixel", 1),
            over("another size on every axis", (2, 4, 3)),
            over("an output larger than the windows reach", 3, stride=5, output_size=(13,) * self.rank),
            over("another output_size on every axis", 3, stride=3, output_size=larger),
            over("padding", 3, stride=2, padding=1),
            _pool_cases.unbatched(over("an input without a batch axis", 2), self.rank),
            over(f"{MANY} images", 1, N=MANY, C=1),
        )
        return _pool_cases.claimed(listed, self.settings, claims)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        image = np.ones((1, 2, *(2,) * self.rank), claims.dtype)
        first = np.zeros(image.shape, dtype=np.int64)
        pixels = 4**self.rank

        def call(rule: str, name: str, x: Array = image, indices: Array = first, **arguments: Any) -> Refusal:
            problem = Problem({"input": x.shape, "indices": indices.shape}, {"kernel_size": 2, **arguments}, name)
            return Refusal(rule, problem, {"input": x, "indices": indices})

        beyond = first.copy()
        beyond.flat[-1] = pixels
        listed = (
            call("indices are less than the number of pixels", f"an index of {pixels}", indices=beyond),
            call("indices are less than the number of pixels", "an index of 2**32", indices=first + 2**32),
            call("indices are at least 0", "an index of -1", indices=first - 1),
            call("indices have the input's shape", "too few indices", indices=first[..., :1].copy()),
            call("kernel_size has one entry for each axis", "too many sizes", kernel_size=(2,) * (self.rank + 1)),
            call("output_size is less than a stride from the default", "output_size=1", output_size=(1,) * self.rank),
            call("output_size is less than a stride from the default", "output_size=6", output_size=(6,) * self.rank),
            call("the output has a pixel", "padding that leaves no output", stride=1, padding=2),
            call("input has a pixel", "no pixels", image[..., :0].copy(), first[..., :0].copy()),
            call("input has a channel", "no channels", image[:, :0].copy(), first[:, :0].copy()),
        )
        return _pool_cases.claimed(listed, self.settings, claims)

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw any integers, and indices that differ."""
        shape = problem.shapes["input"]
        indices = distinct_indices(random, shape, self.rank, math.prod(self.extent(problem)))
        return {"input": integers(random, shape, 1, claims.dtype), "indices": indices}

    def real_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw numbers, and indices that differ."""
        real = super().real_arrays(replace(problem, shapes={"input": problem.shapes["input"]}), random, claims)
        return {**self.exact_arrays(problem, random, claims), **real}

    def terms(self, problem: Problem, claims: Claims) -> float:
        """Copy one number."""
        return 1


def _with_indices(problems: st.SearchStrategy[Problem], claims: Claims) -> st.SearchStrategy[Problem]:
    if not claims.takes("return_indices"):
        return problems
    return st.builds(lambda p, wanted: p.having(return_indices=True) if wanted else p, problems, st.booleans())


def _wanting_indices(problem: Problem, claims: Claims) -> Problem:
    return problem.having(return_indices=True) if claims.takes("return_indices") else problem
