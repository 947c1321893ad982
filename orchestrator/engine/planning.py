"""Plans the selected entries: looks up what they leave out, and after a change reads which schemas the models have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from orchestrator.engine.calls import Calls
from orchestrator.engine.look_up import LookUp
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.omni.errors import CallError
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.impact import find_impacts, find_unaffected, must_ask, restrict_plan
from orchestrator.planning.inventory import Inventory
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.plan import RefreshPlan, Target
from orchestrator.quota.rate_limiter import LimiterClosed


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and the entries whose instance closed before it was made."""

    plan: RefreshPlan
    closed: tuple[tuple[Entry, LimiterClosed], ...] = ()


async def plan_entries(
    manifest: Manifest,
    entries: Sequence[Entry],
    calls: Mapping[str, Calls],
    rng: Random,
    *,
    change: FollowedChange | None,
    picks: Callable[[Entry, Entry], bool],
) -> Planned:
    """Return the plan for `entries`; `calls` are those of their instances. With `change` only for what it affects.

    `picks` is that of `make_plan`.
    """
    apart = () if change is None else find_unaffected(entries, change)
    skipped = {one.entry.index for one in apart}
    entries = [entry for entry in entries if entry.index not in skipped]
    inventories: dict[str, Inventory] = {}
    closed: dict[str, LimiterClosed] = {}

    async def look_up(name: str) -> None:
        try:
            mine = [e for e in entries if e.instance == name and e.enabled]
            inventories[name] = await LookUp(calls[name], rng).inventory(mine)
        except LimiterClosed as error:
            closed[name] = error

    async with asyncio.TaskGroup() as group:
        for name in calls:
            group.create_task(look_up(name))
    unplanned = tuple((e, closed[e.instance]) for e in entries if e.enabled and e.instance in closed)
    open_entries = [e for e in entries if not (e.enabled and e.instance in closed)]
    plan = make_plan(manifest, open_entries, inventories, picks=picks)
    if change is None:
        return Planned(plan=plan, closed=unplanned)
    schemas = await read_schemas(plan, change, {name: LookUp(calls[name], rng) for name in calls})
    targets = [target.entry for lane in plan.lanes for target in lane.targets]
    plan = restrict_plan(plan, (*apart, *find_impacts(targets, change, schemas=schemas)), change)
    return Planned(plan=plan, closed=unplanned)


async def read_schemas(
    plan: RefreshPlan, change: FollowedChange, readers: Mapping[str, LookUp]
) -> dict[int, tuple[str, ...] | None]:
    """Return the schemas of targets that read their whole connection, by an entry's index: one call per model and branch.

    None if they could not be read.
    """
    reading: dict[tuple[str, str, str | None], list[Target]] = {}
    for lane in plan.lanes:
        for target in lane.targets:
            if must_ask(target.entry, change):
                reading.setdefault((target.entry.instance, target.model_id, target.branch_id), []).append(target)
    found: dict[int, tuple[str, ...] | None] = {}

    async def read(instance: str, model: str, branch: str | None, targets: Sequence[Target]) -> None:
        schemas: tuple[str, ...] | None = None
        # a model whose schemas are unknown counts as affected
        with suppress(CallError, LimiterClosed):
            schemas = await readers[instance].schemas(model, branch)
        found.update((target.entry.index, schemas) for target in targets)

    async with asyncio.TaskGroup() as group:
        for (instance, model, branch), targets in reading.items():
            group.create_task(read(instance, model, branch, targets))
    return found
