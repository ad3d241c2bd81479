"""What the usual faults of a local response normalisation give, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.bounds.norm_calls import complete
from clconv.oracle.reference.response_norm import Response, over_channels

from ._base import Operation, Results, Suspect

__all__ = ["suspects"]

Array = NDArray[Any]

RESPONSES: dict[str, Callable[[Response], Response]] = {
    "the window lies where torch has it": lambda r: r,
    "the window lies on the other side": lambda r: r._replace(before=r.after, after=r.before),
    "alpha is not divided by the size": lambda r: r._replace(alpha=r.alpha * r.size),
    "k is ignored": lambda r: r._replace(k=0.0),
    "k is 1, whatever is given": lambda r: r._replace(k=1.0),
    "beta is 0.75, whatever is given": lambda r: r._replace(beta=0.75),
    "beta is ignored": lambda r: r._replace(beta=1.0),
    "alpha is 1e-4, whatever is given": lambda r: r._replace(alpha=1e-4),
    "the power is multiplied instead of divided by": lambda r: r._replace(beta=-r.beta),
}


def suspects(operation: Operation) -> Iterator[Suspect]:
    """List the faults, the likelier first."""
    for cause, change in RESPONSES.items():
        yield Suspect(cause, _response(operation, change, Response.base))
    yield Suspect("the sum is divided by the number of channels there are", _response(operation, _same, _counted))
    yield Suspect("no other channel is looked at", _response(operation, _same, _alone))
    if operation.name.endswith("_backward"):
        yield Suspect("the divisor is taken for a constant", _response(operation, _same, Response.base, _nothing))
        mirrored = "the gradient's window is not mirrored"
        yield Suspect(mirrored, _response(operation, _same, Response.base, Response.summed))


def _response(
    operation: Operation,
    change: Callable[[Response], Response],
    base_of: Callable[[Response], Array],
    spread: Callable[[Response, Array], Array] = Response.spread,
) -> Callable[[Any, dict[str, Any]], Results]:
    def results(arrays: Any, arguments: dict[str, Any]) -> Results:
        given = {"input": arrays["input"], **{k: v for k, v in arguments.items() if k != "output_mask"}}
        response = change(over_channels(**complete("local_response_norm", given)))
        with np.errstate(all="ignore"):
            base = base_of(response)
            if "grad_output" not in arrays:
                return {"output": response.output(base)}
            g = arrays["grad_output"]
            dx = response.gradient(g, base, spread(response, response.slopes(g, base)))
            return {"input": dx if arguments.get("output_mask", (True,))[0] else None}

    return results


def _same(response: Response) -> Response:
    return response


def _nothing(response: Response, values: Array) -> Array:
    return np.zeros(values.shape)


def _counted(response: Response) -> Array:
    counts = response.summed(np.ones(response.x.shape))
    return response.k + response.alpha * response.summed(response.x**2) / counts


def _alone(response: Response) -> Array:
    base: Array = response.k + response.alpha * response.x**2 / response.size
    return base
