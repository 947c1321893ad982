"""`omni-refresh changes`: what migrations, a dbt invocation or a list of names touched."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.change_options import change_options
from orchestrator.cli.options import option


@click.command("changes")
@change_options
@option("--json", "as_json", is_flag=True, help="One JSON document on stdout instead of lines for people.")
def command(*, as_json: bool, **options: Any) -> int:
    """Show what SQL migrations, a dbt invocation or a list of names touched: schemas and tables, and whether anything may be
    gone.

    Needs no manifest, no key and no network, and refreshes nothing.
    """
    from orchestrator.app.read_change import read_change
    from orchestrator.cli.changes_table import render_changes
    from orchestrator.cli.command_setup import quiet_context, read_change_request
    from orchestrator.cli.console import print_json, print_result
    from orchestrator.cli.main import say
    from orchestrator.errors import UsageError

    touched = read_change(read_change_request(options), quiet_context())
    if touched is None:
        raise UsageError("nothing to look at: give --ddl FILE, --dbt-target DIR or --changed NAME")
    for warning in touched.changes.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json(touched.changes.to_json())
    else:
        print_result(render_changes(touched.changes))
    return 0
