"""An epilogue gives, bit for bit, what the operations that it stands for give one after the other on exact values."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import clconv
from clconv import Epilogue
from clconv.devices import executor_for
from clconv.oracle import check
from clconv.oracle.operations import OPERATIONS as ORACLE
from clconv.plan import Traits
from tests.fences import fenced
from tests.finished import NAMES, finished
from tests.strategies import laid_out

ACTIVATIONS = {
    "relu": clconv.relu,
    "leaky_relu": functools.partial(clconv.leaky_relu, negative_slope=0.25),
    "sigmoid": clconv.sigmoid,
    "tanh": clconv.tanh,
    "silu": clconv.silu,
    "gelu": clconv.gelu,
    "gelu_tanh": functools.partial(clconv.gelu, approximate="tanh"),
    "hardswish": clconv.hardswish,
}
# Input, weight and output of an operation, and its other arguments: 20 output channels, which fill no block of vectors.
OPERATIONS = {
    "conv1d": ((2, 4, 9), (20, 2, 3), (2, 20, 9), {"padding": 1, "groups": 2}),
    "conv2d": ((2, 3, 6, 7), (20, 3, 3, 2), (2, 20, 3, 6), {"padding": (1, 0), "stride": (2, 1)}),
    "conv3d": ((1, 2, 3, 4, 5), (20, 2, 2, 2, 2), (1, 20, 2, 3, 4), {}),
    "conv_transpose2d": ((2, 3, 4, 5), (3, 20, 3, 3), (2, 20, 6, 7), {}),
}
# Input and output of an operation without weights, and its other arguments: all exact on integers.
WITHOUT_WEIGHTS = {
    "avg_pool1d": ((2, 3, 70), (2, 3, 35), {"kernel_size": 2}),
    "avg_pool2d": ((2, 3, 7, 20), (2, 3, 4, 10), {"kernel_size": 2, "ceil_mode": True, "count_include_pad": False}),
    "avg_pool3d": ((1, 2, 4, 4, 6), (1, 2, 2, 2, 3), {"kernel_size": 2}),
    "adaptive_avg_pool2d": ((2, 3, 8, 6), (2, 3, 2, 3), {"output_size": (2, 3)}),
    "max_pool1d": ((2, 3, 70), (2, 3, 35), {"kernel_size": 2}),
    "max_pool2d": ((2, 3, 7, 20), (2, 3, 4, 10), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "max_pool3d": ((1, 2, 4, 4, 6), (1, 2, 2, 2, 2), {"kernel_size": (2, 2, 3)}),
    "adaptive_max_pool2d": ((2, 3, 8, 7), (2, 3, 2, 3), {"output_size": (2, 3)}),
    "global_max_pool": ((2, 3, 4, 8), (2, 3, 1, 1), {}),
    "lp_pool1d": ((2, 3, 70), (2, 3, 35), {"norm_type": 1, "kernel_size": 2}),
    "lp_pool2d": ((2, 3, 7, 20), (2, 3, 4, 10), {"norm_type": 1, "kernel_size": 2, "ceil_mode": True}),
    "lp_pool3d": ((1, 2, 4, 4, 6), (1, 2, 2, 2, 3), {"norm_type": math.inf, "kernel_size": 2}),
    "global_avg_pool": ((2, 3, 4, 8), (2, 3, 1, 1), {}),
}
# Other arguments of normalisations that halve values of which half are 1 and half -1 in every row.
NORMALISATIONS = {
    "batch_norm": {"running_mean": None, "running_var": None, "training": True, "eps": 3.0},
    "instance_norm": {"eps": 3.0},
    "group_norm": {"num_groups": 2, "eps": 3.0},
    "layer_norm": {"normalized_shape": (512,), "eps": 3.0},
    "rms_norm": {"normalized_shape": (512,), "eps": 3.0},
    "local_response_norm": {"size": 3, "alpha": 0.0, "beta": 0.5, "k": 4.0},
}
HAVE_CHANNELS = [name for name in NORMALISATIONS if "normalized_shape" not in NORMALISATIONS[name]]
NEUTRAL = (("scale", 1.0), ("shift", 0.0))
PARTS = [("scale",), ("shift",), ("residual",), ("scale", "shift", "residual")]


def integers(random, shape, dtype="float32"):
    return random.integers(-2, 3, shape).astype(dtype)


def drawn_parts(random, parts, y_shape):
    """Draw the arrays of an epilogue, and return them beside what they make of a plain result."""
    channels = y_shape[1:2]
    given = {"scale": integers(random, channels), "shift": integers(random, channels)}
    given = {name: array for name, array in {**given, "residual": integers(random, y_shape)}.items() if name in parts}

    def finish(plain):
        column = (-1, *[1] * (len(y_shape) - 2))
        scale, shift = (given.get(name, np.full(channels, other)).reshape(column) for name, other in NEUTRAL)
        return (plain * scale + shift + given.get("residual", 0)).astype("float32")

    return given, finish


def results(operation, device, *arrays, **arguments):
    """Yield the results of the algorithm that the device's traits choose, and of the portable one, between fences."""
    executor = executor_for(device, arrays[0], arrays[0].dtype.name)
    own = executor.traits
    try:
        for executor.traits in dict.fromkeys((own, Traits())):
            with fenced(executor):
                yield getattr(clconv, operation)(*arrays, **arguments, device=device)
    finally:
        executor.traits = own


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("parts", PARTS)
def test_scale_shift_and_residual_are_what_numpy_makes_of_a_plain_convolution(device, operation, parts):
    random = np.random.default_rng(1)
    x_shape, w_shape, y_shape, arguments = OPERATIONS[operation]
    x, w, b = integers(random, x_shape), integers(random, w_shape), integers(random, (20,))
    given, finish = drawn_parts(random, parts, y_shape)
    expected = finish(getattr(clconv, operation)(x, w, b, **arguments, device=device))
    for got in results(operation, device, x, w, b, **arguments, epilogue=Epilogue(**given)):
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("operation", WITHOUT_WEIGHTS)
@pytest.mark.parametrize("parts", PARTS)
def test_scale_shift_and_residual_are_what_numpy_makes_of_any_plain_result(device, operation, parts):
    random = np.random.default_rng(6)
    x_shape, y_shape, arguments = WITHOUT_WEIGHTS[operation]
    x = 4 * integers(random, x_shape)
    given, finish = drawn_parts(random, parts, y_shape)
    expected = finish(getattr(clconv, operation)(x, **arguments, device=device))
    assert expected.shape == y_shape
    for got in results(operation, device, x, **arguments, epilogue=Epilogue(**given)):
        np.testing.assert_array_equal(got, expected, strict=True)


