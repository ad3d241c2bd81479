"""What is seen of a call from outside: every kind of side effect is."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from clconv.oracle.layouts import LAYOUTS, laid_out
from clconv.oracle.observe import observe, observe_threads
from clconv.oracle.operations._base import Case, Problem
from tests.small_implementations import conv1d


def case(**changes):
    arrays = {"input": np.arange(1, 7, dtype="float32").reshape(1, 2, 3), "weight": np.ones((1, 2, 2), "float32")}
    shapes = {name: array.shape for name, array in arrays.items()}
    return Case(Problem(shapes), arrays, **changes)


def remarks(implementation, **changes):
    observed = observe(implementation, "conv1d", case(**changes), repeat=True)
    assert observed.error is None, observed.error.trace
    return observed.remarks


def test_a_right_call_has_results_and_no_remarks():
    observed = observe(conv1d, "conv1d", case(), repeat=True)
    assert observed.results["output"].tolist() == [[[12, 16]]]
    assert observed.remarks == ()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_do_not_depend_on_the_layout(layout):
    observed = observe(conv1d, "conv1d", case(layouts={"input": layout, "weight": layout}), repeat=True)
    assert observed.results["output"].tolist() == [[[12, 16]]]
    assert observed.remarks == ()


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"read_only"}))
def test_a_changed_input_is_seen_in_every_layout(layout):
    def changes_its_input(x, w):
        result = conv1d(x, w)
        x[0, 0, 0] += 1
        return result

    assert remarks(changes_its_input, layouts={"input": layout})[0] == "input was changed"


def test_writing_to_a_read_only_input_is_an_exception():
    def changes_its_input(x, w):
        x[0, 0, 0] += 1
        return conv1d(x, w)

    observed = observe(changes_its_input, "conv1d", case(layouts={"input": "read_only"}))
    assert observed.error.kind == "ValueError"


@pytest.mark.parametrize("place", [-1, 6])
def test_writing_beside_an_input_is_seen(place):
    def writes_beside(x, w):
        result = conv1d(x, w)
        whole = x.base if x.base is not None else x
        whole.reshape(-1).view(np.uint8)[256 + 4 * place] = 7
        return result

    assert remarks(writes_beside) == ("memory beside input was written",)


def test_reading_beside_an_input_gives_nan():
    def reads_beside(x, w):
        beyond = as_strided(x, (1, 2, 4), x.strides)
        return conv1d(beyond, w)[..., 1:]

    assert np.isnan(observe(reads_beside, "conv1d", case()).results["output"]).any()


def test_a_second_call_with_other_bits_is_seen():
    calls = []

    def drifts(x, w):
        calls.append(x)
        return conv1d(x, w) + len(calls)

    assert remarks(drifts) == ("a second call with the same arguments gave other bits",)


def test_a_result_that_a_later_call_changes_is_seen():
    kept = np.empty((1, 1, 2), "float32")

    def reuses_its_buffer(x, w):
        kept[...] = conv1d(x, w)
        return kept

    assert "a later call changed an earlier result" in remarks(reuses_its_buffer)


def test_a_result_that_is_no_array_is_an_error():
    observed = observe(lambda x, w: conv1d(x, w).tolist(), "conv1d", case())
    assert str(observed.error) == "TypeError: output must be a plain NumPy array, the call returned a list"


def test_out_is_returned_whole_and_alone():
    def right(x, w, out=None):
        out[...] = conv1d(x, w)
        return out

    assert remarks(right, out=(1, 1, 2)) == ()
    observed = observe(lambda x, w, out: conv1d(x, w), "conv1d", case(out=(1, 1, 2)))
    assert observed.error.text == "out= was given, but another array was returned"

    def writes_beside(x, w, out):
        out[...] = conv1d(x, w)
        as_strided(out, (3,), (4,))[2] = 5
        return out

    assert remarks(writes_beside, out=(1, 1, 2)) == ("memory beside out was written",)


def test_arrays_in_one_memory_share_it():
    seen = []

    def looks(x, w):
        seen.append(np.shares_memory(x, w))
        return conv1d(x, w)

    assert remarks(looks, shared={"weight": "input"}) == ()
    assert all(seen)


def test_threads_that_share_scratch_memory_are_seen():
    scratch = np.empty((1, 2, 3), "float32")

    def shares(x, w):
        scratch[...] = x
        time.sleep(0.002)  # lets the other threads write before this one reads
        return conv1d(scratch, w)

    cases = [case(), case().holding(input=np.full((1, 2, 3), 9, "float32"))]
    assert observe_threads(conv1d, "conv1d", cases, 4).remarks == ()
    assert observe_threads(shares, "conv1d", cases, 4).remarks


def test_layouts_have_the_array_and_its_values():
    array = np.arange(24, dtype="float32").reshape(2, 3, 4)
    for layout in LAYOUTS:
        assert np.array_equal(laid_out(array, layout), array), layout
        assert layout == "contiguous" or not np.shares_memory(laid_out(array, layout), array)
    with pytest.raises(ValueError, match="layout must be one of"):
        laid_out(array, "spiral")
