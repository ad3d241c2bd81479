"""Convolutions and transposed convolutions, forward and backward, on every device, judged by the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import clconv
from tests.calls import arrays_of, assert_exact, assert_within_bound, integers, reals
from tests.strategies import convolutions

EXAMPLES = settings(max_examples=settings().max_examples * 3 // 2)
BOTH = pytest.mark.parametrize("transposed", [False, True], ids=["plain", "transposed"])


@BOTH
@EXAMPLES
@given(data=st.data())
def test_forward_is_exact_on_integers(device, record, transposed, data):
    case = data.draw(convolutions(transposed))
    x, w, bias, _ = arrays_of(case, integers)
    assert_exact(case.operation, device, record, x, w, bias, **case.arguments)


@BOTH
@EXAMPLES
@given(data=st.data())
def test_gradients_are_exact_on_integers(device, record, transposed, data):
    case = data.draw(convolutions(transposed))
    x, w, bias, dy = arrays_of(case, integers)
    assert_exact(f"{case.operation}_backward", device, record, dy, x, w, bias, **case.arguments)


@BOTH
@EXAMPLES
@given(data=st.data())
def test_forward_stays_within_the_bound_on_reals(device, record, transposed, data):
    case = data.draw(convolutions(transposed))
    x, w, bias, _ = arrays_of(case, reals)
    assert_within_bound(case.operation, device, record, x, w, bias, **case.arguments)


@BOTH
@EXAMPLES
@given(data=st.data())
def test_gradients_stay_within_the_bound_on_reals(device, record, transposed, data):
    case = data.draw(convolutions(transposed))
    x, w, bias, dy = arrays_of(case, reals)
    assert_within_bound(f"{case.operation}_backward", device, record, dy, x, w, bias, **case.arguments)


@BOTH
@EXAMPLES
@given(data=st.data())
def test_gradients_are_adjoint(device, record, transposed, data):
    """<conv(x, w), g> = <x, dx(g, w)> = <w, dw(x, g)>, exactly, on integers in float64."""
    case = data.draw(convolutions(transposed))
    random = np.random.default_rng(case.seed)
    x, w, g = (
        random.integers(-9, 9, s).astype("float64") for s in (case.input_shape, case.weight_shape, case.output_shape)
    )
    forward, backward = getattr(clconv, case.operation), getattr(clconv, f"{case.operation}_backward")
    gradients = backward(g, x, w, np.zeros(case.output_channels), **case.arguments, device=device)
    product = np.vdot(forward(x, w, **case.arguments, device=device), g)
    assert product == np.vdot(x, gradients.input) == np.vdot(w, gradients.weight)
    axes = tuple(axis for axis in range(g.ndim) if axis != g.ndim - len(case.axes) - 1)
    np.testing.assert_array_equal(gradients.bias, g.sum(axes))
    record.cases[device] += 1


@EXAMPLES
@given(data=st.data())
def test_convolution_is_translation_equivariant(device, record, data):
    """Shifting the input by a stride shifts the output by one: away from the ends, whatever the padding."""
    case = data.draw(convolutions())
    random = np.random.default_rng(case.seed)
    x = random.integers(-9, 9, case.input_shape).astype("float32")
    w = random.integers(-9, 9, case.weight_shape).astype("float32")
    arguments = case.arguments | {"padding": 0, "padding_mode": "zeros"}
    axis, stride = x.ndim - 1, case.arguments["stride"][-1]
    wide = np.concatenate([random.integers(-9, 9, (*x.shape[:-1], stride)).astype("float32"), x], axis)
    assume(all(a.extent >= a.dilation * (a.kernel - 1) + 1 for a in case.axes))
    shifted = getattr(clconv, case.operation)(wide, w, **arguments, device=device)
    np.testing.assert_array_equal(getattr(clconv, case.operation)(x, w, **arguments, device=device), shifted[..., 1:])
    record.cases[device] += 1


def test_drawn_cases_are_mostly_not_trivial():
    """At least 80 % have a window of more than one tap and more than one output along every axis."""
    drawn = []

    @settings(max_examples=400, database=None)
    @given(convolutions())
    def collect(case):
        drawn.append(all(axis.kernel > 1 and axis.output > 1 for axis in case.axes))

    collect()
    assert np.mean(drawn) >= 0.8
