"""That a wrong implementation is found, with its cause."""

from __future__ import annotations

import time

from clconv.oracle import check
from clconv.oracle.examinations import MODES, examinations
from clconv.oracle.operations import OPERATIONS
from clconv.oracle.operations._base import Claims

from . import WrongImplementation

__all__ = ["LONGEST", "assert_killed"]

#: Seconds of one core within which a wrong implementation must be found.
LONGEST = 20


def stages(wrong: WrongImplementation) -> list[list[str]]:
    """Return what to skip, so that all of a check is run in parts, the cheap ones first."""
    if wrong.isolate:  # every part would start a process
        return [["exact", "identities", "hostile", "bound"]]
    claims = Claims(wrong.dtype, algorithm=wrong.algorithm, features=frozenset(wrong.features))
    hostile = [e.name for e in examinations(OPERATIONS[wrong.op], claims) if e.mode == "hostile"]
    parts = [(mode, name) for mode in MODES for name in (hostile if mode == "hostile" else [""])]
    return [
        [other for other in MODES if other != mode] + [other for other in hostile if mode == "hostile" != name != other]
        for mode, name in parts
    ]


def said(finding) -> str:
    """Return what a finding says of the cause."""
    return finding.cause or finding.message


def findings_of(wrong: WrongImplementation) -> list:
    """Check an implementation until it is found out and the cause is named."""
    found = []
    for skip in stages(wrong):
        claims = {name: getattr(wrong, name) for name in ("dtype", "semantics", "algorithm", "features", "isolate")}
        report = check(wrong.impl, op=wrong.op, skip=skip, **claims)
        found += report.findings
        if any(wrong.cause in said(finding) for finding in report.findings):
            break
    return found


def assert_killed(wrong: WrongImplementation) -> list:
    """Require that it is found in time, with its cause. A process apart is not counted."""
    begin = time.process_time()
    found = findings_of(wrong)
    seconds = time.process_time() - begin
    assert seconds <= LONGEST, f"it took {seconds:.0f} seconds to find out {wrong.op} with {wrong.name}"
    assert found, f"{wrong.op} with {wrong.name} passes"
    assert any(wrong.cause in said(f) for f in found), f"{wrong.cause!r} is not among {[said(f) for f in found]}"
    return found
