r"""The errors of the statistics of a row, and of what is normalised with them.

**Notation.** u is the unit roundoff of the type of the sums and phi the cost of one underflow: its smallest
subnormal number, or where those are flushed the smallest normal one. Every operation is taken to add phi, with
factors rounded up generously. gamma(k) = k u/(1 - k u) is the relative error of k factors 1 + u (Higham, Accuracy
and Stability of Numerical Algorithms, 2nd ed., section 3.1). In OpenCL a division of floats is off by up to
2.5 ulp = 5 u, sqrt by 6 u and rsqrt by 4 u; doubles are rounded correctly. D = 5, or 1 for doubles, stands for a
division, D + 1 for the product with a reciprocal, and Q = 2 + 6 + D, or 4, for 1/sqrt with the addition of eps
before and a product after. A row holds n values of mean magnitude a and root mean square q, with mean m,
variance v = sigma**2, s = v + eps and r = 1/sqrt(s).

**Mean.** Summed in any order and divided, it is off by at most gamma(n + D) a. Merged from those of two parts,
it is m_a + (m_b - m_a) n_b/N with n_b <= n_a, N = n_a + n_b; Welford's recurrence, which adds one value, is such a
merge, and so is Chan's of partial results. With p = n_b/n_a, the weight of a value in part a gets the factor
(1 - p theta)(1 + delta), in part b (1 + theta)(1 + delta), |delta| <= u and |theta| <= gamma(c), c = D + 2. A value is
in at most n - 1 merges; the sum of p over those where it is in part a, plus the number of the others, is at most
log2(n), because a merge multiplies the size by 1 + p >= 2**p in the first case and by at least 2 in the second.
Hence, with c more for the division of a plain sum, the mean is off by at most

    e_m = gamma(K) a,    K = K(n) = n + c (1 + log2(n)).

**Variance.** Two passes find the mean square of x minus the computed mean, v + e**2 with e <= e_m, and round
n + D + 2 times; subtracting the square of that difference's mean removes e**2 and adds errors of second order.
Merging finds n v as the sum over all merges of h d**2, with d = m_b - m_a and h = n_a n_b/N. Here d is off by at most
f = gamma(K_a) a_a + gamma(K_b) a_b, with K_a = K(n_a) and so on, and Minkowski's inequality with weights h makes of
this

    e_v = (1 + gamma(k)) (sigma + E)**2 - sigma**2,    E = 2 gamma(K) q,    k = n + 2 c + 4,

provided that the sum of h f**2 over all merges is at most 4 gamma(K)**2 n q**2. *Proof* by induction, with
gamma(K_a) <= gamma(K) K_a/K and S_a >= n_a a_a**2 for the sum of the squares of part a. As h/n_a = n_b/N,

    h (K_a a_a + K_b a_b)**2 <= 2 K_a**2 S_a n_b/N + 2 K_b**2 S_b n_a/N,

and it is to be shown that 4 K**2 >= 4 K_a**2 + 2 K_a**2 n_b/N, and 4 K**2 >= 4 K_b**2 + 2 K_b**2. The first
follows from K >= K_a + n_b + c p and 4 (1 + c/n_a) >= K_a/N, the second from K >= K(2 n_b) >= 1.23 K_b; both hold
for every c up to 7. Welford adds d (x - m_new) instead of h d**2, where the second factor equals h d. With errors f
of d and g of that, his terms are at most h (d + (f + g/h)/2)**2, and as g and f h are at most gamma(K(j)) a for the
first j values, h = (j - 1)/j, it is enough that 4 K(j)**2 >= 4 K(j - 1)**2 + K(j)**2/(j - 1), hence that
4 (j - 1 + c) >= K(j), which holds as well.

As e_m <= E/2 and sigma <= q, e_v covers the two passes. Where no mean is subtracted (rms_norm), E = 0; where
statistics are given from outside (evaluation), e_m = e_v = 0.

**1/sqrt.** s is off by e_s = e_v + u eps, as eps is rounded to the type, so r by at most r rho with

    rho = (1 - e_s/s)**(-1/2) (1 + gamma(Q)) - 1,

which is infinite if e_s >= s: the computed variance may then be anything, and nothing can be said.

**xhat** = (x - m) r. Let r' = r (1 + rho), and R = r' (|x| + |m| + e_m), which is what x r' - m r' may cancel from.
Folded into scale and shift, xhat is rounded six times relatively to R, and otherwise to less:

    e_hat = r' e_m + |xhat| rho + gamma(6) R.

**Overflow.** Where a sum may exceed the range of its type, the bound is infinite.

**The reference** takes two passes in float64, so its own bound is added. The formulas are evaluated at its
values, raised by twice their errors: once for the error itself, once for what that was computed from. A last
factor covers the roundings of their sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from clconv.oracle._floats import FLOAT64, largest, smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.rounding import Rounding, division_roundings
from clconv.oracle.reference.geometry import FloatArray
from clconv.oracle.reference.norm import Norm, standardised

__all__ = ["REFERENCE", "Errors", "Machine", "Rows", "limit", "machine_of", "rows_of"]


class Machine(NamedTuple):
    """What the formulas need to know of the type that sums are made in."""

    u: float
    phi: float
    flushed: float  # what the flushing of a plain term costs
    largest: float
    division: int  # D
    root: int  # Q

    def gamma(self, roundings: float) -> float:
        """Return the relative error of so many roundings."""
        product = roundings * self.u
        return product / (1 - product) if product < 1 else math.inf


def machine_of(rounding: Rounding) -> Machine:
    """Look up the constants of an implementation."""
    D, flushed = division_roundings(rounding.summed), rounding.flush_cost
    phi = max(smallest_subnormal(rounding.summed), flushed)
    square_root = 1 if rounding.summed == FLOAT64 else 6
    return Machine(unit_roundoff(rounding.summed), phi, flushed, largest(rounding.summed), D, 2 + square_root + D)


REFERENCE = machine_of(Rounding(FLOAT64, FLOAT64, flushes=False))


class Errors(NamedTuple):
    """The errors and magnitudes of the forward pass, by the letters of the module's text."""

    mean: FloatArray  # e_m
    variance: FloatArray  # e_v
    under_root: FloatArray  # e_s
    root: FloatArray  # rho
    scale: FloatArray  # r'
    folded: FloatArray  # R
    xhat: FloatArray  # e_hat


