"""Every examination as a test of its own, for pytest: base classes, and what the plugin's mark needs.

Examples
--------
A test module of one's own::

    from clconv import oracle

    class TestMyConv(oracle.Conv2dSuite):
        impl = my_conv2d
        dtype = "float64"

has the tests ``TestMyConv::test[exact: drawn problems]``, ``TestMyConv::test[refusals: groups=0]`` and so on.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from .check import SEARCH, claimed, without
from .examinations import Examination, examinations
from .examiner import Examiner, LocalRunner
from .operations import OPERATIONS
from .target import resolved, source_of

__all__ = ["SUITES", "OracleSuite", "Trial"]


@dataclass(frozen=True)
class Trial:
    """An implementation and how it is to be judged; all but `seconds`, the time for one test, as in `check`."""

    impl: Any
    op: str | None = None
    dtype: str = "float32"
    semantics: str | None = None
    algorithm: str = "direct"
    accumulate: str | None = None
    features: Collection[str] | None = None
    skip: Collection[str] = ()
    max_examples: int = 100
    seconds: float = SEARCH
    seed: int = 0

    def examinations(self) -> list[Examination]:
        """Return what the implementation goes through.

        Raises
        ------
        ValueError, TypeError
            As `check`.
        """
        examiner = self._examiner()
        return without(examinations(examiner.operation, examiner.claims), self.skip)

    def assert_right(self, examination: Examination) -> None:
        """Run an examination; fail with its findings, each with the program that shows it.

        Raises
        ------
        AssertionError
            If it finds a fault.
        """
        __tracebackhide__ = True
        outcome = examination.run(self._examiner())
        if outcome.out_of_time and not outcome.cases:
            raise AssertionError(f"no case ran within seconds={self.seconds}, so this is no pass")
        if outcome.findings:
            raise AssertionError("\n\n".join(f"{finding}\n\n{finding.snippet}" for finding in outcome.findings))

    def _examiner(self) -> Examiner:
        implementation, facts = resolved(self.impl, self.op)
        claims = claimed(facts, self.dtype, self.semantics, self.algorithm, self.accumulate, self.features)
        runner = LocalRunner(implementation, facts.operation)
        source = source_of(self.impl, facts.operation)
        deadline = time.monotonic() + self.seconds
        return Examiner(OPERATIONS[facts.operation], claims, runner, source, self.seed, self.max_examples, deadline)


class OracleSuite:
    """Judges `impl`, every examination a test of its own.

    The other attributes are the arguments of `check`; `seconds` is for one test. A function is taken as it is,
    not bound to the instance.
    """

    impl: Any = None
    op: str = ""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Turn each examination into a test."""
        if "examination" in metafunc.fixturenames:
            listed = trial_of(metafunc.cls).examinations()
            metafunc.parametrize("examination", listed, ids=[f"{e.mode}: {e.name}" for e in listed])

    def test(self, examination: Examination) -> None:
        """Run one examination."""
        __tracebackhide__ = True
        trial_of(type(self)).assert_right(examination)


def trial_of(suite: type) -> Trial:
    """Return what a suite's attributes say."""
    given: dict[str, Any] = {}
    for field in fields(Trial):
        value = inspect.getattr_static(suite, field.name, None)
        if isinstance(value, staticmethod):
            value = value.__func__
        if value is not None:
            given[field.name] = value
    known = {field.name for field in fields(Trial)} | set(dir(OracleSuite))
    unknown = [name for name in vars(suite) if not name.startswith(("_", "test", "pytest")) and name not in known]
    if unknown:
        raise TypeError(f"{suite.__name__} has {unknown}, which a check has no arguments of")
    if "impl" not in given:
        raise TypeError(f"{suite.__name__} needs an implementation: impl = my_function")
    return Trial(**given)


def _suite_name(operation: str) -> str:
    return "".join(part.capitalize() for part in operation.split("_")) + "Suite"


SUITES = {
    _suite_name(name): type(
        _suite_name(name),
        (OracleSuite,),
        {"op": name, "__doc__": f"Judges `impl` as an implementation of {name}.", "__module__": __name__},
    )
    for name in OPERATIONS
}
