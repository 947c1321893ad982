"""Restricts a plan to what a change affects. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from orchestrator.changes.change_set import Change, NotUnderstood
from orchestrator.manifest.manifest import Entry
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.impact import Impact, find_impacts, must_ask, source_of
from orchestrator.planning.plan import Lane, RefreshPlan, Skip, Target

_SHOWN = 3


def find_unaffected(entries: Iterable[Entry], followed: FollowedChange) -> tuple[Impact, ...]:
    """Return the entries that the change cannot affect. They need no look-up, so no call is spent on them."""
    return tuple(
        c for c in find_impacts((e for e in entries if not must_ask(e, followed)), followed, schemas={}) if c.is_skipped
    )


def restrict_plan(plan: RefreshPlan, impacts: Sequence[Impact], followed: FollowedChange) -> RefreshPlan:
    """Return the plan with each target refreshed as its impact says.

    Targets without an impact stay as they are. Skipped ones become skips, also if they were never planned.
    """
    by_index = {c.entry.index: c for c in impacts}
    warnings = dict(plan.warnings)
    lanes: list[Lane] = []
    for lane in plan.lanes:
        targets = []
        for target in lane.targets:
            one = by_index.get(target.entry.index)
            if one is None:
                targets.append(target)
            elif not one.is_skipped:
                targets.append(replace(target, entry=one.entry))
                warnings[one.entry.index] = (*warnings.get(one.entry.index, ()), *one.warnings)
        if targets:
            lanes.append(replace(lane, targets=tuple(targets)))
    skips = [*plan.skips, *(Skip(entry=c.entry, reason=c.why) for c in impacts if c.is_skipped)]
    restricted = replace(
        plan,
        lanes=tuple(lanes),
        skips=tuple(sorted(skips, key=lambda s: s.entry.index)),
        warnings=warnings,
        impacts=tuple(sorted(impacts, key=lambda c: c.entry.index)),
    )
    return replace(restricted, remarks=_remarks(restricted, followed))


def _remarks(plan: RefreshPlan, followed: FollowedChange) -> tuple[str, ...]:
    """Return remarks on the change as a whole: what was not understood, not refreshed, or is on several connections."""
    changes = followed.changes
    said = [
        f"{source_of(n)} was not understood ({n.reason or 'a form that is not known'}), so it counts as touching everything: {n.text}"
        for n in changes.not_understood[:_SHOWN]
    ]
    if len(changes.not_understood) > _SHOWN:
        said.append(f"{len(changes.not_understood) - _SHOWN} more statements were not understood")
    if changes.not_refreshed:
        nodes = ", ".join(n.node for n in changes.not_refreshed[:_SHOWN])
        more = len(changes.not_refreshed) - _SHOWN
        said.append(f"dbt did not build {nodes}{f' and {more} more' if more > 0 else ''}: not refreshed for them")
    said += changes.warnings
    said += _on_several_connections(plan, followed)
    return tuple(said)


def _on_several_connections(plan: RefreshPlan, followed: FollowedChange) -> list[str]:
    """Return a warning if changes affect models on several connections, though they were made in one warehouse at most."""
    targets = {t.entry.index: t for lane in plan.lanes for t in lane.targets if t.connection is not None}
    touching: dict[int, tuple[Sequence[Change], list[Target]]] = {}
    for one in plan.impacts:
        if one.entry.index in targets and not one.is_skipped:
            # entries with the same changes share one tuple: thousands of changes are examined once
            touching.setdefault(id(one.changes), (one.changes, []))[1].append(targets[one.entry.index])
    places: dict[Change | NotUnderstood, dict[tuple[str, str], Target]] = {}
    for changes, concerned in touching.values():
        mine: dict[tuple[str, str], Target] = {}
        for target in concerned:
            mine.setdefault((target.entry.instance, str(target.connection)), target)
        items: list[Change | NotUnderstood] = [*followed.changes.not_understood, *changes]
        for item in items:
            places.setdefault(item, {}).update({**mine, **places.get(item, {})})
    wide = {change: found for change, found in places.items() if len(found) > 1}
    if not wide:
        return []
    connections = {key: target for found in wide.values() for key, target in found.items()}
    labels = [target.entry.connection for target in connections.values() if target.entry.connection is not None]
    first, more = next(iter(wide)), len(wide) - 1
    what = f"{first.name} ({source_of(first)})" if isinstance(first, Change) else source_of(first)
    if more:
        what += f" and {more} more changes fit" if more > 1 else " and another change fit"
    else:
        what += " fits"
    names = [str(t.entry.connection or t.connection) for t in connections.values()]
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    how = (
        f"--select connection:{labels[0]} narrows it to one"
        if labels
        else "give the models a `connection:` in the manifest, and --select connection:NAME narrows it to one"
    )
    return [f"{what} models on {len(names)} connections ({shown}): {how}"]
