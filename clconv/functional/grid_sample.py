"""Sampling images at the positions of a grid."""

from __future__ import annotations

from typing import Any, NamedTuple

from clconv.arrays import check_arrays, check_out, element_strides
from clconv.devices import executor_for
from clconv.executor import Executor, Operand
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask, check_shape, plan_of, result_array, run
from clconv.problem import GridSampleProblem

__all__ = ["GridSampleGradients", "grid_sample", "grid_sample_backward"]


class GridSampleGradients(NamedTuple):
    """Gradients of grid_sample's arguments; None where masked."""

    input: Any
    grid: Any


@repeatable
def grid_sample(
    input: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
    *,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Sample images at the positions of a grid.

    A coordinate g of an axis of E pixels lies at ``((g + 1)*E - 1)/2`` among them, or with ``align_corners`` at
    ``(g + 1)/2*(E - 1)``; NaN counts as -1.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, IH, IW) or (N, C, ID, IH, IW). float16, float32 or float64, any strides.
    grid : array
        Shape (N, OH, OW, 2) or (N, OD, OH, OW, 3): the coordinates (x, y) or (x, y, z) of each output.
    mode : str
        "bilinear" (over three axes trilinear), "nearest" (ties to the even pixel), or for two axes "bicubic".
    padding_mode : str
        What lies outside the image: "zeros", the pixels at its "border", or its "reflection".
    align_corners : bool, optional
        Whether -1 and 1 are the centres of the corner pixels, or else (the default) their outer edges.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (N, C, OH, OW) or (N, C, OD, OH, OW).

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.array([[[[0, 8], [16, 24]]]], "float32")
    >>> grid = numpy.array([[[[-1, -1], [0, 0], [1, 0]]]], "float32")
    >>> grid_sample(x, grid, align_corners=True)
    array([[[[ 0., 12., 16.]]]], dtype=float32)
    """
    arrays, dtype = check_arrays(input=input, grid=grid)
    problem = GridSampleProblem.for_grid_sample(
        arrays["input"].shape, arrays["grid"].shape, mode, padding_mode, align_corners, dtype=dtype
    )
    if out is not None:
        check_out(out, problem.output_shape, dtype, arrays)
    executor = executor_for(device, arrays["input"], dtype)
    operands = _operands(problem, executor, x=arrays["input"], grid=arrays["grid"])
    result = result_array(executor, out, problem.output_shape, dtype, operands["x"].array)
    operands["y"] = Operand(result, 0, problem.strides(element_strides(result)))
    return run(executor, plan_of("grid_sample", problem, executor), operands, result, out)


@repeatable
def grid_sample_backward(
    grad_output: Any,
    input: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> GridSampleGradients:
    """Return the gradients of :func:`grid_sample`, the same bits on every run.

    Where a weight has a kink (at a pixel, and at an edge) the grid's gradient is that of the side that
    :func:`grid_sample` computes with: the pixels floor(p) and floor(p) + 1, and 0 at an edge of "border".

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, grid, mode, padding_mode, align_corners, device
        As :func:`grid_sample` was called with.
    output_mask : sequence of two bools, optional
        Which gradients to compute: of input and of grid.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.array([[[[0, 8], [16, 24]]]], "float32")
    >>> grid = numpy.array([[[[0, 0]]]], "float32")
    >>> g = numpy.ones((1, 1, 1, 1), "float32")
    >>> gradients = grid_sample_backward(g, x, grid, align_corners=True)
    >>> gradients.input
    array([[[[0.25, 0.25],
             [0.25, 0.25]]]], dtype=float32)
    >>> gradients.grid
    array([[[[4., 8.]]]], dtype=float32)
    """
    mask = check_mask(output_mask, GridSampleGradients._fields)
    arrays, dtype = check_arrays(input=input, grid=grid, grad_output=grad_output)
    problem = GridSampleProblem.for_grid_sample(
        arrays["input"].shape, arrays["grid"].shape, mode, padding_mode, align_corners, dtype=dtype
    )
    check_shape("grad_output", arrays["grad_output"], problem.output_shape, "the output's shape")
    executor = executor_for(device, arrays["input"], dtype)
    operands = _operands(problem, executor, dy=arrays["grad_output"], x=arrays["input"], grid=arrays["grid"])
    like = operands["x"].array
    dx = dgrid = None
    if mask[0]:
        dx = executor.empty(problem.input_shape, dtype, like)
        operands["dx"] = Operand(dx, 0, problem.strides(element_strides(dx)))
        executor.run(plan_of("grid_sample_bwd_input", problem, executor), operands)
    if mask[1]:
        dgrid = executor.empty(problem.grid_shape, dtype, like)
        operands["dgrid"] = Operand(dgrid, 0, problem.grid_strides(element_strides(dgrid)))
        executor.run(plan_of("grid_sample_bwd_grid", problem, executor), operands)
    return GridSampleGradients(dx, dgrid)


def _operands(problem: GridSampleProblem, executor: Executor, **arrays: Any) -> dict[str, Operand]:
    """Return arrays as the kernels walk them."""
    usable = {name: executor.usable(array) for name, array in arrays.items()}
    return {
        name: Operand(array, 0, (problem.grid_strides if name == "grid" else problem.strides)(element_strides(array)))
        for name, array in usable.items()
    }
