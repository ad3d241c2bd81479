"""clconv beside PyTorch, a second opinion on values, shapes and signatures; skipped where PyTorch is not installed."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from tests.calls import arrays_of, integers
from tests.strategies import convolutions

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch


def torch_call(case, x, w, bias):
    """Return torch's output for a case without what torch lacks: asymmetric padding, padding modes, flip."""
    tensors = [None if a is None else torch.tensor(np.array(a), requires_grad=True) for a in (x, w, bias)]
    return tensors, getattr(torch.nn.functional, case.operation)(*tensors, **torch_arguments(case))


def torch_arguments(case):
    arguments = {name: value for name, value in case.arguments.items() if name not in ("padding_mode", "flip")}
    return arguments | {"padding": tuple(axis.low for axis in case.axes)}


@pytest.mark.parametrize("transposed", [False, True], ids=["plain", "transposed"])
@settings(max_examples=150)
@given(data=st.data())
def test_values_and_gradients_are_torchs(device, transposed, data):
    """On integers in float64, where every order of summation is exact."""
    case = data.draw(convolutions(transposed).filter(lambda c: all(a.low == a.high for a in c.axes)))
    x, w, bias, dy = (None if a is None else np.array(a, "float64") for a in arrays_of(case, integers))
    tensors, expected = torch_call(case, x, w, bias)
    arguments = torch_arguments(case)
    np.testing.assert_array_equal(
        getattr(clconv, case.operation)(x, w, bias, **arguments, device=device), expected.detach().numpy()
    )
    expected.backward(torch.tensor(dy))
    gradients = getattr(clconv, f"{case.operation}_backward")(dy, x, w, bias, **arguments, device=device)
    for ours, tensor in zip(gradients, tensors, strict=True):
        assert (ours is None) == (tensor is None)
        if ours is not None:
            np.testing.assert_array_equal(ours, tensor.grad.numpy())


@pytest.mark.parametrize(
    "name",
    ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"],
)
def test_positional_arguments_are_torchs(name):
    """torch documents its builtins' signatures in their docstrings' first line."""
    documented = getattr(torch.nn.functional, name).__doc__.strip().splitlines()[0]
    names = [part.split("=")[0].strip() for part in documented.partition("(")[2].partition(")")[0].split(",")]
    parameters = inspect.signature(getattr(clconv, name)).parameters.values()
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == names


@pytest.mark.parametrize("name", ["unfold", "fold"])
def test_positional_arguments_of_unfold_and_fold_are_torchs(name):
    theirs = inspect.signature(getattr(torch.nn.functional, name)).parameters
    ours = inspect.signature(getattr(clconv, name)).parameters.values()
    assert [p.name for p in ours if p.kind is not p.KEYWORD_ONLY] == list(theirs)
    assert all(clconv_p.default == theirs[clconv_p.name].default for clconv_p in ours if clconv_p.name in theirs)


@settings(max_examples=100)
@given(
    st.tuples(st.integers(3, 6), st.integers(3, 6)),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(1, 2),
)
def test_unfold_and_fold_are_torchs(device, extents, kernel, dilation, padding, stride):
    x = np.arange(2 * 3 * extents[0] * extents[1], dtype="float32").reshape(2, 3, *extents)
    arguments = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": stride}
    if any(extent + 2 * padding < dilation * (kernel - 1) + 1 for extent in extents):
        return
    columns = clconv.unfold(x, **arguments, device=device)
    np.testing.assert_array_equal(columns, torch.nn.functional.unfold(torch.tensor(x), **arguments).numpy())
    expected = torch.nn.functional.fold(torch.tensor(columns), extents, **arguments).numpy()
    np.testing.assert_array_equal(clconv.fold(columns, extents, **arguments, device=device), expected)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # torch copies, clconv does not
@pytest.mark.parametrize("word", ["valid", "same"])
@pytest.mark.parametrize("kernel", [(2, 3), (4, 1)])
def test_padding_words_are_torchs(device, word, kernel):
    random = np.random.default_rng(5)
    x, w = (random.integers(-9, 9, shape).astype("float32") for shape in ((2, 3, 7, 8), (4, 3, *kernel)))
    expected = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(w), padding=word, dilation=(1, 2)).numpy()
    np.testing.assert_array_equal(clconv.conv2d(x, w, padding=word, dilation=(1, 2), device=device), expected)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_are_those_of_torchs_modules(device, mode):
    random = np.random.default_rng(6)
    layer = torch.nn.Conv2d(3, 4, 3, padding=2, padding_mode=mode, dtype=torch.float64)
    weight, bias, x = (random.integers(-9, 9, s).astype("float64") for s in ((4, 3, 3, 3), (4,), (2, 3, 6, 5)))
    layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    expected = layer(torch.tensor(x)).detach().numpy()
    np.testing.assert_array_equal(clconv.conv2d(x, weight, bias, padding=2, padding_mode=mode, device=device), expected)
