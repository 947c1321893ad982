"""`omni-refresh resume`: continue a run that was cut off."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.options import going_on_options, log_options, run_or_manifest_argument


@click.command("resume")
@run_or_manifest_argument
@going_on_options
@log_options
def command(*, run: str | None, **options: Any) -> int:
    """Continue a run that was cut off.

    RUN_ID is the beginning of a run's id; MANIFEST means its latest run that was cut off. Without either: the latest one
    that was started from this working directory; the command never picks another directory's run by itself. What has ended stays as it is; a job that was submitted is polled and not submitted again; the rest
    is submitted. Plan, instances, options and reports are those of the run, whatever the manifest says by now; keys are
    read again from their variables or files. Nothing to resume: exit code 0, no calls.
    """
    from orchestrator.app.requests import EarlierRunRequest
    from orchestrator.app.runs import resume_run
    from orchestrator.cli.command_setup import read_run_options, set_up
    from orchestrator.cli.run_command import execute

    setup = set_up(options)
    request = EarlierRunRequest(run=run, options=read_run_options(options))
    return execute(setup, lambda context: resume_run(request, context), as_json=options["as_json"])
