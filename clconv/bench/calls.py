"""What is timed of clconv: calls on NumPy arrays that return new ones, and the results that they should have."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import clconv
from clconv.accuracy import accuracy_in_force
from clconv.algorithms import ALGORITHMS, algorithm_for, alternatives
from clconv.bench.layers import Case
from clconv.devices import executor_for
from clconv.functional._run import activation, vector, weight
from clconv.plan import Traits

__all__ = ["Arrays", "Call", "Choice", "arrays_of", "choice_of", "clconv_call", "portable_result"]

Array = NDArray[Any]


class Arrays(NamedTuple):
    """The arrays that passes read; the result of a pass has the shape of the third."""

    x: Array
    w: Array
    dy: Array


class Call(NamedTuple):
    """A call as it is timed, and how the array that it computes is had from what it returns."""

    run: Callable[[], Any]
    result: Callable[[Any], Array]


class Choice(NamedTuple):
    """The algorithm that a plan is made by, the class of its error, and what kept those before it, by their names."""

    algorithm: str
    error: str
    refusals: dict[str, str]


def arrays_of(case: Case, seed: int = 0) -> Arrays:
    """Return arrays of normal numbers for a case, the same ones for the same seed."""
    random = np.random.default_rng(seed)
    problem = case.problem
    shapes = problem.input_shape, problem.weight_shape, problem.output_shape
    return Arrays(*(random.standard_normal(shape, np.float32).astype(case.dtype) for shape in shapes))


def clconv_call(case: Case, arrays: Arrays, device: str, planned: bool = False) -> Call:
    """Return the call of clconv that computes a case on a device, or of a plan that has the weight already."""
    if planned:
        shape = tuple(arrays.x.shape)
        plan = clconv.plan(case.layer.operation, shape, arrays.w, **case.layer.arguments, device=device)
        return Call(functools.partial(plan, arrays.x), lambda result: result)
    function = getattr(clconv, case.layer.operation + ("" if case.direction == "fwd" else "_backward"))
    arguments = {**case.layer.arguments, "device": device}
    if case.direction == "fwd":
        return Call(functools.partial(function, arrays.x, arrays.w, **arguments), lambda result: result)
    wanted = ("bwd_data", "bwd_weights").index(case.direction)
    mask = tuple(place == wanted for place in range(3))
    call = functools.partial(function, arrays.dy, arrays.x, arrays.w, **arguments, output_mask=mask)
    return Call(call, lambda gradients: gradients[wanted])


def choice_of(case: Case, device: str, planned: bool = False) -> Choice:
    """Return which algorithm the device's plans take for a case at the accuracy in force."""
    traits = executor_for(device, np.empty(0, case.dtype), case.dtype).traits._replace(prepared=planned)
    given = case.operation, case.problem, traits, accuracy_in_force()
    chosen = algorithm_for(*given)
    before = itertools.takewhile(lambda algorithm: algorithm is not chosen, ALGORITHMS[case.operation])
    reasons = alternatives(*given)
    return Choice(chosen.name, chosen.error, {algorithm.name: reasons[algorithm.name] for algorithm in before})


def portable_result(case: Case, arrays: Arrays) -> Array:
    """Return the result in float64 by the portable algorithm of the native device."""
    exact = case._replace(dtype="float64")
    problem = exact.problem
    x, w, dy = (array.astype("float64") for array in arrays)
    if exact.layer.transposed:
        x, dy = dy, x  # those of the plain convolution that the problem is stored as
    executor = executor_for("native", x, "float64")
    target = {"conv_fwd": "y", "conv_bwd_data": "dx", "conv_bwd_weights": "dw"}[exact.operation]
    result = np.empty_like({"y": dy, "dx": x, "dw": w}[target])
    walk = weight if target == "dw" else activation
    operands = {"x": activation(problem, x), "w": weight(problem, w), "dy": activation(problem, dy)}
    operands |= {"b": vector(None), target: walk(problem, result)}
    executor.run(ALGORITHMS[exact.operation][-1].plan(problem, Traits()), operands)
    return result
