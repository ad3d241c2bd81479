"""Winograd's algorithm: its error class, where tiles end, what is not finite, and when it is chosen."""

from __future__ import annotations

import numpy as np
import pytest

import clconv
from clconv import algorithms
from clconv.algorithms import algorithm_for, conv_winograd
from clconv.oracle import reference
from clconv.plan import Traits
from tests.calls import assert_within_class, run_twice
from tests.threads import results_by_threads

pytestmark = pytest.mark.accuracy("default")

LAYERS = {
    "tiles that end within rows, planes and samples": ((3, 5, 13, 7), (20, 5, 3, 3), {"padding": 1}),
    "one tile": ((1, 3, 4, 3), (2, 3, 3, 3), {"padding": (1, 0)}),
    "outputs of half a tile": ((5, 17, 2, 2), (33, 17, 3, 3), {"padding": 1}),
    "rows of many tiles": ((1, 3, 6, 90), (5, 3, 3, 3), {"padding": ((2, 1), (0, 1))}),
    "sums of several parts": ((1, 200, 6, 6), (24, 200, 3, 3), {"padding": 1}),
    "groups": ((2, 24, 12, 17), (36, 12, 3, 3), {"groups": 2, "padding": 1}),
    "padding beyond the window": ((1, 2, 4, 3), (3, 2, 3, 3), {"padding": 5}),
    "a rotated kernel": ((2, 4, 9, 10), (6, 4, 3, 3), {"flip": True}),
    "a row of taps": ((2, 17, 9, 20), (40, 17, 1, 3), {"padding": (1, 2)}),
    "a column of taps": ((2, 17, 9, 20), (40, 17, 3, 1), {"padding": (1, 0)}),
    "one axis": ((2, 9, 70), (35, 9, 3), {"padding": 1}),
    "planes": ((1, 3, 3, 6, 7), (17, 3, 1, 3, 3), {"padding": 1}),
    "taps along depth": ((2, 17, 4, 9, 6), (35, 17, 3, 3, 3), {"padding": 1}),
    "taps along depth and width": ((1, 20, 5, 3, 11), (3, 20, 2, 1, 3), {"padding": (1, 0, 1)}),
    "taps along depth, in groups": (
        (1, 6, 3, 5, 5),
        (8, 3, 3, 3, 3),
        {"groups": 2, "padding": (2, 1, 0), "flip": True},
    ),
    "without a batch": ((4, 9, 9), (6, 4, 3, 3), {"padding": 1}),
    "a dilation": ((2, 5, 13, 17), (20, 5, 3, 3), {"padding": 2, "dilation": 2}),
    "dilations of three axes": ((2, 17, 6, 11, 10), (35, 17, 2, 3, 3), {"padding": (2, 3, 1), "dilation": (3, 4, 2)}),
    "phases of unequal lengths": ((1, 3, 7, 50), (5, 3, 3, 3), {"padding": (3, 8), "dilation": (3, 7)}),
    "a dilation along one axis": ((2, 9, 70), (35, 9, 3), {"padding": 16, "dilation": 16}),
    "a dilation of a single tap": ((2, 17, 9, 20), (40, 17, 1, 3), {"padding": (1, 2), "dilation": (30, 3)}),
    "a column of taps, dilated": ((2, 17, 20, 11), (40, 17, 3, 1), {"dilation": (2, 3)}),
    "a rotated kernel with a dilation": ((1, 4, 9, 30), (6, 4, 3, 3), {"flip": True, "dilation": (1, 4)}),
}

MODES = ("reflect", "replicate", "circular", "symmetric")


@pytest.fixture(params=[False, True], ids=["tile by tile", "point by point"])
def by_point(request, monkeypatch):
    """Choose Winograd's algorithm wherever it is right, with products in each of its two orders."""
    monkeypatch.setattr(conv_winograd, "_WORTH_IT", 0)
    monkeypatch.setattr(conv_winograd, "_MANY_CHANNELS", 1 if request.param else 2**31)
    monkeypatch.setattr(conv_winograd, "_MOST_SUMS", 2**31)
    algorithms.forget()
    yield request.param
    algorithms.forget()


def normal(seed, *shapes, dtype="float32"):
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(dtype) for shape in shapes]


