"""The gradient of weights of one tap: channels, terms, parts and shares that end anywhere, wherever arrays lie."""

from __future__ import annotations

import re

import numpy as np
import pytest

import clconv
from clconv import kernel_source
from clconv.algorithms import algorithm_for, conv_pointwise_weights, plan_for
from clconv.plan import Traits
from clconv.problem import ConvProblem
from tests.calls import assert_exact

ONLY_WEIGHTS = {"output_mask": (False, True, False)}
DTYPES = ["float16", "float32", "float64"]


def draw(shape, seed, dtype="float32"):
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


def assert_weights_exact(device, record, x, dy, **arguments):
    """Assert that the gradient of weights with as many taps as axes, one along each, is exact."""
    rank = x.ndim - 2
    w = np.zeros((dy.shape[1], x.shape[1] // arguments.get("groups", 1), *[1] * rank), x.dtype)
    assert_exact(f"conv{rank}d_backward", device, record, dy, x, w, **arguments, **ONLY_WEIGHTS)


def launch_for(input_shape, output_channels, width=64, **arguments):
    """Return the launch of the products, which are taken on such a device."""
    weight_shape = (output_channels, input_shape[1], *[1] * (len(input_shape) - 2))
    problem = ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    traits = Traits(width)
    assert algorithm_for("conv_bwd_weights", problem, traits).name == "pointwise"
    return plan_for("conv_bwd_weights", problem, traits).launches[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(16, 1), (1, 16), (17, 31), (33, 8), (70, 50), (8, 130), (150, 13)])
def test_channels_may_end_anywhere_in_vectors_and_tiles(device, record, channels, dtype):
    IC, OC = channels
    assert_weights_exact(device, record, draw((2, IC, 5, 7), 1, dtype), draw((2, OC, 5, 7), 2, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("terms", [1, 3, 15, 16, 17, 127, 128, 129, 300, 1023])
def test_terms_may_end_anywhere_in_pieces(device, record, terms, dtype):
    assert_weights_exact(device, record, draw((2, 19, terms), 3, dtype), draw((2, 37, terms), 4, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_either_array_may_lie_anyhow(device, record, dtype):
    x, dy = draw((2, 36, 9, 10), 5, dtype), draw((2, 40, 9, 10), 6, dtype)
    for view in (
        lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),  # channels side by side
        lambda a: a[..., ::-1],
        lambda a: a[:, ::-1, ::-1],
        lambda a: np.pad(a, 2)[2:-2, 2:-2, 2:-2, 2:-2],
        lambda a: np.broadcast_to(a[:, :, :1, :1], a.shape),
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: np.ascontiguousarray(a.swapaxes(2, 3)).swapaxes(2, 3),
    ):
        assert_weights_exact(device, record, view(x), dy)
        assert_weights_exact(device, record, x, view(dy))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(20, 40), (40, 20)])
def test_strides_groups_and_planes_are_walked(device, record, channels, dtype):
    IC, OC = channels
    x, dy = draw((2, 3 * IC, 4, 5, 40), 7, dtype), draw((2, 3 * OC, 2, 5, 14), 8, dtype)
    assert_weights_exact(device, record, x, dy, groups=3, stride=(3, 1, 3))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_transposed_convolution_has_the_same_gradient(device, record, stride):
    x, w = draw((2, 36, 5, 6), 13), np.zeros((36, 20, 1, 1), "f4")
    dy = draw((2, 40, 4 * stride + 1, 5 * stride + 1), 14)
    arguments = {"stride": stride, "groups": 2, **ONLY_WEIGHTS}
    assert_exact("conv_transpose2d_backward", device, record, dy, x, w, **arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("samples", [1, 2, 130, 300])
def test_samples_of_one_output_are_terms_of_a_row(device, record, samples, dtype):
    x, dy = draw((samples, 40, 3), 9, dtype)[..., 1:2], draw((samples, 37, 1), 10, dtype)
    assert_weights_exact(device, record, x, dy)
    numbers = launch_for((samples, 40, 1), 37).numbers
    assert (numbers["N"], numbers["OW"]) == (1, samples)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("channels", [(35, 20), (20, 35)])
def test_what_is_not_finite_stays_in_its_channels(device, value, channels):
    IC, OC = channels
    x, dy, w = np.ones((2, IC, 6, 6), "f4"), np.ones((2, OC, 6, 6), "f4"), np.zeros((OC, IC, 1, 1), "f4")
    for array, sick in ((x, (slice(None), IC - 1)), (dy, (OC - 1, slice(None)))):
        array[1, -1, 5, 5] = value
        expected = np.full((OC, IC), np.float32(72))
        expected[sick] = value
        got = clconv.conv2d_backward(dy, x, w, **ONLY_WEIGHTS, device=device).weight
        np.testing.assert_array_equal(got[:, :, 0, 0], expected)
        array[1, -1, 5, 5] = 1


def test_the_array_that_costs_less_is_turned():
    assert launch_for((1, 64, 56, 56), 256).arrays["v"] == "x"
    assert launch_for((1, 256, 56, 56), 64, dtype="float64").arrays["v"] == "dy"
    assert launch_for((1, 3, 56, 56), 64).arrays["v"] == "dy"


@pytest.mark.parametrize("layer", [((1, 256, 16000), 256), ((16, 64, 56, 56), 256), ((1, 24, 112, 112), 144)])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_work_is_for_many_threads_and_fits_a_work_item(layer, width):
    launch = launch_for(*layer, width)
    assert launch.items >= 16
    assert 1 <= launch.numbers["SHARE"] <= conv_pointwise_weights._LARGEST_SHARE


def test_tiles_of_a_part_read_what_stays_near():
    """For the next block of columns; where there is none, terms are not cut for it."""
    launch = launch_for((1, 256, 65536), 256)
    assert 256 * 65536 * 4 / launch.numbers["PARTS"] <= 2**20
    assert launch_for((1, 16, 65536), 256).numbers["PARTS"] <= 16


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_part_has_terms_and_parts_are_not_more_than_what_is_read(width, dtype):
    """Many channels ask for many parts, so that what each reads stays near."""
    for extents in ((1,), (130,), (3136,), (97, 97)):
        for IC, OC in ((5000, 5000), (2048, 5000), (5000, 64), (16, 16)):
            numbers = launch_for((3, IC, *extents), OC, width, dtype=dtype).numbers
            terms = numbers["N"] * numbers["OD"] * numbers["OH"] * numbers["OW"]
            assert numbers["PARTS"] <= max(1, terms // conv_pointwise_weights._LONGEST_PIECE)
            assert numbers["PARTS"] <= max(1, terms * (IC + OC) // (IC * OC))


@pytest.mark.parametrize("channels", [(0, 64), (64, 0)])
def test_no_channels_have_no_weights(device, channels):
    IC, OC = channels
    x, dy, w = np.ones((2, IC, 5), "f4"), np.ones((2, OC, 5), "f4"), np.ones((OC, IC, 1), "f4")
    assert clconv.conv1d_backward(dy, x, w, **ONLY_WEIGHTS, device=device).weight.shape == (OC, IC, 1)
    assert clconv.linear_backward(dy[:, :, 0], x[:, :, 0], w[:, :, 0], **ONLY_WEIGHTS, device=device).weight.size == 0


def test_constants_are_those_of_the_kernel_file():
    shares = re.findall(r"#define LARGEST_SHARE (\d+)", source())
    assert [int(share) for share in shares] == [conv_pointwise_weights._LARGEST_SHARE]
    pieces = re.findall(r"#define LONGEST_PIECE (\d+)", source())
    assert max(int(piece) for piece in pieces) == conv_pointwise_weights._LONGEST_PIECE


def source():
    return (kernel_source.folder() / "conv_pointwise_weights.cl").read_text()


@pytest.mark.parametrize(
    ("input_shape", "weight_shape", "arguments", "reason"),
    [
        ((1, 64, 9), (64, 64, 2), {}, "windows have more than one tap"),
        ((1, 64, 9), (64, 64, 1), {"padding": 1}, "padding is read"),
        ((1, 64, 9), (64, 64, 1), {"padding": ((0, 1),)}, "padding is read"),
        ((1, 60, 9), (60, 15, 1), {"groups": 4}, "groups have fewer channels than the 16 of a vector"),
        ((0, 64, 9), (64, 64, 1), {}, "there are no outputs"),
        ((2, 64, 9), (0, 64, 1), {}, "there are no channels"),
        ((2, 0, 9), (64, 0, 1), {}, "there are no channels"),
    ],
)
def test_other_layers_are_refused(input_shape, weight_shape, arguments, reason):
    problem = ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    assert conv_pointwise_weights.bwd_weights_refusal(problem, Traits(64)) == reason
    assert "no processor" in conv_pointwise_weights.bwd_weights_refusal(problem, Traits())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_that_are_asked_for_ahead_give_the_same_sums(device, record, dtype):
    """So many elements, in several parts: some 2^20 of them."""
    x, dy = draw((1, 20, 33000), 11, dtype), draw((1, 40, 33000), 12, dtype)
    assert_weights_exact(device, record, x, dy)
