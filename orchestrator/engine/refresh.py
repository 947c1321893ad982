"""Runs one refresh, straight from top to bottom: submit, follow, end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from orchestrator.engine.calls import Calls, retry_s
from orchestrator.engine.connection_lock import ConnectionBusy, ConnectionLock
from orchestrator.engine.failure import (
    JOB_IN_THE_WAY,
    JOB_LEFT,
    NO_DBT_SYNC,
    RunKind,
    closed_words,
    failure_of_call,
    make_failure,
    status_if_closed,
)
from orchestrator.engine.outcome import Status
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.refresh_state import RefreshResult, RefreshState
from orchestrator.engine.restore import ActiveRefresh
from orchestrator.engine.verification import Verification
from orchestrator.errors import OmniRefreshError
from orchestrator.journal.records import CallStatus, OrphanedRefresh
from orchestrator.manifest.credentials import name_of
from orchestrator.manifest.manifest import OnAmbiguous, RefreshKind
from orchestrator.omni.address import request_bytes
from orchestrator.omni.answers import JobState, RefreshRequest
from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown, Refused, Throttled, Unsent
from orchestrator.planning.lanes import split_refused
from orchestrator.quota.choice import CallRequest, FollowedJob, Purpose
from orchestrator.quota.rate_limiter import LimiterClosed, StopReason

# A new job may not be known to every server yet (docs/explanation/never-twice.md, "Following is only following").
NEW_JOB_S = 30.0
LOST_AFTER = 3
# A poll does no harm: after a failed one the next comes soon, so that a short outage costs a job no time.
LONGEST_POLL_BACKOFF_S = 5.0
# A connection that is busy stays busy for a while: about 9 s in all with the default of three retries.
CONFLICT_BACKOFF = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneContext:
    """What the refreshes of one lane share."""

    calls: Calls
    recorder: Recorder
    rng: Random
    lock: ConnectionLock
    verification: Verification


class RefreshWorker:
    """Runs one refresh. It alone changes the refresh's `state`; others read it at any moment."""

    def __init__(self, lane: LaneContext, state: RefreshState) -> None:
        self.state = state
        self._lane = lane
        self._calls = lane.calls
        self._recorder = lane.recorder
        self._rng = lane.rng
        self._lock = lane.lock
        self._clock = lane.calls.clock

    async def run(self, *, follow: bool) -> RefreshResult:
        """Send all calls of the refresh, one after another, each followed to its end; the first that does not succeed ends it.

        With `follow` False the last job is not followed once it was accepted.
        """
        active = self.state.continued
        result = RefreshResult(status=Status.SUCCEEDED)
        part = 0 if active is None else active.part
        self.state = replace(self.state, is_followed=follow)
        while result.status is Status.SUCCEEDED and part < len(self.state.refresh.requests):
            request, count = self.state.refresh.requests[part], len(self.state.refresh.requests)
            follow_part = follow or part < count - 1
            self.state = replace(self.state, part=part)
            if active is not None and part == active.part:
                result, active = await self._continue(active, request, follow=follow_part), None
            else:
                result = await self._send_part(request, follow=follow_part)
            if self._divide(result):
                result = RefreshResult(status=Status.SUCCEEDED)
                continue
            if part and result.status.started_nothing:
                self.state = self.state.warned(f"{part} of {count} calls of this scope succeeded before one did not")
                if result.status.was_not_sent:
                    # some calls of the scope were sent, so "nothing was sent" would be wrong
                    result = replace(result, status=Status.INTERRUPTED)
            part += 1
        self.state = self.state.ended(self._clock.now())
        return result

    def _divide(self, result: RefreshResult) -> bool:
        """After a 414, divide the rest of the scope into shorter calls; return whether that was possible."""
        if (
            result.failure is None
            or result.failure.kind != CallErrorKind.URI_TOO_LONG
            or result.status is not Status.REJECTED
        ):
            return False
        instance, requests, part = self._calls.instance, self.state.refresh.requests, self.state.part
        divided = split_refused(requests, part, instance)
        if divided is None:
            return False
        self._calls.url_limit = min(self._calls.url_limit, request_bytes(instance, requests[part]) // 2)
        self.state = self.state.divided(divided)
        return True

    async def _send_part(self, request: RefreshRequest, *, follow: bool) -> RefreshResult:
        self.state = self.state.waiting()
        submitted = await self._submit(request)
        if isinstance(submitted, RefreshResult):
            if self.state.ambiguous and submitted.status.started_nothing:
                # this call started nothing, but an earlier one may have
                submitted = replace(submitted, status=Status.UNKNOWN, may_run=True)
            return submitted
        self.state = replace(self.state, ambiguous=False)
        job_id, accepted_at = submitted
        with suppress(OmniRefreshError):
            # a journal that fails stops what is not sent yet; a job that runs is still followed
            await self._recorder.kept()
        if not follow:
            return RefreshResult(status=Status.ACCEPTED, may_run=True, open_job=job_id)
        return await self.follow(job_id, accepted_at)

    async def _continue(self, active: ActiveRefresh, request: RefreshRequest, *, follow: bool) -> RefreshResult:
        """Continue what another run began. A refresh that may have started is not sent a second time unless asked for."""
        now = self._clock.now()
        # if another run has the lock, it checks this very job: polling it twice does no harm
        await self._lock.try_take()
        if active.status is CallStatus.SUCCEEDED:
            return RefreshResult(status=Status.SUCCEEDED)
        if active.status is CallStatus.FAILED:
            return replace(self._job_failed(), again=active.again)
        if active.status is CallStatus.INTENDED:
            if self.state.refresh.sender.entry.on_ambiguous is OnAmbiguous.RESEND:
                return await self._send_part(request, follow=follow)
            message = "the run ended during the refresh call: it is not known whether the call arrived"
            failure = make_failure(CallErrorKind.CUT_OFF, message)
            return RefreshResult(status=Status.UNKNOWN, failure=failure, may_run=True)
        if active.job_id is None:
            return self._accepted_without_id()
        if not follow:
            return RefreshResult(status=Status.ACCEPTED, may_run=True, open_job=active.job_id)
        until = now + self.state.refresh.timeout_s if active.again else None
        result = await self.follow(active.job_id, now - active.age_s, until=until)
        return replace(result, again=active.again and result.status in (Status.FAILED, Status.UNKNOWN))

    async def _submit(self, request: RefreshRequest) -> RefreshResult | tuple[str, float]:
        """Send one refresh call until it is accepted, or until it is certain that it will not be.

        Returns the job's id and when it was accepted, or how the refresh ended.
        """
        refresh, entry = self.state.refresh, self.state.refresh.sender.entry
        part = self.state.part
        not_before, attempt = 0.0, 0
        while True:
            blocked = await self._wait_for_lane()
            if blocked is not None:
                return blocked
            expected_s = self._calls.limiter.durations.known_s(refresh.sender.model_id)
            rank = (-(expected_s or 0.0), float(entry.index))
            self.state = self.state.waiting()
            if self.state.needs_issues:
                issues = await self._lane.verification.read_issues(refresh, rank)
                self.state = replace(self.state, issues_before=issues)
            try:
                got = await self._calls.send(
                    CallRequest(purpose=Purpose.SUBMIT, rank=rank, not_before=not_before),
                    lambda key: self._calls.client.refresh(request, key),
                    target=entry.name,
                    on_leave=self._leave,
                    on_refused=self._turned_away,
                )
            except ConnectionBusy:
                continue
            except LimiterClosed as closed:
                return self._not_sent(closed)
            except CallError as error:
                attempt += 1
                self.state = self.state.submit_failed(error, self._clock.now())
                ambiguous = isinstance(error, DeliveryUnknown)
                # a server may refuse for a moment after a job has ended; it says that it started nothing
                conflict = error.kind is CallErrorKind.CONFLICT
                resend = ambiguous and entry.on_ambiguous is OnAmbiguous.RESEND
                if not ambiguous:
                    self._recorder.refused(refresh, part, failure_of_call(error))
                if not (error.is_retryable or conflict or resend) or attempt > entry.retries:
                    return self._refused(error)
                wait_s = retry_s(error.retry_after_s, attempt, self._rng)
                not_before = self._clock.now() + (CONFLICT_BACKOFF * wait_s if conflict else wait_s)
                continue
            answer, accepted_at = got.answer, self._clock.now()
            self.state = self.state.accepted(answer.job_id, answer.word, accepted_at)
            self._recorder.answered(refresh, part, answer.job_id, answer.word)
            if answer.state is JobState.SUCCEEDED:
                return RefreshResult(status=Status.SUCCEEDED)
            if answer.state is JobState.FAILED:
                return self._job_failed()
            if answer.job_id is None:
                return self._accepted_without_id()
            return answer.job_id, accepted_at

    async def _leave(self) -> None:
        """Take the lock and write the intent to disk: only then may the call leave."""
        await self._lock.take()
        refresh, part = self.state.refresh, self.state.part
        self._recorder.intended(refresh, part, self.state.attempts + 1)
        try:
            await self._recorder.kept()
            self._calls.limiter.check(Purpose.SUBMIT)
        except (asyncio.CancelledError, LimiterClosed):
            # the run was stopped in between: the call does not leave
            self._recorder.refused(refresh, part, make_failure(RunKind.STOPPED, "it did not leave"))
            raise
        self.state = self.state.sending(self._clock.now(), self._clock.utcnow())

    def _turned_away(self, error: CallError) -> None:
        """A 429 or a refused key: the call started nothing."""
        self._recorder.refused(self.state.refresh, self.state.part, failure_of_call(error))
        self.state = self.state.turned_away(error, self._clock.now())

    async def _wait_for_lane(self) -> RefreshResult | None:
        """Wait until no refresh of another run can run on the lane; return how this one ends if that takes too long."""
        began_at = self._clock.now()
        while orphans := await self._lock.wait():
            for orphan in orphans:
                longest_s = self._lock.patience_s(orphan, self.state.refresh.timeout_s)
                self._lock.report_check(orphan, longest_s)
                result = await self._lock.until_submits_end(self._check(orphan, began_at + longest_s))
                if result is None or result.status is Status.INTERRUPTED:
                    # nothing more is submitted: the rate limiter says why
                    return None
                if result.status is Status.TIMED_OUT and self._lock.still_runs(orphan):
                    message = f"job {orphan.job_id} of run {orphan.run} on the same connection still runs"
                    failure = make_failure(RunKind.LANE_CLOSED, message, hint=JOB_IN_THE_WAY)
                    return RefreshResult(status=Status.NOT_STARTED, failure=failure)
        return None

    async def _check(self, orphan: OrphanedRefresh, until: float) -> RefreshResult:
        """Follow a job that another run left on this lane until it has ended, or until a moment (the loop's clock)."""
        accepted_at = self._clock.now() - orphan.age_s
        follower = RefreshWorker(self._lane, RefreshState(refresh=self.state.refresh, part=self.state.part))
        result = await follower.follow(orphan.job_id or "", accepted_at, until=until, on_word=lambda _: None)
        if not result.may_run:
            is_good = result.status is Status.SUCCEEDED
            self._lock.checked(orphan, CallStatus.SUCCEEDED if is_good else CallStatus.FAILED)
        elif result.failure is not None and result.failure.kind == RunKind.JOB_LOST:
            self._lock.checked(orphan, CallStatus.LOST)
        elif result.status is Status.UNKNOWN:
            self._lock.cannot_check(orphan)
        return result

    def _accepted_without_id(self) -> RefreshResult:
        self.state = self.state.warned("the server gave no job id: the end of this refresh is not known")
        return RefreshResult(status=Status.ACCEPTED, may_run=True)

    def _not_sent(self, closed: LimiterClosed) -> RefreshResult:
        reason, (kind, message) = closed.reason, closed_words(closed)
        if reason is StopReason.DEADLINE and self.state.throttled and self.state.last_error is None:
            reason, kind, message = StopReason.THROTTLED, CallErrorKind.THROTTLED, "429 until the deadline"
        http_status = 429 if reason is StopReason.THROTTLED else None
        return RefreshResult(
            status=status_if_closed(reason), failure=make_failure(kind, message, http_status=http_status)
        )

    def _refused(self, error: CallError) -> RefreshResult:
        failure = failure_of_call(error, keys=[name_of(key.source) for key in self._calls.instance.keys])
        if isinstance(error, Unsent):
            return RefreshResult(status=Status.ERROR, failure=failure)
        if isinstance(error, Refused):
            is_sync = self.state.refresh.sender.entry.refresh is RefreshKind.DBT_SYNC
            if is_sync and error.http_status in {404, 405}:
                failure = replace(failure, hint=NO_DBT_SYNC)
            return RefreshResult(status=Status.REJECTED, failure=failure)
        return RefreshResult(status=Status.UNKNOWN, failure=failure, may_run=True)

    def _job_failed(self) -> RefreshResult:
        word = self.state.last_word or "FAILED"
        failure = make_failure(RunKind.JOB_FAILED, f"the job ended {word}", last_status=word)
        return RefreshResult(status=Status.FAILED, failure=failure)

    async def follow(
        self,
        job_id: str,
        accepted_at: float,
        *,
        until: float | None = None,
        on_word: Callable[[str], None] | None = None,
    ) -> RefreshResult:
        """Poll a job until it has ended, is lost, or its time is up: at `until` (the loop's clock), or its timeout after
        `accepted_at`. Never sends a refresh. `on_word` receives each answer's word instead of the recorder.
        """
        refresh, entry, clock = self.state.refresh, self.state.refresh.sender.entry, self._clock
        # of a job that another run left it is not known what it refreshes
        kinds = (entry.refresh,) if on_word is None else tuple(RefreshKind)
        if on_word is None:
            on_word = partial(self._recorder.polled, refresh, self.state.part)
        client, durations = self._calls.client, self._calls.limiter.durations
        timeout_at = accepted_at + refresh.timeout_s if until is None else until
        polled_at = accepted_at if until is None else clock.now()
        unfinished_at = accepted_at
        not_before, misses, failures, late_failures = 0.0, 0, 0, 0
        self.state = self.state.following(accepted_at)
        while True:
            job = FollowedJob(
                model=refresh.sender.model_id, accepted_at=accepted_at, unfinished_at=unfinished_at,
                polled_at=polled_at, min_s=entry.poll.min_s, max_s=entry.poll.max_s, timeout_at=timeout_at,
            )  # fmt: skip
            try:
                got = await self._calls.send(
                    CallRequest(purpose=Purpose.POLL, job=job, not_before=not_before),
                    lambda key: client.job(job_id, key, kinds),
                    target=refresh.sender.entry.name,
                    on_leave=self._poll_leaves,
                    on_refused=self._poll_turned_away,
                )
            except LimiterClosed as closed:
                return self._not_followed(job_id, closed)
            except CallError as error:
                polled_at = clock.now()
                self.state = self.state.poll_failed(error, polled_at)
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
                        return self._unknown(error, kind, job_id)
                else:
                    misses = 0
                    late_failures += polled_at >= timeout_at
                    if late_failures > entry.retries:
                        return self._unknown(error, RunKind.POLL_FAILED, job_id)
                continue
            misses = failures = late_failures = 0
            polled_at, not_before = got.left_at, 0.0
            state, word = got.answer.state, got.answer.word
            self.state = self.state.polled(state, word, polled_at, clock.now())
            on_word(word)
            if state is JobState.RUNNING:
                if polled_at >= timeout_at:
                    return self._timed_out(job_id)
                unfinished_at = polled_at
                continue
            durations.ended(unfinished_at - accepted_at, polled_at - accepted_at)
            if state is JobState.SUCCEEDED:
                return RefreshResult(status=Status.SUCCEEDED)
            return self._job_failed()

    def _poll_leaves(self) -> None:
        self.state = self.state.polling(self._clock.now(), self._clock.utcnow())

    def _poll_turned_away(self, error: CallError) -> None:
        self.state = self.state.poll_turned_away(error, self._clock.now())

    def _timed_out(self, job_id: str) -> RefreshResult:
        word = self.state.last_word
        message = f"not finished within {self.state.refresh.timeout_s:g} s; the last status was {word}"
        failure = make_failure(RunKind.TIMED_OUT, message, last_status=word)
        return RefreshResult(status=Status.TIMED_OUT, failure=failure, may_run=True, open_job=job_id)

    def _unknown(self, error: CallError, kind: RunKind, job_id: str) -> RefreshResult:
        failure = failure_of_call(error, last_status=self.state.last_word, kind=kind)
        return RefreshResult(status=Status.UNKNOWN, failure=failure, may_run=True, open_job=job_id)

    def _not_followed(self, job_id: str, closed: LimiterClosed) -> RefreshResult:
        reason, (kind, message) = closed.reason, closed_words(closed)
        status = Status.UNKNOWN if reason is StopReason.THROTTLED else Status.INTERRUPTED
        hint = JOB_LEFT if reason in (StopReason.STOPPED, StopReason.DEADLINE) else None
        failure = make_failure(kind, message, last_status=self.state.last_word, hint=hint)
        return RefreshResult(status=status, failure=failure, may_run=True, open_job=job_id)
