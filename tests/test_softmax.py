"""softmax and cross entropy on every device: axes, layouts, types, refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from tests.calls import assert_within_bound
from tests.strategies import DTYPES, laid_out, layouts

X = np.linspace(-4, 4, 24, dtype="float32").reshape(2, 3, 4)
T = np.array([[0, 2, 1, -100], [1, 1, 0, 2]])


@st.composite
def rows(draw):
    """Draw arrays of one shape in any layouts, and an axis."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=2, max_size=4)))
    shape = (*shape[:-1], shape[-1] * draw(st.sampled_from((1, 1, 23))))
    random, dtype = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.sampled_from(DTYPES))
    made = [laid_out((3 * random.standard_normal(shape)).astype(dtype), draw(layouts)) for _ in range(2)]
    return made, draw(st.integers(-len(shape), len(shape) - 1))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@settings(max_examples=25)
@given(drawn=rows())
def test_values_and_gradients_are_within_their_bounds(device, record, name, drawn):
    (g, x), dim = drawn
    assert_within_bound(name, device, record, x, dim=dim)
    if g.dtype == x.dtype:
        assert_within_bound(f"{name}_backward", device, record, g, x, dim=dim)


def test_dtype_converts_the_input_first(device):
    x = X.astype("float16")
    np.testing.assert_array_equal(
        clconv.softmax(x, 1, dtype="float64", device=device), clconv.softmax(x.astype("f8"), 1, device=device)
    )
    dx = clconv.softmax_backward(X.astype("f8"), x, 1, dtype=np.float64, device=device).input
    wide = clconv.softmax_backward(X.astype("f8"), x.astype("f8"), 1, device=device).input
    assert dx.dtype == np.float16
    np.testing.assert_array_equal(dx, wide.astype("f2"))


def test_rows_that_are_infinite_are_nan_and_masked_ones_have_no_share(device):
    inf = np.inf
    x = np.array([[1.0, inf], [-inf, 0.0], [-inf, -inf], [np.nan, 0.0]])
    expected = [[np.nan, np.nan], [0, 1], [np.nan, np.nan], [np.nan, np.nan]]
    np.testing.assert_array_equal(clconv.softmax(x, 1, device=device), expected)


def test_nothing_and_a_single_number(device):
    assert clconv.softmax(np.zeros((0, 3)), 1, device=device).shape == (0, 3)
    assert clconv.softmax(np.zeros((3, 0)), 1, device=device).shape == (3, 0)
    assert clconv.softmax(np.array(7.0), 0, device=device) == 1


def test_results_do_not_depend_on_threads():
    x = np.random.default_rng(0).standard_normal((8, 64, 56, 56)).astype("f4")
    before = clconv.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            clconv.set_num_threads(threads)
            results.append([clconv.softmax(x, dim, device="native").tobytes() for dim in (1, 3)])
        assert results[0] == results[1] == results[2]
    finally:
        clconv.set_num_threads(before)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_any_layout_is_within_its_bound(device, record, reduction):
    random = np.random.default_rng(3)
    weight = np.array([0.5, 1.5, 2.0], "f4")
    for layout in ("contiguous", "fortran", "channels_last", "reversed", "sliced"):
        x = laid_out((3 * random.standard_normal((4, 3, 5, 2))).astype("f4"), layout)
        classes = laid_out(random.integers(0, 3, (4, 5, 2)), "reversed" if layout == "reversed" else "fortran")
        shares = laid_out(random.random((4, 3, 5, 2)).astype("f4"), "contiguous")
        arguments = {"reduction": reduction, "label_smoothing": 0.125}
        assert_within_bound("cross_entropy", device, record, x, classes, weight, **arguments)
        assert_within_bound("cross_entropy", device, record, x, shares, **arguments)
        g = np.asarray(random.standard_normal((4, 5, 2) if reduction == "none" else ()), "f4")
        assert_within_bound("cross_entropy_backward", device, record, g, x, classes, weight, **arguments)
        assert_within_bound("cross_entropy_backward", device, record, g, x, shares, **arguments)


