"""Convolutions that are planned once and computed often, with weights that stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from clconv.accuracy import accuracy_in_force
from clconv.algorithms import algorithm_for, alternatives, plan_for
from clconv.arrays import check_arrays, check_out, is_dense, is_device_array
from clconv.devices import executor_for
from clconv.executor import Executor, Layouts, Operand, layouts_of
from clconv.functional._convolution import geometry_of, laid_out
from clconv.functional._run import activation, result_array, vector
from clconv.functional._run import weight as weight_operand
from clconv.functional.epilogue import Epilogue, epilogue_arrays, epilogue_operands, epilogue_problem
from clconv.preparation import split
from clconv.problem import ConvProblem

__all__ = ["ConvPlan", "plan"]

#: Layouts of inputs that a plan remembers.
_MOST_LAYOUTS = 64


def plan(
    operation: str,
    input_shape: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    padding_mode: str = "zeros",
    flip: bool = False,
    epilogue: Epilogue | None = None,
    device: Any = None,
) -> ConvPlan:
    """Plan a convolution with weights that stay, for inputs of one shape.

    Arguments are checked, the algorithm is chosen and the weights are packed or transformed once; the plan keeps what
    came of it, and its workspace. The accuracy in force now, see :func:`clconv.accuracy`, is the plan's.

    Weight, bias and the epilogue's arrays are copied: **what is written into them later does not show in the plan.**
    Plain calls such as :func:`clconv.conv2d` keep nothing of an array's contents, and always use those of the moment.

    Parameters
    ----------
    operation : str
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d" or "conv_transpose3d".
    input_shape : sequence of int
        The shape of all inputs.
    weight, bias : array, bias optional
        As for :func:`clconv.conv2d`. Inputs have to be of the same kind, NumPy's or pyopencl's, and of the same dtype.
    stride, padding, output_padding, groups, dilation, padding_mode, flip
        As for that operation; output_padding is for transposed convolutions only.
    epilogue : clconv.Epilogue, optional
        As for :func:`clconv.conv2d`, without a residual, which changes from call to call.
    device : optional
        As :func:`clconv.use` takes it.

    Returns
    -------
    ConvPlan
        ``plan(input, out=None)`` computes the convolution; printed, it tells its algorithm.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy, clconv
    >>> image, edges = numpy.ones((1, 1, 4, 4), "float32"), numpy.array([[[[1, -1]]]], "float32")
    >>> layer = clconv.plan("conv2d", image.shape, edges, padding=(0, 1), device="native")
    >>> layer(image)[0, 0, 0]
    array([-1.,  0.,  0.,  0.,  1.], dtype=float32)
    >>> layer(2 * image)[0, 0, 0]
    array([-2.,  0.,  0.,  0.,  2.], dtype=float32)
    """
    geometry = geometry_of(operation, stride, padding, dilation, groups, padding_mode, flip, output_padding)
    arrays, dtype = check_arrays(weight=weight, bias=bias, **epilogue_arrays(epilogue))
    if "epilogue.residual" in arrays:
        raise ValueError(
            "epilogue takes no residual in a plan, which keeps its arrays: call the operation itself, "
            f"or add afterwards; epilogue.residual.shape={tuple(arrays['epilogue.residual'].shape)}"
        )
    problem = geometry.problem(input_shape, arrays["weight"], arrays["bias"], dtype)
    parts = epilogue_problem(epilogue, arrays, problem.output_shape, -1 - problem.rank)
    executor = executor_for(device, arrays["weight"], dtype)
    return ConvPlan(operation, replace(problem, epilogue=parts), executor, arrays)


class ConvPlan:
    """A convolution that :func:`clconv.plan` has planned: ``plan(input, out=None)`` computes it.

    Several threads may call a plan at the same time; each call has a workspace of its own.

    Attributes
    ----------
    operation : str
    input_shape, output_shape : tuple of int
    dtype : str
    device : str
    accuracy : str
        What was in force when the plan was made.
    algorithm : str
        That for inputs without gaps within their channels, as what follows. For others another one may be chosen.
    error : str
        The class of the algorithm's error: "elementwise", "default" or "fast", see :func:`clconv.accuracy`.
    alternatives : dict of str to str
        The other algorithms, each with the reason why it was not chosen.
    prepared_bytes : int
        Memory of packed or transformed weights, besides the copy of the weights themselves.
    workspace_bytes : int
        Memory for results on the way, kept from call to call: for each of the calls that run at the same time.
    """

    def __init__(self, operation: str, problem: ConvProblem, executor: Executor, arrays: Mapping[str, Any]) -> None:
        self.operation = operation
        self.input_shape, self.output_shape, self.dtype = problem.input_shape, problem.output_shape, problem.dtype
        self.device, self.accuracy = executor.name, accuracy_in_force()
        self._executor = executor
        self._on_device_arrays = is_device_array(arrays["weight"])
        self._arrays = {name: array if array is None else executor.snapshot(array) for name, array in arrays.items()}
        self._problem = laid_out(problem, {"weight": self._arrays["weight"]})
        self._layouts: dict[Any, tuple[_Prepared, Layouts]] = {}
        self._with_gaps: _Prepared | None = None
        self._dense = prepared = _Prepared(self, dense=True)
        self.algorithm, self.error = prepared.algorithm.name, prepared.algorithm.error
        self.alternatives = prepared.alternatives
        self.prepared_bytes, self.workspace_bytes = prepared.prepared_bytes, prepared.workspace_bytes

    def __call__(self, input: Any, out: Any = None) -> Any:
        """Compute the convolution of an input.

        Parameters
        ----------
        input : array
            Of exactly the plan's shape and dtype, with any strides, and of the kind of the weight; a pyopencl array is
            computed on its queue, which must be of the weight's device and context.
        out : array, optional
            Where the result goes: of exactly its shape and dtype, not overlapping the input. It is returned.

        Raises
        ------
        ValueError, TypeError
            If the plan was not made for such an input.
        """
        known = self._layouts.get(_layout_of(input, out))
        if known is not None:
            prepared, layouts = known
            result = self._executor.empty(self.output_shape, self.dtype, input) if out is None else out
            prepared.launch(self._executor, layouts, input, result)
            return result
        return self._checked(input, out)

    def _checked(self, given: Any, out: Any) -> Any:
        """Check an input and compute; remember how it is walked if it is walked as it is."""
        arrays, dtype = check_arrays(input=given)
        if is_device_array(given) != self._on_device_arrays:
            kinds = ("NumPy arrays", "pyopencl arrays")
            raise TypeError(
                f"the plan was made with a weight, and takes inputs, that are {kinds[self._on_device_arrays]}, "
                f"but input is one of the {kinds[not self._on_device_arrays]}"
            )
        if dtype != self.dtype:
            raise TypeError(f"the plan takes inputs of dtype {self.dtype}: input.dtype={dtype}")
        if tuple(given.shape) != self.input_shape:
            raise ValueError(f"the plan takes inputs of shape {self.input_shape}: input.shape={tuple(given.shape)}")
        executor = executor_for(None, given, dtype) if self._on_device_arrays else self._executor
        if executor.place != self._executor.place:
            raise ValueError(f"input must be on the device and in the context of the plan's weight, {self.device}")
        if out is not None:
            check_out(out, self.output_shape, dtype, arrays)
        source = executor.usable(arrays["input"])
        result = result_array(executor, out, self.output_shape, dtype, source)
        prepared = self._prepared(source)
        layouts = prepared.layouts_of(source, result)
        prepared.launch(executor, layouts, source, result)
        layout = _layout_of(given, out)
        if layout is not None and source is given and (out is None or result is out):
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            self._layouts[layout] = prepared, layouts
        if out is None or result is out:
            return result
        out[...] = result
        return out

    def _prepared(self, source: Any) -> _Prepared:
        """Return what is prepared for an input without gaps within its channels, or for others."""
        if is_dense(source, self._problem.rank):
            return self._dense
        if self._with_gaps is None:
            self._with_gaps = _Prepared(self, dense=False)
        return self._with_gaps

    def __repr__(self) -> str:
        return f"<clconv plan of {self.operation}, {self.input_shape} {self.dtype} on {self.device}: {self.algorithm}>"

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.operation} on {self.device}: {self.dtype}, {self.input_shape} to {self.output_shape}",
                f"  algorithm   {self.algorithm}, error class {self.error}, at accuracy {self.accuracy}",
                f"  prepared    {self.prepared_bytes} bytes of weights",
                f"  workspace   {self.workspace_bytes} bytes",
                *(f"  not {name}: {reason}" for name, reason in self.alternatives.items()),
            ]
        )


class _Prepared:
    """A plan split in two: what the first part made of the weights, and the launches that are left for every call."""

    def __init__(self, owner: ConvPlan, dense: bool) -> None:
        transposed = owner._problem.transposed
        operation, *self._walked = ("conv_bwd_data", "dy", "dx") if transposed else ("conv_fwd", "x", "y")
        walked = (self._walked[0],) if dense else ()
        self._problem = replace(owner._problem, dense=(*owner._problem.dense, *walked))
        executor = owner._executor
        what = operation, self._problem, executor.traits._replace(prepared=True), owner.accuracy
        self.algorithm, self.alternatives = algorithm_for(*what), alternatives(*what)
        weights = _weights_of(self._problem, owner._arrays)
        first, rest = split(plan_for(*what), weights)
        made = {name: Operand(executor.memory(size), 0, ()) for name, size in first.workspace.items()}
        executor.run(replace(first, workspace={}), {**weights, **made})
        executor.finish()
        used = {name for launch in rest.launches for name in launch.arrays.values()}
        self._kept = {name: operand for name, operand in {**weights, **made}.items() if name in used}
        self.prepared_bytes = sum(size for name, size in first.workspace.items() if name in used)
        self.workspace_bytes = sum(rest.workspace.values())
        # A call on pyopencl arrays may still run when it has returned: it has a workspace that nobody else gets.
        self._workspace = {} if owner._on_device_arrays else dict(rest.workspace)
        self._plan = rest if owner._on_device_arrays else replace(rest, workspace={})
        self._free: list[tuple[Any, ...]] = []

    def layouts_of(self, source: Any, result: Any) -> Layouts:
        """Return how a call on these arrays walks all of its operands, in the order in which `launch` gives them."""
        arrays = zip(self._walked, (source, result), strict=True)
        walked = {name: activation(self._problem, array) for name, array in arrays}
        pieces = {name: Operand(None, 0, ()) for name in self._workspace}
        return layouts_of({**walked, **self._kept, **pieces})

    def launch(self, executor: Executor, layouts: Layouts, source: Any, result: Any) -> None:
        """Run the launches that are left, in a workspace that no other call has meanwhile."""
        try:
            pieces = self._free.pop()
        except IndexError:
            pieces = tuple([executor.memory(size) for size in self._workspace.values()])
        kept = [operand.array for operand in self._kept.values()]
        executor.launch(self._plan, layouts, (source, result, *kept, *pieces))
        self._free.append(pieces)


def _layout_of(given: Any, out: Any) -> tuple[Any, ...] | None:
    """Return what decides how NumPy arrays are walked, None if there is more to check of these."""
    if type(given) is not np.ndarray or not given.flags.aligned:
        return None
    if out is None:
        return given.shape, given.strides, given.dtype
    if type(out) is not np.ndarray or not out.flags.behaved or np.may_share_memory(given, out):
        return None
    return given.shape, given.strides, given.dtype, out.shape, out.strides, out.dtype


def _weights_of(problem: ConvProblem, arrays: Mapping[str, Any]) -> dict[str, Operand]:
    """Return the operands that stay."""
    bias = {} if arrays["bias"] is None else {"b": vector(arrays["bias"])}
    return {
        "w": weight_operand(problem, arrays["weight"]),
        **bias,
        **epilogue_operands(arrays, problem.activation_strides),
    }