def chosen(operation, problem, width=64):
    return algorithm_for(operation, problem, Traits(width, vector_loops=True)).name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS)
def test_both_passes_stay_within_the_class(by_point, device, record, layer, dtype):
    input_shape, weight_shape, arguments = LAYERS[layer]
    problem = clconv.ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    assert chosen("conv_fwd", problem) == chosen("conv_bwd_data", problem) == "winograd"
    rank = len(weight_shape) - 2
    shapes = input_shape, weight_shape, weight_shape[:1], problem.output_shape
    x, w, bias, dy = normal(1, *shapes, dtype=dtype)
    assert_within_class(f"conv{rank}d", device, record, x, w, bias, **arguments)
    only_data = {**arguments, "output_mask": (True, False, False)}
    assert_within_class(f"conv{rank}d_backward", device, record, dy, x, w, bias, **only_data)


@pytest.mark.parametrize("mode", MODES)
def test_padding_holds_what_its_mode_says(by_point, device, record, mode):
    x, w = normal(2, (2, 5, 7, 9), (20, 5, 3, 3))
    for dilation in (1, 2):
        arguments = {"padding": ((2, 1), (1, 2)), "padding_mode": mode, "dilation": dilation}
        assert_within_class("conv2d", device, record, x, w, **arguments)
    x, w = normal(2, (1, 5, 4, 7, 9), (20, 5, 3, 3, 3))
    assert_within_class("conv3d", device, record, x, w, padding=((1, 2), (2, 1), (1, 2)), padding_mode=mode)


def test_a_transposed_convolution_with_bias_and_epilogue(by_point, device, record):
    x, w, bias, scale, shift, residual = normal(3, (2, 6, 9, 10), (6, 20, 3, 3), 20, 20, 20, (2, 20, 9, 10))
    epilogue = clconv.Epilogue(scale=scale, shift=shift, residual=residual, activation="relu")
    assert_within_class("conv_transpose2d", device, record, x, w, bias, padding=1, epilogue=epilogue)
    assert_within_class("conv2d", device, record, x, w.swapaxes(0, 1), bias, padding=1, epilogue=epilogue)
    dilated = {"padding": 2, "dilation": 2, "epilogue": epilogue}
    assert_within_class("conv2d", device, record, x, w.swapaxes(0, 1), bias, **dilated)


def views(shape):
    """Yield arrays of a shape that lie in memory in different ways."""
    N, C, H, W = shape
    yield np.empty((N, H, W, C), "float32").transpose(0, 3, 1, 2)
    yield np.empty((N, C, W, H), "float32").swapaxes(2, 3)
    yield np.empty((N, C, H, 2 * W), "float32")[:, ::-1, :, ::-2]
    yield np.empty((N, 2 * C, H + 1, W + 3), "float32")[:, ::2, 1:, 2:-1]


@pytest.mark.parametrize("dilation", [1, 3])
def test_views_are_read_and_written_where_they_lie(by_point, device, dilation):
    x, w = normal(4, (2, 37, 10, 11), (34, 37, 3, 3))
    arguments = {"padding": dilation, "dilation": dilation, "device": device}
    y = clconv.conv2d(x, w, **arguments)
    for input_view, weight_view, out in zip(views(x.shape), views(w.shape), views(y.shape), strict=True):
        input_view[...], weight_view[...] = x, w
        assert clconv.conv2d(input_view, weight_view, out=out, **arguments) is out
        np.testing.assert_array_equal(out, y)


def test_results_do_not_depend_on_threads(by_point):
    x, w = normal(5, (2, 64, 30, 30), (64, 64, 3, 3))
    assert chosen("conv_fwd", clconv.ConvProblem.from_shapes(x.shape, w.shape, padding=1)) == "winograd"
    results = results_by_threads(lambda: clconv.conv2d(x, w, padding=1, device="native"))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_stages_are_computed_one_after_the_other(by_point, monkeypatch, device, record):
    monkeypatch.setattr(conv_winograd, "_STAGE_DATA" if by_point else "_NEAR_DATA", 1)
    x, w = normal(6, (3, 20, 17, 18), (36, 20, 3, 3))
    plan = algorithms.plan_for(
        "conv_fwd", clconv.ConvProblem.from_shapes(x.shape, w.shape, padding=1), Traits(64, vector_loops=True)
    )
    assert [launch.kernel for launch in plan.launches] == [
        "transform_weights",
        *["transform_data", *products(by_point)] * 6,
    ]
    assert_within_class("conv2d", device, record, x, w, padding=1)


