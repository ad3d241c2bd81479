"""Pooling at its limits, and the calls that it refuses in words."""

from __future__ import annotations

import math

import numpy as np
import pytest

import clconv
from clconv.oracle import reference
from clconv.problem import MaxPoolProblem, PoolProblem
from clconv.problem.pool import PoolAxis
from tests.calls import assert_exact, run_twice
from tests.threads import results_by_threads

NAN, INF = np.nan, np.inf
PLANE = np.arange(2 * 3 * 6 * 6, dtype="float32").reshape(2, 3, 6, 6)
ROW = np.arange(12, dtype="float32").reshape(1, 2, 6)
PLACES = np.zeros((2, 3, 6, 6), "int64")


def row(*values, dtype="float32"):
    return np.array([values], dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_wins_and_the_first_one_is_named(device, dtype):
    x = row(3, NAN, INF, NAN, 1, 2, -INF, -INF, dtype=dtype)
    y, indices = clconv.max_pool1d(x, 4, return_indices=True, device=device)
    np.testing.assert_array_equal(y, [[NAN, 2]])
    np.testing.assert_array_equal(indices, [[1, 5]])
    dx = clconv.max_pool1d_backward(row(10, 20, dtype=dtype), x, 4, device=device).input
    np.testing.assert_array_equal(dx, [[0, 10, 0, 0, 0, 20, 0, 0]])
    share = clconv.max_pool1d_backward(row(10, 20, dtype=dtype), x, 4, ties="share", device=device).input
    np.testing.assert_array_equal(share, [[0, 5, 0, 5, 0, 20, 0, 0]])


def test_windows_of_minus_infinity_have_their_first_pixel_as_maximum(device):
    x = np.full((1, 3, 3), -INF, "float32")
    y, indices = clconv.max_pool2d(x, 3, 2, 1, return_indices=True, device=device)
    np.testing.assert_array_equal(y, np.full((1, 2, 2), -INF))
    np.testing.assert_array_equal(indices, [[[0, 1], [3, 4]]])
    dx = clconv.max_pool2d_backward(np.ones((1, 2, 2), "float32"), x, 3, 2, 1, device=device).input
    np.testing.assert_array_equal(dx, [[[1, 1, 0], [1, 1, 0], [0, 0, 0]]])


def test_a_long_row_of_nan_wins_wherever_vectors_end(device):
    for place in range(0, 131, 13):
        x = np.zeros((1, 131), "float32")
        x[0, place] = NAN
        y = clconv.max_pool1d(x, 3, 1, 1, device=device)
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(y)), [i for i in range(131) if abs(i - place) <= 1])
        np.testing.assert_array_equal(clconv.global_max_pool(x[None], device=device), [[[NAN]]])


def test_half_means_are_taken_in_single_precision(device):
    """4096 ones add up to 4096 in float; a half sum would stop at 2048, and one of large values would overflow."""
    ones = np.ones((1, 1, 64, 64), "float16")
    assert clconv.avg_pool2d(ones, 64, device=device).item() == 1
    assert clconv.global_avg_pool(60000 * ones, device=device).item() == np.float16(60000)


def test_norms_neither_overflow_nor_vanish(device):
    for size in (1e-30, 1e30):
        x = np.full((1, 1, 4), size, "float32")
        for order in (2, 5):
            y = clconv.lp_pool1d(x, order, 4, device=device)
            np.testing.assert_allclose(y, size * 4 ** (1 / order), rtol=1e-5)


def test_norms_of_what_is_not_finite(device):
    x = row(INF, 1, NAN, 1, 0, 0)
    np.testing.assert_array_equal(clconv.lp_pool1d(x, 3, 2, device=device), [[INF, NAN, 0]])
    assert clconv.lp_pool1d_backward(row(1, 1, 1), x, 3, 2, device=device).input[0, 4] == 0


@pytest.mark.parametrize("shape", [(0, 3, 6, 6), (1, 1, 1, 1)])
def test_empty_batches_and_single_pixels(device, record, shape):
    x = np.ones(shape, "float32")
    for name, arguments in [("max_pool2d", (1,)), ("avg_pool2d", (1,)), ("adaptive_avg_pool2d", (2,))]:
        assert_exact(name, device, record, x, *arguments)
        g = np.ones(getattr(reference, name)(x, *arguments).shape, "float32")
        assert_exact(f"{name}_backward", device, record, g, x, *arguments)


def test_an_empty_batch_has_an_empty_out(device):
    out = np.zeros((0, 3, 3, 3), "float32")
    assert clconv.max_pool2d(PLANE[:0], 2, out=out, device=device) is out


