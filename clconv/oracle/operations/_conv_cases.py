"""Convolutions at the limits, and calls that no convolution may answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ._base import Claims, Problem, Refusal

__all__ = ["MANY", "backward_refusals", "edges", "refusals"]

MANY = 65537  # more than an axis of a grid, or a 16-bit index, can hold


class _Layers:
    """Builds convolutions of one rank, each with the names of the optional arguments that it needs."""

    def __init__(self, rank: int, transposed: bool) -> None:
        self.rank = rank
        self.transposed = transposed

    def each(self, size: Any) -> tuple[int, ...]:
        """Return one size for each axis: the same, or the last ones of a tuple."""
        return tuple(size[-self.rank :]) if isinstance(size, tuple) else (size,) * self.rank

    def layer(
        self, name: str, extent: Any, kernel: Any, N: int = 2, IC: int = 3, OC: int = 4, OB: int = 0, **arguments: Any
    ) -> Problem:
        """Return a problem; OB is the length of the bias, 0 for none."""
        G = max(arguments.get("groups", 1), 1)
        channels = (IC, OC // G) if self.transposed else (OC, IC // G)
        shapes = {"input": (N, IC, *self.each(extent)), "weight": (*channels, *self.each(kernel))}
        if OB:
            shapes["bias"] = (OB,)
        return Problem(shapes, arguments, name)


def edges(rank: int, transposed: bool, claims: Claims) -> Iterator[Problem]:
    """List lawful convolutions that are often got wrong, without unclaimed arguments."""
    layer = _Layers(rank, transposed).layer
    own = _transposed_edges(layer) if transposed else _plain_edges(layer, claims.semantics in ("onnx", "tf"))
    for problem in (*_common_edges(layer, rank), *own, *_sizes(layer, rank, transposed)):
        if all(claims.takes(name) for name in (*problem.arguments, *set(problem.shapes) & {"bias"})):
            yield problem


def _common_edges(layer: Any, rank: int) -> Iterator[Problem]:
    yield layer("an empty batch", 5, 3, N=0, OB=4)
    yield layer("one pixel and one tap", 1, 1, OB=4)
    yield layer("another size on every axis", (7, 5, 6), (2, 4, 3), OB=4)
    yield layer("a stride longer than the kernel", 8, 2, stride=3)
    yield layer("one tap with a stride", 7, 1, stride=2)
    yield layer("one tap with padding", 4, 1, padding=1)
    yield layer("one tap with stride and padding", 8, 1, stride=2, padding=1)
    yield layer("another stride on every axis", (9, 8, 7), 2, stride=tuple(range(1, rank + 1)))
    yield layer("another padding on every axis", (5, 4, 6), 3, padding=tuple(range(rank)))
    yield layer("another dilation on every axis", (9, 10, 11), 3, dilation=tuple(range(1, rank + 1)))
    yield layer("a window that ends short of the last pixel", 8, 3, stride=2)
    yield layer("dilation beside stride", 11, 3, stride=2, dilation=2)
    yield layer("more padding than kernel", 5, 2, padding=2)
    yield layer("one group for each channel", 5, 3, IC=4, OC=4, groups=4)
    yield layer("two outputs for each channel's group", 5, 3, IC=3, OC=6, groups=3)
    yield layer("groups with a bias", 5, 2, IC=4, OC=6, groups=2, OB=6)
    yield layer("nine images", 5, 3, N=9)
    unbatched = layer("an input without a batch axis", 5, 3)
    yield replace(unbatched, shapes={**unbatched.shapes, "input": unbatched.shapes["input"][1:]})
    biased = layer("an input without a batch axis, with a bias and a stride", 5, 3, OB=4, stride=2)
    yield replace(biased, shapes={**biased.shapes, "input": biased.shapes["input"][1:]})


def _plain_edges(layer: Any, same_takes_strides: bool) -> Iterator[Problem]:
    if same_takes_strides:
        yield layer("padding 'same' with a stride", 6, 3, padding="same", stride=2)
        yield layer("padding 'same' of one tap with a stride", 7, 1, padding="same", stride=3)
    yield layer("a kernel as large as the padded input", 3, 5, padding=1)
    yield layer("padding 'same' of an even kernel", 5, 4, padding="same")
    yield layer("padding 'same' of a dilated kernel", 6, 2, padding="same", dilation=3)
    yield layer("padding 'same' with groups", 5, 3, padding="same", IC=4, groups=2)
    yield layer("padding 'same' of a kernel longer than the image", 2, 5, padding="same")
    yield layer("padding 'valid'", 5, 3, padding="valid")
    yield replace(layer("no input channels", 4, 3, IC=0, OB=4), disputed="zero input channels")


def _transposed_edges(layer: Any) -> Iterator[Problem]:
    yield layer("a stride that leaves gaps", 3, 1, stride=2, OB=4)
    yield layer("output padding", 3, 2, stride=3, output_padding=2)
    yield layer("output padding below the dilation", 3, 2, dilation=2, output_padding=1)


def _sizes(layer: Any, rank: int, transposed: bool) -> Iterator[Problem]:
    for channels in (1, 5, 7, 9, 13, 16, 17, 33):
        yield layer(f"{channels} output channels", 3, 2, IC=2, OC=channels)
    for channels in (7, 16, 19):
        yield layer(f"{channels} input channels", 3, 2, IC=channels, OC=2)
    row = (1,) * (rank - 1)
    yield layer("a long row", (*row, 517), (*row, 3), N=1, IC=1, OC=1)
    if rank > 1:
        yield layer("a long column", (517, *row), (3, *row), N=1, IC=1, OC=1)
    if rank < 3 and not transposed:  # whose reference, and that of volumes, takes many seconds at this size
        yield layer("a layer of real size", (45, 47), 7, N=1, IC=3, OC=5, stride=2, padding=3)
        yield layer("patches of sixteen pixels", 32, 16, N=1, IC=3, OC=5, stride=16)
        yield layer("a wide dilation", 21, 3, N=1, IC=2, OC=3, dilation=8, padding=8)
    yield layer("one group for each of 24 channels", 5, 3, IC=24, OC=24, groups=24)
    yield layer("20 channels in and out", 4, 3, N=1, IC=20, OC=20)
    yield layer("sums of more than 4600 products", 3, 3, N=1, IC=-(-4608 // 3**rank), OC=1)
    yield layer(f"{MANY} images", 1, 1, N=MANY, IC=1, OC=1)
    yield layer(f"{MANY} input channels", 1, 1, N=1, IC=MANY, OC=1)
    yield layer(f"{MANY} output channels", 1, 1, N=1, IC=1, OC=MANY)


def refusals(rank: int, transposed: bool, claims: Claims) -> Iterator[Refusal]:
    """List calls that break a rule of torch's, without unclaimed arguments."""
    layer = _Layers(rank, transposed).layer
    own = _transposed_refusals(layer) if transposed else _plain_refusals(layer, claims.semantics)
    for refusal in (*_common_refusals(layer, rank, transposed), *own):
        problem = refusal.problem
        if all(claims.takes(name) for name in (*problem.arguments, *set(problem.shapes) & {"bias"})):
            yield refusal


