"""How long a run still takes: many small rehearsals of what is left, with durations drawn from what is believed of them.

Pure. Each rehearsal sends what is left through the budget as the door would (submits first, a poll when a job has
ended), so that it knows of the window, of lanes in which refreshes follow one another, and of the one job that lasts.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from orchestrator.quota.belief import Expectation
from orchestrator.quota.habits import Habit

_REHEARSALS = 40
_MOST_STEPS = 40_000
# A range of up to this share of its middle is as good as a point.
_NARROW = 0.3
_OUTLIVED = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLeft:
    """What one lane still has to do: the job that runs (what is believed of it, its age when it was last known to run,
    its age now; both in seconds), and the refreshes that follow, in order.
    """

    running: Expectation | None = None
    unfinished_s: float = 0.0
    age_s: float = 0.0
    waiting: tuple[Expectation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be sent: `calls` in any `per_s` seconds; `used` tells when each call that counts now will count no more,
    in seconds from now, soonest first.
    """

    calls: int
    per_s: float
    used: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """The time left in seconds: the middle, and the range that holds with four chances in five."""

    low_s: float
    middle_s: float
    high_s: float

    @property
    def is_point(self) -> bool:
        """Whether the middle alone says it well enough."""
        return self.high_s - self.low_s <= _NARROW * self.middle_s


def estimate(lanes: Sequence[LaneLeft], budget: Budget, crowd: Sequence[tuple[float, Habit]], rng: Random) -> Estimate:
    """The time until every outcome of `lanes` is known; `crowd` holds the lognormals, with their weights, that jobs
    without a history of their own may follow.
    """
    steps = sum(2 * len(lane.waiting) + (lane.running is not None) for lane in lanes)
    if not steps:
        return Estimate(0.0, 0.0, 0.0)
    count = max(8, min(_REHEARSALS, _MOST_STEPS // steps))
    weights, habits = [w for w, _ in crowd], [h for _, h in crowd]
    picked = rng.choices(habits, weights, k=count)
    ends = sorted(_rehearse(lanes, budget, habit, rng) for habit in picked)
    return Estimate(_quantile(ends, 0.1), _quantile(ends, 0.5), _quantile(ends, 0.9))


def _rehearse(lanes: Sequence[LaneLeft], budget: Budget, crowd: Habit, rng: Random) -> float:
    window = _Slots(budget)
    submits = deque(lane for lane in enumerate(lanes) if lane[1].running is None and lane[1].waiting)
    sent = [0] * len(lanes)
    ends: list[tuple[float, int]] = []
    for number, lane in enumerate(lanes):
        if lane.running is not None:
            ends.append((max(0.0, _draw(lane.running, lane.unfinished_s, crowd, rng) - lane.age_s), number))
    heapq.heapify(ends)
    now = 0.0
    while submits or ends:
        if submits:
            number, lane = submits.popleft()
            now = window.next(now)
            heapq.heappush(ends, (now + _draw(lane.waiting[sent[number]], 0.0, crowd, rng), number))
            sent[number] += 1
        else:
            end, number = heapq.heappop(ends)
            now = window.next(max(now, end))
            if sent[number] < len(lanes[number].waiting):
                submits.append((number, lanes[number]))
    return now


class _Slots:
    """The moments at which calls may go."""

    def __init__(self, budget: Budget) -> None:
        self._calls = budget.calls
        self._per_s = budget.per_s
        self._free = deque(budget.used)

    def next(self, at: float) -> float:
        while self._free and self._free[0] <= at:
            self._free.popleft()
        if len(self._free) >= self._calls:
            at = self._free.popleft()
        self._free.append(at + self._per_s)
        return at


def _draw(expect: Expectation, after_s: float, crowd: Habit, rng: Random) -> float:
    own = expect.own
    # a job that has outlived its own history is one of the crowd
    habit = own if own is not None and own.alive(after_s) > _OUTLIVED else crowd
    return habit.draw(after_s, rng)


def _quantile(ordered: Sequence[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def plan_lanes(lanes: Iterable[Sequence[Expectation]]) -> tuple[LaneLeft, ...]:
    """What is left before anything was sent: each lane's refreshes in order."""
    return tuple(LaneLeft(waiting=tuple(lane)) for lane in lanes)
