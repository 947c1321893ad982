"""What people met when following jobs in tools like this one."""

from typing import Any

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.simulator.call_log_checks import overlaps
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import manifest_text, model, rehearse, uuid


def test_a_timeout_is_neither_success_nor_queue_time() -> None:
    """A job that never ends is `timed_out` with id and last word; waiting for a turn is no job time; an own timeout counts."""
    never = rehearse(manifest_text(model(1, timeout=10)), make_scenario(default_model={"duration": "never"}))
    assert never.outcome.status is Status.TIMED_OUT
    assert never.outcome.error is not None
    assert (never.outcome.error.last_status, len(never.outcome.job_ids)) == ("RUNNING", 1)
    assert 10 <= never.result.duration_s <= 15
    queued = rehearse(
        manifest_text(
            *(model(n) for n in range(40)),
            defaults={"timeout": 5},
            instance={"rate_limit": {"requests": 30, "per": "30s"}},
        ),
        make_scenario(default_model={"duration": 2}, limit={"requests": 30, "per": 30}),
    )
    assert set(queued.statuses.values()) == {Status.SUCCEEDED}
    assert queued.posts[-1].t_s >= 30
    own = rehearse(
        manifest_text(model(1, timeout=20), defaults={"timeout": 5}), make_scenario(default_model={"duration": 12})
    )
    assert own.outcome.status is Status.SUCCEEDED


@pytest.mark.parametrize(
    "answers, faults, status",
    [
        ({"job_visible_after": 10}, [], Status.SUCCEEDED),
        ({"job_visible_after": 1e6}, [], Status.UNKNOWN),
        ({}, [{"path": "/jobs/", "from": 30, "until": 1e6, "status": 404}], Status.UNKNOWN),
        ({"job_kept": 0}, [], Status.UNKNOWN),
    ],
    ids=["at first", "for ever", "later", "forgotten"],
)
def test_404_for_a_job(answers: dict[str, Any], faults: list[dict[str, Any]], status: Status) -> None:
    """A job that the server does not know yet is waited for; one that it never knows, or forgot, is lost; never sent again."""
    staged = make_scenario(default_model={"duration": 60}, answers=answers, faults=faults)
    run = rehearse(manifest_text(model(1)), staged)
    assert (run.outcome.status, len(run.posts), len(run.outcome.job_ids)) == (status, 1, 1)
    assert run.result.duration_s < 180
    if status is Status.UNKNOWN:
        assert run.outcome.error is not None
        assert run.outcome.error.kind == "job_lost"


BLIPS: list[dict[str, Any]] = [
    {"drop": "reset"}, {"drop": "close"}, {"drop": "headers"}, {"status": 502, "raw": "<h1>502</h1>"}, {"status": 500},
    {"status": 200, "raw": '{"status": "COMPL'}, {"status": 200, "raw": ""}, {"status": 200, "raw": "[]"}, {"delay": 31},
]  # fmt: skip


@pytest.mark.parametrize("blip", BLIPS)
def test_a_blip_starts_no_second_job(blip: dict[str, Any]) -> None:
    """One poll that goes wrong in any way: the job is followed on, with one refresh call, and the others do not notice."""
    staged = make_scenario(
        default_model={"duration": 20}, faults=[{"path": "/jobs/", "count": "rule", "nth": [1], **blip}]
    )
    run = rehearse(manifest_text(model(1), model(2), model(3)), staged)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert len(run.posts) == 3


def test_blips_of_all_kinds_and_an_outage() -> None:
    """All of them one after another and a closed port: still one job; an outage beyond the timeout is unknown, not failed."""
    faults = [{"path": "/jobs/", "nth": [n], **blip} for n, blip in enumerate(BLIPS, 1)]
    staged = make_scenario(default_model={"duration": 60}, faults=faults, outages=[{"from": 70, "until": 75}])
    run = rehearse(manifest_text(model(1), instance={"request_timeout": "30s"}), staged)
    assert (run.outcome.status, len(run.posts)) == (Status.SUCCEEDED, 1)
    gone = make_scenario(default_model={"duration": 60}, outages=[{"from": 5, "until": 1e6}])
    lost = rehearse(manifest_text(model(1, timeout=90)), gone)
    assert lost.outcome.error is not None
    assert (lost.outcome.status, lost.outcome.error.kind) == (Status.UNKNOWN, "poll_failed")
    assert lost.outcome.job_ids


def test_already_running_and_listed_twice() -> None:
    """409 is `rejected` after `retries`, slowly; the same model twice is one refresh, another scope comes after it, case is no matter."""
    busy = make_scenario(default_model={"duration": 5}, faults=[{"method": "POST", "always": True, "status": 409}])
    refused = rehearse(manifest_text(model(1)), busy)
    assert (refused.outcome.status, len(refused.posts)) == (Status.REJECTED, 4)
    text = manifest_text(
        model(10, name="one", schemas=["a"], connection=None),
        model(10, name="two", schemas=["a"], connection=None, id=uuid(10).upper()),
        model(10, name="three", schemas=["b"], connection=None),
    )
    run = rehearse(text, make_scenario(default_model={"duration": 5}, overlap="refuse"))
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert run.of("two").covered_by == "one"
    assert (len(run.posts), overlaps(run.calls)) == (2, [])
