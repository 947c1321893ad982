"""A PostgreSQL server for the tests that run on each store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.postgres_server import running_server
from tests.journal.stores import STORES, Place, PostgresPlace


@pytest.fixture(scope="session")
def postgres_place() -> Iterator[PostgresPlace]:
    """One server for all tests of a process, started for the first one that needs it."""
    from orchestrator.journal.postgres import initialise

    with running_server() as server:
        place = PostgresPlace(server, server.new_database())
        initialise(place.url, salt="00")
        yield place


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store of each kind that is installed here, one after another."""
    if request.param == "sqlite":
        return tmp_path
    found: PostgresPlace = request.getfixturevalue("postgres_place")
    found.empty()
    return found
