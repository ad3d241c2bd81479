"""The algorithms of each operation: the first in its list that applies to a problem plans it.

The last of every list is the portable one, right for every shape on every device; faster ones go before it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from clconv.algorithms import conv_portable, unfold_portable
from clconv.plan import Plan

__all__ = ["ALGORITHMS", "Algorithm", "plan_for"]


class Algorithm(NamedTuple):
    """One way to compute an operation.

    ``applicable`` says whether it is right for a problem, ``plan`` makes the launches.
    """

    name: str
    applicable: Callable[[Any], bool]
    plan: Callable[[Any], Plan]


def _always(problem: object) -> bool:
    return True


#: Every operation that can be planned, each with its algorithms from the most special to the portable one.
ALGORITHMS: dict[str, tuple[Algorithm, ...]] = {
    "conv_fwd": (Algorithm("portable", _always, conv_portable.plan_fwd),),
    "conv_bwd_data": (Algorithm("portable", _always, conv_portable.plan_bwd_data),),
    "conv_bwd_weights": (Algorithm("portable", _always, conv_portable.plan_bwd_weights),),
    "conv_bwd_bias": (Algorithm("portable", _always, conv_portable.plan_bwd_bias),),
    "unfold": (Algorithm("portable", _always, unfold_portable.plan_unfold),),
    "fold": (Algorithm("portable", _always, unfold_portable.plan_fold),),
}


@functools.lru_cache(maxsize=1024)
def plan_for(operation: str, problem: Any) -> Plan:
    """Return the plan of the first algorithm of ``operation`` that applies to ``problem``."""
    return next(algorithm.plan(problem) for algorithm in ALGORITHMS[operation] if algorithm.applicable(problem))
