"""What a 429 teaches, as values."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.quota.limit_estimate import LimitEstimate, after_clean_window, after_probes, after_throttle

events = st.lists(
    st.one_of(
        st.just("clean"),
        st.just("probes"),
        st.tuples(st.integers(0, 100), st.booleans(), st.booleans(), st.booleans()),
    ),
    max_size=60,
)


@given(told=st.integers(1, 600), happened=events)
def test_the_estimate_stays_within_the_configured_limit(told: int, happened: list[object]) -> None:
    """Whatever happens, at least one call a window is tried, and never more than the manifest says."""
    now = LimitEstimate.from_configured(told)
    assert not now.is_lower
    for event in happened:
        if isinstance(event, tuple):
            accepted, spread, whole, apart = event
            after = after_throttle(now, accepted=accepted, spread=spread, whole_window=whole, apart=apart)
            assert after.burst <= now.burst
            assert after.limit <= now.limit
            assert after.events == now.events + 1
        elif event == "probes":
            after = after_probes(now)
            assert after.limit <= now.limit
        else:
            after = after_clean_window(now)
            assert after.limit >= now.limit
            assert after.burst >= now.burst
        now = after
        assert 1 <= now.limit <= told
        assert 1 <= now.burst <= told


@given(told=st.integers(2, 600), accepted=st.integers(0, 600))
def test_what_was_believed_too_low_comes_back(told: int, accepted: int) -> None:
    """Clean windows raise the belief to what was told again, and then change it no more."""
    now = after_throttle(
        LimitEstimate.from_configured(told), accepted=accepted, spread=True, whole_window=True, apart=True
    )
    assert now.is_lower
    for _ in range(400):
        now = after_clean_window(now)
    assert (now.limit, now.burst) == (told, told)
    assert not now.is_lower
    assert after_clean_window(now) is now


def test_a_whole_window_is_a_measurement() -> None:
    """What a whole window accepted is the limit; growing that was answered by another 429 is tried more rarely."""
    first = after_throttle(LimitEstimate.from_configured(60), accepted=40, spread=True, whole_window=True, apart=True)
    assert (first.limit, first.measured, first.patience) == (40, True, 1)
    second = after_throttle(first, accepted=39, spread=True, whole_window=True, apart=True)
    assert (second.limit, second.patience) == (39, 2)
    assert after_clean_window(second).limit == 39
    assert after_clean_window(after_clean_window(second)).limit > 39


def test_a_burst_that_was_refused_says_nothing_of_the_limit() -> None:
    """A 429 in the middle of a burst halves the burst and leaves the limit."""
    now = after_throttle(LimitEstimate.from_configured(60), accepted=20, spread=False, whole_window=False, apart=True)
    assert (now.limit, now.burst) == (60, 10)


def test_before_a_whole_window_the_limit_is_a_guess() -> None:
    """A guess is cut, grows fast, and is replaced by what several holds in a row show."""
    now = after_throttle(LimitEstimate.from_configured(100), accepted=10, spread=True, whole_window=False, apart=True)
    assert (now.limit, now.measured) == (70, False)
    assert after_clean_window(now).limit == 87
    assert after_probes(now).limit == 10
    assert after_probes(LimitEstimate.from_configured(5)) == LimitEstimate.from_configured(5)
