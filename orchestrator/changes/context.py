"""What is known while SQL is read: what one text touched so far, and what the given files show of the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from orchestrator.changes.change_set import (
    Change,
    ChangeSet,
    Effect,
    NotUnderstood,
    ObjectName,
    ReaderWarnings,
    shorten,
)
from orchestrator.changes.cursor import Cursor
from orchestrator.changes.errors import UnknownFormError
from orchestrator.changes.lexer import Lexer, Token, TokenKind, tokens_of
from orchestrator.changes.names import NamePart, read_name
from orchestrator.changes.placeholders import MARK
from orchestrator.changes.session import Routine, Session

MAX_DEPTH: Final = 12
"""SQL in a string in SQL in a string: deeper than this it counts as not understood."""

MAX_RUN: Final = 1_000_000
"""How much SQL in strings and routines is read for one file beyond three times its length, in characters."""

Found = dict[ObjectName, tuple[Effect, list[str], list[str]]]
"""What one statement touches: the strongest effect, the reasons, and the columns that are gone."""


_Version = tuple[ObjectName, int]
"""A name, and how often it was dropped before: a name that is used again means another thing."""


class Known:
    """Shared by all files of one reading."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._drops: Counter[ObjectName] = Counter()
        self._children: dict[_Version, dict[_Version, bool]] = {}
        self._views: list[tuple[_Version, str, Session, str | None, str | None]] = []
        self._readers: dict[ObjectName, list[_Version]] = {}
        self.partitioned: set[ObjectName] = set()
        """PostgreSQL's tables that have partitions."""
        self.evolving: set[ObjectName] = set()
        """Snowflake's tables to which a load may add columns."""
        self.schemas: set[str] = set()
        self.tables: set[str] = set()
        """The schemas and the tables that were named so far, in lower case."""
        self.routines: dict[str, Routine | None] = {}
        """The routines that some file defines, by their names without schemas, in lower case; None if the body is not SQL."""

    def add_child(self, parent: ObjectName, child: ObjectName, *, is_partition: bool) -> None:
        """Record a partition, or a table that inherits."""
        self._children.setdefault(self._now(parent), {})[self._now(child)] = is_partition

    def remove_child(self, parent: ObjectName, child: ObjectName) -> None:
        """Record that a partition was detached."""
        self._children.get(self._now(parent), {}).pop(self._now(child), None)

    def drop(self, dropped: ObjectName) -> None:
        """Forget a table, a view or all of a schema. A later one of the same name is another one.

        This loses nothing, whatever the order of the files: what is dropped is already named as destructive.
        """
        names = [dropped]
        if dropped.table is None:
            seen = {name for children in self._children.values() for name, _ in children} | {
                v[0][0] for v in self._views
            }
            seen.update(name for readers in self._readers.values() for name, _ in readers)
            names += [each for each in seen if each[:2] == dropped[:2]]
        self._drops.update(names)

    def _now(self, name: ObjectName) -> _Version:
        return name, self._drops[name]

    def heirs(self, parent: ObjectName, *, partitions_only: bool = False) -> list[ObjectName]:
        """Return the partitions of a table and the tables that inherit from it, those of its children among them."""
        found: dict[ObjectName, None] = {}
        waiting = [parent]
        while waiting:
            for version, is_partition in self._children.get(self._now(waiting.pop()), {}).items():
                child, is_there = version[0], version == self._now(version[0])
                if is_there and child not in found and child != parent and (is_partition or not partitions_only):
                    found[child] = None
                    waiting.append(child)
        return list(found)

    def rename(self, old: ObjectName, new: ObjectName) -> None:
        """Record that a table has another name from here on."""
        if old in self.partitioned:
            self.partitioned.add(new)
        before, after = self._now(old), self._now(new)
        if before in self._children:
            self._children.setdefault(after, {}).update(self._children[before])
        for children in self._children.values():
            if before in children:
                children[after] = children[before]

    def add_view(self, view: ObjectName, text: str, session: Session) -> None:
        """Record a view by the statement that creates it; its text is read only if something that it reads is dropped."""
        self._views.append((self._now(view), text, session, session.catalog, session.schema))

    def dependents(self, dropped: ObjectName) -> list[ObjectName]:
        """Return the known views that read a table, a view or a whole schema, and those that read these."""
        for added, text, session, catalog, schema in self._views:
            for name in _names_in(text, session, catalog, schema):
                self._readers.setdefault(name, []).append(added)
                self._readers.setdefault(name._replace(table=None), []).append(added)
        self._views.clear()
        found: dict[ObjectName, None] = {}
        waiting = [dropped]
        while waiting:
            for version in self._readers.get(waiting.pop(), ()):
                view = version[0]
                if version == self._now(view) and view not in found and view != dropped:
                    found[view] = None
                    waiting.append(view)
        return list(found)


