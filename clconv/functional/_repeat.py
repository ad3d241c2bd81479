"""Calls that are made again and again: what does not depend on the arrays' contents is found out once.

Checking arguments and planning take longer than a small convolution. The first call of a kind runs as it is, watched:
where it did nothing but run one plan, straight on its arguments and on new arrays, which it returned, the next call of
that kind allocates and runs. An output that is given must be writeable and apart from the other arrays each time.

Calls are of one kind if all arguments but arrays are equal and of the same types, arrays have the same shapes, strides
and dtypes, and the device, its traits and the accuracy in force are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from clconv.accuracy import accuracy_in_force
from clconv.algorithms import also_forget
from clconv.devices import executor_in_force
from clconv.executor import Executor, Layouts, Run, is_watched, layouts_of, watched_runs, written_by
from clconv.functional.epilogue import Epilogue
from clconv.plan import NO_LAUNCHES, Plan

__all__ = ["repeatable"]

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

_MOST_REMEMBERED = 1024
_EPILOGUE = tuple(field.name for field in fields(Epilogue))
_PLAIN = frozenset([int, bool, str, type(None)])


class _Recording(NamedTuple):
    """What a call did: its plan, which arrays it ran on, and the new ones among them.

    ``places`` are those of the operands' arrays among the arguments' arrays followed by the new ones; None is absent.
    ``returned`` has those of the returned ones, which ``make`` makes a tuple of; it is None for a single array.
    """

    plan: Plan
    layouts: Layouts
    places: tuple[int | None, ...]
    new: tuple[tuple[tuple[int, ...], str], ...]
    returned: tuple[int | None, ...]
    make: Callable[[Iterable[Any]], Any] | None


#: Stand for a kind of call that has not been seen, and for one that cannot be repeated.
_UNSEEN, _OTHER = (_Recording(NO_LAUNCHES, (), (), (), (), None) for _ in range(2))

_recordings: dict[Any, _Recording] = {}
also_forget(_recordings.clear)


def repeatable(function: AnyFunction) -> AnyFunction:
    """Let a function of arrays and plain values, the device by keyword, remember its calls on NumPy arrays."""

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        parts: list[Any] = [function]
        arrays: list[Any] = []
        executor = None
        try:
            if _describe(arguments, parts, arrays) and _describe_keywords(keywords, parts, arrays):
                executor = executor_in_force(keywords.get("device"))
                parts += (executor.place, executor.traits, accuracy_in_force())
        except Exception:  # the function says it after what it has to say of its arrays
            executor = None
        if executor is None or is_watched():
            return function(*arguments, **keywords)
        key = tuple(parts)
        recording, out = _recordings.get(key, _UNSEEN), keywords.get("out")
        if recording is _UNSEEN:
            return _watched(function, arguments, keywords, key, arrays)
        if recording is _OTHER or (out is not None and not _may_be_written(out, arrays)):
            return function(*arguments, **keywords)
        return _repeated(recording, executor, arrays)

    return cast(AnyFunction, call)


def _describe(values: Iterable[Any], parts: list[Any], arrays: list[Any]) -> bool:
    """Add what tells kinds of calls apart to ``parts``, and arrays to ``arrays``; return False for other values."""
    for value in values:
        kind = type(value)
        if kind is np.ndarray:
            if not value.flags.aligned:
                return False
            parts += (value.shape, value.strides, value.dtype)
            arrays.append(value)
        elif kind in _PLAIN:
            parts += (kind, value)
        elif kind is float:
            parts += (kind, value.hex())  # minus zero equals zero
        elif kind is Epilogue:
            parts.append(kind)
            if not _describe((getattr(value, name) for name in _EPILOGUE), parts, arrays):
                return False
        elif kind is tuple or kind is list:
            parts += (kind, len(value))
            if not _describe(value, parts, arrays):
                return False
        else:
            return False
    return True


def _describe_keywords(keywords: dict[str, Any], parts: list[Any], arrays: list[Any]) -> bool:
    if not keywords:
        return True
    parts += keywords
    return _describe(keywords.values(), parts, arrays)


def _repeated(recording: _Recording, executor: Executor, arrays: list[Any]) -> Any:
    """Do on these arrays what a call of the same kind did."""
    plan, layouts, places, new, returned, make = recording
    arrays += [executor.empty(shape, dtype, arrays[0]) for shape, dtype in new]
    executor.launch(plan, layouts, tuple([None if place is None else arrays[place] for place in places]))
    results = [None if place is None else arrays[place] for place in returned]
    return results[0] if make is None else make(results)


def _may_be_written(out: Any, arrays: list[Any]) -> bool:
    """Return whether an output that was given is surely apart from the other arrays; its kind was checked before.

    It is itself one of the arrays, once.
    """
    return out.flags.writeable and sum(np.may_share_memory(out, array) for array in arrays) == 1


def _watched(
    function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any], key: Any, arrays: list[Any]
) -> Any:
    """Call a function, and remember what it did if that can be repeated."""
    if len({id(array) for array in arrays}) < len(arrays):  # which of them was used where would not show
        return function(*arguments, **keywords)
    with watched_runs() as runs:
        result = function(*arguments, **keywords)
    if len(_recordings) >= _MOST_REMEMBERED:
        _recordings.clear()
    _recordings[key] = _recorded(runs, result, arrays, keywords.get("out"))
    return result


def _recorded(runs: list[Run], result: Any, arrays: list[Any], out: Any) -> _Recording:
    """Return what a call did to these arrays, _OTHER if another one like it may have to do more than to repeat it."""
    if len(runs) != 1:
        return _OTHER
    plan, operands = runs[0].plan, runs[0].operands
    make = tuple if type(result) is tuple else getattr(type(result), "_make", None)
    results = [result] if make is None else list(result)
    made = [array for array in results if array is not None]
    new = [array for array in made if array is not out]
    known = [*arrays, *new]
    place_of = {id(array): place for place, array in enumerate(known)}
    written = {operand for launch in plan.launches if launch.items for operand in written_by(launch)} & operands.keys()
    if (
        len(place_of) != len(known)
        or not all(type(array) is np.ndarray and array.flags.c_contiguous for array in new)
        or not all(operand.array is None or id(operand.array) in place_of for operand in operands.values())
        or {id(operands[name].array) for name in written} != {id(array) for array in made}
    ):
        return _OTHER
    places = tuple(None if operand.array is None else place_of[id(operand.array)] for operand in operands.values())
    return _Recording(
        plan,
        layouts_of(operands),
        places,
        tuple((array.shape, array.dtype.name) for array in new),
        tuple(None if array is None else place_of[id(array)] for array in results),
        make,
    )
