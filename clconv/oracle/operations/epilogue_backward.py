"""The gradients of an epilogue as the checker sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from clconv.oracle import reference
from clconv.oracle._floats import float_type
from clconv.oracle.reference.epilogue import NAMES

from ._base import Array, Arrays, Case, Claims, Operation, Problem, Refusal, Results, Suspect, exact_limit

__all__ = ["EpilogueBackward"]

PARTS = ("scale", "shift", "residual")
SLOPES = (0.01, 0.5, -1.0, 2.0)
EXACT_SCALES = (1, -1, 2, -2, 0.5)
SHAPES = ((2, 3), (1, 1, 4), (2, 3, 5), (3, 2, 2, 3), (2, 4, 1, 5), (1, 2, 2, 1, 3))
MANY = 65537  # more than an axis of a grid, or a 16-bit index, can hold


class EpilogueBackward(Operation):
    """epilogue_backward(grad_output, value, its parts by keyword), or with output instead of value."""

    name = "epilogue_backward"
    required = ("grad_output", "value")
    optional = PARTS
    settings = (*PARTS, "activation", "negative_slope")
    results = ("value", "scale", "shift", "residual")
    features = ("output_mask",)

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw parts of an epilogue, and which gradients are wanted."""
        return self._drawn(NAMES, claims)

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw those that have exact data."""
        return self._drawn(("relu",), claims)

    def _drawn(self, activations: tuple[str, ...], claims: Claims) -> st.SearchStrategy[Problem]:
        parts = st.tuples(*(st.booleans() for _ in PARTS))
        masks = st.one_of(st.none(), st.tuples(*(st.booleans() for _ in self.results)))
        return st.builds(
            lambda shape, given, activation, slope, mask: problem_of(
                shape,
                tuple(part for part, there in zip(PARTS, given, strict=True) if there),
                activation,
                slope,
                mask if claims.offers("output_mask") else None,
            ),
            st.sampled_from(SHAPES),
            parts,
            st.sampled_from((None, *activations)),
            st.sampled_from(SLOPES),
            masks,
        )

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List shapes and epilogues that are often got wrong."""
        for name, shape in (
            ("an empty batch", (0, 3, 4)),
            ("no positions", (2, 3, 0)),
            ("one element", (1, 1)),
            ("a long row", (1, 1, 4097)),
            ("many rows", (300, 2, 7)),
            (f"{MANY} channels", (1, MANY)),
            (f"{MANY} images", (MANY, 1)),
            ("a volume", (2, 3, 4, 5, 70)),
        ):
            yield problem_of(shape, PARTS, "relu", 0.01, None, name)
        yield problem_of((2, 3, 4), (), None, 0.01, None, "an epilogue of nothing")
        yield problem_of((2, 3, 4), (), "leaky_relu", -2.0, None, "a negative slope below 0")

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List arrays that do not fit."""
        whole = problem_of((2, 3, 4), PARTS, "relu", 0.01, None)
        shapes = {
            "grad_output": ((2, 3, 5), (2, 3), (1, 3, 4)),
            "scale": ((4,), (1,), (3, 1)),
            "shift": ((4,), (1,), (3, 1)),
            "residual": ((2, 3, 1), (3, 4), (2, 4, 3)),
        }
        for part, others in shapes.items():
            for other in others:
                problem = replace(whole, shapes={**whole.shapes, part: other}, name=f"{part} of shape {other}")
                yield Refusal("the arrays of an epilogue fit the value", problem)
        yield Refusal("there is such an activation", replace(whole.having(activation="swish"), name="swish"))

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw small integers whose products' sums are exact, and scales that are powers of two."""
        shape = problem.shapes["value"]
        terms = max(int(np.prod(shape)) // max(shape[1], 1), 1)
        density = min(1.0, exact_limit(claims.dtype) / (16 * terms))
        dtype = float_type("dtype", claims.dtype)
        arrays = {}
        for name, each in problem.shapes.items():
            choices = EXACT_SCALES if name == "scale" else (-2, -1, 0, 1, 2)
            arrays[name] = random.choice(choices, each)
            if name == "grad_output":
                arrays[name] = arrays[name] * (random.random(each) < density)
        return {name: array.astype(dtype) for name, array in arrays.items()}

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterator[tuple[str, Case, Results, str]]:
        """Plant NaN in one array after the other."""
        arrays = self.exact_arrays(problem, random, claims)
        for name, array in arrays.items():
            planted = array.copy()
            if planted.size:
                planted.flat[random.integers(planted.size)] = np.nan
                case = Case(problem, {**arrays, name: planted})
                yield f"NaN in {name}", case, self.expected(case, claims), ""

    def suspects(self) -> Iterator[Suspect]:
        """List the usual faults."""
        for part in (*PARTS, "activation", "negative_slope"):
            yield Suspect(f"{part} is ignored in the argument of the activation", _changed(_without(part)))
        yield Suspect("the derivative is taken at the value", _changed(_at_the_value))
        yield Suspect("the derivative is taken at the output", _changed(_at_the_output))
        yield Suspect("the value's gradient is not scaled", _named(_unscaled))
        yield Suspect("the residual's gradient is scaled", _named(_scaled_residual))
        yield Suspect("the shift's gradient is scaled", _named(_scaled_shift))
        yield Suspect("the scale's gradient is a mean", _named(_mean_scale))


def problem_of(
    shape: tuple[int, ...],
    parts: tuple[str, ...],
    activation: str | None,
    slope: float,
    mask: tuple[bool, ...] | None,
    name: str = "",
) -> Problem:
    """Return the problem of a value of this shape."""
    arguments: dict[str, Any] = {} if activation is None else {"activation": activation}
    if activation == "leaky_relu" and slope != SLOPES[0]:
        arguments["negative_slope"] = slope
    if mask is not None:
        arguments["output_mask"] = mask
    shapes = {part: shape if part == "residual" else shape[1:2] for part in parts}
    return Problem({"grad_output": shape, "value": shape, **shapes}, arguments, name)


def _named(change: Callable[[Arrays, dict[str, Any], Results], Results]) -> Callable[[Arrays, dict[str, Any]], Results]:
    """Return a fault that changes right gradients."""

    def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
        right = _gradients(arrays, arguments)
        return {**right, **change(arrays, arguments, right)}

    return results


def _changed(change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[[Arrays, dict[str, Any]], Results]:
    """Return a fault that computes the slopes of another call."""

    def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
        given = {**arrays, **arguments}
        g, value, scale = arrays["grad_output"], arrays["value"], arrays.get("scale")
        assert g is not None
        assert value is not None
        # With a residual, whose gradient is the slope where grad_output is 1.
        slopes = {"residual": np.zeros_like(g), **change(given), "grad_output": np.ones_like(g)}
        dz = reference.epilogue_backward(**{**slopes, "output_mask": None}).residual
        assert dz is not None
        dz = g * dz
        right = _gradients(arrays, arguments)
        axes = tuple(axis for axis in range(value.ndim) if axis != 1)
        column = (1, -1, *(1,) * (value.ndim - 2))
        dv = dz if scale is None else dz * scale.reshape(column)
        every: Results = {"value": dv, "scale": (dz * value).sum(axes), "shift": dz.sum(axes), "residual": dz}
        return {name: None if right[name] is None else gradient for name, gradient in every.items()}

    return results


def _gradients(arrays: Arrays, arguments: dict[str, Any]) -> Results:
    gradients: Any = reference.epilogue_backward(**arrays, **arguments)  # type: ignore[arg-type]
    return dict(gradients._asdict())


def _without(part: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def change(given: Mapping[str, Any]) -> dict[str, Any]:
        if given.get(part) is None:
            raise ValueError("this fault changes nothing here")
        return {name: value for name, value in given.items() if name != part}

    return change


def _at_the_value(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in PARTS}


def _at_the_output(given: Mapping[str, Any]) -> dict[str, Any]:
    parts = {name: value for name, value in given.items() if name not in ("grad_output", "output_mask")}
    return {**_at_the_value(given), "value": reference.epilogue(**parts)}


def _unscaled(arrays: Arrays, arguments: dict[str, Any], right: Results) -> Results:
    scale, dv = _column(arrays), right["value"]
    return {"value": None if dv is None else dv / scale}


def _scaled_residual(arrays: Arrays, arguments: dict[str, Any], right: Results) -> Results:
    scale, dz = _column(arrays), right["residual"]
    return {"residual": None if dz is None else dz * scale}


def _scaled_shift(arrays: Arrays, arguments: dict[str, Any], right: Results) -> Results:
    scale, total = arrays["scale"], right["shift"]
    return {"shift": None if total is None or scale is None else total * scale}


def _mean_scale(arrays: Arrays, arguments: dict[str, Any], right: Results) -> Results:
    value, total = arrays["value"], right["scale"]
    assert value is not None
    return {"scale": None if total is None else total * value.shape[1] / value.size}


def _column(arrays: Arrays) -> Array:
    scale, value = arrays["scale"], arrays["value"]
    assert scale is not None
    assert value is not None
    return scale.reshape((1, -1, *(1,) * (value.ndim - 2)))
