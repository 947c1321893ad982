"""Who goes next: the queue's choice is the plain one, made over all who wait with the pure functions."""

import math
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.quota.choice import CallRequest, FollowedJob, Purpose, earliest_at, poll_spacing_s, unseen_s, worth_at
from orchestrator.quota.duration_model import DurationDistribution, DurationModel
from orchestrator.quota.request_queue import QueuedRequest, RequestQueue

HISTORY = {"quick": [5.0, 6.0, 5.5], "slow": [300.0, 280.0], "wild": [10.0, 900.0, 45.0]}
DURATIONS = DurationModel(HISTORY)
MODELS = ["quick", "slow", "wild", "new"]


def expect(model: str) -> DurationDistribution | None:
    """Return the estimate for a model; None for the new one."""
    return DURATIONS.expect(model)


def plain(
    waiters: list[QueuedRequest], now: float, spacing_s: float, may: Callable[[Purpose], bool]
) -> list[QueuedRequest]:
    """All who are as good as the best: blocking look-ups, submits by rank, polls by worth, proof reads."""

    def ready(waiter: QueuedRequest) -> bool:
        ask = waiter.request
        at = ask.not_before if ask.job is None else worth_at(ask, expect(ask.job.model), spacing_s)
        return at <= now and may(ask.purpose)

    def key(waiter: QueuedRequest) -> tuple[float, ...]:
        ask = waiter.request
        if ask.job is None:
            return (float(ask.purpose), *ask.rank, float(waiter.number))
        if now >= ask.job.timeout_at:
            return (float(Purpose.POLL), -1.0, ask.job.timeout_at)
        return (float(Purpose.POLL), 0.0, -unseen_s(ask.job, expect(ask.job.model), now))

    standing = [w for w in waiters if ready(w)]
    if not standing:
        return []
    best = min(map(key, standing))
    return [w for w in standing if all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(key(w), best, strict=False))]


@st.composite
def asks(draw: st.DrawFn) -> CallRequest:
    """Any ask that a run may make, at moments between 0 and 600."""
    purpose = draw(st.sampled_from(list(Purpose)))
    not_before = draw(st.sampled_from([0.0, 0.0, 5.0, 120.0]))
    if purpose is not Purpose.POLL:
        rank = (-draw(st.sampled_from([0.0, 30.0, 300.0])), float(draw(st.integers(0, 50))))
        return CallRequest(purpose=purpose, rank=rank if purpose is Purpose.SUBMIT else (), not_before=not_before)
    accepted_at = draw(st.floats(0, 200))
    unfinished_at = accepted_at + draw(st.one_of(st.just(0.0), st.floats(0, 100)))
    min_s = draw(st.sampled_from([1.0, 2.0, 10.0]))
    job = FollowedJob(
        model=draw(st.sampled_from(MODELS)),
        accepted_at=accepted_at,
        unfinished_at=unfinished_at,
        polled_at=unfinished_at + draw(st.sampled_from([0.0, 0.0, 3.0])),
        min_s=min_s,
        max_s=min_s * draw(st.sampled_from([1.0, 5.0, 30.0])),
        timeout_at=accepted_at + draw(st.sampled_from([20.0, 100.0, 1800.0])),
    )
    return CallRequest(purpose=purpose, job=job, not_before=not_before)


@given(
    queue=st.lists(asks(), max_size=25),
    steps=st.lists(st.tuples(st.floats(0, 60), st.sampled_from([0.5, 2.0, 10.0, 40.0])), min_size=1, max_size=25),
    paused=st.booleans(),
    data=st.data(),
)
def test_the_choice_is_the_plain_one(
    queue: list[CallRequest], steps: list[tuple[float, float]], paused: bool, data: st.DataObject
) -> None:
    """However requests come, leave and wait, and however the spacing changes: the choice is one that a scan over all would make."""

    def may(purpose: Purpose) -> bool:
        return not (paused and purpose in (Purpose.SUBMIT, Purpose.LOOK_UP))

    waiting, now, spacing_s = RequestQueue(expect), 0.0, 1.0
    left = [waiting.add(ask) for ask in queue]
    for step_s, new_spacing_s in steps:
        now += step_s
        if new_spacing_s != spacing_s:
            spacing_s = new_spacing_s
            waiting.set_spacing(spacing_s)
        for _ in range(3):
            chosen = waiting.best(now, may=may)
            expected = plain(left, now, spacing_s, may)
            if chosen is None:
                assert not expected
                break
            assert chosen in expected
            waiting.remove(chosen)
            left.remove(chosen)
        gives_up: bool = data.draw(st.booleans())
        if left and gives_up:
            number: int = data.draw(st.integers(0, len(left) - 1))
            gone = left.pop(number)
            waiting.remove(gone)
            waiting.remove(gone)
        assert len(waiting) == len(left)
        assert waiting.polls == sum(1 for w in left if w.request.job is not None)


