"""Who gets the next call: a pure choice among those who wait at a door.

Look-ups that block a submit go first, then submits (longest expected job first where durations are known, else in the
manifest's order), then among polls the one with the largest expected time since its job finished unseen, then proof
reads. A poll whose call would most likely find nothing waits, so that calls are left for what comes: it becomes worth
its call when that expected time reaches a price, and the price is higher the scarcer calls are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from orchestrator.quota.belief import Expectation


class Purpose(IntEnum):
    """What a call is for; smaller goes first."""

    PROBE = 0
    LOOK_UP = 1
    SUBMIT = 2
    POLL = 3
    PROOF = 4


SUBMITTING = frozenset({Purpose.LOOK_UP, Purpose.SUBMIT})
"""What starts something new, and is held back where nothing new may start: submits, and the look-ups that they wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that is followed. Moments are the loop's clock. `unfinished_at` is when it was last known to run (its
    acceptance at first), `asked_at` when the last poll left (its acceptance at first), `timeout_at` when its time is up.
    """

    model: str
    accepted_at: float
    unfinished_at: float
    asked_at: float
    min_s: float
    max_s: float
    timeout_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request for a turn: what for, in which order among its like (smaller first), and not before when."""

    purpose: Purpose
    rank: tuple[float, ...] = ()
    not_before: float = 0.0
    job: Job | None = None


def earliest_at(ask: Ask) -> float:
    """The first moment when the call may go, whatever it is worth: a job is not asked after more often than allowed."""
    if ask.job is None:
        return ask.not_before
    return max(ask.not_before, ask.job.asked_at + ask.job.min_s)


def unseen_s(job: Job, expect: Expectation, now: float) -> float:
    """The expected time since `job` finished unseen, in seconds; infinite once its timeout is over."""
    if now >= job.timeout_at:
        return float("inf")
    return expect.unseen_s(now - job.accepted_at, job.unfinished_at - job.accepted_at)


_CHEAPEST = 1 / 4
_DEAREST = 1 / 2
_SHARE = 0.1
# Every 5 s is what the API's own pages advise; as long as that takes half of the calls at most, they are free.
_IDLE_S = 5.0
_IDLE_PRICE = _SHARE * _IDLE_S / 2


def worth_at(ask: Ask, expect: Expectation, price_s: float) -> float:
    """The moment from which a poll is worth its call at `price_s`: it has waited `max_s` (in an idle run 5 s, whatever is
    expected), its timeout is over, or its expected unseen time has reached the price. Found by bisection, since that
    time never shrinks.
    """
    job = ask.job
    first = earliest_at(ask)
    if job is None:
        return first
    longest_s = job.max_s if price_s > _IDLE_PRICE else min(job.max_s, _IDLE_S)
    last = max(first, min(job.asked_at + longest_s, job.timeout_at))
    # sooner than a part of the finest poll nobody needs to know of an end; later than that nobody wants to
    price_s = min(_DEAREST * job.max_s, max(_CHEAPEST * job.min_s, price_s))
    if unseen_s(job, expect, first) >= price_s:
        return first
    if unseen_s(job, expect, last) < price_s:
        return last
    low, high = first, last
    while high - low > 0.05 * max(0.2, high - job.asked_at):
        mid = (low + high) / 2
        if unseen_s(job, expect, mid) >= price_s:
            high = mid
        else:
            low = mid
    return high


def price_s(followed: int, calls_per_s: float) -> float:
    """What a poll must be worth, in expected seconds since its job's unseen end, when `followed` jobs share the calls."""
    return _SHARE * followed / calls_per_s
