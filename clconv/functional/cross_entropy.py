"""Cross entropy of softmax and a target."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from clconv.arguments import choice
from clconv.arrays import check_arrays, check_out, element_strides, is_device_array
from clconv.devices import executor_for
from clconv.executor import Executor, Operand
from clconv.functional._elementwise import number, whole, without_gaps
from clconv.functional._run import check_mask, check_shape, plan_of, result_array, run, vector
from clconv.problem.cross_entropy import REDUCTIONS, CrossEntropyProblem
from clconv.problem.elementwise import AXES
from clconv.problem.softmax import SoftmaxProblem

__all__ = ["CrossEntropyGradients", "cross_entropy", "cross_entropy_backward"]


class CrossEntropyGradients(NamedTuple):
    """Gradients of the input and of target probabilities; None where masked, or where the target holds classes."""

    input: Any
    target: Any


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Return the cross entropy of softmax over the classes and a target.

    At each position ``loss = -sum over c of w[c] ((1 - S) q[c] + S/C) log_softmax(x)[c]``, with S the smoothing, and
    where the target is a class t, ``q[t] = 1`` and 0 elsewhere. The mean divides by the sum of ``w[t]`` over the
    positions that are not ignored, or by the number of positions where the target holds probabilities.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, ...), or (C,). float16, float32 or float64, any strides.
    target : array
        Classes from 0 to C - 1 or ``ignore_index``, int64, in the input's shape without C; or probabilities, in the
        input's type and shape.
    weight : array, optional
        One number for each class, shape (C,).
    size_average, reduce : None
        Deprecated in torch; use ``reduction``.
    ignore_index : int
        The class that stands for no target.
    reduction : str
        "mean", "sum" or "none".
    label_smoothing : float
        Between 0 and 1.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (), or of the positions where ``reduction`` is "none". The mean of no positions is NaN.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does; and if a class of a NumPy array does not exist. In a pyopencl array, which is not
        read beforehand, such a class makes the result NaN.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.log(numpy.array([[1.0, 3.0], [1.0, 1.0]]))
    >>> numpy.exp(-cross_entropy(x, numpy.array([1, 0]), reduction="none")).round(12)
    array([0.75, 0.5 ])
    """
    call = _Call(input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing)
    if out is not None:
        check_out(out, call.output_shape, call.dtype, call.arrays)
    executor = executor_for(device, call.arrays["input"], call.dtype)
    given = call.usable(executor)
    walkable = out is not None and (len(out.shape) < AXES or out.flags.c_contiguous)
    y = result_array(executor, out if walkable else None, call.output_shape, call.dtype, given["input"])
    problem, operands = call.problem(given, {"y": y})
    return run(executor, plan_of("cross_entropy", problem, executor), operands, y, out)


def cross_entropy_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> CrossEntropyGradients:
    """Return the gradients of :func:`cross_entropy`; weights are taken as constants.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing, device
        As :func:`cross_entropy` was called with.
    output_mask : sequence of two bools, optional
        Which gradients to compute.

    Examples
    --------
    >>> import numpy
    >>> cross_entropy_backward(numpy.array(2.0), numpy.zeros((1, 2)), numpy.array([1])).input
    array([[ 1., -1.]])
    """
    mask = check_mask(output_mask, CrossEntropyGradients._fields)
    call = _Call(input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing, grad_output)
    check_shape("grad_output", call.arrays["grad_output"], call.output_shape, "the output's shape")
    executor = executor_for(device, call.arrays["input"], call.dtype)
    given = call.usable(executor)
    x = given["input"]
    wanted = (mask[0], mask[1] and not call.has_classes)
    gradients = CrossEntropyGradients(
        *(executor.empty(tuple(x.shape), call.dtype, x) if each else None for each in wanted)
    )
    if any(wanted):
        results = {"dx": gradients.input, "dq": gradients.target, "g": given["grad_output"]}
        problem, operands = call.problem(given, results, wanted)
        executor.run(plan_of("cross_entropy_backward", problem, executor), operands)
    return gradients


