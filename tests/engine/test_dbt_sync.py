"""`refresh: dbt_sync`: a job that reads the metadata of dbt into a branch, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.failure import NO_DBT_SYNC
from orchestrator.engine.outcome import Status
from orchestrator.simulator import virtual
from orchestrator.simulator.call_log_checks import overlaps
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.staging import branch_id, model_id
from tests.machine import Death, Machine
from tests.rehearsal import manifest_text, rehearse

SALES = model_id("Sales")
BRANCH = branch_id(SALES, "docs")
SYNC: dict[str, object] = {"model": "Sales", "branch": "docs", "refresh": "dbt_sync"}


def scenario(**answers: object) -> Scenario:
    """An instance with two models on one connection, each with a branch."""
    models = [{"name": name, "branches": ["docs"], "duration": 5, "connection": "wh"} for name in ("Sales", "Finance")]
    return make_scenario(models=models, connections=[{"name": "wh", "branch_based": True}], answers=answers)


def test_a_dbt_sync_sends_its_branch_and_nothing_else() -> None:
    """One POST to dbt-sync with branch_id alone; the job of type dbt_sync is followed; the outcome shows the kind."""
    run = rehearse(manifest_text(SYNC), scenario())
    (post,) = run.posts
    assert (post.path, post.query) == (f"/api/v1/models/{SALES}/dbt-sync", {"branch_id": BRANCH})
    assert (run.outcome.status, run.outcome.refresh, run.outcome.job_status) == (
        Status.SUCCEEDED,
        "dbt_sync",
        "COMPLETED",
    )
    assert run.outcome.promotion_pending


def test_it_is_off_by_default() -> None:
    """An entry that does not ask for it is refreshed from the warehouse."""
    run = rehearse(manifest_text({"model": "Sales", "branch": "docs"}), scenario())
    assert run.posts[0].path.endswith("/refresh")
    assert run.outcome.refresh == "schema"


def test_it_is_never_one_with_a_schema_refresh() -> None:
    """On one connection: a refresh of the branch, then its sync, never at once; equal syncs of a model are one."""
    entries: list[dict[str, object]] = [
        {"model": "Sales", "branch": "docs", "name": "whole"},
        {**SYNC, "name": "sync"},
        {**SYNC, "name": "again"},
        {**SYNC, "model": "Finance", "name": "other"},
    ]
    run = rehearse(manifest_text(*entries), scenario())
    assert [c.path.rsplit("/", 1)[1] for c in run.posts] == ["refresh", "dbt-sync", "dbt-sync"]
    assert overlaps(run.calls) == []
    assert {o.name: o.covered_by for o in run.outcomes} == {"whole": None, "sync": None, "again": "sync", "other": None}
    assert set(run.statuses.values()) == {Status.SUCCEEDED}


@pytest.mark.parametrize("status", [404, 405])
def test_an_instance_that_does_not_know_it(status: int) -> None:
    """404 or 405: rejected, with a hint; it is not replaced by a refresh."""
    staged = scenario()
    fault = {"method": "POST", "path": "dbt-sync", "always": True, "status": status}
    run = rehearse(manifest_text(SYNC), make_scenario(**{**staged.model_dump(exclude_unset=True), "faults": [fault]}))
    assert run.outcome.status is Status.REJECTED
    assert run.outcome.error is not None
    assert run.outcome.error.hint == NO_DBT_SYNC
    assert len(run.posts) == 1


def test_a_job_of_another_type_is_no_answer() -> None:
    """An answer of type refresh_schema about a sync, and one of type dbt_sync about a refresh, count as unreadable."""
    body: dict[str, Any] = {"job_type": "refresh_schema", "status": "COMPLETED"}
    fault = {"path": "/jobs/", "nth": [1], "status": 200, "body": body}
    staged = scenario().model_dump(exclude_unset=True)
    run = rehearse(manifest_text(SYNC), make_scenario(**{**staged, "faults": [fault]}))
    assert run.outcome.status is Status.SUCCEEDED
    assert run.outcome.polls > 1
    odd = rehearse(manifest_text({"model": "Sales", "branch": "docs", "timeout": "20s"}), scenario(job_type="dbt_sync"))
    assert odd.outcome.status is Status.UNKNOWN


def test_a_sync_that_was_cut_off_is_resumed(tmp_path: Path) -> None:
    """Its job is polled as a sync, and not sent again."""

    async def main() -> None:
        async with Machine(tmp_path, manifest_text(SYNC), scenario()) as machine:
            await machine.run(death=Death(at=5, after=True))
            root = machine.unfinished()
            assert root is not None
            night = await machine.resume(root)
            assert [o.refresh for o in night.outcomes] == ["dbt_sync"]
            assert night.statuses in ({"Sales@docs": Status.SUCCEEDED}, {"Sales@docs": Status.UNKNOWN})
            assert len(machine.started) == 1

    virtual.run(main())


def test_a_job_that_another_run_left_is_waited_for(tmp_path: Path) -> None:
    """The lane of a schema refresh stays closed while a sync of an earlier run may run on the connection."""

    async def main() -> None:
        async with Machine(tmp_path, manifest_text(SYNC), scenario()) as machine:
            await machine.run(death=Death(at=5, after=True))
            night = await machine.run(manifest=manifest_text({"model": "Finance", "branch": "docs"}))
            assert set(night.statuses.values()) == {Status.SUCCEEDED}
            assert overlaps(machine.calls) == []

    virtual.run(main())
