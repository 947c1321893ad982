"""CREATE, DROP, RENAME and loads: statements that create, drop or rename tables, views and schemas."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from orchestrator.changes.change_set import Effect, ObjectName
from orchestrator.changes.column_types import Columns
from orchestrator.changes.context import ParseContext, Rule
from orchestrator.changes.dynamic_sql import calls_of, remember_routine
from orchestrator.changes.errors import require
from orchestrator.changes.keywords import LEVELS, TEMPORARY, Level, take_kind
from orchestrator.changes.lexer import Cursor, TokenKind, split_commas, words
from orchestrator.changes.session import SqlName, read_name
from orchestrator.changes.tool_text import MARK

_DATA: Final = words("INSERT UPDATE DELETE MERGE")
"""Data statements after WITH: their INTO names an existing table."""
_OF_THE_SESSION: Final = words("CURRENT_ROLE CURRENT_USER SESSION_USER USER")
"""Users whose name is known only at run time."""
_OR: Final = {"REPLACE": "replaces", "ALTER": "creates or alters", "REFRESH": "creates or refreshes"}
"""What the words after CREATE OR do to an existing object."""
_ARRIVALS: Final[dict[str, tuple[tuple[str, ...], frozenset[str], Effect, str]]] = {
    # SQL Server also restores logs, keys and lists of files; the other three are of Databricks.
    "RESTORE": ((), words("DATABASE TABLE"), Effect.DESTRUCTIVE, "restores an earlier version"),
    "CONVERT": (("TO", "DELTA"), words(""), Effect.ADDITIVE, "converts it to Delta"),
    "SYNC": ((), words("SCHEMA TABLE"), Effect.ADDITIVE, "takes tables from another catalog"),
    "REFRESH": (("FOREIGN",), words("TABLE SCHEMA CATALOG"), Effect.DESTRUCTIVE, "reads the foreign catalog again"),
}
"""The words after the verb, the kinds of objects it may name, the effect, and the reason."""
_TAKES_ALONG: Final = words("TYPE DOMAIN EXTENSION SERVER DATA")
"""Objects on which columns, views and foreign tables depend: DROP ... CASCADE drops these too, without naming them."""


def _create(reading: ParseContext, cursor: Cursor) -> None:
    """Read a CREATE, or a REPLACE: Databricks has REPLACE TABLE, MySQL replaces rows."""
    is_replace = cursor.tokens[cursor.at - 1].upper == "REPLACE"
    if is_replace and reading.dialect.name == "mysql":
        return
    replaces = "replaces" if is_replace else skip_options(cursor)
    level, kind, adjectives = take_kind(cursor)
    may_exist = cursor.take("IF", "NOT", "EXISTS")
    session = reading.session
    effect = Effect.DESTRUCTIVE if replaces else Effect.ADDITIVE
    reason = f"{replaces or 'creates'} the {kind.lower()}"
    if level is Level.ROUTINE:
        remember_routine(reading, cursor, kind)
    elif level is Level.SCHEMA:
        _schema(reading, cursor, effect, reason)
    if level in {Level.NOTHING, Level.ROUTINE, Level.SCHEMA}:
        return
    parts = reading.name(cursor)
    if (kind == "TABLE" or "MATERIALIZED" in adjectives) and (query := cursor.find("AS", "SELECT")) >= 0:
        calls_of(reading, cursor.rest()[query:])
    if level is Level.CATALOG:
        name = named(reading, level, kind, parts)
        reading.touch(name, effect, reason)
        if reading.dialect.creation_is_use:
            session.move(name.catalog, "PUBLIC")
    elif adjectives & TEMPORARY or session.says_temporary(parts):
        session.make_temporary(parts)
    else:
        made = session.table(parts)
        reading.touch(made, effect, reason)
        if kind == "TABLE":
            if not (may_exist and made in reading.known.columns):
                reading.known.columns[made] = Columns(reading.text, reading.dialect)
            _ancestors(reading, cursor, made)
            reading.touch_referred(cursor.rest())
        elif reading.dialect.views_depend:
            reading.add_view(made, Cursor(cursor.rest()[max(cursor.find("AS"), 0) :]))


def _ancestors(reading: ParseContext, cursor: Cursor, made: ObjectName) -> None:
    """Record the parents of a new table (PARTITION OF, INHERITS), and whether it is partitioned. PostgreSQL only."""
    for at, (one, other) in enumerate(pairwise(cursor.rest())):
        if (one.upper, other.upper) == ("PARTITION", "BY"):
            reading.known.partitioned.add(made)
        elif (one.upper, other.upper) in {("PARTITION", "OF"), ("INHERITS", "(")}:
            is_partition = one.upper == "PARTITION"
            behind = cursor.rest()[at + 2 :]
            for item in [behind] if is_partition else split_commas(behind):
                if parent := read_name(Cursor(item), reading.dialect):
                    reading.known.heirs.add(reading.session.table(parent), made, is_partition=is_partition)


def skip_options(cursor: Cursor) -> str:
    """Skip OR REPLACE and MySQL's options. Return what happens to an existing object; empty for nothing."""
    replaces = ""
    while True:
        if cursor.word == "OR" and (what := _OR.get(cursor.peek(1).upper)):
            replaces = what
            cursor.at += 2
        elif cursor.take("SQL", "SECURITY"):
            cursor.next()
        elif cursor.take("DEFINER", "=") or cursor.take("ALGORITHM", "="):
            cursor.next()
            cursor.skip_parens()
            if cursor.peek().kind is TokenKind.VARIABLE or cursor.take("@"):
                cursor.next()
        else:
            return replaces


