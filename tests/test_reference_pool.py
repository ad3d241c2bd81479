"""Pooling's reference against loops over windows that share nothing with it, literal numbers, torch and refusals.

Data are integers on which every sum and quotient is exact; norms of other orders than 1 and infinity are judged in
test_bounds_pool.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clconv.oracle.reference import pool, pool_adaptive, pool_average, pool_global, pool_lp, pool_unpool

TRIES = settings(max_examples=100, deadline=None)
MODULES = (pool, pool_unpool, pool_average, pool_lp, pool_adaptive, pool_global)
NAN, INF = np.nan, np.inf
DIVISIBLE = 60**3 * 7  # by all sizes of windows, and by the divisors that are drawn


def function(name):
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))


def forward(name, rank):
    return function(f"{name}{rank}d")


def backward(name, rank):
    return function(f"{name}{rank}d_backward")


# --- the same operations, written as loops over windows


class Window(NamedTuple):
    position: tuple
    pixels: list  # in row-major order
    taps: int  # on the padded image


def sliding_axis(X, K, S, D, pair, ceil_mode):
    """For each window of one axis, its pixels, and how many of its taps are on the padded image."""
    low, high = pair
    padded, span = low + X + high, D * (K - 1) + 1
    windows = []
    for start in range(0, padded, S):
        # In ceil_mode: unless the window before it has reached the end, or it starts behind the image.
        is_there = (start - S + span < padded and start < low + X) if ceil_mode else start + span <= padded
        if is_there:
            taps = [tap for tap in range(start, start + span, D) if tap < padded]
            windows.append(([tap - low for tap in taps if low <= tap < low + X], len(taps)))
    return windows


def adaptive_axis(X, count):
    ends = [(math.floor(i * X / count), math.ceil((i + 1) * X / count)) for i in range(count)]
    return [(list(range(*pair)), pair[1] - pair[0]) for pair in ends]


def windows_of(axes):
    for choice in itertools.product(*(enumerate(axis) for axis in axes)):
        yield Window(
            tuple(o for o, _ in choice),
            list(itertools.product(*(pixels for _, (pixels, _) in choice))),
            math.prod(count for _, (_, count) in choice),
        )


def looped(x, axes, value):
    """Apply value(plane, window) to every window of an array (N, C, ...)."""
    y = np.zeros((*x.shape[:2], *(len(axis) for axis in axes)))
    for n, c in np.ndindex(*x.shape[:2]):
        for window in windows_of(axes):
            y[(n, c, *window.position)] = value(x[n, c], window)
    return y


def looped_gradient(g, x, axes, parts):
    """Give each window's gradient to its pixels: parts(plane, window) lists (pixel, divisor)."""
    dx = np.zeros(x.shape)
    for n, c in np.ndindex(*x.shape[:2]):
        for window in windows_of(axes):
            for pixel, divisor in parts(x[n, c], window):
                dx[(n, c, *pixel)] += g[(n, c, *window.position)] // divisor
    return dx


def maximum(plane, window):
    return max(plane[p] for p in window.pixels)


def winners(plane, window):
    return [p for p in window.pixels if plane[p] == maximum(plane, window)]


def first_index(plane, window):
    return np.ravel_multi_index(winners(plane, window)[0], plane.shape)


def total(plane, window):
    return sum(plane[p] for p in window.pixels)


def to_winners(ties):
    def parts(plane, window):
        won = winners(plane, window)
        return [(p, len(won) if ties == "share" else 1) for p in (won[:1] if ties == "first" else won)]

    return parts


# --- problems


