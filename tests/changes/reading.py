"""Shorthand for tests: SQL in, names with signs out."""

from orchestrator.changes.change_set import ChangeSet, Effect
from orchestrator.changes.reader import read_sql


def read(sql: str, dialect: str = "postgres", *, default_schema: str | None = None) -> ChangeSet:
    """What the SQL touches, read as a file's text would be."""
    return read_sql(sql, source="x.sql", dialect=dialect, default_schema=default_schema)


def told(found: ChangeSet) -> list[str]:
    """Each change as `+name` or `-name`, in order."""
    return [("-" if each.effect is Effect.DESTRUCTIVE else "+") + str(each.name) for each in found.changes]


def touched(sql: str, dialect: str = "postgres", *, default_schema: str | None = None) -> list[str]:
    """What the SQL touches, all of which must be understood."""
    found = read(sql, dialect, default_schema=default_schema)
    assert not found.not_understood, found.not_understood
    return told(found)


def unclear(sql: str, dialect: str = "postgres") -> list[tuple[int, str]]:
    """What is not understood in the SQL: line and text."""
    return [(each.line, each.text) for each in read(sql, dialect).not_understood]
