"""A 429: the whole key pauses for as long as it is asked to, and then goes on gently."""

from itertools import pairwise
from typing import Any

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.engine.run_context import RunSettings
from orchestrator.quota.rate_limiter import KeyHeld
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse


def run(
    count: int = 1, *, keys: int = 1, workers: int = 20, settings: RunSettings | None = None, **staged: Any
) -> Rehearsal:
    """A run over `count` models at a server of this scenario."""
    text = manifest_text(*(model(n) for n in range(1, count + 1)), keys=keys, workers=workers)
    return rehearse(text, make_scenario(default_model={"duration": 3}, **staged), settings=settings)


@pytest.mark.parametrize("retry_after", ["none", "seconds", "date"])
@pytest.mark.parametrize("latency", [0.05, 0.2])
def test_no_call_leaves_during_a_hold(retry_after: str, latency: float) -> None:
    """One 429 with twenty workers: silence until it is over, then at most three calls in a second, and no second wave."""
    rehearsal = run(
        40, latency=latency, limit={"spells": [{"from": latency, "until": 5.3}], "retry_after": retry_after}
    )
    refused = [c for c in rehearsal.calls if c.limited]
    held_s = rehearsal.witness.moments(KeyHeld)
    assert 1 <= len(refused) <= 20 + len(held_s) - 1
    waits = [held.wait_s for held in rehearsal.witness.of(KeyHeld)]
    for at_s, wait_s in zip(held_s, waits, strict=True):
        until_s = at_s + wait_s
        during = [c for c in rehearsal.calls if at_s + 2 * latency + 0.001 < c.t_s < until_s - 0.001]
        assert not during
        assert len([c for c in rehearsal.calls if until_s <= c.t_s < until_s + 1.0]) <= 3
    if retry_after == "seconds":
        assert len(held_s) == 1
    assert set(rehearsal.statuses.values()) == {Status.SUCCEEDED}


@pytest.mark.parametrize(
    "header, least_s, most_s",
    [
        ("5", 5.0, 5.1),
        ("2.5", 2.5, 2.6),
        ("601", 600.0, 600.1),
        ("1e3", 1.0, 1.6),
        ("0", 1.0, 1.6),
        ("-3", 1.0, 1.6),
        ("soon", 1.0, 1.6),
        ("", 1.0, 1.6),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1.0, 1.6),
    ],
)
def test_retry_after_in_every_form(header: str, least_s: float, most_s: float) -> None:
    """Seconds, fractions, more than ten minutes, nonsense: the hold is what the contract says for each."""
    fault = {"nth": [1], "method": "POST", "status": 429, "headers": {"Retry-After": header}}
    first, second = run(faults=[fault]).posts
    assert least_s <= second.t_s - first.t_s <= most_s


@pytest.mark.parametrize("offset_s", [0.0, 3600.0, -7200.0])
def test_a_date_is_measured_against_the_servers_date(offset_s: float) -> None:
    """A Retry-After date means the same wait, however wrong the server's clock is."""
    rehearsal = run(
        limit={"spells": [{"from": 0, "until": 4}], "retry_after": "date"}, answers={"clock_offset": offset_s}
    )
    first, second = rehearsal.posts
    assert 4.0 <= second.t_s - first.t_s <= 5.1
    assert rehearsal.outcome.status is Status.SUCCEEDED


@pytest.mark.parametrize("body", ["json", "html"])
def test_a_429_is_known_by_its_status(body: str) -> None:
    """A 429 with a proxy's page and no Retry-After is a 429: waits grow with jitter, and no message mentions JSON."""
    rehearsal = run(limit={"spells": [{"from": 0, "until": 9}], "body": body})
    waits = [b.t_s - a.t_s for a, b in pairwise(rehearsal.posts)]
    assert rehearsal.outcome.status is Status.SUCCEEDED
    assert rehearsal.outcome.throttled == len(waits)
    for number, wait_s in enumerate(waits):
        assert 2**number <= wait_s <= 1.5 * 2**number + 0.01


def test_a_429_on_polls_costs_nothing_but_time() -> None:
    """Polls that are answered 429 are no polls and no failures; the job is found finished after the hold."""
    fault = {"method": "GET", "path": "/jobs/", "nth": [1, 2], "status": 429, "headers": {"Retry-After": "7"}}
    rehearsal = run(faults=[fault])
    outcome = rehearsal.outcome
    assert (outcome.status, outcome.throttled, len(rehearsal.posts)) == (Status.SUCCEEDED, 2, 1)
    assert outcome.polls == len(rehearsal.polls) - 2


def test_only_the_key_that_was_throttled_pauses() -> None:
    """With several keys one goes on while the other is held."""
    text = manifest_text(*(model(n) for n in range(1, 31)), keys=2)
    staged = make_scenario(
        default_model={"duration": 3},
        keys=[{"key": "slow", "requests": 1}, {"key": "fast", "requests": 60}],
        limit={"retry_after": "seconds"},
    )
    rehearsal = rehearse(text, staged, settings=RunSettings(wait=False))
    refused = [c for c in rehearsal.calls if c.limited]
    assert {c.key for c in refused} != {c.key for c in rehearsal.calls}
    assert rehearsal.result.duration_s < 60
    assert set(rehearsal.statuses.values()) == {Status.ACCEPTED}


def test_nothing_but_429_for_half_an_hour() -> None:
    """Without a deadline a key that gets nothing but 429 for 30 minutes ends what was not sent `throttled`."""
    rehearsal = run(5, limit={"spells": [{"from": 0, "until": 1e6}]})
    assert set(rehearsal.statuses.values()) == {Status.THROTTLED}
    assert 1800 <= rehearsal.result.duration_s <= 1800 + 91
    for outcome in rehearsal.outcomes:
        assert outcome.error is not None
        assert (outcome.error.kind, outcome.error.http_status) == ("throttled", 429)
    assert rehearsal.result.stats.throttled == len(rehearsal.calls)


def test_a_deadline_bounds_the_429_instead() -> None:
    """With a deadline the run waits as long as that says, be it longer or shorter than half an hour."""
    short = run(3, limit={"spells": [{"from": 0, "until": 1e6}]}, settings=RunSettings(deadline_s=300))
    assert short.result.duration_s == pytest.approx(300, abs=1)
    assert short.of("m1").status in {Status.THROTTLED, Status.NOT_STARTED}
    assert Status.THROTTLED in short.statuses.values()
    longer = run(3, limit={"spells": [{"from": 0, "until": 2700}]}, settings=RunSettings(deadline_s=7200))
    assert set(longer.statuses.values()) == {Status.SUCCEEDED}


@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
def test_a_lower_limit_is_learned(kind: str) -> None:
    """A server that gives 30 where 60 was told: few 429, a rate that comes close, and the report says what was learned."""
    rehearsal = run(150, limit={"kind": kind, "requests": 30, "per": 60, "retry_after": "seconds"})
    assert set(rehearsal.statuses.values()) == {Status.SUCCEEDED}
    told = rehearsal.result.quota["sim"]
    assert told["told"] == 60
    assert isinstance(told["learned"], int)
    assert 20 <= told["learned"] <= 40
    assert "rate_limit" in str(told["hint"])
    assert rehearsal.result.stats.throttled <= 60
    last_s = rehearsal.posts[-1].t_s
    in_steady_state = [c for c in rehearsal.calls if 200 <= c.t_s < last_s and not c.limited]
    assert len(in_steady_state) / (last_s - 200) >= 0.75 * 30 / 60
