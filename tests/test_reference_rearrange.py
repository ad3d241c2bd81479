"""Padding and shuffles against loops over elements, torch, literal numbers, and their refusals: all exact."""

import inspect
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clconv.oracle.reference import padding, rearrange
from clconv.oracle.reference.padding import pad, pad_backward
from clconv.oracle.reference.rearrange import (
    channel_shuffle,
    channel_shuffle_backward,
    pixel_shuffle,
    pixel_shuffle_backward,
    pixel_unshuffle,
    pixel_unshuffle_backward,
)

TRIES = settings(max_examples=100, deadline=None)
SHUFFLES = [
    (pixel_shuffle, pixel_shuffle_backward),
    (pixel_unshuffle, pixel_unshuffle_backward),
    (channel_shuffle, channel_shuffle_backward),
]


def integers(shape, seed=0):
    return np.random.default_rng(seed).permutation(math.prod(shape)).reshape(shape) - 7


def source(q, X, mode):
    """The element shown at q, counted from the first real one; None for the padding's value."""
    if mode == "constant":
        return q if 0 <= q < X else None
    if mode == "replicate":
        return min(max(q, 0), X - 1)
    if mode == "circular":
        return q % X
    edge = 0 if mode == "reflect" else 1
    q = -q - edge if q < 0 else q
    return 2 * (X - 1) + edge - q if q >= X else q


@st.composite
def paddings(draw, modes=("constant", "reflect", "replicate", "circular", "symmetric")):
    """An input's shape, a padding and its mode."""
    mode = draw(st.sampled_from(modes))
    rank = draw(st.integers(1, 3))
    lead = tuple(draw(st.integers(1, 2)) for _ in range(draw(st.integers(1, 2))))
    extent = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    pairs = []
    for X in extent:
        most = {"constant": 3, "reflect": X - 1, "replicate": 3}.get(mode, X)
        low, high = draw(st.integers(0, most)), draw(st.integers(0, most))
        if mode == "constant" and draw(st.booleans()):
            low = -draw(st.integers(0, X))
        if mode == "constant" and draw(st.booleans()):
            high = -draw(st.integers(0, X + min(low, 0)))
        pairs.append((low, high))
    flat = tuple(itertools.chain.from_iterable(pairs[::-1]))
    return (*lead, *extent), len(lead), pairs, flat, mode


@TRIES
@given(paddings())
def test_padding_is_a_loop_over_elements(problem):
    shape, lead, pairs, flat, mode = problem
    x = integers(shape)
    value = 2.5 if mode == "constant" else None
    y = pad(x, flat, mode, value)
    extent = zip(shape[lead:], pairs, strict=True)
    axes = [[source(q, X, mode) for q in range(-low, X + high)] for X, (low, high) in extent]
    assert y.shape == (*shape[:lead], *map(len, axes))
    for before in itertools.product(*map(range, shape[:lead])):
        for o in itertools.product(*(range(len(axis)) for axis in axes)):
            sources = tuple(axis[i] for axis, i in zip(axes, o, strict=True))
            assert y[before + o] == (value if None in sources else x[before + sources])


@TRIES
@given(paddings(), st.integers(0, 99))
def test_the_gradient_of_padding_is_its_adjoint(problem, seed):
    shape, _, _, flat, mode = problem
    x = integers(shape, seed)
    y = pad(x, flat, mode)
    g = integers(y.shape, seed + 1)
    dx = pad_backward(g, x, flat, mode).input
    assert dx.shape == shape
    assert np.sum(dx * x) == np.sum(g * y)


@pytest.mark.torch
@TRIES
@given(paddings(modes=("constant", "reflect", "replicate", "circular")))
def test_padding_is_torchs(problem):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    shape, _, _, flat, mode = problem
    x = integers(shape).astype(np.float64)
    tensor = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.pad(tensor, flat, mode)
    np.testing.assert_array_equal(pad(x, flat, mode), theirs.detach().numpy())
    g = integers(tuple(theirs.shape), 1).astype(np.float64)
    theirs.backward(torch.tensor(g))
    np.testing.assert_array_equal(pad_backward(g, x, flat, mode).input, tensor.grad.numpy())


