r"""How far off may be what an epilogue makes of a result, and its gradients.

**Forward.** Let v be off by at most E before it is stored, which is the bound of the operation itself in the type of
the sums. ``z = s v + b + r`` is a sum of up to three terms, of which the first may be a product: by the theorem of
`bounds`, with ``A = |s| (|v| + E) + |b| + |r|``, n terms and F what underflow and flushing cost, in any order

    E_z = |s| E + n u (A + F) + F,

with n - 1 instead of n where no product is rounded. The activation f, whose slope is at most L, makes of that

    E_y = L E_z + V,

with V the error of the computed f within E_z of z: `bounds.activation`. Then y is stored. A scale that is multiplied
into weights beforehand rounds those instead, and is not covered.

**Backward.** The slope f'(z) is off by what it is wherever z is in truth: by the error of its computation within E_z of
z, by L' E_z, where L' is the largest slope of the slope, and by the slope's jump where z is within E_z of one. So
dz = g f'(z) is off by |g| times that and two roundings; not at all where f' is 0 or 1 everywhere nearby. The gradient
of the value is s dz. Those of shift and scale are sums of n terms dz and v dz: the terms' errors add up, and the sum
rounds by the theorem.

Where the slope comes from the output y, it is the product y (1 - y) of sigmoid, (1 - y) (1 + y) or 1 - y^2 of tanh: off
by ``4 u (1 + |y|) |y|`` and ``4 u (1 + y^2)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from clconv.oracle._floats import FLOAT64, smallest_subnormal, unit_roundoff
from clconv.oracle.bounds.activation import Machine, machines, peak, slope_error, value_error
from clconv.oracle.bounds.rounding import Rounding, raised
from clconv.oracle.reference.epilogue import EpilogueGradients, Finish, checked, epilogue_backward
from clconv.oracle.reference.geometry import FloatArray

__all__ = ["BOUNDS", "epilogue_limit"]

Arguments = dict[str, Any]
Error = FloatArray | float

PARTS = ("value", "scale", "shift", "residual", "activation", "negative_slope")


class _Shape(NamedTuple):
    """How steep an activation is, how steep its slope is, and where that jumps, by how much."""

    slope: float
    curvature: float
    kinks: tuple[float, ...] = ()
    jump: float = 0.0


SHAPES = {
    "relu": _Shape(1.0, 0.0, (0.0,), 1.0),
    "sigmoid": _Shape(0.25, 0.1),
    "tanh": _Shape(1.0, 0.77),
    "silu": _Shape(1.1, 0.5),
    "gelu": _Shape(1.13, 0.8),
    "gelu_tanh": _Shape(1.14, 0.85),
    "hardswish": _Shape(1.5, 0.34, (-3.0, 3.0), 0.5),
}


def _shape(activation: str | None, negative_slope: float) -> _Shape:
    if activation is None:
        return _Shape(1.0, 0.0)
    if activation == "leaky_relu":
        return _Shape(max(1.0, abs(negative_slope)), 0.0, (0.0,), abs(1 - negative_slope))
    return SHAPES[activation]


def _before(
    finish: Finish, off: FloatArray | float, u: float, tiny: float, flush: float
) -> tuple[FloatArray, FloatArray]:
    """Return E_z, and the largest number on the way to z."""
    value = np.abs(finish.value) + off
    terms, operands = 1, np.zeros(value.shape)
    scaled, carried = value, np.broadcast_to(np.asarray(off, np.float64), value.shape)
    if finish.scale is not None:
        size = np.abs(finish.scale)
        scaled, carried, operands = size * value, size * carried, size + value
    magnitude = scaled
    for addend in (finish.shift, finish.residual):
        if addend is not None:
            magnitude, terms = magnitude + np.abs(addend), terms + 1
    magnitude = raised(magnitude, terms)
    lost = tiny * (finish.scale is not None) + flush * (operands + 2 * terms)
    rounded = terms if finish.scale is not None else terms - 1
    error = carried + rounded * u * (magnitude + lost) + (lost if rounded or flush else 0.0)
    return error, magnitude + error


def _errors_before(
    finish: Finish, off: FloatArray | float, rounding: Rounding
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return E_z of an implementation, that of the reference, and the largest number on the way."""
    summed = rounding.summed
    own, most = _before(finish, off, unit_roundoff(summed), smallest_subnormal(summed), rounding.flush_cost)
    of_reference, _ = _before(finish, 0.0, unit_roundoff(FLOAT64), smallest_subnormal(FLOAT64), 0.0)
    return own, of_reference, most


@np.errstate(all="ignore")
def epilogue_limit(
    finish: Finish, activation: str | None, negative_slope: float, off: Error, rounding: Rounding
) -> FloatArray:
    """Bound what an epilogue makes of values that are off by `off`, the reference's error included."""
    own, of_reference, most = _errors_before(finish, off, rounding)
    z, shape = finish.before, _shape(activation, negative_slope)
    y = finish.activation.values(z)
    if activation is None:
        return rounding.limit(y, own, of_reference, most)

    def error(m: Machine, before: FloatArray) -> FloatArray:
        return shape.slope * before + value_error(activation, z, np.abs(y) + shape.slope * before, m, before)

    own_machine, reference_machine = machines(rounding)
    highest = np.maximum(most, peak(activation, np.abs(z) + own))
    return rounding.limit(y, error(own_machine, own), error(reference_machine, of_reference), highest)


