"""The calls of one instance: a permit for each, what its end means for the key, and an instance that is down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Generic, TypeVar

from orchestrator.clock import Clock
from orchestrator.engine.events import CallEnded, InstanceAnswers, InstanceGivenUp, InstanceSilent, Observer
from orchestrator.engine.run_context import Access
from orchestrator.engine.run_stats import UNSENT, RunStats
from orchestrator.manifest.credentials import name_of
from orchestrator.manifest.manifest import Instance, Secret
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown, KeyRefused, Refused, Throttled, Unsent
from orchestrator.planning.lanes import URL_LIMIT
from orchestrator.quota.choice import SUBMITTING, CallRequest, Purpose
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.key import KeyQuota
from orchestrator.quota.rate_limiter import ConcurrencyLimit, LimiterClosed, Permit, RateLimiter, StopReason

FAILURES_IN_A_ROW = 5
FIRST_PROBE_S = 5.0
LONGEST_PROBE_S = 60.0
GIVE_UP_S = 120.0
UNREACHABLE_S = 15.0
"""How long to retry an instance that no call ever reached, if waiting rarely cures the cause; in seconds.

See docs/explanation/how-it-works.md, "When an instance is down".
"""

T = TypeVar("T")

_ALL_BUT_PROBES = frozenset(Purpose) - {Purpose.PROBE}
_FOLLOWING = _ALL_BUT_PROBES - SUBMITTING

OnLeave = Callable[[], Awaitable[None] | None]
"""What must happen between a permit and its call. It may have to be awaited."""


def is_silence(error: CallError) -> bool:
    """Return whether an error may mean that the instance is down: no answer at all, or a 5xx.

    A certificate that is not trusted says nothing about the instance's health.
    """
    if isinstance(error, Unsent):
        return error.kind is not CallErrorKind.TLS
    if isinstance(error, DeliveryUnknown):
        return error.http_status is None or error.http_status >= 500
    return isinstance(error, Refused) and (error.http_status or 0) >= 500


@dataclass(slots=True)
class Breaker:
    """Counts calls in a row that were not answered. While it `is_open`, nothing more is submitted."""

    in_a_row: int = 0
    is_open: bool = False

    def failed(self) -> bool:
        """A call was not answered, or with 5xx. Return whether this one opens the breaker."""
        self.in_a_row += 1
        if self.is_open or self.in_a_row < FAILURES_IN_A_ROW:
            return False
        self.is_open = True
        return True

    def answered(self) -> bool:
        """A call was answered. Return whether this closes the breaker again."""
        was_open, self.is_open, self.in_a_row = self.is_open, False, 0
        return was_open


def next_probe_s(probes: int) -> float:
    """Return how long to wait before the next small read, after `probes` of them, in seconds: 5, 10, 20 … 60."""
    return min(LONGEST_PROBE_S, FIRST_PROBE_S * 2.0 ** min(probes, 10))


def retry_s(retry_after_s: float | None, attempt: int, rng: Random) -> float:
    """Return how long one call waits before its retry after its `attempt`-th failure (counted from 1), in seconds."""
    backoff_s = min(30.0, 0.5 * 2.0 ** min(attempt - 1, 10)) * rng.uniform(1.0, 1.5)
    return backoff_s if retry_after_s is None else max(retry_after_s, 0.001)


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer, and the moment when its call left (the loop's clock)."""

    answer: T
    left_at: float


