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

# a key pauses until until_s, which is wait_s after the hold began; what was sent before a gap's at_s is not known in full
_THIRD: Final = """
CREATE TABLE holds (
    key TEXT PRIMARY KEY,
    until_s REAL NOT NULL,
    wait_s REAL NOT NULL,
    boot TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE gaps (
    at_s REAL NOT NULL,
    boot TEXT NOT NULL
)
"""

SHARED: Final = Layout(application_id=0x6F6D6E73, migrations=(_FIRST, _SECOND, _THIRD), durable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lock, and since when."""

    host: str
    pid: int
    since: datetime
    run: str

    def __str__(self) -> str:
        return f"run {self.run} (pid {self.pid} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC)"


class ProcessRecord:
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
            self.reap_dead()
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

    def reap_dead(self, *, every_s: float = 0.0, busy_s: float | None = None) -> bool:
        """Free what dead processes held: their locks at once; what they had sent counts as answered now, because the
        moment when the server saw it is not known. At most once in `every_s`; True if a process was dead. `busy_s` is how
        long to wait for another writer, if not as long as usual.
        """
        now = self.now()
        if now - self._looked_at < every_s:
            return False
        self._looked_at = now
        rows = self.database.read("SELECT token FROM owners WHERE token != ?", (self.token,))
        dead = [token for (token,) in rows if self._is_dead(token)]
        if not dead:
            return False
        with self.database.write(busy_s=busy_s) as connection:
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
        return not _is_locked(_file(self._folder, token))

    def _settle_boot(self) -> None:
        """Moments of another boot, or of a clock that was ahead of this one, are taken for this one's now."""
        now, boot = self.now(), self.boot
        with self.database.write() as connection:
            connection.execute(
                "UPDATE calls SET answered_s = ?, boot = ? WHERE state = 2 AND (boot != ? OR answered_s > ?)",
                (now, boot, boot, now),
            )
            connection.execute(
                "UPDATE holds SET until_s = ? + wait_s, boot = ? WHERE boot != ? OR until_s > ? + wait_s",
                (now, boot, boot, now),
            )
            connection.execute("UPDATE gaps SET at_s = ?, boot = ? WHERE boot != ? OR at_s > ?", (now, boot, boot, now))
            connection.execute("DELETE FROM waiting")


def live_owners(folder: Path) -> tuple[str, ...]:
    """Return the tokens of the processes that are at work on a state folder, without its database."""
    return tuple(path.stem for path in sorted((folder / FOLDER).glob("*.lock")) if _is_locked(path))


def record_gap(folder: Path, *, now: float, boot: str) -> None:
    """Note that what was sent before `now` is not known: each key then pauses for one window. Raises `JournalError`."""
    database = Database.open(folder / FILE, SHARED)
    try:
        database.change("INSERT INTO gaps (at_s, boot) VALUES (?, ?)", (now, boot))
    finally:
        database.close()


def _is_locked(path: Path) -> bool:
    from filelock import FileLock, Timeout

    if not path.exists():
        return False
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return True
    lock.release()
    return False


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
