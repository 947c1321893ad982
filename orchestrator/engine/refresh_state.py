"""What has happened to one refresh so far, as a value. Each step is a pure function from one state to the next.

A step needs no await, so a run that is stopped between two steps can settle its targets from the latest state.
`orchestrator.engine.refresh.RefreshWorker` alone takes the steps of a refresh.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from orchestrator.clock import Clock
from orchestrator.engine.outcome import ANSWERED, CallKind, CallMade, Failure, Status
from orchestrator.engine.read_back import IssuesBefore
from orchestrator.engine.restore import ActiveRefresh
from orchestrator.journal.records import CallStatus
from orchestrator.omni.answers import JobState, RefreshRequest
from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown, Throttled, Unsent
from orchestrator.planning.plan import Refresh

FIRST_KEPT: Final = 5
LAST_KEPT: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLog:
    """The calls of one refresh that a report shows: each refresh call, and each poll that failed.

    The first few and the last few are kept. `count` is the number of all calls, good polls included. `latest` is the call
    that left last; `latest_at` is when it left, and when it ended once it has ended (the loop's clock).
    """

    count: int = 0
    first: tuple[CallMade, ...] = ()
    last: tuple[CallMade, ...] = ()
    latest: CallMade | None = None
    latest_at: float = 0.0
    has_ended: bool = True

    @property
    def calls(self) -> tuple[CallMade, ...]:
        """The calls that are kept, in their order; their numbers show gaps."""
        return (*self.first, *self.last)

    def left(self, what: CallKind, now: float, at: datetime) -> Self:
        """A call leaves. Until its end is known, it counts as cut off."""
        log = self
        if self.latest is not None and self.has_ended:
            log = self._put(replace(self.latest, wait_s=max(0.0, now - self.latest_at)), is_new=False)
        made = CallMade(number=self.count + 1, what=what, left_at=at, end=CallErrorKind.CUT_OFF.value)
        log = replace(log, count=made.number, latest=made, latest_at=now, has_ended=False)
        return log._put(made, is_new=True) if what is CallKind.REFRESH else log

    def answered(self, now: float, word: str | None) -> Self:
        """The call was answered as it should be; `word` is the job's status."""
        return self._end(now, ANSWERED, None, word)

    def failed(self, now: float, error: CallError) -> Self:
        """The call failed, or the server refused it."""
        return self._end(now, error.kind.value, error.http_status, None)

    def _end(self, now: float, end: str, http_status: int | None, word: str | None) -> Self:
        if self.latest is None or self.has_ended:
            # the rate limiter closed before the call left
            return self
        took_s = max(0.0, now - self.latest_at)
        made = replace(self.latest, end=end, http_status=http_status, word=word, took_s=took_s)
        is_new = made.what is CallKind.POLL and end != ANSWERED
        return replace(self, latest=made, latest_at=now, has_ended=True)._put(made, is_new=is_new)

    def _put(self, made: CallMade, *, is_new: bool) -> Self:
        """Add a call to those that are kept, or replace it there."""
        if is_new:
            if len(self.first) < FIRST_KEPT:
                return replace(self, first=(*self.first, made))
            return replace(self, last=(*self.last, made)[-LAST_KEPT:])
        if self.last and self.last[-1].number == made.number:
            return replace(self, last=(*self.last[:-1], made))
        if self.first and self.first[-1].number == made.number:
            return replace(self, first=(*self.first[:-1], made))
        return self


class Phase(StrEnum):
    """How far a refresh has come. It decides the outcomes of its targets if the run is stopped."""

    WAITING = "waiting"
    SENDING = "sending"
    FOLLOWING = "following"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshState:
    """What has happened to one refresh so far. Moments are the loop's clock.

    `part` is the number of its latest call. `left_at` is when its first call left, `accepted_at` when its running job was
    accepted, `unfinished_at` when that job was last known to run, `ended_at` when its end was seen. `continued` is what
    another run had begun of it; `submitted_at` and `queued_s` are then those of that run's first call. `ambiguous`: a call
    may have started a refresh that no job id is known of. `issues_before` are the issues before the first call
    (None: they were not read). `earlier_jobs` are jobs of earlier runs that did not succeed.
    `attempts` and `polls` count calls that were not answered 429, `throttled` those that were.
    """

    refresh: Refresh
    phase: Phase = Phase.WAITING
    is_followed: bool = False
    part: int = 0
    attempts: int = 0
    polls: int = 0
    throttled: int = 0
    job_ids: tuple[str, ...] = ()
    earlier_jobs: tuple[str, ...] = ()
    left_at: float | None = None
    accepted_at: float | None = None
    unfinished_at: float | None = None
    ended_at: float | None = None
    last_word: str | None = None
    last_error: CallError | None = None
    warnings: tuple[str, ...] = ()
    continued: ActiveRefresh | None = None
    submitted_at: datetime | None = None
    queued_s: float | None = None
    ambiguous: bool = False
    issues_before: IssuesBefore | None = None
    log: AttemptLog = field(default_factory=AttemptLog)

    @classmethod
    def restored(cls, active: ActiveRefresh, clock: Clock) -> Self:
        """Return the state of a refresh that another run began."""
        ago = max(timedelta(0), clock.utcnow() - active.submitted_at)
        return cls(
            refresh=active.refresh,
            phase=Phase.FOLLOWING if active.job_ids else Phase.WAITING,
            attempts=active.attempts,
            job_ids=active.job_ids,
            left_at=clock.now() - ago.total_seconds(),
            last_word=active.word,
            continued=active,
            ambiguous=not active.job_ids and active.status in (CallStatus.INTENDED, CallStatus.ACCEPTED),
            submitted_at=active.submitted_at,
            queued_s=active.queued_s,
        )

    @property
    def needs_issues(self) -> bool:
        """Whether issues are to be read before the first call: once, and only if the refresh is followed to its end."""
        return self.is_followed and self.left_at is None and self.issues_before is None

    def waiting(self) -> Self:
        """The next call waits for its permit."""
        return replace(self, phase=Phase.WAITING)

    def sending(self, now: float, at: datetime) -> Self:
        """A refresh call leaves."""
        state = replace(self, phase=Phase.SENDING, log=self.log.left(CallKind.REFRESH, now, at))
        return replace(state, left_at=now, submitted_at=at) if self.left_at is None else state

    def turned_away(self, error: CallError, now: float) -> Self:
        """A 429 or a refused key: the refresh call started nothing and was no attempt; it waits for a permit again."""
        state = replace(self._throttled(error, now), phase=Phase.WAITING)
        return state if self.attempts else replace(state, left_at=None, submitted_at=None)

    def submit_failed(self, error: CallError, now: float) -> Self:
        """A refresh call failed; unless the server refused it, it may have started a refresh."""
        return replace(
            self,
            phase=Phase.WAITING,
            attempts=self.attempts + 1,
            last_error=error,
            ambiguous=self.ambiguous or isinstance(error, DeliveryUnknown),
            log=self.log.failed(now, error),
        )

    def accepted(self, job_id: str | None, word: str | None, now: float) -> Self:
        """The server accepted a refresh call."""
        return replace(
            self,
            phase=Phase.FOLLOWING,
            attempts=self.attempts + 1,
            last_error=None,
            last_word=word,
            job_ids=self.job_ids if job_id is None else (*self.job_ids, job_id),
            log=self.log.answered(now, word),
        )

    def following(self, accepted_at: float) -> Self:
        """The job that was accepted at `accepted_at` is followed from now on."""
        return replace(self, phase=Phase.FOLLOWING, accepted_at=accepted_at, unfinished_at=accepted_at)

    def polling(self, now: float, at: datetime) -> Self:
        """A poll leaves."""
        return replace(self, log=self.log.left(CallKind.POLL, now, at))

    def poll_turned_away(self, error: CallError, now: float) -> Self:
        """A poll was answered 429, or its key was refused."""
        return self._throttled(error, now)

    def poll_failed(self, error: CallError, now: float) -> Self:
        """A poll failed."""
        polls = self.polls + (not isinstance(error, Unsent))
        return replace(self, polls=polls, log=self.log.failed(now, error))

    def polled(self, job: JobState, word: str | None, left_at: float, now: float) -> Self:
        """A poll that left at `left_at` was answered."""
        return replace(
            self,
            polls=self.polls + 1,
            last_word=word,
            unfinished_at=left_at if job is JobState.RUNNING else self.unfinished_at,
            log=self.log.answered(now, word),
        )

    def divided(self, requests: tuple[RefreshRequest, ...]) -> Self:
        """The scope is sent in other, shorter calls."""
        return replace(self, refresh=replace(self.refresh, requests=requests))

    def warned(self, message: str) -> Self:
        """Add a warning to the outcomes."""
        return replace(self, warnings=(*self.warnings, message))

    def ended(self, now: float) -> Self:
        """The refresh has ended, in whatever way."""
        return replace(self, phase=Phase.ENDED, ended_at=now)

    def _throttled(self, error: CallError, now: float) -> Self:
        throttled = self.throttled + isinstance(error, Throttled)
        return replace(self, throttled=throttled, log=self.log.failed(now, error))


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshResult:
    """How a refresh ended. `open_job` is a job that may still run, `may_run` whether any may.

    `again`: the refresh of an earlier run did not succeed; its targets have no outcome yet and are refreshed anew.
    """

    status: Status
    failure: Failure | None = None
    may_run: bool = False
    again: bool = False
    open_job: str | None = None
