"""Dropout's generator against its published vectors, its masks on every device, and flatten."""

from __future__ import annotations

import re

import numpy as np
import pytest

import clconv
from clconv.oracle import reference
from clconv.oracle.reference.dropout import philox

#: The known answers that come with Random123, for philox4x32 with ten rounds: counter, key, words.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_references_generator_gives_the_published_words(counter, key, expected):
    assert [int(word) for word in philox(words(counter), words(key))] == words(expected)


@pytest.mark.parametrize(("seed", "offset"), [(0, 0), (1, 5), (2**64 - 1, 2**34 + 3), (0x299F31D0A4093822, 2**40 + 2)])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_masks_are_the_references_on_every_device(device, seed, offset, p):
    x = np.ones((7, 33), "float32")
    expected = reference.dropout(x, p, seed=seed, offset=offset) != 0
    np.testing.assert_array_equal(clconv.dropout(x, p, seed=seed, offset=offset, device=device) != 0, expected)


def test_the_words_of_the_kernel_are_the_published_ones(device):
    """The first vector's words are dropped just above, and kept at, a chance of themselves."""
    for place, word in enumerate(words(KNOWN[0][2])):
        dropped = [
            clconv.dropout(np.ones(4), chance / 2**32, seed=0, device=device)[place] == 0 for chance in (word, word + 1)
        ]
        assert dropped == [False, True]


def test_the_mask_depends_on_indices_not_on_memory(device):
    x = np.ones((6, 50), "float32")
    expected = clconv.dropout(x, seed=9, device=device)
    for other in (np.asfortranarray(x), np.ones((6, 100), "float32")[:, ::2], np.ones((6, 50), "float32")[::-1, ::-1]):
        np.testing.assert_array_equal(clconv.dropout(other, seed=9, device=device), expected)
    parts = [clconv.dropout(row, seed=9, offset=50 * number, device=device) for number, row in enumerate(x)]
    np.testing.assert_array_equal(np.stack(parts), expected)
    cube = np.ones((2,) * 7)[:, ::-1].transpose(3, 1, 0, 2, 6, 4, 5)
    np.testing.assert_array_equal(
        clconv.dropout(cube, seed=9, device=device), clconv.dropout(np.ones(cube.shape), seed=9, device=device)
    )


def test_the_gradient_drops_what_the_output_drops(device):
    g = np.linspace(1, 2, 100)
    y = clconv.dropout(g, 0.25, seed=3, device=device)
    np.testing.assert_array_equal(clconv.dropout_backward(g, g, 0.25, seed=3, device=device).input, y)
    np.testing.assert_allclose(y[y != 0], g[y != 0] / 0.75, rtol=1e-15)


def test_the_share_of_dropped_elements_is_p():
    x = np.ones(1_000_000, "float32")
    for p in (0.1, 0.5):
        share = np.mean(clconv.dropout(x, p, seed=11) == 0)
        assert abs(share - p) < 5 * (p * (1 - p) / x.size) ** 0.5


def test_evaluation_copies_and_inplace_writes(device):
    x = np.arange(8.0)
    y = clconv.dropout(x, training=False, seed=0, device=device)
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(x, y)
    expected = clconv.dropout(x, seed=1, device=device)
    assert clconv.dropout(x, inplace=True, seed=1, device=device) is x
    np.testing.assert_array_equal(x, expected)


def test_dropped_nan_is_zero(device):
    y = clconv.dropout(np.full(100, np.nan), seed=1, device=device)
    assert set(np.isnan(y)) == {True, False}
    assert (y[~np.isnan(y)] == 0).all()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: clconv.dropout(x), TypeError, "seed"),
        (lambda x: clconv.dropout(x, 1.5, seed=0), ValueError, "p must be between 0 and 1: p=1.5"),
        (lambda x: clconv.dropout(x, np.nan, seed=0), ValueError, "p must not be NaN"),
        (lambda x: clconv.dropout(x, "0.5", seed=0), TypeError, "p takes a real number, not str"),
        (lambda x: clconv.dropout(x, seed=-1), ValueError, "seed must be between 0 and 18446744073709551615: seed=-1"),
        (lambda x: clconv.dropout(x, seed=0.5), TypeError, "seed takes an integer, not float"),
        (lambda x: clconv.dropout(x, seed=0, offset=-1), ValueError, "offset must be between 0 and"),
        (lambda x: clconv.dropout(x, training=1, seed=0), TypeError, "training takes True or False, not int"),
        (lambda x: clconv.dropout_backward(x, x, inplace=True, seed=0), ValueError, "dropout_backward takes inplace="),
        (lambda x: clconv.flatten(x, 2), ValueError, "start_dim must be between -2 and 1"),
        (lambda x: clconv.flatten(x, 1, 0), ValueError, "start_dim must not come after end_dim"),
        (lambda x: clconv.flatten(x, 0.0), TypeError, "start_dim takes an integer, not float"),
        (lambda x: clconv.flatten_backward(x, x), ValueError, "grad_output must have the output's shape (6,)"),
    ],
)
def test_refusals(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call(np.ones((2, 3)))


def test_flatten_is_a_view_where_it_can_be_and_its_gradient_undoes_it():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert np.shares_memory(clconv.flatten(x, 1), x)
    assert clconv.flatten(x, 0, 1).shape == (6, 4)
    assert clconv.flatten(np.array(3.0)).shape == (1,)
    np.testing.assert_array_equal(clconv.flatten(x.T), x.T.reshape(-1))
    np.testing.assert_array_equal(clconv.flatten_backward(clconv.flatten(x, 1), x, 1).input, x)
