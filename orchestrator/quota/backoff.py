"""How long to wait, as values: pure functions of what was answered, how often, and a random generator."""

from __future__ import annotations

from random import Random

FIRST_HOLD_S = 1.0
LONGEST_HOLD_S = 60.0


def hold_s(retry_after_s: float | None, streak: int, rng: Random) -> float:
    """How long a key pauses after its `streak`-th 429 in a row (counted from 1), in seconds.

    The server's own wait where it gave one (orchestrator.omni.retry_after bounds it); else 1, 2, 4 … 60 s, each with up
    to half as much again of jitter, so that several programs behind one key do not come back in step.
    """
    if retry_after_s is not None:
        return retry_after_s
    return min(LONGEST_HOLD_S, FIRST_HOLD_S * 2.0 ** min(streak - 1, 10)) * rng.uniform(1.0, 1.5)


def retry_s(retry_after_s: float | None, attempt: int, rng: Random) -> float:
    """How long one call waits before it is tried again after its `attempt`-th failure (counted from 1), in seconds."""
    backoff_s = min(30.0, 0.5 * 2.0 ** min(attempt - 1, 10)) * rng.uniform(1.0, 1.5)
    return backoff_s if retry_after_s is None else max(retry_after_s, 0.001)
