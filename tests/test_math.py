"""The elementary functions of kernels/math.h on every level of the processor and every OpenCL device.

Their errors are measured against float64 for float, and against the 64-bit significands of x87's long double for
double, but for the error function's, which is computed with 60 decimal digits. The figures that they must keep to are
those that math.h states.
"""

from __future__ import annotations

import contextlib
import io
import re
from decimal import Decimal

import numpy as np
import pytest
from scipy import special

from clconv import kernel_source
from tests.elementary import FUNCTIONS, evaluate, places
from tools import math_coefficients

WIDE = np.longdouble
needs_long_double = pytest.mark.skipif(np.finfo(WIDE).nmant < 63, reason="long double is no wider than double here")
INVERSE = {np.float32: (-104.0, 89.0), np.float64: (-745.0, 710.0)}  # where exp neither underflows nor overflows
REFERENCES = {
    "square_root": np.sqrt,
    "exponential": np.exp,
    "logarithm": np.log,
    "power": np.power,
    "hyperbolic_tangent": np.tanh,
    "error_function": special.erf,
}


def stated_errors():
    """Return the two figures of each function in the table of math.h."""
    text = (kernel_source.folder() / "math.h").read_text(encoding="utf-8")
    return {
        name: (float(c), float(cl)) for name, c, cl in re.findall(r"^ \*     (\w+) +([\d.]+) +([\d.]+)$", text, re.M)
    }


ERRORS = stated_errors()


def bits_of(random, dtype, count):
    """Draw from all bit patterns: every exponent, subnormal numbers, infinities and NaN."""
    width = 8 * np.dtype(dtype).itemsize
    return random.integers(0, 2**width, count, dtype=f"uint{width}").view(dtype)


def arguments_of(name, dtype, count=20000):
    """Draw arguments of a function: of every exponent, and where it neither underflows nor is constant."""
    random = np.random.default_rng(7)
    any_bits = bits_of(random, dtype, count)
    low, high = INVERSE[dtype]
    parts = [any_bits, random.uniform(low, high, count), random.uniform(-2, 2, count), random.uniform(-9, 9, count)]
    parts.append(1 + random.uniform(-0.6, 0.6, count) ** 5)
    with np.errstate(over="ignore"):
        x = np.concatenate([part.astype(dtype) for part in parts])
    if name in ("square_root", "logarithm", "power"):
        x = np.abs(x)
    if name != "power":
        return (x,)
    with np.errstate(all="ignore"):  # exponents for which the result has every magnitude
        y = (random.uniform(low, high, x.size) / np.log(x.astype(WIDE))).astype(dtype)
    return x, y


def in_ulps(got, exact):
    """Return the errors in units of the last place of the exact result; infinite where only one of them is finite."""
    limits = np.finfo(got.dtype)
    size = np.abs(exact)
    finite = np.isfinite(got) & (size < WIDE(limits.max) * (1 + WIDE(limits.eps)))
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log2(np.where(finite & (size > 0), size, 1)))
        ulp = np.exp2(np.maximum(exponent, limits.minexp) - limits.nmant)
        errors = np.where(finite, np.abs(got.astype(WIDE) - exact) / ulp, np.inf)
        same = (np.isnan(got) & np.isnan(exact)) | (np.isinf(got) & (size >= limits.max) & (got * exact > 0))
    return np.where(same, 0, errors)


def assert_kept(name, arguments, exact, devices):
    assert devices
    for place in devices:
        error = in_ulps(evaluate(place, name, *arguments), exact).max()
        stated = ERRORS[name][not place.startswith("native")]
        assert error <= stated, f"{name} is off by {error} ulp on {place}, math.h says {stated}"


def test_every_function_states_its_error():
    assert set(ERRORS) == set(FUNCTIONS) == set(REFERENCES)


def test_the_polynomials_are_those_of_the_tool():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        math_coefficients.main()
    assert printed.getvalue() == (kernel_source.folder() / "math_coefficients.h").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", REFERENCES)
