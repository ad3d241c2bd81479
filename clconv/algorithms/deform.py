"""Reading for deformable convolution, and the gradients of what was read (kernels/deform.cl).

The products are those of a plain convolution, :attr:`clconv.problem.DeformProblem.convolution`, whose x is what
the taps read.
"""

from __future__ import annotations

import math

from clconv.algorithms.algorithm import Algorithm, portable
from clconv.plan import Launch, Plan
from clconv.problem import DeformProblem

__all__ = ["ALGORITHMS"]

#: Rough operations behind each value that is read.
_OPERATIONS = 16


def plan_columns(problem: DeformProblem) -> Plan:
    """Plan reading what the taps read: operands data, offset, mask, and x, what is read."""
    arrays = {"x": "data", "offset": "offset", "mask": "mask", "columns": "x"}
    return Plan((_launch(problem, "deform_columns", math.prod(problem.mask_shape), arrays),))


def plan_bwd_offset(problem: DeformProblem) -> Plan:
    """Plan the gradient of the offset alone: operands data, offset, mask, dx, doffset, dmask."""
    return _plan_offset_and_mask(problem, wants_offset=1, wants_mask=0)


def plan_bwd_mask(problem: DeformProblem) -> Plan:
    """Plan the gradient of the mask alone, with the same operands."""
    return _plan_offset_and_mask(problem, wants_offset=0, wants_mask=1)


def plan_bwd_offset_and_mask(problem: DeformProblem) -> Plan:
    """Plan both of these gradients, with the same operands."""
    return _plan_offset_and_mask(problem, wants_offset=1, wants_mask=1)


def plan_bwd_data(problem: DeformProblem) -> Plan:
    """Plan the gradient of the data: operands offset, mask, dx, ddata."""
    arrays = {"offset": "offset", "mask": "mask", "dcolumns": "dx", "sums": "data_sums", "dx": "ddata"}
    launch = _launch(problem, "deform_bwd_data", problem.N * problem.channels, arrays, local_size=1)
    return Plan((launch,), {"data_sums": math.prod(problem.input_shape) * problem.convolution.real_bytes})


def _plan_offset_and_mask(problem: DeformProblem, **wanted: int) -> Plan:
    names = {"x": "data", "doffset": "doffset", "dmask": "dmask"}
    arrays = {**names, "offset": "offset", "mask": "mask", "dcolumns": "dx"}
    return Plan((_launch(problem, "deform_bwd_offset", math.prod(problem.mask_shape), arrays, **wanted),))


def _launch(
    problem: DeformProblem, kernel: str, items: int, arrays: dict[str, str], local_size: int = 64, **numbers: int
) -> Launch:
    return Launch(
        "deform.cl",
        kernel,
        problem.defines,
        items,
        arrays,
        {**problem.sizes(), **numbers},
        _OPERATIONS * math.prod(problem.columns_shape),
        local_size,
    )


ALGORITHMS: dict[str, tuple[Algorithm, ...]] = {
    "deform_columns": (portable(plan_columns),),
    "deform_bwd_offset": (portable(plan_bwd_offset),),
    "deform_bwd_mask": (portable(plan_bwd_mask),),
    "deform_bwd_offset_and_mask": (portable(plan_bwd_offset_and_mask),),
    "deform_bwd_data": (portable(plan_bwd_data),),
}
