"""Convolution in vectors within rows of outputs: where rows, bands and tiles end, and what is stored as it is."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import clconv
from clconv import kernel_source
from clconv.algorithms import ALGORITHMS, conv_lines, conv_rows, forget
from clconv.algorithms.conv_passes import bwd_data, fwd
from clconv.native.table import LINES
from clconv.plan import Traits
from clconv.problem import ConvProblem
from tests.calls import assert_exact
from tests.rows import rows_everywhere
from tests.threads import results_by_threads

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def only_lines(monkeypatch):
    """Take vectors within rows wherever that is right, whatever it costs."""
    monkeypatch.setattr(conv_rows, "_cost", lambda this, problem, traits: math.inf)
    with rows_everywhere(monkeypatch):
        yield


def draw(shape, seed, dtype="float32"):
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


def kernel_of(input_shape, weight_shape, width=64, **arguments):
    """Return the kernel that computes a forward pass in rows."""
    problem = ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    return conv_rows.plan_fwd(problem, Traits(width)).launches[-1].kernel


@DTYPES
@pytest.mark.parametrize("width", [16, 17, 31, 32, 40, 66, 240, 769])
def test_rows_may_end_anywhere_in_a_vector(device, record, only_lines, width, dtype):
    x, w, b = draw((2, 3, 5, width), 1, dtype), draw((13, 3, 3, 3), 2, dtype), draw(13, 3, dtype)
    assert kernel_of(x.shape, w.shape, padding=1, dtype=dtype) == ("conv_rows" if width == 769 else "conv_lines")
    assert_exact("conv2d", device, record, x, w, b, padding=1)
    assert_exact("conv2d", device, record, x, w, b, padding=(2, 1))
    assert_exact("conv2d", device, record, x[..., ::-1], w[:, :, :, :1], b)
    assert_exact("conv_transpose2d", device, record, x, draw((3, 13, 3, 3), 4, dtype), b, padding=1)


@pytest.mark.parametrize("planes", [(1, 1), (1, 2), (7, 1), (1, 40), (50, 50), (3, 5)])
def test_planes_may_end_anywhere_in_a_band(device, record, only_lines, planes):
    x, b = draw((2, 2, *planes, 35), 5), draw(9, 6)
    assert_exact("conv3d", device, record, x, draw((9, 2, 1, 1, 3), 7), b, padding=(0, 0, 1))
    assert_exact("conv3d", device, record, x, draw((9, 2, 1, 1, 4), 7), b)
    assert_exact("conv3d", device, record, x, draw((9, 2, 3, 3, 1), 8), b, padding=1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 23, 64])
def test_the_last_block_of_channels_may_overlap_the_one_before(device, record, only_lines, channels):
    x, w, b = draw((2, 4, 6, 50), 9), draw((channels, 4, 3, 3), 10), draw(channels, 11)
    assert_exact("conv2d", device, record, x, w, b, padding=1)
    grouped = draw((2 * channels, 2, 3, 3), 12)
    assert_exact("conv2d", device, record, x, grouped, padding=1, groups=2)


@DTYPES
@pytest.mark.parametrize("channels", [3, 16, 37])
def test_channels_of_the_data_may_be_neighbours(device, record, only_lines, channels, dtype):
    x, w = draw((2, 9, 40, channels), 27, dtype).transpose(0, 3, 1, 2), draw((9, channels, 3, 3), 28, dtype)
    assert_exact("conv2d", device, record, x, w, padding=1)
    assert_exact("conv2d", device, record, x, w, padding=(2, 1), padding_mode="circular")
    assert_exact("conv2d", device, record, x, w, padding=2, stride=2)


@DTYPES
@pytest.mark.parametrize("stride", [1, 2, (3, 4)])
@pytest.mark.parametrize("dilation", [1, (2, 3)])
def test_taps_are_read_at_any_stride_and_dilation(device, record, only_lines, stride, dilation, dtype):
    x, w, b = draw((2, 3, 40, 90), 13, dtype), draw((9, 3, 5, 4), 14, dtype), draw(9, 15, dtype)
    for padding_mode in ("zeros", "reflect", "replicate", "circular", "symmetric"):
        window = {"padding": (3, 2), "padding_mode": padding_mode, "stride": stride, "dilation": dilation}
        assert_exact("conv2d", device, record, x, w, b, **window)
    assert_exact("conv2d", device, record, x, w, b, stride=stride, dilation=dilation, flip=True)


@DTYPES
@pytest.mark.parametrize(
    "terms", [(1, 1, 2), (85, 1, 3), (128, 1, 2), (129, 1, 2), (37, 7, 2), (1, 17, 17), (3, 19, 9)]
)
def test_sums_of_many_terms_are_made_of_parts(device, record, only_lines, terms, dtype):
    """Of whole channels and of pieces of their taps."""
    channels, *kernel = terms
    x, w, b = draw((1, channels, 20, 36), 16, dtype), draw((10, channels, *kernel), 17, dtype), draw(10, 18, dtype)
    assert kernel_of(x.shape, w.shape, padding=(1, 2), dtype=dtype) == "conv_lines"
    assert_exact("conv2d", device, record, x, w, b, padding=(1, 2))


@pytest.mark.parametrize("channels", [8, 13])
def test_outputs_are_stored_where_they_belong_as_they_are_asked_for(device, record, only_lines, channels):
    x, w, b = draw((1, 3, 14, 37), 19), draw((channels, 3, 3, 3), 20), draw(channels, 21)
    shape = (1, channels, 14, 37)
    expected = clconv.conv2d(x, w, b, padding=1, device=device)
    memory = np.full((*shape[:-1], 2 * shape[-1]), np.float32(-1))
    for out in (memory[..., ::2], memory[..., ::-2], memory[:, :, :, 5 : 5 + shape[-1]]):
        memory[...] = -1
        clconv.conv2d(x, w, b, padding=1, out=out, device=device)
        np.testing.assert_array_equal(out, expected)
        out[...] = -1
        assert (memory == -1).all()
    residual = draw(shape, 22)
    for epilogue in (
        clconv.Epilogue(scale=draw(channels, 23), shift=draw(channels, 24)),
        clconv.Epilogue(activation="relu"),
        clconv.Epilogue(residual=residual),
        clconv.Epilogue(residual=residual[..., ::-1]),
        clconv.Epilogue(residual=np.repeat(residual, 2, 3)[..., ::2]),
    ):
        assert_exact("conv2d", device, record, x, w, b, padding=1, epilogue=epilogue)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", [0, 8, 12])
@pytest.mark.parametrize("kernel", [(3, 3), (17, 17)])
def test_padding_has_no_products(device, only_lines, value, where, kernel):
    """An infinite weight of the first tap reaches outputs for which it does not read padding, of its channel only."""
    padding = kernel[0] // 2, kernel[1] // 2
    x, w, b = np.ones((2, 3, 20, 37), "float32"), np.ones((13, 3, *kernel), "float32"), np.arange(13, dtype="float32")
    expected = clconv.conv2d(x, w, b, padding=padding, device=device)
    w[where, 1, 0, 0] = value
    y = clconv.conv2d(x, w, b, padding=padding, device=device)
    expected[:, where, padding[0] :, padding[1] :] = value
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "window",
    [
        {"stride": 2, "padding": (2, 3), "dilation": (2, 3)},
        {"stride": (2, 3, 1), "padding": (3, 1, 2), "dilation": (2, 1, 2)},
    ],
)
def test_padding_has_no_products_at_strides_and_dilations(device, only_lines, value, window):
    """As the portable algorithm has none, whatever is asked of outputs on their way to memory."""
    rank = len(window["padding"])
    x, w, b = draw((2, 4, *(7, 9, 50)[-rank:]), 29), draw((18, 2, *rank * (3,)), 30), draw(18, 31)
    w[5].flat[0] = w[17].flat[-1] = value
    shape = ConvProblem.from_shapes(x.shape, w.shape, groups=2, **window).output_shape
    scale, residual = draw(18, 32) * 2 + 1, draw(shape, 33)
    conv, portable = getattr(clconv, f"conv{rank}d"), ALGORITHMS["conv_fwd"][-1:]
    for epilogue in (None, clconv.Epilogue(scale=scale, shift=b, residual=residual[..., ::-1])):
        arguments = {"groups": 2, "epilogue": epilogue, "device": device, **window}
        y = conv(x, w, b, **arguments)
        out = np.empty((*shape[:-1], 2 * shape[-1]), "float32")[..., ::-2]
        np.testing.assert_array_equal(conv(x, w, b, out=out, **arguments), y)
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(ALGORITHMS, "conv_fwd", portable)
            forget()
            expected = conv(x, w, b, **arguments)
        forget()
        np.testing.assert_array_equal(y, expected)
        assert not np.isfinite(y).all()


@pytest.mark.parametrize("channels", [8, 13])
def test_groups_samples_and_slices_have_their_own_epilogue(device, record, only_lines, channels):
    shape = (2, 2 * channels, 3, 5, 40)
    x, w, b = draw((2, 4, 3, 5, 40), 34), draw((2 * channels, 2, 3, 3, 3), 35), draw(2 * channels, 36)
    epilogue = clconv.Epilogue(scale=draw(2 * channels, 37), shift=draw(2 * channels, 38), residual=draw(shape, 39))
    for arguments in ({}, {"epilogue": epilogue}, {"epilogue": clconv.Epilogue(residual=draw(shape, 40))}):
        assert_exact("conv3d", device, record, x, w, b, padding=1, groups=2, **arguments)


def test_what_is_not_finite_stays_in_its_places(device, only_lines):
    x, w = draw((1, 2, 9, 50), 25), np.ones((9, 2, 3, 3), "float32")
    x[0, 1, 4, 49] = np.nan
    y = clconv.conv2d(x, w, padding=1, device=device)
    expected = np.zeros(y.shape, bool)
    expected[..., 3:6, 48:] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


def test_results_do_not_depend_on_threads(only_lines):
    random = np.random.default_rng(26)
    x, w = (random.standard_normal(shape).astype("float32") for shape in ((1, 3, 90, 90), (64, 3, 3, 3)))
    results = results_by_threads(lambda: clconv.conv2d(x, w, padding=1, device="native"))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


REFUSALS = {
    "no channels": ((1, 0, 64, 64), (64, 0, 3, 3), {"padding": 1}, "there is nothing to sum"),
    "halves": ((1, 3, 64, 64), (64, 3, 3, 3), {"dtype": "float16"}, "halves are converted one by one"),
    "short rows": ((1, 3, 64, 15), (64, 3, 3, 3), {"padding": 1}, "rows of 15 outputs do not hold 16 to 768"),
    "long rows": ((1, 3, 5, 769), (64, 3, 3, 3), {"padding": 1}, "rows of 769 outputs do not hold 16 to 768"),
    "a single row": ((1, 3, 200), (64, 3, 3), {"padding": 1}, "nothing lies between the rows"),
    "a single tap": ((1, 3, 64, 64), (64, 3, 1, 1), {}, "nothing lies between the rows"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_it_says_why_it_does_not_apply(case):
    input_shape, weight_shape, arguments, reason = REFUSALS[case]
    problem = ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    assert reason in conv_lines.refusal(fwd(problem), problem, Traits(64))


def test_outputs_of_a_strided_gradient_are_no_neighbours():
    problem = ConvProblem.from_shapes((1, 8, 65, 65), (3, 8, 3, 3), stride=2, padding=1)
    for this in bwd_data(problem):
        assert conv_lines.refusal(this, problem, Traits(64)) == "every 2 places of a row have an output of this pass"


@pytest.mark.parametrize("width", [16, 32, 64])
def test_few_terms_are_summed_within_rows_and_many_across_them(width):
    assert kernel_of((1, 3, 100, width // 2), (64, 3, 3, 3), width, padding=1) == "conv_lines"
    assert kernel_of((1, 64, 100, width // 2 + 1), (64, 64, 3, 3), width, padding=1) == "conv_rows"


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("vectors", [1, 2.25, 4, 6.5, 48])
@pytest.mark.parametrize("rows", [2, 3, 31, 200])
@pytest.mark.parametrize("tile", [0, 2, -1])
def test_bands_fill_tiles_and_cover_planes(width, vectors, rows, tile):
    columns = int(vectors * width / 4)
    problem = ConvProblem.from_shapes((1, 3, rows, columns), (96, 3, 3, 3), padding=1)
    channels, pixels = conv_lines._TILES[width][tile]
    (of_band, bands), (rest, has_rest) = conv_lines._bands((channels, pixels), fwd(problem), problem, Traits(width))
    assert of_band * bands + rest * has_rest == rows
    of_row = math.ceil(vectors)
    most = conv_lines._MOST_VECTORS // of_row
    assert of_band <= most
    assert of_band * of_row % pixels == 0 or of_band == min(rows, most)


def test_tiles_are_those_that_there_is_code_for():
    assert conv_lines._TILES == LINES
    source = (kernel_source.folder() / "conv_lines.cl").read_text()
    assert int(re.search(r"#define MOST_VECTORS (\d+)", source)[1]) == conv_lines._MOST_VECTORS
    assert all(conv_lines._MOST_VECTORS % pixels == 0 for tiles in LINES.values() for _, pixels in tiles)
