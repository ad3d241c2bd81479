"""What all normalisations of rows share between their checked arguments and their plan."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from clconv.arguments import real
from clconv.arrays import check_arrays, check_out, check_written, element_strides, is_device_array
from clconv.devices import executor_for
from clconv.executor import Executor, Operand
from clconv.functional._run import check_shape, empty_like, plan_all, run, usable
from clconv.functional.epilogue import Epilogue, epilogue_arrays, epilogue_problem
from clconv.problem import NormAxes, NormProblem
from clconv.problem.epilogue import NO_EPILOGUE, EpilogueProblem
from clconv.problem.norm import Arranged

__all__ = ["RUNNING", "NormGradients", "Rule", "backward", "checked_eps", "forward", "given_arrays"]

RUNNING = ("running_mean", "running_var")


class NormGradients(NamedTuple):
    """Gradients of a normalisation's arguments; None where masked, or where there is no weight or no bias."""

    input: Any
    weight: Any
    bias: Any


class Rule(NamedTuple):
    """How rows are normalised.

    Attributes
    ----------
    eps : float
        What is added to the variance.
    is_centred : bool
        Whether the mean is subtracted.
    given : bool
        Whether the statistics are the running ones.
    share : float or None
        The share of the rows' statistics in new running statistics; None if none are updated.
    """

    eps: float
    is_centred: bool = True
    given: bool = False
    share: float | None = None


def checked_eps(eps: Any) -> float:
    """Return what is added to the variance."""
    return real(eps, "eps", least=0)


def given_arrays(epilogue: Any = None, **arrays: Any) -> tuple[dict[str, Any], str]:
    """Check the arrays, of which all but the input and the output's gradient may be None; return the dtype, too."""
    arrays |= epilogue_arrays(epilogue)
    given = {name: array for name, array in arrays.items() if array is not None or name in ("input", "grad_output")}
    checked, dtype = check_arrays(**given)
    return {name: checked.get(name) for name in arrays}, dtype


def forward(
    axes: NormAxes,
    rule: Rule,
    arrays: dict[str, Any],
    dtype: str,
    out: Any,
    device: Any,
    epilogue: Epilogue | None,
    updated: dict[str, Any] | None = None,
) -> Any:
    """Compute the output, and write new running statistics into ``updated``, the caller's own arrays by their names."""
    updated = updated or {}
    _check_parameters(axes, arrays)
    parts = epilogue_problem(epilogue, arrays, axes.input_shape, None if axes.per_element else 1)
    if out is not None:
        check_out(out, axes.input_shape, dtype, arrays)
    for name, array in updated.items():
        others = {**arrays, **updated, "out": out}
        check_written(name, array, {other: value for other, value in others.items() if other != name})
    executor = executor_for(device, arrays["input"], dtype)
    arrays = usable(executor, arrays)
    takes_out = out is not None and executor.writes_in_place(out)
    result = out if takes_out else empty_like(executor, arrays["input"], dtype)
    problem, operands = _arranged(executor, axes, rule, arrays, {"y": result}, {}, dtype, parts)
    for name, array in updated.items():
        # NumPy arrays are updated when all has succeeded; a queue's last kernel writes in place.
        place = array if is_device_array(array) else executor.empty(array.shape, dtype, array)
        operands[name.replace("running", "new")] = Operand(place, 0, _along_channels(place))
    result = run(executor, plan_all(["norm"], problem, executor), operands, operands["y"].array, out)
    for name, array in updated.items():
        new = operands[name.replace("running", "new")].array
        if new is not array and result.size:
            array[...] = new
    return result


def backward(
    axes: NormAxes,
    rule: Rule,
    arrays: dict[str, Any],
    dtype: str,
    mask: tuple[bool, ...],
    device: Any,
) -> NormGradients:
    """Compute the gradients that the mask asks for."""
    _check_parameters(axes, arrays)
    check_shape("grad_output", arrays["grad_output"], axes.input_shape, "the output's shape")
    executor = executor_for(device, arrays["input"], dtype)
    arrays = usable(executor, arrays)

    def gradient_of(name: str, wanted: bool) -> Any:
        array = arrays.get(name)
        return empty_like(executor, array, dtype) if wanted and array is not None else None

    gradients = NormGradients(*map(gradient_of, NormGradients._fields, mask))
    if all(gradient is None for gradient in gradients):
        return gradients
    parameters = {"dw": gradients.weight, "db": gradients.bias}
    results = {"dx": gradients.input}
    problem, operands = _arranged(executor, axes, rule, arrays, results, parameters, dtype, NO_EPILOGUE)
    executor.run(plan_all(["norm_bwd"], problem, executor), operands)
    # What was written may be other arrays, whose axes merge.
    return NormGradients(*(operands[name].array if name in operands else None for name in ("dx", "dw", "db")))


