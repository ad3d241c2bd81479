"""Local response normalisation (kernels/norm_response.cl)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from clconv.algorithms.algorithm import Algorithm, everywhere
from clconv.plan import Launch, Plan, Traits, Walk
from clconv.problem.norm_response import ResponseProblem

__all__ = ["ALGORITHMS", "plan_bwd", "plan_fwd"]

#: Pixels of a row that a work-item of a processor computes.
_RUN = 1024
#: Terms of the gradient that are computed before they are gathered.
_TERMS = 2**20
#: What a power costs, in operations.
_POWER = 16
#: What the kernels distinguish exponents by; the order of kernels/norm_response.cl.
EXPONENTS = ("any", "one half", "three quarters", "odd", "even")


def plan_fwd(problem: ResponseProblem, traits: Traits) -> Plan:
    """Plan the output: operands x, y."""
    numbers = {**problem.sizes(), **_base(problem), **problem.epilogue.numbers()}
    arrays = ("x", *problem.epilogue.arrays, "y")
    return Plan((_launch("response_norm", problem, traits, arrays, numbers),))


def plan_bwd(problem: ResponseProblem, traits: Traits) -> Plan:
    """Plan the gradient, a few images at a time, whose terms stay in cache for the sums: operands dy, x, dx."""
    images = max(1, min(_TERMS // max(_size(problem) // max(problem.N, 1), 1), problem.N))
    launches: list[Launch] = []
    for first in range(0, problem.N, images):
        some = replace(problem, N=min(images, problem.N - first))
        terms = {**some.sizes(), **_base(some)}
        factor = {**some.sizes(), "factor": 2 * problem.share * problem.beta}
        launches += (
            _launch("response_slopes", some, traits, ("dy", "x", "direct", "slope"), terms, first),
            _launch("response_norm_bwd", some, traits, ("x", "direct", "slope", "dx"), factor, first),
        )
    size = _size(replace(problem, N=images)) * problem.real_bytes
    return Plan(tuple(launches), {"direct": size, "slope": size})


def _launch(
    kernel: str,
    problem: ResponseProblem,
    traits: Traits,
    arrays: tuple[str, ...],
    numbers: Mapping[str, float],
    first: int = 0,
) -> Launch:
    """Return a launch over the images of ``problem``, which lie from image ``first`` on in the operands."""
    run = min(_RUN, max(problem.pixels[2], 1)) if traits.vector_bytes else 1
    items = problem.N * problem.C * math.prod(problem.pixels[:2]) * -(-problem.pixels[2] // run)
    work = _size(problem) * (min(problem.size, problem.C) + _POWER)
    walk = Walk((first, 0, 0, 0, 0), tuple((axis, 1) for axis in range(5)))
    return Launch(
        "norm_response.cl",
        kernel,
        problem.defines,
        items,
        {name: name for name in arrays},
        {**numbers, "RUN": run},
        work,
        walks={name: walk for name in arrays if name in ("dy", "x", "residual", "y", "dx")},
    )


def _base(problem: ResponseProblem) -> dict[str, float]:
    """Return the numbers that a base and its power are made from."""
    beta = problem.beta
    if beta in (0.5, 0.75):
        kind = "one half" if beta == 0.5 else "three quarters"
    else:
        kind = "any" if beta % 1 else "odd" if beta % 2 else "even"
    return {"share": problem.share, "k": problem.k, "beta": beta, "exponent": EXPONENTS.index(kind)}


def _size(problem: ResponseProblem) -> int:
    return problem.N * problem.C * math.prod(problem.pixels)


ALGORITHMS = {
    "response_norm": (Algorithm("portable", everywhere, plan_fwd),),
    "response_norm_bwd": (Algorithm("portable", everywhere, plan_bwd),),
}
