"""CREATE, UNDROP and their kin: what they make, and what they may have put in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from orchestrator.changes.change_set import Effect, ObjectName
from orchestrator.changes.column_types import Columns
from orchestrator.changes.cursor import Cursor, split_commas
from orchestrator.changes.kinds import TEMPORARY, Level, take_kind
from orchestrator.changes.lexer import NOTHING, Token, TokenKind, tokens_of
from orchestrator.changes.names import NamePart, read_name
from orchestrator.changes.reading import ParseContext
from orchestrator.changes.session import Routine

_BODIES: Final = frozenset({"BEGIN", "CREATE", "ALTER", "DROP", "RENAME", "CALL", "EXEC", "IF"})
_DATA: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
"""Behind WITH: their INTO names a table that is there."""
_WHOEVER: Final = frozenset({"CURRENT_ROLE", "CURRENT_USER", "SESSION_USER", "USER"})
"""Users whose name is known only when the statement runs."""
_OPTIONS: Final = frozenset({"DEFINER", "ALGORITHM"})
_REFERENCES: Final = re.compile(r"\breferences\b", re.IGNORECASE)
_EVOLVING: Final = re.compile(r"\benable_schema_evolution\s*=\s*true\b", re.IGNORECASE)
_MODES: Final = frozenset({"IN", "OUT", "INOUT", "VARIADIC"})


def replace(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows REPLACE: Databricks has REPLACE TABLE, MySQL replaces rows."""
    if reading.dialect.name == "mysql":
        return True
    return _make(reading, cursor, "replaces")


