"""The running processes: a row for each, and a way to know for certain that one is dead.

On one machine that is a locked file for each process: the operating system unlocks it, however the process ends. Processes
on several machines have leases (`orchestrator.journal.leases`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from orchestrator.journal.database import NO_PATIENCE, Database, JournalError, Patience, T, Transaction
from orchestrator.journal.layout import SHARED, close_keys
from orchestrator.journal.moments import LocalMoment, Moment
from orchestrator.journal.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from filelock import FileLock

FILE: Final = "shared.db"
FOLDER: Final = "owners"


class OwnerLost(JournalError):
    """The other processes count this one as dead: what it held is theirs, and it may send nothing any more."""

    def __init__(
        self, message: str = "the other processes count this one as dead: it was not at work for too long"
    ) -> None:
        super().__init__(message, code="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that holds a lock, and since when."""

    host: str
    pid: int
    since: datetime
    run: str

    def __str__(self) -> str:
        return f"run {self.run} (pid {self.pid} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC)"


class ProcessRecord(ABC):
    """This process, at work on a run. What it holds becomes free when it dies, however it dies.

    `token` names it in the store. `now` is the clock of its windows. `at_end` are called, with the transaction, before it gives
    everything back, and `on_beat` now and then. `lost_rows` counts how often the store was seen to have lost rows.
    """

    shares_clock = True
    """Whether all processes that use the store have one monotonic clock."""

    def __init__(self, database: Database, *, token: str, now: Callable[[], float]) -> None:
        self.database = database
        self.token = token
        self.now = now
        self.at_end: list[Callable[[Transaction], None]] = []
        self.on_beat: list[Callable[[Database], None]] = []
        self.lost_rows = 0
        self._looked_at = float("-inf")

    @property
    def losses(self) -> int:
        """Return how often the store has lost rows, or may have: what was taken before then must be taken again."""
        return self.lost_rows

    @abstractmethod
    def moment(self) -> Moment:
        """Return the present moment by the store's clock."""

    async def ask(self, question: Callable[[Database], T]) -> T:
        """Return what `question` returns for a database; in a thread if the store may be slow.

        Raises `OwnerLost` if other processes count this one as dead, and `JournalError` if the store was away for too long.
        """
        return question(self.database)

    def soon(self, act: Callable[[Database], None]) -> None:
        """Do `act` with a database; in the background if the store may be slow. A `JournalError` is ignored."""
        with contextlib.suppress(JournalError):
            act(self.database)

    def may_send(self) -> bool:
        """Return whether no other process can count this one as dead."""
        return True

    def was_away(self) -> bool:
        """Return whether other processes may have noticed that this one did not show for a while that it is alive."""
        return False

    @abstractmethod
    def _dead(self, database: Database) -> list[tuple[str, int]]:
        """Return the dead among the other processes: token and beats."""

    def _bury(self, token: str) -> None:
        """Remove what a dead process left outside the database."""
        del token

    def reap_dead(self, *, every_s: float = 0.0, busy_s: float | None = None, database: Database | None = None) -> bool:
        """Free what dead processes held, at most once in `every_s`; return whether a process was dead.

        Their locks are free at once. Their calls without an answer count as answered now, because the moment when the server
        saw them is not known. `busy_s` replaces the longest wait for another writer. `database` is that of the calling thread.
        """
        database = database or self.database
        now = self.now()
        if now - self._looked_at < every_s:
            return False
        self._looked_at = now
        dead = self._dead(database)
        if not dead:
            return False
        with database.write(busy_s=busy_s) as transaction:
            for token, beats in dead:
                give_back(transaction, token, self.moment(), beats=beats)
        for token, _ in dead:
            self._bury(token)
        return True

    def others(self) -> int:
        """Return how many other processes run, as far as is known."""
        ((count,),) = self.database.read("SELECT count(*) FROM owners WHERE token != ?", (self.token,))
        return int(count)

    def _register(self, run: str, since: datetime) -> None:
        moment = self.moment()
        self.database.change(
            "INSERT INTO owners (token, host, pid, since, run, beat_s, beat_mark) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self.token, socket.gethostname(), os.getpid(), since.isoformat(), run, moment.at_s, moment.mark),
        )

    @abstractmethod
    def leave(self) -> None:
        """Give everything back."""

    def _give_everything_back(self) -> None:
        with contextlib.suppress(JournalError), self.database.write() as transaction:
            for surrender in self.at_end:
                surrender(transaction)
            give_back(transaction, self.token, self.moment())


