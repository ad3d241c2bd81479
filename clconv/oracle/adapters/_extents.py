"""A convolution as a row of numbers, for implementations that are called by pointers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import LEAST, Pairs, integers, pairs
from ._loaded import NotOffered

__all__ = ["Extents", "Kind", "kind"]

Array = NDArray[Any]
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """Which convolution an operation is."""

    name: str
    rank: int
    is_transposed: bool
    is_backward: bool

    @property
    def forward(self) -> str:
        """Name of the operation whose gradients it gives, or its own."""
        return self.name.removesuffix("_backward")


def kind(operation: str | None, what: str) -> Kind:
    """Take the name of a convolution apart.

    Raises
    ------
    ValueError
        If there is no name, or it is that of something else.

    Examples
    --------
    >>> kind("conv_transpose2d_backward", "a C function")
    Kind(name='conv_transpose2d_backward', rank=2, is_transposed=True, is_backward=True)
    """
    found = re.fullmatch(r"conv(_transpose)?([123])d(_backward)?", operation or "")
    if not found:
        raise ValueError(
            f"op must say which convolution {what} is, conv1d to conv_transpose3d_backward; got op={operation!r}"
        )
    return Kind(found[0], int(found[2]), bool(found[1]), bool(found[3]))


@dataclass(frozen=True)
class Extents:
    """The sizes of a convolution, forward or transposed, whether it is lawful or not.

    The letters are those of a forward convolution's kernel: N, channels IC and OC, extents I and O, window K, strides
    S, padding P in front and Q behind, dilation D, groups G, and E for a transposed convolution's output padding.
    `input` and `output` are the shapes of the arrays, without a batch axis where there is none. An extent of the
    output that the arguments do not give is 0.
    """

    N: int
    IC: int
    I: Sizes  # noqa: E741 (the letter that goes with O)
    OC: int
    K: Sizes
    S: Sizes
    P: Sizes
    Q: Sizes
    D: Sizes
    G: int
    O: Sizes  # noqa: E741
    E: Sizes
    has_batch: bool

    @classmethod
    def of(
        cls,
        kind: Kind,
        input: Array,
        weight: Array,
        bias: Array | None,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: Any,
        output_padding: Any = 0,
    ) -> Extents:
        """Put the arguments of a call into numbers.

        Raises
        ------
        NotOffered
            If that cannot be: arrays of another number of axes, arrays whose channels contradict each other,
            arguments that are not one integer for each axis, words without a meaning.
        """
        rank = kind.rank
        if input.ndim not in (rank + 1, rank + 2) or weight.ndim != rank + 2:
            raise NotOffered(f"no {kind.name} has arrays of shapes {input.shape} and {weight.shape}")
        has_batch = input.ndim == rank + 2
        N, (IC, *I) = input.shape[0] if has_batch else 1, input.shape[-rank - 1 :]  # noqa: E741
        K = weight.shape[2:]
        S, D, E = (
            integers(name, value, rank, LEAST)
            for name, value in (("stride", stride), ("dilation", dilation), ("output_padding", output_padding))
        )
        (G,) = integers("groups", groups, 1, LEAST)
        P, Q = (integers("padding", side, rank, LEAST) for side in _sides(pairs(padding, tuple(I), K, S, D)))
        axes = zip(I, K, S, P, Q, D, E, strict=True)
        if kind.is_transposed:
            OC, fits = weight.shape[1] * G, weight.shape[0] == IC
            O = [(i - 1) * s - p - q + d * (k - 1) + 1 + e for i, k, s, p, q, d, e in axes]  # noqa: E741
        else:
            OC, fits = weight.shape[0], G < 1 or weight.shape[1] == IC // G
            O = [(i + p + q - d * (k - 1) - 1) // s + 1 if s > 0 else 0 for i, k, s, p, q, d, _ in axes]  # noqa: E741
        if not fits:
            raise NotOffered(f"input.shape={input.shape} and weight.shape={weight.shape} contradict each other")
        if bias is not None and bias.shape != (OC,):
            raise NotOffered(f"bias.shape={bias.shape} is not one number for each of {OC} channels")
        return cls(N, IC, tuple(I), OC, K, S, P, Q, D, G, tuple(O), E, has_batch)

    @property
    def output(self) -> Sizes:
        """Shape of the output's array; nowhere negative."""
        shape = (self.N, self.OC, *self.O) if self.has_batch else (self.OC, *self.O)
        return tuple(max(size, 0) for size in shape)

    def row(self, is_transposed: bool) -> NDArray[np.int64]:
        """Return N, IC, I.., OC, K.., S.., P.., Q.., D.., G, O.., and for a transposed convolution E.."""
        forward = (self.N, self.IC, *self.I, self.OC, *self.K, *self.S, *self.P, *self.Q, *self.D, self.G, *self.O)
        return np.array((*forward, *self.E) if is_transposed else forward, np.int64)

    def require_output_shape(self, grad_output: Array) -> None:
        """Refuse a gradient that the row does not describe."""
        if grad_output.shape != self.output:
            raise NotOffered(f"grad_output.shape={grad_output.shape} is not the output's shape {self.output}")


def _sides(padding: Pairs) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the padding in front and that behind."""
    if any(len(pair) != 2 for pair in padding):
        raise NotOffered(f"padding={padding} is not one (low, high) pair for each axis")
    return tuple(low for low, _ in padding), tuple(high for _, high in padding)
