"""What a run would do: the plan with all that is said of it, looked up but not carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.plan.inventory import Inventory, make_needs
from orchestrator.plan.lanes import Length
from orchestrator.plan.make_plan import make_plan
from orchestrator.plan.plan import Plan, Unresolved
from orchestrator.quota.belief import Durations
from orchestrator.quota.door import DoorClosed
from orchestrator.run.look_up import together
from orchestrator.survey.cautions import Caution, make_cautions
from orchestrator.survey.forecast import Forecast, make_forecast
from orchestrator.survey.steps import Step, make_steps
from orchestrator.survey.survey import Survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A plan, its refreshes in order, what they will cost, and what should be known of them."""

    plan: Plan
    steps: tuple[Step, ...]
    forecast: Forecast
    cautions: tuple[Caution, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What look-ups found: inventories and calls by instance, and why an instance was given up before it told all."""

    inventories: Mapping[str, Inventory]
    calls: Mapping[str, int]
    silent: Mapping[str, str]


NOTHING_ASKED = Found(inventories={}, calls={}, silent={})


def needs_look_ups(selected: Sequence[Entry]) -> bool:
    """Whether anything must be asked before these entries can be planned."""
    entries = [e for e in selected if e.enabled]
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
        except DoorClosed as closed:
            silent[name] = survey.why(closed)
        calls[name] = reader.reads

    by_instance: dict[str, list[Entry]] = {}
    for entry in selected:
        if entry.enabled:
            by_instance.setdefault(entry.instance, []).append(entry)
    await together(*(ask(name, entries) for name, entries in by_instance.items()))
    return Found(inventories=inventories, calls=calls, silent=silent)


def make_preview(
    manifest: Manifest,
    selected: Sequence[Entry],
    found: Found,
    *,
    length: Length,
    history: Mapping[str, Mapping[str, Sequence[float]]],
    rng: Random,
) -> Preview:
    """What a run of these entries would do, by what was looked up and how long models took (`history`: seconds, oldest
    first, by instance and model id).
    """
    planned = [e for e in selected if not (e.enabled and e.instance in found.silent)]
    plan = make_plan(manifest, planned, found.inventories)
    unasked = tuple(
        Unresolved(entry=e, message=f"{e.instance} could not be asked: {found.silent[e.instance]}", hint="")
        for e in selected
        if e.enabled and e.instance in found.silent
    )
    plan = replace(plan, unresolved=tuple(sorted((*plan.unresolved, *unasked), key=lambda u: u.entry.index)))
    durations = {
        name: Durations(
            history.get(name), grain_s=min((e.poll.min_s for e in selected if e.instance == name), default=2.0)
        )
        for name in manifest.instances
    }
    steps = make_steps(plan, length=length, known_s=lambda name, model: durations[name].known_s(model))
    return Preview(
        plan=plan,
        steps=steps,
        forecast=make_forecast(steps, instances=manifest.instances, look_ups=found.calls, durations=durations, rng=rng),
        cautions=make_cautions(plan, steps, found.inventories),
    )
