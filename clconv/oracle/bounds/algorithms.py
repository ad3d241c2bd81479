r"""How far a correct result may be from the reference, by the class of its algorithm.

An implementation declares one:

- ``direct``: the terms of the definition, added up in any order; `bounds` has the theorem.
- ``split(b)``: the N terms in at most ceil(N/b) blocks of at most b, each block added up in any order, and so are their
  sums. ``pairwise(b)`` adds up the sums of blocks in pairs, these in pairs, and so on; ``pairwise`` stands for b = 1.
- ``winograd(m)``: F(m, r) of `bounds.winograd` along every axis with r > 1 taps, m = 2, 4 or 6.
- ``fft``: products of discrete Fourier transforms.

Trees are sums in some order, and have the lower one of both bounds. An implementation that uses transforms may
fall back on a plain sum wherever it likes, so that the higher one holds; `bounds.transforms` derives it. What is no
sum of products has the bound of ``direct``, except that trees cover `fold` as well.

**Trees.** If no more than h roundings lie between a term and the result, each term is multiplied by at most h
factors 1 + d, |d| <= u. Perturbations F join on the way. So, with theta(h) = (1 + u)^h - 1,

    ``E = theta(h) (A + F) + F``,   ``h = b + B - 1`` if split, ``b + ceil(log2(B))`` if pairwise, ``B = ceil(N/b)``:

a product and b - 1 additions in a block, the rest between blocks. It is one more with a bias, which may come first or
last, and one less where no product is rounded. N counts every term that an implementation may add up, zeros in the
padding included: they make no errors, but lie between the others.

**Afterwards**, transforms add the bias, and elements of a gradient that belong to copies of one pixel. c of them
are c plain terms of the magnitudes in A, each perturbed by its E: ``E + (c - 1) u (A + E)``.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from clconv.oracle import reference
from clconv.oracle._floats import smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.bounds.transforms import Detour, Pass, data_gradient, fft, values, weight_gradient, winograd
from clconv.oracle.bounds.winograd import TILES
from clconv.oracle.reference import blocks, conv, conv_transpose, passes
from clconv.oracle.reference.geometry import FloatArray, Window, real_array
from clconv.oracle.reference.layer import Layer

__all__ = ["Algorithm", "parsed"]

FORMS = "'direct', 'split(b)', 'pairwise', 'pairwise(b)', 'winograd(2)', 'winograd(4)', 'winograd(6)' or 'fft'"

Arguments = Mapping[str, Any]
Arrays = Mapping[str, FloatArray]


def parsed(algorithm: str) -> Algorithm:
    """Return the class of algorithms with that name.

    Raises
    ------
    ValueError
        If there is none.
    TypeError
        If `algorithm` is not a string.

    Examples
    --------
    >>> parsed("pairwise")
    Tree(block=1, in_pairs=True)
    """
    if not isinstance(algorithm, str):
        raise TypeError(f"algorithm must be a string, got algorithm={algorithm!r}")
    form = re.fullmatch(r"([a-z]+)(?:\((\d{1,18})\))?", algorithm)
    name, number = (form[1], int(form[2]) if form[2] else None) if form else ("", None)
    if (name, number) == ("direct", None):
        return Algorithm()
    if (name, number) == ("fft", None):
        return Transforms(fft)
    if name == "winograd" and number in TILES:
        return Transforms(partial(winograd, tile=number))
    if name == "split" and number:
        return Tree(number, in_pairs=False)
    if name == "pairwise" and number != 0:
        return Tree(number or 1, in_pairs=True)
    raise ValueError(f"algorithm must be {FORMS}, with b at least 1, got algorithm={algorithm!r}")


@dataclass(frozen=True)
class Algorithm:
    """A class of algorithms: by itself any sum, of which others know more."""

    def heights(self, operation: str, arguments: Arguments) -> dict[str, FloatArray]:
        """Return h for each result that is a sum in a tree of known height; it broadcasts to the result's shape."""
        return {}

    def detours(
        self, operation: str, arguments: Arguments, magnitudes: Arrays, rounding: Rounding
    ) -> Iterator[tuple[str, Detour]]:
        """Yield by name what transforms cost a result, `magnitudes` being those of the direct algorithm, A."""
        return iter(())


@dataclass(frozen=True)
class Tree(Algorithm):
    """Sums of blocks, added up in any order or in pairs."""

    block: int
    in_pairs: bool

    def heights(self, operation: str, arguments: Arguments) -> dict[str, FloatArray]:
        has_bias = not operation.endswith("_backward") and arguments.get("bias") is not None
        return {name: self._height(N) + has_bias for name, N in _terms(operation, arguments).items()}

    def _height(self, N: FloatArray) -> FloatArray:
        blocks = np.maximum(np.ceil(N / self.block), 1)
        between: FloatArray = np.ceil(np.log2(blocks)) if self.in_pairs else blocks - 1
        return self.block + between