def test_errors_in_float(device, name):
    arguments = arguments_of(name, np.float32)
    with np.errstate(all="ignore"):
        exact = REFERENCES[name](*(argument.astype(np.float64) for argument in arguments))
    assert_kept(name, arguments, exact.astype(WIDE), places([device]))


@needs_long_double
@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "error_function"])
def test_errors_in_double(device, name):
    arguments = arguments_of(name, np.float64)
    with np.errstate(all="ignore"):
        exact = REFERENCES[name](*(argument.astype(WIDE) for argument in arguments))
    assert_kept(name, arguments, exact, places([device]))


@needs_long_double
def test_error_of_the_error_function_in_double(device):
    random = np.random.default_rng(8)
    x = np.concatenate([random.uniform(0, 1.2, 300), random.uniform(0, 6, 100), 2.0 ** random.integers(-1022, 0, 50)])

    def erf(value):
        number = Decimal(float(value))
        if number <= 1:
            exact = number * (1 + math_coefficients.error_rest(number * number))
        else:
            exact = 1 - (-number * number).exp() * math_coefficients.scaled_complement(number)
        upper = float(exact)  # Decimal gives long double its digits in two parts
        return WIDE(upper) + WIDE(float(exact - Decimal(upper)))

    assert_kept("error_function", (x,), np.array([erf(value) for value in x]), places([device]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(device, dtype):
    inf, nan = np.inf, np.nan
    tiny, most = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    expected = {
        "square_root": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-1.0, nan), (nan, nan), (1.0, 1.0), (4.0, 2.0)],
        "exponential": [(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0), (nan, nan), (most, inf), (-most, 0.0)],
        "logarithm": [(0.0, -inf), (-0.0, -inf), (1.0, 0.0), (inf, inf), (-1.0, nan), (-inf, nan), (nan, nan)],
        "hyperbolic_tangent": [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (nan, nan), (most, 1.0)],
        "error_function": [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (nan, nan), (-most, -1.0)],
        "power": [
            (2.0, 3.0, 8.0),
            (3.0, 0.0, 1.0),
            (nan, 0.0, 1.0),
            (1.0, nan, 1.0),
            (1.0, inf, 1.0),
            (0.0, 2.0, 0.0),
            (0.0, -2.0, inf),
            (inf, 0.5, inf),
            (inf, -0.5, 0.0),
            (2.0, inf, inf),
            (2.0, -inf, 0.0),
            (0.5, inf, 0.0),
            (0.5, -inf, inf),
            (-1.0, 0.5, nan),
            (nan, 1.0, nan),
            (2.0, nan, nan),
            (most, 2.0, inf),
            (most, -2.0, 0.0),
            (tiny, 2.0, 0.0),
            (most, 1.0, most),
        ],
    }
    for name, cases in expected.items():
        *arguments, values = (np.array(column, dtype) for column in zip(*cases, strict=True))
        for place in places([device]):
            got = evaluate(place, name, *arguments)
            np.testing.assert_array_equal(got, values, err_msg=f"{name} on {place}")
            zeros = values == 0
            np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(values[zeros]), err_msg=f"{name}: -0")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_square_roots_are_correctly_rounded_in_c(dtype):
    x = np.abs(bits_of(np.random.default_rng(9), dtype, 100000))
    x = x[x == x]
    for place in places(["native"]):
        np.testing.assert_array_equal(evaluate(place, "square_root", x), np.sqrt(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, count in FUNCTIONS.items() if count == 1])
def test_errors_of_every_61st_float(name):
    """On the highest level, of all 2**32 floats in the order of their bits."""
    place, parts = places(["native"])[-1], 64
    for bits in np.array_split(np.arange(0, 2**32, 61, dtype=np.uint64).astype(np.uint32), parts):
        x = bits.view(np.float32)
        with np.errstate(all="ignore"):
            exact = REFERENCES[name](x.astype(np.float64)).astype(WIDE)
        assert_kept(name, (x,), exact, [place])
