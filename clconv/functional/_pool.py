"""The steps that all poolings share: from checked arrays and a problem to results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from clconv.arrays import check_arrays, check_out, element_strides
from clconv.devices import executor_for
from clconv.executor import Executor, Operand
from clconv.functional._run import check_mask, check_shape, plan_of, result_array, run, usable
from clconv.functional.epilogue import Epilogue, epilogue_arrays, epilogue_operands, epilogue_problem
from clconv.problem import MaxPoolProblem, PoolProblem, UnpoolProblem

__all__ = ["PoolGradients", "checked", "checked_pair", "gradient", "maxima", "operand", "reduced"]


AnyPool = TypeVar("AnyPool", bound=PoolProblem)


class PoolGradients(NamedTuple):
    """Gradient of a pooling's argument; None where masked."""

    input: Any


def checked(input: Any, epilogue: Epilogue | None = None) -> tuple[dict[str, Any], str]:
    """Return the input and an epilogue's arrays in native byte order, by name, and their dtype."""
    return check_arrays(input=input, **epilogue_arrays(epilogue))


def checked_pair(grad_output: Any, input: Any) -> tuple[Any, Any, str]:
    """Return the gradient of the output and the input, and their dtype."""
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    return arrays["grad_output"], arrays["input"], dtype


def operand(problem: PoolProblem | UnpoolProblem, array: Any) -> Operand:
    """Return an array as the kernels walk it."""
    return Operand(array, 0, problem.strides(element_strides(array)))


def reduced(
    operation: str,
    problem: PoolProblem,
    arrays: Mapping[str, Any],
    out: Any,
    device: Any,
    epilogue: Epilogue | None = None,
) -> Any:
    """Return what each window is reduced to, after the epilogue."""
    problem = _finished(problem, arrays, epilogue)
    executor, operands = _forward_operands(problem, arrays, out, device)
    return run(executor, plan_of(operation, problem, executor), operands, operands["y"].array, out)


def maxima(
    problem: MaxPoolProblem, arrays: Mapping[str, Any], out: Any, device: Any, epilogue: Epilogue | None = None
) -> Any:
    """Return the maximum of each window, after the epilogue, in a tuple with the maxima's places where wanted."""
    problem = _finished(problem, arrays, epilogue)
    executor, operands = _forward_operands(problem, arrays, out, device)
    if problem.indices:
        indices = executor.empty(problem.output_shape, "int64", operands["x"].array)
        operands["indices"] = operand(problem, indices)
    plan = plan_of("max_pool_fwd", problem, executor)
    result = run(executor, plan, operands, operands["y"].array, out)
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
    executor.run(plan_of(operation, problem, executor), operands)
    return PoolGradients(dx)


def _finished(problem: AnyPool, arrays: Mapping[str, Any], epilogue: Epilogue | None) -> AnyPool:
    """Return the problem with the parts that the epilogue has."""
    channel_axis = int(problem.batched)
    return replace(problem, epilogue=epilogue_problem(epilogue, arrays, problem.output_shape, channel_axis))


def _forward_operands(
    problem: PoolProblem, arrays: Mapping[str, Any], out: Any, device: Any
) -> tuple[Executor, dict[str, Operand]]:
    """Return the device, and what it reads and writes: x, the epilogue's arrays and y."""
    if out is not None:
        check_out(out, problem.output_shape, problem.dtype, dict(arrays))
    executor = executor_for(device, arrays["input"], problem.dtype)
    arrays = usable(executor, arrays)
    y = result_array(executor, out, problem.output_shape, problem.dtype, arrays["input"])
    named = {"x": arrays["input"], "y": y}
    operands = {name: operand(problem, array) for name, array in named.items()}
    return executor, {**operands, **epilogue_operands(arrays, problem.strides)}
