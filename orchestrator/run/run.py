"""One run, from the selected entries to an outcome for each: opens the doors, looks up, plans, and lets the pool work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from orchestrator.clock import Clock
from orchestrator.errors import OmniRefreshError
from orchestrator.manifest.manifest import ApiKey, Entry, Instance, Manifest, RateLimit, Secret
from orchestrator.omni.client import OmniClient
from orchestrator.plan.inventory import Inventory
from orchestrator.plan.lanes import Length
from orchestrator.plan.make_plan import make_plan
from orchestrator.plan.plan import Plan
from orchestrator.quota.choice import Purpose
from orchestrator.quota.door import THROTTLED_FOR_S, Closing, Door, DoorClosed, Watcher
from orchestrator.quota.estimate import Estimate, estimate
from orchestrator.quota.habits import Durations
from orchestrator.quota.key import KeyQuota
from orchestrator.quota.window import Ledger
from orchestrator.quota.wire import Wire
from orchestrator.run.calls import Calls, InstanceWatcher
from orchestrator.run.failure import CLOSED_WORDS, make_failure
from orchestrator.run.look_up import LookUp
from orchestrator.run.outcome import Outcome, Status
from orchestrator.run.pool import Pool, PoolWatcher
from orchestrator.run.refresh import Recorder
from orchestrator.run.settings import Settings
from orchestrator.run.settle import redacted, skipped, unplanned, unresolved
from orchestrator.run.tally import Tally

_SUBMITS = frozenset({Purpose.SUBMIT, Purpose.LOOK_UP})


class RunWatcher(PoolWatcher, InstanceWatcher, Protocol):
    """Told of everything that happens in a run; for logs and progress."""

    def door_opened(self, instance: Instance, door: Door) -> None:
        """Calls to an instance go through this door."""

    def door_watcher(self, instance: Instance) -> Watcher:
        """Who is told of what happens at an instance's door."""

    def planned(self, plan: Plan) -> None:
        """Look-ups are done; this is what will be refreshed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run stands on, handed in from outside.

    `history` holds earlier durations by instance and model id (seconds, oldest first). `ledger` makes a key's log of
    calls. `open_client` makes the client of an instance. `length` counts the bytes of a call's request target. `redact` takes
    secrets out of a text.
    """

    clock: Clock
    rng: Random
    watcher: RunWatcher
    recorder: Recorder
    open_client: Callable[[Instance], OmniClient]
    ledger: Callable[[Instance, ApiKey], Ledger]
    length: Length
    redact: Callable[[str], str]
    history: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run ended with. `outcomes` hold every selected entry, in manifest order."""

    outcomes: tuple[Outcome, ...]
    plan: Plan
    tally: Tally
    refused_instances: tuple[str, ...]
    quota: Mapping[str, Mapping[str, object]]
    duration_s: float
    abort: OmniRefreshError | None = None


class Run:
    """One run over `selected` entries of a manifest. `stop` may be called at any time, from a signal's handler too."""

    def __init__(
        self, manifest: Manifest, selected: Sequence[Entry], settings: Settings, surroundings: Surroundings
    ) -> None:
        self._manifest = manifest
        self._selected = tuple(selected)
        self._settings = settings
        self._around = surroundings
        self._tally = Tally()
        self._calls: dict[str, Calls] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._pool: Pool | None = None
        self._ended: Closing | None = None
        self._stops = 0

    async def run(self) -> RunResult:
        """Everything, to the end. Raises `UsageError` where certificates or proxies cannot be used."""
        around, clock = self._around, self._around.clock
        began_at = clock.now()
        async with AsyncExitStack() as stack:
            wire = Wire(self._manifest.workers)
            for name in dict.fromkeys(e.instance for e in self._selected if e.enabled):
                instance = self._manifest.instances[name]
                client = await stack.enter_async_context(around.open_client(instance))
                self._calls[name] = self._open(instance, client, wire)
            stack.push_async_callback(self._end_background)
            if self._settings.deadline_s is not None:
                self._spawn(self._deadline(self._settings.deadline_s))
            plan, outcomes = await self._plan()
            around.watcher.planned(plan)
            pool = self._pool = Pool(
                plan,
                settings=self._settings,
                calls=self._calls,
                recorder=around.recorder,
                watcher=around.watcher,
                clock=clock,
                rng=around.rng,
                length=around.length,
                redact=around.redact,
                began_at=began_at,
            )
            if self._stops > 1:
                pool.cut()
            outcomes += await pool.run()
        index = {e.name: e.index for e in self._selected}
        return RunResult(
            outcomes=tuple(sorted(outcomes, key=lambda o: index[o.name])),
            plan=plan,
            tally=self._tally,
            refused_instances=tuple(
                name for name, calls in self._calls.items() if all(k.refused for k in calls.door.keys)
            ),
            quota={name: _learned(calls.door) for name, calls in self._calls.items() if _learned(calls.door)},
            duration_s=clock.now() - began_at,
            abort=pool.abort,
        )

    def time_left(self, rng: Random) -> Estimate | None:
        """How long the run still takes, as far as can be told now; None before there is a plan."""
        if self._pool is None:
            return None
        left = self._pool.lanes_left()
        doors = {name: self._calls[name].door for name in left}
        parts = [
            estimate(lanes, doors[name].budget(), doors[name].durations.crowd_habits(), rng)
            for name, lanes in left.items()
        ]
        if not parts:
            return Estimate(0.0, 0.0, 0.0)
        return Estimate(*(max(getattr(p, field) for p in parts) for field in ("low_s", "middle_s", "high_s")))

    def stop(self) -> None:
        """Submit nothing more; follow what is in flight for the grace, then settle. A second call settles at once."""
        self._stops += 1
        if self._stops == 1:
            self._end_submits(Closing.STOPPED)
            self._spawn(self._grace())
        elif self._pool is not None:
            self._pool.cut()

    def _end_submits(self, reason: Closing) -> None:
        self._ended = self._ended or reason
        if self._pool is not None:
            self._pool.end_submits(reason)
        else:
            for calls in self._calls.values():
                calls.door.close(reason, _SUBMITS)

    async def _grace(self) -> None:
        await asyncio.sleep(self._settings.grace_s)
        if self._pool is not None:
            self._pool.cut()

    async def _deadline(self, deadline_s: float) -> None:
        await asyncio.sleep(deadline_s)
        self._end_submits(Closing.DEADLINE)
        # those who waited for a turn are told first, so that they end as not started and not as cut
        await asyncio.sleep(0)
        if self._pool is not None:
            self._pool.cut()

    def _open(self, instance: Instance, client: OmniClient, wire: Wire) -> Calls:
        around = self._around
        grain_s = min(e.poll.min_s for e in self._selected if e.instance == instance.name and e.enabled)
        door = Door(
            keys=[
                self._key(instance, key, f"key {number} of {len(instance.keys)}")
                for number, key in enumerate(instance.keys, 1)
            ],
            wire=wire,
            durations=Durations(around.history.get(instance.name), grain_s=grain_s),
            watcher=around.watcher.door_watcher(instance),
            clock=around.clock.now,
            # with a deadline it is the deadline that ends a run which gets nothing but 429
            patience_s=THROTTLED_FOR_S if self._settings.deadline_s is None else float("inf"),
        )
        self._spawn(door.serve())
        around.watcher.door_opened(instance, door)
        return Calls(
            instance=instance.name,
            client=client,
            door=door,
            tally=self._tally,
            clock=around.clock,
            watcher=around.watcher,
            spawn=self._spawn,
        )

    def _key(self, instance: Instance, key: ApiKey, label: str) -> KeyQuota:
        limit: RateLimit = instance.rate_limit
        secret = key.secret if key.secret is not None else Secret("")
        ledger = self._around.ledger(instance, key)
        return KeyQuota(label=label, secret=secret, limit=limit, ledger=ledger, rng=self._around.rng)

    async def _plan(self) -> tuple[Plan, list[Outcome]]:
        """Look up what is left open and plan; with the outcomes of those that get no refresh."""
        inventories: dict[str, Inventory] = {}
        closed: dict[str, Closing] = {}

        async def look_up(name: str, calls: Calls) -> None:
            entries = [e for e in self._selected if e.instance == name and e.enabled]
            try:
                inventories[name] = await LookUp(calls, self._around.rng).inventory(entries)
            except DoorClosed as door:
                closed[name] = door.reason

        async with asyncio.TaskGroup() as group:
            for name, calls in self._calls.items():
                group.create_task(look_up(name, calls))
        open_entries = [e for e in self._selected if not (e.enabled and e.instance in closed)]
        plan = make_plan(self._manifest, open_entries, inventories)
        outcomes = [_unplanned(e, closed[e.instance]) for e in self._selected if e.enabled and e.instance in closed]
        outcomes += [skipped(s) for s in plan.skips]
        outcomes += [unresolved(u, plan.warnings.get(u.entry.index, ())) for u in plan.unresolved]
        outcomes = [redacted(o, self._around.redact) for o in outcomes]
        for outcome in outcomes:
            self._around.watcher.target_settled(outcome)
        return plan, outcomes

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _end_background(self) -> None:
        tasks = tuple(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _unplanned(entry: Entry, reason: Closing) -> Outcome:
    kind, message = CLOSED_WORDS[reason]
    status = {Closing.DOWN: Status.ERROR, Closing.THROTTLED: Status.THROTTLED}.get(reason, Status.NOT_STARTED)
    return unplanned(entry, make_failure(kind, message), status)


def _learned(door: Door) -> dict[str, object]:
    lower = [k for k in door.keys if k.learned.is_lower]
    if not lower:
        return {}
    return {
        "told": lower[0].learned.told,
        "learned": min(k.learned.limit for k in lower),
        "burst": min(k.learned.burst for k in lower),
        "per_s": lower[0].per_s,
        "holds": sum(k.holds for k in door.keys),
        "hint": "the server gives less than rate_limit says: lower it, or give the run a key that nothing else uses",
    }
