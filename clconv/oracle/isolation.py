"""An implementation in a process of its own: that it crashes, hangs or eats memory is then an observation."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .observe import Observation, Raised, observe, observe_threads
from .operations._base import Case
from .target import Facts, resolved

__all__ = ["IsolatedRunner"]

LOADING = 300.0  # seconds for importing the implementation and what it needs
PATIENCE = 20.0  # seconds for one call
MEMORY = 4 << 30  # bytes that a call may take beyond what the process had when it was ready
INTERVAL = 0.02  # seconds between two looks at the process's memory


class IsolatedRunner:
    """Calls an implementation in a spawned process, and starts another one when that dies.

    Parameters
    ----------
    impl : callable or str
        As in `check`; a callable must be importable, since the process gets its name.
    op : str, optional
        As in `check`.
    patience : float
        Seconds after which a call counts as hanging.

    Raises
    ------
    TypeError
        If `impl` cannot be found by its name in another process.
    RuntimeError
        If the process does not come up.
    """

    def __init__(self, impl: Callable[..., Any] | str, op: str | None, patience: float = PATIENCE) -> None:
        try:
            pickle.dumps(impl)
        except Exception as error:
            raise TypeError(
                f"isolate=True takes a function of a module, or a name, which another process can import: {error}"
            ) from None
        self._target = impl, op
        self._patience = patience
        self._process: Any = None
        self._connection: Connection | None = None
        self.facts = self._start()

    def observe(self, case: Case, *, repeat: bool = False) -> Observation:
        """Call it once, or twice to compare."""
        return self._ask(("observe", case, repeat))

    def observe_threads(self, cases: Sequence[Case], threads: int) -> Observation:
        """Call it from several threads at once."""
        # Every thread makes many calls, and waits for the others.
        return self._ask(("threads", tuple(cases), threads), self._patience * threads)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _start(self) -> Facts:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, *self._target), daemon=True)
        self._process.start()
        other.close()
        answer: Any = None
        if self._connection.poll(LOADING):
            with contextlib.suppress(EOFError, OSError):
                answer = self._connection.recv()
        if isinstance(answer, Facts):
            self._memory = _resident(self._process.pid)
            return answer
        self.close()
        if isinstance(answer, BaseException):
            raise answer
        raise RuntimeError(f"the process that should run {self._target[0]!r} did not start")

    def _ask(self, question: Any, patience: float = 0.0) -> Observation:
        if self._process is None:
            self._start()
        assert self._connection is not None
        try:
            self._connection.send(question)
            problem = self._wait(patience or self._patience)
            if problem is None:
                answer: Observation = self._connection.recv()
                return answer
        except (EOFError, OSError):
            self._process.join()
            problem = Raised("crashed", _ending(self._process.exitcode))
        self.close()
        return Observation(error=problem, died=True)

    def _wait(self, patience: float) -> Raised | None:
        """Wait for the answer; return what is wrong if it does not come."""
        assert self._connection is not None
        end = time.monotonic() + patience
        while not self._connection.poll(INTERVAL):
            taken = _resident(self._process.pid) - self._memory
            if taken > MEMORY:
                return Raised("eats memory", f"more than {taken / 2**30:.1f} GiB for one call")
            if time.monotonic() > end:
                return Raised("hangs", f"no answer within {patience:.3g} s")
        return None


def _serve(connection: Connection, impl: Any, op: str | None) -> None:
    """Answer calls until the connection is closed."""
    try:
        implementation, facts = resolved(impl, op)
    except Exception as error:
        connection.send(error if isinstance(error, (ImportError, TypeError, ValueError)) else RuntimeError(str(error)))
        return
    connection.send(facts)
    while True:
        try:
            kind, cases, number = connection.recv()
        except EOFError:
            return
        if kind == "observe":
            connection.send(observe(implementation, facts.operation, cases, repeat=number))
        else:
            connection.send(observe_threads(implementation, facts.operation, cases, number))


def _ending(code: int) -> str:
    if code >= 0:
        return f"the process ended with code {code}"
    return f"the process died of {signal.Signals(-code).name}"


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process holds, where the system tells; else 0."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
