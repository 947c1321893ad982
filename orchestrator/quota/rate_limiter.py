"""The rate limiter: every call to one instance requests a permit here, and is sent with the key that may send soonest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter

from orchestrator.manifest.manifest import Secret
from orchestrator.quota.choice import CallRequest, Purpose, poll_spacing_s
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.key import KeyQuota
from orchestrator.quota.request_queue import QueuedRequest, RequestQueue
from orchestrator.quota.time_left import Budget
from orchestrator.quota.window import LedgerLost


class ConcurrencyLimit:
    """Limits how many calls are on the wire at once, over all instances of a run.

    Each of `wakers` is called if a call has ended while the limit was reached.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.busy = 0
        self.wakers: list[Callable[[], None]] = []

    @property
    def is_full(self) -> bool:
        """Whether no further call may leave now."""
        return self.busy >= self.workers

    def give_back(self) -> None:
        """One call ended."""
        was_full = self.is_full
        self.busy -= 1
        if was_full:
            for wake in self.wakers:
                wake()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHeld:
    """A key pauses for `wait_s` seconds, because the server answered 429."""

    instance: str
    key: str
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetAside:
    """The server refused a key; `keys_left` others of the instance still work."""

    instance: str
    key: str
    keys_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChanged:
    """The observed limit of a key changed: `limit` calls a window with bursts of `burst`; `configured` is the manifest's."""

    instance: str
    key: str
    configured: int
    limit: int
    burst: int


LimiterEvent = KeyHeld | KeySetAside | LimitChanged


# A key that gets only 429 for this long, in seconds, gets no permits any more (docs/explanation/the-budget.md).
THROTTLED_FOR_S = 1800.0
_LOOK_AGAIN_S = 0.002


class StopReason(StrEnum):
    """Why a rate limiter gives no more permits."""

    STOPPED = "stopped"
    FAIL_FAST = "fail_fast"
    DEADLINE = "deadline"
    LANES_CLOSED = "lanes_closed"
    KEYS_REFUSED = "keys_refused"
    THROTTLED = "throttled"
    DOWN = "instance_down"
    STATE_LOST = "state_lost"
    UNREACHABLE = "unreachable"


class LimiterClosed(Exception):
    """No more permits are given for this purpose. `reason` says why; `detail` is the last error's message, and `kind` its kind,
    if they are known.
    """

    def __init__(self, reason: StopReason, *, kind: str | None = None, detail: str = "") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.kind = kind
        self.detail = detail


class Permit:
    """The right to send one call now. Exactly one of its methods must be called, when the call has ended."""

    __slots__ = ("_call", "_has_ended", "_key", "_left_at", "_limiter")

    def __init__(self, limiter: RateLimiter, key: KeyQuota, call: int, left_at: float) -> None:
        self._limiter = limiter
        self._key = key
        self._call = call
        self._left_at = left_at
        self._has_ended = False

    @property
    def secret(self) -> Secret:
        """The key to send with."""
        return self._key.secret

    @property
    def left_at(self) -> float:
        """When the permit was given: the loop's clock."""
        return self._left_at

    def may_send(self) -> bool:
        """Return whether the call may still leave: False if this process was away for so long that others may have its place."""
        return self._key.may_send()

    def lost(self) -> None:
        """The call left and was given up without any answer."""
        if self._end():
            self._key.lost(self._call, self._limiter.now())

    def answered(self) -> None:
        """Any answer but a 429, or the call was cut off after it may have left."""
        if self._end() and self._key.answered(self._call, self._limiter.now()):
            self._limiter.report_limit(self._key)

    def unsent(self) -> None:
        """The call is proven not to have left; it costs nothing."""
        if self._end():
            self._key.unsent(self._call)

    def throttled(self, retry_after_s: float | None) -> None:
        """The answer was a 429."""
        if self._end():
            self._limiter.hold(self._key, self._call, self._left_at, retry_after_s)

    def refused(self) -> None:
        """The server does not accept the key."""
        if self._end():
            self._key.answered(self._call, self._limiter.now())
            self._limiter.refuse(self._key)

    def _end(self) -> bool:
        if self._has_ended:
            return False
        self._has_ended = True
        self._limiter.release()
        return True