class Background:
    """Tasks that end with the work that they belong to."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancel the tasks that are left, and wait for them."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Calls:
    """The calls of one instance. `spawn` starts a background task that ends with the run."""

    def __init__(
        self,
        *,
        instance: Instance,
        client: OmniClient,
        limiter: RateLimiter,
        stats: RunStats,
        clock: Clock,
        observer: Observer,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.instance = instance
        self.client = client
        self.limiter = limiter
        self.clock = clock
        # how long a request target may be, in bytes; a 414 lowers it
        self.url_limit = URL_LIMIT
        # the name of the branch parameter in the list of schemas: the vendor's documents differ; a 400 shows which one is right
        self.branch_parameters: tuple[str, ...] = ("branchId", "branch_id")
        # whether the content validator takes the parameter that leaves out documents without issues; a 400 shows that it does not
        self.filters_content = True
        self._stats = stats
        self._observe = observer
        self._spawn = spawn
        self._breaker = Breaker()
        # while no call has reached the instance: the latest error, if waiting rarely cures its cause
        self._was_reached = False
        self._unreached: Unsent | None = None
        self._watches_reach = False
        self._is_given_up = False
        self._silences = 0

    async def send(
        self,
        request: CallRequest,
        call: Callable[[Secret], Awaitable[T]],
        *,
        target: str | None = None,
        on_leave: OnLeave | None = None,
        on_refused: Callable[[CallError], None] | None = None,
    ) -> Answered[T]:
        """Make `call` as soon as the rate limiter permits `request`; after a 429 or a refused key, wait for another permit.

        `target` is what the call is about, for the log. `on_leave` runs between the permit and the call. `on_refused` receives
        a 429 or a refused key before the next permit is requested. Raises `CallError` for any other failure, `LimiterClosed` if
        no permit will come.
        """
        while True:
            permit = await self._permit(request, on_leave, on_refused)
            end = "cancelled"
            try:
                answer = await call(permit.secret)
            except Throttled as error:
                end = "429"
                permit.throttled(error.retry_after_s)
                if on_refused is not None:
                    on_refused(error)
                self._heard(None)
            except KeyRefused as error:
                end = UNSENT if error.http_status is None else str(error.http_status)
                permit.refused()
                if on_refused is not None:
                    on_refused(error)
                self._heard(None)
            except Unsent as error:
                end = UNSENT
                permit.unsent()
                self._heard(error)
                raise
            except CallError as error:
                end = str(error.http_status or error.kind)
                if error.kind is CallErrorKind.TIMEOUT and error.http_status is None:
                    permit.lost()
                if isinstance(error, Refused) and error.http_status is None:
                    # refused on this side, before anything left
                    end = UNSENT
                    permit.unsent()
                self._heard(error)
                raise
            else:
                end = "2xx"
                self._heard(None)
                return Answered(answer, permit.left_at)
            finally:
                permit.answered()
                self._stats.count(request.purpose, end)
                took_s = self.clock.now() - permit.left_at
                purpose = request.purpose.name.lower()
                self._observe(
                    CallEnded(instance=self.instance.name, purpose=purpose, end=end, took_s=took_s, target=target)
                )

    async def _permit(
        self, request: CallRequest, on_leave: OnLeave | None, on_refused: Callable[[CallError], None] | None
    ) -> Permit:
        """Wait for a permit, do what must come before the call leaves, and make sure that it may still leave then."""
        while True:
            permit = await self.limiter.acquire(request)
            if on_leave is not None:
                await _prepare(permit, on_leave)
            if permit.may_send():
                return permit
            # suspended, or cut off from the shared state, for so long that another process may have the call's place
            permit.answered()
            if on_refused is not None:
                on_refused(Unsent(CallErrorKind.CUT_OFF, "this process was suspended for too long"))

    def _heard(self, error: CallError | None) -> None:
        """A call ended: count what that says about the instance's health."""
        self._heard_of_reach(error)
        if error is None or not is_silence(error):
            if self._breaker.answered():
                self.limiter.pause(frozenset())
                self._observe(InstanceAnswers(instance=self.instance.name))
        elif self._breaker.failed():
            self.limiter.pause(_ALL_BUT_PROBES)
            self._observe(InstanceSilent(instance=self.instance.name, kind=error.kind.value, message=error.message))
            self._silences += 1
            self._spawn(self._probe(error, self._silences))

    def _heard_of_reach(self, error: CallError | None) -> None:
        """Give up an instance that no call ever reached if waiting rarely cures the cause: after `UNREACHABLE_S`, and at once
        if its certificate is not trusted.
        """
        if isinstance(error, Refused) and error.http_status is None:
            # refused on this side
            return
        self._was_reached |= not isinstance(error, Unsent)
        self._unreached = None
        if isinstance(error, Unsent) and error.is_lasting and not self._was_reached:
            self._unreached = error
        if self._unreached is None:
            return
        if not self._unreached.is_retryable:
            self._give_up_unreached()
        elif not self._watches_reach:
            self._watches_reach = True
            self._spawn(self._watch_reach())

    async def _watch_reach(self) -> None:
        await asyncio.sleep(UNREACHABLE_S)
        self._watches_reach = False
        self._give_up_unreached()

    def _give_up_unreached(self) -> None:
        if self._unreached is not None:
            self._give_up(StopReason.UNREACHABLE, frozenset(Purpose), self._unreached)

    def _give_up(self, reason: StopReason, purposes: frozenset[Purpose], error: CallError) -> None:
        if not self._is_given_up:
            self._is_given_up = True
            kind = error.kind.value if reason is StopReason.UNREACHABLE else None
            self.limiter.close(reason, purposes, kind=kind, detail=error.message)
            self._observe(InstanceGivenUp(instance=self.instance.name, kind=error.kind.value, message=error.message))

    async def _probe(self, error: CallError, silence: int) -> None:
        """Send a small read now and then until the instance answers, which ends this `silence`. After two minutes, give up
        what was not sent; running jobs are still followed at the same pace.

        Meanwhile nothing else is sent but one poll after each probe. The polls and reads that wait fail with the probe, so that
        an instance that is gone costs one call and not one for each job.
        """
        began_at = self.clock.now()
        probes = 0
        while self._breaker.is_open and silence == self._silences:
            left_s = began_at + GIVE_UP_S - self.clock.now()
            if left_s <= 0 and probes:
                self._give_up(StopReason.DOWN, SUBMITTING, error)
            wait_s = next_probe_s(0 if self._unreached is not None else probes)
            await asyncio.sleep(wait_s if self._is_given_up else min(wait_s, max(left_s, FIRST_PROBE_S)))
            probes += 1
            try:
                await self.send(CallRequest(purpose=Purpose.PROBE), self.client.ping)
            except CallError as failed:
                error = failed
                self.limiter.fail_waiting(_FOLLOWING, partial(_not_sent, failed))
                self.limiter.allow_one_poll()
            except LimiterClosed:
                return


