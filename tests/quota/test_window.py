"""The window's log alone: whatever the network does to calls, no counter of the server's ever finds one too many."""

import heapq
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.quota.window import MemoryWindow
from orchestrator.simulator.limits import Limit, RequestLimit
from tests.quota.windows import at_once

KINDS = ("sliding", "fixed", "bucket")
RATES = [(60, 60.0), (10, 1.0), (5, 2.5), (1, 1.0)]


def play(
    requests: int, per_s: float, ways_s: list[tuple[float, float]], gaps_s: list[float]
) -> tuple[list[float], MemoryWindow]:
    """Send as many calls as there are `ways_s` (there, back), each as soon as the window has room, but `gaps_s` after the
    one before; the moments of arrival.
    """
    window, now = MemoryWindow(per_s), 0.0
    answers: list[tuple[float, int]] = []
    arrivals = []
    for (there_s, back_s), gap_s in zip(ways_s, gaps_s, strict=True):
        now += gap_s
        while True:
            while answers and answers[0][0] <= now:
                at, call = heapq.heappop(answers)
                window.give_back(call, at)
            left = at_once(window.take(now, requests))
            if left is not None:
                break
            room_at = window.when(now, requests)
            now = min(answers[0][0] if answers else math.inf, math.inf if room_at is None else room_at)
        arrivals.append(now + there_s)
        heapq.heappush(answers, (now + there_s + back_s, left))
    return sorted(arrivals), window


ways = st.tuples(st.floats(0, 3), st.floats(0, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("requests, per_s", RATES)
@settings(max_examples=30)
@given(data=st.data())
def test_no_counter_finds_one_too_many(kind: str, requests: int, per_s: float, data: st.DataObject) -> None:
    """Sliding log, fixed window, token bucket; bursts, pauses, delays of any length either way: nothing is refused."""
    count = data.draw(st.integers(1, min(4 * requests, 130)))
    ways_s = data.draw(st.lists(ways, min_size=count, max_size=count))
    gaps_s = data.draw(st.lists(st.one_of(st.just(0.0), st.floats(0, 2 * per_s)), min_size=count, max_size=count))
    arrivals, _ = play(requests, per_s, ways_s, gaps_s)
    gate = RequestLimit(Limit.model_validate({"kind": kind, "requests": requests, "per": per_s}), ())
    assert [gate.wait_s("key", at) for at in arrivals] == [0.0] * count


@given(delay_s=st.floats(0, 0.8))
def test_nearly_all_is_used(delay_s: float) -> None:
    """With answers within 800 ms, a window that always has something to send is full to 98 %."""
    arrivals, _ = play(60, 60.0, [(delay_s / 2, delay_s / 2)] * 301, [0.0] * 301)
    assert 300 / (arrivals[-1] - arrivals[0]) >= 0.98


def test_a_call_without_an_answer_counts_for_ever() -> None:
    """While a call is on the wire it is unknown when the server counts it, so it keeps its place."""
    window = MemoryWindow(10.0)
    call = at_once(window.take(0.0, 1))
    assert call is not None
    assert (at_once(window.take(1e6, 1)), window.when(1e6, 1)) == (None, None)
    window.give_back(call, 1e6)
    at = window.when(1e6, 1)
    assert at is not None
    assert 10.0 < at - 1e6 < 10.1
    assert window.when(at, 1) == at
    assert at_once(window.take(at, 1)) is not None


def test_a_call_that_never_left_counts_nothing() -> None:
    """What is proven unsent gives its place back at once."""
    window = MemoryWindow(60.0)
    call = at_once(window.take(0.0, 60))
    assert call is not None
    window.give_back(call, None)
    assert window.counted(0.0) == 0


@given(
    answered=st.lists(st.floats(0, 50), min_size=1, max_size=40),
    on_wire=st.integers(0, 5),
    limit=st.integers(1, 50),
)
def test_room_at_is_when_there_is_room(answered: list[float], on_wire: int, limit: int) -> None:
    """`room_at` names the very moment from which a call may leave, for any limit that was learned meanwhile."""
    window = MemoryWindow(60.0)
    calls = [at_once(window.take(0.0, 1000)) for _ in answered]
    for _ in range(on_wire):
        at_once(window.take(0.0, 1000))
    for call, answered_at in zip(calls, sorted(answered), strict=True):
        assert call is not None
        window.give_back(call, answered_at)
    at = window.when(50.0, limit)
    if at is None:
        assert on_wire >= limit
        assert window.counted(1e9) >= limit
    else:
        assert at == 50.0 or at_once(window.take(math.nextafter(at, 0.0), limit)) is None
        assert at_once(window.take(at, limit)) is not None
