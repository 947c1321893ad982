"""`omni-refresh resume`: go on with a run that was cut off."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.options import going_on_options, log_options, run_argument


@click.command("resume")
@run_argument
@going_on_options
@log_options
def command(*, run_id: str | None, **options: Any) -> int:
    """Go on with the run RUN_ID (the beginning of an id is enough), or with the latest one that was cut off.

    What has ended stays as it is; a job that was submitted is asked after and not submitted again; the rest is submitted.
    The plan, the instances, the options and the reports are those of the run, whatever the manifest says by now; keys are
    read again from the variables or files that were named. Nothing to go on with: exit code 0, no calls.
    """
    from orchestrator.cli.going_on import open_desk, read_changes, say_nothing_to_do, talk
    from orchestrator.cli.launch import find_run, resume, unfinished_run

    with open_desk(options, talk(options)) as desk:
        record = find_run(desk.state.journal, run_id) if run_id else unfinished_run(desk.state)
        if record is None or not record.unfinished:
            return say_nothing_to_do("resume", "no run was cut off" if record is None else f"run {record.id} has ended")
        return resume(record, desk, read_changes(options))
