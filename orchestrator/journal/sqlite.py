"""One SQLite file: created whole or not at all, checked when it is opened, migrated forward, written in short transactions.

SQLite keeps other processes out with POSIX locks, and a process loses all its locks on a file as soon as it closes any
descriptor of it. So only SQLite may open the database file and its `-shm`: other code uses SQLite or `stat`. The `-wal` file carries
no locks; one descriptor of it stays open as long as the database.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from orchestrator.journal.database import (
    NO_PATIENCE,
    Database,
    GroupCommit,
    JournalError,
    Layout,
    Patience,
    Retries,
    Row,
    SqlBatch,
    Transaction,
    Values,
)

_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.025
_SMALLEST_BYTES: Final = 512
_SUFFIXES: Final = ("", "-wal", "-shm")
_RESET: Final = "restore a backup, or run `omni-refresh state reset` to start without the earlier runs"
_ROW_LOCK: Final = re.compile(r" FOR (?:UPDATE|KEY SHARE)\b")
_DAMAGED: Final = f"it is damaged or was cut; {_RESET}"


class _Transaction:
    """SQLite runs one transaction at a time: rows need no locks of their own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.executemany = connection.executemany

    def execute(self, sql: str, values: Values = ()) -> sqlite3.Cursor:
        """Run a statement."""
        return self._connection.execute(_ROW_LOCK.sub("", sql), values)

    def read(self, sql: str, values: Values = ()) -> list[Row]:
        """Return the rows of a query."""
        return self.execute(sql, values).fetchall()

    def insert(self, sql: str, values: Values) -> Callable[[], int]:
        """Insert one row; what is returned gives its number."""
        number = self._connection.execute(sql, values).lastrowid
        assert number is not None
        return lambda: number


