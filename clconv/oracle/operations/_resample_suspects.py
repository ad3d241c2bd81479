"""What the usual faults of resizing give: the reference, called with the arguments as the fault reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from clconv.oracle.reference.resample_arguments import Resizing
from clconv.oracle.reference.resample_coordinates import Nearest, matrix, through

from ._base import Claims, Operation, Results, Suspect

__all__ = ["suspects"]

Arguments = dict[str, Any]
Change = Callable[[Arguments], tuple[str, Arguments]]

ONNX_MODE = {"nearest": "nearest", "nearest-exact": "nearest", "bicubic": "cubic"} | dict.fromkeys(
    ("linear", "bilinear", "trilinear"), "linear"
)


def suspects(operation: Operation) -> Iterator[Suspect]:
    """List the faults of resizing, the likelier first."""
    for cause, change in CHANGES.items():
        yield Suspect(cause, _with_arguments(operation, change))
    for cause, window in WINDOWS.items():
        yield Suspect(cause, _with_windows(operation, window))
    if operation.results == ("input",):
        yield Suspect("only the last of several positions adds to the gradient", _only_the_last)
        yield Suspect("the gradient is averaged over the positions", _averaged(operation))


def _with_arguments(operation: Operation, change: Change) -> Any:
    def results(arrays: Any, arguments: Arguments) -> Results:
        semantics, changed = change(arguments)
        if changed == arguments:
            raise ValueError("this fault changes nothing here")
        return operation.evaluate(arrays, changed, Claims(semantics=semantics))

    return results


def _mode(arguments: Arguments) -> str:
    mode: str = arguments.get("mode", "nearest")
    return mode


def _of_mode(modes: tuple[str, ...], **changes: Any) -> Change:
    """Change arguments of torch's where the mode is one of some; None leaves one out."""

    def change(arguments: Arguments) -> tuple[str, Arguments]:
        if _mode(arguments) not in modes:
            raise ValueError("this fault is one of other modes")
        return "torch", {k: v for k, v in {**arguments, **changes}.items() if v is not None}

    return change


def _in_onnxs_words(modes: tuple[str, ...], antialias: bool | None = None, **changes: Any) -> Change:
    """Say a call of torch's in ONNX's words, which has more choices."""

    def change(arguments: Arguments) -> tuple[str, Arguments]:
        if _mode(arguments) not in modes or arguments.get("align_corners"):
            raise ValueError("this fault is one of other modes")
        if antialias is not None and bool(arguments.get("antialias")) != antialias:
            raise ValueError("this fault is one of the other filter")
        kept = {k: v for k, v in arguments.items() if k in ("size", "scale_factor", "antialias", "output_mask")}
        return "onnx", {**kept, "mode": ONNX_MODE[_mode(arguments)], **changes}

    return change


def _without(name: str, semantics: str) -> Change:
    def change(arguments: Arguments) -> tuple[str, Arguments]:
        return semantics, {k: v for k, v in arguments.items() if k != name}

    return change


def _ratio_of_extents(arguments: Arguments) -> tuple[str, Arguments]:
    if "scale_factor" not in arguments:
        raise ValueError("there is no factor")
    return "torch", {**arguments, "recompute_scale_factor": True}


LINEAR = ("linear", "bilinear", "trilinear")
FILTERED = (*LINEAR, "bicubic")