@given(queue=st.lists(asks(), min_size=1, max_size=12), now=st.floats(0, 400))
def test_next_at_misses_no_request(queue: list[CallRequest], now: float) -> None:
    """If no request goes now, none is worth a call before the moment that `next_at` names."""
    waiting = RequestQueue(expect)
    for ask in queue:
        waiting.add(ask)
    if waiting.best(now, may=lambda _: True) is not None:
        return
    at = waiting.next_at(now)
    assert at >= now
    assert waiting.best(math.nextafter(at, 0.0), may=lambda _: True) is None
    if at < math.inf:
        assert waiting.best(at, may=lambda _: True) is not None


@given(ask=asks(), spacing_s=st.floats(0, 1000))
def test_a_poll_keeps_its_bounds(ask: CallRequest, spacing_s: float) -> None:
    """A poll is worth its call neither before `poll.min` since the last one nor later than `poll.max`, at any spacing_s."""
    if ask.job is None:
        assert worth_at(ask, expect("new"), spacing_s) == ask.not_before == earliest_at(ask)
        return
    at = worth_at(ask, expect(ask.job.model), spacing_s)
    assert at >= max(ask.not_before, ask.job.polled_at + ask.job.min_s) == earliest_at(ask)
    assert at <= max(earliest_at(ask), ask.job.polled_at + ask.job.max_s)
    assert at <= max(earliest_at(ask), ask.job.timeout_at)
    dearer = worth_at(ask, expect(ask.job.model), 2 * spacing_s)
    assert dearer >= at - 0.1 * max(0.2, at - ask.job.polled_at)


def test_a_job_past_its_timeout_goes_first() -> None:
    """Among polls the job that is overdue longest goes first, however long its request has waited."""
    job = FollowedJob(model="new", accepted_at=0, unfinished_at=0, polled_at=0, min_s=2, max_s=60, timeout_at=1800)
    waiting = RequestQueue(expect)
    others = [waiting.add(CallRequest(purpose=Purpose.POLL, job=job)) for _ in range(5)]
    late = waiting.add(
        CallRequest(purpose=Purpose.POLL, job=replace(job, model="slow", unfinished_at=65, polled_at=65, timeout_at=70))
    )
    later = waiting.add(
        CallRequest(purpose=Purpose.POLL, job=replace(job, model="slow", unfinished_at=65, polled_at=65, timeout_at=69))
    )
    assert waiting.best(68.0, may=lambda _: True) in others
    assert waiting.best(71.0, may=lambda _: True) is later
    waiting.remove(later)
    assert waiting.best(71.0, may=lambda _: True) is late


def test_polls_that_were_due_wait_again_if_calls_are_scarcer() -> None:
    """A poll that was worth its call under a short spacing is judged again when the spacing grows."""
    job = FollowedJob(model="new", accepted_at=0, unfinished_at=0, polled_at=0, min_s=1, max_s=60, timeout_at=1800)
    waiting = RequestQueue(expect)
    poll = waiting.add(CallRequest(purpose=Purpose.POLL, job=job))
    waiting.set_spacing(0.5)
    assert waiting.best(6.0, may=lambda _: True) is poll
    waiting.set_spacing(20.0)
    assert waiting.best(6.0, may=lambda _: True) is None
    assert waiting.next_at(6.0) == 20.0
    assert waiting.best(20.0, may=lambda _: True) is poll


def test_everybody_gets_a_turn() -> None:
    """Repeated polls starve no job: with one call a second, twenty jobs are all polled."""
    waiting, asked = RequestQueue(expect), dict.fromkeys(range(20), 0)

    def job(at: float) -> FollowedJob:
        return FollowedJob(
            model="new", accepted_at=0, unfinished_at=at, polled_at=at, min_s=2, max_s=60, timeout_at=1e6
        )

    of = {waiting.add(CallRequest(purpose=Purpose.POLL, job=job(0.0))): n for n in asked}
    waiting.set_spacing(poll_spacing_s(20, 1.0))
    for second in range(2, 400):
        chosen = waiting.best(float(second), may=lambda _: True)
        if chosen is not None:
            number = of.pop(chosen)
            waiting.remove(chosen)
            asked[number] += 1
            of[waiting.add(CallRequest(purpose=Purpose.POLL, job=job(float(second))))] = number
    assert min(asked.values()) >= 6
    assert max(asked.values()) - min(asked.values()) <= 1


def test_drain_takes_those_of_a_purpose_in_their_order() -> None:
    """All who wait for some purposes are taken out at once, in the order in which they came; the others stay."""
    waiting = RequestQueue(expect)
    submits = [
        waiting.add(CallRequest(purpose=Purpose.SUBMIT, rank=(-float(n),), not_before=n % 2 * 9.0)) for n in range(6)
    ]
    probe = waiting.add(CallRequest(purpose=Purpose.PROBE))
    assert waiting.best(0.0, may=lambda p: p is not Purpose.PROBE) is submits[4]
    assert waiting.drain(frozenset({Purpose.SUBMIT})) == submits
    assert waiting.best(0.0, may=lambda _: True) is probe
    assert len(waiting) == 1
    assert waiting.drain(frozenset({Purpose.POLL})) == []
