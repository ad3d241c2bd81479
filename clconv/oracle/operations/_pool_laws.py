"""Laws of pooling that hold without a reference: bit for bit on exact values, or within the bounds of what rounds.

- images, and channels, in another order give the same results in that order;
- a maximum commutes with monotone maps: max(2x + 1) = 2 max(x) + 1; an Lp norm does not see signs;
- means and unpooling are linear; so are all gradients, in the gradient of the output;
- the mean of a constant is the constant, where no padding counts;
- where windows fit without slack, mirrored images give mirrored results;
- indices lead to the maxima; unpooled values stand at their indices;
- a pooling of every pixel by itself changes nothing;
- a gradient gives away all of the output's: their sums are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from clconv.oracle import bounds
from clconv.oracle.reference.pool_windows import Windows

from ._base import Array, Call, Case, Claims, Disagreement, Identity
from ._sums import difference

__all__ = ["backward_laws", "forward_laws"]

Check = Callable[[Call, Case], Disagreement | None]


def forward_laws(pooling: Any, claims: Claims) -> Iterator[Identity]:
    """List the laws of a pooling."""
    family = pooling.family
    yield from _orders(pooling, "output", claims)
    if family.endswith("max_pool"):
        yield Identity("commutes with monotone maps", _monotone)
        if "return_indices" in pooling.settings and claims.takes("return_indices") and claims.semantics == "torch":
            yield Identity("indices lead to the maxima", _indices_lead_to_maxima(pooling.rank))
    if family.endswith("avg_pool"):
        yield Identity("linear in input", _linear(pooling, "input", "output", claims))
        yield Identity("the mean of a constant", _constant(pooling, claims))
    if family == "lp_pool":
        yield Identity("signs do not matter", _signless(pooling, claims))
    if family == "max_unpool":
        yield Identity("linear in input", _linear(pooling, "input", "output", claims))
        yield Identity("values stand at their indices", _values_stand_at_indices(pooling.rank))
        return
    yield Identity("mirrors with the image", _mirrored(pooling, claims))
    if pooling.positional:
        yield Identity("windows of one pixel change nothing", _one_pixel(pooling, claims))


def backward_laws(gradient: Any, claims: Claims) -> Iterator[Identity]:
    """List the laws of a pooling's gradient."""
    yield from _orders(gradient, "input", claims)
    yield Identity("linear in grad_output", _linear(gradient, "grad_output", "input", claims))
    if gradient.forward.family.endswith(("max_pool", "avg_pool")):
        yield Identity("all of the gradient is given away", _given_away(gradient, claims))


def _result(call: Call, case: Case, name: str = "output") -> Array | None:
    return call(case).get(name)


def _spatial_axes(operation: Any, case: Case) -> tuple[int, ...]:
    """Return the spatial axes, counted from the end."""
    rank, _ = operation.explicit(case.problem.shapes["input"], case.problem.arguments)
    return tuple(range(-rank, 0))


def _changed(case: Case, arrays: Mapping[str, Array], **arguments: Any) -> Case:
    """Return the case with other arrays, of maybe other shapes, and arguments; None leaves one out."""
    kept = {k: v for k, v in {**case.problem.arguments, **arguments}.items() if v is not None}
    together = {**case.arrays, **arrays}
    shapes = {name: array.shape for name, array in together.items()}
    return replace(case, problem=replace(case.problem, shapes=shapes, arguments=kept), arrays=together)


def _difference(
    operation: Any, claims: Claims, message: str, got: Array, expected: Array, result: str, *cases: Case
) -> Disagreement | None:
    """Compare bit for bit, or where the operation rounds, within the bounds of the calls together."""
    if not operation.rounds or got.shape != expected.shape:
        return difference(message, got, expected, result)
    limits = [operation.bounds(case, claims)[result] for case in cases]
    bound = np.asarray(sum(limit for limit in limits if limit is not None))
    within = bounds.worst_ratio(got.astype(np.float64), expected.astype(np.float64), bound) <= 1
    return None if within else Disagreement(message, got, expected, result, bound)


def _orders(operation: Any, result: str, claims: Claims) -> Iterator[Identity]:
    def reversed_along(is_channels: bool, what: str) -> Check:
        def check(call: Call, case: Case) -> Disagreement | None:
            axis = _spatial_axes(operation, case)[0] - 1 if is_channels else 0
            expected = _result(call, case, result)
            arrays = {name: np.flip(array, axis).copy() for name, array in case.arrays.items()}
            got = _result(call, _changed(case, arrays), result)
            if got is None or expected is None:
                return None
            message = f"{what} in another order give other results"
            return _difference(operation, claims, message, np.flip(got, axis), expected, result, case, case)

        return check

    yield Identity("images are separate", reversed_along(False, "images"))
    yield Identity("channels are separate", reversed_along(True, "channels"))


def _linear(operation: Any, name: str, result: str, claims: Claims) -> Check:
    def check(call: Call, case: Case) -> Disagreement | None:
        u = case.arrays[name]
        v = np.roll(u, 1)
        cases = [case.holding(**{name: array}) for array in (u + v, u, v)]
        whole, one, two = (_result(call, each, result) for each in cases)
        if whole is None or one is None or two is None:
            return None
        message = f"f({name} + other) is not f({name}) + f(other)"
        total = one.astype(np.float64) + two
        return _difference(operation, claims, message, whole, total.astype(whole.dtype), result, *cases, cases[0])

    return check


