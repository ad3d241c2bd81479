"""interpolate and its gradient on every device, judged by the oracle."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from clconv import kernel_source
from clconv.algorithms import plan_for
from clconv.algorithms.resize import MOST
from clconv.oracle import check, reference
from clconv.plan import Traits
from clconv.problem import ResizeProblem
from clconv.problem.resize import ONNX_MODES, TORCH_MODES, Resizing
from clconv.problem.resize_axis import COORDINATE_MODES, NEAREST_MODES
from tests.calls import assert_exact, assert_within_bound, reals
from tests.strategies import DTYPES, laid_out, layouts

EXAMPLES = settings(max_examples=60)
ONNX = ("coordinate_mode", "nearest_mode", "cubic_coefficient", "exclude_outside")


@st.composite
def resizings(draw):
    """Draw a shape, the arguments of interpolate, the output's shape, and a function that makes arrays."""
    mode = draw(st.sampled_from(tuple(TORCH_MODES)))
    rank = draw(st.sampled_from(TORCH_MODES[mode]))
    extents = tuple(draw(st.integers(1, (40, 9, 5)[rank - 1])) for _ in range(rank))
    arguments = {"mode": mode}
    if mode in ("bilinear", "bicubic"):
        arguments["antialias"] = draw(st.booleans())
    if mode not in ("nearest", "nearest-exact", "area"):
        arguments["align_corners"] = draw(st.booleans())
    if draw(st.booleans()):
        arguments["size"] = tuple(draw(st.integers(1, 2 * extent + 3)) for extent in extents)
    else:
        factors = [[f for f in (2.0, 3.0, 0.5, 1.0, 1.5, 0.4) if f * extent >= 1] for extent in extents]
        arguments["scale_factor"] = tuple(draw(st.sampled_from(choices)) for choices in factors)
        arguments["recompute_scale_factor"] = draw(st.sampled_from((None, True)))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *extents)
    output = reference.interpolate(np.zeros(shape), **arguments).shape
    layout, dtype, seed = draw(layouts), draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32 - 1))

    def make(shape, values=reals):
        return laid_out(values(np.random.default_rng(seed), shape, dtype, 1), layout)

    return shape, output, arguments, make


@EXAMPLES
@given(case=resizings())
def test_interpolate_stays_within_its_bound(device, record, case):
    shape, _, arguments, make = case
    assert_within_bound("interpolate", device, record, make(shape), **arguments)


@EXAMPLES
@given(case=resizings())
def test_interpolate_backward_stays_within_its_bound(device, record, case):
    shape, output, arguments, make = case
    assert_within_bound("interpolate_backward", device, record, make(output), make(shape), **arguments)


@EXAMPLES
@given(
    mode=st.sampled_from(("nearest", "nearest-exact", "bilinear", "bicubic", "area")),
    extents=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    factor=st.sampled_from((1, 2, 4)),
    dtype=st.sampled_from(DTYPES),
    layout=layouts,
    seed=st.integers(0, 2**32 - 1),
)
def test_powers_of_two_are_exact_on_integers(device, record, mode, extents, factor, dtype, layout, seed):
    # By 4, bilinear weights are multiples of 2**-3 along each axis, and bicubic ones of 2**-11: too fine for floats.
    dtype = "float64" if mode == "bicubic" else dtype

    def draw(shape):
        values = np.random.default_rng(seed).integers(-8, 8, shape, endpoint=True).astype(dtype)
        return laid_out(values, layout)

    x, g = draw((2, 2, *extents)), draw((2, 2, *(extent * factor for extent in extents)))
    assert_exact("interpolate", device, record, x, scale_factor=factor, mode=mode)
    assert_exact("interpolate_backward", device, record, g, x, scale_factor=factor, mode=mode)


