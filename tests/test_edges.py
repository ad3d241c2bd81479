"""Shapes at the edge: nothing in them, one pixel, kernels as large as the input, non-finite values."""

from __future__ import annotations

import numpy as np
import pytest

import clconv
from clconv.oracle import reference
from tests.calls import assert_exact, run_twice

RNG = np.random.default_rng(7)


def integers(*shape):
    return RNG.integers(-9, 9, shape).astype("float32")


@pytest.mark.parametrize(
    ("x", "w"),
    [
        pytest.param((0, 2, 5, 5), (3, 2, 3, 3), id="empty batch"),
        pytest.param((2, 0, 5, 5), (3, 0, 3, 3), id="no input channels"),
        pytest.param((2, 2, 5, 5), (0, 2, 3, 3), id="no output channels"),
        pytest.param((2, 3, 1, 1), (4, 3, 1, 1), id="one pixel"),
        pytest.param((2, 3, 4, 5), (4, 3, 4, 5), id="kernel as large as the input"),
        pytest.param((1, 1, 6, 6), (1, 1, 1, 1), id="one tap"),
        pytest.param((2, 6, 5, 5), (6, 1, 3, 3), id="depthwise"),
        pytest.param((2, 3, 5, 5), (6, 1, 3, 3), id="depthwise with a channel multiplier"),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_unusual_sizes(device, record, x, w, transposed):
    groups = x[1] if w[1] == 1 else 1
    image, kernel = integers(*x), integers(*w)
    if transposed:
        image = integers(x[0], w[0], *x[2:])
        bias = integers(w[1] * groups)
        name, extents = "conv_transpose2d", tuple(e + k - 1 for e, k in zip(x[2:], w[2:], strict=True))
        g = integers(x[0], w[1] * groups, *extents)
    else:
        bias = integers(w[0])
        name, extents = "conv2d", tuple(e - k + 1 for e, k in zip(x[2:], w[2:], strict=True))
        g = integers(x[0], w[0], *extents)
    assert_exact(name, device, record, image, kernel, bias, groups=groups)
    assert_exact(f"{name}_backward", device, record, g, image, kernel, bias, groups=groups)


def test_without_input_channels_the_result_is_the_bias(device):
    bias = np.array([1, -2, 3], "float32")
    y = clconv.conv2d(np.zeros((2, 0, 4, 4), "float32"), np.zeros((3, 0, 2, 2), "float32"), bias, device=device)
    np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], (2, 3, 3, 3)))


def test_an_empty_batch_has_zero_weight_gradients(device):
    x, w, g = (np.zeros(shape, "float32") for shape in ((0, 2, 4, 4), (3, 2, 2, 2), (0, 3, 3, 3)))
    gradients = clconv.conv2d_backward(g, x, w, np.zeros(3, "float32"), device=device)
    np.testing.assert_array_equal(gradients.weight, np.zeros_like(w))
    np.testing.assert_array_equal(gradients.bias, np.zeros(3, "float32"))


def test_groups_may_have_no_channels(device, record):
    x, w, g = (np.zeros(shape, "float32") for shape in ((2, 0, 5), (0, 1, 2), (2, 32, 6)))
    assert_exact("conv_transpose1d", device, record, x, w, groups=32)
    assert_exact("conv_transpose1d_backward", device, record, g, x, w, groups=32)