def _names_in(text: str, session: Session, catalog: str | None, schema: str | None) -> Iterator[ObjectName]:
    """Return everything in a view's query that may be the name of a table."""
    cursor = Cursor(tokens_of(text, session.dialect))
    cursor.at = max(cursor.find("AS"), 0)
    with session.apart():
        session.move(catalog, schema)
        while not cursor.done():
            before = cursor.at
            is_name = cursor.peek().kind in {TokenKind.WORD, TokenKind.QUOTED}
            parts = read_name(cursor, session.dialect) if is_name else None
            if parts is not None and not any(part.placeholder for part in parts):
                yield session.table(parts)
            if cursor.at == before:
                cursor.next()


class ParseContext:
    """One text being read: what was found, and the session that it runs in."""

    def __init__(self, session: Session, *, source: str, known: Known, notices: ReaderWarnings) -> None:
        """Nothing has been found. `known` and `notices` are shared with the other files."""
        self.session = session
        self.known = known
        self.notices = notices
        self.dialect = session.dialect
        self.source = source
        self.depth = 0
        self.line = 1
        self.whole_text = ""
        self.text = ""
        """The statement that is being read, as it is written."""
        self.changes: list[Change] = []
        self.not_understood: dict[tuple[int, str], NotUnderstood] = {}
        """What was not understood, by its line and text: each place once."""
        self.budget = MAX_RUN
        """How much more SQL in strings and routines is read, in characters."""
        self.ran: dict[object, tuple[list[Change], list[NotUnderstood]]] = {}
        """What each call of a routine touched, by the routine and its arguments."""
        self.is_quoted = False
        """Whether the SQL being read is an argument of a function: a placeholder in it belongs to that function."""
        self.run_text: Callable[[str, int, bool], None] = _unset
        """Reads SQL that runs at once: its text, its first line, whether it is a block of the procedural language."""
        self.lexer = Lexer("", session.dialect, source=source)
        self._found: Found = {}

    def name(self, cursor: Cursor) -> tuple[NamePart, ...]:
        """Take the name that comes next. Raises `UnknownFormError` if there is none."""
        parts = read_name(cursor, self.dialect)
        if parts is None:
            raise UnknownFormError
        return parts

    def touch(self, name: ObjectName, effect: Effect, reason: str, columns: Sequence[str] = ()) -> None:
        """Record that the present statement touches `name`; several times means the strongest effect, all reasons, all columns."""
        known, reasons, gone = self._found.get(name, (effect, [], []))
        strongest = Effect.DESTRUCTIVE if Effect.DESTRUCTIVE in {effect, known} else Effect.ADDITIVE
        all_reasons = reasons if reason in reasons else [*reasons, reason]
        self._found[name] = (strongest, all_reasons, [*gone, *(column for column in columns if column not in gone)])

    def touch_table(
        self, parts: tuple[NamePart, ...], effect: Effect, reason: str, columns: Sequence[str] = ()
    ) -> ObjectName | None:
        """Record a table that is written so, if it is not a temporary one, and return its full name."""
        if self.session.is_temporary(parts):
            return None
        name = self.session.table(parts)
        self.touch(name, effect, reason, columns)
        return name

    def lose_column(self, table: tuple[NamePart, ...], column: tuple[NamePart, ...] | None, reason: str) -> None:
        """Record that a table has no column of this name any more. A name that is not known in full is not recorded."""
        if column and not any(part.placeholder for part in column):
            name = ".".join(self.session.stored(part) for part in column)
            self.touch_table(table, Effect.DESTRUCTIVE, reason, [name])

    def touch_renamed(self, old: ObjectName, *new: ObjectName, what: str = "renames it to") -> None:
        """Record both names of something that is renamed, moved or swapped; of several new names, any may be meant."""
        self.touch(old, Effect.DESTRUCTIVE, f"{what} {' or '.join(map(str, new))}")
        for name in new:
            self.touch(name, Effect.DESTRUCTIVE, f"{what} {old}" if "swapped" in what else f"was {old}")

    def touch_referred(self, tokens: Sequence[Token]) -> None:
        """Record the tables that foreign keys in a definition refer to: relationships to them come or go."""
        for at, token in enumerate(tokens):
            if token.upper == "REFERENCES" and (parts := read_name(Cursor(tokens, at + 1), self.dialect)):
                self.touch_table(parts, Effect.ADDITIVE, "a foreign key refers to it")

    def touch_heirs(
        self, name: ObjectName, effect: Effect, reason: str, *, partitions_only: bool = False
    ) -> list[ObjectName]:
        """Record what happens to a table's partitions, and to the tables that inherit from it, and return those that are known."""
        heirs = self.known.heirs(name, partitions_only=partitions_only)
        for heir in heirs:
            self.touch(heir, effect, f"is a part of {name}: {reason}")
        if name in self.known.partitioned:
            self.warn(
                "what happens to a partitioned table happens to all of its partitions; only those that the given SQL creates are known"
            )
        return heirs

    def touch_dependents(self, dropped: ObjectName) -> None:
        """Record what CASCADE takes along: the views that are known to read what is dropped. Others may go as well."""
        if not self.dialect.views_depend:
            return
        for view in self.known.dependents(dropped):
            self.touch(view, Effect.DESTRUCTIVE, f"goes with {dropped}, which it reads")
            self.known.drop(view)
        self.warn(
            "CASCADE also drops the views and foreign keys that depend on what is dropped; of these, only views that the given SQL "
            "creates are known"
        )

    def widen(self, reason: str, *, text: str = "", line: int = 0) -> None:
        """Record that the present statement may touch anything."""
        shown = shorten((text or self.text).replace(MARK, "..."))
        lost = NotUnderstood(source=self.source, line=line or self.line, text=shown, reason=reason)
        self.not_understood.setdefault((lost.line, lost.text), lost)

    def warn(self, what: str) -> None:
        """Record a warning about the present statement."""
        self.notices.add(what, f"{self.source}:{self.line} ({shorten(self.text)})")

    def begin(self, line: int, text: str) -> tuple[int, str, Found]:
        """Begin a statement, maybe within another, and return what `finish` needs."""
        outer = (self.line, self.text, self._found)
        self.line, self.text, self._found = line, text, {}
        return outer

    def finish(self, outer: tuple[int, str, Found]) -> None:
        """End a statement, and list what it touched."""
        for name, (effect, reasons, gone) in self._found.items():
            self.known.schemas.add((name.schema or "").lower())
            self.known.tables.add((name.table or "").lower())
            change = Change(
                name=name,
                effect=effect,
                source=self.source,
                line=self.line,
                reason="; ".join(reasons),
                columns=tuple(gone),
            )
            self.changes.append(change)
        self.line, self.text, self._found = outer

    def result(self) -> ChangeSet:
        """Return all that was found."""
        return ChangeSet(changes=tuple(self.changes), not_understood=tuple(self.not_understood.values()))


def _unset(*_: object) -> None:
    raise AssertionError("a reading is wired by its reader")
