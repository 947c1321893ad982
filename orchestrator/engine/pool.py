"""The pool: lanes run in parallel, the refreshes of a lane one after another; every target gets exactly one outcome."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from orchestrator.engine.calls import Calls
from orchestrator.engine.connection_lock import ConnectionLock
from orchestrator.engine.events import ActiveLane, LaneClosed, LaneFailed, LaneWaiting, SubmitsEnded
from orchestrator.engine.failure import CLOSED_WORDS, RunKind, make_failure
from orchestrator.engine.make_outcomes import cut_off, not_sent, settle
from orchestrator.engine.outcome import Failure, Outcome, Status
from orchestrator.engine.refresh import LaneContext, RefreshWorker
from orchestrator.engine.refresh_state import Phase, RefreshResult, RefreshState
from orchestrator.engine.restore import ActiveRefresh
from orchestrator.engine.run_context import Detach, RunContext
from orchestrator.engine.verification import NOT_READ_BACK, Settled, Verification, is_verified, unverified
from orchestrator.errors import OmniRefreshError
from orchestrator.journal.records import CallStatus
from orchestrator.planning.lanes import refreshes
from orchestrator.planning.plan import Lane, RefreshPlan, Target
from orchestrator.quota.choice import SUBMITTING, Purpose
from orchestrator.quota.rate_limiter import StopReason
from orchestrator.quota.time_left import LaneLeft

T = TypeVar("T")

_LOOK_EVERY_S = 0.5


@dataclass(slots=True, eq=False)
class _LaneWork:
    """A lane at work: its targets without an outcome, the refreshes of them that another run began, and the current one.

    `earlier_jobs`, by a target's index, are jobs of earlier runs that did not succeed.
    """

    lane: Lane
    context: LaneContext
    pending: list[Target]
    active: deque[ActiveRefresh]
    worker: RefreshWorker | None = None
    earlier_jobs: dict[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def state(self) -> RefreshState | None:
        """The state of the refresh at work; None if there is none."""
        if self.worker is None or self.worker.state.phase is Phase.ENDED:
            return None
        return self.worker.state


class Pool:
    """Runs the lanes of a plan. `began_at` is the run's start (the loop's clock), `failed` the number of targets that did not
    succeed before the pool starts, `active` what another run began.
    """

    def __init__(
        self,
        plan: RefreshPlan,
        context: RunContext,
        calls: Mapping[str, Calls],
        *,
        began_at: float,
        failed: int = 0,
        active: Sequence[ActiveRefresh] = (),
    ) -> None:
        self._plan = plan
        self._context = context
        self._settings = context.settings
        self._observe = context.observer
        self._clock = context.clock
        self._calls = calls
        self._began_at = began_at
        self._failed = failed
        self._submits_ended = asyncio.Event()
        self._cut_by: StopReason | None = None
        self._warnings = dict(plan.warnings)
        self._outcomes: dict[int, Outcome] = {}
        self._working_lanes = len(plan.lanes)
        self._only_closed = asyncio.Event()
        self._lanes = [self._lane_work(lane, active) for lane in plan.lanes]
        self._tasks: set[asyncio.Task[Any]] = set()
        self.abort: OmniRefreshError | None = None
        self.detached = False

    async def run(self) -> tuple[Outcome, ...]:
        """Run every lane to its end; return one outcome for each target, in manifest order.

        A pool that was `detached` has none for the targets whose jobs it leaves.
        """
        look_every_s = _LOOK_EVERY_S if self._settings.detach is Detach.SUBMITTED else None
        if self._settings.max_failures is not None and self._failed >= self._settings.max_failures:
            self.end_submits(StopReason.FAIL_FAST)
        for work in self._lanes:
            self._start(self._run_lane(work), partial(self._lane_ended, work))
        if self._cut_by is not None:
            self.cut(self._cut_by)
        while self._tasks:
            # verifications run beside their lanes, in tasks that start meanwhile
            await asyncio.wait(set(self._tasks), timeout=look_every_s)
            if look_every_s is not None and self._only_jobs_left():
                await self._detach()
        return tuple(self._outcomes[index] for index in sorted(self._outcomes))

    def end_submits(self, reason: StopReason) -> None:
        """Submit nothing more to any instance; running jobs are still followed."""
        if not self._submits_ended.is_set():
            self._observe(SubmitsEnded(reason=reason.value))
        self._submits_ended.set()
        for calls in self._calls.values():
            calls.limiter.close(reason, SUBMITTING)

    def cut(self, reason: StopReason) -> None:
        """Stop following: every target settles at once from what is known of it."""
        self._cut_by = self._cut_by or reason
        for task in self._tasks:
            task.cancel()

    def _only_jobs_left(self) -> bool:
        """Return whether all that is left to do is to follow jobs, which another process can do from the journal."""
        if self._cut_by is not None or self.abort is not None:
            return False
        left = [work for work in self._lanes if work.pending]
        return len(left) == len(self._tasks) > 0 and all(map(self._follows_last, left))

    @staticmethod
    def _follows_last(work: _LaneWork) -> bool:
        """Return whether a lane follows its last job, and needs nothing for it that only this process knows."""
        state = work.state
        return (
            state is not None
            and state.phase is Phase.FOLLOWING
            and state.part == len(state.refresh.requests) - 1
            and len(state.refresh.served) == len(work.pending)
            and not state.issues_before
            and not (state.continued is not None and state.continued.again)
        )

    async def _detach(self) -> None:
        """Leave the jobs that run to another process, if the journal has all of them."""
        with suppress(OmniRefreshError):
            await self._context.recorder.kept()
            self.detached = self._only_jobs_left()
        if self.detached:
            self.cut(StopReason.STOPPED)

    def remaining_lanes(self) -> dict[str, tuple[LaneLeft, ...]]:
        """Return what is left to do by instance, for an estimate of the time left."""
        left: dict[str, list[LaneLeft]] = {name: [] for name in self._calls}
        for work in self._lanes:
            if work.pending:
                left[work.lane.instance].append(self._lane_left(work))
        return {name: tuple(lanes) for name, lanes in left.items()}

    def active_lanes(self) -> tuple[ActiveLane, ...]:
        """Return the lanes whose refresh is being sent or has a job that runs."""
        now, found = self._clock.now(), []
        for work in self._lanes:
            state = work.state
            if state is None or state.phase is Phase.WAITING:
                continue
            serves, sender = len(state.refresh.served), state.refresh.sender
            found.append(
                ActiveLane(
                    instance=work.lane.instance,
                    target=sender.entry.name,
                    serves=serves,
                    age_s=None if state.accepted_at is None else now - state.accepted_at,
                    usual_s=self._calls[work.lane.instance].limiter.durations.known_s(sender.model_id),
                    behind=max(0, len(work.pending) - serves),
                )
            )
        return tuple(found)

    def _start(self, work: Coroutine[Any, Any, T], ended: Callable[[asyncio.Task[T]], None]) -> None:
        """Start a task. `ended` is called at its end, before `run` can return."""
        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        task.add_done_callback(self._tasks.discard)
        self._tasks.add(task)

    def _lane_work(self, lane: Lane, active: Sequence[ActiveRefresh]) -> _LaneWork:
        def report_wait(holder: str, at_most_s: float | None) -> None:
            self._observe(LaneWaiting(instance=lane.instance, lane=lane.key, holder=holder, at_most_s=at_most_s))

        calls, rng = self._calls[lane.instance], self._context.rng
        lock = ConnectionLock(
            self._context.locks,
            lane=lane,
            overlap=self._settings.overlap,
            submits_ended=self._submits_ended,
            is_closed=lambda: calls.limiter.is_closed(Purpose.SUBMIT),
            report_wait=report_wait,
        )
        indexes = {target.entry.index for target in lane.targets}
        return _LaneWork(
            lane=lane,
            context=LaneContext(
                calls=calls,
                recorder=self._context.recorder,
                rng=rng,
                lock=lock,
                verification=Verification(calls, rng),
            ),
            pending=list(lane.targets),
            active=deque(one for one in active if one.refresh.sender.entry.index in indexes),
        )

    def _lane_left(self, work: _LaneWork) -> LaneLeft:
        durations, now = self._calls[work.lane.instance].limiter.durations, self._clock.now()

        def expected_s(model: str) -> float:
            known_s = durations.known_s(model)
            return durations.typical_s if known_s is None else known_s

        state, pending = work.state, work.pending
        if state is None or state.accepted_at is None:
            return LaneLeft(waiting_s=tuple(map(expected_s, self._senders(pending))))
        served = {t.entry.index for t in state.refresh.served}
        behind = [t for t in pending if t.entry.index not in served]
        return LaneLeft(
            running_s=expected_s(state.refresh.sender.model_id),
            age_s=now - state.accepted_at,
            waiting_s=tuple(map(expected_s, self._senders(behind))),
        )

    def _senders(self, pending: Sequence[Target]) -> list[str]:
        """Return the models that the refreshes of `pending` are sent for, in order."""
        if len(pending) < 2:
            return [t.model_id for t in pending]
        return [refresh.sender.model_id for refresh in refreshes(pending, self._plan.manifest)]

    async def _run_lane(self, work: _LaneWork) -> None:
        while work.pending:
            worker = work.worker = RefreshWorker(work.context, self._next_state(work))
            refresh = worker.state.refresh
            is_last = len(refresh.served) == len(work.pending)
            result = await worker.run(follow=(self._settings.wait and refresh.wait) or not is_last)
            state = worker.state
            if result.again and state.continued is not None:
                self._refresh_anew(work, state, state.continued, result)
                continue
            self._settle(work, state, result)
            if result.failure is not None and result.failure.kind == RunKind.LANE_CLOSED:
                # what blocks one refresh of the lane blocks all
                self._give_up(work.pending, result.status, result.failure)
            if work.pending and result.may_run:
                self._observe(LaneClosed(instance=work.lane.instance, lane=work.lane.key))
                await self._wait_closed(work, state, result)
            work.context.lock.release()

    def _next_state(self, work: _LaneWork) -> RefreshState:
        """Return the next refresh of a lane. One that another run began comes first, because it may be running."""
        if work.active:
            return RefreshState.restored(work.active.popleft(), self._clock)
        limit = self._calls[work.lane.instance].url_limit
        refresh = next(refreshes(work.pending, self._plan.manifest, limit=limit))
        earlier_jobs = work.earlier_jobs.get(refresh.sender.entry.index, ())
        return RefreshState(refresh=refresh, earlier_jobs=earlier_jobs)

    def _refresh_anew(self, work: _LaneWork, state: RefreshState, active: ActiveRefresh, result: RefreshResult) -> None:
        """The job of an earlier run did not succeed: its targets are planned again with the others of the lane."""
        is_lost = result.failure is not None and result.failure.kind == RunKind.JOB_LOST
        work.context.lock.abandon(active.call, CallStatus.LOST if is_lost else None)
        work.context.lock.release()
        words = "was lost" if result.may_run else f"ended {state.last_word or 'FAILED'}"
        note = f"job {active.job_id} of an earlier run {words}: the refresh was sent again"
        for target in state.refresh.served:
            index = target.entry.index
            work.earlier_jobs[index] = state.job_ids
            self._warnings[index] = (*self._warnings.get(index, ()), note)

    def _lane_ended(self, work: _LaneWork, task: asyncio.Task[None]) -> None:
        """A lane has ended, in whatever way: settle what it left open from what is known, without any await."""
        error = None if task.cancelled() else task.exception()
        state = work.state
        if task.cancelled() and self.detached:
            # its targets have no outcome: the journal knows their job, and `resume` follows it
            pass
        elif task.cancelled() or isinstance(error, OmniRefreshError):
            reason = StopReason.STOPPED if error is not None else self._cut_by or StopReason.STOPPED
            if state is not None:
                self._settle(work, state, cut_off(state, reason))
            while work.active:
                state = RefreshState.restored(work.active.popleft(), self._clock)
                self._settle(work, state, cut_off(state, reason))
            if isinstance(error, OmniRefreshError):
                # no call failed but the run's own journal: nothing more may be sent
                self.abort = self.abort or error
                self.end_submits(StopReason.STOPPED)
            kind, words = CLOSED_WORDS[reason]
            self._give_up(work.pending, Status.NOT_STARTED, make_failure(kind, str(error or words)))
        elif error is not None:
            # a fault of this program costs the targets of one lane at most, and is reported
            self._observe(LaneFailed(instance=work.lane.instance, lane=work.lane.key, error=error))
            message = f"{type(error).__name__}: {error}"
            if state is not None and state.left_at is not None:
                failure = make_failure(RunKind.INTERNAL, message, last_status=state.last_word)
                self._settle(work, state, RefreshResult(status=Status.UNKNOWN, failure=failure, may_run=True))
            self._give_up(work.pending, Status.ERROR, make_failure(RunKind.INTERNAL, message))
        work.context.lock.release()
        self._lane_rests()

    def _settle(self, work: _LaneWork, state: RefreshState, result: RefreshResult) -> None:
        settled = settle(state, result, began_at=self._began_at, clock=self._clock, warnings=self._warnings)
        for target, _ in settled:
            work.pending.remove(target)
        succeeded = result.status is Status.SUCCEEDED and state.is_followed
        if succeeded and any(is_verified(target.entry) for target, _ in settled):
            verifying = work.context.verification.verify(settled, state.issues_before or {})
            self._start(verifying, partial(self._verified, work.lane, settled))
        else:
            self._keep(settled)

    def _verified(self, lane: Lane, settled: Settled, task: asyncio.Task[Settled]) -> None:
        """Keep outcomes that were verified; if that was cut off, the refresh has still succeeded."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._observe(LaneFailed(instance=lane.instance, lane=lane.key, error=error))
        if error is not None or task.cancelled():
            settled = tuple((t, unverified(o, NOT_READ_BACK) if is_verified(t.entry) else o) for t, o in settled)
        else:
            settled = task.result()
        self._keep(settled)

    def _give_up(self, pending: list[Target], status: Status, failure: Failure) -> None:
        self._keep([(t, not_sent(t, failure, status, self._warnings.get(t.entry.index, ()))) for t in pending])
        pending.clear()

    def _keep(self, settled: Sequence[tuple[Target, Outcome]]) -> None:
        finished = self._context.keep([(target.entry, outcome) for target, outcome in settled])
        for entry, outcome in finished:
            self._outcomes[entry.index] = outcome
            if not outcome.status.is_good:
                self._failed += 1
                if self._failed == self._settings.max_failures:
                    self.end_submits(StopReason.FAIL_FAST)

    async def _wait_closed(self, work: _LaneWork, state: RefreshState, result: RefreshResult) -> None:
        """Keep the lane closed while its refresh may still run: until a poll says that it ended, or for its timeout.

        Return early if only closed lanes are left: then there is nothing to wait for.
        """
        opening = asyncio.create_task(self._until_open(work, state, result))
        only_closed = asyncio.create_task(self._only_closed.wait())
        self._lane_rests()
        try:
            await asyncio.wait({opening, only_closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opening.cancel()
            only_closed.cancel()
            await asyncio.gather(opening, only_closed, return_exceptions=True)
            self._working_lanes += 1

    async def _until_open(self, work: _LaneWork, state: RefreshState, result: RefreshResult) -> None:
        began_at = self._clock.now()
        if state.continued is not None and result.open_job is None and state.left_at is not None:
            began_at = state.left_at
        opens_at = began_at + state.refresh.timeout_s
        if result.open_job is not None:
            # these polls belong to the lane and not to the target, whose outcome stands
            follower = RefreshWorker(work.context, RefreshState(refresh=state.refresh, part=state.part))
            accepted_at = state.accepted_at or self._clock.now()
            found = await follower.follow(result.open_job, accepted_at, until=opens_at)
            if not found.may_run:
                return
        await asyncio.sleep(max(0.0, opens_at - self._clock.now()))

    def _lane_rests(self) -> None:
        """A lane has ended or is closed. If no other one runs, nothing more can be sent."""
        self._working_lanes -= 1
        if self._working_lanes <= 0 and not self._only_closed.is_set():
            self._only_closed.set()
            if not all(task.done() for task in self._tasks):
                for calls in self._calls.values():
                    calls.limiter.close(StopReason.LANES_CLOSED, SUBMITTING)
