"""`omni-refresh report`: write an earlier run's report again."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import log_options, report_options, run_or_manifest_argument, state_options


@program_command("report", "omni-refresh report", "omni-refresh report nightly.yaml -o report.html")
@run_or_manifest_argument
@report_options
@state_options
@log_options
def report(*, run: str | None, report: tuple[str, ...], as_json: bool, **log: Any) -> int:
    """Write the report of an earlier run again, in any format.

    RUN_ID is the beginning of a run's id. MANIFEST means its latest run. Without an argument: the latest run that was started
    from this working directory.

    With --report, the command writes files. Otherwise it prints the summary, or the report with --json.
    """
    from orchestrator.app.choose_run import read_earlier_report
    from orchestrator.app.deliver import check_destinations, check_reports, report_files, write_reports
    from orchestrator.app.runs import report_paths
    from orchestrator.app.state import open_state
    from orchestrator.cli.command_setup import set_up
    from orchestrator.cli.run_command import print_report
    from orchestrator.report.findings import REPORT_FAILED

    setup = set_up(log)
    context = setup.context
    paths = check_reports(report_paths(report, default=""), context.observe, named=True)
    with open_state(context) as state:
        check_destinations(report_files(paths), state=state.folder)
        earlier = read_earlier_report(state.journal, run, environ=context.environ)
    written = write_reports(earlier, paths, context.observe)
    if as_json or not paths:
        print_report(earlier, as_json=as_json, console=setup.console)
    return 0 if len(written) == len(paths) else REPORT_FAILED
