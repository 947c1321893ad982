"""Estimates how long the rest of a run takes: the slower of the calls that it still needs and its longest lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# A job that runs longer than expected is expected to run on for this share of its age.
_OVERDUE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLeft:
    """What one lane still has to do: the expected duration and the age of its running job (None: nothing runs), and the
    expected durations of the refreshes that follow, in order. All in seconds.
    """

    running_s: float | None = None
    age_s: float = 0.0
    waiting_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be sent: `calls` in any `per_s` seconds. `used` lists in how many seconds each call that counts now stops
    counting, soonest first.
    """

    calls: int
    per_s: float
    used: tuple[float, ...] = ()

    def sent_s(self, call: int) -> float:
        """Return in how many seconds the `call`-th call from now can leave (counted from 1)."""
        free = max(0, self.calls - len(self.used))
        if call <= free:
            return 0.0
        windows, place = divmod(call - free - 1, self.calls)
        # calls leave the window in the order in which they entered it; the free ones entered it now
        ends = (*self.used, *((self.per_s,) * free))
        return ends[place] + windows * self.per_s


def estimate_time_left(lanes: Sequence[LaneLeft], budget: Budget) -> float:
    """Return the expected seconds until all outcomes of `lanes` are known.

    Every refresh takes two calls (a submit, a poll), and a running job one. Submits go first, in the order of `lanes`.
    """
    calls = submits = 0
    longest_s = 0.0
    for lane in lanes:
        length_s = sum(lane.waiting_s)
        calls += 2 * len(lane.waiting_s)
        if lane.running_s is not None:
            calls += 1
            length_s += max(lane.running_s - lane.age_s, _OVERDUE * lane.age_s)
        elif lane.waiting_s:
            submits += 1
            length_s += budget.sent_s(submits)
        longest_s = max(longest_s, length_s)
    return max(longest_s, budget.sent_s(calls)) if calls else 0.0
