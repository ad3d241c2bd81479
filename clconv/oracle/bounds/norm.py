r"""How far a correct normalisation may be from the reference.

Correct is what has a backward stable variance: the two-pass formulas, with or without a corrected sum, and
Welford's recurrence, with partial results merged in any tree; any order of summation; fused multiply-add or not;
1/sqrt, rsqrt, a division by the root, a product with a reciprocal; weight and bias applied one by one or folded
into ``x*scale + shift``; gradients by the formulas of `reference.norm`, or folded into ``dy*a + x*b + c``, or by
differentiating every step of the forward pass. A variance computed as mean(x**2) - m**2 is not among them: where
m**2 is large beside v + eps, it exceeds these bounds.

Letters, and the errors of mean, variance and xhat, are those of `bounds.norm_errors`.

**Output.** With the roundings of weight and bias, ``e_y = |w| e_hat + gamma(4) (|w| R + |b|)``.

**Gradients.** With h = dy w, H = mean(h) and P = mean(h xhat), which may be computed as r (mean(h x) - m H), too,

    e_P = mean(|h| e_hat) + gamma(n + D + 8) mean(|h| R),
    e_H = gamma(n + D + 3) mean|h| + |P| (gamma(n + D + 8) mean(R) + r' e_m),

where the last term is for those who differentiate v by m as well, and so add up all x - m, whose sum is zero
but for rounding. The product xhat P is off by e_hat (|P| + e_P) + |xhat| e_P, and with the last roundings

    e_dx = |dx| rho + r' (e_H + e_hat (|P| + e_P) + |xhat| e_P + gamma(8) (|h| + |H| + e_H + R (|P| + e_P))).

Without a mean H = e_H = 0; in evaluation, e_dx = |dx| rho + r' gamma(3) |h|. For a weight that M elements share,

    e_dw = sum(|dy| e_hat) + gamma(M + D + 8) sum(|dy| R),    e_db = (M - 1) u sum|dy|,

the latter for the reason given in `bounds`.

**Running statistics** ``(1 - q) z + q m``, with q and 1 - q rounded to the type, or ``z + q (m - z)``, are off by

    |q| e_m + gamma(D + 7) ((1 + |q|) |z| + |q| (|m| + e_m)),

the variance likewise, with e_v n/(n - 1): D + 2 of the roundings are that factor's. The average over J images rounds
J + D times more. Nothing is rounded where nothing changes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.bounds.norm_calls import checked
from clconv.oracle.bounds.norm_errors import REFERENCE, Errors, Machine, Rows, limit, machine_of, rows_of
from clconv.oracle.bounds.response_norm import response_norm, response_norm_backward
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference.batch_norm import NormResult, Running
from clconv.oracle.reference.geometry import FloatArray
from clconv.oracle.reference.group_norm import RMSNormGradients
from clconv.oracle.reference.norm import Norm, NormGradients, backward, forward, standardised

__all__ = ["BOUNDS"]

Given = dict[str, Any]


def _output(norm: Norm, rounding: Rounding) -> FloatArray:
    rows, b = rows_of(norm), 0.0 if norm.b is None else np.abs(norm.b)
    w = 1.0 if norm.w is None else np.abs(norm.w)

    def error(machine: Machine) -> FloatArray:
        e = rows.errors(machine)
        tiny = 8 * machine.phi * (1 + w + np.abs(norm.x) + rows.mean)
        return w * e.xhat + machine.gamma(4) * (w * e.folded + b) + tiny

    e = rows.errors(machine_of(rounding))
    peak = w * np.maximum(e.folded, e.scale) + b
    value = forward(norm).reshape(norm.x.shape)
    return limit(value, error, peak, rounding, norm.n).reshape(norm.shape)


def _gradients(
    grad_output: NDArray[Any], norm: Norm, output_mask: Sequence[bool] | None, rounding: Rounding
) -> NormGradients:
    values = backward(grad_output, norm, output_mask)
    rows, g = rows_of(norm), np.reshape(grad_output, norm.x.shape)
    dx = None if values.input is None else _input_gradient(g, values.input, rows, rounding)
    dw = None if values.weight is None or norm.w is None else _weight_gradient(g, values.weight, norm.w, rows, rounding)
    db = None if values.bias is None or norm.b is None else _bias_gradient(g, values.bias, norm.b, norm, rounding)
    return NormGradients(dx, dw, db)


def _input_gradient(g: FloatArray, value: FloatArray, rows: Rows, rounding: Rounding) -> FloatArray:
    norm = rows.norm
    size = np.abs(value).reshape(norm.x.shape)
    through = _through_statistics if norm.constants is None else _past_statistics
    h = g if norm.w is None else g * norm.w
    uncancelled = np.abs(norm.x) + rows.mean
    exact = size + 2 * rows.errors(REFERENCE).scale * through(h, rows, REFERENCE)

    def error(machine: Machine) -> FloatArray:
        e = rows.errors(machine)
        tiny = (1 + e.scale) ** 2 * (1 + np.abs(g) + np.abs(h)) * (1 + uncancelled)
        # r**3 may underflow, and then meets the sums of h*x, and x.
        tiny = 8 * machine.phi * (tiny + norm.mean(np.abs(h) * uncancelled) * uncancelled)
        total: FloatArray = exact * e.root + e.scale * through(h, rows, machine) + tiny
        return total

    e = rows.errors(machine_of(rounding))
    of_row = norm.n * norm.mean(np.abs(h) * e.folded)
    # Folded into x*b + c, sums of h*x meet r**3; others divide by s.
    peak = of_row * (1 + 1 / e.scale + e.scale**2) + e.scale * np.abs(h)
    return limit(size, error, peak, rounding, norm.n).reshape(norm.shape)


def _past_statistics(h: FloatArray, rows: Rows, machine: Machine) -> FloatArray:
    return machine.gamma(3) * np.abs(h)


def _through_statistics(h: FloatArray, rows: Rows, machine: Machine) -> FloatArray:
    """Bound the error of ``h - mean(h) - xhat*mean(h*xhat)``."""
    norm, e = rows.norm, rows.errors(machine)
    rounded = norm.n + machine.division + 8
    size, exact = np.abs(h), standardised(norm).xhat
    P = np.abs(norm.mean(h * exact)) + 2 * _projection(size, rows, REFERENCE)
    of_P = _projection(size, rows, machine)
    H, of_H = np.zeros(P.shape), np.zeros(P.shape)
    if norm.is_centred:
        of_H = machine.gamma(norm.n + machine.division + 3) * norm.mean(size)
        H = np.abs(norm.mean(h)) + 2 * REFERENCE.gamma(rounded) * norm.mean(size)
        of_H = of_H + P * (machine.gamma(rounded) * norm.mean(e.folded) + e.scale * e.mean)
    last = machine.gamma(8) * (size + H + of_H + e.folded * (P + of_P))
    total: FloatArray = of_H + e.xhat * (P + of_P) + rows.xhat * of_P + last
    return total


def _projection(size: FloatArray, rows: Rows, machine: Machine) -> FloatArray:
    """Bound the error of ``mean(h*xhat)``, from |h|."""
    norm, e = rows.norm, rows.errors(machine)
    rounding = machine.gamma(norm.n + machine.division + 8) * norm.mean(size * e.folded)
    return norm.mean(size * e.xhat) + rounding


def _weight_gradient(g: FloatArray, value: FloatArray, w: FloatArray, rows: Rows, rounding: Rounding) -> FloatArray:
    norm, size = rows.norm, np.abs(g)
    M = norm.x.size // max(w.size, 1)

    def error(machine: Machine) -> FloatArray:
        e = rows.errors(machine)
        terms = size * (e.xhat + machine.gamma(M + machine.division + 8) * e.folded)
        tiny = 8 * machine.phi * (1 + size) * (1 + e.scale) * (1 + np.abs(norm.x) + rows.mean)
        return norm.shared(terms + tiny, w)

    e = rows.errors(machine_of(rounding))
    peak = norm.shared(size * e.folded * (1 + 1 / e.scale), w)
    return limit(value, error, peak, rounding, M)


def _bias_gradient(g: FloatArray, value: FloatArray, b: FloatArray, norm: Norm, rounding: Rounding) -> FloatArray:
    M = norm.x.size // max(b.size, 1)
    size = norm.shared(np.abs(g), b)
    return limit(value, lambda machine: max(M - 1, 0) * machine.u * size + M * machine.flushed, size, rounding, M)


def _statistics(norm: Norm, running: Running, rounding: Rounding) -> tuple[FloatArray, FloatArray]:
    """Bound the running mean and variance."""
    if norm.constants is not None or norm.x.size == 0:
        return np.zeros(norm.parameters), np.zeros(norm.parameters)
    rows, q = rows_of(norm), abs(running.share)
    J = rows.mean.shape[0]  # 1 where rows run through the batch

    def bound(old: FloatArray, own: FloatArray, of_own: Callable[[Errors], FloatArray], share: float) -> FloatArray:
        def magnitude(machine: Machine) -> FloatArray:
            found = np.mean(own + of_own(rows.errors(machine)), axis=0, keepdims=True)
            total: FloatArray = (1 + q) * np.abs(old) + share * found
            return total

        def error(machine: Machine) -> FloatArray:
            found = np.mean(of_own(rows.errors(machine)), axis=0, keepdims=True)
            roundings = machine.division + 7 + (J + machine.division if J > 1 else 0)
            tiny = 8 * machine.phi * (1 + share)
            total: FloatArray = share * found + machine.gamma(roundings) * magnitude(machine) + tiny
            return total

        peak = magnitude(machine_of(rounding))
        # The magnitude is at least the result's, whose storing it stands for.
        return limit(peak, error, peak, rounding, norm.n + J).reshape(norm.parameters)

    return (
        bound(running.mean, rows.mean, lambda e: e.mean, q),
        bound(running.var, rows.sigma**2, lambda e: e.variance, q * running.correction),
    )


@np.errstate(all="ignore")
def _forward(operation: str, given: Given, rounding: Rounding) -> NormResult | FloatArray:
    norm, running = checked(operation, given, rounding.stored)
    y = _output(norm, rounding)
    if operation not in ("batch_norm", "instance_norm"):
        return y
    return NormResult(y, *((None, None) if running is None else _statistics(norm, running, rounding)))


@np.errstate(all="ignore")
def _backward(operation: str, given: Given, rounding: Rounding) -> NormGradients | RMSNormGradients:
    arguments = {name: value for name, value in given.items() if name not in ("grad_output", "output_mask")}
    norm, _ = checked(operation, arguments, rounding.stored)
    mask, grad_output = given["output_mask"], given["grad_output"]
    if operation != "rms_norm":
        return _gradients(grad_output, norm, mask, rounding)
    return RMSNormGradients(*_gradients(grad_output, norm, None if mask is None else (*mask, False), rounding)[:2])


OPERATIONS = ("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm")

BOUNDS: dict[str, Callable[[Given, Rounding], Any]] = {
    **{name: functools.partial(_forward, name) for name in OPERATIONS},
    **{f"{name}_backward": functools.partial(_backward, name) for name in OPERATIONS},
    "local_response_norm": response_norm,
    "local_response_norm_backward": response_norm_backward,
}