class SqliteDatabase(Database):
    """An open database. Every method is short and synchronous, and raises `JournalError` if the file cannot be used.

    A method waits for a lock of another process with `patience`. After a wait that failed, methods do not wait until one
    succeeds.
    """

    def __init__(self, path: Path, *, durable: bool, patience: Patience) -> None:
        self.path = path
        self.name = str(path)
        self._durable = self._waits = durable
        self._patience = patience
        self._retries = Retries(
            patience=patience, is_passing=_is_busy, pause_s=_FIRST_PAUSE_S, longest_pause_s=_LONGEST_PAUSE_S
        )
        self._is_blocked = False
        # another connection's lock is waited for here and not in SQLite, where no signal could end the wait
        self._connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0)
        self._log: int | None = None
        self._identity: tuple[tuple[int, int], ...] = ()
        self._group = GroupCommit(self.force)

    @classmethod
    def open(cls, path: Path, layout: Layout, patience: Patience = NO_PATIENCE) -> Self:
        """Open the file, or create it. Raises `JournalError` for one that is not what it should be.

        A file without content was cut and is refused: a new database in its place would forget every run.
        """
        with _explained(path):
            if not path.exists():
                _create(path, layout)
            _check_kind(path)
            self = cls(path, durable=layout.durable, patience=patience)
            try:
                self._begin(layout)
            except BaseException:
                self.close()
                raise
            return self

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def read(self, sql: str, values: Values = ()) -> list[Row]:
        """Return the rows of a query."""
        with _explained(self.path):
            return self._retries.call(lambda: self._connection.execute(sql, values).fetchall(), self._patience.busy_s)

    def force(self) -> None:
        """Force the write-ahead log to the disk; may be called in another thread. Raises `JournalError`.

        A checkpoint forces what it takes from the log by itself.
        """
        with _explained(self.path):
            if self._log is None:
                raise JournalError(f"{self.path} is closed", code="unusable-state")
            os.fsync(self._log)
            self._check_in_place()

    def post(self, statements: Sequence[SqlBatch]) -> None:
        """Run statements as one transaction, now; it outlives this process, and the machine's power once `kept` returns."""
        with self.write(soon=True) as transaction:
            for sql, rows in statements:
                transaction.executemany(sql, rows)

    async def kept(self) -> None:
        """Wait until all that was posted is on the disk."""
        await self._group.wait()

    @contextmanager
    def write(
        self, *, soon: bool = False, busy_s: float | None = None, shared: bool = False, about: Collection[str] = ()
    ) -> Iterator[Transaction]:
        """Run a transaction without any other writer in between, whatever it is about: all of it is kept, or nothing.

        With `soon` the commit does not wait for the disk: it survives the end of the process, and a power cut only if
        `force` or a commit that waited came after it. `busy_s` replaces the longest wait for another writer.
        """
        del shared, about
        with _explained(self.path):
            self._check_in_place()
            self._wait_for_disk(not soon)
            self._begin_write(busy_s)
            try:
                yield _Transaction(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _wait_for_disk(self, wanted: bool) -> None:
        if self._durable and wanted != self._waits:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if wanted else 'NORMAL'}")
            self._waits = wanted

    def _begin_write(self, busy_s: float | None) -> None:
        usual_s = 0.0 if self._is_blocked else self._patience.busy_s
        try:
            self._retries.call(
                lambda: self._connection.execute("BEGIN IMMEDIATE"), usual_s if busy_s is None else min(busy_s, usual_s)
            )
        except sqlite3.OperationalError:
            self._is_blocked = self._is_blocked or busy_s is None
            raise
        self._is_blocked = False

    def _begin(self, layout: Layout) -> None:
        connection = self._connection
        self._retries.call(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchall(), self._patience.busy_s)
        connection.execute(f"PRAGMA synchronous = {'FULL' if layout.durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        self._check(layout)
        # the first read has opened the log and its index
        self._log = os.open(_beside(self.path, "-wal"), os.O_RDONLY | os.O_CLOEXEC)
        self._identity = self._look()

    def _check(self, layout: Layout) -> None:
        newest = len(layout.migrations)
        ((application_id,),) = self.read("PRAGMA application_id")
        ((page_bytes,),) = self.read("PRAGMA page_size")
        # SQLite itself refuses a file that lacks whole pages
        if self.path.stat().st_size % page_bytes and self.read("PRAGMA quick_check(1)") != [("ok",)]:
            raise JournalError(f"{self.path} cannot be used: {_DAMAGED}", code="damaged-state")
        if application_id != layout.application_id:
            raise JournalError(
                f"{self.path} is another program's file", code="unusable-state", hint="name another state folder"
            )
        if self._version() > newest:
            raise JournalError(
                f"{self.path} was written by a newer omni-refresh (format {self._version()}, this one knows {newest})",
                code="newer-state",
                hint="use that one",
            )
        if self._version() < newest:
            with self.write():
                # another process may have been quicker
                for migration in layout.migrations[self._version() :]:
                    _run_script(self._connection, migration)
                self._connection.execute(f"PRAGMA user_version = {newest}")

    def _look(self) -> tuple[tuple[int, int], ...]:
        """Return the identities of the database, its log and the log's index. Raises `OSError` if one is missing."""
        found = (_beside(self.path, suffix).stat() for suffix in _SUFFIXES)
        return tuple((one.st_dev, one.st_ino) for one in found)

    def _check_in_place(self) -> None:
        """Raise `JournalError` if the files that SQLite has open are not those in the folder any more.

        What is written into removed files is lost, and another process would not see it.
        """
        if not self._identity:
            return
        try:
            in_place = self._look() == self._identity
        except FileNotFoundError:
            in_place = False
        if not in_place:
            raise JournalError(f"{self.path} was removed or replaced while it was in use", code="state-replaced")

    def _version(self) -> int:
        ((version,),) = self.read("PRAGMA user_version")
        return int(version)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _is_busy(error: Exception) -> bool:
    if not isinstance(error, sqlite3.OperationalError):
        return False
    return (error.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)


def _create(path: Path, layout: Layout) -> None:
    """Create the file under another name, and link it when it is complete: a kill leaves no incomplete database.

    A log without its database would be replayed into the new one: it is refused.
    """
    left = [name for suffix in ("-wal", "-shm", "-journal") if (name := _beside(path, suffix)).exists()]
    if left and not path.exists():
        raise JournalError(f"{path} is missing, but {left[0].name} is there", code="damaged-state", hint=_RESET)
    own = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    own.touch(0o600, exist_ok=False)
    try:
        with contextlib.closing(sqlite3.connect(own, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for migration in layout.migrations:
                _run_script(connection, migration)
            connection.execute(f"PRAGMA application_id = {layout.application_id}")
            connection.execute(f"PRAGMA user_version = {len(layout.migrations)}")
            connection.execute("COMMIT")
        # the first process to link it has made it; the other one's is the same
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(own)
    finally:
        own.unlink()


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run each statement by itself: `executescript` would commit first. Comments stand on lines of their own."""
    bare = "\n".join(line for line in script.splitlines() if not line.startswith("--"))
    for statement in bare.split(";"):
        if statement.strip():
            connection.execute(statement)


def _check_kind(path: Path) -> None:
    """Raise `JournalError` for a folder, and for a file that SQLite would take for a new database."""
    if path.is_dir():
        raise JournalError(f"{path} cannot be used: Is a directory", code="unusable-state")
    size = path.stat().st_size
    if size < _SMALLEST_BYTES:
        raise JournalError(f"{path} is {'no journal' if size else 'empty'}: {_DAMAGED}", code="damaged-state")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the file system into a `JournalError` that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        reason = _reason(error)
        code = "damaged-state" if reason.startswith(_DAMAGED) else "unusable-state"
        raise JournalError(f"{path} cannot be used: {reason}", code=code) from None
    except OSError as error:
        raise JournalError(f"{path} cannot be used: {error.strerror or error}", code="unusable-state") from None


def _reason(error: sqlite3.DatabaseError) -> str:
    name = getattr(error, "sqlite_errorname", "") or ""
    for start, words in (
        ("SQLITE_CORRUPT", _DAMAGED),
        ("SQLITE_NOTADB", _DAMAGED),
        ("SQLITE_FULL", "the disk is full"),
        ("SQLITE_READONLY", "it, its folder or its disk is read-only"),
        ("SQLITE_CANTOPEN", "it cannot be opened: check its owner and its folder's"),
        ("SQLITE_BUSY", "another process has kept it locked for too long"),
        ("SQLITE_IOERR", "the disk does not answer as it should"),
    ):
        if name.startswith(start):
            return f"{words} ({error})"
    return str(error)
