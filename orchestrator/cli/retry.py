"""`omni-refresh retry`: a new run over what did not succeed."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.options import going_on_options, log_options, run_argument, selection_options


@click.command("retry")
@run_argument
@selection_options
@going_on_options
@log_options
def command(
    *, run_id: str | None, select: tuple[str, ...], exclude: tuple[str, ...], allow_empty: bool, **options: Any
) -> int:
    """Run again every target of the run RUN_ID (or of the latest) that is not succeeded, accepted or skipped.

    A job of it that may still run is asked after first, and sent again only if it did not succeed. Plan, instances,
    options and reports are those of the run. Nothing to retry: exit code 0, no calls.
    """
    from orchestrator.cli.going_on import open_desk, read_changes, say_nothing_to_do, talk
    from orchestrator.cli.launch import find_run, retry

    del allow_empty
    with open_desk(options, talk(options)) as desk:
        journal = desk.state.journal
        record = find_run(journal, run_id) if run_id else next(iter(journal.runs(limit=1)), None)
        if record is None:
            return say_nothing_to_do("retry", "there are no runs yet")
        code = retry(record, desk, read_changes(options, include=select, exclude=exclude))
        return say_nothing_to_do("retry", f"every target of run {record.id} is good") if code is None else code
