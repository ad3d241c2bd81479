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
from clconv.executor import Executor, Layouts, ordered_arguments
from clconv.host_memory import aligned, converted, empty
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
        self.place = 0


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


class NativeExecutor(Executor):
    """Runs plans on the host, on NumPy arrays in place."""

    name = place = "native"

    def __init__(self) -> None:
        chosen = level()
        self.traits = Traits(VECTOR_BYTES[chosen], vector_loops=True)
        self._kernels = {key: index for (key, name), index in _native.kernels().items() if name == chosen}
        self._bound = functools.lru_cache(maxsize=1024)(self._bind)

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

    def memory(self, size: int) -> Any:
        """Return bytes that begin at the start of a cache line."""
        bytes_ = empty((size + _CACHE_LINE,), "uint8")
        start = -_native.address(bytes_) % _CACHE_LINE
        return bytes_[start : start + size]

    def snapshot(self, array: Any) -> Any:
        """Return a contiguous copy, repeating axes aside."""
        return converted(array, lambda part: np.array(part, order="C"))

    def finish(self) -> None:
        """Return: every run is over when it returns."""

    def launch(self, plan: Plan, layouts: Layouts, arrays: tuple[Any, ...]) -> None:
        """Run all launches, on more than one thread where there is enough to do."""
        bound, workspace = self._bound(plan, layouts)
        bound.run(arrays, _workspace(workspace) if workspace else None, get_num_threads())
        if workspace > _MOST_KEPT:
            _thread.workspace = np.empty(0, "uint8")

    def _bind(self, plan: Plan, layouts: Layouts) -> tuple[Any, int]:
        """Return the launches with all arguments but the places of arrays, and how many bytes of workspace they use."""
        places = {name: (number, 0) for number, (name, _, _) in enumerate(layouts)}
        end = 0
        for name, size in plan.workspace.items():
            if name not in places:
                places[name] = (len(layouts), end)
                end += -(-size // _CACHE_LINE) * _CACHE_LINE
        launches = [self._bound_launch(launch, layouts, places, plan) for launch in plan.launches if launch.items]
        return _native.Bound(launches, len(layouts), plan.constants), end

    def _bound_launch(
        self, launch: Launch, layouts: Layouts, places: Mapping[str, tuple[int, int]], plan: Plan
    ) -> tuple[int, bytes, list[tuple[int, int, int]], int, bool]:
        numbers: list[int | float] = []
        arrays = []
        for argument, value in enumerate(ordered_arguments(launch, layouts)):
            if isinstance(value, str) and value not in plan.constants:
                arrays.append((argument, *places[value]))
            if isinstance(value, str):
                value = _native.address(plan.constants[value]) if value in plan.constants else 0
            numbers.append(value or 0)
        index = self._kernels[f"{launch.file} {launch.kernel} {defines_text(launch.defines)}"]
        is_large = launch.operations > _OPERATIONS_WORTH_THREADS
        return index, _native.packed(numbers), arrays, launch.items, is_large


def _workspace(size: int) -> int:
    """Return the address of this many bytes, at the start of a cache line, in this thread's workspace.

    A thread keeps that memory for its next call: new memory is slow, because the system clears it.
    """
    if _thread.workspace.size < size + _CACHE_LINE:
        _thread.workspace = empty((size + _CACHE_LINE,), "uint8")
        _thread.place = -(-_native.address(_thread.workspace) // _CACHE_LINE) * _CACHE_LINE
    return _thread.place
