"""Tables that come from elsewhere: loaded, restored, converted, copied, synchronized."""

from __future__ import annotations

from orchestrator.changes.change_set import Effect
from orchestrator.changes.creates import named
from orchestrator.changes.cursor import Cursor
from orchestrator.changes.kinds import Level
from orchestrator.changes.names import read_name
from orchestrator.changes.reading import ParseContext

_KINDS = {"TABLE": Level.TABLE, "SCHEMA": Level.SCHEMA, "DATABASE": Level.CATALOG, "CATALOG": Level.CATALOG}


def _touch(reading: ParseContext, cursor: Cursor, kind: str, effect: Effect, reason: str) -> bool:
    parts = read_name(cursor, reading.dialect)
    if parts is None:
        return False
    if kind == "TABLE":
        reading.touch_table(parts, effect, reason)
    else:
        reading.touch(named(reading, _KINDS[kind], kind, parts), effect, reason)
    return True


def load(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows LOAD: BigQuery's LOAD DATA makes the table that it fills, or replaces it."""
    if reading.dialect.name != "bigquery" or not cursor.take("DATA"):
        return True
    effect = Effect.DESTRUCTIVE if cursor.take("OVERWRITE") else Effect.ADDITIVE
    cursor.take("INTO")
    if cursor.take_any(frozenset({"TEMP", "TEMPORARY"})):
        return True
    cursor.take("TABLE")
    return _touch(reading, cursor, "TABLE", effect, "loads the table, and makes it if need be")


def restore(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows RESTORE: an earlier version of a table, or a whole database, comes back."""
    if reading.dialect.batches and cursor.word not in {"DATABASE", "TABLE"}:
        return True  # a log, a key, a list of files
    kind = cursor.take_any(frozenset({"DATABASE", "TABLE"})) or "TABLE"
    return _touch(reading, cursor, kind, Effect.DESTRUCTIVE, "restores an earlier version")


def convert(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows CONVERT: Databricks turns files, or a table of another format, into a Delta table."""
    return cursor.take("TO", "DELTA") and _touch(reading, cursor, "TABLE", Effect.ADDITIVE, "converts it to Delta")


def sync(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows SYNC: Databricks makes tables of one catalog known in another."""
    kind = cursor.take_any(frozenset({"SCHEMA", "TABLE"}))
    return bool(kind) and _touch(reading, cursor, kind, Effect.ADDITIVE, "takes over tables of another catalog")


def refresh(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows REFRESH: rows, but for Databricks, which takes over the tables of a foreign catalog."""
    kind = cursor.peek(1).upper
    if not cursor.take("FOREIGN") or kind not in _KINDS:
        return True
    cursor.next()
    return _touch(reading, cursor, kind, Effect.DESTRUCTIVE, "takes over what is there by now")


def add_rows(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows INSERT or MERGE: data, but with Databricks' schema evolution also the columns that are missing."""
    if not cursor.take("WITH", "SCHEMA", "EVOLUTION") and not reading.session.evolves:
        return True
    cursor.take_any(frozenset({"INTO", "OVERWRITE"}))
    cursor.take("TABLE")
    return _touch(reading, cursor, "TABLE", Effect.ADDITIVE, "may add columns: schema evolution")


def copy(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows COPY: data, but for loads that add columns, and for DuckDB's COPY FROM DATABASE a TO b."""
    if cursor.take("INTO"):
        text = reading.text.replace(" ", "").replace("'", "").lower()
        may_add = "mergeschema=true" in text or (
            "match_by_column_name=" in text and "match_by_column_name=none" not in text
        )
        return not may_add or _touch(reading, cursor, "TABLE", Effect.ADDITIVE, "may add columns: schema evolution")
    if not cursor.take("FROM", "DATABASE"):
        return True
    read_name(cursor, reading.dialect)
    return cursor.take("TO") and _touch(reading, cursor, "DATABASE", Effect.ADDITIVE, "copies a database into it")


def attach(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows ATTACH: a name for a database file, which USE may mean later; always understood."""
    at = cursor.find("AS")
    if at >= 0:
        cursor.at += at + 1
        parts = read_name(cursor, reading.dialect)
        if parts is not None:
            reading.session.attached.add(parts[-1].text.lower())
    return True
