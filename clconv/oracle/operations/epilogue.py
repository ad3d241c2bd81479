"""Forward operations with an epilogue, in one call, and the epilogue's gradients, as the checker sees them.

``NAME_epilogue`` takes the arguments of NAME and those of `reference.epilogue`, all by keyword. Where NAME has data on
which right implementations give the same bits, so has this: small integers, scales that are powers of two, and no
activation or relu.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from clconv.oracle import reference
from clconv.oracle._floats import float_type, storage_and_sum
from clconv.oracle.bounds.epilogue import epilogue_limit
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference.epilogue import NAMES, checked

from ._base import (
    Array,
    Arrays,
    Call,
    Case,
    Claims,
    Disagreement,
    Identity,
    Operation,
    Problem,
    Refusal,
    Results,
    Suspect,
    as_float64,
)
from .conv import Convolution
from .norm import Normalisation
from .pool import FORWARD as POOLINGS

__all__ = ["FINISHED", "Finished"]

PARTS = ("scale", "shift", "residual")
SETTINGS = (*PARTS, "activation", "negative_slope")
EXACT = ("relu",)  # leaky_relu is so with some slopes only
SLOPES = (0.01, 0.5, -1.0, 2.0)
EXACT_SCALES = (1, -1, 2, -2, 0.5)
WITHOUT_CHANNELS = ("layer_norm", "rms_norm")
NOT_FINISHED = "max_unpool"


class Finished(Operation):
    """A forward operation whose output goes through an epilogue before it is stored."""

    semantics = ("torch",)

    def __init__(self, forward: Operation) -> None:
        self.forward = forward
        self.name = f"{forward.name}_epilogue"
        self.parts = PARTS[2:] if forward.name in WITHOUT_CHANNELS else PARTS
        self.required, self.positional = forward.required, forward.positional
        self.optional = (*forward.optional, *self.parts)
        self.settings = (*forward.settings, *self.parts, "activation", "negative_slope")
        self.results, self.updates, self.rounds = forward.results, forward.updates, forward.rounds
        self.features = tuple(feature for feature in forward.features if feature == "out")

    # --- problems

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw a problem of the operation, and parts of an epilogue."""
        return self._drawn(self.forward.problems(claims), NAMES, claims)

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw one that has exact data."""
        return self._drawn(self.forward.exact_problems(claims), EXACT, claims)

    def _drawn(
        self,
        problems: st.SearchStrategy[Problem],
        activations: tuple[str, ...],
        claims: Claims,
    ) -> st.SearchStrategy[Problem]:
        every = itertools.chain.from_iterable(itertools.combinations(self.parts, n) for n in range(len(self.parts) + 1))
        parts = st.sampled_from(tuple(every))
        functions = st.sampled_from((None, *activations))
        return st.builds(self.finished, problems, parts, functions, st.sampled_from(SLOPES), st.just(claims))

    def finished(
        self, problem: Problem, parts: Iterable[str], activation: str | None, slope: float, claims: Claims
    ) -> Problem:
        """Add parts of an epilogue to a problem of the operation."""
        arguments = dict(problem.arguments)
        if activation is not None:
            arguments["activation"] = activation
        if activation == "leaky_relu" and slope != SLOPES[0]:
            arguments["negative_slope"] = slope
        output = self.output_shape(problem, claims)
        channels = output[self.channel_axis(output) :][:1]
        shapes = {"scale": channels, "shift": channels, "residual": output}
        return replace(
            problem, shapes={**problem.shapes, **{part: shapes[part] for part in parts}}, arguments=arguments
        )

    def output_shape(self, problem: Problem, claims: Claims) -> tuple[int, ...]:
        """Return the shape of the output of a lawful problem of the operation."""
        zeros: Arrays = {name: np.zeros(shape) for name, shape in problem.shapes.items()}
        with np.errstate(all="ignore"):
            output = self.forward.evaluate(zeros, dict(problem.arguments), claims)["output"]
        assert output is not None
        return output.shape

    def channel_axis(self, output_shape: tuple[int, ...]) -> int:
        """Return the output's axis of channels: the one before the spatial axes, or the one after the batch."""
        rank = getattr(self.forward, "rank", None)
        return 1 if rank is None else len(output_shape) - rank - 1

    def edges(self, claims: Claims) -> Iterator[Problem]:
        """List the operation's limits with all that an epilogue can have, and each part alone."""
        for problem in self.forward.edges(claims):
            yield self.finished(problem, self.parts, "relu", 0.01, claims)
        plain = self.lawful(claims)
        for parts in ((), *((part,) for part in self.parts)):
            name = f"an epilogue of {parts[0]} alone" if parts else "an epilogue of nothing"
            yield replace(self.finished(plain, parts, None, 0.01, claims), name=name)
        yield replace(self.finished(plain, (), "leaky_relu", 2.0, claims), name="a negative slope above 1")

    def lawful(self, claims: Claims) -> Problem:
        """Return a lawful problem with some channels and an output that is not empty."""
        for problem in self.forward.edges(claims):
            shape = self.output_shape(problem, claims)
            small = np.prod(shape) < 10_000 and not problem.disputed
            if small and len(shape) > 1 and 0 not in shape and shape[self.channel_axis(shape)] > 1:
                return replace(problem, name="")
        raise AssertionError(f"{self.forward.name} has no edge that is a plain problem")

    def refusals(self, claims: Claims) -> Iterator[Refusal]:
        """List epilogues that do not fit."""
        whole = self.finished(self.lawful(claims), self.parts, None, 0.01, claims)
        for part in self.parts:
            shape = whole.shapes[part]
            others = {"a longer": (*shape[:-1], shape[-1] + 1), "a single": (1,) * len(shape), "another": (*shape, 1)}
            for kind, other in others.items():
                if other != shape:
                    problem = replace(whole, shapes={**whole.shapes, part: other}, name=f"{kind} {part}")
                    yield Refusal("an epilogue's arrays fit the output", problem)
        problem = replace(whole.having(activation="swish"), name="activation='swish'")
        yield Refusal("the activation is one of those that there are", problem)

    # --- values

    def _inner(self, case: Case) -> Case:
        """Return the case without its epilogue."""
        arrays = {name: array for name, array in case.arrays.items() if name not in PARTS}
        layouts = {name: layout for name, layout in case.layouts.items() if name not in PARTS}
        return Case(self._without_parts(case.problem), arrays, layouts)

    def _without_parts(self, problem: Problem) -> Problem:
        shapes = {name: shape for name, shape in problem.shapes.items() if name not in PARTS}
        arguments = {name: value for name, value in problem.arguments.items() if name not in SETTINGS}
        return replace(problem, shapes=shapes, arguments=arguments)

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw the operation's exact data at a quarter of their size, powers of two and small integers."""
        inner = self._without_parts(problem)
        case = Case(inner, self.forward.exact_arrays(inner, random, claims))
        arrays = dict((case if self.rounds else self._smaller(case)).arrays)
        dtype = float_type("dtype", claims.dtype)
        for part in self.parts:
            if part in problem.shapes:
                choices = EXACT_SCALES if part == "scale" else (-2, -1, 0, 1, 2)
                arrays[part] = random.choice(choices, problem.shapes[part]).astype(dtype)
        return arrays

    def _smaller(self, case: Case) -> Case:
        return case.holding(**self.forward.quartered(case).arrays)

    def quartered(self, case: Case) -> Case:
        """Return the case: its data have been made smaller when they were drawn."""
        return case

    def real_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw the operation's data, and real numbers for the epilogue."""
        arrays = self.forward.real_arrays(self._without_parts(problem), random, claims)
        shapes = {name: shape for name, shape in problem.shapes.items() if name in PARTS}
        return {**arrays, **super().real_arrays(replace(problem, shapes=shapes), random, claims)}

    # --- results

    def evaluate(self, arrays: Mapping[str, Array | None], arguments: dict[str, Any], claims: Claims) -> Results:
        """Evaluate the operation, and then the epilogue."""
        inner = {name: array for name, array in arrays.items() if name not in PARTS}
        given = {name: value for name, value in arguments.items() if name not in SETTINGS}
        return self.after(self.forward.evaluate(inner, given, claims), arrays, arguments)

    def after(self, results: Results, arrays: Mapping[str, Array | None], arguments: dict[str, Any]) -> Results:
        """Return the operation's results with an epilogue applied to the output."""
        output = results["output"]
        assert output is not None
        parts = {name: arrays[name] for name in PARTS if name in arrays}
        settings = {name: value for name, value in arguments.items() if name in SETTINGS}
        axis = self.channel_axis(output.shape)
        finished = reference.epilogue(output, **parts, **settings, channel_axis=axis)  # type: ignore[arg-type]
        return {**results, "output": finished}

    def bounds(self, case: Case, claims: Claims, flushes_subnormals: bool = False) -> Results:
        """Return the operation's bounds, and for the output what the epilogue makes of an error before it is stored."""
        stored, summed = storage_and_sum(claims.dtype, claims.accumulate)
        case = case.holding(**{name: np.where(np.isfinite(a), a, np.ones_like(a)) for name, a in case.arrays.items()})
        inner = self._inner(case)
        own = self.forward.bounds(inner, claims, flushes_subnormals)
        settled = replace(inner.problem, arguments=self.forward.translated(inner.problem.arguments, claims))
        unrounded = replace(claims, dtype=summed.name, accumulate=None)
        off = self.forward.bounds(replace(inner, problem=settled), unrounded, flushes_subnormals)["output"]
        value = self.forward.expected(inner, claims)["output"]
        assert off is not None
        assert value is not None
        arrays, arguments = as_float64(case.arrays), case.problem.arguments
        activation, slope = arguments.get("activation"), arguments.get("negative_slope", SLOPES[0])
        scale, shift, residual = map(arrays.get, PARTS)
        axis = self.channel_axis(value.shape)
        finish = checked(value, scale, shift, residual, activation, slope, axis)
        limit = epilogue_limit(finish, activation, slope, off, Rounding(stored, summed, flushes_subnormals))
        return {**own, "output": limit}

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterator[tuple[str, Case, Results, str]]:
        """Plant NaN and infinities in the parts of the epilogue."""
        arrays = self.exact_arrays(problem, random, claims)
        for part in set(PARTS) & problem.shapes.keys():
            for value in (np.nan,) if part == "scale" or self.rounds else (np.nan, np.inf, -np.inf):
                planted = arrays[part].copy()
                if planted.size:
                    planted.flat[random.integers(planted.size)] = value
                    case = Case(problem, {**arrays, part: planted})
                    yield f"{value} in {part}", case, self.expected(case, claims), ""

    def named_by_call(self, returned: Any, arrays: Mapping[str, Array]) -> Results:
        """Give the results the names that the operation gives them."""
        return self.forward.named_by_call(returned, arrays)

    # --- faults

    def identities(self, claims: Claims) -> Iterator[Identity]:
        """List the law that relu in the epilogue is relu afterwards."""
        yield Identity("relu before storing is relu of what is stored", _relu_commutes)

    def suspects(self) -> Iterator[Suspect]:
        """List the usual faults of epilogues, then the operation's own."""
        for part in (*self.parts, "activation", "negative_slope"):
            yield Suspect(f"{part} is ignored", self._faulty(_without(part)))
        yield Suspect("the residual is added after the activation", self._faulty(_residual_last))
        yield Suspect("the shift is scaled, too", self._faulty(_shift_first))
        yield Suspect("the residual is scaled, too", self._faulty(_residual_first))
        for suspect in self.forward.suspects():
            yield replace(suspect, results=self._behind(suspect))

    def _faulty(self, finish: Callable[[Array, Arrays, dict[str, Any], int], Array]) -> Any:
        def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
            plain = {name: array for name, array in arrays.items() if name not in PARTS}
            given = {name: value for name, value in arguments.items() if name not in SETTINGS}
            found = self.forward.evaluate(plain, given, Claims())
            output = found["output"]
            assert output is not None
            parts = {name: array for name, array in arrays.items() if name in PARTS}
            settings = {name: value for name, value in arguments.items() if name in SETTINGS}
            return {**found, "output": finish(output, parts, settings, self.channel_axis(output.shape))}

        return results

    def _behind(self, suspect: Suspect) -> Any:
        def results(arrays: Arrays, arguments: dict[str, Any]) -> Results:
            plain = {name: array for name, array in arrays.items() if name not in PARTS}
            given = {name: value for name, value in arguments.items() if name not in SETTINGS}
            return self.after(suspect.results(plain, given), arrays, arguments)

        return results


