"""One SQLite file: made whole or not at all, checked when it is opened, migrated forward, written in short transactions."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from orchestrator.errors import UsageError

Row = tuple[Any, ...]

_HEADER: Final = struct.Struct(">16sH10xI")
_MAGIC: Final = b"SQLite format 3\0"
_BUSY_S: Final = 20.0
_DAMAGED: Final = "it is damaged or was cut; put back a copy, or move it away to begin without its runs"


class JournalError(UsageError):
    """State on disk cannot be used. Before a run: nothing was sent. In a run: nothing more is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a database file is: `application_id` tells it from others, `migrations[n]` leads from version n to n + 1.

    `durable` makes every commit wait for the disk; without it a commit outlives its process, but not a power cut.
    """

    application_id: int
    migrations: Sequence[str]
    durable: bool


class Database:
    """An open database. Every method is short and synchronous, and raises `JournalError` where the file gives way."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, durable: bool) -> None:
        self.path = path
        self._connection = connection
        self._durable = self._waits = durable

    @classmethod
    def open(cls, path: Path, layout: Layout, *, busy_s: float = _BUSY_S) -> Self:
        """Open the file, made anew where there is none. Raises `JournalError` for one that is not what it should be.

        A file without content was torn and is refused: to take it for a new one would forget every run.
        """
        with _told(path):
            if not path.exists():
                _create(path, layout)
            _check_size(path)
            self = cls(path, _connect(path, layout, busy_s), durable=layout.durable)
            try:
                self._check(layout)
            except BaseException:
                self.close()
                raise
            return self

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of a query."""
        with _told(self.path):
            return self._connection.execute(sql, values).fetchall()

    def change(self, sql: str, values: Sequence[object] = ()) -> None:
        """One statement that is a transaction of its own."""
        with _told(self.path):
            self._connection.execute(sql, values)

    @contextmanager
    def write(self, *, soon: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer comes between; all of it is kept, or nothing.

        `soon` is for what could be found out again: a process that dies loses nothing of it, a machine that loses its
        power may, unless a transaction that waited for the disk came after it.
        """
        with _told(self.path):
            self._wait_for_disk(not soon)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _wait_for_disk(self, wanted: bool) -> None:
        if self._durable and wanted != self._waits:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if wanted else 'NORMAL'}")
            self._waits = wanted

    def _check(self, layout: Layout) -> None:
        newest = len(layout.migrations)
        ((application_id,),) = self.read("PRAGMA application_id")
        if application_id != layout.application_id:
            raise JournalError(f"{self.path} is another program's file: name another state folder")
        if self._version() > newest:
            raise JournalError(
                f"{self.path} was written by a newer omni-refresh (format {self._version()}, this one knows {newest}): use that one"
            )
        if self._version() < newest:
            with self.write() as connection:
                # another process may have been quicker
                for migration in layout.migrations[self._version() :]:
                    _run_script(connection, migration)
                connection.execute(f"PRAGMA user_version = {newest}")

    def _version(self) -> int:
        ((version,),) = self.read("PRAGMA user_version")
        return int(version)


def fit(text: str | None) -> str | None:
    """Text from outside as a database can hold it: half of a surrogate pair is spelled out."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _connect(path: Path, layout: Layout, busy_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=busy_s)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if layout.durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        if not _has_whole_pages(path) and connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise JournalError(f"{path} cannot be used: {_DAMAGED}")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path, layout: Layout) -> None:
    """Make a new file beside and link it into place whole, so that a kill leaves no half of one."""
    own = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    os.close(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        connection = sqlite3.connect(own, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for migration in layout.migrations:
                _run_script(connection, migration)
            connection.execute(f"PRAGMA application_id = {layout.application_id}")
            connection.execute(f"PRAGMA user_version = {len(layout.migrations)}")
            connection.execute("COMMIT")
        finally:
            connection.close()
        # whoever links first has made it; the other one's is the same
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(own)
    finally:
        own.unlink()


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    """Each statement by itself: `executescript` would commit first. Comments stand on lines of their own."""
    bare = "\n".join(line for line in script.splitlines() if not line.startswith("--"))
    for statement in bare.split(";"):
        if statement.strip():
            connection.execute(statement)


def _check_size(path: Path) -> None:
    head = _head(path)
    if not head:
        raise JournalError(f"{path} is empty: {_DAMAGED}")
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise JournalError(f"{path} is no journal: {_DAMAGED}")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER.size)


def _has_whole_pages(path: Path) -> bool:
    """Whether the file is as long as its head says. It may rightly not be while a checkpoint is under way."""
    _, page_bytes, pages = _HEADER.unpack(_head(path))
    whole: int = (65536 if page_bytes == 1 else page_bytes) * pages
    return path.stat().st_size == whole


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite and the file system say becomes a `JournalError` with what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise JournalError(f"{path} cannot be used: {_reason(error)}") from None
    except OSError as error:
        raise JournalError(f"{path} cannot be used: {error.strerror or error}") from None


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
