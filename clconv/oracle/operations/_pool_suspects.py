"""What the usual faults of a pooling give: other windows, other divisors, another rule for what a window selects.

A fault is a change of a call: of its windows, or of one of the steps by which `_pool_faulty` makes results from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from clconv.oracle.reference.pool_windows import Axis, Windows

from ._base import Array, Claims, Results, Suspect
from ._pool_faulty import MAKERS, PoolCall, divisors_of, inapplicable, read

__all__ = ["backward_suspects", "forward_suspects"]


Change = Callable[[PoolCall], PoolCall]


def forward_suspects(pooling: Any) -> Iterator[Suspect]:
    """List the faults of a pooling, the likelier first."""
    return _suspects(pooling, pooling.family, has_gradient=False)


def backward_suspects(gradient: Any) -> Iterator[Suspect]:
    """List the faults of a pooling's gradient."""
    return _suspects(gradient, gradient.forward.family, has_gradient=True)


def _suspects(operation: Any, family: str, has_gradient: bool) -> Iterator[Suspect]:
    if family == "max_unpool":
        yield from _unpooling_suspects(operation)
        return
    is_adaptive = family.startswith(("adaptive", "global"))
    kind = family.removeprefix("adaptive_").removeprefix("global_")
    faults = {**(GRADIENT_FAULTS if has_gradient else FAULTS)[kind], **(SHARES if is_adaptive else SLIDING)}
    for cause, change in faults.items():
        yield Suspect(cause, _results_with(operation, kind, change))


def _results_with(operation: Any, kind: str, change: Change) -> Any:
    def results(arrays: dict[str, Any], arguments: dict[str, Any]) -> Results:
        rank, windows = operation.explicit(arrays["input"].shape, arguments)
        call = change(read(rank, arrays, windows))
        with np.errstate(all="ignore"):
            found = MAKERS[kind](call)
        return {name: value if call.has_batch or value is None else value[0] for name, value in found.items()}

    return results


def _unpooling_suspects(operation: Any) -> Iterator[Suspect]:
    """List the faults of unpooling; `evaluate` is the right one."""

    def without_size(arrays: dict[str, Any], arguments: dict[str, Any]) -> Results:
        kept = {k: v for k, v in arguments.items() if k != "output_size"}
        found: Results = operation.evaluate(arrays, kept, Claims()) if kept != arguments else inapplicable()
        return found

    def along_first_axis(arrays: dict[str, Any], arguments: dict[str, Any]) -> Results:
        (right,) = operation.evaluate(arrays, arguments, Claims()).values()
        image = arrays.get("grad_output", right)
        rank, _ = operation.explicit(arrays["input"].shape, arguments)
        extent = image.shape[-rank:]
        coordinates = np.unravel_index(arrays["indices"], extent, order="F")
        indices = np.asarray(np.ravel_multi_index(coordinates, extent))
        found: Results = operation.evaluate({**arrays, "indices": indices}, arguments, Claims())
        return found

    yield Suspect("output_size is ignored", without_size)
    yield Suspect("indices count along the first axis (column-major)", along_first_axis)


# --- other windows


def _each_axis(**changes: Callable[[Axis], Any]) -> Change:
    def change(call: PoolCall) -> PoolCall:
        return call.over(axis._replace(**{name: of(axis) for name, of in changes.items()}) for axis in call.axes)

    return change


def _one_axis(place: int, of: Callable[[Axis], Axis]) -> Change:
    def change(call: PoolCall) -> PoolCall:
        axes = list(call.axes)
        axes[place] = of(axes[place])
        return call.over(axes)

    return change


def _moved(place: int, step: int) -> Change:
    return _one_axis(place, lambda axis: axis._replace(pair=(axis.pair[0] + step, axis.pair[1] - step)))


def _without_first(place: int) -> Change:
    return _one_axis(place, lambda axis: axis._replace(K=axis.K - 1, pair=(axis.pair[0] - axis.D, axis.pair[1])))


def _swapped(name: str) -> Change:
    def change(call: PoolCall) -> PoolCall:
        values = [getattr(axis, name) for axis in reversed(call.axes)]
        return call.over(axis._replace(**{name: value}) for axis, value in zip(call.axes, values, strict=True))

    return change


def _counted(count: Callable[[Axis, PoolCall], int]) -> Change:
    def change(call: PoolCall) -> PoolCall:
        return call.over(call.axes, [count(axis, call) for axis in call.axes])

    return change


