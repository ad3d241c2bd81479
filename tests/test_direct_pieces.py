"""Direct convolutions of few outputs, whose work-items lay out the weights that they use, a piece at a time."""

from __future__ import annotations

import re

import numpy as np
import pytest

import clconv
from clconv import kernel_source
from clconv.algorithms import ALGORITHMS, conv_direct_weights, forget, plan_for
from clconv.plan import Traits
from tests.calls import assert_exact

#: Input, weight, arguments; each ends blocks of channels, vectors of taps or pieces of channels somewhere within.
LAYERS = {
    "a tap, in pieces": ((1, 300, 7, 7), (40, 300, 1, 1), {}),
    "a tap, fewer channels than lanes": ((3, 3, 2, 5), (35, 3, 1, 1), {}),
    "a tap at a stride": ((1, 40, 9, 8), (33, 40, 1, 1), {"stride": 2}),
    "a tap over padding": ((1, 20, 3, 3), (18, 20, 1, 1), {"padding": 1}),
    "a window, in pieces": ((1, 70, 5, 6), (50, 70, 3, 3), {"padding": 1}),
    "a window, rotated": ((2, 37, 4, 4), (17, 37, 3, 2), {"flip": True, "padding": (1, 1)}),
    "a window with dilation, at a stride": ((1, 24, 7, 9), (64, 24, 3, 3), {"stride": 2, "dilation": 2, "padding": 2}),
    "a window in space, in long pieces": ((2, 40, 3, 4, 4), (34, 40, 3, 3, 3), {"padding": 1}),
    "a row of taps": ((1, 64, 6, 6), (64, 64, 1, 5), {"padding": (0, 2)}),
    "a window of more taps than a piece has terms": ((1, 9, 9, 9), (33, 9, 8, 8), {"padding": 3}),
    "groups": ((2, 60, 4, 5), (51, 20, 3, 3), {"groups": 3, "padding": 1}),
    "many runs of outputs": ((2, 20, 17, 17), (20, 20, 1, 1), {}),
    "runs as long as they may be": ((1, 5, 64, 64), (20, 5, 1, 1), {}),
    "no channels": ((1, 0, 4, 4), (20, 0, 1, 1), {}),
}


@pytest.fixture(params=["pieces", "short pieces"])
def laid_out(request, monkeypatch):
    """Leave direct convolution and the portable one, and lay out weights wherever that is right."""
    for operation in ("conv_fwd", "conv_bwd_data"):
        left = [algorithm for algorithm in ALGORITHMS[operation] if algorithm.name in ("direct", "portable")]
        monkeypatch.setitem(ALGORITHMS, operation, tuple(left))
    monkeypatch.setattr(conv_direct_weights, "_LAID_OUT_WEIGHT", 0)
    monkeypatch.setattr(conv_direct_weights, "_LAID_OUT_LINE", 0)
    if request.param == "short pieces":
        monkeypatch.setattr(conv_direct_weights, "_VECTORS_OF_PIECE", 20)
        monkeypatch.setattr(conv_direct_weights, "_VECTORS_OF_LONG_PIECE", 1)
    forget()
    yield
    monkeypatch.undo()
    forget()


def draw(shape, seed, dtype="float32"):
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS)
def test_pieces_of_weights_make_exact_sums(device, record, laid_out, layer, dtype):
    input_shape, weight_shape, arguments = LAYERS[layer]
    rank = len(input_shape) - 2
    x, w, b = draw(input_shape, 1, dtype), draw(weight_shape, 2, dtype), draw(weight_shape[0], 3, dtype)
    assert_exact(f"conv{rank}d", device, record, x, w, b, **arguments)
    dy = draw(clconv.ConvProblem.from_shapes(input_shape, weight_shape, **arguments).output_shape, 4, dtype)
    mask = True, False, False
    assert_exact(f"conv{rank}d_backward", device, record, dy, x, w, **arguments, output_mask=mask)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_weights_with_gaps_are_laid_out_as_they_lie(device, record, laid_out, dtype):
    x, dy, w = draw((1, 24, 5, 5), 1, dtype), draw((1, 40, 5, 5), 2, dtype), draw((80, 48, 6, 6), 3, dtype)
    for view in (w[::2, :24, ::2, 2::-1], w[40:, 47:23:-1, :3, ::2], w[79:39:-1, :24, 1::2, :3].swapaxes(2, 3)):
        assert_exact("conv2d", device, record, x, view, padding=1)
        assert_exact("conv_transpose2d", device, record, dy, view, padding=1)
    weights_last = np.moveaxis(np.moveaxis(w[:40, :24, :1, :1], 0, -1).copy(), -1, 0)
    assert_exact("conv2d", device, record, x, weights_last)
    assert_exact("conv_transpose2d", device, record, dy, weights_last)


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer != "no channels"])
def test_what_is_not_finite_stands_where_packed_weights_put_it(device, laid_out, monkeypatch, layer):
    input_shape, weight_shape, arguments = LAYERS[layer]
    x, w = draw(input_shape, 5), draw(weight_shape, 6)
    random = np.random.default_rng(7)
    for array in (x, w):
        array.flat[random.choice(array.size, 3, replace=False)] = [np.nan, np.inf, -np.inf]
    call = getattr(clconv, f"conv{len(input_shape) - 2}d")
    with np.errstate(invalid="ignore"):
        in_pieces = call(x, w, **arguments, device=device)
        monkeypatch.setattr(conv_direct_weights, "_LAID_OUT_WEIGHT", np.inf)
        forget()
        np.testing.assert_array_equal(call(x, w, **arguments, device=device), in_pieces)


