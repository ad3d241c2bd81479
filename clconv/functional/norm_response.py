"""Local response normalisation, across neighbouring channels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from clconv.arrays import check_arrays, check_out, element_strides
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.functional._repeat import repeatable
from clconv.functional._run import check_mask, check_shape, plan_all, result_array, run, usable
from clconv.functional.epilogue import Epilogue, epilogue_arrays, epilogue_operands, epilogue_problem
from clconv.problem import ResponseProblem

__all__ = ["LocalResponseNormGradients", "local_response_norm", "local_response_norm_backward"]


class LocalResponseNormGradients(NamedTuple):
    """Gradient of local_response_norm's argument; None where masked."""

    input: Any


@repeatable
def local_response_norm(
    input: Any,
    size: Any,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    epilogue: Epilogue | None = None,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Divide by a power of the mean square of neighbouring channels.

    ``y[n, c] = x[n, c] / (k + alpha/size * sum(x[n, i]**2))**beta`` at every pixel, with the sum over
    ``c - size//2 <= i <= c + (size - 1)//2``. Channels beyond the ends count as zeros: the sum is divided by ``size``
    everywhere.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Shape (N, C, *spatial) with one to three spatial axes. float16, float32 or float64, any strides.
    size : int
        Channels of a window.
    alpha, beta, k : float
    epilogue : clconv.Epilogue, optional
        What is done to the output before it is stored.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind of ``input``
        Of its shape; NaN where the base of the power is negative and ``beta`` not whole.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.conv2d` does.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.array([[[2.0], [4.0], [6.0]]])
    >>> local_response_norm(x, 2, alpha=2.0, beta=1.0, k=0.0).ravel().round(3)
    array([0.5  , 0.2  , 0.115])
    """
    arrays, dtype = check_arrays(input=input, **epilogue_arrays(epilogue))
    problem = ResponseProblem.from_shape(arrays["input"].shape, size, alpha, beta, k, dtype)
    shape = tuple(arrays["input"].shape)
    problem = replace(problem, epilogue=epilogue_problem(epilogue, arrays, shape, 1))
    if out is not None:
        check_out(out, shape, dtype, arrays)
    executor = executor_for(device, arrays["input"], dtype)
    arrays = usable(executor, arrays)
    result = result_array(executor, out, shape, dtype, arrays["input"])
    operands = _operands(problem, x=arrays["input"], y=result)
    operands |= epilogue_operands(arrays, functools.partial(_walked, problem))
    walked = ("x", "y", *(name for name in problem.epilogue.arrays if name == "residual"))
    problem = problem.merged([operands[name].strides for name in walked])
    return run(executor, plan_all(["response_norm"], problem, executor), operands, result, out)


@repeatable
def local_response_norm_backward(
    grad_output: Any,
    input: Any,
    size: Any,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    output_mask: Any = None,
    device: Any = None,
) -> LocalResponseNormGradients:
    """Return the gradient of :func:`local_response_norm`.

    With ``base[i] = k + alpha/size * sum(x**2)`` over the window of channel i,
    ``dx[c] = dy[c] * base[c]**-beta - 2*alpha*beta/size * x[c] * sum(dy[i] * x[i] * base[i]**(-beta - 1))``, with the
    sum over the channels i whose windows hold c.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, size, alpha, beta, k, device
        As :func:`local_response_norm` was called with.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Returns
    -------
    LocalResponseNormGradients

    Examples
    --------
    >>> import numpy
    >>> g, x = numpy.array([[[25.0], [25.0]]]), numpy.array([[[1.0], [2.0]]])
    >>> local_response_norm_backward(g, x, 3, alpha=3.0, beta=1.0, k=0.0).input.ravel().round(6)
    array([-1., -7.])
    """
    mask = check_mask(output_mask, LocalResponseNormGradients._fields)
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    problem = ResponseProblem.from_shape(arrays["input"].shape, size, alpha, beta, k, dtype)
    shape = tuple(arrays["input"].shape)
    check_shape("grad_output", arrays["grad_output"], shape, "the output's shape")
    if not mask[0]:
        return LocalResponseNormGradients(None)
    executor = executor_for(device, arrays["input"], dtype)
    source, gradient = executor.usable(arrays["input"]), executor.usable(arrays["grad_output"])
    result = executor.empty(shape, dtype, source)
    operands = _operands(problem, x=source, dy=gradient, dx=result)
    problem = problem.merged([operand.strides for operand in operands.values()])
    executor.run(plan_all(["response_norm_bwd"], problem, executor), operands)
    return LocalResponseNormGradients(result)


def _operands(problem: ResponseProblem, **arrays: Any) -> dict[str, Operand]:
    """Return arrays as the kernels walk them."""
    return {name: Operand(array, 0, _walked(problem, element_strides(array))) for name, array in arrays.items()}


def _walked(problem: ResponseProblem, strides: Sequence[int]) -> tuple[int, ...]:
    """Return an array's strides along batch, channels and three axes of pixels."""
    N, C, *pixels = strides
    _, H, W = problem.pixels
    # An axis that the array lacks has one position: whatever its stride, let it merge.
    lacking = (H * W * pixels[-1], W * pixels[-1])[: 3 - len(pixels)]
    return (N, C, *lacking, *pixels)
