"""What the journal needs of a database, so that one set of statements works on SQLite and on PostgreSQL.

Statements are written once, in the SQL that both understand: `?` stands for a value, `ON CONFLICT` for an upsert,
`IN (SELECT value FROM json_each(?))` for a list that is passed as JSON. The drivers differ
(`orchestrator.journal.sqlite`, `orchestrator.journal.postgres`) in: types in table definitions, locks of rows, how a
transaction begins.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, overload

from orchestrator.errors import UsageError

Row = tuple[Any, ...]
Values = Sequence[object]
SqlBatch = tuple[str, Sequence[Values]]
"""A statement, and the values of each time that it is to be run."""
T = TypeVar("T")

STORE_PATIENCE_S: Final = 300.0
"""How long a run continues if the store cannot be used, in seconds."""


class JournalError(UsageError):
    """The stored state cannot be used. Before a run: nothing was sent. In a run: nothing more is."""

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)


class StoreUnreachable(JournalError):
    """The store cannot be reached now, or is too busy. `may_pass`: a retry may help."""

    def __init__(self, message: str, *, may_pass: bool = True) -> None:
        super().__init__(message, code="state-unreachable")
        self.may_pass = may_pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The tables of one part of the state. `migrations[n]` leads from version n to n + 1. `name` is the part's name.

    `application_id` marks a SQLite file as this part's. `durable` makes every commit wait for the disk; without it a commit
    outlives its process, but in SQLite not a power cut. `new_store` is the version that a new PostgreSQL store begins with
    and its script, if that is shorter than all migrations from the first.
    """

    name: str
    application_id: int
    migrations: Sequence[str]
    durable: bool
    new_store: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a call waits for another process or for the store: up to `busy_s` seconds, with `sleep`.

    Once `stopped` returns True, all waits together take at most half a second. `store_s` is how long a run
    continues if a shared store cannot be reached.
    """

    sleep: Callable[[float], None] = lambda _: None
    stopped: Callable[[], bool] = lambda: False
    busy_s: float = 20.0
    store_s: float = STORE_PATIENCE_S


NO_PATIENCE: Final = Patience(busy_s=0.0)


@dataclass(slots=True, kw_only=True)
class Retries:
    """Retries what fails because of another process or the network, with pauses from `pause_s` to `longest_pause_s` seconds.

    `is_passing` returns whether an error may pass. `now` measures how long attempts themselves take, in seconds.
    """

    patience: Patience
    is_passing: Callable[[Exception], bool]
    pause_s: float
    longest_pause_s: float
    now: Callable[[], float] = lambda: 0.0
    # how long all waits together may still take once the patience has stopped
    stopped_s: float = 0.5

    def call(self, act: Callable[[], T], longest_s: float) -> T:
        """Return what `act` returns; while its error may pass, call it again, for up to `longest_s` seconds."""
        waited_s, pause_s, began_s = 0.0, self.pause_s, self.now()
        while True:
            try:
                return act()
            except Exception as error:
                if not self.is_passing(error) or max(waited_s, self.now() - began_s) >= longest_s:
                    raise
                if self.patience.stopped():
                    if self.stopped_s <= 0:
                        raise
                    self.stopped_s -= pause_s
            self.patience.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(self.longest_pause_s, 2 * pause_s)


class GroupCommit:
    """Waits for the disk. Callers that wait at the same time share one wait.

    `force` is called in another thread; it returns when what was committed before is on the disk, or raises `JournalError`.
    """

    def __init__(self, force: Callable[[], None]) -> None:
        self._force = force
        self._current: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Wait until all that was committed so far is on the disk. Raises `JournalError` if that fails."""
        self.begin()
        assert self._next is not None
        await asyncio.shield(self._next)

    def begin(self) -> None:
        """Begin to wait for the disk, if an event loop runs."""
        with contextlib.suppress(RuntimeError):
            if self._next is None:
                self._next = asyncio.get_running_loop().create_task(self._run(self._current))
                # an error is for those that wait, if there are any
                self._next.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _run(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait({before})
        self._current, self._next = self._next, None
        await asyncio.get_running_loop().run_in_executor(None, self._force)


class Rows(Protocol):
    """What a statement returns. A driver may wait for it until it is needed, at the end of the transaction at the latest."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return all rows."""


class Reader(Protocol):
    """Runs queries."""

    def read(self, sql: str, values: Values = ()) -> list[Row]:
        """Return the rows of a query."""


class Transaction(Reader, Protocol):
    """A transaction that has begun; it is committed when its block ends."""

    def execute(self, sql: str, values: Values = ()) -> Rows:
        """Run a statement."""

    def executemany(self, sql: str, rows: Sequence[Values]) -> object:
        """Run a statement for each of `rows`."""

    def insert(self, sql: str, values: Values) -> Callable[[], int]:
        """Insert one row into a table that numbers its rows; what is returned gives the row's `id`."""


class Database(Reader, Protocol):
    """An open database. Synchronous methods raise `JournalError` if it cannot be used.

    The bodies are those of a file on this machine, which holds one part of the state.
    """

    name: str
    """How a message names it; never with a password."""

    def close(self) -> None:
        """Close it."""

    @contextmanager
    def view(self) -> Iterator[Reader]:
        """Run several queries at the cost of one. They need not see the same moment."""
        yield self

    def reader_in(self, transaction: Reader) -> Reader:
        """Return what reads this part of the state inside a transaction or view of any part.

        In one database that is the transaction itself: no other transaction changes what it locks. Call `flush` first, so
        that it sees what this process posted.
        """
        del transaction
        return self

    def change(self, sql: str, values: Values = (), *, busy_s: float | None = None) -> None:
        """Run one statement as a transaction of its own."""
        with self.write(busy_s=busy_s) as transaction:
            transaction.execute(sql, values)

    def write(
        self, *, soon: bool = False, busy_s: float | None = None, shared: bool = False, about: Collection[str] = ()
    ) -> AbstractContextManager[Transaction]:
        """Run a transaction: all of it is kept, or nothing.

        Without `shared` no other such transaction on this part of the state runs at the same time; with `about`, none that is
        about one of the same things. With `shared` the statements themselves must lock the rows that they decide by
        (`FOR UPDATE`). `busy_s` replaces the longest wait for another writer or the server, in seconds. With `soon` the commit
        does not wait for the disk.
        """

    def follow(self, run: str) -> None:
        """Count what is posted from now on as the steps of `run`, so that a store that lost one of them is noticed."""
        del run

    def post(self, statements: Sequence[SqlBatch]) -> None:
        """Run statements as one transaction, in the order of the calls of this method; `kept` waits for them."""

    def flush(self) -> None:
        """Commit what was posted."""
        return

    async def kept(self) -> None:
        """Wait until all that was posted is on the disk. Raises `JournalError`."""


@overload
def fit(text: str) -> str: ...
@overload
def fit(text: None) -> None: ...
@overload
def fit(text: str | None) -> str | None: ...
def fit(text: str | None) -> str | None:
    """Return text in a form that databases can store: NUL and half surrogate pairs are escaped."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def insert_sql(table: str, columns: Sequence[str]) -> str:
    """Return the statement that inserts a row with these columns."""
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    return " ".join(("INSERT INTO", table, f"({names}) VALUES ({marks})"))
