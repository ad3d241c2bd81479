"""Normalisation against exact rational arithmetic, literal numbers, and its own refusals.

Rows hold a power of two of small integers, and eps makes variance + eps the square of a power of two: then the
reference's every step is exact, and the comparison is by equality. Local response normalisation is exact with a
negative integer for beta, which makes it a polynomial.
"""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clconv.oracle import reference

TRIES = settings(max_examples=40, deadline=None)
F = Fraction


# --- the definitions, element by element


def root(value):
    numerator, denominator = math.isqrt(value.numerator), math.isqrt(value.denominator)
    assert F(numerator, denominator) ** 2 == value, "the test's data must have rational roots"
    return F(numerator, denominator)


class Layer:
    """An operation with its arrays as dictionaries of fractions, by index."""

    def __init__(self, operation, x, groups=1, axes=1):
        self.operation, self.x = operation, x
        self.groups, self.axes = groups, axes

    def row(self, i):
        """What elements must agree in to be normalised together."""
        by_operation = {
            "batch_norm": lambda: i[1],
            "instance_norm": lambda: i[:2],
            "group_norm": lambda: (i[0], i[1] // (self.x.shape[1] // self.groups)),
        }
        return by_operation.get(self.operation, lambda: i[: self.x.ndim - self.axes])()

    def weight(self, i):
        """Index of the weight of an element."""
        is_per_channel = self.operation in ("batch_norm", "instance_norm", "group_norm")
        return (i[1],) if is_per_channel else i[self.x.ndim - self.axes :]

    def rows(self):
        found = {}
        for i in np.ndindex(self.x.shape):
            found.setdefault(self.row(i), []).append(i)
        return found

    def moments(self, members):
        values = [F(self.x[i]) for i in members]
        mean = F(0) if self.operation == "rms_norm" else sum(values) / len(values)
        return mean, sum((v - mean) ** 2 for v in values) / len(values)


def outputs(layer, w, b, eps, statistics=None):
    """y, by the definition; `statistics` are those of evaluation, by channel."""
    y = np.empty(layer.x.shape)
    for members in layer.rows().values():
        for i in members:
            mean, variance = statistics[i[1]] if statistics else layer.moments(members)
            k = layer.weight(i)
            y[i] = float((F(layer.x[i]) - mean) / root(variance + F(eps)) * F(w[k]) + F(b[k]))
    return y


def gradients(layer, g, w, eps, statistics=None):
    """dx, dw and db by the chain rule, every derivative for itself."""
    dx, dw, db = np.empty(layer.x.shape), np.zeros(w.shape), np.zeros(w.shape)
    for members in layer.rows().values():
        mean, variance = layer.moments(members)
        n, centred = len(members), layer.operation != "rms_norm"
        for j in members:
            if statistics:
                mean, variance = statistics[j[1]]
            r, total = 1 / root(variance + F(eps)), F(0)
            own_mean = F(1, n) if centred and not statistics else F(0)
            deltas = {i: (1 if i == j else 0) - own_mean for i in members}
            own_variance = sum(2 * (F(layer.x[i]) - mean) * deltas[i] for i in members) / n
            own_root = F(0) if statistics else -(r**3) * own_variance / 2
            for i in members:
                slope = deltas[i] * r + (F(layer.x[i]) - mean) * own_root
                total += F(g[i]) * F(w[layer.weight(i)]) * slope
            dx[j] = float(total)
            k = layer.weight(j)
            dw[k] += float(F(g[j]) * (F(layer.x[j]) - mean) * r)
            db[k] += float(F(g[j]))
    return dx, dw, db


# --- data


@st.composite
def layers(draw, operations=("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm")):
    """A layer whose rows have one variance v in common, and an eps such that v + eps is 4, 16, 64, ..."""
    operation = draw(st.sampled_from(operations))
    powers = st.sampled_from((1, 2, 4))
    shape = [draw(powers), draw(powers), *draw(st.lists(powers, min_size=1, max_size=2))]
    if operation == "instance_norm" or math.prod(shape) // shape[1] == 1:
        shape[2] = 4
    layer = Layer(operation, np.zeros(shape), draw(st.sampled_from([g for g in (1, 2, 4) if shape[1] % g == 0])))
    layer.axes = draw(st.integers(1, len(shape)))
    if operation == "group_norm" and shape[1] == layer.groups:
        shape[-1] = 2
        layer.x = np.zeros(shape)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = list(layer.rows().values())
    values = random.integers(-9, 10, len(rows[0]))
    shift = draw(st.sampled_from((0, 5, 2**20))) if operation != "rms_norm" else 0
    for members in rows:
        signed = random.choice((-1, 1)) * random.permutation(values) + random.integers(-shift, shift + 1)
        for i, value in zip(members, signed, strict=True):
            layer.x[i] = value
    variance = layer.moments(rows[0])[1]
    target = 4
    while target <= variance:
        target *= 4
    channels = (
        (shape[1],) if operation in ("batch_norm", "instance_norm", "group_norm") else tuple(shape[-layer.axes :])
    )
    w, b = (random.integers(-5, 6, channels).astype(float) for _ in range(2))
    return layer, w, b, float(target - variance), random.integers(-5, 6, shape).astype(float)


def called(layer, w, b, eps, grad_output=None):
    """The reference's results for a layer; those of the forward pass without running statistics."""
    arguments = {
        "batch_norm": {"running_mean": None, "running_var": None, "training": True},
        "group_norm": {"num_groups": layer.groups},
        "layer_norm": {"normalized_shape": layer.x.shape[layer.x.ndim - layer.axes :]},
        "rms_norm": {"normalized_shape": layer.x.shape[layer.x.ndim - layer.axes :]},
    }.get(layer.operation, {})
    arguments |= {"weight": w, "eps": eps}
    if layer.operation != "rms_norm":
        arguments["bias"] = b
    if grad_output is None:
        result = getattr(reference, layer.operation)(layer.x, **arguments)
        return result if isinstance(result, np.ndarray) else result.output
    return getattr(reference, f"{layer.operation}_backward")(grad_output, layer.x, **arguments)


# --- values and gradients


@TRIES
@given(layers())
def test_values_are_exact(drawn):
    layer, w, b, eps, _ = drawn
    b = np.zeros(b.shape) if layer.operation == "rms_norm" else b
    np.testing.assert_array_equal(called(layer, w, b, eps), outputs(layer, w, b, eps))


@TRIES
@given(layers())
def test_gradients_are_exact(drawn):
    layer, w, b, eps, g = drawn
    for ours, exact in zip(called(layer, w, b, eps, g), gradients(layer, g, w, eps), strict=False):
        np.testing.assert_array_equal(ours, exact)


@TRIES
@given(layers(("batch_norm", "instance_norm")), st.sampled_from((0.25, 1.0, 3.0)))
def test_evaluation_takes_statistics_for_constants(drawn, eps):
    layer, w, b, _, g = drawn
    channels = layer.x.shape[1]
    mean = np.arange(channels) - 1.5
    var = 4.0 ** (1 + np.arange(channels)) - eps
    statistics = [(F(m), F(v)) for m, v in zip(mean, var, strict=True)]
    given_statistics = {"running_mean": mean, "running_var": var, "weight": w, "bias": b, "eps": eps}
    if layer.operation == "instance_norm":
        given_statistics["use_input_stats"] = False
    result = getattr(reference, layer.operation)(layer.x, **given_statistics)
    np.testing.assert_array_equal(result.output, outputs(layer, w, b, eps, statistics))
    np.testing.assert_array_equal(result.running_mean, mean)
    np.testing.assert_array_equal(result.running_var, var)
    found = getattr(reference, f"{layer.operation}_backward")(g, layer.x, **given_statistics)
    for ours, exact in zip(found, gradients(layer, g, w, eps, statistics), strict=True):
        np.testing.assert_array_equal(ours, exact)


def test_absent_weight_and_bias_are_one_and_zero():
    x, one, zero = np.array([[[5.0, 7.0], [1.0, 3.0]]]), np.ones(2), np.zeros(2)
    for operation, arguments in (
        ("batch_norm", {"running_mean": None, "running_var": None, "training": True}),
        ("instance_norm", {}),
        ("group_norm", {"num_groups": 2}),
        ("layer_norm", {"normalized_shape": (2,)}),
    ):
        forward, backward = getattr(reference, operation), getattr(reference, f"{operation}_backward")
        bare, full = forward(x, **arguments), forward(x, **arguments, weight=one, bias=zero)
        np.testing.assert_array_equal(bare[0], full[0])
        bare, full = backward(x, x, **arguments), backward(x, x, **arguments, weight=one, bias=zero)
        np.testing.assert_array_equal(bare.input, full.input)
        assert bare.weight is None
        assert bare.bias is None


# --- running statistics


RUNNING = {"running_mean": np.array([2.0, -4.0]), "running_var": np.array([8.0, 1.0])}


def test_running_statistics_are_stored_unbiased_by_momentum():
    x = np.array([[[5.0, 7.0], [1.0, 3.0]], [[5.0, 7.0], [1.0, 3.0]]])  # means 6 and 2, variances 1, n = 4
    result = reference.batch_norm(x, **RUNNING, training=True, momentum=0.25)
    np.testing.assert_array_equal(result.running_mean, [0.75 * 2 + 0.25 * 6, 0.75 * -4 + 0.25 * 2])
    np.testing.assert_array_equal(result.running_var, [0.75 * 8 + 0.25 * (4 / 3), 0.75 + 0.25 * (4 / 3)])


def test_onnx_keeps_by_momentum_and_stores_biased():
    x = np.array([[[5.0, 7.0], [1.0, 3.0]]])
    result = reference.batch_norm(x, **RUNNING, training=True, momentum=0.25, semantics="onnx")
    np.testing.assert_array_equal(result.running_mean, [0.25 * 2 + 0.75 * 6, 0.25 * -4 + 0.75 * 2])
    np.testing.assert_array_equal(result.running_var, [0.25 * 8 + 0.75, 0.25 + 0.75])


@pytest.mark.parametrize(("semantics", "var"), [("onnx", [6.0, 0.75]), ("tf", [2.0, 0.25])])
def test_one_value_per_channel_has_no_variance(semantics, var):
    result = reference.batch_norm(
        np.array([[3.0, 4.0]]), **RUNNING, bias=np.array([5.0, 6.0]), training=True, momentum=0.75, semantics=semantics
    )
    np.testing.assert_array_equal(result.output, [[5.0, 6.0]])
    np.testing.assert_array_equal(result.running_var, var)


def test_running_statistics_of_instances_are_averages():
    x = np.array([[[5.0, 7.0], [1.0, 3.0]], [[0.0, 4.0], [9.0, 9.0]]])  # means 6 2, 2 9; unbiased 2 2, 8 0
    result = reference.instance_norm(x, **RUNNING, momentum=0.5)
    np.testing.assert_array_equal(result.running_mean, [0.5 * 2 + 0.5 * 4, 0.5 * -4 + 0.5 * 5.5])
    np.testing.assert_array_equal(result.running_var, [0.5 * 8 + 0.5 * 5, 0.5 * 1 + 0.5 * 1])


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 2, 0), (0, 2)])
@pytest.mark.parametrize("operation", ["batch_norm", "instance_norm"])
def test_an_empty_batch_changes_no_running_statistics(operation, shape):
    if operation == "instance_norm" and len(shape) == 2:
        return
    training = {"training": True} if operation == "batch_norm" else {}
    result = getattr(reference, operation)(np.zeros(shape), **RUNNING, **training)
    assert result.output.shape == shape
    np.testing.assert_array_equal(result.running_mean, RUNNING["running_mean"])
    np.testing.assert_array_equal(result.running_var, RUNNING["running_var"])


