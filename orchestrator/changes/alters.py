"""ALTER of tables, views, schemas and catalogs: which one, and what is said of it."""

from __future__ import annotations

from typing import Final

from orchestrator.changes.change_set import Effect, ObjectName
from orchestrator.changes.clauses import alter_clauses
from orchestrator.changes.context import ParseContext
from orchestrator.changes.creates import named, skip_options
from orchestrator.changes.cursor import Cursor, words
from orchestrator.changes.errors import UnknownFormError
from orchestrator.changes.keywords import Level, take_kind
from orchestrator.changes.settings import alter_session

_SCHEMA_SETTINGS: Final = words("""
    OWNER SET UNSET ENABLE DISABLE QUOTA ADD DROP DEFAULT COLLATE AUTHORIZATION CHARACTER CHARSET REFRESH COMMENT WITH READ UPGRADE
    DCPROPERTIES DBPROPERTIES
""")
_PAIRED: Final = (
    (("RENAME", "TO"), "renames it to"),
    (("SWAP", "WITH"), "is swapped with"),
    (("MODIFY", "NAME", "="), "renames it to"),
    (("SET", "ALIAS", "TO"), "renames it to"),
)
"""What is followed by the other name of a schema or a catalog."""


def alter(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows ALTER."""
    if cursor.take("SESSION"):
        alter_session(reading, cursor)
        return
    skip_options(cursor)
    level, kind, adjectives = take_kind(cursor)
    if level in {Level.NOTHING, Level.ROUTINE}:
        if kind == "TYPE" and cursor.holds("CASCADE"):
            reading.widen("changes the tables of that type, and does not name them")
        return
    cursor.take("IF", "EXISTS")
    if level in {Level.SCHEMA, Level.CATALOG}:
        _schema_or_catalog(reading, cursor, level, kind)
        return
    if cursor.word == "ALL" and cursor.peek(1).upper == "IN":
        return
    only = cursor.take("ONLY")
    within = only and cursor.take("(")
    parts = reading.name(cursor)
    if within and not cursor.take(")"):
        raise UnknownFormError
    cursor.take("*")
    if "ICEBERG" in adjectives and cursor.word == "REFRESH":
        reading.touch_table(parts, Effect.ADDITIVE, "takes over what its files have by now")
    elif kind.startswith("VIEW") and cursor.word != "RENAME" and cursor.find("AS") >= 0:
        reading.touch_table(parts, Effect.DESTRUCTIVE, "replaces the view's query")
    else:
        alter_clauses(reading, cursor, parts, only=only)


def _schema_or_catalog(reading: ParseContext, cursor: Cursor, level: Level, kind: str) -> None:
    if level is Level.CATALOG and cursor.word in {"SET", "CURRENT", "CHARACTER", "DEFAULT", "COLLATE"}:
        return
    old = named(reading, level, kind, reading.name(cursor))
    for sequence, what in _PAIRED:
        if cursor.take(*sequence):
            new = named(reading, level, kind, reading.name(cursor))
            if new.catalog is None and "renames" in what:
                new = new._replace(catalog=old.catalog)
            reading.touch_renamed(old, new, what=what)
            return
    if level is Level.CATALOG:
        return
    if cursor.take("TRANSFER"):
        _transfer(reading, cursor, old)
    elif not cursor.done() and cursor.word not in _SCHEMA_SETTINGS:
        raise UnknownFormError


def _transfer(reading: ParseContext, cursor: Cursor, schema: ObjectName) -> None:
    """SQL Server moves a table from one schema into another."""
    kind = cursor.word
    if cursor.take_to("::") and kind in {"TYPE", "XML"}:
        return
    old = reading.session.table(reading.name(cursor))
    reading.touch_renamed(old, old._replace(schema=schema.schema), what="moves it to")
