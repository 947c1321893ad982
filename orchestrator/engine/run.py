"""One run, from the selected entries to an outcome for each: opens the doors, looks up, plans, and lets the pool work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from orchestrator.engine.active_lanes import ActiveLane
from orchestrator.engine.calls import Access, Background, Calls, open_calls, refused_instances
from orchestrator.engine.connection_lock import ConnectionLocks, NoLocks
from orchestrator.engine.events import RunPlanned, TargetFinished
from orchestrator.engine.failure import closed_words, make_failure
from orchestrator.engine.make_outcomes import compared, cut_off, redacted, settle, skipped, unplanned, unresolved
from orchestrator.engine.outcome import Outcome, Status
from orchestrator.engine.planning import plan_entries
from orchestrator.engine.pool import Pool
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.refresh_state import RefreshState
from orchestrator.engine.restore import NO_PAST, NOTHING, EarlierResults, PriorState
from orchestrator.engine.run_stats import BudgetSample, BudgetSampler, RunStats
from orchestrator.engine.settings import RunSettings
from orchestrator.errors import OmniRefreshError
from orchestrator.manifest.manifest import Entry, Instance, Manifest
from orchestrator.omni.client import OmniClient
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.lanes import Length
from orchestrator.planning.make_plan import with_known
from orchestrator.planning.plan import RefreshPlan
from orchestrator.quota.choice import SUBMITTING
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.rate_limiter import THROTTLED_FOR_S, ConcurrencyLimit, LimiterClosed, RateLimiter, StopReason
from orchestrator.quota.time_left import estimate_time_left


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings(Access):
    """What a run stands on, handed in from outside.

    `history` holds earlier durations by instance and model id (seconds, oldest first). `length` counts the bytes of a call's
    request target. `redact` takes secrets out of a text. `keeper` has the lanes' locks across runs. `past` is what the
    targets were in runs before.
    """

    recorder: Recorder
    length: Length
    redact: Callable[[str], str]
    history: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    keeper: ConnectionLocks = field(default_factory=NoLocks)
    past: EarlierResults = NO_PAST


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run ended with. `outcomes` hold every selected entry, in manifest order. `ended` is why nothing more was
    submitted before all was; `holds` is how often each instance made a key pause; `abort` what took the ground from under the run.
    """

    outcomes: tuple[Outcome, ...]
    plan: RefreshPlan
    stats: RunStats
    refused_instances: tuple[str, ...]
    quota: Mapping[str, Mapping[str, object]]
    duration_s: float
    holds: Mapping[str, int] = field(default_factory=dict)
    budget: tuple[BudgetSample, ...] = ()
    ended: StopReason | None = None
    abort: OmniRefreshError | None = None