def test_products_of_many_channels_are_summed_point_by_point(device, record):
    x, w, b = normal(10, (1, 130, 22, 26), (40, 130, 3, 3), 40)
    plan = algorithms.plan_for(
        "conv_fwd", clconv.ConvProblem.from_shapes(x.shape, w.shape, padding=1), Traits(64, vector_loops=True)
    )
    assert [launch.kernel for launch in plan.launches] == [
        "transform_weights",
        "transform_data",
        "multiply_points",
        "multiply_tiles",
    ]
    assert_within_class("conv2d", device, record, x, w, b, padding=1)


def products(by_point):
    """Return the kernels that make outputs of transformed data and weights."""
    return ["multiply_points", "multiply_tiles"] if by_point else ["multiply_tiles"]


@pytest.mark.parametrize(
    ("operation", "weight", "passes"),
    [("conv2d", (300, 20, 3, 3), "conv_fwd"), ("conv_transpose2d", (40, 150, 3, 3), "conv_bwd_data")],
)
def test_weights_are_transformed_in_stages_where_they_are_many(
    by_point, monkeypatch, device, record, operation, weight, passes
):
    x, w, b = normal(8, (2, 40, 17, 18), weight, (300,))
    call = getattr(clconv, operation)
    at_once = call(x, w, b, groups=2, device=device)
    monkeypatch.setattr(conv_winograd, "_STAGE_WEIGHTS" if by_point else "_NEAR_WEIGHTS", 1)
    algorithms.forget()
    made = clconv.ConvProblem.from_shapes if operation == "conv2d" else clconv.ConvProblem.from_transposed_shapes
    plan = algorithms.plan_for(passes, made(x.shape, w.shape, groups=2), Traits(64, vector_loops=True))
    kernels = [launch.kernel for launch in plan.launches]
    assert kernels == ["transform_data", *["transform_weights", *products(by_point)] * 2]
    assert_within_class(operation, device, record, x, w, b, groups=2)
    np.testing.assert_array_equal(call(x, w, b, groups=2, device=device), at_once)
    if operation == "conv2d":
        kept = clconv.plan("conv2d", x.shape, w, bias=b, groups=2, device=device)
        np.testing.assert_array_equal(kept(x), at_once)