def test_arguments_are_not_changed():
    arrays = {name: array.copy() for name, array in RUNNING.items()}
    x = np.array([[[5.0, 7.0], [1.0, 3.0]]])
    reference.batch_norm(x, **arrays, training=True)
    reference.batch_norm_backward(x, x, **arrays, training=True)
    result = reference.batch_norm(x, **arrays)
    result.running_mean[:] = 99
    for name, array in RUNNING.items():
        np.testing.assert_array_equal(arrays[name], array)


# --- edges


@pytest.mark.parametrize(
    ("operation", "shape", "arguments"),
    [
        ("batch_norm", (0, 3, 2), {"running_mean": None, "running_var": None, "training": True}),
        ("batch_norm", (0, 3), {"running_mean": np.ones(3), "running_var": np.ones(3)}),
        ("batch_norm", (2, 3, 0), {"running_mean": None, "running_var": None, "training": True}),
        ("instance_norm", (0, 3, 2), {}),
        ("instance_norm", (2, 3, 0), {}),
        ("group_norm", (0, 3, 2), {"num_groups": 3}),
        ("group_norm", (2, 3, 0), {"num_groups": 1}),
        ("layer_norm", (0, 3), {"normalized_shape": (3,)}),
        ("rms_norm", (0, 3), {"normalized_shape": (3,)}),
    ],
)
def test_nothing_has_zero_gradients(operation, shape, arguments):
    arrays = {"weight": np.ones(3), "bias": np.ones(3)}
    if operation == "rms_norm":
        del arrays["bias"]
    result = getattr(reference, operation)(np.zeros(shape), **arguments, **arrays)
    assert (result if isinstance(result, np.ndarray) else result.output).shape == shape
    found = getattr(reference, f"{operation}_backward")(np.zeros(shape), np.zeros(shape), **arguments, **arrays)
    assert found[0].shape == shape
    for gradient in found[1:]:
        np.testing.assert_array_equal(gradient, np.zeros(3))


