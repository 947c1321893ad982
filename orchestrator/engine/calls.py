"""The calls of one instance: the rate limiter's permits, the result of each call, and an instance that is down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Generic, TypeVar

from orchestrator.clock import Clock
from orchestrator.engine.events import CallEnded, InstanceAnswers, InstanceGivenUp, InstanceSilent, Observer
from orchestrator.engine.run_stats import UNSENT, CallCounts, RunStats
from orchestrator.manifest.api_keys import name_of
from orchestrator.manifest.manifest import ApiKey, Instance, Secret
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown, KeyRefused, Refused, Throttled, Unsent
from orchestrator.planning.scope import URL_LIMIT
from orchestrator.quota.choice import SUBMITTING, CallRequest, Purpose
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.key import KeyQuota
from orchestrator.quota.rate_limiter import ConcurrencyLimit, LimiterClosed, Permit, RateLimiter, StopReason
from orchestrator.quota.window import CallWindow

FAILURES_IN_A_ROW = 5
FIRST_PROBE_S = 5.0
LONGEST_PROBE_S = 60.0
GIVE_UP_S = 120.0
UNREACHABLE_S = 15.0
"""How long to retry an instance that no call ever reached, if waiting rarely cures the cause; in seconds.

See docs/explanation/how-it-works.md, "When an instance is down".
"""


def is_silence(error: CallError) -> bool:
    """Whether a call's end speaks for an instance that is down: no answer at all, or a 5xx.

    A certificate that is not trusted says nothing about the instance's health.
    """
    if isinstance(error, Unsent):
        return error.kind is not CallErrorKind.TLS
    if isinstance(error, DeliveryUnknown):
        return error.http_status is None or error.http_status >= 500
    return isinstance(error, Refused) and (error.http_status or 0) >= 500


@dataclass(slots=True)
class Breaker:
    """Counts calls without an answer in a row; `is_open` while nothing more is submitted."""

    in_a_row: int = 0
    is_open: bool = False

    def failed(self) -> bool:
        """A call was not answered, or with 5xx. True where this one opens the breaker."""
        self.in_a_row += 1
        if self.is_open or self.in_a_row < FAILURES_IN_A_ROW:
            return False
        self.is_open = True
        return True

    def answered(self) -> bool:
        """A call was answered. True where this closes the breaker again."""
        was_open, self.is_open, self.in_a_row = self.is_open, False, 0
        return was_open


def next_probe_s(probes: int) -> float:
    """How long to wait before the next small read, after `probes` of them, in seconds: 5, 10, 20 … 60."""
    return min(LONGEST_PROBE_S, FIRST_PROBE_S * 2.0 ** min(probes, 10))


def retry_s(retry_after_s: float | None, attempt: int, rng: Random) -> float:
    """How long one call waits before it is tried again after its `attempt`-th failure (counted from 1), in seconds."""
    backoff_s = min(30.0, 0.5 * 2.0 ** min(attempt - 1, 10)) * rng.uniform(1.0, 1.5)
    return backoff_s if retry_after_s is None else max(retry_after_s, 0.001)


T = TypeVar("T")

_BUT_PROBES = frozenset(Purpose) - {Purpose.PROBE}
_FOLLOWING = _BUT_PROBES - SUBMITTING

Leaving = Callable[[], Awaitable[None] | None]
"""What must happen between a turn and its call, and may have to be waited for."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer and the moment when its call left (the loop's clock)."""

    answer: T
    left_at: float


