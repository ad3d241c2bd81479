"""Activations, softmax, cross entropy, linear and flatten beside PyTorch's; skipped where PyTorch is not installed."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest

import clconv
from tests.calls import assert_all_within_bound

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
functional = torch.nn.functional if hasattr(torch, "nn") else None
pytestmark = pytest.mark.torch

RANDOM = np.random.default_rng(5)
ACTIVATIONS = {
    "relu": [{}],
    "leaky_relu": [{}, {"negative_slope": -0.5}],
    "sigmoid": [{}],
    "tanh": [{}],
    "silu": [{}],
    "gelu": [{}, {"approximate": "tanh"}],
    "hardswish": [{}],
}


def assert_alike(name, arrays, device, **arguments):
    """Assert that ours and torch's results and gradients are within their bounds around the reference."""
    tensors = {key: torch.tensor(np.array(array)) for key, array in arrays.items()}
    for key, tensor in tensors.items():
        is_constant = (name, key) == ("cross_entropy", "weight")
        tensor.requires_grad_(tensor.dtype.is_floating_point and not is_constant)
    output = getattr(functional, name)(**tensors, **arguments)
    g = np.asarray(RANDOM.standard_normal(tuple(output.shape)))
    output.backward(torch.tensor(g))
    given = tuple(arrays.values())
    ours = getattr(clconv, name)(**arrays, **arguments, device=device)
    assert_all_within_bound(name, (ours, output.detach().numpy()), *given, **arguments)
    gradients = getattr(clconv, f"{name}_backward")(g, **arrays, **arguments, device=device)
    theirs = tuple(
        None if gradient is None else tensors[key].grad.numpy() for key, gradient in gradients._asdict().items()
    )
    assert_all_within_bound(f"{name}_backward", (gradients, theirs), g, *given, **arguments)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs(device, name):
    x = np.concatenate([RANDOM.standard_normal(200) * 3, [0.0, -0.0, 3.0, -3.0]])
    for arguments in ACTIVATIONS[name]:
        assert_alike(name, {"input": x}, device, **arguments)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_is_torchs(device, name):
    x = RANDOM.standard_normal((2, 5, 3, 4)) * 5
    for dim in range(-4, 4):
        assert_alike(name, {"input": x}, device, dim=dim)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 5, 3), (2, 5, 2, 3)])
def test_cross_entropy_is_torchs(device, shape):
    x, w = RANDOM.standard_normal(shape) * 3, RANDOM.random(5) + 0.1
    positions = (*shape[:-1], 5)[:0] if len(shape) == 1 else (shape[0], *shape[2:])
    classes = RANDOM.integers(0, 5, positions)
    classes = np.where(RANDOM.random(positions) < 0.3, -100, classes) if positions else classes
    probabilities = RANDOM.random(shape)
    for reduction, smoothing, weighted in itertools.product(("mean", "sum", "none"), (0.0, 0.2), (False, True)):
        arguments = {"reduction": reduction, "label_smoothing": smoothing}
        for target in (np.asarray(classes), probabilities):
            given = {"input": x, "target": target, **({"weight": w} if weighted else {})}
            assert_alike("cross_entropy", given, device, **arguments)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 4, 5), (0, 5)])
def test_linear_is_torchs(device, shape):
    x, w, b = RANDOM.standard_normal(shape), RANDOM.standard_normal((7, 5)), RANDOM.standard_normal(7)
    assert_alike("linear", {"input": x, "weight": w, "bias": b}, device)
    assert_alike("linear", {"input": x, "weight": w[0]}, device)


def test_flatten_is_torchs():
    x = np.arange(24.0).reshape(2, 3, 4)
    for start, end in itertools.product(range(-3, 3), repeat=2):
        if start % 3 <= end % 3:
            np.testing.assert_array_equal(
                clconv.flatten(x, start, end), torch.flatten(torch.tensor(x), start, end).numpy(), strict=True
            )
    assert clconv.flatten(np.array(3.0)).shape == tuple(torch.flatten(torch.tensor(3.0)).shape)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "silu", "hardswish", "softmax", "log_softmax", "cross_entropy"])
def test_positional_arguments_are_torchs(name):
    theirs = inspect.signature(getattr(functional, name)).parameters
    ours = inspect.signature(getattr(clconv, name)).parameters.values()
    assert [p.name for p in ours if p.kind is not p.KEYWORD_ONLY] == list(theirs)
    assert all(p.default == theirs[p.name].default for p in ours if p.name in theirs)


def test_positional_arguments_of_dropout_are_torchs():
    theirs = inspect.signature(functional.dropout).parameters
    ours = inspect.signature(clconv.dropout).parameters.values()
    assert [p.name for p in ours if p.kind is not p.KEYWORD_ONLY] == list(theirs)


@pytest.mark.parametrize("name", [None, *ACTIVATIONS, "gelu_tanh"])
def test_gradients_of_an_epilogue(device, name):
    shape = (3, 5, 6, 7)
    arrays = [RANDOM.standard_normal(extents) for extents in (shape, 5, 5, shape)]
    value, scale, shift, residual = tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    z = scale.view(1, -1, 1, 1) * value + shift.view(1, -1, 1, 1) + residual
    function = getattr(functional, str(name).removesuffix("_tanh"), None)
    options = {"gelu_tanh": {"approximate": "tanh"}, "leaky_relu": {"negative_slope": 0.2}}.get(name, {})
    g = RANDOM.standard_normal(shape)
    (z if name is None else function(z, **options)).backward(torch.tensor(g))
    parts = clconv.Epilogue(*arrays[1:], activation=name, negative_slope=0.2)
    ours = clconv.epilogue_backward(g, arrays[0], parts, device=device)
    theirs = tuple(tensor.grad.numpy() for tensor in tensors)
    assert_all_within_bound("epilogue_backward", (ours, theirs), g, *arrays, activation=name, negative_slope=0.2)
