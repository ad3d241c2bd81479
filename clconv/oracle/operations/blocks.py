"""unfold and fold, forward and backward, as the checker sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from clconv.oracle import reference, strategies

from . import _block_suspects
from ._base import Claims, Problem, Refusal, Suspect
from ._sums import SumOfProducts

__all__ = ["BLOCK_OPERATIONS"]


SETTINGS = ("dilation", "padding", "stride")


class Blocks(SumOfProducts):
    """Unfold, fold, and the gradient of either, which is the other."""

    features: tuple[str, ...] = ("padding_pairs", "padding_names", "padding_mode")
    settings = SETTINGS

    def __init__(self, folds: bool, backward: bool) -> None:
        self.folds = folds
        self.backward = backward
        self.name = ("fold" if folds else "unfold") + ("_backward" if backward else "")
        self.required = ("grad_output", "input") if backward else ("input",)
        self.results = ("input",) if backward else ("output",)
        self.positional = ("output_size", "kernel_size") if folds else ("kernel_size",)
        self.factors = {self.results[0]: (self.required[0],)}
        if not backward:
            self.features = (*self.features, "out")

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a grid of windows, of two axes, as torch has them."""
        return strategies.conv_problems(2, claims=claims).map(lambda layer: self.of_convolution(layer, claims))

    def of_convolution(self, layer: Problem, claims: Claims) -> Problem:
        """Take a convolution's windows over its images; torch has words for padding in convolutions only."""
        kept = {k: v for k, v in layer.arguments.items() if k in (*SETTINGS, "padding_mode")}
        if isinstance(kept.get("padding"), str) and not claims.offers("padding_names"):
            del kept["padding"]
        return self.over(layer.shapes["input"], layer.shapes["weight"][2:], layer.name, **kept)

    def over(self, image: tuple[int, ...], kernel: tuple[int, ...], name: str = "", **arguments: Any) -> Problem:
        """Return the problem of the windows over images of a known shape."""
        columns = reference.unfold(np.zeros(image), kernel, **arguments).shape
        arguments = {"kernel_size": kernel, **arguments}
        if self.folds:
            arguments = {"output_size": image[2:] if len(image) == 4 else image[1:], **arguments}
        shapes = [columns, image] if self.folds else [image, columns]
        names = ("input", "grad_output") if self.backward else ("input",)
        given = dict(zip(names, shapes, strict=False))
        return Problem({name: given[name] for name in self.required}, arguments, name)

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List windows that are often got wrong."""
        edges = (
            self.over((0, 2, 4, 5), (2, 3), "an empty batch"),
            self.over((2, 3, 1, 1), (1, 1), "one pixel and one tap"),
            self.over((2, 3, 5, 7), (2, 4), "another size on every axis"),
            self.over((2, 3, 7, 8), (2, 2), "a stride longer than the kernel", stride=3),
            self.over((2, 3, 8, 8), (3, 3), "a window that ends short of the last pixel", stride=2),
            self.over((1, 2, 6, 7), (2, 3), "another dilation on every axis", dilation=(2, 3)),
            self.over((1, 2, 6, 7), (2, 3), "another padding on every axis", padding=(0, 1)),
            self.over((3, 5, 6), (2, 3), "an input without a batch axis"),
            self.over((65537, 1, 2, 2), (2, 2), "65537 images"),
        )
        return (problem for problem in edges if all(claims.takes(n) for n in problem.arguments if n in SETTINGS))

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        lawful = self.over((2, 3, 5, 6), (2, 2))
        for name, value in (("stride", 0), ("dilation", 0), ("padding", -1), ("kernel_size", 0)):
            if name == "kernel_size" or claims.takes(name):
                yield Refusal(f"{name} is at least {value + 1}", _named(lawful, f"{name}={value}", **{name: value}))
        if claims.takes("dilation"):
            large = _named(lawful, "a window larger than the image", dilation=9)
            yield Refusal("the window fits into the padded image", large)
        if self.folds and not self.backward:
            columns = dict(lawful.shapes, input=(2, 12, 19))
            yield Refusal("input has a column for each window", Problem(columns, lawful.arguments, "a column too few"))
            rows = dict(lawful.shapes, input=(2, 13, 20))
            yield Refusal("input has a row for each tap", Problem(rows, lawful.arguments, "13 rows for 4 taps"))

    def suspects(self) -> Iterator[Suspect]:
        """List the faults of blocks."""
        return _block_suspects.suspects(self)


def _named(problem: Problem, name: str, **arguments: Any) -> Problem:
    changed = problem.having(**arguments)
    return Problem(changed.shapes, changed.arguments, name)


BLOCK_OPERATIONS = tuple(Blocks(folds, backward) for folds in (False, True) for backward in (False, True))