class Calls:
    """One instance's calls. `spawn` runs a background task for as long as the run lasts."""

    def __init__(
        self,
        *,
        instance: str,
        client: OmniClient,
        door: RateLimiter,
        stats: RunStats,
        clock: Clock,
        observer: Observer,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.instance = instance
        self.client = client
        self.door = door
        self.clock = clock
        # how long a request target may be, in bytes; a 414 teaches less
        self.url_limit = URL_LIMIT
        # what the list of schemas calls the branch: the vendor's documents differ; a 400 teaches which
        self.branch_parameters: tuple[str, ...] = ("branchId", "branch_id")
        self._tally = stats
        self._observe = observer
        self._spawn = spawn
        self._breaker = Breaker()
        # while no call has reached the instance: why the latest did not, if waiting rarely cures that
        self._was_reached = False
        self._unreached: Unsent | None = None
        self._watches_reach = False
        self._is_given_up = False
        self._silences = 0

    async def send(
        self,
        ask: CallRequest,
        question: Callable[[Secret], Awaitable[T]],
        spent: CallCounts,
        *,
        on_leave: Leaving | None = None,
        on_refused: Callable[[CallError], None] | None = None,
    ) -> Answered[T]:
        """Ask `question` as soon as the door lets `ask` through; a 429 or a refused key only means another turn.

        `on_leave` runs after the turn was given and before anything is sent; `on_refused` hears of a 429 or a refused key
        before the next turn. Raises `CallError` where the call went wrong
        otherwise and `LimiterClosed` where it will never get a turn.
        """
        while True:
            turn = await self._turn(ask, on_leave, on_refused)
            end = "cancelled"
            try:
                answer = await question(turn.secret)
            except Throttled as error:
                end = "429"
                spent.throttled += 1
                turn.throttled(error.retry_after_s)
                if on_refused is not None:
                    on_refused(error)
                self._heard(None)
            except KeyRefused as error:
                end = UNSENT if error.http_status is None else str(error.http_status)
                turn.refused()
                if on_refused is not None:
                    on_refused(error)
                self._heard(None)
            except Unsent as error:
                end = UNSENT
                turn.unsent()
                self._heard(error)
                raise
            except CallError as error:
                end = str(error.http_status or error.kind)
                if error.kind is CallErrorKind.TIMEOUT and error.http_status is None:
                    turn.lost()
                if isinstance(error, Refused) and error.http_status is None:
                    # refused on this side, before anything left
                    end = UNSENT
                    turn.unsent()
                self._heard(error)
                raise
            else:
                end = "2xx"
                self._heard(None)
                return Answered(answer, turn.left_at)
            finally:
                turn.answered()
                self._tally.count(ask.purpose, end)
                took_s = self.clock.now() - turn.left_at
                self._observe(
                    CallEnded(instance=self.instance, purpose=ask.purpose.name.lower(), end=end, took_s=took_s)
                )

    async def _turn(
        self, ask: CallRequest, on_leave: Leaving | None, on_refused: Callable[[CallError], None] | None
    ) -> Permit:
        """Wait for a permit, do what must come before the call leaves, and make sure that it may still leave then."""
        while True:
            turn = await self.door.turn(ask)
            if on_leave is not None:
                await _prepare(turn, on_leave)
            if turn.may_send():
                return turn
            # suspended, or cut off from the shared state, for so long that the call's place may be another's
            turn.answered()
            if on_refused is not None:
                on_refused(Unsent(CallErrorKind.CUT_OFF, "this process was not at work for too long"))

    def _heard(self, error: CallError | None) -> None:
        self._heard_of_reach(error)
        if error is None or not is_silence(error):
            if self._breaker.answered():
                self.door.pause(frozenset())
                self._observe(InstanceAnswers(instance=self.instance))
        elif self._breaker.failed():
            self.door.pause(_BUT_PROBES)
            self._observe(InstanceSilent(instance=self.instance, kind=error.kind.value, message=error.message))
            self._silences += 1
            self._spawn(self._probe(error, self._silences))

    def _heard_of_reach(self, error: CallError | None) -> None:
        """Give the instance up if it was never reached and waiting rarely cures the cause: after a while, and at once if
        its certificate is not trusted.
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
        error = self._unreached
        if error is not None and not self._is_given_up:
            self._is_given_up = True
            self.door.close(StopReason.UNREACHABLE, kind=error.kind.value, detail=error.message)
            self._observe(InstanceGivenUp(instance=self.instance, kind=error.kind.value, message=error.message))

    async def _probe(self, error: CallError, silence: int) -> None:
        """Ask something small now and then until the instance answers, which ends this `silence`. After two minutes what was not sent is given up;
        jobs are followed on, at the same pace.

        Meanwhile nothing else is sent but one poll after each probe. The polls and reads that wait share the probe's
        failure, so that an instance that is gone costs one call and not one for each job.
        """
        began_at = self.clock.now()
        probes = 0
        while self._breaker.is_open and silence == self._silences:
            left_s = began_at + GIVE_UP_S - self.clock.now()
            if left_s <= 0 and probes and not self._is_given_up:
                self._is_given_up = True
                self.door.close(StopReason.DOWN, SUBMITTING, detail=error.message)
                self._observe(InstanceGivenUp(instance=self.instance, kind=error.kind.value, message=error.message))
            wait_s = next_probe_s(0 if self._unreached is not None else probes)
            await asyncio.sleep(wait_s if self._is_given_up else min(wait_s, max(left_s, FIRST_PROBE_S)))
            probes += 1
            try:
                await self.send(CallRequest(purpose=Purpose.PROBE), self.client.ping, CallCounts())
            except CallError as failed:
                error = failed
                self.door.turn_away(_FOLLOWING, partial(_not_sent, failed))
                self.door.let_a_poll_pass()
            except LimiterClosed:
                return


def _not_sent(error: CallError, _: Purpose) -> Unsent:
    """For a read that waited while another call showed that the instance does not answer."""
    return Unsent(error.kind, error.message)


async def _prepare(turn: Permit, on_leave: Leaving) -> None:
    """Do what must come before the call leaves; where that fails, the turn was not used."""
    try:
        must_wait = on_leave()
        if must_wait is not None:
            await must_wait
    except BaseException:
        turn.unsent()
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What reaching instances stands on, handed in from outside. `open_client` makes the client of an instance, `ledger` a
    key's log of calls.
    """

    clock: Clock
    rng: Random
    observer: Observer
    open_client: Callable[[Instance], OmniClient]
    ledger: Callable[[Instance, ApiKey], CallWindow]


class Background:
    """Tasks that last as long as somebody's work and end with it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancel what is left, and wait for it."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
    """An instance's calls, with a door that gives turns from now on. `patience_s` is how long its keys may get nothing but
    429 before the door closes.
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
    door = RateLimiter(
        keys=keys,
        concurrency_limit=concurrency_limit,
        durations=durations,
        observer=access.observer,
        instance=instance.name,
        clock=access.clock.now,
        patience_s=patience_s,
    )
    background.spawn(door.serve())
    return Calls(
        instance=instance.name,
        client=client,
        door=door,
        stats=stats,
        clock=access.clock,
        observer=access.observer,
        spawn=background.spawn,
    )


def refused_instances(calls: dict[str, Calls]) -> tuple[str, ...]:
    """The instances that accepted none of their keys."""
    return tuple(name for name, one in calls.items() if all(key.refused for key in one.door.keys))
