"""What every `CallWindow` must do, wherever it counts: the suite for each implementation."""

import heapq
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.journal.shared_window import SharedWindow
from orchestrator.journal.slots import OwnSlots
from orchestrator.quota.limit_estimate import LimitEstimate
from orchestrator.quota.window import CallWindow, MemoryWindow
from orchestrator.simulator.limits import Limit, RequestLimit
from tests.journal.stores import STORES, PostgresPlace
from tests.journal.test_process_records import Moments, enter
from tests.machine import quick_folder
from tests.quota.windows import at_once

LIMIT, PER_S = 5, 60.0
Make = Callable[[ExitStack, Moments, int, float], CallWindow]


def in_memory(stack: ExitStack, clock: Moments, limit: int, per_s: float) -> CallWindow:
    """A window in this process."""
    return MemoryWindow(per_s)


def in_sqlite(stack: ExitStack, clock: Moments, limit: int, per_s: float) -> CallWindow:
    """A window in a state folder of its own."""
    folder = stack.enter_context(quick_folder())
    owner = enter(folder, "run", clock)
    stack.callback(owner.leave)
    return SharedWindow(OwnSlots(owner, "k", per_s), requests=limit, is_share=False, broke=_raise)


def _raise(error: Exception) -> None:
    raise error


@pytest.fixture(scope="session", params=["memory", *STORES])
def make(request: pytest.FixtureRequest) -> Make:
    """How to open a window, for each implementation that can run here."""
    if request.param == "memory":
        return in_memory
    if request.param == "sqlite":
        return in_sqlite
    place: PostgresPlace = request.getfixturevalue("postgres_place")
    place.empty()
    number = count()

    def in_postgres(stack: ExitStack, clock: Moments, limit: int, per_s: float) -> CallWindow:
        owner = enter(place, "run", clock)
        stack.callback(owner.leave)
        # a key of its own for each window: to empty the store takes longer
        return SharedWindow(OwnSlots(owner, f"k{next(number)}", per_s), requests=limit, is_share=False, broke=_raise)

    return in_postgres


@contextmanager
def opened(make: Make, limit: int = LIMIT, per_s: float = PER_S) -> Iterator[tuple[CallWindow, Moments]]:
    """A window that no other process uses, and its clock."""
    clock = Moments()
    with ExitStack() as stack:
        yield make(stack, clock, limit, per_s), clock


def send(window: CallWindow, now: float, limit: int = LIMIT) -> int | None:
    """A call leaves, if it may."""
    at = window.when(now, limit)
    return None if at is None or at > now else at_once(window.take(now, limit))


def test_the_limit_is_exact(make: Make) -> None:
    """So many calls and not one more; then nothing but an answer can make room, and `when` says so."""
    with opened(make) as (window, clock):
        assert all(send(window, clock.now) is not None for _ in range(LIMIT))
        assert window.counted(clock.now) == LIMIT
        assert at_once(window.take(clock.now, LIMIT)) is None
        assert window.when(clock.now, LIMIT) is None
        assert window.may_send()


def test_a_call_counts_until_a_window_after_its_answer(make: Make) -> None:
    """Not a window after it left: the server counts it somewhere in between."""
    with opened(make) as (window, clock):
        calls = [send(window, clock.now) for _ in range(LIMIT)]
        clock.now += 30
        assert calls[0] is not None
        window.give_back(calls[0], clock.now)
        clock.now += PER_S
        assert send(window, clock.now) is None
        clock.now += 0.1
        assert send(window, clock.now) is not None
        assert send(window, clock.now) is None


def test_a_call_that_was_given_up_counts_longer(make: Make) -> None:
    """An answer that lies ahead: the server may still take the call from its queue."""
    with opened(make, 1) as (window, clock):
        call = send(window, clock.now, 1)
        assert call is not None
        window.give_back(call, clock.now + 60)
        clock.now += 119
        assert send(window, clock.now, 1) is None
        clock.now += 1.1
        assert send(window, clock.now, 1) is not None


def test_a_call_without_an_answer_keeps_its_place(make: Make) -> None:
    """For as long as it is on the wire."""
    with opened(make, 1) as (window, clock):
        assert send(window, clock.now, 1) is not None
        clock.now += 1e6
        assert at_once(window.take(clock.now, 1)) is None


def test_a_call_that_never_left_is_free_at_once(make: Make) -> None:
    """And ending it a second time changes nothing."""
    with opened(make) as (window, clock):
        calls = [send(window, clock.now) for _ in range(LIMIT)]
        assert send(window, clock.now) is None
        for _ in range(2):
            assert calls[0] is not None
            window.give_back(calls[0], None)
        assert send(window, clock.now) is not None
        assert send(window, clock.now) is None


def test_a_lower_limit_holds_at_once_and_a_higher_one_too(make: Make) -> None:
    """The limit is the caller's at each call: it is what was learned."""
    with opened(make) as (window, clock):
        assert [send(window, clock.now, 2) is not None for _ in range(3)] == [True, True, False]
        assert [send(window, clock.now, LIMIT) is not None for _ in range(4)] == [True, True, True, False]
        assert send(window, clock.now, 2) is None


def test_a_hold_lets_nothing_leave(make: Make) -> None:
    """Until its moment; the longer of two counts."""
    with opened(make) as (window, clock):
        window.hold(clock.now + 30, clock.now)
        window.hold(clock.now + 10, clock.now)
        assert window.held_until(clock.now) == clock.now + 30
        clock.now += 29.9
        assert at_once(window.take(clock.now, LIMIT)) is None
        clock.now += 0.2
        assert at_once(window.take(clock.now, LIMIT)) is not None


def test_what_this_process_taught_is_no_news_to_it(make: Make) -> None:
    """`taught` is for what others saw."""
    with opened(make) as (window, clock):
        window.teach(LimitEstimate(configured=5, limit=3, burst=2))
        assert send(window, clock.now) is not None
        assert window.taught() is None


ways = st.tuples(st.floats(0, 3), st.floats(0, 3))


@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_counter_finds_one_too_many(kind: str, make: Make, data: st.DataObject) -> None:
    """Whatever the server counts with and the network does: it never has a reason for a 429."""
    calls = data.draw(st.integers(1, 12))
    ways_s = data.draw(st.lists(ways, min_size=calls, max_size=calls))
    gaps_s = data.draw(st.lists(st.one_of(st.just(0.0), st.floats(0, 5)), min_size=calls, max_size=calls))
    arrivals = []
    with opened(make, 3, 2.5) as (window, clock):
        answers: list[tuple[float, int]] = []
        for (there_s, back_s), gap_s in zip(ways_s, gaps_s, strict=True):
            clock.now += gap_s
            while True:
                while answers and answers[0][0] <= clock.now:
                    at, call = heapq.heappop(answers)
                    window.give_back(call, at)
                left = send(window, clock.now, 3)
                if left is not None:
                    break
                at_s = window.when(clock.now, 3)
                clock.now = min(answers[0][0] if answers else math.inf, math.inf if at_s is None else at_s)
            arrivals.append(clock.now + there_s)
            heapq.heappush(answers, (clock.now + there_s + back_s, left))
    gate = RequestLimit(Limit.model_validate({"kind": kind, "requests": 3, "per": 2.5}), ())
    assert [gate.wait_s("key", at) for at in sorted(arrivals)] == [0.0] * calls
