"""What the usual faults of a convolution give: the reference, called with the arguments as the fault reads them.

Each fault is a change of the call, of its result, or of both. One function serves the forward operation and its
gradients, where a change of an array is undone on its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle._geometry import padding_pairs

from ._base import Claims, Operation, Results, Suspect

__all__ = ["suspects"]

Array = NDArray[Any]
Change = Callable[["_Layer"], "_Layer"]
PLAIN = Claims()


@dataclass(frozen=True)
class _Layer:
    """A call in one form: sizes for each axis, padding in pairs. A pair may be negative, which crops."""

    arrays: dict[str, Array]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    others: dict[str, Any]

    @property
    def rank(self) -> int:
        return self.arrays["weight"].ndim - 2

    def having(self, **changes: Any) -> _Layer:
        """Return the call with some of its arguments, or arrays, changed."""
        arrays = {k: changes.pop(k) for k in tuple(changes) if k in self.arrays}
        merged = {k: a for k, a in {**self.arrays, **arrays}.items() if a is not None}
        fields = {name: changes.pop(name, getattr(self, name)) for name in ("stride", "padding", "dilation", "groups")}
        return _Layer(merged, **fields, others={**self.others, **changes})


def suspects(operation: Any) -> Iterator[Suspect]:
    """List the faults of a convolution or of its gradients, the likelier first."""
    for cause, change in CHANGES.items():
        yield Suspect(cause, _with_call(operation, change))
    is_backward = "weight" in operation.results
    for cause, alter in (GRADIENT_FAULTS if is_backward else OUTPUT_FAULTS).items():
        yield Suspect(cause, _with_result(operation, alter))
    for cause, permute in CHANNEL_ORDERS.items():
        yield Suspect(cause, _with_channels(operation, permute))


def _read(operation: Any, arrays: dict[str, Any], arguments: dict[str, Any]) -> _Layer:
    rank = operation.rank
    others = dict(arguments)
    stride, dilation = _each(others.pop("stride", 1), rank), _each(others.pop("dilation", 1), rank)
    kernel = arrays["weight"].shape[2:]
    extent = arrays["input"].shape[-rank:]
    if operation.transposed:
        extent = tuple(e * s for e, s in zip(extent, stride, strict=True))
    pairs = padding_pairs(others.pop("padding", 0), extent, kernel, stride, dilation)
    return _Layer(arrays, stride, pairs, dilation, others.pop("groups", 1), others)


def _evaluate(operation: Operation, layer: _Layer) -> Results:
    arguments = {
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
        **layer.others,
    }
    return operation.evaluate(layer.arrays, arguments, PLAIN)


def _with_call(operation: Operation, change: Change) -> Callable[[Any, dict[str, Any]], Results]:
    def results(arrays: dict[str, Any], arguments: dict[str, Any]) -> Results:
        return _evaluate(operation, change(_read(operation, arrays, arguments)))

    return results


def _with_result(operation: Operation, alter: Callable[[Results, _Layer], Results]) -> Any:
    def results(arrays: dict[str, Any], arguments: dict[str, Any]) -> Results:
        layer = _read(operation, arrays, arguments)
        return alter(_evaluate(operation, layer), layer)

    return results


def _with_channels(operation: Operation, permute: Callable[[Array, int], Array]) -> Any:
    """Permute the channels of one array on the way in, or of its gradient on the way out."""

    def results(arrays: dict[str, Any], arguments: dict[str, Any]) -> Results:
        layer = _read(operation, arrays, arguments)
        if operation.results == ("output",):
            return _evaluate(operation, layer.having(input=permute(layer.arrays["input"], layer.groups)))
        found = _evaluate(operation, layer)
        return {k: permute(v, layer.groups) if k == "input" and v is not None else v for k, v in found.items()}

    return results


def _each(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * rank


def _axes(a: Array) -> tuple[int, ...]:
    return tuple(range(a.ndim - 2)) if a.ndim < 3 else tuple(range(2, a.ndim))


# --- faults that read the call otherwise


def _flipped(layer: _Layer) -> _Layer:
    return layer.having(flip=not layer.others.get("flip", False))


def _swapped_taps(layer: _Layer) -> _Layer:
    return layer.having(weight=np.swapaxes(layer.arrays["weight"], -1, -2)) if layer.rank > 1 else _inapplicable()


def _swapped_filters(layer: _Layer) -> _Layer:
    w = layer.arrays["weight"]
    return layer.having(weight=np.swapaxes(w, 0, 1).reshape(w.shape))


def _other_side(layer: _Layer) -> _Layer:
    return layer.having(padding=tuple((high, low) for low, high in layer.padding))


def _moved(step: int, axis: int) -> Change:
    def change(layer: _Layer) -> _Layer:
        pairs = list(layer.padding)
        low, high = pairs[axis]
        pairs[axis] = (low + step, high - step)
        return _cropped(layer, pairs)

    return change


def _cropped(layer: _Layer, pairs: list[tuple[int, int]]) -> _Layer:
    """Apply negative padding by cropping the image."""
    x = layer.arrays["input"]
    crop: tuple[Any, ...] = (
        ...,
        *(slice(max(-low, 0), e - max(-high, 0)) for (low, high), e in zip(pairs, x.shape[-layer.rank :], strict=True)),
    )
    padding = tuple((max(low, 0), max(high, 0)) for low, high in pairs)
    return layer.having(input=x[crop], padding=padding)


def _no_dilation(layer: _Layer) -> _Layer:
    """Taps side by side, though the output has the extent of the dilated window."""
    pairs = []
    for (low, high), d, k in zip(layer.padding, layer.dilation, layer.arrays["weight"].shape[2:], strict=True):
        pairs.append((low, high - (d - 1) * (k - 1)))
    return _cropped(layer.having(dilation=(1,) * layer.rank), pairs)


def _effective_kernel(layer: _Layer) -> _Layer:
    """Take D*K for the span, instead of D*(K-1) + 1: too few outputs."""
    pairs = [(low, high - (d - 1)) for (low, high), d in zip(layer.padding, layer.dilation, strict=True)]
    return _cropped(layer, pairs)


def _no_stride(layer: _Layer) -> _Layer:
    """Outputs side by side, though as many as with the stride."""
    pairs = []
    for axis, ((low, high), s, d) in enumerate(zip(layer.padding, layer.stride, layer.dilation, strict=True)):
        K, X = layer.arrays["weight"].shape[2 + axis], layer.arrays["input"].shape[-layer.rank + axis]
        count = (low + X + high - d * (K - 1) - 1) // s + 1
        pairs.append((low, count - 1 + d * (K - 1) + 1 - low - X))
    return _cropped(layer.having(stride=(1,) * layer.rank), pairs)


def _first_group_for_all(layer: _Layer) -> _Layer:
    x, axis = layer.arrays["input"], -layer.rank - 1
    first = np.split(x, layer.groups, axis=axis)[0]
    return (
        layer.having(input=np.concatenate([first] * layer.groups, axis=axis)) if layer.groups > 1 else _inapplicable()
    )


def _zeroed(where: tuple[Any, ...]) -> Change:
    def change(layer: _Layer) -> _Layer:
        w = layer.arrays["weight"].copy()
        w[where] = 0
        return layer.having(weight=w)

    return change


def _reversed_axes(name: str) -> Change:
    def change(layer: _Layer) -> _Layer:
        return layer.having(**{name: tuple(reversed(getattr(layer, name)))})

    return change


def _inapplicable() -> Any:
    raise ValueError("this fault has no meaning here")


CHANGES: dict[str, Change] = {
    "the kernel is flipped": _flipped,
    "the padding is on the wrong side": _other_side,
    "the bias is ignored": lambda layer: layer.having(bias=None),
    "the bias is subtracted": lambda layer: layer.having(bias=-layer.arrays["bias"]),
    "the bias is added twice": lambda layer: layer.having(bias=2 * layer.arrays["bias"]),
    "the dilation is ignored": _no_dilation,
    "the dilated kernel is taken for D*K long": _effective_kernel,
    "the stride is ignored": _no_stride,
    "groups mixed: all groups read the first group's channels": _first_group_for_all,
    "the kernel's axes are swapped": _swapped_taps,
    "the weight's channel axes are swapped": _swapped_filters,
    "the axes of stride are swapped": _reversed_axes("stride"),
    "the axes of padding are swapped": _reversed_axes("padding"),
    "the axes of dilation are swapped": _reversed_axes("dilation"),
    "off by one column: the window reads one pixel too far left": _moved(1, -1),
    "off by one column: the window reads one pixel too far right": _moved(-1, -1),
    "off by one row: the window reads one pixel too far up": _moved(1, 0),
    "off by one row: the window reads one pixel too far down": _moved(-1, 0),
    "the last column of taps is left out": _zeroed((..., slice(-1, None))),
    "the first column of taps is left out": _zeroed((..., slice(0, 1))),
    "the last row of taps is left out": _zeroed((slice(None), slice(None), slice(-1, None))),
    "the first row of taps is left out": _zeroed((slice(None), slice(None), slice(0, 1))),
    "the last input channel of each group is left out": _zeroed((slice(None), slice(-1, None))),
    "the padding wraps around": lambda layer: layer.having(padding_mode="circular"),
    "the padding repeats the border": lambda layer: layer.having(padding_mode="replicate"),
    "the padding is zero": lambda layer: layer.having(padding_mode="zeros"),
    "the padding mirrors the border pixel, too": lambda layer: layer.having(padding_mode="symmetric"),
    "the padding mirrors without the border pixel": lambda layer: layer.having(padding_mode="reflect"),
    "the signs of the input are lost": lambda layer: layer.having(input=np.abs(layer.arrays["input"])),
}


# --- faults of the result


def _only_first_image(results: Results, layer: _Layer) -> Results:
    y = results["output"]
    assert y is not None
    return {"output": np.concatenate([y[:1]] * len(y))}


def _last_position_zero(results: Results, layer: _Layer) -> Results:
    y = results["output"]
    assert y is not None
    y = y.copy()
    y[..., -1] = 0
    return {"output": y}


def _interleaved_output(results: Results, layer: _Layer) -> Results:
    y = results["output"]
    assert y is not None
    return {"output": _interleaved(y, layer.groups)}


def _flipped_weight_gradient(results: Results, layer: _Layer) -> Results:
    dw = results["weight"]
    assert dw is not None
    return {**results, "weight": np.flip(dw, _axes(dw))}


def _averaged(name: str, over: Callable[[_Layer], int]) -> Callable[[Results, _Layer], Results]:
    def alter(results: Results, layer: _Layer) -> Results:
        gradient = results[name]
        assert gradient is not None
        return {**results, name: gradient / over(layer)}

    return alter


def _swapped_weight_gradient(results: Results, layer: _Layer) -> Results:
    dw = results["weight"]
    assert dw is not None
    return {**results, "weight": np.swapaxes(dw, 0, 1).reshape(dw.shape)}


def _positions(layer: _Layer) -> int:
    return math.prod(layer.arrays["grad_output"].shape[-layer.rank :])


OUTPUT_FAULTS: dict[str, Callable[[Results, _Layer], Results]] = {
    "every image gets the first one's output": _only_first_image,
    "the last column of the output is left zero": _last_position_zero,
    "groups mixed: the output's channels are interleaved": _interleaved_output,
}

GRADIENT_FAULTS: dict[str, Callable[[Results, _Layer], Results]] = {
    "the gradient of the weight is flipped": _flipped_weight_gradient,
    "the gradient of the weight has its channel axes swapped": _swapped_weight_gradient,
    "the gradient of the weight is averaged over the batch": _averaged(
        "weight", lambda layer: len(layer.arrays["grad_output"])
    ),
    "the gradient of the bias is averaged over the batch": _averaged(
        "bias", lambda layer: len(layer.arrays["grad_output"])
    ),
    "the gradient of the bias is averaged over the positions": _averaged("bias", _positions),
}


# --- faults of the order of channels


def _interleaved(a: Array, groups: int) -> Array:
    """Take channel g*C + c for channel c*G + g."""
    if groups == 1:
        raise ValueError("one group cannot be mixed")
    shape = a.shape
    return a.reshape(shape[0], groups, shape[1] // groups, *shape[2:]).swapaxes(1, 2).reshape(shape)


CHANNEL_ORDERS: dict[str, Callable[[Array, int], Array]] = {
    "groups mixed: the input's channels are interleaved": _interleaved,
    "the input's channels are in reverse order": lambda a, groups: a[:, ::-1],
}
