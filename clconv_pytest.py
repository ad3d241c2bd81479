"""The pytest plugin: a mark that turns a test into one for each examination of clconv's oracle.

It stands outside of the package so that pytest, which loads every plugin that is installed, loads nothing of clconv,
nor NumPy, until a test has the mark::

    @pytest.mark.clconv_oracle(impl=my_conv2d, op="conv2d", dtype="float64")
    def test_my_conv2d(clconv_examination):
        clconv_examination()
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

MARK = "clconv_oracle"
FIXTURE = "clconv_examination"


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(impl, op=None, dtype='float32', ...): run the test once for each examination of an implementation, "
        f"with the arguments of clconv.oracle.check; the test calls its fixture {FIXTURE}",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn a marked test into one for each examination."""
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None or FIXTURE not in metafunc.fixturenames:
        return
    from clconv.oracle.suites import Trial

    trial = Trial(*mark.args, **mark.kwargs)
    listed = trial.examinations()
    names = [f"{examination.mode}: {examination.name}" for examination in listed]
    metafunc.parametrize(FIXTURE, listed, indirect=True, ids=names)


@pytest.fixture
def clconv_examination(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Return what runs one examination and fails with its findings."""
    mark = request.node.get_closest_marker(MARK)
    if mark is None:
        raise pytest.UsageError(f"{FIXTURE} is for tests marked with pytest.mark.{MARK}(impl=..., op=...)")
    from clconv.oracle.suites import Trial

    return partial(Trial(*mark.args, **mark.kwargs).assert_right, request.param)
