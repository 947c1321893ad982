"""What the command line says has changed, read into one value."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.plan.touched import Touched

NO_DIALECT = "no --dialect is given: the migrations were read as PostgreSQL's; letters' case and quotes may mean other names elsewhere"


def read_touched(options: Mapping[str, Any]) -> Touched | None:
    """What `--ddl`, `--dbt-target` and `--changed` tell, all together; None where none of them is given.

    Raises `UsageError` for what cannot be read, and for an option that belongs to one that is not given.
    """
    ddl, target, names = options["ddl"], options["dbt_target"], options["changed"]
    _check(options)
    if not ddl and target is None and not names:
        return None
    from dataclasses import replace

    from orchestrator.changes.change_set import ChangeSet
    from orchestrator.changes.dbt import read_dbt
    from orchestrator.changes.files import read_ddl
    from orchestrator.changes.listed import read_names
    from orchestrator.plan.touched import make_touched

    nothing = ChangeSet()
    migrated = built = nothing
    if ddl:
        migrated = read_ddl(
            ddl,
            dialect=options["dialect"] or "postgres",
            default_schema=options["default_schema"],
            stdin=_stdin,
            strict=options["strict"],
        )
        if options["dialect"] is None:
            migrated = replace(migrated, warnings=(NO_DIALECT, *migrated.warnings))
    if target is not None:
        built = read_dbt(target, state_dir=options["dbt_state"])
    return make_touched(ddl=migrated, dbt=built, listed=read_names(names, stdin=_stdin) if names else nothing)


def fingerprint(touched: Touched) -> str:
    """The same for the same change."""
    import hashlib
    import json

    from orchestrator.plan.touched import touched_as_data

    return hashlib.sha256(json.dumps(touched_as_data(touched)).encode()).hexdigest()


def _check(options: Mapping[str, Any]) -> None:
    """What stands on the command line must fit together; a variable that is set for many commands may have nothing to say."""
    context = click.get_current_context()
    needs = {"dialect": "ddl", "default_schema": "ddl", "strict": "ddl", "dbt_state": "dbt_target"}
    for name, needed in needs.items():
        is_said = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if is_said and not options[needed]:
            raise UsageError(f"--{name.replace('_', '-')} belongs to --{needed.replace('_', '-')}, which is not given")
    if "-" in options["ddl"] and "-" in options["changed"]:
        raise UsageError("--ddl - and --changed - both read standard input, which can be read only once")


def _stdin() -> bytes:
    return sys.stdin.buffer.read()
