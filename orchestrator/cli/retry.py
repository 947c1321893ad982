"""`omni-refresh retry`: a new run over what did not succeed."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.options import going_on_options, log_options, run_or_manifest_argument, selection_options


@click.command("retry")
@run_or_manifest_argument
@selection_options
@going_on_options
@log_options
def command(
    *, run: str | None, select: tuple[str, ...], exclude: tuple[str, ...], allow_empty: bool, **options: Any
) -> int:
    """Run again every target of an earlier run that is not succeeded, accepted or skipped.

    RUN_ID is the beginning of a run's id; MANIFEST means its latest run. Without either: the latest run that was started
    from this working directory; the command never picks another directory's run by itself. If that run is itself a retry,
    what the first run and all its retries left is retried. A job that may still run is polled first, and its refresh sent again only if it did not succeed.
    Plan, instances and options are those of the run; the report is omni-refresh-report.retry.json unless --report names
    another. Nothing to retry: exit code 0, no calls.
    """
    from orchestrator.app.requests import EarlierRunRequest
    from orchestrator.app.runs import retry_run
    from orchestrator.cli.command_setup import read_run_options, set_up
    from orchestrator.cli.run_command import execute

    setup = set_up(options)
    request = EarlierRunRequest(
        run=run, select=select, exclude=exclude, allow_empty=allow_empty, options=read_run_options(options)
    )
    return execute(setup, lambda context: retry_run(request, context), as_json=options["as_json"])
