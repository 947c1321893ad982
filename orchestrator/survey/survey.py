"""Instances opened for reading: each with its door, so that reads are paid from the same budget as a run's calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Protocol, Self

from orchestrator.clock import Clock
from orchestrator.manifest.manifest import ApiKey, Instance, Secret
from orchestrator.omni.client import OmniClient
from orchestrator.quota.belief import Durations
from orchestrator.quota.door import Closing, Door, DoorClosed, Watcher
from orchestrator.quota.key import KeyQuota
from orchestrator.quota.window import Ledger
from orchestrator.quota.wire import Wire
from orchestrator.run.calls import Calls, InstanceWatcher
from orchestrator.run.look_up import LookUp
from orchestrator.run.tally import Tally

PATIENCE_S = 300.0
"""A person waits for the answer: keys that get nothing but 429 for so long are given up."""

_AT_ONCE = 16

_CLOSED_WORDS = {
    Closing.KEYS_REFUSED: "it refused every key",
    Closing.THROTTLED: f"every key got nothing but 429 for {PATIENCE_S / 60:.0f} minutes",
    Closing.DOWN: "it did not answer",
}


class SurveyWatcher(InstanceWatcher, Protocol):
    """Told of what happens at the doors; for the log."""

    def door_watcher(self, instance: Instance) -> Watcher:
        """Who is told of what happens at an instance's door."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What reading stands on, handed in from outside; the same as a run's."""

    clock: Clock
    rng: Random
    watcher: SurveyWatcher
    open_client: Callable[[Instance], OmniClient]
    ledger: Callable[[Instance, ApiKey], Ledger]


class Survey:
    """Opens instances when they are first asked for; an async context manager. `tally` counts every call."""

    def __init__(self, instances: Mapping[str, Instance], access: Access) -> None:
        self._instances = instances
        self._access = access
        self._stack = AsyncExitStack()
        self._wire = Wire(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: dict[str, Calls] = {}
        self.tally = Tally()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        self._stack.push_async_callback(self._end_tasks)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    async def look_up(self, name: str) -> LookUp:
        """Who reads on an instance. Raises `UsageError` where certificates or proxies cannot be used."""
        return LookUp(await self.calls(name), self._access.rng)

    async def calls(self, name: str) -> Calls:
        """An instance's calls."""
        if name not in self._calls:
            instance, access = self._instances[name], self._access
            client = await self._stack.enter_async_context(access.open_client(instance))
            door = Door(
                keys=[
                    self._key(instance, key, f"key {n} of {len(instance.keys)}")
                    for n, key in enumerate(instance.keys, 1)
                ],
                wire=self._wire,
                durations=Durations(),
                watcher=access.watcher.door_watcher(instance),
                clock=access.clock.now,
                patience_s=PATIENCE_S,
            )
            self._spawn(door.serve())
            self._calls[name] = Calls(
                instance=name,
                client=client,
                door=door,
                tally=self.tally,
                clock=access.clock,
                watcher=access.watcher,
                spawn=self._spawn,
            )
        return self._calls[name]

    @staticmethod
    def why(error: DoorClosed) -> str:
        """Why an instance gives no turn any more, in words."""
        return _CLOSED_WORDS.get(error.reason, error.reason.value)

    @property
    def refused(self) -> tuple[str, ...]:
        """The instances that accepted none of their keys."""
        return tuple(name for name, calls in self._calls.items() if all(key.refused for key in calls.door.keys))

    def _key(self, instance: Instance, key: ApiKey, label: str) -> KeyQuota:
        return KeyQuota(
            label=label,
            secret=key.secret if key.secret is not None else Secret(""),
            limit=instance.rate_limit,
            ledger=self._access.ledger(instance, key),
            rng=self._access.rng,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_tasks(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
