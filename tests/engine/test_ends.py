"""How a run ends early, and the outcomes of the targets that it did not reach."""

import asyncio
from datetime import UTC

import pytest

from orchestrator.engine.events import SubmitsEnded
from orchestrator.engine.outcome import Status
from orchestrator.engine.run import Run
from orchestrator.engine.run_context import RunSettings
from orchestrator.quota.rate_limiter import StopReason
from orchestrator.report.findings import exit_code
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse, uuid


def many(count: int, settings: RunSettings, **staged: object) -> Rehearsal:
    """A run over `count` models, each on its own connection."""
    return rehearse(
        manifest_text(*(model(n) for n in range(1, count + 1)), workers=4), make_scenario(**staged), settings=settings
    )


def test_an_empty_run_is_over_at_once() -> None:
    """Where every entry is disabled nothing is sent and each is `skipped` with the reason; exit 0."""
    run = rehearse(manifest_text(model(1, enabled=False), model(2, enabled=False)), make_scenario())
    assert set(run.statuses.values()) == {Status.SKIPPED}
    assert run.calls == []
    assert exit_code(run.outcomes, signal=None, refused_instances=(), report_failed=False) == 0


def test_a_deadline_ends_everything() -> None:
    """At the deadline unsent targets are `not_started`, those in flight `interrupted` with their ids; done ones stay done."""
    run = many(
        120,
        RunSettings(deadline_s=50),
        default_model={"duration": 300},
        models=[{"id": uuid(1), "duration": 0}],
        answers={"final_at_once": True},
    )
    assert run.result.duration_s == pytest.approx(50, abs=1)
    assert run.of("m1").status is Status.SUCCEEDED
    sent = [o for o in run.outcomes if o.attempts]
    assert {o.status for o in sent} == {Status.SUCCEEDED, Status.INTERRUPTED}
    assert all(o.job_ids for o in sent)
    cut = [o.error for o in sent if o.error is not None]
    assert {error.kind for error in cut} == {"deadline"}
    assert all("deadline" in error.message and "before the job ended" in error.message for error in cut)
    unsent = [o for o in run.outcomes if not o.attempts]
    assert len(unsent) == 120 - 60
    assert {o.status for o in unsent} == {Status.NOT_STARTED}
    assert {o.error.kind for o in unsent if o.error} == {"deadline"}
    assert exit_code(run.outcomes, signal=None, refused_instances=(), report_failed=False) == 1
    assert max(call.t_s for call in run.posts) < 50


def test_a_deadline_during_a_call() -> None:
    """A refresh call that the deadline cuts off is `unknown`: it may have arrived."""
    staged = make_scenario(default_model={}, faults=[{"method": "POST", "always": True, "delay": 29}])
    run = rehearse(manifest_text(model(1)), staged, settings=RunSettings(deadline_s=10))
    assert (run.outcome.status, run.outcome.attempts) == (Status.UNKNOWN, 0)
    assert run.outcome.error is not None
    assert "check in Omni" in run.outcome.error.hint
    assert "deadline" in run.outcome.error.message
    assert run.result.duration_s == pytest.approx(10, abs=1)


def test_a_deadline_during_look_ups() -> None:
    """A deadline that comes while names are looked up ends all targets `not_started`, on time, even with an active call."""
    staged = make_scenario(default_model={}, faults=[{"method": "GET", "always": True, "delay": 29}])
    text = manifest_text(model(1, connection=None), model(2), {"name": "by name"})
    run = rehearse(text, staged, settings=RunSettings(deadline_s=10))
    assert set(run.statuses.values()) == {Status.NOT_STARTED}
    assert run.result.duration_s == pytest.approx(10, abs=1)


@pytest.mark.parametrize("limit", [1, 3])
def test_max_failures_stops_submitting(limit: int) -> None:
    """After the N-th target that did not succeed nothing more is submitted; what is in flight is followed to its end."""
    run = many(60, RunSettings(max_failures=limit), default_model={"duration": 5, "result": "FAILED"}, latency=0.5)
    failed = [o for o in run.outcomes if o.status is Status.FAILED]
    unsent = [o for o in run.outcomes if o.status is Status.NOT_STARTED]
    assert len(failed) >= limit
    assert len(failed) + len(unsent) == 60
    assert len(failed) == len(run.posts)
    assert {o.error.kind for o in unsent if o.error} <= {"fail_fast"}
    assert [ended.reason for ended in run.witness.of(SubmitsEnded)] == [StopReason.FAIL_FAST.value]


