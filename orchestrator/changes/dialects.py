"""How the SQL of the warehouses differs: quotes, comments, letter case, and what a database is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from orchestrator.changes.errors import ChangesError


class Folding(StrEnum):
    """The letter case in which a warehouse stores a name."""

    UPPER = "upper"
    """Upper case, except quoted names (Snowflake)."""
    LOWER = "lower"
    """Lower case, except quoted names (PostgreSQL)."""
    ALL_LOWER = "all_lower"
    """Lower case, quoted or not: Redshift without `enable_case_sensitive_identifier`, Unity Catalog and the Hive metastore."""
    KEPT = "kept"
    """As written: BigQuery, MySQL, SQL Server; DuckDB too, which compares without regard to case but keeps what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One warehouse's SQL."""

    name: str
    folding: Folding
    backslash: bool = False
    """A backslash in a plain string hides the next character."""
    double_quoted_strings: bool = False
    """`"x"` is a string, not a name."""
    escape_strings: bool = False
    """`E'...'` has backslashes."""
    raw_strings: bool = False
    """`r'...'` has none."""
    triple_quotes: bool = False
    brackets: bool = False
    """`[x]` is a name."""
    hash_comments: bool = False
    slash_comments: bool = False
    nested_comments: bool = False
    versioned_comments: bool = False
    """`/*!40101 ... */` is run."""
    paths_in_backticks: bool = False
    """One pair of backticks may hold all parts of a name."""
    batches: bool = False
    """Statements need no semicolon between them."""
    database_is_schema: bool = False
    select_into: bool = False
    """`SELECT ... INTO t` makes a table."""
    declare_section: bool = False
    """At the top, DECLARE opens a section that ends with BEGIN."""
    creation_is_use: bool = False
    """CREATE SCHEMA and CREATE DATABASE make what they created the current one."""
    temporary_in_schema: bool = False
    """A temporary table is in a schema like any other, and hides what has its name there."""
    temporary_signs: tuple[str, ...] = ()
    """How the name of a table begins that goes with its session, quoted or not."""
    views_depend: bool = False
    """CASCADE drops the views that read what is dropped."""
    renames_into_session: bool = False
    """A new name without a schema is in the session's schema, wherever the old name was (seen on MariaDB; Snowflake: dbt-core's
    pull request 1324).
    """


def _dialect(name: str, folding: Folding, flags: str, *temporary_signs: str) -> Dialect:
    """Return the dialect in which the `flags`, names of its fields, are true."""
    values: dict[str, Any] = dict.fromkeys(flags.split(), True)
    return replace(Dialect(name=name, folding=folding, temporary_signs=temporary_signs), **values)


DIALECTS: Final[dict[str, Dialect]] = {
    each.name: each
    for each in (
        _dialect(
            "snowflake",
            Folding.UPPER,
            "backslash slash_comments declare_section creation_is_use temporary_in_schema renames_into_session",
        ),
        _dialect("postgres", Folding.LOWER, "escape_strings nested_comments select_into views_depend"),
        _dialect(
            "bigquery",
            Folding.KEPT,
            "backslash double_quoted_strings raw_strings triple_quotes hash_comments paths_in_backticks",
        ),
        _dialect(
            "redshift", Folding.ALL_LOWER, "backslash escape_strings nested_comments select_into views_depend", "#"
        ),
        _dialect(
            "databricks",
            Folding.ALL_LOWER,
            "backslash double_quoted_strings raw_strings nested_comments database_is_schema",
        ),
        _dialect(
            "mysql",
            Folding.KEPT,
            "backslash double_quoted_strings hash_comments versioned_comments database_is_schema temporary_in_schema "
            "renames_into_session",
        ),
        _dialect("tsql", Folding.KEPT, "brackets nested_comments batches select_into", "#", "@"),
        _dialect("duckdb", Folding.KEPT, "escape_strings nested_comments"),
    )
}
"""The dialects that `--dialect` takes, by name."""

_SYNONYMS: Final = {
    "postgres": ("postgresql", "pg"),
    "mysql": ("mariadb",),
    "tsql": ("mssql", "sqlserver", "synapse", "fabric"),
    "databricks": ("spark",),
    "bigquery": ("bq",),
}
_ALSO: Final = {also: name for name, others in _SYNONYMS.items() for also in others}


def dialect_named(name: str) -> Dialect:
    """Return the dialect of that name in any letter case. Raises `ChangesError`, which lists the dialects."""
    known = name.strip().lower()
    found = DIALECTS.get(_ALSO.get(known, known))
    if found is None:
        raise ChangesError(f"no dialect is called {name!r}; take one of {', '.join(DIALECTS)}", code="unknown-dialect")
    return found