def signs(random, shape):
    """Draw 1 and -1 in turn along the last axis, the first of them at random."""
    turns = np.where(np.arange(shape[-1]) % 2, 1, -1)
    return (random.choice((-1, 1), (*shape[:-1], 1)) * turns).astype("float32")


@pytest.mark.parametrize("operation", NORMALISATIONS)
@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "reversed"])
def test_normalised_values_are_finished(device, operation, parts, layout):
    random = np.random.default_rng(9)
    x = laid_out(signs(random, (2, 4, 2, 512)), layout)
    given, finish = drawn_parts(random, parts if operation in HAVE_CHANNELS else ("residual",), x.shape)
    if "residual" in given:
        given["residual"] = laid_out(given["residual"], layout)
    for got in results(operation, device, x, **NORMALISATIONS[operation], epilogue=Epilogue(**given)):
        np.testing.assert_array_equal(got, finish(x / 2), strict=True)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("operation", ["batch_norm", "layer_norm", "local_response_norm"])
def test_normalised_values_are_activated_as_by_the_functions(device, dtype, activation, operation):
    random = np.random.default_rng(10)
    x = signs(random, (2, 4, 128)).astype(dtype)
    arguments = {**NORMALISATIONS[operation]}
    if operation not in HAVE_CHANNELS:
        arguments["normalized_shape"] = (128,)
    residual = integers(random, x.shape, dtype)
    expected = ACTIVATIONS[activation](x / 2 + residual, device=device)
    fused = Epilogue(residual=residual, activation=activation, negative_slope=0.25)
    for got in results(operation, device, x, **arguments, epilogue=fused):
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("operation", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("part", ["scale", "shift"])
def test_rows_without_channels_are_not_scaled(operation, part):
    x = np.ones((2, 3), "float32")
    with pytest.raises(ValueError, match=rf"epilogue.{part} takes one value for each output channel, but .* none"):
        getattr(clconv, operation)(x, (3,), epilogue=Epilogue(**{part: np.ones(3, "float32")}), device="native")


def test_running_statistics_are_those_of_the_values_before_the_epilogue(device):
    random = np.random.default_rng(11)
    x, residual = signs(random, (2, 4, 30)), integers(random, (2, 4, 30))
    mean, var = np.zeros(4, "float32"), np.zeros(4, "float32")
    fused = Epilogue(residual=residual, activation="relu")
    clconv.batch_norm(x, mean, var, training=True, momentum=1.0, epilogue=fused, device=device)
    np.testing.assert_array_equal(mean, np.zeros(4))
    np.testing.assert_allclose(var, np.full(4, 60 / 59), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("operation", WITHOUT_WEIGHTS)
def test_runs_are_activated_as_by_the_functions(device, dtype, activation, operation):
    random = np.random.default_rng(7)
    x_shape, y_shape, arguments = WITHOUT_WEIGHTS[operation]
    x, residual = integers(random, x_shape, dtype), integers(random, y_shape, dtype)
    before = getattr(clconv, operation)(x, **arguments, epilogue=Epilogue(residual=residual), device=device)
    expected = ACTIVATIONS[activation](before, device=device)
    fused = Epilogue(residual=residual, activation=activation, negative_slope=0.25)
    for got in results(operation, device, x, **arguments, epilogue=fused):
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("layout", ["channels_last", "reversed", "sliced", "broadcast", "misaligned"])
@pytest.mark.parametrize("operation", ["avg_pool2d", "max_pool2d", "lp_pool2d"])
def test_runs_take_residuals_in_any_layout(device, layout, operation):
    random = np.random.default_rng(8)
    x_shape, y_shape, arguments = WITHOUT_WEIGHTS[operation]
    x = 4 * integers(random, x_shape)
    shift, residual = laid_out(integers(random, (3,)), layout), laid_out(integers(random, y_shape), layout)
    expected = getattr(clconv, operation)(x, **arguments, device=device) + shift[:, None, None] + residual
    for got in results(operation, device, x, **arguments, epilogue=Epilogue(shift=shift, residual=residual)):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_those_of_the_functions(device, dtype, activation):
    random = np.random.default_rng(2)
    x, w = integers(random, (2, 3, 5), dtype), integers(random, (20, 3, 2), dtype)
    shift, residual = integers(random, (20,), dtype) / 4, integers(random, (2, 20, 4), dtype)
    before = clconv.conv1d(x, w, epilogue=Epilogue(shift=shift, residual=residual), device=device)
    expected = ACTIVATIONS[activation](before, device=device)
    fused = Epilogue(shift=shift, residual=residual, activation=activation, negative_slope=0.25)
    for got in results("conv1d", device, x, w, epilogue=fused):
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("layout", ["channels_last", "reversed", "sliced", "broadcast", "misaligned"])
def test_arrays_are_taken_in_any_layout(device, layout):
    random = np.random.default_rng(3)
    x, w = integers(random, (2, 3, 5, 4)), integers(random, (20, 3, 2, 2))
    scale = laid_out(integers(random, (20,)), layout)
    residual = laid_out(integers(random, (2, 20, 4, 3)), layout)
    expected = clconv.conv2d(x, w, device=device) * scale[:, None, None] + residual
    for got in results("conv2d", device, x, w, epilogue=Epilogue(scale=scale, residual=residual)):
        np.testing.assert_array_equal(got, expected)


def test_without_a_batch_axis_and_into_out(device):
    random = np.random.default_rng(4)
    x, w, residual = integers(random, (3, 5)), integers(random, (4, 3, 2)), integers(random, (4, 4))
    out = np.empty((4, 4), "float32")
    assert clconv.conv1d(x, w, epilogue=Epilogue(residual=residual), out=out, device=device) is out
    np.testing.assert_array_equal(out, clconv.conv1d(x, w, device=device) + residual)


def test_a_folded_batch_norm(device):
    random = np.random.default_rng(5)
    x, w = integers(random, (2, 3, 6)), integers(random, (4, 3, 3))
    mean, var = np.array([1, 2, 0, -1], "float32"), np.array([0.75, 3.75, 0.75, 15.75], "float32")
    scale = 1 / np.sqrt(var + np.float32(0.25))  # powers of two
    folded = Epilogue(scale=scale, shift=-mean * scale)
    apart = clconv.batch_norm(clconv.conv1d(x, w, device=device), mean, var, eps=0.25, device=device)
    np.testing.assert_array_equal(clconv.conv1d(x, w, epilogue=folded, device=device), apart)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"activation": "swish"}, ValueError, "activation takes one of 'relu', 'leaky_relu'"),
        ({"activation": 1}, TypeError, "activation takes one of"),
        ({"negative_slope": "0.1"}, TypeError, "negative_slope takes a number, not str"),
        ({"negative_slope": np.inf}, ValueError, "negative_slope must be finite: negative_slope=inf"),
        ({"scale": np.ones(3, "float32")}, ValueError, "epilogue.scale must have one value for each output channel"),
        (
            {"shift": np.ones((4, 1), "float32")},
            ValueError,
            "epilogue.shift must have one value for each output channel",
        ),
        ({"residual": np.ones((2, 4, 5), "float32")}, ValueError, "epilogue.residual must have the output's shape"),
        (
            {"shift": np.ones(4)},
            TypeError,
            "arrays must have one dtype: input.dtype=float32, epilogue.shift.dtype=float64",
        ),
        ({"scale": [1.0] * 4}, TypeError, "epilogue.scale takes a numpy.ndarray"),
    ],
)
def test_what_does_not_fit_is_refused(parts, error, message):
    x, w = np.ones((2, 3, 5), "float32"), np.ones((4, 3, 2), "float32")
    with pytest.raises(error, match=message):
        clconv.conv1d(x, w, epilogue=Epilogue(**parts))


def test_another_epilogue_and_an_out_that_is_the_residual_are_refused():
    x, w, residual = np.ones((2, 3, 5), "float32"), np.ones((4, 3, 2), "float32"), np.ones((2, 4, 4), "float32")
    with pytest.raises(TypeError, match=r"epilogue takes a clconv\.Epilogue, not str: epilogue='relu'"):
        clconv.conv1d(x, w, epilogue="relu")
    with pytest.raises(
        ValueError, match=r"out must not overlap an input, but it shares memory with epilogue\.residual"
    ):
        clconv.conv1d(x, w, epilogue=Epilogue(residual=residual), out=residual)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * ("pool1d" not in n)) for n in NAMES])
def test_epilogues_pass_before_the_oracle(device, name):
    report = check(finished(name, device), op=name, features=ORACLE[name].features, max_examples=10)
    assert report.passed, str(report)
    assert not report.not_tested
