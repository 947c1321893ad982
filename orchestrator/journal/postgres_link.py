"""One connection to PostgreSQL, and transactions on it that wait for the server as few times as possible.

A statement waits until a result is needed, or until the transaction ends; then all that wait are one message. What is set in a
transaction ends with it, and nothing is prepared: a transaction pooler may stand in between.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final

import psycopg

from orchestrator.journal.database import Row, StoreUnreachable, Values
from orchestrator.journal.layout import close_keys
from orchestrator.journal.moments import StoreMoment, boot_id, uptime_s

STATEMENT_S: Final = 15.0
"""How long the server may take for a message, in seconds."""

# what changes if rows may have been lost: the cluster, its timeline (a replica was promoted), the table's file (it was
# truncated, or made anew from a backup)
HISTORY: Final = """
    (SELECT system_identifier FROM pg_control_system()) || '/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
    || '/' || coalesce((SELECT max(relfilenode)::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'omni_refresh' AND relname = 'slots'), '')
"""
_BEGIN: Final = f"""
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT {HISTORY},
    set_config('search_path', 'omni_refresh', true),
    set_config('statement_timeout', '12s', true),
    set_config('lock_timeout', '8s', true),
    set_config('idle_in_transaction_session_timeout', '10s', true),
    CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')
        THEN set_config('synchronous_commit', 'on', true) END
"""
# asked in the first message of a transaction, after all waits for locks
_CLOCK: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"
NOT_FORCED: Final = "SET LOCAL synchronous_commit = off"
_COMMIT: Final = "COMMIT"
_KEPT_HISTORY: Final = "SELECT value FROM meta WHERE name = 'history'"
_LIST: Final = re.compile(r"FROM json_each\(([^)]*)\)")
_MESSAGE_BYTES: Final = 200_000


class StoreClock:
    """The store's clock, as far as this process knows it, and the clocks of this machine: a wall clock and a monotonic one.

    All connections of a process share one. `changes` counts how often the server was seen to have another history.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        uptime: Callable[[], float] = uptime_s,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self.uptime = uptime
        self.changes = 0
        self._wall = wall
        self._boot = boot()
        self._history = ""
        # the store's clock at the last contact, and this machine's then
        self._contact = (0.0, 0.0)

    def moment(self) -> StoreMoment:
        """Return the present moment: the store's clock at the last contact, and the time since then."""
        up_s, (store_s, contact_s) = self.uptime(), self._contact
        return StoreMoment(at_s=store_s + up_s - contact_s, wall_s=self._wall(), up_s=up_s, boot=self._boot)

    def note_contact(self, store_s: float, history: str) -> None:
        """Keep the server's clock and history."""
        self._contact = (store_s, self.uptime())
        if self._history not in ("", history):
            self.changes += 1
        self._history = history


class HistoryChanged(StoreUnreachable):
    """The server lacks commits, or may lack them; a retry finds all keys closed for a window."""


class LinkConnection(psycopg.Connection[Row]):
    """A connection that does not wait longer than `STATEMENT_S` for its server."""

    def wait(self, *arguments: Any, **options: Any) -> Any:
        """Wait for the server as psycopg does, but not for longer than a statement may take."""
        options.setdefault("timeout", STATEMENT_S)
        return super().wait(*arguments, **options)


class _Rows:
    """The result of a statement, which is sent when a result is needed or the transaction ends."""

    def __init__(self, transaction: LinkTransaction) -> None:
        self._transaction = transaction
        self._rows: Iterator[Row] = iter(())
        self._count = 0

    def fill(self, cursor: psycopg.Cursor[Row]) -> None:
        """Keep the result that the cursor is at."""
        self._count = cursor.rowcount
        if cursor.description is not None:
            self._rows = iter(cursor.fetchall())

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        self._transaction.send()
        return self._count

    def fetchone(self) -> Row | None:
        """Return the next row, or None."""
        self._transaction.send()
        return next(self._rows, None)

    def fetchall(self) -> list[Row]:
        """Return all rows that are left."""
        self._transaction.send()
        return list(self._rows)


