"""Deformable convolution, forward and backward, as the checker sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from clconv.oracle import strategies
from clconv.oracle._floats import float_type
from clconv.oracle.reference.deform import Layer
from clconv.oracle.reference.geometry import Window

from . import _deform_suspects
from ._base import (
    Call,
    Case,
    Claims,
    Disagreement,
    Identity,
    Operation,
    Problem,
    Refusal,
    Suspect,
    exact_limit,
    sparse_integers,
)
from ._sums import difference

__all__ = ["DEFORMABLE"]

Array = NDArray[Any]
SETTINGS = ("bias", "stride", "padding", "dilation", "mask")
FRACTION = 2  # exact offsets are multiples of half a pixel, so that bilinear weights are of a quarter
FAR = 1 / 16  # of the offsets lead out of any image


class DeformConv(Operation):
    """deform_conv2d, with or without a mask."""

    required: tuple[str, ...] = ("input", "offset", "weight")
    optional = ("bias", "mask")
    settings = SETTINGS

    def __init__(self) -> None:
        self.name = "deform_conv2d"
        self.features = ("padding_pairs", "out")

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a convolution, with groups of channels that are moved together."""
        parameters = None if claims.parameters is None else claims.parameters | {"groups"}
        plain = replace(claims, parameters=parameters, features=claims.features & {"padding_pairs"})
        layers = strategies.conv_problems(2, claims=plain)
        return layers.flatmap(lambda layer: self._deformed(layer, claims))

    def _deformed(self, layer: Problem, claims: Claims) -> st.SearchStrategy[Problem]:
        channels = layer.shapes["input"][1]
        divisors = [groups for groups in (1, 2, 3, channels) if channels % groups == 0]
        arguments = {k: v for k, v in layer.arguments.items() if k != "groups"}
        if isinstance(arguments.get("padding"), str):
            del arguments["padding"]
        return st.builds(
            lambda groups, masked: self.over(
                layer.shapes["input"], layer.shapes["weight"], groups, "bias" in layer.shapes, masked, **arguments
            ),
            st.sampled_from(divisors),
            st.booleans() if claims.takes("mask") else st.just(False),
        )

    def over(
        self,
        image: tuple[int, ...],
        weight: tuple[int, ...],
        groups: int = 1,
        has_bias: bool = False,
        has_mask: bool = False,
        name: str = "",
        **arguments: Any,
    ) -> Problem:
        """Return the problem of a layer over images of a known shape."""
        N, kernel = image[0], weight[2:]
        taps = groups * kernel[0] * kernel[1]
        geometry = {"stride": 1, "padding": 0, "dilation": 1, **arguments}
        outputs = Window.over("input", image[2:], kernel, **geometry, padding_mode="zeros").positions
        shapes = {"input": image, "offset": (N, 2 * taps, *outputs), "weight": weight}
        shapes |= {"bias": weight[:1]} if has_bias else {}
        shapes |= {"mask": (N, taps, *outputs)} if has_mask else {}
        return Problem(shapes, arguments, name)

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List layers that are often got wrong."""
        image = (2, 4, 5, 7)
        edges = [
            self.over((0, 2, 4, 5), (3, 2, 2, 3), name="an empty batch"),
            self.over((1, 1, 1, 1), (1, 1, 1, 1), name="one pixel and one tap"),
            self.over(image, (6, 4, 2, 3), name="another size on every axis"),
            self.over(image, (6, 2, 3, 3), groups=4, name="other groups of offsets than of weights", padding=1),
            self.over(image, (4, 1, 3, 3), groups=2, name="a group for each channel", padding=(1, 0), stride=(1, 2)),
            self.over(image, (2, 4, 2, 2), name="another dilation on every axis", dilation=(2, 3)),
            self.over(image, (2, 4, 3, 3), groups=2, has_bias=True, has_mask=True, name="a mask and a bias", padding=1),
        ]
        for problem in edges:
            if all(claims.takes(name) for name in (*problem.arguments, *problem.shapes) if name in SETTINGS):
                yield problem

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning."""
        lawful = self.over((2, 4, 5, 6), (6, 2, 2, 3), groups=2)
        for name, value in (("stride", 0), ("dilation", 0), ("padding", -1)):
            if claims.takes(name):
                yield Refusal(
                    f"{name} is at least {value + 1}", _named(lawful.having(**{name: value}), f"{name}={value}")
                )
        for rule, name, shape in (
            ("offset has two channels for each tap", "offset", (2, 23, 4, 4)),
            ("offset's groups divide the channels", "offset", (2, 36, 4, 4)),
            ("offset has the output's extents", "offset", (2, 24, 4, 5)),
            ("offset has the batch's size", "offset", (1, 24, 4, 4)),
            ("weight's channels divide the input's", "weight", (6, 3, 2, 3)),
            ("the groups divide weight's outputs", "weight", (5, 2, 2, 3)),
            ("input has a batch and channels", "input", (4, 5, 6)),
        ):
            yield Refusal(rule, Problem({**lawful.shapes, name: shape}, lawful.arguments, f"{name} of shape {shape}"))
        if claims.takes("mask"):
            for shape in ((2, 6, 4, 4), (2, 12, 4, 5), (1, 12, 4, 4)):
                wrong = Problem({**lawful.shapes, "mask": shape}, lawful.arguments, f"a mask of shape {shape}")
                yield Refusal("mask has a value for each tap", wrong)
        if claims.takes("bias"):
            yield Refusal(
                "bias has a value for each output channel", _named(_with(lawful, bias=(5,)), "5 biases for 6")
            )

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw integers, and offsets of whole and half pixels, some of them out of the image."""
        dtype = float_type("dtype", claims.dtype)
        extent, shape = max(problem.shapes["input"][2:]), problem.shapes["offset"]
        steps = random.integers(-FRACTION * extent, FRACTION * extent, shape, endpoint=True) / FRACTION
        offset = np.where(random.random(shape) < FAR, 100 * steps, steps).astype(dtype).astype(np.float64)
        limit = exact_limit(claims.dtype) / FRACTION**2
        largest, density = 1000, 1.0
        while True:
            arrays = {n: sparse_integers(random, shape, largest, density) for n, shape in problem.shapes.items()}
            arrays["offset"] = offset
            if (
                self.magnitude({n: np.abs(a) if n != "offset" else a for n, a in arrays.items()}, problem, claims)
                <= limit
            ):
                return {name: array.astype(dtype) for name, array in arrays.items()}
            largest, density = (largest // 2, density) if largest > 3 else (largest, density / 2)

    def quartered(self, case: Case) -> Case:
        """Leave the offsets: elsewhere, other pixels are read."""
        return super().quartered(case).holding(offset=case.arrays["offset"])

    def real_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw normal numbers; offsets of some pixels, half the time such that positions are exact."""
        offset = 2 * random.standard_normal(problem.shapes["offset"])
        if random.random() < 1 / 2:
            offset = np.round(offset * 64) / 64
        arrays = super().real_arrays(problem, random, claims)
        return {**arrays, "offset": offset.astype(float_type("dtype", claims.dtype))}

    def magnitude(self, arrays: Mapping[str, Array | None], problem: Problem, claims: Claims) -> float:
        """Return the largest sum of the magnitudes of terms, given the magnitudes of the arrays."""
        given = {"bias": None, "mask": None, "stride": 1, "padding": 0, "dilation": 1, **arrays, **problem.arguments}
        gradient = given.pop("grad_output", None)
        given.pop("output_mask", None)
        layer = Layer.of(**given)
        if gradient is None:
            added = 0.0 if given["bias"] is None else float(given["bias"].max(initial=0))
            return float(layer.output(layer.sampled()).max(initial=0)) + added
        by_row, by_column = (np.abs(slope) for slope in layer.sampling.slopes)
        layer = replace(layer, sampling=replace(layer.sampling, slopes=(by_row, by_column)))
        return max(float(result.max(initial=0)) for result in layer.gradients(gradient) if result is not None)

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the laws of the forward operation."""
        yield Identity("moved by whole pixels, it reads the moved image", _moves_with_the_image)

    def suspects(self) -> Iterable[Suspect]:
        """List the faults of deformable convolutions."""
        return _deform_suspects.suspects(self)


class DeformConvBackward(DeformConv):
    """The gradients: deform_conv2d_backward(grad_output, input, offset, weight, bias, ..., mask)."""

    required = ("grad_output", "input", "offset", "weight")
    results = ("input", "offset", "weight", "bias", "mask")

    def __init__(self) -> None:
        self.name = "deform_conv2d_backward"
        self.features = ("padding_pairs", "output_mask")

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a layer and the shape of its output's gradient."""
        problems = super().problems(claims)
        if claims.offers("output_mask"):
            masks = st.tuples(*(st.booleans() for _ in self.results))
            problems = st.one_of(problems, st.builds(lambda p, mask: p.having(output_mask=mask), problems, masks))
        return problems

    def over(self, *arguments: Any, **keywords: Any) -> Problem:
        """Return the problem of a layer with the shape of its output's gradient."""
        problem = super().over(*arguments, **keywords)
        shapes = problem.shapes
        gradient = (shapes["input"][0], shapes["weight"][0], *shapes["offset"][2:])
        return replace(problem, shapes={"grad_output": gradient, **shapes})

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List calls without a meaning, and gradients of another shape."""
        yield from super().refusals(claims)
        lawful = self.over((2, 4, 5, 6), (6, 2, 2, 3), groups=2)
        for shape in ((2, 6, 4, 5), (2, 5, 4, 4), (1, 6, 4, 4)):
            wrong = _named(_with(lawful, grad_output=shape), f"a grad_output of shape {shape}")
            yield Refusal("grad_output has the output's shape", wrong)

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the laws of the gradients."""
        yield Identity("<dx, x> equals <dw, w>", _one_product)


