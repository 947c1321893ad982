"""Targets that an earlier run has resolved, put into their lanes beside those that were resolved now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.planning.plan import Lane, RefreshPlan, Target


def with_known(plan: RefreshPlan, known: Sequence[Target], warnings: Mapping[int, tuple[str, ...]]) -> RefreshPlan:
    """The plan with `known` targets, and their warnings by an entry's index, added to it; lanes keep manifest order."""
    if not known:
        return plan
    lanes: dict[tuple[str, str], list[Target]] = {}
    for target in sorted((*(t for lane in plan.lanes for t in lane.targets), *known), key=lambda t: t.entry.index):
        lanes.setdefault((target.entry.instance, target.lane), []).append(target)
    return replace(
        plan,
        lanes=tuple(Lane(instance=i, key=key, targets=tuple(targets)) for (i, key), targets in lanes.items()),
        warnings={**{t.entry.index: warnings.get(t.entry.index, ()) for t in known}, **plan.warnings},
    )
