"""What no schedule can beat, and what one that knows every duration beforehand would do. Pure; all in seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


def makespan_bound(durations: Sequence[float], budget: int, per_s: float) -> float:
    """No run ends sooner: two calls a model through the window, and each job's own length, the longest posted first."""
    return order_bound(sorted(durations, reverse=True), budget, per_s)


def order_bound(durations: Sequence[float], budget: int, per_s: float) -> float:
    """The same for refreshes that are posted in the given order: all that a first run can know."""
    calls = ((2 * len(durations) - 1) // budget) * per_s
    return max(calls, *(i // budget * per_s + d for i, d in enumerate(durations)))


def last_submit_bound(models: int, budget: int, per_s: float) -> float:
    """When the last refresh can be posted at the soonest."""
    return ((models - 1) // budget) * per_s


@dataclass(frozen=True, slots=True)
class Clairvoyant:
    """The schedule that knows every duration: `makespan_s`, and the mean time until an outcome is known."""

    makespan_s: float
    mean_known_s: float


def clairvoyant(durations: Sequence[float], budget: int, per_s: float) -> Clairvoyant:
    """Every refresh first, the longest first, then one poll of each job, at the first call that is free after it."""
    sent: deque[float] = deque()

    def slot(at: float) -> float:
        while sent and sent[0] <= at - per_s:
            sent.popleft()
        if len(sent) >= budget:
            at = sent.popleft() + per_s
        sent.append(at)
        return at

    now = 0.0
    ends = []
    for duration in sorted(durations, reverse=True):
        now = slot(now)
        ends.append(now + duration)
    known = []
    for end in sorted(ends):
        now = slot(max(now, end))
        known.append(now)
    return Clairvoyant(max(known), sum(known) / len(known))