def test_no_outputs_give_no_gradient(device):
    y = clconv.adaptive_max_pool2d(PLANE, (0, 2), device=device)
    assert y.shape == (2, 3, 0, 2)
    assert not clconv.adaptive_max_pool2d_backward(y, PLANE, (0, 2), device=device).input.any()


def test_channels_may_be_missing_only_where_torch_allows_it(device):
    empty = np.zeros((2, 0, 4, 4), "float32")
    assert clconv.adaptive_avg_pool2d(empty, 2, device=device).shape == (2, 0, 2, 2)
    assert clconv.global_avg_pool(empty, device=device).shape == (2, 0, 1, 1)


def test_stride_may_be_left_out_as_torch_writes_it(device):
    for stride in (None, (), [], 3, (3,), np.int64(3)):
        np.testing.assert_array_equal(
            clconv.max_pool2d(PLANE, 3, stride, device=device), reference.max_pool2d(PLANE, 3)
        )


@pytest.mark.parametrize(
    ("extent", "kernel", "stride", "padding", "outputs"),
    [(5, 2, 2, 0, 3), (4, 1, 3, 0, 2), (4, 1, 4, 0, 1), (3, 2, 2, 1, 2), (2, 4, 4, 0, 1), (7, 3, 2, 1, 4)],
)
def test_ceil_mode_has_torchs_last_window(device, record, extent, kernel, stride, padding, outputs):
    x = np.arange(extent, dtype="float32").reshape(1, extent)
    y = clconv.max_pool1d(x, kernel, stride, padding, ceil_mode=True, device=device)
    assert y.shape == (1, outputs)
    assert_exact("max_pool1d", device, record, x, kernel, stride, padding, ceil_mode=True)
    g = np.arange(1, outputs + 1, dtype="float32").reshape(1, outputs)
    assert_exact("max_pool1d_backward", device, record, g, x, kernel, stride, padding, ceil_mode=True)


def test_out_receives_the_result_beside_new_indices(device):
    expected, places = clconv.max_pool2d(PLANE, 2, return_indices=True, device=device)
    for out in (np.empty((2, 3, 3, 3), "float32"), np.empty((3, 3, 3, 4), "float32").transpose(3, 0, 1, 2)[::2]):
        y, indices = clconv.max_pool2d(PLANE, 2, return_indices=True, out=out, device=device)
        assert y is out
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, places)


def test_masked_gradients_are_none(device):
    g = np.ones((2, 3, 3, 3), "float32")
    for name, arguments in [
        ("max_pool2d", (2,)),
        ("avg_pool2d", (2,)),
        ("lp_pool2d", (2, 2)),
        ("adaptive_avg_pool2d", (3,)),
    ]:
        backward = getattr(clconv, f"{name}_backward")
        assert backward(g, PLANE, *arguments, output_mask=(False,), device=device) == (None,)
        assert backward(g, PLANE, *arguments, output_mask=[True], device=device).input is not None


def test_of_equal_indices_the_last_one_decides(device, record):
    x = np.arange(1, 7, dtype="float32").reshape(1, 2, 3)
    indices = np.array([[[0, 5, 0], [5, 0, 7]]])
    y = run_twice("max_unpool2d", device, record, x, indices, 2)
    np.testing.assert_array_equal(y.ravel()[[0, 5, 7]], [5, 4, 6])
    g = np.arange(24, dtype="float32").reshape(1, 4, 6)
    dx = clconv.max_unpool2d_backward(g, x, indices, 2, device=device).input
    np.testing.assert_array_equal(dx, indices)


def test_unpooling_undoes_pooling(device):
    y, indices = clconv.max_pool2d(PLANE, 3, return_indices=True, device=device)
    back = clconv.max_unpool2d(y, indices, 3, device=device)
    np.testing.assert_array_equal(back, np.where(np.isin(PLANE, y), PLANE, 0))
    shape = clconv.max_unpool2d(y, indices, 3, output_size=(9, 9, 8, 7), device=device).shape
    assert shape == (2, 3, 8, 7)


def test_results_do_not_depend_on_the_number_of_threads():
    x = np.random.default_rng(1).standard_normal((4, 8, 60, 60)).astype("float32")

    def call():
        y = clconv.avg_pool2d(x, 3, 2, 1, device="native")
        dx = clconv.max_pool2d_backward(y, x, 3, 2, 1, device="native").input
        return y.tobytes(), dx.tobytes(), clconv.global_avg_pool(x, device="native").tobytes()

    results = results_by_threads(call)
    assert results[0] == results[1] == results[2]


