"""Convolutions in vectors where their tiles, runs, blocks and parts end: sizes on both sides of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import clconv
from clconv.algorithms import ALGORITHMS, conv_direct, forget
from clconv.native.executor import native
from clconv.plan import Traits
from tests.calls import assert_exact
from tests.kernel_calls.conv import WINDOW

LAYERS = {
    "tiles that end within rows, planes and samples": ((3, 5, 5, 7), (20, 5, 3, 3), {"padding": 1}),
    "runs of several tiles, and one that is cut": ((2, 3, 40, 41), (40, 3, 3, 3), {"padding": 1}),
    "a block of channels with one channel": ((1, 4, 9, 9), (65, 4, 3, 3), {}),
    "sums of several parts": ((1, 40, 6, 6), (24, 40, 3, 3), {"padding": (1, 0)}),
    "groups": ((2, 12, 8, 7), (36, 4, 3, 2), {"groups": 3, "padding": 1}),
    "a stride, and positions that no output reads": ((2, 6, 11, 12), (18, 6, 1, 1), {"stride": (3, 2)}),
    "stride and dilation with a common divisor": (
        (1, 4, 17, 19),
        (6, 4, 3, 3),
        {"stride": 4, "dilation": 6, "padding": 7},
    ),
    "a stride beyond the extent": ((2, 3, 2, 9), (5, 3, 2, 3), {"stride": (5, 2), "padding": (0, 1)}),
    "padding beyond the window": ((1, 2, 4, 3), (3, 2, 2, 2), {"padding": 3}),
    "a window of many terms in a row": ((1, 1, 600), (2, 1, 300), {"padding": 10}),
    "a window of all data": ((5, 6, 4, 5), (10, 6, 4, 5), {}),
    "a window of all data, in groups, for many samples, at a stride": (
        (40, 6, 9, 8),
        (38, 3, 9, 8),
        {"groups": 2, "stride": 3},
    ),
    "a window of all data, of a long row, rotated": ((3, 2, 200), (5, 2, 200), {"flip": True}),
    "a window of all data, of long rows": ((1, 3, 9, 30), (4, 3, 9, 30), {}),
    "a window of all data but some padding": ((2, 3, 4, 4), (17, 3, 4, 4), {"padding": ((0, 1), (0, 0)), "stride": 2}),
    "channels side by side, in groups": (
        (2, 40, 9, 21),
        (36, 20, 3, 3),
        {"groups": 2, "padding": (1, 2), "stride": (1, 2)},
    ),
    "channels side by side, in bands of long rows": (
        (1, 20, 3, 600),
        (17, 20, 1, 3),
        {"padding": (0, 300), "dilation": 2},
    ),
    "channels side by side, in planes": (
        (1, 33, 4, 5, 18),
        (17, 33, 2, 3, 3),
        {"padding": (1, 1, 2), "dilation": (1, 1, 2)},
    ),
    "planes": ((1, 3, 5, 6, 7), (17, 3, 2, 3, 3), {"stride": (2, 1, 2), "padding": 1}),
    "no channels": ((2, 0, 5, 5), (4, 0, 3, 3), {"padding": 1}),
    "depthwise": ((2, 7, 15, 20), (7, 1, 3, 3), {"groups": 7, "padding": 1}),
    "depthwise at strides": ((2, 3, 25, 40), (6, 1, 5, 4), {"groups": 3, "stride": (2, 3), "padding": (2, 1)}),
    "depthwise, dilated": (
        (1, 3, 9, 9, 30),
        (3, 1, 2, 3, 3),
        {"groups": 3, "dilation": (1, 2, 3), "padding": (1, 2, 3)},
    ),
    "depthwise in long rows": ((2, 2, 500), (2, 1, 400), {"groups": 2, "padding": 30, "stride": 2}),
    "depthwise, and rows that no output reads": ((2, 4, 9, 12), (4, 1, 1, 3), {"groups": 4, "stride": (3, 2)}),
    "depthwise, and nothing but padding read": (
        (1, 3, 1, 9),
        (3, 1, 1, 2),
        {"groups": 3, "stride": (3, 1), "padding": (2, 0)},
    ),
    "a group in each lane": ((2, 40, 9, 11), (40, 1, 3, 3), {"groups": 40, "padding": 1}),
    "a group in each lane, at strides": (
        (1, 35, 20, 33),
        (70, 1, 5, 4),
        {"groups": 35, "stride": (2, 3), "padding": (2, 1)},
    ),
    "a group in each lane, dilated, with a common divisor": (
        (1, 16, 17, 19),
        (16, 1, 3, 3),
        {"groups": 16, "stride": 4, "dilation": 6, "padding": 7},
    ),
    "a group in each lane, in strips of long rows": (
        (1, 33, 2500),
        (33, 1, 5),
        {"groups": 33, "dilation": 3, "padding": 6},
    ),
    "a group in each lane, in bands": ((1, 17, 70, 60), (17, 1, 3, 3), {"groups": 17, "padding": 1}),
    "a group in each lane, in bands of strips": ((2, 31, 5, 600), (31, 1, 3, 3), {"groups": 31, "padding": 1}),
    "a group in each lane, and planes": ((2, 16, 3, 9, 9), (16, 1, 1, 3, 3), {"groups": 16, "padding": (0, 1, 1)}),
    "many channels on small planes": ((2, 24, 5, 6), (37, 24, 3, 3), {"padding": 1}),
    "one tap on dense planes": ((2, 20, 13, 12), (30, 20, 1, 1), {}),
    "one tap on planes smaller than a tile": ((2, 20, 3, 3), (30, 20, 1, 1), {}),
    "one tap at strides": ((2, 20, 13, 12), (30, 20, 1, 1), {"stride": (2, 3)}),
    "few channels in a group": ((2, 8, 12, 13), (12, 2, 3, 3), {"groups": 4, "padding": 1}),
    "a block of more channels than lanes": ((2, 19, 9, 10), (7, 19, 3, 3), {"padding": 1}),
    "few channels, dilated": ((2, 3, 20, 21), (9, 3, 3, 3), {"dilation": 2, "padding": 2}),
    "no window": ((2, 20, 9, 11), (70, 20, 1, 1), {}),
    "depthwise, planes of several pieces": ((1, 2, 60, 130), (2, 1, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise, more taps than a work-item's": ((1, 2, 14, 40), (2, 1, 9, 9), {"groups": 2, "padding": 4}),
    "blocks of channels that trade places": ((2, 48, 9, 8), (20, 48, 3, 3), {"padding": 1}),
    "blocks of channels that trade places, at strides": ((2, 64, 9, 11), (7, 64, 3, 3), {"stride": 2, "padding": 1}),
    "blocks of channels that trade places, rotated planes": (
        (1, 32, 4, 5, 6),
        (5, 32, 2, 2, 3),
        {"stride": (2, 1, 2), "flip": True},
    ),
    "blocks of channels that trade places, at strides beyond the extent": (
        (1, 48, 2, 9),
        (4, 48, 3, 3),
        {"stride": (5, 2), "padding": (1, 0)},
    ),
    "blocks of channels that trade places, long rows": ((1, 96, 90), (3, 96, 29), {"dilation": 2}),
    "patches side by side": ((2, 3, 18, 20), (19, 3, 9, 9), {"stride": 9}),
    "a window of all data, at a long stride": ((2, 3, 9, 8), (20, 3, 9, 8), {"stride": 100}),
    "everything": ((2, 6, 13, 10), (8, 3, 3, 2), {**WINDOW, "groups": 2}),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS)
def test_all_passes_are_exact_on_integers(device, record, layer, dtype):
    input_shape, weight_shape, arguments = LAYERS[layer]
    random = np.random.default_rng(1)
    largest = 1 if dtype == "float16" else 3

    def draw(shape):
        return random.integers(-largest, largest + 1, shape).astype(dtype)

    rank = len(input_shape) - 2
    x, w, bias = draw(input_shape), draw(weight_shape), draw(weight_shape[:1])
    output_shape = clconv.ConvProblem.from_shapes(input_shape, weight_shape, **arguments).output_shape
    dy = draw(output_shape)
    assert_exact(f"conv{rank}d", device, record, x, w, bias, **arguments)
    assert_exact(f"conv{rank}d_backward", device, record, dy, x, w, bias, **arguments)


@pytest.fixture
def only_direct(monkeypatch):
    """Leave direct convolution and the portable one."""
    for operation in ("conv_fwd", "conv_bwd_data", "conv_bwd_weights"):
        left = [algorithm for algorithm in ALGORITHMS[operation] if algorithm.name in ("direct", "portable")]
        monkeypatch.setitem(ALGORITHMS, operation, tuple(left))
    forget()
    yield
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2, (1, 3)])
@pytest.mark.parametrize(
    ("channels", "window"),
    [(48, (3, 3)), (40, (3, 3)), (3, (3, 3)), (1, (2, 2)), (50, (7, 7)), (48, (9, 8)), (23, (1, 70)), (64, (1, 1))],
)
def test_weights_whose_channels_trade_places_are_packed_wherever_they_lie(
    device, record, only_direct, channels, window, stride, dtype
):
    random = np.random.default_rng(4)
    dy = random.integers(-1, 2, (1, 3, 4, 5)).astype(dtype)
    w = random.integers(-1, 2, (3, channels, *window)).astype(dtype)
    assert_exact("conv_transpose2d", device, record, dy, w, stride=stride)
    channels_last = np.moveaxis(np.moveaxis(w, 1, -1).copy(), -1, 1)
    assert_exact("conv_transpose2d", device, record, dy, channels_last, stride=stride)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "shapes",
    [
        ((16, 8, 10, 9), (24, 8, 2, 1)),
        ((32, 1, 10, 10), (16, 1, 4, 4)),
        ((1200, 3, 2, 2), (32, 3, 2, 2)),  # more samples than places
    ],
)
def test_sums_of_parts_begin_at_any_tap(device, record, only_direct, shapes, dtype):
    random = np.random.default_rng(7)
    x, w = (random.integers(-1, 2, shape).astype(dtype) for shape in shapes)
    output_shape = clconv.ConvProblem.from_shapes(*shapes).output_shape
    dy = random.integers(-1, 2, output_shape).astype(dtype)
    assert_exact("conv2d_backward", device, record, dy, x, w, output_mask=(False, True, False))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
@pytest.mark.parametrize(("channels", "extent"), [(16, 5), (20, 16), (100, 37), (16, 530)])
def test_channels_are_laid_side_by_side_wherever_they_lie(
    device, record, only_direct, channels, extent, padding_mode, dtype
):
    random = np.random.default_rng(6)
    x = random.integers(-1, 2, (2, channels, 4, extent)).astype(dtype)
    w = random.integers(-1, 2, (17, channels, 3, 3)).astype(dtype)
    with_gaps = np.repeat(x, 2, -1)[..., ::2]
    for view in (x, np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1), x[:, ::-1, :, ::-1], with_gaps):
        for stride in (1, 2):
            assert_exact("conv2d", device, record, view, w, stride=stride, padding=2, padding_mode=padding_mode)


IN_PLACE, AS_THEY_LIE, SIDE_BY_SIDE = [], ["copy_input"], ["copy_channels_last"]


@pytest.mark.parametrize(
    ("input_shape", "weight_shape", "arguments", "copy"),
    [
        ((1, 64, 28, 28), (64, 64, 3, 3), {"padding": 1, "dilation": 2}, SIDE_BY_SIDE),
        ((1, 64, 256, 256), (64, 64, 3, 3), {"padding": 1}, SIDE_BY_SIDE),
        ((1, 128, 14, 14), (32, 128, 31, 31), {"padding": 15}, SIDE_BY_SIDE),
        ((1, 8, 28, 28), (64, 8, 3, 3), {"padding": 1, "dilation": 2}, AS_THEY_LIE),  # part of a vector
        ((1, 256, 65, 65), (512, 256, 3, 3), {"stride": 2}, SIDE_BY_SIDE),
        ((16, 64, 56, 56), (128, 64, 8, 8), {"stride": 8}, SIDE_BY_SIDE),
        ((2, 256, 32, 32), (512, 256, 2, 2), {"stride": 2}, SIDE_BY_SIDE),
        ((1, 32, 60, 60), (512, 32, 2, 2), {"stride": 2}, IN_PLACE),  # near data
        ((1, 256, 64, 64), (32, 256, 2, 2), {"stride": 2}, IN_PLACE),  # few products of each value
        ((1, 64, 254, 254), (64, 64, 3, 3), {}, IN_PLACE),  # whole lines are read
        ((1, 64, 256, 256), (64, 64, 3, 3), {}, SIDE_BY_SIDE),  # which take each other's place in caches
        ((1, 64, 44, 64), (128, 64, 1, 1), {}, SIDE_BY_SIDE),
        ((1, 64, 42, 64), (128, 64, 1, 1), {}, IN_PLACE),  # no quarters of pages
    ],
)
def test_data_are_copied_with_channels_side_by_side_where_that_is_read_faster(
    only_direct, input_shape, weight_shape, arguments, copy
):
    problem = clconv.ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    plan = clconv.algorithms.plan_for("conv_fwd", problem, Traits(64))
    assert [launch.kernel for launch in plan.launches] == [*copy, "pack_weights", "conv_direct"]


@pytest.fixture
def all_data_are_far(monkeypatch):
    """Let any data be more than caches hold."""
    monkeypatch.setattr(conv_direct, "_FAR_DATA", 0)
    forget()
    yield
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [16, 35])
def test_far_windows_side_by_side_have_their_channels_so_too(
    device, record, only_direct, all_data_are_far, channels, dtype
):
    problem = clconv.ConvProblem.from_shapes((2, channels, 5, 20), (130, channels, 2, 2), stride=2, dtype=dtype)
    assert clconv.algorithms.plan_for("conv_fwd", problem, Traits(64)).launches[0].kernel == "copy_channels_last"
    random = np.random.default_rng(7)
    x = random.integers(-1, 2, (2, channels, 5, 20)).astype(dtype)
    w = random.integers(-1, 2, (130, channels, 2, 2)).astype(dtype)
    assert_exact("conv2d", device, record, x, w, stride=2)
    assert_exact("conv2d", device, record, x[..., ::-1], w, stride=2)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2])
def test_weights_may_have_gaps_and_run_backwards(device, record, dtype, stride):
    random = np.random.default_rng(2)
    dy = random.integers(-1, 2, (1, 6, 8, 9)).astype(dtype)
    w = random.integers(-1, 2, (6, 96, 3, 8)).astype(dtype)
    for view in (w[:, ::2, ::-1, :4], w[:, 47::-1, :, ::2], w[::-1, :48, ::2, ::-3], w[:, :48].swapaxes(2, 3)):
        assert_exact("conv_transpose2d", device, record, dy, view, stride=stride)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_planes_that_only_output_padding_adds_are_written(device, record, dtype):
    """Depth has no window, so that nothing but the bias is there to be written in a plane beyond the data's."""
    x, w = np.ones((1, 19, 4, 5, 6), dtype), np.ones((19, 1, 1, 3, 3), dtype)
    arguments = {"padding": (0, 1, 1), "dilation": (2, 1, 1), "output_padding": (1, 0, 0), "groups": 19}
    assert_exact("conv_transpose3d", device, record, x, w, np.full(19, 7, dtype), **arguments)


