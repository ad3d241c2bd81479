"""Activations, softmax, cross entropy, linear and flatten beside PyTorch's; skipped where PyTorch is not installed."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest

import clconv

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


def both(name, arrays, device, **arguments):
    """Yield our results and torch's: the output, then the gradients of the floating arrays."""
    tensors = {key: torch.tensor(np.array(array)) for key, array in arrays.items()}
    for tensor in tensors.values():
        tensor.requires_grad_(tensor.dtype.is_floating_point)
    expected = getattr(functional, name)(**tensors, **arguments)
    g = RANDOM.standard_normal(tuple(expected.shape))
    expected.backward(torch.tensor(g))
    ours = getattr(clconv, name)(**arrays, **arguments, device=device)
    gradients = getattr(clconv, f"{name}_backward")(np.asarray(g), **arrays, **arguments, device=device)
    yield ours, expected.detach().numpy()
    for key, gradient in gradients._asdict().items():
        if gradient is not None:
            yield gradient, tensors[key].grad.numpy()


def assert_alike(pairs):
    """Compare float64, in which both are right to some units of the last place."""
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs(device, name):
    x = np.concatenate([RANDOM.standard_normal(200) * 3, [0.0, -0.0, 3.0, -3.0]])
    for arguments in ACTIVATIONS[name]:
        assert_alike(both(name, {"input": x}, device, **arguments))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_is_torchs(device, name):
    x = RANDOM.standard_normal((2, 5, 3, 4)) * 5
    for dim in range(-4, 4):
        assert_alike(both(name, {"input": x}, device, dim=dim))


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
            tensors = [torch.tensor(np.array(a)) for a in (x, target)]
            tensors[0].requires_grad_()
            tensors[1].requires_grad_(target.dtype.kind == "f")
            weight = w if weighted else None
            theirs = functional.cross_entropy(*tensors, None if weight is None else torch.tensor(weight), **arguments)
            g = RANDOM.standard_normal(tuple(theirs.shape))
            theirs.backward(torch.tensor(g))
            ours = clconv.cross_entropy(x, target, weight, **arguments, device=device)
            gradients = clconv.cross_entropy_backward(np.asarray(g), x, target, weight, **arguments, device=device)
            pairs = [(ours, theirs.detach().numpy()), (gradients.input, tensors[0].grad.numpy())]
            if target.dtype.kind == "f":
                pairs.append((gradients.target, tensors[1].grad.numpy()))
            assert_alike(pairs)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 4, 5), (0, 5)])
def test_linear_is_torchs(device, shape):
    x, w, b = RANDOM.standard_normal(shape), RANDOM.standard_normal((7, 5)), RANDOM.standard_normal(7)
    assert_alike(both("linear", {"input": x, "weight": w, "bias": b}, device))
    assert_alike(both("linear", {"input": x, "weight": w[0]}, device))


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
    gradients = clconv.epilogue_backward(g, arrays[0], parts, device=device)
    assert_alike((ours, theirs.grad.numpy()) for ours, theirs in zip(gradients, tensors, strict=True))
