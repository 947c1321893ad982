"""`omni-refresh retry`: run again what did not succeed."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import going_on_options, log_options, run_or_manifest_argument, selection_options


@program_command("retry", "omni-refresh retry", "omni-refresh retry nightly.yaml -s tag:finance")
@run_or_manifest_argument
@selection_options
@going_on_options
@log_options
def command(
    *, run: str | None, select: tuple[str, ...], exclude: tuple[str, ...], allow_empty: bool, **options: Any
) -> int:
    """Start a new run of the targets of an earlier run that did not succeed.

    RUN_ID is the beginning of a run's id. MANIFEST means its latest run. Without an argument: the latest run that was started
    from this working directory. If that run is itself a retry, the command retries what the first run and all its retries left.

    A job that may still run is polled first. Its refresh is sent again only if it did not succeed. The plan, instances and
    options are those of the run. The report is omni-refresh-report.retry.json unless --report names another file. If there is
    nothing to retry, the exit code is 0 and no call is sent.
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
