"""The bounds against sums in exact arithmetic with every rounding made on purpose.

`Machine` computes with fractions and rounds where a machine would, so that types, fused operations, flushing
and the order of summation can be chosen freely. There is no tolerance in here: a ratio of 1 is the bound.
"""

import math
import random
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clconv.oracle import reference
from clconv.oracle.bounds import bound, largest_exact_integer, unit_roundoff, worst_ratio

F16, F32, F64 = np.float16, np.float32, np.float64
DIGITS = {F16: 11, F32: 24, F64: 53}
LEAST_NORMAL = {F16: -14, F32: -126, F64: -1022}
ORDERS = ("sequential", "reversed", "shuffled", "pairwise", "any tree")


def power(exponent):
    return Fraction(2) ** exponent


def rounded(value, dtype):
    """The number of the type that is nearest, ties to even."""
    # The float may be one power of two too high, but then the nearest number is that power, too.
    exponent = math.frexp(float(value))[1] if abs(value) >= power(LEAST_NORMAL[dtype]) else -(10**6)
    unit = power(max(exponent, LEAST_NORMAL[dtype] + 1) - DIGITS[dtype])
    return round(value / unit) * unit


class Machine(NamedTuple):
    """A way to compute a sum of products: arrays in `stored`, arithmetic in `summed`."""

    stored: type
    summed: type
    order: str = "sequential"
    fused: bool = False
    flushes: bool = False

    def flushed(self, value, dtype):
        only_loads = dtype is F16 and self.summed is not F16
        return Fraction(0) if self.flushes and not only_loads and abs(value) < power(LEAST_NORMAL[dtype]) else value

    def number(self, value):
        return self.flushed(rounded(value, self.summed), self.summed)

    def leaf(self, factors):
        """A product as (value, whether it is still exact), or a single number."""
        read = [self.flushed(Fraction(float(f)), self.stored) for f in factors]
        product = math.prod(read, start=Fraction(1))
        return (product, True) if self.fused and len(read) > 1 else (self.number(product), False)

    def added(self, a, b):
        """Add two items; of two exact products, one has to be rounded first."""
        if a[1] and b[1]:
            a = (self.number(a[0]), False)
        return (self.number(a[0] + b[0]), False)

    def total(self, terms, rng):
        """The sum of the terms, each a tuple of one or two factors, as it is stored."""
        items = [self.leaf(factors) for factors in terms]
        if self.order == "reversed":
            items.reverse()
        elif self.order == "shuffled":
            rng.shuffle(items)
        while len(items) > 1:
            if self.order == "pairwise":
                pairs = zip(items[::2], items[1::2], strict=False)
                items = [self.added(a, b) for a, b in pairs] + items[len(items) & ~1 :]
            elif self.order == "any tree":
                a, b = (items.pop(rng.randrange(len(items))) for _ in range(2))
                items.append(self.added(a, b))
            else:
                items[:2] = [self.added(items[0], items[1])]
        value = self.number(items[0][0]) if items else Fraction(0)
        return float(self.flushed(rounded(value, self.stored), self.stored))


# The types that arrays are held in and summed in, and a magnitude at which twelve products stay in range.
TYPES = [(F16, F32, 64), (F16, F16, 8), (F32, F32, 2**40), (F32, F64, 2**40), (F64, F64, 2**40)]
TYPES_ALONE = [pair[:2] for pair in TYPES]
WIDTH = {F16: 16, F32: 32, F64: 64}


