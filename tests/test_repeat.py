"""Calls that are repeated: the bits of the first call, whatever changed, and a cost of microseconds."""

from __future__ import annotations

import time

import numpy as np
import pytest

import clconv
from clconv.accuracy import accuracy_in_force
from clconv.devices import executor_for
from clconv.executor import watched_runs
from clconv.functional import _repeat
from clconv.native import executor as native_executor
from clconv.plan import Traits
from tests.threads import run_in_threads

pytestmark = pytest.mark.skipif(native_executor.why_unusable() is not None, reason="no native device")

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((2, 4, 9, 9), dtype=np.float32)
W = RANDOM.standard_normal((6, 4, 3, 3), dtype=np.float32)
B = RANDOM.standard_normal(6, dtype=np.float32)

CALLS = {
    "conv2d": lambda x, w, b: clconv.conv2d(x, w, b, padding=1, device="native"),
    "conv2d_backward": lambda x, w, b: clconv.conv2d_backward(clconv.conv2d(x, w), x, w, b, device="native"),
    "masked": lambda x, w, b: clconv.conv2d_backward(
        clconv.conv2d(x, w), x, w, b, output_mask=[False, True, False], device="native"
    ),
    "an epilogue": lambda x, w, b: clconv.conv2d(x, w, epilogue=clconv.Epilogue(shift=b, activation="relu")),
    "max_pool2d": lambda x, w, b: clconv.max_pool2d(x, 2, return_indices=True, device="native"),
    "interpolate": lambda x, w, b: clconv.interpolate(x, scale_factor=2.0, mode="bilinear", device="native"),
    "batch_norm": lambda x, w, b: clconv.batch_norm(x, b[:4].copy(), b[1:5] ** 2, b[2:6].copy(), device="native"),
}


def bits(result):
    return [None if array is None else array.tobytes() for array in (result if isinstance(result, tuple) else [result])]


@pytest.fixture(autouse=True)
def forgotten():
    _repeat._recordings.clear()


@pytest.mark.parametrize("name", CALLS)
def test_a_repeated_call_runs_no_python_of_the_operation_and_gives_the_same_bits(name):
    call = CALLS[name]
    arrays = X, W, B
    first = call(*arrays)
    changed = call(*(2 * array for array in arrays))
    assert type(changed) is type(first)
    assert bits(call(*arrays)) == bits(first) != bits(changed)
    with watched_runs() as runs:  # nothing is repeated that is watched
        assert bits(call(*(2 * array for array in arrays))) == bits(changed)
    assert runs
    assert any(recording is not _repeat._OTHER for recording in _repeat._recordings.values())


def test_results_are_new_arrays():
    one, two = (clconv.conv2d(X, W, device="native") for _ in range(2))
    assert not np.shares_memory(one, two)


