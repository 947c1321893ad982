"""Who keeps a run's steps: before they can be lost. Here those who keep nothing; for rehearsals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orchestrator.engine.outcome import Failure, Outcome
from orchestrator.manifest.manifest import Entry
from orchestrator.planning.plan import Refresh, RefreshPlan


class Recorder(Protocol):
    """Told of each step before it can be lost.

    Only `planned`, `intended` and `kept` raise where a step cannot be kept: then nothing is sent. What is under way is followed.
    """

    def planned(self, plan: RefreshPlan) -> None:
        """Look-ups are done; before the first refresh call."""

    def intended(self, refresh: Refresh, part: int, attempt: int) -> None:
        """A refresh call is about to leave."""

    async def kept(self) -> None:
        """Until all steps so far outlive the machine's power: before a call leaves, before a job's first poll. The only
        method that waits; raises where they cannot be kept.
        """

    def answered(self, refresh: Refresh, part: int, job_id: str | None, word: str | None) -> None:
        """The server accepted it; before the first poll."""

    def refused(self, refresh: Refresh, part: int, failure: Failure) -> None:
        """The call is known to have started nothing."""

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        """A poll was answered with this status word."""

    def settled(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        """Targets that belong together have their outcomes."""


class SilentRecorder:
    """Takes every step and forgets it."""

    def planned(self, plan: RefreshPlan) -> None:
        """Look-ups are done."""

    def intended(self, refresh: Refresh, part: int, attempt: int) -> None:
        """A refresh call is about to leave."""

    async def kept(self) -> None:
        """There is nothing to keep."""

    def answered(self, refresh: Refresh, part: int, job_id: str | None, word: str | None) -> None:
        """The server accepted it."""

    def refused(self, refresh: Refresh, part: int, failure: Failure) -> None:
        """The call is known to have started nothing."""

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        """A poll was answered."""

    def settled(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        """Targets have their outcomes."""
