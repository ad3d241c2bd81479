r"""How far a correct result may be from the reference.

Convolutions, their gradients and `fold` are sums of products, or of plain terms. A bound holds for *any*
order of summation, blocking and use of fused multiply-add, so that it never rejects a correct implementation.
But one missing term changes a sum only by about A/n: beyond n ~ u**-1/2 terms (4096 in float32) it takes
exact integers, sized by `largest_exact_integer`, to show it.

**Notation.** u is the unit roundoff of the type that sums are accumulated in (half the distance from 1 to the
next number), eta its smallest subnormal, lambda its smallest normal number. For one output, n counts the
terms that are not zero (zero terms make no error) and A is the sum of their magnitudes: the operation itself,
applied to indicators and to magnitudes. Rounding is to nearest.

**Theorem.** Any order of summation, with any products fused into additions, has ``|error| <= n u A``, for
every n.

*Proof*, by induction over the tree of operations; Jeannerod & Rump (SIAM J. Matrix Anal. Appl. 34, 2013) show
it without fusing, and the classic constant is n u/(1 - n u) (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1). A leaf is a plain term, or a product that is rounded with an error of at
most u|p|, or fused into an addition without any. Let a node round a' + b', where a' stands for the sum a of
n_a terms of magnitude A_a, with |a' - a| <= n_a u A_a, and b' likewise; n_a <= n_b, and if one is a fused
product, it is a'. The errors so far add up to n_a u A_a + n_b u A_b at most, so that the new one, d, must not
exceed ``u (n_a A_b + n_b A_a)``.

1. b' is a number of the type, so the nearest one to a' + b' is no farther from it than b': |d| <= |a'|. If
   |a'| <= u (n_a A_b + n_b A_a), done.
2. Otherwise u (n_a A_b + n_b A_a) < |a'| <= (1 + n_a u) A_a, so n_a u A_b < A_a, as n_a <= n_b. Because |d|
   <= u/(1 + u) |a' + b'|, it suffices that A_a + A_b + n_a u A_a + n_b u A_b <= (1 + u)(n_a A_b + n_b A_a),
   that is u (n_b - n_a)(A_b - A_a) <= (n_a - 1) A_b + (n_b - 1) A_a. If A_b <= A_a, the left side is not
   positive; else it is at most (n_b - n_a) u A_b <= (n_b - n_a) A_a <= (n_b - 1) A_a.

Where no product is rounded (plain terms, or products that the accumulator holds exactly, as float32 does
those of float16), leaves have no error, and the same induction gives ``(n - 1) u A``: a single plain term
comes out exactly.

**Perturbations.** An error e added to the result of a node makes it stand for a + e, and the induction goes
on with A_a + |e|. All of them together, F = sum|e|, give ``E = n u (A + F) + F``.

- Gradual underflow: a subnormal sum of two numbers is exact, a subnormal product is off by at most eta/2. F
  is taken as eta for each product, since eta/2 does not exist in float64, and as zero where products cannot
  underflow: those of float16 are multiples of 2**-48.
- Flush to zero (`flushes_subnormals`; OpenCL leaves float32's to the device): an operand read as zero costs
  lambda times the other factor, and n terms have at most 2n results and plain operands, the stored result
  included, at most lambda each: F = lambda (op(|x|, 1) + op(1, |w|) + 2n), with no op() for plain terms, and
  lambda that of the arrays' type. OpenCL does not let vload_half and vstore_half flush, and float32 does not
  underflow on float16 data: with those, F is zero.

**Storing** the sum in a narrower type adds u_out (|y| + E) + eta_out/2.

**Overflow.** A partial sum is at most A + E; where that exceeds the accumulator's range, or |y| + E that of
the stored type (65504 in float16), the bound is infinite.

**The reference** is such a sum in float64, so its own E is added. A, which it computes as well, may be too
small by as much, and is raised; the rounding of the formulas themselves is covered by a last factor and a few
eta.

`unfold` and `fold_backward` copy: their bound is zero. Algorithms that do not add up the products of the
definition, such as Winograd's or the FFT, have bounds of their own, in `bounds.transforms`.

Examples
--------
>>> import numpy as np
>>> from clconv.oracle import bounds, reference
>>> x = np.array([[[1.5, -2.25, 0.0]]], dtype=np.float32)
>>> w = np.array([[[3.0, 1.0, 5.0]]], dtype=np.float32)
>>> limit = bounds.bound("conv1d", x, w, dtype=np.float32)
>>> bool(limit[0, 0, 0] < 2 * 2**-24 * (4.5 + 2.25) * (1 + 2**-20))
True
>>> bounds.worst_ratio(reference.conv1d(x, w), reference.conv1d(x, w), limit)
0.0
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from clconv.oracle import _floats, reference
from clconv.oracle._floats import (
    FLOAT64,
    DType,
    digits,
    float_type,
    smallest_normal,
    smallest_subnormal,
    storage_and_sum,
)
from clconv.oracle.bounds import (
    activation,
    cross_entropy,
    deform,
    dropout,
    epilogue,
    grid_sample,
    linear,
    norm,
    pool,
    softmax,
)
from clconv.oracle.bounds.algorithms import parsed
from clconv.oracle.bounds.rounding import Rounding, raised
from clconv.oracle.bounds.transforms import growth
from clconv.oracle.reference.geometry import FloatArray, real_array

__all__ = ["bound", "largest_exact_integer", "unit_roundoff", "worst_ratio"]

Arrays = dict[str, NDArray[Any]]

OPERATIONS = tuple(name for name in reference.__all__ if name[0].islower())
# Operations that are more than sums of products, by modules with proofs of their own.
FURTHER = {
    **activation.BOUNDS,
    **cross_entropy.BOUNDS,
    **deform.BOUNDS,
    **dropout.BOUNDS,
    **epilogue.BOUNDS,
    **grid_sample.BOUNDS,
    **linear.BOUNDS,
    **norm.BOUNDS,
    **pool.BOUNDS,
    **softmax.BOUNDS,
}
COPIES = ("unfold", "fold_backward")
ARRAYS = ("grad_output", "input", "weight", "bias")


def unit_roundoff(dtype: DTypeLike) -> float:
    """Return the largest relative error of rounding a real number to nearest.

    ``u = 2**-p`` for a significand of p bits: 11 in float16, 24 in float32, 53 in float64.

    Parameters
    ----------
    dtype : float16, bfloat16, float32 or float64

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If `dtype` is not one of those types.

    Examples
    --------
    >>> unit_roundoff("float32") == 2**-24
    True
    """
    return _floats.unit_roundoff(float_type("dtype", dtype))


def largest_exact_integer(terms: int, dtype: DTypeLike, *, accumulate: DTypeLike | None = None) -> int:
    """Return the largest R for which sums of products of integers up to R are exact in any order.

    ``terms * R**2 + R <= 2**p``, with p the accumulator's digits: then `terms` products of integers between
    -R and R, a bias of that size, and every partial sum of them, are integers that the accumulator holds.
    R is at most 2**p for the digits of `dtype`, which must hold the operands (2048 in float16). A narrower
    `dtype` still rounds the *result*: compare with the correctly rounded reference, and mind that float16
    ends at 65504.

    Parameters
    ----------
    terms : int
        Number of products in the longest sum, at least 0.
    dtype : float16, bfloat16, float32 or float64
        Type of the arrays.
    accumulate : float16, bfloat16, float32 or float64, optional
        Type of the sums; by default float32 for float16, else `dtype`.

    Returns
    -------
    int
        0 where even ones may not sum exactly.

    Raises
    ------
    TypeError, ValueError
        If a type is not one of those, `accumulate` is narrower than `dtype`, or `terms` is no integer >= 0.

    Examples
    --------
    >>> largest_exact_integer(9, np.float32), largest_exact_integer(4608, np.float32)
    (1365, 60)
    >>> largest_exact_integer(1, np.float16), largest_exact_integer(9, np.float16, accumulate=np.float16)
    (2048, 15)
    """
    stored, summed = storage_and_sum(dtype, accumulate)
    if isinstance(terms, (bool, np.bool_)) or not hasattr(terms, "__index__"):
        raise TypeError(f"terms must be an integer, got terms={terms!r}")
    n = operator.index(terms)
    if n < 0:
        raise ValueError(f"terms must be at least 0, got terms={terms}")
    limit = 1 << digits(summed)
    # The positive root of n R^2 + R = limit, rounded down.
    root = (math.isqrt(1 + 4 * n * limit) - 1) // (2 * n) if n else limit
    return min(root, 1 << digits(stored))


def bound(
    operation: str,
    *arguments: Any,
    dtype: DTypeLike,
    accumulate: DTypeLike | None = None,
    flushes_subnormals: bool = False,
    algorithm: str = "direct",
    **keywords: Any,
) -> Any:
    """Return the largest error, element by element, of any order of summation against the reference.

    ``E = n u (A + F) + F``, plus the rounding of the stored result and the error of the reference: see the
    module's text.

    Parameters
    ----------
    operation : str
        Name of a function of `reference`, such as "conv2d" or "conv2d_backward".
    *arguments, **keywords
        What that function is called with. Arrays must hold what `dtype` can represent: the values that
        the implementation was given.
    dtype : float16, bfloat16, float32 or float64
        Type in which the implementation holds its arrays, results included.
    accumulate : float16, bfloat16, float32 or float64, optional
        Type in which it multiplies and adds; by default float32 for float16, else `dtype`.
    flushes_subnormals : bool
        Whether it may take subnormal numbers for zero.
    algorithm : str
        Class of its convolutions: "direct" is any order of summation; `bounds.algorithms` has "split(b)",
        "pairwise", "winograd(m)" and "fft".

    Returns
    -------
    array, or named tuple of arrays for a gradient
        In the shape of the operation's result; infinite where a sum may overflow, None where that is None.

    Raises
    ------
    ValueError
        If there is no such operation or algorithm, a type is none of those, `accumulate` is narrower than `dtype`,
        or an array holds what `dtype` cannot represent, infinity or NaN; and as the operation.
    TypeError
        As the operation.

    Examples
    --------
    >>> x, w = np.array([[1.0, 2.0, 3.0]]), np.array([[[1.0, 0.5]]])
    >>> limit = bound("conv1d", x, w, dtype=np.float32)
    >>> bool((limit >= 2 * 2**-24 * np.array([[2.0, 3.5]])).all())
    True
    >>> bound("unfold", x, (2,), dtype=np.float32)
    array([[0., 0.],
           [0., 0.]])
    """
    if operation not in OPERATIONS:
        raise ValueError(f"operation must be one of {OPERATIONS}, got operation={operation!r}")
    if not isinstance(flushes_subnormals, (bool, np.bool_)):
        raise TypeError(f"flushes_subnormals must be True or False, got {flushes_subnormals!r}")
    stored, summed = storage_and_sum(dtype, accumulate)
    rounding, kind = Rounding(stored, summed, bool(flushes_subnormals)), parsed(algorithm)
    if operation in FURTHER:
        return FURTHER[operation](_given(operation, arguments, keywords, stored), rounding)
    call = _Call(operation, arguments, keywords)
    for name, array in call.arrays.items():
        _require_representable(name, array, stored)
    if operation in COPIES:  # which compute nothing, and have nothing to flush
        rounding = rounding._replace(flushes=False)
    every, heights = call.sums(), kind.heights(operation, call.given)
    limits = {name: _limit(sums, rounding, heights.get(name)) for name, sums in every.items()}
    with np.errstate(over="ignore"):
        magnitudes = {name: raised(sums.magnitude, sums.terms) for name, sums in every.items()}
    for name, detour in kind.detours(operation, call.given, magnitudes, rounding):
        of_reference = _reference_error(every[name], rounding)
        limit = rounding.limit(every[name].value, detour.error, of_reference, detour.peak)
        limits[name] = np.maximum(limits[name], limit)
    if isinstance(call.result, np.ndarray):
        return limits["output"]
    return type(call.result)(*(limits.get(name) for name in call.result._fields))


def worst_ratio(got: NDArray[Any], expected: NDArray[Any], bound: NDArray[Any]) -> float:
    """Return the largest ``|got - expected| / bound``; a result is acceptable up to 1.

    An error of zero counts as 0, whatever the bound, and an error where the bound is zero as infinite.
    Infinity and NaN must be met by the same; but where the bound is infinite, anything counts as 0.

    Parameters
    ----------
    got, expected, bound : arrays of real numbers of one shape

    Returns
    -------
    float
        0.0 for empty arrays.

    Raises
    ------
    ValueError
        If the shapes differ or a bound is negative or NaN.
    TypeError
        If an argument is not a NumPy array of real numbers.

    Examples
    --------
    >>> worst_ratio(np.array([1.0, 2.5]), np.array([1.0, 2.0]), np.array([0.0, 2.0]))
    0.25
    """
    left, right, limit = real_array("got", got), real_array("expected", expected), real_array("bound", bound)
    if not left.shape == right.shape == limit.shape:
        raise ValueError(
            f"shapes must be equal: got.shape={left.shape}, expected.shape={right.shape}, bound.shape={limit.shape}"
        )
    if not (limit >= 0).all():
        raise ValueError("bound must not be negative or NaN")
    left, right, limit = left.ravel(), right.ravel(), limit.ravel()
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(all="ignore"):
        ratio = np.abs(left - right) / limit
    ratio[same | np.isinf(limit)] = 0.0
    # What is left of NaN comes from a NaN on one side only.
    ratio[np.isnan(ratio)] = np.inf
    return float(ratio.max(initial=0.0))


def _given(operation: str, arguments: tuple[Any, ...], keywords: dict[str, Any], stored: DType) -> dict[str, Any]:
    """Return all arguments of a call, defaults included, arrays in float64 but for indices."""
    bound_arguments = inspect.signature(getattr(reference, operation)).bind(*arguments, **keywords)
    bound_arguments.apply_defaults()
    given = dict(bound_arguments.arguments)
    for name, value in given.items():
        if isinstance(value, np.ndarray) and value.dtype.kind not in "iub":
            given[name] = real_array(name, value)
            _require_representable(name, given[name], stored)
    return given


class _Sums(NamedTuple):
    """What the bound of one result is made of, each in the result's shape."""

    value: FloatArray  # what the reference returns
    magnitude: FloatArray  # A: the sum of the terms' magnitudes
    terms: FloatArray  # n: how many terms are not zero
    products: FloatArray  # how many of those are products
    operands: FloatArray  # op(|x|, 1) + op(1, |w|), over the products


