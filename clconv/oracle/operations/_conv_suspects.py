"""What the usual faults of a convolution give: the reference, called with the arguments as the fault reads them.

Each fault is a change of the call, of its result, or of both. One function serves the forward operation and its
gradients, where a change of an array is undone on its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.geometry import padding_pairs

from ._base import Claims, Results, Suspect
from ._conv_faults import CALL_FAULTS, CHANNEL_ORDERS, GRADIENT_FAULTS, OUTPUT_FAULTS, Layer

__all__ = ["suspects"]

Array = NDArray[Any]
Given = dict[str, Any]
Found = Callable[[Any, Layer], Results]
PLAIN = Claims()


def suspects(operation: Any) -> Iterator[Suspect]:
    """List the faults of a convolution or of its gradients, the likelier first."""
    is_backward = "weight" in operation.results
    faults: dict[str, Found] = {cause: partial(_with_call, change=change) for cause, change in CALL_FAULTS.items()}
    for cause, alter in (GRADIENT_FAULTS if is_backward else OUTPUT_FAULTS).items():
        faults[cause] = partial(_with_result, alter=alter)
    for cause, permute in CHANNEL_ORDERS.items():
        faults[cause] = partial(_with_channels, permute=permute)
    faults["groups mixed: output channel o is taken for one of group o % G"] = _by_remainder
    if is_backward or operation.transposed:
        faults["windows that overlap overwrite each other instead of adding up"] = _overwritten
    for cause, found in faults.items():
        yield Suspect(cause, partial(_results, operation, found))


def _results(operation: Any, found: Found, arrays: Given, arguments: Given) -> Results:
    return found(operation, _read(operation, arrays, arguments))


def _read(operation: Any, arrays: Given, arguments: Given) -> Layer:
    rank = operation.rank
    others = dict(arguments)
    stride, dilation = _each(others.pop("stride", 1), rank), _each(others.pop("dilation", 1), rank)
    padding = others.pop("padding", 0)
    kernel = arrays["weight"].shape[2:]
    extent = arrays["input"].shape[-rank:]
    if operation.transposed:
        extent = tuple(e * s for e, s in zip(extent, stride, strict=True))
    pairs = padding_pairs(padding, extent, kernel, stride, dilation)
    word = padding if isinstance(padding, str) else ""
    return Layer(arrays, stride, pairs, dilation, others.pop("groups", 1), operation.transposed, word, others)


def _each(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * rank


def _evaluate(operation: Any, layer: Layer) -> Results:
    """Call the reference; padding below zero crops the image, and its gradient is zero there."""
    if min(min(pair) for pair in layer.padding) >= 0:
        return _called(operation, layer)
    if layer.transposed or layer.others.get("padding_mode", "zeros") != "zeros":
        raise ValueError("only an image amid zeros can be cropped")
    x = layer.arrays["input"]
    beside = ((0, 0),) * (x.ndim - layer.rank)
    more = (*beside, *((max(low, 0), max(high, 0)) for low, high in layer.padding))
    less = (*beside, *((max(-low, 0), max(-high, 0)) for low, high in layer.padding))
    cropped = layer.holding(input=_cropped(np.pad(x, more), less))
    results = _called(operation, replace(cropped, padding=((0, 0),) * layer.rank))
    if results.get("input") is not None:
        results["input"] = _cropped(np.pad(np.array(results["input"]), less), more)
    return results


def _cropped(a: Array, pairs: Any) -> Array:
    return a[tuple(slice(low, e - high) for (low, high), e in zip(pairs, a.shape, strict=True))]


def _called(operation: Any, layer: Layer) -> Results:
    arguments = {
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
        **layer.others,
    }
    results: Results = operation.evaluate(layer.arrays, arguments, PLAIN)
    return results


def _with_call(operation: Any, layer: Layer, change: Callable[[Layer], Layer]) -> Results:
    return _evaluate(operation, change(layer))


def _with_result(operation: Any, layer: Layer, alter: Callable[[Results, Layer], Results]) -> Results:
    return alter(_evaluate(operation, layer), layer)


def _with_channels(operation: Any, layer: Layer, permute: Callable[[Array, int], Array]) -> Results:
    """Permute the input's channels on the way in, or those of its gradient on the way out."""
    if operation.results == ("output",):
        return _evaluate(operation, layer.holding(input=permute(layer.arrays["input"], layer.groups)))
    found = _evaluate(operation, layer)
    return {k: permute(v, layer.groups) if k == "input" and v is not None else v for k, v in found.items()}


def _by_remainder(operation: Any, layer: Layer) -> Results:
    """Deal out the output channels to the groups by turns, in all arrays that have them."""
    if layer.transposed or layer.groups == 1:
        raise ValueError("output channels are in the order of the groups")
    OC = layer.output_channels
    order = np.arange(OC).reshape(-1, layer.groups).T.ravel()
    back = np.argsort(order)
    axes = {"weight": 0, "bias": 0, "grad_output": -layer.rank - 1, "output": -layer.rank - 1}

    def permuted(arrays: Any, by: Array) -> Any:
        return {k: a.take(by, axes[k]) if k in axes and a is not None else a for k, a in arrays.items()}

    found: Results = permuted(_evaluate(operation, replace(layer, arrays=permuted(layer.arrays, order))), back)
    return found


def _overwritten(operation: Any, layer: Layer) -> Results:
    """Let the last tap that reaches a pixel have it for itself."""
    name = "output" if layer.transposed else "input"
    results = _evaluate(operation, layer)
    if name not in results:
        raise ValueError("the gradient of a transposed convolution adds up nothing by taps")
    w, b = layer.arrays["weight"], layer.arrays.get("bias")
    bare = layer.holding(bias=None)
    whole = np.zeros_like(np.array(results[name]))
    for tap in np.ndindex(*layer.kernel):
        is_tap = np.zeros(w.shape, bool)
        is_tap[(..., *tap)] = True
        ones = {k: np.ones_like(a) for k, a in bare.arrays.items()}
        reached = _evaluate(operation, replace(bare, arrays={**ones, "weight": is_tap.astype(w.dtype)}))[name]
        added = _evaluate(operation, bare.holding(weight=np.where(is_tap, w, 0)))[name]
        whole = np.where(np.array(reached) > 0, np.array(added), whole)
    if b is not None and name == "output":
        whole = whole + b.reshape(-1, *(1,) * layer.rank)
    return {**results, name: whole}
