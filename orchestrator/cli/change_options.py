"""The options that say what has changed; `changes`, `plan` and `run` have them in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from orchestrator.cli.options import NAME_OR_FILE, PATH, option

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
            help="What reads this schema, schema.table or catalog.schema.table; repeatable; @FILE or - for a list of them, one a "
            "line.",
        ),
        option(
            "--dbt-state",
            type=PATH,
            metavar="DIR",
            help="The artifacts of the dbt run before, with --dbt-target: tells which nodes changed, so that a column that dbt no "
            "longer builds is not left behind.",
        ),
        option(
            "--dbt-target",
            type=PATH,
            metavar="DIR",
            help="What this dbt invocation built: the folder with its run_results.json and manifest.json.",
        ),
        option(
            "--strict",
            is_flag=True,
            help="A statement that is not understood ends the command with exit code 2, instead of counting as touching everything.",
        ),
        option(
            "--set",
            "set_values",
            multiple=True,
            metavar="NAME=VALUE",
            help="Fill a placeholder of the migrations, in any tool's form: ${NAME}, {{ NAME }}, $(NAME), :NAME, %NAME% and others. "
            "Repeatable. A placeholder without a value is exit code 2.",
        ),
        option("--default-schema", metavar="SCHEMA", help="The schema of names that stand in the SQL without one."),
        option(
            "--dialect",
            metavar="NAME",
            help=f"The SQL of the migrations: {', '.join(DIALECTS)}. [postgres, with a warning]",
        ),
        option(
            "--ddl",
            type=PATH,
            multiple=True,
            metavar="FILE",
            help="What these SQL migrations touched; repeatable; a file, a folder, a glob, @LIST for a file that names files, or - "
            "for SQL on stdin.",
        ),
        option(
            "--ddl-list",
            type=PATH,
            multiple=True,
            metavar="FILE",
            help="The migrations that this file names, one a line or each ended by a NUL; - for a list on stdin; repeatable.",
        ),
    ):
        command = decorate(command)
    return command