def test_fail_fast_stops_at_the_first_rejection() -> None:
    """One call at a time: the first target that is refused is the last one that is sent."""
    staged = make_scenario(default_model={"duration": 2}, models=[{"id": uuid(3), "forbidden": True}])
    text = manifest_text(*(model(n) for n in range(1, 30)), workers=1)
    run = rehearse(text, staged, settings=RunSettings(max_failures=1))
    assert [call.path.split("/")[4] for call in run.posts] == [uuid(1), uuid(2), uuid(3)]
    assert run.of("m2").status is Status.SUCCEEDED
    assert run.of("m4").status is Status.NOT_STARTED


def test_an_unresolved_name_counts_as_a_failure() -> None:
    """A target that is refused before the first call did not succeed either: with --fail-fast nothing is sent."""
    text = manifest_text({"name": "No Such Model"}, model(1), model(2))
    staged = make_scenario(default_model={"duration": 2})
    run = rehearse(text, staged, settings=RunSettings(max_failures=1))
    assert [o.status for o in run.outcomes] == [Status.REJECTED, Status.NOT_STARTED, Status.NOT_STARTED]
    assert run.posts == []
    two = rehearse(text, staged, settings=RunSettings(max_failures=2))
    assert [o.status for o in two.outcomes] == [Status.REJECTED, Status.SUCCEEDED, Status.SUCCEEDED]


def test_no_wait_submits_and_leaves() -> None:
    """`--no-wait`: one call a model, all `accepted` with their ids, and no poll."""
    run = many(30, RunSettings(wait=False), default_model={"duration": 600})
    assert set(run.statuses.values()) == {Status.ACCEPTED}
    assert all(o.job_ids for o in run.outcomes)
    assert len(run.calls) == 30
    assert run.result.duration_s < 5


def test_no_wait_takes_what_is_final_already() -> None:
    """An answer that says how it ended is taken at its word, followed or not."""
    run = many(
        3,
        RunSettings(wait=False),
        default_model={"duration": 0},
        answers={"final_at_once": True, "refresh_status": "x"},
    )
    assert set(run.statuses.values()) == {Status.SUCCEEDED}


async def stop_after_10_s(run: Run) -> None:
    """Stop once, and let the grace run out."""
    await asyncio.sleep(10)
    run.stop()


async def stop_twice(run: Run) -> None:
    """Stop, and again a second later."""
    await stop_after_10_s(run)
    await asyncio.sleep(1)
    run.stop()


def test_a_stop_settles_all() -> None:
    """After a stop nothing more is submitted, what ends within the grace is seen, the rest keeps its job ids; all are there."""
    staged = {"default_model": {"duration": 300}, "models": [{"id": uuid(1), "duration": 11}]}
    text = manifest_text(*(model(n, poll={"min": "1s", "max": "1s"}) for n in range(1, 101)), workers=4)
    run = rehearse(text, make_scenario(**staged), act=stop_after_10_s)
    assert run.result.duration_s == pytest.approx(13, abs=0.5)
    assert len(run.outcomes) == 100
    assert all(call.t_s <= 10.01 for call in run.posts)
    in_flight = [o for o in run.outcomes if o.status is Status.INTERRUPTED]
    assert len(in_flight) + sum(o.status is Status.SUCCEEDED for o in run.outcomes) == len(run.posts)
    assert all(o.job_ids for o in in_flight)
    assert {o.error.kind for o in run.outcomes if o.status is Status.NOT_STARTED and o.error} == {"stopped"}


def test_a_second_stop_does_not_wait() -> None:
    """The second signal ends the run at once."""
    text = manifest_text(*(model(n) for n in range(1, 11)))
    run = rehearse(
        text, make_scenario(default_model={"duration": 300}), act=stop_twice, settings=RunSettings(grace_s=60)
    )
    assert run.result.duration_s == pytest.approx(11, abs=0.1)
    assert set(run.statuses.values()) == {Status.INTERRUPTED}


@pytest.mark.parametrize("act", [stop_after_10_s, stop_twice])
def test_a_stop_during_look_ups(act: object) -> None:
    """A run that is stopped while it looks names up ends within its grace, with every target `not_started`."""
    staged = make_scenario(default_model={}, faults=[{"method": "GET", "always": True, "delay": 29}])
    text = manifest_text(model(1, connection=None), model(2), {"name": "by name"})
    run = rehearse(text, staged, act=stop_after_10_s if act is stop_after_10_s else stop_twice)
    assert set(run.statuses.values()) == {Status.NOT_STARTED}
    assert run.result.duration_s <= 13.1


def test_times_are_utc_and_durations_monotonic() -> None:
    """Stamps are aware UTC and in their order; the whole run is as long as its clock says."""
    run = many(3, RunSettings(), default_model={"duration": 7})
    for outcome in run.outcomes:
        assert outcome.submitted_at is not None
        assert outcome.finished_at is not None
        assert outcome.submitted_at.tzinfo is UTC
        assert outcome.submitted_at <= outcome.finished_at
        assert outcome.duration_s is not None
        assert 7 <= outcome.duration_s <= run.result.duration_s
