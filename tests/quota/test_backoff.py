"""Waits as values: how long, counted from the first failure."""

from random import Random

import pytest

from orchestrator.engine.calls import retry_s
from orchestrator.quota.key import hold_s


@pytest.mark.parametrize("streak, base_s", [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (5000, 60)])
def test_a_hold_doubles_up_to_a_minute(streak: int, base_s: float) -> None:
    """1, 2, 4 … 60 s for the first, second, third 429 in a row, each with up to half as much again."""
    waits = [hold_s(None, streak, Random(seed)) for seed in range(50)]
    assert min(waits) >= base_s
    assert max(waits) <= 1.5 * base_s
    assert len(set(waits)) > 40


def test_the_servers_wait_is_taken_as_it_is() -> None:
    """A Retry-After is neither grown nor jittered: every key comes back when it was told to."""
    assert hold_s(7.25, 9, Random(1)) == 7.25


@pytest.mark.parametrize("attempt, base_s", [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (4000, 30)])
def test_a_retry_doubles_up_to_half_a_minute(attempt: int, base_s: float) -> None:
    """0.5, 1, 2 … 30 s after the first, second, third failure, each with up to half as much again."""
    waits = [retry_s(None, attempt, Random(seed)) for seed in range(50)]
    assert min(waits) >= base_s
    assert max(waits) <= 1.5 * base_s


def test_a_retry_waits_for_the_server() -> None:
    """A Retry-After beats the backoff, be it longer or shorter."""
    assert retry_s(120.0, 1, Random(1)) == 120.0
    assert retry_s(0.2, 9, Random(1)) == 0.2
