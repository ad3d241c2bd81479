"""Convolution in rows of outputs: where tiles begin and end within planes, wherever these lie in memory."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import clconv
from clconv import kernel_source
from clconv.algorithms import conv_rows, plan_for
from clconv.plan import Traits
from clconv.problem import ConvProblem
from tests.calls import assert_exact
from tests.rows import rows_everywhere


@pytest.fixture
def only_rows(monkeypatch):
    """Leave convolution in tiles across rows, whatever it costs, and the portable one for devices without vectors."""
    monkeypatch.setattr(conv_rows, "_cost_within_rows", lambda this, problem, traits: math.inf)
    with rows_everywhere(monkeypatch):
        yield


def draw(shape, seed, dtype="float32"):
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


def moved(array, by):
    """Return a copy of an array that begins so many elements after a multiple of 128 bytes."""
    memory = np.empty(array.nbytes + 256 + by * array.itemsize, "uint8")
    start = -memory.__array_interface__["data"][0] % 128 + by * array.itemsize
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


#: Outputs of a plane: fewer than a vector's, one or two more than whole vectors, parts of tiles of every length.
PLANES = [(1, 1), (1, 5), (4, 4), (1, 17), (7, 7), (6, 3), (5, 10), (8, 8), (14, 14), (17, 17), (1, 161), (13, 23)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("plane", PLANES)
def test_planes_may_end_anywhere_in_a_tile(device, record, only_rows, plane, dtype):
    x, w, b = draw((2, 19, *plane), 1, dtype), draw((13, 19, 1, 1), 2, dtype), draw(13, 3, dtype)
    assert_exact("conv2d", device, record, x, w, b)
    assert_exact("conv_transpose2d", device, record, x, w.swapaxes(0, 1).copy())
    assert_exact("conv2d", device, record, x[..., ::-1], w, b)
    assert_exact("conv2d", device, record, x, draw((6, 19, 3, 3), 4, dtype), padding=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by", [0, 1, 2, 3, 5, 8, 15])
def test_sums_are_the_same_wherever_planes_lie(device, record, only_rows, by, dtype):
    """Tiles of large planes begin where vectors of memory do."""
    x, w = draw((1, 5, 32, 128), 5, dtype), draw((9, 5, 1, 1), 6, dtype)
    assert_exact("conv2d", device, record, moved(x, by), w)
    random = np.random.default_rng(7)
    reals = random.standard_normal(x.shape).astype(dtype)
    weights = random.standard_normal((9, 5, 1, 1)).astype(dtype)
    expected = clconv.conv2d(moved(reals, 0), weights, device=device)
    np.testing.assert_array_equal(clconv.conv2d(moved(reals, by), weights, device=device), expected)


@pytest.mark.parametrize("channels", [1, 16, 37])
@pytest.mark.parametrize("rest", [1, 2, 3])
def test_few_places_at_the_end_of_a_plane_are_summed_by_themselves(device, record, only_rows, rest, channels):
    x, w, b = draw((2, channels, 48 + rest), 8), draw((17, channels, 1), 9), draw(17, 10)
    assert_exact("conv1d", device, record, x, w, b)
    assert_exact("conv1d", device, record, x, np.repeat(w, 2, 1)[:, ::2], b)  # weights that are no neighbours
    epilogue = clconv.Epilogue(residual=draw((2, 17, 48 + rest), 11), activation="relu")
    assert_exact("conv1d", device, record, x, w, b, epilogue=epilogue)


@pytest.mark.parametrize("where", ["input", "weight"])
def test_what_is_not_finite_stays_in_its_channels_and_places(device, only_rows, where):
    x, w = draw((1, 20, 7, 7), 12), draw((9, 20, 1, 1), 13)
    {"input": x, "weight": w}[where].flat[-1] = np.nan
    y = clconv.conv2d(x, w, device=device)
    expected = np.zeros(y.shape, bool)
    expected[(0, slice(None), 6, 6) if where == "input" else (0, 8)] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 6, 8, 12])
@pytest.mark.parametrize("places", [1461, 1471, 1535, 1663, 1791, 1919, 2047])
def test_planes_end_anywhere_though_they_begin_evenly(device, record, only_rows, places, channels, dtype):
    """Their distances are whole vectors, and what lies before the first whole tile takes one more at the end."""
    x, w = draw((1, 4, 2048), 14, dtype)[..., :places], draw((channels, 4, 1), 15, dtype)
    assert_exact("conv1d", device, record, x, w)
    assert_exact("conv_transpose1d", device, record, x, w.swapaxes(0, 1).copy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by", [1, 7, 15])
def test_runs_reach_the_ends_of_planes_wherever_they_begin(device, record, only_rows, by, dtype):
    """Planes of exactly as many tiles as pay for one more of a vector, and those that end one place behind a run."""
    for places in (256, 512, *range(514, 770, 16)):
        x = moved(draw((2, 5, 1024), 23, dtype), by)[..., :places]
        for channels in (1, 9, 12):
            assert_exact("conv1d", device, record, x, draw((channels, 5, 1), 24, dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_copies_have_planes_that_end_anywhere(device, record, only_rows, dtype):
    x, w = draw((1, 16, 36, 60), 16, dtype), draw((16, 9, 1, 1), 17, dtype)
    assert_exact("conv_transpose2d", device, record, x, w, padding=1)
    assert_exact("conv2d", device, record, x[:, :, :32, :32], draw((3, 16, 1, 1), 18, dtype), padding=2)
    assert_exact("conv2d", device, record, x[..., :26], draw((12, 16, 1, 1), 19, dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("width", [5, 14, 18, 40])
def test_rows_of_every_length_are_copied_with_their_padding(device, record, only_rows, width, dtype):
    """Shorter than a vector or than its half, and longer; with channels apart and side by side."""
    x, w = draw((2, 16, 6, width), 20, dtype), draw((3, 16, 3, 3), 21, dtype)
    beside = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    for mode in ("zeros", "reflect"):
        for padding in ((1, 1), (2, 3)):
            assert_exact("conv2d", device, record, x, w, padding=padding, padding_mode=mode)
            assert_exact("conv2d", device, record, beside, w, padding=padding, padding_mode=mode)
    assert_exact("conv_transpose2d", device, record, beside, draw((16, 2, 5, 4), 22, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [6, 8, 12])
def test_what_is_asked_for_ahead_changes_no_sum(device, record, only_rows, channels, dtype):
    """Data of many elements; weights of input channels far apart, fewer of them and more than are asked for ahead."""
    wide = draw((1, 150, 2000), 25, dtype)
    assert_exact("conv1d", device, record, wide, draw((channels, 150, 2), 26, dtype), padding=1)
    for summed in (3, 17, 40):
        x, w = draw((2, summed, 141), 27, dtype), draw((summed, 256 + channels, 1), 28, dtype)
        assert_exact("conv_transpose1d", device, record, x, w[:, 256:])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_padding_has_no_products_though_a_plane_is_one_row(device, record, only_rows, value):
    """Where all sums are finite, such a row is stored as it is."""
    x, w = draw((1, 5, 400), 29) + 3, draw((8, 5, 3), 30)
    w[2, 1, 0] = value
    y = clconv.conv1d(x, w, padding=1, device=device)
    expected = np.zeros(y.shape, bool)
    expected[0, 2, 1:] = True
    np.testing.assert_array_equal(~np.isfinite(y), expected)
    w[2, 1, 0] = 0
    assert_exact("conv1d", device, record, x, w, padding=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [59, 264])
@pytest.mark.parametrize("places", [97, 147, 400])
def test_blocks_that_share_a_copy_sum_what_each_would_alone(device, record, only_rows, places, channels, dtype):
    """Sums of several parts, the last one short; planes that end anywhere; weights side by side and apart."""
    x, w, b = draw((2, 300, places), 31, dtype), draw((channels, 300, 1), 32, dtype), draw(channels, 33, dtype)
    assert_exact("conv1d", device, record, x, w, b)
    assert_exact("conv_transpose1d", device, record, x, w.swapaxes(0, 1).copy())
    epilogue = clconv.Epilogue(residual=draw((2, channels, places), 34, dtype), activation="relu")
    assert_exact("conv1d", device, record, x, w, b, epilogue=epilogue)
    random = np.random.default_rng(35)
    reals, weights = random.standard_normal(x.shape).astype(dtype), random.standard_normal(w.shape).astype(dtype)
    alone = [clconv.conv1d(reals, weights[block : block + 8], device=device) for block in range(0, channels - 7, 8)]
    together = clconv.conv1d(reals, weights, device=device)
    np.testing.assert_array_equal(together[:, : channels - channels % 8], np.concatenate(alone, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(7, 7), (17, 23), (6, 70)])
def test_shared_copies_hold_the_taps_of_windows(device, record, only_rows, size, dtype):
    x, w, b = draw((1, 33, *size), 36, dtype), draw((101, 33, 3, 3), 37, dtype), draw(101, 38, dtype)
    assert_exact("conv2d", device, record, x, w, b, padding=1)
    assert_exact("conv2d", device, record, x, draw((101, 33, 7, 1), 39, dtype), b, padding=(3, 0))
    assert_exact("conv2d", device, record, x, w, b, padding=2, dilation=2)
    assert_exact("conv2d", device, record, np.repeat(x, 2, 0), w, b, padding=1, stride=2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_padding_has_no_products_in_shared_copies(device, only_rows, value):
    """What is finite beside it stays as it was, with its own channel's bias."""
    x, w, b = np.ones((1, 20, 9, 100), "float32"), np.ones((64, 20, 3, 3), "float32"), np.arange(64, dtype="float32")
    expected = clconv.conv2d(x, w, b, padding=1, device=device)
    w[41, 7, 0, 1] = value
    y = clconv.conv2d(x, w, b, padding=1, device=device)
    expected[0, 41, 1:] = value
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("channels", [3, 12, 96])
def test_padding_has_no_products_though_rows_lie_as_one(device, only_rows, value, channels):
    """Those above and below a plane: each output has its own row's taps."""
    x, w, b = np.ones((1, 20, 8, 11), "float32"), np.ones((channels, 20, 7, 1), "float32"), draw(channels, 44)
    expected = clconv.conv2d(x, w, b, padding=(3, 0), device=device)
    w[channels - 1, 7, 1, 0] = value
    y = clconv.conv2d(x, w, b, padding=(3, 0), device=device)
    expected[0, -1, 2:] = value
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("channels", [3, 12, 128])
def test_pieces_of_rows_are_stored_where_they_belong_as_they_are_asked_for(device, record, only_rows, channels):
    x, w, b = draw((1, 64, 14, 37), 45), draw((channels, 64, 1, 1), 46), draw(channels, 47)
    shape = (1, channels, 14, 37)
    expected = clconv.conv2d(x, w, b, device=device)
    memory = np.full((*shape[:-1], 2 * shape[-1]), np.float32(-1))
    for out in (memory[..., ::2], memory[..., ::-2], memory[:, :, :, 5 : 5 + shape[-1]]):
        memory[...] = -1
        clconv.conv2d(x, w, b, out=out, device=device)
        np.testing.assert_array_equal(out, expected)
        out[...] = -1
        assert (memory == -1).all()
    residual = draw(shape, 48)
    for epilogue in (
        clconv.Epilogue(scale=draw(channels, 49)),
        clconv.Epilogue(shift=draw(channels, 50)),
        clconv.Epilogue(activation="relu"),
        clconv.Epilogue(residual=residual),
        clconv.Epilogue(residual=residual[..., ::-1]),
        clconv.Epilogue(residual=residual[:, :, ::-1]),
        clconv.Epilogue(residual=np.repeat(residual, 2, 3)[..., ::2]),
    ):
        assert_exact("conv2d", device, record, x, w, b, epilogue=epilogue)


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("window", [1, 3])
def test_blocks_of_channels_share_copies(only_rows, width, window):
    """As those above do, if there are several, and work-items enough without each of their own."""

    def share(input_channels, output_channels, extent=40):
        shape = (1, input_channels, extent, 41)
        problem = ConvProblem.from_shapes(shape, (output_channels, input_channels, window, 1), padding=(window // 2, 0))
        return plan_for("conv_fwd", problem, Traits(width)).launches[-1].numbers["SHARE"]

    assert 1 < share(256, 256) <= conv_rows._LARGEST_SHARE
    assert 1 < share(20, 256) <= conv_rows._LARGEST_SHARE
    assert share(256, 4) == 1
    assert share(256, 12, 1) == 1


def test_no_share_and_no_part_is_longer_than_a_work_item_has_memory_for():
    source = (kernel_source.folder() / "conv_rows.cl").read_text()
    longest = max(int(share) for share in re.findall(r"#define LARGEST_SHARE (\d+)", source))
    assert longest == conv_rows._LARGEST_SHARE
    terms = int(re.search(r"#define TERMS_PER_PART (\d+)", (kernel_source.folder() / "convolution.h").read_text())[1])
    assert terms * 3 // 4 >= conv_rows._MOST_TAPS


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_slices_of_one_row_have_what_lies_between_them(device, record, only_rows, dtype):
    """Depth takes the place of height: rows of a slice each, one row in all, rows without gaps but with padding."""
    for shape in ((2, 5, 4, 1, 40), (2, 5, 1, 4, 40), (2, 5, 1, 1, 40), (2, 5, 4, 3, 40)):
        x = draw(shape, 40, dtype)
        assert_exact("conv3d", device, record, x, draw((9, 5, 1, 1, 3), 41, dtype))
        assert_exact("conv3d", device, record, x, draw((9, 5, 1, 3, 1), 42, dtype), padding=(0, 1, 0))
        assert_exact("conv3d", device, record, x, draw((9, 5, 3, 1, 1), 43, dtype), padding=(1, 0, 0))
