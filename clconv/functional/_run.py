"""The steps that all operations share between checking their arrays and running a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clconv.accuracy import accuracy_in_force
from clconv.algorithms import plan_for
from clconv.arguments import flag
from clconv.arrays import element_strides, is_device_array
from clconv.executor import Executor, Operand
from clconv.plan import NO_LAUNCHES, Plan
from clconv.problem import ConvProblem

__all__ = [
    "activation",
    "check_mask",
    "check_shape",
    "empty_like",
    "plan_all",
    "plan_of",
    "remembered",
    "result_array",
    "run",
    "usable",
    "vector",
    "weight",
]


_MOST_REMEMBERED = 1024
_memory: dict[Any, Any] = {}


def check_shape(name: str, array: Any, shape: tuple[int, ...], rule: str) -> None:
    """Refuse an array whose shape is not the one that the others imply."""
    if tuple(array.shape) != shape:
        raise ValueError(f"{name} must have {rule} {shape}: {name}.shape={tuple(array.shape)}")


def check_mask(output_mask: Any, fields: Sequence[str]) -> tuple[bool, ...]:
    """Return which gradients are wanted: all where no mask is given."""
    if output_mask is None:
        return (True,) * len(fields)
    if not isinstance(output_mask, (tuple, list)) or len(output_mask) != len(fields):
        raise ValueError(f"output_mask takes one bool for each of {', '.join(fields)}: output_mask={output_mask!r}")
    return tuple(flag(wanted, "output_mask") for wanted in output_mask)


def remembered(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function of immutable arguments returns, from memory where they have been seen before.

    Arguments are the same only if their types are, too: a stride of 1.0 or of True is none of 1. What cannot be
    remembered, such as a list, is passed to the function.
    """
    key = (function, arguments, _types(arguments))
    try:
        return _memory[key]
    except TypeError:
        return function(*arguments)
    except KeyError:
        result = function(*arguments)
    if len(_memory) >= _MOST_REMEMBERED:
        _memory.clear()
    _memory[key] = result
    return result


def _types(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([_types(value) if isinstance(value, tuple) else type(value) for value in arguments])


def activation(problem: ConvProblem, array: Any) -> Operand:
    """Return an input or output array as the convolution kernels walk it."""
    return Operand(array, 0, problem.activation_strides(element_strides(array)))


def weight(problem: ConvProblem, array: Any) -> Operand:
    """Return a weight array as the convolution kernels walk it: backwards if the problem is flipped."""
    return Operand(array, *problem.weight_view(element_strides(array)))


def vector(array: Any) -> Operand:
    """Return a bias, or none, as the kernels walk it."""
    return Operand(array, 0, (0,) if array is None else element_strides(array))


def usable(executor: Executor, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays as an executor can walk them, those that are absent included."""
    return {name: array if array is None else executor.usable(array) for name, array in arrays.items()}


def result_array(executor: Executor, out: Any, shape: tuple[int, ...], dtype: str, like: Any) -> Any:
    """Return the array that a plan writes: ``out`` if the executor can write there, else a new one."""
    if out is not None and executor.writes_in_place(out):
        return out
    return executor.empty(shape, dtype, like)


def empty_like(executor: Executor, array: Any, dtype: str) -> Any:
    """Return a new array whose axes lie in memory in the order of another one's, so that both are walked alike.

    A pyopencl array is contiguous: its ``get`` takes no other.
    """
    strides = element_strides(array)
    order = sorted(range(len(strides)), key=lambda axis: -abs(strides[axis]))
    if order == sorted(order) or 0 in strides or is_device_array(array):  # a repeating axis says nothing of an order
        return executor.empty(tuple(array.shape), dtype, array)
    result = executor.empty(tuple(array.shape[axis] for axis in order), dtype, array)
    return result.transpose(tuple(order.index(axis) for axis in range(len(order))))


def run(executor: Executor, plan: Plan, operands: Mapping[str, Operand], result: Any, out: Any) -> Any:
    """Run a plan that writes ``result``, and return it as ``out`` where the caller gave one."""
    executor.run(plan, operands)
    if out is None or result is out:
        return result
    out[...] = result
    return out


def plan_of(operation: str, problem: Any, executor: Executor) -> Plan:
    """Return the plan of an operation on a device, at the accuracy in force."""
    return plan_for(operation, problem, executor.traits, accuracy_in_force())


def plan_all(operations: Sequence[str], problem: Any, executor: Executor) -> Plan:
    """Return one plan for several passes over the same arrays on one device."""
    return sum((plan_of(operation, problem, executor) for operation in operations), NO_LAUNCHES)
