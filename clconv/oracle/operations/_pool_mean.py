"""Average pooling, adaptive average pooling and Lp pooling, as the checker sees them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from clconv.oracle.reference.pool_windows import Windows

from . import _pool_cases
from ._base import Array, Case, Claims, Problem, Refusal, Results
from ._pool_values import finite, integers
from ._pooling import Pooling

__all__ = ["AdaptiveAvgPool", "AvgPool", "LpPool"]

NORM_TYPES = (2, 1, 3, math.inf, 4, 1.5, 0.5)


class AvgPool(Pooling):
    """avg_pool1d to avg_pool3d."""

    family = "avg_pool"
    features: tuple[str, ...] = ("padding_pairs", "padding_names", "out")
    gradient_features: tuple[str, ...] = ("padding_pairs", "padding_names", "output_mask")
    semantics: tuple[str, ...] = ("torch", "onnx", "tf")

    def __init__(self, rank: int) -> None:
        super().__init__(rank)
        override = ("divisor_override",) if rank > 1 else ()
        self.settings = ("stride", "padding", "ceil_mode", "count_include_pad", *override)

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw windows and divisors."""
        return self._with_divisors(claims, (2, 1, 3, 4), (5, -3, 1))

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw windows whose divisors are powers of two, and stay so without any one of the arguments."""

        def simplified(problem: Problem) -> Problem:
            """Leave out what brings in a window cut off at an odd place."""
            for names in ((), ("count_include_pad",), ("ceil_mode",), ("ceil_mode", "count_include_pad", "padding")):
                kept = {k: v for k, v in problem.arguments.items() if k not in names}
                if self._stays_exact(replace(problem, arguments=kept), claims):
                    return replace(problem, arguments=kept)
            kernel, shape = problem.arguments["kernel_size"], problem.shapes["input"]
            extent = map(max, shape[-self.rank :], _pool_cases.each(kernel, self.rank))
            return Problem({"input": (*shape[: -self.rank], *extent)}, {"kernel_size": kernel})

        return self._with_divisors(claims, (2, 1, 4), (4, -2, 8)).map(simplified)

    def _with_divisors(
        self, claims: Claims, kernels: tuple[int, ...], overrides: tuple[int, ...]
    ) -> st.SearchStrategy[Problem]:
        def build(problem: Problem, excludes: bool, override: int | None) -> Problem:
            arguments: dict[str, Any] = {}
            if excludes and claims.takes("count_include_pad"):
                arguments["count_include_pad"] = False
            if override and self.rank > 1 and claims.takes("divisor_override"):
                arguments["divisor_override"] = override
            return problem.having(**arguments)

        problems = _pool_cases.sliding_problems(self.rank, claims, self.settings, kernels)
        return st.builds(build, problems, st.booleans(), st.sampled_from((None, None, *overrides)))

    def _stays_exact(self, problem: Problem, claims: Claims) -> bool:
        """Tell whether divisors are powers of two, with all arguments and without any one, where that is lawful."""

        def is_exact(arguments: Mapping[str, Any], if_refused: bool) -> bool:
            try:
                return _pool_cases.is_power_of_two(self.divisors(replace(problem, arguments=arguments), claims))
            except ValueError:
                return if_refused

        given = problem.arguments
        return is_exact(given, False) and all(
            is_exact({k: v for k, v in given.items() if k != name}, True) for name in given if name != "kernel_size"
        )

    def divisors(self, problem: Problem, claims: Claims) -> Array:
        """Return what the sum of each window is divided by."""
        windows, arguments = self.windows(problem, claims), problem.arguments
        counts_padding = arguments.get("count_include_pad", True) and claims.semantics != "tf"
        counts = windows.padded_taps if counts_padding else windows.inside.sum(axis=1)
        return np.full(counts.shape, arguments.get("divisor_override") or counts)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List windows and divisors that are often got wrong."""
        yield from super().edges(claims)
        image, odd = ({"input": (2, 3, *(extent,) * self.rank)} for extent in (4, 3))
        cut_off = {"kernel_size": 4, "padding": 2, "ceil_mode": True, "count_include_pad": False}
        listed = [
            Problem(image, {"kernel_size": 2, "padding": 1, "count_include_pad": False}, "the padding is not counted"),
            Problem(odd, cut_off, "a window beyond the padding (ceil_mode), which is not counted"),
        ]
        if self.rank > 1:
            for divisor in (8, -2):
                arguments = {"kernel_size": 2, "divisor_override": divisor}
                listed.append(Problem(image, arguments, f"divisor_override={divisor}"))
        yield from _pool_cases.claimed(listed, self.settings, claims)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        yield from super().refusals(claims)
        image = {"input": (2, 3, *(4,) * self.rank)}
        if self.rank > 1 and claims.takes("divisor_override"):
            zero = Problem(image, {"kernel_size": 2, "divisor_override": 0}, "divisor_override=0")
            yield Refusal("divisor_override is not zero", zero)

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw integers whose sums over a window are exact."""
        taps = self.windows(problem, claims).pixels.shape[1]
        return {"input": integers(random, problem.shapes["input"], taps, claims.dtype)}

    def terms(self, problem: Problem, claims: Claims) -> float:
        """Count the windows that a pixel is in, in units of the smallest part that one gives."""
        return super().terms(problem, claims) * float(np.abs(self.divisors(problem, claims)).max(initial=1))


class AdaptiveAvgPool(AvgPool):
    """adaptive_avg_pool1d to adaptive_avg_pool3d."""

    family = "adaptive_avg_pool"
    positional: tuple[str, ...] = ("output_size",)
    features: tuple[str, ...] = ("out",)
    gradient_features: tuple[str, ...] = ("output_mask",)
    semantics: tuple[str, ...] = ("torch",)

    def __init__(self, rank: int) -> None:
        super().__init__(rank)
        self.settings = ()

    def windows(self, problem: Problem, claims: Claims) -> Windows:
        """Return the windows of a lawful problem."""
        rank, arguments = self.explicit(problem.shapes["input"], problem.arguments)
        return _pool_cases.adaptive_windows(rank, problem.shapes["input"], arguments)

    def lawful_gradient(self) -> Problem:
        """Return a problem whose gradient of the output has no axis of one element."""
        return Problem({"input": (2, 3, *(5,) * self.rank)}, {"output_size": 3})

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw shares of any size."""
        return _pool_cases.adaptive_problems(self.rank, halves=False)

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw shares whose sizes are powers of two."""
        return _pool_cases.adaptive_problems(self.rank, halves=True)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List shares that are often got wrong."""
        return _pool_cases.adaptive_edges(self.rank)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        return _pool_cases.adaptive_refusals(self.rank, needs_channels=False)


