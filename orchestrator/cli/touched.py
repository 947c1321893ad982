"""What the command line says has changed, read into one value."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.plan.touched import Touched

NO_DIALECT = "no --dialect is given: the migrations were read as PostgreSQL's; letters' case and quotes may mean other names elsewhere"


def read_touched(options: Mapping[str, Any]) -> Touched | None:
    """What `--ddl`, `--ddl-list`, `--dbt-target` and `--changed` tell, all together; None where none of them is given.

    Raises `UsageError` for what cannot be read, and for an option that belongs to one that is not given.
    """
    ddl, lists = options["ddl"], options["ddl_list"]
    target, names = options["dbt_target"], options["changed"]
    _check(options)
    if not ddl and not lists and target is None and not names:
        return None
    from dataclasses import replace

    from orchestrator.changes.change_set import ChangeSet
    from orchestrator.changes.dbt import read_dbt
    from orchestrator.changes.files import read_ddl
    from orchestrator.changes.listed import read_names
    from orchestrator.plan.touched import make_touched

    nothing = ChangeSet()
    migrated = built = nothing
    if ddl or lists:
        migrated = read_ddl(
            ddl,
            lists=lists,
            values=_values(options["set_values"]),
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
    needs = {
        "dialect": ("ddl", "ddl_list"),
        "default_schema": ("ddl", "ddl_list"),
        "strict": ("ddl", "ddl_list"),
        "set_values": ("ddl", "ddl_list"),
        "dbt_state": ("dbt_target",),
    }
    for name, needed in needs.items():
        is_said = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if is_said and not any(options[each] for each in needed):
            raise UsageError(f"{_flag(name)} belongs to {_flag(needed[0])}, which is not given")
    readers = [_flag(name) for name in ("ddl", "ddl_list", "changed") if "-" in options[name]]
    if len(readers) > 1:
        raise UsageError(f"{' - and '.join(readers)} - both read standard input, which can be read only once")


def _flag(name: str) -> str:
    return "--" + name.removesuffix("_values").replace("_", "-")


def _values(assignments: Sequence[str]) -> dict[str, str]:
    """Placeholders and their values, from `NAME=VALUE`. Raises `UsageError` for one without a name or without a sign."""
    values: dict[str, str] = {}
    for each in assignments:
        name, sign, value = each.partition("=")
        if not name or not sign:
            raise UsageError(f"--set {each}: write NAME=VALUE")
        values[name] = value
    return values


def _stdin() -> bytes:
    from orchestrator.changes.files import MAX_BYTES

    # a program may be started without it
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"standard input holds more than {MAX_BYTES // 1024 // 1024} MiB: give the migrations, not a dump"
        )
    return data