def _relu_commutes(call: Call, case: Case) -> Disagreement | None:
    plain = {k: v for k, v in case.problem.arguments.items() if k not in ("activation", "negative_slope")}
    before = call(replace(case, problem=replace(case.problem, arguments=plain)))["output"]
    after = call(replace(case, problem=replace(case.problem, arguments={**plain, "activation": "relu"})))["output"]
    if before is None or after is None:
        return None
    expected = np.where(before < 0, before.dtype.type(0), before)
    same = before.shape == after.shape and np.array_equal(after, expected, equal_nan=True)
    return None if same else Disagreement("relu in the epilogue is not relu of the result", after, expected)


Finish = Callable[[Array, Arrays, dict[str, Any], int], Array]


def _without(part: str) -> Finish:
    def finish(output: Array, parts: Arrays, settings: dict[str, Any], axis: int) -> Array:
        if part not in parts and part not in settings:
            raise ValueError("this fault changes nothing here")
        kept: dict[str, Any] = {name: value for name, value in {**parts, **settings}.items() if name != part}
        return reference.epilogue(output, **kept, channel_axis=axis)

    return finish


def _residual_last(output: Array, parts: Arrays, settings: dict[str, Any], axis: int) -> Array:
    rest: dict[str, Any] = {name: array for name, array in parts.items() if name != "residual"}
    residual = parts["residual"]
    assert residual is not None
    return reference.epilogue(output, **rest, **settings, channel_axis=axis) + residual


def _shift_first(output: Array, parts: Arrays, settings: dict[str, Any], axis: int) -> Array:
    shifted = reference.epilogue(output, shift=parts["shift"], channel_axis=axis)
    rest: dict[str, Any] = {"residual": parts.get("residual"), **settings}
    return reference.epilogue(shifted, scale=parts["scale"], **rest, channel_axis=axis)


def _residual_first(output: Array, parts: Arrays, settings: dict[str, Any], axis: int) -> Array:
    added = reference.epilogue(output, residual=parts["residual"], channel_axis=axis)
    rest: dict[str, Any] = {"shift": parts.get("shift"), **settings}
    return reference.epilogue(added, scale=parts["scale"], **rest, channel_axis=axis)


FORWARD: tuple[Operation, ...] = (
    *(Convolution(rank, transposed) for transposed in (False, True) for rank in (1, 2, 3)),
    *(pooling for pooling in POOLINGS if not pooling.name.startswith(NOT_FINISHED)),
    *(Normalisation(name) for name in ("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm")),
)
FINISHED = tuple(Finished(forward) for forward in FORWARD)
