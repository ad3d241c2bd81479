"""What is done to the results of an operation on their way to memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clconv.arguments import choice
from clconv.arrays import element_strides
from clconv.executor import Operand
from clconv.functional._run import check_shape, vector
from clconv.problem.elementwise import ACTIVATIONS
from clconv.problem.epilogue import NO_EPILOGUE, EpilogueProblem

__all__ = ["Epilogue", "epilogue_arrays", "epilogue_operands", "epilogue_problem"]

_ARRAYS = ("scale", "shift", "residual")


@dataclass(frozen=True)
class Epilogue:
    """``y = activation(scale[c] * value + shift[c] + residual)``, each part of which may be left out.

    Computed before the result is stored, so that it costs no pass over memory of its own. Scale and shift are a folded
    batch norm: ``scale = weight / sqrt(running_var + eps)``, ``shift = bias - running_mean * scale``. Arithmetic is
    that of the operation: float16 arrays are rounded once, when y is stored.

    Parameters
    ----------
    scale, shift : array, optional
        One value for each channel of the output, shape (C,).
    residual : array, optional
        What is added, of the output's shape. Like every input, it may not be ``out``.
    activation : str, optional
        "relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh" or "hardswish": see the functions of these
        names; "gelu_tanh" is ``gelu(..., approximate="tanh")``.
    negative_slope : float
        Of leaky_relu.

    Examples
    --------
    >>> import numpy
    >>> from clconv import Epilogue, conv1d
    >>> signal, taps = numpy.array([[1, 2, 4]], "float32"), numpy.array([[[1, -1]]], "float32")
    >>> conv1d(signal, taps)
    array([[-1., -2.]], dtype=float32)
    >>> shifted = Epilogue(shift=numpy.array([1.5], "float32"), activation="relu")
    >>> conv1d(signal, taps, epilogue=shifted)
    array([[0.5, 0. ]], dtype=float32)
    """

    scale: Any = None
    shift: Any = None
    residual: Any = None
    activation: str | None = None
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        if self.activation is not None:
            choice(self.activation, "activation", ACTIVATIONS)
        slope = self.negative_slope
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise TypeError(f"negative_slope takes a number, not {type(slope).__name__}: negative_slope={slope!r}")
        if not math.isfinite(slope):
            raise ValueError(f"negative_slope must be finite: negative_slope={slope!r}")


def epilogue_arrays(epilogue: Any) -> dict[str, Any]:
    """Return the arrays of an epilogue, or of none, by the names that errors give them."""
    if epilogue is None:
        return {}
    if not isinstance(epilogue, Epilogue):
        raise TypeError(f"epilogue takes a clconv.Epilogue, not {type(epilogue).__name__}: epilogue={epilogue!r}")
    arrays = {f"epilogue.{name}": getattr(epilogue, name) for name in _ARRAYS}
    return {name: array for name, array in arrays.items() if array is not None}


def epilogue_problem(
    epilogue: Epilogue | None, arrays: Mapping[str, Any], output_shape: tuple[int, ...], channel_axis: int | None
) -> EpilogueProblem:
    """Check the shapes of an epilogue's arrays, and return which parts it has.

    ``channel_axis`` is that of the output's axes along which scale and shift have their values, None if there is none.
    """
    if epilogue is None:
        return NO_EPILOGUE
    for name in ("epilogue.scale", "epilogue.shift"):
        if name in arrays and channel_axis is None:
            raise ValueError(
                f"{name} takes one value for each output channel, but this operation's output has none: its weight and "
                f"bias scale and shift it; {name}.shape={tuple(arrays[name].shape)}"
            )
        if name in arrays and channel_axis is not None:
            channels = (output_shape[channel_axis],)
            check_shape(name, arrays[name], channels, "one value for each output channel, shape")
    if "epilogue.residual" in arrays:
        check_shape("epilogue.residual", arrays["epilogue.residual"], output_shape, "the output's shape")
    parts = {name: f"epilogue.{name}" in arrays for name in _ARRAYS}
    slope = float(epilogue.negative_slope) if epilogue.activation == "leaky_relu" else 0.0
    return EpilogueProblem(**parts, activation=epilogue.activation, slope=slope)


def epilogue_operands(arrays: Mapping[str, Any], walk: Any) -> dict[str, Operand]:
    """Return the operands of an epilogue, or of none; ``walk`` turns an output's strides into a kernel's."""
    given = {name: arrays[f"epilogue.{name}"] for name in _ARRAYS if f"epilogue.{name}" in arrays}
    return {
        name: Operand(array, 0, walk(element_strides(array))) if name == "residual" else vector(array)
        for name, array in given.items()
    }
