"""The gradients of an epilogue: of the activation, of scale and shift, and of the residual, in one pass."""

from __future__ import annotations

from typing import Any, NamedTuple

from clconv.arrays import check_arrays, element_strides
from clconv.devices import executor_for
from clconv.executor import Operand
from clconv.functional._run import check_mask, check_shape, empty_like, plan_of, usable, vector
from clconv.functional.epilogue import Epilogue, epilogue_arrays, epilogue_problem
from clconv.problem.elementwise import CommonWalk
from clconv.problem.epilogue import EpilogueBackwardProblem, EpilogueProblem
from clconv.problem.window import AXES

__all__ = ["EpilogueGradients", "epilogue_backward"]

#: Activations whose derivative follows from their value; that of leaky_relu, if its slope is above 0.
_BY_OUTPUT = (None, "relu", "leaky_relu", "sigmoid", "tanh")


class EpilogueGradients(NamedTuple):
    """Gradients of an epilogue's arguments; None where masked, or where there is no such part."""

    value: Any
    scale: Any
    shift: Any
    residual: Any


def epilogue_backward(
    grad_output: Any,
    value: Any,
    epilogue: Epilogue,
    *,
    output: Any = None,
    output_mask: Any = None,
    device: Any = None,
) -> EpilogueGradients:
    """Return the gradients of :class:`Epilogue`, all from one pass over memory.

    With ``z = scale[c] * value + shift[c] + residual`` and ``dz = grad_output * activation'(z)``, the gradient of the
    residual is dz, that of the value ``scale[c] * dz``, and those of shift and scale are the sums of ``dz`` and
    ``dz * value`` over all but the channels. A convolution's bias that is given as the epilogue's shift has its
    gradient here, and :func:`conv2d_backward` need not read the gradient for it once more.

    Parameters
    ----------
    grad_output : numpy.ndarray or pyopencl.array.Array
        Gradient of the output: shape (N, C, *spatial) with up to three spatial axes, any strides.
    value : array or None
        What the operation would have returned without the epilogue, of the same shape; None if `output` is given.
    epilogue : Epilogue
        As the operation was called with.
    output : array, optional
        What the operation returned, instead of `value`: nothing but this need be kept. For no activation, relu,
        sigmoid, tanh, and leaky_relu with a slope above 0; not for the gradient of the scale.
    output_mask : sequence of four bools, optional
        Which gradients to compute: of value, scale, shift and residual.
    device
        As for :func:`conv2d`.

    Returns
    -------
    EpilogueGradients
        A named tuple ``(value, scale, shift, residual)``.

    Raises
    ------
    ValueError, TypeError, Unsupported, DeviceMemoryError
        As :func:`conv2d` does, and if `output` does not tell what is asked for.

    Examples
    --------
    >>> import numpy
    >>> from clconv import Epilogue, epilogue_backward
    >>> g, value = numpy.array([[[5, 7, 9]]], "float32"), numpy.array([[[-1, 2, 3]]], "float32")
    >>> shifted = Epilogue(shift=numpy.array([-2], "float32"), activation="relu")
    >>> epilogue_backward(g, value, shifted)
    EpilogueGradients(value=array([[[0., 0., 9.]]], dtype=float32), scale=None, shift=array([9.], dtype=float32), \
residual=None)
    """
    mask = check_mask(output_mask, EpilogueGradients._fields)
    if not isinstance(epilogue, Epilogue):
        raise TypeError(f"epilogue takes a clconv.Epilogue, not {type(epilogue).__name__}: epilogue={epilogue!r}")
    source = _source(value, output)
    given = {source: value if output is None else output}
    arrays, dtype = check_arrays(grad_output=grad_output, **given, **epilogue_arrays(epilogue))
    shape = tuple(arrays[source].shape)
    if not 2 <= len(shape) <= AXES + 2:
        raise ValueError(
            f"{source} takes 2 to {AXES + 2} axes (batch, channels and up to {AXES} spatial): {source}.shape={shape}"
        )
    check_shape("grad_output", arrays["grad_output"], shape, f"the shape of {source}")
    parts = epilogue_problem(epilogue, arrays, shape, 1)
    present = (True, parts.scale, parts.shift, parts.residual)
    wanted = tuple(asked and there for asked, there in zip(mask, present, strict=True))
    if output is not None:
        _check_output_tells(parts, wanted[1])
    executor = executor_for(device, arrays["grad_output"], dtype)
    arrays = usable(executor, arrays)
    like = (arrays[source], *(arrays.get(f"epilogue.{name}") for name in ("scale", "shift", "residual")))
    gradients = EpilogueGradients(
        *(empty_like(executor, array, dtype) if asked else None for array, asked in zip(like, wanted, strict=True))
    )
    if any(wanted):
        problem, operands = _problem(arrays, arrays[source], parts, source == "output", gradients, dtype)
        executor.run(plan_of("epilogue_backward", problem, executor), operands)
    return gradients


