"""Elementwise operations before the checker: right implementations pass, wrong ones do not, and the cause is named."""

from __future__ import annotations

import pytest

from clconv.oracle import check
from tests.wrong.assertions import assert_killed
from tests.wrong.elementwise import RIGHT, WRONG


@pytest.mark.parametrize("name", RIGHT)
def test_right_implementations_pass(name):
    report = check(RIGHT[name], op=name, max_examples=30)
    assert report.passed, str(report)


@pytest.mark.parametrize("wrong", WRONG, ids=[f"{wrong.op}: {wrong.name}" for wrong in WRONG])
def test_wrong_implementations_are_found(wrong):
    assert_killed(wrong)
