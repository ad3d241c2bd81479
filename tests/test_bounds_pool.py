"""Pooling's bounds against machines that round on purpose, in many orders, with every error that OpenCL allows.

Where windows read is taken from the reference, which test_reference_pool judges. There is no tolerance in here: a
ratio of 1 is the bound.
"""

import inspect
import math
import re
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clconv.oracle.bounds import worst_ratio
from clconv.oracle.bounds.pool import BOUNDS
from clconv.oracle.bounds.pool_lp import _reference_log_error
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference import pool, pool_adaptive, pool_average, pool_global, pool_lp, pool_unpool
from clconv.oracle.reference.pool_windows import adaptive_pool, sliding_pool

F16, F32, F64 = np.float16, np.float32, np.float64
TYPES = ((F32, F32), (F16, F32), (F16, F16), (F32, F64), (F64, F64))
ORDERS = ("sequential", "reversed", "shuffled", "pairwise")
DIVISIONS = ("last", "reciprocal", "each", "fused")
MODULES = (pool, pool_unpool, pool_average, pool_lp, pool_adaptive, pool_global)


def reference(name):
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))


def bound(name, rounding, *arguments, **keywords):
    """Call the bound as `bounds.bound` does: with all arguments, and arrays in float64."""
    bound_arguments = inspect.signature(reference(name)).bind(*arguments, **keywords)
    bound_arguments.apply_defaults()
    given = bound_arguments.arguments
    arrays = {k: a.astype(F64) for k, a in given.items() if isinstance(a, np.ndarray) and a.dtype.kind == "f"}
    return BOUNDS[name]({**given, **arrays}, rounding)


def rounding_of(stored, summed, flushes=False):
    return Rounding(np.dtype(stored), np.dtype(summed), flushes)


class Machine(NamedTuple):
    """A way to compute: arrays in `stored`, arithmetic in `summed`, with errors up to what OpenCL allows."""

    stored: type
    summed: type
    order: str
    division: str
    flushes: bool
    rng: np.random.Generator

    @property
    def rounding(self):
        return rounding_of(self.stored, self.summed, self.flushes)

    def number(self, value):
        """Round to the type of the sums."""
        return self.flushed(self.summed(value), self.summed)

    def flushed(self, value, dtype):
        # vload_half and vstore_half do not flush
        may_flush = self.flushes and not (dtype is F16 and self.summed is not F16)
        return dtype(0) if may_flush and abs(value) < np.finfo(dtype).tiny else value

    def read(self, value):
        return self.number(self.flushed(value, self.stored))

    def stored_as(self, value):
        return self.flushed(self.stored(value), self.stored)

    def off_by(self, value, ulps):
        """Change a correctly rounded number by some units in the last place."""
        steps = self.rng.integers(-ulps, ulps, endpoint=True)
        return self.number(value + steps * np.spacing(abs(value)))

    def quotient(self, a, b):
        """Divide: 2.5 ulp, correctly rounded in double precision."""
        return self.off_by(self.number(a / b), 0 if self.summed is F64 else 2)

    def power(self, a, b):
        """Raise to a power: 16 ulp, not negative. Float64's own error is far below one of the smaller types."""
        return max(self.off_by(self.number(F64(a) ** F64(b)), 15), self.summed(0)) if a else self.summed(0)

    def total(self, terms):
        """Add numbers up."""
        items = list(terms)
        if self.order == "reversed":
            items.reverse()
        elif self.order == "shuffled":
            self.rng.shuffle(items)
        while len(items) > 1:
            if self.order == "pairwise":
                odd = items[len(items) & ~1 :]
                items = [self.number(a + b) for a, b in zip(items[::2], items[1::2], strict=False)] + odd
            else:
                items[:2] = [self.number(items[0] + items[1])]
        return items[0] if items else self.summed(0)

    def mean(self, terms, divisors):
        """Add up quotients; all divisors are equal unless each term is divided."""
        numbers, denominators = [self.read(t) for t in terms], [self.summed(d) for d in divisors]
        if self.division == "last" and len(set(divisors)) == 1:
            return self.stored_as(self.quotient(self.total(numbers), denominators[0]))
        one = self.summed(1)
        if self.division == "reciprocal" and len(set(divisors)) == 1:
            return self.stored_as(self.number(self.total(numbers) * self.quotient(one, denominators[0])))
        if self.division == "fused" and self.summed is not F64:  # products are exact in float64
            result = F64(0)
            for t, d in zip(numbers, denominators, strict=True):
                result = F64(self.number(result + F64(t) * F64(self.quotient(one, d))))
            return self.stored_as(self.number(result))
        return self.stored_as(self.total([self.quotient(t, d) for t, d in zip(numbers, denominators, strict=True)]))

    def norm(self, values, p):
        """Return the norm as it is before it is stored."""
        powers = [self.power(abs(self.read(v)), self.summed(p)) for v in values]
        return self.power(self.total(powers), self.quotient(self.summed(1), self.summed(p)))

    def slope(self, value, norm, p):
        """Differentiate a norm by one of its numbers, in two ways."""
        x, exponent = self.read(value), self.number(self.summed(p) - self.summed(1))
        if not x:
            return self.summed(0)
        if self.division == "last":
            slope = self.power(self.quotient(abs(x), norm), exponent)
        else:
            slope = self.quotient(self.power(abs(x), exponent), self.power(norm, exponent))
        return math.copysign(1, x) * slope