class RateLimiter:
    """Gives permits for the calls to one instance. `serve()` runs in a task of its own.

    All moments are the loop's clock. `patience_s` is how long the keys may get only 429 before the limiter closes.
    """

    def __init__(
        self,
        *,
        keys: Sequence[KeyQuota],
        concurrency_limit: ConcurrencyLimit,
        durations: DurationModel,
        observer: Callable[[LimiterEvent], None],
        instance: str = "",
        address: str = "",
        clock: Callable[[], float],
        patience_s: float = THROTTLED_FOR_S,
    ) -> None:
        self.keys = tuple(keys)
        self.durations = durations
        self._observe = observer
        self._instance = instance
        self._at = f" at {address}" if address else ""
        self.now = clock
        self._concurrency_limit = concurrency_limit
        self._patience_s = patience_s
        self._waiting = RequestQueue(durations.expect)
        self._permits: dict[QueuedRequest, asyncio.Future[Permit]] = {}
        self._wake = asyncio.Event()
        self._closed: dict[Purpose, LimiterClosed] = {}
        self._paused: frozenset[Purpose] = frozenset()
        self._polls_allowed = 0
        self._spacing_s = 0.0
        self._spaced_at = float("-inf")
        concurrency_limit.wakers.append(self._wake.set)

    async def acquire(self, request: CallRequest) -> Permit:
        """Wait until a call may be sent. Raises `LimiterClosed` if that will never be."""
        self.check(request.purpose)
        waiter = self._waiting.add(request)
        permit: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._permits[waiter] = permit
        self._wake.set()
        try:
            return await permit
        except asyncio.CancelledError:
            if permit.done() and not permit.cancelled() and permit.exception() is None:
                permit.result().unsent()
            raise
        finally:
            self._waiting.remove(waiter)
            self._permits.pop(waiter, None)

    @property
    def queued(self) -> int:
        """How many calls wait for a permit."""
        return len(self._waiting)

    @property
    def is_silent(self) -> bool:
        """Whether calls are held back because the instance does not answer."""
        return bool(self._paused)

    def is_closed(self, purpose: Purpose) -> bool:
        """Return whether nothing may be sent for `purpose` any more."""
        return purpose in self._closed

    def check(self, purpose: Purpose) -> None:
        """Raise `LimiterClosed` if nothing may be sent for `purpose` any more."""
        if self.is_closed(purpose):
            raise self._closing(purpose)

    def close(
        self,
        reason: StopReason,
        purposes: frozenset[Purpose] = frozenset(Purpose),
        *,
        kind: str | None = None,
        detail: str = "",
    ) -> None:
        """Give no more permits for `purposes`. Requests that wait fail at once. The first reason stays."""
        for purpose in purposes:
            self._closed.setdefault(purpose, LimiterClosed(reason, kind=kind, detail=detail))
        self.fail_waiting(purposes, self._closing)

    def pause(self, purposes: frozenset[Purpose]) -> None:
        """Hold back `purposes` until the next call of this method. Those that were held back before continue."""
        self._paused = purposes
        self._polls_allowed = 0
        self._wake.set()

    def allow_one_poll(self) -> None:
        """Give one permit to a poll although polls are held back."""
        self._polls_allowed = 1
        self._wake.set()

    def fail_waiting(self, purposes: frozenset[Purpose], make_error: Callable[[Purpose], Exception]) -> None:
        """Fail the requests that wait for `purposes`. Their callers may request again."""
        for waiter in self._waiting.drain(purposes):
            permit = self._permits.get(waiter)
            if permit is not None and not permit.done():
                permit.set_exception(make_error(waiter.request.purpose))

    def _closing(self, purpose: Purpose) -> LimiterClosed:
        """Return why `purpose` is closed, as a new error for each request."""
        closed = self._closed[purpose]
        return LimiterClosed(closed.reason, kind=closed.kind, detail=closed.detail)

    def hold(self, key: KeyQuota, call: int, left_at: float, retry_after_s: float | None) -> None:
        """`call` was answered 429: the whole key pauses."""
        now = self.now()
        before = key.learned
        if key.throttled(call, left_at, now, retry_after_s):
            self._observe(KeyHeld(instance=self._instance, key=key.label, wait_s=key.not_before - now))
            if key.learned != before:
                self.report_limit(key)
        since = [k.throttled_since for k in self.keys if not k.refused]
        if all(s is not None and now - s >= self._patience_s for s in since):
            self.close(StopReason.THROTTLED)

    def report_limit(self, key: KeyQuota) -> None:
        """Report that the observed limit of `key` has changed."""
        now = key.learned
        self._observe(
            LimitChanged(
                instance=self._instance, key=key.label, configured=now.configured, limit=now.limit, burst=now.burst
            )
        )

    def refuse(self, key: KeyQuota) -> None:
        """Set `key` aside; if it was the last one, close the limiter."""
        if key.refused:
            return
        key.refused = True
        left = sum(1 for k in self.keys if not k.refused)
        self._observe(KeySetAside(instance=self._instance, key=key.label, keys_left=left))
        if not left:
            self.close(StopReason.KEYS_REFUSED, detail=", ".join(k.label for k in self.keys) + self._at)
        self._wake.set()

    def budget(self) -> Budget:
        """Return what may be sent from now on, for an estimate: the calls that count now leave the window evenly."""
        now = self.now()
        working = [k for k in self.keys if not k.refused]
        per_s = max((k.per_s for k in working), default=1.0)
        used = sum(k.counted(now) for k in working)
        calls = sum(k.learned.limit for k in working)
        return Budget(
            calls=max(1, calls), per_s=per_s, used=tuple(per_s * (n + 1) / used for n in range(min(used, calls)))
        )

    def release(self) -> None:
        """A call has ended."""
        self._concurrency_limit.give_back()
        self._wake.set()

    async def serve(self) -> None:
        """Give permits until cancelled, or until calls cannot be counted any more; then close for all purposes."""
        while True:
            self._wake.clear()
            try:
                at = await self._give_permits()
            except LedgerLost as error:
                self.close(StopReason.STATE_LOST, detail=str(error))
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(None if at == float("inf") else max(0.0, at - self.now())):
                    await self._wake.wait()

    async def _give_permits(self) -> float:
        """Give every permit that may be given now; return when to look again (infinite: when woken)."""
        while len(self._waiting) and not self._concurrency_limit.is_full:
            now = self.now()
            key, ready_at = self._soonest_key(now)
            if key is None or ready_at > now:
                return ready_at
            self._space_polls(now)
            waiter = self._waiting.best(now, may=self._may)
            if waiter is None:
                return self._waiting.next_at(now)
            permit = self._permits[waiter]
            if permit.done():
                self._waiting.remove(waiter)
                continue
            # another instance may request the last place while this one waits for the store
            self._concurrency_limit.busy += 1
            try:
                call = await key.leave(now)
            except BaseException:
                self._concurrency_limit.give_back()
                raise
            if call is None or permit.done():
                self._concurrency_limit.give_back()
                if call is None:
                    # another process was quicker: look again when it is done
                    return max(self.now() + _LOOK_AGAIN_S, key.ready_at(self.now()))
                key.unsent(call)
                continue
            self._waiting.remove(waiter)
            if waiter.request.purpose is Purpose.POLL:
                self._polls_allowed = 0
            permit.set_result(Permit(self, key, call, now))
        return float("inf")

    def _may(self, purpose: Purpose) -> bool:
        return purpose not in self._paused or (purpose is Purpose.POLL and self._polls_allowed > 0)

    def _soonest_key(self, now: float) -> tuple[KeyQuota | None, float]:
        ready = [(max(now, key.ready_at(now)), key) for key in self.keys if not key.refused]
        at, key = min(ready, key=itemgetter(0), default=(float("inf"), None))
        return (None if at == float("inf") else key), at

    def _space_polls(self, now: float) -> None:
        """Judge the sleeping polls anew if their spacing has changed by a quarter."""
        rate = sum(k.calls_per_s for k in self.keys if not k.refused)
        spacing_s = poll_spacing_s(self._waiting.polls, rate)
        moved = not 0.8 * self._spacing_s <= spacing_s <= 1.25 * self._spacing_s
        if moved and now - self._spaced_at >= self._waiting.polls / 1000:
            self._spacing_s, self._spaced_at = spacing_s, now
            self._waiting.set_spacing(spacing_s)
