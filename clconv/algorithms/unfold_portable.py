"""The portable unfold and fold: one work-item gathers one element of the result (kernels/unfold.cl)."""

from __future__ import annotations

import math

from clconv.plan import Launch, Plan
from clconv.problem import WindowProblem

__all__ = ["plan_fold", "plan_unfold"]


def plan_unfold(problem: WindowProblem) -> Plan:
    """Plan the copy of every window into a column: operands x, columns."""
    return Plan((_launch("unfold", problem, math.prod(problem.columns_shape)),))


def plan_fold(problem: WindowProblem) -> Plan:
    """Plan the sum of the columns at their positions: operands columns, x."""
    return Plan((_launch("fold", problem, math.prod(problem.data_shape)),))


def _launch(kernel: str, problem: WindowProblem, items: int) -> Launch:
    arrays = {"x": "x", "columns": "columns"}
    return Launch(
        "unfold.cl", kernel, problem.defines, items, arrays, problem.sizes(), math.prod(problem.columns_shape)
    )
