"""Sixty wrong implementations, one for each classic bug that can be had, are found within three minutes of one core."""

from __future__ import annotations

import time

import pytest

from tests.wrong import blocks, conv, conv_backward, conv_transpose, deform, general, norm, pool, rearrange, resample
from tests.wrong.assertions import assert_killed

FAMILIES = (conv, conv_backward, conv_transpose, blocks, general, pool, norm, resample, rearrange, deform)
WRONG = [wrong for family in FAMILIES for wrong in family.WRONG]
ALL_TOGETHER = 180


def sixty():
    """Return the first wrong implementation with each classic bug, and more until there are sixty."""
    by_line = {}
    for wrong in WRONG:
        by_line.setdefault(wrong.line, wrong)
    classic = [wrong for line, wrong in by_line.items() if line]
    others = [wrong for wrong in (*deform.WRONG, *rearrange.WRONG) if wrong.line == 0]
    return (classic + others)[:60]


def test_there_are_enough():
    assert len(sixty()) == 60
    assert len(WRONG) > 200
    assert sum(bool(wrong.cause) for wrong in sixty()) >= 40


@pytest.mark.slow
def test_sixty_are_found_within_three_minutes_of_one_core():
    begin = time.process_time()
    for wrong in sixty():
        assert_killed(wrong)
    assert time.process_time() - begin <= ALL_TOGETHER
