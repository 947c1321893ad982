"""`omni-refresh report`: render an earlier run again."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.options import log_options, report_options, run_argument


@click.command("report")
@run_argument
@report_options
@log_options
def command(*, run_id: str | None, report: tuple[str, ...], as_json: bool, **log: Any) -> int:
    """Render the report of the run RUN_ID (the beginning of an id is enough), or of the latest, in any format.

    With --report it is written to files, else the summary (or with --json the document) goes to stdout.
    """
    from orchestrator.cli.deliver import check_reports, print_report, write_reports
    from orchestrator.cli.going_on import talk
    from orchestrator.cli.launch import find_run
    from orchestrator.cli.state import open_state
    from orchestrator.errors import UsageError
    from orchestrator.report.earlier import parse_document
    from orchestrator.report.exit_code import REPORT_FAILED

    console = talk(log).console
    paths = check_reports(report, named=True)
    with open_state() as state:
        journal = state.journal
        record = find_run(journal, run_id) if run_id else next(iter(journal.runs(limit=1)), None)
        if record is None:
            raise UsageError("there are no runs yet")
        document = journal.document(record.id)
    if document is None:
        raise UsageError(
            f"run {record.id} was cut off or is still at work: its report comes with `omni-refresh resume`"
        )
    earlier = parse_document(document)
    good = write_reports(earlier, paths)
    if as_json or not paths:
        print_report(earlier, as_json=as_json, console=console)
    return 0 if good else REPORT_FAILED
