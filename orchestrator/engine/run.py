"""One run, from the selected entries to an outcome for each: opens the instances, looks up, plans, and runs the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from orchestrator.engine.calls import Background, Calls, open_calls, refused_instances
from orchestrator.engine.events import ActiveLane, RunPlanned
from orchestrator.engine.failure import closed_words, make_failure, status_if_closed
from orchestrator.engine.make_outcomes import cut_off, settle, skipped, unplanned, unresolved
from orchestrator.engine.outcome import Outcome
from orchestrator.engine.planning import plan_entries
from orchestrator.engine.pool import Pool
from orchestrator.engine.refresh_state import RefreshState
from orchestrator.engine.restore import NOTHING, PriorState
from orchestrator.engine.run_context import RunContext
from orchestrator.engine.run_stats import BudgetSample, BudgetSampler, RunStats
from orchestrator.errors import OmniRefreshError
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.make_plan import with_known
from orchestrator.planning.plan import RefreshPlan
from orchestrator.planning.selection import Selector
from orchestrator.quota.choice import SUBMITTING
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.rate_limiter import THROTTLED_FOR_S, ConcurrencyLimit, LimiterClosed, RateLimiter, StopReason
from orchestrator.quota.time_left import estimate_time_left


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended. `outcomes` hold every selected entry, in manifest order.

    `ended` is why nothing more was submitted before all was. `holds` is how often each instance paused a key. `abort` is the
    error that aborted the run, for example a journal failure. If it was `detached`, targets whose jobs are left have no
    outcome.
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
    detached: bool = False


class Run:
    """One run over `selected` entries of a manifest; with `change` only over those that the change affects.

    `selector` picks branches of a branch pattern (all without it). `prior` is what is known of them already. `stop` may be
    called at any time, from a signal handler too.
    """

    def __init__(
        self,
        manifest: Manifest,
        selected: Sequence[Entry],
        context: RunContext,
        prior: PriorState = NOTHING,
        *,
        change: FollowedChange | None = None,
        selector: Selector | None = None,
    ) -> None:
        self.manifest = manifest
        self._selector = selector or Selector(manifest)
        self._selected = tuple(selected)
        self._context = context
        self._settings = context.settings
        self._prior = prior
        self._change = change
        self._open_entries = tuple(e for e in selected if e.index not in prior.outcomes)
        self._planning: asyncio.Task[tuple[RefreshPlan, list[Outcome]]] | None = None
        self._stats = RunStats()
        self._calls: dict[str, Calls] = {}
        self._background = Background()
        self._pool: Pool | None = None
        self._ended: StopReason | None = None
        self._stops = 0

    async def run(self) -> RunResult:
        """Run to the end. Raises `UsageError` if certificates or proxies cannot be used."""
        clock = self._context.clock
        began_at = clock.now()
        async with AsyncExitStack() as stack:
            await self._open_instances(stack)
            stack.push_async_callback(self._background.end)
            if self._settings.deadline_s is not None:
                self._background.spawn(self._deadline(self._settings.deadline_s))
            sampler = BudgetSampler(self.limiters.values(), clock, began_at)
            self._background.spawn(sampler.watch())
            self._planning = asyncio.create_task(self._plan())
            try:
                plan, outcomes = await self._planning
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # not the planning alone was cancelled but the whole run
                    raise
                plan, outcomes = RefreshPlan(manifest=self.manifest, lanes=()), self._cut_planning()
            context = self._context
            context.observer(
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
                context,
                self._calls,
                began_at=began_at,
                failed=sum(not o.status.is_good for o in outcomes),
                active=self._prior.active_refreshes,
            )
            if self._ended is not None:
                pool.end_submits(self._ended)
            if self._stops > 1:
                pool.cut(StopReason.STOPPED)
            outcomes += await pool.run()
            outcomes += self._prior.outcomes.values()
            sampler.take()
        index = {e.name: e.index for e in (*self._selected, *plan.entries)}
        return RunResult(
            outcomes=tuple(sorted(outcomes, key=lambda o: index[o.name])),
            plan=plan,
            stats=self._stats,
            refused_instances=refused_instances(self._calls),
            quota={name: found for name, limiter in self.limiters.items() if (found := _observed_limit(limiter))},
            duration_s=clock.now() - began_at,
            holds={name: sum(key.holds for key in limiter.keys) for name, limiter in self.limiters.items()},
            budget=sampler.samples,
            ended=self._ended,
            abort=pool.abort,
            detached=pool.detached,
        )

    def time_left_s(self) -> float | None:
        """Return the expected seconds until the run ends; None before there is a plan."""
        if self._pool is None:
            return None
        left = self._pool.remaining_lanes()
        times = (estimate_time_left(lanes, self._calls[name].limiter.budget()) for name, lanes in left.items())
        return max(times, default=0.0)

    @property
    def selected(self) -> int:
        """How many targets the run has, before anything is looked up."""
        return len(self._selected)

    @property
    def limiters(self) -> Mapping[str, RateLimiter]:
        """The rate limiter of each instance that the run has opened."""
        return {name: calls.limiter for name, calls in self._calls.items()}

    def active_lanes(self) -> tuple[ActiveLane, ...]:
        """Return the lanes whose refresh is being sent or has a job that runs."""
        return () if self._pool is None else self._pool.active_lanes()

    def stop(self) -> None:
        """Submit nothing more; follow running jobs for the grace, then settle. A second call settles at once."""
        self._stops += 1
        if self._stops == 1:
            self._end_submits(StopReason.STOPPED)
            self._background.spawn(self._grace())
        else:
            self._cut(StopReason.STOPPED)

    def _cut(self, reason: StopReason) -> None:
        """Settle at once what is known."""
        if self._pool is not None:
            self._pool.cut(reason)
        elif self._planning is not None:
            self._planning.cancel()

    def _end_submits(self, reason: StopReason) -> None:
        self._ended = self._ended or reason
        if self._pool is not None:
            self._pool.end_submits(reason)
        else:
            for limiter in self.limiters.values():
                limiter.close(reason, SUBMITTING)

    async def _grace(self) -> None:
        await asyncio.sleep(self._settings.grace_s)
        self._cut(StopReason.STOPPED)

    async def _deadline(self, deadline_s: float) -> None:
        await asyncio.sleep(deadline_s)
        self._end_submits(StopReason.DEADLINE)
        # calls that wait for a permit hear of it first, so that their targets end as not started and not as cut off
        await asyncio.sleep(0)
        self._cut(StopReason.STOPPED if self._stops else StopReason.DEADLINE)

    async def _open_instances(self, stack: AsyncExitStack) -> None:
        context, concurrency_limit = self._context, ConcurrencyLimit(self.manifest.workers)
        for name in dict.fromkeys(e.instance for e in self._open_entries if e.enabled):
            instance = self.manifest.instances[name]
            self._calls[name] = open_calls(
                instance,
                await stack.enter_async_context(context.open_client(instance)),
                context,
                concurrency_limit=concurrency_limit,
                durations=DurationModel(context.history.get(name)),
                # with a deadline it is the deadline that ends a run which gets nothing but 429
                patience_s=THROTTLED_FOR_S if self._settings.deadline_s is None else float("inf"),
                stats=self._stats,
                background=self._background,
            )

    async def _plan(self) -> tuple[RefreshPlan, list[Outcome]]:
        """Look up what the entries leave out, and plan; with the outcomes of entries that get no refresh."""
        known, context = self._prior.targets, self._context
        unknown = [e for e in self._open_entries if e.index not in known]
        planned = await plan_entries(
            self.manifest,
            unknown,
            self._calls,
            context.rng,
            change=self._change,
            picks=self._selector.picks_branch,
        )
        known_now = [known[e.index] for e in self._open_entries if e.index in known]
        plan = with_known(planned.plan, known_now, self._prior.warnings)
        if plan.expansions:
            names = [entry.name for one in plan.expansions for entry in one.entries]
            past = context.past.joined(await context.read_past(names))
            context = self._context = replace(context, past=past)
        context.recorder.planned(plan)
        settled = [(entry, _unplanned(entry, closed)) for entry, closed in planned.closed]
        settled += [(s.entry, skipped(s)) for s in plan.skips]
        settled += [(u.entry, unresolved(u, plan.warnings.get(u.entry.index, ()))) for u in plan.unresolved]
        return plan, [outcome for _, outcome in context.keep(settled)]

    def _cut_planning(self) -> list[Outcome]:
        """Return the outcomes of a run that was stopped before there was a plan."""
        reason, clock = self._ended or StopReason.STOPPED, self._context.clock
        active = {t.entry.index for one in self._prior.active_refreshes for t in one.refresh.served}
        settled = [(e, _unplanned(e, LimiterClosed(reason))) for e in self._open_entries if e.index not in active]
        for one in self._prior.active_refreshes:
            state = RefreshState.restored(one, clock)
            result = cut_off(state, reason)
            pairs = settle(state, result, began_at=0.0, clock=clock, warnings=self._prior.warnings)
            settled += [(target.entry, outcome) for target, outcome in pairs]
        return [outcome for _, outcome in self._context.keep(settled)]


def _unplanned(entry: Entry, closed: LimiterClosed) -> Outcome:
    kind, message = closed_words(closed)
    return unplanned(entry, make_failure(kind, message), status_if_closed(closed.reason))


_LESS = "the server allows less than rate_limit says: lower it, or use a key that nothing else uses"
_NOT_AT_ONCE = "the server refused a burst of calls: something else may use the key, or it counts in a shorter window"


def _observed_limit(limiter: RateLimiter) -> dict[str, object]:
    """Return what a report says about keys whose observed limit is below the configured one; empty if there are none."""
    lower = [k for k in limiter.keys if k.learned.is_lower]
    if not lower:
        return {}
    return {
        "told": lower[0].learned.configured,
        "learned": min(k.learned.limit for k in lower),
        "burst": min(k.learned.burst for k in lower),
        "per_s": lower[0].per_s,
        "holds": sum(k.holds for k in limiter.keys),
        "hint": _LESS if any(k.learned.limit < k.learned.configured for k in lower) else _NOT_AT_ONCE,
    }
