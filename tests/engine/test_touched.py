"""Runs that follow a change, over the real stack: what is asked, what is refreshed, and what the instance shows afterwards."""

from pathlib import Path

import pytest

from orchestrator.changes.change_set import ChangeSet
from orchestrator.changes.files import read_ddl
from orchestrator.engine.outcome import Status
from orchestrator.planning.followed_change import FollowedChange, make_followed_change
from orchestrator.planning.impact import KEEPS_WHAT_IS_GONE, SCHEMAS_UNKNOWN
from orchestrator.simulator import virtual
from orchestrator.simulator.calls import Call
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from tests.machine import Death, Machine
from tests.planning.changing import touched
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse, uuid

BEFORE = {"finance": ["invoices", "legacy"], "sales": ["orders"]}
AFTER = {"finance": ["invoices", "paid"], "sales": ["orders"], "marts": ["daily"]}


def ddl(sql: str) -> FollowedChange:
    """What a migration touched, read as the command line reads it."""
    found = read_ddl(["-"], dialect="postgres", stdin=sql.encode)
    return make_followed_change(ddl=found, dbt=ChangeSet(), listed=ChangeSet())


def migrated(*faults: dict[str, object]) -> Scenario:
    """Two connections: one whose warehouse was migrated, one with other schemas."""
    return make_scenario(
        connections=[
            {"name": "wh", "schemas": AFTER, "schemas_before": BEFORE},
            {"name": "lake", "schemas": {"events": ["clicks"]}},
        ],
        models=[
            {"id": uuid(1), "connection": "wh", "duration": 5},
            {"id": uuid(2), "connection": "wh", "duration": 5},
            {"id": uuid(3), "connection": "lake", "duration": 5},
        ],
        faults=list(faults),
    )


def asked(run: Rehearsal) -> list[Call]:
    """The questions for a model's schemas."""
    return [call for call in run.reads if call.path.endswith("/schemas")]


def queries(run: Rehearsal) -> list[dict[str, str]]:
    """What each refresh call asked for."""
    return [dict(call.query) for call in run.posts]


def test_additive_changes_are_soft_and_limited() -> None:
    """What was added is refreshed softly and in its own scope, and is there afterwards; who reads something else is skipped."""
    text = manifest_text(
        model(1, connection="wh", reads=["finance"], schemas=["finance"], verify="scope"),
        model(2, connection="wh", reads=["sales"]),
        model(3, connection="lake"),
    )
    run = rehearse(text, migrated(), touched=ddl("CREATE TABLE finance.paid (id int); GRANT ALL ON sales.orders TO r"))
    assert run.statuses == {"m1": Status.SUCCEEDED, "m2": Status.SKIPPED, "m3": Status.SKIPPED}
    assert queries(run) == [{"hard_refresh": "false", "schemas": "finance", "tables": "finance.paid"}]
    assert (run.of("m1").verified, run.of("m1").schemas, run.of("m1").tables) == (True, ("finance",), ("finance.paid",))
    assert len(asked(run)) == 1
    assert uuid(3) in asked(run)[0].path


def test_destructive_changes_are_hard() -> None:
    """What may be gone needs a hard refresh of the connection, scope or not; the others of the connection are served by it."""
    text = manifest_text(
        model(1, connection="wh", schemas=["finance"]), model(2, connection="wh"), model(3, connection="lake")
    )
    run = rehearse(text, migrated(), touched=ddl("DROP TABLE finance.legacy"))
    assert queries(run) == [{"hard_refresh": "true"}]
    assert run.statuses == {"m1": Status.SUCCEEDED, "m2": Status.SUCCEEDED, "m3": Status.SKIPPED}
    assert {run.of("m1").covered_by, run.of("m2").covered_by} == {None, "m1"}
    assert "without its scope" in run.of("m1").warnings[0]


def test_nothing_affected_is_no_call() -> None:
    """An empty change, or one that no model reads, sends nothing at all, not even a look-up; every target is skipped."""
    text = manifest_text(model(1, connection=None), {"model": "Sales", "name": "sales"}, model(3))
    empty = rehearse(text, migrated(), touched=ddl("GRANT SELECT ON a TO b; COMMENT ON TABLE a IS 'x'"))
    assert (empty.calls, set(empty.statuses.values())) == ([], {Status.SKIPPED})
    elsewhere = manifest_text(
        model(1, connection=None, reads=["finance"]), {"model": "Sales", "name": "sales", "schemas": ["sales"]}
    )
    run = rehearse(elsewhere, migrated(), touched=ddl("DROP TABLE hr.people"))
    assert (run.calls, set(run.statuses.values())) == ([], {Status.SKIPPED})
    assert [warning.split()[-1] for warning in run.of("m1").warnings] == ["finance"]


