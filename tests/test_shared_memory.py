"""OpenCL processors that share memory with the host: kernels get pointers to it, and it is not mapped."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import weakref

import numpy as np
import pytest

import clconv
from clconv import kept_memory
from clconv.devices import executor_for
from clconv.kept_memory import LEAST_KEPT, Kept
from tests.threads import run_in_threads

cl = pytest.importorskip("pyopencl")
shared_memory = importlib.import_module("clconv.opencl.shared_memory")

USABLE = [device.name for device in clconv.devices() if device.kind == "cpu" and device.problem is None]
SHARING = [name for name in USABLE if executor_for(name, None, "float32").in_host_memory]
on_shared = pytest.mark.parametrize(
    "name", SHARING or [pytest.param("", marks=pytest.mark.skip(reason="no OpenCL device in host memory"))]
)
#: Results that are allocated by themselves, and in memory that is kept.
sizes = pytest.mark.parametrize("size", [40, LEAST_KEPT // 4])


def integers(*shape, seed=0):
    return np.random.default_rng(seed).integers(-8, 9, shape).astype("float32")


@pytest.fixture
def allocating(name, monkeypatch):
    """Let a device share only what is allocated so, and return its executor."""
    executor = executor_for(name, None, "float32")
    if executor._shared._context is None:
        pytest.skip("the device shares no memory")
    monkeypatch.setattr(executor._shared, "_is_all", False)
    return executor


@pytest.fixture
def kept(monkeypatch):
    """A store of blocks that no other test knows."""
    store = Kept(8 * LEAST_KEPT)
    monkeypatch.setattr(kept_memory, "_kept", store)
    return store


@pytest.fixture
def commands(monkeypatch):
    """Counts the buffers in host memory and the maps that calls make."""
    made = []
    buffer, mapped = cl.Buffer, cl.enqueue_map_buffer

    def recorded(context, flags, *arguments, **keywords):
        if flags & cl.mem_flags.USE_HOST_PTR:
            made.append("buffer")
        return buffer(context, flags, *arguments, **keywords)

    monkeypatch.setattr(cl, "Buffer", recorded)
    monkeypatch.setattr(cl, "enqueue_map_buffer", lambda *a, **k: (made.append("map"), mapped(*a, **k))[1])
    return made


@on_shared
@sizes
def test_results_lie_in_shared_memory_and_are_not_mapped(name, allocating, commands, size):
    x = integers(1, 1, size)
    y = clconv.conv1d(x, np.full((1, 1, 1), 3, "float32"), device=name)
    np.testing.assert_array_equal(y, 3 * x)
    assert allocating._shared.holds(y)
    assert commands == ["buffer", "buffer"]
    commands.clear()
    np.testing.assert_array_equal(clconv.relu(y, device=name), np.maximum(3 * x, 0))
    assert commands == []


@on_shared
def test_where_all_memory_is_shared_no_array_is_a_buffer(name, commands):
    if not executor_for(name, None, "float32")._shared._is_all:
        pytest.skip("the device does not share all memory")
    x = integers(2, 3, 50)[:, ::-1, 1::3]
    out = np.empty((2, 1, 17), "float32")[:, :, ::-1]
    clconv.conv1d(x, np.ones((1, 3, 1), "float32"), out=out, device=name)
    np.testing.assert_array_equal(out, x.sum(1, keepdims=True))
    assert commands == []


@on_shared
@sizes
def test_results_may_be_given_again_in_part_and_beside_other_arrays(name, allocating, commands, size):
    x, w = integers(1, 2, size), integers(2, 2, 1, seed=1)
    y = clconv.conv1d(x, w, device=name)
    expected = y.copy()
    w3 = np.full((1, 1, 1), 3, "float32")
    clconv.conv1d(expected[:, :1, 1::2], w3, out=y[:, :1, :-1:2], device=name)
    np.testing.assert_array_equal(y[:, :1, :-1:2], 3 * expected[:, :1, 1::2])
    np.testing.assert_array_equal(y[:, :1, 1::2], expected[:, :1, 1::2])
    clconv.conv1d(y[:, 1:, ::-1], w3, out=y[:, :1], device=name)
    np.testing.assert_array_equal(y, np.stack([3 * expected[0, 1, ::-1], expected[0, 1]])[None])
    out = np.empty_like(expected)  # not shared
    clconv.conv1d(y, w, out=out, device=name)
    np.testing.assert_array_equal(out, np.einsum("ncx,fc->nfx", y, w[:, :, 0]))
    assert commands.count("map") == 1


@on_shared
def test_what_one_device_made_others_read(name, allocating):
    x, w = integers(1, 2, 60), integers(3, 2, 3, seed=1)
    y = clconv.conv1d(x, w, device=name)
    for other in [device.name for device in clconv.devices() if device.problem is None]:
        for given in (y, y[:, ::2, ::-1]):
            np.testing.assert_array_equal(clconv.relu(given, device=other), np.maximum(given, 0))
        out = clconv.relu(y, device=other)
        clconv.conv1d(x, w, out=out, device=name)
        np.testing.assert_array_equal(out, y)
    context = cl.Context([allocating.device])
    assert not allocating._shared.holds(clconv.conv1d(x, w, device=context))
    np.testing.assert_array_equal(clconv.relu(y, device=context), np.maximum(y, 0))


@on_shared
@sizes
def test_shared_memory_that_nobody_uses_is_used_again_or_freed(name, allocating, kept, size, monkeypatch):
    made = []
    real = shared_memory._Allocation.__init__

    def recorded(self, *arguments):
        real(self, *arguments)
        made.append(weakref.ref(self))

    monkeypatch.setattr(shared_memory._Allocation, "__init__", recorded)
    gc.disable()
    try:
        for _ in range(5):
            clconv.relu(integers(size), device=name)
    finally:
        gc.enable()
    if size * 4 < LEAST_KEPT:
        assert [ref() for ref in made] == [None] * 5
    else:
        assert len(made) == 1


@on_shared
@sizes
def test_without_shared_memory_left_results_lie_elsewhere(name, allocating, kept, commands, size, monkeypatch):
    def fail(*arguments):
        raise cl.MemoryError("SVMAllocation", cl.status_code.OUT_OF_RESOURCES)

    monkeypatch.setattr(cl, "SVMAllocation", fail)
    x = integers(size)
    y = clconv.relu(x, device=name)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    assert commands.count("map") == 1


def test_a_device_that_does_not_know_the_question_shares_nothing():
    class Old:
        @property
        def svm_capabilities(self):
            raise cl.LogicError("clGetDeviceInfo", cl.status_code.INVALID_VALUE)

    memory = shared_memory.SharedMemory(None, Old())
    y = memory.empty((3, 4), "float16")
    assert (y.shape, y.dtype, y.flags.owndata, memory.holds(y)) == ((3, 4), np.float16, True, False)


@on_shared
def test_results_larger_than_what_a_device_allocates_lie_elsewhere(name, allocating, kept, commands, monkeypatch):
    clconv.relu(integers(LEAST_KEPT), device=name)
    commands.clear()
    monkeypatch.setattr(allocating._shared, "_largest", LEAST_KEPT)
    y = clconv.relu(integers(LEAST_KEPT // 4 + 1), device=name)
    assert not allocating._shared.holds(y)
    assert commands.count("map") == 1
    assert kept.sizes() == [4 * LEAST_KEPT, LEAST_KEPT + 4]


@on_shared
def test_all_contexts_together_keep_no_more_than_one(name, allocating, kept):
    for _ in range(6):
        store = shared_memory.SharedMemory(cl.Context([allocating.device]), allocating.device)
        store._is_all = False
        arrays = [store.empty((LEAST_KEPT,), "uint8") for _ in range(3)]
        assert all(store.holds(array) for array in arrays)
        assert sum(kept.sizes()) <= 8 * LEAST_KEPT


@on_shared
def test_empty_results_need_no_memory(name, allocating):
    empty = np.empty((0, 3), "float32")
    assert clconv.relu(empty, device=name).shape == (0, 3)
    assert allocating._shared.empty((0, 3), "float32").flags.owndata


class Marked(np.ndarray):
    """A kind of array."""


@on_shared
def test_views_of_any_kind_are_known_as_shared(name, allocating):
    y = clconv.relu(integers(5, 8), device=name)
    view = y.view(Marked)[1:, ::2]
    assert view.base is not y.base
    assert allocating._shared.holds(view)
    assert not allocating._shared.holds(view.copy())


@on_shared
def test_threads_have_results_of_their_own(name, allocating):
    faults = []

    def work(number):
        for _ in range(100):
            x = np.full(LEAST_KEPT // 4, number, "float32")
            y, z = clconv.relu(x, device=name), clconv.relu(x[:50], device=name)
            if (y != number).any() or (z != number).any():
                faults.append(number)

    run_in_threads(work, [(number,) for number in range(1, 5)])
    assert not faults


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@on_shared
def test_a_forked_process_may_read_results_and_let_them_go(name, allocating):
    results = [clconv.relu(np.full(size, 7, "float32"), device=name) for size in (40, LEAST_KEPT)]
    child = os.fork()
    if not child:
        signal.alarm(20)
        right = all((result == 7).all() for result in results)
        del results[:]
        os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
