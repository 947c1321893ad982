"""ALTER COLUMN, MODIFY and CHANGE: a column's type, and what it may hold."""

from __future__ import annotations

from itertools import product
from typing import Final

from orchestrator.changes.change_set import Effect
from orchestrator.changes.clause import Clause, Found
from orchestrator.changes.column_types import TypeChange, compare_types, written_type
from orchestrator.changes.cursor import Cursor, split_commas
from orchestrator.changes.names import NamePart, read_name

_NO_COLUMN: Final = frozenset(
    {"CONSTRAINT", "INDEX", "CHECK", "DISTSTYLE", "DISTKEY", "SORTKEY", "COMPOUND", "ENCODE", "SCHEDULE", "PARTITION"}
)
"""What ALTER TABLE ... ALTER can be said of but a column."""

_HOLDS: Final = frozenset(
    {
        *product(("SET", "DROP"), ("DEFAULT", "NOT", "NULL", "EXPRESSION", "GENERATED", "IDENTITY")),
        *(("ADD", "GENERATED"), ("ADD", "IDENTITY"), ("NOT", "NULL")),
    }
)
"""Pairs of words that say what a column may hold, or what it holds by itself."""

_REMARKS: Final = frozenset(
    {"COMMENT", "RESET", "UNSET", "ADD", "DROP", "ENCODE", "SYNC", "RESTART", "OPTIONS", "VISIBLE", "INVISIBLE", "SET"}
)


def alter_column(clause: Clause) -> Found:
    """Reads what follows ALTER in ALTER TABLE."""
    cursor = clause.cursor
    if cursor.word in _NO_COLUMN and cursor.peek(1).upper not in {"TYPE", "SET"}:
        return None
    return modify_column(clause)


def modify_column(clause: Clause) -> Found:
    """Reads what follows MODIFY in ALTER TABLE, where less can stand than behind ALTER."""
    cursor = clause.cursor
    if not cursor.take("COLUMN") and cursor.word == "CONSTRAINT":
        return None
    cursor.take("IF", "EXISTS")
    if cursor.word == "(":
        return _several(clause)
    column = read_name(cursor, clause.reading.dialect)
    if column is None:
        return Effect.DESTRUCTIVE, "alters a column"
    return _action(clause, column)


def _several(clause: Clause) -> Found:
    """Snowflake takes several columns in parentheses."""
    tokens = clause.cursor.rest()
    inside = tokens[1:-1] if tokens[-1].upper == ")" else tokens[1:]
    found = [modify_column(clause._replace(cursor=Cursor(part))) for part in split_commas(inside)]
    seen = [each for each in found if each is not None]
    destructive = [each for each in seen if each[0] is Effect.DESTRUCTIVE]
    return next(iter(destructive or seen), None)


def _action(clause: Clause, column: tuple[NamePart, ...]) -> Found:
    cursor = clause.cursor
    if cursor.take("TYPE") or cursor.take("SET", "DATA", "TYPE") or cursor.take("SET", "TYPE"):
        return _type(clause, column)
    after = cursor.peek(1).upper
    if cursor.word == "NULL" or (cursor.word, after) in _HOLDS:
        return None
    if cursor.word in {"FIRST", "AFTER"}:
        return Effect.ADDITIVE, "moves a column"
    is_type = cursor.word == "SET" and after == "(" and clause.reading.dialect.name == "mysql"
    if (cursor.word in _REMARKS and not is_type) or cursor.done():
        return None
    return _type(clause, column)


def _type(clause: Clause, column: tuple[NamePart, ...]) -> Found:
    reading, name, new = clause.reading, column[-1].text, written_type(clause.cursor)
    before = ""
    columns = reading.session.columns.get(reading.session.table(clause.table))
    if columns is not None:
        before = columns.type_of(name, reading.dialect)
        columns.give(name, new)
    step = compare_types(before, new, reading.dialect)
    if step is TypeChange.SAME:
        return None
    return (
        (Effect.ADDITIVE, "widens a column")
        if step is TypeChange.WIDER
        else (Effect.DESTRUCTIVE, "changes a column's type")
    )


def change_column(clause: Clause) -> Found:
    """Reads what follows CHANGE: MySQL and Hive name the column anew; Databricks also uses it like ALTER."""
    cursor = clause.cursor
    cursor.take("COLUMN")
    cursor.take("IF", "EXISTS")
    column = read_name(cursor, clause.reading.dialect)
    if column is None:
        return Effect.DESTRUCTIVE, "changes a column"
    if cursor.word in {"COMMENT", "SET", "DROP", "TYPE", "FIRST", "AFTER"} and clause.reading.dialect.name != "mysql":
        return _action(clause, column)
    new = cursor.next().text
    if new.lower() == column[-1].text.lower():
        return _type(clause, column)
    columns = clause.reading.session.columns.get(clause.reading.session.table(clause.table))
    if columns is not None:
        columns.rename(column[-1].text, new, clause.reading.dialect)
        columns.give(new, written_type(cursor))
    return Effect.DESTRUCTIVE, "changes a column's name or type"