class _Call:
    """A call of a reference function, repeatable with other arrays."""

    def __init__(self, operation: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.function: Callable[..., Any] = getattr(reference, operation)
        self.given = inspect.signature(self.function).bind(*arguments, **keywords).arguments
        self.result = self.function(**self.given)
        # After the call, so that wrong arguments are refused in the operation's own words.
        self.arrays = {k: real_array(k, v) for k, v in self.given.items() if k in ARRAYS and v is not None}
        self.multiplies = operation.startswith(("conv", "linear"))
        self.is_backward = operation.endswith("_backward")

    def fields(self, **arrays: NDArray[Any] | None) -> dict[str, FloatArray]:
        """Return the result as "output", or the gradients by name, with some of the arrays replaced."""
        result = self.function(**{**self.given, **arrays})
        if isinstance(result, np.ndarray):
            return {"output": result}
        return {name: value for name, value in result._asdict().items() if value is not None}

    def sums(self) -> dict[str, _Sums]:
        """Evaluate the operation on magnitudes and on indicators of what is not zero."""
        sizes: Arrays = {name: np.abs(array) for name, array in self.arrays.items()}
        ones: Arrays = {name: array != 0 for name, array in self.arrays.items()}
        values, magnitudes, terms = self.fields(), self.fields(**sizes), self.fields(**ones)
        products = operands = {name: np.zeros(value.shape) for name, value in values.items()}
        if self.multiplies:
            products, operands = self._products(sizes, ones)
        return {
            name: _Sums(value, magnitudes[name], terms[name], products[name], operands[name])
            for name, value in values.items()
        }

    def _products(self, sizes: Arrays, ones: Arrays) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        """Count the products of each sum, and add up their operands."""
        first = next(iter(self.arrays))
        no_bias: dict[str, None] = {} if self.is_backward else {"bias": None}
        products = self.fields(**{**ones, **no_bias})
        left = self.fields(**{**ones, first: sizes[first], **no_bias})
        right = self.fields(**{**sizes, first: ones[first], **no_bias})
        operands = {name: left[name] + right[name] for name in products}
        if "bias" in products:  # the gradient of the bias adds up plain terms
            products["bias"] = operands["bias"] = np.zeros(products["bias"].shape)
        return products, operands


def _limit(sums: _Sums, rounding: Rounding, height: FloatArray | None) -> FloatArray:
    """Bound the error of one result: sum, storage and the reference's own sum."""
    with np.errstate(over="ignore", invalid="ignore"):
        error = _sum_error(sums, rounding, height)
        peak = raised(sums.magnitude, sums.terms) + error
    limit = rounding.limit(sums.value, error, _reference_error(sums, rounding), peak)
    is_copied = (sums.terms <= 1) & (sums.products == 0)
    if rounding.flushes:
        is_copied &= (sums.terms == 0) | (_flushed(rounding) == 0)
    return np.where(is_copied & np.isfinite(limit), 0.0, limit)


def _reference_error(sums: _Sums, rounding: Rounding) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):
        return _sum_error(sums, Rounding(rounding.stored, FLOAT64, flushes=False))