class _Call:
    """The checked arguments of a call."""

    def __init__(
        self,
        input: Any,
        target: Any,
        weight: Any,
        size_average: Any,
        ignore_index: Any,
        reduce: Any,
        reduction: Any,
        label_smoothing: Any,
        grad_output: Any = None,
    ) -> None:
        for name, value in (("size_average", size_average), ("reduce", reduce)):
            if value is not None:
                raise ValueError(
                    f'{name} is deprecated in torch: use reduction="mean", "sum" or "none": {name}={value!r}'
                )
        self.reduction = choice(reduction, "reduction", REDUCTIONS)
        self.label_smoothing = number(label_smoothing, "label_smoothing")
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be between 0 and 1: label_smoothing={label_smoothing!r}")
        self.ignore_index = whole(ignore_index, "ignore_index", -(2**63), 2**63 - 1)
        self.has_classes = getattr(getattr(target, "dtype", None), "kind", "") in "iub"
        floating = {"input": input}
        floating |= {} if self.has_classes else {"target": target}
        floating |= {} if weight is None else {"weight": weight}
        floating |= {} if grad_output is None else {"grad_output": grad_output}
        self.arrays, self.dtype = check_arrays(**floating)
        x = self.arrays["input"]
        if not len(x.shape):
            raise ValueError("input takes an axis of classes: input.shape=()")
        self.axis = min(len(x.shape) - 1, 1)
        self.C = x.shape[self.axis]
        if not self.C:
            raise ValueError(f"input must have at least 1 class: input.shape={tuple(x.shape)}")
        self.positions = (*x.shape[: self.axis], *x.shape[self.axis + 1 :])
        self.output_shape = self.positions if self.reduction == "none" else ()
        if self.has_classes:
            self._check_classes(target)
            self.arrays["target"] = target
        else:
            check_shape("target", self.arrays["target"], tuple(x.shape), "as probabilities, the input's shape")
        if weight is not None:
            check_shape("weight", self.arrays["weight"], (self.C,), "one value for each class, shape")

    def _check_classes(self, target: Any) -> None:
        x = self.arrays["input"]
        if is_device_array(target) != is_device_array(x):
            raise TypeError("arrays must all be NumPy's or all pyopencl's, but input and target are not of one kind")
        if not is_device_array(target) and type(target) is not np.ndarray:
            raise TypeError(f"target takes a numpy.ndarray or a pyopencl.array.Array, not {type(target).__name__}")
        if target.dtype.name != "int64" or not target.dtype.isnative:
            raise TypeError(
                f"target takes classes as int64, not {target.dtype}: convert it with target.astype('int64')"
            )
        check_shape("target", target, self.positions, "as classes, the input's shape without the axis of classes,")
        if is_device_array(target) or not target.size or (target.min() >= 0 and target.max() < self.C):
            return
        wrong = (target != self.ignore_index) & ((target < 0) | (target >= self.C))
        if wrong.any():
            raise ValueError(
                f"target must hold classes from 0 to {self.C - 1}, or ignore_index={self.ignore_index}: "
                f"it holds {target[wrong].ravel()[0]}"
            )

    def usable(self, executor: Executor) -> dict[str, Any]:
        """Return the arrays as the executor can walk them."""
        return {name: executor.usable(array) for name, array in self.arrays.items()}

    def problem(
        self, given: dict[str, Any], others: dict[str, Any], wanted: tuple[bool, bool] = (False, False)
    ) -> tuple[CrossEntropyProblem, dict[str, Operand]]:
        """Return the problem and its operands: the arrays of the call, and results and gradients by their names."""
        x, target, weight = given["input"], given["target"], given.get("weight")
        t, q = (target, None) if self.has_classes else (None, target)
        walked = {"x": x, "t": t, "q": q, **others}
        present = {name: array for name, array in walked.items() if array is not None}
        strides = [self._strides(array) for array in present.values()]
        softmax, steps = SoftmaxProblem.over(tuple(x.shape), self.axis, strides, is_log=True, dtype=self.dtype)
        if len(softmax.extents) > AXES:
            dense = {name: without_gaps("cross_entropy", name, array) for name, array in given.items()}
            if any(dense[name] is not given[name] for name in given):
                gradient = {"g": dense["grad_output"]} if "g" in others else {}
                return self.problem(dense, {**others, **gradient}, wanted)
        n, C, d, h, w = softmax.extents
        problem = CrossEntropyProblem(
            (n, C, d, h, w),
            self.reduction,
            self.has_classes,
            weight is not None,
            self.ignore_index,
            self.label_smoothing,
            *wanted,
            self.dtype,
        )
        operands = dict.fromkeys(("t", "q", "dx", "dq", "y"), Operand(None, 0, (0,) * AXES))
        for (name, array), walk in zip(present.items(), steps, strict=True):
            operands[name] = Operand(array, 0, walk)
        return problem, {**operands, "w": vector(weight)}

    def _strides(self, array: Any) -> tuple[int, ...]:
        """Return an array's strides along the input's axes: 0 along those that it does not have."""
        strides = element_strides(array)
        axes = len(self.positions) + 1
        if len(strides) == axes:
            return strides
        return (*strides[: self.axis], 0, *strides[self.axis :]) if len(strides) == axes - 1 else (0,) * axes
