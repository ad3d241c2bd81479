"""Runs plans on the host's processor through the compiled kernels."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clconv import kernel_source
from clconv.arguments import LARGEST, integer
from clconv.errors import Unsupported
from clconv.executor import Layouts, Operand, layouts_of, ordered_arguments
from clconv.host_memory import aligned, empty
from clconv.native.table import LEVELS, VECTOR_BYTES, defines_text
from clconv.plan import Launch, Plan, Traits

try:
    from clconv.native import _native
except ImportError as error:
    _native = None  # type: ignore[assignment]
    _import_error = str(error)

__all__ = ["NativeExecutor", "get_num_threads", "level", "native", "set_num_threads", "why_unusable"]

#: Waking the pool takes longer than a core needs for this many operations.
_OPERATIONS_WORTH_THREADS = 1_000_000

_CACHE_LINE = 64

#: Bytes of workspace that a thread keeps between calls, at most.
_MOST_KEPT = 2**26


class _Thread(threading.local):
    """What each thread keeps from call to call."""

    def __init__(self) -> None:
        self.workspace = np.empty(0, "uint8")


_thread = _Thread()
_threads: int | None = None


def set_num_threads(count: int) -> None:
    """Set how many threads the native device uses, the caller's included. Results do not depend on it.

    Parameters
    ----------
    count : int
        At least 1. The default is CLCONV_NUM_THREADS, or the number of processors that this process may use.

    Examples
    --------
    >>> import clconv
    >>> clconv.set_num_threads(2)
    >>> clconv.get_num_threads()
    2
    """
    global _threads
    _threads = integer(count, "count", least=1)


def get_num_threads() -> int:
    """Return how many threads the native device uses, the caller's included."""
    if _threads is None:
        set_num_threads(_default_threads())
    assert _threads is not None
    return _threads


def _default_threads() -> int:
    text = os.environ.get("CLCONV_NUM_THREADS")
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST:
        raise ValueError(f"CLCONV_NUM_THREADS must be an integer of at least 1: CLCONV_NUM_THREADS={text!r}")
    return int(text)


@functools.cache
def why_unusable() -> str | None:
    """Return why there is no native device, or None if there is one."""
    if _native is None:
        note = Path(__file__).parent / "not_built.txt"
        reason = note.read_text(encoding="utf-8").strip() if note.is_file() else _import_error
        return f"the native extension was not built ({reason})"
    if _native.sources_hash() != kernel_source.sources_hash():
        return "the native extension was compiled from other kernel files: run `pip install -e .` again"
    if not _levels_that_run():
        return f"this processor runs none of the levels {', '.join(LEVELS)}"
    wanted = os.environ.get("CLCONV_NATIVE_LEVEL")
    if wanted and wanted not in _levels_that_run():
        levels = ", ".join(_levels_that_run())
        return f"CLCONV_NATIVE_LEVEL={wanted!r} is none of the levels that this processor runs: {levels}"
    return None


@functools.cache
def level() -> str:
    """Return the level that kernels run at: the highest one, or the one that CLCONV_NATIVE_LEVEL names."""
    return os.environ.get("CLCONV_NATIVE_LEVEL") or _levels_that_run()[-1]


def _levels_that_run() -> list[str]:
    compiled = {name for _, name in _native.kernels()}
    return [name for name in LEVELS if name in compiled and _native.level_runs(name)]


def native() -> NativeExecutor:
    """Return the native device.

    Raises
    ------
    Unsupported
        If there is none; the message says why.
    """
    reason = why_unusable()
    if reason is not None:
        raise Unsupported(f"the native device is not usable: {reason}")
    return _executor()


@functools.cache
def _executor() -> NativeExecutor:
    get_num_threads()  # a wrong CLCONV_NUM_THREADS shows now, not at the first problem that is large enough for threads
    return NativeExecutor()


class NativeExecutor:
    """Runs plans on the host, on NumPy arrays in place."""

    name = "native"

    def __init__(self) -> None:
        chosen = level()
        self.traits = Traits(VECTOR_BYTES[chosen], vector_loops=True)
        self._kernels = {key: index for (key, name), index in _native.kernels().items() if name == chosen}
        self._bound = functools.lru_cache(maxsize=4096)(self._bind)

    def check_dtype(self, dtype: str) -> None:
        """Accept every type."""

    def usable(self, array: Any) -> Any:
        """Return the array, or a copy if its elements are not aligned."""
        return aligned(array)

    def writes_in_place(self, out: Any) -> bool:
        """Return whether the elements are aligned."""
        return aligned(out) is out

    def empty(self, shape: tuple[int, ...], dtype: str, like: Any) -> Any:
        """Return a new NumPy array."""
        return empty(shape, dtype)

    def run(self, plan: Plan, operands: Mapping[str, Operand]) -> None:
        """Run all launches, on more than one thread where there is enough to do."""
        arrays: dict[str, Any] = {name: operand.array for name, operand in operands.items()}
        if plan.workspace:
            arrays |= _places({name: size for name, size in plan.workspace.items() if name not in operands})
        arrays |= plan.constants
        for launch in plan.launches:
            if launch.items == 0:
                continue
            index, arguments, places, names = self._bound(launch, layouts_of(launch, operands))
            threads = get_num_threads() if launch.operations > _OPERATIONS_WORTH_THREADS else 1
            _native.run(index, arguments, places, [arrays[name] for name in names], launch.items, threads)
        if _thread.workspace.size > _MOST_KEPT:
            _thread.workspace = np.empty(0, "uint8")

    def _bind(self, launch: Launch, layouts: Layouts) -> tuple[int, bytes, tuple[int, ...], tuple[str, ...]]:
        """Return a kernel's number, its arguments in memory, and which arrays' addresses are to be put where."""
        index = self._kernels[f"{launch.file} {launch.kernel} {defines_text(launch.defines)}"]
        arguments = ordered_arguments(launch, layouts)
        arrays = [(place, name) for place, name in enumerate(arguments) if isinstance(name, str)]
        numbers = [0 if value is None or isinstance(value, str) else value for value in arguments]
        return index, _native.packed(numbers), tuple(place for place, _ in arrays), tuple(name for _, name in arrays)


def _places(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return addresses for pieces of these sizes, each at the start of a cache line, in this thread's workspace.

    A thread keeps that memory for its next call: new memory is slow, because the system clears it.
    """
    total = sum(size + _CACHE_LINE for size in sizes.values()) + _CACHE_LINE
    if _thread.workspace.size < total:
        _thread.workspace = empty((total,), "uint8")
    places: dict[str, int] = {}
    place = _thread.workspace.__array_interface__["data"][0]
    for name, size in sizes.items():
        place = -(-place // _CACHE_LINE) * _CACHE_LINE
        places[name] = place
        place += size
    return places
