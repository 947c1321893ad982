"""A recorder that keeps nothing: for runs that are not to be gone on with (simulations, tests)."""

from __future__ import annotations

from orchestrator.plan.plan import Refresh
from orchestrator.run.outcome import Failure


class SilentRecorder:
    """Takes every step and forgets it."""

    def intended(self, refresh: Refresh, part: int, attempt: int) -> None:
        """A refresh call is about to leave."""

    def answered(self, refresh: Refresh, part: int, job_id: str | None, word: str | None) -> None:
        """The server accepted it."""

    def refused(self, refresh: Refresh, part: int, failure: Failure) -> None:
        """The call is known to have started nothing."""

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        """A poll was answered."""
