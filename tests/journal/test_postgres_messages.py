"""What the PostgreSQL driver sends: a transaction waits for the server as seldom as it can."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.journal.stores import HAS_POSTGRES, PostgresPlace

if HAS_POSTGRES:
    from orchestrator.journal.database import JournalError
    from orchestrator.journal.layout import JOURNAL, SHARED
    from orchestrator.journal.postgres import PostgresDatabase
    from orchestrator.journal.postgres_link import HistoryChanged, LinkConnection
else:
    # the list of stores says what runs here (`tests.journal.stores`)
    __test__ = False

_KEY = "INSERT INTO keys (key) VALUES (?)"


@pytest.fixture
def database(postgres_place: PostgresPlace) -> Iterator["PostgresDatabase"]:
    """An empty store."""
    postgres_place.empty()
    database = PostgresDatabase.open(postgres_place.url, SHARED)
    yield database
    database.close()


@pytest.fixture
def waits(database: "PostgresDatabase", monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One item for each time that the server was waited for, from now on."""
    seen: list[str] = []
    wait = LinkConnection.wait

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        seen.append("wait")
        return wait(self, *arguments, **options)

    monkeypatch.setattr(LinkConnection, "wait", counted)
    return seen


def test_a_read_is_one_message(database: "PostgresDatabase", waits: list[str]) -> None:
    """The transaction around it costs no wait of its own."""
    assert database.read("SELECT ?, ?", ("50 % of 'x'", None)) == [("50 % of 'x'", None)]
    assert len(waits) == 1


def test_statements_whose_results_are_not_needed_are_one_message(
    database: "PostgresDatabase", waits: list[str]
) -> None:
    """From the beginning of a transaction that locks its own rows to its end; each result is that of its statement."""
    with database.write(shared=True) as transaction:
        transaction.executemany(_KEY, [("a",), ("b",)])
        first = transaction.execute("SELECT key FROM keys ORDER BY key")
        deleted = transaction.execute("DELETE FROM keys WHERE key = 'a'")
        second = transaction.execute("SELECT key FROM keys ORDER BY key")
    assert len(waits) == 1
    assert first.fetchone() == ("a",)
    assert first.fetchall() == [("b",)]
    assert (deleted.rowcount, deleted.fetchone()) == (1, None)
    assert second.fetchall() == [("b",)]
    assert len(waits) == 1


def test_an_error_leaves_nothing_of_a_message(database: "PostgresDatabase") -> None:
    """Not even of the statements before it; the connection goes on to work."""

    def fail() -> None:
        with database.write(shared=True) as transaction:
            transaction.executemany(_KEY, [("a",), ("a",)])
            transaction.execute("DELETE FROM owners")

    with pytest.raises(JournalError, match="duplicate key"):
        fail()
    assert database.read("SELECT key FROM keys") == []


def test_a_long_transaction_is_several_messages(database: "PostgresDatabase", waits: list[str]) -> None:
    """A message has a bounded size, so that the server need not hold all statements of a large run at once."""
    rows = [("x" * 10_000 + str(number),) for number in range(50)]
    with database.write(shared=True) as transaction:
        transaction.executemany(_KEY, rows)
    assert len(waits) == 3
    assert database.read("SELECT count(*) FROM keys") == [(50,)]


def test_a_failover_is_noticed_before_a_result_is_used(
    database: "PostgresDatabase", postgres_place: PostgresPlace
) -> None:
    """Also by a transaction that is one message: it fails, all keys are closed, and a retry works."""
    postgres_place.sql("UPDATE meta SET value = '7/00000001' WHERE name = 'history'")
    with pytest.raises(HistoryChanged), database.write(shared=True) as transaction:
        transaction.execute("SELECT 1")
    assert database.read("SELECT key, weight > 1 FROM slots") == [("", True)]
    with database.write(shared=True) as transaction:
        assert transaction.execute("SELECT 1").fetchone() == (1,)


def test_a_failover_does_not_fail_a_transaction_that_has_not_begun(
    database: "PostgresDatabase", postgres_place: PostgresPlace
) -> None:
    """One that waits for its turn notices it then, and begins again."""
    postgres_place.sql("UPDATE meta SET value = '7/00000001' WHERE name = 'history'")
    with database.write() as transaction:
        assert transaction.execute("SELECT count(*) FROM slots").fetchone() == (1,)


def test_lanes_of_different_instances_do_not_wait_for_each_other(
    database: "PostgresDatabase", postgres_place: PostgresPlace
) -> None:
    """A transaction about one thing runs beside one about another; about the same thing it waits."""
    other = PostgresDatabase.open(postgres_place.url, SHARED)

    def lock_timeout(about: str) -> None:
        with other.write(shared=True) as transaction:
            transaction.execute("SELECT set_config('lock_timeout', '50ms', true)")
            transaction.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (about,)).fetchall()

    with database.write(about=["c", "a"]) as transaction:
        transaction.execute(_KEY, ("a",))
        with other.write(about=["b"]) as beside:
            beside.execute(_KEY, ("b",))
        with pytest.raises(JournalError, match="lock timeout"):
            lock_timeout("a")
    lock_timeout("a")
    other.close()


def test_nothing_outlives_a_transaction(postgres_place: PostgresPlace) -> None:
    """A transaction pooler may give the connection to another program at once."""
    database = PostgresDatabase.open(postgres_place.url, JOURNAL)
    database.read("SELECT 1")
    connection = database.link._connection
    assert connection is not None
    shown = [
        connection.execute(f"SHOW {name}").fetchone()
        for name in ("search_path", "statement_timeout", "lock_timeout", "synchronous_commit")
    ]
    assert shown == [('"$user", public',), ("0",), ("0",), ("on",)]
    assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    database.close()
