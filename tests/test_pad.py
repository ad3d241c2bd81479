"""pad and its gradient on every device, judged by the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from clconv.oracle import reference
from clconv.problem.pad import MODES
from tests.calls import assert_exact, assert_within_bound, integers, reals
from tests.strategies import DTYPES, laid_out, layouts

EXAMPLES = settings(max_examples=80)


@st.composite
def paddings(draw):
    """Draw a shape, the arguments of pad, the output's shape, and a function that makes arrays."""
    mode = draw(st.sampled_from(MODES))
    rank = draw(st.integers(1, 3))
    extents = [draw(st.integers(1, 6)) for _ in range(rank)]
    pairs = []
    for extent in extents:
        most = {"constant": 3, "replicate": 3, "reflect": extent - 1}.get(mode, extent)
        least = -((extent - 1) // 2) if mode == "constant" else 0
        pairs.append((draw(st.integers(least, most)), draw(st.integers(least, most))))
    arguments = {"pad": tuple(entry for pair in reversed(pairs) for entry in pair), "mode": mode}
    if mode == "constant":
        arguments["value"] = draw(st.sampled_from((None, 1.5, -2.0)))
    lead = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4 if mode == "constant" else 2)))
    shape = (*lead, *extents)
    output = reference.pad(np.zeros(shape), **arguments).shape
    layout, dtype, seed = draw(layouts), draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32 - 1))

    def make(shape, values=reals):
        return laid_out(values(np.random.default_rng(seed), shape, dtype, 4**rank), layout)

    return shape, output, arguments, make


@EXAMPLES
@given(case=paddings())
def test_pad_copies_exactly(device, record, case):
    shape, _, arguments, make = case
    assert_exact("pad", device, record, make(shape), **arguments)


@EXAMPLES
@given(case=paddings())
def test_pad_backward_adds_integers_exactly(device, record, case):
    shape, output, arguments, make = case
    assert_exact("pad_backward", device, record, make(output, integers), make(shape), **arguments)


@EXAMPLES
@given(case=paddings())
def test_pad_backward_stays_within_its_bound_on_reals(device, record, case):
    shape, output, arguments, make = case
    assert_within_bound("pad_backward", device, record, make(output), make(shape), **arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_long_rows(device, record, mode, dtype):
    x = integers(np.random.default_rng(0), (2, 1, 5000), dtype, 9)
    g = integers(np.random.default_rng(1), (2, 1, 5003), dtype, 9)
    assert_exact("pad", device, record, x, (2, 1), mode=mode)
    assert_exact("pad_backward", device, record, g, x, (2, 1), mode=mode)


@pytest.mark.parametrize(
    ("pad", "mode", "expected"),
    [
        ((-1, 2), "reflect", [1, 2, 3, 2, 1]),
        ((-3, 3), "reflect", [3, 2, 1, 0]),
        ((2, -1), "reflect", [2, 1, 0, 1, 2]),
        ((-1, 2), "replicate", [1, 2, 3, 3, 3]),
        ((-3, 5), "replicate", [3, 3, 3, 3, 3, 3]),
        ((-1, 2), "circular", [1, 2, 3, 1, 2]),
        ((-1, -2), "circular", [1]),
        ((3, -1), "circular", [0, 1, 2, 0, 1, 2]),
    ],
)
def test_negative_padding_is_torchs_in_every_mode(device, pad, mode, expected):
    """What torch returns: "circular" repeats what is left, "reflect" the whole."""
    x = np.arange(4, dtype="float32").reshape(1, 1, 4)
    y = clconv.pad(x, pad, mode, device=device)
    np.testing.assert_array_equal(y, np.array([[expected]], "float32"), strict=True)
    # The gradient counts how often each element was copied.
    counts = [[[expected.count(i) for i in range(4)]]]
    np.testing.assert_array_equal(clconv.pad_backward(np.ones_like(y), x, pad, mode, device=device).input, counts)


def test_every_bit_is_copied(device):
    patterns = np.arange(2**16, dtype=np.uint16).view(np.float16)
    y = clconv.pad(patterns[None], (1, 0), value=1.0, device=device)
    assert y[0, 1:].tobytes() == patterns.tobytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, np.float32(2.5), 3])
def test_values(device, value):
    y = clconv.pad(np.zeros((1, 1), "float32"), (1, 1), value=value, device=device)
    assert y[0, 0].tobytes() == y[0, 2].tobytes() == np.float32(value).tobytes()


def test_a_value_is_rounded_once(device):
    value = 1 + 2**-11 + 2**-40  # to float32 and then to float16 it would round down
    assert clconv.pad(np.zeros((1, 1), "float16"), (1, 0), value=value, device=device)[0, 0] == np.float16(value)


