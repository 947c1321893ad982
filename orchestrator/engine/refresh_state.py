"""What has happened to one refresh so far, and how it ended: written without any await in between, so that a run that is
stopped can settle each target from it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from orchestrator.clock import Clock
from orchestrator.engine.outcome import ANSWERED, CallKind, CallMade, Failure, Status
from orchestrator.engine.read_back import Issues
from orchestrator.engine.restore import ActiveRefresh
from orchestrator.engine.run_stats import CallCounts
from orchestrator.journal.records import CallStatus
from orchestrator.omni.errors import CallError, CallErrorKind
from orchestrator.planning.plan import Refresh

FIRST_KEPT: Final = 5
LAST_KEPT: Final = 10


@dataclass(slots=True)
class _Made:
    """A call under way or over; moments of the loop's clock."""

    number: int
    what: CallKind
    left_at: datetime
    left_s: float
    end: str | None = None
    http_status: int | None = None
    word: str | None = None
    ended_s: float = 0.0
    wait_s: float | None = None

    def as_made(self) -> CallMade:
        """The call as it is told; one that never ended was cut off."""
        return CallMade(
            number=self.number,
            what=self.what,
            left_at=self.left_at,
            end=self.end or CallErrorKind.CUT_OFF.value,
            http_status=self.http_status,
            word=self.word,
            took_s=None if self.end is None else max(0.0, self.ended_s - self.left_s),
            wait_s=self.wait_s,
        )


@dataclass(slots=True)
class AttemptLog:
    """Keeps the first few and the last of a refresh's calls; `count` is how many there were, good polls included."""

    count: int = 0
    _first: list[_Made] = field(default_factory=list)
    _last: deque[_Made] = field(default_factory=lambda: deque(maxlen=LAST_KEPT))
    _latest: _Made | None = None

    def left(self, what: CallKind, now: float, at: datetime) -> None:
        """A call leaves."""
        if self._latest is not None and self._latest.end is not None:
            self._latest.wait_s = max(0.0, now - self._latest.ended_s)
        self.count += 1
        self._latest = _Made(self.count, what, at, now)
        if what is CallKind.REFRESH:
            self._keep(self._latest)

    def answered(self, now: float, word: str | None) -> None:
        """It was answered as it should be."""
        self._end(now, ANSWERED, None, word)

    def failed(self, now: float, error: CallError) -> None:
        """It went wrong, or was turned away."""
        self._end(now, error.kind.value, error.http_status, None)

    def _end(self, now: float, end: str, http_status: int | None, word: str | None) -> None:
        made = self._latest
        if made is None or made.end is not None:
            # the door closed before it left
            return
        made.end, made.http_status, made.word, made.ended_s = end, http_status, word, now
        if made.what is CallKind.POLL and end != ANSWERED:
            self._keep(made)

    def _keep(self, made: _Made) -> None:
        if len(self._first) < FIRST_KEPT:
            self._first.append(made)
        else:
            self._last.append(made)

    @property
    def calls(self) -> tuple[CallMade, ...]:
        """Those that are kept, in their order; gaps show in their numbers."""
        return tuple(made.as_made() for made in (*self._first, *self._last))


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
