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


@dataclass(slots=True)
class CallCounts:
    """The calls of one refresh: `attempts` and `polls` were not answered 429, `throttled` were."""

    attempts: int = 0
    polls: int = 0
    throttled: int = 0


@dataclass(slots=True)
class RunStats:
    """The calls of a run by what they were for and how they ended (an HTTP status, or the word for a failure)."""

    calls: Counter[tuple[Purpose, str]] = field(default_factory=Counter)

    def count(self, purpose: Purpose, end: str) -> None:
        """One call ended."""
        self.calls[purpose, end] += 1

    @property
    def requests(self) -> int:
        """Every call that left, polls and those answered 429 included."""
        return sum(n for (_, end), n in self.calls.items() if end != UNSENT)

    @property
    def polls(self) -> int:
        """Calls that asked after a job."""
        return sum(n for (purpose, end), n in self.calls.items() if purpose is Purpose.POLL and end != UNSENT)

    @property
    def throttled(self) -> int:
        """Calls that were answered 429."""
        return sum(n for (_, end), n in self.calls.items() if end == "429")


# More points than this no chart shows; when they are reached every second one goes.
_MOST = 400
_FIRST_STEP = 1 / 60


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSample:
    """What all keys together had used of their windows `t_s` seconds into the run: `used` of `requests` calls.

    `held` tells that at least one key paused after a 429 at that moment.
    """

    t_s: float
    used: int
    requests: int
    held: bool = False


class BudgetSampler:
    """Takes a sample now and then: a window's sixtieth apart at first, twice as far each time that there are too many."""

    def __init__(self, doors: Iterable[RateLimiter], clock: Clock, began_at: float) -> None:
        self._doors = tuple(doors)
        self._clock = clock
        self._began_at = began_at
        self._samples: list[BudgetSample] = []
        per_s = min((key.per_s for door in self._doors for key in door.keys), default=60.0)
        self._step_s = per_s * _FIRST_STEP

    @property
    def samples(self) -> tuple[BudgetSample, ...]:
        """All samples so far, oldest first."""
        return tuple(self._samples)

    def take(self) -> None:
        """Take one sample now."""
        now = self._clock.now()
        keys = [key for door in self._doors for key in door.keys if not key.refused]
        self._samples.append(
            BudgetSample(
                t_s=round(now - self._began_at, 3),
                used=sum(key.counted(now) for key in keys),
                requests=sum(key.learned.told for key in keys),
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
