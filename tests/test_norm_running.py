"""Running statistics: updated in place as torch does, and only by a call that succeeds."""

from __future__ import annotations

import re

import numpy as np
import pytest

import clconv
from clconv.devices import executor_for
from clconv.errors import BuildError
from clconv.oracle import reference

X = np.random.default_rng(1).standard_normal((4, 3, 5)).astype("float32")


def running(dtype="float32"):
    return np.array([0.5, -1, 2], dtype), np.array([1, 2, 0.25], dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("operation", ["batch_norm", "instance_norm"])
def test_training_moves_them_towards_the_rows_own(device, operation, dtype):
    mean, var = running(dtype)
    given = {"training": True} if operation == "batch_norm" else {}
    expected = getattr(reference, operation)(X, *running(), **given, momentum=0.25)
    getattr(clconv, operation)(X.astype(mean.dtype.newbyteorder("=")), mean, var, **given, momentum=0.25, device=device)
    tolerance = {"rtol": 2e-3 if dtype == "float16" else 1e-6, "atol": 1e-7}
    np.testing.assert_allclose(mean, expected.running_mean, **tolerance)
    np.testing.assert_allclose(var, expected.running_var, **tolerance)
    assert mean.dtype == dtype


def test_the_variance_is_stored_unbiased_and_used_biased(device):
    mean, var = np.zeros(1), np.zeros(1)
    y = clconv.batch_norm(np.array([[5.0], [7.0]]), mean, var, training=True, momentum=1.0, eps=3.0, device=device)
    np.testing.assert_array_equal(y.ravel(), [-0.5, 0.5])
    assert (mean, var) == (6, 2)


def test_views_are_updated_and_what_lies_between_is_not(device):
    wide = np.full((3, 4), 7, "float32")
    mean, var = wide[:, 1], wide[::-1, 2]
    clconv.batch_norm(X, mean, var, training=True, momentum=1.0, device=device)
    plain = running()
    clconv.batch_norm(X, *plain, training=True, momentum=1.0, device=device)
    np.testing.assert_array_equal((mean, var), plain)
    assert (wide[:, [0, 3]] == 7).all()


def test_momentum_none_averages_over_all_batches(device):
    mean, var = running("float64")
    batches = np.random.default_rng(2).standard_normal((3, 4, 3, 5))
    for number, batch in enumerate(batches):
        arguments = {"momentum": None, "num_batches_tracked": number}
        clconv.batch_norm(batch, mean, var, training=True, **arguments, device=device)
    np.testing.assert_allclose(mean, np.mean([b.mean(axis=(0, 2)) for b in batches], axis=0), rtol=1e-13)
    np.testing.assert_allclose(var, np.mean([b.var(axis=(0, 2), ddof=1) for b in batches], axis=0), rtol=1e-13)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0)])
def test_an_empty_batch_changes_nothing(device, shape):
    mean, var = running()
    assert clconv.batch_norm(np.zeros(shape, "float32"), mean, var, training=True, device=device).shape == shape
    np.testing.assert_array_equal((mean, var), running())


def test_evaluation_and_gradients_change_nothing_and_take_what_is_read_only(device):
    mean, var = running()
    mean.flags.writeable = var.flags.writeable = False
    clconv.batch_norm(X, mean, var, device=device)
    clconv.instance_norm(X, mean, mean + 3, use_input_stats=False, device=device)
    clconv.batch_norm_backward(X, X, mean, var, training=True, device=device)
    clconv.instance_norm_backward(X, X, mean, mean, device=device)


def arguments_of(fault):
    """Return arguments of a training call with a fault, and the running statistics among them."""
    mean, var = running()
    x, keywords = X.copy(), {"training": True}
    if fault == "read-only":
        var.flags.writeable = False
    elif fault == "shape":
        var = np.ones(4, "float32")
    elif fault == "one array":
        var = mean
    elif fault == "the input's memory":
        mean = x[0, :, 0]
    elif fault == "the output's memory":
        keywords["out"] = np.zeros_like(x)
        mean = keywords["out"][0, :, 0]
    elif fault == "repeated":
        mean = np.broadcast_to(np.float32(1), 3)
        mean.flags.writeable = True
    elif fault == "dtype":
        mean = mean.astype("float64")
    elif fault == "a weight":
        keywords["weight"] = np.ones(2, "float32")
    elif fault == "one value":
        x = x[:1, :, :1]
    elif fault == "eps":
        keywords["eps"] = 0
    return x, mean, var, keywords


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # NumPy's, for making a broadcast view writeable
@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        ("read-only", ValueError, "running_var must be writeable: running_var.flags.writeable=False"),
        ("shape", ValueError, "running_var must have one value for each channel, shape (3,): running_var.shape=(4,)"),
        ("one array", ValueError, "running_mean must not overlap an input, but it shares memory with running_var"),
        ("the input's memory", ValueError, "running_mean must not overlap an input, but it shares memory with input"),
        ("the output's memory", ValueError, "out must not overlap an input, but it shares memory with running_mean"),
        ("repeated", ValueError, "running_mean must not have two indices for one element: running_mean.strides=(0,)"),
        ("dtype", TypeError, "arrays must have one dtype: input.dtype=float32, running_mean.dtype=float64"),
        ("a weight", ValueError, "weight must have one value for each channel, shape (3,): weight.shape=(2,)"),
        ("one value", ValueError, "training takes more than one value per channel: input.shape=(1, 3, 1)"),
        ("eps", ValueError, "eps must be above 0 in training: eps=0"),
    ],
)
def test_a_refused_call_changes_nothing(device, fault, error, text):
    x, mean, var, keywords = arguments_of(fault)
    before = mean.copy(), var.copy()
    with pytest.raises(error, match=re.escape(text)):
        clconv.batch_norm(x, mean, var, **keywords, device=device)
    np.testing.assert_array_equal(mean, before[0])
    np.testing.assert_array_equal(var, before[1])


def test_a_call_that_fails_on_the_device_changes_nothing(device, monkeypatch):

    executor = executor_for(device, X, "float32")

    def fail(plan, operands):
        raise BuildError("no compiler today")

    monkeypatch.setattr(executor, "run", fail)
    mean, var = running()
    with pytest.raises(BuildError):
        clconv.batch_norm(X, mean, var, training=True, device=device)
    np.testing.assert_array_equal((mean, var), running())


def test_arrays_on_a_queue_are_updated_there(device):
    if device == "native":
        return
    cl_array = pytest.importorskip("pyopencl.array")
    executor = executor_for(device, X, "float32")
    context = cl_array.cl.Context([executor.device])
    queue = cl_array.cl.CommandQueue(context)
    mean, var = (cl_array.to_device(queue, array) for array in running())
    x = cl_array.to_device(queue, X)
    y = clconv.batch_norm(x, mean, var, training=True)
    expected = reference.batch_norm(X, *running(), training=True)
    for ours, exact in zip((y, mean, var), expected, strict=True):
        np.testing.assert_allclose(ours.get(), exact, rtol=1e-5, atol=1e-6)
    y = clconv.instance_norm(x.transpose((2, 0, 1)))
    np.testing.assert_allclose(y.get(), reference.instance_norm(X.transpose(2, 0, 1)).output, rtol=1e-4, atol=1e-5)
    gradients = clconv.batch_norm_backward(x, x, mean, var, mean, training=True)
    exact = reference.batch_norm_backward(X, X, None, None, mean.get(), training=True)
    np.testing.assert_allclose(gradients.weight.get(), exact.weight, rtol=1e-4)
