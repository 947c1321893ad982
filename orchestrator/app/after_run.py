"""What a run leaves beside its reports: metrics for Prometheus, and notifications."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.app.context import USER_AGENT, Context
from orchestrator.engine.events import NotificationFailed, Observer, ReportFailed, ReportWritten
from orchestrator.engine.run import RunResult
from orchestrator.errors import UsageError
from orchestrator.input_file import read_input
from orchestrator.manifest.manifest import Manifest, Notice
from orchestrator.manifest.notices import notice_secrets, notice_url_again
from orchestrator.report.as_prometheus import EARLIER_BYTES, RunMetrics, render_metrics
from orchestrator.report.report import Report
from orchestrator.report.writer import ReportError, check_writable, write_report

# a container is killed ten seconds after it is asked to stop
_PATIENCE_WHEN_STOPPED_S = 2.0


def metrics_path(named: str | None) -> str | None:
    """Return the absolute path of the metrics file. Raises `UsageError` if it cannot be written."""
    if named is None:
        return None
    check_writable(named)
    return str(Path(named).absolute())


def write_metrics(path: str, report: Report, observe: Observer, *, manifest: Manifest, result: RunResult) -> bool:
    """Write the run's metrics, with what the file's earlier version remembers; return whether they could be."""
    metrics = RunMetrics(
        report=report,
        calls={(purpose.name.lower(), end): count for (purpose, end), count in result.stats.calls.items()},
        holds=result.holds,
        models={(entry.instance, entry.name) for entry in manifest.entries},
        unfollowed={(e.instance, e.name) for e in manifest.entries if not (e.enabled and e.wait)},
    )
    try:
        write_report(path, render_metrics(metrics, earlier=_earlier(path)))
    except ReportError as error:
        observe(ReportFailed(path=path, message=str(error)))
        return False
    observe(ReportWritten(path=path))
    return True


def _earlier(path: str) -> str:
    try:
        return read_input(path, EARLIER_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


async def send_notifications(
    report: Report, manifest: Manifest, context: Context, *, reports: Sequence[str], next_commands: Sequence[str]
) -> None:
    """Send the notifications that the manifest asks for. A simulated run sends none. Never raises for a failed one."""
    if not manifest.notify or report.run.simulated:
        return
    from orchestrator.notify.send import PATIENCE_S, send_notices

    await send_notices(
        manifest.notify,
        report,
        observe=context.observe,
        redactor=context.redactor,
        report_paths=reports,
        next_command="; ".join(next_commands) or None,
        user_agent=USER_AGENT,
        patience_s=PATIENCE_S if report.run.signal is None else _PATIENCE_WHEN_STOPPED_S,
    )


def reread_notices(manifest: Manifest, context: Context) -> tuple[Notice, ...]:
    """Return an earlier run's notifications with their addresses read again, without those whose address cannot be read."""
    found = []
    for notice in manifest.notify:
        try:
            url = notice_url_again(notice, context.environ)
        except UsageError as error:
            context.observe(
                NotificationFailed(channel=notice.channel.value, condition=notice.on.value, message=str(error))
            )
            continue
        for secret in notice_secrets(notice, context.environ):
            context.redactor.add(secret)
        found.append(replace(notice, url=url))
    return tuple(found)
