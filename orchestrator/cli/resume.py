"""`omni-refresh resume`: continue a run that was cut off."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import going_on_options, log_options, run_or_manifest_argument


@program_command("resume", "omni-refresh resume", "omni-refresh resume nightly.yaml")
@run_or_manifest_argument
@going_on_options
@log_options
def command(*, run: str | None, **options: Any) -> int:
    """Continue a run that was cut off.

    RUN_ID is the beginning of a run's id. MANIFEST means its latest run that was cut off. Without an argument: the latest
    such run that was started from this working directory.

    Finished targets keep their outcomes. A submitted job is polled, not submitted again. The rest is submitted. The plan,
    instances, options and report paths are those of the run, even if the manifest has changed. Keys are read again from their
    variables or files. If there is nothing to resume, the exit code is 0 and no call is sent.
    """
    from orchestrator.app.requests import EarlierRunRequest
    from orchestrator.app.runs import resume_run
    from orchestrator.cli.command_setup import read_run_options, set_up
    from orchestrator.cli.run_command import execute

    setup = set_up(options)
    request = EarlierRunRequest(run=run, options=read_run_options(options))
    return execute(setup, lambda context: resume_run(request, context), as_json=options["as_json"])
