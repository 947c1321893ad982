"""What an outcome keeps beside its status: the calls that were made for it, and what the target was in runs before."""

import asyncio
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest

from orchestrator.engine.make_outcomes import compared, redacted
from orchestrator.engine.outcome import CallKind, CallMade, Outcome, Status, make_row
from orchestrator.engine.refresh_state import FIRST_KEPT, LAST_KEPT, AttemptLog
from orchestrator.engine.restore import EarlierResults
from orchestrator.engine.run import Run
from orchestrator.engine.run_context import RunSettings
from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown, Throttled
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse, uuid

AT = datetime(2026, 11, 25, 2, tzinfo=UTC)


def one(**sections: object) -> Rehearsal:
    """A run over one model whose job takes 20 s."""
    return rehearse(manifest_text(model(1, retries=3)), make_scenario(default_model={"duration": 20}, **sections))


def ends(calls: tuple[CallMade, ...]) -> list[tuple[CallKind, str, int | None]]:
    return [(call.what, call.end, call.http_status) for call in calls]


def test_a_good_refresh_is_one_call() -> None:
    """Good polls are counted, not kept; the refresh call has its moment, its end, the job's word and the wait after it."""
    outcome = one().outcome
    (call,) = outcome.calls
    assert (call.number, call.what, call.end, call.http_status) == (1, CallKind.REFRESH, "answered", None)
    assert call.word is not None
    assert call.left_at == outcome.submitted_at
    assert call.took_s is not None
    assert call.wait_s is not None
    assert 0 <= call.took_s < 1 < call.wait_s
    assert outcome.polls > 0


def test_each_attempt_is_kept_with_its_end_and_the_wait_after_it() -> None:
    """A 429 and a refused call stand there beside the one that was taken, in their order, with the waits between them."""
    throttled = {"method": "POST", "nth": [1], "status": 429, "headers": {"Retry-After": "7"}}
    unavailable = {"method": "POST", "nth": [2], "status": 503, "headers": {"Retry-After": "4"}}
    outcome = one(faults=[throttled, unavailable]).outcome
    assert outcome.status is Status.SUCCEEDED
    assert ends(outcome.calls) == [
        (CallKind.REFRESH, "throttled", 429),
        (CallKind.REFRESH, "unavailable", 503),
        (CallKind.REFRESH, "answered", None),
    ]
    assert [call.number for call in outcome.calls] == [1, 2, 3]
    waits = [call.wait_s or 0 for call in outcome.calls]
    assert waits[0] >= 7
    assert waits[1] >= 4
    assert (outcome.attempts, outcome.throttled) == (2, 1)


def test_a_poll_that_went_wrong_is_kept() -> None:
    """Failed polls are among the calls, their numbers tell how many good ones came before."""
    outcome = one(faults=[{"method": "GET", "path": "/jobs/", "nth": [2], "status": 502}]).outcome
    assert ends(outcome.calls) == [(CallKind.REFRESH, "answered", None), (CallKind.POLL, "server_error", 502)]
    assert [call.number for call in outcome.calls] == [1, 3]


def test_a_call_that_was_cut_off_has_no_end() -> None:
    """A run that is stopped at once during a refresh call records the call as cut off."""

    async def stop(run: Run) -> None:
        await asyncio.sleep(1)
        run.stop()

    staged = make_scenario(default_model={"duration": 20}, faults=[{"method": "POST", "nth": [1], "delay": 25}])
    outcome = rehearse(manifest_text(model(1)), staged, settings=RunSettings(grace_s=1), act=stop).outcome
    (call,) = outcome.calls
    assert (call.end, call.took_s, call.wait_s) == ("cut_off", None, None)
    assert outcome.status is Status.UNKNOWN


def test_who_was_served_by_another_made_no_calls() -> None:
    """The calls are the sender's."""
    entries = (model(1, connection="same"), model(2, connection="same"))
    run = rehearse(manifest_text(*entries), make_scenario(default_model={"duration": 5}))
    assert sorted(len(o.calls) for o in run.outcomes) == [0, 1]
    assert all(not o.calls for o in run.outcomes if o.covered_by)


def test_the_first_calls_and_the_last_are_kept() -> None:
    """However many there are, memory and reports are bounded; the numbers show what is left out."""
    log = AttemptLog()
    for second in range(1000):
        log = log.left(CallKind.REFRESH, second, AT + timedelta(seconds=second))
        log = log.failed(second + 0.25, Throttled(CallErrorKind.THROTTLED, "slow down", http_status=429))
    numbers = [call.number for call in log.calls]
    assert numbers == [*range(1, FIRST_KEPT + 1), *range(1001 - LAST_KEPT, 1001)]
    assert log.count == 1000
    assert {call.took_s for call in log.calls} == {0.25}
    assert [call.wait_s for call in log.calls] == [0.75] * (FIRST_KEPT + LAST_KEPT - 1) + [None]


