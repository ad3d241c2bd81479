"""Every kernel with every define set runs on every device, between canaries, with its result checked."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

import clconv
from clconv import kernel_source
from clconv.devices import executor_for
from clconv.native.table import DEFINE_SETS, defines_text
from clconv.plan import Traits
from tests.calls import assert_exact, assert_within_bound, assert_within_class, is_interpreted
from tests.conftest import ENTRIES, Record, entry_text, expected_entries
from tests.kernel_calls import CALLS


def test_every_kernel_file_is_in_the_table():
    assert {path.name for path in kernel_source.folder().glob("*.cl")} == set(DEFINE_SETS)


#: Kernels of these are no operation's: tests/test_bench_ceilings.py runs them.
OTHER_FILES = {"ceiling.cl"}


def test_every_kernel_has_calls():
    assert {kernel for file, kernel, _ in ENTRIES if file not in OTHER_FILES} == set(CALLS)


def entries_by_calls():
    """Return the entries of the table, those together that the same calls launch."""
    together = defaultdict(list)
    for file, kernel, defines in ENTRIES:
        if file not in OTHER_FILES:
            together[file, defines, CALLS[kernel]].append(kernel)
    for (file, defines, calls), kernels in together.items():
        yield pytest.param(file, kernels, defines, calls, id=f"{'+'.join(kernels)}-{defines_text(defines)}")


@pytest.mark.parametrize(("file", "kernels", "defines", "calls"), list(entries_by_calls()))
def test_every_kernel_runs_with_every_define_set(monkeypatch, device, record, file, kernels, defines, calls):
    entries = {entry_text(file, kernel, defines) for kernel in kernels}
    dtype = f"float{dict(defines)['ELEMENT']}"
    executor = executor_for(device, np.zeros(1, dtype), dtype)
    width = dict(defines).get("VECTOR_BYTES", executor.traits.vector_bytes)
    if not entries & expected_entries(device):
        return
    monkeypatch.setattr(executor, "traits", Traits(width, vector_loops=True))
    if is_interpreted(device) and "VECTOR_BYTES" in dict(defines):  # kernels without vectors have entries of their own
        monkeypatch.setattr("tests.calls.traits_tried", lambda own: [own])
    random = np.random.default_rng(3)
    drawn = calls(lambda *shape: random.integers(-3, 3, shape).astype(dtype))
    own = Record()  # of this test alone: what others launch may not be what they launch elsewhere
    for call in (call for call in drawn if call.is_for(defines)):
        check = assert_exact if call.exact else assert_within_bound
        if call.accuracy != "strict":
            check = assert_within_class
        with clconv.accuracy(call.accuracy):
            check(call.operation, device, own, *call.arguments, **call.keywords)
    record.add(own)
    assert entries <= own.launches[device]
