r"""Winograd's short convolutions F(m, r): m outputs of a correlation with r taps from m + r - 1 products.

**Construction.** Let a = m + r - 1 and p_1, ..., p_{a-1} be distinct numbers; infinity is the last point, where a
polynomial's value is its leading coefficient. The product of polynomials with m and r coefficients has a
coefficients, and Toom and Cook find it from its values: evaluate both at the a points (matrices V_m and V_r),
multiply, interpolate with

    ``f(x) = sum(f(p_s) L_s(x)/N_s) + f(infinity) L(x)``,
    ``L_s = prod(x - p_j for j != s)``, ``N_s = L_s(p_s)``, ``L = prod(x - p_j)``.

For a fixed w this is a linear map from m numbers h to the a numbers ``sum(w[k - i] h[i] for i)``. Its transpose takes a
numbers d to the m numbers ``sum(w[j] d[i + j] for j)``, the correlation, so that

    ``y = A^T ((G w) * (B^T d))``

where A^T is the transpose of V_m, B^T has the coefficients of L_1, ..., L_{a-1}, L as rows, and G is V_r with row s
divided by N_s. All entries are rational. With two or three axes there is such a triple for each one, applied one
after the other.

The points are the first a - 1 of `POINTS`: those in general use for F(2, 3), F(4, 3) and F(6, 3), continued with the
next powers of two.

Examples
--------
>>> A, G, B = transform(2, 3)
>>> [[int(v) for v in row] for row in A]
[[1, 1, 1, 0], [0, 1, -1, 1]]
>>> [str(v) for v in G[1]]
['1/2', '1/2', '1/2']
>>> [[int(v) for v in row] for row in B]
[[-1, 0, 1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

__all__ = ["LARGEST_KERNEL", "POINTS", "TILES", "Matrix", "Transform", "transform"]

Matrix = tuple[tuple[Fraction, ...], ...]

POINTS = tuple(Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2", "4", "-4", "1/4", "-1/4"))
TILES = (2, 4, 6)
LARGEST_KERNEL = len(POINTS) + 2 - max(TILES)


class Transform(NamedTuple):
    """The three matrices of F(m, r), with a = m + r - 1."""

    output: Matrix  # A^T: m rows of a
    weight: Matrix  # G: a rows of r
    input: Matrix  # B^T: a rows of a


@cache
def transform(m: int, r: int) -> Transform:
    """Return the matrices of F(m, r); F(1, 1) is a plain product.

    Examples
    --------
    >>> transform(1, 1)
    Transform(output=((Fraction(1, 1),),), weight=((Fraction(1, 1),),), input=((Fraction(1, 1),),))
    """
    points = POINTS[: m + r - 2]
    others = [[p for p in points if p != point] for point in points]
    evaluated = [*(_powers(point, r) for point in points), _leading(r)]
    scales = [
        *(math.prod((point - p for p in rest), start=Fraction(1)) for point, rest in zip(points, others, strict=True)),
        Fraction(1),
    ]
    return Transform(
        output=tuple(zip(*(_powers(point, m) for point in points), _leading(m), strict=True)),
        weight=tuple(tuple(v / scale for v in row) for row, scale in zip(evaluated, scales, strict=True)),
        input=tuple(_coefficients(roots, m + r - 1) for roots in (*others, points)),
    )


def _powers(point: Fraction, count: int) -> tuple[Fraction, ...]:
    """Evaluate at a point: the value of a polynomial is its coefficients times these."""
    return tuple(point**i for i in range(count))


def _leading(count: int) -> tuple[Fraction, ...]:
    """Evaluate at infinity."""
    return (*(Fraction(0),) * (count - 1), Fraction(1))


def _coefficients(roots: Sequence[Fraction], count: int) -> tuple[Fraction, ...]:
    """Return the coefficients of prod(x - root), the constant one first."""
    product = [Fraction(1)]
    for root in roots:
        product = [
            low - root * high for low, high in zip([Fraction(0), *product], [*product, Fraction(0)], strict=True)
        ]
    return (*product, *(Fraction(0),) * (count - len(product)))
