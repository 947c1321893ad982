"""ALTER statements of every dialect: which clauses add columns, which may drop some, and which do not matter to a model."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Final, NamedTuple

from orchestrator.changes.change_set import Effect
from orchestrator.changes.column_types import Columns, compare_types, written_type
from orchestrator.changes.context import ParseContext
from orchestrator.changes.dynamic_sql import calls_of
from orchestrator.changes.errors import UnknownFormError, require
from orchestrator.changes.keywords import Level, take_kind
from orchestrator.changes.lexer import Cursor, TokenKind, split_commas, words
from orchestrator.changes.objects import named, renamed, skip_options, swapped
from orchestrator.changes.session import SqlName, read_name
from orchestrator.changes.settings import alter_session
from orchestrator.changes.tool_text import MARK

AlterEffect = tuple[Effect, str] | None
"""The effect of a clause on its table, and the reason. None if it has no effect, or if the rule has recorded it."""

_DROPS_COLUMN: Final = (Effect.DESTRUCTIVE, "drops a column")
_CONVERTS: Final = (Effect.ADDITIVE, "changes the character set of its columns")
_RENAMES_COLUMN: Final = (Effect.DESTRUCTIVE, "renames a column")

_SETTINGS: Final = words("""
    UNSET OWNER CLUSTER RESET ENABLE DISABLE FORCE NO VALIDATE REPLICA OF NOT OPTIONS SUSPEND RESUME REFRESH RECLUSTER RECOVER REBUILD
    SWITCH CHECK NOCHECK WITH WITHOUT ENGINE AUTO_INCREMENT COMMENT DEFAULT CHARSET CHARACTER COLLATE ORDER ALGORITHM LOCK DISCARD IMPORT
    PARTITION REMOVE OPTIMIZE ANALYZE REPAIR COALESCE REORGANIZE TRUNCATE TABLESPACE APPEND SYNC TAG DEPENDS CONVERT SECONDARY_LOAD
    SECONDARY_UNLOAD TOUCH COMPACT ARCHIVE UNARCHIVE REINDEX MASK EXECUTE SCHEDULE TRIGGER ROW LOGGED UNLOGGED DISTSTYLE DISTKEY SORTKEY
    UNIQUE ON USING AUTO AVG_ROW_LENGTH CHECKSUM CONNECTION DATA DELAY_KEY_WRITE INSERT_METHOD KEY_BLOCK_SIZE MAX_ROWS MIN_ROWS PACK_KEYS
    PAGE_CHECKSUM PASSWORD ROW_FORMAT STATS_AUTO_RECALC STATS_PERSISTENT STATS_SAMPLE_PAGES TABLE_CHECKSUM TRANSACTIONAL UNION
""")
"""First words of clauses that leave the columns unchanged: storage, rights, rows and similar."""
_OTHER_REASONS: Final = {"SEQUENCE": "turns a table into a sequence, or back", "REPLACE": "replaces the columns"}
_KEYS: Final = words("PRIMARY UNIQUE FOREIGN")
"""Constraints that define relationships between tables."""
_INHERITED: Final = words("ADD DROP RENAME ALTER MODIFY CHANGE")
"""Clauses that also change the columns of the table's partitions."""
_DEFINES: Final = words("ADD MODIFY CHANGE SET")
"""Clauses that may name other tables: the target of a foreign key, or a history table."""
_PAIRS: Final = words("""
    CHECK:( PERIOD:FOR SEARCH:OPTIMIZATION ROW:ACCESS ROW:FILTER DATA:METRIC DATA:PRIVACY SYSTEM:VERSIONING JOIN:POLICY CONTACT:(
    AGGREGATION:POLICY CLUSTERING:KEY STORAGE:LIFECYCLE
""")
"""Pairs of words after ADD and DROP that do not name a column. The first word alone may be a column: `ADD period int`."""
_ALSO_NOTHING: Final = {
    "mysql": words("INDEX KEY CHECK FULLTEXT SPATIAL PARTITION"),
    "postgres": words("EXCLUDE"),
    "redshift": words("PARTITION"),
    "tsql": words("INDEX DEFAULT STATISTICS"),
    "databricks": words("FEATURE SCHEDULE TRIGGER PARTITION"),
    "snowflake": words("FILES SCHEDULE PARTITION"),
}
"""Words that are keywords in one dialect and may be column names in another."""
_NO_COLUMN: Final = words("CONSTRAINT INDEX CHECK DISTSTYLE DISTKEY SORTKEY COMPOUND ENCODE SCHEDULE PARTITION")
"""Words after ALTER TABLE ... ALTER that are not the name of a column."""
_HOLDS: Final = {
    *product(("SET", "DROP"), ("DEFAULT", "NOT", "NULL", "EXPRESSION", "GENERATED", "IDENTITY")),
    *(("ADD", "GENERATED"), ("ADD", "IDENTITY"), ("NOT", "NULL")),
}
"""Pairs of words that set a default, nullability, or how a value is generated."""
_REMARKS: Final = words("COMMENT RESET UNSET ADD DROP ENCODE SYNC RESTART OPTIONS VISIBLE INVISIBLE SET")
_COLUMN: Final = words("COLUMN COLUMNS")
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
"""Words that come before the other name of a schema or catalog, and what they do."""