def _schema(reading: ParseContext, cursor: Cursor, effect: Effect, reason: str) -> None:
    session = reading.session
    if cursor.take("AUTHORIZATION"):
        cursor.take("=")
        require(cursor.word not in _OF_THE_SESSION)
    name = session.schema_name(reading.name(cursor))
    reading.touch(name, effect, reason)
    with session.apart():  # PostgreSQL: tables and views that the statement creates in the new schema
        session.move(name.catalog, name.schema)
        while cursor.take_to("CREATE"):
            skip_options(cursor)
            level = take_kind(cursor)[0]
            cursor.take("IF", "NOT", "EXISTS")
            if level is Level.TABLE and (parts := read_name(cursor, reading.dialect)):
                reading.touch(session.table(parts), Effect.ADDITIVE, "creates it in the new schema")
    if reading.dialect.batches:
        session.around = (session.catalog, session.schema)
    if reading.dialect.batches or reading.dialect.creation_is_use:
        session.move(name.catalog, name.schema)


def _undrop(reading: ParseContext, cursor: Cursor) -> None:
    level, kind, _ = take_kind(cursor)
    if level in {Level.NOTHING, Level.ROUTINE}:
        return
    cursor.take("IF", "NOT", "EXISTS")
    parts = reading.name(cursor)
    require(not cursor.take("ID"))
    old = named(reading, level, kind, parts)
    reading.touch(old, Effect.ADDITIVE, f"restores the {kind.lower()}")
    if cursor.take("RENAME", "TO") and level is Level.TABLE and (new := read_name(cursor, reading.dialect)):
        reading.touch(reading.session.beside(old, new), Effect.ADDITIVE, "restores it")


def named(reading: ParseContext, level: Level, kind: str, parts: SqlName) -> ObjectName:
    """Return the full name of an object of that level; `kind` is its keyword in the statement."""
    session = reading.session
    if level is Level.SCHEMA or (kind == "DATABASE" and reading.dialect.database_is_schema):
        return session.schema_name(parts)
    return ObjectName(session.stored(parts[-1]), None, None) if level is Level.CATALOG else session.table(parts)


def _import_schema(reading: ParseContext, cursor: Cursor) -> None:
    """Read an IMPORT: a foreign schema's tables arrive in one of ours."""
    require(cursor.take("FOREIGN", "SCHEMA"))
    limited = Cursor(cursor.until("INTO"))
    tables = split_commas(limited.skip_parens()) if limited.take_to("LIMIT") and limited.take("TO") else []
    require(cursor.take_to("INTO"))
    schema = reading.session.schema_name(reading.name(cursor))
    listed = [read_name(Cursor(table), reading.dialect) for table in tables]
    for name in [schema._replace(table=reading.session.stored(each[-1])) for each in listed if each] or [schema]:
        reading.touch(name, Effect.ADDITIVE, "imports foreign tables")