@st.composite
def sliding(draw, dilated=True, padded=True):
    """Draw an array of few different integers, the arguments of its windows, and the windows of each axis."""
    rank = draw(st.integers(1, 3))
    X, K, S = (tuple(draw(st.integers(1, most)) for _ in range(rank)) for most in (6, 5 - rank, 5))
    D = tuple(draw(st.integers(1, 2)) if dilated else 1 for _ in range(rank))
    pairs = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) if padded else (0, 0) for _ in range(rank))
    ceil_mode = draw(st.booleans())
    axes = [sliding_axis(*axis, ceil_mode) for axis in zip(X, K, S, D, pairs, strict=True)]
    if not all(axis and all(pixels for pixels, _ in axis) for axis in axes):  # refused
        return draw(sliding(dilated, padded))
    arguments = {"kernel_size": K, "stride": S, "ceil_mode": ceil_mode}
    arguments |= {"padding": pairs} if padded else {}
    return draw(images(X)), arguments | ({"dilation": D} if dilated else {}), axes


@st.composite
def images(draw, extent):
    shape = (draw(st.integers(0, 2)), draw(st.integers(1, 2)), *extent)
    return np.random.default_rng(draw(st.integers(0, 99))).integers(-4, 5, shape)


def gradient_of(y):
    return DIVISIBLE * np.random.default_rng(1).integers(-9, 10, y.shape)


@TRIES
@given(sliding(), st.sampled_from(("first", "all", "share")))
def test_max_pool_is_a_loop(problem, ties):
    x, arguments, axes = problem
    rank = x.ndim - 2
    y, indices = forward("max_pool", rank)(x, **arguments, return_indices=True)
    assert np.array_equal(y, looped(x, axes, maximum))
    assert np.array_equal(indices, looped(x, axes, first_index))
    assert indices.dtype == np.int64
    planes = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * rank)
    through_all = forward("max_pool", rank)(x, **arguments, return_indices=True, semantics="onnx")[1]
    assert np.array_equal(through_all, indices + planes * math.prod(x.shape[2:]))
    g = gradient_of(y)
    dx = backward("max_pool", rank)(g, x, **arguments, ties=ties).input
    assert np.array_equal(dx, looped_gradient(g, x, axes, to_winners(ties)))


@TRIES
@given(sliding(dilated=False), st.booleans(), st.sampled_from((None, 7, -2)), st.sampled_from(("torch", "tf")))
def test_average_pool_is_a_loop(problem, count_include_pad, divisor_override, semantics):
    x, arguments, axes = problem
    rank = x.ndim - 2
    arguments |= {"count_include_pad": count_include_pad, "semantics": semantics}
    override = divisor_override if rank > 1 else None
    arguments |= {"divisor_override": override} if rank > 1 else {}

    def divisor(window):
        counts_padding = count_include_pad and semantics == "torch"
        return override or (window.taps if counts_padding else len(window.pixels))

    y = forward("avg_pool", rank)(x, **arguments)
    assert np.array_equal(y, looped(x, axes, lambda plane, window: total(plane, window) / divisor(window)))
    g = gradient_of(y)
    dx = backward("avg_pool", rank)(g, x, **arguments).input
    expected = looped_gradient(g, x, axes, lambda _, window: [(p, divisor(window)) for p in window.pixels])
    assert np.array_equal(dx, expected)


@TRIES
@given(st.data())
def test_adaptive_pools_are_loops(data):
    X = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    counts = [data.draw(st.integers(0, 8)) for _ in X]
    axes = [adaptive_axis(*axis) for axis in zip(X, counts, strict=True)]
    x, rank = data.draw(images(X)), len(X)
    y = forward("adaptive_avg_pool", rank)(x, counts)
    assert np.array_equal(y, looped(x, axes, lambda plane, window: total(plane, window) / window.taps))
    g = gradient_of(y)
    expected = looped_gradient(g, x, axes, lambda _, window: [(p, window.taps) for p in window.pixels])
    assert np.array_equal(backward("adaptive_avg_pool", rank)(g, x, counts).input, expected)
    z, indices = forward("adaptive_max_pool", rank)(x, counts, return_indices=True)
    assert np.array_equal(z, looped(x, axes, maximum))
    assert np.array_equal(indices, looped(x, axes, first_index))
    expected = looped_gradient(g, x, axes, to_winners("first"))
    assert np.array_equal(backward("adaptive_max_pool", rank)(g, x, counts).input, expected)