def _along_channels(array: Any) -> tuple[int, ...]:
    """Return the strides of running statistics along the kernels' axes, of which they have channels only."""
    return (0, element_strides(array)[0], 0, 0, 0, 0)


def _check_parameters(axes: NormAxes, arrays: dict[str, Any]) -> None:
    for name in (*RUNNING, "weight", "bias"):
        if arrays.get(name) is not None:
            rule = "the shape of normalized_shape" if axes.per_element else "one value for each channel, shape"
            check_shape(name, arrays[name], axes.parameter_shape, rule)


def _arranged(
    executor: Executor,
    axes: NormAxes,
    rule: Rule,
    arrays: dict[str, Any],
    results: dict[str, Any],
    parameters: dict[str, Any],
    dtype: str,
    epilogue: EpilogueProblem,
) -> tuple[NormProblem, dict[str, Operand]]:
    """Return the problem, and every array as the kernels walk it.

    ``results`` have the input's shape, ``parameters``, which only gradients have, that of weight and bias.
    """
    like_input = {"x": arrays["input"], "dy": arrays.get("grad_output"), **results}
    like_weight = {"w": arrays.get("weight"), "b": arrays.get("bias"), **parameters}
    for name in epilogue.arrays:
        (like_input if name == "residual" else like_weight)[name] = arrays[f"epilogue.{name}"]
    keeps_planes = bool(parameters)
    arranged = _arrangement(axes, like_input, like_weight, keeps_planes)
    if arranged is None:  # more axes than kernels know; contiguous arrays have few
        like_input = {name: _contiguous(executor, array, name in results) for name, array in like_input.items()}
        like_weight = {name: _contiguous(executor, array, name in parameters) for name, array in like_weight.items()}
        arranged = _arrangement(axes, like_input, like_weight, keeps_planes)
        assert arranged is not None
    problem = NormProblem(
        rows=arranged.rows,
        elements=arranged.elements,
        planes=0 if axes.per_element else arranged.elements[0] if axes.groups and keeps_planes else 1,
        rows_inside=arranged.rows_inside,
        has_weight=arrays.get("weight") is not None,
        has_bias=arrays.get("bias") is not None,
        is_centred=rule.is_centred,
        given=rule.given,
        eps=rule.eps,
        share=rule.share,
        gradients=tuple({**results, **parameters}.get(name) is not None for name in ("dx", "dw", "db")),  # type: ignore[arg-type]
        dtype=dtype,
        epilogue=epilogue,
    )
    given = {name: array for name, array in {**like_input, **like_weight}.items() if array is not None}
    operands = {name: Operand(array, 0, arranged.strides[name]) for name, array in given.items()}
    for name in RUNNING:
        if arrays.get(name) is not None:
            operands[name] = Operand(arrays[name], 0, _along_channels(arrays[name]))
    return problem, operands


def _arrangement(
    axes: NormAxes, like_input: dict[str, Any], like_weight: dict[str, Any], keeps_planes: bool
) -> Arranged | None:
    strides = {
        name: axes.input_strides(element_strides(like_input["x" if array is None else name]))
        for name, array in like_input.items()
    }
    strides |= {
        name: axes.parameter_strides(None if array is None else element_strides(array))
        for name, array in like_weight.items()
    }
    return axes.arranged(strides, "x", keeps_planes)


def _contiguous(executor: Executor, array: Any, is_result: bool) -> Any:
    """Return an array, or a copy of it, whose axes merge; a result's values do not matter."""
    if array is None:
        return None
    if is_device_array(array) and not array.flags.c_contiguous:
        raise ValueError(
            "a pyopencl array of so many axes must be contiguous: "
            f"strides={array.strides}, shape={array.shape}; pass array.copy() or reshape it"
        )
    if is_result:
        return array if array.flags.c_contiguous else executor.empty(tuple(array.shape), array.dtype.name, array)
    return array if is_device_array(array) else np.ascontiguousarray(array)
