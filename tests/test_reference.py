"""The reference against loops over taps that share nothing with it, literal numbers, and its own refusals.

All data are small integers, so every comparison is exact.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clconv.oracle import reference

MODES = ("zeros", "reflect", "replicate", "circular", "symmetric")
TRIES = settings(max_examples=100, deadline=None)


# --- the same operations, written as loops over taps


def source(q, X, mode):
    """Pixel that the padded image shows at q, counted from the first real pixel; None for a zero."""
    if mode == "zeros":
        return q if 0 <= q < X else None
    if mode == "replicate":
        return min(max(q, 0), X - 1)
    if mode == "circular":
        return q % X
    edge = 0 if mode == "reflect" else 1  # symmetric repeats the outermost pixel
    q = -q - edge if q < 0 else q
    return 2 * (X - 1) + edge - q if q >= X else q


def pairs_of(padding, X, K, S, D):
    """(low, high) for every axis; the same-paddings by looking for the least that gives enough windows."""
    reach = [D[a] * (K[a] - 1) for a in range(len(X))]
    if padding == "valid":
        return [(0, 0)] * len(X)
    if padding == "full":
        return [(r, r) for r in reach]
    if isinstance(padding, str):
        pairs = []
        for a, r in enumerate(reach):
            wanted = math.ceil(X[a] / S[a])
            total = next(t for t in itertools.count() if len(range(0, X[a] + t - r, S[a])) >= wanted)
            half, odd = divmod(total, 2)
            pairs.append((half + odd, half) if padding == "same_lower" else (half, half + odd))
        return pairs
    if isinstance(padding, int):
        return [(padding, padding)] * len(X)
    return [p if isinstance(p, tuple) else (p, p) for p in padding]


def links(X, K, S, D, pairs, mode, positions=None):
    """Yield (position, tap, pixel) for each product with a pixel that is there."""
    axes = []
    for a in range(len(X)):
        low, high = pairs[a]
        starts = range(-low, X[a] + high - D[a] * (K[a] - 1), S[a])
        if positions is not None:
            starts = starts[: positions[a]]
        hits = [(o, k, source(p + k * D[a], X[a], mode)) for o, p in enumerate(starts) for k in range(K[a])]
        axes.append([hit for hit in hits if hit[2] is not None])
    for hits in itertools.product(*axes):
        yield tuple(zip(*hits, strict=True))


def at(index):
    return (..., *index)


def split(a, axis, G):
    """Split the channel axis into groups and channels."""
    return a.reshape(*a.shape[:axis], G, a.shape[axis] // G, *a.shape[axis + 1 :])


def merged(a, axis):
    return a.reshape(*a.shape[:axis], a.shape[axis] * a.shape[axis + 1], *a.shape[axis + 2 :])


class Loops:
    """The trilinear form sum(g[n, oc, o] * w[oc, icg, k] * x[n, ic, s]), solved for each of its arrays."""

    def __init__(self, G, X, K, S, D, pairs, mode, flip, positions=None):
        self.G, self.X, self.K, self.flip = G, tuple(X), tuple(K), flip
        self.links = list(links(X, K, S, D, pairs, mode, positions))
        self.O = tuple(len(range(0, X[a] + sum(pairs[a]) - D[a] * (K[a] - 1), S[a])) for a in range(len(X)))
        self.O = self.O if positions is None else tuple(positions)

    def tap(self, k):
        return at(K - 1 - i for K, i in zip(self.K, k, strict=True)) if self.flip else at(k)

    def values(self, x, w):
        x, w = split(x, 1, self.G), split(w, 0, self.G)
        y = np.zeros((x.shape[0], *w.shape[:2], *self.O))
        for o, k, s in self.links:
            y[at(o)] += np.einsum("ngc,gfc->ngf", x[at(s)], w[self.tap(k)])
        return merged(y, 1)

    def data(self, g, w):
        g, w = split(g, 1, self.G), split(w, 0, self.G)
        x = np.zeros((g.shape[0], self.G, w.shape[2], *self.X))
        for o, k, s in self.links:
            x[at(s)] += np.einsum("ngf,gfc->ngc", g[at(o)], w[self.tap(k)])
        return merged(x, 1)

    def weights(self, g, x):
        g, x = split(g, 1, self.G), split(x, 1, self.G)
        w = np.zeros((self.G, g.shape[2], x.shape[2], *self.K))
        for o, k, s in self.links:
            w[self.tap(k)] += np.einsum("ngf,ngc->gfc", g[at(o)], x[at(s)])
        return merged(w, 0)


# --- problems


def integers(rng, *shape):
    return rng.integers(-9, 10, shape)


@st.composite
def windows(draw):
    """Parameters of a window: K, S, D, padding and padding_mode."""
    rank = draw(st.integers(1, 3))
    most = (5, 3, 2)[rank - 1]
    K, S, D = (tuple(draw(st.integers(1, top)) for _ in range(rank)) for top in (most, 3, 3))
    padding = draw(
        st.one_of(
            st.integers(0, 3),
            st.tuples(*[st.integers(0, 3)] * rank),
            st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * rank),
            st.sampled_from(["valid", "same", "same_upper", "same_lower", "full"]),
        )
    )
    return K, (1,) * rank if padding == "same" else S, D, padding, draw(st.sampled_from(MODES))


def fits(X, K, D, pairs, mode):
    spare = {"zeros": None, "replicate": None, "reflect": 1}.get(mode, 0)
    for a in range(len(X)):
        if X[a] < 1 or X[a] + sum(pairs[a]) < D[a] * (K[a] - 1) + 1:
            return False
        if spare is not None and max(pairs[a]) + spare > X[a]:
            return False
    return True


@st.composite
def extents(draw, window):
    """An image on which the window fits, often a barely fitting one."""
    K, S, D, padding, mode = window
    X = list(draw(st.tuples(*[st.integers(1, 3)] * len(K))))
    while not fits(X, K, D, pairs_of(padding, X, K, S, D), mode):
        X = [x + 1 for x in X]
    return tuple(X)


@st.composite
def convolutions(draw):
    """x, w, b, positional parameters, keywords, loops; b is None half the time."""
    window = draw(windows())
    K, S, D, padding, mode = window
    X = draw(extents(window))
    G, N, ICG, OCG = (draw(st.integers(low, 2)) for low in (1, 0, 0, 0))
    flip, rng = draw(st.booleans()), np.random.default_rng(draw(st.integers(0, 2**32)))
    b = integers(rng, G * OCG) if draw(st.booleans()) else None
    x, w = integers(rng, N, G * ICG, *X), integers(rng, G * OCG, ICG, *K)
    loops = Loops(G, X, K, S, D, pairs_of(padding, X, K, S, D), mode, flip)
    return (x, w, b, S, padding, D, G), {"padding_mode": mode, "flip": flip}, loops, rng


@st.composite
def transposed_convolutions(draw):
    K, S, D, padding, mode = draw(windows())
    rank, same = len(K), isinstance(padding, str) and padding.startswith("same")
    inputs = tuple(draw(st.integers(1, 4)) for _ in K)
    extra = tuple(0 if same else draw(st.integers(0, max(S[a], D[a]) - 1)) for a in range(rank))
    whole = tuple(inputs[a] * S[a] for a in range(rank))
    pairs = pairs_of(padding, whole, K, S, D)
    reach = [D[a] * (K[a] - 1) for a in range(rank)]
    Y = [(inputs[a] - 1) * S[a] - sum(pairs[a]) + reach[a] + 1 + extra[a] for a in range(rank)]
    Y = whole if same else tuple(Y)
    assume(fits(Y, K, D, pairs, mode))
    G, N, ICG, OCG = (draw(st.integers(low, 2)) for low in (1, 0, 0, 0))
    flip, rng = draw(st.booleans()), np.random.default_rng(draw(st.integers(0, 2**32)))
    b = integers(rng, G * OCG) if draw(st.booleans()) else None
    x, w = integers(rng, N, G * ICG, *inputs), integers(rng, G * ICG, OCG, *K)
    loops = Loops(G, Y, K, S, D, pairs, mode, flip, inputs)
    return (x, w, b, S, padding, extra, G, D), {"padding_mode": mode, "flip": flip}, loops, rng


def call(name, x, *arguments, **keywords):
    return getattr(reference, f"{name}{x.ndim - 2}d")(x, *arguments, **keywords)


def call_backward(name, g, *arguments, **keywords):
    return getattr(reference, f"{name}{g.ndim - 2}d_backward")(g, *arguments, **keywords)


def with_bias(y, b):
    return y if b is None else y + b.reshape(-1, *[1] * (y.ndim - 2))


def assert_same(got, expected):
    assert got.dtype == np.float64
    assert got.shape == expected.shape
    assert np.array_equal(got, expected)


def assert_bias_gradient(got, g, b):
    if b is None:
        assert got is None
    else:
        assert_same(got, np.array([math.fsum(g[:, c].flat) for c in range(b.size)], dtype=float))


# --- against the loops


@TRIES
@given(convolutions())
def test_convolution_is_the_loop_over_taps(problem):
    (x, w, b, *parameters), keywords, loops, rng = problem
    y = call("conv", x, w, b, *parameters, **keywords)
    assert_same(y, with_bias(loops.values(x, w), b))
    g = integers(rng, *y.shape).astype(float)
    dx, dw, db = call_backward("conv", g, x, w, b, *parameters, **keywords)
    assert_same(dx, loops.data(g, w))
    assert_same(dw, loops.weights(g, x))
    assert_bias_gradient(db, g, b)


@TRIES
@given(transposed_convolutions())
def test_transposed_convolution_is_the_loop_over_taps(problem):
    (x, w, b, *parameters), keywords, loops, rng = problem
    y = call("conv_transpose", x, w, b, *parameters, **keywords)
    assert_same(y, with_bias(loops.data(x, w), b))
    g = integers(rng, *y.shape).astype(float)
    dx, dw, db = call_backward("conv_transpose", g, x, w, b, *parameters, **keywords)
    assert_same(dx, loops.values(g, w))
    assert_same(dw, loops.weights(x, g))
    assert_bias_gradient(db, g, b)


@TRIES
@given(st.data())
def test_unfold_and_fold_are_the_loop_over_taps(data):
    window = data.draw(windows())
    K, S, D, padding, mode = window
    X = data.draw(extents(window))
    N, C = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
    loops = Loops(1, X, K, S, D, pairs_of(padding, X, K, S, D), mode, False)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x, g = integers(rng, N, C, *X), integers(rng, N, C, *K, *loops.O)
    columns, image = np.zeros(g.shape), np.zeros(x.shape)
    for o, k, s in loops.links:
        columns[at(k + o)] += x[at(s)]
        image[at(s)] += g[at(k + o)]
    flat = (N, C * math.prod(K), math.prod(loops.O))
    columns, g = columns.reshape(flat), g.reshape(flat)
    parameters = (K, D, padding, S)
    assert_same(reference.unfold(x, *parameters, padding_mode=mode), columns)
    assert_same(reference.unfold_backward(g, x, *parameters, padding_mode=mode).input, image)
    assert_same(reference.fold(g, X, *parameters, padding_mode=mode), image)
    assert_same(reference.fold_backward(x, g, X, *parameters, padding_mode=mode).input, columns)


# --- identities


def inner(a, b):
    return int(np.sum(a * b))


@TRIES
@given(convolutions())
def test_gradients_are_adjoint_to_the_convolution(problem):
    (x, w, _, *parameters), keywords, _, rng = problem
    y = call("conv", x, w, None, *parameters, **keywords)
    g = integers(rng, *y.shape)
    dx, dw, db = call_backward("conv", g, x, w, None, *parameters, **keywords)
    assert inner(g, y) == inner(dx, x) == inner(dw, w)
    assert db is None


@TRIES
@given(transposed_convolutions())
def test_transposed_convolution_is_adjoint_to_the_convolution(problem):
    (x, w, _, S, padding, extra, G, D), keywords, _, rng = problem
    y = call("conv_transpose", x, w, None, S, padding, extra, G, D, **keywords)
    z = integers(rng, *y.shape)
    forward = call("conv", z, w, None, S, padding, D, G, **keywords)
    if any(e >= s for e, s in zip(extra, S, strict=True)):
        # That much output_padding makes room for windows that the transposed convolution did not have.
        forward = forward[tuple(slice(0, extent) for extent in x.shape)]
    assert inner(y, z) == inner(x, forward)
    dx, dw, _ = call_backward("conv_transpose", z, x, w, None, S, padding, extra, G, D, **keywords)
    assert inner(y, z) == inner(x, dx) == inner(w, dw)


@TRIES
@given(convolutions())
def test_flip_rotates_the_kernel(problem):
    (x, w, b, *parameters), keywords, _, _ = problem
    rotated = np.flip(w, tuple(range(2, w.ndim)))
    keywords["flip"] = not keywords["flip"]
    flipped = call("conv", x, w, b, *parameters, **keywords)
    keywords["flip"] = not keywords["flip"]
    assert_same(call("conv", x, rotated, b, *parameters, **keywords), flipped)


@TRIES
@given(convolutions())
def test_without_a_batch_axis_everything_is_one_element_of_a_batch(problem):
    (x, w, b, *parameters), keywords, _, rng = problem
    x = integers(rng, 1, *x.shape[1:])
    y = call("conv", x, w, b, *parameters, **keywords)
    alone = getattr(reference, f"conv{x.ndim - 2}d")(x[0], w, b, *parameters, **keywords)
    assert_same(alone, y[0])
    backward = getattr(reference, f"conv{x.ndim - 2}d_backward")
    dx, dw, db = backward(y[0], x[0], w, b, *parameters, **keywords)
    batched = backward(y, x, w, b, *parameters, **keywords)
    assert_same(dx, batched.input[0])
    assert_same(dw, batched.weight)
    assert (db is None) == (b is None)


def test_unbatched_transposed_convolution_unfold_and_fold():
    x, w = np.array([[1, 2]]), np.array([[[1, 10, 100]]])
    y = reference.conv_transpose1d(x, w)
    assert_same(y, np.array([[1.0, 12, 120, 200]]))
    assert reference.conv_transpose1d_backward(y, x, w).input.shape == x.shape
    columns = reference.unfold(np.array([[1, 2, 3]]), (2,))
    assert_same(columns, np.array([[1.0, 2], [2, 3]]))
    assert_same(reference.fold(columns, (3,), (2,)), np.array([[1.0, 4, 3]]))
    assert reference.unfold_backward(columns, np.zeros((1, 3)), (2,)).input.shape == (1, 3)
    assert reference.fold_backward(np.zeros((1, 3)), columns, (3,), (2,)).input.shape == (2, 2)


# --- by hand


@pytest.mark.parametrize(
    ("padding", "mode", "expected"),
    [
        ("valid", "zeros", [321, 432]),
        ("same", "zeros", [210, 321, 432, 43]),
        (1, "zeros", [210, 321, 432, 43]),
        ((2,), "zeros", [100, 210, 321, 432, 43, 4]),
        ("full", "zeros", [100, 210, 321, 432, 43, 4]),
        (((2, 0),), "zeros", [100, 210, 321, 432]),
        (((0, 2),), "zeros", [321, 432, 43, 4]),
        (((2, 2),), "reflect", [123, 212, 321, 432, 343, 234]),
        (((2, 2),), "symmetric", [112, 211, 321, 432, 443, 344]),
        (((2, 2),), "replicate", [111, 211, 321, 432, 443, 444]),
        (((2, 2),), "circular", [143, 214, 321, 432, 143, 214]),
    ],
)
def test_padding_by_hand(padding, mode, expected):
    x, w = np.array([[[1, 2, 3, 4]]]), np.array([[[1, 10, 100]]])
    assert_same(reference.conv1d(x, w, padding=padding, padding_mode=mode), np.array([[expected]], float))


@pytest.mark.parametrize(
    ("padding", "stride", "expected"),
    [
        ("same", 1, [21, 32, 43, 4]),  # the odd zero is on the high side
        ("same_upper", 1, [21, 32, 43, 4]),
        ("same_lower", 1, [10, 21, 32, 43]),
        ("same_upper", 2, [21, 43]),
        ("same_lower", 2, [21, 43]),
        ("same_upper", 3, [21, 4]),
        ("same_lower", 3, [10, 43]),
    ],
)
def test_same_padding_of_an_even_kernel_by_hand(padding, stride, expected):
    x, w = np.array([[[1, 2, 3, 4]]]), np.array([[[1, 10]]])
    assert_same(reference.conv1d(x, w, None, stride, padding), np.array([[expected]], float))


@pytest.mark.parametrize(
    ("padding", "stride", "expected"),
    [
        ("same", 1, [1, 12, 23]),
        ("same_lower", 1, [12, 23, 30]),
        ("same_upper", 2, [1, 10, 2, 20, 3, 30]),
        ("same_upper", 3, [1, 10, 0, 2, 20, 0, 3, 30, 0]),
    ],
)
def test_same_padding_of_transposed_convolution_by_hand(padding, stride, expected):
    x, w = np.array([[[1, 2, 3]]]), np.array([[[1, 10]]])
    assert_same(reference.conv_transpose1d(x, w, None, stride, padding), np.array([[expected]], float))


def test_dilation_stride_and_flip_by_hand():
    x, w = np.arange(1, 8).reshape(1, 1, 7), np.array([[[1, 10, 100]]])
    assert_same(reference.conv1d(x, w, dilation=2), np.array([[[531.0, 642, 753]]]))
    assert_same(reference.conv1d(x, w, dilation=2, flip=True), np.array([[[135.0, 246, 357]]]))
    assert_same(reference.conv1d(x, w, stride=3), np.array([[[321.0, 654]]]))


def test_groups_by_hand():
    x = np.array([[[1], [2], [3], [4]]])
    w = np.array([[[1], [10]], [[100], [1000]]])
    assert_same(reference.conv1d(x, w, groups=2), np.array([[[21.0], [4300]]]))
    w = np.array([[[1], [10]], [[100], [1000]], [[1], [10]], [[100], [1000]]])
    assert_same(reference.conv_transpose1d(x, w, groups=2), np.array([[[201.0], [2010], [403], [4030]]]))


# --- numbers from torch 2.13


def numbers(step, start, modulus, *shape):
    i = np.arange(math.prod(shape))
    return ((i * step + start) % modulus - modulus // 2).reshape(shape)


def xs(*shape):
    return numbers(7, 0, 11, *shape)


def ws(*shape):
    return numbers(5, 3, 13, *shape)


def bs(*shape):
    return numbers(3, 1, 7, *shape)


def conv1d_of_padded(mode):
    return reference.conv1d(xs(1, 1, 5), ws(1, 1, 3), padding=((1, 2),), padding_mode=mode)


def dx_dw_db(field):
    x, w, b = xs(1, 4, 4, 5), ws(2, 2, 2, 2), bs(2)
    g = bs(1, 2, 2, 2)
    return getattr(reference.conv2d_backward(g, x, w, b, (2, 3), (0, 1), (1, 2), 2), field)


TORCH = [
    (
        lambda: reference.conv2d(xs(1, 4, 5, 4), ws(2, 2, 2, 3), bs(2), (2, 1), (1, 0), (1, 1), 2),
        [33, -10, 23, 65, -48, 49, 35, 30, -50, 60, -83, 60],
    ),
    (
        lambda: reference.conv2d(xs(1, 1, 5, 6), ws(1, 1, 2, 2), None, (1, 2), (0, 1), (2, 3)),
        [-9, 11, -21, -11, 27, -3, 9, -34, 15],
    ),
    (lambda: reference.conv1d(xs(1, 1, 6), ws(1, 1, 4), None, 1, "same"), [-20, 26, -41, 13, 5, -9]),
    (lambda: reference.conv1d(xs(1, 1, 6), ws(1, 1, 2), None, 1, "same", 3), [-4, 25, -4, 0, -15, -3]),
    (
        lambda: reference.conv3d(xs(1, 1, 2, 3, 3), ws(1, 1, 2, 2, 2), bs(1), (1, 2, 1), (0, 1, 0)),
        [23, -43, -40, -14],
    ),
    (
        lambda: reference.conv_transpose2d(xs(1, 4, 2, 2), ws(4, 1, 2, 3), bs(2), (2, 3), (0, 1), (1, 0), 2, (1, 2)),
        [
            -2,
            -6,
            -11,
            26,
            -16,
            -2,
            -2,
            -27,
            -13,
            18,
            21,
            -2,
            -2,
            18,
            -17,
            2,
            8,
            -2,
            -2,
            -30,
            -7,
            6,
            18,
            -2,
            -2,
            -2,
            -2,
            -2,
            -2,
            -2,
            1,
            15,
            24,
            5,
            -10,
            1,
            1,
            11,
            -13,
            -25,
            -8,
            1,
            1,
            9,
            -28,
            29,
            17,
            1,
            1,
            17,
            29,
            -28,
            9,
            1,
            1,
            1,
            1,
            1,
            1,
            1,
        ],
    ),
    (
        lambda: reference.conv_transpose1d(xs(1, 1, 3), ws(1, 2, 2), None, 2, 1, 2, 1, 3),
        [0, -6, -10, 6, 4, 0, -4, 0, 0, -12, 5, 12, -2, 0, 2, 0],
    ),
    (
        lambda: reference.unfold(xs(1, 2, 3, 4), (2, 2), (1, 2), (1, 0), (2, 1)),
        [0, 0, 1, -3, 0, 0, 4, 0, -5, 2, -4, 3, -2, 5, -1, -5, 0, 0, -3, 4, 0, 0, 0, -4, 2, -2, 3, -1, 5, 1, -5, 2],
    ),
    (
        lambda: reference.fold(xs(1, 4, 6), (3, 4), (2, 2), 1, 0, 1),
        [-5, 6, -2, -4, 7, 2, -3, -2, 1, -4, -1, 2],
    ),
    (
        lambda: reference.fold(xs(1, 8, 4), (4, 5), (2, 2), (2, 1), (1, 0), (2, 2)),
        [
            0,
            0,
            0,
            0,
            0,
            -6,
            6,
            8,
            -2,
            0,
            0,
            0,
            0,
            0,
            0,
            -1,
            5,
            -5,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            -2,
            -1,
            1,
            2,
            0,
            0,
            0,
            0,
            0,
            0,
            1,
            -4,
            -3,
            3,
            0,
        ],
    ),
    (lambda: conv1d_of_padded("reflect"), [-28, 31, -40, 10, -43, 19]),
    (lambda: conv1d_of_padded("replicate"), [-7, 31, -40, 10, -19, -7]),
    (lambda: conv1d_of_padded("circular"), [-25, 31, -40, 10, 17, -25]),
    (
        lambda: dx_dw_db("input"),
        [
            0,
            -4,
            -3,
            0,
            2,
            0,
            2,
            -6,
            0,
            -1,
            0,
            -6,
            0,
            0,
            0,
            0,
            3,
            0,
            0,
            0,
            0,
            8,
            4,
            0,
            -4,
            0,
            -12,
            1,
            0,
            6,
            0,
            12,
            0,
            0,
            0,
            0,
            -18,
            0,
            0,
            0,
            0,
            9,
            2,
            0,
            -3,
            0,
            0,
            5,
            0,
            0,
            0,
            6,
            4,
            0,
            -6,
            0,
            0,
            10,
            0,
            0,
            0,
            -9,
            -5,
            0,
            3,
            0,
            -18,
            -2,
            0,
            6,
            0,
            -6,
            -10,
            0,
            6,
            0,
            -12,
            -4,
            0,
            12,
        ],
    ),
    (lambda: dx_dw_db("weight"), [-2, 12, 0, 4, -5, -9, -3, -17, 5, -5, -1, -1, -8, 11, 8, -18]),
    (lambda: dx_dw_db("bias"), [-4, 2]),
]


@pytest.mark.parametrize(("function", "expected"), TORCH)
def test_agrees_with_torch(function, expected):
    assert function().ravel().tolist() == expected


# --- edges


def test_empty_batch():
    x, w, b = np.zeros((0, 2, 4, 4)), xs(3, 2, 3, 3), bs(3)
    assert reference.conv2d(x, w, b).shape == (0, 3, 2, 2)
    dx, dw, db = reference.conv2d_backward(np.zeros((0, 3, 2, 2)), x, w, b)
    assert dx.shape == x.shape
    assert_same(dw, np.zeros(w.shape))
    assert_same(db, np.zeros(3))


def test_no_input_channels_give_the_bias():
    b = np.array([3.0, -4.0])
    y = reference.conv1d(np.zeros((2, 0, 5)), np.zeros((2, 0, 3)), b)
    assert_same(y, np.broadcast_to(b[:, np.newaxis], (2, 2, 3)))
    y = reference.conv_transpose1d(np.zeros((2, 0, 5)), np.zeros((0, 2, 3)), b)
    assert_same(y, np.broadcast_to(b[:, np.newaxis], (2, 2, 7)))


def test_no_output_channels():
    x, w = xs(2, 3, 5), np.zeros((0, 3, 3))
    assert reference.conv1d(x, w).shape == (2, 0, 3)
    dx, dw, _ = reference.conv1d_backward(np.zeros((2, 0, 3)), x, w)
    assert_same(dx, np.zeros(x.shape))
    assert dw.shape == w.shape


def test_one_pixel_and_a_kernel_as_large_as_the_padded_input():
    x, w = np.array([[[[5]]]]), np.arange(9).reshape(1, 1, 3, 3)
    assert_same(reference.conv2d(x, w, padding=1), np.array([[[[20.0]]]]))
    assert_same(reference.conv2d(x, w, padding=1, padding_mode="replicate"), np.array([[[[180.0]]]]))
    assert_same(reference.conv2d(xs(1, 1, 3, 3), w), np.array([[[[float(np.sum(xs(3, 3) * w))]]]]))


def test_pixels_that_no_window_covers_have_no_gradient():
    x, w = xs(1, 1, 8), np.array([[[1, 2]]])
    dx = reference.conv1d_backward(np.array([[[1, 1]]]), x, w, stride=5).input
    assert_same(dx, np.array([[[1.0, 2, 0, 0, 0, 1, 2, 0]]]))


def test_gaps_of_a_transposed_convolution_hold_the_bias():
    y = reference.conv_transpose1d(np.array([[[1, 2]]]), np.array([[[10]]]), np.array([7]), 3, 0, 2)
    assert_same(y, np.array([[[17.0, 7, 7, 27, 7, 7]]]))


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", "f4", ">f4", "f8", "g"])
def test_every_real_type_and_layout_counts_by_its_values(dtype):
    x, w = (xs(1, 2, 6, 5) > 0).astype(dtype), (ws(3, 2, 2, 3) > 0).astype(dtype)
    expected = reference.conv2d(x.astype(float), w.astype(float))
    assert_same(reference.conv2d(x, w), expected)
    strided = np.repeat(x, 2, axis=3)[..., ::2][:, :, ::-1]
    strided.setflags(write=False)
    assert_same(reference.conv2d(strided, np.asfortranarray(w)), reference.conv2d(strided.copy(), w))


def test_integers_up_to_2_53_are_exact():
    x, w = np.array([[2**26, 1]]), np.array([[[2**26, -1], [2**26, 1]]]).reshape(2, 1, 2)
    assert_same(reference.conv1d(x, w), np.array([[2.0**52 - 1], [2.0**52 + 1]]))


def test_arguments_are_left_alone():
    x, w, b = xs(1, 1, 5).astype(float), ws(1, 1, 3).astype(float), np.array([1.0])
    before = x.copy(), w.copy(), b.copy()
    y = reference.conv1d(x, w, b, flip=True)
    y[...] = 0
    for gradient in reference.conv1d_backward(y, x, w, b, flip=True):
        gradient[...] = 99
    reference.unfold(x, (1,))[...] = 99
    for a, saved in zip((x, w, b), before, strict=True):
        assert np.array_equal(a, saved)


def test_output_mask():
    x, w, b, g = xs(1, 1, 4), ws(1, 1, 3), np.array([1]), np.ones((1, 1, 2))
    full = reference.conv1d_backward(g, x, w, b)
    for mask in itertools.product((True, False), repeat=3):
        for wanted, got, expected in zip(
            mask, reference.conv1d_backward(g, x, w, b, output_mask=mask), full, strict=True
        ):
            if wanted:
                assert_same(got, expected)
            else:
                assert got is None
    assert reference.conv1d_backward(g, x, w, output_mask=(True, True, True)).bias is None
    assert reference.unfold_backward(np.ones((1, 2, 3)), x, (2,), output_mask=(False,)).input is None
    assert reference.fold_backward(x, np.ones((1, 2, 3)), (4,), (2,), output_mask=(False,)).input is None


# --- refusals

X, W = np.zeros((1, 4, 5, 6)), np.zeros((6, 2, 3, 3))
WT = np.zeros((4, 3, 3, 3))
SIGNAL, KERNEL = np.zeros((1, 1, 4)), np.zeros((1, 1, 3))
EVEN = np.zeros((1, 1, 2))

REFUSED = [
    # arrays
    ("conv2d", ([[1]], W), {}, TypeError, "input must be a plain NumPy array, got list"),
    (
        "conv2d",
        (X, np.ma.array(W), None),
        {},
        TypeError,
        "weight must be a plain NumPy array, got MaskedArray",
    ),
    ("conv2d", (X + 0j, W), {}, TypeError, "input must hold real numbers, got input.dtype=complex128"),
    (
        "conv2d",
        (X, W.astype(object)),
        {},
        TypeError,
        "weight must hold real numbers, got weight.dtype=object",
    ),
    (
        "conv2d",
        (X[0, 0], W),
        {},
        ValueError,
        "input must have 4 axes, or 3 without a batch, got input.shape=(5, 6)",
    ),
    ("conv2d", (X, W[0]), {}, ValueError, "weight must have 4 axes, got weight.shape=(2, 3, 3)"),
    (
        "conv1d",
        (np.zeros((1, 1, 0)), KERNEL, None, 1, 2),
        {},
        ValueError,
        "at least 1 pixel in every spatial axis",
    ),
    ("conv1d", (SIGNAL, np.zeros((1, 1, 0))), {}, ValueError, "at least 1 tap in every spatial axis"),
    (
        "conv2d",
        (np.zeros((1, 12, 5, 5)), np.zeros((4, 8, 3, 3)), None, 1, 0, 1, 2),
        {},
        ValueError,
        "16 in all, but input has 12: input.shape=(1, 12, 5, 5), weight.shape=(4, 8, 3, 3)",
    ),
    ("conv2d", (X, W[:5], None, 1, 0, 1, 2), {}, ValueError, "groups=2 must divide the 5 output channels"),
    (
        "conv2d",
        (X, W, np.zeros(5)),
        {"groups": 2},
        ValueError,
        "bias must hold one number for each of 6 channels, got bias.shape=(5,)",
    ),
    # sizes
    ("conv2d", (X, W), {"groups": 0}, ValueError, "groups must be at least 1 in every axis, got groups=0"),
    ("conv2d", (X, W), {"groups": True}, TypeError, "groups must be an integer"),
    (
        "conv2d",
        (X, W),
        {"groups": 2, "stride": 0},
        ValueError,
        "stride must be at least 1 in every axis, got stride=0",
    ),
    ("conv2d", (X, W), {"groups": 2, "stride": (1, 0)}, ValueError, "got stride=(1, 0)"),
    (
        "conv2d",
        (X, W),
        {"groups": 2, "stride": 1.5},
        TypeError,
        "stride must be an integer or a tuple of integers",
    ),
    (
        "conv2d",
        (X, W),
        {"groups": 2, "stride": (1, 1, 1)},
        ValueError,
        "one integer for each of 2 spatial axes",
    ),
    ("conv2d", (X, W), {"groups": 2, "dilation": -1}, ValueError, "dilation must be at least 1"),
    # padding
    ("conv2d", (X, W), {"groups": 2, "padding": -1}, ValueError, "padding must be at least 0"),
    ("conv2d", (X, W), {"groups": 2, "padding": None}, TypeError, "padding must be an integer or a tuple"),
    ("conv2d", (X, W), {"groups": 2, "padding": "even"}, ValueError, "got padding='even'"),
    ("conv2d", (X, W), {"groups": 2, "padding": (1, 1, 1, 1)}, ValueError, "got padding=(1, 1, 1, 1)"),
    ("conv2d", (X, W), {"groups": 2, "padding": ((1, 1),)}, ValueError, "one (low, high) pair for each of 2"),
    ("conv2d", (X, W), {"groups": 2, "padding": ((1, 1, 1), (1, 1))}, ValueError, "one (low, high) pair"),
    (
        "conv2d",
        (X, W),
        {"groups": 2, "padding": ((1, 1), 1)},
        TypeError,
        "all integers or all (low, high) pairs",
    ),
    ("conv2d", (X, W), {"groups": 2, "padding": ((1, -1), (0, 0))}, ValueError, "padding must be at least 0"),
    (
        "conv1d",
        (SIGNAL, KERNEL),
        {"padding": (1, 2)},
        ValueError,
        "padding of one axis is an integer or ((low, high),)",
    ),
    (
        "conv1d",
        (SIGNAL, KERNEL),
        {"padding": "same", "stride": 2},
        ValueError,
        "padding='same' needs stride 1",
    ),
    ("conv1d", (SIGNAL, KERNEL), {"padding_mode": "wrap"}, ValueError, "got padding_mode='wrap'"),
    ("conv1d", (SIGNAL, KERNEL), {"padding_mode": 0}, TypeError, "padding_mode must be a string"),
    (
        "conv1d",
        (SIGNAL, KERNEL),
        {"padding": 4, "padding_mode": "reflect"},
        ValueError,
        "needs padding less than the extent in every axis, got padding=((4, 4),), extent=(4,)",
    ),
    (
        "conv1d",
        (SIGNAL, KERNEL),
        {"padding": 5, "padding_mode": "circular"},
        ValueError,
        "at most the extent",
    ),
    (
        "conv1d",
        (SIGNAL, KERNEL),
        {"padding": 5, "padding_mode": "symmetric"},
        ValueError,
        "at most the extent",
    ),
    (
        "conv1d",
        (SIGNAL, KERNEL),
        {"dilation": 2},
        ValueError,
        "the window spans (5,) pixels but the padded input has only (4,)",
    ),
    ("conv1d", (SIGNAL, KERNEL), {"flip": 1}, TypeError, "flip must be True or False, got flip=1"),
    # transposed convolution
    ("conv_transpose2d", (X, W), {}, ValueError, "weight takes 6 channels but input has 4"),
    ("conv_transpose2d", (X, WT), {"groups": 3}, ValueError, "groups=3 must divide the 4 input channels"),
    (
        "conv_transpose2d",
        (X, WT, np.zeros(3)),
        {"groups": 2},
        ValueError,
        "one number for each of 6 channels",
    ),
    (
        "conv_transpose2d",
        (X, WT),
        {"stride": (2, 1), "output_padding": (0, 1)},
        ValueError,
        "in every axis, got output_padding=(0, 1), stride=(2, 1), dilation=(1, 1)",
    ),
    ("conv_transpose2d", (X, WT), {"output_padding": -1}, ValueError, "output_padding must be at least 0"),
    (
        "conv_transpose1d",
        (SIGNAL, KERNEL, None, 2, "same_upper", 1),
        {},
        ValueError,
        "padding='same_upper' fixes the output's extent; output_padding=(1,) must be 0",
    ),
    ("conv_transpose1d", (SIGNAL, KERNEL, None, 2, "same"), {}, ValueError, "padding='same' needs stride 1"),
    ("conv_transpose1d", (SIGNAL, KERNEL, None, 1, 3), {}, ValueError, "the output would have extent (0,)"),
    (
        "conv_transpose1d",
        (EVEN[..., :1], KERNEL, None, 1, 1),
        {"padding_mode": "reflect"},
        ValueError,
        "padding_mode='reflect' needs padding less than the extent",
    ),
    ("conv_transpose1d", (np.zeros((1, 1, 0)), KERNEL), {}, ValueError, "at least 1 pixel"),
    # gradients
    (
        "conv1d_backward",
        (np.zeros((1, 1, 4)), SIGNAL, KERNEL),
        {},
        ValueError,
        "grad_output must have the output's shape (1, 1, 2), got grad_output.shape=(1, 1, 4)",
    ),
    (
        "conv1d_backward",
        (np.zeros((1, 1, 2)), SIGNAL[0], KERNEL),
        {},
        ValueError,
        "the output's shape (1, 2)",
    ),
    (
        "conv1d_backward",
        (np.zeros((1, 1, 2)), SIGNAL, KERNEL),
        {"output_mask": (True, True)},
        ValueError,
        "output_mask takes one bool for each of ('input', 'weight', 'bias')",
    ),
    (
        "conv1d_backward",
        (EVEN, SIGNAL, KERNEL),
        {"output_mask": True},
        TypeError,
        "output_mask must be a tuple",
    ),
    (
        "conv1d_backward",
        (EVEN, SIGNAL, KERNEL),
        {"output_mask": (1, 1, 1)},
        TypeError,
        "must be True or False",
    ),
    # unfold and fold
    ("unfold", (X, (2, 2, 2, 2)), {}, ValueError, "kernel_size has 1 to 3 axes"),
    ("unfold", (X, (2,)), {}, ValueError, "input must have 3 axes, or 2 without a batch"),
    ("unfold", (X, 0), {}, ValueError, "kernel_size must be at least 1 in every axis, got kernel_size=0"),
    ("unfold", (X, 7), {}, ValueError, "the window spans (7, 7) pixels but the padded input has only (5, 6)"),
    ("unfold_backward", (X, X, 2), {}, ValueError, "grad_output must have the output's shape (1, 16, 20)"),
    ("fold", (np.zeros((1, 6, 4)), 3, 2), {}, ValueError, "input must hold a multiple of 4 channels"),
    ("fold", (np.zeros((1, 8, 5)), 3, 2), {}, ValueError, "input must hold 4 columns, one for each window"),
    (
        "fold",
        (np.zeros((1, 8, 4)), (3, 3, 3), 2),
        {},
        ValueError,
        "output_size takes one integer for each of 2",
    ),
    ("fold", (np.zeros((1, 8, 4)), 1, 2), {}, ValueError, "the padded output_size has only (1, 1)"),
    ("fold", (np.zeros((1, 8, 4)), 0, 2), {}, ValueError, "output_size must be at least 1"),
    ("fold_backward", (X, np.zeros((1, 8, 4)), 3, 2), {}, ValueError, "the output's shape (1, 2, 3, 3)"),
]


@pytest.mark.parametrize(("name", "arguments", "keywords", "error", "text"), REFUSED)
def test_refusals(name, arguments, keywords, error, text):
    with pytest.raises(error) as caught:
        getattr(reference, name)(*arguments, **keywords)
    assert text in str(caught.value)


def test_the_largest_padding_of_each_mode_is_accepted():
    for mode, most in (("reflect", 3), ("circular", 4), ("symmetric", 4), ("replicate", 9), ("zeros", 9)):
        for pair in ((most, 0), (0, most), (most, most)):
            x = np.arange(1, 5)
            y = reference.conv1d(x.reshape(1, 1, 4), np.ones((1, 1, 1)), padding=(pair,), padding_mode=mode)
            shown = [source(q, 4, mode) for q in range(-pair[0], 4 + pair[1])]
            assert y.ravel().tolist() == [0 if s is None else x[s] for s in shown]