@st.composite
def machines(draw):
    stored, summed, largest = draw(st.sampled_from(TYPES))
    order, fused, flushes = draw(st.sampled_from(ORDERS)), draw(st.booleans()), draw(st.booleans())
    numbers = st.floats(-largest, largest, width=WIDTH[stored])
    if draw(st.booleans()):  # of about one size, so that roundings add up
        numbers = st.floats(1, 2, width=WIDTH[stored])
    elif draw(st.booleans()):  # products around the smallest numbers
        top = 2.0 ** max(LEAST_NORMAL[summed] // 2 + 2, LEAST_NORMAL[stored])
        numbers = st.floats(-top, top, width=WIDTH[stored])
    return Machine(stored, summed, order, fused, flushes), numbers


def keywords_of(machine):
    return {"dtype": machine.stored, "accumulate": machine.summed, "flushes_subnormals": machine.flushes}


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_no_way_of_summing_exceeds_the_bound(data):
    machine, numbers = data.draw(machines())
    pairs = data.draw(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
    bias = data.draw(st.none() | numbers)
    x, w = (np.array(column).reshape(1, 1, -1) for column in zip(*pairs, strict=True))
    b = None if bias is None else np.array([bias])
    terms = pairs if bias is None else [(bias,), *pairs]
    got = np.array([[[machine.total(terms, random.Random(len(pairs)))]]])
    limit = bound("conv1d", x, w, b, **keywords_of(machine))
    assert worst_ratio(got, reference.conv1d(x, w, b), limit) <= 1


# --- every operation


class Terms:
    """The terms behind each element of all results of a grouped 1-D convolution and its relatives."""

    def __init__(self, x, w, b, g, S, P, D, G, mode):
        N, IC, IW, OC, ICG, KW, OW = *x.shape, *w.shape, g.shape[2]
        self.y = {i: [(b[i[1]],)] for i in np.ndindex(N, OC, OW)}
        self.dx, self.dw = ({i: [] for i in np.ndindex(a.shape)} for a in (x, w))
        self.db = {(oc,): list(zip(g[:, oc].flat)) for oc in range(OC)}
        self.image = {i: [] for i in np.ndindex(x.shape)}

        def pixel(ow, kw):
            iw = ow * S + kw * D - P
            return min(max(iw, 0), IW - 1) if mode == "replicate" else iw

        for n, ic, ow, kw in np.ndindex(N, IC, OW, KW):
            iw = pixel(ow, kw)
            if 0 <= iw < IW:
                self.image[n, ic, iw].append((n, ic * KW + kw, ow))
        for n, oc, icg, ow, kw in np.ndindex(N, OC, ICG, OW, KW):
            ic, iw = oc // (OC // G) * ICG + icg, pixel(ow, kw)
            if 0 <= iw < IW:
                self.y[n, oc, ow].append((x[n, ic, iw], w[oc, icg, kw]))
                self.dx[n, ic, iw].append((g[n, oc, ow], w[oc, icg, kw]))
                self.dw[oc, icg, kw].append((g[n, oc, ow], x[n, ic, iw]))

    @staticmethod
    def computed(terms, machine, shape):
        rng, result = random.Random(0), np.zeros(shape)
        for index, factors in terms.items():
            result[index] = machine.total(factors, rng)
        return result


def layer(mode, dtype):
    rng = np.random.default_rng(1)
    S, P, D, G = 2, 3, 2, 2
    x, w, b, g = (rng.standard_normal(s).astype(dtype) for s in ((2, 4, 9), (6, 2, 3), (6,), (2, 6, 6)))
    return x, w, b, g, S, P, D, G, mode


MACHINES = [
    Machine(F16, F32, "sequential"),
    Machine(F16, F16, "reversed"),
    Machine(F32, F32, "sequential"),
    Machine(F32, F32, "shuffled", fused=True, flushes=True),
    Machine(F64, F64, "reversed", fused=True),
]


@pytest.mark.parametrize("mode", ["zeros", "replicate"])
@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_every_result_of_a_convolution_stays_under_its_bound(mode, machine):
    x, w, b, g, S, P, D, G, mode = problem = layer(mode, machine.stored)
    terms, keywords = Terms(*problem), {"padding_mode": mode}
    call, backward = (x, w, b, S, P, D, G), (g, x, w, b, S, P, D, G)
    got = [Terms.computed(terms.y, machine, g.shape)]
    got += [Terms.computed(t, machine, a.shape) for t, a in ((terms.dx, x), (terms.dw, w), (terms.db, b))]
    expected = [reference.conv1d(*call, **keywords), *reference.conv1d_backward(*backward, **keywords)]
    settings = {**keywords, **keywords_of(machine)}
    limits = [bound("conv1d", *call, **settings), *bound("conv1d_backward", *backward, **settings)]
    ratios = [worst_ratio(*three) for three in zip(got, expected, limits, strict=True)]
    assert 0 < max(ratios) <= 1
    # Without bias, the transposed convolution of g is the gradient of x.
    transposed = (g, w, None, S, P, 0, G, D)
    assert np.array_equal(reference.conv_transpose1d(*transposed, **keywords), expected[1])
    assert np.array_equal(bound("conv_transpose1d", *transposed, **settings), limits[1])


@pytest.mark.parametrize("mode", ["zeros", "replicate"])
@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_fold_stays_under_its_bound(mode, machine):
    x, w, _, _, S, P, D, _, _ = problem = layer(mode, machine.stored)
    window, keywords = (w.shape[2:], D, P, S), {"padding_mode": mode}
    columns = reference.unfold(x, *window, **keywords)
    columns = np.random.default_rng(2).standard_normal(columns.shape).astype(machine.stored)
    terms = {i: [(columns[j],) for j in js] for i, js in Terms(*problem).image.items()}
    call = (columns, x.shape[2:], *window)
    limit = bound("fold", *call, **keywords, **keywords_of(machine))
    got = Terms.computed(terms, machine, x.shape)
    assert worst_ratio(got, reference.fold(*call, **keywords), limit) <= 1


def test_the_result_has_the_form_of_the_operation():
    x, w, b, g = np.ones((2, 3, 5)), np.ones((4, 3, 2)), np.ones(4), np.ones((2, 4, 4))
    limits = bound("conv1d_backward", g, x, weight=w, bias=b, output_mask=(True, False, True), dtype=F32)
    assert isinstance(limits, reference.ConvGradients)
    assert (limits.input.shape, limits.weight, limits.bias.shape) == (x.shape, None, b.shape)
    assert bound("conv1d_backward", g, x, w, dtype=F32).bias is None
    assert bound("conv1d", x[0], w, dtype=F32).shape == (4, 4)
    assert bound("conv1d", x[:0], w, dtype=F32).shape == (0, 4, 4)
    assert isinstance(bound("unfold_backward", np.ones((1, 2, 4)), np.ones((1, 1, 5)), (2,), dtype=F32), tuple)


def test_accumulation_defaults_to_float32_for_float16_and_else_to_the_type_itself():
    x, w = np.linspace(1, 2, 17)[np.newaxis], np.ones((1, 1, 9))
    for dtype, accumulate in ((F16, F32), (F32, F32), (F64, F64), ("<f4", ">f4")):
        explicit = bound("conv1d", x, w, dtype=dtype, accumulate=accumulate)
        assert np.array_equal(bound("conv1d", x, w, dtype=dtype), explicit)
    narrow = bound("conv1d", x, w, dtype=F16, accumulate=F16)
    assert (narrow > bound("conv1d", x, w, dtype=F16)).all()
    wide = bound("conv1d", x, w, dtype=F32, accumulate=F64)
    assert (wide < bound("conv1d", x, w, dtype=F32)).all()


# --- sharpness


@pytest.mark.parametrize(("stored", "summed"), TYPES_ALONE)
def test_the_bound_is_the_formula_in_the_docstring(stored, summed):
    x, w, b = np.full((1, 1, 7), 0.5), np.full((1, 1, 7), -1.0), np.full(1, 2.0)
    limit = Fraction(bound("conv1d", x, w, b, dtype=stored, accumulate=summed).item())
    products_are_exact = 2 * DIGITS[stored] <= DIGITS[summed]
    y, A = Fraction(-3, 2), Fraction(11, 2)

    def formula(n):
        """The bound for n terms, without underflow."""
        error = (n - products_are_exact) * power(-DIGITS[summed]) * A
        of_reference = (n - (stored is not F64)) * power(-53) * A
        storing = power(-DIGITS[stored]) * (abs(y) + error) if stored is not summed else 0
        return error + of_reference + storing

    assert formula(8) <= limit < formula(9)


@pytest.mark.parametrize(("stored", "summed"), [(F16, F16), (F32, F32), (F64, F64)])
def test_a_sum_that_loses_every_small_term_comes_near_the_bound(stored, summed):
    u = unit_roundoff(summed)
    x, w = np.array([[[1.0] + [u] * 15]]), np.ones((1, 1, 16))
    expected, limit = reference.conv1d(x, w), bound("conv1d", x, w, dtype=stored, accumulate=summed)
    ratios = []
    for order in ("sequential", "reversed"):
        total = Machine(stored, summed, order).total(list(zip(x.flat, w.flat, strict=True)), None)
        ratios.append(worst_ratio(np.array([[[total]]]), expected, limit))
    assert 0.3 < max(ratios) <= 1


def test_a_stored_tie_comes_near_the_bound():
    x, w = np.array([[[1.0, 2.0**-11]]]), np.ones((1, 1, 2))
    got = reference.conv1d(x, w).astype(F16)
    assert 0.3 < worst_ratio(got, reference.conv1d(x, w), bound("conv1d", x, w, dtype=F16)) <= 1


@pytest.mark.parametrize("dtype", [F16, F32, F64])
def test_a_missing_tap_and_a_wrong_sign_exceed_the_bound(dtype):
    rng = np.random.default_rng(3)
    x, w, b = (rng.standard_normal(s).astype(dtype) for s in ((1, 3, 6, 7), (2, 3, 3, 3), (2,)))
    g = rng.standard_normal((1, 2, 4, 5)).astype(dtype)
    expected, limit = reference.conv2d(x, w, b), bound("conv2d", x, w, b, dtype=dtype)
    gradients, limits = (
        reference.conv2d_backward(g, x, w, b),
        bound("conv2d_backward", g, x, w, b, dtype=dtype),
    )
    assert worst_ratio(expected.astype(dtype), expected, limit) <= 1
    for index in np.ndindex(w.shape):
        for factor in (0, -1):
            wrong = w.copy()
            wrong[index] *= factor
            assert worst_ratio(reference.conv2d(x, wrong, b).astype(dtype), expected, limit) > 1
            dx = reference.conv2d_backward(g, x, wrong, b).input.astype(dtype)
            assert worst_ratio(dx, gradients.input, limits.input) > 1
    for index in np.ndindex(g.shape):
        wrong = g.copy()
        wrong[index] = 0
        dw, db = reference.conv2d_backward(wrong, x, w, b)[1:]
        assert worst_ratio(dw.astype(dtype), gradients.weight, limits.weight) > 1
        assert worst_ratio(db.astype(dtype), gradients.bias, limits.bias) > 1
    assert worst_ratio(reference.conv2d(x, w).astype(dtype), expected, limit) > 1
    assert worst_ratio(reference.conv2d(x, w, b, flip=True).astype(dtype), expected, limit) > 1


# --- where no error is allowed


@pytest.mark.parametrize("flushes", [False, True])
def test_copies_are_exact(flushes):
    x = np.linspace(-1, 1, 6).reshape(1, 1, 6)
    keywords = {"dtype": F64, "flushes_subnormals": flushes}
    assert not bound("unfold", x, (3,), **keywords).any()
    assert not bound("fold_backward", x, np.zeros((1, 3, 4)), (6,), (3,), **keywords).input.any()


@pytest.mark.parametrize("dtype", [F16, F32, F64])
def test_sums_of_one_plain_term_are_exact(dtype):
    x = np.array([[[0.25, 0.5, 0.75]]])
    assert not bound("fold", x, (3,), (1,), dtype=dtype).any()
    overlap = bound("fold", np.ones((1, 2, 3)), (4,), (2,), dtype=dtype)
    assert (overlap > 0).tolist() == [[[False, True, True, False]]]
    gaps = bound("conv_transpose1d", x, np.ones((1, 1, 1)), np.array([0.5]), 2, dtype=dtype)
    assert (gaps > 0).tolist() == [[[True, False, True, False, True]]]
    one = np.ones((1, 1, 3))
    gradients = bound("conv1d_backward", np.full((1, 1, 1), 0.75), one, one, np.ones(1), dtype=dtype)
    assert not gradients.bias.any()
    assert gradients.input.all()
    assert gradients.weight.all()
    assert not bound("conv1d", np.zeros((1, 0, 5)), np.zeros((2, 0, 3)), np.ones(2), dtype=dtype).any()


def test_zeros_make_no_errors():
    x, w = np.array([[[0.0, 0.0, 0.1, 0.0]]]).astype(F32), np.array([[[0.1, 0.0]]]).astype(F32)
    limit = bound("conv1d", x, w, dtype=F32)
    assert (limit > 0).tolist() == [[[False, False, True]]]
    one, many = np.zeros((1, 1, 50), F32), np.ones((1, 1, 50), F32)
    one[0, 0, 7] = 3
    assert bound("conv1d", one, many, dtype=F32) < 2 * 2.0**-24 * 3


# --- range


def test_products_that_underflow():
    x, w = np.full((1, 1, 4), 2.0**-80), np.full((1, 1, 4), 2.0**-80)
    expected, limit = reference.conv1d(x, w), bound("conv1d", x, w, dtype=F32)
    assert 0 < worst_ratio(np.zeros((1, 1, 1)), expected, limit) <= 1
    # Half the smallest subnormal each, rounded to even, or up to the smallest one.
    x, w = np.full((1, 1, 4), 2.0**-75), np.full((1, 1, 4), 1.5 * 2.0**-75)
    expected, limit = reference.conv1d(x, w), bound("conv1d", x, w, dtype=F32)
    for order in ORDERS:
        got = Machine(F32, F32, order).total(list(zip(x.flat, w.flat, strict=True)), random.Random(0))
        assert worst_ratio(np.array([[[got]]]), expected, limit) <= 1
    x, w = np.full((1, 1, 4), 2.0**-540), np.full((1, 1, 4), 2.0**-540)
    limit = bound("conv1d", x, w, dtype=F64)
    assert worst_ratio(np.full((1, 1, 1), 4 * 5e-324), reference.conv1d(x, w), limit) <= 1


def test_flushing_is_covered_only_where_declared():
    x, w = np.full((1, 1, 1), 2.0**-130), np.full((1, 1, 1), 2.0**100)
    expected, flushed = reference.conv1d(x, w), np.zeros((1, 1, 1))
    assert worst_ratio(flushed, expected, bound("conv1d", x, w, dtype=F32)) > 1
    assert worst_ratio(flushed, expected, bound("conv1d", x, w, dtype=F32, flushes_subnormals=True)) <= 1
    x, w = np.full((1, 1, 1), 2.0**-20), np.full((1, 1, 1), 8.0)
    limit = bound("conv1d", x, w, dtype=F16)
    assert np.array_equal(bound("conv1d", x, w, dtype=F16, flushes_subnormals=True), limit)
    assert (bound("conv1d", x, w, dtype=F16, accumulate=F16, flushes_subnormals=True) > 2 * limit).all()


def test_where_the_stored_type_may_overflow_there_is_no_bound():
    x, w = np.array([[[60000.0, 0, 65504, 64]]]), np.array([[[1.0, 1.0]]])
    assert np.isinf(bound("conv1d", x, w, dtype=F16)).tolist() == [[[False, False, True]]]
    # The sum is small, but added up in float16 it may overflow on the way.
    x, w = np.array([[[60000.0, 60000.0, -60000.0]]]), np.ones((1, 1, 3))
    assert np.isfinite(bound("conv1d", x, w, dtype=F16)).all()
    assert np.isinf(bound("conv1d", x, w, dtype=F16, accumulate=F16)).all()


def test_where_a_sum_may_overflow_there_is_no_bound():
    x, w = np.array([[[1e30, -1e30, 1.0]]]).astype(F32), np.full((1, 1, 2), 1e10, F32)
    assert np.isinf(bound("conv1d", x, w, dtype=F32)).tolist() == [[[True, True]]]
    x, w = np.array([[[1e300, -1e300, 1.0]]]), np.full((1, 1, 2), 1e10)
    assert np.isinf(bound("conv1d", x, w, dtype=F64)).tolist() == [[[True, True]]]


# --- helpers


def test_unit_roundoff():
    for dtype in (F16, F32, F64):
        u = unit_roundoff(dtype)
        assert dtype(1) + dtype(2 * u) > 1
        assert dtype(1) + dtype(u) == 1


@pytest.mark.parametrize(("stored", "summed"), TYPES_ALONE)
@pytest.mark.parametrize("terms", [0, 1, 9, 25, 576, 4608, 10**6])
def test_largest_exact_integer(stored, summed, terms):
    R, limit = largest_exact_integer(terms, stored, accumulate=summed), 2 ** DIGITS[summed]
    assert terms * R**2 + R <= limit
    assert 2 ** DIGITS[stored] == R or terms * (R + 1) ** 2 + R + 1 > limit
    assert int(stored(R)) == R
    if 0 < terms < 1000 and R:
        signs = np.resize([1, -1, 1], terms)
        products = summed(R) * summed(R) * signs.astype(summed)
        for values in (products, products[::-1], np.abs(products)):
            got = np.cumsum(np.append(values, summed(R)), dtype=summed)
            exact = np.cumsum([*(int(v) for v in values), R])
            assert np.array_equal(got.astype(F64), exact.astype(F64))


def test_largest_exact_integer_defaults_and_table():
    # n = 9, 576 and 4608 products in float32, 9 in a float16 accumulator
    assert [largest_exact_integer(n, F32) for n in (9, 576, 4608)] == [1365, 170, 60]
    assert largest_exact_integer(9, F16, accumulate=F16) == 15
    assert largest_exact_integer(9, F16) == largest_exact_integer(9, F32)
    assert largest_exact_integer(1, F16) == 2048
    assert largest_exact_integer(2**25, F32) == 0


def test_worst_ratio():
    inf, nan = math.inf, math.nan

    def ratio(got, expected, limit):
        return worst_ratio(np.array([got]), np.array([expected]), np.array([limit]))

    assert ratio(3.0, 2.0, 2.0) == ratio(-3.0, -2.0, 2.0) == 0.5
    assert ratio(2.0, 2.0, 0.0) == 0
    assert ratio(2.0, np.nextafter(2.0, 3.0), 0.0) == inf
    assert ratio(inf, inf, 1.0) == ratio(-inf, -inf, 0.0) == ratio(nan, nan, 0.0) == 0
    assert ratio(inf, -inf, 1.0) == ratio(inf, 1.0, 1.0) == ratio(1.0, inf, 1.0) == inf
    assert ratio(nan, 1.0, 1.0) == ratio(1.0, nan, 1.0) == ratio(nan, inf, 0.0) == inf
    assert ratio(inf, 1e5, inf) == ratio(nan, 1e5, inf) == ratio(0.0, 1e5, inf) == 0
    assert worst_ratio(np.array([[0.0, 4.0], [9.0, 0.0]]), np.zeros((2, 2)), np.full((2, 2), 2.0)) == 4.5
    assert worst_ratio(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3))) == 0
    assert worst_ratio(np.array(3.0), np.array(2.0), np.array(4.0)) == 0.25
    assert worst_ratio(np.array([3], F16), np.array([2.0]), np.array([4], F32)) == 0.25


