"""Computes the polynomials of kernels/math.h and writes them to kernels/math_coefficients.h.

    python -m tools.math_coefficients > kernels/math_coefficients.h

A polynomial interpolates its function in the roots of a Chebyshev polynomial, so that its error is at most a few times
that of the best polynomial of the degree. All is computed with 60 decimal digits; only the coefficients are rounded.
The error that is written beside a polynomial is the largest one found on a dense grid, relative to the result.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, getcontext
from typing import NamedTuple

getcontext().prec = 60

Function = Callable[[Decimal], Decimal]
ONE = Decimal(1)
GRID = 200


def pi() -> Decimal:
    """Return pi by Machin's formula."""
    return 4 * (4 * arctangent_of_inverse(5) - arctangent_of_inverse(239))


def arctangent_of_inverse(n: int) -> Decimal:
    """Return atan(1/n) by its series."""
    return sum(((-1) ** k / (Decimal(2 * k + 1) * Decimal(n) ** (2 * k + 1)) for k in range(60)), Decimal(0))


def exponential_rest(r: Decimal) -> Decimal:
    """Return ``(exp(r) - 1 - r)/r**2``."""
    term, total = ONE / 2, Decimal(0)
    for k in range(3, 60):
        total += term
        term *= r / k
    return total


def logarithm_rest(z: Decimal) -> Decimal:
    """Return ``(log((1 + s)/(1 - s)) - 2*s - 2*s**3/3)/s**5`` with ``z = s**2``."""
    power, total = ONE, Decimal(0)
    for k in range(60):
        total += 2 * power / (2 * k + 5)
        power *= z
    return total


def error_rest(z: Decimal) -> Decimal:
    """Return ``erf(x)/x - 1`` with ``z = x**2``."""
    term, total = ONE, Decimal(0)
    for k in range(1, 120):
        total += term / (2 * k - 1)
        term *= -z / k
    return 2 / pi().sqrt() * total - 1


def scaled_complement(x: Decimal) -> Decimal:
    """Return ``exp(x**2)*erfc(x)`` for ``x >= 0``, by a series below 3 and a continued fraction above."""
    if x < 3:
        # exp(x**2)*erf(x) = 2/sqrt(pi) * sum of 2**k x**(2k+1)/(1*3*...*(2k+1)), whose terms are all positive
        term, total = x, Decimal(0)
        for k in range(1, 160):
            total += term
            term *= 2 * x * x / (2 * k + 1)
        return (x * x).exp() - 2 / pi().sqrt() * total
    tail = x
    for k in range(400, 0, -1):
        tail = x + Decimal(k) / 2 / tail
    return 1 / (pi().sqrt() * tail)


def interpolated(function: Function, low: Decimal, high: Decimal, degree: int) -> list[Decimal]:
    """Return the coefficients of the polynomial that meets the function in the Chebyshev roots, the constant first."""
    count = degree + 1
    angles = [pi() * (2 * k + 1) / (2 * count) for k in range(count)]
    nodes = [(low + high) / 2 + (high - low) / 2 * cosine(angle) for angle in angles]
    divided = [function(node) for node in nodes]  # Newton's divided differences
    for step in range(1, count):
        for k in range(count - 1, step - 1, -1):
            divided[k] = (divided[k] - divided[k - 1]) / (nodes[k] - nodes[k - step])
    coefficients = [Decimal(0)] * count
    for k in range(count - 1, -1, -1):  # p := divided[k] + (x - nodes[k]) p
        shifted = [Decimal(0), *coefficients[:-1]]
        coefficients = [left - nodes[k] * right for left, right in zip(shifted, coefficients, strict=True)]
        coefficients[0] += divided[k]
    return coefficients


def cosine(angle: Decimal) -> Decimal:
    """Return the cosine by its series, of an angle between 0 and pi."""
    term, total = ONE, Decimal(0)
    for k in range(1, 60):
        total += term
        term *= -angle * angle / ((2 * k - 1) * (2 * k))
    return total


def value(coefficients: list[Decimal], x: Decimal) -> Decimal:
    """Return a polynomial's value."""
    result = Decimal(0)
    for coefficient in reversed(coefficients):
        result = result * x + coefficient
    return result


class Polynomial(NamedTuple):
    """One macro of the header."""

    name: str
    meaning: str
    function: Function
    low: Decimal
    high: Decimal
    degrees: tuple[int, int]  # for float, for double
    share: Function  # what an error of the polynomial is relative to the whole result


def polynomials() -> list[Polynomial]:
    """Return all polynomials of math.h."""
    half_log = Decimal(2).ln() / 2
    largest_s = (Decimal(2).sqrt() - 1) / (Decimal(2).sqrt() + 1)
    return [
        Polynomial(
            "EXPONENTIAL_REST",
            "(exp(r) - 1 - r)/r^2 for |r| <= log(2)/2",
            exponential_rest,
            -half_log * Decimal("1.001"),
            half_log * Decimal("1.001"),
            (5, 10),
            lambda r: r * r / r.exp(),
        ),
        Polynomial(
            "LOGARITHM_REST",
            "(log((1 + s)/(1 - s)) - 2s - 2s^3/3)/s^5 in z = s^2, for |s| <= 0.1717",
            logarithm_rest,
            Decimal(0),
            largest_s**2 * Decimal("1.001"),
            (2, 6),
            lambda z: z * z / 2,
        ),
        Polynomial(
            "ERROR_REST",
            "erf(x)/x - 1 in z = x^2, for |x| <= 1",
            error_rest,
            Decimal(0),
            ONE,
            (6, 12),
            lambda z: 1 / (1 + error_rest(z)),
        ),
        Polynomial(
            "SCALED_COMPLEMENT",
            "exp(x^2) erfc(x)/t in t = 4/(4 + x), for x >= 0",
            lambda t: scaled_complement(4 / t - 4) / t if t else 1 / (4 * pi().sqrt()),
            Decimal(0),
            ONE,
            (11, 24),
            lambda t: t / scaled_complement(4 / t - 4) if t else 4 * pi().sqrt(),
        ),
    ]


def main() -> None:
    """Print the header."""
    print("/* The polynomials of math.h, written by tools/math_coefficients.py. */")
    print("#ifndef CLCONV_MATH_COEFFICIENTS_H\n#define CLCONV_MATH_COEFFICIENTS_H")
    for double in (False, True):
        print("\n#if ELEMENT == 64" if double else "\n#if ELEMENT != 64")
        for polynomial in polynomials():
            degree = polynomial.degrees[double]
            coefficients = interpolated(polynomial.function, polynomial.low, polynomial.high, degree)
            grid = [polynomial.low + (polynomial.high - polynomial.low) * k / GRID for k in range(GRID + 1)]
            worst = max(abs((value(coefficients, x) - polynomial.function(x)) * polynomial.share(x)) for x in grid)
            print(f"\n/* {polynomial.meaning}: error {worst:.1e} of the result. */")
            print(f"#define {polynomial.name}(x) \\")
            digits = 17 if double else 9
            lines = [f"    ((real){coefficient:.{digits - 1}e}" for coefficient in coefficients]
            print(" + (x) * \\\n".join(lines) + ")" * len(lines))
        print("\n#endif")
    print("\n#endif")


if __name__ == "__main__":
    main()
