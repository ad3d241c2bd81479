"""Hostile cases: what a right implementation survives, and a fragile one does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from .examiner import Examiner
from .judge import Mismatch
from .layouts import LAYOUTS
from .operations._base import Case, Claims, Operation, Results, exact_limit
from .report import Outcome

__all__ = ["hostile_tests"]

MODE = "hostile"
THREADS = 4
ELEMENTS_FOR_THREADS = 5000
# Powers of two that scale each array: sums of a few products stay within the range, or come among the subnormals.
EXPONENTS = {"float16": (-10, 4), "bfloat16": (-60, 50), "float32": (-60, 50), "float64": (-500, 480)}

Test = Callable[[Examiner], Outcome]


def hostile_tests(operation: Operation, claims: Claims) -> Iterator[tuple[str, Test]]:
    """List the hostile tests of an operation."""
    yield "memory layouts", _memory_layouts
    if claims.sums_terms:  # transforms spread what is not finite
        yield "NaN and infinities", _special_values
    yield "huge and tiny numbers", _magnitudes
    yield "negative zeros", _negative_zeros
    if len(_sharing(operation)) > 1:
        yield "one memory passed twice", _shared_memory
    yield "the same shapes with other arguments", _other_arguments
    yield "several threads", _threads
    if claims.offers("out"):
        yield "a given output", _given_output


def _memory_layouts(examiner: Examiner) -> Outcome:
    """Pass strided, reversed, Fortran-ordered, read-only inputs: the values count, not where they lie."""
    fixed = examiner.operation.updates

    def laid_out(case: Case, chosen: list[str]) -> Case:
        layouts = dict(zip(case.arrays, chosen, strict=False))
        return replace(case, layouts={name: x for name, x in layouts.items() if name not in fixed})

    def examine(case: Case) -> Mismatch | None:
        mismatch = examiner.exactly(case)
        if mismatch is not None and examiner.exactly(replace(case, layouts={})) is None:
            names = sorted({x for x in case.layouts.values() if x != "contiguous"})
            return replace(mismatch, cause=f"memory layouts are got wrong: {', '.join(names)}")
        return mismatch

    names = st.lists(st.sampled_from(tuple(LAYOUTS)), min_size=6, max_size=6)
    return examiner.search(MODE, "memory layouts", st.builds(laid_out, examiner.exact_cases(), names), examine)


def _special_values(examiner: Examiner) -> Outcome:
    """Plant NaN and infinities, which stay where the definition has them."""

    def examine(case: Case) -> Mismatch | None:
        random = np.random.default_rng(case.size)
        for what, planted, expected, disputed in examiner.operation.special_cases(
            case.problem, random, examiner.claims
        ):
            mismatch = examiner.compared(planted, expected)
            if mismatch is None:
                continue
            if disputed and _differs_by_nan_only(mismatch.results, expected):
                examiner.deviate(disputed, f"{what}: {mismatch.message}", planted, mismatch)
                continue
            return replace(mismatch, message=f"{what}: {mismatch.message}", case=planted, cause=_of_specials(mismatch))
        return None

    return examiner.search(MODE, "NaN and infinities", examiner.exact_cases(), examine, simplify=False)


def _of_specials(mismatch: Mismatch) -> str:
    if mismatch.got is None or mismatch.expected is None:
        return mismatch.cause
    if np.isfinite(mismatch.expected):
        return "NaN or infinity spreads to outputs that do not see it"
    return "NaN or infinity is lost"


def _differs_by_nan_only(got: Results | None, expected: Results) -> bool:
    if got is None:
        return False
    for name, exact in expected.items():
        ours = got.get(name)
        if exact is None or ours is None:
            continue
        if ours.shape != exact.shape or not (np.isnan(ours) | (ours == exact)).all():
            return False
    return True


def _magnitudes(examiner: Examiner) -> Outcome:
    """Scale numbers towards the ends of the range, down to where products are subnormal."""
    low, high = EXPONENTS[examiner.claims.dtype]

    def scaled(case: Case, exponents: list[int]) -> Case:
        arrays = dict(case.arrays)
        for name, exponent in zip(arrays, exponents, strict=False):
            if arrays[name].dtype.kind not in "iu" and name not in examiner.operation.updates:
                with np.errstate(over="ignore", under="ignore"):
                    arrays[name] = (arrays[name] * 2.0**exponent).astype(arrays[name].dtype)
        return replace(case, arrays=arrays)

    exponents = st.lists(st.integers(low, high), min_size=6, max_size=6)
    cases = st.builds(scaled, examiner.real_cases(), exponents)
    return examiner.search(MODE, "huge and tiny numbers", cases, examiner.within_bound)


def _negative_zeros(examiner: Examiner) -> Outcome:
    """Put zeros of either sign among the data."""

    def zeroed(case: Case, seed: int) -> Case:
        random = np.random.default_rng(seed)
        arrays = {
            name: np.where(random.random(a.shape) < 0.5, a, np.copysign(a.dtype.type(0), a)).astype(a.dtype)
            if a.dtype.kind not in "iu" and name not in examiner.operation.updates
            else a
            for name, a in case.arrays.items()
        }
        return replace(case, arrays=arrays)

    cases = st.builds(zeroed, examiner.exact_cases(), st.integers(0, 2**16 - 1))
    return examiner.search(MODE, "negative zeros", cases, examiner.exactly)


def _sharing(operation: Operation) -> list[str]:
    return [name for name in operation.required if name not in operation.updates]


def _shared_memory(examiner: Examiner) -> Outcome:
    """Pass two arrays that lie in one memory, which is lawful as neither is written."""
    first, second = _sharing(examiner.operation)[:2]

    def shared(case: Case) -> Case:
        memory, size = case.arrays[first].reshape(-1), case.arrays[second].size
        if not 0 < size <= memory.size or memory.dtype != case.arrays[second].dtype:
            return case
        together = case.holding(**{second: memory[:size].reshape(case.arrays[second].shape)})
        sizes = {name: np.abs(a.astype(np.float64)) for name, a in together.arrays.items()}
        fits = examiner.operation.magnitude(sizes, case.problem, examiner.claims) <= exact_limit(examiner.claims.dtype)
        return replace(together, shared={second: first}) if fits else case

    cases = examiner.exact_cases().map(shared)
    return examiner.search(MODE, "one memory passed twice", cases, examiner.exactly, simplify=False)


def _other_arguments(examiner: Examiner) -> Outcome:
    """Call again with the same shapes and one argument after the other at its default: nothing may be remembered."""

    def examine(case: Case) -> Mismatch | None:
        for name in (None, *case.problem.arguments):
            if name in examiner.operation.positional:
                continue
            arguments = {k: v for k, v in case.problem.arguments.items() if k != name}
            other = replace(case, problem=replace(case.problem, arguments=arguments))
            try:
                examiner.operation.expected(other, examiner.claims)
            except (ValueError, TypeError):  # without that argument the shapes do not fit
                continue
            mismatch = examiner.judged(other, examiner.observed(other))
            if mismatch is None:
                continue
            if name is not None and _is_of(mismatch, examiner.operation.expected(case, examiner.claims)):
                cause = f"{name} of an earlier call with the same shapes is used again"
                return replace(mismatch, case=other, cause=cause)
            return replace(mismatch, case=other)
        return None

    name = "the same shapes with other arguments"
    return examiner.search(MODE, name, examiner.exact_cases(), examine, simplify=False)


def _is_of(mismatch: Mismatch, earlier: Results) -> bool:
    """Tell whether what was got is what an earlier call should give."""
    got, expected = (mismatch.results or {}).get(mismatch.result), earlier.get(mismatch.result)
    return got is not None and expected is not None and np.array_equal(got, expected)


def _threads(examiner: Examiner) -> Outcome:
    """Call from several threads at once."""
    random = np.random.default_rng(examiner.seed)
    cases = []
    for problem in examiner.operation.edges(examiner.claims):
        if not problem.disputed and sum(np.prod(s) for s in problem.shapes.values()) <= ELEMENTS_FOR_THREADS:
            cases.append(Case(problem, examiner.operation.exact_arrays(problem, random, examiner.claims)))
    if not cases:
        return Outcome(MODE, "several threads")

    def examine(case: Case) -> Mismatch | None:
        found = examiner.mismatch_of(examiner.runner.observe_threads(cases, THREADS))
        return (
            None if found is None or found.message.startswith("raised") else replace(found, cause="is not thread-safe")
        )

    return examiner.single(MODE, "several threads", cases[0], examine, "")


def _given_output(examiner: Examiner) -> Outcome:
    """Pass out=, filled with NaN: every element is written, nothing beside it, and it is what is returned."""

    def with_output(case: Case) -> Case:
        output = examiner.operation.expected(case, examiner.claims)["output"]
        assert output is not None
        return replace(case, out=output.shape)

    cases = examiner.exact_cases().map(with_output)
    return examiner.search(MODE, "a given output", cases, examiner.exactly)
