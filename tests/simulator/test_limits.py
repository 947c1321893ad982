"""The limit counts as it says: never more than it allows, and a refused call is told the truth about when to come."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulator.limits import Key, Limit, RequestLimit, retry_after

STEPS = st.lists(st.floats(0, 30), min_size=1, max_size=200)


def _moments(steps: list[float]) -> list[float]:
    moments, now = [], 0.0
    for step in steps:
        now += step
        moments.append(now)
    return moments


def _gate(**limit: object) -> RequestLimit:
    return RequestLimit(Limit.model_validate(limit), ())


def _admitted(gate: RequestLimit, moments: list[float]) -> list[float]:
    return [moment for moment in moments if gate.wait_s("k", moment) == 0.0]


@given(steps=STEPS, count_refused=st.booleans())
def test_a_sliding_window_never_holds_more_than_its_limit(steps: list[float], count_refused: bool) -> None:
    """Whatever the arrivals, no window of 60 s holds more than 5 admitted calls."""
    admitted = _admitted(_gate(requests=5, count_refused=count_refused), _moments(steps))
    assert all(later - earlier >= 60 - 1e-9 for earlier, later in zip(admitted, admitted[5:], strict=False))


@given(steps=STEPS)
def test_a_fixed_window_restarts_at_each_multiple(steps: list[float]) -> None:
    """Each window of a minute, counted from the start, admits its first 5 calls and no other."""
    moments = _moments(steps)
    admitted = _admitted(_gate(kind="fixed", requests=5), moments)
    expected: list[float] = []
    for window in range(int(moments[-1] // 60) + 1):
        expected += [moment for moment in moments if moment // 60 == window][:5]
    assert admitted == expected


@given(steps=STEPS)
def test_a_bucket_admits_its_burst_and_what_dripped_since(steps: list[float]) -> None:
    """Between any two admitted calls no more were admitted than the bucket holds and what was refilled meanwhile."""
    admitted = _admitted(_gate(kind="bucket", requests=6, burst=3), _moments(steps))
    for first, began in enumerate(admitted):
        for last in range(first, len(admitted)):
            assert last - first + 1 <= 3 + (admitted[last] - began) * 6 / 60 + 1e-6


@pytest.mark.parametrize(
    "limit", [{"kind": "sliding"}, {"kind": "fixed"}, {"kind": "bucket"}, {"kind": "bucket", "burst": 2}], ids=str
)
def test_a_refused_call_learns_when_it_would_be_admitted(limit: dict[str, object]) -> None:
    """A call after exactly the told wait is admitted; one a millisecond sooner is not."""
    gate = _gate(requests=4, **limit)
    now = 7.3
    while not (wait := gate.wait_s("k", now)):
        now += 0.11
    assert gate.wait_s("k", now + wait - 0.001) > 0
    assert gate.wait_s("k", now + wait) == 0.0


@pytest.mark.parametrize("kind", ["sliding", "bucket"])
def test_refused_calls_count_where_the_scenario_says_so(kind: str) -> None:
    """A client that hammers on is never let in again, one that waits is."""
    gate = _gate(kind=kind, requests=2, per=10, count_refused=True)
    assert [gate.wait_s("k", 0.0) for _ in range(2)] == [0.0, 0.0]
    assert all(gate.wait_s("k", float(second)) > 0 for second in range(1, 30))
    assert gate.wait_s("k", 29.0 + 10.0) == 0.0


def test_no_limit_admits_everything() -> None:
    """With `none` a thousand calls at one moment are admitted."""
    gate = _gate(kind="none", requests=1)
    assert all(gate.wait_s("k", 0.0) == 0.0 for _ in range(1000))


def test_a_spell_refuses_everything_until_it_ends() -> None:
    """Between its moments every call is refused, with the spell's end as the wait; before and after none is."""
    gate = _gate(kind="none", spells=[{"from": 10, "until": 15}])
    assert [gate.wait_s("k", now) for now in (9.9, 10.0, 14.0, 15.0)] == [0.0, 5.0, 1.0, 0.0]


def test_another_program_uses_the_same_key() -> None:
    """A client that keeps to the limit is sometimes refused if another program uses a part of it."""
    moments = [6.0 * number for number in range(100)]
    assert _admitted(_gate(requests=10), moments) == moments
    shared = _admitted(_gate(requests=10, others_every=20), moments)
    assert 60 < len(shared) < 95


def test_keys_have_their_own_windows_and_limits() -> None:
    """Each key counts by itself, with its own limit where it has one."""
    gate = RequestLimit(Limit(requests=2), (Key(key="a"), Key(key="b", requests=3)))
    counts = {key: sum(gate.wait_s(key, 0.0) == 0.0 for _ in range(9)) for key in ("a", "b")}
    assert counts == {"a": 2, "b": 3}


def test_only_listed_keys_are_known() -> None:
    """A listed key is known until it is revoked, another never; without a list any key is, but none at all is not."""
    gate = RequestLimit(Limit(), (Key(key="a"), Key(key="b", refused_from=5)))
    assert [gate.knows(key, 4.9) for key in ("a", "b", "c", "", None)] == [True, True, False, False, False]
    assert [gate.knows(key, 5.0) for key in ("a", "b")] == [True, False]
    anyone = RequestLimit(Limit(), ())
    assert [anyone.knows(key, 0.0) for key in ("x", "", None)] == [True, False, False]


@pytest.mark.parametrize(
    "form,wait_s,told", [("none", 5.0, None), ("seconds", 0.2, "1"), ("seconds", 5.0, "5"), ("seconds", 5.1, "6")]
)
def test_retry_after_is_rounded_up(form: str, wait_s: float, told: str | None, date: Callable[[float], str]) -> None:
    """Whole seconds, at least one, never too few; or nothing."""
    limit = Limit.model_validate({"retry_after": form})
    assert retry_after(limit.retry_after, wait_s, date) == told


def test_retry_after_may_be_a_date(date: Callable[[float], str]) -> None:
    """A date is told for the moment at which the wait is over."""
    assert retry_after("date", 7.5, date) == "in 7.5 s"


@pytest.fixture
def date() -> Callable[[float], str]:
    """A clock that spells out what it was asked."""
    return lambda wait_s: f"in {wait_s} s"
