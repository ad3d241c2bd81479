"""Local response normalisation (kernels/norm_response.cl)."""

from __future__ import annotations

import math

from clconv.algorithms.algorithm import Algorithm
from clconv.plan import Launch, Plan, Traits
from clconv.problem.norm_response import ResponseProblem

__all__ = ["ALGORITHMS", "plan_bwd", "plan_fwd"]

#: Pixels of a row that a work-item of a processor computes.
_RUN = 1024
#: What the kernels distinguish exponents by; the order of kernels/norm_response.cl.
EXPONENTS = ("any", "one half", "three quarters", "odd", "even")


def plan_fwd(problem: ResponseProblem, traits: Traits) -> Plan:
    """Plan the output: operands x, y."""
    numbers = {**_window(problem), **_base(problem)}
    return Plan((_launch("response_norm", problem, traits, ("x", "y"), numbers, problem.size),))


def plan_bwd(problem: ResponseProblem, traits: Traits) -> Plan:
    """Plan the gradient: operands dy, x, dx."""
    numbers = {**_window(problem), **_base(problem)}
    terms = _launch("response_slopes", problem, traits, ("dy", "x", "direct", "slope"), numbers, problem.size)
    factor = {**_window(problem), "factor": 2 * problem.scale * problem.beta}
    gather = _launch("response_norm_bwd", problem, traits, ("x", "direct", "slope", "dx"), factor, problem.size)
    return Plan((terms, gather), dict.fromkeys(("direct", "slope"), _size(problem) * problem.real_bytes))


def _launch(
    kernel: str,
    problem: ResponseProblem,
    traits: Traits,
    arrays: tuple[str, ...],
    numbers: dict[str, float],
    taps: int,
) -> Launch:
    run = min(_RUN, max(problem.pixels[2], 1)) if traits.vector_bytes else 1
    items = problem.N * problem.C * math.prod(problem.pixels[:2]) * -(-problem.pixels[2] // run)
    bound = {name: name for name in arrays}
    work = _size(problem) * (min(taps, problem.C) + 16)
    return Launch("norm_response.cl", kernel, problem.defines, items, bound, {**numbers, "RUN": run}, work)


def _window(problem: ResponseProblem) -> dict[str, float]:
    return {**problem.sizes()}


def _base(problem: ResponseProblem) -> dict[str, float]:
    """Return the numbers that a base and its power are made from."""
    beta = problem.beta
    if beta in (0.5, 0.75):
        kind = "one half" if beta == 0.5 else "three quarters"
    else:
        kind = "any" if beta % 1 else "odd" if beta % 2 else "even"
    return {"scale": problem.scale, "k": problem.k, "beta": beta, "exponent": EXPONENTS.index(kind)}


def _size(problem: ResponseProblem) -> int:
    return problem.N * problem.C * math.prod(problem.pixels)


def _always(problem: ResponseProblem, traits: Traits) -> bool:
    return True


ALGORITHMS = {
    "response_norm": (Algorithm("portable", _always, plan_fwd),),
    "response_norm_bwd": (Algorithm("portable", _always, plan_bwd),),
}