def create(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows CREATE; False if it is not understood."""
    return _make(reading, cursor, skip_options(cursor))


def _make(reading: ParseContext, cursor: Cursor, replaces: str) -> bool:
    taken = take_kind(cursor)
    if taken is None:
        return False
    level, kind, adjectives = taken
    if level is Level.NOTHING:
        return True
    if level is Level.ROUTINE:
        _remember_routine(reading, cursor, kind)
        return True
    cursor.take("IF", "NOT", "EXISTS")
    effect = Effect.DESTRUCTIVE if replaces else Effect.ADDITIVE
    reason = f"{replaces or 'creates'} the {kind.lower()}"
    if level is Level.SCHEMA:
        return _schema(reading, cursor, effect, reason)
    parts = read_name(cursor, reading.dialect)
    if parts is None:
        return False
    if level is Level.CATALOG:
        name = named(reading, level, kind, parts)
        reading.touch(name, effect, reason)
        if reading.dialect.creation_is_use:
            reading.session.move(name.catalog, "PUBLIC")
        return True
    if adjectives & TEMPORARY or reading.session.says_temporary(parts):
        reading.session.make_temporary(parts)
        return True
    made = reading.session.table(parts)
    reading.touch(made, effect, reason)
    if kind == "TABLE":
        _remember_table(reading, cursor, made)
    elif reading.dialect.views_depend:
        reading.known.add_view(made, reading.text, reading.session)
    return True


def _remember_table(reading: ParseContext, cursor: Cursor, made: ObjectName) -> None:
    """Keeps what a table's definition says of its columns, and of other tables."""
    reading.session.columns[made] = Columns(reading.text)
    history_table(reading, cursor)
    _ancestors(reading, cursor, made)
    if _REFERENCES.search(reading.text):
        reading.touch_referred(tokens_of(reading.text, reading.dialect))
    if _EVOLVING.search(reading.text):
        reading.known.evolving.add(made)


def _ancestors(reading: ParseContext, cursor: Cursor, made: ObjectName) -> None:
    """PostgreSQL: the table that the new one is a partition of, or those that it inherits from; whether it has partitions."""
    if any(one.upper == "PARTITION" and other.upper == "BY" for one, other in pairwise(cursor.rest())):
        reading.known.partitioned.add(made)
    at = next((at for at, token in enumerate(cursor.rest()) if token.upper in {"INHERITS", "PARTITION"}), -1)
    if at < 0:
        return
    inner = Cursor(cursor.tokens, cursor.at + at)
    is_partition = inner.take("PARTITION", "OF")
    if not is_partition and not inner.take("INHERITS", "("):
        return
    for item in [inner.rest()] if is_partition else split_commas(inner.rest()):
        parent = read_name(Cursor(item), reading.dialect)
        if parent is None:
            return
        reading.known.add_child(reading.session.table(parent), made, is_partition=is_partition)


def skip_options(cursor: Cursor) -> str:
    """Goes past OR REPLACE and MySQL's options; the answer says what happens to a thing that is there, empty for nothing."""
    replaces = ""
    while True:
        if cursor.take("OR", "REPLACE"):
            replaces = "replaces"
        elif cursor.take("OR", "ALTER"):
            replaces = "creates or alters"
        elif cursor.take("OR", "REFRESH"):
            replaces = "creates or refreshes"
        elif cursor.take("SQL", "SECURITY"):
            cursor.next()
        elif cursor.word in _OPTIONS and cursor.peek(1).upper == "=":
            cursor.at += 3
            if cursor.word == "(":
                cursor.skip_parens()
            if cursor.peek().kind is TokenKind.VARIABLE or cursor.take("@"):
                cursor.next()
        else:
            return replaces


def _schema(reading: ParseContext, cursor: Cursor, effect: Effect, reason: str) -> bool:
    if cursor.take("AUTHORIZATION"):
        cursor.take("=")
        if cursor.word in _WHOEVER:
            return False
    parts = read_name(cursor, reading.dialect)
    if parts is None:
        return False
    name = reading.session.schema_name(parts)
    reading.touch(name, effect, reason)
    _elements(reading, cursor, name)
    if reading.dialect.batches:
        reading.session.around = (reading.session.catalog, reading.session.schema)
    if reading.dialect.batches or reading.dialect.creation_is_use:
        reading.session.move(name.catalog, name.schema)
    return True


def _elements(reading: ParseContext, cursor: Cursor, schema: ObjectName) -> None:
    """PostgreSQL: tables and views that the statement makes in the new schema."""
    with reading.session.apart():
        reading.session.move(schema.catalog, schema.schema)
        while (at := cursor.find("CREATE")) >= 0:
            cursor.at += at + 1
            skip_options(cursor)
            taken = take_kind(cursor)
            cursor.take("IF", "NOT", "EXISTS")
            parts = read_name(cursor, reading.dialect) if taken is not None and taken[0] is Level.TABLE else None
            if parts is not None:
                reading.touch(reading.session.table(parts), Effect.ADDITIVE, "creates it in the new schema")


def history_table(reading: ParseContext, cursor: Cursor) -> None:
    """SQL Server makes the table that keeps a table's former rows, where it is named."""
    for at, token in enumerate(cursor.tokens):
        if token.upper == "HISTORY_TABLE":
            inner = Cursor(cursor.tokens, at + 1)
            inner.take("=")
            parts = read_name(inner, reading.dialect)
            if parts is not None:
                reading.touch_table(parts, Effect.ADDITIVE, "creates the table of former rows")


def _remember_routine(reading: ParseContext, cursor: Cursor, kind: str) -> None:
    """Keeps a routine's body, for it may be called further down in the same text."""
    cursor.take("IF", "NOT", "EXISTS")
    parts = read_name(cursor, reading.dialect)
    if parts is None or parts[-1].placeholder:
        return
    name = reading.session.stored(parts[-1]).lower()
    if kind in {"PROCEDURE", "PROC", "FUNCTION"}:
        reading.known.routines.setdefault(name, None)
    parameters = _parameters(cursor)
    body = _body(cursor)
    if body and is_sql(cursor):
        text = body[0].text if body[0].kind is TokenKind.STRING else reading.lexer.text[body[0].start : body[-1].end]
        line = reading.lexer.line(body[0].body or body[0].start)
        reading.session.routines[name] = Routine(text, line, parameters)
        if kind in {"PROCEDURE", "PROC", "FUNCTION"}:
            reading.known.routines[name] = reading.session.routines[name]


def _parameters(cursor: Cursor) -> tuple[str, ...]:
    """The names of a routine's parameters, in lower case; in T-SQL they may stand without parentheses."""
    begin = cursor.at
    if cursor.word == "(":
        cursor.skip_parens()
        listed = cursor.tokens[begin + 1 : cursor.at - 1]
    else:
        end = cursor.find("AS", "RETURNS", "BEGIN")
        listed = cursor.rest()[:end] if end > 0 and cursor.peek().kind is TokenKind.VARIABLE else ()
    found: list[str] = []
    for each in split_commas(listed):
        inner = Cursor(each)
        inner.take_any(_MODES)
        found.append(inner.next().text.lower())
    return tuple(found)


def is_sql(cursor: Cursor) -> bool:
    """Whether the routine is written in a language that this room reads."""
    at = next((at for at, token in enumerate(cursor.rest()) if token.upper == "LANGUAGE"), -1)
    return at < 0 or cursor.peek(at + 1).text.upper() in {"SQL", "PLPGSQL"}


def _body(cursor: Cursor) -> Sequence[Token]:
    """The part of a routine's definition that runs when it is called: one string, or all from its first statement on."""
    tokens = cursor.rest()
    for at, token in enumerate(tokens):
        following = tokens[at + 1] if at + 1 < len(tokens) else NOTHING
        if token.upper in {"AS", "IS"}:
            if following.kind is TokenKind.STRING:
                return tokens[at + 1 : at + 2]
            if following.upper in _BODIES | {"DECLARE"}:
                return tokens[at + 1 :]
        elif token.upper in _BODIES:
            return tokens[at:]
    return ()


def undrop(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows UNDROP."""
    taken = take_kind(cursor)
    if taken is None:
        return False
    level, kind, _ = taken
    if level in {Level.NOTHING, Level.ROUTINE}:
        return True
    cursor.take("IF", "NOT", "EXISTS")
    parts = read_name(cursor, reading.dialect)
    if parts is None or cursor.take("ID"):
        return False
    reading.touch(named(reading, level, kind, parts), Effect.ADDITIVE, f"brings the {kind.lower()} back")
    if cursor.take("RENAME", "TO") and level is Level.TABLE:
        new = read_name(cursor, reading.dialect)
        if new is not None:
            reading.touch(reading.session.beside(reading.session.table(parts), new), Effect.ADDITIVE, "brings it back")
    return True


def named(reading: ParseContext, level: Level, kind: str, parts: tuple[NamePart, ...]) -> ObjectName:
    """The full name of a thing of that level, which the statement calls a `kind`."""
    session = reading.session
    if level is Level.SCHEMA or (kind == "DATABASE" and reading.dialect.database_is_schema):
        return session.schema_name(parts)
    return session.catalog_name(parts) if level is Level.CATALOG else session.table(parts)


def import_schema(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows IMPORT: a foreign schema's tables arrive in one of ours."""
    if not cursor.take("FOREIGN", "SCHEMA"):
        return False
    within = cursor.find("INTO")
    if within < 0:
        return False
    limited = Cursor(cursor.tokens[: cursor.at + within], cursor.at)
    tables: list[Sequence[Token]] = []
    if (at := limited.find("LIMIT")) >= 0:
        limited.at += at + 3
        tables = split_commas(limited.rest()[: max(0, limited.find(")"))])
    cursor.at += within + 1
    parts = read_name(cursor, reading.dialect)
    if parts is None:
        return False
    schema = reading.session.schema_name(parts)
    listed = [read_name(Cursor(table), reading.dialect) for table in tables]
    names = [schema._replace(table=reading.session.stored(each[-1])) for each in listed if each]
    for name in names or [schema]:
        reading.touch(name, Effect.ADDITIVE, "imports foreign tables")
    return True


def select_into(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads a query for the table that it makes, where the dialect's SELECT INTO makes one; always understood."""
    into = cursor.find("INTO", *_DATA)
    if into < 0 or cursor.peek(into).upper in _DATA:
        return True
    cursor.at += into + 1
    temporary = False
    while word := cursor.take_any(TEMPORARY | {"LOCAL", "GLOBAL", "UNLOGGED", "TABLE"}):
        temporary = temporary or word in TEMPORARY
    parts = read_name(cursor, reading.dialect)
    if parts is None:
        return True
    if temporary or reading.session.says_temporary(parts):
        reading.session.make_temporary(parts)
    else:
        reading.touch(reading.session.table(parts), Effect.ADDITIVE, "creates the table from a query")
    return True