def alter(reading: ParseContext, cursor: Cursor) -> None:
    """Read the rest of an ALTER statement."""
    if cursor.take("SESSION"):
        alter_session(reading, cursor)
        return
    skip_options(cursor)
    level, kind, adjectives = take_kind(cursor)
    cursor.take("IF", "EXISTS")
    if level in {Level.NOTHING, Level.ROUTINE}:
        if kind == "TYPE" and cursor.holds("CASCADE"):
            reading.widen("changes the tables that use the type without naming them")
        elif kind in {"INDEX", "SEQUENCE"}:
            _known_table(reading, cursor)
    elif level in {Level.SCHEMA, Level.CATALOG}:
        _schema_or_catalog(reading, cursor, level, kind)
    elif cursor.word != "ALL" or cursor.peek(1).upper != "IN":
        _table(reading, cursor, kind, adjectives)


def _table(reading: ParseContext, cursor: Cursor, kind: str, adjectives: AbstractSet[str]) -> None:
    only = cursor.take("ONLY")
    within = only and cursor.take("(")
    parts = reading.name(cursor)
    require(not within or cursor.take(")"))
    cursor.take("*")
    if "ICEBERG" in adjectives and cursor.word == "REFRESH":
        reading.touch_table(parts, Effect.ADDITIVE, "reads the current state of its files")
    elif kind.startswith("VIEW") and cursor.word != "RENAME" and cursor.find("AS") >= 0:
        reading.touch_table(parts, Effect.DESTRUCTIVE, "replaces the view's query")
    else:
        _alter_clauses(reading, cursor, parts, only=only)


def _known_table(reading: ParseContext, cursor: Cursor) -> None:
    """Read a RENAME of a known table: PostgreSQL takes ALTER INDEX and ALTER SEQUENCE for tables as well."""
    parts = read_name(cursor, reading.dialect)
    is_renamed = parts is not None and cursor.word == "RENAME" and not any(part.placeholder for part in parts)
    if parts and is_renamed and reading.session.table(parts) in reading.known.columns:
        _alter_clauses(reading, cursor, parts)


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
    if cursor.take("TRANSFER"):  # SQL Server moves a table from one schema into another
        kind = cursor.word
        if not (cursor.take_to("::") and kind in {"TYPE", "XML"}):
            table = reading.session.table(reading.name(cursor))
            reading.touch_renamed(table, table._replace(schema=old.schema), what="moves it to")
    else:
        require(cursor.done() or cursor.word in _SCHEMA_SETTINGS)


class Clause(NamedTuple):
    """One clause of ALTER TABLE. The cursor is after its first word."""

    reading: ParseContext
    cursor: Cursor
    table: SqlName

    def columns(self) -> Columns:
        """Return the columns of the table, as far as the given SQL shows them."""
        return self.reading.known.columns.get(self.reading.session.table(self.table)) or Columns(
            "", self.reading.dialect
        )

    def name(self) -> SqlName:
        """Take the name that comes next. Raises `UnknownFormError` if there is none."""
        return self.reading.name(self.cursor)


def _alter_clauses(reading: ParseContext, cursor: Cursor, table: SqlName, *, only: bool = False) -> None:
    """Read the clauses that follow the table's name; an unknown one counts as destructive.

    `only` says that the table's partitions are left as they are.
    """
    if cursor.word == "WITH" and cursor.peek(1).upper in {"CHECK", "NOCHECK"}:
        cursor.at += 2
    begin = cursor.at  # Hive takes columns for one partition of a table
    if not (cursor.take("PARTITION") and cursor.skip_parens() and cursor.word in {"ADD", "CHANGE", "REPLACE", "ALTER"}):
        cursor.at = begin
    if any(MARK in token.text for token in cursor.rest() if token.kind is not TokenKind.STRING):
        _composed(reading, cursor, table)
        return
    calls_of(reading, cursor.rest())
    verb = ""
    found: AlterEffect = None
    temporary = reading.session.is_temporary(table)
    for tokens in split_commas(cursor.rest()):
        inner = Cursor(tokens)
        word = inner.word
        continues = bool(verb)
        if word in _RULES or word in _SETTINGS or not verb or inner.peek(1).upper == "=":
            verb, continues = word, False
            inner.next()
        if not tokens or (temporary and verb != "RENAME"):
            continue
        # A list continues as it began; only T-SQL mixes columns and constraints under one ADD.
        is_list = verb == "DROP" or (verb == "ADD" and not reading.dialect.batches)
        if not (continues and is_list and word not in {"COLUMN", "CONSTRAINT"}):
            found = _clause(verb, Clause(reading, inner, table))
        elif found == _DROPS_COLUMN:
            _drop_columns(Clause(reading, inner, table))
        if verb in _DEFINES:
            reading.touch_referred(tokens)
        if found is not None and (name := reading.touch_table(table, *found)) and verb in _INHERITED and not only:
            reading.touch_heirs(name, *found)