def select_into(reading: ParseContext, cursor: Cursor) -> None:
    """Record the table that SELECT INTO creates."""
    if not cursor.take_to("INTO", *_DATA) or cursor.tokens[cursor.at - 1].upper in _DATA:
        return
    is_temporary = False
    while word := cursor.take_any(TEMPORARY | {"LOCAL", "GLOBAL", "UNLOGGED", "TABLE"}):
        is_temporary = is_temporary or word in TEMPORARY
    parts = read_name(cursor, reading.dialect)
    if parts and (is_temporary or reading.session.says_temporary(parts)):
        reading.session.make_temporary(parts)
    elif parts:
        reading.touch(reading.session.table(parts), Effect.ADDITIVE, "creates the table from a query")


def _touch(reading: ParseContext, cursor: Cursor, kind: str, effect: Effect, reason: str) -> None:
    """Record the table, schema or database that is named next."""
    parts = reading.name(cursor)
    if kind == "TABLE":
        reading.touch_table(parts, effect, reason)
    else:
        reading.touch(named(reading, LEVELS[kind], kind, parts), effect, reason)


def _load(reading: ParseContext, cursor: Cursor) -> None:
    """Read a LOAD: BigQuery's LOAD DATA creates the table that it fills, or replaces it."""
    if reading.dialect.name != "bigquery" or not cursor.take("DATA"):
        return
    effect = Effect.DESTRUCTIVE if cursor.take("OVERWRITE") else Effect.ADDITIVE
    cursor.take("INTO")
    if not cursor.take_any(TEMPORARY):
        cursor.take("TABLE")
        _touch(reading, cursor, "TABLE", effect, "loads the table, and creates it if it is missing")


def _take_over(reading: ParseContext, cursor: Cursor) -> None:
    """Read a RESTORE, CONVERT, SYNC or REFRESH: something arrives that was elsewhere, or earlier."""
    verb = cursor.tokens[cursor.at - 1].upper
    sequence, kinds, effect, reason = _ARRIVALS[verb]
    is_form, kind = cursor.take(*sequence), cursor.take_any(kinds)
    if is_form and (kind or verb == "CONVERT" or (verb == "RESTORE" and not reading.dialect.batches)):
        _touch(reading, cursor, kind or "TABLE", effect, reason)
    else:
        require(verb not in {"CONVERT", "SYNC"})


def _add_rows(reading: ParseContext, cursor: Cursor) -> None:
    """Read an INSERT or MERGE: data, but with Databricks' schema evolution also the columns that are missing."""
    if cursor.take("WITH", "SCHEMA", "EVOLUTION") or reading.session.evolves:
        cursor.take_any({"INTO", "OVERWRITE"})
        cursor.take("TABLE")
        _touch(reading, cursor, "TABLE", Effect.ADDITIVE, "may add columns: schema evolution")


def _copy(reading: ParseContext, cursor: Cursor) -> None:
    """Read a COPY: data, but also loads that add columns, and DuckDB's COPY FROM DATABASE a TO b."""
    if cursor.take("INTO"):
        text = reading.text.replace(" ", "").replace("'", "").lower()
        by_name = "match_by_column_name=" in text and "match_by_column_name=none" not in text
        if by_name or "mergeschema=true" in text:
            _touch(reading, cursor, "TABLE", Effect.ADDITIVE, "may add columns: schema evolution")
    elif cursor.take("FROM", "DATABASE"):
        read_name(cursor, reading.dialect)
        require(cursor.take("TO"))
        _touch(reading, cursor, "DATABASE", Effect.ADDITIVE, "copies a database into it")


def _attach(reading: ParseContext, cursor: Cursor) -> None:
    """Read an ATTACH: a name for a database file, which USE may mean later."""
    if cursor.take_to("AS") and (parts := read_name(cursor, reading.dialect)):
        reading.session.attached.add(parts[-1].text.lower())


