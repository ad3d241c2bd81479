"""The kernels by which the benchmark measures what a device can do compute what they say; the rates are plausible."""

from __future__ import annotations

import numpy as np
import pytest

from clconv.bench import ceilings
from clconv.bench.ceilings import CHAINS, Ceilings, copy_plan, measured_ceilings, multiply_adds_plan
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.native.table import DEFINE_SETS, defines_text
from clconv.plan import Traits
from tests.conftest import entry_text, expected_entries
from tests.fences import fenced

DEFINES = pytest.mark.parametrize("defines", DEFINE_SETS["ceiling.cl"], ids=defines_text)
ITEMS, ROUNDS = 5, 3


def executor_with(monkeypatch, device, kernel, defines):
    """Return a device's executor and the dtype for a define set; None where it is not for this device."""
    dtype = f"float{dict(defines)['ELEMENT']}"
    executor = executor_for(device, np.zeros(1, dtype), dtype)
    monkeypatch.setattr(executor, "traits", Traits(dict(defines)["VECTOR_BYTES"], vector_loops=True))
    return (executor if entry_text("ceiling.cl", kernel, defines) in expected_entries(device) else None), dtype


def run(executor, record, device, plan, arrays, size):
    with fenced(executor, record, device) as fences:
        y = fences.empty((size,), arrays["x"].dtype)
        executor.run(plan, {name: Operand(array, 0, ()) for name, array in {**arrays, "y": y}.items()})
    return y


def assert_multiply_adds(executor, record, device, dtype):
    plan, size = multiply_adds_plan(executor, dtype, ITEMS, ROUNDS)
    lanes = size // (ITEMS * CHAINS)
    x = np.arange(CHAINS * lanes, dtype=dtype)
    w, b = np.full(lanes, 2, dtype), np.arange(lanes, dtype=dtype)
    expected = x.reshape(CHAINS, lanes)
    for _ in range(ROUNDS):
        expected = expected * w + b
    y = run(executor, record, device, plan, {"x": x, "w": w, "b": b}, size)
    np.testing.assert_array_equal(y.reshape(ITEMS, CHAINS, lanes), np.stack([expected] * ITEMS))


def assert_copies(executor, record, device, dtype, count):
    x = np.arange(count).astype(dtype)
    y = run(executor, record, device, copy_plan(executor, dtype, count), {"x": x}, count)
    assert y.tobytes() == x.tobytes()


@DEFINES
def test_multiply_adds_are_what_rounds_of_them_make(monkeypatch, device, record, defines):
    executor, dtype = executor_with(monkeypatch, device, "multiply_adds", defines)
    if executor is not None:
        assert_multiply_adds(executor, record, device, dtype)


@DEFINES
@pytest.mark.parametrize("count", [1, 5_000, 12_345])
def test_copy_runs_gives_the_same_bits(monkeypatch, device, record, defines, count):
    executor, dtype = executor_with(monkeypatch, device, "copy_runs", defines)
    if executor is not None:
        assert_copies(executor, record, device, dtype, count)


def test_multiply_adds_and_copy_runs_in_groups_of_work_items(monkeypatch, device, record):
    """Devices that are no processors share vectors: groups have 64 work-items, the last ones of which have no work."""
    if device != "native":
        executor = executor_for(device, np.zeros(1, "float32"), "float32")
        monkeypatch.setattr(executor, "traits", Traits())
        assert_multiply_adds(executor, record, device, "float32")
        assert_copies(executor, record, device, "float32", 1001)


def test_operations_are_counted_as_the_kernel_does_them():
    executor = executor_for("native", np.zeros(1, "float32"), "float32")
    plan, size = multiply_adds_plan(executor, "float32", ITEMS, ROUNDS)
    assert plan.launches[0].operations == 2 * ROUNDS * size


def test_the_native_device_has_plausible_ceilings(monkeypatch):
    monkeypatch.setattr(ceilings, "_TRIED", 0.05)
    single, double = (measured_ceilings("native", dtype) for dtype in ("float32", "float64"))
    assert 1e9 < double.multiply_adds < 1.5 * single.multiply_adds < 1e15
    assert all(1e8 < rate < 1e13 for _, rate in single.copies)


def test_a_ceiling_between_two_sizes_is_the_better_one():
    measured = Ceilings(100e9, ((100, 1e9), (1000, 5e9), (10_000, 2e9)))
    assert [measured.copy_rate(size) for size in (10, 100, 500, 1000, 5000, 10_000, 10**9)] == [
        5e9, 5e9, 5e9, 5e9, 5e9, 2e9, 2e9,
    ]  # fmt: skip


def test_the_least_time_is_that_of_the_slower_part():
    measured = Ceilings(100e9, ((1, 10e9),))
    assert measured.least_seconds(operations=10**9, moved=10**6) == 0.01
    assert measured.least_seconds(operations=10**6, moved=10**9) == 0.1
