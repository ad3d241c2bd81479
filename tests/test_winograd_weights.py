"""The gradient of the weights by Winograd's algorithm: its error class, what is not finite, and when it is chosen."""

from __future__ import annotations

import numpy as np
import pytest

import clconv
from clconv import algorithms
from clconv.algorithms import algorithm_for, conv_winograd_weights
from clconv.plan import Traits
from tests.calls import assert_within_class, run_twice
from tests.threads import results_by_threads

pytestmark = pytest.mark.accuracy("default")

LAYERS = {
    "tiles that end within rows, planes and samples": ((3, 5, 13, 7), (20, 5, 3, 3), {"padding": 1}),
    "one tile": ((1, 3, 4, 3), (2, 3, 3, 3), {"padding": (1, 0)}),
    "outputs of half a tile": ((5, 17, 2, 2), (33, 17, 3, 3), {"padding": 1}),
    "rows of many tiles": ((1, 3, 6, 90), (5, 3, 3, 3), {"padding": ((2, 1), (0, 1))}),
    "sums of several blocks": ((2, 33, 40, 40), (29, 33, 3, 3), {"padding": 1}),
    "groups": ((2, 24, 12, 17), (36, 12, 3, 3), {"groups": 2, "padding": 1}),
    "padding beyond the window": ((1, 2, 4, 3), (3, 2, 3, 3), {"padding": 5}),
    "a rotated kernel": ((2, 4, 9, 10), (6, 4, 3, 3), {"flip": True}),
    "planes": ((1, 3, 3, 6, 7), (17, 3, 1, 3, 3), {"padding": 1}),
    "taps along depth": ((2, 17, 4, 9, 6), (35, 17, 3, 3, 3), {"padding": 1}),
    "taps along depth, in groups": (
        (1, 6, 3, 5, 5),
        (8, 3, 2, 3, 3),
        {"groups": 2, "padding": (2, 1, 0), "flip": True},
    ),
    "without a batch": ((4, 9, 9), (6, 4, 3, 3), {"padding": 1}),
    "a dilation": ((2, 5, 13, 17), (20, 5, 3, 3), {"padding": 2, "dilation": 2}),
    "dilations of three axes": ((2, 17, 6, 11, 10), (35, 17, 2, 3, 3), {"padding": (2, 3, 1), "dilation": (3, 4, 2)}),
    "phases of unequal lengths": ((1, 3, 7, 50), (5, 3, 3, 3), {"padding": (3, 8), "dilation": (3, 7)}),
}

ONLY_WEIGHTS = {"output_mask": (False, True, False)}


@pytest.fixture
def whatever_it_costs(monkeypatch):
    """Choose the algorithm wherever it is right."""
    monkeypatch.setattr(conv_winograd_weights, "_WORTH_IT", 0)
    algorithms.forget()
    yield
    algorithms.forget()


def arrays(seed, problem, dtype="float32"):
    """Draw the gradient of the output, the input and the weight."""
    random = np.random.default_rng(seed)
    shapes = problem.output_shape, problem.input_shape, problem.weight_shape
    return [random.standard_normal(shape).astype(dtype) for shape in shapes]


def chosen(problem, width=64, accuracy="default"):
    return algorithm_for("conv_bwd_weights", problem, Traits(width, vector_loops=True), accuracy).name


def gradient(dy, x, w, device="native", **arguments):
    backward = getattr(clconv, f"conv{w.ndim - 2}d_backward")
    return backward(dy, x, w, **arguments, **ONLY_WEIGHTS, device=device).weight


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS)
def test_it_stays_within_its_class(whatever_it_costs, device, record, layer, dtype):
    input_shape, weight_shape, arguments = LAYERS[layer]
    problem = clconv.ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    assert chosen(problem) == "winograd"
    operation = f"conv{len(weight_shape) - 2}d_backward"
    assert_within_class(operation, device, record, *arrays(1, problem, dtype), **arguments, **ONLY_WEIGHTS)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular", "symmetric"])
def test_padding_holds_what_its_mode_says(whatever_it_costs, device, record, mode):
    for dilation in (1, 2):
        arguments = {"padding": ((2, 1), (1, 2)), "padding_mode": mode, "dilation": dilation}
        problem = clconv.ConvProblem.from_shapes((2, 5, 7, 9), (20, 5, 3, 3), **arguments)
        assert_within_class("conv2d_backward", device, record, *arrays(2, problem), **arguments, **ONLY_WEIGHTS)
    padding = {"padding": ((1, 2), (2, 1), (1, 2)), "padding_mode": mode}
    problem = clconv.ConvProblem.from_shapes((1, 5, 4, 7, 9), (20, 5, 3, 3, 3), **padding)
    assert_within_class("conv3d_backward", device, record, *arrays(2, problem), **padding, **ONLY_WEIGHTS)


