"""Dropout with a counter-based generator, and flatten."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from clconv.arguments import flag
from clconv.arrays import check_arrays, element_strides
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.functional._elementwise import destination, number, refuse_inplace, whole
from clconv.functional._run import check_mask, check_shape, plan_of, result_array, run
from clconv.functional.softmax import axis_argument
from clconv.problem.elementwise import CommonWalk, DropoutProblem

__all__ = ["DropoutGradients", "FlattenGradients", "dropout", "dropout_backward", "flatten", "flatten_backward"]

_WORDS = 2**32  # that a random word may be


class DropoutGradients(NamedTuple):
    """Gradient of dropout's argument; None where masked."""

    input: Any


class FlattenGradients(NamedTuple):
    """Gradient of flatten's argument; None where masked."""

    input: Any


def dropout(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    seed: int,
    offset: int = 0,
    out: Any = None,
    device: Any = None,
) -> Any:
    """Set elements to zero with probability p, and scale the others: ``y = x / (1 - p)`` or 0.

    Element number i, in the order of the indices, is dropped if random number ``offset + i`` of the generator
    Philox4x32-10 with key ``seed``, a word of 32 bits, is below ``p * 2**32``. So one seed gives one mask on every
    device, whatever the strides; calls that are to differ take different seeds, or offsets that are at least the
    number of elements apart.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Any shape and strides. float16, float32 or float64.
    p : float
        Between 0 and 1.
    training : bool
        False copies the input.
    inplace : bool
        Whether to write the result into ``input`` and return it.
    seed : int
        Between 0 and ``2**64 - 1``.
    offset : int
        Between 0 and ``2**62``.
    out, device
        As for :func:`clconv.conv2d`.

    Returns
    -------
    array of the kind and shape of ``input``

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`clconv.relu` does.

    Examples
    --------
    >>> import numpy
    >>> dropout(numpy.ones(8), seed=1)
    array([2., 2., 2., 2., 2., 2., 0., 2.])
    """
    arrays, dtype = check_arrays(input=input)
    target = destination(input, arrays, dtype, inplace, out)
    chances = _chances(p, training, seed, offset)
    executor = executor_for(device, arrays["input"], dtype)
    x = executor.usable(arrays["input"])
    y = result_array(executor, target, tuple(x.shape), dtype, x)
    problem, operands = _problem(chances, dtype, x, y)
    return run(executor, plan_of("dropout", problem, executor), operands, y, target)


def dropout_backward(
    grad_output: Any,
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    seed: int,
    offset: int = 0,
    output_mask: Any = None,
    device: Any = None,
) -> DropoutGradients:
    """Return the gradient of :func:`dropout`, which drops and scales the same elements: ``dx = g / (1 - p)`` or 0.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, p, training, seed, offset, device
        As :func:`dropout` was called with.
    inplace : bool
        False: a gradient is a new array.
    output_mask : sequence of one bool, optional
        Whether to compute it.

    Examples
    --------
    >>> import numpy
    >>> dropout_backward(numpy.ones(8), numpy.zeros(8), seed=1).input
    array([2., 2., 2., 2., 2., 2., 0., 2.])
    """
    refuse_inplace(inplace, "dropout")
    (wanted,) = check_mask(output_mask, DropoutGradients._fields)
    arrays, dtype = check_arrays(input=input, grad_output=grad_output)
    check_shape("grad_output", arrays["grad_output"], tuple(arrays["input"].shape), "the output's shape")
    chances = _chances(p, training, seed, offset)
    executor = executor_for(device, arrays["input"], dtype)
    if not wanted:
        return DropoutGradients(None)
    g = executor.usable(arrays["grad_output"])
    dx = executor.empty(tuple(g.shape), dtype, g)
    problem, operands = _problem(chances, dtype, g, dx)
    executor.run(plan_of("dropout", problem, executor), operands)
    return DropoutGradients(dx)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Join the axes from ``start_dim`` to ``end_dim``, both included: a view where the strides allow it, else a copy.

    Parameters
    ----------
    input : numpy.ndarray or pyopencl.array.Array
        Any shape; a pyopencl array without gaps. float16, float32 or float64.
    start_dim, end_dim : int
        Axes; negative ones are counted from the back.

    Returns
    -------
    array of the kind of ``input``
        An input without axes gets one.

    Raises
    ------
    ValueError, TypeError
        If an axis is none of the input's, or they come in the wrong order.

    Examples
    --------
    >>> import numpy
    >>> flatten(numpy.zeros((2, 3, 4)), 1).shape
    (2, 12)
    """
    arrays, _ = check_arrays(input=input)
    return arrays["input"].reshape(_flat_shape(tuple(arrays["input"].shape), start_dim, end_dim))


def flatten_backward(
    grad_output: Any, input: Any, start_dim: int = 0, end_dim: int = -1, *, output_mask: Any = None
) -> FlattenGradients:
    """Return the gradient of :func:`flatten`: ``grad_output`` in the input's shape, a view where possible.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, of its shape.
    input, start_dim, end_dim
        As :func:`flatten` was called with; only the shape of ``input`` matters.
    output_mask : sequence of one bool, optional
        Whether to return it.

    Examples
    --------
    >>> import numpy
    >>> flatten_backward(numpy.zeros((2, 12)), numpy.zeros((2, 3, 4)), 1).input.shape
    (2, 3, 4)
    """
    (wanted,) = check_mask(output_mask, FlattenGradients._fields)
    arrays, _ = check_arrays(input=input, grad_output=grad_output)
    shape = tuple(arrays["input"].shape)
    check_shape("grad_output", arrays["grad_output"], _flat_shape(shape, start_dim, end_dim), "the output's shape")
    return FlattenGradients(arrays["grad_output"].reshape(shape) if wanted else None)


def _flat_shape(shape: tuple[int, ...], start_dim: Any, end_dim: Any) -> tuple[int, ...]:
    first, last = axis_argument(start_dim, "start_dim", shape), axis_argument(end_dim, "end_dim", shape)
    if first > last:
        raise ValueError(
            f"start_dim must not come after end_dim: start_dim={start_dim}, end_dim={end_dim}, input.shape={shape}"
        )
    return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


def _chances(p: Any, training: Any, seed: Any, offset: Any) -> dict[str, Any]:
    """Return the numbers of the kernel from the arguments."""
    chance = number(p, "p")
    if not 0 <= chance <= 1:
        raise ValueError(f"p must be between 0 and 1: p={p!r}")
    key, first = whole(seed, "seed", 0, 2**64 - 1), whole(offset, "offset", 0, 2**62)
    if not flag(training, "training"):
        chance = 0.0
    return {
        "threshold": round(chance * _WORDS),
        "scale": 1 / (1 - chance) if chance < 1 else 0.0,
        "seed": key - 2**64 if key >= 2**63 else key,
        "offset": first,
    }


def _problem(chances: dict[str, Any], dtype: str, x: Any, y: Any) -> tuple[DropoutProblem, dict[str, Operand]]:
    """Return the problem and the operands; the elements' numbers are walked together with the arrays."""
    shape = tuple(x.shape)
    places = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    walk = CommonWalk.over(shape, element_strides(y), element_strides(x), places)
    of_y, of_x, of_places = walk.strides
    problem = DropoutProblem(**chances, extents=walk.extents, places=of_places, dtype=dtype)
    return problem, {"y": Operand(y, 0, of_y), "x": Operand(x, 0, of_x)}
