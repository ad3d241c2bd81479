"""The steps that all poolings share: from checked arrays and a problem to results."""

from __future__ import annotations

from typing import Any, NamedTuple

from clconv.algorithms import plan_for
from clconv.arrays import check_arrays, check_out, element_strides
from clconv.devices import executor_for
from clconv.executor import Executor, Operand
from clconv.functional._run import check_mask, check_shape, result_array, run
from clconv.problem import MaxPoolProblem, PoolProblem, UnpoolProblem

__all__ = ["PoolGradients", "checked", "checked_pair", "gradient", "maxima", "operand", "reduced"]


class PoolGradients(NamedTuple):
    """Gradient of a pooling's argument; None where masked."""

    input: Any


def checked(input: Any) -> tuple[Any, str]:
    """Return the input in native byte order, and its dtype."""
    arrays, dtype = check_arrays(input=input)
    return arrays["input"], dtype


def checked_pair(grad_output: Any, input: Any) -> tuple[Any, Any, str]:
    """Return the gradient of the output and the input, and their dtype."""
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    return arrays["grad_output"], arrays["input"], dtype


def operand(problem: PoolProblem | UnpoolProblem, array: Any) -> Operand:
    """Return an array as the kernels walk it."""
    return Operand(array, 0, problem.strides(element_strides(array)))


def reduced(operation: str, problem: PoolProblem, input: Any, out: Any, device: Any) -> Any:
    """Return what each window is reduced to."""
    executor, x, y = _forward_arrays(problem, input, out, device)
    operands = {"x": operand(problem, x), "y": operand(problem, y)}
    return run(executor, plan_for(operation, problem, executor.traits), operands, y, out)


def maxima(problem: MaxPoolProblem, input: Any, out: Any, device: Any) -> Any:
    """Return the maximum of each window, in a tuple with the maxima's places where they are wanted."""
    executor, x, y = _forward_arrays(problem, input, out, device)
    indices = executor.empty(problem.output_shape, "int64", x) if problem.indices else None
    places = Operand(None, 0, (0,) * 5) if indices is None else operand(problem, indices)
    operands = {"x": operand(problem, x), "y": operand(problem, y), "indices": places}
    result = run(executor, plan_for("max_pool_fwd", problem, executor.traits), operands, y, out)
    return (result, indices) if problem.indices else result


def gradient(
    operation: str, problem: PoolProblem, grad_output: Any, input: Any, output_mask: Any, device: Any
) -> PoolGradients:
    """Return the gradient of the input, if the mask asks for it."""
    mask = check_mask(output_mask, PoolGradients._fields)
    check_shape("grad_output", grad_output, problem.output_shape, "the output's shape")
    if not mask[0]:
        return PoolGradients(None)
    executor = executor_for(device, input, problem.dtype)
    x, dy = executor.usable(input), executor.usable(grad_output)
    dx = executor.empty(problem.input_shape, problem.dtype, x)
    operands = {"x": operand(problem, x), "dy": operand(problem, dy), "dx": operand(problem, dx)}
    executor.run(plan_for(operation, problem, executor.traits), operands)
    return PoolGradients(dx)


def _forward_arrays(problem: PoolProblem, input: Any, out: Any, device: Any) -> tuple[Executor, Any, Any]:
    """Return the device, the input as it can walk it, and the array that it writes."""
    if out is not None:
        check_out(out, problem.output_shape, problem.dtype, {"input": input})
    executor = executor_for(device, input, problem.dtype)
    x = executor.usable(input)
    return executor, x, result_array(executor, out, problem.output_shape, problem.dtype, x)
