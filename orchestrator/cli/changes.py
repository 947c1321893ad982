"""`omni-refresh changes`: show what migrations, a dbt invocation or a list of names changed."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import change_options, option


@program_command(
    "changes",
    "omni-refresh changes --ddl migrations/ --dialect snowflake",
    "omni-refresh changes --dbt-target target --json",
)
@change_options
@option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a list.")
def changes(*, as_json: bool, **options: Any) -> int:
    """Show which schemas and tables SQL migrations, a dbt invocation or a list of names changed.

    Each change is additive (+) or destructive (-). The command needs no manifest, no key and no network.
    """
    from orchestrator.app.read_request import read_change
    from orchestrator.cli.command_setup import quiet_context, read_change_request
    from orchestrator.cli.errors import say
    from orchestrator.errors import UsageError
    from orchestrator.terminal.changes_table import render_changes
    from orchestrator.terminal.console import print_json, print_result

    followed = read_change(read_change_request(options), quiet_context())
    if followed is None:
        raise UsageError(
            "no change is given", code="missing-option", hint="use --ddl FILE, --dbt-target DIR or --changed NAME"
        )
    for warning in followed.changes.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json(followed.changes.to_dict())
    else:
        print_result(render_changes(followed.changes))
    return 0