@pytest.mark.parametrize("step", [0, -4, 10, 4000])
@pytest.mark.parametrize("plane", [(1, 1), (9, 1), (1, 9)])
@pytest.mark.parametrize("groups", [1, 17])
def test_axes_of_one_position_may_have_any_stride(device, record, groups, plane, step):
    def restrided(array):
        strides = [step if n == 1 else own for n, own in zip(array.shape, array.strides, strict=True)]
        return np.lib.stride_tricks.as_strided(array, array.shape, strides)

    shapes = (1, 17, *plane), (17, 17 // groups, 1, 1), (17,), (1, 17, *plane)
    x, w, b, g = (restrided(integers(*shape)) for shape in shapes)
    assert_exact("conv2d", device, record, x, w, b, groups=groups)
    assert_exact("conv2d_backward", device, record, g, x, w, b, groups=groups)
    assert_exact("conv_transpose2d", device, record, x, w, b if groups == 1 else None, groups=groups)
    assert_exact("avg_pool2d", device, record, x, 1)


def test_pixels_between_strided_windows_have_no_gradient(device):
    x, w = np.ones((1, 1, 7), "float32"), np.ones((1, 1, 1), "float32")
    gradient = clconv.conv1d_backward(np.ones((1, 1, 3), "float32"), x, w, stride=3, device=device).input
    np.testing.assert_array_equal(gradient, [[[1, 0, 0, 1, 0, 0, 1]]])


def test_long_sums_are_split_and_added_exactly(device, record):
    """The weight gradient's sum over 3*31*37 terms is cut into parts, and so is the bias's."""
    x, w, g = integers(3, 1, 33, 39), integers(2, 1, 3, 3), integers(3, 2, 31, 37)
    assert_exact("conv2d_backward", device, record, g, x, w, integers(2))
    assert_exact("conv_transpose2d_backward", device, record, integers(3, 1, 33, 39), g, w, integers(1))


def test_a_problem_worth_several_threads_is_exact(device, record):
    x, w, b = integers(2, 8, 40, 40), integers(8, 8, 3, 3), integers(8)
    assert_exact("conv2d", device, record, x, w, b, padding=1)
    assert_exact("conv2d_backward", device, record, integers(2, 8, 40, 40), x, w, b, padding=1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("groups", [1, 2])
def test_more_channels_than_a_work_item_keeps(device, record, dtype, groups):
    """35 channels of a group are several blocks of vectors, the last one not full; 9 outputs of a row several tiles."""
    x, w, b = (
        RNG.integers(-2, 3, shape).astype(dtype)
        for shape in ((2, 4, 3, 9), (35 * groups, 4 // groups, 2, 3), (35 * groups,))
    )
    g = RNG.integers(-2, 3, (2, 35 * groups, 3, 10)).astype(dtype)
    arguments = {"padding": ((0, 1), (1, 2)), "groups": groups}
    assert_exact("conv2d", device, record, x, w, b, **arguments)
    assert_exact("conv2d_backward", device, record, g, x, w, b, **arguments)
    assert_exact("conv_transpose2d", device, record, g, w, None, **arguments)
    assert_exact("conv_transpose2d_backward", device, record, x, g, w, None, **arguments)


@pytest.mark.parametrize("word", ["valid", "same", "same_upper", "same_lower", "full"])
@pytest.mark.parametrize("transposed", [False, True])
def test_padding_words(device, record, word, transposed):
    name, stride = (
        ("conv_transpose2d" if transposed else "conv2d"),
        (2, 3) if word in ("same_upper", "same_lower") else 1,
    )
    x, w = integers(2, 3, 7, 6), integers(3, 3, 4, 3)
    assert_exact(name, device, record, x, w, padding=word, stride=stride, dilation=(1, 2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_stays_where_windows_read_it(device, value):
    x, w = np.ones((1, 1, 9, 9), "float32"), np.ones((1, 1, 3, 3), "float32")
    x[0, 0, 4, 4] = value
    y = clconv.conv2d(x, w, padding=1, device=device)
    read = np.zeros((9, 9), bool)
    read[3:6, 3:6] = True
    np.testing.assert_array_equal(np.isfinite(y[0, 0]), ~read)
    np.testing.assert_array_equal(y[0, 0][read], np.full(9, value, "float32"))


def test_an_infinite_weight_over_zero_padding_is_no_nan(device):
    x, w = np.ones((1, 1, 4), "float32"), np.array([[[np.inf, 1, 1]]], "float32")
    y = clconv.conv1d(x, w, padding=1, device=device)
    np.testing.assert_array_equal(y, [[[2, np.inf, np.inf, np.inf]]])


def test_half_sums_beyond_its_own_precision(device):
    """4096 ones add up in float: a half sum would stop at 2048."""
    x, w = np.ones((1, 1, 64, 64), "float16"), np.ones((1, 1, 64, 64), "float16")
    assert clconv.conv2d(x, w, device=device)[0, 0, 0, 0] == 4096


def test_half_overflows_to_infinity(device):
    x, w = np.full((1, 1, 2), 60000, "float16"), np.ones((1, 1, 2), "float16")
    assert clconv.conv1d(x, w, device=device)[0, 0, 0] == np.inf


def test_subnormal_halves_survive(device):
    smallest = np.float16(2**-24)
    x, w = np.full((1, 1, 3), smallest), np.ones((1, 1, 1), "float16")
    np.testing.assert_array_equal(clconv.conv1d(x, w, device=device), x)


def test_a_second_call_with_other_arguments_is_right(device, record):
    """Same shapes, other strides and dilations: nothing of the first call is left."""
    x, w = integers(2, 3, 9, 9), integers(4, 3, 2, 2)
    for stride, dilation, padding in [((1, 2), (2, 1), 0), ((2, 1), (1, 2), 0), ((1, 2), (2, 1), 1)]:
        arguments = {"stride": stride, "dilation": dilation, "padding": padding}
        y = run_twice("conv2d", device, record, x, w, None, **arguments)
        np.testing.assert_array_equal(y, reference.conv2d(x, w, **arguments).astype("float32"))
    for layout in (x[::-1], np.asfortranarray(x), np.broadcast_to(x[:1], x.shape)):
        y = run_twice("conv2d", device, record, layout, w, None)
        np.testing.assert_array_equal(y, reference.conv2d(layout, w).astype("float32"))


@pytest.mark.parametrize("mask", [(True, False, False), (False, True, False), (False, False, True), (False,) * 3])
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_masked_gradients_are_none_and_the_others_the_same(device, mask, name):
    x, w, b = integers(1, 2, 5, 5), integers(2, 2, 3, 3), integers(2)
    g = np.ones_like(getattr(clconv, name)(x, w, b, device=device))
    backward = getattr(clconv, f"{name}_backward")
    every = backward(g, x, w, b, device=device)
    for wanted, masked, whole in zip(mask, backward(g, x, w, b, output_mask=mask, device=device), every, strict=True):
        if wanted:
            np.testing.assert_array_equal(masked, whole)
        else:
            assert masked is None
    assert backward(g, x, w, device=device).bias is None


def test_out_receives_the_result(device):
    x, w = integers(2, 2, 6, 6), integers(3, 2, 3, 3)
    expected = clconv.conv2d(x, w, device=device)
    for out in (np.empty((2, 3, 4, 4), "float32"), np.empty((4, 6, 4, 8), "float32")[::2, ::-2, :, ::2]):
        assert clconv.conv2d(x, w, out=out, device=device) is out
        np.testing.assert_array_equal(out, expected)


def test_out_writes_nothing_between_its_elements(device):
    x, w = integers(1, 1, 6), integers(1, 1, 3)
    wide = np.full((1, 1, 8), 5, "float32")
    clconv.conv1d(x, w, out=wide[..., ::2], device=device)
    np.testing.assert_array_equal(wide[..., 1::2], 5)
