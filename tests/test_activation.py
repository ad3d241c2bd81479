"""Activations on every device: any shape and strides, in place, refusals."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from clconv.problem.elementwise import CommonWalk
from tests.calls import assert_within_bound, reals
from tests.strategies import DTYPES, laid_out, layouts

NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "hardswish")
WITH_INPLACE = ("relu", "leaky_relu", "silu", "hardswish")
X = np.linspace(-4, 4, 24, dtype="float32").reshape(2, 3, 4)


@st.composite
def arrays(draw):
    """Draw an array, and another one of its shape, in any layouts."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=2, max_size=5)))
    dtype, seed = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    return [laid_out(reals(random, shape, dtype, 1), draw(layouts)) for _ in range(2)]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(drawn=arrays())
def test_values_and_gradients_are_within_their_bounds(device, record, name, drawn):
    g, x = drawn
    assert_within_bound(name, device, record, x)
    if g.dtype == x.dtype:
        assert_within_bound(f"{name}_backward", device, record, g, x)


@pytest.mark.parametrize("name", WITH_INPLACE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_inplace_writes_the_callers_array(device, name, dtype):
    operation = getattr(clconv, name)
    whole = np.zeros((4, 50, 3), dtype)
    for view in (slice(None), (slice(1, 3), slice(None, None, -2)), (slice(None), slice(3, 9), 1)):
        x = whole[view]
        x[...] = np.linspace(-4, 4, x.size).reshape(x.shape)
        before, expected = whole.copy(), operation(x.copy(), device=device)
        before[view] = expected
        assert operation(x, inplace=True, device=device) is x
        np.testing.assert_array_equal(whole, before)


def test_inplace_of_elements_that_are_not_aligned(device):
    memory = np.zeros(4 * 8 + 1, np.uint8)
    x = memory[1:].view("float32")
    x[...] = np.arange(-4, 4)
    assert clconv.relu(x, inplace=True, device=device) is x
    np.testing.assert_array_equal(x, [0, 0, 0, 0, 0, 1, 2, 3])


@pytest.mark.parametrize("name", WITH_INPLACE)
def test_inplace_is_refused_in_words_where_it_cannot_be(name):
    operation, backward = getattr(clconv, name), getattr(clconv, f"{name}_backward")
    frozen = X.copy()
    frozen.flags.writeable = False
    for array, arguments, text in (
        (frozen, {}, "inplace=True takes a writeable input: input.flags.writeable=False"),
        (np.broadcast_to(X[0], X.shape), {}, "inplace=True takes a writeable input"),
        (np.lib.stride_tricks.as_strided(X.copy(), (2, 3), (0, 4)), {}, "without two indices for one element"),
        (X.astype(">f4"), {}, "in native byte order: input.dtype=>f4"),
        (X.copy(), {"out": np.empty_like(X)}, "inplace=True writes to input: pass no out"),
    ):
        with pytest.raises(ValueError, match=re.escape(text)):
            operation(array, inplace=True, **arguments)
    with pytest.raises(ValueError, match=re.escape(f"{name}_backward takes inplace=False")):
        backward(X, X, inplace=True)
    with pytest.raises(TypeError, match=re.escape("inplace takes True or False, not int: inplace=1")):
        operation(X, inplace=1)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: clconv.relu([1.0]), TypeError, "input takes a numpy.ndarray"),
        (lambda: clconv.relu(np.ones(3, int)), TypeError, "input takes dtype float16, float32 or float64, not int64"),
        (lambda: clconv.gelu(X, "erf"), ValueError, "approximate takes one of 'none', 'tanh': approximate='erf'"),
        (lambda: clconv.gelu(X, None), TypeError, "approximate takes one of"),
        (lambda: clconv.leaky_relu(X, "1"), TypeError, "negative_slope takes a real number, not str"),
        (lambda: clconv.leaky_relu(X, True), TypeError, "negative_slope takes a real number, not bool"),
        (lambda: clconv.leaky_relu(X, np.nan), ValueError, "negative_slope must not be NaN"),
        (lambda: clconv.silu_backward(X[0], X), ValueError, "grad_output must have the output's shape (2, 3, 4)"),
        (lambda: clconv.tanh_backward(X.astype("f8"), X), TypeError, "arrays must have one dtype"),
        (lambda: clconv.relu(X, out=np.empty(3, "f4")), ValueError, "out must have the output's shape (2, 3, 4)"),
        (lambda: clconv.relu(X, out=X), ValueError, "out must not overlap an input"),
        (lambda: clconv.relu_backward(X, X, output_mask=(1,)), TypeError, "output_mask takes True or False"),
    ],
)
def test_refusals(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()


def test_out_of_any_layout_is_written(device):
    expected = clconv.gelu(X, device=device)
    for order in itertools.permutations(range(3)):
        out = np.empty(tuple(X.shape[axis] for axis in order), "f4").transpose(np.argsort(order))
        assert clconv.gelu(X, out=out, device=device) is out
        np.testing.assert_array_equal(out, expected)


def test_nothing_and_a_single_number(device):
    assert clconv.relu(np.zeros((0, 3), "f4"), device=device).shape == (0, 3)
    assert clconv.relu(np.array(-2.0), device=device) == 0
    assert clconv.silu_backward(np.array(4.0), np.array(0.0), device=device).input == 2


def test_more_axes_than_a_kernel_walks(device):
    x = np.arange(2**8, dtype="f4").reshape((2,) * 8)[:, ::-1].transpose(3, 1, 0, 2, 6, 4, 5, 7)[..., ::-1]
    np.testing.assert_array_equal(clconv.relu(x - 100, device=device), np.maximum(x - 100, 0))


def test_gelu_keeps_its_relative_accuracy_in_the_tail(device):
    from scipy import special

    x = np.linspace(-13, -1, 1000).astype("f4")
    exact = x.astype("f8") * special.ndtr(x.astype("f8"))
    assert np.abs(clconv.gelu(x, device=device) / exact - 1).max() < 8 * 2.0**-24


def test_limits_at_infinity_are_the_functions_own(device):
    x = np.array([-np.inf, np.inf])
    for name in ("silu", "gelu", "hardswish"):
        np.testing.assert_array_equal(getattr(clconv, name)(x, device=device), [0, np.inf])
        gradient = getattr(clconv, f"{name}_backward")(np.ones(2), x, device=device).input
        np.testing.assert_array_equal(gradient, [0, 1])


def test_the_walk_joins_what_all_arrays_step_evenly():
    assert CommonWalk.over((2, 3, 4), (12, 4, 1), (12, 4, 1)).extents == (1, 1, 1, 1, 24)
    assert CommonWalk.over((2, 3, 4), (12, 4, 1), (24, 4, 1)).extents == (1, 1, 1, 2, 12)
    assert CommonWalk.over((2, 1, 4), (4, 99, 1)).extents == (1, 1, 1, 1, 8)
    assert not CommonWalk.over((2, 3), (3, 1), (1, 2)).dense
    assert CommonWalk.over((2, 3), (1, 2), (1, 2)).dense
