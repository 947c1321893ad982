"""DROP, RENAME TABLE, EXCHANGE TABLES: what is gone, or has another name."""

from __future__ import annotations

from typing import Final

from orchestrator.changes.change_set import Effect, ObjectName
from orchestrator.changes.context import ParseContext
from orchestrator.changes.creates import named
from orchestrator.changes.cursor import Cursor, split_commas, words
from orchestrator.changes.errors import UnknownFormError
from orchestrator.changes.keywords import TEMPORARY, Level, take_kind
from orchestrator.changes.names import NamePart, read_name
from orchestrator.changes.placeholders import MARK

_TAKES_ALONG: Final = words("TYPE DOMAIN EXTENSION SERVER DATA")
"""What columns, views and foreign tables depend on: with CASCADE they go as well, and the statement does not name them."""


def drop(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows DROP."""
    level, kind, adjectives = take_kind(cursor)
    cascade = cursor.holds("CASCADE")
    cursor.take("IF", "EXISTS")
    if level in {Level.NOTHING, Level.ROUTINE}:
        if kind == "OWNED":
            reading.widen("drops what a role owns, and does not name it")
        elif kind in _TAKES_ALONG and cascade:
            _take_columns(reading, cursor, kind)
        elif level is Level.ROUTINE and kind != "TRIGGER" and cascade:
            reading.warn(
                "CASCADE also drops the views that use a function and the columns made by it; they are not named"
            )
        return
    for item in split_commas(cursor.rest()):
        inner = Cursor(item)
        parts = reading.name(inner)
        if level is not Level.TABLE:
            dropped = named(reading, level, kind, parts)
            reading.touch(dropped, Effect.DESTRUCTIVE, f"drops the {kind.lower()}")
            if cascade and level is Level.SCHEMA:
                reading.touch_dependents(dropped)
            reading.known.drop(dropped)
        elif adjectives & TEMPORARY or reading.session.is_temporary(parts):
            reading.session.drop_temporary(parts)
        elif inner.word == MARK:
            raise UnknownFormError  # more may be dropped: the list is put together when it runs
        else:
            _drop_table(reading, reading.session.table(parts), kind, cascade=cascade)


def _take_columns(reading: ParseContext, cursor: Cursor, kind: str) -> None:
    """CASCADE drops the columns of a type as well: name them if the text creates their tables, and warn."""
    what, parts = kind.lower(), read_name(cursor, reading.dialect)
    if parts is not None and kind in {"TYPE", "DOMAIN"}:
        for table, columns in reading.known.columns.items():
            if columns.mentions(parts[-1].text):
                reason = f"its columns of the {what} {parts[-1].text} go with it"
                reading.touch(table, Effect.DESTRUCTIVE, reason)
    reading.warn(
        f"CASCADE also drops what depends on the {what} (columns, tables, views); of this, only tables that the given SQL creates "
        "are known"
    )


def _drop_table(reading: ParseContext, name: ObjectName, kind: str, *, cascade: bool) -> None:
    reason = f"drops the {kind.lower().removesuffix('s')}"
    reading.touch(name, Effect.DESTRUCTIVE, reason)
    for heir in reading.touch_heirs(name, Effect.DESTRUCTIVE, reason, partitions_only=not cascade):
        reading.known.drop(heir)
    if cascade:
        reading.touch_dependents(name)
    reading.known.drop(name)


def rename(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows RENAME: tables get new names, in pairs."""
    if cursor.take_any({"USER", "ROLE", "INDEX", "LOGIN"}):
        return
    if not cursor.take_any({"TABLE", "TABLES", "OBJECT", "VIEW"}):
        raise UnknownFormError
    cursor.take("::")
    cursor.take("IF", "EXISTS")
    for item in split_commas(cursor.rest()):
        inner = Cursor(item)
        old = reading.name(inner)
        while inner.word in {"WAIT", "NOWAIT"} or inner.peek().text.isdigit():
            inner.next()
        inner.take("TO")
        renamed(reading, old, reading.name(inner))


def renamed(reading: ParseContext, old: tuple[NamePart, ...], new: tuple[NamePart, ...]) -> None:
    """Record both names of a renamed or moved table."""
    session = reading.session
    if session.is_temporary(old):
        session.drop_temporary(old)
        session.make_temporary(new)
        return
    before = session.table(old)
    after = session.new_names(before, new)
    reading.touch_renamed(before, *after)


def exchange(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows EXCHANGE: two tables swap their names."""
    if not cursor.take_any({"TABLE", "TABLES"}):
        raise UnknownFormError
    one = reading.name(cursor)
    if not cursor.take_any({"AND", "WITH"}):
        raise UnknownFormError
    swapped(reading, one, reading.name(cursor))


def swapped(reading: ParseContext, one: tuple[NamePart, ...], other: tuple[NamePart, ...]) -> None:
    """Record two tables, each of which is the other from now on."""
    if reading.session.is_temporary(one) or reading.session.is_temporary(other):
        reading.touch_table(one, Effect.DESTRUCTIVE, "is swapped")
        reading.touch_table(other, Effect.DESTRUCTIVE, "is swapped")
        return
    first = reading.session.table(one)
    reading.touch_renamed(first, *reading.session.new_names(first, other), what="is swapped with")
