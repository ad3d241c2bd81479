"""Deformable convolution on every device; that it is right on drawn cases is what tests/test_check.py says."""

from __future__ import annotations

import numpy as np
import pytest

import clconv
from tests.calls import assert_exact, assert_within_bound
from tests.strategies import laid_out

LAYER = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
SHAPES = {"input": (2, 4, 7, 6), "offset": (2, 24, 4, 8), "weight": (6, 2, 3, 2), "bias": (6,), "mask": (2, 12, 4, 8)}


def drawn(dtype="float32", layout="contiguous", values="integers"):
    random = np.random.default_rng(11)
    arrays = {}
    for name, shape in SHAPES.items():
        small = random.integers(-3, 4, shape) if values == "integers" else random.standard_normal(shape)
        arrays[name] = laid_out((small / 2 if name == "offset" else small).astype(dtype), layout)
    return arrays


def positional(arrays):
    return [arrays[name] for name in ("input", "offset", "weight", "bias")], {"mask": arrays["mask"], **LAYER}


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "reversed", "sliced", "broadcast", "misaligned"])
def test_exact_values_in_any_layout(device, record, layout):
    arguments, keywords = positional(drawn(layout=layout))
    assert_exact("deform_conv2d", device, record, *arguments, **keywords)
    g = laid_out(np.random.default_rng(2).integers(-3, 4, (2, 6, 4, 8)).astype("float32"), layout)
    assert_exact("deform_conv2d_backward", device, record, g, *arguments, **keywords)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_real_values_within_their_bounds(device, record, dtype):
    arguments, keywords = positional(drawn(dtype, values="reals"))
    assert_within_bound("deform_conv2d", device, record, *arguments, **keywords)
    g = np.random.default_rng(2).standard_normal((2, 6, 4, 8)).astype(dtype)
    assert_within_bound("deform_conv2d_backward", device, record, g, *arguments, **keywords)


def test_without_offsets_infinities_stand_where_a_plain_convolution_has_them(device):
    x, w = np.ones((1, 1, 4, 5), "float32"), np.ones((1, 1, 2, 2), "float32")
    x[0, 0, 1, 2] = np.inf
    still = np.zeros((1, 8, 3, 4), "float32")
    plain = clconv.conv2d(x, w, device=device)
    np.testing.assert_array_equal(clconv.deform_conv2d(x, still, w, device=device), plain)


def test_offsets_that_are_no_numbers_give_none_and_infinite_ones_read_zero(device):
    x, w = np.ones((1, 1, 3, 3), "float32"), np.ones((1, 1, 1, 1), "float32")
    offset = np.zeros((1, 2, 3, 3), "float32")
    offset[0, 0, 0] = np.nan, np.inf, -np.inf
    offset[0, 1, 1] = 3e9, -3e9, np.nan
    expected = np.array([[np.nan, 0, 0], [0, 0, np.nan], [1, 1, 1]], "float32")
    np.testing.assert_array_equal(clconv.deform_conv2d(x, offset, w, device=device)[0, 0], expected)
    gradients = clconv.deform_conv2d_backward(np.ones_like(x), x, offset, w, device=device)
    np.testing.assert_array_equal(gradients.input[0, 0], [[0, 0, 0], [0, 0, 0], [1, 1, 1]])
    assert np.isnan(gradients.offset[0, 0, 0, 0])
    np.testing.assert_array_equal(gradients.offset[0, :, 0, 1:], np.zeros((2, 2)))


def test_at_the_edge_half_a_pixel_is_half_the_value(device):
    x, w = np.full((1, 1, 1, 2), 8, "float32"), np.ones((1, 1, 1, 1), "float32")
    offset = np.zeros((1, 2, 1, 2), "float32")
    offset[0, :, 0, 0] = -0.5, -0.25
    offset[0, 1, 0, 1] = 1
    assert clconv.deform_conv2d(x, offset, w, device=device).ravel().tolist() == [3, 0]


def test_an_empty_batch(device):
    x, w = np.ones((0, 2, 3, 3), "float32"), np.ones((2, 2, 2, 2), "float32")
    offset = np.zeros((0, 8, 2, 2), "float32")
    assert clconv.deform_conv2d(x, offset, w, device=device).shape == (0, 2, 2, 2)
    gradients = clconv.deform_conv2d_backward(np.ones((0, 2, 2, 2), "float32"), x, offset, w, device=device)
    assert not gradients.weight.any()
    assert gradients.offset.shape == offset.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": (4, 7, 6)}, r"input takes 4 axes: input.shape=\(4, 7, 6\) has 3"),
        ({"weight": (6, 3, 3, 2)}, "weight's 3 channels must divide input's 4"),
        ({"weight": (5, 2, 3, 2)}, "their quotient, the groups, weight's 5 output channels"),
        ({"weight": (6, 2, 0, 2)}, "weight must have at least 1 tap along each spatial axis"),
        ({"offset": (2, 23, 4, 8)}, "offset takes 2 channels for each of 6 taps in each of its groups"),
        ({"offset": (2, 36, 4, 8)}, "which divide input's 4 channels"),
        ({"offset": (2, 24, 5, 8)}, r"offset must have shape \(2, 24, 4, 8\), its extents those of the output"),
        ({"mask": (2, 6, 4, 8)}, r"mask must have one value for each tap of each group, shape \(2, 12, 4, 8\)"),
        ({"bias": (5,)}, r"bias must have one value for each output channel, shape \(6,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, message):
    arrays = {name: np.zeros(change.get(name, shape), "float32") for name, shape in SHAPES.items()}
    arguments, keywords = positional(arrays)
    with pytest.raises(ValueError, match=message):
        clconv.deform_conv2d(*arguments, **keywords)


def test_words_for_padding_and_wrong_gradients_are_refused():
    arguments, keywords = positional(drawn())
    with pytest.raises(TypeError, match="padding takes an integer, one for each axis, or pairs: padding='same'"):
        clconv.deform_conv2d(*arguments, **{**keywords, "padding": "same"})
    with pytest.raises(ValueError, match=r"grad_output must have the output's shape \(2, 6, 4, 8\)"):
        clconv.deform_conv2d_backward(np.zeros((2, 6, 4, 7), "float32"), *arguments, **keywords)
    with pytest.raises(ValueError, match="output_mask takes one bool for each of input, offset, weight, bias, mask"):
        clconv.deform_conv2d_backward(np.zeros((2, 6, 4, 8), "float32"), *arguments, **keywords, output_mask=(True,))


def test_the_result_is_written_into_out(device):
    arguments, keywords = positional(drawn())
    expected = clconv.deform_conv2d(*arguments, **keywords, device=device)
    out = np.full((2, 6, 4, 16), np.nan, "float32")[..., ::2]
    assert clconv.deform_conv2d(*arguments, **keywords, out=out, device=device) is out
    np.testing.assert_array_equal(out, expected)
