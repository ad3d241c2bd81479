"""What is done to a result on its way to memory, and the gradients of that, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.reference.activation_functions import ACTIVATIONS, Activation, activation_of
from clconv.oracle.reference.geometry import FloatArray, real_array, requested

__all__ = ["EpilogueGradients", "Finish", "epilogue", "epilogue_backward"]

Array = NDArray[Any]

NAMES = (*ACTIVATIONS, "leaky_relu")
IDENTITY = Activation(lambda z: z, np.ones_like, (-np.inf, np.inf), (1.0, 1.0))
#: Slopes in terms of the function's value, where that says them.
SLOPES_BY_OUTPUT: dict[str, Callable[[FloatArray], FloatArray]] = {
    "relu": lambda y: np.where(y <= 0, 0.0, 1.0),
    "sigmoid": lambda y: y * (1 - y),
    "tanh": lambda y: (1 - y) * (1 + y),
}


class EpilogueGradients(NamedTuple):
    """Gradients of an epilogue's arguments; None where masked or absent."""

    value: FloatArray | None
    scale: FloatArray | None
    shift: FloatArray | None
    residual: FloatArray | None


class Finish(NamedTuple):
    """The checked arguments of an epilogue; scale and shift by channel, with the axes of the value."""

    value: FloatArray
    scale: FloatArray | None
    shift: FloatArray | None
    residual: FloatArray | None
    activation: Activation
    channel_axis: int

    @property
    def before(self) -> FloatArray:
        """What the activation is applied to."""
        z = self.value
        with np.errstate(all="ignore"):
            z = z if self.scale is None else self.scale * z
            z = z if self.shift is None else z + self.shift
            return z if self.residual is None else z + self.residual

    def summed(self, terms: FloatArray) -> FloatArray:
        """Add up over all axes but that of the channels."""
        axes = tuple(axis for axis in range(terms.ndim) if axis != self.channel_axis)
        with np.errstate(all="ignore"):
            return np.asarray(terms.sum(axis=axes))


def checked(
    value: Array,
    scale: Array | None,
    shift: Array | None,
    residual: Array | None,
    activation: str | None,
    negative_slope: float,
    channel_axis: int = 1,
) -> Finish:
    """Check the arguments of an epilogue."""
    v = real_array("value", value)
    columns: list[FloatArray | None] = []
    for name, array in (("scale", scale), ("shift", shift)):
        if array is None:
            columns.append(None)
            continue
        if v.ndim <= channel_axis or np.shape(array) != v.shape[channel_axis : channel_axis + 1]:
            raise ValueError(f"{name} must have one value for each channel of {v.shape}, got {np.shape(array)}")
        extent = [1] * v.ndim
        extent[channel_axis] = -1
        columns.append(real_array(name, array).reshape(extent))
    if residual is not None and np.shape(residual) != v.shape:
        raise ValueError(f"residual must have the shape {v.shape}, got {np.shape(residual)}")
    if activation is not None and activation not in NAMES:
        raise ValueError(f"activation must be one of {NAMES}, got activation={activation!r}")
    function = IDENTITY
    if activation is not None:
        arguments = {"negative_slope": negative_slope} if activation == "leaky_relu" else {}
        function = ACTIVATIONS.get(activation) or activation_of(activation, arguments)
    added = None if residual is None else real_array("residual", residual)
    return Finish(v, columns[0], columns[1], added, function, channel_axis)


