"""The gradients of an epilogue are those that its parts have one after the other."""

from __future__ import annotations

import functools
import itertools
import re

import numpy as np
import pytest

import clconv
from clconv import Epilogue, epilogue_backward
from clconv.oracle import bounds, check, reference
from tests.calls import assert_exact, assert_within_bound, with_every_algorithm
from tests.strategies import laid_out

SHAPES = [(2, 3), (300, 5), (1, 1, 4100), (2, 3, 70), (2, 70, 3), (2, 3, 5, 7), (1, 600, 2, 2), (2, 3, 2, 3, 40)]
ACTIVATIONS = ["relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "hardswish"]
BY_OUTPUT = ["relu", "leaky_relu", "sigmoid", "tanh"]


def integers(random, shape, dtype="float32"):
    return random.integers(-2, 3, shape).astype(dtype)


def drawn(random, shape, dtype="float32", layout="contiguous", draw=integers):
    """Return a gradient, a value and the arrays of an epilogue."""
    g, value, residual = (laid_out(draw(random, shape, dtype), layout) for _ in range(3))
    return (
        g,
        value,
        {"scale": draw(random, shape[1], dtype), "shift": draw(random, shape[1], dtype), "residual": residual},
    )


def normal(random, shape, dtype):
    return random.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_all_gradients_are_exact_on_integers(device, record, shape, activation):
    g, value, parts = drawn(np.random.default_rng(1), shape)
    assert_exact("epilogue_backward", device, record, g, value, Epilogue(**parts, activation=activation))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_all_gradients_are_within_their_bounds(device, record, dtype, activation):
    for shape in ((3, 40, 2), (2, 3, 90)):
        g, value, parts = drawn(np.random.default_rng(2), shape, dtype, draw=normal)
        epilogue = Epilogue(**parts, activation=activation, negative_slope=0.3)
        assert_within_bound("epilogue_backward", device, record, g, value, epilogue)


@pytest.mark.parametrize("layout", ["channels_last", "reversed", "sliced", "broadcast", "misaligned", "big-endian"])
def test_arrays_are_taken_in_any_layout(device, record, layout):
    if layout == "big-endian":
        g, value, parts = drawn(np.random.default_rng(3), (2, 5, 4, 6), ">f4")
    else:
        g, value, parts = drawn(np.random.default_rng(3), (2, 5, 4, 6), layout=layout)
    expected = epilogue_backward(
        *(np.ascontiguousarray(a, "float32") for a in (g, value)),
        Epilogue(**{name: np.ascontiguousarray(a, "float32") for name, a in parts.items()}, activation="relu"),
        device=device,
    )
    epilogue = Epilogue(**parts, activation="relu")
    for got in with_every_algorithm("epilogue_backward", device, record, g, value, epilogue):
        for ours, exact in zip(got, expected, strict=True):
            np.testing.assert_array_equal(ours, exact, strict=True)


@pytest.mark.parametrize("mask", [*itertools.product((False, True), repeat=4)], ids=str)
def test_what_is_masked_or_absent_is_none(device, record, mask):
    g, value, parts = drawn(np.random.default_rng(4), (2, 3, 20))
    assert_exact("epilogue_backward", device, record, g, value, Epilogue(**parts, activation="relu"), output_mask=mask)
    for name in parts:
        epilogue = Epilogue(**{name: parts[name]}, activation="relu")
        assert_exact("epilogue_backward", device, record, g, value, epilogue, output_mask=mask)


@pytest.mark.parametrize("activation", BY_OUTPUT)
@pytest.mark.parametrize("shape", [(2, 3, 70), (20, 70)], ids=str)
def test_the_output_is_enough_where_the_slope_follows_from_it(device, record, activation, shape):
    g, value, parts = drawn(np.random.default_rng(5), shape, draw=normal)
    plain = {**parts, "activation": activation, "negative_slope": 0.25}
    output = reference.epilogue(*(a.astype("float64") for a in (value,)), **plain).astype("float32")
    mask = (True, False, True, True)
    arguments = {**plain, "output": output, "output_mask": mask}
    expected = reference.epilogue_backward(g, None, **arguments)
    limits = bounds.bound("epilogue_backward", g, None, dtype="float32", **arguments)
    epilogue = Epilogue(**plain)
    calls = with_every_algorithm(
        "epilogue_backward", device, record, g, None, epilogue, output=output, output_mask=mask
    )
    for got in calls:
        assert got.scale is None
        for ours, exact, limit in zip(got, expected, limits, strict=True):
            assert exact is None or bounds.worst_ratio(ours, exact, limit) <= 1


def test_it_is_the_gradient_of_a_convolution_with_an_epilogue(device):
    random = np.random.default_rng(6)
    x, w = integers(random, (2, 3, 8)), integers(random, (4, 3, 3))
    epilogue = Epilogue(shift=integers(random, 4), residual=integers(random, (2, 4, 6)), activation="relu")
    g = integers(random, (2, 4, 6))
    y = clconv.conv1d(x, w, epilogue=epilogue, device=device)
    inner = epilogue_backward(g, None, epilogue, output=y, device=device)
    dz = np.where(y > 0, g, 0)
    np.testing.assert_array_equal(inner.residual, dz)
    apart = clconv.conv1d_backward(dz, x, w, epilogue.shift, device=device)
    np.testing.assert_array_equal(inner.shift, apart.bias)
    np.testing.assert_array_equal(clconv.conv1d_backward(inner.value, x, w, device=device).weight, apart.weight)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_and_infinity_are_those_of_the_activations_gradient(device, activation):
    name, options = {"gelu_tanh": ("gelu", {"approximate": "tanh"})}.get(activation, (activation, {}))
    special = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1, -5], "float32")
    g, value = (a.reshape(1, 1, -1).copy() for a in np.meshgrid(special, special))
    expected = getattr(clconv, f"{name}_backward")(g, value, **options, device=device).input
    got = epilogue_backward(g, value, Epilogue(activation=activation), device=device).value
    np.testing.assert_array_equal(got, expected)


