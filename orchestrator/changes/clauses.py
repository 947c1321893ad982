"""The clauses of ALTER TABLE, in every dialect: which make columns, which lose some, which no model ever sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.changes.change_set import Effect, Name
from orchestrator.changes.clause import Clause, Found
from orchestrator.changes.columns import alter_column, change_column, modify_column
from orchestrator.changes.creates import history_table
from orchestrator.changes.cursor import Cursor, split_commas
from orchestrator.changes.drops import renamed, swapped
from orchestrator.changes.lexer import Kind
from orchestrator.changes.names import Part, read_name
from orchestrator.changes.reading import Reading

_SETTINGS: Final = frozenset(
    {
        *(
            "UNSET",
            "OWNER",
            "CLUSTER",
            "RESET",
            "ENABLE",
            "DISABLE",
            "FORCE",
            "NO",
            "VALIDATE",
            "REPLICA",
            "INHERIT",
            "OF",
        ),
        *("NOT", "OPTIONS", "SUSPEND", "RESUME", "REFRESH", "RECLUSTER", "RECOVER", "REBUILD", "SWITCH", "CHECK"),
        *("NOCHECK", "WITH", "WITHOUT", "ENGINE", "AUTO_INCREMENT", "COMMENT", "DEFAULT", "CHARSET", "CHARACTER"),
        *("COLLATE", "ORDER", "ALGORITHM", "LOCK", "DISCARD", "IMPORT", "PARTITION", "REMOVE", "OPTIMIZE", "ANALYZE"),
        *("REPAIR", "COALESCE", "REORGANIZE", "TRUNCATE", "TABLESPACE", "APPEND", "SYNC", "TAG", "DEPENDS", "CONVERT"),
        *(
            "SECONDARY_LOAD",
            "SECONDARY_UNLOAD",
            "TOUCH",
            "COMPACT",
            "ARCHIVE",
            "UNARCHIVE",
            "REINDEX",
            "MASK",
            "EXECUTE",
        ),
        *(
            "SCHEDULE",
            "TRIGGER",
            "ROW",
            "LOGGED",
            "UNLOGGED",
            "DISTSTYLE",
            "DISTKEY",
            "SORTKEY",
            "UNIQUE",
            "ON",
            "USING",
            "AUTO",
        ),
        *("AVG_ROW_LENGTH", "CHECKSUM", "CONNECTION", "DATA", "DELAY_KEY_WRITE", "INSERT_METHOD", "KEY_BLOCK_SIZE"),
        *("MAX_ROWS", "MIN_ROWS", "PACK_KEYS", "PAGE_CHECKSUM", "PASSWORD", "ROW_FORMAT", "STATS_AUTO_RECALC"),
        *("STATS_PERSISTENT", "STATS_SAMPLE_PAGES", "TABLE_CHECKSUM", "TRANSACTIONAL", "UNION"),
    }
)
"""First words of clauses about storage, rights, rows and the like: the columns stay as they are."""

_ADDS_NOTHING: Final = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE"})
_DROPS_NOTHING: Final = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "ALL"})
_PAIRS: Final = frozenset(
    {
        *(("FOREIGN", "KEY"), ("CHECK", "("), ("PERIOD", "FOR"), ("SEARCH", "OPTIMIZATION"), ("ROW", "ACCESS")),
        *(("ROW", "FILTER"), ("DATA", "METRIC"), ("DATA", "PRIVACY"), ("SYSTEM", "VERSIONING"), ("JOIN", "POLICY")),
        *(("AGGREGATION", "POLICY"), ("CLUSTERING", "KEY"), ("STORAGE", "LIFECYCLE"), ("CONTACT", "(")),
    }
)
"""Pairs of words after ADD and DROP that name no column. One word alone would be one: `ADD period int`."""

_ALSO_NOTHING: Final = {
    "mysql": frozenset({"INDEX", "KEY", "CHECK", "FULLTEXT", "SPATIAL", "PARTITION"}),
    "postgres": frozenset({"EXCLUDE"}),
    "redshift": frozenset({"PARTITION"}),
    "tsql": frozenset({"INDEX", "DEFAULT", "STATISTICS"}),
    "databricks": frozenset({"FEATURE", "SCHEDULE", "TRIGGER", "PARTITION"}),
    "snowflake": frozenset({"FILES", "SCHEDULE"}),
}
"""Words that are kept for other things in one dialect, and are columns' names in another."""


def alter_clauses(reading: Reading, cursor: Cursor, table: tuple[Part, ...]) -> bool:
    """Reads the clauses that follow the table's name; always understood: an unknown one counts as destructive."""
    if cursor.word == "WITH" and cursor.peek(1).upper in {"CHECK", "NOCHECK"}:
        cursor.at += 2
    if cursor.word == "PARTITION" and cursor.peek(1).upper == "(":
        _pass_partition(cursor)
    verb = ""
    found: Found = None
    temporary = reading.session.is_temporary(table)
    for tokens in split_commas(cursor.rest()):
        inner = Cursor(tokens)
        word = inner.word
        goes_on = bool(verb)
        if word in _RULES or word in _SETTINGS or not verb or inner.peek(1).upper == "=":
            verb, goes_on = word, False
            inner.next()
        if not tokens or (temporary and verb != "RENAME"):
            continue
        # A list goes on as it began; T-SQL alone mixes columns and constraints under one ADD.
        listed = verb == "DROP" or (verb == "ADD" and not reading.dialect.batches)
        if not (goes_on and listed and word not in {"COLUMN", "CONSTRAINT"}):
            found = _clause(verb, Clause(reading, inner, table))
        if found is not None:
            reading.touch_table(table, *found)
    return True