def _source(value: Any, output: Any) -> str:
    """Return the name of the array that slopes are computed from."""
    if (value is None) == (output is None):
        state = "neither" if value is None else "both"
        raise ValueError(f"epilogue_backward takes value, or output with value=None, but {state} of them is given")
    return "value" if output is None else "output"


def _check_output_tells(parts: EpilogueProblem, wants_scale: bool) -> None:
    """Refuse gradients that do not follow from the output."""
    if wants_scale:
        raise ValueError(
            "the gradient of epilogue.scale takes value, not output: leave it out by "
            "output_mask=(True, False, True, True), or pass value"
        )
    if parts.activation not in _BY_OUTPUT or (parts.activation == "leaky_relu" and parts.slope <= 0):
        slope = f" with negative_slope={parts.slope}" if parts.activation == "leaky_relu" else ""
        raise ValueError(
            f"the derivative of {parts.activation}{slope} does not follow from output: pass value "
            "(output is for relu, sigmoid, tanh, and leaky_relu with a slope above 0)"
        )


def _problem(
    arrays: dict[str, Any],
    source: Any,
    parts: EpilogueProblem,
    by_output: bool,
    gradients: EpilogueGradients,
    dtype: str,
) -> tuple[EpilogueBackwardProblem, dict[str, Operand]]:
    """Return the problem, and its operands, whose positions are walked together."""
    whole = {
        "v": source,
        "g": arrays["grad_output"],
        "residual": arrays.get("epilogue.residual"),
        "dv": gradients.value,
        "dr": gradients.residual,
    }
    present = {name: array for name, array in whole.items() if array is not None}
    n, channels, *spatial = source.shape
    steps = {name: element_strides(array) for name, array in present.items()}
    walk = CommonWalk.over((n, *spatial), *((s[0], *s[2:]) for s in steps.values()), least=AXES + 1)
    operands = {
        name: Operand(array, 0, (along[0], steps[name][1], *along[1:]))
        for (name, array), along in zip(present.items(), walk.strides, strict=True)
    }
    vectors = {
        "scale": arrays.get("epilogue.scale"),
        "shift": arrays.get("epilogue.shift"),
    }
    operands |= {name: vector(array) for name, array in vectors.items() if array is not None}
    for name, array in (("dscale", gradients.scale), ("dshift", gradients.shift)):
        if array is not None:
            operands[name] = Operand(array, 0, (0, element_strides(array)[0], 0, 0, 0))
    first, second, third, last = walk.extents
    problem = EpilogueBackwardProblem(
        epilogue=parts,
        by_output=by_output,
        gradients=(
            gradients.value is not None,
            gradients.scale is not None,
            gradients.shift is not None,
            gradients.residual is not None,
        ),
        channels=channels,
        extents=(first, second, third, last),
        across=channels > 1 and (last == 1 or abs(steps["v"][1]) < abs(walk.strides[0][-1])),
        dtype=dtype,
    )
    return problem, operands
