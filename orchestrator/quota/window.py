"""The exact log of one key's calls: the promise that no window of the server's ever holds more than the limit.

A call counts from the moment it leaves until one window after its answer, because the server counts it somewhere between
the two. A call that was given up without an answer counts longer (`orchestrator.quota.key.KeyQuota.lost`): the server may
still take it from its queue. Whatever the server counts with (sliding log, fixed window, token bucket of that capacity) and
however long the network takes, it then sees at most `requests` calls in any `per_s` seconds.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from orchestrator.errors import OmniRefreshError
from orchestrator.quota.limit_estimate import LimitEstimate

# Two machines' clocks drift by up to some hundred parts in a million; without a margin an exact server would notice.
_DRIFT = 0.0005
GRAIN_S = 0.002
"""How exactly a timer wakes, in seconds."""


def span_s(per_s: float) -> float:
    """How long a call counts after its answer, in seconds: a window, and a margin."""
    return per_s * (1 + _DRIFT) + GRAIN_S


class LedgerLost(OmniRefreshError):
    """The calls of a key could not be counted for too long: none may leave."""


class CallWindow(Protocol):
    """The budget of one key: it counts its calls. This is the interface between the rate limiter and a store.

    Implementations: in this process (`MemoryWindow`), and in a store that processes or machines share
    (`orchestrator.journal.shared_window.SharedWindow`). `tests/journal/test_conformance.py` is the suite that each must pass.
    Moments are the event loop's clock, in seconds. Only `take` may wait for a store; all other methods return at once from
    what this process knows.

    A call is taken before it leaves and given back when it has ended. It counts from `take` until one window after its
    answer, for all processes that share the key. An implementation that cannot be sure counts more, never less.
    """

    def when(self, now: float, limit: int) -> float | None:
        """Return when to try `take`: `now` or earlier means now; None means when a call of this process has ended.

        It is a hint. Raises `LedgerLost` if calls cannot be counted any more.
        """

    async def take(self, now: float, limit: int) -> int | None:
        """Count a call that leaves now if fewer than `limit` count; return its number, or None if there is no room."""

    def may_send(self) -> bool:
        """Return whether a call that was taken may still leave: False if others may count this process as dead."""

    def give_back(self, call: int, answered_at: float | None) -> None:
        """End a call: it counts for one window after `answered_at`, which may be in the future; None means that it never left."""

    def counted(self, now: float) -> int:
        """Return how many calls count now, as far as this process knows."""

    def hold(self, until: float, now: float) -> None:
        """Let no call of the key leave before `until`, in no process that shares the key."""

    def held_until(self, now: float) -> float:
        """Return the moment before which no call may leave, whichever run set it; in the past if the key is not held."""

    def teach(self, estimate: LimitEstimate) -> None:
        """Let all processes that share the key know what its limit was seen to be."""

    def taught(self) -> LimitEstimate | None:
        """Return what another process has learned since the last call of this method; None if nothing."""


class MemoryWindow:
    """A `CallWindow` in memory. Every operation is O(1) amortized."""

    def __init__(self, per_s: float) -> None:
        self._span_s = span_s(per_s)
        self._on_wire: set[int] = set()
        self._free_at: deque[float] = deque()
        self._next = 0
        self._held_until = float("-inf")

    def _forget(self, now: float) -> None:
        while self._free_at and self._free_at[0] <= now:
            self._free_at.popleft()

    def counted(self, now: float) -> int:
        self._forget(now)
        return len(self._on_wire) + len(self._free_at)

    def when(self, now: float, limit: int) -> float | None:
        excess = self.counted(now) - limit
        if excess < 0:
            return now
        # answered calls leave the window in the order of their answers; the one that makes room is the excess-th
        return self._free_at[excess] if excess < len(self._free_at) else None

    async def take(self, now: float, limit: int) -> int | None:
        if self.counted(now) >= limit or now < self._held_until:
            return None
        return self.add()

    def add(self) -> int:
        """Count a call, whatever the limit; return its number."""
        self._next += 1
        self._on_wire.add(self._next)
        return self._next

    def may_send(self) -> bool:
        return True

    def give_back(self, call: int, answered_at: float | None) -> None:
        if call not in self._on_wire:
            return
        self._on_wire.discard(call)
        if answered_at is None:
            return
        at, later = answered_at + self._span_s, []
        while self._free_at and self._free_at[-1] > at:
            later.append(self._free_at.pop())
        self._free_at.append(at)
        self._free_at.extend(reversed(later))

    def hold(self, until: float, now: float) -> None:
        del now
        self._held_until = max(self._held_until, until)

    def held_until(self, now: float) -> float:
        del now
        return self._held_until

    def teach(self, estimate: LimitEstimate) -> None:
        """No other run shares the key."""

    def taught(self) -> LimitEstimate | None:
        return None
