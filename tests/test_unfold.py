"""unfold and fold on every device, judged by the oracle."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from tests.calls import assert_exact, assert_within_bound, integers, reals
from tests.strategies import DTYPES, PADDING_MODES, axes, laid_out, layouts

EXAMPLES = settings()


@st.composite
def windows(draw):
    """Draw a data shape, a columns shape, the arguments of unfold, and what the arrays are made from."""
    rank = draw(st.sampled_from((1, 2, 2, 3)))
    padding_mode = draw(st.sampled_from(PADDING_MODES))
    drawn = [draw(axes(padding_mode)) for _ in range(rank)]
    N, C, batched = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.booleans())
    lead = (N,) if batched else ()
    arguments = {
        "kernel_size": tuple(axis.kernel for axis in drawn),
        "dilation": tuple(axis.dilation for axis in drawn),
        "padding": tuple((axis.low, axis.high) for axis in drawn),
        "stride": tuple(axis.stride for axis in drawn),
        "padding_mode": padding_mode,
    }
    extents = tuple(axis.extent for axis in drawn)
    taps, outputs = int(np.prod(arguments["kernel_size"])), int(np.prod([axis.output for axis in drawn]))
    layout, dtype, seed = draw(layouts), draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32 - 1))

    def make(shape, values):
        return laid_out(values(np.random.default_rng(seed), shape, dtype, taps * outputs), layout)

    return (*lead, C, *extents), (*lead, C * taps, outputs), extents, arguments, make


@EXAMPLES
@given(case=windows())
def test_unfold_copies_exactly(device, record, case):
    data_shape, _, _, arguments, make = case
    assert_exact("unfold", device, record, make(data_shape, reals), **arguments)


@EXAMPLES
@given(case=windows())
def test_fold_backward_copies_exactly(device, record, case):
    data_shape, columns_shape, extents, arguments, make = case
    g, columns = make(data_shape, reals), make(columns_shape, reals)
    assert_exact("fold_backward", device, record, g, columns, output_size=extents, **arguments)


@EXAMPLES
@given(case=windows())
def test_fold_adds_integers_exactly(device, record, case):
    _, columns_shape, extents, arguments, make = case
    assert_exact("fold", device, record, make(columns_shape, integers), extents, **arguments)


@EXAMPLES
@given(case=windows())
def test_fold_stays_within_the_bound_on_reals(device, record, case):
    _, columns_shape, extents, arguments, make = case
    assert_within_bound("fold", device, record, make(columns_shape, reals), output_size=extents, **arguments)


@EXAMPLES
@given(case=windows())
def test_unfold_backward_adds_integers_exactly(device, record, case):
    data_shape, columns_shape, _, arguments, make = case
    g, x = make(columns_shape, integers), make(data_shape, integers)
    assert_exact("unfold_backward", device, record, g, x, **arguments)


def test_an_integer_kernel_size_means_two_axes(device):
    x = np.arange(2 * 3 * 4 * 5, dtype="float32").reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(clconv.unfold(x, 2, device=device), clconv.unfold(x, (2, 2), device=device))


def test_an_integer_kernel_size_of_fold_has_the_axes_of_output_size(device):
    columns = np.ones((8, 27), "float32")
    for size in (2, np.int64(2), (2, 2, 2)):
        assert clconv.fold(columns, (4, 4, 4), size, device=device).shape == (1, 4, 4, 4)


def test_masked_gradients_are_none():
    x, columns = np.zeros((1, 4), "float32"), np.zeros((2, 3), "float32")
    assert clconv.unfold_backward(columns, x, (2,), output_mask=(False,)).input is None
    assert clconv.fold_backward(x, columns, (4,), (2,), output_mask=(False,)).input is None
