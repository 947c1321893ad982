"""The quota of one key: a token bucket for its pace, the window's log for its limit, and the hold after a 429."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from random import Random

from aiolimiter import AsyncLimiter

from orchestrator.manifest.manifest import RateLimit, Secret
from orchestrator.quota.limit_estimate import LimitEstimate, after_clean_window, after_probes, after_throttle
from orchestrator.quota.window import CallWindow

FIRST_HOLD_S = 1.0
LONGEST_HOLD_S = 60.0


def hold_s(retry_after_s: float | None, streak: int, rng: Random) -> float:
    """How long a key pauses after its `streak`-th 429 in a row (counted from 1), in seconds.

    The server's own wait if it gave one (orchestrator.omni.verdict bounds it); else 1, 2, 4 … 60 s, each with up
    to half as much again of jitter, so that several programs behind one key do not come back in step.
    """
    if retry_after_s is not None:
        return retry_after_s
    return min(LONGEST_HOLD_S, FIRST_HOLD_S * 2.0 ** min(streak - 1, 10)) * rng.uniform(1.0, 1.5)


# After so many holds in a row that ended in another 429 the window is taken to be full.
_FULL_AFTER = 4


class KeyQuota:
    """One key's quota. All moments are the event loop's clock, in seconds.

    The bucket's burst is the whole budget at first; after a hold it is drained, so that one call may go and the next
    ones drip at the limit's rate, and while calls are left over it fills again by itself.
    """

    def __init__(
        self,
        *,
        label: str,
        secret: Secret,
        limit: RateLimit,
        ledger: CallWindow,
        rng: Random,
        request_timeout_s: float = 0.0,
    ) -> None:
        self.label = label
        self.secret = secret
        self.per_s = limit.per_s
        self.learned = LimitEstimate.from_configured(limit.requests)
        self.refused = False
        self.not_before = 0.0
        self.holds = 0
        self.throttled_since: float | None = None
        self._ledger = ledger
        # until when a call that was given up may still reach the server's counter
        self._late_s = max(limit.per_s, request_timeout_s)
        self._rng = rng
        self._bucket = AsyncLimiter(limit.requests, limit.per_s)
        self._drain_due = False
        self._token_at = 0.0
        self._streak = 0
        self._held_at = float("-inf")
        self._taught_at = float("-inf")
        self._open_since: float | None = None
        self._clean_since: float | None = None
        self._left: deque[float] = deque()
        self._accepted: deque[float] = deque()

    @property
    def calls_per_s(self) -> float:
        """The estimated rate of the key, averaged over a window."""
        return self.learned.limit / self.per_s

    def counted(self, now: float) -> int:
        """How many calls count in the window now."""
        return self._ledger.counted(now)

    def ready_at(self, now: float) -> float:
        """Return when the next call may leave: `now` or earlier means now; infinite while that depends on an answer.

        Raises `LedgerLost` if calls cannot be counted any more.
        """
        self._join_hold(now)
        self._adopt_limit(now)
        if now < self.not_before:
            return self.not_before
        room_at = self._ledger.when(now, self.learned.limit)
        if room_at is None:
            return float("inf")
        if room_at > now:
            return room_at
        if self._drain_due or self._bucket.has_capacity():
            return now
        # the bucket drips one call in this time, and it was full at its last use
        return max(self._token_at + 1.0 / self.calls_per_s, now + 0.001)

    async def leave(self, now: float) -> int | None:
        """Count a call that leaves now; to be called when `ready_at` says now. Return its number, or None if another
        process that shares the key was quicker. Only a store that is shared may have to be waited for.
        """
        call = await self._ledger.take(now, self.learned.limit)
        if call is None:
            return None
        if self._drain_due:
            self._drain_due = False
            self._bucket = AsyncLimiter(self.learned.burst, self.learned.burst / self.calls_per_s)
            await self._bucket.acquire(self.learned.burst - 1)
        await self._bucket.acquire()
        self._token_at = now
        if self._open_since is None:
            self._open_since = self._clean_since = now
        self._left.append(now)
        while self._left[0] <= now - self.per_s:
            self._left.popleft()
        return call

    def unsent(self, call: int) -> None:
        """The call never left the machine."""
        self._ledger.give_back(call, None)

    def may_send(self) -> bool:
        """Return whether a call that was counted may still leave."""
        return self._ledger.may_send()

    def lost(self, call: int, now: float) -> None:
        """The call was given up without an answer; it counts for two windows, or for one and the request timeout if that
        is longer.

        A server that stalls leaves calls in its queue and counts them when it wakes. Until then, it is not known whether it
        has: the first window is the time in which it may still count the call, the second the one in which it then does.
        """
        self._ledger.give_back(call, now + self._late_s)

    def answered(self, call: int, now: float) -> bool:
        """The call was answered with anything but a 429. True if more is allowed than before."""
        self._ledger.give_back(call, now)
        self._streak = 0
        self.throttled_since = None
        self._accepted.append(now)
        self._forget(now)
        if self._clean_since is None or now - self._clean_since < self.per_s:
            return False
        self._clean_since = now
        before = self.learned
        self.learned = after_clean_window(before)
        if self.learned != before:
            self._ledger.teach(self.learned)
        if (before.limit, before.burst) == (self.learned.limit, self.learned.burst):
            return False
        self._drain_due = True
        return True

    def throttled(self, call: int, left_at: float, now: float, retry_after_s: float | None) -> bool:
        """The call was answered 429: the key pauses. True if it is a new hold and not an echo of the current one."""
        self._ledger.give_back(call, now)
        if self.throttled_since is None:
            self.throttled_since = now
        if left_at < self._held_at:
            # it left before the hold began, so it is the same event; only a longer wait counts
            if retry_after_s is not None:
                self.not_before = max(self.not_before, now + retry_after_s)
                self._ledger.hold(self.not_before, now)
            return False
        self._forget(now)
        if self._streak == 0:
            self.learned = after_throttle(
                self.learned,
                accepted=len(self._accepted),
                spread=self._is_spread(now),
                whole_window=self._open_since is not None and now - self._open_since >= self.per_s,
                apart=now - self._taught_at > self.per_s,
            )
            self._taught_at = now
        self._streak += 1
        if self._streak == _FULL_AFTER:
            self.learned = after_probes(self.learned)
        self._ledger.teach(self.learned)
        self.holds += 1
        self._held_at = now
        self._open_since = None
        self._clean_since = None
        self._drain_due = True
        self.not_before = max(self.not_before, now + hold_s(retry_after_s, self._streak, self._rng))
        self._ledger.hold(self.not_before, now)
        return True

    def _join_hold(self, now: float) -> None:
        """Pause as long as another run that shares the key, then continue as after a 429 of its own."""
        held_until = self._ledger.held_until(now)
        if held_until > max(now, self.not_before):
            self.not_before = held_until
            self._held_at = now
            self._open_since = self._clean_since = None
            self._drain_due = True

    def _adopt_limit(self, now: float) -> None:
        """Adopt the limit that another process that shares the key has learned last."""
        taught = self._ledger.taught()
        if taught is not None:
            told = self.learned.configured
            self.learned = replace(
                taught, configured=told, limit=min(told, taught.limit), burst=min(told, taught.burst)
            )
            # it grows once a window, not once a window in each process
            self._clean_since = now
            self._drain_due = True

    def _is_spread(self, now: float) -> bool:
        tenth = self.per_s / 10
        return sum(1 for at in self._left if at > now - tenth) <= max(2, 1.5 * self.learned.limit / 10)

    def _forget(self, now: float) -> None:
        while self._accepted and self._accepted[0] <= now - self.per_s:
            self._accepted.popleft()
