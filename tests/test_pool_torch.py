"""clconv's pooling beside PyTorch's: values, places, gradients, signatures; skipped where PyTorch is not installed."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

EXAMPLES = settings(max_examples=100)


@st.composite
def windows(draw):
    """Draw an image of integers, without ties, and windows that torch takes."""
    rank = draw(st.sampled_from((1, 2, 3)))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    arguments = {
        "kernel_size": kernel,
        "stride": tuple(draw(st.integers(1, 3)) for _ in range(rank)),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    extents = tuple(k + draw(st.integers(0, 6)) for k in kernel)
    return rank, _image((draw(st.integers(1, 2)), draw(st.integers(1, 3)), *extents)), arguments


def _image(shape):
    return np.random.default_rng(len(shape)).permutation(int(np.prod(shape))).reshape(shape).astype("float64")


def torchs(name, x, *arguments, **keywords):
    """Return torch's results and, if it has one, the gradient of the input for a gradient of integers."""
    tensor = torch.tensor(x, requires_grad=True)
    returned = getattr(torch.nn.functional, name)(tensor, *arguments, **keywords)
    y, *others = returned if isinstance(returned, tuple) else (returned,)
    g = np.arange(1.0, y.numel() + 1).reshape(y.shape)
    y.backward(torch.tensor(g))
    return y.detach().numpy(), [other.numpy() for other in others], g, tensor.grad.numpy()


@EXAMPLES
@given(case=windows(), dilation=st.integers(1, 2))
def test_max_pooling_is_torchs(device, case, dilation):
    rank, x, arguments = case
    if any((k - 1) * dilation >= e for k, e in zip(arguments["kernel_size"], x.shape[2:], strict=True)):
        dilation = 1
    arguments = {**arguments, "dilation": dilation, "return_indices": True}
    y, (indices,), g, dx = torchs(f"max_pool{rank}d", x, **arguments)
    ours, places = getattr(clconv, f"max_pool{rank}d")(x, **arguments, device=device)
    np.testing.assert_array_equal(ours, y)
    np.testing.assert_array_equal(places, indices)
    backward = getattr(clconv, f"max_pool{rank}d_backward")
    np.testing.assert_array_equal(backward(g, x, **arguments, device=device).input, dx)


@EXAMPLES
@given(case=windows(), count_include_pad=st.booleans(), divisor=st.sampled_from((None, 3, -4)))
def test_average_pooling_is_torchs(device, case, count_include_pad, divisor):
    rank, x, arguments = case
    arguments = {**arguments, "count_include_pad": count_include_pad}
    if rank > 1:
        arguments["divisor_override"] = divisor
    y, _, g, dx = torchs(f"avg_pool{rank}d", x, **arguments)
    np.testing.assert_allclose(getattr(clconv, f"avg_pool{rank}d")(x, **arguments, device=device), y, rtol=1e-13)
    backward = getattr(clconv, f"avg_pool{rank}d_backward")
    np.testing.assert_allclose(backward(g, x, **arguments, device=device).input, dx, rtol=1e-13)


@EXAMPLES
@given(st.lists(st.tuples(st.integers(1, 9), st.one_of(st.none(), st.integers(1, 9))), min_size=2, max_size=3))
def test_adaptive_pooling_is_torchs(device, axes):
    x, size = _image((2, 3, *(extent for extent, _ in axes))), tuple(output for _, output in axes)
    name = f"pool{len(axes)}d"
    y, (indices,), g, dx = torchs(f"adaptive_max_{name}", x, size, return_indices=True)
    ours, places = getattr(clconv, f"adaptive_max_{name}")(x, size, True, device=device)
    np.testing.assert_array_equal(ours, y)
    np.testing.assert_array_equal(places, indices)
    np.testing.assert_array_equal(getattr(clconv, f"adaptive_max_{name}_backward")(g, x, size, device=device).input, dx)
    y, _, g, dx = torchs(f"adaptive_avg_{name}", x, size)
    np.testing.assert_allclose(getattr(clconv, f"adaptive_avg_{name}")(x, size, device=device), y, rtol=1e-13)
    ours = getattr(clconv, f"adaptive_avg_{name}_backward")(g, x, size, device=device).input
    np.testing.assert_allclose(ours, dx, rtol=1e-13)


@pytest.mark.parametrize("order", [1, 2, 3, 0.5])
def test_norms_of_positive_values_are_torchs(device, order):
    x = _image((2, 3, 8, 9)) + 1
    y, _, g, dx = torchs("lp_pool2d", x, order, (2, 3))
    np.testing.assert_allclose(clconv.lp_pool2d(x, order, (2, 3), device=device), y, rtol=1e-12)
    np.testing.assert_allclose(clconv.lp_pool2d_backward(g, x, order, (2, 3), device=device).input, dx, rtol=1e-12)


def test_unpooling_is_torchs(device):
    x = _image((2, 3, 9, 10))
    y, indices = clconv.max_pool2d(x, 3, 2, return_indices=True, device=device)
    chosen = {"kernel_size": 3, "stride": 2, "output_size": (9, 10)}
    distinct = np.sort(np.random.default_rng(1).permutation(90)[: indices[0, 0].size]).reshape(indices[0, 0].shape)
    places = np.broadcast_to(distinct, indices.shape)
    expected = torch.nn.functional.max_unpool2d(torch.tensor(y), torch.tensor(places.copy()), **chosen).numpy()
    np.testing.assert_array_equal(clconv.max_unpool2d(y, places, **chosen, device=device), expected)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", ["max_unpool", "lp_pool", "adaptive_max_pool"])
def test_positional_arguments_are_torchs(name, rank):
    theirs = getattr(torch.nn.functional, f"{name}{rank}d")
    theirs = getattr(torch.nn.functional, f"{name}{rank}d_with_indices", theirs)
    expected = list(inspect.signature(theirs).parameters.values())
    ours = [
        p for p in inspect.signature(getattr(clconv, f"{name}{rank}d")).parameters.values() if p.kind != p.KEYWORD_ONLY
    ]
    assert [p.name for p in ours] == [p.name for p in expected]
    assert [p.default for p in ours] == [p.default for p in expected]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_positional_arguments_of_builtins_are_torchs(name, rank):
    """torch documents its builtins' signatures in the first line of their docstrings that has one."""
    documented = getattr(torch.nn.functional, f"{name}{rank}d").__doc__
    line = next(line for line in documented.splitlines() if f"{name}{rank}d(" in line)
    names = [part.split("=")[0].strip() for part in line.partition("(")[2].partition(")")[0].split(",")]
    parameters = inspect.signature(getattr(clconv, f"{name}{rank}d")).parameters.values()
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == names