CHANGES: dict[str, Change] = {
    "in/out is taken for 1/scale_factor": _ratio_of_extents,
    "recompute_scale_factor is ignored": _without("recompute_scale_factor", "torch"),
    "align_corners is ignored": _without("align_corners", "torch"),
    "align_corners is assumed": _of_mode(FILTERED, align_corners=True, antialias=None),
    "antialias is ignored": _without("antialias", "torch"),
    "the half pixel is forgotten": _in_onnxs_words(FILTERED, coordinate_mode="asymmetric"),
    "nearest rounds at half pixels, as nearest-exact does": _of_mode(("nearest",), mode="nearest-exact"),
    "nearest-exact rounds down without its half pixel": _of_mode(("nearest-exact",), mode=None),
    "nearest rounds its coordinate instead of cutting it": _in_onnxs_words(
        ("nearest",), coordinate_mode="asymmetric", nearest_mode="round_prefer_ceil"
    ),
    "nearest rounds ties to the lower pixel": _in_onnxs_words(("nearest-exact",), nearest_mode="round_prefer_floor"),
    "nearest rounds its coordinate up": _in_onnxs_words(
        ("nearest",), coordinate_mode="asymmetric", nearest_mode="ceil"
    ),
    "a = -0.5 instead of -0.75": _in_onnxs_words(("bicubic",), False, cubic_coefficient=-0.5),
    "a = -0.75 instead of -0.5": _in_onnxs_words(("bicubic",), True, exclude_outside=True),
    "a = -1 instead of -0.75": _in_onnxs_words(("bicubic",), False, cubic_coefficient=-1.0),
    "pixels outside the image weigh nothing": _in_onnxs_words(FILTERED, False, exclude_outside=True),
    "the mode is taken for nearest": _of_mode((*FILTERED, "area"), mode=None, align_corners=None, antialias=None),
    "bicubic is taken for bilinear": _of_mode(("bicubic",), mode="bilinear"),
    "coordinate_mode is ignored": _without("coordinate_mode", "onnx"),
    "nearest_mode is ignored": _without("nearest_mode", "onnx"),
    "cubic_coefficient is ignored": _without("cubic_coefficient", "onnx"),
    "exclude_outside is ignored": _without("exclude_outside", "onnx"),
    "antialias is not done": _without("antialias", "onnx"),
    "grid_mode is ignored": _without("grid_mode", "scipy"),
}


# --- area

WINDOWS: dict[str, Callable[[int, int, int], range]] = {
    "the windows of area end too early: their end is rounded down": lambda o, X, Y: range(
        o * X // Y, max((o + 1) * X // Y, o * X // Y + 1)
    ),
    "the windows of area end one pixel too late": lambda o, X, Y: range(o * X // Y, min((o + 1) * X // Y + 1, X)),
    "the windows of area all have in/out pixels": lambda o, X, Y: range(o * X // Y, min(o * X // Y + X // Y, X)),
}


def _with_windows(operation: Operation, window: Callable[[int, int, int], range]) -> Any:
    """Average over other windows."""

    def results(arrays: Any, arguments: Arguments) -> Results:
        if _mode(arguments) != "area":
            raise ValueError("this fault is one of area")
        matrices = []
        for axis in _axes(arrays, arguments):
            rows = [(o, window(o, axis.extent, axis.positions)) for o in range(axis.positions)]
            taps = ((o, k, 1 / len(pixels)) for o, pixels in rows for k in pixels)
            matrices.append(matrix(taps, (axis.positions, axis.extent)))
        if operation.results == ("output",):
            return {"output": through(matrices, arrays["input"])}
        return {"input": through([m.T.tocsr() for m in matrices], arrays["grad_output"])}

    return results


# --- gradients


def _axes(arrays: Any, arguments: Arguments) -> tuple[Any, ...]:
    kept = {k: v for k, v in arguments.items() if k != "output_mask"}
    return Resizing(**kept).axes(arrays["input"].shape[2:])


def _only_the_last(arrays: Any, arguments: Arguments) -> Results:
    """Write where the gradient should be added up."""
    axes = _axes(arrays, arguments)
    if not all(isinstance(axis, Nearest) for axis in axes):
        raise ValueError("this fault is looked for in nearest neighbours only")
    dx = np.zeros(arrays["input"].shape)
    pixels = [[axis.taps(o)[0][0] for o in range(axis.positions)] for axis in axes]
    dx[(slice(None), slice(None), *np.ix_(*pixels))] = arrays["grad_output"]
    return {"input": dx}


def _averaged(operation: Operation) -> Any:
    def results(arrays: Any, arguments: Arguments) -> Results:
        found = operation.evaluate(arrays, arguments, Claims())["input"]
        ones = {**arrays, "grad_output": np.ones(arrays["grad_output"].shape)}
        counts = operation.evaluate(ones, arguments, Claims())["input"]
        assert found is not None
        assert counts is not None
        return {"input": np.divide(found, counts, out=np.zeros_like(found), where=counts != 0)}

    return results
