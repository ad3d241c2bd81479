"""One call of an implementation, and everything that can be seen of it from outside.

Inputs lie between poisoned bytes. What is looked for: an exception, results that are no arrays, changed inputs, bytes
written beside an input, a second call with other bits, a first result that the second call overwrote.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layouts import laid_out
from .operations import OPERATIONS
from .operations._base import Case, Operation, Results

__all__ = ["Implementation", "Observation", "Raised", "observe", "observe_threads"]

Array = NDArray[Any]
Implementation = Callable[..., Any]

LONGEST = 500  # characters of an exception's text that are kept
FENCE = 256  # bytes on either side of an input, a multiple of every element's size
CANARY = 0xFF  # which is NaN in every floating-point type
CALLS_PER_THREAD = 20
SWITCH_INTERVAL = 1e-6  # seconds


@dataclass(frozen=True)
class Raised:
    """An exception, in words: it may have happened in another process."""

    kind: str
    text: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        """Describe an exception."""
        try:
            text = str(error)
            trace = "".join(traceback.format_exception(error))
        except Exception:  # a foreign exception may fail to describe itself
            text = trace = "an exception that cannot be printed"
        return cls(type(error).__name__, text if len(text) <= LONGEST else f"{text[:LONGEST]}...", trace)

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.text else self.kind


@dataclass(frozen=True)
class Observation:
    """What a call did: its results or its error, and remarks on what it should not have done.

    `died` is set where the process that ran it crashed, hung or took too much memory.
    """

    results: Results | None = None
    error: Raised | None = None
    remarks: tuple[str, ...] = ()
    died: bool = False


def observe(implementation: Implementation, operation: str, case: Case, *, repeat: bool = False) -> Observation:
    """Call an implementation once, or twice to compare."""
    described = OPERATIONS[operation]
    fences = _Fences(case)
    try:
        results = _call(implementation, described, case, fences.arrays)
        remarks = fences.remarks(described.updates)
        if repeat:
            remarks += _remarks_of_repetition(implementation, described, case, results)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a foreign implementation may raise, SystemExit among it
        return Observation(error=Raised.of(error))
    return Observation(results, remarks=remarks)


def observe_threads(implementation: Implementation, operation: str, cases: Iterable[Case], threads: int) -> Observation:
    """Call an implementation from several threads at once, and say where results differ from a lone call's."""
    described = OPERATIONS[operation]
    remarks: list[str] = []
    try:
        alone = [(case, _call(implementation, described, case, _Fences(case).arrays)) for case in cases]

        barrier = threading.Barrier(threads)

        def work() -> None:
            barrier.wait()
            for case, expected in alone * CALLS_PER_THREAD:
                try:
                    got = _call(implementation, described, case, _Fences(case).arrays)
                except BaseException as error:
                    remarks.append(f"raised {Raised.of(error)} when called from {threads} threads at once")
                    return
                if not same_bits(got, expected):
                    remarks.append(f"gave other bits when called from {threads} threads at once")
                    return

        workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
        with _switching_often():
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
    except Exception as error:
        return Observation(error=Raised.of(error))
    return Observation(remarks=tuple(dict.fromkeys(remarks)))


@contextlib.contextmanager
def _switching_often() -> Iterator[None]:
    """Let Python switch between threads within short calls, too."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def same_bits(left: Results, right: Results) -> bool:
    """Tell whether two calls gave the same bits."""
    return left.keys() == right.keys() and all(
        (a is None) == (b is None) and (a is None or b is None or _bits(a) == _bits(b))
        for a, b in zip(left.values(), right.values(), strict=True)
    )


def _bits(array: Array) -> tuple[Any, ...]:
    return array.shape, array.dtype, array.tobytes()


def _call(
    implementation: Implementation, operation: Operation, case: Case, arrays: Mapping[str, Array]
) -> dict[str, Array | None]:
    """Call the implementation as torch would be called, and name its results."""
    keywords = {name: array for name, array in arrays.items() if name not in operation.required}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a foreign library's, which is not judged by them
        returned = implementation(
            *(arrays[name] for name in operation.required), **keywords, **dict(case.problem.arguments)
        )
    if case.out is not None and returned is not arrays["out"]:
        raise TypeError("out= was given, but another array was returned")
    results = operation.named_by_call(returned, arrays)
    for name, result in results.items():
        if result is not None and type(result) is not np.ndarray:
            raise TypeError(f"{name} must be a plain NumPy array, the call returned a {type(result).__name__}")
        if result is not None and result.dtype.kind not in "fiuV":
            raise TypeError(f"{name} must hold real numbers, the call returned an array of {result.dtype}")
    return results


def _remarks_of_repetition(
    implementation: Implementation, operation: Operation, case: Case, first: Results
) -> tuple[str, ...]:
    """Call with other values, and then again with the same ones in other memory."""
    kept = {name: None if result is None else result.copy() for name, result in first.items()}
    others = {name: array[..., ::-1].copy() for name, array in case.arrays.items() if array.dtype.kind not in "iu"}
    _call(implementation, operation, case, _Fences(case.holding(**others)).arrays)
    remarks = [] if same_bits(first, kept) else ["a later call changed an earlier result"]
    second = _call(implementation, operation, case, _Fences(case).arrays)
    if not same_bits(second, kept):
        remarks.append("a second call with the same arguments gave other bits")
    return tuple(remarks)


class _Fences:
    """The arrays of a case, each between poisoned bytes, and what they held before the call."""

    def __init__(self, case: Case) -> None:
        self.arrays: dict[str, Array] = {}
        self._arenas: dict[str, tuple[Array, Array]] = {}
        for name, array in case.arrays.items():
            layout = case.layouts.get(name, "contiguous")
            if name in case.shared:
                memory = self.arrays[case.shared[name]].reshape(-1)
                self.arrays[name] = memory[: array.size].reshape(array.shape)
                continue
            if layout == "contiguous":
                arena, self.arrays[name] = _fenced(array.shape, array.dtype)
                self.arrays[name][...] = array
            else:
                self.arrays[name] = laid_out(array, layout)
                arena = _whole_memory(self.arrays[name])
            self._arenas[name] = (arena, arena.copy())
        if case.out is not None:
            arena, self.arrays["out"] = _fenced(case.out, next(iter(case.arrays.values())).dtype)
            self._arenas["out"] = (arena, arena.copy())

    def remarks(self, updates: tuple[str, ...]) -> tuple[str, ...]:
        """Say which inputs were changed and where memory beside them was written."""
        found = []
        for name, (arena, before) in self._arenas.items():
            same = arena.view(np.uint8).ravel() == before.view(np.uint8).ravel()
            if same.all():
                continue
            plain = name not in updates and name != "out"
            if arena.dtype == np.uint8 and not (same[:FENCE].all() and same[-FENCE:].all()):
                found.append(f"memory beside {name} was written")
            if plain and (arena.dtype != np.uint8 or not same[FENCE:-FENCE].all()):
                found.append(f"{name} was changed")
        return tuple(found)


def _fenced(shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
    """Return poisoned memory, and an array in its middle that holds nothing but poison."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    arena = np.full(size + 2 * FENCE, CANARY, np.uint8)
    return arena, arena[FENCE : FENCE + size].view(dtype).reshape(shape)


def _whole_memory(array: Array) -> Array:
    """Return the contiguous array of which another one is a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array if array.flags.c_contiguous else np.ascontiguousarray(array.T)
