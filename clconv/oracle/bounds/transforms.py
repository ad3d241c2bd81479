r"""How far convolutions may be off that are products of transforms: Winograd's algorithm, and the FFT.

Notation is that of `bounds`. Every operation has a relative error of at most u, and an absolute one of at most t: eta
where numbers underflow gradually, lambda where they are flushed. What is multiplied by at most k factors 1 + d,
|d| <= u, is off by at most theta(k) = (1 + u)^k - 1 of its magnitude.

**Winograd.** With A^T, G and B^T the Kronecker products of the matrices of all axes, an output is
``sum(A[o, s] G[s, i] B[s, j] w_c[i] d_c[j] for c, s, i, j)``. Each of these terms is multiplied by the roundings
that it meets, in whatever order they come, so that

    ``E = theta(k) |A^T| sum((|G||w_c|) * (|B^T||d_c|) for c)``,   ``k = k_A + k_G + k_B + C``

for C channels: a product and C - 1 additions. A row with q entries is evaluated with q - 1 additions, and at most
q + 1 roundings of coefficients and of products between an operand and the result, two for the plain product and
the others for factored forms; all axes in turn make 2 sum(q), the Kronecker product in one go prod(q) + 1. k_A, k_G
and k_B are the larger of these. No term may be split into parts that cancel.

E does not change if rows of G and B^T and columns of A^T are scaled against each other. It does with the points, and
with the place of the tile, so the largest of the m tiles per axis that an output may lie in is taken. Tiles hang over
the border, into zeros or into a continuation of the padding.

*Small numbers.* An entry of a transform takes at most 3 q operations per axis, each off by t and then multiplied by
no more than 1 + g, where g is the largest row sum of the matrix's magnitudes. So transforms are off by another
``f = prod((1 + 3 q)(1 + g)) t``. With w' = |G||w| and d' = |B^T||d| this makes

    ``E = |A^T| (theta(k) (S + U) + U) + (1 + theta(k)) f_A``,
    ``S = sum(w'_c d'_c)``,  ``U = sum(f_G d'_c + f_B (w'_c + f_G)) + 2 C t``.

Rows may be scaled by up to 32, which makes integers of the A^T of F(6, 3). This magnifies t, and the numbers that have
to stay in the type's range, by as much.

*Gradients.* The gradient of the data is a correlation with the rotated kernel. That of the weights is F(r, m), where
tiles of m values of dy take the place of w, and a sum over all tiles of a grid that of the sum over channels.

Winograd's algorithm applies for stride 1, dilation 1 and at most 7 taps in every axis. Axes with one tap are not
transformed. Transformed numbers are of the type of the sums.

**FFT.** A transform of length L, over all axes together, is a product of stages. In a stage of radix r every number
becomes a sum of r others, each multiplied by a twiddle factor of modulus 1 that is off by at most 8 u (sine and
cosine of 4 ulp), and maybe by a rounded constant. A product of complex numbers is off by sqrt(2) gamma_2 (Higham,
Accuracy and Stability of Numerical Algorithms, 2nd ed., lemma 3.5). The sum, with r - 1 additions, is off by at most

    ``e_r = (1 + 8 u)(1 + u)(1 + sqrt(2) gamma_2)^2 (1 + u)^(r - 1) - 1``

of the sum of magnitudes. A stage multiplies 2-norms by sqrt(r), its matrix of magnitudes by at most r, so that it
is relatively off by sqrt(r) e_r <= 28 u log2(r) in the 2-norm, for r = 2 to 13. By Bernoulli's inequality, all stages
together multiply by at most ``phi = (1 + 28 u)^log2(L)``: ``|X' - X|_2 <= (phi - 1) |X|_2``, ``|X|_2 = sqrt(L) |x|_2``.
(Section 24.1 of the same book does this for radix 2.)

By Cauchy's inequality, ``sum(|X'_c[k]| |W'_c[k]| for k) <= phi^2 L |x_c|_2 |w_c|_2``. Products multiply these terms by
another 1 + sqrt(2) gamma_2 <= (1 + u)^3, and the sum over channels by (1 + u)^(C - 1). The inverse transform adds
them up with factors of modulus 1, every stage multiplying by at most 1 + e_r, all of them by no more than phi; then
comes the division by L. Hence for all outputs of an image and a channel

    ``E = ((1 + 28 u)^(3 log2(L)) (1 + u)^(C + 3) - 1) T``,   ``T = sum(|x_c|_2 |w_c|_2)``.

For L, the powers of two not below twice the padded extents are taken: this covers any length that is fast and
long enough. Lengths with prime factors above 13 take other algorithms, for which this says nothing.

*Small numbers.* A number takes at most 16 r real operations in a stage, each off by t. Over all stages, each amplified
by those after it, they add at most sqrt(L) p in the 2-norm, ``p = 256 sqrt(L) log2(2 L) t``. So |x_c|_2 + p takes
the place of |x_c|_2 and |w_c|_2 + p that of |w_c|_2 in T, as above. The inverse, if it divides by L first, and the
products add (256 log2(2 L) + 8 C) L t. The type has to hold 2 L T, and sqrt(L) |x_c|_2.

*Gradients* are correlations too, that of the weights with a sum over the batch instead of the channels. Strides and
dilations are zeros put between elements.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from clconv.oracle.bounds.rounding import raised
from clconv.oracle.bounds.winograd import LARGEST_KERNEL, Matrix, transform
from clconv.oracle.reference import passes
from clconv.oracle.reference.geometry import FloatArray, Sizes, Window

__all__ = ["Detour", "Pass", "data_gradient", "fft", "growth", "values", "weight_gradient", "winograd"]

RESCALING = 32  # how far rows of Winograd's matrices may be scaled against each other
FFT_STAGE = 28  # a stage of radix r is off by at most 28 u log2(r)
FFT_OPERATIONS = 256  # more than 16 r operations per number and stage

# image n, group g, channels o and c of it, tile t, point s
OVER_CHANNELS = "ngcts,gocs->ngots"
OVER_TILES = "ngcts,ngots->gocs"


class Pass(NamedTuple):
    """The correlation behind a result: for gradients of data that of g with w rotated, of weights that of x with g."""

    x: FloatArray  # (N, IC, *extent)
    w: FloatArray  # (OC, ICG, *kernel), or g (N, OC, *positions)
    window: Window  # with the padding of x
    groups: int
    subscripts: str  # which sum follows the products
    shape: tuple[int, ...]  # of the result

    @property
    def transforms(self) -> int:
        """How many products of transforms of the whole extent are added up, those of channels or of images."""
        return int(self.w.shape[0 if self.subscripts == OVER_TILES else 1])

    @property
    def terms(self) -> int:
        """How many products an element of the direct algorithm adds up, with those of padding."""
        return self.transforms * math.prod(self.w.shape[2:])


class Detour(NamedTuple):
    """What a transform costs one result, element by element."""

    error: FloatArray  # E
    peak: FloatArray  # the largest magnitude on the way


def values(x: FloatArray, w: FloatArray, window: Window, G: int) -> Pass:
    """Return the correlation of `reference.passes.conv_fwd`."""
    return Pass(x, w, window, G, OVER_CHANNELS, (x.shape[0], w.shape[0], *window.positions))


def data_gradient(g: FloatArray, w: FloatArray, window: Window, G: int) -> Pass:
    """Return that of `reference.passes.conv_bwd_data`, before padded pixels are added to those that they copy."""
    OCG, ICG, kernel = w.shape[0] // G, w.shape[1], w.shape[2:]
    turned = w.reshape(G, OCG, ICG, *kernel).swapaxes(1, 2).reshape(G * ICG, OCG, *kernel)
    margins = tuple((k - 1, k - 1) for k in kernel)
    around = replace(window, extent=g.shape[2:], padding=margins, positions=window.padded, padding_mode="zeros")
    return values(g, passes.rotated(turned), around, G)


def weight_gradient(g: FloatArray, x: FloatArray, window: Window, G: int) -> Pass:
    """Return that of `reference.passes.conv_bwd_weights`."""
    return Pass(x, g, window, G, OVER_TILES, (g.shape[1], x.shape[1] // G, *window.kernel))


def growth(k: Any, u: float) -> Any:
    """Return theta(k): by how much k factors 1 + d, |d| <= u, change what they multiply.

    Examples
    --------
    >>> bool(2 * 2**-10 < growth(2, 2**-10) < 2.01 * 2**-10)
    True
    """
    return np.expm1(k * np.log1p(u))


def _bilinear(subscripts: str, x: FloatArray, w: FloatArray, of_x: float, of_w: float) -> tuple[FloatArray, FloatArray]:
    """Return the sums S of products of magnitudes, and what they gain if every factor grows by what it lost."""
    gain = np.einsum(subscripts, x, np.broadcast_to(of_w, w.shape))
    gain += np.einsum(subscripts, np.broadcast_to(of_x, x.shape), w + of_w)
    return np.einsum(subscripts, x, w), gain


# --- Winograd's algorithm


def winograd(behind: Pass, u: float, t: float, tile: int) -> Detour | None:
    """Return what F(tile, r) costs; None where it does not apply."""
    window = behind.window
    if any(s != 1 for s in (*window.stride, *window.dilation)) or not 1 < max(window.kernel) <= LARGEST_KERNEL:
        return None
    tiles = tuple(tile if k > 1 else 1 for k in window.kernel)
    if behind.subscripts == OVER_CHANNELS:
        return _Winograd(behind, tiles, _Matrices.of(tiles, window.kernel), u, RESCALING * t).values()
    return _Winograd(behind, tiles, _Matrices.of(window.kernel, tiles), u, RESCALING * t).weights()


class _Matrices(NamedTuple):
    """Magnitudes of the matrices of all axes."""

    output: list[FloatArray]  # |A^T|
    weight: list[FloatArray]  # |G|
    input: list[FloatArray]  # |B^T|

    @classmethod
    def of(cls, outputs: Sizes, taps: Sizes) -> _Matrices:
        transforms = [transform(m, r) for m, r in zip(outputs, taps, strict=True)]
        return cls(*([_magnitudes(matrix) for matrix in matrices] for matrices in zip(*transforms, strict=True)))

    @property
    def points(self) -> Sizes:
        """How many numbers a tile is transformed into, for each axis."""
        return tuple(len(matrix) for matrix in self.input)

    @property
    def roundings(self) -> int:
        """Return k_A + k_G + k_B."""
        fullest = [[_entries(matrix) for matrix in matrices] for matrices in self]
        return sum(max(2 * sum(q), math.prod(q) + 1) for q in fullest)

    @property
    def losses(self) -> tuple[float, float, float]:
        """Return f_A, f_G and f_B for t = 1."""
        A, G, B = (math.prod((1 + 3 * _entries(a)) * (1 + float(a.sum(axis=1).max())) for a in each) for each in self)
        return A, G, B


def _magnitudes(matrix: Matrix) -> FloatArray:
    return np.array([[abs(float(entry)) for entry in row] for row in matrix])


def _entries(matrix: FloatArray) -> int:
    """Return q, the entries of the fullest row that are not zero."""
    return int(np.count_nonzero(matrix, axis=1).max())


@dataclass(frozen=True)
class _Winograd:
    """The algorithm for one pass: its tiles, matrices and roundings."""

    behind: Pass
    tiles: Sizes
    matrices: _Matrices
    u: float
    t: float

    def values(self) -> Detour:
        (N, OC), G, C = self.behind.shape[:2], self.behind.groups, self.behind.transforms
        d = self._transformed_data()
        w = _transformed(np.abs(self.behind.w), self.matrices.weight)
        places, points = d.shape[2 : 2 + len(self.tiles)], self.matrices.points
        d = d.reshape(N, G, C, math.prod(places), math.prod(points))
        w = w.reshape(G, OC // G, C, math.prod(points))
        largest = d.max((2, 4), initial=0.0)[:, :, None] + w.max((2, 3), initial=0.0)[..., None]
        error, size = self._products(d, w, C)
        error = _placed(error.reshape(N, OC, *places, *points), self.matrices.output)
        peak = (size + largest).reshape(N, OC, *places, *(1 for _ in points))
        return self._finished(error, _placed(peak, [np.ones((tile, 1)) for tile in self.tiles]), C)

    def weights(self) -> Detour:
        margins = [(tile - 1, tile - 1) for tile in self.tiles]
        d = self._transformed_data()
        g = _transformed(np.pad(np.abs(self.behind.w), [(0, 0), (0, 0), *margins]), self.matrices.weight)
        every: tuple[Any, ...] = (slice(None),) * len(self.tiles)
        grids = itertools.product(*([slice(i, None, tile) for i in range(tile)] for tile in self.tiles))
        detours = [self._grid(d[(..., *grid, *every)], g[(..., *grid, *every)]) for grid in grids]
        return Detour(*(reduce(np.maximum, every) for every in zip(*detours, strict=True)))

    def _grid(self, d: FloatArray, g: FloatArray) -> Detour:
        """Return what it costs to add up the tiles of one grid."""
        (OC, ICG), G, N, points = self.behind.shape[:2], self.behind.groups, len(d), self.matrices.points
        T = math.prod(d.shape[2 : 2 + len(self.tiles)])
        d = d.reshape(N, G, ICG, T, math.prod(points))
        g = g.reshape(N, G, OC // G, T, math.prod(points))
        largest = d.max((0, 3, 4), initial=0.0)[:, None] + g.max((0, 3, 4), initial=0.0)[..., None]
        error, size = self._products(d, g, N * T)
        error = _transformed(error.reshape(OC, ICG, *points), self.matrices.output).reshape(self.behind.shape)
        peak = (size + largest).reshape(OC, ICG, *(1 for _ in points))
        return self._finished(error, peak, N * T)

    def _transformed_data(self) -> FloatArray:
        """Return d' for every place of a tile that has an output in it."""
        margins = zip(self.behind.window.padding, self.tiles, strict=True)
        wider = tuple((low + tile - 1, high + tile - 1) for (low, high), tile in margins)
        data = replace(self.behind.window, padding=wider).pad(np.abs(self.behind.x))
        return _transformed(data, self.matrices.input)

    def _theta(self, products: int) -> float:
        return float(growth(self.matrices.roundings + products, self.u))

    def _products(self, d: FloatArray, w: FloatArray, products: int) -> tuple[FloatArray, FloatArray]:
        """Return theta (S + U) + U, and the largest S + U of a tile."""
        _, f_G, f_B = self.matrices.losses
        S, U = _bilinear(self.behind.subscripts, d, w, f_B * self.t, f_G * self.t)
        U += 2 * products * self.t
        return self._theta(products) * (S + U) + U, (S + U).max(-1)

    def _finished(self, error: FloatArray, peak: FloatArray, products: int) -> Detour:
        theta = self._theta(products)
        error = raised(error, self.matrices.roundings + products) + (1 + theta) * self.matrices.losses[0] * self.t
        # |A^T| S, the magnitude of an output, is at most error/theta.
        return Detour(error, RESCALING * (1 + theta) * (peak + error / theta))


