"""The estimate of the time that is left."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.quota.time_left import Budget, LaneLeft, estimate_time_left

MINUTE = Budget(calls=60, per_s=60.0)


def lanes(count: int, seconds: float) -> list[LaneLeft]:
    """Lanes of one refresh each."""
    return [LaneLeft(waiting_s=(seconds,))] * count


def test_nothing_left_takes_no_time() -> None:
    """An empty rest takes 0 seconds."""
    assert estimate_time_left([], MINUTE) == 0.0
    assert estimate_time_left([LaneLeft()], MINUTE) == 0.0


def test_many_models_take_two_calls_each() -> None:
    """600 short jobs at sixty calls a minute: 1,200 calls take nineteen minutes, whatever the jobs take."""
    assert estimate_time_left(lanes(600, 5.0), MINUTE) == pytest.approx(19 * 60)


def test_one_lane_takes_the_sum_of_its_jobs() -> None:
    """Refreshes of one connection follow one another."""
    assert estimate_time_left([LaneLeft(waiting_s=(100.0,) * 10)], MINUTE) == pytest.approx(1000)


def test_the_last_submit_waits_for_its_call() -> None:
    """With 90 jobs of 100 s the last thirty are submitted a minute later, and end after 160 s."""
    assert estimate_time_left(lanes(90, 100.0), MINUTE) == pytest.approx(160)


@pytest.mark.parametrize("age_s, left_s", [(0.0, 300.0), (240.0, 120.0), (600.0, 300.0)])
def test_a_running_job_takes_what_is_left_of_it(age_s: float, left_s: float) -> None:
    """A job that is late is expected to run on for half of its age."""
    assert estimate_time_left([LaneLeft(running_s=300.0, age_s=age_s)], MINUTE) == left_s


def test_a_used_budget_is_waited_for() -> None:
    """If every call of the window is used, the next ones go when the first of them stop counting."""
    used = tuple(30.0 + n / 10 for n in range(60))
    left_s = estimate_time_left(lanes(1, 10.0), Budget(calls=60, per_s=60.0, used=used))
    assert left_s == pytest.approx(40.0)


@given(
    calls=st.integers(1, 100),
    used=st.lists(st.floats(0.1, 60.0), max_size=100),
    sent=st.integers(1, 400),
)
def test_calls_leave_in_order_and_within_the_budget(calls: int, used: list[float], sent: int) -> None:
    """No window holds more calls than allowed, and no call waits longer than it must."""
    budget = Budget(calls=calls, per_s=60.0, used=tuple(sorted(used)[:calls]))
    moments = [budget.sent_s(n) for n in range(1, sent + 1)]
    assert moments == sorted(moments)
    assert moments[0] == (0.0 if len(budget.used) < calls else budget.used[0])
    assert all(moments[n + calls] - moments[n] == pytest.approx(60.0) for n in range(sent - calls))


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.integers(0, 9)), max_size=30), st.integers(1, 99))
def test_an_estimate_is_finite(rest: list[tuple[float, float, int]], calls: int) -> None:
    """Whatever is left, the estimate is a number of seconds."""
    left = [LaneLeft(running_s=r, age_s=a, waiting_s=(r,) * n) for r, a, n in rest]
    left_s = estimate_time_left(left, Budget(calls=calls, per_s=60.0))
    assert 0.0 <= left_s < math.inf
