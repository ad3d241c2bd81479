"""What the usual faults of padding and shuffling give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle import reference

from ._base import Claims, Operation, Results, Suspect

__all__ = ["of_flattening", "of_padding", "of_shuffles"]

Array = NDArray[Any]
Arguments = dict[str, Any]
PLAIN = Claims()


def _inapplicable() -> Any:
    raise ValueError("this fault has no meaning here")


# --- padding


def of_padding(operation: Operation) -> Iterator[Suspect]:
    """List the faults of padding, the likelier first."""
    for cause, change in PADDING.items():
        yield Suspect(cause, _with_arguments(operation, change))
    if operation.results == ("input",):
        yield Suspect("the gradient of what was copied into the padding is lost", _only_the_middle(operation))
        yield Suspect("only the last of several copies adds to the gradient", _only_the_last)


def _with_arguments(operation: Operation, change: Callable[[Arguments], Arguments]) -> Any:
    def results(arrays: Any, arguments: Arguments) -> Results:
        changed = change(arguments)
        if changed == arguments:
            raise ValueError("this fault changes nothing here")
        return operation.evaluate(arrays, changed, PLAIN)

    return results


def _exchanged_sides(arguments: Arguments) -> Arguments:
    pad = arguments["pad"]
    return {**arguments, "pad": tuple(pad[i ^ 1] for i in range(len(pad)))}


def _first_axis_first(arguments: Arguments) -> Arguments:
    pad = arguments["pad"]
    pairs = [pad[i : i + 2] for i in range(0, len(pad), 2)]
    return {**arguments, "pad": tuple(p for pair in reversed(pairs) for p in pair)}


def _lows_then_highs(arguments: Arguments) -> Arguments:
    """Read ONNX's order: all the low entries, first axis first, then the high ones."""
    pad = arguments["pad"]
    rank = len(pad) // 2
    pairs = [(pad[axis], pad[rank + axis]) for axis in range(rank)]
    return {**arguments, "pad": tuple(p for pair in reversed(pairs) for p in pair)}


def _in_mode(mode: str, read: str) -> Callable[[Arguments], Arguments]:
    """Take one mode for another."""

    def change(arguments: Arguments) -> Arguments:
        if arguments.get("mode", "constant") != mode:
            _inapplicable()
        return {**arguments, "mode": read}

    return change


PADDING: dict[str, Callable[[Arguments], Arguments]] = {
    "the two sides of each axis are exchanged": _exchanged_sides,
    "the pairs are read first axis first": _first_axis_first,
    "all low entries are read before the high ones, in ONNX's order": _lows_then_highs,
    "the value is ignored": lambda arguments: {k: v for k, v in arguments.items() if k != "value"},
    "the sign of the value is lost": lambda arguments: {**arguments, "value": abs(arguments["value"])},
    "reflect repeats the border": _in_mode("reflect", "symmetric"),
    "symmetric leaves the border out": _in_mode("symmetric", "reflect"),
    "reflect is taken for replicate": _in_mode("reflect", "replicate"),
    "circular is taken for reflect": _in_mode("circular", "reflect"),
    "circular is taken for replicate": _in_mode("circular", "replicate"),
    "replicate is taken for reflect": _in_mode("replicate", "reflect"),
    "the mode is ignored": lambda arguments: {k: v for k, v in arguments.items() if k != "mode"},
}


def _only_the_middle(operation: Operation) -> Any:
    def results(arrays: Any, arguments: Arguments) -> Results:
        if arguments.get("mode", "constant") == "constant":
            _inapplicable()
        return operation.evaluate(arrays, {**arguments, "mode": "constant"}, PLAIN)

    return results


def _only_the_last(arrays: Any, arguments: Arguments) -> Results:
    """Write where the gradient should be added up."""
    x, g = arrays["input"], arrays["grad_output"]
    mode = arguments.get("mode", "constant")
    sources = reference.pad(
        np.arange(x.size).reshape(x.shape), arguments["pad"], mode, -1.0 if mode == "constant" else None
    )
    dx = np.zeros(x.size)
    dx[sources[sources >= 0].astype(int)] = g[sources >= 0]
    return {"input": dx.reshape(x.shape)}


# --- flatten