@st.composite
def machines(draw):
    stored, summed = draw(st.sampled_from(TYPES))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return Machine(
        stored, summed, draw(st.sampled_from(ORDERS)), draw(st.sampled_from(DIVISIONS)), draw(st.booleans()), rng
    )


def numbers(machine, kind, shape):
    """Draw numbers of one sign, of both, of many magnitudes, or so small that results underflow."""
    rng = machine.rng
    if kind == "one sign":
        return rng.uniform(1, 2, shape).astype(machine.stored)
    values = rng.standard_normal(shape)
    if kind == "magnitudes":
        values = values * 2.0 ** rng.integers(-6, 6, shape)
    if kind == "small":
        values = values * 8 * float(np.finfo(machine.summed).tiny)
    return values.astype(machine.stored)


KINDS = st.sampled_from(("one sign", "both signs", "magnitudes", "small"))


@st.composite
def poolings(draw):
    """Draw the shape of an input, and arguments that place windows on it."""
    K, S = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    X = draw(st.integers(K, K + 5))
    return (draw(st.integers(1, 2)), 3, X), {"kernel_size": K, "stride": S, "ceil_mode": draw(st.booleans())}


def computed(windows, shape, value):
    """Evaluate value(n, c, window's index, its pixels) for each result."""
    result = np.zeros((*shape[:2], len(windows.pixels)), dtype=F64)
    for n, c, o in np.ndindex(*result.shape):
        result[n, c, o] = value(n, c, o, [tap for tap in windows.pixels[o] if tap >= 0])
    return result


def computed_gradient(windows, shape, value):
    """Evaluate value(n, c, pixel, its windows) for each pixel."""
    result = np.zeros(shape, dtype=F64)
    for n, c, pixel in np.ndindex(*shape):
        result[n, c, pixel] = value(n, c, pixel, [o for o, taps in enumerate(windows.pixels) if pixel in taps])
    return result


