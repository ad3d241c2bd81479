r"""How far a correct local response normalisation may be from the reference.

Letters are those of `bounds.norm_errors`. With S the sum of x**2 over a window, of which L channels
exist at most, the base b = k + alpha/size S is off by at most

    e_b = gamma(L + D + 4) (|k| + |alpha|/size S).

OpenCL allows a power 16 ulp = 32 u; as exp(z log(b)), with z and the logarithm off by 8 u, it is off by 8 |z log(b)| u
more. P powers, whose exponents are z in all and whose magnitudes add up to Z, are together off relatively by

    rho = (1 - e_b/b)**-|z| (1 + gamma(32 P + 8 Z |log(b)|)) - 1,

which is infinite if e_b >= b. The output is x times one power, z = -beta, or divided by it. The gradient adds up
dy x b**(-beta - 1) over windows, where the power may have come from three, as in dy x (b**beta)**-2 b**(beta - 1)
with Z = 3 |beta| + 1; so with scale = 2 alpha beta/size

    e_dx = |dy b**-beta| (rho_1 + gamma(D + 2)(1 + rho_1))
           + |scale x| sum(|dy x| b**(-beta - 1) (rho_3 + gamma(L + 2 D + 8)(1 + rho_3))).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from clconv.oracle.bounds.norm_errors import REFERENCE, Machine, limit, machine_of
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference.geometry import FloatArray
from clconv.oracle.reference.response_norm import LocalResponseNormGradients, Response, over_channels

__all__ = ["response_norm", "response_norm_backward"]

Given = dict[str, Any]


def _length(response: Response) -> int:
    channels: int = response.x.shape[1]
    return min(response.size, channels)


def _base_error(response: Response, machine: Machine) -> FloatArray:
    squares = response.summed(response.x**2)
    magnitude = abs(response.k) + abs(response.alpha) / response.size * squares
    error = machine.gamma(_length(response) + machine.division + 4) * magnitude
    error = error + 8 * machine.phi * (1 + abs(response.alpha))
    return np.where(np.maximum(squares, magnitude) <= machine.largest, error, np.inf)


def _relative(response: Response, machine: Machine, z: float, total: float, powers: int, further: int) -> FloatArray:
    """Bound the relative error of powers of the base, with `further` roundings."""
    base, slack = response.base(), 2 * _base_error(response, REFERENCE)
    least, error = base - slack, _base_error(response, machine)
    share = np.where(error < least, error / least, 1.0)
    logarithm = np.maximum(np.abs(np.log(least)), np.abs(np.log(base + slack)))
    roundings = 32 * powers + 8 * total * logarithm + further
    # 1 + gamma(k) is 1/(1 - k u).
    grown: FloatArray = np.expm1(-np.log1p(-np.minimum(roundings * machine.u, 1.0)) - abs(z) * np.log1p(-share))
    return grown


def _power(response: Response, z: float, total: float, powers: int, further: int) -> Any:
    """Return ``base**z``, raised by twice its own error, and a function that bounds a machine's error of it."""
    relative = functools.partial(_relative, response, z=z, total=total, powers=powers, further=further)
    power = response.base() ** z * (1 + 2 * relative(machine=REFERENCE))
    return power, lambda machine: power * relative(machine=machine)


@np.errstate(all="ignore")
def response_norm(given: Given, rounding: Rounding) -> FloatArray:
    """Bound the output of `local_response_norm`."""
    response = over_channels(**given)
    size, beta, D = np.abs(response.x), abs(response.beta), machine_of(rounding).division
    power, power_error = _power(response, -response.beta, beta, 1, D + 2)

    def error(machine: Machine) -> FloatArray:
        total: FloatArray = size * power_error(machine) + 8 * machine.phi * (1 + size + power)
        return total

    peak = np.maximum(np.maximum(power, 1 / power), size * power)
    return limit(size * power, error, peak, rounding, _length(response))


@np.errstate(all="ignore")
def response_norm_backward(given: Given, rounding: Rounding) -> LocalResponseNormGradients:
    """Bound the gradient of `local_response_norm`."""
    arguments = {name: value for name, value in given.items() if name not in ("grad_output", "output_mask")}
    if given["output_mask"] is not None and not given["output_mask"][0]:
        return LocalResponseNormGradients(None)
    response = over_channels(**arguments)
    x, g, beta = np.abs(response.x), np.abs(given["grad_output"]), abs(response.beta)
    scale, D = 2 * abs(response.alpha) * beta / response.size, machine_of(rounding).division
    power, power_error = _power(response, -response.beta, beta, 1, D + 2)
    slope, slope_error = _power(response, -response.beta - 1, 3 * beta + 1, 3, _length(response) + 2 * D + 8)

    def error(machine: Machine) -> FloatArray:
        through = response.spread(g * x * slope_error(machine))
        around = response.spread((1 + g) * (1 + x) * (1 + slope))
        tiny = 8 * machine.phi * (1 + scale) * (1 + x) * (1 + g + power + around)
        total: FloatArray = g * power_error(machine) + scale * x * through + tiny
        return total

    through = response.spread(g * x * slope)
    value = g * power + scale * x * through
    # torch's own graph divides by the square of the power.
    peak = np.maximum(np.maximum(value, through), np.maximum(power, 1 / power) ** 2)
    return LocalResponseNormGradients(limit(value, error, peak, rounding, _length(response)))
