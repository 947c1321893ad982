"""Each error of a shared state has a code that says what to do."""

import asyncio
from datetime import UTC, datetime

import pytest

from orchestrator.clock import Clock
from orchestrator.journal.database import JournalError
from tests.journal.stores import HAS_POSTGRES, PostgresPlace, open_journal
from tests.journal.test_journal import Desk

if not HAS_POSTGRES:
    # the list of stores says what runs here (`tests.journal.stores`)
    __test__ = False


def code_of(place: PostgresPlace) -> str:
    """The code with which a journal there cannot be opened."""
    with pytest.raises(JournalError) as refused:
        open_journal(place, Clock(lambda: 1.0, lambda: datetime(2026, 1, 1, tzinfo=UTC)))
    return refused.value.code


def test_a_database_that_cannot_be_opened(postgres_place: PostgresPlace) -> None:
    """No server, no tables, a role without rights, a newer version, an address that is none."""
    server = postgres_place.server
    away = PostgresPlace(server, server.url("state1", port=1))
    assert code_of(away) == "state-unreachable"
    assert code_of(PostgresPlace(server, server.new_database())) == "uninitialized-state"
    server.sql("CREATE ROLE reader LOGIN")
    database = postgres_place.url.rpartition("/")[2]
    server.sql("GRANT USAGE ON SCHEMA omni_refresh TO reader", database)
    assert code_of(PostgresPlace(server, server.url(database, user="reader"))) == "state-permission"
    assert code_of(PostgresPlace(server, "postgresql://%zz/x")) == "invalid-state"
    postgres_place.sql("UPDATE meta SET value = (value::int + 1000)::text WHERE name = 'version journal'")
    try:
        assert code_of(postgres_place) == "newer-state"
    finally:
        postgres_place.sql("UPDATE meta SET value = (value::int - 1000)::text WHERE name = 'version journal'")


def test_a_store_that_has_lost_steps(postgres_place: PostgresPlace) -> None:
    """A step after a failover that took the last ones back is refused."""
    postgres_place.empty()
    desk = Desk(postgres_place)
    steps = desk.begin("r1")
    asyncio.run(steps.kept())
    postgres_place.sql("UPDATE runs SET steps = steps + 7")
    desk.journal._database.post([("UPDATE targets SET lane = 'x' WHERE place = ?", [(0,)])])
    with pytest.raises(JournalError) as refused:
        asyncio.run(steps.kept())
    assert refused.value.code == "stale-state"
    desk.journal.close()
