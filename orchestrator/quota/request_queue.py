"""The requests that wait for a permit. The choice of `orchestrator.quota.choice` costs little however many there are.

The order is exactly the pure choice's. What makes it cheap: a job's expected unseen time grows by at most one second a
second, so a value computed earlier bounds today's from above, and only the few polls at the top are computed anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.quota.choice import CallRequest, Purpose, unseen_s, worth_at
from orchestrator.quota.duration_model import DurationDistribution


@dataclass(frozen=True, slots=True, eq=False)
class QueuedRequest:
    """One request in the queue."""

    request: CallRequest
    number: int


class RequestQueue:
    """A queue of requests. `expect` returns the estimate for a model's next job, None without history."""

    def __init__(self, expect: Callable[[str], DurationDistribution | None]) -> None:
        self._expect = expect
        self._spacing_s = 10.0
        self._count = 0
        self.polls = 0
        # the requests that wait, in the order in which they came; the heaps may also hold others
        self._waiting: dict[QueuedRequest, None] = {}
        self._later: list[tuple[float, int, QueuedRequest]] = []
        self._ready: dict[Purpose, list[tuple[tuple[float, ...], int, QueuedRequest]]] = {p: [] for p in Purpose}
        self._sleeping: list[tuple[float, int, QueuedRequest]] = []
        self._worthy: list[tuple[float, int, QueuedRequest]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: CallRequest) -> QueuedRequest:
        """Add a request."""
        self._count += 1
        waiter = QueuedRequest(request, self._count)
        self._waiting[waiter] = None
        if request.job is None:
            heapq.heappush(self._later, (request.not_before, waiter.number, waiter))
        else:
            self.polls += 1
            heapq.heappush(self._sleeping, (self._worth_at(request), waiter.number, waiter))
        return waiter

    def remove(self, waiter: QueuedRequest) -> None:
        """Remove a request that got its permit or was given up; a second time does nothing."""
        if waiter in self._waiting:
            del self._waiting[waiter]
            self.polls -= waiter.request.job is not None

    def set_spacing(self, spacing_s: float) -> None:
        """Reschedule every poll that waits: the polls' spacing or the estimates of durations have changed."""
        self._spacing_s = spacing_s
        polls = [w for w in self._waiting if w.request.job is not None]
        self._sleeping = [(self._worth_at(w.request), w.number, w) for w in polls]
        self._worthy = []
        heapq.heapify(self._sleeping)

    def _worth_at(self, request: CallRequest) -> float:
        expected = None if request.job is None else self._expect(request.job.model)
        return worth_at(request, expected, self._spacing_s)

    def best(self, now: float, *, may: Callable[[Purpose], bool]) -> QueuedRequest | None:
        """Return the request that is next, or None if all should wait. `may` returns whether a purpose is allowed."""
        while self._later and (self._later[0][2] not in self._waiting or self._later[0][0] <= now):
            _, number, waiter = heapq.heappop(self._later)
            if waiter in self._waiting:
                heapq.heappush(self._ready[waiter.request.purpose], (waiter.request.rank, number, waiter))
        # also if polls may not go: those that are due must not be looked at again at once
        poll = self._best_poll(now)
        for purpose, ready in self._ready.items():
            while ready and ready[0][2] not in self._waiting:
                heapq.heappop(ready)
            first = ready[0][2] if ready else None
            chosen = poll or first if purpose is Purpose.POLL else first
            if chosen is not None and may(purpose):
                return chosen
        return None

    def _best_poll(self, now: float) -> QueuedRequest | None:
        while self._sleeping and (self._sleeping[0][2] not in self._waiting or self._sleeping[0][0] <= now):
            _, number, waiter = heapq.heappop(self._sleeping)
            if waiter in self._waiting:
                heapq.heappush(self._worthy, (-(self._value(waiter, now) - now), number, waiter))
        while self._worthy:
            key, number, waiter = self._worthy[0]
            if waiter not in self._waiting:
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
        moments = [float("inf")]
        for heap in (self._later, self._sleeping):
            while heap and heap[0][2] not in self._waiting:
                heapq.heappop(heap)
            moments += [heap[0][0]] if heap else []
        return max(now, min(moments))

    def drain(self, purposes: frozenset[Purpose]) -> list[QueuedRequest]:
        """Remove and return all requests for one of `purposes`, in the order in which they came."""
        found = [waiter for waiter in self._waiting if waiter.request.purpose in purposes]
        for waiter in found:
            self.remove(waiter)
        return found
