"""The memory of large results is kept when they die, and used again by the next ones."""

from __future__ import annotations

import numpy as np
import pytest

import clconv
from clconv import kept_memory
from clconv.kept_memory import LEAST_KEPT, Kept
from tests.threads import run_in_threads

LARGE = (LEAST_KEPT // 4, 2)


def source(size):
    return np.empty(size, "uint8"), 0


def array_of(store, size, source=source):
    return store.empty((size,), np.dtype("uint8"), size, source)


def address(array):
    return array.__array_interface__["data"][0]


def places(arrays):
    return {address(array) for array in arrays}


@pytest.fixture
def kept(monkeypatch):
    """A store of blocks that no other test knows."""
    store = Kept(2**24)
    monkeypatch.setattr(kept_memory, "_kept", store)
    return store


def test_an_array_takes_the_memory_of_the_one_that_died(kept):
    first = kept_memory.empty(LARGE, "float32")
    place = address(first)
    del first
    assert address(kept_memory.empty((2, LEAST_KEPT // 8), "float64")) == place


def test_memory_is_not_taken_while_an_array_or_a_view_of_it_lives(kept):
    whole = kept_memory.empty(LARGE, "float32")
    assert address(kept_memory.empty(LARGE, "float32")) != address(whole)
    view = whole.T[1:].view("int32")[0, 4:]
    del whole
    view[:] = 3
    for _ in range(3):
        kept_memory.empty(LARGE, "float32")[:] = 5
    assert (view == 3).all()


def test_memory_is_not_taken_while_only_another_library_knows_it(kept):
    view = memoryview(kept_memory.empty(LARGE, "float32"))
    kept_memory.empty(LARGE, "float32")[:] = 5
    other = kept_memory.empty(LARGE, "float32")
    assert address(np.asarray(view)) != address(other)


def test_arrays_that_live_together_have_memory_of_their_own(kept):
    arrays = [kept_memory.empty(LARGE, "float32") for _ in range(20)]
    assert len(places(arrays)) == 20
    del arrays[::2]
    assert len(places([*arrays, *(kept_memory.empty(LARGE, "float32") for _ in range(5))])) >= 11


def test_large_arrays_begin_at_multiples_of_128_bytes(kept):
    arrays = [kept_memory.empty((LEAST_KEPT + n,), "uint8") for n in range(4)]
    assert not any(place % 128 for place in places(arrays))
    for n, array in enumerate(arrays):
        array[:] = n
    assert [int(array.min()) for array in arrays] == [int(array.max()) for array in arrays] == [0, 1, 2, 3]


def test_small_arrays_own_their_memory(kept):
    assert kept_memory.empty((LEAST_KEPT // 4 - 1,), "float32").flags.owndata


def test_sizes_that_were_not_asked_for_longest_go_when_more_is_kept_than_may_be():
    store = Kept(1000)
    place = places([array_of(store, 500)])
    array_of(store, 400)
    assert places([array_of(store, 500)]) == place
    array_of(store, 300)
    assert store.sizes() == [500, 300]
    array_of(store, 1001)
    assert store.sizes() == [500, 300]
    array_of(store, 700)
    assert store.sizes() == [300, 700]
    array_of(store, 1000)
    assert store.sizes() == [1000]
    assert len(store._blocks) == 1


def test_few_blocks_are_kept_however_small_they_are():
    store = Kept(2**20, most_blocks=3)
    arrays = [array_of(store, 1 + n) for n in range(5)]
    assert store.sizes() == [3, 4, 5]
    assert len(places(arrays)) == 5
    array_of(store, 3)
    same = [array_of(store, 9) for _ in range(4)]
    assert store.sizes() == [9, 9, 9]
    assert len(places(same)) == 4


def test_memory_that_somebody_made_read_only_is_not_taken(kept):
    first = kept_memory.empty(LARGE, "float32")
    first.base.flags.writeable = False
    del first
    for _ in range(2):
        kept_memory.empty(LARGE, "float32")[:] = 5


def test_each_kind_of_memory_is_used_again_as_such_and_all_count():
    made = []

    def other(size):
        made.append(size)
        return np.empty(size, "uint8"), 0

    store = Kept(1000)
    place, other_place = places([array_of(store, 300)]), places([array_of(store, 300, other)])
    for _ in range(3):
        assert places([array_of(store, 300)]) == place
        assert places([array_of(store, 300, other)]) == other_place
    array_of(store, 500, other)
    assert store.sizes() == [300, 500]
    assert made == [300, 500]


def test_nobody_waits_for_blocks():
    store = Kept(1000)
    place = places([array_of(store, 100)])
    with store._lock:
        array_of(store, 100)[:] = 3
        array_of(store, 200)
    assert store.sizes() == [100]
    assert places([array_of(store, 100)]) == place


def test_what_is_kept_is_let_go_where_there_is_no_other_memory(kept, monkeypatch):
    kept_memory.empty(LARGE, "float32")
    allocate, failures = np.empty, iter([True])

    def fail_once(*arguments):
        if next(failures, False):
            raise MemoryError
        return allocate(*arguments)

    monkeypatch.setattr(np, "empty", fail_once)
    assert kept_memory.empty((LEAST_KEPT * 3,), "uint8").nbytes == LEAST_KEPT * 3
    assert not kept.sizes()


def test_results_do_not_change_when_later_calls_reuse_memory(device):
    x = np.ones(LARGE, "float32")
    results = [clconv.relu(x * n, device=device) for n in range(1, 5)]
    del results[::2]
    clconv.relu(x * 7, device=device)
    assert [float(result.min()) for result in results] == [float(result.max()) for result in results] == [2, 4]


def test_threads_never_have_the_same_memory(kept):
    faults = []

    def fill(number):
        for _ in range(300):
            arrays = [kept_memory.empty((LEAST_KEPT,), "uint8") for _ in range(3)]
            for place, array in enumerate(arrays):
                array[:] = 3 * number + place
            if any((array != 3 * number + place).any() for place, array in enumerate(arrays)):
                faults.append(number)

    run_in_threads(fill, [(number,) for number in range(4)])
    assert not faults
