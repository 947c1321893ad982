"""The pool: lanes side by side, a lane's refreshes one after another, and an outcome for every target whatever happens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, TypeVar

from orchestrator.clock import Clock
from orchestrator.engine.active_lanes import ActiveLane
from orchestrator.engine.calls import Calls
from orchestrator.engine.connection_lock import ConnectionLock, ConnectionLocks
from orchestrator.engine.events import LaneClosed, LaneFailed, LaneWaiting, Observer, SubmitsEnded, TargetFinished
from orchestrator.engine.failure import CLOSED_WORDS, RunKind, make_failure
from orchestrator.engine.make_outcomes import cut_off, not_sent, settle
from orchestrator.engine.outcome import Failure, Outcome, Status
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.refresh import Refreshing
from orchestrator.engine.refresh_state import Phase, RefreshResult, RefreshState
from orchestrator.engine.restore import ActiveRefresh
from orchestrator.engine.settings import RunSettings
from orchestrator.engine.verification import NOT_READ_BACK, Proven, Verification, unproven, wants_proof
from orchestrator.errors import OmniRefreshError
from orchestrator.journal.records import CallStatus
from orchestrator.planning.lanes import Length, next_refresh, refreshes
from orchestrator.planning.plan import Lane, RefreshPlan, Target
from orchestrator.quota.choice import SUBMITTING
from orchestrator.quota.rate_limiter import StopReason
from orchestrator.quota.time_left import LaneLeft

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Work:
    """A lane at work: its targets without an outcome, the refreshes of them that another run had begun, and the refresh
    that is under way. `earlier_jobs`, by a target's index, are those of earlier runs that did not succeed.
    """

    lane: Lane
    gate: ConnectionLock
    pending: list[Target]
    begun: deque[ActiveRefresh]
    life: RefreshState | None = None
    proving: Verification | None = None
    earlier_jobs: dict[int, tuple[str, ...]] = field(default_factory=dict)


class Pool:
    """Runs a plan's lanes. `run` returns one outcome for each target in them, in manifest order."""

    def __init__(
        self,
        plan: RefreshPlan,
        *,
        settings: RunSettings,
        calls: Mapping[str, Calls],
        recorder: Recorder,
        observer: Observer,
        clock: Clock,
        rng: Random,
        length: Length,
        finish: Callable[[Outcome], Outcome],
        began_at: float,
        failed: int = 0,
        keeper: ConnectionLocks,
        active_refreshes: Sequence[ActiveRefresh] = (),
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._calls = calls
        self._recorder = recorder
        self._observe = observer
        self._clock = clock
        self._rng = rng
        self._length = length
        self._finish = finish
        self._began_at = began_at
        self._keeper = keeper
        self._underway = tuple(active_refreshes)
        self._over = asyncio.Event()
        self._cut_by: StopReason | None = None
        self._warnings = dict(plan.warnings)
        self._settled: dict[int, Outcome] = {}
        self._bad = failed
        self._at_work = len(plan.lanes)
        self._only_closed = asyncio.Event()
        self._works: list[_Work] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self.abort: OmniRefreshError | None = None

    async def run(self) -> tuple[Outcome, ...]:
        """Everything, to the end; a lane that is cut settles its targets from what is known of them."""
        if self._settings.max_failures is not None and self._bad >= self._settings.max_failures:
            self.end_submits(StopReason.FAIL_FAST)
        for lane in self._plan.lanes:
            work = self._work(lane)
            self._works.append(work)
            self._begin(self._lane(work), partial(self._lane_over, work))
        if self._cut_by is not None:
            self.cut(self._cut_by)
        while self._tasks:
            # what a refresh brought is read back beside its lane, in tasks that are begun meanwhile
            await asyncio.wait(set(self._tasks))
        return tuple(self._settled[index] for index in sorted(self._settled))

    def _begin(self, work: Coroutine[Any, Any, T], over: Callable[[asyncio.Task[T]], None]) -> None:
        """Do `work` beside all else; `over` is told of its end before the pool can be at its own."""
        task = asyncio.create_task(work)
        task.add_done_callback(over)
        task.add_done_callback(self._tasks.discard)
        self._tasks.add(task)

    def _work(self, lane: Lane) -> _Work:

        def waits(holder: str, at_most_s: float | None) -> None:
            self._observe(LaneWaiting(instance=lane.instance, lane=lane.key, holder=holder, at_most_s=at_most_s))

        gate = ConnectionLock(self._keeper, lane=lane, overlap=self._settings.overlap, over=self._over, waits=waits)
        places = {t.entry.index for t in lane.targets}
        begun = deque(u for u in self._underway if u.refresh.sender.entry.index in places)
        return _Work(lane, gate, list(lane.targets), begun)

    def remaining_lanes(self) -> dict[str, tuple[LaneLeft, ...]]:
        """What is still to be done, by instance: for an estimate of the time left."""
        left: dict[str, list[LaneLeft]] = {name: [] for name in self._calls}
        for work in self._works:
            if work.pending:
                left[work.lane.instance].append(self._lane_left(work))
        return {name: tuple(lanes) for name, lanes in left.items()}

    def active_lanes(self) -> tuple[ActiveLane, ...]:
        """The lanes whose refresh has a call on the wire or a job that runs."""
        now, found = self._clock.now(), []
        for work in self._works:
            durations = self._calls[work.lane.instance].door.durations
            found.append(ActiveLane.of(work.lane.instance, work.life, len(work.pending), durations, now))
        return tuple(lane for lane in found if lane is not None)

    def _lane_left(self, work: _Work) -> LaneLeft:
        durations, now = self._calls[work.lane.instance].door.durations, self._clock.now()

        def expected_s(model: str) -> float:
            known_s = durations.known_s(model)
            return durations.typical_s if known_s is None else known_s

        life, pending = work.life, work.pending
        if life is None or life.accepted_at is None or life.unfinished_at is None or life.phase is Phase.ENDED:
            return LaneLeft(waiting_s=tuple(expected_s(model) for model in self._senders(pending)))
        served = {t.entry.index for t in life.refresh.served}
        behind = [t for t in pending if t.entry.index not in served]
        return LaneLeft(
            running_s=expected_s(life.refresh.sender.model_id),
            age_s=now - life.accepted_at,
            waiting_s=tuple(expected_s(model) for model in self._senders(behind)),
        )

    def _senders(self, pending: Sequence[Target]) -> list[str]:
        """The models that the refreshes of `pending` will be sent for, in order."""
        if len(pending) < 2:
            return [t.model_id for t in pending]
        collapse = self._plan.manifest.collapse
        return [r.sender.model_id for r in refreshes(pending, collapse=collapse, length=self._length)]

    def end_submits(self, reason: StopReason) -> None:
        """Submit nothing more, anywhere; what is in flight is followed on."""
        if not self._over.is_set():
            self._observe(SubmitsEnded(reason=reason.value))
        self._over.set()
        for calls in self._calls.values():
            calls.door.close(reason, SUBMITTING)

    def cut(self, reason: StopReason) -> None:
        """Stop following, for this reason: every target settles at once from what is known of it."""
        self._cut_by = self._cut_by or reason
        for task in self._tasks:
            task.cancel()

    async def _lane(self, work: _Work) -> None:
        calls = self._calls[work.lane.instance]
        proving = work.proving = Verification(calls, self._rng)
        refreshing = Refreshing(
            calls=calls, recorder=self._recorder, rng=self._rng, gate=work.gate, length=self._length, proving=proving
        )
        while work.pending:
            life = work.life = self._next_life(work)
            refresh = life.refresh
            behind = len(refresh.served) < len(work.pending)
            ending = await refreshing.run(life, follow=(self._settings.wait and refresh.wait) or behind)
            if ending.again and life.begun is not None:
                self._refresh_anew(work, life, life.begun, ending)
                continue
            self._settle(work, life, ending)
            if ending.failure is not None and ending.failure.kind == RunKind.LANE_CLOSED:
                # what is in the way of one refresh is in the way of all
                self._give_up(work.pending, ending.status, ending.failure)
            if work.pending and ending.may_run:
                self._observe(LaneClosed(instance=work.lane.instance, lane=work.lane.key))
                await self._closed(refreshing, life, ending)
            work.gate.leave()

    def _refresh_anew(self, work: _Work, life: RefreshState, begun: ActiveRefresh, ending: RefreshResult) -> None:
        """The job of an earlier run did not succeed: its targets are planned again with the others of the lane."""
        kind = None if ending.failure is None else ending.failure.kind
        work.gate.let_go(begun.call, CallStatus.LOST if kind == RunKind.JOB_LOST else None)
        work.gate.leave()
        words = "was lost from sight" if ending.may_run else f"ended {life.last_word or 'FAILED'}"
        work.earlier_jobs.update((target.entry.index, tuple(life.job_ids)) for target in life.refresh.served)
        note = f"job {begun.job_id} of an earlier run {words}: the refresh was sent again"
        for target in life.refresh.served:
            index = target.entry.index
            self._warnings[index] = (*self._warnings.get(index, ()), note)

    def _next_life(self, work: _Work) -> RefreshState:
        """What another run had begun goes first, since it may be running."""
        if work.begun:
            return RefreshState.restored(work.begun.popleft(), self._clock)
        collapse, limit = self._plan.manifest.collapse, self._calls[work.lane.instance].url_limit
        refresh = next_refresh(work.pending, collapse=collapse, length=self._length, limit=limit)
        return RefreshState(refresh, earlier_jobs=work.earlier_jobs.get(refresh.sender.entry.index, ()))

    def _lane_over(self, work: _Work, task: asyncio.Task[None]) -> None:
        """A lane has ended, in whatever way: what it left open is settled from what is known, without any await."""
        error = None if task.cancelled() else task.exception()
        life = work.life if work.life is not None and work.life.phase is not Phase.ENDED else None
        if task.cancelled() or isinstance(error, OmniRefreshError):
            reason = StopReason.STOPPED if error is not None else self._cut_by or StopReason.STOPPED
            if life is not None:
                self._settle(work, life, cut_off(life, reason))
            while work.begun:
                life = RefreshState.restored(work.begun.popleft(), self._clock)
                self._settle(work, life, cut_off(life, reason))
            if isinstance(error, OmniRefreshError):
                # not a call's end but the run's own ground giving way (the journal): nothing more may be sent
                self.abort = self.abort or error
                self.end_submits(StopReason.STOPPED)
            kind, words = CLOSED_WORDS[reason]
            self._give_up(work.pending, Status.NOT_STARTED, make_failure(kind, str(error or words)))
        elif error is not None:
            # a fault of this program costs the targets of one lane at most, and says so
            self._observe(LaneFailed(instance=work.lane.instance, lane=work.lane.key, error=error))
            message = f"{type(error).__name__}: {error}"
            if life is not None and life.left_at is not None:
                failure = make_failure(RunKind.INTERNAL, message, last_status=life.last_word)
                self._settle(work, life, RefreshResult(status=Status.UNKNOWN, failure=failure, may_run=True))
            self._give_up(work.pending, Status.ERROR, make_failure(RunKind.INTERNAL, message))
        try:
            work.gate.leave()
        except OmniRefreshError as fault:
            # the lane falls to others when this process ends
            self.abort = self.abort or fault
        self._stand_back()

    def _settle(self, work: _Work, life: RefreshState, ending: RefreshResult) -> None:
        settled = settle(life, ending, began_at=self._began_at, clock=self._clock, warnings=self._warnings)
        for _, target in settled:
            work.pending.remove(target)
        proving = work.proving if ending.status is Status.SUCCEEDED and life.is_followed else None
        if proving is not None and any(wants_proof(target.entry) for _, target in settled):
            proof = proving.prove(settled, life.issues_before or {})
            self._begin(proof, partial(self._proof_over, work.lane, settled))
        else:
            self._keep([(target, outcome) for outcome, target in settled])

    def _proof_over(self, lane: Lane, settled: Proven, task: asyncio.Task[Proven]) -> None:
        """What was read back is told; where that was cut, the refresh has succeeded all the same."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._observe(LaneFailed(instance=lane.instance, lane=lane.key, error=error))
        if error is not None or task.cancelled():
            proven = tuple((unproven(o, NOT_READ_BACK) if wants_proof(t.entry) else o, t) for o, t in settled)
        else:
            proven = task.result()
        self._keep([(target, outcome) for outcome, target in proven])

    def _give_up(self, pending: list[Target], status: Status, failure: Failure) -> None:
        self._keep([(t, not_sent(t, failure, status, self._warnings.get(t.entry.index, ()))) for t in pending])
        pending.clear()

    def _keep(self, settled: Sequence[tuple[Target, Outcome]]) -> None:
        finished = [(target.entry, self._finish(outcome)) for target, outcome in settled]
        self._recorder.settled(finished)
        for entry, outcome in finished:
            self._settled[entry.index] = outcome
            self._observe(TargetFinished(outcome=outcome))
            if not outcome.status.is_good:
                self._bad += 1
                if self._bad == self._settings.max_failures:
                    self.end_submits(StopReason.FAIL_FAST)

    async def _closed(self, refreshing: Refreshing, life: RefreshState, ending: RefreshResult) -> None:
        """Keep the lane closed while a refresh of it may still run: until a poll says that it ended, or for its timeout;
        or until no lane is at work any more, when there is nothing to wait for.
        """
        opening = asyncio.create_task(self._until_open(refreshing, life, ending))
        only_closed = asyncio.create_task(self._only_closed.wait())
        self._stand_back()
        try:
            await asyncio.wait({opening, only_closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opening.cancel()
            only_closed.cancel()
            await asyncio.gather(opening, only_closed, return_exceptions=True)
            self._at_work += 1

    async def _until_open(self, refreshing: Refreshing, life: RefreshState, ending: RefreshResult) -> None:
        began_at = self._clock.now()
        if life.begun is not None and ending.open_job is None and life.left_at is not None:
            began_at = life.left_at
        opens_at = began_at + life.refresh.timeout_s
        if ending.open_job is not None:
            # its polls are the lane's and not the target's, whose outcome stands
            watch, began_at = RefreshState(life.refresh), life.accepted_at or self._clock.now()
            found = await refreshing.follow(watch, life.part, ending.open_job, began_at, until=opens_at)
            if not found.may_run:
                return
        await asyncio.sleep(max(0.0, opens_at - self._clock.now()))

    def _stand_back(self) -> None:
        self._at_work -= 1
        if self._at_work <= 0 and not self._only_closed.is_set():
            self._only_closed.set()
            if not all(task.done() for task in self._tasks):
                for calls in self._calls.values():
                    calls.door.close(StopReason.LANES_CLOSED, SUBMITTING)
