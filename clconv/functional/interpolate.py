"""Resizing images: interpolate, and torch's older names of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from clconv.arrays import check_arrays, check_out, element_strides
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask, check_shape, plan_of, result_array, run
from clconv.problem import ResizeProblem
from clconv.problem.resize import Resizing

__all__ = [
    "InterpolateGradients",
    "interpolate",
    "interpolate_backward",
    "upsample",
    "upsample_backward",
    "upsample_bilinear",
    "upsample_bilinear_backward",
    "upsample_nearest",
    "upsample_nearest_backward",
]


class InterpolateGradients(NamedTuple):
    """Gradient of interpolate's argument; None where masked."""

    input: Any


@repeatable
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    coordinate_mode: str | None = None,
    nearest_mode: str | None = None,
    cubic_coefficient: float | None = None,
    exclude_outside: bool = False,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Resize images: along each spatial axis every position of the output is a weighted sum of a few pixels.

    ``y[n, c, oh, ow] = sum(wh[oh, ih] * ww[ow, iw] * x[n, c, ih, iw] for ih, iw)``

    Position o of the output lies at ``p = (o + 1/2)*r - 1/2`` among the pixels, with ``r = 1/scale_factor`` or the
    ratio of the extents; docs/resampling.md has the weights of every mode.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, *extents), with 1 to 3 spatial axes. float16, float32 or float64, any strides.
    size : int or sequence of int, optional
        Extents of the output. Give this or ``scale_factor``.
    scale_factor : number or sequence of numbers, optional
        The output has ``floor(extent*scale_factor)`` positions.
    mode : str
        "nearest", "nearest-exact", "area", and by the number of axes "linear", "bilinear" and "bicubic", "trilinear".
        With a ``coordinate_mode`` "nearest", "linear" or "cubic", for any number of axes.
    align_corners : bool, optional
        Linear and cubic modes: whether the centres of the corner pixels stay where they are.
    recompute_scale_factor : bool, optional
        Whether to use the ratio of the extents in place of 1/scale_factor.
    antialias : bool
        Widen the kernel where the output has fewer positions: "bilinear" and "bicubic".
    coordinate_mode : str, optional
        Follow ONNX's Resize instead of torch, with its "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
        "align_corners" or "asymmetric".
    nearest_mode : str, optional
        ONNX's "round_prefer_floor" (the default), "round_prefer_ceil", "floor" or "ceil".
    cubic_coefficient : float, optional
        ONNX's cubic_coeff_a, from -1 to 0; -0.75 by default.
    exclude_outside : bool
        ONNX: whether pixels outside the image have no weight, or else are those at its edge.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (N, C, *positions).

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> interpolate(numpy.array([[[0, 16, 32]]], "float32"), scale_factor=2, mode="linear")
    array([[[ 0.,  4., 12., 20., 28., 32.]]], dtype=float32)
    >>> interpolate(numpy.array([[[0, 16, 32]]], "float32"), 5, mode="linear", align_corners=True)
    array([[[ 0.,  8., 16., 24., 32.]]], dtype=float32)
    """
    arrays, dtype = check_arrays(input=input)
    resizing = Resizing(
        size,
        scale_factor,
        mode,
        align_corners,
        recompute_scale_factor,
        antialias,
        coordinate_mode,
        nearest_mode,
        cubic_coefficient,
        exclude_outside,
    )
    problem = ResizeProblem.for_interpolate(arrays["input"].shape, resizing, dtype=dtype)
    return _apply(problem, "resize", problem.output_shape, arrays, "input", out, device)


@repeatable
def interpolate_backward(
    grad_output: Any,
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    coordinate_mode: str | None = None,
    nearest_mode: str | None = None,
    cubic_coefficient: float | None = None,
    exclude_outside: bool = False,
    output_mask: Any = None,
    device: Any = None,
) -> InterpolateGradients:
    """Return the gradient of :func:`interpolate`, which has the transposed weights.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias, coordinate_mode, nearest_mode, \
cubic_coefficient, exclude_outside, device
        As :func:`interpolate` was called with; only the shape of ``input`` matters.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.array([[[0, 16, 32, 16]]], "float32"), numpy.zeros((1, 1, 2), "float32")
    >>> interpolate_backward(g, x, scale_factor=2, mode="linear").input
    array([[[20., 44.]]], dtype=float32)
    """
    mask = check_mask(output_mask, InterpolateGradients._fields)
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    resizing = Resizing(
        size,
        scale_factor,
        mode,
        align_corners,
        recompute_scale_factor,
        antialias,
        coordinate_mode,
        nearest_mode,
        cubic_coefficient,
        exclude_outside,
    )
    problem = ResizeProblem.for_interpolate(arrays["input"].shape, resizing, dtype=dtype)
    check_shape("grad_output", arrays["grad_output"], problem.output_shape, "the output's shape")
    if not mask[0]:
        return InterpolateGradients(None)
    return InterpolateGradients(_apply(problem, "resize_bwd", problem.input_shape, arrays, "grad_output", None, device))


@repeatable
def upsample(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    *,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Resize images: an older name of :func:`interpolate`.

    Parameters
    ----------
    input, size, scale_factor, mode, align_corners, out, device
        As for :func:`interpolate`.

    Examples
    --------
    >>> import numpy
    >>> upsample(numpy.array([[[1, 2]]], "float32"), 4)
    array([[[1., 1., 2., 2.]]], dtype=float32)
    """
    return interpolate(input, size, scale_factor, mode, align_corners, out=out, device=device)


