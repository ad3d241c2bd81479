"""Splitting a plan into what some operands alone decide, which can be done once, and the rest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from clconv.executor import written_by
from clconv.plan import Launch, Plan

__all__ = ["split"]


def split(plan: Plan, known: Collection[str]) -> tuple[Plan, Plan]:
    """Return the launches that read nothing but known operands, or what such launches made of them, and the others.

    What the first plan makes and the second reads is in the workspace of the first only.

    Parameters
    ----------
    plan : Plan
    known : collection of str
        Names of the operands that stay as they are.
    """
    launches = [launch for launch in plan.launches if launch.items]
    made = set(plan.workspace)
    while True:
        known_now = {*known, *plan.constants, *made}
        first = [launch for launch in launches if written_by(launch) <= made and _read_by(launch) <= known_now]
        kept = {name for name in made if _is_made_first(name, launches, first)}
        if kept == made:
            break
        made = kept
    others = [launch for launch in launches if launch not in first]
    return _part(plan, first, made), _part(plan, others, plan.workspace.keys() - made)


def _read_by(launch: Launch) -> set[str]:
    """Return the names of what a launch reads and does not write."""
    return set(launch.arrays.values()) - written_by(launch)


def _is_made_first(name: str, launches: list[Launch], first: list[Launch]) -> bool:
    """Return whether some write a piece of workspace, all of them first, and no other one reads it before."""
    writers = [place for place, launch in enumerate(launches) if name in written_by(launch)]
    others = [place for place, launch in enumerate(launches) if launch not in first and name in launch.arrays.values()]
    if not writers or not all(launches[place] in first for place in writers):
        return False
    return all(place > max(writers) for place in others)


def _part(plan: Plan, launches: list[Launch], workspace: Collection[str]) -> Plan:
    used = {name for launch in launches for name in launch.arrays.values()}
    return replace(
        plan,
        launches=tuple(launches),
        workspace={name: size for name, size in plan.workspace.items() if name in workspace and name in used},
        constants={name: content for name, content in plan.constants.items() if name in used},
    )