def test_no_channels():
    x = np.zeros((2, 0, 3))
    assert reference.batch_norm(x, None, None, training=True).output.shape == x.shape
    assert reference.instance_norm(x).output.shape == x.shape
    assert reference.group_norm(x, 2).shape == x.shape
    assert reference.local_response_norm(x, 2).shape == x.shape


@pytest.mark.parametrize("mean", [1e4, 1e8, -(2.0**40)])
def test_large_means_cost_no_digits(mean):
    values = np.random.default_rng(0).integers(-50, 51, (4, 3, 100)).astype(float)
    near, far = (reference.batch_norm(x, None, None, training=True).output for x in (values, values + mean))
    # Deviations up to 101 that are off by 104 u, over a sigma above 20, and |y| < 5 off by 112 u: 1100 u on each side.
    np.testing.assert_allclose(near, far, rtol=0, atol=2 * 1100 * 2.0**-53)


def test_constant_rows_are_zero():
    x = np.full((3, 2, 5), 1e8 + 1)
    np.testing.assert_array_equal(reference.batch_norm(x, None, None, training=True).output, np.zeros(x.shape))
    np.testing.assert_array_equal(reference.layer_norm(x, (2, 5)), np.zeros(x.shape))


def test_nan_and_infinity_stay_in_their_row():
    x = np.arange(12.0).reshape(2, 3, 2)
    x[0, 0, 0], x[1, 1, 1] = np.nan, np.inf
    wrong = np.isnan(reference.instance_norm(x).output)
    assert wrong.all(axis=2).tolist() == wrong.any(axis=2).tolist() == [[True, False, False], [False, True, False]]