def test_five_axes_are_padded_and_leading_ones_of_more_are_walked_as_one(device, record):
    x = reals(np.random.default_rng(4), (2, 1, 2, 3, 2), "float32", 1)
    assert_exact("pad", device, record, x, (1, 0, 0, 1, 1, 1, 2, 0, 0, 1), value=7.0)
    x = reals(np.random.default_rng(4), (2, 3, 1, 2, 2, 3, 2), "float32", 1)
    assert_exact("pad", device, record, x, (1, 0, 0, 1, 1, 1, 2, 0), value=7.0)
    assert_exact("pad", device, record, x[::2, ::2], (1, 2))


@pytest.mark.parametrize("rank", [6, 7, 9])
def test_any_axes_of_many_are_padded(device, record, rank):
    random = np.random.default_rng(rank)
    x = reals(random, (1, 2, 3, 1, 2, 3, 1, 2, 2)[:rank], "float32", 1)
    every = tuple(random.integers(0, 3, 2 * rank).tolist())
    cropping = (0, 0) * (rank - 3) + (-1, 1, 1, -1, 2, 0)
    for pad in (every, cropping):
        assert_exact("pad", device, record, x, pad, value=7.0)
        assert_exact("pad", device, record, np.asfortranarray(x), pad, value=7.0)
        y = clconv.pad(x, pad, device=device)
        out = np.zeros(y.shape[::-1], "float32").transpose()
        assert clconv.pad(x, pad, out=out, device=device) is out
        np.testing.assert_array_equal(out, y)
        assert_exact("pad_backward", device, record, integers(random, y.shape, "float32", 9), x, pad)


def test_out_of_any_layout(device):
    x = np.arange(2 * 3 * 2 * 2 * 2 * 2, dtype="float32").reshape(2, 3, 2, 2, 2, 2)
    expected = clconv.pad(x, (1, 1), device=device)
    out = np.zeros((3, 2, 2, 2, 2, 4), "float32").transpose(1, 0, 2, 3, 4, 5)
    assert clconv.pad(x, (1, 1), out=out, device=device) is out
    np.testing.assert_array_equal(out, expected)


def test_a_masked_gradient_is_none():
    x = np.zeros((1, 2), "float32")
    assert clconv.pad_backward(np.zeros((1, 4), "float32"), x, (1, 1), output_mask=(False,)).input is None


@pytest.mark.parametrize(
    ("shape", "arguments", "error", "text"),
    [
        ((1, 2, 4), {"pad": (1,)}, ValueError, r"pad takes a low and a high entry .*: pad=\(1,\) has 1"),
        ((1, 2, 4), {"pad": (1,) * 8}, ValueError, "for each of up to 3 axes, the last axis first"),
        ((1, 2, 4), {"pad": 1}, TypeError, "pad takes a sequence of integers, not int: pad=1"),
        ((1, 2, 4), {"pad": (1.5, 1)}, TypeError, "pad takes an integer, not float"),
        ((1, 2, 4), {"pad": (-2, -3)}, ValueError, r"pad must not take more than there is: \(-2, -3\) for axis 2"),
        ((1, 2, 4), {"pad": (-5, 5)}, ValueError, "pad must not take more than there is"),
        ((1, 2, 4), {"pad": (-4, 1), "mode": "replicate"}, ValueError, "pad must not take more than there is"),
        ((1, 2, 4), {"pad": (1, 1), "mode": "mirrored"}, ValueError, "mode takes one of 'constant', 'reflect'"),
        ((1, 2, 4), {"pad": (4, 0), "mode": "reflect"}, ValueError, "shows the image once at most, here 3 positions"),
        ((1, 2, 4), {"pad": (0, 5), "mode": "circular"}, ValueError, "shows the image once at most, here 4 positions"),
        ((1, 2, 4), {"pad": (-1, 4), "mode": "circular"}, ValueError, "shows the image once at most, here 3 positions"),
        ((1, 2, 0), {"pad": (1, 1), "mode": "replicate"}, ValueError, "pad must not take more than there is"),
        ((1, 2, 4), {"pad": (), "mode": "reflect"}, ValueError, "pads 1 to 3 axes behind one or two others"),
        ((1, 2, 3, 4), {"pad": (1, 1), "mode": "reflect"}, ValueError, "pads 1 to 3 axes behind one or two others"),
        ((1, 2, 4), {"pad": (1, 1), "mode": "reflect", "value": 1.0}, ValueError, "value goes with mode='constant'"),
        ((1, 2, 4), {"pad": (1, 1), "value": "0"}, TypeError, "value takes a real number, not str"),
        ((1, 2, 4), {"pad": (1, 1), "value": 1e300}, ValueError, "value must be a number that float32 holds"),
        ((1, 1), {"pad": (2**30 - 1, 1)}, ValueError, r"pad must leave at most 2\*\*30 - 1 positions on an axis"),
    ],
)
def test_refusals(shape, arguments, error, text):
    with pytest.raises(error, match=text):
        clconv.pad(np.zeros(shape, "float32"), **arguments)
