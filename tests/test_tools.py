"""The tests' own tools refuse what they must."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests import dialect_lint, matrix
from tests.calls import assert_exact, assert_within_bound, run_twice
from tests.conftest import ENTRIES, Record, entry_text
from tests.fences import FENCE, Fences
from tests.strategies import LAYOUTS, laid_out


@pytest.mark.parametrize("position", [-1, 12])
def test_fences_notice_a_byte_on_either_side(position):
    fences = Fences()
    array = fences.empty((3,), "float32")
    assert np.isnan(array).all()
    fences.assert_unharmed()
    array.base[FENCE + position] = 0
    with pytest.raises(AssertionError, match="1 bytes beside an array of 12 bytes were written"):
        fences.assert_unharmed()


def test_exactness_notices_one_wrong_element(monkeypatch):
    x, w = np.ones((1, 1, 4), "float32"), np.ones((1, 1, 2), "float32")
    assert_exact("conv1d", "native", Record(), x, w)
    wrong = np.array([[[2, 2, 3]]], "float32")
    monkeypatch.setattr("clconv.conv1d", lambda *_, **__: wrong)
    with pytest.raises(AssertionError):
        assert_exact("conv1d", "native", Record(), x, w)
    with pytest.raises(AssertionError, match="times its bound"):
        assert_within_bound("conv1d", "native", Record(), x, w)


def test_repetition_notices_other_bits_and_changed_inputs(monkeypatch):
    x, w = np.ones((1, 1, 4), "float32"), np.ones((1, 1, 2), "float32")
    calls = iter(np.float32([1, 2]))
    monkeypatch.setattr("clconv.conv1d", lambda *_, **__: next(calls))
    with pytest.raises(AssertionError, match="the same call gave other bits"):
        run_twice("conv1d", "native", Record(), x, w)

    def scribble(x, w, device):
        x[...] += 1
        return np.float32(0)

    monkeypatch.setattr("clconv.conv1d", scribble)
    with pytest.raises(AssertionError, match="an input was changed"):
        run_twice("conv1d", "native", Record(), x, w)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "broadcast"])
def test_layouts_keep_values(layout):
    array = np.arange(2 * 3 * 4, dtype="float32").reshape(2, 3, 4)
    np.testing.assert_array_equal(laid_out(array, layout), array)


@pytest.mark.parametrize(
    "line",
    [
        "float x = 1;",
        "y = vload_half(i, p);",
        "z = mad(a, b, c);",
        "v.s0 = 1;",
        "int i = get_global_id(0);",
        "local int t;",
    ],
)
def test_the_dialect_lint_refuses_raw_forms(line):
    assert dialect_lint.findings("planted.cl", f"/* float in a comment */\n{line}\n")


def test_the_kernel_files_speak_the_dialect():
    assert dialect_lint.main() == 0


def test_the_matrix_fails_on_a_gap(tmp_path, capsys):
    entries = [entry_text(*entry) for entry in ENTRIES]
    for name, launches in (("whole", entries), ("gap", entries[1:])):
        (tmp_path / name).mkdir()
        content = {"native": {"expected": entries, "launches": launches, "cases": 5, "worst": 0.5}}
        (tmp_path / name / "main.json").write_text(json.dumps(content))
    assert matrix.main([tmp_path / "whole"]) == 0
    assert matrix.main([tmp_path / "gap"]) == 1
    assert "GAP" in capsys.readouterr().out
    assert matrix.main([tmp_path / "absent"]) == 1