def kernels_of(operation, problem, **traits):
    return [launch.kernel for launch in plan_for(operation, problem, Traits(64, **traits)).launches]


def test_weights_are_laid_out_where_outputs_are_few_and_a_plan_packs_them():
    few = clconv.ConvProblem.from_shapes((1, 512, 7, 7), (512, 512, 3, 3), padding=1)
    assert kernels_of("conv_fwd", few) == ["copy_channels_last", "conv_direct"]
    assert kernels_of("conv_bwd_data", few) == ["copy_channels_last", "conv_direct"]
    many = clconv.ConvProblem.from_shapes((1, 128, 28, 28), (128, 128, 3, 3), stride=2, padding=1)
    assert "pack_weights" in kernels_of("conv_fwd", many)
    strided = clconv.ConvProblem.from_shapes((1, 512, 7, 7), (512, 512, 1, 1), stride=2)
    assert kernels_of("conv_bwd_data", strided).count("pack_weights") == 0
    assert kernels_of("conv_fwd", few, prepared=True) != kernels_of("conv_fwd", few)


def test_a_work_item_has_memory_of_its_own_for_its_piece():
    problem = clconv.ConvProblem.from_shapes((1, 512, 7, 7), (512, 512, 3, 3), padding=1)
    plan = plan_for("conv_fwd", problem, Traits(64))
    launch = plan.launches[-1]
    assert plan.workspace["y_pieces"] == launch.items * launch.numbers["PIECE"] * 9 * 32 * 4


def test_no_run_is_longer_than_what_a_work_item_keeps(laid_out):
    longest = int(re.search(r"#define LONGEST_RUN (\d+)", (kernel_source.folder() / "conv_direct.cl").read_text())[1])
    problem = clconv.ConvProblem.from_shapes((1, 5, 64, 64), (20, 5, 1, 1))
    for vector_bytes in (16, 32, 64):
        for prepared in (False, True):
            launch = plan_for("conv_fwd", problem, Traits(vector_bytes, prepared=prepared)).launches[-1]
            assert (launch.kernel, launch.numbers["RUN"] <= longest) == ("conv_direct", True)
    assert plan_for("conv_fwd", problem, Traits(64)).launches[-1].numbers["RUN"] == longest


@pytest.mark.parametrize(("dtype", "channels"), [("float64", 1024), ("float64", 64), ("float32", 1024)])
def test_a_run_of_tiles_reads_what_stays_near(dtype, channels):
    """All blocks of output channels read it: for each output four values of each input channel."""
    problem = clconv.ConvProblem.from_shapes((1, channels, 64, 64), (1024, channels, 2, 2), stride=2, dtype=dtype)
    launch = plan_for("conv_fwd", problem, Traits(64)).launches[-1]
    run, tile = launch.numbers["RUN"], dict(launch.defines)["TILE"]
    assert (launch.kernel, run > 1) == ("conv_direct", True)
    assert run * tile * 4 * channels * np.dtype(dtype).itemsize <= 2**20


@pytest.mark.parametrize(("batch", "stride"), [(1, 1), (16, 1), (16, 2)])
def test_a_run_of_columns_reads_what_stays_near(batch, stride):
    """All rows of a gradient of the weights read it: a vector for each column and each output of a part."""
    problem = clconv.ConvProblem.from_shapes((batch, 512, 28, 29), (1024, 512, 1, 2), stride=stride)
    launch = next(
        launch
        for launch in plan_for("conv_bwd_weights", problem, Traits(64)).launches
        if launch.kernel == "conv_weights"
    )
    columns = launch.numbers["RUN"] * dict(launch.defines)["COLUMNS"]
    outputs = batch * (28 // stride) ** 2 // launch.numbers["PARTS"]
    assert launch.numbers["RUN"] > 1
    assert columns * 64 * outputs <= 2**20
