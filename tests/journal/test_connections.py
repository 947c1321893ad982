"""What the journal knows of the names of connections: how it is stored and looked up in a large manifest."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.journal import connections
from orchestrator.journal.connections import Connections, learn
from orchestrator.journal.layout import JOURNAL
from orchestrator.journal.sqlite import SqliteDatabase
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.plan import RefreshPlan
from tests.rehearsal import manifest_text, model, read_manifest

AT = datetime(2026, 3, 1, tzinfo=UTC)
INSTANCES = {name: {"base_url": f"https://{name}.invalid", "api_keys": ["${KEY_1}"]} for name in ("a", "b")}


def plan_of(*targets: tuple[str, int, str | None]) -> RefreshPlan:
    """A plan with a lane for each (instance, model's number, connection)."""
    entries = [model(number, instance=instance, connection=means) for instance, number, means in targets]
    names = [{**entry, "name": f"t{position}"} for position, entry in enumerate(entries)]
    manifest = read_manifest(manifest_text(*names, instances=INSTANCES))
    return make_plan(manifest, manifest.entries, {})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteDatabase]:
    """An empty journal in a file."""
    database = SqliteDatabase.open(tmp_path / "journal.db", JOURNAL)
    yield database
    database.close()


def test_what_a_plan_says_is_stored_once_for_each_address() -> None:
    """The statement that reads all of an address runs once for it, and not once for each lane."""
    plan = plan_of(*(("a" if n % 2 else "b", n, f"c{n}") for n in range(1, 101)))
    assert len(plan.lanes) == 100
    assert [len(rows) for sql, rows in learn(plan, AT) if sql == connections._LEARN_LABELS] == [2]


def test_a_label_means_what_a_run_looked_up(journal: SqliteDatabase) -> None:
    """One manifest labels a model, another run looked up its connection: then the label means that connection."""
    wh = "3f2b8c1e-0000-4000-8000-00000000000a"
    journal.post(learn(plan_of(("a", 1, "warehouse"), ("a", 2, "warehouse"), ("b", 1, "warehouse")), AT))
    journal.post(learn(plan_of(("a", 1, wh), ("a", 3, None)), AT))
    known = Connections(journal)
    assert known.may_meet("a.invalid:443", frozenset([f"connection {wh}"])) >= {"label warehouse"}
    assert not known.may_meet("b.invalid:443", frozenset([f"connection {wh}"])) & {"label warehouse"}


@pytest.mark.parametrize("sql, times", [(connections._MEANINGS, 1), (connections._MEANING, 2)])
def test_a_lookup_reads_no_whole_address(sql: str, times: int, journal: SqliteDatabase) -> None:
    """It costs the same for an instance with ten models and for one with fifty thousand."""
    values = ("a", json.dumps(["x"])) * times
    steps = [row[3] for row in journal.read(f"EXPLAIN QUERY PLAN {sql}", values)]
    searches = [step for step in steps if "connection_names" in step or "known" in step or "label" in step]
    assert searches
    for step in searches:
        assert step.startswith("SEARCH")
        assert "address=? AND" in step