@TRIES
@given(sliding(dilated=False, padded=False))
def test_norms_of_order_one_and_infinity_are_loops(problem):
    x, arguments, axes = problem
    rank = x.ndim - 2
    y = forward("lp_pool", rank)(x, 1, **arguments)
    assert np.array_equal(y, looped(abs(x), axes, total))
    g = gradient_of(y)
    expected = np.sign(x) * looped_gradient(g, x, axes, lambda _, window: [(p, 1) for p in window.pixels])
    assert np.array_equal(backward("lp_pool", rank)(g, x, 1, **arguments).input, expected)
    assert np.array_equal(forward("lp_pool", rank)(x, INF, **arguments), looped(abs(x), axes, maximum))
    expected = np.sign(x) * looped_gradient(g, abs(x), axes, to_winners("first"))
    assert np.array_equal(backward("lp_pool", rank)(g, x, INF, **arguments).input, expected)


@TRIES
@given(st.data())
def test_unpooling_is_an_assignment(data):
    rank = data.draw(st.integers(1, 3))
    X, K, S = ([data.draw(st.integers(1, 3)) for _ in range(rank)] for _ in range(3))
    pairs = [(data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))) for _ in range(rank)]
    default = [(x - 1) * s + k - low - high for x, k, s, (low, high) in zip(X, K, S, pairs, strict=True)]
    extent = [e + data.draw(st.integers(1 - s, s - 1)) for e, s in zip(default, S, strict=True)]
    x = data.draw(images(X))
    if math.prod(max(e, 0) for e in extent) < math.prod(X) or min(extent) < 1:
        return
    rng = np.random.default_rng(0)
    indices = np.zeros(x.shape, dtype=np.int64)
    for n, c in np.ndindex(*x.shape[:2]):
        indices[n, c] = rng.permutation(math.prod(extent))[: math.prod(X)].reshape(X)
    y = np.zeros((*x.shape[:2], *extent))
    for n, c, *pixel in np.ndindex(*x.shape):
        y[n, c].flat[indices[(n, c, *pixel)]] = x[(n, c, *pixel)]
    arguments = {"kernel_size": K, "stride": S, "padding": pairs, "output_size": extent}
    assert np.array_equal(forward("max_unpool", rank)(x, indices, **arguments), y)
    assert np.array_equal(backward("max_unpool", rank)(y, x, indices, **arguments).input, x)


# --- literal examples


def pooled(name, values, *arguments, **keywords):
    return function(name)(np.array(values, dtype=float), *arguments, **keywords)


def test_the_last_window_of_ceil_mode():
    row = [[1, 2, 3]]
    assert pooled("max_pool1d", row, 2).tolist() == [[2]]
    assert pooled("max_pool1d", row, 2, ceil_mode=True).tolist() == [[2, 3]]
    # With padding on both sides a third window would start in the padding on the right: dropped.
    assert pooled("max_pool1d", row, 2, 2, 1, ceil_mode=True).tolist() == [[1, 3]]
    # A stride past the end leaves none, a window wider than the image is cut off.
    assert pooled("max_pool1d", row, 1, 3, ceil_mode=True).tolist() == [[1]]
    assert pooled("max_pool1d", row, 4, 2, ceil_mode=True).tolist() == [[3]]


def test_divisors_of_a_window_that_goes_beyond_the_padding():
    ones = [[1, 1, 1, 1]]
    arguments = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
    assert pooled("avg_pool1d", ones, **arguments).tolist() == [[2 / 3, 1, 1 / 2]]
    assert pooled("avg_pool1d", ones, **arguments, count_include_pad=False).tolist() == [[1, 1, 1]]
    assert pooled("avg_pool1d", ones, **arguments, semantics="tf").tolist() == [[1, 1, 1]]
    assert pooled("avg_pool2d", [ones], (1, 3), (1, 2), (0, 1), True, True, 4).tolist() == [[[0.5, 0.75, 0.25]]]