class LinkTransaction:
    """A transaction on a connection. Statements wait until a result is needed; then all of them are one message.

    Values are put into the statements here, by psycopg: the server's simple protocol takes many statements at once, and any
    pooler understands it.
    """

    def __init__(self, connection: psycopg.Connection[Row], note_contact: Callable[[float], None]) -> None:
        self._cursor = psycopg.ClientCursor[Row](connection)
        self._note_contact = note_contact
        self._statements: list[str] = []
        self._unsent: list[_Rows] = []
        self._bytes = 0
        self.was_sent = False

    def execute(self, sql: str, values: Values = ()) -> _Rows:
        """Run a statement."""
        return self._add(self._cursor.mogrify(_translated(sql), values))

    def executemany(self, sql: str, rows: Sequence[Values]) -> None:
        """Run a statement for each of `rows`."""
        for values in rows:
            self.execute(sql, values)

    def read(self, sql: str, values: Values = ()) -> list[Row]:
        """Return the rows of a query."""
        return self.execute(sql, values).fetchall()

    def insert(self, sql: str, values: Values) -> Callable[[], int]:
        """Insert one row; what is returned gives its number."""
        rows = self.execute(f"{sql} RETURNING id", values)

        def number() -> int:
            ((found,),) = rows.fetchall()
            return int(found)

        return number

    def command(self, text: str) -> _Rows:
        """Run a command of PostgreSQL's own; return what its last statement returns."""
        rows = [self._add(statement) for statement in text.split(";")]
        return rows[-1]

    def send(self) -> None:
        """Send what waits, in one message, and keep what each statement returned and the server's clock."""
        if not self._statements:
            return
        statements, unsent, clock = self._statements, self._unsent, None
        if not self.was_sent:
            # before the end: after it, it would be a transaction of its own
            clock, place = _Rows(self), len(statements) - (statements[-1] == _COMMIT)
            statements.insert(place, _CLOCK)
            unsent.insert(place, clock)
        self._statements, self._unsent, self._bytes, self.was_sent = [], [], 0, True
        self._cursor.execute(";".join(statements))
        for rows in unsent:
            rows.fill(self._cursor)
            self._cursor.nextset()
        if clock is not None:
            ((store_s,),) = clock.fetchall()
            self._note_contact(store_s)

    def _add(self, statement: str) -> _Rows:
        if self._bytes > _MESSAGE_BYTES:
            self.send()
        rows = _Rows(self)
        self._statements.append(statement)
        self._unsent.append(rows)
        self._bytes += len(statement)
        return rows


class Link:
    """One connection to the store, opened when it is needed and again after it was lost."""

    def __init__(self, conninfo: str, clock: StoreClock) -> None:
        self._conninfo = conninfo
        self.clock = clock
        self.was_used = False
        self._connection: LinkConnection | None = None
        self._transaction: LinkTransaction | None = None
        self._begun: _Rows | None = None
        self._kept: _Rows | None = None
        self.history = ""

    def connect(self) -> psycopg.Connection[Row]:
        """Return the connection, which is opened if it is needed."""
        if self._connection is None:
            self._connection = LinkConnection.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        return self._connection

    def begin(self, *, checks_history: bool = False) -> LinkTransaction:
        """Begin a transaction. Nothing is sent before a result of it is needed.

        With `checks_history` the first result raises `HistoryChanged`, after all keys were closed, if the store is not the
        one that it was.
        """
        self._transaction = LinkTransaction(self.connect(), self._note_contact)
        self._begun = self._transaction.command(_BEGIN)
        self._kept = self._transaction.execute(_KEPT_HISTORY) if checks_history else None
        return self._transaction

    def commit(self) -> None:
        """Keep what the transaction has done."""
        assert self._transaction is not None
        self._transaction.command(_COMMIT)
        self._transaction.send()

    def give_up(self) -> None:
        """Leave nothing of a transaction; close the connection if it cannot be used any more."""
        if self._connection is None or self._transaction is None or not self._transaction.was_sent:
            return
        try:
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _note_contact(self, store_s: float) -> None:
        """Keep the server's clock; look at its history if that is due."""
        begun, kept, self._begun, self._kept = self._begun, self._kept, None, None
        if begun is not None:
            self.history = str(begun.fetchall()[0][0])
            self.was_used = True
        self.clock.note_contact(store_s, self.history)
        if kept is not None and kept.fetchall() not in ([], [(self.history,)]):
            self._change_history()

    def _change_history(self) -> None:
        """Close all keys for a window.

        It may be another cluster, a replica that was promoted, or tables that were restored or emptied. What was committed
        shortly before may be lost then, and what was lost is not known.
        """
        self.give_up()
        transaction = self.begin()
        if transaction.execute(f"{_KEPT_HISTORY} FOR UPDATE").fetchall() != [(self.history,)]:
            transaction.execute("UPDATE meta SET value = ? WHERE name = 'history'", (self.history,))
            close_keys(transaction, self.clock.moment())
        self.commit()
        raise HistoryChanged("the state's server has failed over: each key pauses for one window")


@cache
def _translated(sql: str) -> str:
    """Return a statement in PostgreSQL's words. The program's own statements only: values come apart from them."""
    listed = _LIST.sub(r"FROM json_array_elements_text(CAST(\1 AS json)) AS listed(value)", sql)
    return listed.replace("%", "%%").replace("?", "%s")
