"""The memory of large results is kept when they die, and used again by the next ones."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

import clconv
from clconv import kept_memory
from clconv.kept_memory import LEAST_KEPT, Block, Kept

LARGE = (LEAST_KEPT // 4, 2)


def block(size):
    return Block(np.empty(0, "uint8"), size, 0)


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture
def kept(monkeypatch):
    """A store of blocks that no other test knows, and of which arrays made by this one know."""
    store = Kept(2**24)
    monkeypatch.setattr(kept_memory, "_kept", store)
    monkeypatch.setattr(kept_memory._Lent.__del__, "__defaults__", (store.put,))
    return store


def test_an_array_takes_the_memory_of_the_one_that_died(kept):
    first = kept_memory.empty(LARGE, "float32")
    place = address(first)
    del first
    assert address(kept_memory.empty((2, LEAST_KEPT // 8), "float64")) == place


def test_memory_is_not_taken_while_a_view_lives(kept):
    whole = kept_memory.empty(LARGE, "float32")
    view = whole[1:, 0]
    view[:] = 3
    del whole
    other = kept_memory.empty(LARGE, "float32")
    other[:] = 5
    assert (view == 3).all()


def test_large_arrays_begin_at_multiples_of_128_bytes_and_can_be_written(kept):
    arrays = [kept_memory.empty((LEAST_KEPT + n,), "uint8") for n in range(4)]
    for array in arrays:
        array[:] = 1
    assert not any(address(array) % 128 for array in arrays)


def test_small_arrays_own_their_memory(kept):
    assert kept_memory.empty((LEAST_KEPT // 4 - 1,), "float32").flags.owndata


def test_a_block_is_taken_only_by_arrays_of_about_its_size():
    store = Kept(2**20)
    store.put(block(1000))
    assert store.take(1001) is None
    assert store.take(799) is None
    assert store.take(800).size == 1000
    assert store.take(800) is None


def test_the_latest_block_is_taken_first():
    store = Kept(2**20)
    blocks = [block(100), block(101)]
    for each in blocks:
        store.put(each)
    assert store.take(100) is blocks[1]


def test_the_oldest_blocks_go_when_more_is_kept_than_may_be():
    store = Kept(1000)
    for size in (300, 600, 200):
        store.put(block(size))
    assert store.take(300) is None
    assert store.take(600).size == 600
    store.put(block(1001))
    assert store.take(1001) is None


def test_few_blocks_are_kept_however_small_they_are():
    store = Kept(2**20, most_blocks=3)
    for _ in range(5):
        store.put(block(1))
    assert sum(store.take(1) is not None for _ in range(5)) == 3


def test_nobody_waits_for_blocks():
    store = Kept(1000)
    store.put(block(100))
    store._lock.acquire()
    assert store.take(100) is None
    store.put(block(200))
    store.clear()
    store._lock.release()
    assert store.take(100).size == 100
    assert store.take(200) is None


def test_what_is_kept_is_let_go_where_there_is_no_other_memory(kept, monkeypatch):
    kept.put(block(LEAST_KEPT))
    allocate, failures = np.empty, iter([True])

    def fail_once(*arguments):
        if next(failures, False):
            raise MemoryError
        return allocate(*arguments)

    monkeypatch.setattr(np, "empty", fail_once)
    assert kept_memory.empty((LEAST_KEPT * 2,), "uint8").nbytes == LEAST_KEPT * 2
    assert kept.take(LEAST_KEPT) is None


def test_results_do_not_change_when_later_calls_reuse_memory(device):
    x = np.ones(LARGE, "float32")
    results = [clconv.relu(x * n, device=device) for n in range(1, 5)]
    del results[::2]
    gc.collect()
    clconv.relu(x * 7, device=device)
    assert [float(result.min()) for result in results] == [2, 4]


def test_arrays_may_outlive_the_module():
    """When the interpreter ends, it sets all names of a module to None, and some arrays die after that."""
    program = f"""
import clconv.kept_memory as module
array = module.empty({LARGE}, "float32")
vars(module).update(dict.fromkeys(vars(module)))
del array
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ended.stderr == b""


def test_threads_never_have_the_same_memory(kept):
    faults = []

    def fill(number):
        for _ in range(300):
            arrays = [kept_memory.empty((LEAST_KEPT + number % 2,), "uint8") for _ in range(3)]
            for place, array in enumerate(arrays):
                array[:] = 3 * number + place
            if any((array != 3 * number + place).any() for place, array in enumerate(arrays)):
                faults.append(number)

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
