"""Runs of entries with a branch pattern: looked up, expanded before the first refresh, kept in the journal."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.simulator import virtual
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.staging import branch_id, model_id
from tests.machine import Death, Machine
from tests.rehearsal import manifest_text, rehearse

SALES = model_id("Sales")


def scenario(*branches: str, branch_based: bool = True, **more: Any) -> Scenario:
    """An instance with the model Sales and these branches."""
    one = {"name": "Sales", "branches": list(branches), "duration": 5, "connection": "wh"}
    return make_scenario(models=[one], connections=[{"name": "wh", "branch_based": branch_based}], **more)


def manifest(pattern: str = "pr-*", **keys: object) -> str:
    """A manifest of one entry with a pattern."""
    return manifest_text({"model": "Sales", "branch": pattern, **keys})


def test_each_branch_is_refreshed_once() -> None:
    """One look-up, one refresh for each branch that matches, one outcome for each under its own name, one after another."""
    run = rehearse(manifest(), scenario("dev", "pr-1", "pr-2"))
    assert run.statuses == {"Sales@pr-1": Status.SUCCEEDED, "Sales@pr-2": Status.SUCCEEDED}
    assert len(run.reads) == 1
    assert [c.query["branch_id"] for c in run.posts] == [branch_id(SALES, "pr-1"), branch_id(SALES, "pr-2")]
    assert [(o.branch, o.promotion_pending) for o in run.outcomes] == [("pr-1", True), ("pr-2", True)]
    assert run.posts[1].t_s - run.posts[0].t_s >= 5


def test_a_list_that_shows_no_branches_is_read() -> None:
    """If the model's page shows no branches, the pattern's are listed, whole."""
    body = {"records": [{"id": SALES, "name": "Sales", "modelKind": "SHARED"}]}
    hidden = scenario("pr-1", "pr-2", faults=[{"path": "/models$", "nth": [1], "status": 200, "body": body}])
    run = rehearse(manifest(), hidden)
    assert set(run.statuses) == {"Sales@pr-1", "Sales@pr-2"}
    assert [c.query.get("modelKind") for c in run.reads] == ["SHARED", "BRANCH"]
    assert "name" not in run.reads[1].query


def test_without_a_branch_there_is_one_outcome() -> None:
    """Nothing matches: skipped, with the reason, no refresh, no failure."""
    run = rehearse(manifest(), scenario("dev"))
    assert (run.outcome.name, run.outcome.status) == ("Sales@pr-*", Status.SKIPPED)
    assert run.outcome.warnings == ("no branch matches 'pr-*'; the model has 1 branch",)
    assert run.posts == []


def test_too_many_branches_are_one_rejected_outcome() -> None:
    """The limit protects from a pattern that is wider than was meant."""
    run = rehearse(manifest("*", max_branches=2), scenario("a", "b", "c"))
    assert run.outcome.status is Status.REJECTED
    assert run.outcome.error is not None
    assert run.outcome.error.kind == "unresolved"
    assert "3 branches match '*'" in run.outcome.error.message
    assert run.posts == []


def test_where_branch_refresh_is_off() -> None:
    """The server's refusal is each target's own: the branch is never dropped."""
    run = rehearse(manifest(), scenario("pr-1", "pr-2", branch_based=False))
    assert set(run.statuses.values()) == {Status.REJECTED}
    assert {o.error.kind for o in run.outcomes if o.error} == {"bad_request"}
    assert len(run.posts) == 2


@pytest.mark.parametrize("at", range(1, 12))
def test_a_kill_at_any_moment_starts_no_branch_twice(at: int, tmp_path: Path) -> None:
    """Resume follows the stored targets: each branch is refreshed once, and what was found is not looked up again."""

    async def main() -> None:
        async with Machine(tmp_path, manifest(), scenario("pr-1", "pr-2")) as machine:
            night = await machine.run(death=Death(at=at, after=True))
            calls = len(machine.calls)
            root = machine.unfinished()
            if root is None:
                return
            was_planned = {t.name for t in machine.chain(root)[0].targets} == {"Sales@pr-1", "Sales@pr-2"}
            night = await machine.resume(root)
            assert set(night.statuses) == {"Sales@pr-1", "Sales@pr-2"}
            assert set(night.statuses.values()) <= {Status.SUCCEEDED, Status.UNKNOWN, Status.NOT_STARTED}
            started = [c.branch_id for c in machine.started]
            assert len(started) == len(set(started))
            looked = [c for c in machine.calls[calls:] if c.method == "GET" and "/jobs/" not in c.path]
            assert bool(looked) is not was_planned

    virtual.run(main())


def test_a_retry_follows_the_stored_branches(tmp_path: Path) -> None:
    """A retry takes the branch whose job failed, alone, without a look-up."""
    one = {"name": "Sales", "branches": ["pr-1", "pr-2"], "duration": 5, "connection": "wh"}
    failing = make_scenario(
        models=[{**one, "result": ["FAILED", "COMPLETED"]}], connections=[{"name": "wh", "branch_based": True}]
    )

    async def main() -> None:
        async with Machine(tmp_path, manifest(), failing) as machine:
            night = await machine.run()
            assert night.statuses == {"Sales@pr-1": Status.FAILED, "Sales@pr-2": Status.SUCCEEDED}
            calls = len(machine.calls)
            again = await machine.retry(night.root)
            assert again.statuses == {"Sales@pr-1": Status.SUCCEEDED}
            assert next(c.method for c in machine.calls[calls:]) == "POST"

    virtual.run(main())


def test_the_selection_of_branches_outlives_a_kill(tmp_path: Path) -> None:
    """A run of one selected branch that was killed before its look-up refreshes that branch alone when it is resumed."""

    async def main() -> None:
        async with Machine(tmp_path, manifest(), scenario("pr-1", "pr-2")) as machine:
            await machine.run(include=["branch:pr-2"], death=Death(at=1, after=True))
            root = machine.unfinished()
            assert root is not None
            night = await machine.resume(root)
            assert night.statuses == {"Sales@pr-2": Status.SUCCEEDED}

    virtual.run(main())
