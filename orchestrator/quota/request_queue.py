"""The requests that wait for a permit. The choice of `orchestrator.quota.choice` costs little however many there are.

The order is exactly the pure choice's. What makes it cheap: a job's expected unseen time grows by at most one second a
second, so a value computed earlier bounds today's from above, and only the few polls at the top are computed anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.quota.choice import CallRequest, Purpose, unseen_s, worth_at
from orchestrator.quota.duration_model import DurationDistribution

_NEVER = float("inf")


@dataclass(slots=True, eq=False)
class QueuedRequest:
    """One request in the queue; `gone` once it got its permit or was given up."""

    request: CallRequest
    number: int
    gone: bool = field(default=False)


class RequestQueue:
    """A queue of requests. `expect` returns the estimate for a model's next job, None without history."""

    def __init__(self, expect: Callable[[str], DurationDistribution | None]) -> None:
        self._expect = expect
        self._number = 0
        self._spacing_s = 10.0
        self._later: list[tuple[float, int, QueuedRequest]] = []
        self._ready: list[tuple[int, tuple[float, ...], int, QueuedRequest]] = []
        self._sleeping: list[tuple[float, int, QueuedRequest]] = []
        self._worthy: list[tuple[float, int, QueuedRequest]] = []
        self._polls = 0
        self._others = 0

    def __len__(self) -> int:
        return self._polls + self._others

    @property
    def polls(self) -> int:
        """How many polls wait."""
        return self._polls

    def add(self, request: CallRequest) -> QueuedRequest:
        """Add a request."""
        self._number += 1
        waiter = QueuedRequest(request, self._number)
        if request.job is None:
            self._others += 1
            heapq.heappush(self._later, (request.not_before, waiter.number, waiter))
        else:
            self._polls += 1
            at = worth_at(request, self._expect(request.job.model), self._spacing_s)
            heapq.heappush(self._sleeping, (at, waiter.number, waiter))
        return waiter

    def remove(self, waiter: QueuedRequest) -> None:
        """Remove a request that got its permit or was given up; a second time does nothing."""
        if waiter.gone:
            return
        waiter.gone = True
        if waiter.request.job is None:
            self._others -= 1
        else:
            self._polls -= 1

    def set_spacing(self, spacing_s: float) -> None:
        """Reschedule every poll that waits: the polls' spacing or the estimates of durations have changed."""
        self._spacing_s = spacing_s
        polls = [w for _, _, w in (*self._sleeping, *self._worthy) if not w.gone]
        self._sleeping = [(self._worth_at(w.request), w.number, w) for w in polls]
        self._worthy = []
        heapq.heapify(self._sleeping)

    def _worth_at(self, request: CallRequest) -> float:
        return (
            request.not_before
            if request.job is None
            else worth_at(request, self._expect(request.job.model), self._spacing_s)
        )

    def best(self, now: float, *, may: Callable[[Purpose], bool]) -> QueuedRequest | None:
        """Return the request that is next, or None if all should wait. `may` returns whether a purpose is allowed."""
        while self._later and (self._later[0][2].gone or self._later[0][0] <= now):
            _, number, waiter = heapq.heappop(self._later)
            if not waiter.gone:
                heapq.heappush(self._ready, (int(waiter.request.purpose), waiter.request.rank, number, waiter))
        held = []
        chosen: QueuedRequest | None = None
        while self._ready:
            top = self._ready[0]
            waiter = top[3]
            if waiter.gone:
                heapq.heappop(self._ready)
            elif waiter.request.purpose > Purpose.POLL:
                break
            elif may(waiter.request.purpose):
                chosen = waiter
                break
            else:
                held.append(heapq.heappop(self._ready))
        # also if polls may not go: those that are due must not be looked at again at once
        poll = self._best_poll(now)
        if chosen is None and may(Purpose.POLL):
            chosen = poll
        if chosen is None and self._ready and may(self._ready[0][3].request.purpose):
            chosen = self._ready[0][3]
        for item in held:
            heapq.heappush(self._ready, item)
        return chosen

    def _best_poll(self, now: float) -> QueuedRequest | None:
        while self._sleeping and (self._sleeping[0][2].gone or self._sleeping[0][0] <= now):
            _, number, waiter = heapq.heappop(self._sleeping)
            if not waiter.gone:
                heapq.heappush(self._worthy, (-(self._value(waiter, now) - now), number, waiter))
        while self._worthy:
            key, number, waiter = self._worthy[0]
            if waiter.gone:
                heapq.heappop(self._worthy)
                continue
            fresh = -(self._value(waiter, now) - now)
            if fresh <= key + 1e-9:
                return waiter
            heapq.heapreplace(self._worthy, (fresh, number, waiter))
            if self._worthy[0][2] is waiter:
                return waiter
        return None

    def _value(self, waiter: QueuedRequest, now: float) -> float:
        job = waiter.request.job
        # past its timeout a job goes first; among those the one that is overdue longest
        if job is None or now >= job.timeout_at:
            return 1e9 + (0.0 if job is None else now - job.timeout_at)
        return unseen_s(job, self._expect(job.model), now)

    def next_at(self, now: float) -> float:
        """Return when another request may become worth its call; infinite if none waits for a moment."""
        while self._later and self._later[0][2].gone:
            heapq.heappop(self._later)
        while self._sleeping and self._sleeping[0][2].gone:
            heapq.heappop(self._sleeping)
        later = self._later[0][0] if self._later else _NEVER
        asleep = self._sleeping[0][0] if self._sleeping else _NEVER
        return max(now, min(later, asleep))

    def drain(self, purposes: frozenset[Purpose]) -> list[QueuedRequest]:
        """Remove and return all requests for one of `purposes`, in the order in which they came."""
        every = [w for _, _, w in self._later] + [w for _, _, _, w in self._ready]
        every += [w for _, _, w in self._sleeping] + [w for _, _, w in self._worthy]
        found = sorted((w for w in every if not w.gone and w.request.purpose in purposes), key=lambda w: w.number)
        for waiter in found:
            self.remove(waiter)
        return found
