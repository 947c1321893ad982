"""One refresh's life, straight from top to bottom: submit, follow, settle.

What must be known whatever happens stands in `Life`, which is written without any await in between: a run that is
stopped settles each target from there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Protocol

from orchestrator.manifest.manifest import OnAmbiguous
from orchestrator.omni.answers import JobState, RefreshAsk
from orchestrator.omni.errors import CallError, FateUnknown, Kind, Refused, Throttled, Unsent
from orchestrator.plan.plan import Refresh
from orchestrator.quota.backoff import retry_s
from orchestrator.quota.choice import Ask, Job, Purpose
from orchestrator.quota.door import Closing, DoorClosed
from orchestrator.run.calls import Calls
from orchestrator.run.failure import CLOSED_WORDS, RunKind, failure_of_call, make_failure
from orchestrator.run.outcome import Failure, Status
from orchestrator.run.tally import Spent

# A job that was just created may not be known to every server yet (field reports, contract: section 5).
NEW_JOB_S = 30.0
LOST_AFTER = 3
# A poll harms nobody: after a failed one the next comes soon, so that a short outage costs a job no time.
LONGEST_POLL_BACKOFF_S = 5.0

_NOT_REACHED = frozenset({Status.NOT_STARTED, Status.THROTTLED})
_UNSENT = _NOT_REACHED | {Status.REJECTED, Status.ERROR}


class Phase(StrEnum):
    """How far a refresh has come; decides what its targets are when the run is stopped there."""

    WAITING = "waiting"
    SENDING = "sending"
    FOLLOWING = "following"
    ENDED = "ended"


class Recorder(Protocol):
    """Told of each step before it can be lost. None of its methods awaits anything."""

    def intended(self, refresh: Refresh, part: int, attempt: int) -> None:
        """A refresh call is about to leave."""

    def answered(self, refresh: Refresh, part: int, job_id: str | None, word: str | None) -> None:
        """The server accepted it; before the first poll."""

    def refused(self, refresh: Refresh, part: int, failure: Failure) -> None:
        """The call is known to have started nothing."""

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        """A poll was answered with this status word."""


@dataclass(slots=True)
class Life:
    """What has happened to one refresh so far. Moments are the loop's clock; `left_at` is the first call's,
    `accepted_at` the running job's, `unfinished_at` when that job was last known to run.
    """

    refresh: Refresh
    phase: Phase = Phase.WAITING
    spent: Spent = field(default_factory=Spent)
    job_ids: list[str] = field(default_factory=list)
    left_at: float | None = None
    seen_at: float | None = None
    accepted_at: float | None = None
    unfinished_at: float | None = None
    last_word: str | None = None
    last_error: CallError | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a refresh ended. `open_job` is a job that may still run, `may_run` whether anything may."""

    status: Status
    failure: Failure | None = None
    may_run: bool = False
    open_job: str | None = None


