"""Real databases for the tests of this folder, each started for the first test that needs it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.changes.engines import duckdb_engine, mariadb, postgres

_STARTS = {"postgres": postgres, "mariadb": mariadb, "mysql": mariadb, "duckdb": duckdb_engine}


@pytest.fixture(scope="session")
def database() -> Iterator[Callable[[str], Any]]:
    """Return the database for a dialect's name; the test is skipped if it is not installed."""
    with ExitStack() as running:
        started: dict[Any, Any] = {}

        def find(name: str) -> Any:
            start = _STARTS[name]
            if start not in started:
                started[start] = running.enter_context(start())
            if started[start] is None:
                pytest.skip(f"no server for {name}")
            return started[start]

        yield find