@pytest.mark.parametrize(
    "arguments",
    [
        {"stride": 1.0},
        {"stride": True},
        {"padding": "wide"},
        {"groups": 3},
        {"device": "nowhere"},
        {"bias": B[:5]},
        {"bias": B.astype("float64")},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_after_right_ones(arguments):
    for _ in range(2):
        clconv.conv2d(X, W, stride=1, bias=B)
        with pytest.raises((TypeError, ValueError)):
            clconv.conv2d(X, W, **arguments)


def test_minus_zero_is_not_zero():
    x = np.ones((1, 1, 2), "float32")
    for value in (0.0, -0.0, 0.0, -0.0):
        y = clconv.pad(x, (1, 1), value=value, device="native")
        assert np.signbit(y[0, 0, 0]) == np.signbit(value)


def test_an_output_that_was_given_is_checked_in_every_call():
    expected = clconv.avg_pool2d(X, 1, device="native")
    both = np.zeros((2, *X.shape), "float32")
    both[0] = X
    for _ in range(3):
        out = np.full_like(X, np.nan)
        assert clconv.avg_pool2d(X, 1, out=out, device="native") is out
        np.testing.assert_array_equal(out, expected)
        assert clconv.avg_pool2d(both[0], 1, out=both[1], device="native").base is both
        with pytest.raises(ValueError, match="out must not overlap an input, but it shares memory with input"):
            clconv.avg_pool2d(both[0], 1, out=both[0].view(), device="native")
        with pytest.raises(ValueError, match="out must not overlap an input, but it shares memory with input"):
            clconv.avg_pool2d(X, 1, out=X, device="native")
        out.flags.writeable = False
        with pytest.raises(ValueError, match="out must be writeable"):
            clconv.avg_pool2d(X, 1, out=out, device="native")
    assert _repeat._OTHER not in _repeat._recordings.values()


def test_arguments_that_hold_themselves_are_refused():
    stride = []
    stride.append(stride)
    with pytest.raises((TypeError, ValueError)):
        clconv.conv2d(X, W, stride=stride, device="native")


def test_running_statistics_are_updated_in_every_call():
    mean, variance = np.zeros(4, "float32"), np.ones(4, "float32")
    seen = set()
    for _ in range(3):
        clconv.batch_norm(X, mean, variance, training=True, device="native")
        seen.add(mean.tobytes())
    assert len(seen) == 3


def test_arrays_that_are_not_repeatable_give_the_same():
    expected = clconv.conv2d(X, W, device="native")
    swapped = X.astype(X.dtype.newbyteorder())
    misaligned = np.zeros(X.shape, np.dtype([("flag", np.uint8), ("value", X.dtype)]))["value"]
    misaligned[...] = X
    fortran = np.asfortranarray(X)
    for x in (swapped, misaligned, fortran, X) * 2:
        np.testing.assert_array_equal(clconv.conv2d(x, W, device="native"), expected)


def test_the_same_array_may_be_two_arguments():
    image = RANDOM.standard_normal((3, 3, 3, 3), dtype=np.float32)
    other = image[::-1].copy()
    expected = clconv.conv2d(image.copy(), other.copy(), device="native")
    clconv.conv2d(image, image, device="native")
    np.testing.assert_array_equal(clconv.conv2d(image, other, device="native"), expected)


def test_device_traits_and_accuracy_are_those_of_the_moment():
    executor = executor_for("native", X, "float32")
    own = executor.traits
    x = np.ones((1, 64, 8, 8), "float32")
    w = np.ones((64, 64, 3, 3), "float32")

    def kernels():
        with watched_runs() as runs:
            clconv.conv2d(x, w, padding=1, device="native")
        return [launch.kernel for launch in runs[0].plan.launches]

    assert kernels() != ["conv_fwd"]
    before = len(_repeat._recordings)
    with clconv.use("native"):
        clconv.conv2d(x, w, padding=1)
        try:
            executor.traits = Traits()
            clconv.conv2d(x, w, padding=1)
            assert kernels() == ["conv_fwd"]
        finally:
            executor.traits = own
        with clconv.accuracy("default"):
            assert accuracy_in_force() == "default"
            clconv.conv2d(x, w, padding=1)
    assert len(_repeat._recordings) == before + 3


def test_what_is_remembered_stays_bounded(monkeypatch):
    monkeypatch.setattr(_repeat, "_MOST_REMEMBERED", 3)
    for extent in range(3, 12):
        clconv.relu(np.ones(extent, "float32"), device="native")
        assert len(_repeat._recordings) <= 3


def test_threads_repeat_calls_while_others_are_forgotten(monkeypatch):
    monkeypatch.setattr(_repeat, "_MOST_REMEMBERED", 2)
    wrong = []

    def work(extent):
        x = np.ones((1, 4, extent, 9), "float32")
        expected = clconv.conv2d(x, W, device="native").tobytes()
        for _ in range(200):
            if clconv.conv2d(x, W, device="native").tobytes() != expected:
                wrong.append(extent)

    run_in_threads(work, [(extent,) for extent in range(4, 10)])
    assert not wrong


def test_a_tiny_convolution_costs_microseconds():
    """The limit is five times what it takes, so that a busy machine does not fail."""
    x, w = np.ones((1, 1, 8, 8), "float32"), np.ones((1, 1, 3, 3), "float32")
    times = []
    for _ in range(2000):
        start = time.perf_counter()
        clconv.conv2d(x, w, device="native")
        times.append(time.perf_counter() - start)
    assert min(times) < 25e-6
