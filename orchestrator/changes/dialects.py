"""How the SQL of the warehouses differs: quotes, comments, letter case, and what a database is."""

from __future__ import annotations

from dataclasses import dataclass
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


_TRAITS: Final = {
    "snowflake": "upper backslash slash_comments declare_section creation_is_use temporary_in_schema renames_into_session",
    "postgres": "lower escape_strings nested_comments select_into views_depend",
    "bigquery": "kept backslash double_quoted_strings raw_strings triple_quotes hash_comments paths_in_backticks",
    "redshift": "all_lower backslash escape_strings nested_comments select_into views_depend",
    "databricks": "all_lower backslash double_quoted_strings raw_strings nested_comments database_is_schema",
    "mysql": "kept backslash double_quoted_strings hash_comments versioned_comments database_is_schema temporary_in_schema "
    "renames_into_session",
    "tsql": "kept brackets nested_comments batches select_into",
    "duckdb": "kept escape_strings nested_comments",
}
"""How a warehouse stores names, and which fields of `Dialect` are true for it."""
_TEMPORARY_SIGNS: Final = {"redshift": ("#",), "tsql": ("#", "@")}


def _dialect(name: str, folding: str, *traits: str) -> Dialect:
    flags: dict[str, Any] = dict.fromkeys(traits, True)
    return Dialect(name=name, folding=Folding(folding), temporary_signs=_TEMPORARY_SIGNS.get(name, ()), **flags)


DIALECTS: Final[dict[str, Dialect]] = {name: _dialect(name, *traits.split()) for name, traits in _TRAITS.items()}
"""The dialects that `--dialect` takes, by name."""

_ALSO: Final = {
    **dict.fromkeys(("postgresql", "pg"), "postgres"),
    **dict.fromkeys(("mssql", "sqlserver", "synapse", "fabric"), "tsql"),
    "mariadb": "mysql",
    "spark": "databricks",
    "bq": "bigquery",
}


def dialect_named(name: str) -> Dialect:
    """Return the dialect of that name in any letter case. Raises `ChangesError`, which lists the dialects."""
    known = name.strip().lower()
    found = DIALECTS.get(_ALSO.get(known, known))
    if found is None:
        raise ChangesError(f"no dialect is called {name!r}; take one of {', '.join(DIALECTS)}", code="unknown-dialect")
    return found
