"""Laws of normalisation that hold without a reference, within the bounds of what they compare.

With statistics of the rows' own, and a mean that is subtracted:

- a number added to all values of the input changes nothing;
- the output without weight and bias has mean 0 and mean square v/(v + eps) in each row;
- dx adds up to zero in each row.

And for all of them:

- the negative input gives the negative output, if there is no bias;
- images in another order give the outputs in that order;
- the gradients are linear in grad_output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.norm import Norm

from ._base import Call, Case, Claims, Disagreement, Identity, Operation
from ._norm_suspects import rows_of

__all__ = ["backward_laws", "forward_laws"]

Array = NDArray[Any]


def forward_laws(operation: Operation, claims: Claims) -> Iterator[Identity]:
    """List the laws of the output."""
    laws = _Laws(operation, claims)
    yield Identity("a negative input gives the negative output", laws.negated)
    yield Identity("images may come in any order", laws.permuted)
    if operation.name not in ("rms_norm", "local_response_norm"):
        yield Identity("an added number changes nothing", laws.shifted)
        yield Identity("mean 0 and variance 1", laws.standardised)


def backward_laws(operation: Operation, claims: Claims) -> Iterator[Identity]:
    """List the laws of the gradients."""
    laws = _Laws(operation, claims)
    yield Identity("linear in grad_output", laws.linear)
    if operation.name not in ("rms_norm_backward", "local_response_norm_backward"):
        yield Identity("the input's gradient adds up to zero", laws.balanced)


class _Laws:
    """The laws of one operation; a case comes with integers."""

    def __init__(self, operation: Operation, claims: Claims) -> None:
        self.operation = operation
        self.claims = claims

    def call(self, call: Call, case: Case, name: str = "output") -> tuple[Array, Array]:
        """Return one result and its bound, in float64."""
        result, limit = call(case)[name], self.operation.bounds(case, self.claims)[name]
        assert result is not None
        assert limit is not None
        return result.astype(np.float64), limit

    def rows(self, case: Case) -> Norm:
        norm, _ = rows_of(self.operation, case.arrays, case.problem.arguments)
        return norm

    def negated(self, call: Call, case: Case) -> Disagreement | None:
        case = _without(case, "bias")
        signs = {name: -case.arrays[name] for name in ("input", "running_mean") if name in case.arrays}
        (y, limit), (other, other_limit) = self.call(call, case), self.call(call, case.holding(**signs))
        return _beyond("the negative input does not give the negative output", -other, y, limit + other_limit)

    def permuted(self, call: Call, case: Case) -> Disagreement | None:
        x = case.arrays["input"]
        if case.problem.arguments.get("normalized_shape") == x.shape:
            return None  # the first axis is one of the row's
        (y, limit), (other, other_limit) = self.call(call, case), self.call(call, case.holding(input=x[::-1].copy()))
        message = "images in another order give other outputs"
        return _beyond(message, other[::-1], y, limit + other_limit[::-1])

    def shifted(self, call: Call, case: Case) -> Disagreement | None:
        if self.rows(case).constants is not None:
            return None
        moved = case.holding(input=case.arrays["input"] + 8)
        (y, limit), (other, other_limit) = self.call(call, case), self.call(call, moved)
        return _beyond("the output changes with a number added to the input", other, y, limit + other_limit)

    def standardised(self, call: Call, case: Case) -> Disagreement | None:
        case = _without(case, "weight", "bias")
        norm = self.rows(case)
        if norm.constants is not None or norm.x.size == 0:
            return None
        y, limit = (a.reshape(norm.x.shape) for a in self.call(call, case))
        tolerance = norm.mean(limit)
        mean = norm.mean(y)
        found = _beyond("the output's mean is not 0", mean, np.zeros(mean.shape), tolerance)
        if found:
            return found
        variance = norm.mean((norm.x - norm.mean(norm.x)) ** 2)
        expected = variance / (variance + norm.eps)
        squares = norm.mean(limit * (2 * np.abs(y) + limit))
        return _beyond("the output's variance is not v/(v + eps)", norm.mean(y**2), expected, squares)

    def linear(self, call: Call, case: Case) -> Disagreement | None:
        g = case.arrays["grad_output"]
        other = np.roll(g, 1)
        cases = [case.holding(grad_output=values) for values in (g + other, g, other)]
        results = [call(each) for each in cases]
        limits = [self.operation.bounds(each, self.claims) for each in cases]
        for name in self.operation.results:
            if any(result[name] is None for result in (*results, *limits)):
                continue
            whole, one, two = (np.asarray(result[name], np.float64) for result in results)
            tolerance = sum(np.asarray(limit[name]) for limit in limits)
            message = "f(grad_output + other) is not f(grad_output) + f(other)"
            found = _beyond(message, whole, one + two, np.asarray(tolerance), name)
            if found:
                return found
        return None

    def balanced(self, call: Call, case: Case) -> Disagreement | None:
        norm = self.rows(case)
        if norm.constants is not None or case.problem.arguments.get("output_mask", (True,))[0] is False:
            return None
        dx, limit = (a.reshape(norm.x.shape) for a in self.call(call, case, "input"))
        sums = norm.mean(dx)
        message = "the gradient of the input does not add up to zero in each row"
        return _beyond(message, sums, np.zeros(sums.shape), norm.mean(limit), "input")


def _without(case: Case, *names: str) -> Case:
    arrays = {name: array for name, array in case.arrays.items() if name not in names}
    shapes = {name: array.shape for name, array in arrays.items()}
    return replace(case, problem=replace(case.problem, shapes=shapes), arrays=arrays)


def _beyond(message: str, got: Array, expected: Array, limit: Array, name: str = "output") -> Disagreement | None:
    """Return a disagreement where two results differ by more than a limit, plus the rounding of this comparison."""
    limit = limit * (1 + 2.0**-40) + 2.0**-40 * np.abs(expected)
    with np.errstate(invalid="ignore"):
        within = (np.abs(got - expected) <= limit) | (got == expected) | np.isinf(limit)
    return None if within.all() else Disagreement(message, got, expected, name, limit)
