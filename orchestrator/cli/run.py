"""`omni-refresh run`: refresh the models of a manifest."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.change_options import change_options
from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import log_options, override_options, run_options, selection_options, target_options


@program_command(
    "run",
    "omni-refresh run nightly.yaml",
    "omni-refresh run nightly.yaml -s tag:finance -o report.html",
    "omni-refresh run nightly.yaml --ddl migrations/ --dialect snowflake",
    "omni-refresh run nightly.yaml --simulate",
    "omni-refresh run --model Sales --schema finance",
)
@target_options
@selection_options
@change_options
@override_options
@run_options
@log_options
def command(
    *,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    allow_empty: bool,
    simulate: bool,
    scenario: str | None,
    **options: Any,
) -> int:
    """Refresh every model of MANIFEST, follow each job to its end, and report one outcome per model.

    With --model instead of MANIFEST, refresh that model, or with --schema and --table a part of it.

    With --ddl, --dbt-target or --changed, refresh only the models that the change affects: a soft refresh of what was added, or
    a hard refresh if anything was dropped.

    stdout holds the summary, or the report with --json. The log goes to stderr.
    """
    from orchestrator.app.requests import RunRequest
    from orchestrator.app.runs import start_run
    from orchestrator.cli.command_setup import (
        read_change_request,
        read_manifest,
        read_overrides,
        read_run_options,
        set_up,
    )
    from orchestrator.cli.run_command import execute

    setup = set_up(options)
    change = read_change_request(options)
    request = RunRequest(
        manifest=read_manifest(options, with_keys=not simulate),
        overrides=read_overrides(options),
        select=select,
        exclude=exclude,
        allow_empty=allow_empty,
        change=change,
        options=read_run_options(options),
        resume=options["resume"],
        key=options["key"],
        simulate=simulate,
        scenario=scenario,
    )
    return execute(setup, lambda context: start_run(request, context), as_json=options["as_json"])
