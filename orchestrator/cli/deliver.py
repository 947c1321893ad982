"""Brings a report to where it is wanted: files, the job summary, stdout."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from orchestrator.cli.console import Console, print_json, print_result
from orchestrator.errors import UsageError
from orchestrator.log import Event, get_logger
from orchestrator.report.as_jsonl import JsonLines
from orchestrator.report.document import make_document
from orchestrator.report.formats import Format, format_of, render
from orchestrator.report.report import Report
from orchestrator.report.summary import render_summary
from orchestrator.report.writer import ReportError, append_step_summary, check_writable, write_report
from orchestrator.run.outcome import Outcome

DEFAULT_REPORT = "omni-refresh-report.json"
RETRY_REPORT = "omni-refresh-report.retry.json"
SIMULATED_REPORT = "omni-refresh-report.simulated.json"

_SIMULATED_MARK = re.compile(rb'SIMULATED|"simulated": ?true')
_MARK_WITHIN_BYTES = 1 << 16


def check_reports(paths: Sequence[str], *, named: bool, simulated: bool = False) -> list[str]:
    """Those report paths that can be written. One that was asked for and cannot is a `UsageError`, before the first call;
    the default one is a warning. A simulated run replaces no file but another rehearsal's report.
    """
    good = []
    for path in paths:
        try:
            format_of(path)
            check_writable(path)
            if simulated:
                _check_replaceable(path)
        except UsageError as error:
            if named:
                raise
            get_logger().warning(Event.REPORT_FAILED, path=path, error=str(error))
        else:
            good.append(path)
    return good


def _check_replaceable(path: str) -> None:
    """Raise UsageError if a rehearsal's report would replace a file that is no rehearsal's report."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(_MARK_WITHIN_BYTES)
    except OSError:
        # there is nothing to replace
        return
    if head and not _SIMULATED_MARK.search(head):
        raise UsageError(
            f"{path} exists and is not the report of a simulated run; nothing was run: name another path with --report"
        )


def open_growing(paths: Sequence[str], earlier: Sequence[Outcome], *, simulated: bool = False) -> list[JsonLines]:
    """The reports that grow during the run, with what is known already. One that cannot be begun is written at the end."""
    found = []
    for path in paths:
        if format_of(path) is Format.JSONL:
            try:
                found.append(JsonLines(path, earlier, simulated=simulated))
            except ReportError as error:
                get_logger().warning(Event.REPORT_FAILED, path=path, error=str(error))
    return found


def grow(growing: Sequence[JsonLines]) -> Callable[[Outcome], None]:
    """What adds an outcome to each growing report; one that cannot be written is told and does not stop the run."""

    def append(outcome: Outcome) -> None:
        for lines in growing:
            try:
                lines.append(outcome)
            except ReportError as error:
                get_logger().warning(Event.REPORT_FAILED, error=str(error))

    return append


def write_reports(report: Report, paths: Sequence[str], growing: Sequence[JsonLines] = ()) -> list[str]:
    """Write every report that can be written; the paths of those that were."""
    grown = {str(lines.path): lines for lines in growing}
    written = []
    for path in paths:
        lines = grown.get(path)
        write = (
            partial(_write, report, path, format_of(path)) if lines is None else partial(lines.close, report.outcomes)
        )
        if _try(write, path):
            written.append(path)
    return written


def append_job_summary(report: Report) -> None:
    """Add the report to the job summary of a CI system that asks for one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        _try(partial(append_step_summary, path, render(report, Format.MARKDOWN)), path)


def print_report(
    report: Report, *, as_json: bool, console: Console, paths: Sequence[str] = (), next_commands: Sequence[str] = ()
) -> None:
    """The result on stdout: the summary, or exactly one JSON document."""
    if as_json:
        print_json(make_document(report))
    else:
        print_result(
            render_summary(
                report, width=console.width, color=console.color, report_paths=paths, next_commands=next_commands
            )
        )


def _write(report: Report, path: str, wanted: Format) -> None:
    write_report(path, render(report, wanted))


def _try(write: Callable[[], None], path: str | Path) -> bool:
    try:
        write()
    except ReportError as error:
        get_logger().error(Event.REPORT_FAILED, path=str(path), error=str(error))
        return False
    get_logger().info(Event.REPORT_WRITTEN, path=str(path))
    return True
