"""The arguments of any normalisation, given by name, as rows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from numpy.typing import DTypeLike

from clconv.oracle.reference.batch_norm import Running, batch_norm, instance_norm, over_batch, over_image
from clconv.oracle.reference.group_norm import (
    default_epsilon,
    group_norm,
    grouped,
    last_axes,
    layer_norm,
    rms_norm,
    root_mean_square,
)
from clconv.oracle.reference.norm import Norm
from clconv.oracle.reference.response_norm import local_response_norm

__all__ = ["checked", "complete"]

FUNCTIONS: dict[str, Any] = {
    function.__name__: function
    for function in (batch_norm, instance_norm, group_norm, layer_norm, rms_norm, local_response_norm)
}


def complete(operation: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Add the defaults of a forward function to some of its arguments."""
    bound = inspect.signature(FUNCTIONS[operation]).bind(**given)
    bound.apply_defaults()
    return dict(bound.arguments)


def checked(operation: str, given: Mapping[str, Any], stored: DTypeLike) -> tuple[Norm, Running | None]:
    """Check all arguments of a forward function; `stored` is the arrays' type, in case they were converted."""
    if operation == "batch_norm":
        return over_batch(**given)
    if operation == "instance_norm":
        return over_image(**given)
    if operation == "group_norm":
        return grouped(**given), None
    if operation == "layer_norm":
        return last_axes(**given, is_centred=True), None
    eps = default_epsilon(stored) if given["eps"] is None else given["eps"]
    return root_mean_square(**{**given, "eps": eps}), None
