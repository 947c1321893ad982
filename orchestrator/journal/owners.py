"""Who is at work on this machine: a row and a locked file for each process, so that a dead one is known for certain."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from orchestrator.journal.database import NO_PATIENCE, Database, JournalError, Layout, Patience

if TYPE_CHECKING:
    from filelock import FileLock

FILE: Final = "shared.db"
FOLDER: Final = "owners"

_FIRST: Final = """
CREATE TABLE owners (
    token TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    since TEXT NOT NULL,
    run TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE locks (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    since TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX locks_of ON locks (owner);
CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    longest_s REAL NOT NULL
) WITHOUT ROWID;
-- state 1: the call has left; 2: it was answered, at the monotonic moment answered_s of that boot
CREATE TABLE calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    state INTEGER NOT NULL,
    answered_s REAL,
    boot TEXT NOT NULL
);
CREATE INDEX calls_of_key ON calls (key, state, answered_s);
CREATE INDEX calls_of_owner ON calls (owner, state);
CREATE TABLE waiting (
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    until_s REAL NOT NULL,
    PRIMARY KEY (key, owner)
) WITHOUT ROWID
"""

_SECOND: Final = "CREATE INDEX calls_of_others ON calls (key, owner, state, answered_s)"

SHARED: Final = Layout(application_id=0x6F6D6E73, migrations=(_FIRST, _SECOND), durable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lock, and since when."""

    host: str
    pid: int
    since: datetime
    run: str

    def __str__(self) -> str:
        return f"run {self.run} (pid {self.pid} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC)"


class Owner:
    """This process, at work on a run. What it holds falls to others when it dies, however it dies."""

    def __init__(
        self, database: Database, folder: Path, *, token: str, lock: FileLock, now: Callable[[], float], boot: str
    ) -> None:
        self.database = database
        self.token = token
        self.now = now
        self.boot = boot
        self._folder = folder
        self._lock = lock
        self._looked_at = float("-inf")

    @classmethod
    def enter(
        cls,
        folder: Path,
        *,
        run: str,
        since: datetime,
        now: Callable[[], float],
        boot: str,
        patience: Patience = NO_PATIENCE,
    ) -> Self:
        """Register this process as at work on `run`. Raises `JournalError` if the state folder cannot be used."""
        owners = folder / FOLDER
        database = Database.open(folder / FILE, SHARED, patience)
        try:
            try:
                owners.mkdir(mode=0o700, exist_ok=True)
                token, lock = _new_token(owners)
            except OSError as error:
                raise JournalError(f"locks cannot be kept in {owners}: {error.strerror or error}") from None
            self = cls(database, owners, token=token, lock=lock, now=now, boot=boot)
            with database.write() as connection:
                connection.execute(
                    "INSERT INTO owners (token, host, pid, since, run) VALUES (?, ?, ?, ?, ?)",
                    (token, socket.gethostname(), os.getpid(), since.isoformat(), run),
                )
            self._settle_boot()
            self.bury_the_dead()
        except BaseException:
            database.close()
            raise
        return self

    def leave(self) -> None:
        """Give everything back."""
        with contextlib.suppress(JournalError), self.database.write() as connection:
            _give_back(connection, self.token, self.now(), self.boot)
        self.database.close()
        with contextlib.suppress(OSError):
            _file(self._folder, self.token).unlink()
        self._lock.release()

    def bury_the_dead(self, *, every_s: float = 0.0) -> bool:
        """Free what dead processes held: their locks at once; what they had sent counts as answered
        now, since nobody knows when the server saw it. At most once in `every_s`; True where somebody was dead.
        """
        now = self.now()
        if now - self._looked_at < every_s:
            return False
        self._looked_at = now
        rows = self.database.read("SELECT token FROM owners WHERE token != ?", (self.token,))
        dead = [token for (token,) in rows if self._is_dead(token)]
        if not dead:
            return False
        with self.database.write() as connection:
            for token in dead:
                _give_back(connection, token, now, self.boot)
        for token in dead:
            with contextlib.suppress(OSError):
                _file(self._folder, token).unlink()
        return True

    def others(self) -> int:
        """How many other processes are at work, as far as is known."""
        ((count,),) = self.database.read("SELECT count(*) FROM owners WHERE token != ?", (self.token,))
        return int(count)

    def _is_dead(self, token: str) -> bool:
        from filelock import FileLock, Timeout

        path = _file(self._folder, token)
        if not path.exists():
            return True
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except (Timeout, OSError):
            return False
        lock.release()
        return True

    def _settle_boot(self) -> None:
        """Moments of another boot, or of a clock that was ahead of this one, are taken for this one's now."""
        with self.database.write() as connection:
            connection.execute(
                "UPDATE calls SET answered_s = ?, boot = ? WHERE state = 2 AND (boot != ? OR answered_s > ?)",
                (self.now(), self.boot, self.boot, self.now()),
            )
            connection.execute("DELETE FROM waiting")


def _give_back(connection: sqlite3.Connection, token: str, now: float, boot: str) -> None:
    """What an owner held is free; what it had sent and not heard of counts as answered now."""
    connection.execute("DELETE FROM locks WHERE owner = ?", (token,))
    connection.execute("DELETE FROM waiting WHERE owner = ?", (token,))
    connection.execute(
        "UPDATE calls SET state = 2, answered_s = ?, boot = ? WHERE owner = ? AND state = 1", (now, boot, token)
    )
    connection.execute("DELETE FROM owners WHERE token = ?", (token,))


def _new_token(owners: Path) -> tuple[str, FileLock]:
    from filelock import FileLock, Timeout

    while True:
        token = secrets.token_hex(8)
        lock = FileLock(_file(owners, token), timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            # somebody looked whether it is a dead one's before it was locked
            continue
        return token, lock


def _file(owners: Path, token: str) -> Path:
    return owners / f"{token}.lock"
