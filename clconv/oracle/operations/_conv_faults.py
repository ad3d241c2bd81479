"""The usual faults of convolutions, as changes of a call or of its results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._base import Results

__all__ = ["CALL_FAULTS", "CHANNEL_ORDERS", "GRADIENT_FAULTS", "OUTPUT_FAULTS", "Layer", "Pairs"]

VECTORS = (16, 8, 4)  # what is wrong past a multiple of 16 may well be right past one of 4

Array = NDArray[Any]
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Layer:
    """A call in one form: sizes for each axis, padding in pairs. A pair may be negative, which crops.

    Attributes
    ----------
    transposed : whether the call is one of a transposed convolution
    word : name of the padding, if it was given by one
    others : the arguments that have no field here
    """

    arrays: dict[str, Array]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    groups: int
    transposed: bool
    word: str
    others: dict[str, Any]

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return self.arrays["weight"].ndim - 2

    @property
    def kernel(self) -> tuple[int, ...]:
        """Taps along each axis."""
        return self.arrays["weight"].shape[2:]

    @property
    def extent(self) -> tuple[int, ...]:
        """Pixels of the input along each axis."""
        return self.arrays["input"].shape[-self.rank :]

    @property
    def input_channels(self) -> int:
        """Number of input channels of one group."""
        return int(self.arrays["input"].shape[-self.rank - 1]) // self.groups

    @property
    def output_channels(self) -> int:
        """Number of output channels."""
        first, second = self.arrays["weight"].shape[:2]
        return int(second * self.groups if self.transposed else first)

    def holding(self, **arrays: Array | None) -> Layer:
        """Return the call with other arrays; None leaves one out, and one that is not there stays away."""
        known = {name: array for name, array in arrays.items() if name in self.arrays}
        return replace(self, arrays={k: a for k, a in {**self.arrays, **known}.items() if a is not None})

    def having(self, **others: Any) -> Layer:
        """Return the call with other arguments that have no field."""
        return replace(self, others={**self.others, **others})


Change = Callable[[Layer], Layer]
Alteration = Callable[[Results, Layer], Results]


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError("this fault has no meaning here")


# --- the kernel


def _flipped(layer: Layer) -> Layer:
    return layer.having(flip=not layer.others.get("flip", False))


def _swapped_axes(first: int, second: int) -> Change:
    """Read the weight as if two of its axes had been exchanged in memory."""

    def change(layer: Layer) -> Layer:
        w = layer.arrays["weight"]
        _require(w.ndim > 3 or first >= 0)
        return layer.holding(weight=np.swapaxes(w, first, second).reshape(w.shape))

    return change


def _without_taps(*where: Any) -> Change:
    def change(layer: Layer) -> Layer:
        w = layer.arrays["weight"].copy()
        w[where] = 0
        return layer.holding(weight=w)

    return change


# --- padding and position


def _padded(change: Callable[[Layer], Pairs]) -> Change:
    return lambda layer: replace(layer, padding=change(layer))


def _begins_and_ends(layer: Layer) -> Pairs:
    flat = [low for low, _ in layer.padding] + [high for _, high in layer.padding]
    return tuple((flat[2 * axis], flat[2 * axis + 1]) for axis in range(layer.rank))


def _same_of_dense_kernel(layer: Layer) -> Pairs:
    _require(layer.word == "same")
    return tuple(((k - 1) // 2, k - 1 - (k - 1) // 2) for k in layer.kernel)


def _moved(step: int, axis: int) -> Change:
    def pairs(layer: Layer) -> Pairs:
        moved = list(layer.padding)
        low, high = moved[axis]
        moved[axis] = (low + step, high - step)
        return tuple(moved)

    return _padded(pairs)


def _mode(meant: str, taken: str) -> Change:
    """Take one padding_mode for another one, any for it where `meant` is empty."""

    def change(layer: Layer) -> Layer:
        mode = layer.others.get("padding_mode", "zeros")
        _require(mode == meant or (not meant and mode != taken))
        return layer.having(padding_mode=taken)

    return change


def _neighbouring_rows(layer: Layer) -> Layer:
    """Guard rows but not columns: beside a row lie the ends of the rows above and below it."""
    _require(layer.rank > 1 and not layer.transposed and "grad_output" not in layer.arrays)
    low, high = layer.padding[-1]
    x, rest = layer.arrays["input"], layer.padding[:-1]
    x = np.pad(x, (*((0, 0),) * (x.ndim - layer.rank), *rest, (0, 0)))
    rows, columns = x.shape[-2:]
    memory = np.pad(x.reshape(*x.shape[:-2], -1), ((0, 0),) * (x.ndim - 2) + ((low, high),))
    read = np.arange(rows)[:, np.newaxis] * columns + np.arange(low + columns + high)
    return replace(layer.holding(input=memory[..., read]), padding=((0, 0),) * layer.rank)


# --- extents, stride and dilation


def _slack(more: Callable[[Layer, int], int]) -> Change:
    """Give every axis some pixels of padding more at its end."""
    return _padded(lambda layer: tuple((low, high + more(layer, i)) for i, (low, high) in enumerate(layer.padding)))


def _no_dilation(layer: Layer) -> Layer:
    """Put taps side by side; the output keeps the extent that it has with the dilated window."""
    dense = replace(layer, dilation=(1,) * layer.rank)
    if layer.transposed:
        return dense
    return _slack(lambda whole, i: -(layer.dilation[i] - 1) * (whole.kernel[i] - 1))(dense)


def _no_stride(layer: Layer) -> Layer:
    """Put outputs side by side, though as many as with the stride."""

    def less(dense: Layer, i: int) -> int:
        (low, high), reach = layer.padding[i], layer.dilation[i] * (layer.kernel[i] - 1)
        last = low + layer.extent[i] + high - reach - 1  # place of the last window with stride 1
        return last // layer.stride[i] - last

    return _slack(less)(replace(layer, stride=(1,) * layer.rank))


def _reversed_axes(name: str) -> Change:
    return lambda layer: replace(layer, **{name: getattr(layer, name)[::-1]})


def _first_axis(name: str) -> Change:
    return lambda layer: replace(layer, **{name: getattr(layer, name)[:1] * layer.rank})


def _plain(*names: str) -> Change:
    """Take arguments for their defaults."""

    def change(layer: Layer) -> Layer:
        plain = {"stride": (1,) * layer.rank, "padding": ((0, 0),) * layer.rank}
        kept: dict[str, Any] = {name: plain[name] for name in names}
        return replace(layer, **kept)

    return change


def _without(name: str) -> Change:
    return lambda layer: replace(layer, others={k: v for k, v in layer.others.items() if k != name})


# --- channels, groups, images, bias


def _first_group_for_all(layer: Layer) -> Layer:
    _require(layer.groups > 1)
    axis = -layer.rank - 1
    first = np.split(layer.arrays["input"], layer.groups, axis=axis)[0]
    return layer.holding(input=np.concatenate([first] * layer.groups, axis=axis))


def _transposed_weight_by_outputs(layer: Layer) -> Layer:
    """Read (ICG, OC) where (IC, OCG) lies."""
    _require(layer.transposed and layer.groups > 1)
    w, G = layer.arrays["weight"], layer.groups
    split = w.reshape(layer.input_channels, G, w.shape[1], *layer.kernel)
    return layer.holding(weight=np.swapaxes(split, 0, 1).reshape(w.shape))


def _fewer_inputs(kept: Callable[[int], int]) -> Change:
    """Leave out the last input channels of each group."""

    def change(layer: Layer) -> Layer:
        C, beside = layer.input_channels, (1,) * layer.rank
        is_kept = np.arange(C * layer.groups) % max(C, 1) < kept(C)
        x, w = layer.arrays["input"], layer.arrays["weight"]
        of_weight = is_kept.reshape(-1, 1, *beside) if layer.transposed else is_kept[:C].reshape(-1, *beside)
        return layer.holding(input=np.where(is_kept.reshape(-1, *beside), x, 0), weight=np.where(of_weight, w, 0))

    return change


def _whole(size: int) -> Callable[[int], int]:
    """Return what vectors of some size cover, if there is a whole one."""
    return lambda count: count // size * size if count >= size else count


def _biased(change: Callable[[Array, Layer], Array]) -> Change:
    return lambda layer: layer.holding(bias=change(layer.arrays["bias"], layer))


def _short_operands(digits: int) -> Change:
    def rounded(a: Array) -> Array:
        significand, exponent = np.frexp(a)
        return np.array(np.ldexp(np.rint(np.ldexp(significand, digits)), exponent - digits))

    return lambda layer: layer.holding(**{name: rounded(a) for name, a in layer.arrays.items() if name != "bias"})


def _one_image(index: int) -> Change:
    """Let one image alone count in the gradients."""

    def change(layer: Layer) -> Layer:
        g = layer.arrays["grad_output"]
        _require(g.ndim == layer.rank + 2)
        kept = np.zeros_like(g)
        kept[index] = g[index]
        return layer.holding(grad_output=kept)

    return change


def _short_gradient(layer: Layer) -> Layer:
    g = layer.arrays["grad_output"].copy()
    g[..., -1] = 0
    return layer.holding(grad_output=g)


def _simd_tails() -> Iterator[tuple[str, Change]]:
    for size in VECTORS:
        yield f"the input channels past the last multiple of {size} are left out", _fewer_inputs(_whole(size))


CALL_FAULTS: dict[str, Change] = {
    "the kernel is flipped": _flipped,
    "the padding is on the wrong side": _padded(lambda layer: tuple((high, low) for low, high in layer.padding)),
    "the bias is ignored": lambda layer: layer.holding(bias=None),
    "the bias is subtracted": _biased(lambda b, _: -b),
    "the bias is added twice": _biased(lambda b, _: 2 * b),
    "the bias is added once for each tap": _biased(lambda b, layer: b * math.prod(layer.kernel)),
    "the bias starts anew with each group": _biased(
        lambda b, layer: np.tile(b[: len(b) // layer.groups], layer.groups)
    ),
    "the dilation is ignored": _no_dilation,
    "the dilated kernel is taken for D*K long": _slack(lambda layer, i: -(layer.dilation[i] - 1)),
    "the stride is ignored": _no_stride,
    "the stride is taken for 1": _plain("stride"),
    "the padding is ignored": _plain("padding"),
    "stride and padding are both ignored": _plain("stride", "padding"),
    "output_padding is ignored": _without("output_padding"),
    "groups mixed: all groups read the first group's channels": _first_group_for_all,
    "groups mixed: the weight is read as (input channels of a group, output channels)": _transposed_weight_by_outputs,
    "the kernel's axes are swapped": _swapped_axes(-1, -2),
    "the weight's channel axes are swapped": _swapped_axes(0, 1),
    "the axes of stride are swapped": _reversed_axes("stride"),
    "the axes of padding are swapped": _reversed_axes("padding"),
    "the axes of dilation are swapped": _reversed_axes("dilation"),
    "the stride of the first axis is used for all": _first_axis("stride"),
    "the padding of the first axis is used for all": _first_axis("padding"),
    "the dilation of the first axis is used for all": _first_axis("dilation"),
    "the low padding is used for both sides": _padded(lambda layer: tuple((low, low) for low, _ in layer.padding)),
    "the high padding is used for both sides": _padded(lambda layer: tuple((high, high) for _, high in layer.padding)),
    "all of the padding is before the first pixel": _padded(
        lambda layer: tuple((low + high, 0) for low, high in layer.padding)
    ),
    "all of the padding is after the last pixel": _padded(
        lambda layer: tuple((0, low + high) for low, high in layer.padding)
    ),
    "the padding's begins and ends are taken for pairs": _padded(_begins_and_ends),
    "padding 'same' ignores the dilation": _padded(_same_of_dense_kernel),
    "the number of outputs is rounded up": _slack(lambda layer, i: layer.stride[i] - 1),
    "there is one output too many": _slack(lambda layer, i: layer.stride[i]),
    "off by one column: the window reads one pixel too far left": _moved(1, -1),
    "off by one column: the window reads one pixel too far right": _moved(-1, -1),
    "off by one row: the window reads one pixel too far up": _moved(1, 0),
    "off by one row: the window reads one pixel too far down": _moved(-1, 0),
    "the last column of taps is left out": _without_taps(..., slice(-1, None)),
    "the first column of taps is left out": _without_taps(..., slice(0, 1)),
    "the last row of taps is left out": _without_taps(slice(None), slice(None), slice(-1, None)),
    "the first row of taps is left out": _without_taps(slice(None), slice(None), slice(0, 1)),
    "the last input channel of each group is left out": _fewer_inputs(lambda count: count - 1),
    **dict(_simd_tails()),
    "the padding wraps around": _mode("zeros", "circular"),
    "the padding repeats the border": _mode("zeros", "replicate"),
    "the padding mirrors the border pixel, too": _mode("zeros", "symmetric"),
    "the padding mirrors without the border pixel": _mode("zeros", "reflect"),
    "padding_mode is ignored: the padding is zero": _mode("", "zeros"),
    "padding_mode 'reflect' repeats the border pixel": _mode("reflect", "symmetric"),
    "padding_mode 'symmetric' leaves the border pixel out": _mode("symmetric", "reflect"),
    "the padding reads the neighbouring rows": _neighbouring_rows,
    "the signs of the input are lost": lambda layer: layer.holding(input=np.abs(layer.arrays["input"])),
    "operands are rounded to the digits of float16": _short_operands(11),
    "operands are rounded to the digits of bfloat16": _short_operands(8),
    "only the first image counts": _one_image(0),
    "only the last image counts": _one_image(-1),
    "the last column of grad_output is left out": _short_gradient,
}


# --- faults of the result


def _altered(name: str, change: Callable[[Array, Layer], Array]) -> Alteration:
    def alter(results: Results, layer: Layer) -> Results:
        array = results[name]
        _require(array is not None)
        return {**results, name: change(np.array(array), layer)}

    return alter


def _only_first_image(y: Array, layer: Layer) -> Array:
    return np.concatenate([y[:1]] * len(y))


def _last_position_zero(y: Array, layer: Layer) -> Array:
    y[..., -1] = 0
    return y


def _zero_past(size: int) -> Callable[[Array, Layer], Array]:
    def change(y: Array, layer: Layer) -> Array:
        C = layer.output_channels // layer.groups
        is_zero = np.arange(layer.output_channels) % max(C, 1) >= _whole(size)(C)
        return np.where(is_zero.reshape(-1, *(1,) * layer.rank), 0, y)

    return change


OUTPUT_FAULTS: dict[str, Alteration] = {
    "every image gets the first one's output": _altered("output", _only_first_image),
    "the last column of the output is left zero": _altered("output", _last_position_zero),
    "the last column of the output is missing": _altered("output", lambda y, _: y[..., :-1]),
    "groups mixed: the output's channels are interleaved": _altered(
        "output", lambda y, layer: _interleaved(y, layer.groups)
    ),
    "groups mixed: the output's channels are dealt out by turns": _altered(
        "output", lambda y, layer: _dealt(y, layer.groups)
    ),
    **{
        f"the output channels past the last multiple of {size} are zero": _altered("output", _zero_past(size))
        for size in VECTORS
    },
}


def _batch(layer: Layer) -> int:
    return len(layer.arrays["grad_output"])


def _positions(layer: Layer) -> int:
    return math.prod(layer.arrays["grad_output"].shape[-layer.rank :])


GRADIENT_FAULTS: dict[str, Alteration] = {
    "the gradient of the weight has its channel axes swapped": _altered(
        "weight", lambda dw, _: np.swapaxes(dw, 0, 1).reshape(dw.shape)
    ),
    "the gradient of the weight is averaged over the batch": _altered("weight", lambda dw, layer: dw / _batch(layer)),
    "the gradient of the bias is averaged over the batch": _altered("bias", lambda db, layer: db / _batch(layer)),
    "the gradient of the bias is averaged over the positions": _altered(
        "bias", lambda db, layer: db / _positions(layer)
    ),
    "the gradient of the input has the wrong sign": _altered("input", lambda dx, _: -dx),
    "the gradient of the weight has the wrong sign": _altered("weight", lambda dw, _: -dw),
}


# --- faults of the order of channels


def _interleaved(a: Array, groups: int) -> Array:
    """Take channel g*C + c for channel c*G + g."""
    _require(groups > 1)
    shape = a.shape
    return a.reshape(shape[0], groups, shape[1] // groups, *shape[2:]).swapaxes(1, 2).reshape(shape)


def _dealt(a: Array, groups: int) -> Array:
    """Take channel c*G + g for channel g*C + c."""
    _require(groups > 1)
    return _interleaved(a, a.shape[1] // groups)


CHANNEL_ORDERS: dict[str, Callable[[Array, int], Array]] = {
    "groups mixed: the input's channels are interleaved": _interleaved,
    "groups mixed: the input's channels are dealt out by turns": _dealt,
    "the input's channels are in reverse order": lambda a, groups: a[:, ::-1],
}