def test_a_transposed_convolution(whatever_it_costs, device, record):
    random = np.random.default_rng(3)
    dy, x, w = (random.standard_normal(s).astype("f") for s in ((2, 20, 9, 10), (2, 6, 9, 10), (6, 20, 3, 3)))
    assert_within_class("conv_transpose2d_backward", device, record, dy, x, w, padding=1, **ONLY_WEIGHTS)


def test_views_are_read_where_they_lie(whatever_it_costs, device):
    problem = clconv.ConvProblem.from_shapes((2, 37, 10, 11), (34, 37, 3, 3), padding=1)
    dy, x, w = arrays(4, problem)
    plain = gradient(dy, x, w, device, padding=1)
    for layout in (
        lambda a: a.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
        lambda a: a[..., ::-1].copy()[..., ::-1],
    ):
        np.testing.assert_array_equal(gradient(layout(dy), layout(x), layout(w), device, padding=1), plain)


@pytest.mark.parametrize("work_items", [1, 100])
def test_stages_and_parts_are_added(whatever_it_costs, monkeypatch, device, record, work_items):
    settings = {"_NEAR": 2**18, "_BLOCK": 2, "_TILES_PER_PART": 4, "_WORK_ITEMS": work_items}
    for name, value in settings.items():
        monkeypatch.setattr(conv_winograd_weights, name, value)
    problem = clconv.ConvProblem.from_shapes((1, 20, 3, 17, 18), (36, 20, 2, 3, 3), padding=1)
    plan = algorithms.plan_for("conv_bwd_weights", problem, Traits(64, vector_loops=True))
    kernels = [launch.kernel for launch in plan.launches]
    stage = ["transform_data", "transform_gradient", "multiply_transformed"]
    assert kernels[:6] == stage * 2
    assert ("sum_runs_of_parts" in kernels) == (work_items > 1)
    assert_within_class("conv3d_backward", device, record, *arrays(5, problem), padding=1, **ONLY_WEIGHTS)


def test_results_do_not_depend_on_threads():
    problem = clconv.ConvProblem.from_shapes((4, 32, 60, 60), (32, 32, 3, 3), padding=1)
    assert chosen(problem) == "winograd"
    results = results_by_threads(lambda: gradient(*arrays(6, problem), padding=1))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("where", [("dy",), ("x",), ("dy", "x")])
@pytest.mark.parametrize(
    ("kernel", "dilation", "stages"),
    [((3, 3), 1, False), ((3, 3), 1, True), ((2, 3, 3), 1, False), ((3, 3), 2, True), ((2, 3, 3), (1, 3, 2), False)],
)
def test_what_is_not_finite_stands_where_plain_products_put_it(
    whatever_it_costs, monkeypatch, device, record, kernel, dilation, stages, where, mode
):
    """Of the channels, some have numbers that are not finite, at places in the middle and in the corners."""
    if stages:
        monkeypatch.setattr(conv_winograd_weights, "_NEAR", 2**15)
        monkeypatch.setattr(conv_winograd_weights, "_BLOCK", 2)
        monkeypatch.setattr(conv_winograd_weights, "_TILES_PER_PART", 4)
    padding, rank = {"padding": 1, "padding_mode": mode, "dilation": dilation}, len(kernel)
    problem = clconv.ConvProblem.from_shapes((2, 18, *(3, 11, 10)[-rank:]), (20, 18, *kernel), **padding)
    dy, x, w = arrays(7, problem)
    for array in ({"dy": dy, "x": x}[name] for name in where):
        array[0, 1, ..., 0, 0] = np.inf
        array[1, 1, ..., -1, -1] = -np.inf
        array[1, 3, ..., 0, 4] = np.nan
        array[0, 17, ..., 5, 5] = -np.inf
    with clconv.accuracy("strict"):
        exact = gradient(dy, x, w, device, **padding)
    dw = run_twice(f"conv{rank}d_backward", device, record, dy, x, w, **padding, **ONLY_WEIGHTS).weight
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(dw), kind(exact))
    finite = np.isfinite(exact)
    assert finite.any()
    assert not finite.all()
    np.testing.assert_allclose(dw[finite], exact[finite], rtol=0, atol=3e-6 * np.abs(exact[finite]).max())