# --- refusals

ONE = np.ones(1)
SIGNAL, KERNEL = np.ones((1, 1, 4)), np.ones((1, 1, 3))


def refused_bound(*arguments, **keywords):
    return lambda: bound(*arguments, **{"dtype": F32, **keywords})


REFUSED = [
    (lambda: worst_ratio(np.ones(2), ONE, ONE), ValueError, "shapes must be equal: got.shape=(2,)"),
    (lambda: worst_ratio(ONE, ONE, np.ones((1, 1))), ValueError, "bound.shape=(1, 1)"),
    (lambda: worst_ratio(ONE, np.ones(()), ONE), ValueError, "expected.shape=()"),
    (lambda: worst_ratio(ONE, ONE, -ONE), ValueError, "bound must not be negative or NaN"),
    (lambda: worst_ratio(ONE, ONE, ONE * math.nan), ValueError, "bound must not be negative or NaN"),
    (lambda: worst_ratio(ONE, [1.0], ONE), TypeError, "expected must be a plain NumPy array, got list"),
    (lambda: worst_ratio(ONE * 1j, ONE, ONE), TypeError, "got must hold real numbers"),
    (lambda: unit_roundoff("i4"), ValueError, "dtype must be float16, bfloat16, float32 or float64, got dtype=int32"),
    (lambda: unit_roundoff(None), TypeError, "dtype must be float16, bfloat16, float32 or float64, got None"),
    (lambda: unit_roundoff("g"), ValueError, "dtype must be float16, bfloat16, float32 or float64"),
    (lambda: largest_exact_integer(-1, F32), ValueError, "terms must be at least 0, got terms=-1"),
    (lambda: largest_exact_integer(1.5, F32), TypeError, "terms must be an integer, got terms=1.5"),
    (lambda: largest_exact_integer(True, F32), TypeError, "terms must be an integer, got terms=True"),
    (
        lambda: largest_exact_integer(1, F32, accumulate=F16),
        ValueError,
        "accumulate=float16 must not be narrower than dtype=float32",
    ),
    (refused_bound("conv4d", SIGNAL, KERNEL), ValueError, "got operation='conv4d'"),
    (refused_bound("ConvGradients", None, None, None), ValueError, "got operation='ConvGradients'"),
    (refused_bound("conv1d", SIGNAL, KERNEL, dtype=None), TypeError, "dtype must be float16"),
    (refused_bound("conv1d", SIGNAL, KERNEL, accumulate=F16), ValueError, "must not be narrower"),
    (refused_bound("conv1d", SIGNAL, KERNEL, flushes_subnormals=1), TypeError, "flushes_subnormals must be"),
    (
        refused_bound("conv1d", SIGNAL / 3, KERNEL),
        ValueError,
        "input holds values that float32 cannot represent",
    ),
    (refused_bound("conv1d", SIGNAL, KERNEL * 1e39), ValueError, "weight holds values that float32 cannot"),
    (refused_bound("conv1d", SIGNAL, KERNEL * math.inf), ValueError, "weight must be finite"),
    (refused_bound("conv1d", SIGNAL * math.nan, KERNEL), ValueError, "input must be finite"),
    (refused_bound("conv1d", [1.0], KERNEL), TypeError, "input must be a plain NumPy array, got list"),
    (refused_bound("conv1d", SIGNAL, KERNEL, stride=0), ValueError, "stride must be at least 1"),
    (refused_bound("conv1d", SIGNAL), TypeError, "missing a required argument: 'weight'"),
]


@pytest.mark.parametrize(("function", "error", "text"), REFUSED)
def test_refusals(function, error, text):
    with pytest.raises(error) as caught:
        function()
    assert text in str(caught.value)