def test_the_last_axis_comes_first():
    y = pad(np.array([[[1, 2], [3, 4]]]), (1, 0, 0, 1), value=9)
    assert y.tolist() == [[[9, 1, 2], [9, 3, 4], [9, 9, 9]]]


def test_nothing_is_padded_without_axes():
    assert pad(np.array(3.0), ()) == 3
    assert pad_backward(np.array(3.0), np.array(0.0), ()).input == 3


def test_padding_copies_anything():
    x = np.array([[np.nan, -np.inf, -0.0]])
    np.testing.assert_array_equal(pad(x, (1, 1), "replicate"), [[np.nan, np.nan, -np.inf, -0.0, -0.0]])
    assert np.signbit(pad(x, (0, 1), "replicate")[0, -1])
    assert pad(x, (1, 0), value=-math.inf)[0, 0] == -math.inf


def test_results_are_copies():
    x = np.arange(8.0).reshape(2, 4, 1, 1)
    for y in (pad(x, ()), pad(x, (-0, 0)), pixel_shuffle(x, 1), pixel_unshuffle(x, 1), channel_shuffle(x, 1)):
        assert not np.shares_memory(x, y)
        np.testing.assert_array_equal(x, y)


# --- shuffles


@st.composite
def shuffled(draw):
    """C, r, H, W and leading extents."""
    lead = tuple(draw(st.integers(0, 2)) for _ in range(draw(st.integers(0, 2))))
    return lead, *(draw(st.integers(least, 3)) for least in (0, 1, 0, 1))


@TRIES
@given(shuffled())
def test_pixel_shuffles_are_loops_over_elements(problem):
    lead, C, r, H, W = problem
    x = integers((*lead, C * r * r, H, W))
    y = pixel_shuffle(x, r)
    assert y.shape == (*lead, C, H * r, W * r)
    for c, h, w, i, j in itertools.product(range(C), range(H), range(W), range(r), range(r)):
        np.testing.assert_array_equal(y[..., c, h * r + i, w * r + j], x[..., c * r * r + i * r + j, h, w])
    np.testing.assert_array_equal(pixel_unshuffle(y, r), x)
    g = integers(y.shape, 1)
    np.testing.assert_array_equal(pixel_shuffle_backward(g, x, r).input, pixel_unshuffle(g, r))
    np.testing.assert_array_equal(pixel_unshuffle_backward(x, y, r).input, y)