def test_padding_words_and_pairs():
    row = [[1, 2, 3, 4, 5]]
    assert pooled("avg_pool1d", row, 2, 1, ((1, 0),)).tolist() == [[0.5, 1.5, 2.5, 3.5, 4.5]]
    assert pooled("avg_pool1d", row, 2, 2, "same_upper", semantics="tf").tolist() == [[1.5, 3.5, 5]]
    assert pooled("max_pool1d", row, 2, 2, "same_lower").tolist() == [[1, 3, 5]]
    assert pooled("max_pool1d", row, 3, 1, 2, semantics="onnx").tolist() == [[1, 2, 3, 4, 5, 5, 5]]


def test_padding_never_wins():
    assert pooled("max_pool1d", [[-3, -1, -2]], 2, 2, 1).tolist() == [[-3, -1]]
    y, indices = pooled("max_pool1d", [[-INF, -INF, -INF]], 2, 1, 1, return_indices=True)
    assert y.tolist() == [[-INF] * 4]
    assert indices.tolist() == [[0, 0, 1, 2]]
    assert pooled("max_pool1d_backward", [[1, 2, 3, 4]], np.full((1, 3), -INF), 2, 1, 1).input.tolist() == [[3, 3, 4]]


def test_nan_wins_and_stays_in_its_windows():
    row = [[1, NAN, INF, 5, NAN, NAN, 7, 8]]
    y, indices = pooled("max_pool1d", row, 2, return_indices=True)
    assert np.array_equal(y, [[NAN, INF, NAN, 8]], equal_nan=True)
    assert indices.tolist() == [[1, 2, 4, 7]]
    g = np.array([[12.0, 24, 36, 48]])
    gradients = {
        ties: pooled("max_pool1d_backward", g, np.array(row), 2, ties=ties).input.tolist()
        for ties in ("first", "all", "share")
    }
    assert gradients["first"] == [[0, 12, 24, 0, 36, 0, 0, 48]]
    assert gradients["all"] == [[0, 12, 24, 0, 36, 36, 0, 48]]
    assert gradients["share"] == [[0, 12, 24, 0, 18, 18, 0, 48]]
    y, indices = pooled("adaptive_max_pool1d", row, 4, True)
    assert np.array_equal(y, [[NAN, INF, NAN, 8]], equal_nan=True)
    assert np.array_equal(pooled("avg_pool1d", row, 2), [[NAN, INF, NAN, 7.5]], equal_nan=True)
    assert np.array_equal(pooled("avg_pool1d", [[INF, -INF, 1, 2]], 2), [[NAN, 1.5]], equal_nan=True)
    assert np.array_equal(pooled("lp_pool1d", row, 3, 4), [[NAN, NAN]], equal_nan=True)
    assert pooled("lp_pool1d", [[1, -INF, 0, 0]], 3, 2).tolist() == [[INF, 0]]


def test_an_infinite_gradient_stays_with_its_pixel():
    dx = pooled("max_pool1d_backward", [[INF, 1]], np.array([[2.0, 1, 3, 4]]), 2).input
    assert dx.tolist() == [[INF, 0, 0, 1]]


def test_norms():
    row = [[3, -4, 0, 0, 5, -12]]
    assert pooled("lp_pool1d", row, 2, 2).tolist() == [[5, 0, 13]]
    assert pooled("lp_pool1d", row, 2, 4, 4, ceil_mode=True).tolist() == [[5, 13]]
    assert pooled("lp_pool1d_backward", [[65, 9, 65]], np.array(row), 2, 2).input.tolist() == [[39, -52, 0, 0, 25, -60]]
    assert pooled("lp_pool1d_backward", [[9]], np.zeros((1, 2)), 0.5, 2).input.tolist() == [[0, 0]]
    # Neither too large nor too small for their powers.
    big, small = 2.0**1000, 2.0**-1000
    assert pooled("lp_pool1d", [[3 * big, -4 * big, 3 * small, 4 * small]], 2, 2).tolist() == [[5 * big, 5 * small]]
    assert pooled("lp_pool1d", [[7, -2]], 1e300, 2).tolist() == [[7]]