def test_infinity_in_the_last_plane_reaches_the_tap_that_reads_it(whatever_it_costs, device):
    problem = clconv.ConvProblem.from_shapes((1, 3, 5, 6, 6), (4, 3, 2, 3, 3), dilation=(4, 1, 1))
    dy, x, w = arrays(9, problem)
    x[0, 1, 4, 2, 2] = np.inf
    assert chosen(problem) == "winograd"
    dw = gradient(dy, x, w, device, dilation=(4, 1, 1))
    assert not np.isfinite(dw[:, 1, 1]).any()
    assert np.isfinite(dw[:, 1, 0]).all()
    assert np.isfinite(dw[:, ::2]).all()


def test_transforms_that_overflow_are_not_used(whatever_it_costs, device):
    """Positions of a tile are multiplied by up to 25 in all before they meet the gradient."""
    dy, x, w = arrays(8, clconv.ConvProblem.from_shapes((1, 3, 9, 9), (5, 3, 3, 3), padding=1))
    x *= np.float32(2**125)
    dy *= np.float32(2**-10)
    with clconv.accuracy("strict"):
        exact = gradient(dy, x, w, device, padding=1)
    np.testing.assert_allclose(gradient(dy, x, w, device, padding=1), exact, rtol=0, atol=3e-6 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("batch", "channels", "extent"),
    [(1, 3, 4), (1, 3, 112), (1, 64, 8), (1, 512, 8), (2, 200, 28), (1, 16, 224), (32, 16, 56), (3, 5, 400)],
)
def test_more_tiles_and_channels_make_the_error_no_larger(whatever_it_costs, batch, channels, extent):
    """The class holds for any number of tiles, of which long sums lose the most."""
    problem = clconv.ConvProblem.from_shapes((batch, channels, extent, extent), (16, channels, 3, 3), padding=1)
    for seed in range(2):
        dy, x, w = arrays(seed, problem)
        with clconv.accuracy("strict"):
            exact = gradient(*(array.astype("float64") for array in (dy, x, w)), padding=1)
        assert np.abs(gradient(dy, x, w, padding=1) - exact).max() < 3e-6 * np.abs(exact).max()


REFUSALS = {
    "no processor": ((1, 64, 28, 28), (64, 64, 3, 3), {}, 0, "the device is no processor"),
    "halves": ((1, 64, 28, 28), (64, 64, 3, 3), {"dtype": "float16"}, 64, "arrays of halves are not transformed"),
    "a large kernel": ((1, 64, 28, 28), (64, 64, 5, 5), {}, 64, "a kernel of 5x5 does not have three taps"),
    "one axis": ((1, 64, 28, 28), (64, 64, 1, 3), {}, 64, "a kernel with three taps along one axis is not 3x3"),
    "a stride": ((1, 64, 28, 28), (64, 64, 3, 3), {"stride": 2}, 64, "the stride is not 1"),
    "few outputs": ((1, 64, 31, 28), (64, 64, 3, 3), {"dilation": (11, 1)}, 64, "no two outputs of the forward pass"),
    "short vectors": ((1, 64, 28, 28), (64, 64, 3, 3), {"dtype": "float64"}, 16, "vectors of 2 numbers are too short"),
    "few channels": ((1, 3, 28, 28), (64, 3, 3, 3), {}, 64, "products of vectors do without transforms"),
    "few tiles": ((1, 512, 3, 3), (512, 512, 3, 3), {"padding": 1}, 64, "products of vectors do without transforms"),
    "depthwise": ((1, 64, 28, 28), (64, 1, 3, 3), {"groups": 64}, 64, "products of vectors do without transforms"),
    "no channels": ((1, 0, 28, 28), (64, 0, 3, 3), {}, 64, "there is nothing to sum"),
    "no samples": ((0, 8, 28, 28), (64, 8, 3, 3), {}, 64, "there is nothing to sum"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_it_says_why_it_does_not_apply(case):
    input_shape, weight_shape, arguments, width, reason = REFUSALS[case]
    problem = clconv.ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    assert reason in conv_winograd_weights.bwd_weights_refusal(problem, Traits(width, vector_loops=True))


def test_it_is_not_chosen_where_sums_must_be_plain():
    problem = clconv.ConvProblem.from_shapes((1, 64, 28, 28), (64, 64, 3, 3))
    assert chosen(problem) == "winograd"
    assert chosen(problem, accuracy="strict") != "winograd"
