"""What sets the warehouses' SQL apart where this room reads it: quotes, comments, case, and what a database is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.changes.errors import ChangesError


class Folding(StrEnum):
    """What a warehouse makes of the letters of a name before it stores it."""

    UPPER = "upper"
    """Upper case, but for quoted names (Snowflake)."""
    LOWER = "lower"
    """Lower case, but for quoted names (PostgreSQL)."""
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
    dashes_in_names: bool = False
    """`my-project.dataset.table` needs no quotes."""
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
    """A new name without a schema is one of the session's schema, wherever the old name was (seen on MariaDB; for Snowflake
    dbt-core found it out, pull request 1324).
    """


_POSTGRES: Final = Dialect(
    name="postgres",
    folding=Folding.LOWER,
    escape_strings=True,
    nested_comments=True,
    select_into=True,
    views_depend=True,
)

DIALECTS: Final[dict[str, Dialect]] = {
    each.name: each
    for each in (
        Dialect(
            name="snowflake",
            folding=Folding.UPPER,
            backslash=True,
            slash_comments=True,
            declare_section=True,
            creation_is_use=True,
            temporary_in_schema=True,
            renames_into_session=True,
        ),
        _POSTGRES,
        Dialect(
            name="bigquery",
            folding=Folding.KEPT,
            backslash=True,
            double_quoted_strings=True,
            raw_strings=True,
            triple_quotes=True,
            hash_comments=True,
            dashes_in_names=True,
        ),
        Dialect(
            name="redshift",
            folding=Folding.ALL_LOWER,
            views_depend=True,
            backslash=True,
            escape_strings=True,
            nested_comments=True,
            select_into=True,
            temporary_signs=("#",),
        ),
        Dialect(
            name="databricks",
            folding=Folding.ALL_LOWER,
            backslash=True,
            double_quoted_strings=True,
            raw_strings=True,
            nested_comments=True,
            database_is_schema=True,
        ),
        Dialect(
            name="mysql",
            folding=Folding.KEPT,
            backslash=True,
            double_quoted_strings=True,
            hash_comments=True,
            versioned_comments=True,
            database_is_schema=True,
            temporary_in_schema=True,
            renames_into_session=True,
        ),
        Dialect(
            name="tsql",
            folding=Folding.KEPT,
            brackets=True,
            nested_comments=True,
            batches=True,
            select_into=True,
            temporary_signs=("#", "@"),
        ),
        Dialect(name="duckdb", folding=Folding.KEPT, escape_strings=True, nested_comments=True),
    )
}
"""The dialects that `--dialect` takes, by name."""

_ALSO: Final = {
    "postgresql": "postgres",
    "pg": "postgres",
    "mariadb": "mysql",
    "mssql": "tsql",
    "sqlserver": "tsql",
    "synapse": "tsql",
    "fabric": "tsql",
    "spark": "databricks",
    "bq": "bigquery",
}


def dialect_named(name: str) -> Dialect:
    """The dialect of that name, or of one of its other names; letters' case does not matter.

    Raises `ChangesError`, which lists what there is.
    """
    known = name.strip().lower()
    found = DIALECTS.get(_ALSO.get(known, known))
    if found is None:
        raise ChangesError(f"no dialect is called {name!r}; take one of {', '.join(DIALECTS)}")
    return found