def _common_refusals(layer: Any, rank: int, transposed: bool) -> Iterator[Refusal]:
    for name, least in (("stride", 1), ("dilation", 1), ("groups", 1), ("padding", 0)):
        for value in (least - 1, -2):
            yield Refusal(f"{name} is at least {least}", layer(f"{name}={value}", 5, 3, **{name: value}))
    for name in ("stride", "padding", "dilation"):
        wrong = (1,) * (rank + 1)
        yield Refusal(f"{name} has one entry for each axis", layer(f"{name}={wrong}", 5, 3, **{name: wrong}))
    for name in ("stride", "dilation", "padding"):
        yield Refusal(f"{name} is an integer", layer(f"{name}=1.5", 7, 2, **{name: 1.5}))
    first = layer("another number of channels in the weight", 5, 3)
    channels = (5, 4) if transposed else (4, 5)
    yield Refusal(
        "weight takes the input's channels",
        replace(first, shapes={**first.shapes, "weight": channels + first.shapes["weight"][2:]}),
    )
    flat = layer("a weight with an axis too few", 5, 3)
    yield Refusal(
        "weight has two axes more than the window",
        replace(flat, shapes={**flat.shapes, "weight": flat.shapes["weight"][:-1]}),
    )
    deep = layer("an input with an axis too many", 5, 3)
    yield Refusal(
        "input has a batch axis, channels and the spatial axes",
        replace(deep, shapes={**deep.shapes, "input": (1, *deep.shapes["input"])}),
    )
    yield Refusal("bias has one number for each output channel", layer("a bias too long", 5, 3, OB=5))
    yield Refusal("bias has one number for each output channel", layer("a bias too short", 5, 3, OB=3))
    flat_bias = layer("a bias with two axes", 5, 3, OB=4)
    yield Refusal("bias has one axis", replace(flat_bias, shapes={**flat_bias.shapes, "bias": (4, 1)}))
    yield Refusal("groups divides the input channels", layer("groups=2 of 3 input channels", 5, 3, groups=2))


