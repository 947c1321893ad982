"""`omni-refresh plan`: what a run would do."""

from __future__ import annotations

import os
from typing import Any

import click

from orchestrator.cli.change_options import change_options
from orchestrator.cli.options import log_options, manifest_argument, option, selection_options, simulate_options


@click.command("plan")
@manifest_argument
@selection_options
@change_options
@option("--json", "as_json", is_flag=True, help="The plan as one JSON document on stdout instead of a table.")
@option("--rate", type=click.IntRange(min=1), metavar="N", help="As for run: its share of each key's calls per window.")
@simulate_options
@log_options
def command(
    *,
    manifest: str,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    allow_empty: bool,
    as_json: bool,
    rate: int | None,
    simulate: bool,
    scenario: str | None,
    **options: Any,
) -> int:
    """Show what `run` would do with MANIFEST: the refreshes in order, whom each serves, the calls and the time.

    Sends no refresh, only the look-ups that run would make; where the manifest says ids and connections that is nothing
    at all, and no key is needed. With --ddl, --dbt-target or --changed also each change, which models it concerns and why, and
    which it does not. Exit code 1 where something cannot be planned; warnings alone are 0.
    """
    import asyncio
    from dataclasses import replace

    from orchestrator.app.plan import needs_keys, plan_run
    from orchestrator.app.requests import RunOptions, RunRequest
    from orchestrator.cli.command_setup import read_change_request, set_up
    from orchestrator.cli.console import print_json, print_result
    from orchestrator.cli.plan_table import render_preview
    from orchestrator.manifest.load import load_manifest

    setup = set_up(options)
    change = read_change_request(options)
    request = RunRequest(
        manifest=load_manifest(manifest, environ=os.environ, with_keys=False),
        select=select,
        exclude=exclude,
        allow_empty=allow_empty,
        change=change,
        options=RunOptions(rate=rate),
        simulate=simulate,
        scenario=scenario,
    )
    if needs_keys(request, setup.context):
        request = replace(request, manifest=load_manifest(manifest, environ=os.environ))
    result = asyncio.run(plan_run(request, setup.context))
    redact = setup.context.redactor.redact
    if as_json:
        print_json(result.to_dict())
    else:
        print_result(render_preview(result.preview, setup.console, redact=redact))
    return result.exit_code