def test_an_infinite_value_makes_the_running_mean_infinite():
    result = reference.batch_norm(np.array([[1.0], [np.inf]]), np.zeros(1), np.ones(1), training=True)
    assert np.isposinf(result.running_mean).all()
    assert np.isnan(result.running_var).all()


def test_masked_gradients_are_none():
    x, w = np.array([[5.0, 7.0]]), np.ones(2)
    found = reference.layer_norm_backward(x, x, (2,), w, w, output_mask=(False, True, False))
    assert (found.input, found.bias) == (None, None)
    assert found.weight is not None
    found = reference.rms_norm_backward(x, x, (2,), w, output_mask=(True, False))
    assert found.weight is None
    assert reference.local_response_norm_backward(x[..., None], x[..., None], 1, output_mask=(False,)).input is None


@pytest.mark.parametrize(("dtype", "eps"), [("float16", 2.0**-23), ("float32", 2.0**-23), ("float64", 2.0**-52)])
def test_rms_norm_takes_the_epsilon_of_the_type(dtype, eps):
    x = np.array([[1e-4, -1e-4]], dtype)
    np.testing.assert_array_equal(reference.rms_norm(x, (2,)), reference.rms_norm(x, (2,), eps=eps))


# --- local response normalisation


@st.composite
def responses(draw):
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 6)), draw(st.integers(1, 3)))
    size = draw(st.sampled_from((1, 2, 3, 4, 5, 9)))
    arguments = {"size": size, "alpha": float(size * draw(st.integers(-2, 3))), "k": float(draw(st.integers(0, 3)))}
    arguments["beta"] = float(draw(st.sampled_from((-1, -2))))
    semantics = draw(st.sampled_from(("torch", "onnx")))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random.integers(-4, 5, shape).astype(float), random.integers(-4, 5, shape), arguments, semantics


