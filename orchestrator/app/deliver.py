"""Writes reports: the files that were asked for, the ones that grow during a run, and the CI job summary."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from orchestrator.engine.events import Observer, ReportFailed, ReportWritten
from orchestrator.engine.outcome import Outcome
from orchestrator.errors import UsageError
from orchestrator.report.as_jsonl import JsonLines
from orchestrator.report.formats import Format, format_of, render
from orchestrator.report.report import Report
from orchestrator.report.writer import ReportError, append_step_summary, check_writable, write_report

DEFAULT_REPORT = "omni-refresh-report.json"
RETRY_REPORT = "omni-refresh-report.retry.json"
SIMULATED_REPORT = "omni-refresh-report.simulated.json"

_SIMULATED_MARK = re.compile(rb'SIMULATED|"simulated": ?true')
_MARK_WITHIN_BYTES = 1 << 16


def check_reports(paths: Sequence[str], observe: Observer, *, named: bool, simulated: bool = False) -> tuple[str, ...]:
    """Return those report paths that can be written.

    Raises `UsageError` for one that was asked for and cannot; the default one is a warning. A simulated run replaces no
    file but another simulated run's report.
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
            observe(ReportFailed(path=path, message=str(error), fatal=False))
        else:
            good.append(path)
    return tuple(good)


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


def open_growing(
    paths: Sequence[str], earlier: Sequence[Outcome], observe: Observer, *, simulated: bool = False
) -> list[JsonLines]:
    """Open the reports that grow during the run, with what is known already. One that cannot be is written at the end."""
    found = []
    for path in paths:
        if format_of(path) is Format.JSONL:
            try:
                found.append(JsonLines(path, earlier, simulated=simulated))
            except ReportError as error:
                observe(ReportFailed(path=path, message=str(error), fatal=False))
    return found


def grow(growing: Sequence[JsonLines], observe: Observer) -> Callable[[Outcome], None]:
    """Return what adds an outcome to each growing report. One that cannot be written does not stop the run."""

    def append(outcome: Outcome) -> None:
        for lines in growing:
            try:
                lines.append(outcome)
            except ReportError as error:
                observe(ReportFailed(path=str(lines.path), message=str(error), fatal=False))

    return append


def write_reports(
    report: Report, paths: Sequence[str], observe: Observer, growing: Sequence[JsonLines] = ()
) -> tuple[str, ...]:
    """Write every report that can be written; return the paths of those that were."""
    grown = {str(lines.path): lines for lines in growing}
    written = []
    for path in paths:
        lines = grown.get(path)
        write = (
            partial(_write, report, path, format_of(path)) if lines is None else partial(lines.close, report.outcomes)
        )
        if _try(write, path, observe):
            written.append(path)
    return tuple(written)


def append_job_summary(report: Report, environ: Mapping[str, str], observe: Observer) -> None:
    """Add the report to the job summary of a CI system that asks for one."""
    path = environ.get("GITHUB_STEP_SUMMARY")
    if path:
        _try(partial(append_step_summary, path, render(report, Format.MARKDOWN)), path, observe)


def _write(report: Report, path: str, wanted: Format) -> None:
    write_report(path, render(report, wanted))


def _try(write: Callable[[], None], path: str | Path, observe: Observer) -> bool:
    try:
        write()
    except ReportError as error:
        observe(ReportFailed(path=str(path), message=str(error)))
        return False
    observe(ReportWritten(path=str(path)))
    return True
