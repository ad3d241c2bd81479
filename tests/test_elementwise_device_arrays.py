"""Elementwise operations on pyopencl arrays: the results of NumPy's arrays, on their queue."""

from __future__ import annotations

import numpy as np
import pytest

import clconv
from clconv.devices import executor_for

X = np.linspace(-4, 4, 24, dtype="float32").reshape(2, 3, 4)
T = np.array([[0, 2, 1, -100], [1, 1, 0, 2]])


@pytest.fixture
def to_device(device):
    if device == "native":
        pytest.skip("pyopencl arrays are for OpenCL devices")
    cl = pytest.importorskip("pyopencl")

    queue = cl.CommandQueue(executor_for(device, X, "float32")._programs.context)
    return lambda array: cl.array.to_device(queue, array)


@pytest.mark.filterwarnings("ignore")  # of compilers, for pyopencl's own kernels that convert types
@pytest.mark.parametrize(
    "call",
    [
        lambda x, t, **where: clconv.relu(x, **where),
        lambda x, t, **where: clconv.gelu_backward(x, x, **where).input,
        lambda x, t, **where: clconv.softmax(x, 1, **where),
        lambda x, t, **where: clconv.log_softmax(x, -1, dtype="float64", **where),
        lambda x, t, **where: clconv.cross_entropy(x, t, **where),
        lambda x, t, **where: clconv.cross_entropy_backward(x[:, 0], x, t, reduction="none", **where).input,
        lambda x, t, **where: clconv.linear(x, x[0], **where),
        lambda x, t, **where: clconv.dropout(x, seed=3, **where),
        lambda x, t, **where: clconv.relu(x[:, 1:, ::2], **where),
        lambda x, t, **where: clconv.flatten(x, 1),
        lambda x, t, **where: clconv.avg_pool1d(x, 2, epilogue=clconv.Epilogue(x[0, :, 0], None, x[..., 2:]), **where),
        lambda x, t, **where: (
            clconv.epilogue_backward(x, x, clconv.Epilogue(x[0, :, 0], activation="silu"), **where).scale
        ),
        lambda x, t, **where: (
            clconv.epilogue_backward(x, None, clconv.Epilogue(residual=x, activation="tanh"), output=x, **where).value
        ),
    ],
)
def test_results_are_those_of_numpy_arrays(device, to_device, call):
    np.testing.assert_array_equal(call(to_device(X), to_device(T)).get(), call(X, T, device=device))


def test_inplace_returns_the_array_itself(device, to_device):
    x = to_device(X)
    assert clconv.silu(x, inplace=True) is x
    np.testing.assert_array_equal(x.get(), clconv.silu(X, device=device))


def test_a_class_that_does_not_exist_makes_its_loss_nan(to_device):
    losses = clconv.cross_entropy(to_device(X), to_device(T + 1), ignore_index=-99, reduction="none").get()
    np.testing.assert_array_equal(np.isnan(losses), T == 2)


def test_arrays_of_two_kinds_are_refused(to_device):
    with pytest.raises(TypeError, match="input and target are not of one kind"):
        clconv.cross_entropy(to_device(X), T)