@repeatable
def upsample_backward(
    grad_output: Any,
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> InterpolateGradients:
    """Return the gradient of :func:`upsample`.

    Parameters
    ----------
    grad_output, input, size, scale_factor, mode, align_corners, output_mask, device
        As for :func:`interpolate_backward`.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.ones((1, 1, 4), "float32"), numpy.zeros((1, 1, 2), "float32")
    >>> upsample_backward(g, x, 4).input
    array([[[2., 2.]]], dtype=float32)
    """
    return interpolate_backward(
        grad_output, input, size, scale_factor, mode, align_corners, output_mask=output_mask, device=device
    )


@repeatable
def upsample_nearest(
    input: Any, size: Any = None, scale_factor: Any = None, *, out: Any = None, device: Any = None
) -> Any:
    """Resize images by nearest neighbours: an older name of :func:`interpolate`.

    Parameters
    ----------
    input, size, scale_factor, out, device
        As for :func:`interpolate`.

    Examples
    --------
    >>> import numpy
    >>> upsample_nearest(numpy.array([[[1, 2]]], "float32"), scale_factor=2)
    array([[[1., 1., 2., 2.]]], dtype=float32)
    """
    return interpolate(input, size, scale_factor, out=out, device=device)


@repeatable
def upsample_nearest_backward(
    grad_output: Any,
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> InterpolateGradients:
    """Return the gradient of :func:`upsample_nearest`.

    Parameters
    ----------
    grad_output, input, size, scale_factor, output_mask, device
        As for :func:`interpolate_backward`.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.ones((1, 1, 4), "float32"), numpy.zeros((1, 1, 2), "float32")
    >>> upsample_nearest_backward(g, x, scale_factor=2).input
    array([[[2., 2.]]], dtype=float32)
    """
    return interpolate_backward(grad_output, input, size, scale_factor, output_mask=output_mask, device=device)


@repeatable
def upsample_bilinear(
    input: Any, size: Any = None, scale_factor: Any = None, *, out: Any = None, device: Any = None
) -> Any:
    """Resize images bilinearly with aligned corners: an older name of :func:`interpolate`.

    Parameters
    ----------
    input, size, scale_factor, out, device
        As for :func:`interpolate`.

    Examples
    --------
    >>> import numpy
    >>> upsample_bilinear(numpy.array([[[[0, 8]]]], "float32"), (1, 5))
    array([[[[0., 2., 4., 6., 8.]]]], dtype=float32)
    """
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True, out=out, device=device)


@repeatable
def upsample_bilinear_backward(
    grad_output: Any,
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> InterpolateGradients:
    """Return the gradient of :func:`upsample_bilinear`.

    Parameters
    ----------
    grad_output, input, size, scale_factor, output_mask, device
        As for :func:`interpolate_backward`.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.ones((1, 1, 1, 3), "float32"), numpy.zeros((1, 1, 1, 2), "float32")
    >>> upsample_bilinear_backward(g, x, (1, 3)).input
    array([[[[1.5, 1.5]]]], dtype=float32)
    """
    return interpolate_backward(
        grad_output,
        input,
        size,
        scale_factor,
        "bilinear",
        align_corners=True,
        output_mask=output_mask,
        device=device,
    )


def _apply(
    problem: ResizeProblem,
    operation: str,
    shape: tuple[int, ...],
    arrays: dict[str, Any],
    name: str,
    out: Any,
    device: Any,
) -> Any:
    """Apply the weights, or their transposes, to the array called ``name``."""
    if out is not None:
        check_out(out, shape, problem.dtype, arrays)
    executor = executor_for(device, arrays[name], problem.dtype)
    source = executor.usable(arrays[name])
    result = result_array(executor, out, shape, problem.dtype, source)
    if not result.size:  # without planes there may be any number of weights
        return result
    operands = {
        operand: Operand(array, 0, problem.strides(element_strides(array)))
        for operand, array in (("x", source), ("y", result))
    }
    return run(executor, plan_of(operation, problem, executor), operands, result, out)