def of_flattening(operation: Any) -> Iterator[Suspect]:
    """List the faults of joining axes."""
    yield Suspect("the joined axes run backwards, the first one fastest", _first_axis_fastest(operation))
    if not operation.backward:
        yield Suspect("end_dim is ignored", _with_arguments(operation, _without("end_dim")))
        yield Suspect("start_dim is ignored", _with_arguments(operation, _without("start_dim")))


def _without(name: str) -> Callable[[Arguments], Arguments]:
    return lambda arguments: {k: v for k, v in arguments.items() if k != name}


def _first_axis_fastest(operation: Any) -> Any:
    def results(arrays: Any, arguments: Arguments) -> Results:
        x = arrays["input"]
        rank = x.ndim
        first, last = arguments.get("start_dim", 0) % rank, arguments.get("end_dim", -1) % rank
        axes = (*range(first), *reversed(range(first, last + 1)), *range(last + 1, rank))
        if operation.backward:
            g = arrays["grad_output"].reshape([x.shape[axis] for axis in axes])
            return {"input": g.transpose(np.argsort(axes))}
        return {"output": reference.flatten(x.transpose(axes).copy(), first, last)}

    return results


# --- shuffles


def of_shuffles(operation: Any) -> Iterator[Suspect]:
    """List the faults of shuffles, each one another order of the elements."""
    for cause, shuffled in SHUFFLES[operation.forward].items():
        yield Suspect(cause, _in_order(operation, shuffled))


def _in_order(operation: Any, shuffled: Callable[[Array, int], Array]) -> Any:
    def results(arrays: Any, arguments: Arguments) -> Results:
        x, factor = arrays["input"], arguments[operation.positional[0]]
        if not operation.backward:
            return {"output": shuffled(x, factor)}
        # Each element of grad_output belongs to the input's element that its place shows.
        sources = shuffled(np.arange(x.size).reshape(x.shape), factor)
        dx = np.empty(x.size)
        dx[sources.ravel()] = arrays["grad_output"].ravel()
        return {"input": dx.reshape(x.shape)}

    return results


def _depth_to_space(split: str, order: str) -> Callable[[Array, int], Array]:
    """Read the channels as the factors named in `split`, and write pixels in `order`, both letters of "cij"."""

    def shuffled(x: Array, r: int) -> Array:
        *lead, channels, H, W = x.shape
        extent = {"c": channels // (r * r), "i": r, "j": r}
        blocks = x.reshape(*lead, *(extent[letter] for letter in split), H, W)
        moved: Array = np.einsum(f"...{split}hw->...{order}", blocks)
        return moved.reshape(*lead, extent["c"], H * r, W * r)

    return shuffled


def _space_to_depth(order: str) -> Callable[[Array, int], Array]:
    """Write the factors of channels in an order of the letters "cij"."""

    def shuffled(x: Array, r: int) -> Array:
        *lead, C, height, width = x.shape
        blocks = x.reshape(*lead, C, height // r, r, width // r, r)
        moved: Array = np.einsum(f"...chiwj->...{order}hw", blocks)
        return moved.reshape(*lead, C * r * r, height // r, width // r)

    return shuffled


def _reshaped_up(x: Array, r: int) -> Array:
    *lead, channels, H, W = x.shape
    return x.reshape(*lead, channels // (r * r), H * r, W * r)


def _reshaped_down(x: Array, r: int) -> Array:
    *lead, C, height, width = x.shape
    return x.reshape(*lead, C * r * r, height // r, width // r)


def _inverse_shuffle(x: Array, groups: int) -> Array:
    N, C, *extent = x.shape
    return x.reshape(N, C // groups, groups, *extent).swapaxes(1, 2).reshape(x.shape)


SHUFFLES: dict[str, dict[str, Callable[[Array, int], Array]]] = {
    "pixel_shuffle": {
        "channels are read offset first, ONNX's DCR": _depth_to_space("ijc", "chiwj"),
        "row and column offsets in a block are exchanged": _depth_to_space("cij", "chjwi"),
        "the elements are not moved": _reshaped_up,
    },
    "pixel_unshuffle": {
        "channels are written offset first, ONNX's DCR": _space_to_depth("ijc"),
        "row and column offsets in a block are exchanged": _space_to_depth("cji"),
        "the elements are not moved": _reshaped_down,
    },
    "channel_shuffle": {
        "the shuffle and its inverse are exchanged": _inverse_shuffle,
        "the channels are not moved": lambda x, groups: x,
    },
}