def test_device_arrays_stay_on_their_queue():
    names = [d.name for d in clconv.devices() if d.name.startswith("opencl") and d.problem is None]
    if not names:
        pytest.skip("there is no OpenCL device")
    cl_array = pytest.importorskip("pyopencl.array")
    from clconv.devices import executor_for

    queue = executor_for(names[0], PLANE, "float32")._queue()
    x = cl_array.to_device(queue, PLANE)
    y, indices = clconv.max_pool2d(x, 2, return_indices=True)
    assert y.queue == queue
    np.testing.assert_array_equal(indices.get(), reference.max_pool2d(PLANE, 2, return_indices=True)[1])
    np.testing.assert_array_equal(
        clconv.max_unpool2d(y, indices, 2).get(), clconv.max_unpool2d(y.get(), indices.get(), 2)
    )
    np.testing.assert_array_equal(
        clconv.max_pool2d_backward(y, x, 2).input.get(), np.where(np.isin(PLANE, y.get()), PLANE, 0)
    )
    with pytest.raises(
        TypeError, match=r"indices takes a pyopencl\.array\.Array of int64 beside this input, not ndarray"
    ):
        clconv.max_unpool2d(y, indices.get(), 2)
    with pytest.raises(ValueError, match="indices must be at least 0 and below 36"):
        clconv.max_unpool2d(y, indices + 36, 2)


def test_windows_that_step_over_the_image_are_found():
    """Against looking at every tap of every window."""
    for extent, kernel, stride, dilation, low, high in np.random.default_rng(3).integers(1, 7, (3000, 6)).tolist():
        axis = PoolAxis(extent, kernel, stride, dilation, low - 1, high - 1)
        if axis.padded < axis.span:
            continue
        axis = PoolAxis(extent, kernel, stride, dilation, low - 1, high - 1, output=axis.outputs(False))
        taps = [[o * stride - axis.low + k * dilation for k in range(kernel)] for o in range(axis.output)]
        assert axis.has_window_in_padding() == any(not any(0 <= p < extent for p in window) for window in taps)


def test_huge_padding_is_refused_at_once():
    with pytest.raises(ValueError, match="one is all padding"):
        MaxPoolProblem.sliding(1, (1, 1, 2), 2, 1, ((2**28, 2**28),), 2**28, dtype="float32")


def test_problems_say_their_sizes():
    problem = PoolProblem.sharing(3, (3, 4, 6, 6), (2, None, 5), dtype="float16")
    assert (problem.input_shape, problem.output_shape) == ((3, 4, 6, 6), (3, 2, 6, 5))
    assert problem.taps == 2 * 1 * 3


def tied(**arguments):
    return lambda: clconv.max_pool2d(PLANE, 2, **arguments)


