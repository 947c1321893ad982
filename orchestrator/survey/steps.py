"""A plan's refreshes in the order in which they are sent, as far as that can be known before. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.planning.lanes import Length, refreshes
from orchestrator.planning.plan import Lane, Refresh, RefreshPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One refresh: its place in the plan and in its lane, both counted from 1. The first of a lane goes as soon as the
    budget allows; each other one when the one before it has ended.
    """

    number: int
    turn: int
    lane: Lane
    refresh: Refresh


def make_steps(plan: RefreshPlan, *, length: Length, known_s: Callable[[str, str], float | None]) -> tuple[Step, ...]:
    """All refreshes of a plan. Those that may go at once stand first: the longest first, where `known_s` (instance,
    model id) knows earlier durations, else in the manifest's order; then the second ones of the lanes, and so on.
    """
    found = [
        (turn, -(known_s(lane.instance, refresh.sender.model_id) or 0.0), refresh.sender.entry.index, lane, refresh)
        for lane in plan.lanes
        for turn, refresh in enumerate(refreshes(lane.targets, collapse=plan.manifest.collapse, length=length), 1)
    ]
    found.sort(key=lambda one: one[:3])
    return tuple(
        Step(number=number, turn=turn, lane=lane, refresh=refresh)
        for number, (turn, _, _, lane, refresh) in enumerate(found, 1)
    )
