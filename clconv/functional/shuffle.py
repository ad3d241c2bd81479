"""Moving elements between channels and pixels: pixel_shuffle, pixel_unshuffle and channel_shuffle."""

from __future__ import annotations

from typing import Any, NamedTuple

from clconv.arrays import check_arrays, check_out, element_strides
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask, check_shape, plan_of, result_array, run
from clconv.functional._walk import is_walkable, walkable
from clconv.problem import ShuffleProblem
from clconv.problem.shapes import merged_stride

__all__ = [
    "ChannelShuffleGradients",
    "PixelShuffleGradients",
    "PixelUnshuffleGradients",
    "channel_shuffle",
    "channel_shuffle_backward",
    "pixel_shuffle",
    "pixel_shuffle_backward",
    "pixel_unshuffle",
    "pixel_unshuffle_backward",
]


class PixelShuffleGradients(NamedTuple):
    """Gradient of pixel_shuffle's argument; None where masked."""

    input: Any


class PixelUnshuffleGradients(NamedTuple):
    """Gradient of pixel_unshuffle's argument; None where masked."""

    input: Any


class ChannelShuffleGradients(NamedTuple):
    """Gradient of channel_shuffle's argument; None where masked."""

    input: Any


@repeatable
def pixel_shuffle(input: Any, upscale_factor: int, *, out: Any = None, device: Any = None) -> Any:
    """Turn channels into pixels: ``y[..., c, h*r + i, w*r + j] = x[..., c*r*r + i*r + j, h, w]``.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (..., C*r*r, H, W). float16, float32 or float64, any strides.
    upscale_factor : int
        r, at least 1.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (..., C, H*r, W*r).

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> pixel_shuffle(numpy.arange(4, dtype="float32").reshape(4, 1, 1), 2)
    array([[[0., 1.],
            [2., 3.]]], dtype=float32)
    """
    arrays, dtype = check_arrays(input=input)
    problem = ShuffleProblem.for_pixel_shuffle(arrays["input"].shape, upscale_factor, dtype=dtype)
    return _forward(problem, arrays, out, device)


@repeatable
def pixel_unshuffle(input: Any, downscale_factor: int, *, out: Any = None, device: Any = None) -> Any:
    """Turn pixels into channels: ``y[..., c*r*r + i*r + j, h, w] = x[..., c, h*r + i, w*r + j]``.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (..., C, H*r, W*r). float16, float32 or float64, any strides.
    downscale_factor : int
        r, at least 1.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Shape (..., C*r*r, H, W).

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> pixel_unshuffle(numpy.arange(4, dtype="float32").reshape(1, 2, 2), 2).ravel()
    array([0., 1., 2., 3.], dtype=float32)
    """
    arrays, dtype = check_arrays(input=input)
    problem = ShuffleProblem.for_pixel_unshuffle(arrays["input"].shape, downscale_factor, dtype=dtype)
    return _forward(problem, arrays, out, device)


@repeatable
def channel_shuffle(input: Any, groups: int, *, out: Any = None, device: Any = None) -> Any:
    """Interleave groups of channels: ``y[n, c*G + g] = x[n, g*(C/G) + c]``.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, ...), of three axes or more. float16, float32 or float64, any strides.
    groups : int
        G, at least 1.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Of its shape.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> channel_shuffle(numpy.arange(6, dtype="float32").reshape(1, 6, 1), 2).ravel()
    array([0., 3., 1., 4., 2., 5.], dtype=float32)
    """
    arrays, dtype = check_arrays(input=input)
    problem = ShuffleProblem.for_channel_shuffle(arrays["input"].shape, groups, dtype=dtype)
    return _forward(problem, arrays, out, device)


