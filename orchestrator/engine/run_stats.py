"""What a run costs: its calls, and samples of the keys' budgets over time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.clock import Clock
from orchestrator.quota.choice import Purpose
from orchestrator.quota.rate_limiter import RateLimiter

UNSENT = "unsent"
"""How a call ended that never left."""

# A chart shows no more points than this; when there are more, every second sample is dropped.
_MOST = 400
_FIRST_STEP = 1 / 60


@dataclass(slots=True)
class RunStats:
    """The calls of a run by their purpose and by how they ended (an HTTP status, or the kind of an error)."""

    calls: Counter[tuple[Purpose, str]] = field(default_factory=Counter)

    def count(self, purpose: Purpose, end: str) -> None:
        """One call ended."""
        self.calls[purpose, end] += 1

    @property
    def requests(self) -> int:
        """Every call that left, including polls and those that were answered 429."""
        return sum(n for (_, end), n in self.calls.items() if end != UNSENT)

    @property
    def polls(self) -> int:
        """Calls that polled a job."""
        return sum(n for (purpose, end), n in self.calls.items() if purpose is Purpose.POLL and end != UNSENT)

    @property
    def throttled(self) -> int:
        """Calls that were answered 429."""
        return sum(n for (_, end), n in self.calls.items() if end == "429")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSample:
    """What all keys together had used of their windows `t_s` seconds after the run's start: `used` of `requests` calls.

    `held`: at least one key paused after a 429 at that moment.
    """

    t_s: float
    used: int
    requests: int
    held: bool = False


class BudgetSampler:
    """Samples the budget: a sixtieth of a window apart at first, twice as far each time there are too many samples."""

    def __init__(self, limiters: Iterable[RateLimiter], clock: Clock, began_at: float) -> None:
        self._limiters = tuple(limiters)
        self._clock = clock
        self._began_at = began_at
        self._samples: list[BudgetSample] = []
        per_s = min((key.per_s for limiter in self._limiters for key in limiter.keys), default=60.0)
        self._step_s = per_s * _FIRST_STEP

    @property
    def samples(self) -> tuple[BudgetSample, ...]:
        """All samples so far, oldest first."""
        return tuple(self._samples)

    def take(self) -> None:
        """Take one sample now."""
        now = self._clock.now()
        keys = [key for limiter in self._limiters for key in limiter.keys if not key.refused]
        self._samples.append(
            BudgetSample(
                t_s=round(now - self._began_at, 3),
                used=sum(key.counted(now) for key in keys),
                requests=sum(key.learned.configured for key in keys),
                held=any(key.not_before > now for key in keys),
            )
        )
        if len(self._samples) > _MOST:
            self._samples = self._samples[::2]
            self._step_s *= 2

    async def watch(self) -> None:
        """Take samples until cancelled."""
        while True:
            self.take()
            await asyncio.sleep(self._step_s)