@dataclass(frozen=True)
class Rows:
    """The numbers that the formulas are evaluated at: at least the exact ones, and `lowest` at most."""

    norm: Norm
    mean: FloatArray  # |m|
    sigma: FloatArray
    lowest: FloatArray  # s
    inverse: FloatArray  # r
    xhat: FloatArray  # |xhat|
    evaluated: dict[Machine, Errors] = field(default_factory=dict)

    def errors(self, machine: Machine) -> Errors:
        """Evaluate the formulas for a machine, once."""
        if machine not in self.evaluated:
            self.evaluated[machine] = self._evaluate(machine)
        return self.evaluated[machine]

    def _evaluate(self, machine: Machine) -> Errors:
        norm, gamma, phi = self.norm, machine.gamma, machine.phi
        n, c, size = max(norm.n, 1), machine.division + 2, np.abs(norm.x)
        finds_variance = norm.constants is None
        of_mean = gamma(n + c * (1 + math.log2(n))) if finds_variance and norm.is_centred else 0.0
        of_variance = gamma(n + 2 * c + 4) if finds_variance else 0.0
        a = norm.mean(size)
        mean = of_mean * a + 8 * n * phi
        spread = 2 * of_mean * np.sqrt(norm.mean(size**2)) + 16 * n * phi
        squares = (self.sigma + spread) ** 2
        variance = spread * (2 * self.sigma + spread) + of_variance * squares + 8 * phi
        if finds_variance:
            sums_fit = n * a <= machine.largest
            mean = np.where(sums_fit, mean, np.inf)
            variance = np.where(sums_fit & (n * squares <= machine.largest), variance, np.inf)
        under_root = variance + machine.u * norm.eps + 8 * phi
        share = np.where(under_root < self.lowest, under_root / self.lowest, 1.0)
        root = np.expm1(np.log1p(gamma(machine.root)) - np.log1p(-share) / 2)
        scale = self.inverse * (1 + root)
        folded = scale * (size + self.mean + mean)
        xhat = scale * mean + self.xhat * root + gamma(6) * folded + 8 * phi * (1 + scale)
        xhat = np.where(np.maximum(folded, scale) <= machine.largest, xhat, np.inf)
        return Errors(mean, variance, under_root, root, scale, folded, xhat)


def rows_of(norm: Norm) -> Rows:
    """Take the reference's numbers, and raise them by twice their errors."""
    found = standardised(norm)
    under_root = found.variance + norm.eps
    size, inverse = np.abs(found.xhat), 1 / found.deviation
    e = Rows(norm, np.abs(found.mean), np.sqrt(found.variance), under_root, inverse, size).errors(REFERENCE)
    return Rows(
        norm,
        np.abs(found.mean) + 2 * e.mean,
        np.sqrt(found.variance + 2 * e.variance),
        under_root - 2 * e.under_root,
        inverse * (1 + 2 * e.root),
        size + 2 * e.xhat,
    )


def limit(
    value: FloatArray,
    error: Callable[[Machine], FloatArray],
    peak: FloatArray,
    rounding: Rounding,
    terms: int,
) -> FloatArray:
    """Add up the errors of the implementation, of the reference and of storing; 0 where there is none.

    Parameters
    ----------
    value, peak : arrays
        The reference's result and the largest partial sum behind it.
    error : function of the machine
    rounding : Rounding
    terms : int
        The length of the longest sum in the formulas themselves.
    """
    lift = 1 + 4 * REFERENCE.gamma(terms + 64)
    own, reference = error(machine_of(rounding)) * lift, error(REFERENCE) * lift
    return np.where(own + reference == 0, 0.0, rounding.limit(value, own, reference, peak + own))