@repeatable
def pixel_shuffle_backward(
    grad_output: Any, input: Any, upscale_factor: int, *, output_mask: Any = None, device: Any = None
) -> PixelShuffleGradients:
    """Return the gradient of :func:`pixel_shuffle`, which is :func:`pixel_unshuffle`.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, upscale_factor, device
        As :func:`pixel_shuffle` was called with; only the shape of ``input`` matters.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.array([[[5, 6], [7, 8]]], "float32"), numpy.zeros((4, 1, 1), "float32")
    >>> pixel_shuffle_backward(g, x, 2).input.ravel()
    array([5., 6., 7., 8.], dtype=float32)
    """
    mask = check_mask(output_mask, PixelShuffleGradients._fields)
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    problem = ShuffleProblem.for_pixel_shuffle(arrays["input"].shape, upscale_factor, dtype=dtype)
    return PixelShuffleGradients(_gradient(problem, arrays, mask, device))


@repeatable
def pixel_unshuffle_backward(
    grad_output: Any, input: Any, downscale_factor: int, *, output_mask: Any = None, device: Any = None
) -> PixelUnshuffleGradients:
    """Return the gradient of :func:`pixel_unshuffle`, which is :func:`pixel_shuffle`.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, downscale_factor, device
        As :func:`pixel_unshuffle` was called with; only the shape of ``input`` matters.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.array([[[5]], [[6]], [[7]], [[8]]], "float32"), numpy.zeros((1, 2, 2), "float32")
    >>> pixel_unshuffle_backward(g, x, 2).input
    array([[[5., 6.],
            [7., 8.]]], dtype=float32)
    """
    mask = check_mask(output_mask, PixelUnshuffleGradients._fields)
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    problem = ShuffleProblem.for_pixel_unshuffle(arrays["input"].shape, downscale_factor, dtype=dtype)
    return PixelUnshuffleGradients(_gradient(problem, arrays, mask, device))


@repeatable
def channel_shuffle_backward(
    grad_output: Any, input: Any, groups: int, *, output_mask: Any = None, device: Any = None
) -> ChannelShuffleGradients:
    """Return the gradient of :func:`channel_shuffle`, which is the shuffle with C/G groups.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, groups, device
        As :func:`channel_shuffle` was called with; only the shape of ``input`` matters.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.array([[[0], [3], [1], [4], [2], [5]]], "float32"), numpy.zeros((1, 6, 1), "float32")
    >>> channel_shuffle_backward(g, x, 2).input.ravel()
    array([0., 1., 2., 3., 4., 5.], dtype=float32)
    """
    mask = check_mask(output_mask, ChannelShuffleGradients._fields)
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    problem = ShuffleProblem.for_channel_shuffle(arrays["input"].shape, groups, dtype=dtype)
    return ChannelShuffleGradients(_gradient(problem, arrays, mask, device))


def _forward(problem: ShuffleProblem, arrays: dict[str, Any], out: Any, device: Any) -> Any:
    """Copy the input's elements to their places in the output."""
    if out is not None:
        check_out(out, problem.output_shape, problem.dtype, arrays)
    return _moved(problem, "input", arrays["input"], problem.output_shape, out, device)


def _gradient(problem: ShuffleProblem, arrays: dict[str, Any], mask: tuple[bool, ...], device: Any) -> Any:
    """Copy the elements of the output's gradient back."""
    check_shape("grad_output", arrays["grad_output"], problem.output_shape, "the output's shape")
    if not mask[0]:
        return None
    return _moved(problem, "grad_output", arrays["grad_output"], problem.input_shape, None, device)


def _moved(problem: ShuffleProblem, name: str, array: Any, shape: tuple[int, ...], out: Any, device: Any) -> Any:
    executor = executor_for(device, array, problem.dtype)
    source = walkable(name, executor.usable(array), problem.merged)
    walks_out = out is not None and is_walkable(out, problem.merged)
    result = result_array(executor, out if walks_out else None, shape, problem.dtype, source)
    walks = (problem.input_strides, problem.output_strides)
    operands = {
        operand: _operand(problem, moved, strides)
        for operand, moved, strides in zip(
            ("x", "y"), (source, result), walks if name == "input" else walks[::-1], strict=True
        )
    }
    return run(executor, plan_of("shuffle", problem, executor), operands, result, out)


def _operand(problem: ShuffleProblem, array: Any, six_axes: Any) -> Operand:
    strides, merged = element_strides(array), problem.merged
    return Operand(array, 0, six_axes(strides, merged_stride(array.shape[merged], strides[merged])))
