"""grid_sample and its gradients on every device, judged by the oracle."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from clconv.oracle import check, reference
from clconv.problem.grid_sample import MODES, PADDING_MODES
from tests.calls import assert_within_bound, reals
from tests.strategies import DTYPES, laid_out, layouts

EXAMPLES = settings(max_examples=60)
OPTIONS = {
    "mode": st.sampled_from(MODES),
    "padding_mode": st.sampled_from(PADDING_MODES),
    "align_corners": st.sampled_from((None, False, True)),
}


@st.composite
def samplings(draw):
    """Draw the arrays grad_output, input and grid, and the arguments of grid_sample."""
    arguments = {name: draw(values) for name, values in OPTIONS.items()}
    rank = 2 if arguments["mode"] == "bicubic" else draw(st.sampled_from((2, 2, 3)))
    extents, outputs = ([draw(st.integers(1, 7)) for _ in range(rank)] for _ in range(2))
    N, C = draw(st.integers(1, 2)), draw(st.sampled_from((1, 2, 18)))
    dtype, layout = draw(st.sampled_from(DTYPES)), draw(layouts)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, g = (laid_out(reals(random, (N, C, *shape), dtype, 1), layout) for shape in (extents, outputs))
    grid = laid_out(random.uniform(-2.5, 2.5, (N, *outputs, rank)).astype(dtype), layout)
    return g, x, grid, arguments


@EXAMPLES
@given(case=samplings())
def test_samples_stay_within_their_bound(device, record, case):
    _, x, grid, arguments = case
    assert_within_bound("grid_sample", device, record, x, grid, **arguments)


@EXAMPLES
@given(case=samplings())
def test_gradients_stay_within_their_bounds(device, record, case):
    g, x, grid, arguments = case
    assert_within_bound("grid_sample_backward", device, record, g, x, grid, **arguments)


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("mode", MODES)
def test_the_reference_is_the_limit_of_differences(mode, padding_mode):
    """The gradients are those of the function, away from its kinks."""
    random = np.random.default_rng(3)
    x, grid = random.standard_normal((1, 2, 4, 5)), random.uniform(-1.5, 1.5, (1, 3, 3, 2))
    g = random.standard_normal((1, 2, 3, 3))
    gradients = reference.grid_sample_backward(g, x, grid, mode, padding_mode)
    for name, array in (("input", x), ("grid", grid)):
        direction = random.standard_normal(array.shape)
        step = 1e-7 * direction
        high, low = ({"input": x, "grid": grid, name: array + sign * step} for sign in (1, -1))
        change = reference.grid_sample(**high, mode=mode, padding_mode=padding_mode)
        change = change - reference.grid_sample(**low, mode=mode, padding_mode=padding_mode)
        predicted = np.sum(getattr(gradients, name) * direction)
        assert np.sum(change * g) / 2e-7 == pytest.approx(predicted, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("mode", MODES)
def test_coordinates_that_are_no_place(device, mode, padding_mode, value):
    """NaN counts as -1. What is too far away counts as 2**30 pixels away, where floats do not tell pixels apart."""
    x = np.arange(1, 7, dtype="float32").reshape(1, 1, 2, 3)
    grid = np.array([[[[value, 0], [0, value], [value, value]]]], "float32")
    y = clconv.grid_sample(x, grid, mode, padding_mode, device=device)
    expected = reference.grid_sample(x, grid, mode, padding_mode)
    if padding_mode == "reflection" and not np.isnan(value):
        assert y.min() >= x.min()
        assert y.max() <= x.max()
    else:
        np.testing.assert_allclose(y, expected, rtol=1e-5)
    gradients = clconv.grid_sample_backward(np.ones_like(y), x, grid, mode, padding_mode, device=device)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_the_grids_gradient_of_nearest_is_zero_whatever_the_pixels_hold(device):
    x = np.full((1, 1, 2, 2), np.inf, "float32")
    gradients = clconv.grid_sample_backward(
        np.ones((1, 1, 1, 2), "float32"), x, np.zeros((1, 1, 2, 2), "float32"), "nearest", device=device
    )
    assert (gradients.grid == 0).all()


def test_ties_go_to_the_even_pixel(device):
    x = np.arange(4, dtype="float32").reshape(1, 1, 1, 4)
    p = np.array([-0.5, 0.5, 1.5, 2.5, 3.5], "float32")
    grid = np.stack([(2 * p + 1) / 4 - 1, np.zeros_like(p)], axis=-1)[None, None]
    y = clconv.grid_sample(x, grid, "nearest", "zeros", False, device=device)
    np.testing.assert_array_equal(y[0, 0, 0], [0, 0, 2, 2, 0])


def test_the_number_of_threads_changes_no_bit():
    random = np.random.default_rng(5)
    x, grid = random.standard_normal((2, 40, 20, 20)), random.uniform(-1, 1, (2, 30, 30, 2))
    before = clconv.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            clconv.set_num_threads(threads)
            y = clconv.grid_sample(x, grid, device="native")
            gradients = clconv.grid_sample_backward(y, x, grid, device="native")
            results.append((y.tobytes(), *(gradient.tobytes() for gradient in gradients)))
    finally:
        clconv.set_num_threads(before)
    assert results[0] == results[1]


def test_out_and_masks(device):
    x, grid = np.ones((1, 2, 3, 3), "float32"), np.zeros((1, 2, 2, 2), "float32")
    out = np.zeros((1, 2, 2, 2), "float32")
    assert clconv.grid_sample(x, grid, out=out, device=device) is out
    np.testing.assert_array_equal(out, 1)
    first = clconv.grid_sample_backward(out, x, grid, output_mask=(True, False), device=device)
    assert first.grid is None
    assert clconv.grid_sample_backward(out, x, grid, output_mask=(False, True), device=device).input is None
    assert first.input.sum() == out.sum()


@pytest.mark.parametrize(
    ("cause", "changed"),
    [
        ("align_corners is taken the other way round", {"align_corners": True}),
        ("padding_mode='border' is always taken", {"padding_mode": "border"}),
        ("mode='nearest' is always taken", {"mode": "nearest"}),
    ],
)
def test_the_oracle_names_usual_faults(cause, changed):
    (ignored,) = changed

    def wrong(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
        arguments = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
        if ignored == "align_corners":
            changed[ignored] = not align_corners
        return reference.grid_sample(input, grid, **{**arguments, **changed}).astype(input.dtype)

    report = check(wrong, op="grid_sample", max_examples=30, skip=["hostile", "bound"])
    assert not report.passed
    assert cause in {finding.cause for finding in report.findings}


def test_the_oracle_finds_exchanged_coordinates():
    @functools.wraps(reference.grid_sample)
    def wrong(input, grid, **arguments):
        return reference.grid_sample(input, grid[..., ::-1].copy(), **arguments).astype(input.dtype)

    report = check(wrong, op="grid_sample", max_examples=30, skip=["hostile", "bound"])
    assert "the coordinates of the axes are exchanged" in {finding.cause for finding in report.findings}


@pytest.mark.parametrize(
    ("shape", "grid", "arguments", "error", "text"),
    [
        ((1, 4, 5), (1, 3, 1), {}, ValueError, r"input takes 4 or 5 axes .*: input.shape=\(1, 4, 5\) has 3"),
        ((1, 2, 4, 5), (2, 3, 4, 2), {}, ValueError, "grid takes a batch of 1, 2 axes of positions and one of 2"),
        ((1, 2, 4, 5), (1, 3, 4, 3), {}, ValueError, "grid takes a batch of 1, 2 axes of positions and one of 2"),
        ((1, 2, 0, 5), (1, 3, 4, 2), {}, ValueError, r"spatial extents must be from 1 to 2\*\*30 - 1"),
        ((1, 2, 4, 5), (1, 3, 4, 2), {"mode": "linear"}, ValueError, "mode takes one of 'nearest', 'bilinear'"),
        ((1, 2, 4, 5), (1, 3, 4, 2), {"padding_mode": "same"}, ValueError, "padding_mode takes one of 'zeros'"),
        ((1, 2, 4, 5), (1, 3, 4, 2), {"align_corners": 1}, TypeError, "align_corners takes True or False, not int"),
        ((1, 1, 2, 2, 2), (1, 1, 1, 1, 3), {"mode": "bicubic"}, ValueError, "mode='bicubic' takes 2 spatial axes"),
    ],
)
def test_refusals(shape, grid, arguments, error, text):
    with pytest.raises(error, match=text):
        clconv.grid_sample(np.zeros(shape, "float32"), np.zeros(grid, "float32"), **arguments)
