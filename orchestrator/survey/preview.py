"""What a run would do: its plan, its cost and its warnings, with look-ups but without refreshes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.engine.look_up import together
from orchestrator.engine.planning import read_schemas
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.impact import find_impacts, find_unaffected, must_ask, restrict_plan
from orchestrator.planning.inventory import Inventory, make_needs
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.plan import RefreshPlan, Unresolved
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.rate_limiter import LimiterClosed
from orchestrator.survey.forecast import Forecast, Step, make_forecast, make_steps
from orchestrator.survey.plan_warnings import PlanWarning, make_plan_warnings
from orchestrator.survey.survey import Survey
from orchestrator.survey.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A plan, its refreshes in order, their cost, and warnings.

    `followed` is the change that the plan follows, if any. `usage` is what uses the things that the change takes away, if
    that was read.
    """

    plan: RefreshPlan
    steps: tuple[Step, ...]
    forecast: Forecast
    warnings: tuple[PlanWarning, ...]
    followed: FollowedChange | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUpResult:
    """What look-ups found: inventories and calls by instance. `silent` says why an instance could not be read.

    `schemas` are those that models read, by their entries' index; None if the instance did not say.
    """

    inventories: Mapping[str, Inventory]
    calls: Mapping[str, int]
    silent: Mapping[str, str]
    schemas: Mapping[int, tuple[str, ...] | None] = field(default_factory=dict)


NOTHING_LOOKED_UP = LookUpResult(inventories={}, calls={}, silent={})


def needs_look_ups(selected: Sequence[Entry], followed: FollowedChange | None = None) -> bool:
    """Return whether these entries need look-ups before they can be planned."""
    entries = [e for e in _may_be_affected(selected, followed) if e.enabled]
    if followed is not None and any(must_ask(e, followed) for e in entries):
        return True
    return any(make_needs(e for e in entries if e.instance == name).count for name in {e.instance for e in entries})


async def look_up(survey: Survey, selected: Sequence[Entry], *, everything: bool = False) -> LookUpResult:
    """Make the look-ups of a run of these entries, for all instances at once. `everything` looks up each model and branch."""
    inventories: dict[str, Inventory] = {}
    calls: dict[str, int] = {}
    silent: dict[str, str] = {}

    async def ask(name: str, entries: Sequence[Entry]) -> None:
        if not make_needs(entries, everything=everything).count:
            return
        reader = await survey.look_up(name)
        try:
            inventories[name] = await reader.inventory(entries, everything=everything)
        except LimiterClosed as closed:
            silent[name] = survey.why(closed)
        calls[name] = reader.reads

    by_instance: dict[str, list[Entry]] = {}
    for entry in selected:
        if entry.enabled:
            by_instance.setdefault(entry.instance, []).append(entry)
    await together(*(ask(name, entries) for name, entries in by_instance.items()))
    return LookUpResult(inventories=inventories, calls=calls, silent=silent)


async def look_up_affected(
    survey: Survey,
    manifest: Manifest,
    selected: Sequence[Entry],
    followed: FollowedChange,
    picks: Callable[[Entry, Entry], bool],
) -> LookUpResult:
    """Make the look-ups of a run that follows a change: entries that it may affect, and the schemas that they read."""
    entries = _may_be_affected(selected, followed)
    found = await look_up(survey, entries)
    asked = [e for e in entries if e.instance not in found.silent]
    plan = make_plan(manifest, asked, found.inventories, picks=picks)
    asking = {t.entry.instance for lane in plan.lanes for t in lane.targets if must_ask(t.entry, followed)}
    readers = {name: await survey.look_up(name) for name in sorted(asking)}
    schemas = await read_schemas(plan, followed, readers)
    calls = {
        name: found.calls.get(name, 0) + (readers[name].reads if name in readers else 0)
        for name in {*found.calls, *readers}
    }
    return replace(found, schemas=schemas, calls=calls)


def _may_be_affected(selected: Sequence[Entry], followed: FollowedChange | None) -> Sequence[Entry]:
    """Return the entries that the change may affect, as far as that is known without look-ups."""
    if followed is None:
        return selected
    apart = {one.entry.index for one in find_unaffected(selected, followed)}
    return [e for e in selected if e.index not in apart]


def make_preview(
    manifest: Manifest,
    selected: Sequence[Entry],
    found: LookUpResult,
    *,
    followed: FollowedChange | None = None,
    picks: Callable[[Entry, Entry], bool],
    history: Mapping[str, Mapping[str, Sequence[float]]],
) -> Preview:
    """Return what a run of these entries would do. `picks` is that of `make_plan`.

    `history` holds earlier durations in seconds, oldest first, by instance and model id.
    """
    entries = _may_be_affected(selected, followed)
    planned = [e for e in entries if not (e.enabled and e.instance in found.silent)]
    plan = make_plan(manifest, planned, found.inventories, picks=picks)
    if followed is not None:
        targets = [target.entry for lane in plan.lanes for target in lane.targets]
        impacts = (*find_unaffected(selected, followed), *find_impacts(targets, followed, schemas=found.schemas))
        plan = restrict_plan(plan, impacts, followed)
    unasked = tuple(
        Unresolved(entry=e, message=f"{e.instance} could not be read: {found.silent[e.instance]}", hint="")
        for e in entries
        if e.enabled and e.instance in found.silent
    )
    plan = replace(plan, unresolved=tuple(sorted((*plan.unresolved, *unasked), key=lambda u: u.entry.index)))
    durations = {name: DurationModel(history.get(name)) for name in manifest.instances}
    steps = make_steps(plan, known_s=lambda name, model: durations[name].known_s(model))
    return Preview(
        plan=plan,
        steps=steps,
        forecast=make_forecast(steps, instances=manifest.instances, look_ups=found.calls, durations=durations),
        warnings=make_plan_warnings(plan, steps, found.inventories),
        followed=followed,
    )
