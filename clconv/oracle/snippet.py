"""A failing case as a program that shows it, and as a line."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .judge import Mismatch
from .layouts import expression
from .observe import CANARY, FENCE
from .operations._base import Case, Operation

__all__ = ["call_text", "simplified", "snippet"]

Array = NDArray[Any]

LITERAL = 150  # elements that are written out; more are packed
TRIES = 300  # calls that making the values simpler may cost
SIMPLE = 2000  # elements of a case whose values are made simpler
CALLS = 200  # that are compared with each other
BITS = (
    "def bits(results):",
    "    every = results if isinstance(results, tuple) else (results,)",
    "    return [None if a is None else a.tobytes() for a in every]",
)
FENCED = (
    "def fenced(array):",
    f"    memory = np.full(array.nbytes + {2 * FENCE}, {CANARY}, np.uint8)",
    f"    inside = memory[{FENCE}:-{FENCE}].view(array.dtype).reshape(array.shape)",
    "    inside[...] = array",
    "    return memory, inside",
)


def call_text(operation: Operation, case: Case) -> str:
    """Return the call as a line, arrays by their shapes.

    Examples
    --------
    >>> from clconv.oracle.operations import OPERATIONS
    >>> from clconv.oracle.operations._base import Problem
    >>> problem = Problem({"input": (1, 4), "weight": (1, 1, 2)}, {"stride": 2})
    >>> call_text(OPERATIONS["conv1d"], Case(problem, {"input": np.ones((1, 4)), "weight": np.ones((1, 1, 2))}))
    'conv1d(input(1, 4), weight(1, 1, 2), stride=2)'
    """
    parts = []
    for name, array in case.arrays.items():
        layout = case.layouts.get(name, "contiguous")
        text = f"{name}{array.shape}" + ("" if layout == "contiguous" else f" {layout}")
        parts.append(text if name in operation.required else f"{name}={text}")
    parts += [f"{name}={value!r}" for name, value in case.problem.arguments.items()]
    return f"{operation.name}({', '.join(parts)})"


def snippet(operation: Operation, case: Case, mismatch: Mismatch, source: str, claims_dtype: str) -> str:
    """Return a program that makes the call and prints what is wrong.

    `source` is the statement that defines ``impl``.
    """
    uses_layouts = any(layout != "contiguous" for layout in case.layouts.values())
    lines = ["import numpy as np", *(["import ml_dtypes"] if claims_dtype == "bfloat16" else [])]
    lines += ["from clconv.oracle import layouts"] if uses_layouts else []
    lines += ["from numpy import inf, nan"] if _needs_specials(case) else []
    lines += [source, ""]
    for name, array in case.arrays.items():
        if name in case.shared:
            lines.append(f"{name} = {case.shared[name]}.reshape(-1)[:{array.size}].reshape({array.shape})")
            continue
        lines.append(f"{name} = {_literal(array)}")
        layout = case.layouts.get(name, "contiguous")
        if layout != "contiguous":
            lines.append(expression(name, layout))
    names = {name: name for name in case.arrays}
    if case.out is not None:
        lines.append(f"out = np.full({case.out}, np.nan, {operation.required[0]}.dtype)")
        names["out"] = "out"
    lines += _demonstration(operation, case, mismatch, names)
    return "\n".join(lines)


def _arguments(operation: Operation, case: Case, names: Mapping[str, str]) -> str:
    """Return the arguments of the call, with the arrays under some names."""
    given = [names[name] for name in operation.required if name in names]
    given += [f"{name}={value}" for name, value in names.items() if name not in operation.required]
    given += [f"{name}={value!r}" for name, value in case.problem.arguments.items()]
    return ", ".join(given)


def _demonstration(operation: Operation, case: Case, mismatch: Mismatch, names: Mapping[str, str]) -> list[str]:
    """Return the statements that make the call, or calls, and print what is wrong."""
    arguments, message = _arguments(operation, case, names), mismatch.message
    call = f"impl({arguments})"
    if mismatch.law:
        breach = f"breach(impl, {operation.name!r}, {mismatch.law!r}, {arguments})"
        return ["from clconv.oracle.laws import breach", f"print({breach})"]
    for name in names:
        if f"memory beside {name} was written" in message:
            beside = [f"print(np.flatnonzero(memory[{part}] != {CANARY}))" for part in (f":{FENCE}", f"-{FENCE}:")]
            return [*FENCED, f"memory, {name} = fenced({name})", f"got = {call}", *beside]
        if f"{name} was changed" in message:
            compared = f"print({name}.tobytes() == before.tobytes())  # {name} was changed"
            return [f"before = {name}.copy()", f"got = {call}", compared]
    if "gave other bits" in message:
        calls = f"every = [bits({call}) for _ in range({CALLS})]"
        if "threads" in message:
            calls = f"every = list(ThreadPoolExecutor(4).map(lambda _: bits({call}), range({CALLS})))"
        said = f"print(every.count(every[0]), 'of {CALLS} calls gave the same bits')"
        return ["from concurrent.futures import ThreadPoolExecutor", *BITS, calls, said]
    if "changed an earlier result" in message:
        others = {name: f"{name}[..., ::-1].copy()" for name in case.arrays}
        again = f"impl({_arguments(operation, case, {**names, **others})})"
        return [*BITS, f"got = {call}", "first = bits(got)", again, f"print(bits(got) == first)  # {message}"]
    if "NumPy array, the call returned" in message:
        return [f"got = {call}", "print(type(got))"]
    if "another array was returned" in message:
        return [f"got = {call}", f"print(got is out)  # {message}"]
    if mismatch.got is not None and np.isnan(mismatch.got) and not any(map(_has_specials, case.arrays.values())):
        # What has no NaN in it may have been read beside the arrays.
        around = [f"_, {name} = fenced({name})" for name in case.arrays if case.layouts.get(name) is None]
        return [*FENCED, *around, f"got = {call}", *_comparison(operation, mismatch)]
    return [f"got = {call}", *_comparison(operation, mismatch)]


def _comparison(operation: Operation, mismatch: Mismatch) -> list[str]:
    if mismatch.index is None or mismatch.result not in operation.results:
        return [f"# {mismatch.message}", "print(got)"]
    place = operation.results.index(mismatch.result)
    element = f"got[{place}]" if len(operation.results) > 1 else "got"
    index = f"[{', '.join(map(str, mismatch.index))}]" if mismatch.index else ""
    note = "" if mismatch.bound is None else f"  # within {mismatch.bound:.6g}"
    return [f"print({element}{index})  # got {mismatch.got!r}", f"print({mismatch.expected!r})  # expected{note}"]


def _literal(array: Array) -> str:
    """Return an expression that gives the array."""
    dtype = f"np.{array.dtype.name}" if array.dtype.name != "bfloat16" else "ml_dtypes.bfloat16"
    if array.size == 0 or (array.size > 4 and (array == array.flat[0]).all()):
        return f"np.full({array.shape}, {array.flat[0].item() if array.size else 0!r}, {dtype})"
    if array.size <= LITERAL:
        values = array.astype(np.float64) if array.dtype.name == "bfloat16" else array
        return f"np.array({values.tolist()!r}, {dtype})"
    packed = base64.b85encode(zlib.compress(array.tobytes(), 9)).decode()
    unpacked = f"__import__('zlib').decompress(__import__('base64').b85decode({packed!r}))"
    return f"np.frombuffer({unpacked}, {dtype}).reshape({array.shape}).copy()"


def _needs_specials(case: Case) -> bool:
    """Tell whether the program writes infinity or NaN, which have no literals."""
    words = re.findall(r"\b(?:inf|nan)\b", repr(dict(case.problem.arguments)))
    return bool(words) or any(_has_specials(array) for array in case.arrays.values())


def _has_specials(array: Array) -> bool:
    return array.dtype.kind not in "iub" and not np.isfinite(array.astype(np.float64)).all()


def simplified(
    case: Case, mismatch: Mismatch, examine: Callable[[Case], Mismatch | None], out_of_time: Callable[[], bool]
) -> tuple[Case, Mismatch]:
    """Replace as many values as possible by zero and then by one, as long as the case fails.

    Hypothesis has made the shapes small; it draws values by a seed, which says nothing to a reader.
    """
    if case.size > SIMPLE:
        return case, mismatch
    floats = {name: array for name, array in case.arrays.items() if array.dtype.kind not in "iub"}
    if mismatch.index is None:  # the values do not matter, or ones show it as well
        ones = case.holding(**{name: np.ones_like(array) for name, array in floats.items()})
        found = examine(ones)
        return (ones, found) if found is not None and _is_like(found, mismatch) else (case, mismatch)
    tries = 0
    for name in floats:
        for simple in (0, 1):
            size = max(case.arrays[name].size, 1)
            chunk = 1 << (size - 1).bit_length()
            while chunk:
                for start in range(0, size, chunk):
                    array = case.arrays[name].copy()
                    part = array.reshape(-1)[start : start + chunk]
                    if ((part == simple) | (part == 0)).all():
                        continue
                    if tries == TRIES or out_of_time():
                        return case, mismatch
                    tries += 1
                    part[...] = np.where(part == 0, 0, simple) if simple else 0
                    found = examine(case.holding(**{name: array}))
                    if found is not None and _is_like(found, mismatch):
                        case, mismatch = case.holding(**{name: array}), found
                chunk //= 2
    return case, mismatch


def _is_like(found: Mismatch, mismatch: Mismatch) -> bool:
    """Tell whether two mismatches are of one kind."""
    kinds = [
        (m.result, m.index is None, m.bound is None, m.message if m.index is None else "") for m in (found, mismatch)
    ]
    return kinds[0] == kinds[1]