def test_an_empty_batch_and_an_empty_output():
    x = np.zeros((0, 2, 4))
    assert forward("max_pool", 1)(x, 2, return_indices=True)[1].shape == (0, 2, 2)
    for name, arguments in (("max_pool", (2,)), ("avg_pool", (2,)), ("lp_pool", (2, 2)), ("adaptive_avg_pool", (2,))):
        y = forward(name, 1)(x, *arguments)
        assert y.shape == (0, 2, 2)
        assert backward(name, 1)(y, x, *arguments).input.shape == x.shape
    indices = np.zeros((0, 2, 4), dtype=int)
    assert forward("max_unpool", 1)(x, indices, 2).shape == (0, 2, 8)
    assert backward("max_unpool", 1)(np.zeros((0, 2, 8)), x, indices, 2).input.shape == x.shape
    x = np.ones((2, 3, 4, 5))
    assert forward("adaptive_avg_pool", 2)(x, (0, 2)).shape == (2, 3, 0, 2)
    assert backward("adaptive_max_pool", 2)(np.zeros((2, 3, 0, 2)), x, (0, 2)).input.tolist() == (0 * x).tolist()
    assert forward("adaptive_avg_pool", 1)(np.zeros((2, 0, 4)), 2).shape == (2, 0, 2)


def test_masked_gradients():
    x, g = np.zeros((1, 4)), np.zeros((1, 2))
    for name, arguments in (("max_pool", (2,)), ("avg_pool", (2,)), ("lp_pool", (2, 2)), ("adaptive_max_pool", (2,))):
        assert backward(name, 1)(g, x, *arguments, output_mask=(False,)) == (None,)
    assert backward("adaptive_avg_pool", 1)(g, x, 2, output_mask=[False]) == (None,)
    indices = np.array([[0, 3]])
    assert backward("max_unpool", 1)(x, g, indices, 2, output_mask=(False,)) == (None,)


# --- refusals