def test_a_plan_keeps_the_transformed_weights(device):
    x, w = normal(7, (1, 64, 20, 20), (64, 64, 3, 3))
    plan = clconv.plan("conv2d", x.shape, w, padding=1, device=device)
    assert (plan.algorithm, plan.error) == ("winograd", "default")
    np.testing.assert_array_equal(plan(x), clconv.conv2d(x, w, padding=1, device=device))


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("where", ["input", "weight", "both"])
@pytest.mark.parametrize(
    ("kernel", "dilation"), [((3, 3), 1), ((1, 3), 1), ((3, 1), 1), ((2, 3, 3), 1), ((3, 3), 2), ((2, 3, 3), (2, 3, 2))]
)
def test_what_is_not_finite_stands_where_plain_products_put_it(by_point, device, record, kernel, dilation, where, mode):
    random = np.random.default_rng(8)
    rank = len(kernel)
    x, w, bias = normal(8, (2, 18, *(5, 11, 10)[-rank:]), (20, 18, *kernel), 20)
    for array in {"input": [x], "weight": [w], "both": [x, w]}[where]:
        at = random.choice(array.size, 5, replace=False)
        array.flat[at] = [np.nan, np.inf, -np.inf, np.inf, np.nan]
    for corner in (0, -1):
        x[(0, 0, *rank * (corner,))] = np.inf
    arguments = {"padding": tuple(k // 2 for k in kernel), "padding_mode": mode, "dilation": dilation}
    with clconv.accuracy("strict"):
        exact = getattr(clconv, f"conv{rank}d")(x, w, bias, **arguments, device=device)
    y = run_twice(f"conv{rank}d", device, record, x, w, bias, **arguments)
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(y), kind(exact))
    finite = np.isfinite(exact)
    assert finite.any()
    assert not finite.all()
    np.testing.assert_allclose(y[finite], exact[finite], rtol=0, atol=3e-6 * np.abs(exact[finite]).max(initial=0))


def test_transforms_that_overflow_are_not_used(by_point, device):
    """Positions of a tile are multiplied by up to 25 in all before they meet the weights."""
    x, w = normal(9, (1, 3, 9, 9), (5, 3, 3, 3))
    x *= np.float32(2**125)
    w *= np.float32(2**-10)
    with clconv.accuracy("strict"):
        exact = clconv.conv2d(x, w, padding=1, device=device)
    y = clconv.conv2d(x, w, padding=1, device=device)
    np.testing.assert_allclose(y, exact, rtol=0, atol=3e-6 * np.abs(exact).max())


@pytest.mark.parametrize("channels", [3, 64, 65, 200, 1024])
def test_more_channels_make_the_error_no_larger(by_point, channels):
    """The class holds for any number of channels, of which long sums lose the most."""
    for seed in range(3):
        x, w = normal(seed, (1, channels, 14, 14), (16, channels, 3, 3))
        exact = reference.conv2d(x, w, padding=1)
        error = np.abs(clconv.conv2d(x, w, padding=1, device="native") - exact).max()
        assert error < 3e-6 * np.abs(exact).max()


REFUSALS = {
    "no processor": ((1, 64, 28, 28), (64, 64, 3, 3), {}, 0, "the device is no processor"),
    "halves": ((1, 64, 28, 28), (64, 64, 3, 3), {"dtype": "float16"}, 64, "arrays of halves are not transformed"),
    "a large kernel": ((1, 64, 28, 28), (64, 64, 5, 5), {}, 64, "a kernel of 5x5 does not have three taps"),
    "a stride": ((1, 64, 28, 28), (64, 64, 3, 3), {"stride": 2}, 64, "the stride is not 1"),
    "few outputs": ((1, 64, 28, 31), (64, 64, 3, 3), {"dilation": (1, 11)}, 64, "no two outputs of the forward pass"),
    "short phases": ((1, 64, 28, 28), (64, 64, 3, 3), {"dilation": 20, "padding": 20}, 64, "do without transforms"),
    "few channels": ((1, 3, 28, 28), (64, 3, 3, 3), {}, 64, "products of vectors do without transforms"),
    "few tiles": ((1, 512, 4, 4), (512, 512, 3, 3), {}, 64, "products of vectors do without transforms"),
    "depthwise": ((1, 64, 28, 28), (64, 1, 3, 3), {"groups": 64}, 64, "products of vectors do without transforms"),
    "no channels": ((1, 0, 28, 28), (64, 0, 3, 3), {}, 64, "there is nothing to sum"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_it_says_why_it_does_not_apply(case):
    input_shape, weight_shape, arguments, width, reason = REFUSALS[case]
    problem = clconv.ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    for refusal in (conv_winograd.fwd_refusal, conv_winograd.bwd_data_refusal):
        assert reason in refusal(problem, Traits(width, vector_loops=True))


def test_the_gradient_over_other_padding_is_not_its():
    problem = clconv.ConvProblem.from_shapes((1, 64, 28, 28), (64, 64, 3, 3), padding=1, padding_mode="reflect")
    traits = Traits(64, vector_loops=True)
    assert conv_winograd.fwd_refusal(problem, traits) is None
    assert conv_winograd.bwd_data_refusal(problem, traits) is not None


def test_it_is_not_chosen_where_sums_must_be_plain():
    problem = clconv.ConvProblem.from_shapes((1, 64, 28, 28), (64, 64, 3, 3))
    assert chosen("conv_fwd", problem) == "winograd"
    assert algorithm_for("conv_fwd", problem, Traits(64, vector_loops=True), "strict").name != "winograd"


def test_weights_that_are_kept_pay_sooner():
    problem = clconv.ConvProblem.from_shapes((1, 128, 7, 7), (128, 128, 3, 3), padding=1)
    traits = Traits(64, vector_loops=True)
    assert conv_winograd.fwd_refusal(problem, traits) is not None
    assert conv_winograd.fwd_refusal(problem, traits._replace(prepared=True)) is None