@TRIES
@given(st.integers(0, 2), st.integers(1, 3), st.integers(0, 3), st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_channel_shuffle_is_a_loop_over_channels(N, G, per_group, extent):
    x = integers((N, G * per_group, *extent))
    y = channel_shuffle(x, G)
    for g, c in itertools.product(range(G), range(per_group)):
        np.testing.assert_array_equal(y[:, c * G + g], x[:, g * per_group + c])
    np.testing.assert_array_equal(channel_shuffle_backward(y, x, G).input, x)


@pytest.mark.torch
def test_shuffles_are_torchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = integers((2, 12, 4, 6)).astype(np.float64)
    for (ours, backward), factor in zip(SHUFFLES, (2, 2, 3), strict=True):
        tensor = torch.tensor(x, requires_grad=True)
        theirs = getattr(torch.nn.functional, ours.__name__)(tensor, factor)
        np.testing.assert_array_equal(ours(x, factor), theirs.detach().numpy())
        g = integers(tuple(theirs.shape), 1).astype(np.float64)
        theirs.backward(torch.tensor(g))
        np.testing.assert_array_equal(backward(g, x, factor).input, tensor.grad.numpy())


def test_gradients_take_the_forward_arguments():
    for module in (padding, rearrange):
        for name in (n for n in module.__all__ if n.endswith("_backward")):
            forward = list(inspect.signature(getattr(module, name.removesuffix("_backward"))).parameters)
            backward = list(inspect.signature(getattr(module, name)).parameters)
            assert backward == ["grad_output", *forward, "output_mask"]


def test_empty_batches_give_empty_results():
    x = np.zeros((0, 4, 2, 2))
    assert pad(x, (1, 1, 0, 0), "reflect").shape == (0, 4, 2, 4)
    assert pad_backward(np.zeros((0, 4, 2, 4)), x, (1, 1, 0, 0), "reflect").input.shape == x.shape
    assert pixel_shuffle(x, 2).shape == (0, 1, 4, 4)
    assert pixel_unshuffle(x, 2).shape == (0, 16, 1, 1)
    assert channel_shuffle(x, 2).shape == x.shape


def test_masked_gradients_are_none():
    x = np.zeros((1, 4, 2, 2))
    assert pad_backward(x, x, (), output_mask=(False,)).input is None
    for _, backward in SHUFFLES:
        assert backward(x, x, 1, output_mask=(False,)).input is None


# --- refusals

X, LINE = np.zeros((2, 4, 2, 3)), np.zeros((2, 4, 3))
REFUSALS = [
    (pad, (X, (1,)), {}, "a low and a high entry"),
    (pad, (X, (1,) * 10), {}, "up to 4 axes"),
    (pad, (X, (0, 0, -1, -2)), {}, "crops more than there is: low=-1, high=-2, extent=2"),
    (pad, (X, (-4, 4)), {}, "crops more than there is"),
    (pad, (LINE, (3, 0), "reflect"), {}, "less than the extent 3, got low=3"),
    (pad, (LINE, (0, 4), "circular"), {}, "at most the extent 3, got low=0, high=4"),
    (pad, (LINE, (0, 4), "symmetric"), {}, "at most the extent 3"),
    (pad, (LINE, (-1, 0), "replicate"), {}, "at least 0"),
    (pad, (LINE[..., :0], (1, 0), "replicate"), {}, "at least 1 element"),
    (pad, (LINE, (1, 0), "wrap"), {}, "mode must be one of .*'circular'"),
    (pad, (LINE, (1, 0), "reflect", 1.0), {}, "value goes with mode='constant'"),
    (pad, (X, (1, 1), "reflect"), {}, "behind one or two others"),
    (pad, (X, (1,) * 8, "replicate"), {}, "1 to 3 axes"),
    (pixel_shuffle, (X, 0), {}, "upscale_factor must be at least 1"),
    (pixel_shuffle, (X, -2), {}, "upscale_factor must be at least 1"),
    (pixel_shuffle, (X, 3), {}, "square of upscale_factor=3 must divide the 4 channels"),
    (pixel_shuffle, (X[0, 0], 1), {}, "at least 3 axes"),
    (pixel_unshuffle, (X, 0), {}, "downscale_factor must be at least 1"),
    (pixel_unshuffle, (X, 2), {}, "must divide the height 2 and the width 3"),
    (channel_shuffle, (X, 0), {}, "groups must be at least 1"),
    (channel_shuffle, (X, 3), {}, "groups=3 must divide the 4 channels"),
    (channel_shuffle, (X[0, 0], 2), {}, "at least 3 axes"),
    (pad_backward, (X, X, (1, 1)), {}, r"output's shape \(2, 4, 2, 5\)"),
    (pixel_shuffle_backward, (X, X, 2), {}, r"output's shape \(2, 1, 4, 6\)"),
    (channel_shuffle_backward, (X[:1], X, 2), {}, r"output's shape \(2, 4, 2, 3\)"),
    (pad_backward, (X, X, ()), {"output_mask": (True, True)}, "one bool for each"),
]
WRONG_TYPES = [
    (pad, (X, 1), "pad must be a tuple"),
    (pad, (X, (1.0, 1)), "pad must be an integer"),
    (pad, (X, (1, 1), None), "mode must be a string"),
    (pad, (X, (1, 1), "constant", "0"), "value must be a real number"),
    (pad, (X.tolist(), (1, 1)), "plain NumPy array"),
    (pixel_shuffle, (X, 2.0), "upscale_factor must be an integer"),
    (pixel_unshuffle, (X, True), "downscale_factor must be an integer"),
    (channel_shuffle, (X.astype(complex), 2), "must hold real numbers"),
]


@pytest.mark.parametrize(("function", "arguments", "keywords", "text"), REFUSALS)
def test_wrong_values_are_refused(function, arguments, keywords, text):
    with pytest.raises(ValueError, match=text):
        function(*arguments, **keywords)


@pytest.mark.parametrize(("function", "arguments", "text"), WRONG_TYPES)
def test_wrong_types_are_refused(function, arguments, text):
    with pytest.raises(TypeError, match=text):
        function(*arguments)
