"""Every kernel with every define set runs on every device, between canaries, with its result checked."""

from __future__ import annotations

import numpy as np
import pytest

from clconv import kernel_source
from clconv.devices import executor_for
from clconv.native.table import DEFINE_SETS, defines_text
from clconv.plan import Traits
from tests.calls import assert_exact
from tests.conftest import ENTRIES, entry_text, expected_entries

#: For each kernel a call that launches it.
CALLS = {
    "pack_weights": "conv2d",
    "conv_direct": "conv2d",
    "conv_fwd": "conv2d",
    "conv_bwd_data": "conv_transpose2d",
    "conv_bwd_weights": "conv2d_backward",
    "channel_sums": "conv2d_backward",
    "sum_parts": "conv2d_backward",
    "unfold": "unfold",
    "fold": "fold",
}


def test_every_kernel_file_is_in_the_table():
    assert {path.name for path in kernel_source.folder().glob("*.cl")} == set(DEFINE_SETS)


@pytest.mark.parametrize(("file", "kernel", "defines"), ENTRIES, ids=[f"{k}-{defines_text(d)}" for _, k, d in ENTRIES])
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular", "symmetric"])
def test_every_kernel_runs_with_every_define_set(monkeypatch, device, record, file, kernel, defines, padding_mode):
    dtype = f"float{dict(defines)['ELEMENT']}"
    executor = executor_for(device, np.zeros(1, dtype), dtype)
    width = dict(defines).get("VECTOR_BYTES", executor.traits.vector_bytes)
    if device == "native" and width != executor.traits.vector_bytes:
        assert entry_text(file, kernel, defines) not in expected_entries(device)
        return
    monkeypatch.setattr(executor, "traits", Traits(width))
    random = np.random.default_rng(3)

    def integers(*shape):
        return random.integers(-3, 3, shape).astype(dtype)

    window = {"stride": (2, 1), "padding": ((1, 2), (2, 0)), "dilation": (1, 2), "padding_mode": padding_mode}
    call = CALLS[kernel]
    if call == "unfold":
        assert_exact(call, device, record, integers(2, 2, 4, 5), (3, 2), **window)
    elif call == "fold":
        assert_exact(call, device, record, integers(2, 2 * 6, 3 * 5), (4, 5), (3, 2), **window)
    elif call == "conv_transpose2d":
        assert_exact(call, device, record, integers(2, 2, 3, 5), integers(2, 2, 3, 2), integers(2), **window)
    else:
        gradient = [integers(2, 2, 3, 5)] if call == "conv2d_backward" else []
        assert_exact(call, device, record, *gradient, integers(2, 2, 4, 5), integers(2, 2, 3, 2), integers(2), **window)
    assert entry_text(file, kernel, defines) in record.launches[device]
