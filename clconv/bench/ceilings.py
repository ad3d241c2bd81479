"""What a device can do at most, measured on the spot: multiply-adds in registers, and copies of memory.

Both run kernels of ``ceiling.cl`` as convolutions run theirs: through the device's executor, on as many threads. The
rate of a copy depends on where its arrays lie, so it is taken for arrays of several sizes, from the caches to memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from clconv.devices import executor_for
from clconv.executor import Executor, Operand
from clconv.plan import Launch, Plan
from clconv.problem.shapes import ITEMSIZE, element_defines, real_bytes

__all__ = ["Ceilings", "copy_plan", "measured_ceilings", "multiply_adds_plan"]

#: Vectors that a work-item of the kernel computes side by side: see kernels/ceiling.cl.
CHAINS = 12
#: Work-items, for any number of threads, and multiply-adds of each of their chains: about a millisecond. Devices that
#: are no processors have thousands of lanes, and copy the result besides.
_ITEMS, _ROUNDS = 256, 5_000
_ITEMS_OF_MANY, _ROUNDS_OF_MANY = 65_536, 50_000
#: Bytes read and written by the copies that are timed.
_COPIES = tuple(2**power for power in (18, 20, 22, 24, 26, 28))
#: Bytes that a work-item copies.
_RUN_BYTES = 2**14
#: Seconds for which each is tried again, to find moments in which nothing else runs.
_TRIED = 0.5
#: Copies between two looks at the clock move at least so many bytes, so that calling them takes no part in it.
_MOVED = 2**24


class Ceilings(NamedTuple):
    """The most that a device has been seen to do.

    Attributes
    ----------
    multiply_adds : float
        Floating-point operations a second, two for each multiply-add.
    copies : tuple of (bytes, rate)
        Bytes read and written by a copy, and how many of them a second; from small copies to large ones.

    Examples
    --------
    >>> ceilings = Ceilings(500e9, ((2**20, 100e9), (2**26, 80e9)))
    >>> ceilings.copy_rate(2**22), ceilings.copy_rate(2**30)
    (100000000000.0, 80000000000.0)
    >>> ceilings.least_seconds(operations=10**9, moved=10**6)
    0.002
    """

    multiply_adds: float
    copies: tuple[tuple[int, float], ...]

    def copy_rate(self, moved: int) -> float:
        """Return the bytes a second at which so many can be read and written: the best rate of copies of no less.

        Sizes between two that were measured get the better rate of both: a ceiling must not be too low.
        """
        sizes = [size for size, _ in self.copies if size <= moved]
        least = max(sizes, default=0)
        return max((rate for size, rate in self.copies if size >= least), default=self.copies[-1][1])

    def least_seconds(self, operations: int, moved: int) -> float:
        """Return the time that a problem takes at least: its operations, or its bytes, at the device's best rate."""
        return max(operations / self.multiply_adds, moved / self.copy_rate(moved))


def measured_ceilings(device: str, dtype: str) -> Ceilings:
    """Measure a device.

    Parameters
    ----------
    device : str
        As :func:`clconv.use` takes it.
    dtype : {"float16", "float32", "float64"}
        Type of the arrays; arithmetic on float16 is float32's.

    Examples
    --------
    >>> measured_ceilings("native", "float32").multiply_adds > 1e9
    True
    """
    executor = executor_for(device, np.empty(0, dtype), dtype)
    return Ceilings(_multiply_adds(executor, dtype), tuple((size, _copy_rate(executor, size)) for size in _COPIES))


def multiply_adds_plan(executor: Executor, dtype: str, items: int, rounds: int) -> tuple[Plan, int]:
    """Return a plan over operands x, w, b and y, and how many elements y has: those of x once for each work-item.

    Every element of y is what ``rounds`` multiply-adds ``s * w + b`` make of its element of x.
    """
    width = _vector_bytes(executor)
    lanes = width // real_bytes(dtype)
    launch = Launch(
        "ceiling.cl",
        "multiply_adds",
        (*element_defines(dtype), ("VECTOR_BYTES", width)),
        items,
        {name: name for name in "xwby"},
        {"ITEMS": items, "ROUNDS": rounds},
        2 * items * rounds * CHAINS * lanes,
        local_size=1 if executor.traits.vector_bytes else 64,
    )
    return Plan((launch,)), items * CHAINS * lanes


def copy_plan(executor: Executor, dtype: str, count: int) -> Plan:
    """Return a plan that copies so many elements of operand x to operand y."""
    width = _vector_bytes(executor)
    run = _RUN_BYTES // ITEMSIZE[dtype] if executor.traits.vector_bytes else width // real_bytes(dtype)
    launch = Launch(
        "ceiling.cl",
        "copy_runs",
        (*element_defines(dtype), ("VECTOR_BYTES", width)),
        -(-count // run),
        {"x": "x", "y": "y"},
        {"COUNT": count, "RUN": run},
        count,
        local_size=1 if executor.traits.vector_bytes else 64,
    )
    return Plan((launch,))


def _multiply_adds(executor: Executor, dtype: str) -> float:
    """Return operations a second. The sums stay at 2, so that no number is exceptionally slow."""
    items, rounds = (_ITEMS, _ROUNDS) if executor.traits.vector_bytes else (_ITEMS_OF_MANY, _ROUNDS_OF_MANY)
    plan, elements = multiply_adds_plan(executor, dtype, items, rounds)
    lanes = elements // items
    arrays = {"x": np.full(lanes, 2, dtype), "w": np.full(lanes, 0.5, dtype), "b": np.ones(lanes, dtype)}
    run = _runner(executor, plan, {**arrays, "y": np.empty(elements, dtype)})
    return plan.launches[0].operations / _least_seconds(run)


def _copy_rate(executor: Executor, size: int) -> float:
    """Return the bytes a second that copies move between two arrays of half of ``size`` bytes."""
    count = size // (2 * ITEMSIZE["float32"])
    run = _runner(
        executor,
        copy_plan(executor, "float32", count),
        {"x": np.ones(count, "float32"), "y": np.zeros(count, "float32")},
    )
    calls = max(1, _MOVED // size)

    def copies() -> None:
        for _ in range(calls):
            run()

    return calls * size / _least_seconds(copies)


def _runner(executor: Executor, plan: Plan, arrays: dict[str, Any]) -> Callable[[], None]:
    operands = {name: Operand(array, 0, ()) for name, array in arrays.items()}
    return lambda: executor.run(plan, operands)


def _least_seconds(call: Callable[[], object]) -> float:
    """Return the least time of a call among those that begin in the time there is, after one to warm up."""
    call()
    least = float("inf")
    end = time.perf_counter() + _TRIED
    while (begin := time.perf_counter()) < end:
        call()
        least = min(least, time.perf_counter() - begin)
    return least


def _vector_bytes(executor: Executor) -> int:
    """Return the width of a device's vectors; work-items that share registers have the narrowest that there are."""
    return executor.traits.vector_bytes or 16