def _transformed(a: FloatArray, matrices: Sequence[FloatArray]) -> FloatArray:
    """Transform the windows of (N, C, *extent) at every place: (N, C, *places, *points)."""
    for axis, matrix in enumerate(matrices, 2):
        a = sliding_window_view(a, matrix.shape[1], axis=axis) @ matrix.T
    return a


def _placed(tiles: FloatArray, matrices: Sequence[FloatArray]) -> FloatArray:
    """Transform (N, C, *places, *points) into outputs (N, C, *positions), each the largest of its places in a tile."""
    if not matrices:
        return tiles
    *others, matrix = matrices
    axis, m = 1 + len(matrices), len(matrix)
    last = tiles.shape[axis] - m
    at = [tiles[(slice(None),) * axis + (slice(m - 1 - i, m + last - i),)] @ row for i, row in enumerate(matrix)]
    return reduce(np.maximum, (_placed(a, others) for a in at))


# --- the FFT


def fft(behind: Pass, u: float, t: float) -> Detour:
    """Return what discrete Fourier transforms cost."""
    window, G, C = behind.window, behind.groups, behind.transforms
    extents = [max(both) for both in zip(window.padded, window.positions, strict=True)]
    stages = sum(1 + (extent - 1).bit_length() for extent in extents)
    L, root = 2.0**stages, 2.0 ** (stages / 2)
    x, w = _norms(window.pad(behind.x)), _norms(behind.w)
    terms = math.prod(window.padded) + math.prod(behind.w.shape[2:]) + C
    x = x.reshape(len(x), G, x.shape[1] // G, 1, 1)
    is_kernel = behind.subscripts == OVER_CHANNELS
    w = w.reshape(G, len(w) // G, C, 1) if is_kernel else w.reshape(C, G, w.shape[1] // G, 1, 1)
    lost = FFT_OPERATIONS * (stages + 1) * t
    S, U = _bilinear(behind.subscripts, x, w, root * lost, root * lost)
    U += (lost + 8 * C * t) * L
    theta = np.expm1(3 * stages * np.log1p(FFT_STAGE * u) + (C + 3) * np.log1p(u))
    peak = (1 + theta) * (2 * L * (S + U) + root * (x.max(initial=0.0) + w.max(initial=0.0) + 2 * root * lost))
    both = (theta * (S + U) + U, peak)
    one = (*behind.shape[:2], *(1 for _ in extents))
    return Detour(*(np.broadcast_to(raised(a.reshape(one), terms), behind.shape) for a in both))


def _norms(a: FloatArray) -> FloatArray:
    """Return the 2-norm over all but two axes; hypot neither overflows nor underflows on the way."""
    norms: FloatArray = np.hypot.reduce(a.reshape(*a.shape[:2], math.prod(a.shape[2:])), axis=-1)
    return norms