class LocalProcess(ProcessRecord):
    """A process that shares a state folder with others of this machine. Its file lock shows that it is alive."""

    def __init__(
        self, database: Database, folder: Path, *, token: str, lock: FileLock, now: Callable[[], float], boot: str
    ) -> None:
        super().__init__(database, token=token, now=now)
        self.boot = boot
        self._folder = folder
        self._lock = lock

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
        database = SqliteDatabase.open(folder / FILE, SHARED, patience)
        try:
            try:
                owners.mkdir(mode=0o700, exist_ok=True)
                token, lock = _new_token(owners)
            except OSError as error:
                raise JournalError(
                    f"locks cannot be kept in {owners}: {error.strerror or error}", code="unusable-state"
                ) from None
            self = cls(database, owners, token=token, lock=lock, now=now, boot=boot)
            self._register(run, since)
            self._settle_boot()
            self.reap_dead()
        except BaseException:
            database.close()
            raise
        return self

    def moment(self) -> LocalMoment:
        """Return the monotonic clock's moment, with the machine's start."""
        return LocalMoment(self.now(), self.boot)

    def leave(self) -> None:
        """Give everything back."""
        self._give_everything_back()
        self.database.close()
        self._bury(self.token)
        self._lock.release()

    def _bury(self, token: str) -> None:
        with contextlib.suppress(OSError):
            _file(self._folder, token).unlink()

    def _dead(self, database: Database) -> list[tuple[str, int]]:
        rows = database.read("SELECT token, beats FROM owners WHERE token != ?", (self.token,))
        return [(token, beats) for token, beats in rows if not _is_locked(_file(self._folder, token))]

    def _settle_boot(self) -> None:
        """Replace moments of another start of the machine, and moments that lie ahead, by the present moment."""
        now = self.moment()
        with self.database.write() as transaction:
            for sql in (
                "UPDATE slots SET ended_s = ?, ended_mark = ? WHERE ended_s IS NOT NULL AND (ended_mark != ? OR ended_s > ?)",
                "UPDATE keys SET held_s = ?, held_mark = ? WHERE held_s IS NOT NULL AND (held_mark != ? OR held_s > ?)",
            ):
                transaction.execute(sql, (now.at_s, now.mark, now.mark, now.at_s))
            transaction.execute("DELETE FROM waiting")


def live_owners(folder: Path) -> tuple[str, ...]:
    """Return the tokens of the processes that use a state folder, without its database."""
    return tuple(path.stem for path in sorted((folder / FOLDER).glob("*.lock")) if _is_locked(path))


def record_gap(folder: Path, *, now: float, boot: str) -> None:
    """Close each key for one window, because it is not known what was sent before `now`. Raises `JournalError`."""
    database = SqliteDatabase.open(folder / FILE, SHARED)
    with contextlib.closing(database), database.write() as transaction:
        close_keys(transaction, LocalMoment(now, boot))


def give_back(transaction: Transaction, token: str, moment: Moment, *, beats: int | None = None) -> None:
    """Free what a process held; its calls without an answer count as answered now.

    With `beats` only if it has not shown since then that it is alive.
    """
    if beats is None:
        transaction.execute("DELETE FROM owners WHERE token = ?", (token,))
    elif not transaction.execute("DELETE FROM owners WHERE token = ? AND beats = ?", (token, beats)).rowcount:
        return
    transaction.execute("DELETE FROM locks WHERE owner = ?", (token,))
    transaction.execute("DELETE FROM waiting WHERE owner = ?", (token,))
    transaction.execute(
        "UPDATE slots SET ended_s = ?, ended_mark = ? WHERE owner = ? AND ended_s IS NULL",
        (moment.at_s, moment.mark, token),
    )
    transaction.execute("UPDATE slots SET owner = NULL WHERE owner = ?", (token,))


def _is_locked(path: Path) -> bool:
    from filelock import FileLock, Timeout

    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _new_token(owners: Path) -> tuple[str, FileLock]:
    from filelock import FileLock, Timeout

    while True:
        token = secrets.token_hex(8)
        lock = FileLock(_file(owners, token), timeout=0, mode=0o600)
        # if it is locked, another process checks whether its owner is dead before this one could lock it
        with contextlib.suppress(Timeout):
            lock.acquire()
            return token, lock


def _file(owners: Path, token: str) -> Path:
    return owners / f"{token}.lock"