def _forward(arguments: Arguments, rounding: Rounding) -> FloatArray:
    finish = checked(**{name: arguments[name] for name in (*PARTS, "channel_axis")})
    return epilogue_limit(finish, arguments["activation"], arguments["negative_slope"], 0.0, rounding)


def _slope_off(arguments: Arguments, finish: Finish, m: Machine, before: FloatArray) -> FloatArray:
    """Bound the error of the slope."""
    activation, slope, given = arguments["activation"], arguments["negative_slope"], finish.value
    if activation is None:
        return np.zeros(given.shape)
    if arguments["output"] is not None:
        sizes = {"sigmoid": 4 * m.u * (1 + np.abs(given)) * np.abs(given), "tanh": 4 * m.u * (1 + given * given)}
        return sizes[activation] + 4 * m.tiny if activation in sizes else np.zeros(given.shape)
    z, shape = finish.before, _shape(activation, slope)
    near = np.any([np.abs(z - kink) <= before for kink in shape.kinks], axis=0) & (before > 0)
    error = shape.curvature * before + np.where(near, shape.jump, 0.0)
    if activation in ("relu", "leaky_relu"):
        return error
    return error + slope_error(activation, z, m, before)


class _Errors(NamedTuple):
    """The errors of dz, of the value's gradient, and of the terms of scale's."""

    dz: FloatArray
    dv: FloatArray
    products: FloatArray


def _errors(arguments: Arguments, finish: Finish, dz: FloatArray, m: Machine, before: FloatArray) -> _Errors:
    g = np.abs(arguments["grad_output"])
    off = _slope_off(arguments, finish, m, before)
    piecewise = arguments["activation"] in (None, "relu")
    rounded = 0.0 if piecewise else 4 * m.u * np.abs(dz) + 8 * m.tiny * (1 + g)
    flushed = m.tiny if m.tiny > smallest_subnormal(FLOAT64) and m.tiny >= m.least else 0.0
    of_dz = g * off * (1 + 8 * m.u) + rounded + flushed
    of_dv = of_dz
    if finish.scale is not None:
        size = np.abs(finish.scale)
        of_dv = size * of_dz * (1 + m.u) + m.u * size * np.abs(dz) + m.tiny + flushed * (size + np.abs(dz))
    v = np.abs(finish.value)
    return _Errors(of_dz, of_dv, v * of_dz + m.tiny + flushed * (v + np.abs(dz)))


def _sum_error(finish: Finish, terms: FloatArray, off: FloatArray, u: float, flushed: float) -> FloatArray:
    """Bound the error of the sums of terms that are off, with their rounding."""
    n = finish.summed(np.ones(terms.shape))
    lost = finish.summed(off) * (1 + n * unit_roundoff(FLOAT64)) + 2 * n * flushed
    return n * u * (raised(finish.summed(np.abs(terms)), n) + lost) + lost


@np.errstate(all="ignore")
def _backward(arguments: Arguments, rounding: Rounding) -> EpilogueGradients:
    given = arguments["value"] if arguments["output"] is None else arguments["output"]
    finish = checked(given, **{name: arguments[name] for name in PARTS[1:]})
    # dz is the residual's gradient, whether or not there is a residual.
    residual = np.zeros_like(given) if finish.residual is None else finish.residual
    as_residual = {**arguments, "residual": residual}
    dz = epilogue_backward(**{**as_residual, "output_mask": (False, False, False, True)}).residual
    gradients = epilogue_backward(**arguments)
    assert dz is not None
    own_z, reference_z, most = _errors_before(finish, 0.0, rounding)
    own_machine, reference_machine = machines(rounding)
    own = _errors(arguments, finish, dz, own_machine, own_z)
    of_reference = _errors(arguments, finish, dz, reference_machine, reference_z)
    size = np.abs(arguments["grad_output"]) * 8 * _shape(arguments["activation"], arguments["negative_slope"]).slope
    highest = np.maximum(np.maximum(most, size), peak(arguments["activation"] or "", np.abs(given) + most))
    products = dz * finish.value

    def limit(value: FloatArray | None, error: FloatArray, reference_error: FloatArray, on_the_way: FloatArray) -> Any:
        return None if value is None else rounding.limit(value, error, reference_error, on_the_way)

    def sums(value: FloatArray | None, terms: FloatArray, each: FloatArray, by_reference: FloatArray) -> Any:
        if value is None:
            return None
        error = _sum_error(finish, terms, each, own_machine.u, rounding.flush_cost)
        reference_error = _sum_error(finish, terms, by_reference, reference_machine.u, 0.0)
        on_the_way = finish.summed(np.abs(terms) + highest) + error
        return rounding.limit(value, error, reference_error, on_the_way)

    scale = 1.0 if finish.scale is None else np.maximum(np.abs(finish.scale), 1.0)
    return EpilogueGradients(
        limit(gradients.value, own.dv, of_reference.dv, highest * scale),
        sums(gradients.scale, products, own.products, of_reference.products),
        sums(gradients.shift, dz, own.dz, of_reference.dz),
        limit(gradients.residual, own.dz, of_reference.dz, highest),
    )


BOUNDS: dict[str, Callable[[Arguments, Rounding], Any]] = {"epilogue": _forward, "epilogue_backward": _backward}
