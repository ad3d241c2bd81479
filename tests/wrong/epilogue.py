"""Wrong implementations of an epilogue, in one call with an operation, and of its gradients."""

from __future__ import annotations

import numpy as np

from clconv.oracle import reference

from . import WrongImplementation

__all__ = ["RIGHT", "WRONG"]

PARTS = {"scale": None, "shift": None, "residual": None, "activation": None, "negative_slope": 0.01}


def finished(parts_of=dict, value_of=lambda value, parts: value, after=lambda y, parts: y):
    """Return avg_pool2d_epilogue, with one of its steps replaced."""

    def avg_pool2d_epilogue(input, kernel_size, **arguments):
        parts = {name: arguments.pop(name, default) for name, default in PARTS.items()}
        value = reference.avg_pool2d(input, kernel_size, **arguments)
        y = reference.epilogue(value_of(value, parts), **parts_of(parts), channel_axis=value.ndim - 3)
        return after(y, parts).astype(input.dtype)

    return avg_pool2d_epilogue


def gradients(parts_of=dict, after=lambda gradients, parts, value: gradients):
    """Return epilogue_backward, with one of its steps replaced."""

    def epilogue_backward(grad_output, value, *, output_mask=None, **parts):
        right = reference.epilogue_backward(grad_output, value, **parts_of(parts), output_mask=output_mask)
        changed = after(right, {**PARTS, **parts}, value)
        there = (True, *(parts.get(name) is not None for name in ("scale", "shift", "residual")))
        wanted = zip(there, output_mask or (True,) * 4, strict=True)
        kept = [is_there and is_wanted for is_there, is_wanted in wanted]
        return tuple(g.astype(value.dtype) if keep else None for g, keep in zip(changed, kept, strict=True))

    return epilogue_backward


def _column(vector, ndim):
    return vector.reshape(1, -1, *(1,) * (ndim - 2))


def _add_residual_last(y, parts):
    return y if parts["residual"] is None else y + parts["residual"]


def _rounded(value, parts):
    """Store the value before the epilogue: what a pass of its own does."""
    return value.astype("float16")


def _unscaled(right, parts, value):
    if right.value is None or parts["scale"] is None:
        return right
    with np.errstate(all="ignore"):
        return right._replace(value=right.value / _column(parts["scale"], value.ndim))


def _mean(right, parts, value):
    return right if right.shift is None else right._replace(shift=right.shift / max(value.size // value.shape[1], 1))


def _at_the_value(parts):
    return {**parts, "shift": None if parts.get("shift") is None else np.zeros_like(parts["shift"])}


def _of_the_first_image(right, parts, value):
    if right.residual is None or right.shift is None:
        return right
    return right._replace(shift=right.residual[:1].sum(axis=(0, *range(2, value.ndim))))


RIGHT = {"avg_pool2d_epilogue": finished(), "epilogue_backward": gradients()}

WRONG = [
    *(
        WrongImplementation(
            f"no {part}", "avg_pool2d_epilogue", finished(lambda parts, p=part: {**parts, p: None}), cause
        )
        for part, cause in (
            ("scale", "scale is ignored"),
            ("shift", "shift is ignored"),
            ("residual", "residual is ignored"),
            ("activation", "activation is ignored"),
        )
    ),
    WrongImplementation(
        "a fixed slope of leaky_relu",
        "avg_pool2d_epilogue",
        finished(lambda parts: {**parts, "negative_slope": 0.01}),
        "negative_slope is ignored",
    ),
    WrongImplementation(
        "a residual beside the activation",
        "avg_pool2d_epilogue",
        finished(lambda parts: {**parts, "residual": None}, after=_add_residual_last),
        "the residual is added after the activation",
    ),
    WrongImplementation(
        "a value that is stored in between",
        "avg_pool2d_epilogue",
        finished(value_of=_rounded),
        "",
    ),
    WrongImplementation(
        "no scale of the value's gradient", "epilogue_backward", gradients(after=_unscaled), "not scaled"
    ),
    WrongImplementation("a mean for the shift", "epilogue_backward", gradients(after=_mean), ""),
    WrongImplementation(
        "the slope before the shift",
        "epilogue_backward",
        gradients(_at_the_value),
        "shift is ignored in the argument of the activation",
    ),
    WrongImplementation("the sum of one image", "epilogue_backward", gradients(after=_of_the_first_image), ""),
]
