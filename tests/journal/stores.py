"""The stores that the same tests run on: a state folder, and PostgreSQL if it is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from orchestrator.clock import Clock
from orchestrator.journal.database import NO_PATIENCE, Database, Patience, T
from orchestrator.journal.journal import Journal
from orchestrator.journal.processes import LocalProcess, ProcessRecord
from tests.journal.postgres_server import IS_INSTALLED, Server

HAS_POSTGRES = IS_INSTALLED and find_spec("psycopg") is not None
STORES = ("sqlite", "postgres") if HAS_POSTGRES else ("sqlite",)
"""A test that takes the fixture `place` runs once on each of them."""

Now = Callable[[], float]


@dataclass(frozen=True)
class PostgresPlace:
    """A store in PostgreSQL, empty when a test begins."""

    server: Server
    url: str

    def empty(self) -> None:
        """Forget everything, the tables and what belongs to the store itself excepted."""
        # slots are deleted: a table that is truncated looks like a backup's, and closes each key for a window
        tables = "runs, targets, calls, durations, connection_names, owners, locks, keys, waiting"
        # most transactions read `meta` first: with its lock, this one deadlocks with none of them
        self.sql(f"LOCK TABLE meta; TRUNCATE {tables} RESTART IDENTITY; DELETE FROM slots")

    def sql(self, statement: str) -> str:
        """Run SQL as the superuser."""
        return self.server.sql(f"SET search_path TO omni_refresh; {statement}", self.url.rpartition("/")[2])


Place = Path | PostgresPlace


def open_journal(place: Place, clock: Clock, boot: str = "b") -> Journal:
    """The journal of a place."""
    if isinstance(place, Path):
        return Journal.open(place, clock=clock, boot=boot)
    from orchestrator.journal.layout import JOURNAL
    from orchestrator.journal.postgres import PostgresDatabase
    from orchestrator.journal.postgres_link import StoreClock

    store_clock = StoreClock(wall=lambda: clock.utcnow().timestamp(), uptime=clock.now, boot=lambda: boot)
    database = PostgresDatabase.open(place.url, JOURNAL, clock=store_clock)
    return Journal(database, clock=clock, now=database.moment)


def enter_place(
    place: Place, *, run: str, since: datetime, now: Now, boot: str = "b", patience: Patience = NO_PATIENCE
) -> ProcessRecord:
    """Begin to be at work; in PostgreSQL without threads: a lease is renewed when `beat` is called."""
    if isinstance(place, Path):
        return LocalProcess.enter(place, run=run, since=since, now=now, boot=boot, patience=patience)
    from orchestrator.journal.leases import LeasedProcess
    from orchestrator.journal.postgres import PostgresDatabase
    from orchestrator.journal.postgres_link import StoreClock

    class Inline(LeasedProcess):
        """Asks in the caller's thread."""

        async def ask(self, question: Callable[[Database], T]) -> T:
            return self._answer(question)

        def soon(self, act: Callable[[Database], None]) -> None:
            act(self.database)

        def _database(self) -> PostgresDatabase:
            return self._main

    clock = StoreClock(wall=now, uptime=now, boot=lambda: boot)
    return Inline.enter(place.url, run=run, since=since, now=now, clock=clock, beats=False, patience=patience)


def die(owner: Any) -> None:
    """What the operating system does when a process dies: its connections are closed, nothing is tidied up."""
    if isinstance(owner, LocalProcess):
        owner.database.close()
        owner._lock.release()
    else:
        owner._close()
