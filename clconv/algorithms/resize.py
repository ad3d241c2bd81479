"""Resizing, forward and backward.

On processors by rows (kernels/resize_by_two.cl, kernels/resize_lanes.cl), else portably (kernels/resize.cl).
All apply tables of weights that follow from the problem; the gradient has the transposed tables.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.algorithms.algorithm import Algorithm, no_vectors, portable
from clconv.errors import DeviceMemoryError
from clconv.plan import Launch, Plan, Traits
from clconv.problem import ResizeProblem
from clconv.problem.resize_axis import Axis, Table
from clconv.problem.shapes import real_bytes

__all__ = ["ALGORITHMS", "MOST"]

#: Pixels that a run may read: MOST of the kernels.
MOST = 1024

#: Pixels that the run of a kernel should read to stay in the nearest cache, and positions that it may write.
_RUN = {"resize_by_two": MOST, "resize_lanes": 256}

#: Repetitions of a row's pattern that pay for a kernel of its own.
_WORTH_REPEATING = 8

#: Numbers of taps that kernels/resize_by_two.cl has code for, upwards and downwards: where it is the fastest.
_TAPS = {(2, 1): (1, 2, 4), (1, 2): (1, 2, 4, 8)}

#: Elements that a work-item makes, about.
_ELEMENTS = 4096

Tables = tuple[Table, Table, Table]


class Regular(NamedTuple):
    """Positions of an axis that read what the one ``phases`` before reads, ``advance`` pixels further on.

    ``taps`` is how many pixels each of them reads, or 0 if they differ.
    """

    phases: int
    advance: int
    taps: int
    begin: int
    end: int


def plan_portable(problem: ResizeProblem, backward: bool) -> Plan:
    """Plan one work-item for each element: operands x, y, in the gradient the output's and the input's."""
    tables = _tables(problem.axes, backward)
    items = problem.N * problem.C * math.prod(_extents(tables))
    return _plan("resize", problem, tables, items, {}, ())


def lanes_refusal(problem: ResizeProblem, traits: Traits, backward: bool) -> str | None:
    """Return why not: no position may read more than a work-item can keep."""
    if not traits.vector_bytes:
        return no_vectors(traits)
    most = int(_tables(problem.axes, backward)[-1].taps.max())
    return f"a position reads {most} pixels, more than {MOST}" if most > MOST else None


def by_two_refusal(problem: ResizeProblem, traits: Traits, backward: bool) -> str | None:
    """Return why not: positions must repeat, two for one pixel or one for two pixels."""
    reason = lanes_refusal(problem, traits, backward)
    if reason:
        return reason
    phases, advance, taps, *_ = _regular(problem.axes[-1], _tables(problem.axes, backward)[-1], backward)
    if taps in _TAPS.get((phases, advance), ()):
        return None
    if (phases, advance) not in _TAPS:
        return f"{phases} positions for {advance} pixels are not 2 for 1 or 1 for 2"
    return f"positions that repeat read {taps} pixels, not {_TAPS[phases, advance]}"


def plan_by_two(problem: ResizeProblem, traits: Traits, backward: bool) -> Plan:
    """Plan one work-item for each run of some rows."""
    tables = _tables(problem.axes, backward)
    regular = _regular(problem.axes[-1], tables[-1], backward)
    run, spans = _runs("resize_by_two", tables[-1])
    D, H, W = _extents(tables)
    rows = min(max(_ELEMENTS // min(W, run), 1), H)
    numbers = {
        "ROWS": rows,
        "RUN": run,
        "PHASES": regular.phases,
        "TAPS": regular.taps,
        "REGULAR": regular.begin,
        "REGULAR_END": regular.end,
    }
    items = problem.N * problem.C * D * -(-H // rows) * len(spans[0])
    return _plan("resize_by_two", problem, tables, items, numbers, spans, traits.vector_bytes)


def plan_lanes(problem: ResizeProblem, traits: Traits, backward: bool) -> Plan:
    """Plan one work-item for each run of as many rows as a vector has lanes."""
    tables = _tables(problem.axes, backward)
    run, spans = _runs("resize_lanes", tables[-1])
    D, H, _ = _extents(tables)
    lanes = traits.lanes(real_bytes(problem.dtype))
    items = -(-problem.N * problem.C * D * H // lanes) * len(spans[0])
    return _plan("resize_lanes", problem, tables, items, {"RUN": run}, spans, traits.vector_bytes)


def _plan(
    kernel: str,
    problem: ResizeProblem,
    tables: Tables,
    items: int,
    numbers: dict[str, int],
    spans: tuple[NDArray[Any], ...],
    vector_bytes: int = 0,
) -> Plan:
    pixels = [array for table in tables for array in (table.first, table.taps)]
    real = np.float64 if problem.dtype == "float64" else np.float32
    constants = {
        "pixels": np.concatenate([*pixels, *spans]).astype(np.int32).tobytes(),
        "weights": np.concatenate([table.weights.T.ravel() for table in tables]).astype(real).tobytes(),
    }
    sizes = {"N": problem.N, "C": problem.C, **numbers}
    sizes |= {f"O{axis}": extent for axis, extent in zip("DHW", _extents(tables), strict=True)}
    sizes |= {f"T{axis}": table.weights.shape[1] for axis, table in zip("DH", tables[:2], strict=True)}
    elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
    arrays = {name: name for name in ("x", "y", *constants)}
    defines = (*problem.defines, ("VECTOR_BYTES", vector_bytes)) if vector_bytes else problem.defines
    local_size = 1 if vector_bytes else 64
    launch = Launch(f"{kernel}.cl", kernel, defines, items, arrays, sizes, 4 * elements, local_size)
    return Plan((launch,), constants=constants)


@functools.lru_cache(maxsize=16)
def _tables(axes: tuple[Axis, Axis, Axis], backward: bool) -> Tables:
    try:
        d, h, w = (axis.table().transposed(axis.extent) if backward else axis.table() for axis in axes)
    except MemoryError as error:
        raise DeviceMemoryError(f"the host has no memory for the weights of {axes}") from error
    return d, h, w


def _extents(tables: Tables) -> tuple[int, int, int]:
    d, h, w = (len(table.first) for table in tables)
    return d, h, w


def _regular(axis: Axis, table: Table, backward: bool) -> Regular:
    """Return the longest part of an axis that repeats."""
    phases, advance = max(axis.step.denominator, 1), max(axis.step.numerator, 1)
    if backward:
        phases, advance = advance, phases
    repeats = (
        ((table.first[phases:] == table.first[:-phases] + advance) | (table.taps[phases:] == 0))
        & (table.taps[phases:] == table.taps[:-phases])
        & (table.weights[phases:] == table.weights[:-phases]).all(axis=1)
    )
    edges = np.flatnonzero(np.diff(repeats, prepend=False, append=False))
    begin, end = max(zip(edges[::2], edges[1::2], strict=True), key=lambda part: part[1] - part[0], default=(0, 0))
    if end - begin < _WORTH_REPEATING * phases:
        return Regular(phases, advance, 0, 0, 0)
    begin, end = int(begin), int(end) + phases
    taps = set(table.taps[begin : begin + phases].tolist())
    return Regular(phases, advance, taps.pop() if len(taps) == 1 else 0, begin, end)


def _runs(kernel: str, table: Table) -> tuple[int, tuple[NDArray[Any], NDArray[Any]]]:
    """Return the length of the runs that a row is cut into, and what they read."""
    run = _RUN[kernel]
    while run > 1 and _spans(table, run)[1].max() > _RUN[kernel]:
        run //= 2
    return run, _spans(table, run)


def _spans(table: Table, run: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the first pixel and the number of pixels that each run of a row reads."""
    begins = np.arange(0, len(table.first), run)
    reads = table.taps > 0
    low = np.minimum.reduceat(np.where(reads, table.first, np.iinfo(np.int32).max), begins)
    high = np.maximum.reduceat(np.where(reads, table.first + table.taps, 0), begins)
    low = np.minimum(low, high)
    return low, high - low


def _algorithms(backward: bool) -> tuple[Algorithm, ...]:
    return (
        Algorithm(
            "by two",
            lambda problem, traits: by_two_refusal(problem, traits, backward),
            lambda problem, traits: plan_by_two(problem, traits, backward),
        ),
        Algorithm(
            "lanes",
            lambda problem, traits: lanes_refusal(problem, traits, backward),
            lambda problem, traits: plan_lanes(problem, traits, backward),
        ),
        portable(lambda problem: plan_portable(problem, backward)),
    )


ALGORITHMS = {"resize": _algorithms(backward=False), "resize_bwd": _algorithms(backward=True)}