class Run:
    """One run over `selected` entries of a manifest, of which only those that a change has `touched`, where it follows one.
    `stop` may be called at any time, from a signal's handler too.
    """

    def __init__(
        self,
        manifest: Manifest,
        selected: Sequence[Entry],
        settings: RunSettings,
        surroundings: Surroundings,
        before: PriorState = NOTHING,
        *,
        touched: FollowedChange | None = None,
    ) -> None:
        self._before = before
        self._touched = touched
        self._open_entries = tuple(e for e in selected if e.index not in before.outcomes)
        self._planning: asyncio.Task[tuple[RefreshPlan, list[Outcome]]] | None = None
        self.manifest = manifest
        self._selected = tuple(selected)
        self._settings = settings
        self._around = surroundings
        self._tally = RunStats()
        self._calls: dict[str, Calls] = {}
        self._background = Background()
        self._pool: Pool | None = None
        self._ended: StopReason | None = None
        self._stops = 0

    async def run(self) -> RunResult:
        """Everything, to the end. Raises `UsageError` where certificates or proxies cannot be used."""
        around, clock = self._around, self._around.clock
        began_at = clock.now()
        async with AsyncExitStack() as stack:
            concurrency_limit = ConcurrencyLimit(self.manifest.workers)
            for name in dict.fromkeys(e.instance for e in self._open_entries if e.enabled):
                instance = self.manifest.instances[name]
                client = await stack.enter_async_context(around.open_client(instance))
                self._calls[name] = self._open(instance, client, concurrency_limit)
            stack.push_async_callback(self._background.end)
            if self._settings.deadline_s is not None:
                self._background.spawn(self._deadline(self._settings.deadline_s))
            sampler = BudgetSampler((calls.door for calls in self._calls.values()), clock, began_at)
            self._background.spawn(sampler.watch())
            self._planning = asyncio.create_task(self._plan())
            try:
                plan, outcomes = await self._planning
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # not the planning alone was cancelled but all of this
                    raise
                plan, outcomes = RefreshPlan(manifest=self.manifest, lanes=()), self._cut_short()
            around.observer(
                RunPlanned(
                    targets=len(plan.entries),
                    lanes=len(plan.lanes),
                    skipped=len(plan.skips),
                    unresolved=len(plan.unresolved),
                    remarks=plan.remarks,
                )
            )
            pool = self._pool = Pool(
                plan,
                settings=self._settings,
                calls=self._calls,
                recorder=around.recorder,
                observer=around.observer,
                clock=clock,
                rng=around.rng,
                length=around.length,
                finish=self._finish,
                began_at=began_at,
                failed=sum(not o.status.is_good for o in outcomes),
                keeper=around.keeper,
                active_refreshes=self._before.active_refreshes,
            )
            if self._ended is not None:
                pool.end_submits(self._ended)
            if self._stops > 1:
                pool.cut(StopReason.STOPPED)
            outcomes += await pool.run()
            outcomes += self._before.outcomes.values()
            sampler.take()
        index = {e.name: e.index for e in self._selected}
        return RunResult(
            outcomes=tuple(sorted(outcomes, key=lambda o: index[o.name])),
            plan=plan,
            stats=self._tally,
            refused_instances=refused_instances(self._calls),
            quota={name: learned for name, calls in self._calls.items() if (learned := _learned(calls.door))},
            duration_s=clock.now() - began_at,
            holds={name: sum(key.holds for key in calls.door.keys) for name, calls in self._calls.items()},
            budget=sampler.samples,
            ended=self._ended,
            abort=pool.abort,
        )

    def time_left_s(self) -> float | None:
        """Return the expected seconds until the run ends; None before there is a plan."""
        if self._pool is None:
            return None
        left = self._pool.remaining_lanes()
        times = (estimate_time_left(lanes, self._calls[name].door.budget()) for name, lanes in left.items())
        return max(times, default=0.0)

    @property
    def selected(self) -> int:
        """How many targets the run has, before anything is looked up."""
        return len(self._selected)

    @property
    def doors(self) -> Mapping[str, RateLimiter]:
        """The rate limiter of each instance, as far as the run has opened it."""
        return {name: calls.door for name, calls in self._calls.items()}

    def active_lanes(self) -> tuple[ActiveLane, ...]:
        """The lanes that are at work on something now."""
        return () if self._pool is None else self._pool.active_lanes()

    def stop(self) -> None:
        """Submit nothing more; follow what is in flight for the grace, then settle. A second call settles at once."""
        self._stops += 1
        if self._stops == 1:
            self._end_submits(StopReason.STOPPED)
            self._background.spawn(self._grace())
        else:
            self._cut(StopReason.STOPPED)

    def _cut(self, reason: StopReason) -> None:
        """Settle what is known, at once."""
        if self._pool is not None:
            self._pool.cut(reason)
        elif self._planning is not None:
            self._planning.cancel()

    def _end_submits(self, reason: StopReason) -> None:
        self._ended = self._ended or reason
        if self._pool is not None:
            self._pool.end_submits(reason)
        else:
            for calls in self._calls.values():
                calls.door.close(reason, SUBMITTING)

    async def _grace(self) -> None:
        await asyncio.sleep(self._settings.grace_s)
        self._cut(StopReason.STOPPED)

    async def _deadline(self, deadline_s: float) -> None:
        await asyncio.sleep(deadline_s)
        self._end_submits(StopReason.DEADLINE)
        # those who waited for a turn are told first, so that they end as not started and not as cut
        await asyncio.sleep(0)
        self._cut(StopReason.STOPPED if self._stops else StopReason.DEADLINE)

    def _open(self, instance: Instance, client: OmniClient, concurrency_limit: ConcurrencyLimit) -> Calls:
        around = self._around
        return open_calls(
            instance,
            client,
            around,
            concurrency_limit=concurrency_limit,
            durations=DurationModel(around.history.get(instance.name)),
            # with a deadline it is the deadline that ends a run which gets nothing but 429
            patience_s=THROTTLED_FOR_S if self._settings.deadline_s is None else float("inf"),
            stats=self._tally,
            background=self._background,
        )

    async def _plan(self) -> tuple[RefreshPlan, list[Outcome]]:
        """Look up what is left open and plan; with the outcomes of those that get no refresh."""
        known, around = self._before.targets, self._around
        unknown = [e for e in self._open_entries if e.index not in known]
        planned = await plan_entries(self.manifest, unknown, self._calls, around.rng, self._touched)
        known_now = [known[e.index] for e in self._open_entries if e.index in known]
        plan = with_known(planned.plan, known_now, self._before.warnings)
        around.recorder.planned(plan)
        settled = [(entry, _unplanned(entry, reason)) for entry, reason in planned.closed]
        settled += [(s.entry, skipped(s)) for s in plan.skips]
        settled += [(u.entry, unresolved(u, plan.warnings.get(u.entry.index, ()))) for u in plan.unresolved]
        return plan, self._settle(settled)

    def _cut_short(self) -> list[Outcome]:
        """The outcomes of a run that was stopped before there was a plan."""
        reason = self._ended or StopReason.STOPPED
        begun = {t.entry.index for u in self._before.active_refreshes for t in u.refresh.served}
        settled = [(e, _unplanned(e, LimiterClosed(reason))) for e in self._open_entries if e.index not in begun]
        for active_refreshes in self._before.active_refreshes:
            life = RefreshState.restored(active_refreshes, self._around.clock)
            pairs = settle(
                life, cut_off(life, reason), began_at=0.0, clock=self._around.clock, warnings=self._before.warnings
            )
            settled += [(target.entry, outcome) for outcome, target in pairs]
        return self._settle(settled)

    def _settle(self, settled: Sequence[tuple[Entry, Outcome]]) -> list[Outcome]:
        finished = [(entry, self._finish(outcome)) for entry, outcome in settled]
        self._around.recorder.settled(finished)
        for _, outcome in finished:
            self._around.observer(TargetFinished(outcome=outcome))
        return [outcome for _, outcome in finished]

    def _finish(self, outcome: Outcome) -> Outcome:
        """An outcome as it is kept and told: without secrets, beside what the target was in runs before."""
        durations = self._around.history.get(outcome.instance, {}).get(outcome.model_id or "", ())
        return compared(redacted(outcome, self._around.redact), self._around.past, durations)


_UNPLANNED = {
    StopReason.DOWN: Status.ERROR,
    StopReason.UNREACHABLE: Status.ERROR,
    StopReason.THROTTLED: Status.THROTTLED,
}


def _unplanned(entry: Entry, closed: LimiterClosed) -> Outcome:
    kind, message = closed_words(closed)
    status = _UNPLANNED.get(closed.reason, Status.NOT_STARTED)
    return unplanned(entry, make_failure(kind, message), status)


_LESS = "the server gives less than rate_limit says: lower it, or give the run a key that nothing else uses"
_NOT_AT_ONCE = "the server refused a burst of calls: something else may use the key, or it counts in a shorter window"


def _learned(door: RateLimiter) -> dict[str, object]:
    lower = [k for k in door.keys if k.learned.is_lower]
    if not lower:
        return {}
    return {
        "told": lower[0].learned.told,
        "learned": min(k.learned.limit for k in lower),
        "burst": min(k.learned.burst for k in lower),
        "per_s": lower[0].per_s,
        "holds": sum(k.holds for k in door.keys),
        "hint": _LESS if any(k.learned.limit < k.learned.told for k in lower) else _NOT_AT_ONCE,
    }
