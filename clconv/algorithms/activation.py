"""Activations, in runs of elements or flat (kernels/activation.cl)."""

from __future__ import annotations

from clconv.algorithms._elementwise import flat_launch, flat_refusal, launches
from clconv.algorithms.algorithm import Algorithm, everywhere
from clconv.plan import Plan, Traits
from clconv.problem.elementwise import ACTIVATIONS, ActivationProblem

__all__ = ["ALGORITHMS"]


_FORWARD = ("activation", ("x", "y"))
_BACKWARD = ("activation_backward", ("g", "x", "dx"))


def _in_runs(kernel: str, arrays: tuple[str, ...]) -> Algorithm:
    """Return the algorithm for arrays of any strides."""

    def plan(problem: ActivationProblem, traits: Traits) -> Plan:
        return launches("activation.cl", kernel, arrays, _numbers(problem), problem.extents, problem.defines, traits)

    return Algorithm("portable", everywhere, plan)


def _flat(kernel: str, arrays: tuple[str, ...]) -> Algorithm:
    """Return the algorithm for arrays without gaps."""

    def plan(problem: ActivationProblem, traits: Traits) -> Plan:
        numbers = _numbers(problem)
        return flat_launch("activation.cl", f"{kernel}_flat", arrays, numbers, problem.elements, problem.defines)

    return Algorithm("flat", flat_refusal, plan)


def _numbers(problem: ActivationProblem) -> dict[str, float]:
    return {"function": ACTIVATIONS.index(problem.function), "slope": problem.slope}


#: Operands x, y for ``y = f(x)``, and g, x, dx for ``dx = g f'(x)``.
ALGORITHMS: dict[str, tuple[Algorithm, ...]] = {
    "activation": (_flat(*_FORWARD), _in_runs(*_FORWARD)),
    "activation_backward": (_flat(*_BACKWARD), _in_runs(*_BACKWARD)),
}
