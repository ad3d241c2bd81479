"""What an implementation of a convolutional network's operations is judged by, whoever wrote it.

`check` puts an implementation through everything; `reference` computes every operation in float64 from its
definition; `bounds` says how large the error of a correct implementation can be; `strategies` draws problems for
tests of one's own. For pytest there is a base class for each operation: `Conv2dSuite`, `Conv2dBackwardSuite` and so
on. Nothing here imports the rest of clconv, so that a fault in the library cannot hide in its judge.
"""

from typing import Any

from . import adapters, bounds, layouts, reference, strategies
from .check import check
from .operations._base import Claims
from .report import Deviation, Finding, Report
from .suites import SUITES, OracleSuite

__all__ = [
    "Claims",
    "Deviation",
    "Finding",
    "OracleSuite",
    "Report",
    "adapters",
    "bounds",
    "check",
    "layouts",
    "reference",
    "strategies",
    *SUITES,
]


def __getattr__(name: str) -> Any:
    """Return a base class for pytest by its name."""
    if name in SUITES:
        return SUITES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
