"""What a run would do: the plan with all that is said of it, looked up but not carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.engine.look_up import together
from orchestrator.engine.planning import read_schemas
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.impact import concern, must_ask
from orchestrator.planning.inventory import Inventory, make_needs
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.plan import RefreshPlan, Unresolved
from orchestrator.planning.restrict_plan import narrow, set_apart
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.rate_limiter import LimiterClosed
from orchestrator.survey.forecast import Forecast, Step, make_forecast, make_steps
from orchestrator.survey.plan_warnings import PlanWarning, make_plan_warnings
from orchestrator.survey.survey import Survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A plan, its refreshes in order, what they will cost, and what should be known of them; `touched` is the change that it follows,
    if any.
    """

    plan: RefreshPlan
    steps: tuple[Step, ...]
    forecast: Forecast
    cautions: tuple[PlanWarning, ...]
    touched: FollowedChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What look-ups found: inventories and calls by instance, and why an instance was given up before it told all. `schemas` are those
    that models read, by their entries' index; None: the instance did not say.
    """

    inventories: Mapping[str, Inventory]
    calls: Mapping[str, int]
    silent: Mapping[str, str]
    schemas: Mapping[int, tuple[str, ...] | None] = field(default_factory=dict)


NOTHING_ASKED = Found(inventories={}, calls={}, silent={})


def needs_look_ups(selected: Sequence[Entry], touched: FollowedChange | None = None) -> bool:
    """Whether anything must be asked before these entries can be planned."""
    entries = [e for e in _not_apart(selected, touched) if e.enabled]
    if touched is not None and any(must_ask(e, touched) for e in entries):
        return True
    return any(make_needs(e for e in entries if e.instance == name).count for name in {e.instance for e in entries})


async def look_up(survey: Survey, selected: Sequence[Entry], *, everything: bool = False) -> Found:
    """The look-ups that a run of these entries makes, its instances side by side; `everything` asks after each model
    and branch.
    """
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
    return Found(inventories=inventories, calls=calls, silent=silent)


async def look_up_touched(
    survey: Survey, manifest: Manifest, selected: Sequence[Entry], touched: FollowedChange
) -> Found:
    """The look-ups that a run makes which follows a change: those of entries that it may concern, and the schemas that they read."""
    entries = _not_apart(selected, touched)
    found = await look_up(survey, entries)
    plan = make_plan(manifest, [e for e in entries if e.instance not in found.silent], found.inventories)
    asking = {t.entry.instance for lane in plan.lanes for t in lane.targets if must_ask(t.entry, touched)}
    readers = {name: await survey.look_up(name) for name in sorted(asking)}
    schemas = await read_schemas(plan, touched, readers)
    calls = {
        name: found.calls.get(name, 0) + (readers[name].reads if name in readers else 0)
        for name in {*found.calls, *readers}
    }
    return replace(found, schemas=schemas, calls=calls)


def _not_apart(selected: Sequence[Entry], touched: FollowedChange | None) -> Sequence[Entry]:
    """Without those entries of which it is known before anything is asked that the change does not concern them."""
    if touched is None:
        return selected
    apart = {one.entry.index for one in set_apart(selected, touched)}
    return [e for e in selected if e.index not in apart]


def make_preview(
    manifest: Manifest,
    selected: Sequence[Entry],
    found: Found,
    *,
    touched: FollowedChange | None = None,
    history: Mapping[str, Mapping[str, Sequence[float]]],
) -> Preview:
    """What a run of these entries would do, by what was looked up and how long models took (`history`: seconds, oldest
    first, by instance and model id).
    """
    entries = _not_apart(selected, touched)
    planned = [e for e in entries if not (e.enabled and e.instance in found.silent)]
    plan = make_plan(manifest, planned, found.inventories)
    if touched is not None:
        targets = [target.entry for lane in plan.lanes for target in lane.targets]
        concerns = (*set_apart(selected, touched), *concern(targets, touched, schemas=found.schemas))
        plan = narrow(plan, concerns, touched)
    unasked = tuple(
        Unresolved(entry=e, message=f"{e.instance} could not be asked: {found.silent[e.instance]}", hint="")
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
        cautions=make_plan_warnings(plan, steps, found.inventories),
        touched=touched,
    )