@pytest.mark.parametrize("shape", ["array", "object"])
def test_plain_models_are_asked_what_they_read(shape: str) -> None:
    """A model without reads and scopes costs one question, and is named as its instance names its schemas."""
    text = manifest_text(model(1, connection="wh"), model(3, connection="lake"))
    staged = migrated().model_copy(update={"answers": make_scenario(answers={"schemas": shape}).answers})
    run = rehearse(text, staged, touched=touched("+FINANCE.PAID"))
    assert len(asked(run)) == 2
    assert max(c.t_s for c in asked(run)) < run.posts[0].t_s
    assert queries(run) == [{"hard_refresh": "false", "schemas": "finance", "tables": "finance.PAID"}]
    assert run.of("m3").status is Status.SKIPPED


def test_entries_of_one_model_are_asked_once() -> None:
    """Two entries of the same model and branch share the question."""
    text = manifest_text(model(1, connection="wh"), model(1, connection="wh", name="again", mode="soft"))
    run = rehearse(text, migrated(), touched=touched("+finance.paid"))
    assert len(asked(run)) == 1
    assert set(run.statuses.values()) == {Status.SUCCEEDED}


def test_an_unread_model_counts_as_affected() -> None:
    """Where the question fails the model is refreshed, with a warning; a doubt leaves no model stale."""
    rule = {"method": "GET", "path": "/schemas$", "always": True, "status": 403}
    text = manifest_text(model(1, connection="wh"), model(3, connection="lake"))
    run = rehearse(text, migrated(rule), touched=touched("+finance.paid"))
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert all(o.warnings[0] == SCHEMAS_UNKNOWN for o in run.outcomes)


def test_what_was_not_understood_refreshes_all() -> None:
    """A statement that was not understood makes every refresh hard, needs no look-up, and is reported with its line."""
    text = manifest_text(model(1, connection="wh", reads=["hr"]), model(3, connection="lake", mode="soft"))
    run = rehearse(text, migrated(), touched=ddl("CREATE TABLE finance.paid (x int);\nFROBNICATE THE WAREHOUSE"))
    assert asked(run) == []
    assert run.statuses == {"m1": Status.SUCCEEDED, "m3": Status.SUCCEEDED}
    assert [q["hard_refresh"] for q in queries(run)] == ["true", "false"]
    assert "<stdin>:2 was not understood" in run.result.plan.remarks[0]
    assert run.of("m3").warnings[0].startswith(KEEPS_WHAT_IS_GONE)


def test_a_schema_that_the_migration_made_reaches_the_models() -> None:
    """A new schema is on no list; who reads all of a connection is refreshed for it, and a change on two connections is told."""
    text = manifest_text(model(1, connection="wh"), model(3, connection="lake"))
    sql = "CREATE SCHEMA marts; CREATE TABLE marts.daily (id int)"
    run = rehearse(text, migrated(), touched=ddl(sql))
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert {q["schemas"] for q in queries(run)} == {"marts"}
    assert "--select connection:wh narrows it" in run.result.plan.remarks[-1]


def test_a_model_that_does_not_resolve_stays_so() -> None:
    """A name that is not there is rejected as ever; the change does not hide it."""
    text = manifest_text({"model": "Nope", "name": "nope"}, model(1, connection="wh", reads=["finance"]))
    run = rehearse(text, migrated(), touched=touched("+finance.paid"))
    assert run.statuses == {"nope": Status.REJECTED, "m1": Status.SUCCEEDED}


@pytest.mark.parametrize("at", [2, 3, 4, 5, 6, 7])
def test_a_killed_run_continues_with_the_same_change(tmp_path: Path, at: int) -> None:
    """Killed at any commit, resumed: the same models are refreshed, as narrowly, and those that were not touched are skipped."""
    text = manifest_text(
        model(1, connection="wh", reads=["finance"]),
        model(2, connection="x", reads=["hr"]),
        model(3, connection="lake"),
    )
    what = touched("+finance.paid", "+events.clicks")

    async def main() -> None:
        async with Machine(tmp_path, text, migrated()) as machine:
            first = await machine.run(death=Death(at=at), touched=what)
            night = await machine.resume("night-1") if first.result is None else first
            assert night.of("m2").status is Status.SKIPPED
            assert night.of("m1").status in (Status.SUCCEEDED, Status.UNKNOWN)
            assert {dict(c.query).get("schemas") for c in machine.started} <= {"finance", "events"}
            assert night.of("m1").schemas == ("finance",)

    virtual.run(main())


def test_a_retry_follows_the_same_change(tmp_path: Path) -> None:
    """What failed is retried with the same scope, and no skipped target is added."""
    text = manifest_text(model(1, connection="wh", reads=["finance"]), model(3, connection="lake", reads=["hr"]))
    staged = migrated()
    failing = staged.models[0].model_copy(update={"result": ("FAILED", "COMPLETED")})
    staged = staged.model_copy(update={"models": (failing, *staged.models[1:])})

    async def main() -> None:
        async with Machine(tmp_path, text, staged) as machine:
            first = await machine.run(touched=touched("+finance.paid"))
            assert first.statuses == {"m1": Status.FAILED, "m3": Status.SKIPPED}
            again = await machine.retry("night-1")
            assert again.statuses == {"m1": Status.SUCCEEDED}
            assert again.of("m1").tables == ("finance.paid",)
            assert [dict(c.query)["tables"] for c in machine.started] == ["finance.paid"] * 2

    virtual.run(main())