ROW = np.arange(5.0).reshape(1, 5)
PLANE = np.arange(25.0).reshape(1, 5, 5)
REFUSED = [
    (
        "max_pool1d",
        (ROW, 2, 1, 2),
        ValueError,
        r"at most half of kernel_size, .* got padding=\(2,\), kernel_size=\(2,\)",
    ),
    ("max_pool1d", (ROW, 3, 1, 2, 2), ValueError, "not counting dilation"),
    ("max_pool1d", (ROW[:, :3], 2, 1, 1, 4), ValueError, "padding must leave each window at least one pixel"),
    ("max_pool1d", (ROW, 2, 1, ((2, 0),)), ValueError, "padding must leave each window at least one pixel"),
    ("max_pool1d", (ROW, 2, 1, ((0, 10**15),)), ValueError, "padding must leave each window at least one pixel"),
    ("max_pool1d", (ROW, 6), ValueError, r"the window is larger than the padded input: extent=\(5,\)"),
    ("avg_pool1d", (ROW, 7, 2, 0, True), ValueError, "larger than the padded input"),
    ("max_pool1d", (ROW, 0), ValueError, "kernel_size must be at least 1 .* kernel_size=0"),
    ("max_pool1d", (ROW, 2, 0), ValueError, "stride must be at least 1 .* stride=0"),
    ("max_pool1d", (ROW, 2, 1, 0, 0), ValueError, "dilation must be at least 1 .* dilation=0"),
    ("max_pool1d", (ROW, 2.0), TypeError, "kernel_size must be an integer"),
    ("max_pool1d", (ROW, 2, 1, 0, 1, 1), TypeError, "ceil_mode must be True or False"),
    ("max_pool1d", (ROW, 2, 1, 0, 1, False, 1), TypeError, "return_indices must be True or False"),
    ("max_pool1d", (ROW[:, :0], 1), ValueError, r"at least one channel and one pixel .* input.shape=\(1, 1, 0\)"),
    ("max_pool1d", (ROW[:0], 1), ValueError, "at least one channel"),
    ("max_pool2d", (ROW, 2), ValueError, "input must have 4 axes, or 3 without a batch"),
    ("max_pool1d", (ROW.tolist(), 2), TypeError, "input must be a plain NumPy array"),
    ("avg_pool2d", (PLANE, 3, 1, (1, 2)), ValueError, r"padding=\(1, 2\)"),
    ("avg_pool2d", (PLANE, 3, 1, 0, False, 1), TypeError, "count_include_pad must be True or False"),
    ("avg_pool2d", (PLANE, 3, 1, 0, False, True, 0), ValueError, "divisor_override must not be zero"),
    ("avg_pool2d", (PLANE, 3, 1, 0, False, True, 10**30), ValueError, "must fit 64 bits"),
    ("avg_pool2d", (PLANE, 3, 1, 0, False, True, 2.5), TypeError, "divisor_override must be an integer"),
    ("avg_pool2d", (PLANE, 3, 1, 0, False, True, True), TypeError, "divisor_override must be an integer"),
    ("lp_pool1d", (ROW, 0, 2), ValueError, "norm_type must be greater than 0, got norm_type=0"),
    ("lp_pool1d", (ROW, -1, 2), ValueError, "norm_type must be greater than 0"),
    ("lp_pool1d", (ROW, NAN, 2), ValueError, "norm_type must be greater than 0"),
    ("lp_pool1d", (ROW, "2", 2), TypeError, "norm_type must be a number"),
    ("lp_pool1d", (ROW, True, 2), TypeError, "norm_type must be a number"),
    ("adaptive_avg_pool1d", (ROW, -1), ValueError, "output_size must be at least 0"),
    ("adaptive_avg_pool1d", (ROW, None), TypeError, "output_size must be an integer"),
    ("adaptive_avg_pool1d", (ROW, (None,)), TypeError, "output_size must be an integer"),
    ("adaptive_avg_pool2d", (PLANE, None), TypeError, "output_size must be an integer"),
    ("adaptive_avg_pool2d", (PLANE, (1, 2, 3)), ValueError, "one integer for each of 2 spatial axes"),
    ("adaptive_avg_pool1d", (ROW[:, :0], 1), ValueError, "input must have at least one pixel in every spatial axis"),
    ("adaptive_max_pool1d", (ROW[:0], 1), ValueError, "input must have at least one channel"),
    ("adaptive_max_pool1d", (ROW, 1, 1), TypeError, "return_indices must be True or False"),
    ("max_unpool1d", (ROW, np.full((1, 5), 10), 2), ValueError, "less than the output's 10 pixels, got 10"),
    ("max_unpool1d", (ROW, np.full((1, 5), -1), 2), ValueError, "indices must be at least 0 .* got -1"),
    ("max_unpool1d", (ROW, np.zeros((1, 4), int), 2), ValueError, "indices must have the input's shape"),
    ("max_unpool1d", (ROW, ROW, 2), TypeError, "indices must be a NumPy array of integers, got float64"),
    ("max_unpool1d", (ROW, [0] * 5, 2), TypeError, "indices must be a NumPy array of integers, got list"),
    ("max_unpool1d", (ROW, ROW.astype(int), 2, 2, 0, 12), ValueError, r"differ from \(10,\) by less than the stride"),
    ("max_unpool1d", (ROW, ROW.astype(int), 2, 1, 3), ValueError, r"would have extent \(0,\)"),
    ("max_unpool1d", (ROW[:, :0], ROW[:, :0].astype(int), 2), ValueError, "at least one channel and one pixel"),
]


