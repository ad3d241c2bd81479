"""The bounds of normalisation against every right way to compute it, and against wrong ones.

Right are the statistics in two passes, corrected, by Welford's recurrence and by merging; sums in several orders;
weight and bias applied one by one or folded; gradients by the formulas, folded, and derived step by step. A ratio of
1 is the bound: there is no tolerance in here.
"""

import inspect
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clconv.oracle import reference
from clconv.oracle.bounds import bound, worst_ratio

# The types that arrays are held in and summed in, and the largest mean at which rows of unit deviation are known.
TYPES = [("float32", "float32", 1e4), ("float16", "float32", 100), ("float32", "float64", 1e4)]
TYPES += [("float64", "float64", 1e8), ("float16", "float16", 4)]


# --- ways to sum, to find moments, to apply them


def sequential(a):
    return np.cumsum(a, axis=-1, dtype=a.dtype)[..., -1:]


def backwards(a):
    return sequential(a[..., ::-1])


def pairwise(a):
    while a.shape[-1] > 1:
        half = a.shape[-1] // 2
        a = np.concatenate([a[..., :half] + a[..., half : 2 * half], a[..., 2 * half :]], axis=-1)
    return a


def two_passes(x, add):
    n = x.dtype.type(x.shape[-1])
    mean = add(x) / n
    return mean, add((x - mean) ** 2) / n


def by_reciprocal(x, add):
    share = x.dtype.type(1) / x.dtype.type(x.shape[-1])
    mean = add(x) * share
    return mean, add((x - mean) ** 2) * share


def corrected(x, add):
    n = x.dtype.type(x.shape[-1])
    mean = add(x) / n
    d = x - mean
    return mean, (add(d * d) - add(d) ** 2 / n) / n


def welford(x, add):
    mean = squares = np.zeros_like(x[..., :1])
    for k in range(x.shape[-1]):
        d = x[..., k : k + 1] - mean
        mean = mean + d / x.dtype.type(k + 1)
        squares = squares + d * (x[..., k : k + 1] - mean)
    return mean, squares / x.dtype.type(x.shape[-1])


