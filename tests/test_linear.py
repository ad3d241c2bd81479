"""linear on every device: integers are exact in any layout, and reals within their bound."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from tests.calls import assert_exact, assert_within_bound, integers, reals
from tests.strategies import DTYPES, laid_out, layouts


@st.composite
def layers(draw):
    """Draw a maker of arrays, and the shapes of rows, weight and bias."""
    rows = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    sizes = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    dtype, seed, layout = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32 - 1)), draw(layouts)
    random = np.random.default_rng(seed)

    def make(values, *shape):
        return laid_out(values(random, shape, dtype, 64), layout if len(shape) > 1 else "contiguous")

    return make, rows, sizes, draw(st.booleans())


@settings(max_examples=40)
@given(drawn=layers())
def test_integers_are_exact(device, record, drawn):
    make, rows, (inputs, outputs), has_bias = drawn
    x, w = make(integers, *rows, inputs), make(integers, outputs, inputs)
    b = make(integers, outputs) if has_bias else None
    assert_exact("linear", device, record, x, w, b)
    assert_exact("linear_backward", device, record, make(integers, *rows, outputs), x, w, b)


@settings(max_examples=20)
@given(drawn=layers())
def test_reals_are_within_their_bounds(device, record, drawn):
    make, rows, (inputs, outputs), has_bias = drawn
    x, w = make(reals, *rows, inputs), make(reals, outputs, inputs)
    b = make(reals, outputs) if has_bias else None
    assert_within_bound("linear", device, record, x, w, b)
    assert_within_bound("linear_backward", device, record, make(reals, *rows, outputs), x, w, b)


def test_a_weight_of_one_axis_gives_one_number_a_row(device, record):
    x, w, g = np.arange(12.0).reshape(4, 3), np.array([1.0, 0.0, 2.0]), np.arange(4.0)
    assert_exact("linear", device, record, x, w, np.array(5.0))
    assert_exact("linear_backward", device, record, g, x, w, np.array(5.0))


def test_no_rows_and_rows_of_nothing(device, record):
    w, b = np.ones((4, 3)), np.arange(4.0)
    assert_exact("linear", device, record, np.ones((0, 3)), w, b)
    assert_exact("linear_backward", device, record, np.ones((0, 4)), np.ones((0, 3)), w, b)
    assert_exact("linear", device, record, np.ones((2, 0)), np.ones((4, 0)), b)


def test_more_axes_than_a_kernel_walks(device, record):
    x = np.arange(2.0**7).reshape((2,) * 7)[:, ::-1].transpose(3, 1, 0, 2, 6, 4, 5)
    w, out = np.array([[1.0, 2.0], [3.0, -1.0], [0.0, 1.0]]), np.empty((3, *(2,) * 6)).T
    assert_exact("linear", device, record, x, w)
    assert clconv.linear(x, w, out=out, device=device) is out
    np.testing.assert_array_equal(out, x @ w.T)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (((2, 4), (5, 3)), "input's last axis must have the 3 elements of weight's last axis: input.shape=(2, 4)"),
        (((), (5, 3)), "input's last axis must have the 3 elements"),
        (((2, 3), (1, 5, 3)), "weight takes 2 axes, or 1 for a single output: weight.shape=(1, 5, 3)"),
        (((2, 3), ()), "weight takes 2 axes"),
        (((2, 3), (5, 3), (4,)), "bias must have one value for each output, shape (5,): bias.shape=(4,)"),
    ],
)
def test_refusals(shapes, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        clconv.linear(*(np.ones(shape) for shape in shapes))
    if len(shapes) == 2 and len(shapes[1]) == 2 and shapes[0]:
        return
    with pytest.raises(ValueError, match="must have"):
        clconv.linear_backward(np.ones((3, 5)), np.ones((2, 3)), np.ones((5, 3)))
