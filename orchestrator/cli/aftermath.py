"""What a run leaves beside its reports: metrics for Prometheus, and messages to those who want to be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.cli.desk import Desk
from orchestrator.cli.order import Order
from orchestrator.errors import UsageError
from orchestrator.input_file import read_input
from orchestrator.log import Event, get_logger
from orchestrator.manifest.manifest import Manifest, Notice
from orchestrator.manifest.notices import notice_secrets, notice_url_again
from orchestrator.quota.door import Door
from orchestrator.report.as_prometheus import EARLIER_BYTES, RunMetrics, render_metrics
from orchestrator.report.report import Report
from orchestrator.report.writer import ReportError, check_writable, write_report
from orchestrator.run.tally import Tally

# whoever stopped the run will not wait for messengers; containers are killed ten seconds after they are asked to stop
_PATIENCE_WHEN_STOPPED_S = 2.0


def metrics_path(named: str | None) -> str | None:
    """Where metrics go, absolute. Raises `UsageError` where they cannot be written, before the first call."""
    if named is None:
        return None
    check_writable(named)
    return str(Path(named).absolute())


def write_metrics(path: str, report: Report, *, manifest: Manifest, tally: Tally, doors: Mapping[str, Door]) -> bool:
    """Write the run's metrics, with what the file's earlier version remembers; whether they could be."""
    log = get_logger()
    metrics = RunMetrics(
        report=report,
        calls={(purpose.name.lower(), end): count for (purpose, end), count in tally.calls.items()},
        holds={name: sum(key.holds for key in door.keys) for name, door in doors.items()},
        models={(entry.instance, entry.name) for entry in manifest.entries},
        unfollowed={(e.instance, e.name) for e in manifest.entries if not (e.enabled and e.wait)},
    )
    try:
        write_report(path, render_metrics(metrics, earlier=_earlier(path)))
    except ReportError as error:
        log.error(Event.REPORT_FAILED, path=path, error=str(error))
        return False
    log.info(Event.REPORT_WRITTEN, path=path)
    return True


def _earlier(path: str) -> str:
    try:
        return read_input(path, EARLIER_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


async def tell_others(
    report: Report, order: Order, desk: Desk, *, paths: Sequence[str], next_command: str | None, user_agent: str
) -> None:
    """Tell of the run those who are named under `notify`; of a simulated one nobody is told."""
    if not order.manifest.notify or order.simulated:
        return
    from orchestrator.notify.send import PATIENCE_S, send_notices

    await send_notices(
        order.manifest.notify,
        report,
        redactor=desk.redactor,
        report_paths=paths,
        next_command=next_command,
        user_agent=user_agent,
        patience_s=PATIENCE_S if report.run.signal is None else _PATIENCE_WHEN_STOPPED_S,
    )


def notices_again(manifest: Manifest, desk: Desk) -> tuple[Notice, ...]:
    """The notifications of an earlier run, their addresses read anew; one that cannot be is told of and left out."""
    found = []
    for notice in manifest.notify:
        try:
            url = notice_url_again(notice, desk.environ)
        except UsageError as error:
            get_logger().warning(
                Event.NOTIFICATION_FAILED, channel=notice.channel.value, on=notice.on.value, error=str(error)
            )
            continue
        for secret in notice_secrets(notice, desk.environ):
            desk.redactor.add(secret)
        found.append(replace(notice, url=url))
    return tuple(found)
