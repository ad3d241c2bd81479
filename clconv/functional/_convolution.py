"""Forward and backward of a convolution problem, plain or transposed: which pass computes what, on which arrays.

A transposed convolution is the backward-data pass of a forward problem. So its output takes the place of that problem's
data x, its input that of the result's gradient dy, and its own gradients are the forward pass and the weight pass.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, NamedTuple

from clconv.arguments import choice, per_axis
from clconv.arrays import check_arrays, check_out, is_dense
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.functional._run import (
    activation,
    check_mask,
    check_shape,
    plan_all,
    remembered,
    result_array,
    run,
    usable,
    vector,
    weight,
)
from clconv.functional.epilogue import Epilogue, epilogue_arrays, epilogue_operands, epilogue_problem
from clconv.problem import ConvProblem

__all__ = ["ConvGradients", "Geometry", "backward", "forward", "geometry_of", "laid_out"]


class ConvGradients(NamedTuple):
    """Gradients of a convolution's arguments; None where masked, or where there is no bias."""

    input: Any
    weight: Any
    bias: Any


class Geometry(NamedTuple):
    """The arguments of a convolution that are no arrays; output_padding is None unless transposed."""

    rank: int
    stride: Any
    padding: Any
    dilation: Any
    groups: Any
    padding_mode: Any
    flip: Any
    output_padding: Any = None

    def problem(self, input_shape: Any, weight_array: Any, bias: Any, dtype: str) -> ConvProblem:
        """Return the problem that these arguments and the shapes of the arrays make."""
        weight_shape = tuple(weight_array.shape)
        problem: ConvProblem = remembered(Geometry.problem_of, self, input_shape, weight_shape, bias is not None, dtype)
        if bias is not None:
            check_shape("bias", bias, problem.bias_shape, "one value for each output channel, shape")
        return problem

    def problem_of(self, input_shape: Any, weight_shape: tuple[int, ...], bias: bool, dtype: str) -> ConvProblem:
        """Return the problem that these arguments and shapes make."""
        if len(weight_shape) != self.rank + 2:
            raise ValueError(
                f"weight takes {self.rank + 2} axes (2 for channels, {self.rank} spatial): "
                f"weight.shape={weight_shape} has {len(weight_shape)}"
            )
        arguments = self._asdict() | {"bias": bias, "dtype": dtype}
        rank, output_padding = arguments.pop("rank"), arguments.pop("output_padding")
        make = ConvProblem.from_shapes
        if output_padding is not None:
            make = functools.partial(ConvProblem.from_transposed_shapes, output_padding=output_padding)
        problem = make(input_shape, weight_shape, **arguments)
        assert problem.rank == rank
        return problem


_RANKS = {f"{name}{rank}d": rank for name in ("conv", "conv_transpose") for rank in (1, 2, 3)}


def geometry_of(
    operation: str,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    padding_mode: Any,
    flip: Any,
    output_padding: Any,
) -> Geometry:
    """Return the arguments of an operation that is given by its name, which has output_padding if it is transposed."""
    rank = _RANKS[choice(operation, "operation", tuple(_RANKS))]
    if operation.startswith("conv_transpose"):
        return Geometry(rank, stride, padding, dilation, groups, padding_mode, flip, output_padding)
    if any(per_axis(output_padding, "output_padding", rank, least=0)):
        raise ValueError(f"output_padding is for transposed convolutions only: output_padding={output_padding!r}")
    return Geometry(rank, stride, padding, dilation, groups, padding_mode, flip)


def laid_out(problem: ConvProblem, arrays: dict[str, Any]) -> ConvProblem:
    """Return the problem with what the layout of its data, its weights and its output's gradient tells."""
    names = {"x": "grad_output", "dy": "input"} if problem.transposed else {"x": "input", "dy": "grad_output"}
    if not problem.flip:  # else they are walked backwards
        names["w"] = "weight"
    dense = [name for name, array in names.items() if array in arrays and is_dense(arrays[array], problem.rank)]
    result: ConvProblem = remembered(_with_dense, problem, tuple(dense))
    return result


def _with_dense(problem: ConvProblem, dense: tuple[str, ...]) -> ConvProblem:
    return replace(problem, dense=dense)


def forward(
    geometry: Geometry, input: Any, weight_array: Any, bias: Any, epilogue: Epilogue | None, out: Any, device: Any
) -> Any:
    """Check the arguments, then compute the output."""
    arrays, dtype = check_arrays(input=input, weight=weight_array, bias=bias, **epilogue_arrays(epilogue))
    problem = laid_out(geometry.problem(tuple(input.shape), weight_array, bias, dtype), arrays)
    parts = epilogue_problem(epilogue, arrays, problem.output_shape, -1 - problem.rank)
    if epilogue is not None:
        problem = replace(problem, epilogue=parts)
    if out is not None:
        check_out(out, problem.output_shape, dtype, arrays)
    executor = executor_for(device, arrays["input"], dtype)
    arrays = usable(executor, arrays)
    result = result_array(executor, out, problem.output_shape, dtype, arrays["input"])
    source, target = ("dy", "dx") if problem.transposed else ("x", "y")
    operands = {
        source: activation(problem, arrays["input"]),
        "w": weight(problem, arrays["weight"]),
        "b": vector(arrays["bias"]),
        target: activation(problem, result),
        **epilogue_operands(arrays, problem.activation_strides),
    }
    plan = plan_all(["conv_bwd_data" if problem.transposed else "conv_fwd"], problem, executor)
    return run(executor, plan, operands, result, out)


def backward(
    geometry: Geometry, grad_output: Any, input: Any, weight_array: Any, bias: Any, output_mask: Any, device: Any
) -> ConvGradients:
    """Check the arguments, then compute the gradients that the mask asks for, each array read in place."""
    mask = check_mask(output_mask, ConvGradients._fields)
    arrays, dtype = check_arrays(input=input, weight=weight_array, bias=bias, grad_output=grad_output)
    problem = laid_out(geometry.problem(tuple(input.shape), weight_array, bias, dtype), arrays)
    check_shape("grad_output", arrays["grad_output"], problem.output_shape, "the output's shape")
    executor = executor_for(device, arrays["input"], dtype)
    arrays = usable(executor, arrays)

    def gradient_of(name: str, wanted: bool) -> Any:
        array = arrays[name]
        return executor.empty(tuple(array.shape), dtype, arrays["input"]) if wanted and array is not None else None

    gradients = ConvGradients(*map(gradient_of, ConvGradients._fields, mask))
    data, result, data_pass, data_gradient = (
        ("grad_output", "input", "conv_fwd", "y")
        if problem.transposed
        else ("input", "grad_output", "conv_bwd_data", "dx")
    )
    operands = {
        "x": activation(problem, arrays[data]),
        "dy": activation(problem, arrays[result]),
        "a": activation(problem, arrays["grad_output"]),
        "w": weight(problem, arrays["weight"]),
    }
    passes = []
    if gradients.input is not None:
        operands[data_gradient] = activation(problem, gradients.input)
        passes.append(data_pass)
    if gradients.weight is not None:
        operands["dw"] = weight(problem, gradients.weight)
        passes.append("conv_bwd_weights")
    if gradients.bias is not None:
        start, strides = 0, (0, vector(gradients.bias).strides[0], 0, 0, 0)
        operands["db"] = Operand(gradients.bias, start, strides)
        passes.append("conv_bwd_bias")
    executor.run(plan_all(passes, problem, executor), operands)
    return gradients