def _drop(reading: ParseContext, cursor: Cursor) -> None:
    level, kind, adjectives = take_kind(cursor)
    cascade = cursor.holds("CASCADE")
    cursor.take("IF", "EXISTS")
    if level in {Level.NOTHING, Level.ROUTINE}:
        if kind == "OWNED":
            reading.widen("drops the objects of a role without naming them")
        elif kind in _TAKES_ALONG and cascade:
            _take_columns(reading, cursor, kind)
        elif level is Level.ROUTINE and kind != "TRIGGER" and cascade:
            reading.warn(
                "CASCADE also drops the views that use a function and the columns made by it; they are not named"
            )
        return
    reason = f"drops the {kind.lower().removesuffix('s')}"
    for item in split_commas(cursor.rest()):
        inner = Cursor(item)
        parts = reading.name(inner)
        if level is Level.TABLE and (adjectives & TEMPORARY or reading.session.is_temporary(parts)):
            reading.session.drop_temporary(parts)
            continue
        require(inner.word != MARK)  # more may be dropped: the list is built at run time
        name = named(reading, level, kind, parts)
        reading.touch(name, Effect.DESTRUCTIVE, reason)
        for heir in reading.touch_heirs(name, Effect.DESTRUCTIVE, reason, partitions_only=not cascade):
            reading.known.drop(heir)
        if cascade and level is not Level.CATALOG:
            reading.touch_dependents(name)
        reading.known.drop(name)


def _take_columns(reading: ParseContext, cursor: Cursor, kind: str) -> None:
    """Record the known tables with columns of a type that is dropped with CASCADE, and warn that there may be more."""
    what, parts = kind.lower(), read_name(cursor, reading.dialect)
    if parts is not None and kind in {"TYPE", "DOMAIN"}:
        for table, columns in reading.known.columns.items():
            if columns.mentions(parts[-1].text):
                reading.touch(table, Effect.DESTRUCTIVE, f"its columns of the {what} {parts[-1].text} go with it")
    reading.warn(
        f"CASCADE also drops what depends on the {what} (columns, tables, views); of this, only tables that the given SQL creates "
        "are known"
    )


def _rename(reading: ParseContext, cursor: Cursor) -> None:
    """Read a RENAME: tables get new names, in pairs."""
    if cursor.take_any({"USER", "ROLE", "INDEX", "LOGIN"}):
        return
    require(cursor.take_any({"TABLE", "TABLES", "OBJECT", "VIEW"}))
    cursor.take("::")
    cursor.take("IF", "EXISTS")
    for item in split_commas(cursor.rest()):
        inner = Cursor(item)
        old = reading.name(inner)
        while inner.word in {"WAIT", "NOWAIT"} or inner.peek().text.isdigit():
            inner.next()
        inner.take("TO")
        renamed(reading, old, reading.name(inner))


def renamed(reading: ParseContext, old: SqlName, new: SqlName) -> None:
    """Record both names of a renamed or moved table."""
    session = reading.session
    if session.is_temporary(old):
        session.drop_temporary(old)
        session.make_temporary(new)
        return
    before = session.table(old)
    reading.touch_renamed(before, *session.new_names(before, new))


def _exchange(reading: ParseContext, cursor: Cursor) -> None:
    """Read an EXCHANGE: two tables swap their names."""
    require(cursor.take_any({"TABLE", "TABLES"}))
    one = reading.name(cursor)
    require(cursor.take_any({"AND", "WITH"}))
    swapped(reading, one, reading.name(cursor))


def swapped(reading: ParseContext, one: SqlName, other: SqlName) -> None:
    """Record that two tables swap their names."""
    if reading.session.is_temporary(one) or reading.session.is_temporary(other):
        for table in (one, other):
            reading.touch_table(table, Effect.DESTRUCTIVE, "is swapped")
        return
    first = reading.session.table(one)
    reading.touch_renamed(first, *reading.session.new_names(first, other), what="is swapped with")


RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("CREATE", "REPLACE"), _create),
    "DROP": _drop,
    "UNDROP": _undrop,
    "RENAME": _rename,
    "EXCHANGE": _exchange,
    "IMPORT": _import_schema,
    **dict.fromkeys(_ARRIVALS, _take_over),
    **dict.fromkeys(("INSERT", "MERGE"), _add_rows),
    "LOAD": _load,
    "COPY": _copy,
    "ATTACH": _attach,
}