def test_results_do_not_depend_on_the_number_of_threads():
    g, value, parts = drawn(np.random.default_rng(7), (4, 30, 100, 101), draw=normal)
    before = clconv.get_num_threads()
    results = []
    try:
        for count in (1, 2, 5):
            clconv.set_num_threads(count)
            results.append(epilogue_backward(g, value, Epilogue(**parts, activation="gelu"), device="native"))
    finally:
        clconv.set_num_threads(before)
    for other in results[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)], ids=str)
def test_nothing_adds_up_to_zero(device, shape):
    g, value, parts = drawn(np.random.default_rng(8), shape)
    got = epilogue_backward(g, value, Epilogue(**parts, activation="relu"), device=device)
    assert got.value.shape == got.residual.shape == shape
    np.testing.assert_array_equal(got.scale, np.zeros(shape[1]))
    np.testing.assert_array_equal(got.shift, np.zeros(shape[1]))


G, V = np.ones((2, 3, 4), "float32"), np.ones((2, 3, 4), "float32")
THREE = np.ones(3, "float32")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: epilogue_backward(G, V, None), TypeError, "epilogue takes a clconv.Epilogue, not NoneType"),
        (
            lambda: epilogue_backward(G, None, Epilogue()),
            ValueError,
            "takes value, or output with value=None, but neither",
        ),
        (lambda: epilogue_backward(G, V, Epilogue(), output=V), ValueError, "but both of them is given"),
        (
            lambda: epilogue_backward(G[0], V, Epilogue()),
            ValueError,
            "grad_output must have the shape of value (2, 3, 4)",
        ),
        (lambda: epilogue_backward(G[0, 0], V[0, 0], Epilogue()), ValueError, "value takes 2 to 5 axes"),
        (
            lambda: epilogue_backward(G, V, Epilogue(THREE[:2])),
            ValueError,
            "epilogue.scale must have one value for each",
        ),
        (
            lambda: epilogue_backward(G, V, Epilogue(residual=G[:1])),
            ValueError,
            "epilogue.residual must have the output's",
        ),
        (lambda: epilogue_backward(G, V.astype("f8"), Epilogue()), TypeError, "arrays must have one dtype"),
        (lambda: epilogue_backward(G, [1.0], Epilogue()), TypeError, "value takes a numpy.ndarray"),
        (
            lambda: epilogue_backward(G, V, Epilogue(), output_mask=(True,)),
            ValueError,
            "output_mask takes one bool for each",
        ),
        (
            lambda: epilogue_backward(G, None, Epilogue(THREE), output=V),
            ValueError,
            "the gradient of epilogue.scale takes value, not output",
        ),
        (
            lambda: epilogue_backward(G, None, Epilogue(activation="gelu"), output=V),
            ValueError,
            "the derivative of gelu does not follow from output: pass value",
        ),
        (
            lambda: epilogue_backward(G, None, Epilogue(activation="leaky_relu", negative_slope=-0.5), output=V),
            ValueError,
            "the derivative of leaky_relu with negative_slope=-0.5 does not follow from output",
        ),
    ],
)
def test_refusals(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()


def of_parts(grad_output, value, *, output_mask=None, device, **parts):
    """The gradients, as the oracle calls them."""
    return epilogue_backward(grad_output, value, Epilogue(**parts), output_mask=output_mask, device=device)


def test_it_passes_before_the_oracle(device):
    implementation = functools.partial(of_parts, device=device)
    report = check(implementation, op="epilogue_backward", features=["output_mask"], max_examples=20)
    assert report.passed, str(report)
    assert not report.not_tested
