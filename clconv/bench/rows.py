"""A case measured: everybody's results checked, then timed in turns."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from clconv.bench.calls import Array, Arrays, Call, Choice, arrays_of, choice_of, clconv_call, portable_result
from clconv.bench.ceilings import Ceilings
from clconv.bench.layers import Case
from clconv.bench.measure import Spread, take_turns
from clconv.bench.peers import Peer, Torch

__all__ = ["LARGEST_ERROR", "Beside", "Row", "measured"]

#: The largest error of a result that is timed at all, in units of the largest output: 512 roundings of float32 and
#: float64, which is 3e-5 in float32, and two of float16, to which results in float32 are rounded.
LARGEST_ERROR = {"float16": 2.0**-10, "float32": 2.0**-15, "float64": 2.0**-44}
#: What algorithms of this class promise on float32.
_OF_DEFAULT_CLASS = 3e-6

#: Of what was not timed.
_NEVER = Spread(0, 0, 0)


@dataclass(frozen=True)
class Beside:
    """A peer's part in a row.

    Attributes
    ----------
    seconds : Spread
        Of its own calls.
    ratio : Spread
        Of its time to clconv's: above 1 where clconv is faster.
    error : float
        Its largest error in units of the largest output.
    """

    seconds: Spread
    ratio: Spread
    error: float


@dataclass(frozen=True)
class Row:
    """One case on one device.

    Attributes
    ----------
    case : Case
    device : str
    seconds : Spread
        Of clconv's calls.
    gflops, gbs : float
        Operations, and bytes of the three arrays, in 1e9 a second.
    ceiling : float
        The least seconds that the device's ceilings allow, over the median: 1 is what plain sums can reach. Algorithms
        that need fewer operations can exceed it.
    by_bandwidth : bool
        Whether it is the copy rate that sets the ceiling.
    algorithm : str
        Which of clconv's algorithms ran.
    refusals : dict of str to str
        Why those before it did not.
    error : float
        The largest error in units of the largest output.
    beside : dict of str to Beside
        The peers.
    absent : dict of str to str
        Why a peer that should compute this could not, or did so wrongly.
    problem : str
        Why it was not timed: empty, or a wrong result, or an error of the device; all numbers are then 0.
    """

    case: Case
    device: str
    seconds: Spread = _NEVER
    gflops: float = 0
    gbs: float = 0
    ceiling: float = 0
    by_bandwidth: bool = False
    algorithm: str = ""
    refusals: dict[str, str] = field(default_factory=dict)
    error: float = 0
    beside: dict[str, Beside] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def measured(
    case: Case,
    devices: Mapping[str, Ceilings],
    peers: Sequence[Peer],
    turns: int,
    seed: int = 0,
    planned: bool = False,
) -> list[Row]:
    """Return a row for each device.

    Parameters
    ----------
    case : Case
    devices : mapping of str to Ceilings
        Devices by their names, with what each can do at most.
    peers : sequence of Peer
        Those that cannot compute the case are left out.
    turns : int
        How often everybody has a turn.
    seed : int
        Of the numbers in the arrays.
    planned : bool
        Whether the weight is given to :func:`clconv.plan` beforehand; forward passes only.
    """
    arrays = arrays_of(case, seed)
    makers: dict[str, Callable[[], Call | None]] = {
        **{device: functools.partial(clconv_call, case, arrays, device, planned) for device in devices},
        **{peer.name: functools.partial(peer.call, case, arrays) for peer in peers},
    }
    choices = {device: choice_of(case, device, planned) for device in devices}
    limits = {name: _largest_error(case.dtype, choices[name].error if name in choices else None) for name in makers}
    trials = _trials(makers, _expected(case, arrays, peers), limits)
    times = take_turns({name: trial.run for name, trial in trials.items() if not trial.problem}, turns)
    absent = {peer.name: trials[peer.name].problem for peer in peers if peer.name in trials and peer.name not in times}
    rows = []
    for device, ceilings in devices.items():
        trial = trials[device]
        if trial.problem:
            rows.append(Row(case, device, error=trial.error, absent=absent, problem=trial.problem))
            continue
        ours = times[device]
        beside = {
            peer.name: Beside(times[peer.name].seconds, ours.ratio_to(times[peer.name]), trials[peer.name].error)
            for peer in peers
            if peer.name in times
        }
        rows.append(_row(case, device, ceilings, choices[device], ours.seconds, trial.error, beside, absent))
    return rows


class _Trial(NamedTuple):
    """A call that has been tried once: its largest error, and why it is not worth timing, if it is not."""

    run: Callable[[], Any]
    error: float
    problem: str


def _largest_error(dtype: str, error_class: str | None) -> float:
    """Return the largest error that an algorithm of a class may make, or a peer, which is of none."""
    limit = LARGEST_ERROR[dtype]
    return min(limit, _OF_DEFAULT_CLASS) if (dtype, error_class) == ("float32", "default") else limit


def _trials(
    makers: Mapping[str, Callable[[], Call | None]], expected: Array, limits: Mapping[str, float]
) -> dict[str, _Trial]:
    """Return everybody's call that there is, tried."""
    trials = {}
    for name, make in makers.items():
        try:
            call = make()
            if call is None:
                continue
            error = _error(call.result(call.run()), expected)
            problem = (
                "" if error <= limits[name] else f"wrong by {error:.1e} of the largest output: > {limits[name]:.1e}"
            )
            trials[name] = _Trial(call.run, error, problem)
        except Exception as reason:  # drivers fail in many ways, and the others are still of interest
            text = str(reason).strip().partition("\n")[0]
            trials[name] = _Trial(lambda: None, 0, f"{type(reason).__name__}: {text}")
    return trials


def _row(
    case: Case,
    device: str,
    ceilings: Ceilings,
    choice: Choice,
    seconds: Spread,
    error: float,
    beside: dict[str, Beside],
    absent: dict[str, str],
) -> Row:
    return Row(
        case,
        device,
        seconds,
        case.operations / seconds.median / 1e9,
        case.moved / seconds.median / 1e9,
        ceilings.least_seconds(case.operations, case.moved) / seconds.median,
        ceilings.least_seconds(0, case.moved) >= ceilings.least_seconds(case.operations, 0),
        choice.algorithm,
        choice.refusals,
        error,
        beside,
        absent,
    )


def _expected(case: Case, arrays: Arrays, peers: Sequence[Peer]) -> Array:
    """Return the result in float64: torch's if it is there, else clconv's own by the portable algorithm."""
    torch = next((peer for peer in peers if isinstance(peer, Torch)), None)
    return torch.exact(case, arrays) if torch else portable_result(case, arrays)


def _error(result: Array, expected: Array) -> float:
    """Return the largest error in units of the largest output; infinite if there is a NaN or another shape."""
    if result.shape != expected.shape:
        return float("inf")
    error = float(np.abs(result - expected).max(initial=0) / (np.abs(expected).max(initial=0) or 1))
    return error if np.isfinite(error) else float("inf")
