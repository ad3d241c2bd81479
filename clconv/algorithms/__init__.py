"""The algorithms of each operation: the first in its list that applies to a problem plans it.

The last of every list is the portable one, right for every shape on every device; faster ones go before it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from clconv.algorithms import (
    activation,
    conv_depthwise,
    conv_depthwise_weights,
    conv_direct,
    conv_pointwise_weights,
    conv_portable,
    conv_rows,
    conv_rows_weights,
    conv_weights,
    conv_winograd,
    conv_winograd_weights,
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
from clconv.algorithms.algorithm import ERROR_CLASSES, Algorithm, everywhere, portable
from clconv.plan import Plan, Traits

__all__ = [
    "ADMITTED",
    "ALGORITHMS",
    "Algorithm",
    "algorithm_for",
    "also_forget",
    "alternatives",
    "forget",
    "plan_for",
]

#: The error classes that each accuracy admits.
ADMITTED = {"strict": ERROR_CLASSES[:1], "default": ERROR_CLASSES[:2], "fast": ERROR_CLASSES}


#: Every operation that can be planned, each with its algorithms from the most special to the portable one.
ALGORITHMS: dict[str, tuple[Algorithm, ...]] = {
    "conv_fwd": (
        Algorithm("depthwise", conv_depthwise.fwd_refusal, conv_depthwise.plan_fwd),
        Algorithm("winograd", conv_winograd.fwd_refusal, conv_winograd.plan_fwd, "default"),
        Algorithm("rows", conv_rows.fwd_refusal, conv_rows.plan_fwd),
        Algorithm("direct", conv_direct.fwd_refusal, conv_direct.plan_fwd),
        portable(conv_portable.plan_fwd),
    ),
    "conv_bwd_data": (
        Algorithm("depthwise", conv_depthwise.bwd_data_refusal, conv_depthwise.plan_bwd_data),
        Algorithm("winograd", conv_winograd.bwd_data_refusal, conv_winograd.plan_bwd_data, "default"),
        Algorithm("rows", conv_rows.bwd_data_refusal, conv_rows.plan_bwd_data),
        Algorithm("direct", conv_direct.bwd_data_refusal, conv_direct.plan_bwd_data),
        portable(conv_portable.plan_bwd_data),
    ),
    "conv_bwd_weights": (
        Algorithm("depthwise", conv_depthwise_weights.bwd_weights_refusal, conv_depthwise_weights.plan_bwd_weights),
        Algorithm(
            "winograd", conv_winograd_weights.bwd_weights_refusal, conv_winograd_weights.plan_bwd_weights, "default"
        ),
        Algorithm("rows", conv_rows_weights.bwd_weights_refusal, conv_rows_weights.plan_bwd_weights),
        Algorithm("pointwise", conv_pointwise_weights.bwd_weights_refusal, conv_pointwise_weights.plan_bwd_weights),
        Algorithm("channels", conv_weights.bwd_weights_refusal, conv_weights.plan_bwd_weights),
        Algorithm("direct", conv_direct.bwd_weights_refusal, conv_direct.plan_bwd_weights),
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
        Algorithm("columns", norm_columns.columns_refusal, norm_columns.plan_fwd),
        Algorithm("rows", norm.rows_refusal, norm.plan_rows),
        Algorithm("portable", everywhere, norm.plan_fwd),
    ),
    "norm_bwd": (
        Algorithm("columns", norm_columns.columns_refusal, norm_columns.plan_bwd),
        Algorithm("rows", norm.rows_refusal, norm.plan_bwd_rows),
        Algorithm("portable", everywhere, norm.plan_bwd),
    ),
    **norm_columns.ALGORITHMS,
    **norm_response.ALGORITHMS,
    **cross_entropy.ALGORITHMS,
    **dropout.ALGORITHMS,
    **epilogue_backward.ALGORITHMS,
    **softmax.ALGORITHMS,
}


@functools.lru_cache(maxsize=1024)
def algorithm_for(operation: str, problem: Any, traits: Traits, accuracy: str = "default") -> Algorithm:
    """Return the first algorithm of ``operation`` that applies to ``problem`` on such a device at this accuracy."""
    return next(
        algorithm for algorithm in ALGORITHMS[operation] if refusal(algorithm, problem, traits, accuracy) is None
    )


@functools.lru_cache(maxsize=1024)
def plan_for(operation: str, problem: Any, traits: Traits, accuracy: str = "default") -> Plan:
    """Return the plan of :func:`algorithm_for`."""
    return algorithm_for(operation, problem, traits, accuracy).plan(problem, traits)


def alternatives(operation: str, problem: Any, traits: Traits, accuracy: str = "default") -> dict[str, str]:
    """Return the algorithms of ``operation`` that were not chosen, each with the reason."""
    chosen = algorithm_for(operation, problem, traits, accuracy)
    return {
        algorithm.name: refusal(algorithm, problem, traits, accuracy) or f"comes after {chosen.name!r} in the list"
        for algorithm in ALGORITHMS[operation]
        if algorithm is not chosen
    }


def refusal(algorithm: Algorithm, problem: Any, traits: Traits, accuracy: str) -> str | None:
    """Return why an algorithm does not apply to a problem on such a device at this accuracy, None if it does."""
    if algorithm.error not in ADMITTED[accuracy]:
        return f"its error class {algorithm.error!r} is not admitted by accuracy {accuracy!r}"
    return algorithm.refusal(problem, traits)


_ALSO_FORGET: list[Callable[[], None]] = []


def also_forget(clear: Callable[[], None]) -> None:
    """Let :func:`forget` clear, too, what somebody remembers of plans."""
    _ALSO_FORGET.append(clear)


def forget() -> None:
    """Choose anew: what is remembered follows from the lists above, and from kernel files."""
    algorithm_for.cache_clear()
    plan_for.cache_clear()
    for also in _ALSO_FORGET:
        also()