def _composed(reading: ParseContext, cursor: Cursor, table: SqlName) -> None:
    """Read SQL that is built at run time: its beginning names the table. Raises `UnknownFormError` if it may rename the table."""
    reading.touch_table(table, Effect.DESTRUCTIVE, "is altered by SQL that is built at run time")
    require(cursor.holds("COLUMN") or not cursor.holds("RENAME"))
    require(not any(cursor.holds(word) for word in ("SWAP", "SCHEMA", "EXCHANGE")))


def _clause(verb: str, clause: Clause) -> AlterEffect:
    """Read a clause. A clause that is not known or lacks a name is destructive."""
    with suppress(UnknownFormError):
        if rule := _RULES.get(verb):
            return rule(clause)
        if verb in _SETTINGS or (clause.cursor.word == "=" and verb not in _OTHER_REASONS):
            return None
    shown = clause.reading.shown(" ".join(token.text for token in clause.cursor.tokens[:4]))
    return Effect.DESTRUCTIVE, _OTHER_REASONS.get(verb, f"has an unknown clause: {shown}")


def _add(clause: Clause) -> AlterEffect:
    cursor = clause.cursor
    is_column = cursor.take_any(_COLUMN)
    cursor.take("IF", "NOT", "EXISTS")
    if not is_column:
        if constraint := _constraint(cursor):
            return (Effect.ADDITIVE, "adds a key") if constraint in _KEYS else None
        if _names_no_column(clause):
            return None
    if column := read_name(cursor, clause.reading.dialect):
        clause.columns().give(column[-1].text, written_type(cursor))
    return Effect.ADDITIVE, "adds a column"


def _constraint(cursor: Cursor) -> str:
    """Return the kind of constraint that comes next: PRIMARY, UNIQUE, FOREIGN, or another word if it is not a key; empty if none does."""
    word = cursor.word
    if word == "CONSTRAINT":
        after = cursor.peek(1).upper
        return (after if after in _KEYS | {"CHECK"} else cursor.peek(2).upper) or "CONSTRAINT"
    is_key = word in {"PRIMARY", "UNIQUE"} or (word == "FOREIGN" and cursor.peek(1).upper == "KEY")
    return word if is_key else ""


def _names_no_column(clause: Clause) -> bool:
    word = clause.cursor.word
    also = _ALSO_NOTHING.get(clause.reading.dialect.name, ())
    return f"{word}:{clause.cursor.peek(1).upper}" in _PAIRS or word in also


def _drop(clause: Clause) -> AlterEffect:
    reading, cursor, table = clause
    if cursor.tokens[-1].upper == "CASCADE":
        reading.touch_dependents(reading.session.table(table))
    if not cursor.take_any(_COLUMN):
        cursor.take("IF", "EXISTS")
        # SQL Server: DROP without COLUMN drops a constraint.
        if reading.dialect.name == "tsql" or _constraint(cursor):
            return Effect.ADDITIVE, "drops a constraint"
        if cursor.word in {"CHECK", "ALL"} or _names_no_column(clause):
            return None
    _drop_columns(clause)
    return _DROPS_COLUMN


def _drop_columns(clause: Clause) -> None:
    """Record the next column, or the columns in parentheses, as dropped."""
    cursor = clause.cursor
    cursor.take("IF", "EXISTS")
    for part in split_commas(cursor.skip_parens()) if cursor.word == "(" else [cursor.rest()]:
        column = read_name(Cursor(part), clause.reading.dialect)
        clause.reading.lose_column(clause.table, column, _DROPS_COLUMN[1])


def _rename(clause: Clause) -> AlterEffect:
    reading, cursor, table = clause
    if cursor.word in {"CONSTRAINT", "INDEX", "KEY", "PARTITION"} and cursor.find("TO") > 1:
        return None
    if cursor.word not in {"TO", "AS", "="} and cursor.find("TO") >= 0:
        if cursor.peek(1).upper != "TO":
            cursor.take("COLUMN")
        cursor.take("IF", "EXISTS")
        old = clause.name()
        reading.lose_column(table, old, _RENAMES_COLUMN[1])
        if cursor.take("TO"):
            clause.columns().rename(old[-1].text, cursor.next().text)
        return _RENAMES_COLUMN
    cursor.take_any({"TO", "AS", "="})
    renamed(reading, table, clause.name())
    return None


