"""The oracle has teeth: right convolutions pass, and every wrong one is found, explained and shown by a program."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from clconv.oracle import check
from tests.wrong import blocks, conv, conv_backward, conv_transpose, general
from tests.wrong.assertions import assert_killed
from tests.wrong.sixty import sixty

FAMILIES = (conv, conv_backward, conv_transpose, blocks)
RIGHT = {op: implementation for family in FAMILIES for op, implementation in family.RIGHT.items()}
WRONG = [wrong for family in (*FAMILIES, general) for wrong in family.WRONG]
# Classic bugs of convolutions and of programs in general, by their number in the list of 55.
CLASSIC = {*range(1, 27), 55}


def printed(program: str, implementation) -> tuple[list[str], dict]:
    """Run the program of a finding, and return the lines that it prints and its variables."""
    variables = {"implementation": implementation}
    program = re.sub(r"^impl = \.\.\..*$", "impl = implementation", program, flags=re.MULTILINE)
    with contextlib.redirect_stdout(io.StringIO()) as output, np.errstate(all="ignore"):
        exec(program, variables)
    return output.getvalue().splitlines(), variables


def assert_shown(finding, implementation, dtype):
    """Require that the program of a finding shows what the finding says."""
    message = finding.message
    if message.startswith("raised ") and "NumPy array" not in message and "another array" not in message:
        with pytest.raises(Exception, match=re.escape(message.partition(": ")[2].split("\n")[0])):
            printed(finding.snippet, implementation)
        return
    lines, variables = printed(finding.snippet, implementation)
    if finding.mode == "identities":
        assert lines[0].startswith(message)
    elif finding.index is not None:
        number = np.dtype(dtype).type
        np.testing.assert_equal(number(lines[0]), number(finding.got))
        assert not abs(float(lines[0]) - float(lines[1])) <= (finding.bound or 0)
    elif finding.mode == "refusals":
        assert "got" in variables
    elif "gave other bits" in message:
        assert 0 < int(lines[0].split()[0]) < 200
    elif "was changed" in message or "earlier result" in message or "another array" in message:
        assert lines == ["False"]
    elif "memory beside" in message:
        assert lines != ["[]", "[]"]
    elif "NumPy array" in message:
        assert "numpy" not in lines[0]
    else:
        results = variables["got"] if isinstance(variables["got"], tuple) else (variables["got"],)
        known = [text for r in results if r is not None for text in (str(r.shape), str(r.dtype))]
        assert any(text in message for text in known) or "is missing" in message


def marks(wrong):
    """Leave those of one dimension among the fast tests; together they all take minutes."""
    if "1d" in wrong.op or "fold" in wrong.op:
        return ()
    return (pytest.mark.slow, pytest.mark.exhaustive) if wrong in sixty() else pytest.mark.slow


@pytest.mark.parametrize("wrong", [pytest.param(w, marks=marks(w), id=f"{w.op}: {w.name}") for w in WRONG])
def test_a_wrong_implementation_is_found_and_shown(wrong):
    found = assert_killed(wrong)
    if wrong.isolate or "threads" in found[0].message:  # it takes the process with it, or does not always fail
        return
    for finding in found[:3]:
        assert_shown(finding, wrong.impl, wrong.dtype)


@pytest.mark.parametrize("op", [pytest.param(op, marks=[pytest.mark.slow] * ("1d" not in op)) for op in RIGHT])
def test_a_right_implementation_passes(op):
    report = check(RIGHT[op], op=op)
    assert report.passed, str(report)
    assert report.worst_ratio <= 1
    assert {deviation.name for deviation in report.deviations} <= {"0 times infinity in the padding"}


def test_a_right_implementation_is_not_taken_for_a_wrong_one():
    with pytest.raises(AssertionError, match="passes"):
        assert_killed(replace(WRONG[0], op="unfold", impl=RIGHT["unfold"]))


@pytest.mark.parametrize("deviating", general.DEVIATING, ids=lambda wrong: wrong.name)
def test_what_systems_disagree_on_is_told_and_not_held_against_it(deviating):
    report = check(deviating.impl, op=deviating.op)
    assert report.passed, str(report)
    assert deviating.cause in {deviation.name for deviation in report.deviations}


def test_every_classic_bug_has_its_wrong_implementation():
    assert {wrong.line for wrong in (*WRONG, *general.DEVIATING)} >= CLASSIC


def test_most_causes_are_expected_by_name():
    assert len({(wrong.op, wrong.name) for wrong in WRONG}) == len(WRONG) >= 45
    assert sum(bool(wrong.cause) for wrong in WRONG) >= 36
