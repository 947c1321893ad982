"""`omni-refresh run`, `resume` and `retry`: refresh the models of a manifest, continue a run, retry what did not succeed."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import (
    change_options,
    continue_options,
    log_options,
    override_options,
    run_options,
    run_or_manifest_argument,
    selection_options,
    target_options,
)


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
def run(
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


@program_command("resume", "omni-refresh resume", "omni-refresh resume nightly.yaml")
@run_or_manifest_argument
@continue_options
@log_options
def resume(*, run: str | None, **options: Any) -> int:
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


@program_command("retry", "omni-refresh retry", "omni-refresh retry nightly.yaml -s tag:finance")
@run_or_manifest_argument
@selection_options
@continue_options
@log_options
def retry(
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