def _pass_partition(cursor: Cursor) -> None:
    """Hive takes columns for one partition of a table."""
    begin = cursor.at
    cursor.next()
    cursor.skip_parens()
    if cursor.word not in {"ADD", "CHANGE", "REPLACE", "ALTER"}:
        cursor.at = begin


def _clause(verb: str, clause: Clause) -> Found:
    rule = _RULES.get(verb)
    if rule is not None:
        return rule(clause)
    if verb in _SETTINGS or clause.cursor.word == "=":
        return None
    if verb == "REPLACE":
        return Effect.DESTRUCTIVE, "replaces the columns"
    shown = " ".join(token.text for token in clause.cursor.tokens[:4])
    return Effect.DESTRUCTIVE, f"has a clause that is not known: {shown}"


def _add(clause: Clause) -> Found:
    added: Found = (Effect.ADDITIVE, "adds a column")
    if clause.cursor.take_any(frozenset({"COLUMN", "COLUMNS"})):
        return added
    clause.cursor.take("IF", "NOT", "EXISTS")
    return None if _names_no_column(clause, _ADDS_NOTHING) else added


def _names_no_column(clause: Clause, words: frozenset[str]) -> bool:
    word = clause.cursor.word
    if word in words or (word, clause.cursor.peek(1).upper) in _PAIRS:
        return True
    return word in _ALSO_NOTHING.get(clause.reading.dialect.name, frozenset())


def _drop(clause: Clause) -> Found:
    if not clause.cursor.take_any(frozenset({"COLUMN", "COLUMNS"})):
        clause.cursor.take("IF", "EXISTS")
        # SQL Server: DROP without COLUMN drops a constraint.
        if clause.reading.dialect.name == "tsql" or _names_no_column(clause, _DROPS_NOTHING):
            return None
    return _forget(clause, "drops a column")


def _forget(clause: Clause, what: str) -> Found:
    """From here on the table's definition does not say what its columns are."""
    clause.reading.session.definitions.pop(clause.reading.session.table(clause.table), None)
    return Effect.DESTRUCTIVE, what


def _rename(clause: Clause) -> Found:
    reading, cursor, table = clause
    following = cursor.peek(1)
    if cursor.word == "COLUMN" and following.kind is not Kind.END and following.upper != "TO":
        return _forget(clause, "renames a column")
    if cursor.word in {"CONSTRAINT", "INDEX", "KEY", "PARTITION"} and cursor.find("TO") > 1:
        return None
    table_follows = cursor.take("TO") or cursor.take("AS") or cursor.take("=")
    if not table_follows and cursor.find("TO") >= 0:
        return _forget(clause, "renames a column")
    new = read_name(cursor, reading.dialect)
    if new is None:
        return Effect.DESTRUCTIVE, "renames it"
    renamed(reading, table, new)
    return None


def _swap(clause: Clause) -> Found:
    clause.cursor.take("WITH")
    other = read_name(clause.cursor, clause.reading.dialect)
    if other is None:
        return Effect.DESTRUCTIVE, "is swapped"
    swapped(clause.reading, clause.table, other)
    return None


def _set(clause: Clause) -> Found:
    reading, cursor, table = clause
    history_table(reading, cursor)
    if not cursor.take("SCHEMA") or reading.session.is_temporary(table):
        return None
    new = read_name(cursor, reading.dialect)
    if new is None:
        return Effect.DESTRUCTIVE, "moves to another schema"
    old = reading.session.table(table)
    moved = Name(old.catalog, reading.session.stored(new[-1]), old.table)
    reading.touch(old, Effect.DESTRUCTIVE, f"moves it to {moved}")
    reading.touch(moved, Effect.DESTRUCTIVE, f"was {old}")
    return None


def _convert(clause: Clause) -> Found:
    """MySQL: a text column may get a longer type with another character set."""
    return (Effect.ADDITIVE, "changes the character set of its columns") if clause.cursor.word == "TO" else None


def _attach(clause: Clause) -> Found:
    return _partition(clause, Effect.ADDITIVE, "attaches a partition")


def _detach(clause: Clause) -> Found:
    return _partition(clause, Effect.DESTRUCTIVE, "detaches a partition")


def _partition(clause: Clause, effect: Effect, reason: str) -> Found:
    clause.cursor.take("PARTITION")
    part = read_name(clause.cursor, clause.reading.dialect)
    if part is not None:
        clause.reading.touch_table(part, effect, "becomes a partition, or was one")
    return effect, reason


def _exchange(clause: Clause) -> Found:
    if (at := clause.cursor.find("TABLE")) >= 0:
        clause.cursor.at += at + 1
        other = read_name(clause.cursor, clause.reading.dialect)
        if other is not None:
            clause.reading.touch_table(other, Effect.DESTRUCTIVE, "exchanges its rows with a partition")
    return Effect.DESTRUCTIVE, "exchanges a partition with a table"


_RULES: Final[dict[str, Callable[[Clause], Found]]] = {
    "ADD": _add,
    "DROP": _drop,
    "RENAME": _rename,
    "ALTER": alter_column,
    "MODIFY": modify_column,
    "CHANGE": change_column,
    "SWAP": _swap,
    "SET": _set,
    "CONVERT": _convert,
    "ATTACH": _attach,
    "DETACH": _detach,
    "EXCHANGE": _exchange,
}
