"""Opens an instance: its keys behind a door, and the calls that go through it. A run does so, and whoever only reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any

from orchestrator.clock import Clock
from orchestrator.engine.calls import Calls
from orchestrator.engine.events import Observer
from orchestrator.engine.run_stats import RunStats
from orchestrator.manifest.api_keys import name_of
from orchestrator.manifest.manifest import ApiKey, Instance, Secret
from orchestrator.omni.client import OmniClient
from orchestrator.quota.concurrency import ConcurrencyLimit
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.key import KeyQuota
from orchestrator.quota.rate_limiter import RateLimiter
from orchestrator.quota.window import CallWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What reaching instances stands on, handed in from outside. `open_client` makes the client of an instance, `ledger` a
    key's log of calls.
    """

    clock: Clock
    rng: Random
    observer: Observer
    open_client: Callable[[Instance], OmniClient]
    ledger: Callable[[Instance, ApiKey], CallWindow]


class Background:
    """Tasks that last as long as somebody's work and end with it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancel what is left, and wait for it."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def open_calls(
    instance: Instance,
    client: OmniClient,
    access: Access,
    *,
    concurrency_limit: ConcurrencyLimit,
    durations: DurationModel,
    patience_s: float,
    stats: RunStats,
    background: Background,
) -> Calls:
    """An instance's calls, with a door that gives turns from now on. `patience_s` is how long its keys may get nothing but
    429 before the door closes.
    """
    keys = [
        KeyQuota(
            label=name_of(key.source) or f"key {number} of {len(instance.keys)}",
            secret=key.secret if key.secret is not None else Secret(""),
            limit=instance.rate_limit,
            ledger=access.ledger(instance, key),
            rng=access.rng,
            request_timeout_s=instance.request_timeout_s,
        )
        for number, key in enumerate(instance.keys, 1)
    ]
    door = RateLimiter(
        keys=keys,
        concurrency_limit=concurrency_limit,
        durations=durations,
        observer=access.observer,
        instance=instance.name,
        clock=access.clock.now,
        patience_s=patience_s,
    )
    background.spawn(door.serve())
    return Calls(
        instance=instance.name,
        client=client,
        door=door,
        stats=stats,
        clock=access.clock,
        observer=access.observer,
        spawn=background.spawn,
    )


def refused_instances(calls: dict[str, Calls]) -> tuple[str, ...]:
    """The instances that accepted none of their keys."""
    return tuple(name for name, one in calls.items() if all(key.refused for key in one.door.keys))
