"""Writes a run's events to the log: stable names, one line per event and one per finished target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from signal import Signals
from typing import Any, Final

from orchestrator import __version__
from orchestrator.engine import events as e
from orchestrator.engine.outcome import Outcome, Status
from orchestrator.log import Event, Logger
from orchestrator.quota.rate_limiter import KeyHeld, KeySetAside, LimitChanged
from orchestrator.report.causes import skip_reason
from orchestrator.report.findings import SIMULATED

LogValues = dict[str, Any]
Line = tuple[str, Event, LogValues]


class LogObserver:
    """An observer that logs. It also counts outcomes, and keeps the names of those that are not good, for the live display."""

    def __init__(self) -> None:
        self._log = Logger()
        self._bound: LogValues = {}
        self.statuses: Counter[Status] = Counter()
        self.failed: list[str] = []
        self.total = 0
        self.ended: str | None = None
        self.simulated = False

    def __call__(self, event: e.RunEvent) -> None:
        """Log one event."""
        if isinstance(event, e.RunStarted | e.RunContinued):
            self._bound["run_id"] = event.run_id
        if isinstance(event, e.RunStarted) and event.simulated:
            self._bound["note"] = SIMULATED
            self.simulated = True
        elif isinstance(event, e.RunPlanned):
            self.total = event.targets
        elif isinstance(event, e.TargetFinished):
            self.statuses[event.outcome.status] += 1
            if not event.outcome.status.is_good:
                self.failed.append(event.outcome.name)
        elif isinstance(event, e.SubmitsEnded):
            self.ended = self.ended or event.reason
        level, name, values = _LINES[type(event)](event)
        if isinstance(event, e.TargetFinished):
            values |= {"settled": self.statuses.total(), "total": self.total}
        getattr(self._log, level)(name, **self._bound, **values)
        if isinstance(event, e.RunPlanned):
            for remark in event.remarks:
                self._log.warning(Event.CHANGE_NOTED, **self._bound, remark=remark)


def _started(event: e.RunStarted) -> Line:
    values = {name: getattr(event, name) for name in ("manifest", "targets", "instances")}
    return "info", Event.RUN_STARTED, {**values, "version": __version__}


def _continued(event: e.RunContinued) -> Line:
    return (
        "info",
        Event.RUN_CONTINUED,
        {
            "trigger": event.trigger,
            "manifest": event.manifest,
            "of_run": event.origin,
            "targets": event.targets,
            "to_send": event.to_send,
            "to_check": event.to_check,
        },
    )


def _waiting(event: e.RunWaiting) -> Line:
    return "info", Event.RUN_WAITED, {"holder": event.holder}


def _manifest_changed(event: e.ManifestChanged) -> Line:
    return "warning", Event.MANIFEST_CHANGED, {"manifest": event.manifest}


def _planned(event: e.RunPlanned) -> Line:
    values = {name: getattr(event, name) for name in ("targets", "lanes", "skipped", "unresolved")}
    return "info", Event.RUN_PLANNED, values


def _progress(event: e.RunProgress) -> Line:
    values: LogValues = {"elapsed_s": round(event.elapsed_s, 1), "settled": event.done, "total": event.total}
    if event.left_s is not None:
        values["left_s"] = round(event.left_s)
    values |= {status.value: event.statuses[status] for status in Status if event.statuses.get(status)}
    return "info", Event.RUN_PROGRESSED, values


def _target(event: e.TargetFinished) -> Line:
    outcome = event.outcome
    return "info" if outcome.status.is_good else "warning", Event.TARGET_SETTLED, outcome_values(outcome)


def outcome_values(outcome: Outcome) -> LogValues:
    """Return the values of the line of a finished target."""
    error = outcome.error
    return {
        "target": outcome.name,
        "instance": outcome.instance,
        "model_id": outcome.model_id,
        "branch": outcome.branch,
        "status": outcome.status.value,
        "covered_by": outcome.covered_by,
        "job_ids": list(outcome.job_ids),
        "queued_s": outcome.queued_s and round(outcome.queued_s, 3),
        "duration_s": outcome.duration_s and round(outcome.duration_s, 3),
        "attempts": outcome.attempts,
        "polls": outcome.polls,
        "throttled": outcome.throttled,
        **({"reason": skip_reason(outcome)} if outcome.status is Status.SKIPPED else {}),
        **(
            {}
            if error is None
            else {
                "kind": error.kind,
                "http_status": error.http_status,
                "error": error.message,
                "hint": error.hint,
            }
        ),
    }


def _submits_ended(event: e.SubmitsEnded) -> Line:
    return "warning", Event.SUBMITS_ENDED, {"reason": event.reason}


def _stopping(event: e.RunStopping) -> Line:
    values: LogValues = {"grace_s": event.grace_s, "running": event.running, "again": event.again}
    return (
        "warning",
        Event.RUN_STOPPED,
        values | ({} if event.signal is None else {"signal": Signals(event.signal).name}),
    )


def _lane_failed(event: e.LaneFailed) -> Line:
    return "error", Event.LANE_BROKE, {"instance": event.instance, "lane": event.lane, "exc_info": event.error}


def _lane_closed(event: e.LaneClosed) -> Line:
    return "info", Event.LANE_CLOSED, {"instance": event.instance, "lane": event.lane}


def _lane_waiting(event: e.LaneWaiting) -> Line:
    values: LogValues = {"instance": event.instance, "lane": event.lane, "holder": event.holder}
    if event.at_most_s is not None:
        values["at_most_s"] = round(event.at_most_s)
    return "info", Event.LANE_WAITED, values


def _call_ended(event: e.CallEnded) -> Line:
    values: LogValues = {"instance": event.instance, "purpose": event.purpose, "end": event.end}
    values["took_s"] = round(event.took_s, 3)
    if event.target is not None:
        values["target"] = event.target
    return "debug", Event.CALL_ENDED, values


def _silent(event: e.InstanceSilent) -> Line:
    values = {"instance": event.instance, "kind": event.kind, "error": event.message}
    return "warning", Event.INSTANCE_LOST, values


def _answers(event: e.InstanceAnswers) -> Line:
    return "info", Event.INSTANCE_FOUND, {"instance": event.instance}


def _given_up(event: e.InstanceGivenUp) -> Line:
    return "error", Event.INSTANCE_GIVEN_UP, {"instance": event.instance, "kind": event.kind, "error": event.message}


def _state_failed(event: e.StateFailed) -> Line:
    if event.what == "journal":
        return "error", Event.JOURNAL_BROKE, {"error": event.message}
    if event.what == "state":
        return "warning", Event.STATE_AWAITED, {"error": event.message}
    return "warning", Event.BUDGET_BROKE, {"error": event.message}


def _report_written(event: e.ReportWritten) -> Line:
    return "info", Event.REPORT_WRITTEN, {"path": event.path}


def _report_failed(event: e.ReportFailed) -> Line:
    return "error" if event.fatal else "warning", Event.REPORT_FAILED, {"path": event.path, "error": event.message}


def _sent(event: e.NotificationSent) -> Line:
    return "info", Event.NOTIFICATION_SENT, {"channel": event.channel, "on": event.condition}


def _not_sent(event: e.NotificationFailed) -> Line:
    values = {"channel": event.channel, "on": event.condition, "error": event.message}
    return "warning", Event.NOTIFICATION_FAILED, values


def _finished(event: e.RunFinished) -> Line:
    values: LogValues = {"exit_code": event.exit_code, "duration_s": round(event.duration_s, 3)}
    if event.next_commands:
        values["next"] = "; ".join(event.next_commands)
    return "info", Event.RUN_FINISHED, values


def _held(event: KeyHeld) -> Line:
    return "info", Event.KEY_HELD, {"instance": event.instance, "key": event.key, "wait_s": round(event.wait_s, 3)}


def _set_aside(event: KeySetAside) -> Line:
    values = {"instance": event.instance, "key": event.key, "keys_left": event.keys_left}
    return "warning" if event.keys_left else "error", Event.KEY_REFUSED, values


def _limit(event: LimitChanged) -> Line:
    values = {
        "instance": event.instance,
        "key": event.key,
        "told": event.configured,
        "learned": event.limit,
        "burst": event.burst,
    }
    return "info", Event.LIMIT_LEARNED, values


_LINES: Final[dict[type, Callable[[Any], Line]]] = {
    e.RunStarted: _started,
    e.RunContinued: _continued,
    e.RunWaiting: _waiting,
    e.ManifestChanged: _manifest_changed,
    e.RunPlanned: _planned,
    e.RunProgress: _progress,
    e.TargetFinished: _target,
    e.SubmitsEnded: _submits_ended,
    e.RunStopping: _stopping,
    e.LaneFailed: _lane_failed,
    e.LaneClosed: _lane_closed,
    e.LaneWaiting: _lane_waiting,
    e.CallEnded: _call_ended,
    e.InstanceSilent: _silent,
    e.InstanceAnswers: _answers,
    e.InstanceGivenUp: _given_up,
    e.StateFailed: _state_failed,
    e.ReportWritten: _report_written,
    e.ReportFailed: _report_failed,
    e.NotificationSent: _sent,
    e.NotificationFailed: _not_sent,
    e.RunFinished: _finished,
    KeyHeld: _held,
    KeySetAside: _set_aside,
    LimitChanged: _limit,
}