@pytest.mark.parametrize(("name", "arguments", "error", "text"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_refusals(name, arguments, error, text):
    with pytest.raises(error, match=text):
        function(name)(*arguments)
    with pytest.raises(error, match=text):
        function(f"{name}_backward")(ROW, *arguments)


@pytest.mark.parametrize("keywords", [{"semantics": "scipy"}, {"semantics": "tf"}, {"ties": "last"}])
def test_unknown_words(keywords):
    ((name, value),) = keywords.items()
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got {name}={value!r}"):
        forward("max_pool", 1)(ROW, 2, **keywords)
    with pytest.raises(TypeError, match=f"{name} must be a string"):
        forward("max_pool", 1)(ROW, 2, **{name: 1})
    with pytest.raises(ValueError, match="semantics must be one of"):
        forward("avg_pool", 1)(ROW, 2, semantics="numpy")


def test_gradients_have_the_shape_of_the_output():
    with pytest.raises(ValueError, match=r"grad_output must have the output's shape \(1, 2\), got .*=\(1, 5\)"):
        backward("max_pool", 1)(ROW, ROW, 2)
    with pytest.raises(ValueError, match="output_mask takes one bool"):
        backward("avg_pool", 1)(ROW[:, :2], ROW, 2, output_mask=(True, True))


# --- torch


@pytest.mark.torch
@TRIES
@given(st.data())
def test_torch_agrees(data):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    name = data.draw(st.sampled_from(("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool")))
    if name.startswith("adaptive"):
        X = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
        x, arguments = data.draw(images(X)), {"output_size": [data.draw(st.integers(0, 8)) for _ in X]}
    else:
        x, arguments, axes = data.draw(sliding(dilated=name == "max_pool"))
        low = [min(pair[0], k // 2) for pair, k in zip(arguments["padding"], arguments["kernel_size"], strict=True)]
        arguments |= {"padding": low}
        if name == "avg_pool":
            arguments |= {"count_include_pad": data.draw(st.booleans())}
            arguments |= {"divisor_override": data.draw(st.sampled_from((None, -3, 5)))} if len(axes) > 1 else {}
    arguments |= {"return_indices": True} if "max" in name else {}
    rank = x.ndim - 2
    try:
        expected = forward(name, rank)(x, **arguments)
    except ValueError:
        return  # torch has windows without a pixel
    tensor = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    got = getattr(torch.nn.functional, f"{name}{rank}d")(tensor, **arguments)
    if "max" in name:
        assert np.array_equal(got[1].numpy(), expected[1])
        got, expected = got[0], expected[0]
    assert np.array_equal(got.detach().numpy(), expected)
    if not expected.size:
        return
    g = gradient_of(expected)
    got.backward(torch.tensor(g, dtype=torch.float64))
    assert np.array_equal(tensor.grad.numpy(), backward(name, rank)(g, x, **arguments).input)


# --- global pooling


@pytest.mark.parametrize("extent", [(6,), (2, 3), (2, 1, 3)])
def test_global_pools_reduce_every_plane(extent):
    x = np.array([[6, 2, 9, 9, 1, 3], [0, -6, -3, -3, -6, 0]]).reshape(1, 2, *extent)
    ones = (1, 2, *(1,) * len(extent))
    g = np.array([12, 6]).reshape(ones)
    assert np.array_equal(pool_global.global_avg_pool(x), np.array([5, -3]).reshape(ones))
    assert np.array_equal(pool_global.global_max_pool(x), np.array([9, 0]).reshape(ones))
    means = pool_global.global_avg_pool_backward(g, x).input
    assert np.array_equal(means, np.repeat([2, 1], 6).reshape(x.shape))
    first = pool_global.global_max_pool_backward(g, x).input
    assert np.array_equal(first, np.array([[0, 0, 12, 0, 0, 0], [6, 0, 0, 0, 0, 0]]).reshape(x.shape))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1, 1, 1), (2, 3, 0)])
def test_global_pools_refuse_what_has_no_planes(shape):
    for name in ("global_avg_pool", "global_max_pool"):
        with pytest.raises(ValueError, match="input must have"):
            getattr(pool_global, name)(np.zeros(shape))
