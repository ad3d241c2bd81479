"""Sixty wrong implementations, one for each classic bug that can be had, are found within three minutes of one core."""

from __future__ import annotations

import time

import pytest

from tests.wrong.assertions import assert_killed
from tests.wrong.sixty import WRONG, sixty

ALL_TOGETHER = 180


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
