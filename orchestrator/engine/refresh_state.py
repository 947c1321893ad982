"""What has happened to one refresh so far, and how it ended: written without any await in between, so that a run that is
stopped can settle each target from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from orchestrator.clock import Clock
from orchestrator.engine.attempt_log import AttemptLog
from orchestrator.engine.outcome import Failure, Status
from orchestrator.engine.prior_state import ActiveRefresh
from orchestrator.engine.read_back import Issues
from orchestrator.engine.run_stats import CallCounts
from orchestrator.journal.records import CallStatus
from orchestrator.omni.errors import CallError
from orchestrator.planning.plan import Refresh


class Phase(StrEnum):
    """How far a refresh has come; decides what its targets are when the run is stopped there."""

    WAITING = "waiting"
    SENDING = "sending"
    FOLLOWING = "following"
    ENDED = "ended"


@dataclass(slots=True)
class RefreshState:
    """What has happened to one refresh so far. Moments are the loop's clock; `left_at` is the first call's,
    `accepted_at` the running job's, `unfinished_at` when that job was last known to run. `begun` is how far another run
    had come with it; `submitted_at` and `queued_s` are the first call's then. `part` is the latest call's place among the
    refresh's. `ambiguous`: a call may have started a refresh that nobody knows of. `issues_before` are what validation found
    before anything was sent, by model and branch; None: it was not asked. `earlier_jobs` are those of earlier runs that did
    not succeed, before this refresh was sent anew.
    """

    refresh: Refresh
    phase: Phase = Phase.WAITING
    spent: CallCounts = field(default_factory=CallCounts)
    job_ids: list[str] = field(default_factory=list)
    left_at: float | None = None
    seen_at: float | None = None
    accepted_at: float | None = None
    unfinished_at: float | None = None
    last_word: str | None = None
    last_error: CallError | None = None
    warnings: list[str] = field(default_factory=list)
    begun: ActiveRefresh | None = None
    submitted_at: datetime | None = None
    queued_s: float | None = None
    ambiguous: bool = False
    is_followed: bool = False
    issues_before: Issues | None = None
    part: int = 0
    earlier_jobs: tuple[str, ...] = ()
    log: AttemptLog = field(default_factory=AttemptLog)

    @classmethod
    def restored(cls, begun: ActiveRefresh, clock: Clock) -> Self:
        """The life of a refresh that another run began."""
        ago = max(timedelta(0), clock.utcnow() - begun.submitted_at)
        return cls(
            begun.refresh,
            phase=Phase.FOLLOWING if begun.job_ids else Phase.WAITING,
            spent=CallCounts(attempts=begun.attempts),
            job_ids=list(begun.job_ids),
            left_at=clock.now() - ago.total_seconds(),
            last_word=begun.word,
            begun=begun,
            ambiguous=not begun.job_ids and begun.fate in (CallStatus.INTENDED, CallStatus.ACCEPTED),
            submitted_at=begun.submitted_at,
            queued_s=begun.queued_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshResult:
    """How a refresh ended. `open_job` is a job that may still run, `may_run` whether anything may. `again` tells that an
    earlier run's refresh did not succeed and that its targets are to be refreshed anew; they have no outcome yet.
    """

    status: Status
    failure: Failure | None = None
    may_run: bool = False
    again: bool = False
    open_job: str | None = None
