"""Laws of convolution that hold without a reference, on integers bit for bit.

With y = conv(x, w) and any g of y's shape:

- a permutation of the images permutes the outputs; likewise of the output channels of one group;
- groups are separate convolutions;
- moved by one pixel, the image gives the moved output, where no padding comes in;
- both rotated by 180 degrees, image and kernel give the rotated output, where the windows fit without slack;
- <conv(x, w), g> = <w, dw> with dw[oc, ic] = conv(x[:, ic], g[:, oc]), stride and dilation exchanged: the gradient
  of the weights is a convolution itself;
- the gradients have one scalar product: <dx, x> = <g, conv(x, w)> = <dw, w>.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._base import Call, Case, Claims, Disagreement, Identity
from ._sums import difference

__all__ = ["both_gradients_have_one_product", "laws"]

Array = NDArray[Any]


def laws(rank: int, transposed: bool, claims: Claims) -> Iterator[Identity]:
    """List the laws that need only the forward operation."""
    yield Identity("images are separate", _images_are_separate)
    yield Identity("groups are separate convolutions", _grouped(transposed))
    if not transposed:
        yield Identity("output channels are separate", _outputs_are_separate)
        yield Identity("moves with the image", _moves_with_the_image)
        yield Identity("rotates with image and kernel", _rotates)
        if claims.takes("stride") and claims.takes("dilation"):
            yield Identity("adjoint in the weights", _adjoint)


def both_gradients_have_one_product() -> Identity:
    """Return the law that <dx, x> equals <dw, w>."""

    def check(call: Call, case: Case) -> Disagreement | None:
        results = call(case)
        dx, dw = results["input"], results["weight"]
        if dx is None or dw is None:
            return None
        left = np.array(np.sum(dx.astype(np.float64) * case.arrays["input"]))
        right = np.array(np.sum(dw.astype(np.float64) * case.arrays["weight"]))
        return difference("<dx, x> is not <dw, w>", left, right)

    return Identity("<dx, x> equals <dw, w>", check)


def _plain(case: Case, **changes: Any) -> Case:
    """Return the case with other arrays and arguments, its shapes taken from the arrays; None leaves one out."""
    arrays = {k: a for k, a in {**case.arrays, **changes.pop("arrays", {})}.items() if a is not None}
    arguments = {k: v for k, v in {**case.problem.arguments, **changes}.items() if v is not None}
    shapes = {k: a.shape for k, a in arrays.items()}
    return Case(replace(case.problem, shapes=shapes, arguments=arguments), arrays)


def _output(call: Call, case: Case) -> Array:
    output = call(case)["output"]
    assert output is not None
    return output


def _images_are_separate(call: Call, case: Case) -> Disagreement | None:
    x = case.arrays["input"]
    backwards = _output(call, _plain(case, arrays={"input": x[::-1].copy()}))
    return difference("images in another order give other outputs", backwards[::-1], _output(call, case))


def _outputs_are_separate(call: Call, case: Case) -> Disagreement | None:
    if case.problem.arguments.get("groups", 1) != 1:
        return None
    w, b = case.arrays["weight"], case.arrays.get("bias")
    flipped = {"weight": w[::-1].copy(), "bias": None if b is None else b[::-1].copy()}
    backwards = _output(call, _plain(case, arrays=flipped))
    return difference("kernels in another order give other outputs", backwards[:, ::-1], _output(call, case))


def _grouped(transposed: bool) -> Any:
    def check(call: Call, case: Case) -> Disagreement | None:
        G = case.problem.arguments.get("groups", 1)
        if G == 1:
            return None
        x, w, b = case.arrays["input"], case.arrays["weight"], case.arrays.get("bias")
        parts = [
            _output(call, _plain(case, arrays={"input": xg, "weight": wg, "bias": bg}, groups=None))
            for xg, wg, bg in zip(
                np.split(x, G, axis=1),
                np.split(w, G, axis=0),
                [None] * G if b is None else np.split(b, G),
                strict=True,
            )
        ]
        return difference("groups are no separate convolutions", _output(call, case), np.concatenate(parts, axis=1))

    return check


def _moves_with_the_image(call: Call, case: Case) -> Disagreement | None:
    """Compare y with that of the image without its first stride of pixels along the last axis."""
    rank = case.arrays["weight"].ndim - 2
    stride = _each(case.problem.arguments.get("stride", 1), rank)[-1]
    bare = _plain(case, padding=None, padding_mode=None)
    span = _span(bare, rank)[-1]
    x = case.arrays["input"]
    if x.shape[-1] < span + stride or any(e < s for e, s in zip(x.shape[2:], _span(bare, rank), strict=True)):
        return None
    whole = _output(call, bare)
    moved = _output(call, _plain(bare, arrays={"input": x[..., stride:].copy()}))
    return difference("the output does not move with the image", moved, whole[..., 1:])


def _rotates(call: Call, case: Case) -> Disagreement | None:
    rank = case.arrays["weight"].ndim - 2
    padding = case.problem.arguments.get("padding", 0)
    if isinstance(padding, str) or any(isinstance(p, tuple) for p in _each(padding, rank)):
        return None
    x, w = case.arrays["input"], case.arrays["weight"]
    strides, pads = _each(case.problem.arguments.get("stride", 1), rank), _each(padding, rank)
    axes = zip(x.shape[2:], pads, _span(case, rank), strides, strict=True)
    if any((extent + 2 * pad - span) % stride for extent, pad, span, stride in axes):
        return None
    turned = _plain(case, arrays={"input": _rotated(x), "weight": _rotated(w)})
    return difference(
        "image and kernel rotated do not give the rotated output", _rotated(_output(call, turned)), _output(call, case)
    )


def _adjoint(call: Call, case: Case) -> Disagreement | None:
    arguments = case.problem.arguments
    # The sums over the batch would leave what a 16-bit type holds exactly.
    if (
        case.arrays["input"].itemsize < 4
        or arguments.get("groups", 1) != 1
        or isinstance(arguments.get("padding", 0), str)
        or arguments.get("flip")
    ):
        return None
    bare = _plain(case, arrays={"bias": None})
    x, w = case.arrays["input"], case.arrays["weight"]
    y = _output(call, bare)
    g = np.where(np.arange(y.size).reshape(y.shape) % 3 == 0, 1, -1).astype(x.dtype)
    swapped = _plain(
        bare,
        arrays={"input": np.swapaxes(x, 0, 1).copy(), "weight": np.swapaxes(g, 0, 1).copy()},
        stride=arguments.get("dilation"),
        dilation=arguments.get("stride"),
    )
    taps = (slice(None), slice(None), *(slice(0, extent) for extent in w.shape[2:]))
    dw = np.swapaxes(_output(call, swapped)[taps], 0, 1)
    left = np.array(np.sum(y.astype(np.float64) * g))
    right = np.array(np.sum(dw.astype(np.float64) * w))
    return difference("<conv(x, w), g> is not <w, dw>", left, right)


def _rotated(a: Array) -> Array:
    return a[(slice(None), slice(None), *(slice(None, None, -1),) * (a.ndim - 2))].copy()


def _each(value: Any, rank: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * rank


def _span(case: Case, rank: int) -> tuple[int, ...]:
    dilation = _each(case.problem.arguments.get("dilation", 1), rank)
    return tuple(d * (k - 1) + 1 for d, k in zip(dilation, case.arrays["weight"].shape[2:], strict=True))