def _monotone(call: Call, case: Case) -> Disagreement | None:
    x = case.arrays["input"]
    y, mapped = _result(call, case), _result(call, case.holding(input=2 * x + 1))
    if y is None or mapped is None:
        return None
    return difference("max(2x + 1) is not 2 max(x) + 1", mapped, 2 * y + 1)


def _signless(pooling: Any, claims: Claims) -> Check:
    def check(call: Call, case: Case) -> Disagreement | None:
        y, negated = _result(call, case), _result(call, case.holding(input=-case.arrays["input"]))
        if y is None or negated is None:
            return None
        return _difference(pooling, claims, "the norm of -x is not that of x", negated, y, "output", case, case)

    return check


def _indices_lead_to_maxima(rank: int) -> Check:
    def check(call: Call, case: Case) -> Disagreement | None:
        results = call(_changed(case, {}, return_indices=True))
        y, indices = results.get("output"), results.get("indices")
        if y is None or indices is None:
            return None
        x = case.arrays["input"]
        planes = x.reshape(-1, int(np.prod(x.shape[-rank:])))
        if ((indices < 0) | (indices >= planes.shape[1])).any():
            return Disagreement("an index is no pixel", indices, np.clip(indices, 0, planes.shape[1] - 1), "indices")
        rows = indices.reshape(len(planes), int(np.prod(indices.shape[-rank:])))
        found = np.take_along_axis(planes, rows, axis=1).reshape(y.shape)
        return difference("indices do not lead to the maxima", found, y)

    return check


def _values_stand_at_indices(rank: int) -> Check:
    def check(call: Call, case: Case) -> Disagreement | None:
        y = _result(call, case)
        if y is None:
            return None
        x, indices = case.arrays["input"], case.arrays["indices"]
        planes = y.reshape(-1, int(np.prod(y.shape[-rank:])))
        rows = indices.reshape(len(planes), int(np.prod(indices.shape[-rank:])))
        found = np.take_along_axis(planes, rows, axis=1).reshape(x.shape)
        return difference("values do not stand at their indices", found, x)

    return check


def _constant(pooling: Any, claims: Claims) -> Check:
    def check(call: Call, case: Case) -> Disagreement | None:
        windows: Windows = pooling.windows(case.problem, claims)
        if not np.array_equal(pooling.divisors(case.problem, claims), windows.inside.sum(axis=1)):
            return None
        y = _result(call, case.holding(input=np.full_like(case.arrays["input"], 3)))
        return None if y is None else difference("the mean of 3 everywhere is not 3", y, np.full_like(y, 3))

    return check


def _mirrored(pooling: Any, claims: Claims) -> Check:
    def check(call: Call, case: Case) -> Disagreement | None:
        windows: Windows = pooling.windows(case.problem, claims)
        backwards = windows.pixels[::-1, ::-1]
        pixels = int(np.prod(windows.extent))
        if not np.array_equal(np.where(backwards < 0, -1, pixels - 1 - backwards), windows.pixels):
            return None
        axes = _spatial_axes(pooling, case)
        y = _result(call, case)
        mirrored = _result(call, case.holding(input=np.flip(case.arrays["input"], axes).copy()))
        if y is None or mirrored is None:
            return None
        message = "mirrored images do not give mirrored results"
        return _difference(pooling, claims, message, np.flip(mirrored, axes), y, "output", case, case)

    return check


def _one_pixel(pooling: Any, claims: Claims) -> Check:
    def check(call: Call, case: Case) -> Disagreement | None:
        x = case.arrays["input"]
        alone = dict.fromkeys(case.problem.arguments)
        if "output_size" in pooling.positional:
            alone = {**alone, "output_size": x.shape[-pooling.rank :]}
        else:
            alone = {**alone, "kernel_size": 1}
        if "norm_type" in alone:
            alone["norm_type"] = case.problem.arguments["norm_type"]
        changed = _changed(case, {}, **alone)
        y, expected = _result(call, changed), np.abs(x) if pooling.family == "lp_pool" else x
        if y is None:
            return None
        return _difference(pooling, claims, "windows of one pixel change it", y, expected, "output", changed)

    return check


def _given_away(gradient: Any, claims: Claims) -> Check:
    """Compare sums over each plane; a mean gives away all if its divisor is the number of its pixels."""

    def check(call: Call, case: Case) -> Disagreement | None:
        forward = gradient.forward
        if case.problem.arguments.get("ties", "first") == "all":
            return None
        if forward.family.endswith("avg_pool"):
            windows: Windows = forward.windows(case.problem, claims)
            if not np.array_equal(forward.divisors(case.problem, claims), windows.inside.sum(axis=1)):
                return None
        dx = _result(call, case, "input")
        if dx is None:
            return None
        axes = _spatial_axes(gradient, case)
        sums = [np.sum(array.astype(np.float64), axis=axes) for array in (dx, case.arrays["grad_output"])]
        return difference("the sums of dx and grad_output differ", sums[0], sums[1])

    return check