REFUSED = [
    (lambda: clconv.max_pool2d(PLANE, 0), ValueError, "kernel_size must be at least 1: kernel_size=0"),
    (lambda: clconv.max_pool2d(PLANE, 1.5), TypeError, "kernel_size takes an integer, not float"),
    (lambda: clconv.max_pool2d(PLANE, (2, 2, 2)), ValueError, "kernel_size takes one integer or one for each of 2"),
    (tied(stride=0), ValueError, "stride must be at least 1: stride=0"),
    (tied(dilation=0), ValueError, "dilation must be at least 1"),
    (tied(padding=-1), ValueError, "padding must be at least 0"),
    (
        tied(padding=2),
        ValueError,
        r"padding must be at most half of kernel_size, .*: padding=\(2, 2\), kernel_size=\(2, 2\)",
    ),
    (tied(padding=((2, 0), (0, 0))), ValueError, "one is all padding: spatial axis 0 of input"),
    (tied(padding="same", stride=2), ValueError, 'padding="same" takes stride 1'),
    (tied(padding="half"), ValueError, "padding takes one of 'valid', 'same'"),
    (tied(dilation=6), ValueError, r"larger than the padded input: .* = 6 \* \(2 - 1\) \+ 1 = 7"),
    (tied(ceil_mode=1), TypeError, "ceil_mode takes True or False, not int"),
    (tied(return_indices=None), TypeError, "return_indices takes True or False"),
    (tied(ties="last"), ValueError, "ties takes one of 'first', 'all', 'share': ties='last'"),
    (tied(ties=1), TypeError, "ties takes one of"),
    (tied(out=np.empty((2, 3, 2, 3), "float32")), ValueError, r"out must have the output's shape \(2, 3, 3, 3\)"),
    (lambda: clconv.max_pool2d(PLANE, 7), ValueError, "the window is larger than the padded input"),
    (lambda: clconv.max_pool2d(ROW[0], 2), ValueError, r"input takes 4 axes .*input\.shape=\(2, 6\) has 2"),
    (lambda: clconv.max_pool2d(PLANE[:, :0], 2), ValueError, "input must have at least 1 channel"),
    (lambda: clconv.max_pool2d(PLANE[..., :0], 2), ValueError, "1 position along each spatial axis"),
    (lambda: clconv.max_pool2d(PLANE.tolist(), 2), TypeError, "input takes a numpy.ndarray"),
    (lambda: clconv.max_pool2d(PLACES, 2), TypeError, "input takes dtype float16, float32 or float64, not int64"),
    (lambda: clconv.avg_pool2d(PLANE, 2, divisor_override=0), ValueError, "divisor_override must not be 0"),
    (lambda: clconv.avg_pool2d(PLANE, 2, divisor_override=2**63), ValueError, "must fit 64 bits"),
    (
        lambda: clconv.avg_pool2d(PLANE, 2, divisor_override=2.0),
        TypeError,
        "divisor_override takes an integer, not float",
    ),
    (
        lambda: clconv.avg_pool2d(PLANE, 2, divisor_override=True),
        TypeError,
        "divisor_override takes an integer, not bool",
    ),
    (lambda: clconv.avg_pool1d(ROW, 2, count_include_pad=0), TypeError, "count_include_pad takes True or False"),
    (lambda: clconv.lp_pool1d(ROW, 0, 2), ValueError, "norm_type must be greater than 0: norm_type=0"),
    (lambda: clconv.lp_pool1d(ROW, math.nan, 2), ValueError, "norm_type must be greater than 0: norm_type=nan"),
    (lambda: clconv.lp_pool1d(ROW, "2", 2), TypeError, "norm_type takes a number, not str"),
    (lambda: clconv.adaptive_avg_pool2d(PLANE, -1), ValueError, "output_size must be at least 0: output_size=-1"),
    (lambda: clconv.adaptive_avg_pool2d(PLANE, None), TypeError, "output_size takes an integer, not NoneType"),
    (lambda: clconv.adaptive_avg_pool2d(PLANE, (1, 2, 3)), ValueError, "output_size takes one integer or one for each"),
    (lambda: clconv.adaptive_max_pool2d(PLANE[:, :0], 2), ValueError, "input must have at least 1 channel"),
    (lambda: clconv.adaptive_avg_pool1d(ROW[..., :0], 2), ValueError, "1 position along each spatial axis"),
    (lambda: clconv.global_avg_pool(PLANE[0, 0]), ValueError, r"input takes 3 to 5 axes, .*input\.shape=\(6, 6\)"),
    (
        lambda: clconv.max_pool2d_backward(PLANE, PLANE, 2),
        ValueError,
        r"grad_output must have the output's shape \(2, 3, 3, 3\)",
    ),
    (
        lambda: clconv.max_pool1d_backward(ROW, ROW, 1, output_mask=(True, True)),
        ValueError,
        "one bool for each of input",
    ),
    (lambda: clconv.max_pool1d_backward(ROW.astype("float16"), ROW, 1), TypeError, "arrays must have one dtype"),
    (lambda: clconv.max_unpool2d(PLANE, PLACES.tolist(), 2), TypeError, "indices takes a numpy.ndarray of int64"),
    (lambda: clconv.max_unpool2d(PLANE, PLACES.astype("int32"), 2), TypeError, "indices takes dtype int64, not int32"),
    (lambda: clconv.max_unpool2d(PLANE, PLACES[:1], 2), ValueError, "indices must have the input's shape"),
    (
        lambda: clconv.max_unpool2d(PLANE, PLACES - 1, 2),
        ValueError,
        r"at least 0 and below 144, .*\(12, 12\): one is -1",
    ),
    (lambda: clconv.max_unpool2d(PLANE, PLACES + 2**32, 2), ValueError, "one is 4294967296"),
    (
        lambda: clconv.max_unpool2d(PLANE, PLACES, 2, output_size=(10, 12)),
        ValueError,
        "output_size must differ by less than",
    ),
    (lambda: clconv.max_unpool2d(PLANE, PLACES, 2, 1, 4), ValueError, "the output must have between 1 and"),
]


@pytest.mark.parametrize(("call", "error", "text"), REFUSED, ids=[text[:40] for _, _, text in REFUSED])
def test_refusals(call, error, text):
    with pytest.raises(error, match=text):
        call()
