"""Which request gets the next call: a pure choice among those that wait.

Look-ups that block a submit go first, then submits (longest expected job first if durations are known, else in the
manifest's order), then among polls the one with the largest expected time since its job finished, then verification
reads. A poll that would most likely find nothing waits, so that calls are left for what comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from orchestrator.quota.duration_model import DurationDistribution


class Purpose(IntEnum):
    """What a call is for; smaller goes first."""

    PROBE = 0
    LOOK_UP = 1
    SUBMIT = 2
    POLL = 3
    PROOF = 4


SUBMITTING = frozenset({Purpose.LOOK_UP, Purpose.SUBMIT})
"""What starts something new: submits, and the look-ups that they wait for. It is held back if nothing new may start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedJob:
    """A job that is followed. Moments are the loop's clock. `unfinished_at` is when it was last known to run (its
    acceptance at first), `polled_at` when the last poll left (its acceptance at first), `timeout_at` when its time is up.
    """

    model: str
    accepted_at: float
    unfinished_at: float
    polled_at: float
    min_s: float
    max_s: float
    timeout_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """A request for a permit: its purpose, its order among others of that purpose (smaller first), and its earliest moment."""

    purpose: Purpose
    rank: tuple[float, ...] = ()
    not_before: float = 0.0
    job: FollowedJob | None = None


def earliest_at(request: CallRequest) -> float:
    """Return the first moment at which the call may be sent: a job is not polled more often than allowed."""
    if request.job is None:
        return request.not_before
    return max(request.not_before, request.job.polled_at + request.job.min_s)


def unseen_s(job: FollowedJob, expected: DurationDistribution | None, now: float) -> float:
    """Return the expected seconds since `job` finished; infinite once its timeout is over.

    Without an estimate (no history, or a job that outlived it) the end is as likely at one moment since the last poll as
    at another.
    """
    if now >= job.timeout_at:
        return float("inf")
    unfinished_s = job.unfinished_at - job.accepted_at
    if expected is None or expected.outlived(unfinished_s):
        return max(0.0, now - job.unfinished_at) / 2
    return expected.unseen_s(now - job.accepted_at, unfinished_s)


_CHEAPEST = 1 / 4
_DEAREST = 1 / 2
_SHARE = 0.1
# The API's own documentation advises a poll every 2 to 5 s.
_IDLE_S = 5.0


def worth_at(request: CallRequest, expected: DurationDistribution | None, spacing_s: float) -> float:
    """Return the moment from which a poll is worth its call.

    `spacing_s` is how far apart the polls of one job are if all calls are polls (`poll_spacing_s`). A job with an estimate
    is polled when its expected unseen time reaches a tenth of that; a job without one every `spacing_s`, at least 5 s. Both
    stay within `poll.min` and `poll.max` and the timeout. Found by bisection, because the unseen time never shrinks.
    """
    job = request.job
    first = earliest_at(request)
    if job is None:
        return first
    # as long as a poll of each job every 5 s takes at most half of the calls, nothing waits longer
    longest_s = job.max_s if spacing_s > _IDLE_S / 2 else min(job.max_s, _IDLE_S)
    last = max(first, min(job.polled_at + longest_s, job.timeout_at))
    if expected is None or expected.outlived(job.unfinished_at - job.accepted_at):
        return max(first, min(last, job.polled_at + max(_IDLE_S, spacing_s)))
    # an end need not be known sooner than a part of the finest poll, and not later than a part of the coarsest
    price_s = min(_DEAREST * job.max_s, max(_CHEAPEST * job.min_s, _SHARE * spacing_s))
    if unseen_s(job, expected, first) >= price_s:
        return first
    if unseen_s(job, expected, last) < price_s:
        return last
    low, high = first, last
    while high - low > 0.05 * max(0.2, high - job.polled_at):
        mid = (low + high) / 2
        if unseen_s(job, expected, mid) >= price_s:
            high = mid
        else:
            low = mid
    return high


def poll_spacing_s(followed: int, calls_per_s: float) -> float:
    """Return how many seconds apart the polls of one job are if `followed` jobs share all calls."""
    return followed / calls_per_s
