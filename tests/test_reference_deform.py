"""Deformable convolution's definition: against plain convolution, differences, and an implementation tap by tap."""

from __future__ import annotations

import numpy as np
import pytest

from clconv.oracle import check, reference
from tests.wrong import deform
from tests.wrong.assertions import assert_killed

LAYER = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}


@pytest.fixture
def arrays():
    """A layer of two groups, its offsets of quarters and none of them whole, so that no position is at a kink."""
    random = np.random.default_rng(5)

    def integers(*shape):
        return random.integers(-4, 5, shape).astype(float)

    offset = np.floor(random.uniform(-3, 3, (2, 2 * 2 * 6, 4, 8))) + random.choice((0.25, 0.5, 0.75), (2, 24, 4, 8))
    return {
        "input": integers(2, 4, 7, 6),
        "offset": offset,
        "weight": integers(6, 2, 3, 2),
        "bias": integers(6),
        "mask": integers(2, 12, 4, 8),
    }


def test_without_moves_it_is_convolution(arrays):
    still = {**arrays, "offset": np.zeros_like(arrays["offset"]), "mask": None}
    plain = reference.conv2d(arrays["input"], arrays["weight"], arrays["bias"], **LAYER, groups=2)
    np.testing.assert_array_equal(reference.deform_conv2d(**still, **LAYER), plain)


@pytest.mark.parametrize("name", ["input", "weight", "mask", "bias"])
def test_the_gradient_of_what_enters_linearly_is_the_adjoint(arrays, name):
    """<g, f(a)> - <g, f(0)> = <gradient, a>, exactly in multiples of 1/16."""
    y = reference.deform_conv2d(**arrays, **LAYER)
    g = np.random.default_rng(1).integers(-3, 4, y.shape).astype(float)
    nothing = reference.deform_conv2d(**{**arrays, name: np.zeros_like(arrays[name])}, **LAYER)
    gradient = getattr(reference.deform_conv2d_backward(g, **arrays, **LAYER), name)
    assert np.sum(g * y) - np.sum(g * nothing) == np.sum(gradient * arrays[name])


def test_the_gradient_of_the_offset_is_the_difference_within_a_cell(arrays):
    """What is read is linear between two rows, or two columns, so that a difference of 1/8 is exact."""
    y = reference.deform_conv2d(**arrays, **LAYER)
    g = np.random.default_rng(1).integers(-3, 4, y.shape).astype(float)
    gradient = reference.deform_conv2d_backward(g, **arrays, **LAYER).offset
    for channel in (0, 1, 7, 23):
        change = np.zeros(arrays["offset"].shape)
        change[1, channel, 2, 3] = 1 / 8
        moved = reference.deform_conv2d(**{**arrays, "offset": arrays["offset"] + change}, **LAYER)
        assert np.sum(g * moved) - np.sum(g * y) == gradient[1, channel, 2, 3] / 8


def test_masked_and_absent_gradients_are_none(arrays):
    g = np.zeros((2, 6, 4, 8))
    found = reference.deform_conv2d_backward(
        g, **{**arrays, "bias": None}, **LAYER, output_mask=(True, False, True, True, False)
    )
    assert [gradient is None for gradient in found] == [False, True, False, True, True]


@pytest.mark.slow
@pytest.mark.parametrize("op", deform.RIGHT)
def test_a_right_implementation_passes(op):
    report = check(deform.RIGHT[op], op=op)
    assert report.passed, str(report)


@pytest.mark.parametrize("wrong", deform.WRONG, ids=lambda wrong: wrong.name)
def test_a_wrong_implementation_is_found(wrong):
    assert_killed(wrong)