class LpPool(Pooling):
    """lp_pool1d to lp_pool3d."""

    family = "lp_pool"
    positional: tuple[str, ...] = ("norm_type", "kernel_size")
    rounds = True  # powers and roots do, on any data
    settings: tuple[str, ...] = ("stride", "ceil_mode")
    features: tuple[str, ...] = ("out",)

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw windows and the order of the norm."""
        problems = _pool_cases.sliding_problems(self.rank, claims, self.settings)
        return st.builds(lambda p, order: self._written(p, norm_type=order), problems, st.sampled_from(NORM_TYPES))

    def _written(self, problem: Problem, **arguments: Any) -> Problem:
        """Write the size of one axis as an integer: torch's lp_pool1d takes no tuple."""
        (size, *_) = _pool_cases.each(problem.arguments["kernel_size"], self.rank)
        return problem.having(**arguments, **({"kernel_size": size} if self.rank == 1 else {}))

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List windows that are often got wrong, and orders."""
        settings = self.settings
        edges = _pool_cases.sliding_edges(self.rank, settings)
        yield from (self._written(problem, norm_type=2) for problem in _pool_cases.claimed(edges, settings, claims))
        image = {"input": (2, 3, *(4,) * self.rank)}
        for order in (1, 3, math.inf):
            yield Problem(image, {"norm_type": order, "kernel_size": 2}, f"norm_type={order}")

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        yield from _pool_cases.claimed(
            _pool_cases.refusals(self.rank, self.settings, claims, norm_type=2), self.settings, claims
        )
        image = {"input": (2, 3, *(4,) * self.rank)}
        for order in (0, -1):
            disputed = "a negative norm_type" if order else ""
            problem = Problem(image, {"norm_type": order, "kernel_size": 2}, f"norm_type={order}", disputed)
            yield Refusal("norm_type is greater than 0", problem)

    def lawful_gradient(self) -> Problem:
        """Return a problem whose gradient of the output has no axis of one element."""
        return super().lawful_gradient().having(norm_type=2)

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw small integers, whose powers stay in the range of any type."""
        return {"input": integers(random, problem.shapes["input"], 1, claims.dtype, most=4)}

    def bounds(self, case: Case, claims: Claims, flushes_subnormals: bool = False) -> Results:
        """Bound what windows without NaN and infinities give; the others' results have no error."""
        return super().bounds(finite(case), claims, flushes_subnormals)
