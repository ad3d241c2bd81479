"""`check`: everything an implementation of one operation goes through, under one budget."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from clconv.oracle.bounds.algorithms import parsed

from ._floats import float_type, storage_and_sum
from .examinations import MODES, Examination, examinations
from .examiner import Examiner, LocalRunner, Runner
from .isolation import PATIENCE, IsolatedRunner
from .observe import Implementation
from .operations import OPERATIONS
from .operations._base import Claims, Operation
from .report import Outcome, Report
from .target import Facts, resolved, source_of

__all__ = ["SEARCH", "check", "claimed", "without"]

EXAMPLES = 100
SEARCH = 60.0  # seconds that a search may take where no budget is given

Progress = Callable[[int, int, str], None]


def check(
    impl: Implementation | str,
    *,
    op: str | None = None,
    dtype: str = "float32",
    semantics: str | None = None,
    algorithm: str = "direct",
    accumulate: str | None = None,
    features: Collection[str] | None = None,
    max_examples: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    isolate: bool = False,
    skip: Collection[str] = (),
    progress: Progress | None = None,
) -> Report:
    """Judge an implementation of an operation.

    It is called with NumPy arrays by torch.nn.functional's signature: the arrays that every call has by position,
    all other arguments by keyword, arguments at their default left out. Gradients are operations of their own:
    ``conv2d_backward(grad_output, input, weight, bias=None, stride=1, ...)`` returns the gradients of input,
    weight and bias. Optional arguments that the signature of `impl` does not have are not passed, and the report
    says so.

    Parameters
    ----------
    impl : callable or str
        The implementation, or what `adapters.load` makes one of: "torch:conv2d", "package.module:function".
    op : str
        Name of the operation, such as "conv2d" or "max_pool1d_backward"; may be left out where `impl` tells it.
    dtype : {"float16", "bfloat16", "float32", "float64"}
        Type of all floating-point arrays, results included. "bfloat16" is that of ml_dtypes.
    semantics : {"torch", "onnx", "tf", "scipy"}, optional
        Whose rules apply where systems differ; an operation knows those that differ for it. By default "torch",
        or what an adapter says of its system.
    algorithm : str
        Class of the error bound: "direct" for any order of summation, "split(b)", "pairwise", "winograd(m)",
        "fft"; see `bounds`.
    accumulate : str, optional
        Type of the sums; by default float32 for 16-bit types, else `dtype`.
    features : collection of str, optional
        Arguments beyond torch's that `impl` takes, which are then tested: "padding_mode", "flip", ... By default
        none, or what an adapter says of its system.
    max_examples : int, optional
        Cases that each search draws, 100 by default.
    seconds : float, optional
        Time for everything, shrinking included.
    seed : int
        The same seed draws the same cases.
    isolate : bool
        Whether to run `impl` in a process of its own, where it may crash, hang or eat memory. It must then be
        importable.
    skip : collection of str
        Names of modes or examinations to leave out; the report lists them.
    progress : callable, optional
        Called before each examination with the number done, their number, and a name.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If there is no such operation, feature, semantics, type or algorithm, or a number is out of range.
    TypeError
        If `impl` cannot be called by the operation's signature.

    Examples
    --------
    >>> from clconv.oracle import check
    >>> def my_conv1d(x, w):
    ...     windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[-1], axis=-1)
    ...     return np.einsum("...cok,dck->...do", windows, w[..., ::-1])
    >>> report = check(my_conv1d, op="conv1d", max_examples=20, skip=["hostile", "bound"])
    >>> report.passed, report.findings[0].cause
    (False, 'the kernel is flipped')
    """
    examples = _at_least("max_examples", EXAMPLES if max_examples is None else max_examples, 1)
    seed = _at_least("seed", seed, 0)
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds must be above 0, got seconds={seconds!r}")
    runner: Runner
    if isolate:
        runner = IsolatedRunner(impl, op, *(() if seconds is None else (min(PATIENCE, max(seconds / 3, 1)),)))
        facts = runner.facts
    else:
        implementation, facts = resolved(impl, op)
        runner = LocalRunner(implementation, facts.operation)
    try:
        operation = OPERATIONS[facts.operation]
        claims = claimed(facts, dtype, semantics, algorithm, accumulate, features)
        examiner = Examiner(operation, claims, runner, source_of(impl, operation.name), seed, examples)
        listed = without(examinations(operation, claims), skip)
        outcomes = _run(examiner, listed, seconds, progress)
    finally:
        runner.close()
    settings = {
        "dtype": claims.dtype,
        "accumulate": str(storage_and_sum(dtype, accumulate)[1]),
        "semantics": claims.semantics,
        "algorithm": algorithm,
        "features": sorted(claims.features),
    }
    not_tested = (*_left_out(operation, claims, skip), *examiner.not_offered)
    versions = {**_versions(), **dict(facts.libraries)}
    return Report(operation.name, settings, tuple(outcomes), not_tested, seed, versions)


def claimed(
    facts: Facts,
    dtype: str = "float32",
    semantics: str | None = None,
    algorithm: str = "direct",
    accumulate: str | None = None,
    features: Collection[str] | None = None,
) -> Claims:
    """Return an implementation's claims, once they are known to have a meaning.

    Raises
    ------
    ValueError, TypeError
        As `check`.
    """
    operation = OPERATIONS[facts.operation]
    storage_and_sum(dtype, accumulate)
    parsed(algorithm)
    if isinstance(features, str):
        raise TypeError(f"features must be a collection of names, got the string {features!r}")
    named = facts.features if features is None else features
    unknown = sorted(set(named) - set(operation.features))
    if unknown:
        raise ValueError(f"features of {operation.name} are {operation.features}, got {unknown}")
    rules = semantics or (facts.semantics if facts.semantics in operation.semantics else "torch")
    if rules not in operation.semantics:
        raise ValueError(f"semantics of {operation.name} must be one of {operation.semantics}, got {rules!r}")
    plain = float_type("dtype", dtype).name
    if plain not in facts.dtypes:
        raise ValueError(f"dtype of this implementation must be one of {facts.dtypes}, got {plain!r}")
    return Claims(plain, accumulate, rules, algorithm, frozenset(named), facts.parameters)


def _run(
    examiner: Examiner, listed: list[Examination], seconds: float | None, progress: Progress | None
) -> list[Outcome]:
    """Run the examinations: a search may take its share of the time that is left."""
    end = None if seconds is None else time.monotonic() + seconds
    outcomes = []
    for done, examination in enumerate(listed):
        if progress:
            progress(done, len(listed), f"{examination.mode}: {examination.name}")
        now = time.monotonic()
        if end is None:
            examiner.deadline = now + SEARCH
        elif examination.drawn:
            examiner.deadline = now + (end - now) / sum(e.drawn for e in listed[done:])
        else:
            examiner.deadline = end
        outcomes.append(examination.run(examiner))
    if progress:
        progress(len(listed), len(listed), "")
    return outcomes


def without(listed: list[Examination], skip: Collection[str]) -> list[Examination]:
    """Leave out the modes and the examinations that are to be skipped."""
    if isinstance(skip, str):
        raise TypeError(f"skip must be a collection of names, got the string {skip!r}")
    known = {*MODES, *(e.name for e in listed)}
    unknown = sorted(set(skip) - known)
    if unknown:
        raise ValueError(f"skip must name modes or examinations, got {unknown}; there are {sorted(known)}")
    return [e for e in listed if e.mode not in skip and e.name not in skip]


def _left_out(operation: Operation, claims: Claims, skip: Collection[str]) -> tuple[str, ...]:
    """Say what was not tested."""
    missing = [f"{name}: impl has no such parameter" for name in operation.settings if not claims.takes(name)]
    if not claims.sums_terms:
        missing.append(f"identities, NaN and infinities: {claims.algorithm} is not exact on integers, nor local")
    return (*missing, *(f"{name}: skipped" for name in skip))


def _at_least(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {name}={value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {name}={value!r}")
    return int(value)


def _versions() -> dict[str, str]:
    import hypothesis
    import scipy  # type: ignore[import-untyped]

    libraries = {"numpy": np, "scipy": scipy, "hypothesis": hypothesis}
    return {"python": platform.python_version(), **{name: m.__version__ for name, m in libraries.items()}}