def _stride_of_one(call: PoolCall) -> PoolCall:
    if "stride" in call.arguments:
        inapplicable()
    axes = [axis._replace(S=1) for axis in call.axes]
    return call.over(axes, [axis.positions(call.arguments.get("ceil_mode", False)) for axis in axes])


def _rounded_up(axis: Axis, call: PoolCall) -> int:
    return -(-(axis.padded - axis.D * (axis.K - 1) - 1) // axis.S) + 1


SLIDING: dict[str, Change] = {
    "the stride is ignored": _each_axis(S=lambda axis: 1),
    "the dilation is ignored": _each_axis(D=lambda axis: 1),
    "without a stride, windows move by one pixel": _stride_of_one,
    "ceil_mode is ignored": _counted(lambda axis, call: axis.positions(False)),
    "ceil_mode keeps a window that starts in the padding": _counted(_rounded_up),
    "the padding is on the wrong side": _each_axis(pair=lambda axis: axis.pair[::-1]),
    "the padding is one pixel too small in front": _each_axis(
        pair=lambda axis: (axis.pair[0] - 1, axis.pair[1] + 1) if axis.pair[0] else axis.pair
    ),
    "the padding is ignored": _each_axis(pair=lambda axis: (0, 0)),
    "the kernel's axes are swapped": _swapped("K"),
    "the axes of stride are swapped": _swapped("S"),
    "the axes of padding are swapped": _swapped("pair"),
    "the axes of dilation are swapped": _swapped("D"),
    "off by one column: the window reads one pixel too far left": _moved(-1, 1),
    "off by one column: the window reads one pixel too far right": _moved(-1, -1),
    "off by one row: the window reads one pixel too far up": _moved(0, 1),
    "off by one row: the window reads one pixel too far down": _moved(0, -1),
    "the last column of taps is left out": _one_axis(-1, lambda axis: axis._replace(K=axis.K - 1)),
    "the first column of taps is left out": _without_first(-1),
    "the last row of taps is left out": _one_axis(0, lambda axis: axis._replace(K=axis.K - 1)),
    "the first row of taps is left out": _without_first(0),
}


def _shared(start: Callable[[int, int, int], int], end: Callable[[int, int, int], int]) -> Change:
    """Take other shares: from start(i, X, N) to end(i, X, N) for N of them."""

    def table(X: int, count: int) -> Array:
        ends = [(start(i, X, count), min(end(i, X, count), X)) for i in range(count)]
        longest = max([stop - first for first, stop in ends] + [1])
        pixels = np.full((count, longest), -1, dtype=np.intp)
        for row, (first, stop) in zip(pixels, ends, strict=True):
            row[: max(stop - first, 0)] = range(first, stop)
        return pixels

    return lambda call: call.over(map(table, call.x.shape[2:], call.positions))


SHARES: dict[str, Change] = {
    "shares end at floor((i + 1)*in/out)": _shared(lambda i, X, N: i * X // N, lambda i, X, N: (i + 1) * X // N),
    "shares begin at ceil(i*in/out)": _shared(lambda i, X, N: -(-i * X // N), lambda i, X, N: -(-(i + 1) * X // N)),
    "shares do not overlap: all are in//out long": _shared(
        lambda i, X, N: i * (X // N), lambda i, X, N: (i + 1) * (X // N)
    ),
    "shares are all ceil(in/out) long": _shared(lambda i, X, N: i * X // N, lambda i, X, N: i * X // N - (-X // N)),
    "shares move by in//out and are in - (out - 1)*(in//out) long": _shared(
        lambda i, X, N: i * (X // N), lambda i, X, N: i * (X // N) + X - (N - 1) * (X // N)
    ),
}


# --- other steps


def _through_all(places: Array, windows: Windows, won: Array) -> Array:
    planes = np.arange(math.prod(places.shape[:2])).reshape(*places.shape[:2], 1)
    return planes * math.prod(windows.extent) + places


def _column_major(places: Array, windows: Windows, won: Array) -> Array:
    coordinates = np.unravel_index(np.maximum(places, 0), windows.extent)
    return np.asarray(np.ravel_multi_index(coordinates, windows.extent, order="F"))


def _through_padding(call: PoolCall) -> PoolCall:
    padded = tuple(axis.padded for axis in call.axes)
    low = [axis.pair[0] for axis in call.axes]

    def count(places: Array, windows: Windows, won: Array) -> Array:
        coordinates = np.unravel_index(np.maximum(places, 0), windows.extent)
        return np.asarray(np.ravel_multi_index([c + p for c, p in zip(coordinates, low, strict=True)], padded))

    return call.doing(count=count)


def _of_whole_kernel(call: PoolCall, windows: Windows) -> Any:
    return call.arguments.get("divisor_override", windows.pixels.shape[1])


def _of_pixels(call: PoolCall, windows: Windows) -> Any:
    return call.arguments.get("divisor_override", windows.inside.sum(axis=1))


def _of_padded(call: PoolCall, windows: Windows) -> Any:
    return call.arguments.get("divisor_override", windows.padded_taps)


def _without_override(call: PoolCall, windows: Windows) -> Any:
    arguments = {k: v for k, v in call.arguments.items() if k != "divisor_override"}
    return divisors_of(replace(call, arguments=arguments), windows)


def _positive_override(call: PoolCall, windows: Windows) -> Any:
    return np.abs(divisors_of(call, windows))


def _of_equal_shares(call: PoolCall, windows: Windows) -> Any:
    return math.prod(windows.extent) / math.prod(windows.positions)


def _stepping(**steps: Any) -> Change:
    return lambda call: call.doing(**steps)


MAX_FAULTS: dict[str, Change] = {
    "padding counts as 0 in the maximum": _stepping(fill=0.0),
    "NaN is lost in the maximum": _stepping(loses_nan=True),
    "the maximum of the magnitudes is taken": _stepping(before=np.abs),
    "ties: the index is that of the last maximum": _stepping(ties="last"),
    "indices count through the whole array": _stepping(count=_through_all),
    "indices count through the padded image": _through_padding,
    "indices count within the window": _stepping(count=lambda places, windows, won: won.argmax(axis=-1)),
    "indices count along the first axis (column-major)": _stepping(count=_column_major),
}

MAX_GRADIENT_FAULTS: dict[str, Change] = {
    "ties: the gradient goes to every maximum": _stepping(ties="all"),
    "ties: the gradient is shared among the maxima": _stepping(ties="all", shares=True),
    "ties: the gradient goes to the last maximum": _stepping(ties="last"),
    "where windows overlap, gradients overwrite each other": _stepping(overwrites=True),
    "padding counts as 0 in the maximum": _stepping(fill=0.0),
    "NaN is lost in the maximum": _stepping(loses_nan=True),
}

AVERAGE_FAULTS: dict[str, Change] = {
    "the divisor does not count the padding": _stepping(divisors=_of_pixels),
    "the divisor counts the padding": _stepping(divisors=_of_padded),
    "the divisor counts the overhang of ceil_mode": _stepping(divisors=_of_whole_kernel),
    "divisor_override is ignored": _stepping(divisors=_without_override),
    "the sign of divisor_override is lost": _stepping(divisors=_positive_override),
    "sums are not divided": _stepping(divisors=lambda call, windows: 1),
    "all shares are divided by in/out": _stepping(divisors=_of_equal_shares),
}

AVERAGE_GRADIENT_FAULTS: dict[str, Change] = {
    **AVERAGE_FAULTS,
    "where windows overlap, gradients overwrite each other": _stepping(overwrites=True),
}

NORM_FAULTS: dict[str, Change] = {
    "powers are taken of x instead of |x|": _stepping(signed=True),
    "the root is not taken": _stepping(rootless=True),
    "norm_type is ignored: it is 2": _stepping(power=2),
    "norm_type is ignored: it is 1": _stepping(power=1),
    "the mean of the powers is taken instead of their sum": _stepping(
        weight=lambda call, windows: 1 / windows.pixels.shape[1]
    ),
    "windows beyond the input (ceil_mode) are scaled as if they were whole": _stepping(
        weight=lambda call, windows: windows.pixels.shape[1] / windows.padded_taps
    ),
}

NORM_GRADIENT_FAULTS: dict[str, Change] = {
    "the gradient is 0/0 where the norm is 0": _stepping(zero_over_zero=True),
    "the sign of x is lost in the gradient": _stepping(unsigned=True),
    **{cause: fault for cause, fault in NORM_FAULTS.items() if "root" not in cause},
}

FAULTS = {"max_pool": MAX_FAULTS, "avg_pool": AVERAGE_FAULTS, "lp_pool": NORM_FAULTS}
GRADIENT_FAULTS = {
    "max_pool": MAX_GRADIENT_FAULTS,
    "avg_pool": AVERAGE_GRADIENT_FAULTS,
    "lp_pool": NORM_GRADIENT_FAULTS,
}