@pytest.mark.parametrize("layer", ["patches side by side", "a window of all data, at a long stride"])
def test_no_stride_of_patches_leaves_the_gradient_of_the_data_to_the_portable_kernel(layer):
    input_shape, weight_shape, arguments = LAYERS[layer]
    problem = clconv.ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    assert clconv.algorithms.algorithm_for("conv_bwd_data", problem, Traits(64)).name != "portable"


@pytest.mark.parametrize("width", [16, 32, 64])
def test_a_strided_gradient_of_the_data_has_a_pass_for_each_remainder(width):
    problem = clconv.ConvProblem.from_shapes((1, 64, 30, 30), (12, 64, 3, 3), stride=(2, 3), padding=1)
    plan = clconv.algorithms.plan_for("conv_bwd_data", problem, Traits(width))
    kernels = ["pack_weights", *["conv_direct"] * 6]
    copy = "copy_input" if width == 64 else "copy_channels_last"  # of 12 channels, four or eight floats
    assert [launch.kernel for launch in plan.launches] == [copy, *kernels]


@pytest.mark.parametrize(
    ("groups", "extent", "dense", "name"),
    [(960, 7, ("x", "dy"), "depthwise"), (17, 112, ("x", "dy"), "rows"), (17, 112, (), "depthwise")],
)
def test_depthwise_weights_take_groups_or_outputs_as_lanes_whichever_leave_fewer_empty(groups, extent, dense, name):
    shapes = (1, groups, extent, extent), (groups, 1, 3, 3)
    problem = replace(clconv.ConvProblem.from_shapes(*shapes, groups=groups, padding=1), dense=dense)
    assert clconv.algorithms.algorithm_for("conv_bwd_weights", problem, Traits(64)).name == name


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_not_finite_stands_where_the_portable_algorithm_puts_it(layer, monkeypatch):
    input_shape, weight_shape, arguments = LAYERS[layer]
    random = np.random.default_rng(2)
    output_shape = clconv.ConvProblem.from_shapes(input_shape, weight_shape, **arguments).output_shape

    def draw(shape):
        array = random.integers(-2, 3, shape).astype("float32")
        array.flat[random.integers(0, array.size, min(3, array.size))] = [np.nan, np.inf, -np.inf][: min(3, array.size)]
        return array

    x, w, dy = draw(input_shape), draw(weight_shape), draw(output_shape)
    name = f"conv{len(input_shape) - 2}d"

    def results():
        forget()
        with np.errstate(invalid="ignore"):
            y = getattr(clconv, name)(x, w, **arguments, device="native")
            dx, dw, _ = getattr(clconv, f"{name}_backward")(dy, x, w, **arguments, device="native")
        return y, dx, dw

    own = results()
    monkeypatch.setattr(native(), "traits", Traits())
    for result, expected in zip(own, results(), strict=True):
        np.testing.assert_array_equal(result, expected)
    forget()


