"""The clauses of ALTER TABLE, in every dialect: which make columns, which lose some, which no model ever sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.changes.change_set import Effect, ObjectName
from orchestrator.changes.clause import Clause, Found
from orchestrator.changes.column_types import written_type
from orchestrator.changes.columns import alter_column, change_column, modify_column
from orchestrator.changes.creates import history_table
from orchestrator.changes.cursor import Cursor, split_commas
from orchestrator.changes.drops import renamed, swapped
from orchestrator.changes.lexer import TokenKind
from orchestrator.changes.names import NamePart, read_name
from orchestrator.changes.placeholders import MARK
from orchestrator.changes.reading import ParseContext

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

_CONSTRAINTS: Final = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK"})
_KEYS: Final = frozenset({"PRIMARY", "UNIQUE", "FOREIGN"})
"""Constraints that say how tables are related."""
_INHERITED: Final = frozenset({"ADD", "DROP", "RENAME", "ALTER", "MODIFY", "CHANGE"})
"""What changes the columns of a table's partitions as well."""
_PAIRS: Final = frozenset(
    {
        *(("CHECK", "("), ("PERIOD", "FOR"), ("SEARCH", "OPTIMIZATION"), ("ROW", "ACCESS")),
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
    "snowflake": frozenset({"FILES", "SCHEDULE", "PARTITION"}),
}
"""Words that are kept for other things in one dialect, and are columns' names in another."""


def alter_clauses(reading: ParseContext, cursor: Cursor, table: tuple[NamePart, ...], *, only: bool = False) -> bool:
    """Reads the clauses that follow the table's name; always understood: an unknown one counts as destructive.

    `only` says that the table's partitions are left as they are.
    """
    if cursor.word == "WITH" and cursor.peek(1).upper in {"CHECK", "NOCHECK"}:
        cursor.at += 2
    if cursor.word == "PARTITION" and cursor.peek(1).upper == "(":
        _pass_partition(cursor)
    verb = ""
    found: Found = None
    temporary = reading.session.is_temporary(table)
    if any(MARK in token.text for token in cursor.rest() if token.kind is not TokenKind.STRING):
        return _composed(reading, cursor, table)
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
        if verb in {"ADD", "MODIFY", "CHANGE"}:
            reading.touch_referred(tokens)
        if found is not None:
            name = reading.touch_table(table, *found)
            if name is not None and verb in _INHERITED and not only:
                reading.touch_heirs(name, *found)
    return True


def _composed(reading: ParseContext, cursor: Cursor, table: tuple[NamePart, ...]) -> bool:
    """SQL that is put together when it runs: its head says which table it is about. False if it may give the table a new name."""
    reading.touch_table(table, Effect.DESTRUCTIVE, "is altered by SQL that is put together when it runs")
    moves = cursor.holds("RENAME") and not cursor.holds("COLUMN")
    return not (moves or cursor.holds("SWAP") or cursor.holds("SCHEMA") or cursor.holds("EXCHANGE"))


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
    is_column = clause.cursor.take_any(frozenset({"COLUMN", "COLUMNS"}))
    clause.cursor.take("IF", "NOT", "EXISTS")
    if not is_column:
        if constraint := _constraint(clause.cursor):
            return (Effect.ADDITIVE, "adds a key") if constraint in _KEYS else None
        if _names_no_column(clause):
            return None
    _remember_column(clause)
    return Effect.ADDITIVE, "adds a column"


def _constraint(cursor: Cursor) -> str:
    """Which constraint is named next: PRIMARY, UNIQUE, FOREIGN, another word for one that is no key; empty for none."""
    word, following = cursor.word, cursor.peek(1).upper
    if word == "CONSTRAINT":
        inner = Cursor(cursor.tokens, cursor.at + 1)
        if inner.word not in _KEYS | {"CHECK"}:
            inner.next()
        return inner.word or "CONSTRAINT"
    if word == "FOREIGN":
        return word if following == "KEY" else ""
    return word if word in _CONSTRAINTS and word != "CHECK" else ""


def _names_no_column(clause: Clause) -> bool:
    word = clause.cursor.word
    if (word, clause.cursor.peek(1).upper) in _PAIRS:
        return True
    return word in _ALSO_NOTHING.get(clause.reading.dialect.name, frozenset())


def _remember_column(clause: Clause) -> None:
    """The type that a new column is given: a later statement of the same text may widen it."""
    reading, cursor = clause.reading, Cursor(clause.cursor.tokens, clause.cursor.at)
    columns = reading.session.columns.get(reading.session.table(clause.table))
    column = read_name(cursor, reading.dialect) if columns is not None else None
    if columns is not None and column is not None:
        columns.give(column[-1].text, written_type(cursor))


def _drop(clause: Clause) -> Found:
    if clause.cursor.tokens[-1].upper == "CASCADE":
        clause.reading.touch_dependents(clause.reading.session.table(clause.table))
    if not clause.cursor.take_any(frozenset({"COLUMN", "COLUMNS"})):
        clause.cursor.take("IF", "EXISTS")
        # SQL Server: DROP without COLUMN drops a constraint.
        if clause.reading.dialect.name == "tsql" or _constraint(clause.cursor):
            return Effect.ADDITIVE, "drops a constraint"
        if clause.cursor.word in {"CHECK", "ALL"} or _names_no_column(clause):
            return None
    return Effect.DESTRUCTIVE, "drops a column"


def _rename(clause: Clause) -> Found:
    reading, cursor, table = clause
    following = cursor.peek(1)
    if cursor.word == "COLUMN" and following.kind is not TokenKind.END and following.upper != "TO":
        cursor.next()
        return _renamed_column(clause)
    if cursor.word in {"CONSTRAINT", "INDEX", "KEY", "PARTITION"} and cursor.find("TO") > 1:
        return None
    table_follows = cursor.take("TO") or cursor.take("AS") or cursor.take("=")
    if not table_follows and cursor.find("TO") >= 0:
        return _renamed_column(clause)
    new = read_name(cursor, reading.dialect)
    if new is None:
        return Effect.DESTRUCTIVE, "renames it"
    renamed(reading, table, new)
    return None


def _renamed_column(clause: Clause) -> Found:
    reading, cursor, table = clause
    columns = reading.session.columns.get(reading.session.table(table))
    if columns is not None:
        cursor.take("IF", "EXISTS")
        old, _, new = cursor.next().text, cursor.take("TO") or cursor.take("AS"), cursor.next().text
        columns.rename(old, new, reading.dialect)
    return Effect.DESTRUCTIVE, "renames a column"


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
    if cursor.word == "ENABLE_SCHEMA_EVOLUTION" and cursor.peek(2).upper == "TRUE":
        reading.known.evolving.add(reading.session.table(table))
    if not cursor.take("SCHEMA") or reading.session.is_temporary(table):
        return None
    new = read_name(cursor, reading.dialect)
    if new is None:
        return Effect.DESTRUCTIVE, "moves to another schema"
    old = reading.session.table(table)
    moved = ObjectName(old.catalog, reading.session.stored(new[-1]), old.table)
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
        child = clause.reading.touch_table(part, effect, "becomes a partition, or was one")
        if child is not None:
            clause.reading.known.add_child(clause.reading.session.table(clause.table), child, is_partition=True)
    return effect, reason


def _inherit(clause: Clause) -> Found:
    """PostgreSQL: the table becomes a child of another one."""
    parent = read_name(clause.cursor, clause.reading.dialect)
    if parent is not None:
        session = clause.reading.session
        clause.reading.known.add_child(session.table(parent), session.table(clause.table), is_partition=False)
    return None


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
    "INHERIT": _inherit,
}
