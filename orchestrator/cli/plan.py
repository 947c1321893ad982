"""`omni-refresh plan`: show what a run would do."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import (
    change_options,
    log_options,
    option,
    override_options,
    selection_options,
    simulate_options,
    state_options,
    target_options,
)


@program_command(
    "plan",
    "omni-refresh plan nightly.yaml",
    "omni-refresh plan nightly.yaml --dbt-target target",
    "omni-refresh plan models.yaml --ddl migrations/ --dialect snowflake --online",
)
@target_options
@selection_options
@change_options
@override_options
@option(
    "--online",
    is_flag=True,
    help="With --ddl, --dbt-target or --changed: also read which fields and documents use the tables and columns that the change drops "
    "or renames.",
)
@option("--json", "as_json", is_flag=True, help="Print the plan as one JSON document instead of a table.")
@option("--rate", type=click.IntRange(min=1), metavar="N", help="Plan with at most N of each key's calls per minute.")
@simulate_options
@state_options
@log_options
def plan(
    *,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    allow_empty: bool,
    online: bool,
    as_json: bool,
    rate: int | None,
    simulate: bool,
    scenario: str | None,
    **options: Any,
) -> int:
    """Show what `run` would do: refreshes in order, the models each covers, API calls and estimated time.

    Sends no refresh. Sends only the look-ups that `run` would send: none if the manifest has all ids and connections, and then
    no key is needed. With --ddl, --dbt-target or --changed, also shows each change, the models that it affects, and why.

    Exit code 1 if something cannot be planned, 0 if there are only warnings.
    """
    import asyncio
    from functools import partial

    from orchestrator.app.plan import plan_run
    from orchestrator.app.requests import RunOptions, RunRequest
    from orchestrator.cli.command_setup import read_change_request, read_manifest, read_overrides, set_up
    from orchestrator.terminal.console import print_json, print_result
    from orchestrator.terminal.plan_table import render_preview

    setup = set_up(options)
    change = read_change_request(options)
    request = RunRequest(
        manifest=read_manifest(options, with_keys=False),
        overrides=read_overrides(options),
        select=select,
        exclude=exclude,
        allow_empty=allow_empty,
        change=change,
        options=RunOptions(rate=rate),
        simulate=simulate,
        scenario=scenario,
    )
    load_with_keys = partial(read_manifest, options)
    result = asyncio.run(plan_run(request, setup.context, online=online, load_with_keys=load_with_keys))
    redact = setup.context.redactor.redact
    if as_json:
        print_json(result.to_dict())
    else:
        print_result(render_preview(result.preview, setup.console, redact=redact))
    return result.exit_code
