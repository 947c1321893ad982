"""The state of reading: what one text has touched, and what the given files show of the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from orchestrator.changes.change_set import Change, Effect, NotUnderstood, ObjectName, ReaderWarnings, shorten
from orchestrator.changes.column_types import Columns
from orchestrator.changes.dialects import Dialect
from orchestrator.changes.errors import UnknownFormError
from orchestrator.changes.lexer import Cursor, Lexer, Token, TokenKind
from orchestrator.changes.session import Routine, Session, SqlName, read_name
from orchestrator.changes.tool_text import MARK, Filled

_REFERRED: Final = {"REFERENCES": "a foreign key refers to it", "HISTORY_TABLE": "creates the table of former rows"}
"""Words that come before the name of another table in a definition."""


class Links:
    """Dependencies between names: a table and its partitions and children, or a table and the views that read it."""

    def __init__(self) -> None:
        """Begin without a dependency."""
        self._to: defaultdict[ObjectName, dict[ObjectName, bool]] = defaultdict(dict)
        self.parents: defaultdict[ObjectName, set[ObjectName]] = defaultdict(set)
        """The names that each name depends on."""

    def add(self, one: ObjectName, dependent: ObjectName, *, is_partition: bool = False) -> None:
        """Record that `dependent` depends on `one`."""
        self._to[one][dependent] = is_partition
        self.parents[dependent].add(one)

    def remove(self, one: ObjectName, dependent: ObjectName) -> None:
        """Record that `dependent` no longer depends on `one`."""
        self._to[one].pop(dependent, None)
        self.parents[dependent].discard(one)

    def forget(self, name: ObjectName) -> None:
        """Remove a dropped name from the names that it depended on."""
        for one in self.parents.pop(name, ()):
            self._to[one].pop(name, None)

    def rename(self, old: ObjectName, new: ObjectName) -> None:
        """Record that what was called `old` is called `new`."""
        for dependent, is_partition in self._to.pop(old, {}).items():
            self.add(new, dependent, is_partition=is_partition)
        for one in tuple(self.parents[old]):
            self.add(one, new, is_partition=self._to[one].get(old, False))
        self.forget(old)

    def reached(self, start: ObjectName, *, partitions_only: bool = False) -> list[ObjectName]:
        """Return all that depends on a name, directly or not."""
        found: dict[ObjectName, None] = {}
        waiting = [start]
        while waiting:
            for dependent, is_partition in self._to.get(waiting.pop(), {}).items():
                if dependent not in found and dependent != start and (is_partition or not partitions_only):
                    found[dependent] = None
                    waiting.append(dependent)
        return list(found)


@dataclass(slots=True, kw_only=True)
class Known:
    """What the given SQL shows of the database. All files of one reading share it."""

    heirs: Links = field(default_factory=Links)
    """Tables to their partitions and to the tables that inherit from them."""
    readers: Links = field(default_factory=Links)
    """Tables, views and whole schemas to the views that read them."""
    partitioned: set[ObjectName] = field(default_factory=set)
    """PostgreSQL's tables that have partitions."""
    columns: dict[ObjectName, Columns] = field(default_factory=dict)
    """The columns of the tables that the given SQL created."""
    touched: set[ObjectName] = field(default_factory=set)
    routines: dict[str, Routine | None] = field(default_factory=dict)
    """The routines that some file defines, by their names without schemas, in lower case; None if the body is not SQL."""

    def drop(self, *dropped: ObjectName) -> None:
        """Forget dropped tables and views, and everything in dropped schemas and catalogs."""
        names = set(dropped)
        for outer in (each for each in dropped if each.table is None):
            seen = {*self.heirs.parents, *self.readers.parents, *self.columns, *self.partitioned}
            names |= {each for each in seen if each.catalog == outer.catalog and outer.schema in {None, each.schema}}
        for name in names:
            self.heirs.forget(name)
            self.readers.forget(name)
            self.partitioned.discard(name)
            self.columns.pop(name, None)

    def rename(self, old: ObjectName, new: ObjectName) -> None:
        """Record that a table or a view has another name from here on."""
        self.heirs.rename(old, new)
        self.readers.rename(old, new)
        if old in self.partitioned:
            self.partitioned = self.partitioned - {old} | {new}
        if (columns := self.columns.pop(old, None)) is not None:
            self.columns[new] = columns