def epilogue(
    value: Array,
    scale: Array | None = None,
    shift: Array | None = None,
    residual: Array | None = None,
    activation: str | None = None,
    negative_slope: float = 0.01,
    *,
    channel_axis: int = 1,
) -> FloatArray:
    """Finish a result: ``y = activation(scale[c] * value + shift[c] + residual)``, each part of which may be missing.

    Parameters
    ----------
    value : any shape
    scale, shift : one value for each channel, optional
    residual : the value's shape, optional
    activation : str, optional
        Name of an activation, or "gelu_tanh".
    negative_slope : float
        Of leaky_relu.
    channel_axis : int
        The value's axis that channels are counted along.

    Returns
    -------
    array of the value's shape

    Raises
    ------
    ValueError
        If a shape does not fit, or there is no such activation.
    TypeError
        If an array is not a NumPy array of real numbers.

    Examples
    --------
    >>> epilogue(np.array([[1.0, 2.0]]), scale=np.array([3.0, -1.0]), activation="relu")
    array([[3., 0.]])
    """
    finish = checked(value, scale, shift, residual, activation, negative_slope, channel_axis)
    return finish.activation.values(finish.before)


def epilogue_backward(
    grad_output: Array,
    value: Array | None,
    scale: Array | None = None,
    shift: Array | None = None,
    residual: Array | None = None,
    activation: str | None = None,
    negative_slope: float = 0.01,
    *,
    output: Array | None = None,
    output_mask: Sequence[bool] | None = None,
) -> EpilogueGradients:
    """Gradients of ``sum(grad_output * epilogue(...))``, channels along axis 1.

    With z what the activation is applied to, ``dz = grad_output * activation'(z)`` is the residual's gradient; the
    value's is ``scale * dz``, scale's and shift's are the sums of ``value * dz`` and ``dz`` over all but the channels.

    Parameters
    ----------
    grad_output : the value's shape
    output : the value's shape, optional
        The result, instead of the value, where the slope follows from it and scale's gradient is not asked for: without
        an activation, of relu, sigmoid, tanh, and leaky_relu with a slope above 0.
    output_mask : four bools, optional
        Which gradients to compute.
    value and further arguments
        As in `epilogue`.

    Returns
    -------
    EpilogueGradients

    Raises
    ------
    ValueError, TypeError
        As `epilogue`.

    Examples
    --------
    >>> g, v = np.array([[5.0, 7.0]]), np.array([[1.0, 2.0]])
    >>> epilogue_backward(g, v, scale=np.array([3.0, -1.0]), activation="relu").value
    array([[15., -0.]])
    """
    mask = requested(output_mask, EpilogueGradients._fields)
    given = value if output is None else output
    if given is None or (value is not None and output is not None):
        raise ValueError("either value or output must be given")
    finish = checked(given, scale, shift, residual, activation, negative_slope)
    g = real_array("grad_output", grad_output)
    if g.shape != finish.value.shape:
        raise ValueError(f"grad_output must have the shape {finish.value.shape}, got {g.shape}")
    if output is None:
        slopes = finish.activation.slopes(finish.before)
    elif scale is not None and mask[1]:
        raise ValueError("scale's gradient takes the value, not output")
    else:
        slopes = slopes_by_output(activation, negative_slope, finish.value)
    with np.errstate(all="ignore"):
        # Where relu and hardswish have no slope, what comes from behind is not looked at.
        dz = np.where((slopes == 0) & (activation in ("relu", "hardswish")), 0.0, g * slopes)
        dv = dz if finish.scale is None else finish.scale * dz
        products = dz * finish.value
    present = (True, scale is not None, shift is not None, residual is not None)
    every = (dv, finish.summed(products), finish.summed(dz), dz)
    wanted = (there and asked_for for there, asked_for in zip(present, mask, strict=True))
    return EpilogueGradients(*(gradient if given else None for gradient, given in zip(every, wanted, strict=True)))


def slopes_by_output(activation: str | None, negative_slope: float, y: FloatArray) -> FloatArray:
    """Return the slopes where the activation's value is y."""
    if activation is None:
        return np.ones_like(y)
    if activation == "leaky_relu" and negative_slope > 0:
        return np.where(y > 0, 1.0, negative_slope)
    if activation not in SLOPES_BY_OUTPUT:
        raise ValueError(f"the slope of {activation} (negative_slope={negative_slope}) does not follow from its output")
    return SLOPES_BY_OUTPUT[activation](y)
