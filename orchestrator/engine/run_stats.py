"""What a run and its refreshes cost, counted where calls are made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from orchestrator.quota.choice import Purpose

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