@dataclass(slots=True, kw_only=True)
class ParseContext:
    """One text being read: what was found, and the session that it runs in."""

    session: Session
    dialect: Dialect
    run_text: Callable[..., None] = field(init=False)
    """Reads SQL that runs at once: its text, its first line, and with `in_body` as a block of the procedural language."""
    source: str
    known: Known
    """Shared with the other files."""
    notices: ReaderWarnings
    """Shared with the other files."""
    file_text: str
    values: Mapping[str, str]
    """The given values of placeholders, by their names."""
    budget: int
    """How much more SQL in strings and routines is read, in characters."""
    filled: Filled
    """The part of the file that is being read."""
    lexer: Lexer
    depth: int = 0
    line: int = 1
    text: str = ""
    """The statement that is being read."""
    place: tuple[int, int] = (0, 0)
    """Where the statement of the file that is being read begins and ends in `filled`."""
    is_quoted: bool = False
    """Whether the SQL being read is an argument of a function: a placeholder in it belongs to that function."""
    changes: list[Change] = field(default_factory=list)
    not_understood: dict[tuple[int, str], NotUnderstood] = field(default_factory=dict)
    """What was not understood, by its line and text: each place once."""
    ran: dict[object, tuple[list[Change], list[NotUnderstood]]] = field(default_factory=dict)
    """What each call of a routine touched, by the routine and its arguments."""
    found: dict[ObjectName, Change] = field(default_factory=dict)
    """What the statement touches."""

    def name(self, cursor: Cursor) -> SqlName:
        """Take the name that comes next. Raises `UnknownFormError` if there is none."""
        if (parts := read_name(cursor, self.dialect)) is None:
            raise UnknownFormError
        return parts

    def touch(self, name: ObjectName, effect: Effect, reason: str, columns: Sequence[str] = ()) -> None:
        """Record that the current statement touches `name`. Repeated calls keep the strongest effect, all reasons and all columns."""
        known = self.found.get(name)
        reasons, gone = ([], ()) if known is None else (known.reason.split("; "), known.columns)
        self.found[name] = Change(
            name=name,
            effect=known.effect if known and known.effect is Effect.DESTRUCTIVE else effect,
            source=self.source,
            line=self.line,
            reason="; ".join(dict.fromkeys([*reasons, reason])),
            columns=tuple(dict.fromkeys([*gone, *columns])),
        )

    def touch_table(
        self, parts: SqlName, effect: Effect, reason: str, columns: Sequence[str] = ()
    ) -> ObjectName | None:
        """Record a table and return its full name; None if it is temporary."""
        if self.session.is_temporary(parts):
            return None
        name = self.session.table(parts)
        self.touch(name, effect, reason, columns)
        return name

    def lose_column(self, table: SqlName, column: SqlName | None, reason: str) -> None:
        """Record that a table lost a column. A name with an unknown part is not recorded."""
        if column and not any(part.placeholder for part in column):
            name = ".".join(self.session.stored(part) for part in column)
            self.touch_table(table, Effect.DESTRUCTIVE, reason, [name])

    def touch_renamed(self, old: ObjectName, *new: ObjectName, what: str = "renames it to") -> None:
        """Record both names of an object that is renamed, moved or swapped. If there are several new names, any may be right."""
        is_swap = "swapped" in what
        self.touch(old, Effect.DESTRUCTIVE, f"{what} {' or '.join(map(str, new))}")
        for name in new:
            self.touch(name, Effect.DESTRUCTIVE, f"{what if is_swap else 'was'} {old}")
        if is_swap or old.table is None:
            self.known.drop(old, *new)
        else:
            self.known.rename(old, new[0])

    def touch_referred(self, tokens: Sequence[Token]) -> None:
        """Record the other tables that a definition names: targets of foreign keys, and history tables."""
        for at, token in enumerate(tokens):
            if reason := _REFERRED.get(token.upper):
                cursor = Cursor(tokens, at + 1)
                cursor.take("=")
                if parts := read_name(cursor, self.dialect):
                    self.touch_table(parts, Effect.ADDITIVE, reason)

    def add_view(self, view: ObjectName, query: Cursor) -> None:
        """Record that a view reads every name in its query that may be a table."""
        while not query.done():
            is_name = query.peek().kind in {TokenKind.WORD, TokenKind.QUOTED}
            parts = read_name(query, self.dialect) if is_name else None
            if parts is None:
                query.next()
            elif not any(part.placeholder for part in parts):
                name = self.session.table(parts)
                self.known.readers.add(name, view)
                self.known.readers.add(name._replace(table=None), view)

    def touch_heirs(
        self, name: ObjectName, effect: Effect, reason: str, *, partitions_only: bool = False
    ) -> list[ObjectName]:
        """Record an effect on the known partitions and children of a table, and return these."""
        heirs = self.known.heirs.reached(name, partitions_only=partitions_only)
        for heir in heirs:
            self.touch(heir, effect, f"is a part of {name}: {reason}")
        if name in self.known.partitioned:
            self.warn(
                "a change of a partitioned table also changes its partitions; only those that the given SQL creates are known"
            )
        return heirs

    def touch_dependents(self, dropped: ObjectName) -> None:
        """Record the known views that CASCADE drops, and warn that there may be others."""
        if not self.dialect.views_depend:
            return
        for view in self.known.readers.reached(dropped):
            self.touch(view, Effect.DESTRUCTIVE, f"is dropped with {dropped}, which it reads")
            self.known.drop(view)
        self.warn(
            "CASCADE also drops the views and foreign keys that depend on what is dropped; of these, only views that the given SQL "
            "creates are known"
        )

    def widen(self, reason: str, *, text: str = "", line: int = 0) -> None:
        """Record that the current statement may touch anything."""
        shown = self.shown(text or self.text)
        lost = NotUnderstood(source=self.source, line=line or self.line, text=shown, reason=reason)
        self.not_understood.setdefault((lost.line, lost.text), lost)

    def warn(self, what: str) -> None:
        """Record a warning about the current statement."""
        self.notices.add(what, f"{self.source}:{self.line} ({self.shown(self.text)})")

    def shown(self, text: str) -> str:
        """Return the SQL for a message. If the file does not contain it literally, return the file's statement: a value may be a secret."""
        if self.values or self.filled.fills:
            statement = self.filled.written(*self.place)
            text = text if text in statement else statement
        return shorten(text.replace(MARK, "..."))

    @contextmanager
    def statement(self, line: int, text: str) -> Iterator[None]:
        """Collect what one statement touches, and list it at the end. Statements may be nested."""
        outer = (self.line, self.text, self.found)
        self.line, self.text, self.found = line, text, {}
        yield
        self.known.touched.update(self.found)
        self.changes += self.found.values()
        self.line, self.text, self.found = outer


Rule = Callable[[ParseContext, Cursor], None]
"""Reads the rest of a statement, behind its first word."""
