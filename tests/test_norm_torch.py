"""Normalisations beside PyTorch's: values, running statistics, gradients, signatures."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import clconv

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

RANDOM = np.random.default_rng(3)
SHAPES = [(3, 6), (2, 6, 5), (2, 6, 4, 5), (2, 6, 3, 2, 4)]
NAMES = ["batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm", "local_response_norm"]


def calls(shape):
    """Yield operations, what precedes the weights, names of the weights with their shape, and other arguments."""
    C = shape[1]
    running = RANDOM.standard_normal(C), RANDOM.random(C) + 0.5
    for training in (True, False):
        yield "batch_norm", running, ("weight", "bias"), (C,), {"training": training, "momentum": 0.3}
    if len(shape) > 2:
        yield "instance_norm", running, ("weight", "bias"), (C,), {"momentum": 0.3}
        yield "instance_norm", running, ("weight", "bias"), (C,), {"use_input_stats": False}
        for size in (1, 2, 3, 7):
            yield "local_response_norm", (size,), (), (), {"alpha": 0.3, "beta": 0.6, "k": 0.5}
    for groups in (1, 3, 6):
        yield "group_norm", (groups,), ("weight", "bias"), (C,), {}
    for axes in range(1, len(shape)):
        yield "layer_norm", (shape[-axes:],), ("weight", "bias"), shape[-axes:], {}
        yield "rms_norm", (shape[-axes:],), ("weight",), shape[-axes:], {}


@pytest.mark.parametrize("shape", SHAPES)
def test_values_running_statistics_and_gradients_are_torchs(device, shape):
    for operation, between, names, parameters, keywords in calls(shape):
        x, g = RANDOM.standard_normal(shape), RANDOM.standard_normal(shape)
        weights = {name: RANDOM.standard_normal(parameters) for name in names}
        tensors = {name: torch.tensor(array, requires_grad=True) for name, array in {"input": x, **weights}.items()}
        ours = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in between)
        theirs = tuple(torch.tensor(a) if isinstance(a, np.ndarray) else a for a in between)
        gradients = getattr(clconv, f"{operation}_backward")(g, x, *ours, **weights, **keywords, device=device)
        y = getattr(clconv, operation)(x, *ours, **weights, **keywords, device=device)
        others = {name: tensor for name, tensor in tensors.items() if name != "input"}
        expected = getattr(torch.nn.functional, operation)(tensors["input"], *theirs, **others, **keywords)
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-11, atol=1e-12)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        expected.backward(torch.tensor(g))
        for gradient, tensor in zip(gradients, tensors.values(), strict=True):
            np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_positional_arguments_are_torchs(name):
    theirs = inspect.signature(getattr(torch.nn.functional, name)).parameters
    ours = inspect.signature(getattr(clconv, name)).parameters.values()
    assert [p.name for p in ours if p.kind is not p.KEYWORD_ONLY] == list(theirs)
    assert all(p.default == theirs[p.name].default for p in ours if p.name in theirs)


def test_the_cumulative_average_is_that_of_torchs_module(device):
    layer = torch.nn.BatchNorm1d(3, momentum=None, dtype=torch.float64)
    mean, var = np.zeros(3), np.ones(3)
    for number in range(3):
        x = RANDOM.standard_normal((4, 3, 5))
        layer(torch.tensor(x))
        arguments = {"momentum": None, "num_batches_tracked": number}
        clconv.batch_norm(x, mean, var, training=True, **arguments, device=device)
    np.testing.assert_allclose(mean, layer.running_mean, rtol=1e-12)
    np.testing.assert_allclose(var, layer.running_var, rtol=1e-12)
