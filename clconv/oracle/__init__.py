"""What an implementation of a convolutional network's operations is judged by, whoever wrote it.

`check` puts an implementation through everything; `reference` computes every operation in float64 from its
definition; `bounds` says how large the error of a correct implementation can be; `strategies` draws problems for
tests of one's own. Nothing here imports the rest of clconv, so that a fault in the library cannot hide in its judge.
"""

from . import bounds, layouts, reference, strategies
from .check import check
from .operations._base import Claims
from .report import Deviation, Finding, Report

__all__ = ["Claims", "Deviation", "Finding", "Report", "bounds", "check", "layouts", "reference", "strategies"]