def _swap(clause: Clause) -> AlterEffect:
    clause.cursor.take("WITH")
    swapped(clause.reading, clause.table, clause.name())
    return None


def _set(clause: Clause) -> AlterEffect:
    reading, cursor, table = clause
    if not cursor.take("SCHEMA") or reading.session.is_temporary(table):
        return None
    new, old = clause.name(), reading.session.table(table)
    reading.touch_renamed(old, old._replace(schema=reading.session.stored(new[-1])), what="moves it to")
    return None


def _partition(clause: Clause, *, effect: Effect, reason: str) -> AlterEffect:
    reading, cursor, table = clause
    cursor.take("PARTITION")
    part = read_name(cursor, reading.dialect)
    if part and (child := reading.touch_table(part, effect, "becomes a partition, or was one")):
        parent = reading.session.table(table)
        if effect is Effect.ADDITIVE:
            reading.known.heirs.add(parent, child, is_partition=True)
        else:
            reading.known.heirs.remove(parent, child)
    return effect, reason


def _inherit(clause: Clause) -> AlterEffect:
    """PostgreSQL: the table becomes a child of another one."""
    session = clause.reading.session
    clause.reading.known.heirs.add(session.table(clause.name()), session.table(clause.table))
    return None


def _exchange(clause: Clause) -> AlterEffect:
    if clause.cursor.take_to("TABLE"):
        clause.reading.touch_table(clause.name(), Effect.DESTRUCTIVE, "exchanges its rows with a partition")
    return Effect.DESTRUCTIVE, "exchanges a partition with a table"


def _alter(clause: Clause) -> AlterEffect:
    if clause.cursor.word in _NO_COLUMN and clause.cursor.peek(1).upper not in {"TYPE", "SET"}:
        return None
    return _modify(clause)


def _modify(clause: Clause) -> AlterEffect:
    cursor = clause.cursor
    if not cursor.take("COLUMN") and cursor.word == "CONSTRAINT":
        return None
    cursor.take("IF", "EXISTS")
    if cursor.word == "(":
        # Snowflake takes several columns in parentheses.
        parts = split_commas(cursor.skip_parens())
        seen = [found for part in parts if (found := _modify(clause._replace(cursor=Cursor(part))))]
        return min(seen, key=lambda found: found[0] is Effect.ADDITIVE, default=None)
    return _action(clause, clause.name()[-1].text)


def _action(clause: Clause, column: str) -> AlterEffect:
    """Read the action of ALTER COLUMN."""
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


def _type(clause: Clause, column: str) -> AlterEffect:
    dialect, new, columns = clause.reading.dialect, written_type(clause.cursor), clause.columns()
    before = columns.type_of(column)
    columns.give(column, new)
    effect = compare_types(before, new, dialect)
    if effect is None:
        return None
    return effect, "widens a column" if effect is Effect.ADDITIVE else "changes a column's type"


def _change(clause: Clause) -> AlterEffect:
    """MySQL and Hive give the column a new name; Databricks also uses CHANGE like ALTER."""
    cursor, dialect = clause.cursor, clause.reading.dialect
    cursor.take("COLUMN")
    cursor.take("IF", "EXISTS")
    column = clause.name()
    old = column[-1].text
    if cursor.word in {"COMMENT", "SET", "DROP", "TYPE", "FIRST", "AFTER"} and dialect.name != "mysql":
        return _action(clause, old)
    new = cursor.next().text
    if new.lower() == old.lower():
        return _type(clause, new)
    reason = "changes a column's name or type"
    clause.reading.lose_column(clause.table, column, reason)
    columns = clause.columns()
    columns.rename(old, new)
    columns.give(new, written_type(cursor))
    return Effect.DESTRUCTIVE, reason


_RULES: Final[dict[str, Callable[[Clause], AlterEffect]]] = {
    "ADD": _add,
    "DROP": _drop,
    "RENAME": _rename,
    "ALTER": _alter,
    "MODIFY": _modify,
    "CHANGE": _change,
    "SWAP": _swap,
    "SET": _set,
    # MySQL: a text column may get a longer type with another character set
    "CONVERT": lambda clause: _CONVERTS if clause.cursor.word == "TO" else None,
    "ATTACH": partial(_partition, effect=Effect.ADDITIVE, reason="attaches a partition"),
    "DETACH": partial(_partition, effect=Effect.DESTRUCTIVE, reason="detaches a partition"),
    "EXCHANGE": _exchange,
    "INHERIT": _inherit,
}
