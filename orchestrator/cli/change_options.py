"""The options that say what has changed. `changes`, `plan` and `run` share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from orchestrator.cli.command_line import in_section
from orchestrator.cli.options import NAME_OR_FILE, PATH, option
from orchestrator.cli.suggestions import suggest_dialects

F = TypeVar("F", bound=Callable[..., Any])

DIALECTS: Final = ("snowflake", "postgres", "bigquery", "redshift", "databricks", "mysql", "tsql", "duckdb")


def change_options(command: F) -> F:
    """--ddl, --ddl-list, --dialect, --default-schema, --set, --strict, --dbt-target, --dbt-state, --changed."""
    for decorate in (
        option(
            "--changed",
            type=NAME_OR_FILE,
            multiple=True,
            metavar="NAME",
            help="A changed schema, schema.table or catalog.schema.table. @FILE or - reads a list, one name per line. Repeatable.",
        ),
        option(
            "--dbt-state",
            type=PATH,
            metavar="DIR",
            help="With --dbt-target: the artifacts of the previous dbt run. Nodes that changed since then get a hard refresh, so "
            "that no dropped column stays.",
        ),
        option(
            "--dbt-target",
            type=PATH,
            metavar="DIR",
            help="What a dbt invocation built: the folder with its run_results.json and manifest.json.",
        ),
        option(
            "--strict",
            is_flag=True,
            help="Exit 2 if a statement is not understood. By default, such a statement counts as a change of everything.",
        ),
        option(
            "--set",
            "set_values",
            multiple=True,
            metavar="NAME=VALUE",
            help="Fill a placeholder of the migrations, in any tool's form: ${NAME}, {{ NAME }}, $(NAME), :NAME, %NAME% and others. "
            "A placeholder without a value is exit code 2. Repeatable.",
        ),
        option("--default-schema", metavar="SCHEMA", help="The schema of names that have none in the SQL."),
        option(
            "--dialect",
            metavar="NAME",
            shell_complete=suggest_dialects,
            help=f"The SQL dialect of the migrations: {', '.join(DIALECTS)}. [postgres, with a warning]",
        ),
        option(
            "--ddl",
            type=PATH,
            multiple=True,
            metavar="FILE",
            help="SQL migrations: a file, a folder, a glob, @LIST for a file that names files, or - for SQL on stdin. Repeatable.",
        ),
        option(
            "--ddl-list",
            type=PATH,
            multiple=True,
            metavar="FILE",
            help="A file that names migrations, one per line or each ended by a NUL. - reads the list from stdin. Repeatable.",
        ),
    ):
        command = decorate(command)
    return in_section("Changes", command)