def _not_sent(error: CallError, _: Purpose) -> Unsent:
    """Return the error of a read that waited while another call showed that the instance does not answer."""
    return Unsent(error.kind, error.message)


async def _prepare(permit: Permit, on_leave: OnLeave) -> None:
    """Do what must come before the call leaves; if that fails, the permit was not used."""
    try:
        must_wait = on_leave()
        if must_wait is not None:
            await must_wait
    except BaseException:
        permit.unsent()
        raise


def open_calls(
    instance: Instance,
    client: OmniClient,
    access: Access,
    *,
    concurrency_limit: ConcurrencyLimit,
    durations: DurationModel,
    patience_s: float,
    stats: RunStats,
    background: Background,
) -> Calls:
    """Return the calls of an instance, with a rate limiter that gives permits from now on.

    `patience_s` is how long its keys may get nothing but 429 before the rate limiter closes, in seconds.
    """
    keys = [
        KeyQuota(
            label=name_of(key.source) or f"key {number} of {len(instance.keys)}",
            secret=key.secret if key.secret is not None else Secret(""),
            limit=instance.rate_limit,
            ledger=access.ledger(instance, key),
            rng=access.rng,
            request_timeout_s=instance.request_timeout_s,
        )
        for number, key in enumerate(instance.keys, 1)
    ]
    limiter = RateLimiter(
        keys=keys,
        concurrency_limit=concurrency_limit,
        durations=durations,
        observer=access.observer,
        instance=instance.name,
        address=instance.shown_address,
        clock=access.clock.now,
        patience_s=patience_s,
    )
    background.spawn(limiter.serve())
    return Calls(
        instance=instance,
        client=client,
        limiter=limiter,
        stats=stats,
        clock=access.clock,
        observer=access.observer,
        spawn=background.spawn,
    )


def refused_instances(calls: dict[str, Calls]) -> tuple[str, ...]:
    """Return the instances that accepted none of their keys."""
    return tuple(name for name, one in calls.items() if all(key.refused for key in one.limiter.keys))