def merged(x, add):
    """Chan's way, in two unequal parts each time."""
    real = x.dtype.type

    def parts(x):
        n = x.shape[-1]
        if n == 1:
            return x, np.zeros_like(x)
        (ma, sa), (mb, sb) = parts(x[..., : -(n // 3) or -1]), parts(x[..., -(n // 3) or -1 :])
        nb = real(n // 3 or 1)
        na, d = real(n) - nb, mb - ma
        return ma + d * (nb / real(n)), sa + sb + d * d * (na * nb / real(n))

    mean, squares = parts(x)
    return mean, squares / real(x.shape[-1])


def one_pass(x, add):
    n = x.dtype.type(x.shape[-1])
    mean = add(x) / n
    return mean, add(x * x) / n - mean * mean


ORDERS = (sequential, backwards, pairwise)
MOMENTS = (two_passes, by_reciprocal, corrected, welford, merged)


class Way(NamedTuple):
    """A right way to normalise rows of a 2-D array, in the type of the sums."""

    moments: object = two_passes
    add: object = sequential
    is_folded: bool = False
    divides: bool = False  # by the root, instead of multiplying with its reciprocal

    def statistics(self, x, eps):
        mean, variance = self.moments(x, self.add)
        return mean, variance, np.sqrt(variance + x.dtype.type(eps))

    def forward(self, x, w, b, eps):
        mean, _, deviation = self.statistics(x, eps)
        if self.is_folded:
            scale = w / deviation
            return x * scale + (b - mean * scale)
        xhat = (x - mean) / deviation if self.divides else (x - mean) * (1 / deviation)
        return xhat * w + b

    def backward(self, g, x, w, eps):
        mean, _, deviation = self.statistics(x, eps)
        n, r, h = x.dtype.type(x.shape[-1]), 1 / deviation, g * w
        if self.is_folded:
            total, product = self.add(h), self.add(h * x)
            slope = (total * mean - product) * r * r * r / n
            offset = -slope * mean - total * r / n
            dx = h * r + x * slope + offset
            terms = g * (x * r - mean * r)
        elif self.divides:  # each step of the forward pass is differentiated
            centred = x - mean
            of_deviation = -self.add(h * centred) / (deviation * deviation)
            of_variance = of_deviation / (2 * deviation)
            of_mean = -self.add(h / deviation) - of_variance * 2 * self.add(centred) / n
            dx = h / deviation + of_variance * 2 * centred / n + of_mean / n
            terms = g * (centred / deviation)
        else:
            xhat = (x - mean) * r
            dx = r * (h - self.add(h) / n - xhat * (self.add(h * xhat) / n))
            terms = g * xhat
        return dx, self.add(terms.T)[..., 0], self.add(g.T.copy())[..., 0]


@st.composite
def ways(draw):
    return Way(*(draw(st.sampled_from(choice)) for choice in (MOMENTS, ORDERS, (False, True), (False, True))))


@st.composite
def rows(draw, types=tuple(TYPES)):
    """Types, arrays and eps of a layer_norm over rows."""
    stored, summed, largest_mean = draw(st.sampled_from(types))
    n = draw(st.sampled_from((2, 3, 5, 8, 16, 33, 100, 257)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mean = draw(st.sampled_from((0.0, 1.0, math.sqrt(largest_mean), largest_mean)))
    deviation = draw(st.sampled_from((1.0, 0.01, 30.0)))
    eps = draw(st.sampled_from((1e-5, 1.0, 0.01)))
    x = random.standard_normal((draw(st.integers(1, 9)), n)) * deviation + mean
    if draw(st.booleans()):  # values of many magnitudes
        x *= 2.0 ** random.integers(-6, 7, x.shape)
    g, w, b = random.standard_normal(x.shape), random.standard_normal(n), random.standard_normal(n)
    return stored, summed, [a.astype(stored) for a in (g, x, w, b)], eps


def as_float64(*arrays):
    return [a.astype(np.float64) for a in arrays]


def ratio(got, expected, limit, stored):
    with np.errstate(over="ignore"):
        kept = np.asarray(got).astype(stored)
    return worst_ratio(kept.astype(np.float64), expected, limit)


# --- right ways stay within


@settings(max_examples=300, deadline=None)
@given(rows(), ways())
def test_no_right_output_exceeds_the_bound(drawn, way):
    stored, summed, (_, x, w, b), eps = drawn
    with np.errstate(all="ignore"):
        got = way.forward(*(a.astype(summed) for a in (x, w, b)), eps)
    arguments = (*as_float64(x), x.shape[1:], *as_float64(w, b), eps)
    limit = bound("layer_norm", *arguments, dtype=stored, accumulate=summed)
    assert ratio(got, reference.layer_norm(*arguments), limit, stored) <= 1


@settings(max_examples=300, deadline=None)
@given(rows(), ways())
def test_no_right_gradient_exceeds_the_bound(drawn, way):
    stored, summed, (g, x, w, b), eps = drawn
    with np.errstate(all="ignore"):
        got = way.backward(*(a.astype(summed) for a in (g, x, w)), eps)
    arguments = (*as_float64(g, x), x.shape[1:], *as_float64(w, b), eps)
    limits = bound("layer_norm_backward", *arguments, dtype=stored, accumulate=summed)
    for ours, expected, limit in zip(got, reference.layer_norm_backward(*arguments), limits, strict=True):
        assert ratio(ours, expected, limit, stored) <= 1


@settings(max_examples=200, deadline=None)
@given(rows(), ways(), st.sampled_from((0.1, 0.5, 1.0, 0.0)), st.booleans())
def test_no_right_running_statistic_exceeds_the_bound(drawn, way, momentum, is_onnx):
    stored, summed, (_, x, w, b), eps = drawn
    old, real = (np.resize(w, len(x)), np.abs(np.resize(b, len(x)))), np.dtype(summed).type
    with np.errstate(all="ignore"):
        mean, variance = (a[:, 0] for a in way.moments(x.astype(summed), way.add))
        n, q = real(x.shape[1]), real(1 - momentum if is_onnx else momentum)
        stored_variance = variance if is_onnx else variance * (n / (n - 1))
        got = [(1 - q) * z.astype(summed) + q * own for z, own in zip(old, (mean, stored_variance), strict=True)]
    keywords = {"training": True, "momentum": momentum, "eps": eps, "semantics": "onnx" if is_onnx else "torch"}
    arguments = as_float64(x.T, *old)
    limits = bound("batch_norm", *arguments, **keywords, dtype=stored, accumulate=summed)
    expected = reference.batch_norm(*arguments, **keywords)
    for ours, exact, limit in zip(got, expected[1:], limits[1:], strict=True):
        assert ratio(ours, exact, limit, stored) <= 1


@settings(max_examples=200, deadline=None)
@given(rows(), st.sampled_from(ORDERS), st.sampled_from((None, 1e-5, 0.0)))
def test_no_right_root_mean_square_exceeds_the_bound(drawn, add, eps):
    stored, summed, (g, x, w, _), _ = drawn
    added = reference.rms_norm(x, x.shape[1:], w, eps)
    known = 2.0 ** (-52 if stored == "float64" else -23) if eps is None else eps
    g_, x_, w_ = (a.astype(summed) for a in (g, x, w))
    with np.errstate(all="ignore"):
        n = x_.dtype.type(x_.shape[1])
        r = 1 / np.sqrt(add(x_ * x_) / n + x_.dtype.type(known))
        xhat, h = x_ * r, g_ * w_
        got = [xhat * w_, r * (h - xhat * (add(h * xhat) / n)), add((g_ * xhat).T)[..., 0]]
    arguments, types = (x.shape[1:], *as_float64(w), eps), {"dtype": stored, "accumulate": summed}
    limits = [bound("rms_norm", *as_float64(x), *arguments, **types)]
    limits += bound("rms_norm_backward", *as_float64(g, x), *arguments, **types)
    for ours, exact, limit in zip(
        got, (added, *reference.rms_norm_backward(g, x, x.shape[1:], w, eps)), limits, strict=True
    ):
        assert ratio(ours, exact, limit, stored) <= 1


@settings(max_examples=200, deadline=None)
@given(rows(types=tuple(TYPES[:4])), ways(), st.sampled_from((0.75, 0.5, 1.0, -0.3, 2.5)), st.integers(1, 9))
def test_no_right_response_exceeds_the_bound(drawn, way, beta, size):
    stored, summed, (g, x, _, _), _ = drawn
    g, x = g[:, : 3 * size], x[:, : 3 * size]
    arguments = {"size": size, "alpha": 0.5, "beta": beta, "k": 2.0}
    g_, x_ = (a.astype(summed) for a in (g, x))
    real, windows = x_.dtype.type, [slice(max(c - size // 2, 0), c + (size + 1) // 2) for c in range(x.shape[1])]
    with np.errstate(all="ignore"):
        squares = np.concatenate([way.add(x_[:, w] ** 2) for w in windows], axis=1)
        base = real(2) + real(0.5) * (squares / real(size))
        power = base ** real(beta)
        y = x_ * np.exp(-real(beta) * np.log(base)) if way.is_folded else x_ / power
        slope = g_ * x_ / power / base if way.is_folded else g_ * x_ / power**2 * base ** real(beta - 1)
        through = np.zeros_like(x_)
        for c, w in enumerate(windows):
            through[:, w] += slope[:, c : c + 1]
        dx = g_ / power - real(2 * 0.5 * beta / size) * x_ * through
    g, x = (a.astype(np.float64)[..., np.newaxis] for a in (g, x))
    types = {"dtype": stored, "accumulate": summed}
    limit = bound("local_response_norm", x, **arguments, **types)
    assert ratio(y[..., np.newaxis], reference.local_response_norm(x, **arguments), limit, stored) <= 1
    limit = bound("local_response_norm_backward", g, x, **arguments, **types).input
    expected = reference.local_response_norm_backward(g, x, **arguments).input
    assert ratio(dx[..., np.newaxis], expected, limit, stored) <= 1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((-128, -126, -124, -63)), ways())
def test_flushing_stays_within_its_own_bound(seed, exponent, way):
    """With eps that small, numbers around the smallest normal one decide the output."""
    random = np.random.default_rng(seed)
    x, w, b = ((random.standard_normal(shape) * 2.0**exponent).astype("float32") for shape in ((3, 8), 8, 8))

    def flushed(a):
        return np.where(np.abs(a) < 2.0**-126, np.float32(0), a)

    mean, _, deviation = Way().statistics(flushed(x), 1e-5)
    got = flushed(flushed(flushed(flushed(x) - flushed(mean)) / deviation * flushed(w)) + flushed(b))
    arguments = (*as_float64(x), (8,), *as_float64(w, b))
    limit = bound("layer_norm", *arguments, dtype="float32", flushes_subnormals=True)
    assert ratio(got, reference.layer_norm(*arguments), limit, "float32") <= 1


# --- wrong ways exceed


def drawn_rows(mean, n, seed=0):
    random = np.random.default_rng(seed)
    x = (random.standard_normal((64, n)) + mean).astype("float32")
    return x, *(random.standard_normal(n).astype("float32") for _ in range(2))


@pytest.mark.parametrize(("mean", "n"), [(100, 2), (100, 8), (1e4, 8), (1e4, 64), (3000, 256), (1000, 64)])
def test_one_pass_exceeds(mean, n):
    x, w, b = drawn_rows(mean, n)
    arguments = (*as_float64(x), (n,), *as_float64(w, b))
    expected, limit = reference.layer_norm(*arguments), bound("layer_norm", *arguments, dtype="float32")
    with np.errstate(all="ignore"):
        wrong = Way(one_pass, pairwise).forward(x, w, b, 1e-5)
    assert np.isfinite(limit).mean() > 0.9
    assert ratio(wrong, expected, limit, "float32") > 2
    assert ratio(Way(welford).forward(x, w, b, 1e-5), expected, limit, "float32") <= 1


@pytest.mark.parametrize("n", [2, 8, 100, 1000])
def test_the_unbiased_variance_exceeds(n):
    x, w, b = drawn_rows(1, n)
    arguments = (*as_float64(x), (n,), *as_float64(w, b))

    def unbiased(x, add):
        mean, variance = two_passes(x, add)
        return mean, variance * np.float32(n / (n - 1))

    limit = bound("layer_norm", *arguments, dtype="float32")
    assert ratio(Way(unbiased).forward(x, w, b, 1e-5), reference.layer_norm(*arguments), limit, "float32") > 2


def test_eps_beside_the_root_exceeds():
    x, w, b = drawn_rows(0, 16)
    arguments = (*as_float64(x), (16,), *as_float64(w, b), 0.01)
    mean, variance = two_passes(x, sequential)
    wrong = (x - mean) / (np.sqrt(variance) + np.float32(0.01)) * w + b
    limit = bound("layer_norm", *arguments, dtype="float32")
    assert ratio(wrong, reference.layer_norm(*arguments), limit, "float32") > 100


def test_a_biased_running_variance_exceeds():
    x = drawn_rows(1, 100)[0].T
    arguments = {"running_mean": np.zeros(64), "running_var": np.ones(64), "training": True}
    expected = reference.batch_norm(x.astype(float), **arguments)
    limit = bound("batch_norm", x.astype(float), **arguments, dtype="float32")
    wrong = 0.9 + 0.1 * x.astype(float).var(axis=0)
    assert ratio(wrong, expected.running_var, limit.running_var, "float32") > 10


# --- the bounds themselves


@pytest.mark.parametrize("mean", [0.0, 1e4, 2.0**40])
def test_the_reference_takes_half_of_the_bound_in_float64(mean):
    """Against fractions, up to the square root of a number that is rounded once."""
    x = np.random.default_rng(3).standard_normal((5, 40)) + mean
    expected = []
    for row in x:
        values = [Fraction(v) for v in row]
        centre = sum(values) / len(values)
        root = Fraction(math.sqrt(sum((v - centre) ** 2 for v in values) / len(values) + Fraction(1e-5)))
        expected.append([float((v - centre) / root) for v in values])
    limit = bound("layer_norm", x, (40,), dtype="float64")
    assert worst_ratio(reference.layer_norm(x, (40,)), np.array(expected), limit) <= 1 / 2


@pytest.mark.parametrize("c", [3, 7])  # float64, and all other types
def test_the_induction_over_merges_holds(c):
    K = {n: n + c * (1 + math.log2(n)) for n in range(1, 401)}
    for a in range(1, 201):
        for b in range(1, a + 1):
            N = a + b
            assert 4 * K[N] ** 2 >= 4 * K[a] ** 2 + 2 * K[a] ** 2 * b / N
            assert 4 * K[N] ** 2 >= 4 * K[b] ** 2 + 2 * K[b] ** 2 * a / N
    assert all(4 * K[j] ** 2 >= 4 * K[j - 1] ** 2 + K[j] ** 2 / (j - 1) for j in range(2, 401))


def test_nothing_is_said_of_an_unknown_variance():
    x = np.full((2, 64), 1e8 + 1)
    assert np.isinf(bound("layer_norm", x.astype("float32"), (64,), dtype="float32")).all()
    assert np.isinf(bound("layer_norm", x, (64,), eps=0.0, dtype="float64")).all()


def test_overflow_is_unbounded():
    x = np.array([[1e20, -1e20]], "float32")
    assert np.isinf(bound("layer_norm", x, (2,), dtype="float32")).all()
    assert np.isfinite(bound("layer_norm", x, (2,), dtype="float32", accumulate="float64")).all()
    half = np.array([[300.0, -300.0]], "float16")
    assert np.isfinite(bound("layer_norm", half, (2,), dtype="float16")).all()
    assert np.isinf(bound("layer_norm", half, (2,), dtype="float16", accumulate="float16")).all()
    weight = np.array([60000.0, 60000.0], "float16")
    assert np.isinf(bound("layer_norm", half, (2,), weight, weight, dtype="float16"))[0, 0]


def test_what_is_not_computed_is_exact():
    x, statistics = np.array([[1.0, 2.0]]), (np.array([0.1, 0.2]), np.array([0.3, 0.4]))
    limits = bound("batch_norm", x, *statistics, dtype="float64")
    assert (limits.output > 0).all()
    np.testing.assert_array_equal(limits.running_mean, [0, 0])
    np.testing.assert_array_equal(limits.running_var, [0, 0])
    limits = bound("batch_norm", x[:0], *statistics, training=True, dtype="float64")
    np.testing.assert_array_equal(limits.running_var, [0, 0])
    limits = bound("layer_norm_backward", x[:0], x[:0], (2,), x[0], x[0], dtype="float64")
    assert limits.input.shape == (0, 2)
    np.testing.assert_array_equal(limits[1:], np.zeros((2, 2)))
    limits = bound("layer_norm_backward", x, x, (2,), x[0], x[0], dtype="float64")
    np.testing.assert_array_equal(limits.bias, [0, 0])


def test_absent_results_have_no_bound():
    x = np.array([[1.0, 2.0]])
    limits = bound("batch_norm", np.array([[1.0], [2.0]]), None, None, training=True, dtype="float32")
    assert limits[1:] == (None, None)
    limits = bound("layer_norm_backward", x, x, (2,), x[0], dtype="float32", output_mask=(False, True, True))
    assert (limits.input, limits.bias) == (None, None)
    limits = bound("rms_norm_backward", x, x, (2,), x[0], dtype="float32", output_mask=(True, False))
    assert limits.weight is None
    x = x[..., np.newaxis]
    assert bound("local_response_norm_backward", x, x, 2, dtype="float32", output_mask=(False,)).input is None


# --- torch


TORCH_LAYERS = [
    ("batch_norm", (6, 3, 5), {"training": True}),
    ("batch_norm", (4, 3, 2, 3), {}),
    ("batch_norm", (40, 3), {"training": True, "momentum": 0.5}),
    ("instance_norm", (2, 3, 4, 5), {}),
    ("instance_norm", (2, 3, 7), {"use_input_stats": False}),
    ("group_norm", (2, 6, 3, 3), {"num_groups": 3}),
    ("group_norm", (1, 4), {"num_groups": 2}),
    ("layer_norm", (3, 4, 5), {"normalized_shape": (4, 5)}),
    ("layer_norm", (2, 100), {"normalized_shape": (100,)}),
    ("rms_norm", (3, 4, 5), {"normalized_shape": (5,)}),
    ("rms_norm", (2, 100), {"normalized_shape": (100,), "eps": 1e-3}),
    ("local_response_norm", (2, 7, 3), {"size": 4, "alpha": 0.5}),
    ("local_response_norm", (2, 5, 2, 3), {"size": 3, "k": 2.0, "beta": 0.5}),
]


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("mean", [0.0, 3.0, 50.0])
@pytest.mark.parametrize(("operation", "shape", "arguments"), TORCH_LAYERS)
def test_torch_stays_within(operation, shape, arguments, mean, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if operation == "local_response_norm" and dtype == "float16":
        pytest.skip("torch has no local_response_norm of float16 on a CPU")
    random = np.random.default_rng(1)
    g, x = (random.standard_normal(shape).astype(dtype) for _ in range(2))
    x = (x + mean).astype(dtype)
    arrays = torch_arrays(operation, shape, arguments, random, dtype)
    trained = [name for name in arrays if not name.startswith("running")]
    tensors = {name: torch.tensor(a, requires_grad=name in trained) for name, a in arrays.items()}
    data = torch.tensor(x, requires_grad=True)
    y = getattr(torch.nn.functional, operation)(data, **tensors, **arguments)
    y.backward(torch.tensor(g))
    got = [y.detach(), *(tensors[name] for name in arrays if name not in trained)]
    got += [data.grad, *(tensors[name].grad for name in trained)]
    # torch rounds the statistics to float16 between its passes.
    types = {"dtype": dtype, "accumulate": dtype}
    expected = [getattr(reference, operation)(x, **arrays, **arguments)]
    limits = [bound(operation, x, **arrays, **arguments, **types)]
    if isinstance(expected[0], tuple):
        expected, limits = list(expected[0]), list(limits[0])
    expected += getattr(reference, f"{operation}_backward")(g, x, **arrays, **arguments)
    limits += bound(f"{operation}_backward", g, x, **arrays, **arguments, **types)
    for ours, exact, limit in zip(got, expected, limits, strict=True):
        assert worst_ratio(ours.numpy().astype(np.float64), exact, limit) <= 1


def torch_arrays(operation, shape, arguments, random, dtype):
    arrays = {}
    if operation in ("batch_norm", "instance_norm"):
        arrays["running_mean"] = random.standard_normal(shape[1])
        arrays["running_var"] = 1 + random.random(shape[1])
    of_weight = arguments.get("normalized_shape", shape[1])
    if operation != "local_response_norm":
        arrays["weight"] = random.standard_normal(of_weight)
    if operation not in ("local_response_norm", "rms_norm"):
        arrays["bias"] = random.standard_normal(of_weight)
    return {name: a.astype(dtype) for name, a in arrays.items()}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("operation", "shape", "arguments"), [layer for layer in TORCH_LAYERS if layer[0] != "instance_norm"]
)
def test_torch_takes_an_empty_batch_too(operation, shape, arguments):
    """But for instance_norm with a weight, which raises an IndexError."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, arrays = np.zeros((0, *shape[1:])), torch_arrays(operation, shape, arguments, np.random.default_rng(), "float64")
    tensors = {name: torch.tensor(a) for name, a in arrays.items()}
    assert getattr(torch.nn.functional, operation)(torch.tensor(x), **tensors, **arguments).shape == x.shape
    result = getattr(reference, operation)(x, **arrays, **arguments)
    assert (result if isinstance(result, np.ndarray) else result.output).shape == x.shape


@pytest.mark.torch
@pytest.mark.parametrize("operation", sorted({layer[0] for layer in TORCH_LAYERS}))
def test_positional_arguments_are_torchs(operation):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = inspect.signature(getattr(torch.nn.functional, operation)).parameters
    ours = inspect.signature(getattr(reference, operation)).parameters.values()
    assert [(p.name, p.default) for p in ours if p.kind is not p.KEYWORD_ONLY] == [
        (p.name, p.default) for p in theirs.values()
    ]
