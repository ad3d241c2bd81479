"""The algorithms of each operation: the first in its list that applies to a problem plans it.

The last of every list is the portable one, right for every shape on every device; faster ones go before it.
"""

from __future__ import annotations

import functools
from typing import Any

from clconv.algorithms import (
    activation,
    conv_direct,
    conv_portable,
    conv_rows,
    cross_entropy,
    deform,
    dropout,
    epilogue_backward,
    grid_sample,
    norm,
    norm_columns,
    norm_response,
    pad,
    pool,
    resize,
    shuffle,
    softmax,
    unfold_portable,
)
from clconv.algorithms.algorithm import Algorithm, portable
from clconv.plan import Plan, Traits

__all__ = ["ALGORITHMS", "Algorithm", "plan_for"]


#: Every operation that can be planned, each with its algorithms from the most special to the portable one.
ALGORITHMS: dict[str, tuple[Algorithm, ...]] = {
    "conv_fwd": (
        Algorithm("rows", conv_rows.fwd_applies, conv_rows.plan_fwd),
        Algorithm("direct", conv_direct.fwd_applies, conv_direct.plan_fwd),
        portable(conv_portable.plan_fwd),
    ),
    "conv_bwd_data": (
        Algorithm("rows", conv_rows.bwd_data_applies, conv_rows.plan_bwd_data),
        Algorithm("direct", conv_direct.bwd_data_applies, conv_direct.plan_bwd_data),
        portable(conv_portable.plan_bwd_data),
    ),
    "conv_bwd_weights": (
        Algorithm("rows", conv_rows.bwd_weights_applies, conv_rows.plan_bwd_weights),
        Algorithm("direct", conv_direct.bwd_weights_applies, conv_direct.plan_bwd_weights),
        portable(conv_portable.plan_bwd_weights),
    ),
    "conv_bwd_bias": (portable(conv_portable.plan_bwd_bias),),
    "unfold": (portable(unfold_portable.plan_unfold),),
    "fold": (portable(unfold_portable.plan_fold),),
    **deform.ALGORITHMS,
    **grid_sample.ALGORITHMS,
    **pad.ALGORITHMS,
    **resize.ALGORITHMS,
    **shuffle.ALGORITHMS,
    **activation.ALGORITHMS,
    **pool.ALGORITHMS,
    "norm": (
        Algorithm("columns", norm_columns.columns_fit, norm_columns.plan_fwd),
        Algorithm("rows", norm.rows_fit, norm.plan_rows),
        Algorithm("portable", norm.always, norm.plan_fwd),
    ),
    "norm_bwd": (
        Algorithm("columns", norm_columns.columns_fit, norm_columns.plan_bwd),
        Algorithm("rows", norm.rows_fit, norm.plan_bwd_rows),
        Algorithm("portable", norm.always, norm.plan_bwd),
    ),
    **norm_columns.ALGORITHMS,
    **norm_response.ALGORITHMS,
    **cross_entropy.ALGORITHMS,
    **dropout.ALGORITHMS,
    **epilogue_backward.ALGORITHMS,
    **softmax.ALGORITHMS,
}


@functools.lru_cache(maxsize=1024)
def plan_for(operation: str, problem: Any, traits: Traits) -> Plan:
    """Return the plan of the first algorithm of ``operation`` that applies to ``problem`` on such a device."""
    algorithms = ALGORITHMS[operation]
    return next(algorithm.plan(problem, traits) for algorithm in algorithms if algorithm.applicable(problem, traits))
