"""Implementations that crash, hang, eat memory or change their mind, in a process of their own."""

from __future__ import annotations

import numpy as np
import pytest

from clconv.oracle import check
from clconv.oracle.isolation import IsolatedRunner
from clconv.oracle.operations._base import Case, Problem
from tests import small_implementations

SKIP = ["edges", "refusals", "identities", "hostile", "bound"]


def case(extent, kernel=2):
    shapes = {"input": (1, 1, extent), "weight": (1, 1, kernel)}
    return Case(Problem(shapes), {name: np.ones(shape, "float32") for name, shape in shapes.items()})


@pytest.fixture
def runner():
    """Return a function that starts a runner, and close what it started."""
    started = []

    def start(implementation, patience=1.0):
        started.append(IsolatedRunner(implementation, "conv1d", patience))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_results_come_back_from_the_other_process(runner):
    calls = runner(small_implementations.conv1d)
    assert calls.observe(case(4)).results["output"].tolist() == [[[2, 2, 2]]]
    assert calls.facts.parameters == {"bias", "stride", "padding", "dilation"}


@pytest.mark.parametrize(
    ("implementation", "kind", "text"),
    [
        (small_implementations.crashing, "crashed", "the process died of SIGSEGV"),
        (small_implementations.hanging, "hangs", "no answer within 1 s"),
    ],
)
def test_a_process_that_ends_badly_is_an_observation_and_the_next_call_has_a_new_one(
    runner, implementation, kind, text
):
    calls = runner(implementation)
    died = calls.observe(case(4))
    assert (died.died, died.error.kind, died.error.text) == (True, kind, text)
    assert calls.observe(case(2)).results["output"].tolist() == [[[2]]]


@pytest.mark.slow  # it takes memory until it is stopped
def test_a_hunger_for_memory_is_stopped(runner, monkeypatch):
    monkeypatch.setattr("clconv.oracle.isolation.MEMORY", 1 << 28)
    died = runner(small_implementations.hungry, patience=60).observe(case(4))
    assert (died.died, died.error.kind) == (True, "eats memory")


def test_what_ends_badly_is_found_with_its_case():
    report = check(small_implementations.crashing, op="conv1d", isolate=True, max_examples=10, skip=SKIP, seconds=12)
    (finding,) = report.findings
    assert finding.message == "crashed: the process died of SIGSEGV"
    # How far shapes come down depends on how many processes could be started in the time.
    assert finding.call.startswith("conv1d(input(")


def test_a_result_that_changes_is_found():
    report = check(small_implementations.changing, op="conv1d", isolate=True, max_examples=10, skip=SKIP)
    (finding,) = report.findings
    assert "other bits" in finding.message or finding.cause == "the result changes from call to call"


def test_only_what_another_process_can_import_is_isolated():
    with pytest.raises(TypeError, match="isolate=True takes a function of a module"):
        check(lambda x, w: x, op="conv1d", isolate=True)
    with pytest.raises(ImportError, match="no_such_package"):
        check("no_such_package:conv1d", isolate=True)


def test_what_the_other_process_says_of_the_target_is_raised_here():
    with pytest.raises(ValueError, match="op must be one of"):
        check("tests.small_implementations:flipped", isolate=True)
