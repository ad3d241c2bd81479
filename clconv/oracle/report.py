"""What a check found, as objects, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Deviation", "Finding", "Outcome", "Report"]


@dataclass(frozen=True)
class Finding:
    """One fault, with the smallest case that shows it.

    Attributes
    ----------
    mode : "exact", "edges", "refusals", "hostile", "bound" or "identities"
    name : of the examination within the mode
    message : what is wrong, in a sentence
    cause : the likely cause; empty if the pattern is not known
    call : the call, in short
    snippet : a program that shows the fault without hypothesis
    result, index, got, expected, error, bound : the most wrong element, where there is one
    """

    mode: str
    name: str
    message: str
    cause: str = ""
    call: str = ""
    snippet: str = ""
    result: str = ""
    index: tuple[int, ...] | None = None
    got: float | None = None
    expected: float | None = None
    error: float | None = None
    bound: float | None = None

    def __str__(self) -> str:
        lines = [f"{self.mode}: {self.name}", f"  {self.message}"]
        if self.call:
            lines.append(f"  call   {self.call}")
        if self.cause:
            lines.append(f"  cause  {self.cause}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Deviation:
    """A difference that is not held against the implementation, because systems disagree, or standards allow it."""

    name: str
    message: str
    call: str = ""
    snippet: str = ""


@dataclass(frozen=True)
class Outcome:
    """What one examination did: cases that ran, the worst error in units of its bound, faults."""

    mode: str
    name: str
    cases: int = 0
    worst_ratio: float | None = None
    findings: tuple[Finding, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    out_of_time: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes
    ----------
    operation : the operation that was checked
    claims : what the implementation says of itself: dtype, accumulate, semantics, algorithm, features
    outcomes : one for each examination, in the order in which they ran
    not_tested : what of the operation was left out, and why
    seed : with which the same check draws the same cases
    versions : of what was at work
    """

    operation: str
    claims: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]
    not_tested: tuple[str, ...] = ()
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All faults."""
        return tuple(finding for outcome in self.outcomes for finding in outcome.findings)

    @property
    def deviations(self) -> tuple[Deviation, ...]:
        """All differences that are not held against the implementation."""
        return tuple(deviation for outcome in self.outcomes for deviation in outcome.deviations)

    @property
    def cases(self) -> int:
        """Number of cases that ran."""
        return sum(outcome.cases for outcome in self.outcomes)

    @property
    def worst_ratio(self) -> float | None:
        """Largest error of an element in units of its bound, None if none was measured; above 1 proves a fault."""
        return max((o.worst_ratio for o in self.outcomes if o.worst_ratio is not None), default=None)

    @property
    def passed(self) -> bool:
        """Whether cases of every mode ran that was asked for, and none showed a fault."""
        return self.cases > 0 and not self.findings and not self.unreached

    @property
    def unreached(self) -> tuple[str, ...]:
        """Modes of which no case ran before the time was up."""
        ran = {outcome.mode for outcome in self.outcomes if outcome.cases}
        late = [outcome.mode for outcome in self.outcomes if outcome.out_of_time]
        return tuple(dict.fromkeys(mode for mode in late if mode not in ran))

    def distinct(self) -> list[tuple[Finding, list[str]]]:
        """Return one finding of each kind, and where else the same came out.

        Of one kind are findings with one cause, or without any, with one message.
        """
        kinds: dict[str, tuple[Finding, list[str]]] = {}
        for finding in self.findings:
            kind = finding.cause or finding.message
            if kind in kinds:
                kinds[kind][1].append(f"{finding.mode}: {finding.name}")
            else:
                kinds[kind] = finding, []
        return list(kinds.values())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as what JSON can hold, NaN and infinities as strings."""
        return {
            "operation": self.operation,
            "passed": self.passed,
            "cases": self.cases,
            "worst_ratio": _plain(self.worst_ratio),
            "claims": _plain(dict(self.claims)),
            "seed": self.seed,
            "not_tested": list(self.not_tested),
            "versions": dict(self.versions),
            "outcomes": [_plain(asdict(outcome)) for outcome in self.outcomes],
        }

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the lines of the table: mode, cases, worst ratio, verdict."""
        rows = []
        for mode in dict.fromkeys(outcome.mode for outcome in self.outcomes):
            outcomes = [outcome for outcome in self.outcomes if outcome.mode == mode]
            ratios = [o.worst_ratio for o in outcomes if o.worst_ratio is not None]
            faults = sum(len(o.findings) for o in outcomes)
            cases = sum(o.cases for o in outcomes)
            verdict = f"{faults} fault{'s' * (faults != 1)}" if faults else "right" if cases else "nothing ran"
            if any(o.out_of_time for o in outcomes):
                verdict += ", out of time"
            rows.append((mode, str(cases), f"{max(ratios):.3g}" if ratios else "", verdict))
        return rows

    def __str__(self) -> str:
        lines = [f"{self.operation}: {'passed' if self.passed else 'FAILED'}, {self.cases} cases, seed {self.seed}"]
        lines.append(f"{'mode':<12}{'cases':>7}{'worst':>8}  verdict")
        lines += [f"{mode:<12}{cases:>7}{ratio:>8}  {verdict}" for mode, cases, ratio, verdict in self.rows()]
        return "\n".join([*lines, self.remarks()])

    def remarks(self) -> str:
        """Return in words what was not tested, what deviates, and each kind of fault with its program."""
        lines = [f"not tested: {text}" for text in self.not_tested]
        lines += [f"not reached before the time was up, so this is no pass: {mode}" for mode in self.unreached]
        late = [f"{o.mode}: {o.name}" for o in self.outcomes if o.out_of_time and not o.cases]
        if late:
            lines.append(f"not reached before the time was up: {len(late)} of {len(self.outcomes)}, {', '.join(late)}")
        for deviation in self.deviations:
            lines.append(f"deviation, not counted: {deviation.name}: {deviation.message}")
        for finding, also in self.distinct():
            lines += ["", str(finding), *([f"  also   {', '.join(also)}"] if also else [])]
            lines += ["", *("    " + line for line in finding.snippet.splitlines())]
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Return a value that strict JSON can hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset)):
        return [_plain(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value
