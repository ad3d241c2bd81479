"""Which algorithms an accuracy admits, and the reasons why others are not chosen."""

from __future__ import annotations

import re
import threading

import pytest

import clconv
from clconv import algorithms
from clconv.accuracy import accuracy_in_force
from clconv.algorithms import ALGORITHMS, algorithm_for, alternatives
from clconv.algorithms.algorithm import ERROR_CLASSES, Algorithm, everywhere
from clconv.native import table
from clconv.plan import Plan, Traits
from tests.kernel_calls import PROBLEMS
from tests.test_device_choice import python

#: One algorithm of each class, and one that refuses.
LIST = (
    Algorithm("wild", everywhere, lambda *_: Plan(()), "fast"),
    Algorithm("loose", everywhere, lambda *_: Plan(()), "default"),
    Algorithm("never", lambda *_: "it is never right", lambda *_: Plan(())),
    Algorithm("portable", everywhere, lambda *_: Plan(())),
)


@pytest.fixture
def listed(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "anything", LIST)
    yield "anything"
    algorithms.forget()


@pytest.mark.parametrize(("name", "chosen"), [("strict", "portable"), ("default", "loose"), ("fast", "wild")])
def test_the_first_algorithm_that_is_admitted_is_chosen(listed, name, chosen):
    assert algorithm_for(listed, None, Traits(), name).name == chosen


def test_each_algorithm_that_is_not_chosen_has_its_reason(listed):
    assert alternatives(listed, None, Traits(), "default") == {
        "wild": "its error class 'fast' is not admitted by accuracy 'default'",
        "never": "it is never right",
        "portable": "comes after 'loose' in the list",
    }


def test_blocks_nest_and_end():
    with clconv.accuracy("fast"):
        assert accuracy_in_force() == "fast"
        with clconv.accuracy("default"):
            assert accuracy_in_force() == "default"
        with pytest.raises(KeyError), clconv.accuracy("default"):
            raise KeyError
        assert accuracy_in_force() == "fast"
    assert accuracy_in_force() == "strict"


def test_a_block_is_effective_in_its_own_thread_only():
    seen = []
    with clconv.accuracy("fast"):
        thread = threading.Thread(target=lambda: seen.append(accuracy_in_force()))
        thread.start()
        thread.join()
    assert seen == ["strict"]  # that of the environment of the tests


@pytest.mark.accuracy("default")
def test_a_mark_chooses_the_accuracy_of_a_test(accuracy):
    assert accuracy_in_force() == accuracy == "default"


def test_the_environment_decides_outside_of_blocks():
    program = """
    import clconv
    from clconv.accuracy import accuracy_in_force
    print(accuracy_in_force())
    with clconv.accuracy("strict"):
        print(accuracy_in_force())
    """
    assert python(program, CLCONV_ACCURACY="fast") == ["fast", "strict"]
    assert python(program, CLCONV_ACCURACY="") == ["default", "strict"]


def test_a_wrong_environment_is_refused_by_the_first_call():
    program = """
    import numpy, clconv
    try:
        clconv.conv1d(numpy.ones((1, 4)), numpy.ones((1, 1, 3)), device="native")
    except ValueError as error:
        print(error)
    """
    rule = "CLCONV_ACCURACY takes one of 'strict', 'default', 'fast': CLCONV_ACCURACY='best'"
    assert python(program, CLCONV_ACCURACY="best") == [rule]


@pytest.mark.parametrize(
    ("name", "error", "rule"),
    [
        ("best", ValueError, "accuracy takes one of 'strict', 'default', 'fast': accuracy='best'"),
        (3e-6, TypeError, "accuracy takes one of 'strict', 'default', 'fast', not float: accuracy=3e-06"),
    ],
)
def test_an_accuracy_that_is_none_is_refused(name, error, rule):
    with pytest.raises(error, match=re.escape(rule)), clconv.accuracy(name):
        pass


@pytest.mark.parametrize("operation", ALGORITHMS)
def test_every_reason_is_one_short_sentence(operation):
    reasons = set()
    for dtype in ("float16", "float32", "float64"):
        for problem in PROBLEMS[operation](dtype):
            for traits in (Traits(), Traits(16), *(Traits(width, True) for width in table.WIDTHS)):
                others = alternatives(operation, problem, traits)
                chosen = algorithm_for(operation, problem, traits).name
                assert {chosen, *others} == {algorithm.name for algorithm in ALGORITHMS[operation]}
                assert chosen not in others
                reasons |= set(others.values())
    for reason in reasons:
        assert 10 < len(reason) < 120
        assert not reason.endswith(".")


def test_every_algorithm_is_of_a_class_and_the_last_of_the_strictest():
    for listed in ALGORITHMS.values():
        assert {algorithm.error for algorithm in listed} <= set(ERROR_CLASSES)
        assert listed[-1].error == "elementwise"
        assert len({algorithm.name for algorithm in listed}) == len(listed)