def _sum_error(sums: _Sums, rounding: Rounding, height: FloatArray | None = None) -> FloatArray:
    """Return E = n u (A + F) + F, with n - 1 instead of n where no term is rounded, or that of a tree if lower."""
    stored, summed, _ = rounding
    n, u = sums.terms, _floats.unit_roundoff(summed)
    magnitude, operands = raised(sums.magnitude, n), raised(sums.operands, n)
    # A product is a multiple of its type's eta**2; above lambda it neither underflows nor is flushed.
    fits = 2 * digits(stored) <= digits(summed) and smallest_subnormal(stored) ** 2 >= smallest_normal(summed)
    rounded = np.zeros(n.shape) if fits else sums.products
    perturbation = rounded * smallest_subnormal(summed)
    if rounding.flushes:
        perturbation = perturbation + _flushed(rounding) * (operands + 2 * n)
    factor = u * np.where(rounded > 0, n, np.maximum(n - 1, 0))
    if height is not None:
        factor = np.minimum(factor, growth(height - (rounded == 0), u))
    return factor * (magnitude + perturbation) + perturbation


def _require_representable(name: str, array: FloatArray, stored: DType) -> None:
    with np.errstate(over="ignore"):
        rounded = array.astype(stored).astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite: no bound holds for infinity and NaN")
    if not (rounded == array).all():
        raise ValueError(f"{name} holds values that {stored} cannot represent: convert it before")


def _flushed(rounding: Rounding) -> float:
    """Return what one flushed number costs: nothing where float16 is only read and written."""
    only_loads = digits(rounding.stored) == 11 and rounding.summed != rounding.stored
    return 0.0 if only_loads else rounding.flush_cost