@settings(max_examples=40)
@given(
    mode=st.sampled_from(tuple(ONNX_MODES)),
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    coordinate_mode=st.sampled_from(COORDINATE_MODES),
    nearest_mode=st.sampled_from(NEAREST_MODES),
    antialias=st.booleans(),
    exclude_outside=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_onnxs_rules_are_those_of_its_resize(
    device, mode, shape, coordinate_mode, nearest_mode, antialias, exclude_outside, seed
):
    random = np.random.default_rng(seed)
    arguments = {"mode": mode, "coordinate_mode": coordinate_mode, "size": tuple(random.integers(1, 9, len(shape)))}
    if mode == "nearest":
        arguments["nearest_mode"] = nearest_mode
    else:
        arguments |= {"antialias": antialias, "exclude_outside": exclude_outside}
    x = random.standard_normal((1, 2, *shape))
    expected = reference.interpolate(x, **{**arguments, "size": tuple(map(int, arguments["size"]))}, semantics="onnx")
    np.testing.assert_allclose(clconv.interpolate(x, **arguments, device=device), expected, rtol=0, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_oracle_finds_nothing_under_onnxs_rules(device, dtype):
    def onnxs(function):
        @functools.wraps(function)
        def call(*arrays, **arguments):
            return function(*arrays, **{"coordinate_mode": "half_pixel", **arguments}, device=device)

        return call

    for name, feature in (("interpolate", "out"), ("interpolate_backward", "output_mask")):
        implementation = onnxs(getattr(clconv, name))
        report = check(implementation, op=name, semantics="onnx", features=(*ONNX, feature), dtype=dtype)
        assert report.passed, str(report)


# What the tables say


def table(**arguments):
    extent = arguments.pop("extent")
    problem = ResizeProblem.for_interpolate((1, 1, extent), Resizing(**arguments), dtype="float64")
    return problem.axes[-1].table()


def test_weights_follow_from_exact_coordinates():
    found = table(extent=3, size=7, mode="linear", align_corners=True)
    assert found.first.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert found.taps.tolist() == [1, 2, 2, 1, 2, 2, 1]
    assert found.weights[1].tolist() == pytest.approx([2 / 3, 1 / 3], rel=1e-15)
    assert found.weights[4].tolist() == found.weights[1].tolist()  # so that positions repeat to the bit


def test_a_scale_factor_stands_for_the_simplest_fraction():
    assert table(extent=30, scale_factor=0.1).first.tolist() == [0, 10, 20]
    assert table(extent=3, scale_factor=10 / 3).first.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_scale_factor_that_is_no_simple_fraction_is_taken_as_it_is():
    found = table(extent=1000, scale_factor=0.7071067811865476, mode="linear")
    o = np.arange(707)
    p = (o + 0.5) * (1 / 0.7071067811865476) - 0.5
    np.testing.assert_array_equal(found.first, np.floor(p).astype(int))
    np.testing.assert_allclose(found.weights[:, 1], p - np.floor(p), rtol=0, atol=1e-9)


def test_no_weight_reaches_from_beyond_the_image_with_antialias():
    found = table(extent=8, size=3, mode="linear", coordinate_mode="half_pixel", antialias=True, exclude_outside=True)
    assert found.weights.sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    assert (found.first >= 0).all()
    assert (found.first + found.taps <= 8).all()


@settings(max_examples=100)
@given(extent=st.integers(1, 30), size=st.integers(1, 30), mode=st.sampled_from(("nearest", "linear", "area")))
def test_the_gradients_table_is_the_transposed_one(extent, size, mode):
    found = table(extent=extent, size=size, mode=mode)

    def dense(rows, columns):
        matrix = np.zeros((len(rows.first), columns))
        for o, (first, taps) in enumerate(zip(rows.first, rows.taps, strict=True)):
            matrix[o, first : first + taps] = rows.weights[o, :taps]
        return matrix

    np.testing.assert_array_equal(dense(found.transposed(extent), size), dense(found, extent).T)


def test_the_kernel_and_its_plan_agree_on_what_a_run_may_read():
    assert int(re.search(r"#define MOST (\d+)", kernel_source.expanded("resize_lanes.cl"))[1]) == MOST
    assert int(re.search(r"#define RUN_MOST (\d+)", kernel_source.expanded("resize_lanes.cl"))[1]) == 256


def test_rows_are_for_processors_and_for_weights_that_fit():
    def kernel(extent, traits, **arguments):
        problem = ResizeProblem.for_interpolate((1, 1, extent), Resizing(**arguments), dtype="float32")
        return plan_for("resize", problem, traits).launches[0].kernel

    assert kernel(9, Traits(64), size=4) == "resize_lanes"
    assert kernel(40, Traits(64), size=80) == "resize_by_two"
    assert kernel(9, Traits(), size=4) == "resize"
    assert kernel(3 * MOST, Traits(64), size=2, mode="area") == "resize"


# Long rows, empty arrays, out=, threads


@pytest.mark.parametrize("arguments", [{"scale_factor": 2}, {"scale_factor": 0.5}, {"size": 1700}, {"size": 5}])
@pytest.mark.parametrize("mode", ["nearest", "linear", "area"])
def test_rows_longer_than_a_run_are_cut(device, record, mode, arguments):
    x = reals(np.random.default_rng(1), (2, 1, 2 * MOST + 77), "float32", 1)
    assert_within_bound("interpolate", device, record, x, mode=mode, **arguments)
    g = reals(
        np.random.default_rng(2), clconv.interpolate(x, mode=mode, **arguments, device=device).shape, "float32", 1
    )
    assert_within_bound("interpolate_backward", device, record, g, x, mode=mode, **arguments)


def test_an_empty_batch_needs_no_weights(device):
    assert clconv.interpolate(np.zeros((0, 3, 1), "float32"), 2**30 - 1, device=device).shape == (0, 3, 2**30 - 1)


def test_out_is_written_and_returned(device):
    x = np.arange(4, dtype="float32").reshape(1, 1, 4)
    wide = np.zeros((1, 1, 16), "float32")
    out = wide[..., ::2]
    assert clconv.interpolate(x, 8, out=out, device=device) is out
    np.testing.assert_array_equal(wide[0, 0, ::2], np.repeat(x[0, 0], 2))
    np.testing.assert_array_equal(wide[0, 0, 1::2], 0)


def test_the_number_of_threads_changes_no_bit():
    x = reals(np.random.default_rng(5), (4, 8, 60, 61), "float32", 1)
    before = clconv.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            clconv.set_num_threads(threads)
            y = clconv.interpolate(x, scale_factor=1.7, mode="bicubic", device="native")
            g = clconv.interpolate_backward(y, x, scale_factor=1.7, mode="bicubic", device="native").input
            results.append((y.tobytes(), g.tobytes()))
    finally:
        clconv.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_infinity_reaches_only_the_outputs_that_give_it_a_weight(device):
    x = np.array([[[1, np.inf, 3, 4, np.nan]]], "float32")
    y = clconv.interpolate(x, 9, mode="linear", align_corners=True, device=device)
    np.testing.assert_array_equal(y, [[[1, np.inf, np.inf, np.inf, 3, 3.5, 4, np.nan, np.nan]]])


def test_the_older_names_are_interpolate(device):
    x = np.arange(12, dtype="float32").reshape(1, 1, 3, 4)
    g = np.arange(48, dtype="float32").reshape(1, 1, 6, 8)
    bilinear = {"mode": "bilinear", "align_corners": True}
    for name, options, same in (
        ("upsample", {"mode": "bicubic"}, {"mode": "bicubic"}),
        ("upsample_nearest", {}, {}),
        ("upsample_bilinear", {}, bilinear),
    ):
        y = getattr(clconv, name)(x, scale_factor=2, **options, device=device)
        np.testing.assert_array_equal(y, clconv.interpolate(x, scale_factor=2, **same, device=device))
        dx = getattr(clconv, f"{name}_backward")(g, x, scale_factor=2, **options, device=device)
        expected = clconv.interpolate_backward(g, x, scale_factor=2, **same, device=device)
        np.testing.assert_array_equal(dx.input, expected.input)


def test_a_masked_gradient_is_none():
    x = np.zeros((1, 1, 2), "float32")
    assert clconv.interpolate_backward(np.zeros((1, 1, 4), "float32"), x, 4, output_mask=(False,)).input is None


@pytest.mark.parametrize(
    ("shape", "arguments", "error", "text"),
    [
        ((2, 5), {"size": 3}, ValueError, r"input takes 3 to 5 axes .*: input.shape=\(2, 5\) has 2"),
        ((1, 2, 0), {"size": 3}, ValueError, r"input must have at least 1 pixel on every spatial axis: .*\(1, 2, 0\)"),
        ((1, 2, 5), {}, ValueError, "give one of size and scale_factor: size=None, scale_factor=None"),
        ((1, 2, 5), {"size": 3, "scale_factor": 2}, ValueError, "give one of size and scale_factor"),
        ((1, 2, 5), {"size": 0}, ValueError, "size must be at least 1: size=0"),
        ((1, 2, 5), {"size": 2.5}, TypeError, "size takes an integer, not float"),
        ((1, 2, 5), {"size": (3, 3)}, ValueError, r"size takes one entry, .* size=\(3, 3\) has 2"),
        ((1, 2, 5), {"scale_factor": 0.1}, ValueError, "scale_factor must leave at least 1 position on every axis"),
        ((1, 2, 5), {"scale_factor": 1e300}, ValueError, "scale_factor must leave at least 1 position"),
        ((1, 2, 5), {"scale_factor": -1.0}, ValueError, "scale_factor must be positive and finite: scale_factor=-1.0"),
        ((1, 2, 5), {"scale_factor": float("nan")}, ValueError, "scale_factor must be positive and finite"),
        ((1, 2, 5), {"scale_factor": "2"}, TypeError, "scale_factor takes real numbers, not str"),
        ((1, 2, 5), {"scale_factor": True}, TypeError, "scale_factor takes real numbers, not bool"),
        ((1, 2, 5), {"size": 3, "mode": "closest"}, ValueError, "mode takes one of 'nearest', .*: mode='closest'"),
        ((1, 2, 5), {"size": 3, "mode": "bilinear"}, ValueError, "mode='bilinear' resizes 2 spatial axes, but input"),
        ((1, 2, 5), {"size": 3, "align_corners": True}, ValueError, "align_corners goes with linear and cubic modes"),
        ((1, 2, 5), {"size": 3, "mode": "linear", "align_corners": 1}, TypeError, "align_corners takes True or False"),
        (
            (1, 2, 5),
            {"size": 3, "mode": "linear", "antialias": True},
            ValueError,
            "antialias goes with mode='bilinear'",
        ),
        ((1, 2, 5), {"size": 3, "recompute_scale_factor": True}, ValueError, "recompute_scale_factor=True goes with"),
        ((1, 2, 5), {"size": 3, "nearest_mode": "ceil"}, ValueError, "nearest_mode goes with a coordinate_mode"),
        ((1, 2, 5), {"size": 3, "coordinate_mode": "centre"}, ValueError, "coordinate_mode takes one of 'half_pixel'"),
        (
            (1, 2, 5),
            {"size": 3, "mode": "linear", "align_corners": True, "coordinate_mode": "asymmetric"},
            ValueError,
            "align_corners does not go with a coordinate_mode",
        ),
        (
            (1, 2, 5),
            {"size": 3, "mode": "cubic", "cubic_coefficient": -2, "coordinate_mode": "asymmetric"},
            ValueError,
            "cubic_coefficient must be between -1 and 0: cubic_coefficient=-2",
        ),
        (
            (1, 2, 5),
            {"size": 3, "mode": "linear", "nearest_mode": "floor", "coordinate_mode": "asymmetric"},
            ValueError,
            "nearest_mode goes with mode='nearest': mode='linear'",
        ),
        (
            (1, 2, 5),
            {"size": 3, "antialias": True, "coordinate_mode": "asymmetric"},
            ValueError,
            "antialias goes with mode='linear' and mode='cubic'",
        ),
    ],
)
def test_refusals(shape, arguments, error, text):
    with pytest.raises(error, match=text):
        clconv.interpolate(np.zeros(shape, "float32"), **arguments)


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"grad_output must have the output's shape \(1, 1, 4\)"):
        clconv.interpolate_backward(np.zeros((1, 1, 5), "float32"), np.zeros((1, 1, 2), "float32"), 4)
