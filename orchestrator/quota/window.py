"""The exact log of one key's calls: the promise that no window of the server's ever holds more than the limit.

A call counts from the moment it leaves until one window after its answer, because the server counts it somewhere between
the two. A call that was given up without an answer counts longer (`orchestrator.quota.key.KeyQuota.lost`): the server may
still take it from its queue. Whatever the server counts with (sliding log, fixed window, token bucket of that capacity) and however long the
network takes, it then sees at most `requests` calls in any `per_s` seconds.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from orchestrator.errors import OmniRefreshError

# Two machines' clocks drift by up to some hundred parts in a million; without a margin an exact server would notice.
_DRIFT = 0.0005
GRAIN_S = 0.002
"""How exactly a timer wakes, in seconds."""


def span_s(per_s: float) -> float:
    """How long a call counts after its answer, in seconds: a window, and a margin."""
    return per_s * (1 + _DRIFT) + GRAIN_S


class LedgerLost(OmniRefreshError):
    """The log of a key's calls could not be used for too long: no call may leave, because none can be counted."""


class CallWindow(Protocol):
    """Where a key's calls are counted: in this process (`MemoryWindow`), or in a store that several processes share."""

    def room_at(self, now: float, limit: int) -> float | None:
        """Return when the next call may leave; None while that depends on an answer that has not come.

        Raises `LedgerLost` if calls cannot be counted any more.
        """

    def leave(self, now: float, limit: int) -> int | None:
        """A call leaves now; its number, or None where somebody else was quicker and there is no room any more."""

    def answered(self, call: int, now: float) -> None:
        """The call was answered; it counts for one window more. `now` may lie ahead: then it counts as answered there."""

    def unsent(self, call: int) -> None:
        """The call never left: it does not count."""

    def counted(self, now: float) -> int:
        """How many calls count now."""

    def hold(self, until: float, now: float) -> None:
        """No call may leave before `until`, in no run that shares the key."""

    def held_until(self, now: float) -> float:
        """Return the moment before which no call of the key may leave; in the past if it is not held."""


class MemoryWindow:
    """A `CallWindow` in memory. Moments are the event loop's clock, in seconds; every operation is O(1) amortized."""

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

    def room_at(self, now: float, limit: int) -> float | None:
        excess = self.counted(now) - limit
        if excess < 0:
            return now
        # answered calls leave the window in the order of their answers; the one that makes room is the excess-th
        return self._free_at[excess] if excess < len(self._free_at) else None

    def leave(self, now: float, limit: int) -> int | None:
        if self.counted(now) >= limit:
            return None
        self._next += 1
        self._on_wire.add(self._next)
        return self._next

    def answered(self, call: int, now: float) -> None:
        self._on_wire.discard(call)
        at, later = now + self._span_s, []
        while self._free_at and self._free_at[-1] > at:
            later.append(self._free_at.pop())
        self._free_at.append(at)
        self._free_at.extend(reversed(later))

    def unsent(self, call: int) -> None:
        self._on_wire.discard(call)

    def hold(self, until: float, now: float) -> None:
        del now
        self._held_until = max(self._held_until, until)

    def held_until(self, now: float) -> float:
        del now
        return self._held_until