def average_ratios(machine, kind, shape, arguments, adaptive):
    """Return the worst ratios of a mean and its gradient on a machine."""
    x = numbers(machine, kind, shape)
    name = "adaptive_avg_pool1d" if adaptive else "avg_pool1d"
    if adaptive:
        arguments = {"output_size": shape[2] // arguments["stride"] + 1}
        windows = adaptive_pool(1, x, arguments["output_size"], True).windows
    else:
        windows = sliding_pool(1, x, dilation=1, padding=0, **arguments).windows
    with np.errstate(all="ignore"):
        divisors = windows.inside.sum(axis=1)
        got = computed(windows, shape, lambda n, c, o, taps: machine.mean(x[n, c, taps], [divisors[o]] * len(taps)))
        g = numbers(machine, kind, got.shape)
        got_dx = computed_gradient(windows, shape, lambda n, c, _, found: machine.mean(g[n, c, found], divisors[found]))
    limit = bound(name, machine.rounding, x, **arguments)
    limit_dx = bound(f"{name}_backward", machine.rounding, g, x, **arguments).input
    expected_dx = reference(f"{name}_backward")(g, x, **arguments).input
    return worst_ratio(got, reference(name)(x, **arguments), limit), worst_ratio(got_dx, expected_dx, limit_dx)


def maximum_ratio(machine, kind, shape, arguments, ties):
    """Return the worst ratio of the gradient of a maximum; a flushing machine may prefer any small pixel."""
    x, floor = numbers(machine, kind, shape), machine.rounding.flush_cost
    windows = sliding_pool(1, x, dilation=1, padding=0, **arguments).windows

    def seen(value):
        return 0.0 if abs(value) < floor else float(value)

    won = np.zeros((*shape[:2], *windows.pixels.shape), dtype=bool)
    for n, c, o in np.ndindex(*won.shape[:3]):
        values = [seen(x[n, c, tap]) if tap >= 0 else -np.inf for tap in windows.pixels[o]]
        candidates = np.flatnonzero(np.array(values) == max(values))
        won[n, c, o, candidates if ties != "first" else candidates[:1]] = True
    g = numbers(machine, kind, won.shape[:3])

    def gradient(n, c, pixel, found):
        chosen = [o for o in found if (won[n, c, o] & (windows.pixels[o] == pixel)).any()]
        if ties == "share":
            return machine.mean(g[n, c, chosen], won[n, c, chosen].sum(axis=-1))
        return machine.stored_as(machine.total([machine.read(v) for v in g[n, c, chosen]]))

    with np.errstate(all="ignore"):
        got = computed_gradient(windows, shape, gradient)
    limit = bound("max_pool1d_backward", machine.rounding, g, x, **arguments, ties=ties).input
    return worst_ratio(got, reference("max_pool1d_backward")(g, x, **arguments, ties=ties).input, limit)


def norm_ratios(machine, kind, shape, arguments, p):
    x = numbers(machine, kind, shape)
    windows = sliding_pool(1, x, dilation=1, padding=0, **arguments).windows
    with np.errstate(all="ignore"):
        norms = computed(windows, shape, lambda n, c, _, taps: machine.norm(x[n, c, taps], p))
        got = norms.astype(machine.stored).astype(F64)
        g = numbers(machine, kind, got.shape)

        def gradient(n, c, pixel, found):
            slopes = [machine.slope(x[n, c, pixel], machine.summed(norms[n, c, o]), p) for o in found]
            terms = [machine.number(machine.read(g[n, c, o]) * s) for o, s in zip(found, slopes, strict=True)]
            return machine.stored_as(machine.total(terms))

        got_dx = computed_gradient(windows, shape, gradient)
    limit = bound("lp_pool1d", machine.rounding, x, p, **arguments)
    limit_dx = bound("lp_pool1d_backward", machine.rounding, g, x, p, **arguments).input
    expected_dx = reference("lp_pool1d_backward")(g, x, p, **arguments).input
    return worst_ratio(got, reference("lp_pool1d")(x, p, **arguments), limit), worst_ratio(
        got_dx, expected_dx, limit_dx
    )


TRIES = settings(max_examples=150, deadline=None)


@TRIES
@given(machines(), KINDS, poolings(), st.booleans())
def test_no_mean_exceeds_its_bound(machine, kind, pooling, adaptive):
    assert max(average_ratios(machine, kind, *pooling, adaptive)) <= 1


@TRIES
@given(machines(), KINDS, poolings(), st.sampled_from(("first", "all", "share")))
def test_no_gradient_of_a_maximum_exceeds_its_bound(machine, kind, pooling, ties):
    assert maximum_ratio(machine, kind, *pooling, ties) <= 1


@TRIES
@given(machines(), KINDS, poolings(), st.sampled_from((1, 2, 3, 0.5, 3.3, 7, 40)))
def test_no_norm_exceeds_its_bound(machine, kind, pooling, p):
    assert max(norm_ratios(machine, kind, *pooling, p)) <= 1


def test_bounds_are_met_to_a_fair_part():
    """Divisions make 4 of 6 units where a window holds one pixel; the rounding of a sum of two can make all of 1.

    Of a norm's 54 units and some for 1/p, powers make 16 and 32 at best, and the other half of a gradient's.
    """
    shape, wide = (40, 3, 12), {"kernel_size": 3, "stride": 2, "ceil_mode": True}
    machine = Machine(F32, F32, "sequential", "each", False, np.random.default_rng(0))
    narrow = {"kernel_size": 1, "stride": 1, "ceil_mode": False}
    assert min(average_ratios(machine, "both signs", shape, narrow, False)) > 0.6
    assert min(average_ratios(machine, "one sign", shape, wide, False)) > 0.5
    assert maximum_ratio(machine, "both signs", shape, wide, "first") > 0.75
    norm, gradient = norm_ratios(machine, "one sign", (10, 3, 12), wide, 2)
    assert norm > 0.4
    assert gradient > 0.2


@pytest.mark.parametrize("types", TYPES, ids=lambda types: " in ".join(t.__name__ for t in types))
def test_wrong_results_exceed_the_bound(types):
    """A pixel that is left out, and a divisor that is off by one."""
    rounding = rounding_of(*types)
    x = np.random.default_rng(0).uniform(1, 2, (2, 3, 6, 6)).astype(types[0])
    y, limit = reference("avg_pool2d")(x, 3), bound("avg_pool2d", rounding, x, 3)
    assert worst_ratio(y.astype(types[0]), y, limit) <= 1
    assert worst_ratio(y * 9 / 8, y, limit) > 1
    assert worst_ratio(reference("avg_pool2d")(np.where(x == x[0, 0, 0, 0], 0, x), 3), y, limit) > 1
    y, limit = reference("lp_pool2d")(x, 2, 3), bound("lp_pool2d", rounding, x, 2, 3)
    assert worst_ratio(np.sqrt(y**2 - 1), y, limit) > 1 or types[1] is F16
    g = np.ones((2, 3, 2, 2), dtype=types[0])
    for name, arguments in (("max_pool2d", (3,)), ("avg_pool2d", (3,)), ("lp_pool2d", (2, 3))):
        dx = reference(f"{name}_backward")(g, x, *arguments).input
        limit = bound(f"{name}_backward", rounding, g, x, *arguments).input
        assert worst_ratio(dx[::-1], dx, limit) > 1 or name == "avg_pool2d"
        assert worst_ratio(dx * 9 / 8, dx, limit) > 1


def test_the_reference_of_norms_has_the_error_it_claims():
    rng = np.random.default_rng(0)
    for p in (0.3, 1, 1.7, 2, 3, 20, 1000):
        x = (rng.standard_normal((3, 2, 5)) * 2.0 ** rng.integers(-300, 300, (3, 2, 1))).astype(F64)
        y = reference("lp_pool1d")(x, p, 5)
        with localcontext(prec=60):
            for n, c in np.ndindex(3, 2):
                exact = sum(Decimal(abs(float(v))) ** Decimal(p) for v in x[n, c]) ** (1 / Decimal(p))
                error = abs(Decimal(float(y[n, c, 0])) / exact - 1)
                assert error <= Decimal(float(np.expm1(_reference_log_error(np.array(5.0), p))))


# --- what is exact, what is not known


def test_copies_are_exact():
    rounding = rounding_of(F16, F32)
    x = np.array([[1, 5, 5, 2]], dtype=F16)
    assert bound("max_pool1d", rounding, x, 2).tolist() == [[0, 0]]
    assert [a.tolist() for a in bound("max_pool1d", rounding, x, 2, return_indices=True)] == [[[0, 0]], [[0, 0]]]
    assert [a.tolist() for a in bound("adaptive_max_pool1d", rounding, x, 1, True)] == [[[0]], [[0]]]
    g = np.ones((1, 2), dtype=F16)
    assert bound("max_pool1d_backward", rounding, g, x, 2).input.tolist() == [[0, 0, 0, 0]]
    assert bound("max_pool1d_backward", rounding, g, x, 2, ties="share").input.tolist()[0][0] == 0
    indices = np.array([[0, 3]])
    assert bound("max_unpool1d", rounding, g, indices, 2).tolist() == [[0] * 4]
    assert bound("max_unpool1d_backward", rounding, x, g, indices, 2).input.tolist() == [[0, 0]]
    assert bound("lp_pool1d", rounding, x, np.inf, 2).tolist() == [[0, 0]]
    assert bound("lp_pool1d_backward", rounding, g, x, np.inf, 2).input.tolist() == [[0, 0, 0, 0]]
    zeros = np.zeros((1, 4), dtype=F16)
    for name, arguments in (("avg_pool1d", (2,)), ("lp_pool1d", (3, 2)), ("adaptive_avg_pool1d", (2,))):
        assert bound(name, rounding, zeros, *arguments).tolist() == [[0, 0]]
        assert bound(f"{name}_backward", rounding, 0 * g, x, *arguments).input.tolist() == [[0] * 4]
    assert bound("avg_pool1d_backward", rounding, g, x, 2, output_mask=(False,)) == (None,)


def test_flushing_makes_small_maxima_uncertain():
    rounding, tiny = rounding_of(F32, F32, True), 2.0**-126
    x = np.array([[tiny / 2, tiny / 4, 1, tiny / 2]], dtype=F32)
    values, indices = bound("max_pool1d", rounding, x, 2, return_indices=True)
    assert values.tolist() == [[2 * tiny, 0]]
    assert indices.tolist() == [[np.inf, 0]]
    dx = bound("max_pool1d_backward", rounding, np.ones((1, 2), dtype=F32), x, 2).input
    assert (dx >= [[1, 1, 0, 0]]).all()
    assert (dx[0, 2:] <= 4 * tiny).all()


def test_what_may_overflow_has_no_bound():
    x = np.full((1, 4), 2.0**127, dtype=F32)
    assert np.isinf(bound("avg_pool1d", rounding_of(F32, F32), x, 2)).all()
    assert np.isfinite(bound("avg_pool1d", rounding_of(F32, F64), x, 2)).all()
    assert np.isinf(bound("lp_pool1d", rounding_of(F32, F32), np.full((1, 4), 1e20, dtype=F32), 2, 2)).all()
    big = np.full((1, 4), 60000, dtype=F16)
    assert np.isfinite(bound("avg_pool1d", rounding_of(F16, F32), big, 2)).all()
    assert np.isinf(bound("lp_pool1d", rounding_of(F16, F32), big, 1, 2)).all()
    # A power that underflows: of the gradient, nothing is known; the norm is between 0 and a little more.
    small, g = np.full((1, 4), 1e-20, dtype=F32), np.ones((1, 2), dtype=F32)
    assert np.isinf(bound("lp_pool1d_backward", rounding_of(F32, F32), g, small, 3, 2).input).all()
    limit = bound("lp_pool1d", rounding_of(F32, F32), small, 3, 2)
    assert (limit >= reference("lp_pool1d")(small, 3, 2)).all()
    assert np.isfinite(limit).all()
    # 1/D is no normal number of float16.
    ones = np.ones((1, 1, 4), dtype=F16)
    assert np.isinf(bound("avg_pool2d", rounding_of(F16, F16), ones, (1, 2), divisor_override=20000)).all()


def test_every_operation_has_a_bound_in_the_shape_of_its_result():
    names = {name for module in MODULES for name in module.__all__ if re.search("pool[123]d|global_..._pool", name)}
    assert set(BOUNDS) == names
    x = np.ones((2, 3, 4, 4, 4), dtype=F32)
    for rank in (1, 2, 3):
        image, g, rounding = x[(..., *(0,) * (3 - rank))], np.ones((2, 3, *(2,) * rank)), rounding_of(F32, F32)
        calls = {
            "max_pool": (2,),
            "avg_pool": (2,),
            "lp_pool": (2, 2),
            "adaptive_avg_pool": (2,),
            "adaptive_max_pool": (2,),
        }
        for name, arguments in calls.items():
            assert bound(f"{name}{rank}d", rounding, image, *arguments).shape == g.shape
            assert bound(f"{name}{rank}d_backward", rounding, g, image, *arguments).input.shape == image.shape
        for name in ("global_avg_pool", "global_max_pool"):
            one = np.ones((2, 3, *(1,) * rank))
            assert bound(name, rounding, image).shape == one.shape
            assert bound(f"{name}_backward", rounding, one, image).input.shape == image.shape
        indices = np.arange(2**rank).reshape((2,) * rank) * np.ones(g.shape, dtype=int)
        assert bound(f"max_unpool{rank}d", rounding, g, indices, 2).shape == image.shape
        assert bound(f"max_unpool{rank}d_backward", rounding, image, g, indices, 2).input.shape == g.shape
