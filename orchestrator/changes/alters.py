"""ALTER of tables, views, schemas and catalogs: which thing, and what is said of it."""

from __future__ import annotations

from typing import Final

from orchestrator.changes.change_set import Effect, ObjectName
from orchestrator.changes.clauses import alter_clauses
from orchestrator.changes.creates import named, skip_options
from orchestrator.changes.cursor import Cursor
from orchestrator.changes.kinds import Level, take_kind
from orchestrator.changes.names import NamePart, read_name
from orchestrator.changes.reading import ParseContext
from orchestrator.changes.settings import alter_session

_SCHEMA_SETTINGS: Final = frozenset(
    {
        *("OWNER", "SET", "UNSET", "ENABLE", "DISABLE", "QUOTA", "ADD", "DROP", "DEFAULT", "COLLATE", "AUTHORIZATION"),
        *("CHARACTER", "CHARSET", "REFRESH", "COMMENT", "WITH", "READ", "UPGRADE", "DCPROPERTIES", "DBPROPERTIES", ""),
    }
)


def alter(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows ALTER; False if it is not understood."""
    if cursor.take("SESSION"):
        return alter_session(reading, cursor)
    skip_options(cursor)
    taken = take_kind(cursor)
    if taken is None:
        return False
    level, kind, adjectives = taken
    if level in {Level.NOTHING, Level.ROUTINE}:
        if kind == "TYPE" and cursor.holds("CASCADE"):
            reading.widen("changes the tables of that type, and does not name them")
        return True
    cursor.take("IF", "EXISTS")
    if level is Level.CATALOG:
        return _catalog(reading, cursor, kind)
    if cursor.word == "ALL" and cursor.peek(1).upper == "IN":
        return True
    only = cursor.take("ONLY")
    within = only and cursor.take("(")
    parts = read_name(cursor, reading.dialect)
    if parts is None or (within and not cursor.take(")")):
        return False
    if level is Level.SCHEMA:
        return _schema(reading, cursor, parts)
    cursor.take("*")
    if "ICEBERG" in adjectives and cursor.word == "REFRESH":
        reading.touch_table(parts, Effect.ADDITIVE, "takes over what its files have by now")
        return True
    if kind.startswith("VIEW") and cursor.word != "RENAME" and cursor.find("AS") >= 0:
        reading.touch_table(parts, Effect.DESTRUCTIVE, "replaces the view's query")
        return True
    return alter_clauses(reading, cursor, parts, only=only)


def _schema(reading: ParseContext, cursor: Cursor, parts: tuple[NamePart, ...]) -> bool:
    schema = reading.session.schema_name(parts)
    if cursor.take("RENAME", "TO"):
        new = read_name(cursor, reading.dialect)
        if new is None:
            return False
        after = reading.session.schema_name(new)
        _both(reading, schema, after if after.catalog is not None else ObjectName(schema.catalog, after.schema, None))
        return True
    if cursor.take("SWAP", "WITH"):
        other = read_name(cursor, reading.dialect)
        if other is None:
            return False
        _both(reading, schema, reading.session.schema_name(other), "is swapped with")
        return True
    if cursor.take("TRANSFER"):
        return _transfer(reading, cursor, schema)
    return cursor.word in _SCHEMA_SETTINGS


def _both(reading: ParseContext, one: ObjectName, other: ObjectName, what: str = "renames it to") -> None:
    reading.touch(one, Effect.DESTRUCTIVE, f"{what} {other}")
    reading.touch(other, Effect.DESTRUCTIVE, f"was {one}" if what.startswith("renames") else f"{what} {one}")


def _transfer(reading: ParseContext, cursor: Cursor, schema: ObjectName) -> bool:
    """SQL Server moves a table from one schema into another."""
    if cursor.find("::") >= 0:
        kind = cursor.word
        cursor.at += cursor.find("::") + 1
        if kind in {"TYPE", "XML"}:
            return True
    parts = read_name(cursor, reading.dialect)
    if parts is None:
        return False
    old = reading.session.table(parts)
    new = ObjectName(old.catalog, schema.schema, old.table)
    reading.touch(old, Effect.DESTRUCTIVE, f"moves it to {new}")
    reading.touch(new, Effect.DESTRUCTIVE, f"was {old}")
    return True


def _catalog(reading: ParseContext, cursor: Cursor, kind: str) -> bool:
    if cursor.word in {"SET", "CURRENT", "CHARACTER", "DEFAULT", "COLLATE"}:
        return True
    parts = read_name(cursor, reading.dialect)
    if parts is None:
        return False
    catalog = named(reading, Level.CATALOG, kind, parts)
    for words, what in (
        (("RENAME", "TO"), "renames it to"),
        (("SWAP", "WITH"), "is swapped with"),
        (("MODIFY", "NAME", "="), "renames it to"),
        (("SET", "ALIAS", "TO"), "renames it to"),
    ):
        if cursor.take(*words):
            new = read_name(cursor, reading.dialect)
            if new is None:
                return False
            _both(reading, catalog, named(reading, Level.CATALOG, kind, new), what)
            return True
    return True
