"""DROP, RENAME TABLE, EXCHANGE TABLES: what is gone, or has another name."""

from __future__ import annotations

from typing import Final

from orchestrator.changes.change_set import Effect, ObjectName
from orchestrator.changes.creates import named
from orchestrator.changes.cursor import Cursor, split_commas
from orchestrator.changes.kinds import TEMPORARY, Level, take_kind
from orchestrator.changes.names import NamePart, read_name
from orchestrator.changes.placeholders import MARK
from orchestrator.changes.reading import ParseContext

_TAKES_ALONG: Final = frozenset({"TYPE", "DOMAIN", "EXTENSION", "SERVER", "DATA"})
"""What columns, views and foreign tables hang on: with CASCADE they go as well, and the statement does not name them."""


def drop(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows DROP; False if it is not understood."""
    taken = take_kind(cursor)
    if taken is None:
        return False
    level, kind, adjectives = taken
    if level in {Level.NOTHING, Level.ROUTINE}:
        if kind == "OWNED":
            reading.widen("drops what somebody owns, and does not name it")
        elif kind in _TAKES_ALONG and cursor.holds("CASCADE"):
            _take_columns(reading, cursor, kind)
        elif level is Level.ROUTINE and kind != "TRIGGER" and cursor.holds("CASCADE"):
            reading.notices.add(
                "CASCADE also drops the views that use a function and the columns made by it; they are not named",
                reading.place(),
            )
        return True
    cursor.take("IF", "EXISTS")
    cascade = cursor.holds("CASCADE")
    for item in split_commas(cursor.rest()):
        inner = Cursor(item)
        parts = read_name(inner, reading.dialect)
        if parts is None:
            return False
        if level is not Level.TABLE:
            dropped = named(reading, level, kind, parts)
            reading.touch(dropped, Effect.DESTRUCTIVE, f"drops the {kind.lower()}")
            if cascade and level is Level.SCHEMA:
                reading.touch_dependents(dropped)
            continue
        if adjectives & TEMPORARY or reading.session.is_temporary(parts):
            reading.session.drop_temporary(parts)
            continue
        if inner.word == MARK:
            return False  # more may be dropped: the list is put together when it runs
        _drop_table(reading, reading.session.table(parts), kind, cascade=cascade)
    return True


def _take_columns(reading: ParseContext, cursor: Cursor, kind: str) -> None:
    """CASCADE drops the columns of a type as well: they are named if the text creates their tables, and warned of."""
    cursor.take("IF", "EXISTS")
    parts = read_name(cursor, reading.dialect)
    if parts is not None and kind in {"TYPE", "DOMAIN"}:
        for table, columns in reading.session.columns.items():
            if columns.mentions(parts[-1].text):
                reading.touch(
                    table, Effect.DESTRUCTIVE, f"its columns of the {kind.lower()} {parts[-1].text} go with it"
                )
    reading.notices.add(
        f"CASCADE also drops what depends on the {kind.lower()} (columns, tables, views); of this, only tables that the same "
        "file creates are known",
        reading.place(),
    )


def _drop_table(reading: ParseContext, name: ObjectName, kind: str, *, cascade: bool) -> None:
    reason = f"drops the {kind.lower().removesuffix('s')}"
    reading.touch(name, Effect.DESTRUCTIVE, reason)
    reading.session.columns.pop(name, None)
    reading.touch_heirs(name, Effect.DESTRUCTIVE, reason, partitions_only=not cascade)
    if cascade:
        reading.touch_dependents(name)


def rename(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows RENAME: tables get new names, in pairs."""
    if cursor.take_any(frozenset({"USER", "ROLE", "INDEX", "LOGIN"})):
        return True
    if not cursor.take_any(frozenset({"TABLE", "TABLES", "OBJECT", "VIEW"})):
        return False
    cursor.take("::")
    cursor.take("IF", "EXISTS")
    understood = True
    for item in split_commas(cursor.rest()):
        inner = Cursor(item)
        old = read_name(inner, reading.dialect)
        while inner.word in {"WAIT", "NOWAIT"} or inner.peek().text.isdigit():
            inner.next()
        inner.take("TO")
        new = read_name(inner, reading.dialect)
        if old is None or new is None:
            understood = False
            continue
        renamed(reading, old, new)
    return understood


def renamed(reading: ParseContext, old: tuple[NamePart, ...], new: tuple[NamePart, ...]) -> None:
    """Writes down both names of a renamed or moved table."""
    session = reading.session
    if session.is_temporary(old):
        session.drop_temporary(old)
        session.make_temporary(new)
        return
    before = session.table(old)
    after = session.new_names(before, new)
    reading.touch(before, Effect.DESTRUCTIVE, f"renames it to {' or '.join(map(str, after))}")
    for name in after:
        reading.touch(name, Effect.DESTRUCTIVE, f"was {before}")
    if (columns := session.columns.pop(before, None)) is not None:
        session.columns[after[0]] = columns
    for name in after:
        reading.known.rename(before, name)


def exchange(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows EXCHANGE: two tables swap their names."""
    if not cursor.take_any(frozenset({"TABLE", "TABLES"})):
        return False
    one = read_name(cursor, reading.dialect)
    if one is None or not (cursor.take("AND") or cursor.take("WITH")):
        return False
    other = read_name(cursor, reading.dialect)
    if other is None:
        return False
    swapped(reading, one, other)
    return True


def swapped(reading: ParseContext, one: tuple[NamePart, ...], other: tuple[NamePart, ...]) -> None:
    """Writes down two tables, each of which is the other from now on."""
    if reading.session.is_temporary(one) or reading.session.is_temporary(other):
        reading.touch_table(one, Effect.DESTRUCTIVE, "is swapped")
        reading.touch_table(other, Effect.DESTRUCTIVE, "is swapped")
        return
    first = reading.session.table(one)
    second = reading.session.new_names(first, other)
    reading.touch(first, Effect.DESTRUCTIVE, f"is swapped with {' or '.join(map(str, second))}")
    for name in second:
        reading.touch(name, Effect.DESTRUCTIVE, f"is swapped with {first}")