@pytest.mark.parametrize(("shape", "axis"), [((70, 5, 200), 1), ((200, 37), 1), ((4, 40), 1), ((37,), 0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.125])
def test_cross_entropy_of_tiles_and_rows_is_within_its_bound(device, record, shape, axis, smoothing):
    random = np.random.default_rng(5)
    x = (3 * random.standard_normal(shape)).astype("f4")
    positions = tuple(extent for number, extent in enumerate(shape) if number != axis)
    classes = random.integers(-1, shape[axis], positions)
    weight = np.abs(random.standard_normal(shape[axis])).astype("f4")
    shares = random.random(shape).astype("f4")
    g = np.array(0.75, "f4")
    arguments = {"label_smoothing": smoothing, "ignore_index": -1}
    assert_within_bound("cross_entropy", device, record, x, classes, weight, **arguments)
    assert_within_bound("cross_entropy_backward", device, record, g, x, classes, weight, **arguments)
    assert_within_bound("cross_entropy", device, record, x, shares, **arguments)
    assert_within_bound("cross_entropy_backward", device, record, g, x, shares, **arguments)


def test_the_mean_of_no_positions_is_nan_and_has_no_gradient(device):
    x, ignored = np.zeros((2, 3)), np.array([-100, -100])
    assert np.isnan(clconv.cross_entropy(x, ignored, device=device))
    assert (clconv.cross_entropy_backward(np.array(1.0), x, ignored, device=device).input == 0).all()
    assert clconv.cross_entropy(x, ignored, reduction="sum", device=device) == 0


def test_many_positions_are_summed_in_slices(device, record):
    random = np.random.default_rng(4)
    x, classes = random.standard_normal((5000, 3)).astype("f4"), random.integers(0, 3, 5000)
    assert_within_bound("cross_entropy", device, record, x, classes)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: clconv.softmax(X), ValueError, "dim must be given"),
        (lambda: clconv.softmax(X, 3), ValueError, "dim must be between -3 and 2: dim=3, input.shape=(2, 3, 4)"),
        (lambda: clconv.softmax(X, 1.0), TypeError, "dim takes an integer, not float: dim=1.0"),
        (lambda: clconv.softmax(X, True), TypeError, "dim takes an integer, not bool"),
        (lambda: clconv.softmax(X, 1, "3"), TypeError, "_stacklevel takes an integer, not str"),
        (lambda: clconv.softmax(X, 1, dtype="int32"), TypeError, "dtype takes one of float16, float32, float64"),
        (lambda: clconv.softmax(X, 1, dtype="nonsense"), TypeError, "dtype takes one of"),
        (lambda: clconv.log_softmax_backward(X[0], X, 1), ValueError, "grad_output must have the output's shape"),
        (lambda: clconv.cross_entropy(X, T + 2), ValueError, "target must hold classes from 0 to 2, or ignore_index"),
        (lambda: clconv.cross_entropy(X, T[0]), ValueError, "target must have as classes"),
        (lambda: clconv.cross_entropy(X, T.astype("i4")), TypeError, "target takes classes as int64, not int32"),
        (lambda: clconv.cross_entropy(X, X[:, :2]), ValueError, "target must have as probabilities, the input's shape"),
        (lambda: clconv.cross_entropy(X, T, X[0, 0]), ValueError, "weight must have one value for each class"),
        (lambda: clconv.cross_entropy(X, T, size_average=True), ValueError, "size_average is deprecated in torch"),
        (lambda: clconv.cross_entropy(X, T, reduce=False), ValueError, "reduce is deprecated in torch"),
        (lambda: clconv.cross_entropy(X, T, reduction="max"), ValueError, "reduction takes one of"),
        (lambda: clconv.cross_entropy(X, T, label_smoothing=2), ValueError, "label_smoothing must be between 0 and 1"),
        (lambda: clconv.cross_entropy(X, T, ignore_index=0.5), TypeError, "ignore_index takes an integer, not float"),
        (lambda: clconv.cross_entropy(X[:, :0], T), ValueError, "input must have at least 1 class"),
        (lambda: clconv.cross_entropy(X, None), TypeError, "target takes a numpy.ndarray"),
        (lambda: clconv.cross_entropy(X, T.tolist()), TypeError, "target takes a numpy.ndarray"),
    ],
)
def test_refusals(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()
