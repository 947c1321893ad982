"""Opens instances for reading. Each has its rate limiter, so reads count in the same budget as a run's calls."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Self

from orchestrator.engine.calls import Background, Calls, open_calls, refused_instances
from orchestrator.engine.look_up import LookUp
from orchestrator.engine.run_context import Access
from orchestrator.engine.run_stats import RunStats
from orchestrator.manifest.manifest import Instance
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.rate_limiter import ConcurrencyLimit, LimiterClosed, StopReason

PATIENCE_S = 300.0
"""How long a key may get only 429 until it is given up: a person waits for the answer."""

_AT_ONCE = 16

_CLOSED_WORDS = {
    StopReason.KEYS_REFUSED: "it refused every key",
    StopReason.THROTTLED: f"every key got nothing but 429 for {PATIENCE_S / 60:.0f} minutes",
    StopReason.DOWN: "it did not answer",
    StopReason.UNREACHABLE: "no call ever reached it",
}


class Survey:
    """Opens instances when they are first asked for; an async context manager. `stats` counts every call."""

    def __init__(self, instances: Mapping[str, Instance], access: Access) -> None:
        self._instances = instances
        self._access = access
        self._stack = AsyncExitStack()
        self._wire = ConcurrencyLimit(_AT_ONCE)
        self._background = Background()
        self._calls: dict[str, Calls] = {}
        self.stats = RunStats()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        self._stack.push_async_callback(self._background.end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    async def look_up(self, name: str) -> LookUp:
        """Return the reader of an instance. Raises `UsageError` if certificates or proxies cannot be used."""
        return LookUp(await self.calls(name), self._access.rng)

    async def calls(self, name: str) -> Calls:
        """Return the calls of an instance."""
        if name not in self._calls:
            instance, access = self._instances[name], self._access
            client = await self._stack.enter_async_context(access.open_client(instance))
            self._calls[name] = open_calls(
                instance,
                client,
                access,
                concurrency_limit=self._wire,
                durations=DurationModel(),
                patience_s=PATIENCE_S,
                stats=self.stats,
                background=self._background,
            )
        return self._calls[name]

    def utcnow(self) -> datetime:
        """Return the time of day."""
        return self._access.clock.utcnow()

    @staticmethod
    def why(error: LimiterClosed) -> str:
        """Return in words why an instance accepts no more calls."""
        words = _CLOSED_WORDS.get(error.reason, error.reason.value)
        return f"{words}: {error.detail}" if error.detail else words

    @property
    def refused(self) -> tuple[str, ...]:
        """The instances that refused all their keys."""
        return refused_instances(self._calls)