@dataclass(frozen=True)
class Transforms(Algorithm):
    """Sums of products of transforms; when these are over, a few plain terms are added up."""

    cost: Callable[[Pass, float, float], Detour | None]  # None where such transforms do not apply

    def detours(
        self, operation: str, arguments: Arguments, magnitudes: Arrays, rounding: Rounding
    ) -> Iterator[tuple[str, Detour]]:
        if not operation.startswith("conv"):
            return
        call = _Convolution.called(operation, arguments)
        u, t = unit_roundoff(rounding.summed), max(smallest_subnormal(rounding.summed), rounding.flush_cost)
        for name, behind in call.passes().items():
            if name in magnitudes:
                with np.errstate(over="ignore", invalid="ignore"):
                    detour = self.cost(behind, u, t)
                    if detour is not None:
                        yield name, _finished(detour, name, call, magnitudes[name], u, t)


def _finished(detour: Detour, name: str, call: _Convolution, A: FloatArray, u: float, t: float) -> Detour:
    """Bring the cost into the user's form, and add the bias and what belongs to copies of one pixel."""
    error, peak = (call.in_users_form(name, a) for a in detour)
    c = call.copies(name) + (name == "output" and call.layer.b is not None)
    error = error + (c - 1) * u * (A + error) + 2 * (c - 1) * t
    return Detour(error, np.maximum(peak, A + error))


# --- what is called


class _Convolution(NamedTuple):
    """A call of a convolution, a transposed one or one of their gradients."""

    layer: Layer
    g: FloatArray | None  # with a batch axis
    is_transposed: bool

    @classmethod
    def called(cls, operation: str, arguments: Arguments) -> _Convolution:
        complete = _with_defaults(operation, arguments)
        is_transposed, g = "transpose" in operation, complete.pop("grad_output", None)
        rank = int(operation.removesuffix("_backward")[-2])
        layer = (conv_transpose if is_transposed else conv)._layer(rank, **complete)
        if g is not None:
            g = real_array("grad_output", g) if layer.has_batch else real_array("grad_output", g)[np.newaxis]
        return cls(layer, g, is_transposed)

    def passes(self) -> dict[str, Pass]:
        """Return the pass behind each result, except for the gradient of the bias."""
        x, w, g, others = self.layer.x, self.layer.w, self.g, (self.layer.window, self.layer.groups)
        if g is None:
            return {"output": (data_gradient if self.is_transposed else values)(x, w, *others)}
        if self.is_transposed:
            return {"input": values(g, w, *others), "weight": weight_gradient(x, g, *others)}
        return {"input": data_gradient(g, w, *others), "weight": weight_gradient(g, x, *others)}

    def copies(self, name: str) -> FloatArray:
        """Return how many padded pixels each element adds up."""
        if name != ("output" if self.is_transposed else "input"):
            return np.ones(())
        return _copies(self.layer.window, self.layer.has_batch)

    def in_users_form(self, name: str, a: FloatArray) -> FloatArray:
        """Return what `reference.passes` made as the operation returns it."""
        if name == "weight":
            return passes.rotated(a) if self.layer.flip else a
        if name == ("output" if self.is_transposed else "input"):
            a = self.layer.window.unpad(a)
        return a if self.layer.has_batch else a[0]


def _terms(operation: str, arguments: Arguments) -> dict[str, FloatArray]:
    """Return N for each result that is a sum, as it broadcasts to the result's shape."""
    if operation.startswith("conv"):
        call = _Convolution.called(operation, arguments)
        terms = {name: behind.terms * call.copies(name) for name, behind in call.passes().items()}
        return terms if call.g is None else {**terms, "bias": np.asarray(call.g[:, :1].size)}
    complete = _with_defaults(operation, arguments)
    if operation == "fold":
        _, has_batch, window = blocks._over_output(**complete)
        return {"output": math.prod(window.kernel) * _copies(window, has_batch)}
    if operation == "unfold_backward":
        del complete["grad_output"]
        _, has_batch, window = blocks._over_input(**complete)
        return {"input": math.prod(window.kernel) * _copies(window, has_batch)}
    return {}


def _copies(window: Window, has_batch: bool) -> FloatArray:
    """Return for each pixel how many padded pixels are added to it, at least 1."""
    copies = window.unpad(np.ones((1, 1, *window.padded)))
    return copies if has_batch else copies[0]


def _with_defaults(operation: str, arguments: Arguments) -> dict[str, Any]:
    """Return all arguments that decide what is computed."""
    complete = inspect.signature(getattr(reference, operation)).bind(**arguments)
    complete.apply_defaults()
    complete.arguments.pop("output_mask", None)
    return dict(complete.arguments)