def _named(problem: Problem, name: str) -> Problem:
    return replace(problem, name=name)


def _with(problem: Problem, **shapes: tuple[int, ...]) -> Problem:
    return replace(problem, shapes={**problem.shapes, **shapes})


def _moves_with_the_image(call: Call, case: Case) -> Disagreement | None:
    """Require that one more pixel in every offset is the image moved by one, with zeros coming in."""
    x, offset = case.arrays["input"].copy(), case.arrays["offset"]
    steps = np.zeros(offset.shape[1], offset.dtype)
    steps[0::2] = 1
    down = offset + steps[:, None, None]
    if not np.array_equal(down - steps[:, None, None], offset):
        return None  # an offset so large that the type does not hold one more
    # What lies above the first row is lost by moving: only an image whose first row is zero keeps everything.
    x[:, :, 0] = 0
    moved = np.concatenate([x[:, :, 1:], np.zeros_like(x[:, :, :1])], axis=2)
    (one,) = call(case.holding(input=x, offset=down)).values()
    (two,) = call(case.holding(input=moved)).values()
    assert one is not None
    assert two is not None
    return difference("offsets of one more row do not read the image moved by a row", one, two)


def _one_product(call: Call, case: Case) -> Disagreement | None:
    results = call(case)
    dx, dw = results["input"], results["weight"]
    if dx is None or dw is None:
        return None
    left = np.array(np.sum(dx.astype(np.float64) * case.arrays["input"]))
    right = np.array(np.sum(dw.astype(np.float64) * case.arrays["weight"]))
    return difference("<dx, x> is not <dw, w>", left, right)


DEFORMABLE: tuple[Operation, ...] = (DeformConv(), DeformConvBackward())
