"""What the journal knows of the names of connections: how it is stored and looked up in a large manifest."""

import json
import sqlite3
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.journal import connections
from orchestrator.journal.connections import Connections, learn
from orchestrator.journal.layout import JOURNAL

AT = datetime(2026, 3, 1, tzinfo=UTC)


def plan_of(*lanes: tuple[str, str, str | None]) -> Any:
    """A plan with one lane for each (instance, model, connection)."""
    return SimpleNamespace(
        manifest=SimpleNamespace(
            instances={name: SimpleNamespace(base_url=f"https://{name}.invalid/api") for name, _, _ in lanes}
        ),
        lanes=[
            SimpleNamespace(
                instance=instance,
                targets=[SimpleNamespace(model_id=model, connection=means, entry=SimpleNamespace(connection=means))],
            )
            for instance, model, means in lanes
        ],
    )


class Journal:
    """The journal's tables in memory."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        for migration in JOURNAL.migrations:
            self.connection.executescript(migration)

    def read(self, sql: str, values: Any = ()) -> list[Any]:
        """The rows of a query."""
        return self.connection.execute(sql, values).fetchall()

    def learn(self, plan: Any) -> int:
        """Store what a plan says; how often a statement ran for a whole address."""
        statements = learn(plan, AT)
        for sql, rows in statements:
            self.connection.executemany(sql, rows)
        return sum(len(rows) for sql, rows in statements if sql == connections._LEARN_LABELS)


def test_what_a_plan_says_is_stored_once_for_each_address() -> None:
    """The statement that reads all of an address runs once for it, and not once for each lane."""
    many = [("a" if n % 2 else "b", f"m{n}", f"c{n}") for n in range(100)]
    assert Journal().learn(plan_of(*many)) == 2


def test_a_label_means_what_a_run_looked_up() -> None:
    """One manifest labels a model, another run looked up its connection: then the label means that connection."""
    journal, wh = Journal(), "3f2b8c1e-0000-4000-8000-00000000000a"
    journal.learn(plan_of(("a", "m1", "warehouse"), ("a", "m2", "warehouse"), ("b", "m1", "warehouse")))
    journal.learn(plan_of(("a", "m1", wh), ("a", "m3", None)))
    known: Any = journal
    assert Connections(known).may_meet("a.invalid:443", frozenset([f"connection {wh}"])) >= {"label warehouse"}
    assert not Connections(known).may_meet("b.invalid:443", frozenset([f"connection {wh}"])) & {"label warehouse"}


@pytest.mark.parametrize("sql, times", [(connections._MEANINGS, 1), (connections._MEANING, 2)])
def test_a_lookup_reads_no_whole_address(sql: str, times: int) -> None:
    """It costs the same for an instance with ten models and for one with fifty thousand."""
    values = ("a", json.dumps(["x"])) * times
    steps = [row[3] for row in Journal().read(f"EXPLAIN QUERY PLAN {sql}", values)]
    searches = [step for step in steps if "connection_names" in step or "known" in step or "label" in step]
    assert searches
    for step in searches:
        assert step.startswith("SEARCH")
        assert "address=? AND" in step
