"""The time that is left: what a rehearsal of the rest says."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.quota.belief import Durations
from orchestrator.quota.estimate import Budget, Estimate, LaneLeft, estimate, plan_lanes
from orchestrator.quota.habits import Habit

MINUTE = Budget(calls=60, per_s=60.0)


def steady(models: int, seconds: float) -> Durations:
    """Models that have always taken the same time."""
    return Durations({f"m{n}": [seconds] * 5 for n in range(models)})


def test_nothing_left_takes_no_time() -> None:
    """An empty rest is 0 seconds, and a point."""
    assert estimate([], MINUTE, [(1.0, Habit(60.0, 0.5))], Random(0)) == Estimate(0.0, 0.0, 0.0)


def test_many_models_take_their_two_calls_each() -> None:
    """600 short jobs, sixty calls a minute: 1,200 calls are nineteen minutes and a bit, whatever the jobs take."""
    durations = steady(600, 5.0)
    lanes = plan_lanes([durations.expect(f"m{n}")] for n in range(600))
    left = estimate(lanes, MINUTE, durations.crowd_habits(), Random(0))
    assert left.is_point
    assert left.middle_s == pytest.approx(19 * 60, rel=0.05)


def test_one_lane_takes_the_sum_of_its_jobs() -> None:
    """Refreshes of one connection follow one another."""
    durations = steady(10, 100.0)
    lanes = plan_lanes([[durations.expect(f"m{n}") for n in range(10)]])
    assert estimate(lanes, MINUTE, durations.crowd_habits(), Random(0)).middle_s == pytest.approx(1000, rel=0.1)


def test_a_running_job_takes_what_is_left_of_it() -> None:
    """A job of five minutes that has run for four takes one more."""
    durations = steady(1, 300.0)
    lane = LaneLeft(running=durations.expect("m0"), unfinished_s=230.0, age_s=240.0)
    assert estimate([lane], MINUTE, durations.crowd_habits(), Random(0)).middle_s == pytest.approx(60, abs=30)


def test_a_used_budget_is_waited_for() -> None:
    """Where every call of the window is used the first call goes when the first of them leaves it."""
    durations = steady(1, 10.0)
    used = tuple(30.0 + n / 10 for n in range(60))
    left = estimate(
        plan_lanes([[durations.expect("m0")]]),
        Budget(calls=60, per_s=60.0, used=used),
        durations.crowd_habits(),
        Random(0),
    )
    assert left.low_s >= 30.0


@given(st.integers(1, 40), st.integers(1, 100), st.integers(0, 100))
def test_an_estimate_is_in_order_and_finite(models: int, calls: int, seed: int) -> None:
    """Whatever is left, the range lies around its middle."""
    durations = Durations()
    lanes = plan_lanes([durations.expect(str(n))] for n in range(models))
    left = estimate(lanes, Budget(calls=calls, per_s=60.0), durations.crowd_habits(), Random(seed))
    assert 0.0 <= left.low_s <= left.middle_s <= left.high_s < 1e9
