"""pixel_shuffle, pixel_unshuffle, channel_shuffle and their gradients on every device, judged by the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from tests.calls import assert_exact, reals
from tests.strategies import DTYPES, laid_out, layouts

EXAMPLES = settings(max_examples=60)


@st.composite
def shuffles(draw):
    """Draw an operation, its input's and its output's shape, its factor, and a function that makes arrays."""
    operation = draw(st.sampled_from(("pixel_shuffle", "pixel_unshuffle", "channel_shuffle")))
    r, C, H, W = (draw(st.integers(1, most)) for most in (3, 3, 4, 5))
    lead = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    many, few = (*lead, C * r * r, H, W), (*lead, C, H * r, W * r)
    shapes = {"pixel_shuffle": (many, few), "pixel_unshuffle": (few, many)}
    if operation == "channel_shuffle":
        shape = (2, C * r, *draw(st.lists(st.integers(1, 3), min_size=1, max_size=5)))
        shapes[operation] = (shape, shape)
    layout, dtype, seed = draw(layouts), draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32 - 1))

    def make(shape):
        return laid_out(reals(np.random.default_rng(seed), shape, dtype, 1), layout)

    return operation, *shapes[operation], r, make


@EXAMPLES
@given(case=shuffles())
def test_shuffles_copy_exactly(device, record, case):
    operation, shape, _, factor, make = case
    assert_exact(operation, device, record, make(shape), factor)


@EXAMPLES
@given(case=shuffles())
def test_gradients_copy_back_exactly(device, record, case):
    operation, shape, output, factor, make = case
    assert_exact(f"{operation}_backward", device, record, make(output), make(shape), factor)


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_large_images(device, record, factor):
    x = reals(np.random.default_rng(factor), (1, factor**2, 70, 90), "float32", 1)
    assert_exact("pixel_shuffle", device, record, x, factor)
    y = clconv.pixel_shuffle(x, factor, device=device)
    assert_exact("pixel_unshuffle", device, record, y, factor)
    np.testing.assert_array_equal(clconv.pixel_unshuffle(y, factor, device=device), x)


def test_every_bit_is_copied(device):
    patterns = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(1, 4, 128, 128)
    back = clconv.pixel_unshuffle(clconv.pixel_shuffle(patterns, 2, device=device), 2, device=device)
    assert back.tobytes() == patterns.tobytes()


def test_out_of_any_layout(device):
    x = np.arange(2 * 3 * 4 * 2 * 3, dtype="float32").reshape(2, 3, 4, 2, 3)
    out = np.zeros((3, 2, 1, 4, 6), "float32").transpose(1, 0, 2, 3, 4)
    assert clconv.pixel_shuffle(x, 2, out=out, device=device) is out
    np.testing.assert_array_equal(out, clconv.pixel_shuffle(x, 2, device=device))


def test_masked_gradients_are_none():
    x = np.zeros((1, 4, 2, 2), "float32")
    for name in ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle"):
        g = getattr(clconv, name)(x, 2)
        assert getattr(clconv, f"{name}_backward")(g, x, 2, output_mask=(False,)).input is None


@pytest.mark.parametrize(
    ("operation", "shape", "factor", "error", "text"),
    [
        ("pixel_shuffle", (4, 4), 2, ValueError, r"input takes 3 axes or more: input.shape=\(4, 4\) has 2"),
        ("pixel_shuffle", (1, 4, 2, 2), 0, ValueError, "upscale_factor must be at least 1: upscale_factor=0"),
        ("pixel_shuffle", (1, 4, 2, 2), 2.0, TypeError, "upscale_factor takes an integer, not float"),
        ("pixel_shuffle", (1, 6, 2, 2), 2, ValueError, "the square of upscale_factor=2 must divide the 6 channels"),
        ("pixel_unshuffle", (1, 1, 4, 5), 2, ValueError, "downscale_factor=2 must divide the height 4 and the width 5"),
        ("channel_shuffle", (1, 4, 2), 3, ValueError, r"groups=3 must divide the 4 channels: input.shape=\(1, 4, 2\)"),
        ("channel_shuffle", (1, 4, 2), -1, ValueError, "groups must be at least 1: groups=-1"),
    ],
)
def test_refusals(operation, shape, factor, error, text):
    with pytest.raises(error, match=text):
        getattr(clconv, operation)(np.zeros(shape, "float32"), factor)


def test_gradients_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"grad_output must have the output's shape \(1, 1, 4, 4\)"):
        clconv.pixel_shuffle_backward(np.zeros((1, 1, 4, 5), "float32"), np.zeros((1, 4, 2, 2), "float32"), 2)