class Refreshing:
    """Runs refreshes of one instance."""

    def __init__(self, *, calls: Calls, recorder: Recorder, rng: Random) -> None:
        self._calls = calls
        self._recorder = recorder
        self._rng = rng

    async def run(self, life: Life, *, follow: bool) -> Ending:
        """Send all of the refresh's calls, one after another, each followed to its end; the first that does not succeed
        ends it. `follow` False leaves the last job to itself once it was accepted.
        """
        refresh = life.refresh
        ending = Ending(status=Status.SUCCEEDED)
        for part, ask in enumerate(refresh.asks):
            last = part == len(refresh.asks) - 1
            ending = await self._part(life, part, ask, follow=follow or not last)
            if part and ending.status in _UNSENT:
                life.warnings.append(f"{part} of {len(refresh.asks)} calls of this scope succeeded before one did not")
                if ending.status in _NOT_REACHED:
                    # the scope is under way, so that it is not true that nothing was sent
                    ending = replace(ending, status=Status.INTERRUPTED)
            if ending.status is not Status.SUCCEEDED:
                break
        life.phase = Phase.ENDED
        life.seen_at = self._calls.clock.now()
        return ending

    async def _part(self, life: Life, part: int, ask: RefreshAsk, *, follow: bool) -> Ending:
        life.phase = Phase.WAITING
        submitted = await self._submit(life, part, ask)
        if isinstance(submitted, Ending):
            return submitted
        job_id, accepted_at = submitted
        if not follow:
            return Ending(status=Status.ACCEPTED, may_run=True, open_job=job_id)
        return await self.follow(life, part, job_id, accepted_at)

    async def _submit(self, life: Life, part: int, ask: RefreshAsk) -> Ending | tuple[str, float]:
        """Send one refresh call until it is accepted or it is decided that it will not be; a job's id and when it was
        accepted, or the ending.
        """
        refresh, entry, client = life.refresh, life.refresh.sender.entry, self._calls.client
        not_before, attempt = 0.0, 0
        while True:
            expected_s = self._calls.door.durations.known_s(refresh.sender.model_id)
            wish = Ask(purpose=Purpose.SUBMIT, rank=(-(expected_s or 0.0), float(entry.index)), not_before=not_before)
            life.phase = Phase.WAITING
            try:
                got = await self._calls.send(
                    wish, lambda key: client.refresh(ask, key), life.spent, leaving=lambda: self._leave(life, part)
                )
            except DoorClosed as closed:
                return self._not_sent(life, closed.reason)
            except CallError as error:
                life.spent.attempts += 1
                attempt += 1
                life.last_error = error
                ambiguous = isinstance(error, FateUnknown)
                again = error.may_be_tried_again or (ambiguous and entry.on_ambiguous is OnAmbiguous.RESEND)
                if not ambiguous:
                    self._recorder.refused(refresh, part, failure_of_call(error))
                if not again or attempt > entry.retries:
                    return self._refused(error)
                not_before = self._calls.clock.now() + retry_s(error.retry_after_s, attempt, self._rng)
                continue
            life.spent.attempts += 1
            life.last_error = None
            answer, accepted_at = got.answer, self._calls.clock.now()
            life.last_word = answer.word.upper() if answer.word else None
            self._recorder.answered(refresh, part, answer.job_id, answer.word)
            if answer.job_id is not None:
                life.job_ids.append(answer.job_id)
            life.phase = Phase.FOLLOWING
            if answer.state is JobState.SUCCEEDED:
                return Ending(status=Status.SUCCEEDED)
            if answer.state is JobState.FAILED:
                return self._job_failed(life)
            if answer.job_id is None:
                life.warnings.append("the server gave no job id: nobody knows how this refresh ended")
                return Ending(status=Status.ACCEPTED, may_run=True)
            return answer.job_id, accepted_at

    def _leave(self, life: Life, part: int) -> None:
        self._recorder.intended(life.refresh, part, life.spent.attempts + 1)
        life.phase = Phase.SENDING
        if life.left_at is None:
            life.left_at = self._calls.clock.now()

    def _not_sent(self, life: Life, reason: Closing) -> Ending:
        kind, message = CLOSED_WORDS[reason]
        if reason is Closing.THROTTLED:
            return Ending(status=Status.THROTTLED, failure=make_failure(kind, message, http_status=429))
        if reason is Closing.DOWN:
            words = f"{message}: {life.last_error.message}" if life.last_error is not None else message
            return Ending(status=Status.ERROR, failure=make_failure(kind, words))
        if reason is Closing.DEADLINE and life.spent.throttled and life.last_error is None:
            return Ending(
                status=Status.THROTTLED,
                failure=make_failure(Kind.THROTTLED, "429 until the deadline", http_status=429),
            )
        return Ending(status=Status.NOT_STARTED, failure=make_failure(kind, message))

    @staticmethod
    def _refused(error: CallError) -> Ending:
        failure = failure_of_call(error)
        if isinstance(error, Unsent):
            return Ending(status=Status.ERROR, failure=failure)
        if isinstance(error, Refused):
            return Ending(status=Status.REJECTED, failure=failure)
        return Ending(status=Status.UNKNOWN, failure=failure, may_run=True)

    @staticmethod
    def _job_failed(life: Life) -> Ending:
        word = life.last_word or "FAILED"
        failure = make_failure(RunKind.JOB_FAILED, f"the job ended {word}", last_status=word)
        return Ending(status=Status.FAILED, failure=failure)

    async def follow(
        self, life: Life, part: int, job_id: str, accepted_at: float, *, until: float | None = None
    ) -> Ending:
        """Ask after a job until it has ended, is lost from sight, or its time is up: at `until` (the loop's clock), or
        its timeout after `accepted_at`. Never sends a refresh.
        """
        refresh, entry, clock = life.refresh, life.refresh.sender.entry, self._calls.clock
        client, durations = self._calls.client, self._calls.door.durations
        model = refresh.sender.model_id
        timeout_at = accepted_at + refresh.timeout_s if until is None else until
        asked_at = accepted_at if until is None else clock.now()
        unfinished_at = accepted_at
        not_before, misses, failures, late_failures = 0.0, 0, 0, 0
        life.phase = Phase.FOLLOWING
        life.accepted_at = life.unfinished_at = accepted_at
        while True:
            job = Job(
                model=model, accepted_at=accepted_at, unfinished_at=unfinished_at, asked_at=asked_at,
                min_s=entry.poll.min_s, max_s=entry.poll.max_s, timeout_at=timeout_at,
            )  # fmt: skip
            try:
                got = await self._calls.send(
                    Ask(purpose=Purpose.POLL, job=job, not_before=not_before),
                    lambda key: client.job(job_id, key),
                    life.spent,
                )
            except DoorClosed as closed:
                return self._lost_sight(life, job_id, closed.reason)
            except CallError as error:
                life.spent.polls += 1
                asked_at = clock.now()
                failures += 1
                wait_s = retry_s(error.retry_after_s, failures, self._rng)
                if error.retry_after_s is None:
                    wait_s = min(wait_s, LONGEST_POLL_BACKOFF_S, entry.poll.max_s)
                not_before = asked_at + wait_s
                if isinstance(error, Refused) and not isinstance(error, Throttled) and not error.may_be_tried_again:
                    young = error.http_status == 404 and asked_at - accepted_at < NEW_JOB_S
                    misses = 0 if young else misses + 1
                    if misses >= LOST_AFTER:
                        kind = RunKind.JOB_LOST if error.http_status == 404 else RunKind.POLL_REFUSED
                        return self._unknown(life, error, kind, job_id)
                else:
                    misses = 0
                    late_failures += asked_at >= timeout_at
                    if late_failures > entry.retries:
                        return self._unknown(life, error, RunKind.POLL_FAILED, job_id)
                continue
            life.spent.polls += 1
            misses = failures = late_failures = 0
            asked_at, not_before = got.left_at, 0.0
            life.last_word = got.answer.word
            self._recorder.polled(refresh, part, got.answer.word)
            age_s, was_s = asked_at - accepted_at, unfinished_at - accepted_at
            if got.answer.state is JobState.RUNNING:
                if asked_at >= timeout_at:
                    return self._timed_out(life, job_id)
                durations.running(model, job_id, was_s, age_s)
                unfinished_at = life.unfinished_at = asked_at
                continue
            durations.ended(model, job_id, was_s, age_s)
            if got.answer.state is JobState.SUCCEEDED:
                return Ending(status=Status.SUCCEEDED)
            return self._job_failed(life)

    @staticmethod
    def _timed_out(life: Life, job_id: str) -> Ending:
        message = f"not finished within {life.refresh.timeout_s:g} s; the last status was {life.last_word}"
        return Ending(
            status=Status.TIMED_OUT,
            failure=make_failure(RunKind.TIMED_OUT, message, last_status=life.last_word),
            may_run=True,
            open_job=job_id,
        )

    @staticmethod
    def _unknown(life: Life, error: CallError, kind: RunKind, job_id: str) -> Ending:
        failure = failure_of_call(error, last_status=life.last_word, kind=kind)
        return Ending(status=Status.UNKNOWN, failure=failure, may_run=True, open_job=job_id)

    @staticmethod
    def _lost_sight(life: Life, job_id: str, reason: Closing) -> Ending:
        kind, message = CLOSED_WORDS[reason]
        status = Status.UNKNOWN if reason is Closing.THROTTLED else Status.INTERRUPTED
        failure = make_failure(kind, message, last_status=life.last_word)
        return Ending(status=status, failure=failure, may_run=True, open_job=job_id)
