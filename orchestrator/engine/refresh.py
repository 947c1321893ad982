"""One refresh's life, straight from top to bottom: submit, follow, settle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random

from orchestrator.engine.calls import Calls, retry_s
from orchestrator.engine.connection_lock import ConnectionBusy, ConnectionLock
from orchestrator.engine.failure import JOB_IN_THE_WAY, JOB_LEFT, RunKind, closed_words, failure_of_call, make_failure
from orchestrator.engine.outcome import CallKind, Status
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.refresh_state import Phase, RefreshResult, RefreshState
from orchestrator.engine.restore import ActiveRefresh
from orchestrator.engine.verification import Verification
from orchestrator.errors import OmniRefreshError
from orchestrator.journal.records import CallStatus, OrphanedRefresh
from orchestrator.manifest.manifest import OnAmbiguous
from orchestrator.omni.answers import JobState, RefreshRequest
from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown, Refused, Throttled, Unsent
from orchestrator.planning.lanes import Length
from orchestrator.planning.scope import split_refused
from orchestrator.quota.choice import CallRequest, FollowedJob, Purpose
from orchestrator.quota.rate_limiter import LimiterClosed, StopReason

# A new job may not be known to every server yet (docs/explanation/never-twice.md, "Following is only following").
NEW_JOB_S = 30.0
LOST_AFTER = 3
# A poll harms nobody: after a failed one the next comes soon, so that a short outage costs a job no time.
LONGEST_POLL_BACKOFF_S = 5.0
# A connection that is busy stays so for a while: about 9 s in all with the default of three retries.
CONFLICT_BACKOFF = 2.0

_NOT_REACHED = frozenset({Status.NOT_STARTED, Status.THROTTLED})
_UNSENT = _NOT_REACHED | {Status.REJECTED, Status.ERROR}


class Refreshing:
    """Runs the refreshes of one lane."""

    def __init__(
        self,
        *,
        calls: Calls,
        recorder: Recorder,
        rng: Random,
        gate: ConnectionLock,
        length: Length,
        proving: Verification,
    ) -> None:
        self._calls = calls
        self._proving = proving
        self._length = length
        self._recorder = recorder
        self._rng = rng
        self._gate = gate

    async def run(self, life: RefreshState, *, follow: bool) -> RefreshResult:
        """Send all of the refresh's calls, one after another, each followed to its end; the first that does not succeed
        ends it. `follow` False leaves the last job to itself once it was accepted.
        """
        begun = life.begun
        life.is_followed = follow
        ending = RefreshResult(status=Status.SUCCEEDED)
        part = 0 if begun is None else begun.part
        while ending.status is Status.SUCCEEDED and part < len(life.refresh.asks):
            ask, count = life.refresh.asks[part], len(life.refresh.asks)
            life.part, follows = part, follow or part < count - 1
            if begun is not None and part == begun.part:
                ending, begun = await self._go_on(life, begun, ask, follow=follows), None
            else:
                ending = await self._part(life, part, ask, follow=follows)
            if self._divide(life, part, ending):
                ending = RefreshResult(status=Status.SUCCEEDED)
                continue
            if part and ending.status in _UNSENT:
                life.warnings.append(f"{part} of {count} calls of this scope succeeded before one did not")
                if ending.status in _NOT_REACHED:
                    # the scope is under way, so that it is not true that nothing was sent
                    ending = replace(ending, status=Status.INTERRUPTED)
            part += 1
        life.phase = Phase.ENDED
        life.seen_at = self._calls.clock.now()
        return ending

    def _divide(self, life: RefreshState, part: int, ending: RefreshResult) -> bool:
        """After a 414: the rest of the scope in shorter calls, here and from now on; whether there are any."""
        if (
            ending.failure is None
            or ending.failure.kind != CallErrorKind.URI_TOO_LONG
            or ending.status is not Status.REJECTED
        ):
            return False
        length = partial(self._length, self._calls.instance)
        asks = split_refused(life.refresh.asks, part, length)
        if asks is None:
            return False
        self._calls.url_limit = min(self._calls.url_limit, length(life.refresh.asks[part]) // 2)
        life.refresh = replace(life.refresh, asks=asks)
        return True

    async def _part(self, life: RefreshState, part: int, ask: RefreshRequest, *, follow: bool) -> RefreshResult:
        life.phase = Phase.WAITING
        submitted = await self._submit(life, part, ask)
        if isinstance(submitted, RefreshResult):
            if life.ambiguous and submitted.status in _UNSENT:
                # this call started nothing, but an earlier one may have
                submitted = replace(submitted, status=Status.UNKNOWN, may_run=True)
            return submitted
        life.ambiguous = False
        job_id, accepted_at = submitted
        with suppress(OmniRefreshError):
            # a journal that gives way stops what is not sent yet; a job that runs is followed all the same
            await self._recorder.kept()
        if not follow:
            return RefreshResult(status=Status.ACCEPTED, may_run=True, open_job=job_id)
        return await self.follow(life, part, job_id, accepted_at)

    async def _go_on(
        self, life: RefreshState, begun: ActiveRefresh, ask: RefreshRequest, *, follow: bool
    ) -> RefreshResult:
        """Go on where another run left off; a refresh that may have been started is not sent a second time unasked."""
        entry, part, now = life.refresh.sender.entry, begun.part, self._calls.clock.now()
        # where another run has the lane it is asking after this very job: asking beside it harms nobody
        self._gate.try_enter()
        if begun.fate is CallStatus.SUCCEEDED:
            return RefreshResult(status=Status.SUCCEEDED)
        if begun.fate is CallStatus.FAILED:
            return replace(self._job_failed(life), again=begun.again)
        if begun.fate is CallStatus.INTENDED:
            if entry.on_ambiguous is OnAmbiguous.RESEND:
                return await self._part(life, part, ask, follow=follow)
            message = "the run ended while the refresh call was under way: nobody knows whether it arrived"
            failure = make_failure(CallErrorKind.CUT_OFF, message)
            return RefreshResult(status=Status.UNKNOWN, failure=failure, may_run=True)
        if begun.job_id is None:
            return self._accepted_without_id(life)
        if not follow:
            return RefreshResult(status=Status.ACCEPTED, may_run=True, open_job=begun.job_id)
        until = now + life.refresh.timeout_s if begun.again else None
        ending = await self.follow(life, part, begun.job_id, now - begun.age_s, until=until)
        return replace(ending, again=begun.again and ending.status in (Status.FAILED, Status.UNKNOWN))

    async def _submit(self, life: RefreshState, part: int, ask: RefreshRequest) -> RefreshResult | tuple[str, float]:
        """Send one refresh call until it is accepted or it is decided that it will not be; a job's id and when it was
        accepted, or the ending.
        """
        refresh, entry, client = life.refresh, life.refresh.sender.entry, self._calls.client
        not_before, attempt = 0.0, 0
        while True:
            in_the_way = await self._open_lane(life, part)
            if in_the_way is not None:
                return in_the_way
            expected_s = self._calls.door.durations.known_s(refresh.sender.model_id)
            wish = CallRequest(
                purpose=Purpose.SUBMIT, rank=(-(expected_s or 0.0), float(entry.index)), not_before=not_before
            )
            life.phase = Phase.WAITING
            await self._proving.begin(life, wish.rank)
            try:
                got = await self._calls.send(
                    wish,
                    lambda key: client.refresh(ask, key),
                    life.spent,
                    on_leave=partial(self._leave, life, part),
                    on_refused=partial(self._turned_away, life, part),
                )
            except ConnectionBusy:
                continue
            except LimiterClosed as closed:
                return self._not_sent(life, closed)
            except CallError as error:
                life.spent.attempts += 1
                attempt += 1
                life.last_error = error
                life.log.failed(self._calls.clock.now(), error)
                ambiguous = isinstance(error, DeliveryUnknown)
                life.ambiguous |= ambiguous
                # a server may refuse for a moment after a job has ended; it says that it started nothing
                conflict = error.kind is CallErrorKind.CONFLICT
                resend = ambiguous and entry.on_ambiguous is OnAmbiguous.RESEND
                again = error.is_retryable or conflict or resend
                if not ambiguous:
                    self._recorder.refused(refresh, part, failure_of_call(error))
                if not again or attempt > entry.retries:
                    return self._refused(error)
                wait_s = retry_s(error.retry_after_s, attempt, self._rng)
                not_before = self._calls.clock.now() + (CONFLICT_BACKOFF * wait_s if conflict else wait_s)
                continue
            life.spent.attempts += 1
            life.last_error = None
            answer, accepted_at = got.answer, self._calls.clock.now()
            life.last_word = answer.word
            life.log.answered(accepted_at, life.last_word)
            if answer.job_id is not None:
                life.job_ids.append(answer.job_id)
            life.phase = Phase.FOLLOWING
            self._recorder.answered(refresh, part, answer.job_id, answer.word)
            if answer.state is JobState.SUCCEEDED:
                return RefreshResult(status=Status.SUCCEEDED)
            if answer.state is JobState.FAILED:
                return self._job_failed(life)
            if answer.job_id is None:
                return self._accepted_without_id(life)
            return answer.job_id, accepted_at

    async def _leave(self, life: RefreshState, part: int) -> None:
        self._gate.enter()
        self._recorder.intended(life.refresh, part, life.spent.attempts + 1)
        try:
            await self._recorder.kept()
            self._calls.door.check(Purpose.SUBMIT)
        except (asyncio.CancelledError, LimiterClosed):
            # the run was stopped in between: the call does not leave
            self._recorder.refused(life.refresh, part, make_failure(RunKind.STOPPED, "it did not leave"))
            raise
        life.phase = Phase.SENDING
        now, at = self._calls.clock.now(), self._calls.clock.utcnow()
        life.log.left(CallKind.REFRESH, now, at)
        if life.left_at is None:
            life.left_at, life.submitted_at = now, at

    def _turned_away(self, life: RefreshState, part: int, error: CallError) -> None:
        """A 429 or a refused key: the call started nothing and was no attempt; it waits for its turn again."""
        self._recorder.refused(life.refresh, part, failure_of_call(error))
        life.log.failed(self._calls.clock.now(), error)
        life.phase = Phase.WAITING
        if not life.spent.attempts:
            life.left_at = life.submitted_at = None

    async def _open_lane(self, life: RefreshState, part: int) -> RefreshResult | None:
        """Wait until nothing that another run left may run on the lane; the ending if that takes too long."""
        began_at = self._calls.clock.now()
        while jobs := await self._gate.wait():
            for job in jobs:
                longest_s = self._gate.patience_s(job, life.refresh.timeout_s)
                self._gate.tell(job, longest_s)
                ending = await self._gate.unless_over(self._check(life, part, job, began_at + longest_s))
                if ending is None or ending.status is Status.INTERRUPTED:
                    # nothing more is submitted: the door says why
                    return None
                if ending.status is Status.TIMED_OUT and self._gate.still_runs(job):
                    message = f"job {job.job_id} of run {job.run} on the same connection still runs"
                    failure = make_failure(RunKind.LANE_CLOSED, message, last_status=None, hint=JOB_IN_THE_WAY)
                    return RefreshResult(status=Status.NOT_STARTED, failure=failure)
        return None

    async def _check(self, life: RefreshState, part: int, job: OrphanedRefresh, until: float) -> RefreshResult:
        """Follow a job that another run left on this lane until it has ended, or until a moment (the loop's clock)."""
        accepted_at = self._calls.clock.now() - job.age_s
        job_id = job.job_id or ""
        ending = await self.follow(
            RefreshState(life.refresh), part, job_id, accepted_at, until=until, told=lambda _: None
        )
        if not ending.may_run:
            self._gate.checked(job, CallStatus.SUCCEEDED if ending.status is Status.SUCCEEDED else CallStatus.FAILED)
        elif ending.failure is not None and ending.failure.kind == RunKind.JOB_LOST:
            self._gate.checked(job, CallStatus.LOST)
        elif ending.status is Status.UNKNOWN:
            self._gate.cannot_check(job)
        return ending

    @staticmethod
    def _accepted_without_id(life: RefreshState) -> RefreshResult:
        life.warnings.append("the server gave no job id: how this refresh ends is not known")
        return RefreshResult(status=Status.ACCEPTED, may_run=True)

    def _not_sent(self, life: RefreshState, closed: LimiterClosed) -> RefreshResult:
        reason, (kind, message) = closed.reason, closed_words(closed)
        if reason is StopReason.THROTTLED:
            return RefreshResult(status=Status.THROTTLED, failure=make_failure(kind, message, http_status=429))
        if reason in (StopReason.DOWN, StopReason.UNREACHABLE):
            return RefreshResult(status=Status.ERROR, failure=make_failure(kind, message))
        if reason is StopReason.DEADLINE and life.spent.throttled and life.last_error is None:
            return RefreshResult(
                status=Status.THROTTLED,
                failure=make_failure(CallErrorKind.THROTTLED, "429 until the deadline", http_status=429),
            )
        return RefreshResult(status=Status.NOT_STARTED, failure=make_failure(kind, message))

    @staticmethod
    def _refused(error: CallError) -> RefreshResult:
        failure = failure_of_call(error)
        if isinstance(error, Unsent):
            return RefreshResult(status=Status.ERROR, failure=failure)
        if isinstance(error, Refused):
            return RefreshResult(status=Status.REJECTED, failure=failure)
        return RefreshResult(status=Status.UNKNOWN, failure=failure, may_run=True)

    @staticmethod
    def _job_failed(life: RefreshState) -> RefreshResult:
        word = life.last_word or "FAILED"
        failure = make_failure(RunKind.JOB_FAILED, f"the job ended {word}", last_status=word)
        return RefreshResult(status=Status.FAILED, failure=failure)

    async def follow(
        self,
        life: RefreshState,
        part: int,
        job_id: str,
        accepted_at: float,
        *,
        until: float | None = None,
        told: Callable[[str], None] | None = None,
    ) -> RefreshResult:
        """Ask after a job until it has ended, is lost from sight, or its time is up: at `until` (the loop's clock), or
        its timeout after `accepted_at`. Never sends a refresh. `told` hears each answer's word instead of the recorder.
        """
        if told is None:
            told = partial(self._recorder.polled, life.refresh, part)
        refresh, entry, clock = life.refresh, life.refresh.sender.entry, self._calls.clock
        client, durations = self._calls.client, self._calls.door.durations
        model = refresh.sender.model_id
        timeout_at = accepted_at + refresh.timeout_s if until is None else until
        polled_at = accepted_at if until is None else clock.now()
        unfinished_at = accepted_at
        not_before, misses, failures, late_failures = 0.0, 0, 0, 0
        life.phase = Phase.FOLLOWING
        life.accepted_at = life.unfinished_at = accepted_at
        while True:
            job = FollowedJob(
                model=model, accepted_at=accepted_at, unfinished_at=unfinished_at, polled_at=polled_at,
                min_s=entry.poll.min_s, max_s=entry.poll.max_s, timeout_at=timeout_at,
            )  # fmt: skip
            try:
                got = await self._calls.send(
                    CallRequest(purpose=Purpose.POLL, job=job, not_before=not_before),
                    lambda key: client.job(job_id, key),
                    life.spent,
                    on_leave=lambda: life.log.left(CallKind.POLL, clock.now(), clock.utcnow()),
                    on_refused=lambda error: life.log.failed(clock.now(), error),
                )
            except LimiterClosed as closed:
                return self._lost_sight(life, job_id, closed)
            except CallError as error:
                life.spent.polls += not isinstance(error, Unsent)
                polled_at = clock.now()
                life.log.failed(polled_at, error)
                failures += 1
                wait_s = retry_s(error.retry_after_s, failures, self._rng)
                if error.retry_after_s is None:
                    wait_s = min(wait_s, LONGEST_POLL_BACKOFF_S, entry.poll.max_s)
                not_before = polled_at + wait_s
                if isinstance(error, Refused) and not isinstance(error, Throttled) and not error.is_retryable:
                    young = error.http_status == 404 and polled_at - accepted_at < NEW_JOB_S
                    misses = 0 if young else misses + 1
                    if misses >= LOST_AFTER:
                        kind = RunKind.JOB_LOST if error.http_status == 404 else RunKind.POLL_REFUSED
                        return self._unknown(life, error, kind, job_id)
                else:
                    misses = 0
                    late_failures += polled_at >= timeout_at
                    if late_failures > entry.retries:
                        return self._unknown(life, error, RunKind.POLL_FAILED, job_id)
                continue
            life.spent.polls += 1
            misses = failures = late_failures = 0
            polled_at, not_before = got.left_at, 0.0
            life.last_word = got.answer.word
            life.log.answered(clock.now(), life.last_word)
            told(got.answer.word)
            age_s, was_s = polled_at - accepted_at, unfinished_at - accepted_at
            if got.answer.state is JobState.RUNNING:
                if polled_at >= timeout_at:
                    return self._timed_out(life, job_id)
                unfinished_at = life.unfinished_at = polled_at
                continue
            durations.ended(was_s, age_s)
            if got.answer.state is JobState.SUCCEEDED:
                return RefreshResult(status=Status.SUCCEEDED)
            return self._job_failed(life)

    @staticmethod
    def _timed_out(life: RefreshState, job_id: str) -> RefreshResult:
        message = f"not finished within {life.refresh.timeout_s:g} s; the last status was {life.last_word}"
        return RefreshResult(
            status=Status.TIMED_OUT,
            failure=make_failure(RunKind.TIMED_OUT, message, last_status=life.last_word),
            may_run=True,
            open_job=job_id,
        )

    @staticmethod
    def _unknown(life: RefreshState, error: CallError, kind: RunKind, job_id: str) -> RefreshResult:
        failure = failure_of_call(error, last_status=life.last_word, kind=kind)
        return RefreshResult(status=Status.UNKNOWN, failure=failure, may_run=True, open_job=job_id)

    @staticmethod
    def _lost_sight(life: RefreshState, job_id: str, closed: LimiterClosed) -> RefreshResult:
        reason, (kind, message) = closed.reason, closed_words(closed)
        status = Status.UNKNOWN if reason is StopReason.THROTTLED else Status.INTERRUPTED
        hint = JOB_LEFT if reason in (StopReason.STOPPED, StopReason.DEADLINE) else None
        failure = make_failure(kind, message, last_status=life.last_word, hint=hint)
        return RefreshResult(status=status, failure=failure, may_run=True, open_job=job_id)