@pytest.mark.parametrize("where", ["input", "weight"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("channels", [3, 70])
def test_padding_makes_no_nan_of_what_is_not_finite(device, where, value, channels):
    """Zero padding contributes no product: 0 times infinity is not there to be summed."""
    x, w = np.ones((1, 2, 20, 20), "float32"), np.ones((channels, 2, 3, 3), "float32")
    array = {"input": x, "weight": w}[where]
    array[(0, 0, 0, 0)] = value
    with np.errstate(invalid="ignore"):
        y = clconv.conv2d(x, w, padding=1, device=device)
    sick = ~np.isfinite(y)
    if where == "input":  # read by the outputs at its corner through their taps
        assert sick[:, :, :2, :2].all()
        assert sick.sum() == channels * 4
    else:  # channel 0 multiplies it by every input but those in the padding: row and column 0 have none
        assert sick[0, 0, 1:, 1:].all()
        assert sick.sum() == 19 * 19
        np.testing.assert_array_equal(y[0, 1:], np.broadcast_to(y[0, 1], y[0, 1:].shape))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("channels", "groups"), [(20, 1), (3, 3)])
def test_padding_makes_no_nan_of_the_gradient_of_weights(device, value, channels, groups):
    """A tap meets the first element of the data, or of the output's gradient, in two of three rows and columns."""
    shape = (1, channels, 20, 20)
    x, dy, w = np.ones(shape, "float32"), np.ones(shape, "float32"), np.ones((channels, channels // groups, 3, 3), "f4")
    arguments = {"padding": 1, "groups": groups, "output_mask": (False, True, False), "device": device}
    x[0, 0, 0, 0] = value
    sick = ~np.isfinite(clconv.conv2d_backward(dy, x, w, **arguments).weight)
    assert sick[0, 0, :2, :2].all()
    assert sick.sum() == channels // groups * 4
    x[0, 0, 0, 0], dy[0, 0, 0, 0] = 1, value
    sick = ~np.isfinite(clconv.conv2d_backward(dy, x, w, **arguments).weight)
    assert sick[0, 0, 1:, 1:].all()
    assert sick.sum() == channels // groups * 4