def test_a_call_ends_once() -> None:
    """What is heard after a call's end, or before any left, changes nothing."""
    log, error = AttemptLog(), DeliveryUnknown(CallErrorKind.CUT_OFF, "reset")
    log = log.failed(0, CallError(CallErrorKind.DNS, "no such name"))
    log = log.left(CallKind.REFRESH, 1, AT)
    log = log.failed(2, error).failed(5, error)
    assert [(call.end, call.took_s) for call in log.calls] == [("cut_off", 1)]


def outcome(status: Status, *, covered_by: str | None = None) -> Outcome:
    return Outcome(name="sales", instance="prod", model_id="m", status=status, covered_by=covered_by)


@pytest.mark.parametrize(
    "status, since",
    [(Status.FAILED, AT), (Status.NOT_STARTED, AT), (Status.SUCCEEDED, None), (Status.SKIPPED, None)],
)
def test_since_when_it_fails(status: Status, since: datetime | None) -> None:
    """A target that goes on failing has the moment at which the row began; a good one has none."""
    past = EarlierResults(
        statuses={"sales": Status.ERROR}, failing_since={"sales": AT}, began_at=AT + timedelta(days=3)
    )
    now = compared(outcome(status), past, ())
    assert (now.previous_status, now.failing_since) == (Status.ERROR, since)


def test_a_row_of_failures_begins_with_this_run() -> None:
    """What failed for the first time has been failing since this run began."""
    past = EarlierResults(statuses={"sales": Status.SUCCEEDED}, began_at=AT)
    assert compared(outcome(Status.TIMED_OUT), past, ()).failing_since == AT


def test_the_usual_duration_is_the_median() -> None:
    """The median of earlier durations, unknown where there are none or where another's refresh served the target."""
    found = compared(outcome(Status.SUCCEEDED), EarlierResults(), (3.0, 500.0, 5.0))
    assert (found.usual_s, found.usual_runs) == (5.0, 3)
    assert compared(outcome(Status.SUCCEEDED), EarlierResults(), ()).usual_s is None
    assert compared(outcome(Status.SUCCEEDED, covered_by="x"), EarlierResults(), (3.0,)).usual_s is None


def test_the_last_results_stand_beside_the_outcome() -> None:
    """A target has its own results of earlier runs; one that is new has none."""
    past = EarlierResults(recent={"sales": (Status.FAILED, Status.SUCCEEDED)})
    assert compared(outcome(Status.SUCCEEDED), past, ()).recent == (Status.FAILED, Status.SUCCEEDED)
    assert compared(outcome(Status.SUCCEEDED), EarlierResults(), ()).recent == ()


def test_a_run_knows_what_is_usual() -> None:
    """In a run the durations of earlier ones stand beside the outcome."""
    staged = make_scenario(default_model={"duration": 20})
    run = rehearse(manifest_text(model(1), model(2)), staged, history={"sim": {uuid(1): (9.0, 11.0)}})
    assert [o.usual_s for o in run.outcomes] == [10.0, None]


SECRET = "SECRETKEY123"


def holding_a_secret(kind: Any) -> Any:
    """A value of this type whose every field is set and whose every text holds the secret."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{each.name: holding_a_secret(hints[each.name]) for each in fields(kind)})
    if kind is datetime:
        return AT
    if kind in (bool, int, float):
        return kind(1)
    if kind is str:
        return f"a {SECRET} b"
    first = next(one for one in get_args(kind) if one is not NoneType)
    return (holding_a_secret(first),) if ... in get_args(kind) else holding_a_secret(first)


def where(value: Any, path: str = "") -> Iterator[str]:
    """The paths of the texts that hold the secret."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from where(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from where(item, path)
    elif isinstance(value, str) and SECRET in value:
        yield path.removeprefix(".")


def test_every_text_that_is_not_our_own_is_redacted() -> None:
    """Only the manifest's words and the program's own stay as they are; a field that is added is redacted by itself."""
    outcome = holding_a_secret(Outcome)
    own = {"name", "instance", "branch", "schemas", "tables", "tags", "covered_by", "error.kind", "calls.end"}
    foreign = {"error.message", "content.new.issues", "validation.fixed", "warnings", "calls.word", "job_ids"}
    assert set(where(make_row(outcome))) >= own | foreign
    assert set(where(make_row(redacted(outcome, lambda text: text.replace(SECRET, "-"))))) == own
