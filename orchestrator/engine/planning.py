"""From the selected entries to a plan: looks up what is left open, and after a change asks which schemas models read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from orchestrator.engine.calls import Calls
from orchestrator.engine.look_up import LookUp
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.omni.errors import CallError
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.impact import concern, must_ask
from orchestrator.planning.inventory import Inventory
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.plan import RefreshPlan, Target
from orchestrator.planning.restrict_plan import narrow, set_apart
from orchestrator.quota.rate_limiter import LimiterClosed


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and the entries whose instance gave no turn any more before it was made."""

    plan: RefreshPlan
    closed: tuple[tuple[Entry, LimiterClosed], ...] = ()


async def plan_entries(
    manifest: Manifest,
    entries: Sequence[Entry],
    calls: Mapping[str, Calls],
    rng: Random,
    touched: FollowedChange | None,
) -> Planned:
    """The plan for `entries`; `calls` are those of each instance that any of them needs. With `touched` only for what the change
    concerns, and no wider than that.
    """
    apart = () if touched is None else set_apart(entries, touched)
    skipped = {one.entry.index for one in apart}
    entries = [entry for entry in entries if entry.index not in skipped]
    inventories: dict[str, Inventory] = {}
    closed: dict[str, LimiterClosed] = {}

    async def look_up(name: str) -> None:
        try:
            mine = [e for e in entries if e.instance == name and e.enabled]
            inventories[name] = await LookUp(calls[name], rng).inventory(mine)
        except LimiterClosed as door:
            closed[name] = door

    async with asyncio.TaskGroup() as group:
        for name in calls:
            group.create_task(look_up(name))
    unplanned = tuple((e, closed[e.instance]) for e in entries if e.enabled and e.instance in closed)
    plan = make_plan(manifest, [e for e in entries if not (e.enabled and e.instance in closed)], inventories)
    if touched is None:
        return Planned(plan=plan, closed=unplanned)
    schemas = await ask_schemas(plan, touched, {name: LookUp(calls[name], rng) for name in calls})
    targets = [target.entry for lane in plan.lanes for target in lane.targets]
    plan = narrow(plan, (*apart, *concern(targets, touched, schemas=schemas)), touched)
    return Planned(plan=plan, closed=unplanned)


async def ask_schemas(
    plan: RefreshPlan, touched: FollowedChange, readers: Mapping[str, LookUp]
) -> dict[int, tuple[str, ...] | None]:
    """The schemas of those targets that read all of their connection, by their entries' index: one call for each model and branch.
    None where the instance does not say.
    """
    asking: dict[tuple[str, str, str | None], list[Target]] = {}
    for lane in plan.lanes:
        for target in lane.targets:
            if must_ask(target.entry, touched):
                asking.setdefault((target.entry.instance, target.model_id, target.branch_id), []).append(target)
    found: dict[int, tuple[str, ...] | None] = {}

    async def ask(instance: str, model: str, branch: str | None, targets: Sequence[Target]) -> None:
        schemas: tuple[str, ...] | None = None
        # whoever cannot be asked counts as touched
        with suppress(CallError, LimiterClosed):
            schemas = await readers[instance].schemas(model, branch)
        found.update((target.entry.index, schemas) for target in targets)

    async with asyncio.TaskGroup() as group:
        for (instance, model, branch), targets in asking.items():
            group.create_task(ask(instance, model, branch, targets))
    return found