def _plain_refusals(layer: Any, semantics: str) -> Iterator[Refusal]:
    fits = "the window fits into the padded input"
    yield Refusal(fits, layer("a kernel larger than the input", 2, 3))
    # Rounded towards zero, (2 - 3)/2 + 1 is one output.
    yield Refusal(fits, layer("a kernel larger than the input, with a stride", 2, 3, stride=2))
    yield Refusal(fits, layer("a dilated kernel larger than the padded input", 3, 3, dilation=3, padding=1))
    yield Refusal(
        "groups divides the output channels", layer("groups=2 of 3 output channels", 5, 3, IC=4, OC=3, groups=2)
    )
    if semantics in ("torch", "scipy"):
        yield Refusal(
            "padding 'same' needs stride 1", layer("padding='same' with stride 2", 5, 3, padding="same", stride=2)
        )
    yield Refusal("padding is a known word", layer("padding='some'", 5, 3, padding="some"))


def _transposed_refusals(layer: Any) -> Iterator[Refusal]:
    rule = "output_padding is less than stride or dilation"
    yield Refusal(rule, layer("output_padding=2 with stride 2", 3, 3, stride=2, output_padding=2))
    yield Refusal(rule, layer("output_padding=1 with stride 1", 3, 3, output_padding=1))
    yield Refusal("output_padding is at least 0", layer("output_padding=-1", 3, 3, stride=2, output_padding=-1))
    yield Refusal("the output has a pixel", layer("padding that leaves no output", 1, 2, padding=2))


def backward_refusals(forward: Iterable[Refusal], rank: int) -> Iterator[Refusal]:
    """Turn refusals of the forward operation into its gradients', and add wrong gradients of the output."""
    for refusal in forward:
        problem = refusal.problem
        # No output has a lawful shape here; one as large as the input is as good as any.
        shape = (2, 4, *(3,) * rank)
        yield replace(refusal, problem=replace(problem, shapes={"grad_output": shape, **problem.shapes}))
    shapes = {"input": (2, 3, *(5,) * rank), "weight": (4, 3, *(3,) * rank)}
    for name, shape in (
        ("a grad_output too small", (2, 4, *(2,) * rank)),
        ("a grad_output too large", (2, 4, *(4,) * rank)),
        ("a grad_output of other channels", (2, 3, *(3,) * rank)),
        ("a grad_output of another batch", (1, 4, *(3,) * rank)),
    ):
        yield Refusal("grad_output has the output's shape", Problem({"grad_output": shape, **shapes}, {}, name))