def window(c, size, semantics, channels):
    low, high = (size // 2, (size - 1) // 2) if semantics == "torch" else ((size - 1) // 2, size // 2)
    return [i for i in range(c - low, c + high + 1) if 0 <= i < channels]


@TRIES
@given(responses())
def test_local_response_norm_is_exact(drawn):
    x, g, arguments, semantics = drawn
    size, alpha, beta, k = (arguments[name] for name in ("size", "alpha", "beta", "k"))
    y, dx, power = np.empty(x.shape), np.zeros(x.shape), int(-beta)
    for n, c, p in np.ndindex(x.shape):
        around = window(c, size, semantics, x.shape[1])
        base = k + alpha / size * sum(x[n, i, p] ** 2 for i in around)
        y[n, c, p] = x[n, c, p] * base**power
        dx[n, c, p] += g[n, c, p] * base**power
        for i in around:
            through = power * base ** (power - 1) * alpha / size * 2 * x[n, i, p]
            dx[n, i, p] += g[n, c, p] * x[n, c, p] * through
    np.testing.assert_array_equal(reference.local_response_norm(x, **arguments, semantics=semantics), y)
    found = reference.local_response_norm_backward(g, x, **arguments, semantics=semantics)
    np.testing.assert_array_equal(found.input, dx)


def test_a_window_wider_than_the_channels_is_whole():
    x = np.array([[[1.0], [2.0]]])
    arguments = {"alpha": 1e9, "beta": -1.0, "k": 0.0}
    np.testing.assert_array_equal(reference.local_response_norm(x, 10**9, **arguments).ravel(), [5.0, 10.0])


# --- refusals


X = np.ones((2, 4, 3))
V = np.ones(4)
NONE = {"running_mean": None, "running_var": None}

REFUSALS = [
    ("batch_norm", (X, None, None), {}, ValueError, "training=False needs running_mean and running_var, got None"),
    ("batch_norm", (X, V, None), {}, ValueError, "given together, got running_var=None"),
    ("batch_norm", (X, None, V), {"training": True}, ValueError, "given together, got running_mean=None"),
    ("batch_norm", (X, V[:3], V), {}, ValueError, "running_mean must have shape (4,), got running_mean.shape=(3,)"),
    ("batch_norm", (X, V, V), {"weight": V[:2]}, ValueError, "weight must have shape (4,), got weight.shape=(2,)"),
    ("batch_norm", (X, V, V), {"bias": X}, ValueError, "bias must have shape (4,), got bias.shape=(2, 4, 3)"),
    ("batch_norm", (V, V, V), {}, ValueError, "input must have at least 2 axes, got input.shape=(4,)"),
    ("batch_norm", (X[:1, :, :1], V, V), {"training": True}, ValueError, "more than one value per channel"),
    ("batch_norm", (X[:1, :, 0], None, None), {"training": True}, ValueError, "got input.shape=(1, 4)"),
    ("batch_norm", (X, V, V), {"eps": -1.0}, ValueError, "eps must not be negative, got eps=-1.0"),
    ("batch_norm", (X, V, V), {"eps": 0.0, "training": True}, ValueError, "training needs a positive eps, got eps=0.0"),
    ("batch_norm", (X, V, V), {"eps": None}, TypeError, "eps must be a real number, got eps=None"),
    ("batch_norm", (X, V, V), {"momentum": None}, TypeError, "momentum must be a real number, got momentum=None"),
    ("batch_norm", (X, V, V), {"momentum": math.inf}, ValueError, "momentum must be finite, got momentum=inf"),
    ("batch_norm", (X, V, V), {"training": 1}, TypeError, "training must be True or False, got training=1"),
    ("batch_norm", (X, V, V), {"semantics": "scipy"}, ValueError, "semantics must be 'torch', 'onnx' or 'tf'"),
    ("batch_norm", (X, V, V), {"semantics": 1}, TypeError, "semantics must be a string, got semantics=1"),
    ("batch_norm", (X.tolist(), V, V), {}, TypeError, "input must be a plain NumPy array, got list"),
    ("batch_norm_backward", (X[:1], X, V, V), {}, ValueError, "grad_output must have the output's shape (2, 4, 3)"),
    ("batch_norm_backward", (X, X, V, V), {"output_mask": (True,)}, ValueError, "output_mask takes one bool for each"),
    ("instance_norm", (X[:, :, :1],), {}, ValueError, "more than one pixel per channel, got input.shape=(2, 4, 1)"),
    ("instance_norm", (X[:, :, 0],), {}, ValueError, "more than one pixel per channel, got input.shape=(2, 4)"),
    ("instance_norm", (X,), {"use_input_stats": False}, ValueError, "use_input_stats=False needs running_mean"),
    ("instance_norm", (X, V), {}, ValueError, "given together, got running_var=None"),
    ("instance_norm", (X[0],), {"use_input_stats": 0}, TypeError, "use_input_stats must be True or False"),
    ("group_norm", (X, 3), {}, ValueError, "num_groups=3 must divide the 4 channels of input: input.shape=(2, 4, 3)"),
    ("group_norm", (X, 0), {}, ValueError, "num_groups must be at least 1 in every axis, got num_groups=0"),
    ("group_norm", (X, 2.0), {}, TypeError, "num_groups must be an integer or a tuple of integers"),
    ("group_norm", (X[:1, :, 0], 4), {}, ValueError, "more than one value, got input.shape=(1, 4), num_groups=4"),
    ("group_norm", (V, 2), {}, ValueError, "input must have at least 2 axes, got input.shape=(4,)"),
    ("group_norm", (X, 2, V[:2]), {}, ValueError, "weight must have shape (4,), got weight.shape=(2,)"),
    ("layer_norm", (X, 3), {}, TypeError, "normalized_shape must be a tuple of integers, got normalized_shape=3"),
    ("layer_norm", (X, ()), {}, ValueError, "normalized_shape must name at least one axis, got normalized_shape=()"),
    ("layer_norm", (X, (4,)), {}, ValueError, "input must end in the axes normalized_shape=(4,)"),
    ("layer_norm", (X, (1, 2, 4, 3)), {}, ValueError, "normalized_shape=(1, 2, 4, 3), got input.shape=(2, 4, 3)"),
    ("layer_norm", (X, (4, 3), X[0].T), {}, ValueError, "weight must have shape (4, 3), got weight.shape=(3, 4)"),
    ("rms_norm", (X, (2, 3)), {}, ValueError, "input must end in the axes normalized_shape=(2, 3)"),
    ("rms_norm", (X, (3,)), {"eps": -1e-9}, ValueError, "eps must not be negative, got eps=-1e-09"),
    (
        "rms_norm_backward",
        (X, X, (3,)),
        {"output_mask": (True,) * 3},
        ValueError,
        "one bool for each of ('input', 'wei",
    ),
    ("local_response_norm", (X, 0), {}, ValueError, "size must be at least 1 in every axis, got size=0"),
    ("local_response_norm", (X[0], 2), {}, ValueError, "input must have at least 3 axes, got input.shape=(4, 3)"),
    ("local_response_norm", (X, 2), {"beta": "1"}, TypeError, "beta must be a real number, got beta='1'"),
    ("local_response_norm", (X, 2), {"k": math.nan}, ValueError, "k must be finite, got k=nan"),
    ("local_response_norm", (X, 2), {"semantics": "tf"}, ValueError, "semantics must be 'torch' or 'onnx'"),
    ("local_response_norm_backward", (X[0], X, 2), {}, ValueError, "grad_output must have the output's shape"),
]


@pytest.mark.parametrize(("operation", "arguments", "keywords", "error", "text"), REFUSALS)
def test_wrong_calls_are_refused(operation, arguments, keywords, error, text):
    with pytest.raises(error, match=re.escape(text)):
        getattr(reference, operation)(*arguments, **keywords)
