"""Poolings that can be done wrong: results from a call whose windows, divisors or rules may have been changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from clconv.oracle.reference.geometry import padding_pairs
from clconv.oracle.reference.pool_windows import Axis, Windows, share, shared_windows, sliding_windows

from ._base import Array, Results
from ._pool_cases import each

__all__ = ["MAKERS", "PoolCall", "divisors_of", "inapplicable", "read"]


@dataclass(frozen=True)
class PoolCall:
    """A call with a batch axis, its windows' axes, and the choices that faults take otherwise.

    `steps` holds what a fault has changed: names of `_results`' choices.
    """

    x: Array
    g: Array | None
    has_batch: bool
    axes: tuple[Any, ...]  # Axis for windows that slide, tables of pixels for shares
    positions: tuple[int, ...]
    arguments: Mapping[str, Any]
    steps: Mapping[str, Any] = field(default_factory=dict)

    @property
    def windows(self) -> Windows:
        """The windows along all axes together."""
        if isinstance(self.axes[0], Axis):
            return sliding_windows(self.axes, self.positions)
        return shared_windows(self.x.shape[2:], self.axes)

    def over(self, axes: Any, positions: Any = None) -> PoolCall:
        """Return the call with other windows."""
        return replace(self, axes=tuple(axes), positions=tuple(positions or self.positions))

    def doing(self, **steps: Any) -> PoolCall:
        """Return the call with some steps done otherwise."""
        return replace(self, steps={**self.steps, **steps})


def read(rank: int, arrays: dict[str, Any], arguments: dict[str, Any]) -> PoolCall:
    """Bring the arguments of a call into one form."""
    x, g = arrays["input"], arrays.get("grad_output")
    has_batch = x.ndim == rank + 2
    if not has_batch:
        x, g = x[np.newaxis], None if g is None else g[np.newaxis]
    extent = x.shape[2:]
    if "output_size" in arguments:
        sizes = each(arguments["output_size"], rank)
        counts = tuple(e if o is None else o for e, o in zip(extent, sizes, strict=True))
        return PoolCall(x, g, has_batch, tuple(map(share, extent, counts)), counts, arguments)
    kernel = each(arguments["kernel_size"], rank)
    stride, dilation = each(arguments.get("stride", kernel), rank), each(arguments.get("dilation", 1), rank)
    pairs = padding_pairs(arguments.get("padding", 0), extent, kernel, stride, dilation)
    axes = tuple(map(Axis, extent, pairs, kernel, stride, dilation))
    positions = tuple(axis.positions(arguments.get("ceil_mode", False)) for axis in axes)
    return PoolCall(x, g, has_batch, axes, positions, arguments)


def inapplicable() -> Any:
    """Say that a fault cannot be had here."""
    raise ValueError("this fault has no meaning here")


def _maxima(call: PoolCall) -> Results:
    windows = call.windows
    won = _winners(call, windows)
    if call.g is not None:
        g = call.g.reshape(*call.g.shape[:2], -1, 1)
        if call.steps.get("shares"):
            g = g / won.sum(axis=-1, keepdims=True)
        terms = np.where(won, g, 0.0)
        return {"input": _overwritten(terms, windows) if call.steps.get("overwrites") else windows.scatter(terms)}
    top = np.where(won.any(axis=-1), _values(call, windows).max(axis=-1), call.steps.get("fill", -np.inf))
    wants_indices = call.arguments.get("return_indices", False)
    return {
        "output": windows.image(top),
        "indices": windows.image(_indices(call, windows, won)) if wants_indices else None,
    }


def _values(call: PoolCall, windows: Windows) -> Array:
    """Return what a window compares: padding counts as minus infinity, or as another number."""
    values = windows.gather(call.steps.get("before", lambda x: x)(call.x), call.steps.get("fill", -np.inf))
    return np.where(np.isnan(values), -np.inf, values) if call.steps.get("loses_nan") else values


def _winners(call: PoolCall, windows: Windows) -> Array:
    values = _values(call, windows)
    top = values.max(axis=-1, keepdims=True)
    won: Array = windows.inside & ((values == top) | np.isnan(values))
    ties = call.steps.get("ties", "first")
    if ties == "first":
        won = won & (np.cumsum(won, axis=-1) == 1)
    elif ties == "last":
        won = won & (np.cumsum(won[..., ::-1], axis=-1)[..., ::-1] == 1)
    return won


def _indices(call: PoolCall, windows: Windows, won: Array) -> Array:
    """Return the indices that the winners have by the count of the call."""
    places = np.where(won.any(axis=-1), windows.pixels[np.arange(len(windows.pixels)), won.argmax(axis=-1)], -1)
    count: Callable[[Array, Windows, Array], Array] = call.steps.get("count", lambda places, *_: places)
    return count(places, windows, won).astype(np.int64)


def _overwritten(terms: Array, windows: Windows) -> Array:
    """Write terms where they should be added up: the last window's stays."""
    dx = np.zeros((*terms.shape[:2], math.prod(windows.extent)))
    for window, pixels in enumerate(windows.pixels):
        for tap, pixel in enumerate(pixels):
            term = terms[:, :, window, tap]
            if pixel >= 0:
                dx[:, :, pixel] = np.where(term != 0, term, dx[:, :, pixel])
    return dx.reshape(*terms.shape[:2], *windows.extent)


def _means(call: PoolCall) -> Results:
    windows = call.windows
    divisors = call.steps.get("divisors", divisors_of)(call, windows)
    if call.g is not None:
        terms = call.g.reshape(*call.g.shape[:2], -1) / divisors
        spread = np.broadcast_to(terms[..., np.newaxis], (*terms.shape, windows.pixels.shape[1]))
        return {"input": _overwritten(spread, windows) if call.steps.get("overwrites") else windows.scatter(spread)}
    return {"output": windows.image(windows.gather(call.x, 0.0).sum(axis=-1) / divisors)}


def divisors_of(call: PoolCall, windows: Windows) -> Any:
    """Return the right divisors."""
    if "divisor_override" in call.arguments:
        return call.arguments["divisor_override"]
    if call.arguments.get("count_include_pad", True):
        return windows.padded_taps
    return windows.inside.sum(axis=1)


def _norms(call: PoolCall) -> Results:
    windows, power = call.windows, call.steps.get("power", call.arguments["norm_type"])
    values = windows.gather(call.x, 0.0)
    sizes = values if call.steps.get("signed") else np.abs(values)
    weight = call.steps.get("weight", lambda *_: np.ones(1))(call, windows)
    if math.isinf(power):
        y = sizes.max(axis=-1)
    else:
        total = (sizes**power).sum(axis=-1) * weight
        y = total if call.steps.get("rootless") else total ** (1 / power)
    if call.g is None:
        return {"output": windows.image(y)}
    if math.isinf(power):
        inapplicable()
    slopes = sizes ** (power - 1) * (weight * y ** (1 - power))[..., np.newaxis]
    if not (call.steps.get("signed") or call.steps.get("unsigned")):
        slopes = slopes * np.sign(values)
    terms = call.g.reshape(*call.g.shape[:2], -1, 1) * slopes
    terms = terms if call.steps.get("zero_over_zero") else np.where(values == 0, 0.0, terms)
    return {"input": windows.scatter(np.where(windows.inside, terms, 0.0))}


#: For each kind, what makes its results, forward or backward.
MAKERS: dict[str, Callable[[PoolCall], Results]] = {"max_pool": _maxima, "avg_pool": _means, "lp_pool": _norms}
